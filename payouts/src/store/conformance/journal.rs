//! What every store must do with the register's journal and the sealed data of parties.

use serde::Serialize;

use super::*;
use crate::export::{
    bookkeeping::fixture::{book, profile},
    journal::{JournalHead, JournalRow, JournalSeq, Recorded},
    party::PartyId,
    valued::{self, Kept, Valuing},
};

#[derive(Serialize)]
struct Noted {
    subject: &'static str,
    text: String,
}

impl Recorded for Noted {
    fn kind(&self) -> &'static str {
        "NOTED"
    }

    fn subject(&self) -> String {
        self.subject.to_owned()
    }
}

/// Rows that follow each other after `head`.
fn rows(head: JournalHead, subjects: &[&'static str]) -> Vec<JournalRow> {
    let mut head = head;
    let seal = |&subject: &&'static str| {
        let text = format!("d\u{e9}j\u{e0} vu {}", head.seq);
        let row = JournalRow::seal(head, 7, Head::EMPTY, &Noted { subject, text });
        head = row.head();
        row
    };
    subjects.iter().map(seal).collect()
}

pub(crate) async fn journal_is_read_back_and_found_by_subject(store: AnyStore) {
    assert_eq!(store.journal_head().await.unwrap(), JournalHead::EMPTY);
    let written = rows(JournalHead::EMPTY, &["a", "b", "a"]);
    assert_eq!(store.append_journal(&written[..2]).await.unwrap(), Commit::Done);
    assert_eq!(store.append_journal(&written[2..]).await.unwrap(), Commit::Done);
    assert_eq!(store.append_journal(&[]).await.unwrap(), Commit::Done);
    assert_eq!(store.journal_head().await.unwrap(), written[2].head());
    assert_eq!(store.journal_rows(JournalSeq::new(0), 10).await.unwrap(), written);
    assert_eq!(store.journal_rows(JournalSeq::new(1), 1).await.unwrap(), written[1..2]);
    let about = store.journal_about("NOTED", "a", 10).await.unwrap();
    assert_eq!(about, [written[2].clone(), written[0].clone()]);
    assert_eq!(store.journal_about("NOTED", "a", 1).await.unwrap(), written[2..]);
    assert_eq!(store.journal_about("OTHER", "a", 10).await.unwrap(), []);
    let by_subject = [written[0].clone(), written[2].clone(), written[1].clone()];
    let begin = ("", JournalSeq::new(0));
    assert_eq!(store.journal_of("NOTED", begin, 10).await.unwrap(), by_subject);
    assert_eq!(store.journal_of("NOTED", ("a", written[0].seq), 1).await.unwrap(), by_subject[1..2]);
    assert_eq!(store.journal_of("NOTED", ("a", written[2].seq), 9).await.unwrap(), by_subject[2..]);
    assert_eq!(store.journal_of("OTHER", begin, 10).await.unwrap(), []);
}

pub(crate) async fn latest_rows_of_the_journal_about_each_thing_are_found(store: AnyStore) {
    let written = rows(JournalHead::EMPTY, &["a", "b", "a", "c"]);
    assert_eq!(store.append_journal(&written).await.unwrap(), Commit::Done);
    let latest =
        async |kind, after, limit| store.latest_journal_rows(kind, JournalSeq::new(after), limit).await.unwrap();
    assert_eq!(latest("NOTED", 0, 10).await, [1, 2, 3].map(|place| written[place].clone()));
    assert_eq!(latest("NOTED", 0, 1).await, written[1..2]);
    assert_eq!(latest("NOTED", 2, 10).await, written[2..]);
    assert_eq!(latest("OTHER", 0, 10).await, []);
}

pub(crate) async fn rows_of_the_journal_about_some_things_are_found(store: AnyStore) {
    let written = rows(JournalHead::EMPTY, &["a", "b", "a", "c"]);
    assert_eq!(store.append_journal(&written).await.unwrap(), Commit::Done);
    let about = async |kind, subjects: &[&str]| {
        let subjects: Vec<_> = subjects.iter().map(|&subject| subject.to_owned()).collect();
        store.journal_about_any(kind, &subjects).await.unwrap()
    };
    assert_eq!(about("NOTED", &["a", "c", "z"]).await, [3, 2, 0].map(|place| written[place].clone()));
    assert_eq!(about("NOTED", &[]).await, []);
    assert_eq!(about("OTHER", &["a"]).await, []);
}

pub(crate) async fn journal_row_that_follows_no_head_changes_nothing(store: AnyStore) {
    let first = rows(JournalHead::EMPTY, &["a"]);
    assert_eq!(store.append_journal(&first).await.unwrap(), Commit::Done);
    let late = rows(JournalHead::EMPTY, &["b"]);
    assert_eq!(store.append_journal(&late).await.unwrap(), Commit::Stale);
    // Nor does an entry that comes with it.
    let stale = post(&store, draft("x", 1), vec![Row::Journal(late[0].clone())]).await.unwrap();
    assert_eq!((stale, store.head().await.unwrap()), (Commit::Stale, Head::EMPTY));
    let second = rows(first[0].head(), &["b"]);
    assert_eq!(post(&store, draft("x", 1), vec![Row::Journal(second[0].clone())]).await.unwrap(), Commit::Done);
    assert_eq!(store.journal_head().await.unwrap(), second[0].head());
}

pub(crate) async fn data_of_a_party_can_be_changed_and_erased_with_its_row(store: AnyStore) {
    let (one, two) = (PartyId::new(1), PartyId::new(2));
    let written = rows(JournalHead::EMPTY, &["p", "p", "p", "p"]);
    assert_eq!(store.save_party(two, b"second", &written[..1]).await.unwrap(), Commit::Done);
    assert_eq!(store.save_party(one, b"first", &written[1..2]).await.unwrap(), Commit::Done);
    // Not without its row.
    assert_eq!(store.save_party(one, b"lost", &written[..1]).await.unwrap(), Commit::Stale);
    assert_eq!(store.erase_party(one, &written[..1]).await.unwrap(), Commit::Stale);
    assert_eq!(store.parties().await.unwrap(), [(one, b"first".to_vec()), (two, b"second".to_vec())]);
    assert_eq!(store.save_party(one, b"", &written[2..3]).await.unwrap(), Commit::Done);
    assert_eq!(store.erase_party(two, &written[3..]).await.unwrap(), Commit::Done);
    assert_eq!(store.parties().await.unwrap(), [(one, Vec::new())]);
    assert_eq!(store.journal_head().await.unwrap(), written[3].head());
}

pub(crate) async fn values_of_receipts_are_on_record_once(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    matured_block(&store, 1, account, 100_000_000).await;
    matured_block(&store, 2, account, 70_000_000).await;
    // All that is posted here is posted in the first second that there is.
    let (neutral, prices) = (profile("neutral"), book(&[("1970-01-01", "60000")], &[]));
    let page = Valuing::begin(&*store, &neutral, &prices).await.unwrap().next_page().await.unwrap();
    assert_eq!(store.journal_head().await.unwrap(), JournalHead::EMPTY);
    let appended = 2;
    assert_eq!(page.len(), 2, "{page:?}");
    assert_eq!(valued::keep(&*store, &page).await.unwrap(), Kept { appended, already: 0 });
    assert_eq!(valued::keep(&*store, &page).await.unwrap(), Kept { appended: 0, already: appended });
    let again = valued::value(&*store, &neutral, &prices).await.unwrap();
    assert_eq!((again.valued, again.unchanged), (0, appended));
    let rows = store.journal_rows(JournalSeq::new(0), 100).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.read().unwrap()).collect::<Vec<valued::Valued>>(), page);

    let revised = book(&[("1970-01-01", "60001")], &[]);
    assert_eq!(valued::value(&*store, &neutral, &revised).await.unwrap().revalued, appended);
}

/// Puts rows into the journal that name the ledger as it is, and the sealed data of a party.
pub(super) async fn everything_on_record(store: &AnyStore) {
    let ledger = store.head().await.unwrap();
    let mut head = store.journal_head().await.unwrap();
    for subject in ["a", "b"] {
        let row = JournalRow::seal(head, 7, ledger, &Noted { subject, text: "noted".to_owned() });
        head = row.head();
        assert_eq!(store.save_party(PartyId::new(1), subject.as_bytes(), &[row]).await.unwrap(), Commit::Done);
    }
}
