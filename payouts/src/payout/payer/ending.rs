//! Batches that end without paying: cancelled by an operator, or replaced by a transaction that is not theirs.
//!
//! Either way, what was taken from accounts and credits is given back exactly, and coins that are left are free again.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Amount, BlockHash, Txid};

use super::{COMMIT_ATTEMPTS, CONFLICT_DEPTH, Payer, PayoutError, orders};
use crate::{
    books::BlockPhase,
    clock::now_ms,
    ledger::{DraftLines, EntryKind, LedgerAccount},
    payout::{Attempt, Batch, BatchEvent, BatchEventKind, BatchId, BatchState, Outcome, PayoutEvent, Refusal},
    store::{Change, Row, StoreError},
};

/// Transactions in the chain, none of them the batch's own, that keep all its attempts from confirming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// The one on which it depends.
    pub(super) by: Txid,
    /// How many confirmations that one has.
    pub(super) depth: u32,
    /// All that spend coins of the batch, with their confirmations.
    spenders: BTreeMap<Txid, u32>,
}

impl Payer {
    /// Gives up a batch that was never signed: what it took is due again, and its coins are free. The reason is kept.
    ///
    /// Of a batch that was exported to be signed elsewhere, somebody must know for sure that nobody signs that file:
    /// `even_if_exported` says so.
    ///
    /// # Errors
    ///
    /// If the store fails, or the batch was signed, is unknown or at another end.
    pub async fn cancel(&mut self, id: BatchId, reason: &str, even_if_exported: bool) -> Result<Outcome, PayoutError> {
        orders::check_words(reason)?;
        for _ in 0..COMMIT_ATTEMPTS {
            let head = self.store.head().await?;
            let batch = self.batch(id).await?;
            match batch.state {
                BatchState::Cancelled => return Ok(Outcome::Already),
                BatchState::Open => {}
                BatchState::Confirmed(..) | BatchState::Replaced(_) => return Err(orders::ended(&batch).into()),
            }
            if !batch.is_unsigned() || self.in_chain(&batch).is_some() {
                return Err(Refusal::Signed(id).into());
            }
            let events = self.store.batch_events(id).await?;
            if !even_if_exported && events.iter().any(|event| event.kind == BatchEventKind::Exported) {
                return Err(Refusal::Exported(id).into());
            }
            if let Some(conflict) = self.conflict(id, &batch.attempts)? {
                return Err(Refusal::Conflicted(id, conflict.by).into());
            }
            let at_ms = now_ms();
            let draft = self.giving_back(&batch, format!("{id}:cancelled")).await?.balanced()?;
            let wallet_change = self.wallet.unlock(&batch.inputs())?;
            let event = BatchEvent { kind: BatchEventKind::Cancelled, at_ms, note: reason.to_owned() };
            let row = Row::BatchEnded { batch: id, state: BatchState::Cancelled, event, wallet_change };
            if self.commit_with_wallet(Change { entry: draft.seal(head, at_ms), rows: vec![row] }).await? {
                return Ok(Outcome::Done);
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Returns what keeps every attempt of a batch from confirming, as of the wallet's last look at the chain.
    pub(super) fn conflict(&self, batch: BatchId, attempts: &[Attempt]) -> Result<Option<Conflict>, PayoutError> {
        let mut spenders = BTreeMap::new();
        let mut weakest: Option<(u32, Txid)> = None;
        for attempt in attempts {
            let psbt = attempt.unsigned().ok_or(PayoutError::Transaction(batch))?;
            let inputs = psbt.unsigned_tx.input.iter().map(|input| input.previous_output);
            let foreign = inputs.flat_map(|outpoint| self.wallet.spenders(outpoint));
            let foreign = foreign.filter(|spender| attempts.iter().all(|own| own.txid != spender.txid));
            let foreign: Vec<_> = foreign.map(|spender| (spender.depth, spender.txid)).collect();
            // One is enough to stop an attempt: the deepest is the surest.
            let Some(&deepest) = foreign.iter().max() else { return Ok(None) };
            spenders.extend(foreign.into_iter().map(|(depth, txid)| (txid, depth)));
            weakest = Some(weakest.map_or(deepest, |weakest| weakest.min(deepest)));
        }
        Ok(weakest.map(|(depth, by)| Conflict { by, depth, spenders }))
    }

    /// Tells of a conflict, and gives the batch up once it is deep enough.
    pub(super) async fn follow_conflict(
        &mut self,
        batch: Batch,
        conflict: Conflict,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<(), PayoutError> {
        let Conflict { by, depth, .. } = conflict;
        if depth < CONFLICT_DEPTH {
            tracing::warn!(batch = %batch.id, %by, depth, "a payout's coins were spent by another transaction");
            events.push(PayoutEvent::Conflicted { batch: batch.id, by, depth });
            return Ok(());
        }
        let loss = self.replace(&batch, &conflict).await?;
        events.push(PayoutEvent::Replaced { batch: batch.id, by, loss });
        Ok(())
    }

    /// Gives a batch up whose coins are gone, and books as the pool's loss what the transactions that have them took.
    /// What one of them paid back to the pool is a deposit, and none of its loss.
    async fn replace(&mut self, batch: &Batch, conflict: &Conflict) -> Result<Amount, PayoutError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let head = self.store.head().await?;
            let at_ms = now_ms();
            let mut booked = Vec::new();
            let mut whole = Amount::ZERO;
            for (&txid, &depth) in &conflict.spenders {
                // Each is booked once, whichever of several batches it has the coins of is given up first.
                if depth >= CONFLICT_DEPTH && !self.store.is_conflict_booked(txid).await? {
                    let loss = self.wallet.spent_by(txid);
                    whole += loss;
                    booked.push(Row::ConflictBooked { txid, batch: batch.id, loss });
                }
            }
            let by = conflict.by;
            let lines = self.giving_back(batch, format!("{}:conflict:{by}", batch.id)).await?;
            let lines = lines.debit(LedgerAccount::Fee, whole).credit(LedgerAccount::Spendable, whole);
            let entry = lines.balanced()?.seal(head, at_ms);
            let wallet_change = self.wallet.unlock(&batch.inputs())?;
            let event = BatchEvent { kind: BatchEventKind::Replaced, at_ms, note: by.to_string() };
            let row = Row::BatchEnded { batch: batch.id, state: BatchState::Replaced(by), event, wallet_change };
            let rows = std::iter::once(row).chain(booked).collect();
            if self.commit_with_wallet(Change { entry, rows }).await? {
                return Ok(whole);
            }
        }
        Err(StoreError::Contended.into())
    }

    /// The lines that give back what a batch took, as its blocks stand now.
    async fn giving_back(&self, batch: &Batch, key: String) -> Result<DraftLines, PayoutError> {
        let created = self.store.entry(EntryKind::PayoutCreated, &batch.id.to_string()).await?;
        let created = created.ok_or(PayoutError::MissingEntry(batch.id))?;
        let blocks: BTreeSet<BlockHash> =
            batch.outputs.iter().flat_map(|output| &output.lots).map(|lot| lot.block).collect();
        let mut mature = BTreeSet::new();
        for hash in blocks {
            if self.store.block(hash).await?.is_some_and(|block| block.state.phase == BlockPhase::Matured) {
                mature.insert(hash);
            }
        }
        Ok(batch.giving_back(key, created.seq, |hash| mature.contains(&hash)))
    }
}
