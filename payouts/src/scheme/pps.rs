//! PPS and FPPS: each share is paid its expected worth, whatever the pool finds. Pure.
//!
//! Work w at the network's difficulty D earns w * S / D * (1 - fee), with S the subsidy; FPPS multiplies that by
//! 1 + fees / subsidies over a day of the network's blocks. A share alone is worth a fraction of a satoshi, so nothing
//! is rounded by share: work under the same [`Terms`] is summed, whole satoshis are credited once for a period, and the
//! fraction is carried to the next. Whether the pool can afford it is not known here.

use std::{collections::BTreeMap, fmt, str::FromStr};

use bitcoin::{Amount, CompactTarget, Target};
use ruint::{
    Uint,
    aliases::{U256, U1024},
};

use crate::{
    account::AccountId,
    scheme::{PoolFee, network_fees::FeeRatio},
    share::Work,
};

/// The rule of a PPS or FPPS pool: its blocks go to the reserve as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pps {
    /// The pool's part of what work is worth. It stays in the reserve.
    pub fee: PoolFee,
}

/// What work is paid while neither difficulty, subsidy, fee nor the network's fees change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The network's target.
    pub nbits: CompactTarget,
    /// What a block issues.
    pub subsidy: Amount,
    /// What blocks pay beside: [`FeeRatio::NONE`] for PPS, a day's average for FPPS.
    pub network_fees: FeeRatio,
    /// The pool's part.
    pub fee: PoolFee,
}

/// Satoshis with their fraction, as an integer in units of 1/K satoshi.
///
/// With D = target_of_difficulty_1 / target, work in units of 2^-32 and fees in basis points, every credit of PPS is a
/// whole number of units for K = 2^32 * target_of_difficulty_1 * 10,000, whatever the difficulty. So sums across
/// retargets are exact. FPPS is rounded down to such a unit, which is less than 2^-268 of a satoshi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Earned(U1024);

impl Earned {
    /// Returns what work earns under its terms.
    ///
    /// It cannot overflow: work is under 2^191 and targets under 2^256, which with a reward, a ratio and basis points
    /// stay under 2^576.
    pub fn by(work: Work, terms: &Terms) -> Self {
        let target = U256::from_be_bytes(Target::from_compact(terms.nbits).to_be_bytes());
        let kept_bp = PoolFee::WHOLE_BP - terms.fee.basis_points();
        let FeeRatio { fees, subsidies } = terms.network_fees;
        let base: U1024 = U1024::from(work.units()) * U1024::from(target) * sat(terms.subsidy) * U1024::from(kept_bp);
        Self(base * (sat(subsidies) + sat(fees)) / sat(subsidies))
    }

    /// Returns the sum.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Returns it in satoshis for people. Never for money.
    pub fn approximate(self) -> f64 {
        f64::from(self.0) / f64::from(one_satoshi())
    }

    /// Returns the whole satoshis and the fraction that is left; `None` for more satoshis than can exist.
    pub fn split_off_whole(self) -> Option<(Amount, Self)> {
        let (whole, fraction) = self.0.div_rem(one_satoshi());
        let whole = Amount::from_sat(u64::try_from(whole).ok()?);
        (whole <= Amount::MAX_MONEY).then_some((whole, Self(fraction)))
    }
}

impl fmt::Display for Earned {
    /// Writes the number of units in decimal, exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Earned {
    type Err = ruint::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        U1024::from_str_radix(text, 10).map(Self)
    }
}

/// K: target_of_difficulty_1 is 0xffff * 2^208.
fn one_satoshi() -> U1024 {
    U1024::from(0xffff_u64 * u64::from(PoolFee::WHOLE_BP)) << (208 + 32)
}

fn sat(amount: Amount) -> U1024 {
    Uint::from(amount.to_sat())
}

/// An account's credit exceeds all bitcoin: its work cannot be real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("account {0} would be credited more than all bitcoin")]
pub struct TooMuch(AccountId);

/// What a period comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Whole satoshis that were earned, none of them zero.
    pub credits: BTreeMap<AccountId, Amount>,
    /// Fractions of less than a satoshi that the next period begins with, none of them zero.
    pub carried: BTreeMap<AccountId, Earned>,
}

impl Period {
    /// Closes a period: `carried` from the one before, and the work of each account under each of its terms.
    ///
    /// # Errors
    ///
    /// If an account's credit exceeds all bitcoin.
    pub fn close(
        carried: BTreeMap<AccountId, Earned>,
        work: impl IntoIterator<Item = (AccountId, Terms, Work)>,
    ) -> Result<Self, TooMuch> {
        let mut earned = carried;
        for (account, terms, work) in work {
            let sum = earned.entry(account).or_default();
            *sum = sum.plus(Earned::by(work, &terms));
        }
        let mut period = Self::default();
        for (account, sum) in earned {
            let (whole, fraction) = sum.split_off_whole().ok_or(TooMuch(account))?;
            if whole > Amount::ZERO {
                period.credits.insert(account, whole);
            }
            if fraction > Earned::default() {
                period.carried.insert(account, fraction);
            }
        }
        Ok(period)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::{
        scheme::{
            network_fees::{self, Average, NetworkBlock, UtcDay},
            window::tests::{ALICE, BOB},
        },
        share::Difficulty,
    };

    /// Difficulty 21,448,277,761,059.7.
    const NBITS_2022: u32 = 0x170d_1f8c;
    /// Difficulty 133.8e12.
    const NBITS_2025: u32 = 0x1702_1a91;

    fn terms(nbits: u32, subsidy: u64) -> Terms {
        let (nbits, subsidy) = (CompactTarget::from_consensus(nbits), Amount::from_sat(subsidy));
        Terms { nbits, subsidy, network_fees: FeeRatio::NONE, fee: PoolFee::NONE }
    }

    /// 10^15 hashes a second for a day: more hashes than 64 bits hold.
    fn petahash_day() -> Work {
        let fifth = Work::of(Difficulty::MIN, 1_000_000_000_000_000 / 5 * 86_400);
        (0..4).fold(fifth, |sum, _| sum.plus(fifth))
    }

    fn whole(work: Work, terms: &Terms) -> u64 {
        Earned::by(work, terms).split_off_whole().unwrap().0.to_sat()
    }

    #[test]
    fn a_petahash_earns_what_foundry_says_it_does() {
        assert_eq!(whole(petahash_day(), &terms(NBITS_2022, 625_000_000)), 586_194);
    }

    #[test]
    fn fpps_adds_the_fees_of_a_day_of_blocks() {
        // 149 blocks with 110.36520932 bitcoin of fees.
        let mut blocks = vec![
            NetworkBlock {
                time_s: 1_660_000_000,
                subsidy: Amount::from_sat(625_000_000),
                fees: Amount::from_sat(74_070_006),
            };
            149
        ];
        blocks[0].fees += Amount::from_sat(11_036_520_932 - 149 * 74_070_006);
        let ratio = network_fees::average(UtcDay::of(1_660_000_000), &blocks, Average::Plain).unwrap();
        let terms = Terms { network_fees: ratio, ..terms(NBITS_2022, 625_000_000) };
        assert_eq!(whole(petahash_day(), &terms), 655_665);
        let fee = PoolFee::from_basis_points(200).unwrap();
        assert_eq!(whole(petahash_day(), &Terms { fee, ..terms }), 642_552);
    }

    #[test]
    fn shares_worth_less_than_a_satoshi_are_paid_all_the_same() {
        // 2^17 of difficulty at 1.3e14 is a third of a satoshi.
        let terms = terms(NBITS_2025, 312_500_000);
        let share = Work::of(Difficulty::from_log2(17).unwrap(), 1);
        assert_eq!(whole(share, &terms), 0);
        let day = Work::of(Difficulty::from_log2(17).unwrap(), 8_640);
        let in_one = whole(day, &terms);
        assert!(in_one > 2_000, "{in_one}");

        let mut period = Period::default();
        let mut credited = 0;
        for _ in 0..8_640 {
            period = Period::close(period.carried, [(ALICE, terms, share)]).unwrap();
            credited += period.credits.values().map(|amount| amount.to_sat()).sum::<u64>();
        }
        assert_eq!(credited, in_one);
    }

    #[test]
    fn a_retarget_within_the_period_is_paid_at_both_difficulties() {
        let (before, after) = (terms(NBITS_2022, 625_000_000), terms(NBITS_2025, 312_500_000));
        let work = petahash_day();
        let both = [(ALICE, before, work), (BOB, before, work), (ALICE, after, work)];
        let period = Period::close(BTreeMap::new(), both).unwrap();
        assert_eq!(period.credits[&BOB].to_sat(), 586_194);
        let exact = Earned::by(work, &before).plus(Earned::by(work, &after));
        let (credit, fraction) = exact.split_off_whole().unwrap();
        assert_eq!((period.credits[&ALICE], period.carried[&ALICE]), (credit, fraction));
    }

    #[test]
    fn the_greatest_work_does_not_overflow() {
        let huge = Terms {
            nbits: CompactTarget::from_consensus(0x2100_ffff),
            subsidy: Amount::MAX_MONEY,
            network_fees: FeeRatio::new(Amount::MAX_MONEY, Amount::ONE_SAT).unwrap(),
            fee: PoolFee::NONE,
        };
        let work = Work::of(Difficulty::MAX, u64::MAX);
        assert!(Earned::by(work, &huge).plus(Earned::by(work, &huge)) > Earned::by(work, &huge));
        assert_eq!(Period::close(BTreeMap::new(), [(BOB, huge, work)]), Err(TooMuch(BOB)));
    }

    proptest! {
        #[test]
        fn how_work_is_cut_into_periods_changes_nothing(
            pieces in proptest::collection::vec((1..3i64, 0..50i8, 0..1_000u64, any::<bool>(), any::<bool>()), 1..40),
            fee_bp in 0..=10_000u16,
        ) {
            let fee = PoolFee::from_basis_points(fee_bp).unwrap();
            let both = [terms(NBITS_2022, 625_000_000), terms(NBITS_2025, 312_500_000)].map(|terms| Terms { fee, ..terms });
            let work = |&(id, log2, count, late, _): &(i64, i8, u64, bool, bool)| {
                let work = Work::of(Difficulty::from_log2(log2).unwrap(), count);
                (AccountId::new(id), both[usize::from(late)], work)
            };
            let at_once = Period::close(BTreeMap::new(), pieces.iter().map(work)).unwrap();
            let mut credits = BTreeMap::new();
            let mut carried = BTreeMap::new();
            for period in pieces.split_inclusive(|piece| piece.4) {
                let closed = Period::close(carried, period.iter().map(work)).unwrap();
                carried = closed.carried;
                for (account, credit) in closed.credits {
                    *credits.entry(account).or_insert(Amount::ZERO) += credit;
                }
            }
            prop_assert_eq!(Period { credits, carried }, at_once);
        }
    }
}
