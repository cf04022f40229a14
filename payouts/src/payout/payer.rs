//! The payer: drives batches from due balances to export records, one durable step at a time.
//!
//! Each step reads from the store how far a batch is and does what comes next, so a crash between any two of them is
//! followed by the same next step. A transaction is stored before it is signed, and signed before it is sent, and what
//! is sent again is the same bytes. What an operator asks for is one such step more.

use std::sync::Arc;

use bitcoincore_rpc::Client;

use crate::{
    account::AccountId,
    books::REORG_WATCH_DEPTH,
    clock::now_ms,
    export::{LotsShort, journal::JournalFault, party::VaultError, sales::Sales},
    ledger::{Draft, Entry, LedgerError},
    payout::{Batch, BatchId, PayoutEvent, PayoutPolicy, Refusal},
    store::{Change, Commit, Row, Store, StoreError},
    wallet::{Wallet, WalletError},
};

mod advance;
mod bump;
mod ending;
mod orders;
mod parties;
mod prepare;
mod preview;
mod restraints;
mod sales;
mod screening;
mod signing;
mod turn;

pub use bump::Replacement;
pub use parties::Ownership;
pub use prepare::Selection;
pub use preview::{Preview, PreviewOutput};
pub use sales::{SaleOrder, SaleStatus};
pub use screening::{Review, Screening};

/// The most batches that wait for a block at a time; further balances wait.
const OPEN_BATCHES: usize = 16;
/// Times a change is worked out anew because another came first.
const COMMIT_ATTEMPTS: u32 = 16;
/// How many confirmations a transaction that has a batch's coins needs before the batch is given up: as many as make a
/// coinbase spendable.
const CONFLICT_DEPTH: u32 = 100;

/// Why payouts could not go on.
#[derive(Debug, thiserror::Error)]
pub enum PayoutError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The wallet failed, or the node did not answer it.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// An entry cannot be made.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The register's journal has a row that cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// What is known of a party cannot be opened or sealed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// What was asked for cannot be done; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A balance and the lots behind it differ: nothing is paid until that is explained.
    #[error("account {account}: {source}")]
    Lots {
        /// Whose balance it is.
        account: AccountId,
        /// By how much.
        source: LotsShort,
    },
    /// A stored or signed transaction is not the one that the batch reserved funds for.
    #[error("the transaction of batch {0} is not the one that was stored")]
    Transaction(BatchId),
    /// An entry to undo is missing from the ledger.
    #[error("the ledger has no entry for what is to be undone of batch {0}")]
    MissingEntry(BatchId),
}

/// Pays what is due.
#[derive(Debug)]
pub struct Payer {
    store: Arc<dyn Store>,
    wallet: Wallet,
    rpc: Arc<Client>,
    policy: PayoutPolicy,
    screening: Screening,
    /// The sales on record, as far as findings were read.
    sales: Sales,
}

impl Payer {
    /// Pays from `wallet` over the node behind `rpc` whom `screening` does not find. There must be one payer to a store.
    pub fn new(
        store: Arc<dyn Store>,
        wallet: Wallet,
        rpc: Arc<Client>,
        policy: PayoutPolicy,
        screening: Screening,
    ) -> Self {
        Self { store, wallet, rpc, policy, screening, sales: Sales::default() }
    }

    /// Returns the wallet it pays from.
    pub fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// Has what the operator decides beforehand be another from now on. Batches that were made keep what they were made
    /// with.
    pub fn set_policy(&mut self, policy: PayoutPolicy) {
        self.policy = policy;
    }

    /// Returns what the operator has decided beforehand.
    pub fn policy(&self) -> &PayoutPolicy {
        &self.policy
    }

    /// Screens whoever is new, takes every batch as far as it can go now, keeps back what fell due of restrained accounts, and makes new
    /// batches if balances are due and the schedule wants it.
    ///
    /// Call it at every new tip, from time to time and after each request; it goes on after a crash at any point.
    ///
    /// # Errors
    ///
    /// If store, wallet or node fail. What was done before is stored, and the next call goes on from there.
    pub async fn step(&mut self) -> Result<Vec<PayoutEvent>, PayoutError> {
        self.step_at(now_ms()).await
    }

    async fn step_at(&mut self, now_ms: i64) -> Result<Vec<PayoutEvent>, PayoutError> {
        let mut events = Vec::new();
        let tip_height = self.wallet.sync(&self.rpc).await?;
        self.screen_accounts(&mut events).await?;
        self.expire_quotes(now_ms).await?;
        let watched = self.store.batches_to_watch(tip_height.saturating_sub(REORG_WATCH_DEPTH)).await?;
        for head in watched {
            // Nearly all are where they were, which can be told without whom they pay.
            if self.may_advance(&head) {
                let batch = self.batch(head.id).await?;
                self.advance(batch, &mut events).await?;
            }
        }
        self.sweep(&mut events).await?;
        self.take_turn(now_ms, &mut events).await?;
        Ok(events)
    }

    /// Returns a batch.
    async fn batch(&self, id: BatchId) -> Result<Batch, PayoutError> {
        Ok(self.store.batch(id).await?.ok_or(Refusal::UnknownBatch(id))?)
    }

    /// Posts an entry with the rows that belong to it, after whichever entry is the last then.
    async fn post(
        &self,
        draft: Draft,
        rows: impl Fn(&Entry, crate::export::register::RegisterHead) -> Vec<Row>,
    ) -> Result<(), PayoutError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let head = self.store.head().await?;
            let register = self.store.register_head().await?;
            let entry = draft.clone().seal(head, now_ms());
            let rows = rows(&entry, register);
            if self.store.commit(Change { entry, rows }).await? != Commit::Stale {
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Commits a change that carries a change of the wallet, and brings the wallet in line with what the store has
    /// then; false if another entry came first.
    async fn commit_with_wallet(&mut self, change: Change) -> Result<bool, PayoutError> {
        match self.store.commit(change).await {
            Ok(Commit::Done) => {
                self.wallet.stored();
                Ok(true)
            }
            // Not stored, or not known to be: what the wallet remembers must be what the store does.
            Ok(Commit::Stale | Commit::Already(_)) => {
                self.wallet.reload().await?;
                Ok(false)
            }
            Err(error) => {
                self.wallet.reload().await?;
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
