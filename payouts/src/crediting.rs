//! Crediting: work is paid out of the reserve, period by period, whatever the pool finds.
//!
//! A period is a stretch of the share log. PPS and PPS+ close one every so often, FPPS one a day (UTC). A closed period is
//! paid at once for all accounts, by one entry `credited` under its number, so that it is paid whole or not at all:
//! Dr pps_reserve, Cr miner_payable. The oldest is always paid first, and none before the reserve suffices for it;
//! until then its shares must stay in the share log as they are ([`unpaid_after`]). What a satoshi is short of is carried
//! to the account's next period, exactly.
//!
//! Which work counts, and under which terms, follows from the share log and the jobs in it; how work becomes satoshis is
//! in [`crate::scheme::pps`]. The coins of the reserve are given away first in, first out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bitcoin::{Amount, CompactTarget, SignedAmount};

use crate::{
    account::AccountId,
    ledger::{Draft, EntryKind, EntrySeq, LedgerAccount, LedgerError},
    scheme::{
        beneficiary,
        network_fees::{Average, AverageError, FeeRatio, UtcDay},
        pps::{self, Earned, Terms, TooMuch},
        rule::Scheme,
    },
    share::{JobNumber, ShareSeq, Work},
    store::{Change, Commit, Row, Store, StoreError},
};

mod network;
mod period;
mod statement;

pub use network::{Network, NetworkBlockRow, NetworkError, NodeNetwork};
pub use period::{
    CreditedPeriod, Period, PeriodEarning, PeriodEnd, PeriodLot, PeriodNumber, PeriodState, PeriodWork, ReserveLot,
};
pub use statement::{PeriodStatement, StatementError, explain};

/// By how much the clock may be set back without a period beginning anew: less than anybody notices.
const CLOCK_SLACK_MS: i64 = 60_000;
/// Times a change is worked out anew because another came first.
const COMMIT_ATTEMPTS: u32 = 16;

/// Why work could not be credited.
#[derive(Debug, thiserror::Error)]
pub enum CreditingError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry cannot be made.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The node gave no usable answer.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A day's fees have no average.
    #[error(transparent)]
    Average(#[from] AverageError),
    /// Work is worth more than can be.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// It is not known what a block of a job would have issued.
    #[error("period {period}: the subsidy of job {job} is not known")]
    UnknownSubsidy {
        /// The period.
        period: PeriodNumber,
        /// The job.
        job: JobNumber,
    },
    /// The reserve has money, but not coins of which it is known that they made it.
    #[error("the coins of the reserve are {} sat short of what it holds", .missing.to_sat())]
    LotsShort {
        /// By how much.
        missing: Amount,
    },
}

/// What crediting did, or why it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreditingEvent {
    /// A period ended and waits to be paid.
    Closed {
        /// The period.
        period: PeriodNumber,
    },
    /// A period is paid.
    Credited {
        /// The period.
        period: PeriodNumber,
        /// What it credits.
        amount: Amount,
        /// To how many accounts.
        accounts: usize,
    },
    /// The reserve does not suffice for the oldest period; it and all later ones wait.
    Paused {
        /// The period.
        period: PeriodNumber,
        /// What it comes to.
        amount: Amount,
        /// What the reserve lacks.
        missing: Amount,
    },
    /// The network's blocks of a period's day are not deep enough to be counted.
    AwaitsBlocks {
        /// The period.
        period: PeriodNumber,
    },
}

/// How work is credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditingPolicy {
    /// How long a period of PPS and PPS+ is, in milliseconds.
    pub period_ms: i64,
    /// How the network's fees are averaged for FPPS.
    pub average: Average,
}

/// Credits work in a store. There must be one to a store.
#[derive(Clone, Debug)]
pub struct Crediting {
    store: Arc<dyn Store>,
    scheme: Scheme,
    policy: CreditingPolicy,
    network: Arc<dyn Network>,
}

impl Crediting {
    /// Credits work by `scheme`, if that is a kind of PPS. Periods of another time are paid by what they began with.
    pub fn new(store: Arc<dyn Store>, scheme: Scheme, policy: CreditingPolicy, network: Arc<dyn Network>) -> Self {
        Self { store, scheme, policy, network }
    }

    /// Closes the open period if it is time, and pays closed ones, oldest first, as far as the reserve goes.
    ///
    /// `settled` is a position of the share log at or before which no more shares come. Call it every minute or so, and
    /// [`Crediting::turn_over`] before the run's first share. A crash at any point is followed by the same next step.
    ///
    /// # Errors
    ///
    /// If store or node fail. What was done before is stored, and the next call goes on from there.
    pub async fn step(&self, now_ms: i64, settled: ShareSeq) -> Result<Vec<CreditingEvent>, CreditingError> {
        let closed = self.turn_over(now_ms, settled).await?;
        let mut events: Vec<_> = closed.map(|period| CreditingEvent::Closed { period }).into_iter().collect();
        for period in self.store.uncredited_periods().await? {
            let PeriodState::Closed(end) = period.state else { break };
            let outcome = self.pay(&period, end).await?;
            events.push(outcome);
            if !matches!(outcome, CreditingEvent::Credited { .. }) {
                break;
            }
        }
        Ok(events)
    }

    /// Ends the open period if it is time, and begins the next. Returns which one ended.
    ///
    /// Call it before the run's first share, so that no period holds shares of two schemes; `settled` is as in
    /// [`Crediting::step`].
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn turn_over(&self, now_ms: i64, settled: ShareSeq) -> Result<Option<PeriodNumber>, StoreError> {
        let last = self.store.last_period().await?;
        let next = |number: i64| {
            let (number, scheme) = (PeriodNumber::new(number + 1), self.scheme);
            self.scheme.pays_work().then_some(Period {
                number,
                scheme,
                after: settled,
                from_ms: now_ms,
                state: PeriodState::Open,
            })
        };
        let Some(open) = last.filter(|last| last.state == PeriodState::Open) else {
            // What came before was no work for the reserve.
            if let Some(first) = next(last.map_or(0, |last| last.number.get())) {
                self.store.save_periods(&[first]).await?;
            }
            return Ok(None);
        };
        let goes_on = open.scheme == self.scheme;
        if goes_on && now_ms < open.from_ms - CLOCK_SLACK_MS {
            // The clock was set back. A period that begins in the future would not end for as long as that is away.
            self.store.save_periods(&[Period { from_ms: now_ms, ..open }]).await?;
            return Ok(None);
        }
        if goes_on && !self.is_over(&open, now_ms) {
            return Ok(None);
        }
        if goes_on && self.store.work_between(open.after, settled).await?.is_empty() {
            // Nothing to pay: the period begins anew, instead of an entry that says so.
            let again = Period { after: settled.max(open.after), from_ms: now_ms, ..open };
            self.store.save_periods(&[again]).await?;
            return Ok(None);
        }
        let end = PeriodEnd { upto: settled.max(open.after), at_ms: now_ms };
        let closed = Period { state: PeriodState::Closed(end), ..open };
        let both: Vec<_> = [closed].into_iter().chain(next(open.number.get())).collect();
        self.store.save_periods(&both).await?;
        Ok(Some(open.number))
    }

    fn is_over(&self, open: &Period, now_ms: i64) -> bool {
        match open.scheme {
            Scheme::Fpps(_) => day_of(now_ms) > day_of(open.from_ms),
            _ => now_ms.saturating_sub(open.from_ms) >= self.policy.period_ms,
        }
    }

    /// Pays a closed period, or says why not.
    async fn pay(&self, period: &Period, end: PeriodEnd) -> Result<CreditingEvent, CreditingError> {
        let number = period.number;
        let Some(network_fees) = self.network_fees(period).await? else {
            return Ok(CreditingEvent::AwaitsBlocks { period: number });
        };
        let worked = work(&*self.store, period, end.upto).await?;
        let (earnings, earned) = earnings(&*self.store, period, network_fees, &worked).await?;
        let credits = beneficiary::assign(&earned, &self.store.wishes(end.upto).await?);
        let amount: Amount = credits.values().copied().sum();
        let draft = draft(period, end, network_fees, &credits)?;
        for _ in 0..COMMIT_ATTEMPTS {
            let head = self.store.head().await?;
            let reserve = -self.store.balance(LedgerAccount::PpsReserve).await?;
            let available = reserve.to_unsigned().unwrap_or_default();
            if available < amount {
                let missing = shortfall(amount, reserve);
                return Ok(CreditingEvent::Paused { period: number, amount, missing });
            }
            let lots = take(self.store.reserve_lots().await?, &credits)?;
            let credited =
                CreditedPeriod { number, network_fees, work: worked.clone(), earnings: earnings.clone(), lots };
            let entry = draft.clone().seal(head, crate::clock::now_ms());
            let row = Row::PeriodCredited(Box::new(credited));
            if self.store.commit(Change { entry, rows: vec![row] }).await? != Commit::Stale {
                return Ok(CreditingEvent::Credited { period: number, amount, accounts: credits.len() });
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Returns the fees that a period is paid with; nothing if they are not known for sure yet.
    async fn network_fees(&self, period: &Period) -> Result<Option<FeeRatio>, CreditingError> {
        let Scheme::Fpps(_) = period.scheme else { return Ok(Some(FeeRatio::NONE)) };
        network::fees_of_day(&*self.store, &*self.network, day_of(period.from_ms), self.policy.average).await
    }
}

/// Sums the work of a period up to a position by account and terms.
async fn work(store: &dyn Store, period: &Period, upto: ShareSeq) -> Result<Vec<PeriodWork>, CreditingError> {
    let mut sums: BTreeMap<_, Work> = BTreeMap::new();
    for worked in store.work_between(period.after, upto).await? {
        let (period, job) = (period.number, worked.job.job);
        let subsidy = worked.job.subsidy.ok_or(CreditingError::UnknownSubsidy { period, job })?;
        let sum = sums.entry((worked.account, subsidy, worked.job.nbits.to_consensus())).or_default();
        *sum = sum.plus(worked.work);
    }
    let work = sums.into_iter().map(|((account, subsidy, nbits), work)| {
        let nbits = CompactTarget::from_consensus(nbits);
        PeriodWork { account, nbits, subsidy, work }
    });
    Ok(work.collect())
}

/// Works out what accounts earned, with the fractions that they had before.
async fn earnings(
    store: &dyn Store,
    period: &Period,
    network_fees: FeeRatio,
    worked: &[PeriodWork],
) -> Result<(Vec<PeriodEarning>, BTreeMap<AccountId, Amount>), CreditingError> {
    let workers: BTreeSet<_> = worked.iter().map(|work| work.account).collect();
    let mut carried = store.carried().await?;
    carried.retain(|account, _| workers.contains(account));
    let terms = terms(period.scheme, network_fees);
    let work = worked.iter().map(|work| (work.account, terms(work), work.work));
    let closed = pps::Period::close(carried.clone(), work)?;
    let earning = |account| PeriodEarning {
        account,
        carried_in: carried.get(&account).copied().unwrap_or_default(),
        earned: closed.credits.get(&account).copied().unwrap_or_default(),
        carried_out: closed.carried.get(&account).copied().unwrap_or_default(),
    };
    let earnings = workers.into_iter().map(earning).collect();
    Ok((earnings, closed.credits))
}

/// Returns what a period's work comes to as far as it is done; nothing for FPPS, whose fees are not known here.
pub(crate) async fn worth(store: &dyn Store, period: &Period) -> Result<Option<Amount>, CreditingError> {
    if let Scheme::Fpps(_) = period.scheme {
        return Ok(None);
    }
    let upto = period.end().map_or(ShareSeq::new(i64::MAX), |end| end.upto);
    let worked = work(store, period, upto).await?;
    let (_, earned) = earnings(store, period, FeeRatio::NONE, &worked).await?;
    Ok(Some(earned.values().copied().sum()))
}

/// Returns what each account has earned by work that is not paid yet, with what it carries: whole satoshis, as they would be
/// credited now. What FPPS adds of the network's fees is not in it, for that is known when the day is over.
///
/// # Errors
///
/// If the store fails, or work is worth more than can be.
pub async fn accrued(store: &dyn Store) -> Result<BTreeMap<AccountId, Amount>, CreditingError> {
    let mut worked = Vec::new();
    for period in store.uncredited_periods().await? {
        let upto = period.end().map_or(ShareSeq::new(i64::MAX), |end| end.upto);
        let terms = terms(period.scheme, FeeRatio::NONE);
        let work = work(store, &period, upto).await?;
        worked.extend(work.iter().map(|work| (work.account, terms(work), work.work)));
    }
    Ok(pps::Period::close(store.carried().await?, worked)?.credits)
}

/// Returns what a reserve lacks of an amount. One below zero lacks that too.
pub(crate) fn shortfall(amount: Amount, reserve: SignedAmount) -> Amount {
    let short = i128::from(amount.to_sat()) - i128::from(reserve.to_sat());
    Amount::from_sat(u64::try_from(short.max(0)).unwrap_or(u64::MAX))
}

/// Returns the terms of work in a period.
fn terms(scheme: Scheme, network_fees: FeeRatio) -> impl Fn(&PeriodWork) -> Terms {
    move |work| Terms { nbits: work.nbits, subsidy: work.subsidy, network_fees, fee: scheme.fee() }
}

/// Works out what an account earned again, from its stored work.
fn earned_again(
    carried: Earned,
    scheme: Scheme,
    network_fees: FeeRatio,
    work: &[PeriodWork],
) -> Option<(Amount, Earned)> {
    let terms = terms(scheme, network_fees);
    work.iter().fold(carried, |sum, work| sum.plus(Earned::by(work.work, &terms(work)))).split_off_whole()
}

fn day_of(at_ms: i64) -> UtcDay {
    UtcDay::of(at_ms.div_euclid(1_000))
}

fn draft(
    period: &Period,
    end: PeriodEnd,
    network_fees: FeeRatio,
    credits: &BTreeMap<AccountId, Amount>,
) -> Result<Draft, LedgerError> {
    let amount = credits.values().copied().sum();
    let lines = Draft::begin(EntryKind::Credited, period.number).debit(LedgerAccount::PpsReserve, amount);
    let credited = |lines: crate::ledger::DraftLines, (&account, &amount)| {
        lines.credit(LedgerAccount::MinerPayable(account), amount)
    };
    credits.iter().fold(lines, credited).facts(period.facts(end, network_fees)).balanced()
}

/// Takes each credit from the reserve's coins, in the order of their line and of the accounts.
fn take(lots: Vec<ReserveLot>, credits: &BTreeMap<AccountId, Amount>) -> Result<Vec<PeriodLot>, CreditingError> {
    let mut coins: VecDeque<_> = lots.into_iter().map(|coin| (coin.number, coin.lot.amount)).collect();
    let mut taken = Vec::new();
    for (&account, &credit) in credits {
        let (mut missing, mut line) = (credit, 0);
        while missing > Amount::ZERO {
            let Some((reserve_lot, left)) = coins.front_mut() else {
                return Err(CreditingError::LotsShort { missing });
            };
            let amount = missing.min(*left);
            taken.push(PeriodLot { account, line, reserve_lot: *reserve_lot, amount, paid: Amount::ZERO });
            line += 1;
            missing -= amount;
            *left -= amount;
            if *left == Amount::ZERO {
                coins.pop_front();
            }
        }
    }
    Ok(taken)
}

/// Returns the position behind which shares must stay in the share log as they are, for work that is not paid yet;
/// nothing if all is.
///
/// # Errors
///
/// If the store fails.
pub async fn unpaid_after(store: &dyn Store) -> Result<Option<ShareSeq>, StoreError> {
    Ok(store.uncredited_periods().await?.first().map(|period| period.after))
}

/// Returns the entry that paid a period.
///
/// # Errors
///
/// If the store fails.
pub async fn entry_of(store: &dyn Store, number: PeriodNumber) -> Result<Option<EntrySeq>, StoreError> {
    Ok(store.entry(EntryKind::Credited, &number.to_string()).await?.map(|entry| entry.seq))
}

#[cfg(test)]
mod tests;
