//! Share records: what an accepted share is worth, as it is kept for ever.
//!
//! Validation happens elsewhere; a [`NewShare`] is the account of a share that was found right.

use std::fmt;

use bitcoin::{BlockHash, CompactTarget};
use ruint::aliases::U256;

use crate::{account::AccountId, id::row_id};

row_id! {
    /// A position in the share log. Later shares have greater positions; there may be gaps.
    ///
    /// Position 0 stands before the first share.
    ShareSeq
}

/// A share's difficulty: a power of two between 2^-32 and 2^95.
///
/// Powers of two keep sums and ratios of work exact in integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Difficulty(i8);

impl Difficulty {
    /// The least difficulty, 2^-32: below one hash.
    pub const MIN: Self = Self(-32);
    /// The greatest difficulty, 2^95.
    pub const MAX: Self = Self(95);

    /// Returns the difficulty 2^`log2`, or `None` outside [`Difficulty::MIN`] to [`Difficulty::MAX`].
    pub const fn from_log2(log2: i8) -> Option<Self> {
        if log2 < Self::MIN.0 || log2 > Self::MAX.0 { None } else { Some(Self(log2)) }
    }

    /// Returns the exponent.
    pub const fn log2(self) -> i8 {
        self.0
    }

    /// Returns the exponent counted from [`Difficulty::MIN`], so that it is never negative.
    pub(crate) const fn shift(self) -> usize {
        (self.0 as i16 - Self::MIN.0 as i16) as usize
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2^{}", self.0)
    }
}

/// A sum of difficulties, exact, in units of 2^-32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work(U256);

impl Work {
    /// Returns the work of `count` shares of one difficulty.
    pub fn of(difficulty: Difficulty, count: u64) -> Self {
        Self(U256::from(count) << difficulty.shift())
    }

    /// Returns the sum; it cannot overflow before 2^64 shares of the greatest difficulty.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Returns the sum in units of 2^-32.
    pub(crate) const fn units(self) -> U256 {
        self.0
    }

    /// Returns the sum as a difficulty for people and metrics. Never for money.
    pub fn approximate(self) -> f64 {
        f64::from(self.0) / 2f64.powi(32)
    }
}

/// An accepted share that is not stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewShare {
    /// Who earned it.
    pub account: AccountId,
    /// The part of the user identity after the account; may be empty.
    pub worker: String,
    /// A tag of the channel, unique over the pool's life: the session and the channel's number in it.
    pub channel: i64,
    /// The job's number within its channel.
    pub job: u32,
    /// The sequence number that the miner gave it.
    pub sequence_number: u32,
    /// The difficulty that was in force for its job; never that of its hash.
    pub difficulty: Difficulty,
    /// The network's target when it was submitted.
    pub nbits: CompactTarget,
    /// The hash of its header: no two stored shares have the same.
    pub header_hash: BlockHash,
    /// When it was accepted, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// A share as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredShare {
    /// Its position in the log.
    pub seq: ShareSeq,
    /// What was stored.
    pub share: NewShare,
}

/// What the schemes need of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareScore {
    /// Its position in the log.
    pub seq: ShareSeq,
    /// Who earned it.
    pub account: AccountId,
    /// Its difficulty.
    pub difficulty: Difficulty,
    /// The network's target when it was submitted.
    pub nbits: CompactTarget,
}

/// What became of one share of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is durable, at this position.
    Stored(ShareSeq),
    /// A share with this header hash was stored before; this one counts for nothing.
    Duplicate,
}

/// How many shares there are, and their work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareTotals {
    /// The number of shares.
    pub count: u64,
    /// The sum of their difficulties.
    pub work: Work,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn difficulties_outside_the_range_do_not_exist() {
        assert_eq!(Difficulty::from_log2(-33), None);
        assert_eq!(Difficulty::from_log2(96), None);
        assert_eq!(Difficulty::from_log2(-32), Some(Difficulty::MIN));
        assert_eq!(Difficulty::MIN.shift(), 0);
        assert_eq!(Difficulty::MAX.shift(), 127);
    }

    #[test]
    fn work_is_the_sum_of_difficulties() {
        let one = Difficulty::from_log2(0).unwrap();
        let eighth = Difficulty::from_log2(-3).unwrap();
        let work = Work::of(one, 3).plus(Work::of(eighth, 4));
        assert_eq!(work.approximate(), 3.5);
    }
}
