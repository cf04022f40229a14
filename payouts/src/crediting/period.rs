//! A period: a stretch of the share log that the reserve pays for at once, and what it came to.

use std::collections::BTreeMap;

use bitcoin::{Amount, CompactTarget};

use crate::{
    account::AccountId,
    export::Lot,
    id::row_id,
    ledger::EntrySeq,
    scheme::{network_fees::FeeRatio, pps::Earned, rule::Scheme},
    share::{ShareSeq, Work},
};

row_id! {
    /// Identifies a period: 1, 2, 3 and so on without gaps.
    PeriodNumber
}

/// Where a period ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodEnd {
    /// The last position of the share log that it pays for.
    pub upto: ShareSeq,
    /// When it ended, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// How far a period is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeriodState {
    /// Work is added to it.
    Open,
    /// No more work belongs to it; it is not paid.
    Closed(PeriodEnd),
    /// It is paid, by this entry, with the network's fees as they were then.
    Credited(PeriodEnd, EntrySeq, FeeRatio),
}

/// A stretch of the share log, and by what it is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its number.
    pub number: PeriodNumber,
    /// The kind of PPS with its terms, frozen when it began.
    pub scheme: Scheme,
    /// It begins behind this position.
    pub after: ShareSeq,
    /// When it began, in milliseconds since 1970 UTC.
    pub from_ms: i64,
    /// How far it is.
    pub state: PeriodState,
}

impl Period {
    /// Returns where it ends; nothing while it is open.
    pub fn end(&self) -> Option<PeriodEnd> {
        match self.state {
            PeriodState::Open => None,
            PeriodState::Closed(end) | PeriodState::Credited(end, ..) => Some(end),
        }
    }

    /// Returns what its credits follow from besides the work, as its entry states it.
    pub(crate) fn facts(&self, end: PeriodEnd, fees: FeeRatio) -> String {
        format!(
            "after={} upto={} from_ms={} upto_ms={} network_fees={}/{} scheme={}",
            self.after,
            end.upto,
            self.from_ms,
            end.at_ms,
            fees.fees().to_sat(),
            fees.subsidies().to_sat(),
            self.scheme,
        )
    }
}

/// An account's work in a period under one target and subsidy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodWork {
    /// Who did it.
    pub account: AccountId,
    /// The network's target.
    pub nbits: CompactTarget,
    /// What a block of that height issues.
    pub subsidy: Amount,
    /// The sum of the difficulties.
    pub work: Work,
}

/// What an account's work in a period came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodEarning {
    /// Whose work it was.
    pub account: AccountId,
    /// The fraction of a satoshi that it began with.
    pub carried_in: Earned,
    /// Whole satoshis that were earned, before the account's wishes.
    pub earned: Amount,
    /// The fraction of a satoshi that the next period begins with.
    pub carried_out: Earned,
}

/// A coin of the reserve, as far as it is not given away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveLot {
    /// Its place in line.
    pub number: i64,
    /// What is left of it.
    pub lot: Lot,
}

/// A piece of a coin of the reserve that an account was credited with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodLot {
    /// Who got it.
    pub account: AccountId,
    /// Its line among the account's lots of the period, from 0.
    pub line: u32,
    /// The coin's place in line.
    pub reserve_lot: i64,
    /// How much of it.
    pub amount: Amount,
    /// The part that payouts have taken so far.
    pub paid: Amount,
}

/// A period with all that is stored when it is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditedPeriod {
    /// Its number.
    pub number: PeriodNumber,
    /// The network's fees that it is paid with.
    pub network_fees: FeeRatio,
    /// The work.
    pub work: Vec<PeriodWork>,
    /// What the work came to.
    pub earnings: Vec<PeriodEarning>,
    /// What was credited, out of which coins.
    pub lots: Vec<PeriodLot>,
}

impl CreditedPeriod {
    /// Returns what each account is credited.
    pub fn credits(&self) -> BTreeMap<AccountId, Amount> {
        let mut credits = BTreeMap::new();
        for lot in &self.lots {
            *credits.entry(lot.account).or_insert(Amount::ZERO) += lot.amount;
        }
        credits
    }
}
