//! What every store must do with tokens, the audit log and answers of the API.

use super::*;
use crate::access::{
    Added, Answer, Audience, AuditOutcome, AuditRow, AuditSeq, Claim, Digest, Grant, NewToken, Token, TokenId,
};

fn new_token(secret: &str, label: &str, grant: Grant) -> NewToken {
    NewToken { hash: Digest::of(secret.as_bytes()), label: label.to_owned(), grant, created_at_ms: 7 }
}

async fn added(store: &AnyStore, secret: &str, label: &str, grant: Grant) -> TokenId {
    match store.add_token(&new_token(secret, label, grant)).await.unwrap() {
        Added::Token(id) => id,
        Added::LabelTaken(by) => panic!("{label} is that of {by}"),
    }
}

pub(crate) async fn token_is_found_by_its_hash_until_and_after_it_is_revoked(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    let watcher = added(&store, "one", "w", Grant::Watch(account)).await;
    let admin = added(&store, "two", "a", Grant::Administer).await;
    let expected = Token {
        id: watcher,
        label: "w".to_owned(),
        grant: Grant::Watch(account),
        created_at_ms: 7,
        last_used_at_ms: None,
        revoked_at_ms: None,
    };
    assert_eq!(store.find_token(Digest::of(b"one")).await.unwrap(), Some(expected.clone()));
    assert_eq!(store.token(watcher).await.unwrap(), Some(expected.clone()));
    assert_eq!(store.find_token(Digest::of(b"three")).await.unwrap(), None);
    assert!(store.revoke_token(watcher, 9).await.unwrap());
    assert!(!store.revoke_token(watcher, 10).await.unwrap(), "it was revoked already");
    assert!(!store.revoke_token(TokenId::new(99), 10).await.unwrap(), "there is none");
    let revoked = Token { revoked_at_ms: Some(9), ..expected };
    assert_eq!(store.find_token(Digest::of(b"one")).await.unwrap(), Some(revoked.clone()));
    let listed = store.tokens(TokenId::new(0), 10).await.unwrap();
    assert_eq!(listed.iter().map(|token| token.id).collect::<Vec<_>>(), [watcher, admin]);
    assert_eq!(store.tokens(watcher, 1).await.unwrap()[0].id, admin);
    assert_eq!(listed[0], revoked);
}

pub(crate) async fn tokens_in_force_have_labels_of_their_own(store: AnyStore) {
    let first = added(&store, "one", "alice", Grant::Operate).await;
    // The same again is no other.
    assert_eq!(added(&store, "one", "alice", Grant::Operate).await, first);
    let taken = store.add_token(&new_token("two", "alice", Grant::View)).await.unwrap();
    assert_eq!(taken, Added::LabelTaken(first));
    assert_eq!(store.find_token(Digest::of(b"two")).await.unwrap(), None);
    store.revoke_token(first, 8).await.unwrap();
    assert_ne!(added(&store, "two", "alice", Grant::View).await, first);
}

pub(crate) async fn last_use_of_a_token_never_goes_back(store: AnyStore) {
    let id = added(&store, "one", "alice", Grant::View).await;
    for (used_at_ms, noted) in [(20, 20), (10, 20), (30, 30)] {
        store.note_token_use(id, used_at_ms).await.unwrap();
        assert_eq!(store.token(id).await.unwrap().unwrap().last_used_at_ms, Some(noted));
    }
}

pub(crate) async fn page_of_an_account_is_public_unless_it_was_said_otherwise(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    assert_eq!(store.page_audience(one).await.unwrap(), Audience::Public);
    for audience in [Audience::Watchers, Audience::Watchers, Audience::Public, Audience::Watchers] {
        store.set_page_audience(one, audience, 5).await.unwrap();
        assert_eq!(store.page_audience(one).await.unwrap(), audience);
        assert_eq!(store.page_audience(other).await.unwrap(), Audience::Public);
    }
}

pub(crate) async fn audit_log_is_read_newest_first_with_what_came_of_it(store: AnyStore) {
    let first = store.begin_audit(1, "token 1 alice", "approve 7").await.unwrap();
    let second = store.begin_audit(2, "user 1000", "hold x: d\u{e9}j\u{e0} vu").await.unwrap();
    store.end_audit(first, 3, "done").await.unwrap();
    assert!(store.end_audit(first, 4, "other").await.is_err(), "an outcome stands");
    assert!(store.end_audit(AuditSeq::new(99), 4, "done").await.is_err(), "of nothing there is no outcome");
    let row = |seq, at_ms, actor: &str, action: &str, outcome: Option<&str>| AuditRow {
        seq,
        at_ms,
        actor: actor.to_owned(),
        action: action.to_owned(),
        outcome: outcome.map(|text| AuditOutcome { at_ms: 3, text: text.to_owned() }),
    };
    let rows = [
        row(second, 2, "user 1000", "hold x: d\u{e9}j\u{e0} vu", None),
        row(first, 1, "token 1 alice", "approve 7", Some("done")),
    ];
    assert_eq!(store.audit_rows(None, 10).await.unwrap(), rows);
    assert_eq!(store.audit_rows(None, 1).await.unwrap(), rows[..1]);
    assert_eq!(store.audit_rows(Some(second), 10).await.unwrap(), rows[1..]);
}

pub(crate) async fn same_request_under_a_key_gets_the_first_answer(store: AnyStore) {
    let (alice, bob) =
        (added(&store, "a", "alice", Grant::Operate).await, added(&store, "b", "bob", Grant::Operate).await);
    let (run, cancel) = (Digest::of(b"run"), Digest::of(b"cancel"));
    let claim =
        async |token, request, at_ms, forget| store.claim_answer(token, "key", request, at_ms, forget).await.unwrap();
    assert_eq!(claim(alice, run, 10, 0).await, Claim::Open);
    assert_eq!(claim(alice, run, 11, 0).await, Claim::Open, "nothing was answered yet");
    assert_eq!(claim(alice, cancel, 11, 0).await, Claim::OtherRequest);
    let answer = Answer { status: 201, body: "{\"batch\":7}".to_owned() };
    store.keep_answer(alice, "key", &answer).await.unwrap();
    store.keep_answer(alice, "key", &Answer { status: 409, body: "{}".to_owned() }).await.unwrap();
    assert_eq!(claim(alice, run, 12, 10).await, Claim::Answered(answer));
    assert_eq!(claim(alice, cancel, 12, 10).await, Claim::OtherRequest);
    // A key is its token's own, and kept for a while.
    assert_eq!(claim(bob, cancel, 12, 10).await, Claim::Open);
    assert_eq!(claim(alice, cancel, 13, 11).await, Claim::Open);
}

/// Puts a row into each table of the API.
pub(super) async fn everything_of_the_api(store: &AnyStore) {
    let token = added(store, "one", "alice", Grant::Administer).await;
    let seq = store.begin_audit(1, "token 1 alice", "approve 7").await.unwrap();
    store.end_audit(seq, 2, "done").await.unwrap();
    store.claim_answer(token, "key", Digest::of(b"run"), 3, 0).await.unwrap();
    store.keep_answer(token, "key", &Answer { status: 200, body: "{}".to_owned() }).await.unwrap();
    store.set_page_audience(AccountId::new(1), Audience::Watchers, 4).await.unwrap();
}
