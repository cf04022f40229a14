//! SLICE: for miners who declare their own jobs. Each is paid for its work and for the fees that its jobs collect. Pure.
//!
//! Shares are gathered in slices, within which jobs could hold about the same fees: a slice begins with a new tip, or
//! when the fees have grown by a step. The subsidy is split by work over all slices. Of the fees each slice gets a
//! part, and splits it by d * f: a share's difficulty times the fees of its job.

use std::{collections::BTreeMap, num::NonZeroU32};

use bitcoin::{Amount, BlockHash};
use ruint::{
    Uint,
    aliases::{U512, U1024},
};

use crate::{
    account::AccountId,
    scheme::{
        BlockReward, Part, PoolFee, Split, round,
        window::{Measure, Window},
        without_zeros,
    },
    share::Work,
};

/// Bits after the binary point in which parts of several slices are summed.
///
/// The denominators of slices have no small multiple in common, so each addend is rounded down, to 2^-256 satoshi.
const FRACTION_BITS: usize = 256;
/// Bits in which remainders are compared. What agrees in these is the same, and goes by account.
const COMPARED_BITS: usize = 128;

/// Which part of the fees a slice gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeeParts {
    /// The same for each slice, as the paper has it; a short slice then pays more for the same work.
    Equal,
    /// By the work in it.
    ByWork,
}

/// The rule of a SLICE pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceRule {
    /// Which part of the fees a slice gets.
    pub fee_parts: FeeParts,
    /// How many blocks' worth of work a block pays for, as PPLNS counts it.
    pub window: NonZeroU32,
    /// A slice ends when the fees have grown by so much.
    pub growth: Amount,
    /// The pool's part.
    pub fee: PoolFee,
}

/// A slice's place among those of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceIndex(usize);

/// One account's part of all slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlicePart {
    /// Its work, by which it shares in the subsidy.
    pub work: Work,
    /// Its part of the fees, in units of 2^-256 of them.
    pub fees: U512,
}

impl SlicePart {
    /// Returns its part of the fees for people. Never for money.
    pub fn approximate_fees(&self) -> f64 {
        f64::from(self.fees) / 2f64.powi(FRACTION_BITS as i32)
    }
}

/// What a block is split by: all that it takes of its slices, however many there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceParts {
    /// How many slices there are with work in them.
    pub slices: u64,
    /// The parts of the accounts that worked.
    pub accounts: BTreeMap<AccountId, SlicePart>,
}

impl SliceParts {
    /// Returns the work of all accounts.
    pub fn work(&self) -> Work {
        self.accounts.values().fold(Work::default(), |sum, part| sum.plus(part.work))
    }
}

/// What one account did in a slice: its work, and its work times the fees of its jobs, both in units of 2^-32.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    work: U1024,
    fee_work: U1024,
}

impl Done {
    fn add(&mut self, other: Self) {
        self.work += other.work;
        self.fee_work += other.fee_work;
    }
}

#[derive(Clone, Debug)]
struct Slice {
    tip: BlockHash,
    opening_fees: Amount,
    total: Done,
    accounts: BTreeMap<AccountId, Done>,
}

/// The slices that one block pays for.
#[derive(Clone, Debug)]
pub struct Slices {
    growth: Amount,
    slices: Vec<Slice>,
}

impl Slices {
    /// Begins without slices; one ends when the fees have grown by `growth`, which is at least one satoshi.
    pub fn new(growth: Amount) -> Self {
        Self { growth: growth.max(Amount::ONE_SAT), slices: Vec::new() }
    }

    /// Returns the slice of the next job, which builds on `tip` and holds `fees`.
    ///
    /// A job without fees opens the slice of the next one on its tip, and none of its own: pools give such a job for a
    /// moment after a tip, until there is a full one. A slice of that moment would get as large a part of the fees as a
    /// long one, and whoever goes on with the empty job could take it all.
    pub fn slice_of_job(&mut self, tip: BlockHash, fees: Amount) -> SliceIndex {
        if let Some(empty) =
            self.slices.last_mut().filter(|slice| slice.tip == tip && slice.opening_fees == Amount::ZERO)
        {
            empty.opening_fees = fees;
        }
        let fits = |slice: &Slice| {
            slice.tip == tip && fees.checked_sub(slice.opening_fees).is_none_or(|grown| grown < self.growth)
        };
        if !self.slices.last().is_some_and(fits) {
            let (total, accounts) = (Done::default(), BTreeMap::new());
            self.slices.push(Slice { tip, opening_fees: fees, total, accounts });
        }
        SliceIndex(self.slices.len() - 1)
    }

    /// Counts work in the slice of its job, which holds `fees`. A share that comes late belongs there all the same.
    ///
    /// # Panics
    ///
    /// If the slice is one of other slices than these.
    pub fn count(&mut self, slice: SliceIndex, account: AccountId, work: Work, fees: Amount) {
        let work = U1024::from(work.units());
        let done = Done { work, fee_work: work * sat(fees) };
        let slice = &mut self.slices[slice.0];
        slice.total.add(done);
        slice.accounts.entry(account).or_default().add(done);
    }

    /// Sums up each account's part. Work is under 2^191 and amounts under 2^51, so that no product exceeds 2^740.
    pub fn parts(&self, fee_parts: FeeParts) -> SliceParts {
        let worked = || self.slices.iter().filter(|slice| !slice.total.work.is_zero());
        let (work, count) =
            worked().fold((U1024::ZERO, 0u64), |(sum, count), slice| (sum + slice.total.work, count + 1));
        let mut accounts: BTreeMap<AccountId, SlicePart> = BTreeMap::new();
        for slice in worked() {
            let (numerator, denominator) = match fee_parts {
                FeeParts::Equal => (U1024::ONE, U1024::from(count)),
                FeeParts::ByWork => (slice.total.work, work),
            };
            for (&account, done) in &slice.accounts {
                let (own, whole) = match slice.total.fee_work.is_zero() {
                    true => (done.work, slice.total.work),
                    false => (done.fee_work, slice.total.fee_work),
                };
                let part = accounts.entry(account).or_default();
                part.work = part.work.plus(Work::from_units(Uint::from(done.work)));
                part.fees += Uint::from(((numerator * own) << FRACTION_BITS) / (denominator * whole));
            }
        }
        SliceParts { slices: count, accounts }
    }
}

impl SliceRule {
    /// The growth of fees that ends a slice unless told otherwise: a hundredth of a bitcoin.
    pub const DEFAULT_GROWTH: Amount = Amount::from_sat(1_000_000);

    /// Returns the empty window of a block. Its slices are put into it when it is counted.
    pub fn open_window(&self) -> Window {
        Window::of_multiple(Measure::NetworkAtSubmission, self.window.get())
    }

    /// Splits what a block's coinbase paid over its slices; without any share in them, `finder` gets the rest.
    ///
    /// The pool's fee is taken of subsidy and fees alike. A slice whose jobs hold no fees splits its part by work. Each
    /// sum is rounded down, and the satoshis left over go one each to the largest remainders, ties to the lower account.
    pub fn split(&self, reward: BlockReward, parts: &SliceParts, finder: AccountId) -> Split {
        let (fee, subsidy, fees) = self.net(reward);
        let credits = if parts.accounts.is_empty() {
            BTreeMap::from([(finder, subsidy + fees)])
        } else {
            self.apportion(reward, parts).into_iter().map(|(account, part)| (account, part.amount())).collect()
        };
        Split { fee, reserve: Amount::ZERO, credits: without_zeros(credits) }
    }

    /// Returns the pool's fee, and what is left of the subsidy and of the fees. A coinbase that pays less than the
    /// subsidy has no fees.
    pub fn net(&self, reward: BlockReward) -> (Amount, Amount, Amount) {
        let subsidy = reward.subsidy.min(reward.value);
        let fee = self.fee.on(reward.value);
        let net = subsidy - self.fee.on(subsidy);
        (fee, net, reward.value - fee - net)
    }

    /// Divides what is left among the accounts, of which there is one at least; in their order. Remainders are in units
    /// of 2^-128 satoshi.
    pub(crate) fn apportion(&self, reward: BlockReward, parts: &SliceParts) -> Vec<(AccountId, Part<U1024>)> {
        let (_, subsidy, fees) = self.net(reward);
        let work = U1024::from(parts.work().units());
        let exact = parts.accounts.iter().map(|(&account, part)| {
            let by_work = ((sat(subsidy) * U1024::from(part.work.units())) << FRACTION_BITS) / work;
            let sum = by_work + sat(fees) * U1024::from(part.fees);
            let floor = (sum >> FRACTION_BITS).to::<u64>();
            let fraction = sum & ((U1024::ONE << FRACTION_BITS) - U1024::ONE);
            let cut = FRACTION_BITS - COMPARED_BITS;
            (account, Amount::from_sat(floor), (fraction + (U1024::ONE << (cut - 1))) >> cut)
        });
        round(subsidy + fees, exact)
    }
}

fn sat(amount: Amount) -> U1024 {
    Uint::from(amount.to_sat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::hashes::Hash;
    use proptest::prelude::*;

    use super::*;
    use crate::scheme::{
        tests::sats,
        window::tests::{ALICE, BOB, CAROL, FINDER},
    };
    use crate::share::Difficulty;

    fn tip(id: u8) -> BlockHash {
        BlockHash::from_byte_array([id; 32])
    }

    fn rule(fee_parts: FeeParts) -> SliceRule {
        SliceRule { fee_parts, window: NonZeroU32::MIN, growth: SliceRule::DEFAULT_GROWTH, fee: PoolFee::NONE }
    }

    fn split(rule: SliceRule, subsidy: Amount, fees: Amount, slices: &Slices) -> Split {
        let reward = BlockReward { value: subsidy + fees, subsidy };
        rule.split(reward, &slices.parts(rule.fee_parts), FINDER)
    }

    /// Counts 2^log2 of difficulty `times` times.
    fn count(slices: &mut Slices, slice: SliceIndex, account: AccountId, (times, log2): (u32, i8), fees: u64) {
        for _ in 0..times {
            slices.count(slice, account, Work::of(Difficulty::from_log2(log2).unwrap(), 1), Amount::from_sat(fees));
        }
    }

    /// Alice has 100 of difficulty in each of two slices, Bob 100 and 300; jobs hold 10 and 12, then 10 each.
    fn two_slices() -> Slices {
        let mut slices = Slices::new(Amount::from_sat(5));
        let first = slices.slice_of_job(tip(1), Amount::from_sat(10));
        count(&mut slices, first, ALICE, (25, 2), 10);
        count(&mut slices, first, BOB, (25, 2), 12);
        let second = slices.slice_of_job(tip(2), Amount::from_sat(10));
        count(&mut slices, second, ALICE, (25, 2), 10);
        count(&mut slices, second, BOB, (75, 2), 10);
        slices
    }

    #[test]
    fn the_papers_form_gives_each_slice_the_same_part_of_the_fees() {
        let (subsidy, fees) = (Amount::from_sat(312_500_000), Amount::from_sat(20_000_000));
        let split = split(rule(FeeParts::Equal), subsidy, fees, &two_slices());
        // 111,212,121.21 and 221,287,878.79.
        assert_eq!(sats(&split), [(ALICE, 111_212_121), (BOB, 221_287_879)]);
    }

    #[test]
    fn the_weighted_form_gives_each_slice_fees_by_its_work() {
        let (subsidy, fees) = (Amount::from_sat(312_500_000), Amount::from_sat(20_000_000));
        let split = split(rule(FeeParts::ByWork), subsidy, fees, &two_slices());
        // 110,530,303.03 and 221,969,696.97.
        assert_eq!(sats(&split), [(ALICE, 110_530_303), (BOB, 221_969_697)]);
    }

    #[test]
    fn a_slice_begins_with_a_tip_or_with_grown_fees() {
        let mut slices = Slices::new(Amount::from_sat(100));
        let jobs = [(1, 500), (1, 599), (1, 400), (1, 600), (1, 699), (1, 700), (2, 10), (2, 109), (2, 110), (1, 110)];
        let slice_of = |(id, fees)| slices.slice_of_job(tip(id), Amount::from_sat(fees)).0;
        assert_eq!(jobs.map(slice_of), [0, 0, 0, 1, 1, 2, 3, 3, 4, 5]);
    }

    #[test]
    fn an_empty_job_has_no_slice_of_its_own_and_no_part_of_the_fees_of_the_full_one() {
        let mut slices = Slices::new(Amount::from_sat(100));
        let slice_of = |(id, fees)| slices.slice_of_job(tip(id), Amount::from_sat(fees)).0;
        let jobs = [(1, 0), (1, 0), (1, 5_000), (1, 5_099), (1, 0), (1, 5_100), (2, 0), (3, 0), (3, 700)];
        assert_eq!(jobs.map(slice_of), [0, 0, 0, 0, 0, 1, 2, 3, 3]);

        let mut slices = Slices::new(Amount::from_sat(100));
        let empty = slices.slice_of_job(tip(1), Amount::ZERO);
        count(&mut slices, empty, ALICE, (9, 0), 0);
        let full = slices.slice_of_job(tip(1), Amount::from_sat(5_000));
        count(&mut slices, full, BOB, (1, 0), 5_000);
        for parts in [FeeParts::Equal, FeeParts::ByWork] {
            let split = split(rule(parts), Amount::from_sat(1_000), Amount::from_sat(80), &slices);
            assert_eq!(sats(&split), [(ALICE, 900), (BOB, 180)]);
        }
    }

    #[test]
    fn a_late_share_counts_in_the_slice_of_its_job() {
        let (mut late, mut prompt) = (two_slices(), Slices::new(Amount::ONE_SAT));
        count(&mut late, SliceIndex(0), ALICE, (1, 7), 10);
        let first = prompt.slice_of_job(tip(1), Amount::from_sat(10));
        count(&mut prompt, first, ALICE, (1, 7), 10);
        assert_eq!(late.slices[0].total.work, two_slices().slices[0].total.work + prompt.slices[0].total.work);
        assert_eq!(late.slices[1].total.work, two_slices().slices[1].total.work);
    }

    #[test]
    fn a_slice_without_shares_gets_nothing_and_one_without_fees_splits_by_work() {
        let mut slices = Slices::new(Amount::from_sat(5));
        slices.slice_of_job(tip(1), Amount::from_sat(1_000));
        let empty_blocks = slices.slice_of_job(tip(2), Amount::ZERO);
        count(&mut slices, empty_blocks, ALICE, (3, 0), 0);
        count(&mut slices, empty_blocks, BOB, (1, 0), 0);
        for parts in [FeeParts::Equal, FeeParts::ByWork] {
            let split = split(rule(parts), Amount::from_sat(400), Amount::from_sat(80), &slices);
            assert_eq!(sats(&split), [(ALICE, 360), (BOB, 120)]);
        }
    }

    #[test]
    fn without_shares_the_finder_is_paid() {
        let rule = SliceRule { fee: PoolFee::from_basis_points(100).unwrap(), ..rule(FeeParts::Equal) };
        let slices = Slices::new(Amount::from_sat(5));
        let split = split(rule, Amount::from_sat(990), Amount::from_sat(10), &slices);
        assert_eq!((split.fee.to_sat(), sats(&split)), (10, vec![(FINDER, 990)]));
    }

    #[test]
    fn a_third_and_a_sixth_tie_with_a_half() {
        // Of one satoshi a slice: Alice has 1/3 and 1/6, Bob 1/2 and nothing, Carol the rest, which is one.
        let mut slices = Slices::new(Amount::from_sat(1_000));
        for (id, shares) in [(1, [(ALICE, 2), (BOB, 3), (CAROL, 1)]), (2, [(ALICE, 1), (BOB, 0), (CAROL, 5)])] {
            let slice = slices.slice_of_job(tip(id), Amount::from_sat(10));
            for (account, times) in shares {
                count(&mut slices, slice, account, (times, 0), 10);
            }
        }
        for parts in [FeeParts::Equal, FeeParts::ByWork] {
            let split = split(rule(parts), Amount::ZERO, Amount::from_sat(2), &slices);
            assert_eq!(sats(&split), [(ALICE, 1), (CAROL, 1)]);
        }
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_block_and_more_work_never_pays_less(
            subsidy in 0..=312_500_000u64,
            fees in 0..=1_000_000_000u64,
            bp in 0..=10_000u16,
            shares in proptest::collection::vec((0..4u8, 1..5i64, -32..40i8, 0..1_000_000u64), 1..60),
            by_work in any::<bool>(),
        ) {
            let rule = SliceRule {
                fee_parts: if by_work { FeeParts::ByWork } else { FeeParts::Equal },
                fee: PoolFee::from_basis_points(bp).unwrap(),
                ..rule(FeeParts::Equal)
            };
            let mut slices = Slices::new(Amount::MAX_MONEY);
            let mut sorted = shares.clone();
            sorted.sort_by_key(|share| share.0);
            for &(id, account, log2, fees) in &sorted {
                let slice = slices.slice_of_job(tip(id), Amount::ZERO);
                count(&mut slices, slice, AccountId::new(account), (1, log2), fees);
            }
            let (subsidy, fees) = (Amount::from_sat(subsidy), Amount::from_sat(fees));
            let before = split(rule, subsidy, fees, &slices);
            let paid = |split: &Split| split.fee + split.credits.values().copied().sum::<Amount>();
            prop_assert_eq!(paid(&before), subsidy + fees);

            let (_, account, ..) = sorted[0];
            let account = AccountId::new(account);
            let last = SliceIndex(slices.slices.len() - 1);
            count(&mut slices, last, account, (1, 30), 1_000_000);
            let after = split(rule, subsidy, fees, &slices);
            prop_assert_eq!(paid(&after), subsidy + fees);
            if !by_work {
                let of = |split: &Split| split.credits.get(&account).copied().unwrap_or_default();
                prop_assert!(of(&after) + Amount::ONE_SAT >= of(&before));
            }
        }
    }
}
