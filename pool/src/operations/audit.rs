//! Who asks, and the record of what they asked for: every request that changes something, or is answered with what is known
//! of people, leaves a row in the audit log, whichever way it came.
//!
//! The row of a change is written before the request is done, and what became of it after: nothing is done that is not on
//! record. That of a look is written before the answer is handed out. It says which party was looked at, and nothing of it.

use std::fmt;

use jiff::Timestamp;
use payouts::{
    access::{AuditSeq, Grant, TokenId},
    store::Store,
};
use tracing::warn;

use super::{Outcome, Refusal, Request};

/// Who asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Whoever has a token of the API.
    Token {
        /// The token.
        id: TokenId,
        /// What it is called.
        label: String,
        /// What it is for.
        grant: Grant,
    },
    /// A user of this machine, by a command.
    User {
        /// The number that the system knows him by.
        uid: u32,
    },
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Token { id, label, .. } => write!(f, "token {id} ({label})"),
            Actor::User { uid } => write!(f, "user {uid}"),
        }
    }
}

/// Does a request, and puts on record who asked and what came of it if it may change something, or the answer tells of
/// people.
///
/// # Errors
///
/// What the request was refused for; and if nothing can be put on record, in which case nothing is done, or told.
pub async fn on_record(
    store: &dyn Store,
    actor: &Actor,
    request: &Request,
    perform: impl Future<Output = Result<Outcome, Refusal>>,
) -> Result<Outcome, Refusal> {
    if !request.changes() {
        let outcome = perform.await?;
        if tells_of_people(&outcome) {
            look_on_record(store, actor, &request.to_string()).await?;
        }
        return Ok(outcome);
    }
    let seq = store.begin_audit(now_ms(), &actor.to_string(), &request.to_string()).await?;
    let outcome = perform.await;
    let words = match &outcome {
        Ok(_) => "done".to_owned(),
        Err(refusal) => format!("refused: {refusal}"),
    };
    end(store, seq, &words).await;
    outcome
}

/// Puts on record that somebody looks at what is known of people.
///
/// # Errors
///
/// If the store fails: then he must not see it.
pub(super) async fn look_on_record(store: &dyn Store, actor: &Actor, look: &str) -> Result<(), Refusal> {
    let seq = store.begin_audit(now_ms(), &actor.to_string(), look).await?;
    end(store, seq, "done").await;
    Ok(())
}

/// What was done is done. Without an outcome the row says that it was begun.
async fn end(store: &dyn Store, seq: AuditSeq, words: &str) {
    if let Err(error) = store.end_audit(seq, now_ms(), words).await {
        warn!(%error, %seq, "the outcome of a request could not be put on record");
    }
}

/// Tells whether an answer has what else is sealed: names of people, and all that is known of them.
fn tells_of_people(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Party(_) => true,
        Outcome::Parties(parties) => parties.iter().any(|party| party.legal_name.is_some()),
        _ => false,
    }
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payouts::{payout::BatchId, store::sqlite::SqliteStore};

    use serde_json::json;

    use super::*;
    use crate::operations::{RefusalCode, party::PartyReport};

    #[tokio::test]
    async fn what_changes_something_is_on_record_with_what_came_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let alice = Actor::Token { id: TokenId::new(3), label: "alice".to_owned(), grant: Grant::Operate };
        let approve = Request::Approve { batch: BatchId::new(7), by: "alice".parse().unwrap() };
        let refusal = Refusal::new(RefusalCode::NotFound, "there is no such batch");
        let refused = on_record(&store, &alice, &approve, async { Err(refusal.clone()) }).await;
        assert_eq!(refused, Err(refusal));
        let done = Outcome::Batches(Vec::new());
        let user = Actor::User { uid: 1000 };
        assert_eq!(on_record(&store, &user, &approve, async { Ok(done.clone()) }).await, Ok(done.clone()));
        // What only looks leaves nothing.
        on_record(&store, &user, &Request::Status, async { Ok(done) }).await.unwrap();
        use payouts::store::AccessStore;
        let rows = store.audit_rows(None, 10).await.unwrap();
        let rows: Vec<_> =
            rows.iter().map(|row| (&*row.actor, &*row.action, row.outcome.as_ref().map(|it| &*it.text))).collect();
        let refused = Some("refused: there is no such batch");
        assert_eq!(
            rows,
            [("user 1000", "approve 7 by alice", Some("done")), ("token 3 (alice)", "approve 7 by alice", refused)]
        );
    }

    #[tokio::test]
    async fn what_tells_of_people_is_on_record_without_them() {
        use payouts::{export::party::PartyId, store::AccessStore};

        const NAME: &str = "Example Trading LLC";
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let user = Actor::User { uid: 1000 };
        let listed = |legal_name: Option<&str>| {
            let report = PartyReport {
                party: PartyId::new(7),
                kind: "legal".to_owned(),
                residency: "NO".to_owned(),
                legal_name: legal_name.map(str::to_owned),
                is_erased: false,
                accounts: 0,
            };
            Outcome::Parties(vec![report])
        };
        let known = json!({"kind": "legal", "legal_name": NAME, "residency": "NO"});
        let shown = Outcome::Party(serde_json::from_value(known).unwrap());
        let show = Request::Party { party: PartyId::new(7) };
        on_record(&store, &user, &Request::Parties, async { Ok(listed(None)) }).await.unwrap();
        let unknown = Refusal::new(RefusalCode::NotFound, "there is no party 7");
        on_record(&store, &user, &show, async { Err(unknown) }).await.unwrap_err();
        assert_eq!(store.audit_rows(None, 10).await.unwrap(), [], "nobody was told of people");
        on_record(&store, &user, &Request::Parties, async { Ok(listed(Some(NAME))) }).await.unwrap();
        on_record(&store, &user, &show, async { Ok(shown.clone()) }).await.unwrap();
        let rows = store.audit_rows(None, 10).await.unwrap();
        assert!(!format!("{rows:?}").contains("Example"), "{rows:?}");
        let rows: Vec<_> =
            rows.iter().map(|row| (&*row.actor, &*row.action, row.outcome.as_ref().map(|it| &*it.text))).collect();
        assert_eq!(rows, [("user 1000", "show party 7", Some("done")), ("user 1000", "list parties", Some("done"))]);
        store.close().await;
        on_record(&store, &user, &show, async { Ok(shown) }).await.unwrap_err();
    }

    #[tokio::test]
    async fn nothing_is_done_that_cannot_be_put_on_record() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        store.close().await;
        let lift = Request::LiftBan { address: [192, 0, 2, 1].into() };
        let mut is_done = false;
        let refused = on_record(&store, &Actor::User { uid: 0 }, &lift, async {
            is_done = true;
            Ok(Outcome::Batches(Vec::new()))
        });
        refused.await.unwrap_err();
        assert!(!is_done);
    }
}
