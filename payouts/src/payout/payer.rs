//! The payer: drives batches from due balances to export records, one durable step at a time.
//!
//! Each step reads from the store how far a batch is and does what comes next, so a crash between any two of them is
//! followed by the same next step. A batch has one transaction for ever: it is stored before it is signed, and signed
//! before it is sent, and what is sent again is the same bytes.

use std::sync::Arc;

use bitcoin::{Amount, Psbt, Transaction};
use bitcoincore_rpc::Client;

use crate::{
    account::AccountId,
    books::REORG_WATCH_DEPTH,
    clock::now_ms,
    export::{
        self, LotsShort,
        register::{RecordState, RegisterHead, RegisterRow},
    },
    ledger::{Draft, Entry, EntryKind, LedgerError},
    payout::{
        Batch, BatchId, BatchState, ConfirmationBlock, Due, PaidOutput, PayoutEvent, PayoutPolicy,
        node::{self, Submission},
    },
    store::{Change, Commit, Row, Store, StoreError},
    wallet::{Proposal, Wallet, WalletError, blocking},
};

/// The most batches that wait for a block at a time; further balances wait.
const OPEN_BATCHES: usize = 16;
/// Times a change is worked out anew because another came first.
const COMMIT_ATTEMPTS: u32 = 16;

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
    /// A confirmation to undo is missing from the ledger.
    #[error("batch {0} is confirmed, but the ledger has no entry for it")]
    MissingConfirmation(BatchId),
}

/// Pays what is due.
#[derive(Debug)]
pub struct Payer {
    store: Arc<dyn Store>,
    wallet: Wallet,
    rpc: Arc<Client>,
    policy: PayoutPolicy,
}

impl Payer {
    /// Pays from `wallet` over the node behind `rpc`. There must be one payer to a store.
    pub fn new(store: Arc<dyn Store>, wallet: Wallet, rpc: Arc<Client>, policy: PayoutPolicy) -> Self {
        Self { store, wallet, rpc, policy }
    }

    /// Returns the wallet it pays from.
    pub fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// Takes every batch as far as it can go now, and begins a new one if balances are due.
    ///
    /// Call it at every new tip and from time to time; it goes on after a crash at any point.
    ///
    /// # Errors
    ///
    /// If store, wallet or node fail. What was done before is stored, and the next call goes on from there.
    pub async fn step(&mut self) -> Result<Vec<PayoutEvent>, PayoutError> {
        let mut events = Vec::new();
        let tip_height = self.wallet.sync(&self.rpc).await?;
        let watched = self.store.batches_to_watch(tip_height.saturating_sub(REORG_WATCH_DEPTH)).await?;
        for batch in watched {
            self.advance(batch, &mut events).await?;
        }
        if let Some(batch) = self.prepare(&mut events).await? {
            self.advance(batch, &mut events).await?;
        }
        Ok(events)
    }

    /// Takes one batch as far as it can go.
    async fn advance(&mut self, mut batch: Batch, events: &mut Vec<PayoutEvent>) -> Result<(), PayoutError> {
        let in_chain = self.wallet.confirmation(batch.txid);
        if let BatchState::Confirmed(_, booked) = batch.state
            && in_chain != Some(booked)
        {
            batch = self.reverse(batch, booked, events).await?;
        }
        if batch.state == BatchState::Created {
            batch = self.sign(batch).await?;
        }
        if let BatchState::Signed(transaction) | BatchState::Broadcast(transaction) = &batch.state {
            // One in the chain is known to the node; any other is given to it again, for it may have forgotten.
            let transaction = transaction.clone();
            if in_chain.is_some() || self.submit(&batch, &transaction, events).await? {
                batch = self.release(batch, transaction, events).await?;
            }
        }
        match in_chain {
            Some(block) if matches!(batch.state, BatchState::Broadcast(_)) => self.confirm(batch, block, events).await,
            _ => Ok(()),
        }
    }

    /// Reserves balances and coins for a new batch, if any are due and free. The first durable step.
    async fn prepare(&mut self, events: &mut Vec<PayoutEvent>) -> Result<Option<Batch>, PayoutError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let head = self.store.head().await?;
            let open = self.store.batches_to_watch(u32::MAX).await?;
            let due = self.store.due(self.policy.threshold).await?;
            let due: Vec<_> =
                due.into_iter().filter(|due| due.amount >= due.script_pubkey.minimal_non_dust()).collect();
            if open.len() >= OPEN_BATCHES || due.is_empty() {
                return Ok(None);
            }
            let Some((paid, proposal)) = self.propose(&due).await? else {
                let waiting = due.iter().map(|due| due.amount).sum();
                events.push(PayoutEvent::Waiting { accounts: due.len(), due: waiting });
                return Ok(None);
            };
            let newest = self.store.batches(1).await?.first().map_or(0, |batch| batch.id.get());
            let batch = match self.batch(BatchId::new(newest + 1), paid, &proposal).await {
                Ok(batch) => batch,
                Err(error) => {
                    self.wallet.reload().await?;
                    return Err(error);
                }
            };
            let entry = batch.creation().balanced()?.seal(head, batch.created_at_ms);
            let row = Row::BatchCreated { batch: batch.clone(), wallet_change: proposal.change };
            match self.store.commit(Change { entry, rows: vec![row] }).await {
                Ok(Commit::Done) => {
                    self.wallet.stored();
                    events.push(created(&batch));
                    return Ok(Some(batch));
                }
                // Not stored, or not known to be: what the wallet remembers must be what the store does.
                Ok(Commit::Stale | Commit::Already(_)) => self.wallet.reload().await?,
                Err(error) => {
                    self.wallet.reload().await?;
                    return Err(error.into());
                }
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Makes a transaction that pays as many as the coins allow, the smallest balances first.
    async fn propose(&mut self, due: &[Due]) -> Result<Option<(Vec<Due>, Proposal)>, PayoutError> {
        let (rpc, policy) = (Arc::clone(&self.rpc), self.policy.clone());
        let fee_rate = blocking(move || Ok::<_, WalletError>(node::fee_rate(&rpc, &policy))).await?;
        let mut paid = due[..due.len().min(self.policy.max_outputs)].to_vec();
        while !paid.is_empty() {
            let recipients = paid.iter().map(|due| (due.script_pubkey.clone(), due.amount)).collect();
            if let Some(proposal) = self.wallet.propose(recipients, fee_rate)? {
                return Ok(Some((paid, proposal)));
            }
            paid.truncate(paid.len() / 2);
        }
        Ok(None)
    }

    async fn batch(&self, id: BatchId, paid: Vec<Due>, proposal: &Proposal) -> Result<Batch, PayoutError> {
        let transaction = &proposal.psbt.unsigned_tx;
        let mut outputs = Vec::with_capacity(paid.len());
        for (vout, due) in (0..).zip(paid) {
            let lots = self.store.unpaid_lots(due.account).await?;
            let lots = export::allocate(lots, due.amount)
                .map_err(|source| PayoutError::Lots { account: due.account, source })?;
            outputs.push(PaidOutput { vout, due, lots });
        }
        // The recipients come first and in their order; what follows is change.
        let wanted: Vec<_> = outputs.iter().map(|output| output_of(&output.due)).collect();
        let made: Vec<_> = transaction.output.iter().map(|output| (&*output.script_pubkey, output.value)).collect();
        if !made.starts_with(&wanted) || made.len() > wanted.len() + 1 {
            return Err(PayoutError::Transaction(id));
        }
        Ok(Batch {
            id,
            txid: transaction.compute_txid(),
            psbt: proposal.psbt.serialize(),
            outputs,
            network_fee: proposal.fee,
            state: BatchState::Created,
            epoch: 0,
            created_at_ms: now_ms(),
        })
    }

    /// Signs a batch's transaction and stores it. The second durable step.
    async fn sign(&mut self, batch: Batch) -> Result<Batch, PayoutError> {
        let psbt = Psbt::deserialize(&batch.psbt).map_err(|_| PayoutError::Transaction(batch.id))?;
        let transaction = self.wallet.sign(psbt)?;
        if transaction.compute_txid() != batch.txid {
            return Err(PayoutError::Transaction(batch.id));
        }
        self.store.store_signed(batch.id, &transaction).await?;
        Ok(Batch { state: BatchState::Signed(transaction), ..batch })
    }

    /// Gives the transaction to the node; true if the node has it.
    async fn submit(
        &self,
        batch: &Batch,
        transaction: &Transaction,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<bool, PayoutError> {
        let (rpc, bytes) = (Arc::clone(&self.rpc), transaction.clone());
        match blocking(move || Ok::<_, PayoutError>(node::submit(&rpc, &bytes))).await? {
            Submission::Accepted => Ok(true),
            Submission::Refused(reason) | Submission::Unknown(reason) => {
                tracing::warn!(batch = %batch.id, txid = %batch.txid, %reason, "the node did not take a payout");
                events.push(PayoutEvent::Refused { batch: batch.id, txid: batch.txid, reason });
                Ok(false)
            }
        }
    }

    /// Notes that the node has the transaction.
    async fn release(
        &self,
        batch: Batch,
        transaction: Transaction,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<Batch, PayoutError> {
        if matches!(batch.state, BatchState::Signed(_)) {
            let row = Row::BatchBroadcast { batch: batch.id };
            self.post(batch.broadcast().balanced()?, |_, _| vec![row.clone()]).await?;
            events.push(PayoutEvent::Broadcast { batch: batch.id, txid: batch.txid });
        }
        Ok(Batch { state: BatchState::Broadcast(transaction), ..batch })
    }

    /// Books a confirmation, and with it one export record for each paid output.
    async fn confirm(
        &self,
        batch: Batch,
        block: ConfirmationBlock,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<(), PayoutError> {
        let row = Row::BatchConfirmed { batch: batch.id, block };
        self.register(&batch, batch.confirmation(&block).balanced()?, row, RecordState::Delivered, block).await?;
        let records = batch.outputs.len();
        events.push(PayoutEvent::Confirmed { batch: batch.id, txid: batch.txid, block, records });
        Ok(())
    }

    /// Undoes the confirmation in a block that left the chain, and the deliveries with it.
    async fn reverse(
        &self,
        batch: Batch,
        block: ConfirmationBlock,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<Batch, PayoutError> {
        let BatchState::Confirmed(transaction, _) = batch.state.clone() else { return Ok(batch) };
        let confirmed = self.store.entry(EntryKind::Confirmed, &batch.confirmation_key(&block)).await?;
        let confirmed = confirmed.ok_or(PayoutError::MissingConfirmation(batch.id))?;
        let draft = batch.reversal(&block, confirmed.seq).balanced()?;
        let epoch = batch.epoch + 1;
        let row = Row::BatchReversed { batch: batch.id, epoch };
        self.register(&batch, draft, row, RecordState::Reversed, block).await?;
        events.push(PayoutEvent::Reversed { batch: batch.id, txid: batch.txid, block });
        Ok(Batch { state: BatchState::Broadcast(transaction), epoch, ..batch })
    }

    /// Posts an entry together with a row of the register for each output of the batch.
    async fn register(
        &self,
        batch: &Batch,
        draft: Draft,
        row: Row,
        state: RecordState,
        block: ConfirmationBlock,
    ) -> Result<(), PayoutError> {
        self.post(draft, |entry, mut register| {
            let mut rows = vec![row.clone()];
            for record in batch.export_records() {
                let registered = RegisterRow::seal(register, record, state, block, entry);
                register = registered.head();
                rows.push(Row::Registered(registered));
            }
            rows
        })
        .await
    }

    /// Posts an entry with the rows that belong to it, after whichever entry is the last then.
    async fn post(&self, draft: Draft, rows: impl Fn(&Entry, RegisterHead) -> Vec<Row>) -> Result<(), PayoutError> {
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
}

fn output_of(due: &Due) -> (&bitcoin::Script, Amount) {
    (&due.script_pubkey, due.amount)
}

fn created(batch: &Batch) -> PayoutEvent {
    PayoutEvent::Created {
        batch: batch.id,
        txid: batch.txid,
        outputs: batch.outputs.len(),
        paid: batch.paid(),
        network_fee: batch.network_fee,
    }
}

#[cfg(test)]
mod tests;
