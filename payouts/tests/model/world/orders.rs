//! What an operator asks of the payer, at any time and once more if the answer is lost.

use anyhow::{Context, Result, bail, ensure};
use bitcoin::{Amount, FeeRate};
use payouts::{
    AccountId,
    payout::{Batch, BatchApproval, BatchId, BatchState, Outcome, PayoutError, Refusal, Restraint, Selection},
};

use super::{World, branches::foreign};
use crate::{checks::ALL, faults::Fault, node};

/// Why a batch is cancelled, an account restrained.
const REASON: &str = "because";

impl World<'_> {
    /// Replaces the transaction of a batch that is on its way.
    pub(super) async fn bump(&mut self, batch: usize, rate: u32, fault: Option<Fault>) -> Result<()> {
        let is_sent = |batch: &Batch| batch.state == BatchState::Open && batch.newest().transaction().is_some();
        let Some(before) = self.batch(batch, is_sent).await? else { return Ok(()) };
        let (pool, faults) = self.armed(fault)?;
        let bumped = faults.survive(pool.payer.bump(before.id, FeeRate::from_sat_per_vb_u32(rate))).await;
        let Some(bumped) = self.answered(bumped).await? else { return Ok(()) };
        let after = self.stored(before.id).await?;
        ensure!(after.outputs == before.outputs, "a replacement pays others: {after:?}");
        match bumped {
            Ok(replacement) => {
                self.tally.bumps += 1;
                ensure!(after.newest().txid == replacement.txid, "the replacement is not stored: {after:?}");
                let most = before.attempts.iter().map(|attempt| attempt.network_fee).max();
                ensure!(most < Some(replacement.network_fee), "a replacement costs less: {after:?}");
            }
            Err(refusal) => ensure!(after == before, "refused by {refusal}, but changed: {after:?}"),
        }
        Ok(())
    }

    /// Approves a batch that waits for it.
    pub(super) async fn approve(&mut self, batch: usize, fault: Option<Fault>) -> Result<()> {
        let Some(before) = self.batch(batch, awaits_approval).await? else { return Ok(()) };
        let (pool, faults) = self.armed(fault)?;
        let approved = faults.survive(pool.payer.approve(before.id, "the operator")).await;
        match self.answered(approved).await? {
            Some(Ok(outcome)) => {
                self.tally.approvals += 1;
                ensure!(outcome == Outcome::Done, "an approval was there before: {before:?}");
                let approval = self.stored(before.id).await?.approval;
                ensure!(approval == BatchApproval::Given, "batch {} is approved, but {approval:?}", before.id);
                Ok(())
            }
            Some(Err(refusal)) => bail!("batch {} cannot be approved: {refusal}", before.id),
            None => Ok(()),
        }
    }

    /// Approves all batches that wait for it.
    pub(super) async fn approve_all(&mut self) -> Result<()> {
        while self.batch(0, awaits_approval).await?.is_some() {
            self.approve(0, None).await?;
        }
        Ok(())
    }

    /// Gives up a batch; one that is signed must be refused.
    pub(super) async fn cancel(&mut self, batch: usize, fault: Option<Fault>) -> Result<()> {
        let unsigned = |batch: &Batch| batch.state == BatchState::Open && batch.is_unsigned();
        let before = match self.batch(batch, unsigned).await? {
            Some(before) => before,
            None => match self.batch(batch, |_| true).await? {
                Some(before) => before,
                None => return Ok(()),
            },
        };
        let (pool, faults) = self.armed(fault)?;
        let cancelled = faults.survive(pool.payer.cancel(before.id, REASON, false)).await;
        let Some(cancelled) = self.answered(cancelled).await? else { return Ok(()) };
        let after = self.stored(before.id).await?;
        match cancelled {
            Ok(outcome) => {
                self.tally.cancellations += u32::from(outcome == Outcome::Done);
                ensure!(before.is_unsigned(), "a signed batch is cancelled: {before:?}");
                ensure!(after.state == BatchState::Cancelled, "batch {} is cancelled, but {:?}", after.id, after.state);
            }
            Err(refusal) => {
                ensure!(!unsigned(&before), "batch {} cannot be cancelled: {refusal}", before.id);
                ensure!(after == before, "refused by {refusal}, but changed: {after:?}");
            }
        }
        Ok(())
    }

    /// Somebody else who has the key spends a coin that all attempts at a batch spend.
    pub(super) async fn steal(&mut self, batch: usize) -> Result<()> {
        // What can be cancelled is left alone: its coins could become free, and nobody would look for the thief.
        let signed = |batch: &Batch| batch.state == BatchState::Open && !batch.is_unsigned();
        let Some(batch) = self.batch(batch, signed).await? else { return Ok(()) };
        let first = batch.attempts[0].transaction().context("the first attempt is signed first")?;
        node::locked(&self.chain).steal(first.input[0].previous_output, &foreign());
        Ok(())
    }

    /// Keeps back what a miner is due.
    pub(super) async fn restrain(&mut self, miner: usize, fault: Option<Fault>) -> Result<()> {
        let account = self.bench.miners[miner].account;
        let restraint = restraint_of(account);
        let (pool, faults) = self.armed_pool(fault).await?;
        let done = faults.survive(pool.payer.restrain(account, restraint, REASON)).await;
        let outcome = match self.answered(done).await? {
            Some(answer) => Some(answer?),
            None => {
                self.pool().await?.payer.restrain(account, restraint, REASON).await?;
                None
            }
        };
        let is_new = self.restrained.insert(account);
        ensure!(outcome.is_none_or(|outcome| (outcome == Outcome::Done) == is_new), "{restraint:?}: {outcome:?}");
        Ok(())
    }

    /// Lets go what was kept back.
    pub(super) async fn lift(&mut self, miner: usize, fault: Option<Fault>) -> Result<()> {
        let account = self.bench.miners[miner].account;
        let restraint = restraint_of(account);
        let (pool, faults) = self.armed_pool(fault).await?;
        let done = faults.survive(pool.payer.lift(account, restraint, REASON)).await;
        let outcome = match self.answered(done).await? {
            Some(answer) => Some(answer?),
            None => {
                self.pool().await?.payer.lift(account, restraint, REASON).await?;
                None
            }
        };
        let was_there = self.restrained.remove(&account);
        ensure!(outcome.is_none_or(|outcome| (outcome == Outcome::Done) == was_there), "{restraint:?}: {outcome:?}");
        Ok(())
    }

    /// Pays on demand: all that is due, or one miner whatever the threshold is.
    pub(super) async fn run(&mut self, miner: Option<usize>, fault: Option<Fault>) -> Result<()> {
        let account = miner.map(|miner| self.bench.miners[miner].account);
        let (pool, faults) = self.armed_pool(fault).await?;
        let ran = faults.survive(pool.payer.run(account.map_or(Selection::Due, Selection::Account))).await;
        let is_restrained = account.is_some_and(|account| self.restrained.contains(&account));
        match self.answered(ran).await? {
            Some(Ok(_)) => ensure!(!is_restrained, "{account:?} is paid, though it is restrained"),
            Some(Err(Refusal::Restrained(..))) => ensure!(is_restrained, "{account:?} is not restrained"),
            Some(Err(Refusal::NothingDue { .. })) | None => {}
            Some(Err(refusal)) => bail!("a payout on demand is refused: {refusal}"),
        }
        Ok(())
    }

    /// Gives a miner a threshold of its own, or none.
    pub(super) async fn set_threshold(&mut self, miner: usize, sat: Option<u64>, fault: Option<Fault>) -> Result<()> {
        let account = self.bench.miners[miner].account;
        let (pool, faults) = self.armed_pool(fault).await?;
        let set = faults.survive(pool.payer.set_threshold(account, sat.map(Amount::from_sat))).await;
        match self.answered(set).await? {
            Some(Err(refusal)) => bail!("a threshold of {sat:?} sat is refused: {refusal}"),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Returns one of the batches that are so.
    async fn batch(&mut self, which: usize, is_so: impl Fn(&Batch) -> bool) -> Result<Option<Batch>> {
        let mut batches = payouts::Store::batches(&self.pool().await?.sqlite, ALL).await?;
        batches.retain(is_so);
        let which = which % batches.len().max(1);
        Ok(batches.into_iter().nth(which))
    }

    async fn stored(&mut self, id: BatchId) -> Result<Batch> {
        payouts::Store::batch(&self.pool().await?.sqlite, id).await?.context("a batch is gone")
    }

    /// Takes the answer to an order; nothing if a fault came between.
    async fn answered<T>(&mut self, answer: Option<Result<T, PayoutError>>) -> Result<Option<Result<T, Refusal>>> {
        let answer = answer.map(|answer| match answer {
            Ok(done) => Ok(Ok(done)),
            Err(PayoutError::Refused(refusal)) => Ok(Err(refusal)),
            Err(error) => Err(error.into()),
        });
        self.done(answer).await
    }
}

/// Each miner can be restrained in one way.
pub(crate) fn restraint_of(account: AccountId) -> Restraint {
    if account.get() % 2 == 0 { Restraint::Held } else { Restraint::Blocked }
}

fn awaits_approval(batch: &Batch) -> bool {
    batch.state == BatchState::Open && batch.approval == BatchApproval::Awaited
}
