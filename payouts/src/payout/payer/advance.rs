//! Taking a batch as far as it can go: signed, sent, confirmed, and back if its block leaves the chain.

use std::sync::Arc;

use bitcoin::{Psbt, Transaction, Txid};

use super::{Payer, PayoutError};
use crate::{
    export::register::{RecordState, RegisterRow},
    ledger::{Draft, EntryKind},
    payout::{
        Attempt, AttemptStage, Batch, BatchApproval, BatchHead, BatchState, ConfirmationBlock, PayoutEvent,
        node::{self, Submission},
    },
    store::Row,
    wallet::blocking,
};

impl Payer {
    /// Tells whether anything may remain to be done with a batch: whether it is open, or elsewhere in the chain than is
    /// booked.
    pub(super) fn may_advance(&self, batch: &BatchHead) -> bool {
        let attempts = batch.attempts.iter().map(|attempt| (attempt.number, attempt.txid));
        match batch.state {
            BatchState::Confirmed(number, booked) => self.first_in_chain(attempts) != Some((number, booked)),
            BatchState::Open => true,
            BatchState::Cancelled | BatchState::Replaced(_) => false,
        }
    }

    /// Takes one batch as far as it can go.
    pub(super) async fn advance(&mut self, mut batch: Batch, events: &mut Vec<PayoutEvent>) -> Result<(), PayoutError> {
        let in_chain = self.in_chain(&batch);
        if let BatchState::Confirmed(number, booked) = batch.state
            && in_chain != Some((number, booked))
        {
            batch = self.reverse(batch, number, booked, events).await?;
        }
        if batch.state != BatchState::Open {
            return Ok(());
        }
        if let Some((number, block)) = in_chain {
            return self.settle(batch, number, block, events).await;
        }
        if let Some(conflict) = self.conflict(batch.id, &batch.attempts)? {
            return self.follow_conflict(batch, conflict, events).await;
        }
        if batch.approval == BatchApproval::Awaited {
            return Ok(());
        }
        let to_sign = batch.newest().stage == AttemptStage::Created && self.wallet.signs_here();
        if (!to_sign && batch.is_unsigned()) || !self.may_send(&batch, events).await? {
            return Ok(());
        }
        if to_sign {
            batch = self.sign(batch).await?;
        }
        // It is given to the node again each time, for the node may have forgotten it.
        let signed = batch.attempts.iter().rfind(|attempt| attempt.transaction().is_some()).cloned();
        if let Some(attempt) = signed
            && let Some(transaction) = attempt.transaction()
            && self.submit(&batch, &attempt, transaction, events).await?
        {
            self.release(batch, attempt.number, events).await?;
        }
        Ok(())
    }

    /// Returns the attempt that is in the chain, and its block.
    pub(super) fn in_chain(&self, batch: &Batch) -> Option<(u32, ConfirmationBlock)> {
        self.first_in_chain(batch.attempts.iter().map(|attempt| (attempt.number, attempt.txid)))
    }

    fn first_in_chain(&self, mut attempts: impl Iterator<Item = (u32, Txid)>) -> Option<(u32, ConfirmationBlock)> {
        attempts.find_map(|(number, txid)| Some((number, self.wallet.confirmation(txid)?)))
    }

    /// Books a batch whose attempt is in the chain, whatever was known of that attempt before.
    async fn settle(
        &mut self,
        mut batch: Batch,
        number: u32,
        block: ConfirmationBlock,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<(), PayoutError> {
        let attempt = &batch.attempts[number as usize];
        if attempt.stage == AttemptStage::Created {
            // Signed elsewhere, and sent from there.
            let transaction = self.wallet.transaction(attempt.txid).ok_or(PayoutError::Transaction(batch.id))?;
            batch = self.store_signed(batch, number, transaction).await?;
        }
        if batch.in_flight() == bitcoin::Amount::ZERO {
            batch = self.release(batch, number, events).await?;
        }
        self.confirm(batch, number, block, events).await
    }

    /// Signs a batch's newest transaction and stores it.
    pub(super) async fn sign(&mut self, batch: Batch) -> Result<Batch, PayoutError> {
        let attempt = batch.newest();
        let psbt = Psbt::deserialize(&attempt.psbt).map_err(|_| PayoutError::Transaction(batch.id))?;
        let number = attempt.number;
        match self.wallet.sign(psbt)? {
            Some(transaction) => self.store_signed(batch, number, transaction).await,
            None => Ok(batch),
        }
    }

    /// Stores the signed transaction of an attempt.
    pub(super) async fn store_signed(
        &mut self,
        mut batch: Batch,
        number: u32,
        transaction: Transaction,
    ) -> Result<Batch, PayoutError> {
        let attempt = &mut batch.attempts[number as usize];
        if transaction.compute_txid() != attempt.txid {
            return Err(PayoutError::Transaction(batch.id));
        }
        self.store.store_signed(batch.id, number, &transaction).await?;
        attempt.stage = AttemptStage::Signed(transaction);
        Ok(batch)
    }

    /// Gives the transaction to the node; true if the node has it.
    async fn submit(
        &self,
        batch: &Batch,
        attempt: &Attempt,
        transaction: &Transaction,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<bool, PayoutError> {
        let (rpc, bytes) = (Arc::clone(&self.rpc), transaction.clone());
        match blocking(move || Ok::<_, PayoutError>(node::submit(&rpc, &bytes))).await? {
            Submission::Accepted => Ok(true),
            Submission::Refused(reason) | Submission::Unknown(reason) => {
                tracing::warn!(batch = %batch.id, txid = %attempt.txid, %reason, "the node did not take a payout");
                events.push(PayoutEvent::Refused { batch: batch.id, txid: attempt.txid, reason });
                Ok(false)
            }
        }
    }

    /// Notes that the node has an attempt's transaction.
    async fn release(
        &self,
        mut batch: Batch,
        number: u32,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<Batch, PayoutError> {
        let attempt = &batch.attempts[number as usize];
        let AttemptStage::Signed(transaction) = attempt.stage.clone() else { return Ok(batch) };
        let row = Row::BatchBroadcast { batch: batch.id, attempt: number };
        self.post(batch.broadcast(attempt).balanced()?, |_, _| vec![row.clone()]).await?;
        events.push(PayoutEvent::Broadcast { batch: batch.id, txid: attempt.txid });
        batch.attempts[number as usize].stage = AttemptStage::Broadcast(transaction);
        Ok(batch)
    }

    /// Books a confirmation, and with it one export record for each paid output.
    async fn confirm(
        &self,
        batch: Batch,
        number: u32,
        block: ConfirmationBlock,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<(), PayoutError> {
        let attempt = &batch.attempts[number as usize];
        let row = Row::BatchConfirmed { batch: batch.id, attempt: number, block };
        let draft = batch.confirmation(attempt, &block).balanced()?;
        self.register(&batch, attempt, draft, row, RecordState::Delivered, block).await?;
        let records = batch.outputs.len();
        events.push(PayoutEvent::Confirmed { batch: batch.id, txid: attempt.txid, block, records });
        Ok(())
    }

    /// Undoes the confirmation in a block that left the chain, and the deliveries with it.
    async fn reverse(
        &self,
        batch: Batch,
        number: u32,
        block: ConfirmationBlock,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<Batch, PayoutError> {
        let attempt = &batch.attempts[number as usize];
        let confirmed = self.store.entry(EntryKind::Confirmed, &batch.confirmation_key(attempt, &block)).await?;
        let confirmed = confirmed.ok_or(PayoutError::MissingEntry(batch.id))?;
        let draft = batch.reversal(attempt, &block, confirmed.seq).balanced()?;
        let epoch = batch.epoch + 1;
        let row = Row::BatchReversed { batch: batch.id, epoch };
        self.register(&batch, attempt, draft, row, RecordState::Reversed, block).await?;
        events.push(PayoutEvent::Reversed { batch: batch.id, txid: attempt.txid, block });
        Ok(Batch { state: BatchState::Open, epoch, ..batch })
    }

    /// Posts an entry together with a row of the register for each output of the batch.
    async fn register(
        &self,
        batch: &Batch,
        attempt: &Attempt,
        draft: Draft,
        row: Row,
        state: RecordState,
        block: ConfirmationBlock,
    ) -> Result<(), PayoutError> {
        self.post(draft, |entry, mut register| {
            let mut rows = vec![row.clone()];
            for record in batch.export_records(attempt) {
                let registered = RegisterRow::seal(register, record, state, block, entry);
                register = registered.head();
                rows.push(Row::Registered(registered));
            }
            rows
        })
        .await
    }
}
