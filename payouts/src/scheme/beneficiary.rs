//! What becomes of a miner's credit: a part of it donated, the rest divided over several accounts. Pure.
//!
//! Both apply to what was earned, never to what was received from another miner, so that no order matters and no
//! circle of donations does harm.

use std::{collections::BTreeMap, num::NonZeroU32};

use bitcoin::Amount;
use ruint::aliases::U512;

use crate::{
    account::AccountId,
    scheme::{PoolFee, apportion, basis_points_of, without_zeros},
};

/// A part of each credit that a miner gives away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Donation {
    to: AccountId,
    bp: u16,
}

/// What one account gets of what another, or the same, has earned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Who earned it.
    pub earner: AccountId,
    /// Who gets it.
    pub to: AccountId,
    /// How much.
    pub amount: Amount,
    /// Whether it is a donation, and not a part of a division.
    pub is_donation: bool,
}

impl Donation {
    /// Returns a donation of so many basis points, or `None` over 10,000.
    pub const fn new(to: AccountId, bp: u16) -> Option<Self> {
        if bp > PoolFee::WHOLE_BP { None } else { Some(Self { to, bp }) }
    }

    /// Returns who gets it.
    pub const fn to(&self) -> AccountId {
        self.to
    }

    /// Returns the basis points.
    pub const fn basis_points(&self) -> u16 {
        self.bp
    }
}

/// What a miner wants to become of its credits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// What is given away first; rounded down.
    pub donation: Option<Donation>,
    /// How the rest is divided, by weight; all stays with the miner if nobody is named.
    pub division: BTreeMap<AccountId, NonZeroU32>,
}

/// Applies each miner's wishes to what it earned. The sum stays the same.
///
/// Parts of a division are rounded down, and the satoshis left over go to the largest remainders, ties to the lower
/// account.
pub fn assign(
    credits: &BTreeMap<AccountId, Amount>,
    wishes: &BTreeMap<AccountId, Wishes>,
) -> BTreeMap<AccountId, Amount> {
    let mut sums = BTreeMap::new();
    for Assigned { to, amount, .. } in assignments(credits, wishes) {
        *sums.entry(to).or_insert(Amount::ZERO) += amount;
    }
    without_zeros(sums)
}

/// Tells of each part of what was earned whose it becomes, in the order of the earners. Parts may be zero.
pub fn assignments(credits: &BTreeMap<AccountId, Amount>, wishes: &BTreeMap<AccountId, Wishes>) -> Vec<Assigned> {
    let mut assigned = Vec::with_capacity(credits.len());
    for (&earner, &earned) in credits {
        let mut give = |to, amount, is_donation| assigned.push(Assigned { earner, to, amount, is_donation });
        let Some(Wishes { donation, division }) = wishes.get(&earner) else {
            give(earner, earned, false);
            continue;
        };
        let mut kept = earned;
        if let Some(Donation { to, bp }) = *donation {
            let given = basis_points_of(earned, bp);
            kept -= given;
            give(to, given, true);
        }
        if division.is_empty() {
            give(earner, kept, false);
            continue;
        }
        let weights = division.iter().map(|(&account, weight)| (account, U512::from(weight.get()))).collect();
        for (account, part) in apportion(kept, &weights) {
            give(account, part.amount(), false);
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::scheme::window::tests::{ALICE, BOB, CAROL};

    fn sats(list: &[(AccountId, u64)]) -> BTreeMap<AccountId, Amount> {
        list.iter().map(|&(account, sat)| (account, Amount::from_sat(sat))).collect()
    }

    fn division(list: &[(AccountId, u32)]) -> BTreeMap<AccountId, NonZeroU32> {
        list.iter().map(|&(account, weight)| (account, NonZeroU32::new(weight).unwrap())).collect()
    }

    #[test]
    fn a_donation_comes_first_and_the_rest_is_divided() {
        let wishes = Wishes { donation: Donation::new(CAROL, 150), division: division(&[(ALICE, 2), (BOB, 1)]) };
        let assigned = assign(&sats(&[(ALICE, 10_099)]), &BTreeMap::from([(ALICE, wishes)]));
        // 151.485 are given, 9,948 are left.
        assert_eq!(assigned, sats(&[(ALICE, 6_632), (BOB, 3_316), (CAROL, 151)]));
    }

    #[test]
    fn nephew_and_uncle_divide_eleven_to_nine() {
        let wishes = Wishes { donation: None, division: division(&[(ALICE, 11), (BOB, 9)]) };
        let assigned = assign(&sats(&[(CAROL, 100_000_000)]), &BTreeMap::from([(CAROL, wishes)]));
        assert_eq!(assigned, sats(&[(ALICE, 55_000_000), (BOB, 45_000_000)]));
    }

    #[test]
    fn a_circle_of_donations_swaps_what_was_earned() {
        let all = |to| Wishes { donation: Donation::new(to, 10_000), ..Wishes::default() };
        let wishes = BTreeMap::from([(ALICE, all(BOB)), (BOB, all(ALICE))]);
        assert_eq!(assign(&sats(&[(ALICE, 3), (BOB, 5)]), &wishes), sats(&[(ALICE, 5), (BOB, 3)]));
        assert_eq!(Donation::new(ALICE, 10_001), None);
    }

    #[test]
    fn without_wishes_nothing_moves() {
        let credits = sats(&[(ALICE, 3), (BOB, 5)]);
        assert_eq!(assign(&credits, &BTreeMap::new()), credits);
        assert_eq!(assign(&credits, &BTreeMap::from([(ALICE, Wishes::default())])), credits);
    }

    proptest! {
        #[test]
        fn wishes_neither_make_nor_lose_a_satoshi(
            credits in proptest::collection::btree_map(1..6i64, 0..1_000_000u64, 1..6),
            wishes in proptest::collection::btree_map(
                1..6i64,
                (1..9i64, 0..=10_000u16, proptest::collection::btree_map(1..9i64, 1..100u32, 0..4)),
                0..6,
            ),
        ) {
            let credits: BTreeMap<_, _> =
                credits.into_iter().map(|(id, sat)| (AccountId::new(id), Amount::from_sat(sat))).collect();
            let wishes = wishes.into_iter().map(|(id, (to, bp, parts))| {
                let parts: Vec<_> = parts.into_iter().map(|(id, weight)| (AccountId::new(id), weight)).collect();
                let donation = Donation::new(AccountId::new(to), bp);
                (AccountId::new(id), Wishes { donation, division: division(&parts) })
            });
            let assigned = assign(&credits, &wishes.collect());
            let sum = |amounts: &BTreeMap<AccountId, Amount>| amounts.values().map(|amount| amount.to_sat()).sum::<u64>();
            prop_assert_eq!(sum(&assigned), sum(&credits));
        }
    }
}
