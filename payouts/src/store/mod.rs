//! Where everything is kept: one trait, and the databases that implement it.
//!
//! A store keeps and finds; it decides nothing about money. Whoever changes money reads the ledger's head first, works
//! out one sealed entry and the rows that go with it, and commits both at once as a [`Change`]. If another entry came
//! in between, the store answers [`Commit::Stale`] and the change is worked out anew. So every decision about money
//! rests on the state it names, and no transaction stays open while it is thought over.

use std::{collections::BTreeMap, fmt::Debug};

use async_trait::async_trait;
use bitcoin::{Address, Amount, BlockHash, SignedAmount, Transaction, Txid};

use crate::{
    account::{Account, AccountId, AccountName, AccountSettings, Naming},
    books::{BlockCredit, BlockRecord, BlockState, FrozenWindow},
    crediting::{
        CreditedPeriod, NetworkBlockRow, Period, PeriodEarning, PeriodLot, PeriodNumber, PeriodWork, ReserveLot,
    },
    deposits::Deposit,
    export::{
        Lot,
        journal::{JournalHead, JournalRow, JournalSeq},
        party::PartyId,
        register::{RegisterHead, RegisterRow, RowSeq},
    },
    ledger::{Entry, EntryKind, EntrySeq, Head, LedgerAccount},
    payout::{
        Attempt, Batch, BatchEvent, BatchHead, BatchId, BatchState, ConfirmationBlock, Due, PayoutRun, Restraint,
        RestraintRow,
    },
    reserve::{PoolMoney, Recipient},
    scheme::{beneficiary::Wishes, pps::Earned},
    share::{Appended, JobTerms, JobWork, Segment, SegmentSize, ShareGroup, ShareSeq, ShareTotals, WorkerTotals},
};

mod access;
#[cfg(test)]
pub(crate) mod conformance;
pub mod copy;
mod error;
mod history;
mod outage;
mod pages;
pub mod postgres;
mod search;
pub mod sqlite;

pub use access::AccessStore;
pub use error::StoreError;
pub use history::{HistoryStep, HistoryStore};
pub use outage::Outage;
pub use pages::{AccountCredit, AccountPayment, AccountPosting, PageStore};
pub use search::{
    AccountLine, AuditFilter, BalanceSum, EntryFilter, EntryLine, EntryRange, RecordFilter, RecordRange, SearchStore,
};

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
        /// What was counted for it; nothing if no share matters.
        window: Option<FrozenWindow>,
    },
    /// A block is in another state.
    BlockMoved {
        /// The block.
        hash: BlockHash,
        /// The state.
        state: BlockState,
    },
    /// An immature block's coinbase pays a part of a credit.
    DirectPaid {
        /// The block.
        block: BlockHash,
        /// Whose credit.
        account: AccountId,
        /// The part, which may be zero.
        amount: Amount,
    },
    /// It does not any more: the block left the chain.
    DirectVoid {
        /// The block.
        block: BlockHash,
        /// Whose credit.
        account: AccountId,
        /// The part, which may be zero.
        amount: Amount,
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
        /// The attempt's number.
        attempt: u32,
    },
    /// A batch's transaction is in a block.
    BatchConfirmed {
        /// The batch.
        batch: BatchId,
        /// The attempt's number.
        attempt: u32,
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
    /// A batch was cancelled or replaced; its lots are given back to the credits they come from.
    BatchEnded {
        /// The batch.
        batch: BatchId,
        /// Its last state.
        state: BatchState,
        /// What is on record about it.
        event: BatchEvent,
        /// The wallet's changes that go with it, in JSON.
        wallet_change: String,
    },
    /// The loss of coins to a transaction that is not ours is booked.
    ConflictBooked {
        /// That transaction.
        txid: Txid,
        /// The batch that was replaced.
        batch: BatchId,
        /// What was lost.
        loss: Amount,
    },
    /// An account is restrained, swept or released.
    Restrained(RestraintRow),
    /// The register's next row. A record's first row creates the record.
    Registered(RegisterRow),
    /// The next row of the register's journal. If another came first, the whole change is stale.
    Journal(JournalRow),
    /// A block's part of the reserve came to it, or left it again.
    ReserveBlock {
        /// The coin.
        lot: Lot,
        /// Whether it left.
        is_void: bool,
    },
    /// The operator gave coins of the pool away.
    Given {
        /// Out of what.
        from: PoolMoney,
        /// To whom.
        to: Recipient,
        /// The coins, oldest first.
        lots: Vec<Lot>,
    },
    /// A period is paid. Its entry is the one that the row comes with.
    PeriodCredited(Box<CreditedPeriod>),
    /// A deposit came, or left.
    Deposit(Deposit),
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
pub trait Store: AccessStore + HistoryStore + PageStore + SearchStore + Debug + Send + Sync {
    /// Counts a start of the pool and returns the count, from 1.
    async fn begin_session(&self) -> Result<i64, StoreError>;

    /// Returns the account of an address; creates it at first sight.
    async fn account(&self, address: &Address) -> Result<AccountId, StoreError>;

    /// Returns the account of an address in its canonical text.
    async fn find_account(&self, address: &str) -> Result<Option<Account>, StoreError>;

    /// Returns the account that a name belongs to, whether it is called so now or was before.
    async fn find_named(&self, name: &AccountName) -> Result<Option<Account>, StoreError>;

    /// Returns accounts after `after` in the order of their numbers.
    async fn accounts(&self, after: AccountId, limit: u32) -> Result<Vec<Account>, StoreError>;

    /// Returns the accounts with a name after `after` in the order of their numbers.
    async fn named_accounts(&self, after: AccountId, limit: u32) -> Result<Vec<Account>, StoreError>;

    /// Names an account, in the place of the name that it had, or takes its name away. A name that an account ever had is
    /// never another's.
    async fn name_account(&self, account: AccountId, name: Option<&AccountName>) -> Result<Naming, StoreError>;

    /// Stores a group of shares, all in one transaction and once, however often it is tried.
    async fn append_shares(&self, group: &ShareGroup) -> Result<Appended, StoreError>;

    /// Returns the position of the newest segment; 0 for none.
    async fn share_position(&self) -> Result<ShareSeq, StoreError>;

    /// Returns segments at and before `newest`, newest first: whole ones that have about `rows` rows together, and
    /// one at least if there is any. Only what counts in windows is in them.
    async fn segments_back(&self, newest: ShareSeq, rows: u32) -> Result<Vec<Segment>, StoreError>;

    /// Returns the work that counts in windows in the segments after `after` up to `upto`: a sum for each account and
    /// job, in the order of jobs and then accounts.
    async fn work_between(&self, after: ShareSeq, upto: ShareSeq) -> Result<Vec<JobWork>, StoreError>;

    /// Returns the jobs that shares were found on that count in windows, in the segments after `after` up to `upto`; in the
    /// order of their numbers.
    async fn jobs_between(&self, after: ShareSeq, upto: ShareSeq) -> Result<Vec<JobTerms>, StoreError>;

    /// Returns the number and work of an account's shares, or of all, accepted at or after `since_ms`. Of shares that
    /// are kept as one sum, all count if the last one does.
    async fn share_totals(&self, account: Option<AccountId>, since_ms: i64) -> Result<ShareTotals, StoreError>;

    /// Returns what each worker of an account has done in shares accepted at or after `since_ms`, in the order of names.
    /// Of shares that are kept as one sum, all count if the last one does.
    async fn worker_totals(&self, account: AccountId, since_ms: i64) -> Result<Vec<WorkerTotals>, StoreError>;

    /// Returns when the oldest segment's first share was accepted, in milliseconds since 1970 UTC: earlier ones are not
    /// kept. Nothing if there are none.
    async fn shares_kept_since(&self) -> Result<Option<i64>, StoreError>;

    /// Returns where the share log was at a time: the last segment before the newest job made by then. Never later than
    /// it was, for only jobs that shares were found on are known.
    async fn position_at(&self, at_ms: i64) -> Result<ShareSeq, StoreError>;

    /// Returns the sizes of segments after `after` up to and with `upto`, oldest first.
    async fn segment_sizes(&self, after: ShareSeq, upto: ShareSeq, limit: u32) -> Result<Vec<SegmentSize>, StoreError>;

    /// Folds the segments after `after` up to and with `upto` into the newest of them, all in one transaction, and
    /// returns how many rows that has then. Shares of one worker, difficulty and network's target become one row, under
    /// the newest job of that target. They must have ceased to grow.
    async fn fold_segments(&self, after: ShareSeq, upto: ShareSeq) -> Result<u64, StoreError>;

    /// Deletes the oldest segments up to and with `upto`, all in one transaction: whole ones that have about `rows` rows
    /// together. Returns how many rows that were; 0 if there is none left.
    async fn delete_segments(&self, upto: ShareSeq, rows: u32) -> Result<u64, StoreError>;

    /// Returns the share positions of blocks after `after` up to and with `upto`, each once, in their order.
    async fn block_positions(&self, after: ShareSeq, upto: ShareSeq) -> Result<Vec<ShareSeq>, StoreError>;

    /// Returns the blocks that have a rule, but not what was counted for them, lowest first.
    async fn blocks_without_window(&self) -> Result<Vec<BlockRecord>, StoreError>;

    /// Stores what was counted for a block that has it not; of one that has it, nothing is changed.
    async fn keep_window(&self, hash: BlockHash, window: &FrozenWindow) -> Result<(), StoreError>;

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

    /// Returns what was counted for a block; nothing if no share mattered, or it was recorded when that was not kept.
    async fn block_window(&self, hash: BlockHash) -> Result<Option<FrozenWindow>, StoreError>;

    /// Returns balances of at least their accounts' own thresholds, or else of `least`, smallest first. Accounts under
    /// a restraint are left out.
    async fn due(&self, least: Amount) -> Result<Vec<Due>, StoreError>;

    /// Returns an account with what it is due, which may be nothing, whatever its threshold is.
    async fn due_of(&self, account: AccountId) -> Result<Option<Due>, StoreError>;

    /// Returns what is unpaid of an account's matured credits and of those for work, oldest first.
    async fn unpaid_lots(&self, account: AccountId) -> Result<Vec<Lot>, StoreError>;

    /// Returns a batch.
    async fn batch(&self, id: BatchId) -> Result<Option<Batch>, StoreError>;

    /// Returns the newest batches, newest first.
    async fn batches(&self, limit: u32) -> Result<Vec<Batch>, StoreError>;

    /// Returns the batches that are open, and those confirmed from `height` on, oldest first.
    async fn batches_to_watch(&self, height: u32) -> Result<Vec<BatchHead>, StoreError>;

    /// Returns a batch's attempts in the order of their numbers.
    async fn attempts_of(&self, batch: BatchId) -> Result<Vec<Attempt>, StoreError>;

    /// Returns what is on record about a batch, oldest first.
    async fn batch_events(&self, batch: BatchId) -> Result<Vec<BatchEvent>, StoreError>;

    /// Puts something on record about a batch. An approval is also what the batch waits for; the first one counts, and
    /// so does the first export.
    async fn note_batch(&self, batch: BatchId, event: &BatchEvent) -> Result<(), StoreError>;

    /// Stores the next attempt of an open batch, with the wallet's changes, in JSON, that go with it.
    async fn add_attempt(&self, batch: BatchId, attempt: &Attempt, wallet_change: &str) -> Result<(), StoreError>;

    /// Stores the signed transaction of an open batch's attempt that has none.
    async fn store_signed(&self, batch: BatchId, attempt: u32, transaction: &Transaction) -> Result<(), StoreError>;

    /// Tells whether the loss to a transaction that is not ours was booked.
    async fn is_conflict_booked(&self, txid: Txid) -> Result<bool, StoreError>;

    /// Returns the last act of an account's restraint.
    async fn restraint(&self, account: AccountId, restraint: Restraint) -> Result<Option<RestraintRow>, StoreError>;

    /// Returns the last act of each restraint that is in force, by account.
    async fn restraints_in_force(&self) -> Result<Vec<RestraintRow>, StoreError>;

    /// Returns the acts of all restraints that came with entries after `after`, in their order.
    async fn restraint_rows(&self, after: EntrySeq, limit: u32) -> Result<Vec<RestraintRow>, StoreError>;

    /// Returns the account's own threshold.
    async fn threshold(&self, account: AccountId) -> Result<Option<Amount>, StoreError>;

    /// Gives an account a threshold of its own, or the pool's.
    async fn set_threshold(&self, account: AccountId, threshold: Option<Amount>) -> Result<(), StoreError>;

    /// Returns the last slot that was done with.
    async fn last_run(&self) -> Result<Option<PayoutRun>, StoreError>;

    /// Notes that a slot is done with. The same run again is noted once.
    async fn note_run(&self, run: &PayoutRun) -> Result<(), StoreError>;

    /// Returns the register's head.
    async fn register_head(&self) -> Result<RegisterHead, StoreError>;

    /// Returns rows of the register after `after`, in their order, each with its record and lots.
    async fn register_rows(&self, after: RowSeq, limit: u32) -> Result<Vec<RegisterRow>, StoreError>;

    /// Returns the head of the register's journal.
    async fn journal_head(&self) -> Result<JournalHead, StoreError>;

    /// Appends rows to the register's journal, all or none, if they follow its head.
    async fn append_journal(&self, rows: &[JournalRow]) -> Result<Commit, StoreError>;

    /// Returns rows of the journal after `after`, in their order.
    async fn journal_rows(&self, after: JournalSeq, limit: u32) -> Result<Vec<JournalRow>, StoreError>;

    /// Returns rows of a kind, whatever they are about, behind a subject and a row about it: by subject, then in their order.
    async fn journal_of(
        &self,
        kind: &str,
        after: (&str, JournalSeq),
        limit: u32,
    ) -> Result<Vec<JournalRow>, StoreError>;

    /// Returns the newest rows of a kind about a subject, newest first.
    async fn journal_about(&self, kind: &str, subject: &str, limit: u32) -> Result<Vec<JournalRow>, StoreError>;

    /// Stores the sealed data of a party, in the place of what there was, together with the rows of the journal that say
    /// so, if they follow its head.
    async fn save_party(&self, id: PartyId, sealed: &[u8], rows: &[JournalRow]) -> Result<Commit, StoreError>;

    /// Deletes the sealed data of a party, together with the rows of the journal that say so, if they follow its head.
    async fn erase_party(&self, id: PartyId, rows: &[JournalRow]) -> Result<Commit, StoreError>;

    /// Returns the sealed data of all parties, in the order of their numbers.
    async fn parties(&self) -> Result<Vec<(PartyId, Vec<u8>)>, StoreError>;

    /// Appends changes of the wallet, in JSON.
    async fn append_wallet_change(&self, change: &str) -> Result<(), StoreError>;

    /// Returns all changes of the wallet, oldest first.
    async fn wallet_changes(&self) -> Result<Vec<String>, StoreError>;

    /// Returns what an account asked for last; nothing if it never did.
    async fn settings(&self, account: AccountId) -> Result<Option<AccountSettings>, StoreError>;

    /// Stores what an account asks for. It holds for what is paid for shares up to `from` or any later position, but
    /// never for what is split or paid already, nor from earlier on than what it asked for before.
    async fn append_settings(
        &self,
        account: AccountId,
        from: ShareSeq,
        settings: &AccountSettings,
    ) -> Result<(), StoreError>;

    /// Returns the wishes that were in force at a position, of the accounts that had any.
    async fn wishes(&self, position: ShareSeq) -> Result<BTreeMap<AccountId, Wishes>, StoreError>;

    /// Returns a period.
    async fn period(&self, number: PeriodNumber) -> Result<Option<Period>, StoreError>;

    /// Returns the newest period.
    async fn last_period(&self) -> Result<Option<Period>, StoreError>;

    /// Returns the periods that are not paid, oldest first; the last of them may be open.
    async fn uncredited_periods(&self) -> Result<Vec<Period>, StoreError>;

    /// Stores periods that are open or closed, all or none, in the place of what was stored of them. Those that are
    /// paid stay.
    async fn save_periods(&self, periods: &[Period]) -> Result<(), StoreError>;

    /// Returns the fraction of a satoshi that each account carries to its next period.
    async fn carried(&self) -> Result<BTreeMap<AccountId, Earned>, StoreError>;

    /// Returns an account's work in a period that is paid.
    async fn period_work(&self, number: PeriodNumber, account: AccountId) -> Result<Vec<PeriodWork>, StoreError>;

    /// Returns what all accounts earned in a period that is paid, in their order.
    async fn period_earnings(&self, number: PeriodNumber) -> Result<Vec<PeriodEarning>, StoreError>;

    /// Returns what a period credits, in the order of accounts and lines.
    async fn period_lots(&self, number: PeriodNumber) -> Result<Vec<PeriodLot>, StoreError>;

    /// Returns what is left of the reserve's coins, in their line.
    async fn reserve_lots(&self) -> Result<Vec<ReserveLot>, StoreError>;

    /// Returns the coins of the fee or the deposits that were not given away, oldest first.
    async fn pool_coins(&self, from: PoolMoney) -> Result<Vec<Lot>, StoreError>;

    /// Returns all deposits that were ever booked.
    async fn deposits(&self) -> Result<Vec<Deposit>, StoreError>;

    /// Returns a block of the network, if it was stored.
    async fn network_block(&self, height: u32) -> Result<Option<NetworkBlockRow>, StoreError>;

    /// Stores a block of the network; one that is stored stays as it is.
    async fn save_network_block(&self, block: &NetworkBlockRow) -> Result<(), StoreError>;
}
