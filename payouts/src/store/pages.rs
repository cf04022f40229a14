//! Lists of a store for people: newest first, in pages that a cursor continues.

use async_trait::async_trait;
use bitcoin::{Amount, BlockHash, OutPoint, SignedAmount, Txid};

use super::StoreError;
use crate::{
    account::{Account, AccountId},
    books::BlockRecord,
    export::register::RegisterRow,
    ledger::{EntryKind, EntrySeq, LedgerAccount},
    payout::{BatchHead, BatchId, PaidOutput},
};

/// One line of an entry that is about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPosting {
    /// The entry.
    pub entry: EntrySeq,
    /// The line's place in it, from 0.
    pub line: u32,
    /// What the entry records.
    pub kind: EntryKind,
    /// What the entry is about.
    pub key: String,
    /// When it was posted, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Which of the account's ledger accounts.
    pub account: LedgerAccount,
    /// What was posted to it. What the pool owes is negative.
    pub amount: SignedAmount,
}

/// An output of a batch that pays an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPayment {
    /// The batch.
    pub batch: BatchId,
    /// The output's place in its transaction.
    pub vout: u32,
    /// What is taken from the balance.
    pub amount: Amount,
    /// What of it goes to the network.
    pub fee: Amount,
    /// `open`, `confirmed`, `cancelled` or `replaced`.
    pub state: String,
    /// The transaction: the confirmed one, or else the newest.
    pub txid: Txid,
    /// When the batch was made, in milliseconds since 1970 UTC.
    pub created_at_ms: i64,
    /// The height of the block that it is in.
    pub height: Option<u32>,
}

/// What a block credits to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountCredit {
    /// The block.
    pub block: BlockRecord,
    /// The credit.
    pub amount: Amount,
    /// What of it was paid so far: what the coinbase pays directly, and what payouts have taken.
    pub paid: Amount,
}

/// The part of a store that gives lists for people.
#[async_trait]
pub trait PageStore {
    /// Returns those of some accounts that there are, each once, in the order of their numbers.
    async fn accounts_among(&self, ids: &[AccountId]) -> Result<Vec<Account>, StoreError>;

    /// Returns the blocks behind `after` in the order of [`super::Store::blocks`]: highest first, and of one height by
    /// their hashes as texts.
    async fn blocks_after(&self, after: Option<(u32, BlockHash)>, limit: u32) -> Result<Vec<BlockRecord>, StoreError>;

    /// Returns the batches before `before`, newest first.
    async fn batches_before(&self, before: Option<BatchId>, limit: u32) -> Result<Vec<BatchHead>, StoreError>;

    /// Returns a batch.
    async fn batch_head(&self, batch: BatchId) -> Result<Option<BatchHead>, StoreError>;

    /// Returns the outputs of a batch behind `after`, in the order of their places.
    async fn outputs_of(&self, batch: BatchId, after: Option<u32>, limit: u32) -> Result<Vec<PaidOutput>, StoreError>;

    /// Returns the output of a batch that pays an account.
    async fn output_to(&self, batch: BatchId, account: AccountId) -> Result<Option<PaidOutput>, StoreError>;

    /// Returns what was posted about an account before the line `before` of an entry, newest first.
    async fn postings_of(
        &self,
        account: AccountId,
        before: Option<(EntrySeq, u32)>,
        limit: u32,
    ) -> Result<Vec<AccountPosting>, StoreError>;

    /// Returns what batches before `before` pay to an account, newest first.
    async fn payments_to(
        &self,
        account: AccountId,
        before: Option<BatchId>,
        limit: u32,
    ) -> Result<Vec<AccountPayment>, StoreError>;

    /// Returns what was posted about an account by entries of a time, from `from_ms` on and before `until_ms`, behind the
    /// line `after` of an entry, oldest first.
    async fn postings_between(
        &self,
        account: AccountId,
        from_ms: i64,
        until_ms: i64,
        after: Option<(EntrySeq, u32)>,
        limit: u32,
    ) -> Result<Vec<AccountPosting>, StoreError>;

    /// Returns what the blocks behind `after` credit to an account, in the order of [`PageStore::blocks_after`].
    async fn credits_to(
        &self,
        account: AccountId,
        after: Option<(u32, BlockHash)>,
        limit: u32,
    ) -> Result<Vec<AccountCredit>, StoreError>;

    /// Returns the newest batch that has made a transaction, whatever became of that.
    async fn batch_of(&self, txid: Txid) -> Result<Option<BatchId>, StoreError>;

    /// Returns the rows of the register about an output, in their order.
    async fn register_rows_of(&self, delivery: OutPoint) -> Result<Vec<RegisterRow>, StoreError>;
}
