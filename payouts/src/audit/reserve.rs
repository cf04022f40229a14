//! What periods, their lots and deposits must look like, told by the ledger's entries alone.

use std::collections::BTreeMap;

use bitcoin::{Amount, OutPoint};

use super::rows::{RowFault, missing, same, unknown};
use crate::{
    account::AccountId,
    crediting::{PeriodNumber, PeriodState},
    deposits::Deposit,
    ledger::{Entry, EntryKind, EntrySeq, LedgerAccount},
    store::{Store, StoreError},
};

/// What batches took of each line of a credit for work.
pub(super) type TakenOfPeriods = BTreeMap<(PeriodNumber, AccountId, u32), Amount>;

/// A period as its entry tells it.
#[derive(Debug)]
struct PostedPeriod {
    entry: EntrySeq,
    facts: String,
    credits: BTreeMap<AccountId, Amount>,
}

/// A deposit as its entries tell it.
#[derive(Debug)]
struct PostedDeposit {
    entry: EntrySeq,
    amount: Amount,
    facts: Option<String>,
    is_booked: bool,
    epoch: u32,
}

/// Follows the entries of the reserve and of deposits.
#[derive(Debug, Default)]
pub(super) struct ReserveAudit {
    /// What is in the reserve, in satoshis.
    reserve_sat: i128,
    periods: BTreeMap<PeriodNumber, PostedPeriod>,
    deposits: BTreeMap<OutPoint, PostedDeposit>,
}

impl ReserveAudit {
    /// Takes the next entry in, whatever it is. Nothing if it does not follow from those before.
    pub(super) fn follow(&mut self, entry: &Entry) -> Option<()> {
        self.reserve_sat -= i128::from(entry.amount(LedgerAccount::PpsReserve).to_sat());
        match entry.kind {
            EntryKind::Credited => self.credited(entry),
            EntryKind::ReserveFunded => {
                // It moves money of the pool's own, and none from the reserve.
                let is_own = |account| {
                    matches!(account, LedgerAccount::Fee | LedgerAccount::Remainder | LedgerAccount::PpsReserve)
                };
                let gives = entry.amount(LedgerAccount::PpsReserve).to_sat() <= 0;
                (gives && entry.postings.iter().all(|posting| is_own(posting.account))).then_some(())
            }
            EntryKind::Deposited => {
                let (outpoint, epoch) = deposit_key(&entry.key)?;
                let amount = entry.amount(LedgerAccount::Spendable).to_unsigned().ok()?;
                let (entry, facts) = (entry.seq, entry.facts.clone());
                let posted = PostedDeposit { entry, amount, facts, is_booked: true, epoch };
                match self.deposits.insert(outpoint, posted) {
                    None => (epoch == 0).then_some(()),
                    Some(before) => (!before.is_booked && before.epoch == epoch).then_some(()),
                }
            }
            EntryKind::Undeposited => {
                let (outpoint, epoch) = deposit_key(&entry.key)?;
                let posted = self.deposits.get_mut(&outpoint)?;
                let follows = posted.is_booked && posted.epoch == epoch;
                (posted.is_booked, posted.epoch) = (false, epoch.checked_add(1)?);
                follows.then_some(())
            }
            _ => Some(()),
        }
    }

    fn credited(&mut self, entry: &Entry) -> Option<()> {
        let number = PeriodNumber::new(entry.key.parse().ok()?);
        let mut credits = BTreeMap::new();
        for posting in &entry.postings {
            match posting.account {
                LedgerAccount::MinerPayable(account) => {
                    credits.insert(account, (-posting.amount).to_unsigned().ok()?);
                }
                LedgerAccount::PpsReserve => {}
                _ => return None,
            }
        }
        let is_next = number.get() == self.periods.last_key_value().map_or(0, |(last, _)| last.get()) + 1;
        // No work is credited out of a reserve that has less.
        let is_covered = self.reserve_sat >= 0 || credits.is_empty();
        let posted = PostedPeriod { entry: entry.seq, facts: entry.facts.clone()?, credits };
        (self.periods.insert(number, posted).is_none() && is_next && is_covered).then_some(())
    }

    /// Compares the store's rows with the entries; `taken` is what batches took of the credits for work.
    pub(super) async fn compare(
        &self,
        store: &dyn Store,
        taken: &TakenOfPeriods,
    ) -> Result<Result<(), RowFault>, StoreError> {
        for (&number, posted) in &self.periods {
            if let Err(fault) = posted.compare(store, number, taken).await? {
                return Ok(Err(fault));
            }
        }
        let next = PeriodNumber::new(self.periods.len() as i64 + 1);
        if let Some(period) = store.period(next).await?
            && let PeriodState::Credited(..) = period.state
        {
            return Ok(Err(unknown("credit_periods", next)));
        }
        let deposits = store.deposits().await?;
        Ok(self.compare_deposits(&deposits))
    }

    fn compare_deposits(&self, deposits: &[Deposit]) -> Result<(), RowFault> {
        for Deposit { seen, is_booked, epoch, .. } in deposits {
            let outpoint = seen.outpoint;
            let Some(posted) = self.deposits.get(&outpoint) else { return Err(unknown("deposits", outpoint)) };
            same("deposits", outpoint, "amount", seen.amount, posted.amount)?;
            same("deposits", outpoint, "place in the chain", *is_booked, posted.is_booked)?;
            same("deposits", outpoint, "epoch", *epoch, posted.epoch)?;
            let facts = posted.facts.clone().unwrap_or_default();
            same("deposits", outpoint, "block", Deposit::facts(&seen.block), facts)?;
        }
        let gone =
            self.deposits.iter().find(|(outpoint, _)| deposits.iter().all(|row| row.seen.outpoint != **outpoint));
        gone.map_or(Ok(()), |(outpoint, posted)| Err(missing("deposits", outpoint, posted.entry)))
    }
}

impl PostedPeriod {
    async fn compare(
        &self,
        store: &dyn Store,
        number: PeriodNumber,
        taken: &TakenOfPeriods,
    ) -> Result<Result<(), RowFault>, StoreError> {
        let Some(row) = store.period(number).await? else {
            return Ok(Err(missing("credit_periods", number, self.entry)));
        };
        let PeriodState::Credited(end, entry, fees) = row.state else {
            return Ok(Err(missing("credit_periods", number, self.entry)));
        };
        let mut left = self.credits.clone();
        let compared = same("credit_periods", number, "entry", entry, self.entry)
            .and_then(|()| same("credit_periods", number, "facts", row.facts(end, fees), self.facts.clone()));
        if compared.is_err() {
            return Ok(compared);
        }
        for lot in store.period_lots(number).await? {
            let row = format!("{number} of account {} line {}", lot.account, lot.line);
            let Some(posted) = left.get_mut(&lot.account) else { return Ok(Err(unknown("period_lots", row))) };
            let Some(rest) = posted.checked_sub(lot.amount) else {
                return Ok(same("period_lots", row, "amount", lot.amount, *posted));
            };
            *posted = rest;
            let paid = taken.get(&(number, lot.account, lot.line)).copied().unwrap_or_default();
            if let Err(fault) = same("period_lots", row, "paid", lot.paid, paid) {
                return Ok(Err(fault));
            }
        }
        let short = left.into_iter().find(|(_, rest)| *rest > Amount::ZERO);
        Ok(short.map_or(Ok(()), |(account, _)| {
            Err(missing("period_lots", format!("{number} of account {account}"), self.entry))
        }))
    }
}

fn deposit_key(key: &str) -> Option<(OutPoint, u32)> {
    let (outpoint, epoch) = key.rsplit_once(':')?;
    Some((outpoint.parse().ok()?, epoch.parse().ok()?))
}
