//! Reward schemes: shares in, an exact split of a block's reward out, or exact satoshis for work. Pure.
//!
//! Owns what every scheme shares: the pool's fee, and integer satoshis that always sum to what is split. How work is
//! weighed is each scheme's own. [`pplns`], [`tides`], [`prop`] and [`solo`] split each block as a whole, and [`rule`]
//! lets a pool choose among them; [`mod@slice`] does it for miners who declare their own jobs. [`pps`] pays work whatever
//! is found, with [`network_fees`] for FPPS and [`pps_plus`] for the fees of PPS+; its blocks go to a reserve. What a miner does with its credit is
//! in [`beneficiary`], and [`explanation`] tells why a credit is what it is.

use std::{cmp::Reverse, collections::BTreeMap};

use bitcoin::Amount;
use ruint::aliases::U512;

use crate::account::AccountId;

pub mod beneficiary;
pub mod explanation;
pub mod network_fees;
pub mod pplns;
pub mod pps;
pub mod pps_plus;
pub mod prop;
pub mod rule;
pub mod running;
pub mod slice;
pub mod solo;
pub mod tides;
pub mod window;

/// The pool's fee, in basis points of what a coinbase pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolFee(u16);

impl PoolFee {
    /// The whole, in basis points.
    pub const WHOLE_BP: u16 = 10_000;
    /// No fee.
    pub const NONE: Self = Self(0);

    /// Returns a fee, or `None` over 10,000 basis points.
    pub const fn from_basis_points(bp: u16) -> Option<Self> {
        if bp > Self::WHOLE_BP { None } else { Some(Self(bp)) }
    }

    /// Returns the basis points.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// Returns the fee on `value`, rounded down.
    pub fn on(self, value: Amount) -> Amount {
        basis_points_of(value, self.0)
    }
}

/// What a block's coinbase paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockReward {
    /// All of it.
    pub value: Amount,
    /// The part of it that is newly issued; the rest are fees. A coinbase may claim less.
    pub subsidy: Amount,
}

/// Who gets what of one block. Fee, reserve and credits sum to the value that was split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The pool's part.
    pub fee: Amount,
    /// What goes to the reserve, out of which work is paid whatever is found. Only the kinds of PPS have one.
    pub reserve: Amount,
    /// The miners' parts, none of them zero.
    pub credits: BTreeMap<AccountId, Amount>,
}

/// One account's part of an amount, in exact terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part<R> {
    /// The exact part, rounded down.
    pub(crate) floor: Amount,
    /// What was cut off.
    pub(crate) remainder: R,
    /// Whether it is among the largest remainders, which get a satoshi each.
    pub(crate) rounded_up: bool,
}

impl<R> Part<R> {
    pub(crate) fn amount(&self) -> Amount {
        if self.rounded_up { self.floor + Amount::ONE_SAT } else { self.floor }
    }
}

/// Takes the fee off `value` and divides the rest by weight; with no weight at all, `fallback` gets the rest.
///
/// Each part is rounded down, and the satoshis left over go one each to the largest remainders, ties to the lower
/// account. So no part is a whole satoshi away from the exact one, and the parts sum to the whole.
pub fn split(value: Amount, fee: PoolFee, weights: &BTreeMap<AccountId, U512>, fallback: AccountId) -> Split {
    let fee = fee.on(value);
    let net = value - fee;
    let credits = if weights.values().all(U512::is_zero) {
        BTreeMap::from([(fallback, net)])
    } else {
        apportion(net, weights).into_iter().map(|(account, part)| (account, part.amount())).collect()
    };
    Split { fee, reserve: Amount::ZERO, credits: without_zeros(credits) }
}

/// Divides `total` by weight, of which at least one is not zero; in the order of the accounts. Weights stay under 2^448,
/// so that products fit. The remainders are in parts of the sum of all weights.
pub(crate) fn apportion(total: Amount, weights: &BTreeMap<AccountId, U512>) -> Vec<(AccountId, Part<U512>)> {
    let whole: U512 = weights.values().copied().fold(U512::ZERO, |sum, weight| sum + weight);
    let exact = weights.iter().map(|(&account, &weight)| {
        let (floor, remainder) = (U512::from(total.to_sat()) * weight).div_rem(whole);
        (account, Amount::from_sat(floor.to::<u64>()), remainder)
    });
    round(total, exact)
}

/// Gives the satoshis that the rounded parts lack of `total` to the largest remainders, ties to the lower account.
fn round<R: Ord + Copy>(
    total: Amount,
    exact: impl Iterator<Item = (AccountId, Amount, R)>,
) -> Vec<(AccountId, Part<R>)> {
    let part = |(account, floor, remainder)| (account, Part { floor, remainder, rounded_up: false });
    let mut parts: Vec<(AccountId, Part<R>)> = exact.map(part).collect();
    let left = total - parts.iter().map(|(_, part)| part.floor).sum::<Amount>();
    let missing = usize::try_from(left.to_sat()).expect("fewer satoshis are missing than there are accounts");
    let mut by_remainder: Vec<usize> = (0..parts.len()).collect();
    let rank = |&index: &usize| (Reverse(parts[index].1.remainder), parts[index].0);
    if missing < by_remainder.len() {
        // Only which ones come first matters, not their order.
        by_remainder.select_nth_unstable_by(missing, |one, other| rank(one).cmp(&rank(other)));
        by_remainder.truncate(missing);
    }
    for index in by_remainder {
        parts[index].1.rounded_up = true;
    }
    parts
}

/// Returns so many basis points of a value, at most 10,000 of them, rounded down.
fn basis_points_of(value: Amount, bp: u16) -> Amount {
    let part = u128::from(value.to_sat()) * u128::from(bp) / u128::from(PoolFee::WHOLE_BP);
    Amount::from_sat(u64::try_from(part).expect("a part is at most the value, which fits"))
}

fn without_zeros(mut credits: BTreeMap<AccountId, Amount>) -> BTreeMap<AccountId, Amount> {
    credits.retain(|_, amount| *amount > Amount::ZERO);
    credits
}

#[cfg(test)]
pub(crate) mod tests;
