//! What operators look for in a store: lists with what each item comes to, and only those items that are wanted.

use async_trait::async_trait;
use bitcoin::{Amount, SignedAmount, Txid};

use super::StoreError;
use crate::{
    access::{AuditRow, AuditSeq},
    account::{Account, AccountId},
    export::{
        journal::{JournalRow, JournalSeq},
        register::{RecordState, RegisterRow, RowSeq},
    },
    hash_chain::ChainHash,
    ledger::{Entry, EntryKind, EntrySeq, LedgerAccount},
    payout::Restraint,
};

/// An account with what the books have of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountLine {
    /// The account.
    pub account: Account,
    /// What is credited to it of blocks that are not mature.
    pub immature: SignedAmount,
    /// What it is due.
    pub payable: SignedAmount,
    /// What operators keep back.
    pub held: SignedAmount,
    /// What may not be paid.
    pub blocked: SignedAmount,
    /// What it was paid beyond its credits.
    pub debt: SignedAmount,
    /// The balance from which it is paid, if it has one of its own.
    pub threshold: Option<Amount>,
    /// Why it is not paid, if it is not.
    pub restraint: Option<Restraint>,
    /// When its last share was accepted, in milliseconds since 1970 UTC, as far as the history has come.
    pub last_share_at_ms: Option<i64>,
}

/// Which entries of the ledger are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// Those of a kind alone.
    pub kind: Option<EntryKind>,
    /// Those alone that post to one of these; to any, if none is named.
    pub accounts: Vec<LedgerAccount>,
}

/// In which order entries are wanted, and where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryRange {
    /// The oldest first: those after this one.
    After(EntrySeq),
    /// The newest first: those before this one, or all.
    Before(Option<EntrySeq>),
}

/// An entry in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryLine {
    /// Its place.
    pub seq: EntrySeq,
    /// What it records.
    pub kind: EntryKind,
    /// What it is about.
    pub key: String,
    /// The entry that it undoes.
    pub corrects: Option<EntrySeq>,
    /// When it was posted, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// How many postings it has.
    pub postings: u64,
    /// The sum of its debits, which is that of its credits.
    pub amount: Amount,
    /// The hash of the entry before it.
    pub previous: ChainHash,
    /// Its hash.
    pub hash: ChainHash,
}

impl From<&Entry> for EntryLine {
    fn from(entry: &Entry) -> EntryLine {
        let debits = entry.postings.iter().filter_map(|posting| u64::try_from(posting.amount.to_sat()).ok());
        EntryLine {
            seq: entry.seq,
            kind: entry.kind,
            key: entry.key.clone(),
            corrects: entry.corrects,
            at_ms: entry.at_ms,
            postings: entry.postings.len() as u64,
            amount: Amount::from_sat(debits.sum()),
            previous: entry.previous,
            hash: entry.hash,
        }
    }
}

/// Which rows of the register are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// From this one on; from the first, if none is named.
    pub first: Option<RowSeq>,
    /// Those before this one; up to the last, if none is named.
    pub end: Option<RowSeq>,
    /// Those of a state alone.
    pub state: Option<RecordState>,
    /// Those alone that pay one of these accounts; any, if nothing is said, and none, if none is named.
    pub accounts: Option<Vec<AccountId>>,
    /// Those alone whose output is of this transaction.
    pub txid: Option<Txid>,
}

/// In which order rows of the register are wanted, and where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordRange {
    /// The oldest first: those after this one.
    After(RowSeq),
    /// The newest first: those before this one, or all.
    Before(Option<RowSeq>),
}

/// What all ledger accounts of a class have together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceSum {
    /// The class: the name of the account, without whose or which it is.
    pub class: String,
    /// How many accounts of it were ever posted to.
    pub accounts: u64,
    /// The sum of their balances.
    pub sum: SignedAmount,
}

/// Which rows of the audit log are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Those alone whose actor has this text in him, in capitals or not.
    pub actor: String,
    /// Those alone whose action has this text in it, in capitals or not.
    pub action: String,
}

impl EntryFilter {
    /// Those that post to one of the ledger accounts of a miner.
    pub fn of_account(account: AccountId) -> EntryFilter {
        EntryFilter { kind: None, accounts: LedgerAccount::of_miner(account).to_vec() }
    }
}

/// The part of a store in which operators look for something.
#[async_trait]
pub trait SearchStore {
    /// Returns accounts after `after` in the order of their numbers, whose address or name has `text` in it, in capitals or
    /// not; all, if it is empty.
    async fn account_lines(&self, text: &str, after: AccountId, limit: u32) -> Result<Vec<AccountLine>, StoreError>;

    /// Returns entries that are wanted, with their postings.
    async fn entries_where(
        &self,
        wanted: &EntryFilter,
        range: EntryRange,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Returns entries that are wanted, in lines.
    async fn entry_lines(
        &self,
        wanted: &EntryFilter,
        range: EntryRange,
        limit: u32,
    ) -> Result<Vec<EntryLine>, StoreError>;

    /// Returns rows of the register that are wanted.
    async fn records_where(
        &self,
        wanted: &RecordFilter,
        range: RecordRange,
        limit: u32,
    ) -> Result<Vec<RegisterRow>, StoreError>;

    /// Returns the rows of the journal after `after` that are of a kind and have none of that kind about the same after
    /// them, in their order.
    async fn latest_journal_rows(
        &self,
        kind: &str,
        after: JournalSeq,
        limit: u32,
    ) -> Result<Vec<JournalRow>, StoreError>;

    /// Returns all rows of the journal that are of a kind and about one of some things, newest first.
    async fn journal_about_any(&self, kind: &str, subjects: &[String]) -> Result<Vec<JournalRow>, StoreError>;

    /// Returns what the ledger accounts of each class have together, in the order of the classes' names.
    async fn balance_sums(&self) -> Result<Vec<BalanceSum>, StoreError>;

    /// Returns rows of the audit log that are wanted before `before`, newest first.
    async fn audit_where(
        &self,
        wanted: &AuditFilter,
        before: Option<AuditSeq>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError>;
}
