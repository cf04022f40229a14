//! What the network's blocks pay in fees over a day, for FPPS. Pure.
//!
//! Owns the average and its trimmed form. Where the blocks come from is not known here.

use bitcoin::Amount;

/// Blocks that the trimmed average leaves out at either end.
pub const TRIMMED_BLOCKS: usize = 3;
/// Seconds of a day; UTC has no leap seconds in block times.
const DAY_S: i64 = 86_400;

/// A day in UTC, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UtcDay(i64);

impl UtcDay {
    /// Returns the day of a moment, in seconds since 1970 UTC.
    pub const fn of(time_s: i64) -> Self {
        Self(time_s.div_euclid(DAY_S))
    }

    /// Returns its first second, since 1970 UTC.
    pub const fn begin_s(self) -> i64 {
        self.0 * DAY_S
    }

    /// Returns the day after.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Returns the days since 1970-01-01.
    pub const fn number(self) -> i64 {
        self.0
    }
}

/// What a block of the network paid its miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkBlock {
    /// The time in its header, in seconds since 1970 UTC.
    pub time_s: i64,
    /// What it issued.
    pub subsidy: Amount,
    /// The fees of its transactions.
    pub fees: Amount,
}

/// Fees over subsidies, exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeRatio {
    pub(super) fees: Amount,
    pub(super) subsidies: Amount,
}

impl FeeRatio {
    /// No fees at all: what PPS pays.
    pub const NONE: Self = Self { fees: Amount::ZERO, subsidies: Amount::ONE_SAT };

    /// Returns the ratio of two sums; `None` if no subsidy is there to compare with, or a sum exceeds all bitcoin.
    pub fn new(fees: Amount, subsidies: Amount) -> Option<Self> {
        let possible = subsidies > Amount::ZERO && fees.max(subsidies) <= Amount::MAX_MONEY;
        possible.then_some(Self { fees, subsidies })
    }

    /// Returns the sum of the fees.
    pub const fn fees(self) -> Amount {
        self.fees
    }

    /// Returns the sum of the subsidies, which is not zero.
    pub const fn subsidies(self) -> Amount {
        self.subsidies
    }
}

/// Which blocks of a day count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// All of them.
    Plain,
    /// All but the [`TRIMMED_BLOCKS`] with the highest fees and as many with the lowest.
    Trimmed,
}

/// Why a day has no average.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AverageError {
    /// Too few blocks are left to average.
    #[error("day {} has {found} blocks, of which none is left to average", day.0)]
    TooFewBlocks {
        /// The day.
        day: UtcDay,
        /// How many blocks it has.
        found: usize,
    },
    /// The blocks that count issued nothing, or paid more than there can be.
    #[error("day {} has no ratio of fees to subsidies", .0.0)]
    NoRatio(UtcDay),
}

/// Returns the fees over the subsidies of a day's blocks: the sums' ratio, not the mean of ratios.
///
/// # Errors
///
/// If no block of that day is left to count, or their sums have no ratio.
pub fn average(day: UtcDay, blocks: &[NetworkBlock], average: Average) -> Result<FeeRatio, AverageError> {
    let of_day = blocks.iter().filter(|block| UtcDay::of(block.time_s) == day);
    let mut payments: Vec<_> = of_day.map(|block| (block.fees, block.subsidy)).collect();
    payments.sort_unstable();
    let cut = match average {
        Average::Plain => 0,
        Average::Trimmed => TRIMMED_BLOCKS,
    };
    let found = payments.len();
    let left = payments.get(cut..found.saturating_sub(cut)).filter(|left| !left.is_empty());
    let left = left.ok_or(AverageError::TooFewBlocks { day, found })?;
    let nothing = Some((Amount::ZERO, Amount::ZERO));
    let sums = left.iter().fold(nothing, |sums, &(fees, subsidy)| {
        let (all_fees, subsidies) = sums?;
        Some((all_fees.checked_add(fees)?, subsidies.checked_add(subsidy)?))
    });
    sums.and_then(|(fees, subsidies)| FeeRatio::new(fees, subsidies)).ok_or(AverageError::NoRatio(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSIDY: Amount = Amount::from_sat(312_500_000);
    const DAY: UtcDay = UtcDay::of(1_700_000_000);

    fn blocks(fees: &[u64]) -> Vec<NetworkBlock> {
        let block = |&fees| NetworkBlock { time_s: 1_700_000_000, subsidy: SUBSIDY, fees: Amount::from_sat(fees) };
        fees.iter().map(block).collect()
    }

    #[test]
    fn an_average_is_the_sum_of_fees_over_the_sum_of_subsidies() {
        let ratio = average(DAY, &blocks(&[5, 1, 3]), Average::Plain);
        assert_eq!(ratio, Ok(FeeRatio { fees: Amount::from_sat(9), subsidies: SUBSIDY * 3 }));
    }

    #[test]
    fn a_trimmed_average_leaves_out_three_at_either_end() {
        let ratio = average(DAY, &blocks(&[900, 1, 5, 800, 2, 6, 3, 700]), Average::Trimmed);
        assert_eq!(ratio, Ok(FeeRatio { fees: Amount::from_sat(11), subsidies: SUBSIDY * 2 }));
        let too_few = Err(AverageError::TooFewBlocks { day: DAY, found: 6 });
        assert_eq!(average(DAY, &blocks(&[1; 6]), Average::Trimmed), too_few);
        assert_eq!(average(DAY, &blocks(&[1; 2]), Average::Trimmed).map_err(|_| ()), Err(()));
    }

    #[test]
    fn a_day_begins_and_ends_at_midnight_utc() {
        let midnight = DAY.number() * DAY_S;
        let mut blocks = blocks(&[1, 10, 100, 1_000]);
        for (block, time_s) in blocks.iter_mut().zip([midnight - 1, midnight, midnight + DAY_S - 1, midnight + DAY_S]) {
            block.time_s = time_s;
        }
        let ratio = average(DAY, &blocks, Average::Plain);
        assert_eq!(ratio.map(|ratio| ratio.fees.to_sat()), Ok(110));
        assert_eq!(UtcDay::of(-1).number(), -1);
    }

    #[test]
    fn days_without_a_ratio_are_named() {
        assert_eq!(average(DAY, &[], Average::Plain), Err(AverageError::TooFewBlocks { day: DAY, found: 0 }));
        let spent = NetworkBlock { time_s: 1_700_000_000, subsidy: Amount::ZERO, fees: Amount::ONE_SAT };
        assert_eq!(average(DAY, &[spent], Average::Plain), Err(AverageError::NoRatio(DAY)));
    }
}
