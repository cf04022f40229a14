//! What an operator asks for beside payments: approval, thresholds, and how things stand.

use std::collections::BTreeMap;

use bitcoin::{Amount, SignedAmount};

use super::{Payer, PayoutError, Selection};
use crate::{
    account::AccountId,
    clock::now_ms,
    ledger::LedgerAccount,
    payout::{
        AttemptProgress, Batch, BatchApproval, BatchEvent, BatchEventKind, BatchHead, BatchId, BatchState,
        LedgerTotals, OpenBatch, Outcome, PayoutStatus, Refusal, WaitsFor,
    },
};

/// The most characters of a name or reason.
pub(super) const MAX_WORDS: usize = 500;

impl Payer {
    /// Notes that somebody agrees to a batch; the next step signs it, or it can be exported.
    ///
    /// # Errors
    ///
    /// If the store fails, or the batch is unknown, at its end, or needs no approval.
    pub async fn approve(&mut self, id: BatchId, by: &str) -> Result<Outcome, PayoutError> {
        check_words(by)?;
        let batch = self.batch(id).await?;
        match (batch.state.clone(), batch.approval) {
            (_, BatchApproval::NotNeeded) => Err(Refusal::NoApprovalNeeded(id).into()),
            (_, BatchApproval::Given) => Ok(Outcome::Already),
            (BatchState::Open, BatchApproval::Awaited) => {
                let event = BatchEvent { kind: BatchEventKind::Approved, at_ms: now_ms(), note: by.to_owned() };
                self.store.note_batch(id, &event).await?;
                Ok(Outcome::Done)
            }
            (_, BatchApproval::Awaited) => Err(ended(&batch).into()),
        }
    }

    /// Sets from which balance on an account is paid; nothing for the pool's threshold.
    ///
    /// # Errors
    ///
    /// If the store fails, the account is unknown, or no output could carry so little.
    pub async fn set_threshold(
        &mut self,
        account: AccountId,
        threshold: Option<Amount>,
    ) -> Result<Outcome, PayoutError> {
        let due = self.store.due_of(account).await?.ok_or(Refusal::UnknownAccount(account))?;
        let least = due.dust_limit();
        if let Some(wanted) = threshold.filter(|&wanted| wanted < least) {
            return Err(Refusal::ThresholdTooLow { wanted, least }.into());
        }
        if self.store.threshold(account).await? == threshold {
            return Ok(Outcome::Already);
        }
        self.store.set_threshold(account, threshold).await?;
        Ok(Outcome::Done)
    }

    /// Returns how payouts stand, by the store and the wallet's last look at the chain.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn status(&self) -> Result<PayoutStatus, PayoutError> {
        let now_ms = now_ms();
        let due = self.selected(Selection::Due).await?;
        let mut open = Vec::new();
        for batch in self.store.batches_to_watch(u32::MAX).await? {
            let waits_for = self.waits_for(&batch).await?;
            open.push(OpenBatch { batch, waits_for });
        }
        Ok(PayoutStatus {
            schedule: self.policy.schedule,
            next_slot: self.policy.schedule.next_slot(now_ms),
            open_slot: self.open_slot(now_ms).await?,
            due_accounts: due.len(),
            due: due.iter().map(|due| due.amount).sum(),
            totals: totals(&self.store.balances().await?),
            coins: self.wallet.balance(),
            signs_here: self.wallet.signs_here(),
            restraints: self.store.restraints_in_force().await?,
            open,
        })
    }

    async fn waits_for(&self, batch: &BatchHead) -> Result<WaitsFor, PayoutError> {
        if let Some(conflict) = self.conflict(batch.id, &self.store.attempts_of(batch.id).await?)? {
            return Ok(WaitsFor::Conflict { by: conflict.by, depth: conflict.depth });
        }
        Ok(match (batch.approval, batch.newest().progress) {
            (BatchApproval::Awaited, AttemptProgress::Created) => WaitsFor::Approval,
            (_, AttemptProgress::Created) if !self.wallet.signs_here() => WaitsFor::Signature,
            (_, AttemptProgress::Created | AttemptProgress::Signed) => WaitsFor::Node,
            (_, AttemptProgress::Broadcast) => WaitsFor::Block,
        })
    }
}

/// Says at which end a batch is that is not open any more.
pub(super) fn ended(batch: &Batch) -> Refusal {
    let end = match batch.state {
        // Only one whose confirmation is not booked yet is asked about while it is open.
        BatchState::Open | BatchState::Confirmed(..) => "confirmed",
        BatchState::Cancelled => "cancelled",
        BatchState::Replaced(_) => "replaced",
    };
    Refusal::Ended(batch.id, end)
}

/// Makes sure that a name or reason says something, and is not without end.
pub(super) fn check_words(words: &str) -> Result<(), Refusal> {
    let is_fit = !words.trim().is_empty() && words.chars().count() <= MAX_WORDS;
    if is_fit { Ok(()) } else { Err(Refusal::Words { max: MAX_WORDS }) }
}

fn totals(balances: &BTreeMap<LedgerAccount, SignedAmount>) -> LedgerTotals {
    let mut totals = LedgerTotals::default();
    for (account, balance) in balances {
        let sat = balance.to_sat();
        match account {
            LedgerAccount::MinerPayable(_) => totals.payable_sat -= sat,
            LedgerAccount::Held(_) => totals.held_sat -= sat,
            LedgerAccount::Blocked(_) => totals.blocked_sat -= sat,
            LedgerAccount::Reserved(_) => totals.reserved_sat -= sat,
            LedgerAccount::InFlight(_) => totals.in_flight_sat += sat,
            LedgerAccount::Spendable => totals.spendable_sat += sat,
            LedgerAccount::Immature(_) => totals.immature_sat += sat,
            LedgerAccount::Fee => totals.fee_sat -= sat,
            LedgerAccount::NetworkFee => totals.network_fee_sat += sat,
            LedgerAccount::PpsReserve => totals.pps_reserve_sat -= sat,
            LedgerAccount::MinerDebt(_)
            | LedgerAccount::MinerImmature(_)
            | LedgerAccount::Remainder
            | LedgerAccount::FeeImmature
            | LedgerAccount::PpsImmature => {}
        }
    }
    totals
}
