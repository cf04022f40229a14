//! Where everything is kept: one trait, and the databases that implement it.
//!
//! A store keeps and finds; it decides nothing about money. Whoever changes money reads the ledger's head first, works
//! out one sealed entry and the rows that go with it, and commits both at once as a [`Change`]. If another entry came
//! in between, the store answers [`Commit::Stale`] and the change is worked out anew. So every decision about money
//! rests on the state it names, and no transaction stays open while it is thought over.

use std::{collections::BTreeMap, fmt::Debug, io, path::PathBuf};

use async_trait::async_trait;
use bitcoin::{Address, Amount, BlockHash, SignedAmount, Transaction};

use crate::{
    account::{Account, AccountId},
    books::{BlockCredit, BlockRecord, BlockState},
    export::{
        Lot,
        register::{RegisterHead, RegisterRow, RowSeq},
    },
    ledger::{Entry, EntryKind, EntrySeq, Head, LedgerAccount},
    payout::{Batch, BatchId, ConfirmationBlock, Due},
    share::{Appended, NewShare, ShareScore, ShareSeq, ShareTotals, StoredShare},
};

#[cfg(test)]
pub(crate) mod conformance;
pub mod copy;
mod outage;
pub mod postgres;
pub mod sqlite;

pub use outage::Outage;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used at the moment. Nothing of the call was done, or it may be repeated.
    #[error("{outage}: {error}")]
    Unavailable {
        /// What stands in the way.
        outage: Outage,
        /// What the database says.
        error: sqlx::Error,
    },
    /// The database failed.
    #[error("database: {0}")]
    Database(sqlx::Error),
    /// Another process writes to this database, or did so a moment ago.
    #[error("another pool works on this database")]
    InUse,
    /// While the database was out of reach, another process wrote to it: what is known here is no longer true.
    #[error("another pool has taken over this database; this one must be started anew")]
    LeaseLost,
    /// The store was opened to read.
    #[error("the database was opened only to read")]
    ReadOnly,
    /// The file that keeps a second pool from a database cannot be made.
    #[error("cannot lock {}: {error}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database's tables could not be brought up to date.
    #[error("database migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The database was written by a later version of this program.
    #[error("the database has schema {found}, this program knows schemas up to {known}")]
    NewerSchema {
        /// The database's schema.
        found: i64,
        /// The latest schema known here.
        known: i64,
    },
    /// The database is older than this program, and was opened only to read.
    #[error("the database has schema {found} instead of {known}; start the pool once to bring it up to date")]
    OlderSchema {
        /// The database's schema.
        found: i64,
        /// The schema that is read.
        known: i64,
    },
    /// An entry of this kind and key exists with other content.
    #[error("the ledger holds {kind} {key} with other content")]
    DifferentEntry {
        /// The entry's kind.
        kind: EntryKind,
        /// The entry's key.
        key: String,
    },
    /// Another writer was first, every time.
    #[error("other changes to the ledger kept coming first")]
    Contended,
    /// A stored value is not what was written there.
    #[error("{table} holds a value that cannot be read: {value:?}")]
    Corrupt {
        /// Where it is.
        table: &'static str,
        /// The value.
        value: String,
    },
    /// A batch is not in the state that the call expects.
    #[error("batch {0} is not waiting for a signature")]
    NotUnsigned(BatchId),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match Outage::of(&error) {
            Some(outage) => Self::Unavailable { outage, error },
            None => Self::Database(error),
        }
    }
}

/// One entry and the rows that belong to it, stored together or not at all.
#[derive(Clone, Debug)]
pub struct Change {
    /// The entry, sealed onto the head that was read.
    pub entry: Entry,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A row that changes with an entry.
#[derive(Clone, Debug)]
pub enum Row {
    /// A block and its split are new.
    BlockFound {
        /// The block.
        block: BlockRecord,
        /// Its split.
        credits: Vec<BlockCredit>,
    },
    /// A block is in another state.
    BlockMoved {
        /// The block.
        hash: BlockHash,
        /// The state.
        state: BlockState,
    },
    /// A batch is new; its lots are taken from the credits they come from.
    BatchCreated {
        /// The batch, in its first state.
        batch: Batch,
        /// The wallet's changes that go with it, in JSON.
        wallet_change: String,
    },
    /// A batch's transaction was given to the node.
    BatchBroadcast {
        /// The batch.
        batch: BatchId,
    },
    /// A batch's transaction is in a block.
    BatchConfirmed {
        /// The batch.
        batch: BatchId,
        /// The block.
        block: ConfirmationBlock,
    },
    /// A batch's transaction is in no block any more.
    BatchReversed {
        /// The batch.
        batch: BatchId,
        /// How many confirmations were undone by now.
        epoch: u32,
    },
    /// The register's next row. A record's first row creates the record.
    Registered(RegisterRow),
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It is stored.
    Done,
    /// The same entry was stored before, at this place; nothing was changed.
    Already(EntrySeq),
    /// The ledger has another head than the entry was sealed onto; nothing was changed.
    Stale,
}

/// Everything that Adit keeps about money.
///
/// What a call returned as done is durable. All lists that can grow without end are read in pages.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// Counts a start of the pool and returns the count, from 1.
    async fn begin_session(&self) -> Result<i64, StoreError>;

    /// Returns the account of an address; creates it at first sight.
    async fn account(&self, address: &Address) -> Result<AccountId, StoreError>;

    /// Returns the account of an address in its canonical text.
    async fn find_account(&self, address: &str) -> Result<Option<Account>, StoreError>;

    /// Returns accounts after `after` in the order of their numbers.
    async fn accounts(&self, after: AccountId, limit: u32) -> Result<Vec<Account>, StoreError>;

    /// Stores shares, all in one transaction, and says for each, in order, what became of it.
    async fn append_shares(&self, shares: &[NewShare]) -> Result<Vec<Appended>, StoreError>;

    /// Returns the position of the newest share; 0 for none.
    async fn share_position(&self) -> Result<ShareSeq, StoreError>;

    /// Returns shares at and before `newest`, newest first.
    async fn shares_back(&self, newest: ShareSeq, limit: u32) -> Result<Vec<ShareScore>, StoreError>;

    /// Returns the newest share.
    async fn last_share(&self) -> Result<Option<StoredShare>, StoreError>;

    /// Returns the number and work of an account's shares, or of all, accepted at or after `since_ms`.
    async fn share_totals(&self, account: Option<AccountId>, since_ms: i64) -> Result<ShareTotals, StoreError>;

    /// Returns the ledger's head.
    async fn head(&self) -> Result<Head, StoreError>;

    /// Stores an entry and its rows in one transaction, if the head is the one that the entry follows.
    async fn commit(&self, change: Change) -> Result<Commit, StoreError>;

    /// Returns the entry of a kind and key.
    async fn entry(&self, kind: EntryKind, key: &str) -> Result<Option<Entry>, StoreError>;

    /// Returns entries after `after`, in their order.
    async fn entries(&self, after: EntrySeq, limit: u32) -> Result<Vec<Entry>, StoreError>;

    /// Returns the balances of all accounts that were ever posted to.
    async fn balances(&self) -> Result<BTreeMap<LedgerAccount, SignedAmount>, StoreError>;

    /// Returns the balance of one account.
    async fn balance(&self, account: LedgerAccount) -> Result<SignedAmount, StoreError>;

    /// Returns a block.
    async fn block(&self, hash: BlockHash) -> Result<Option<BlockRecord>, StoreError>;

    /// Returns the newest blocks, newest first.
    async fn blocks(&self, limit: u32) -> Result<Vec<BlockRecord>, StoreError>;

    /// Returns the blocks that are immature, and all from `height` on.
    async fn blocks_to_watch(&self, height: u32) -> Result<Vec<BlockRecord>, StoreError>;

    /// Returns a block's split, in the order of the accounts.
    async fn credits(&self, hash: BlockHash) -> Result<Vec<BlockCredit>, StoreError>;

    /// Returns balances of at least `least`, smallest first.
    async fn due(&self, least: Amount) -> Result<Vec<Due>, StoreError>;

    /// Returns what is unpaid of an account's matured credits, oldest block first.
    async fn unpaid_lots(&self, account: AccountId) -> Result<Vec<Lot>, StoreError>;

    /// Returns a batch.
    async fn batch(&self, id: BatchId) -> Result<Option<Batch>, StoreError>;

    /// Returns the newest batches, newest first.
    async fn batches(&self, limit: u32) -> Result<Vec<Batch>, StoreError>;

    /// Returns the batches that are not confirmed, and those confirmed from `height` on, oldest first.
    async fn batches_to_watch(&self, height: u32) -> Result<Vec<Batch>, StoreError>;

    /// Stores the signed transaction of a batch that has none.
    async fn store_signed(&self, batch: BatchId, transaction: &Transaction) -> Result<(), StoreError>;

    /// Returns the register's head.
    async fn register_head(&self) -> Result<RegisterHead, StoreError>;

    /// Returns rows of the register after `after`, in their order, each with its record and lots.
    async fn register_rows(&self, after: RowSeq, limit: u32) -> Result<Vec<RegisterRow>, StoreError>;

    /// Appends changes of the wallet, in JSON.
    async fn append_wallet_change(&self, change: &str) -> Result<(), StoreError>;

    /// Returns all changes of the wallet, oldest first.
    async fn wallet_changes(&self) -> Result<Vec<String>, StoreError>;
}
