//! Share records: what accepted shares are worth, as the share log keeps them.
//!
//! Validation happens elsewhere; a [`ShareRun`] is the account of shares that were found right. The log does not keep
//! single shares but sums: how many of one worker, job and difficulty there are in each *segment*. A segment ends where
//! a job is made, so what a job's block pays for is always a whole number of segments.

use std::{fmt, sync::Arc};

use bitcoin::{Amount, BlockHash, CompactTarget};
use ruint::{
    Uint,
    aliases::{U256, U512, U1024},
};

use crate::{account::AccountId, id::row_id};

row_id! {
    /// A position in the share log: the number of a segment. Later segments have greater numbers; there may be gaps.
    ///
    /// It is the pool's session times 2^32, plus a count within the session. Position 0 stands before the first share.
    /// Shares of the time when each was kept on its own are segments of one share, with numbers under 2^32.
    ShareSeq
}

impl ShareSeq {
    /// Returns the position of a session's segment; segment 0 is empty and stands before the session's first share.
    ///
    /// Nothing if `session` is not between 0 and 2^31 - 1.
    pub fn of_session(session: i64, segment: u32) -> Option<Self> {
        let session = i32::try_from(session).ok().filter(|session| *session >= 0)?;
        Some(Self::new(i64::from(session) << 32 | i64::from(segment)))
    }
}

row_id! {
    /// The number of a job, which no other job of the pool has: the session times 2^32, plus a count within it.
    JobNumber
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

    /// Returns a sum of so many units of 2^-32.
    pub(crate) const fn from_units(units: U256) -> Self {
        Self(units)
    }

    /// Returns the part `counted / whole` of it, rounded down; `counted` is at most `whole`.
    pub(crate) fn part(self, counted: U512, whole: U512) -> Self {
        Self(Uint::from(U1024::from(self.0) * U1024::from(counted) / U1024::from(whole)))
    }

    /// Returns what it is more than another, or nothing.
    pub fn more_than(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Reads a sum from its units of 2^-32 in decimal, as [`Work::to_decimal`] writes them.
    pub(crate) fn from_decimal(text: &str) -> Option<Self> {
        U256::from_str_radix(text, 10).ok().map(Self)
    }

    /// Writes the units of 2^-32 in decimal, exactly.
    pub(crate) fn to_decimal(self) -> String {
        self.0.to_string()
    }

    /// Returns the sum as a difficulty for people and metrics. Never for money.
    pub fn approximate(self) -> f64 {
        f64::from(self.0) / 2f64.powi(32)
    }
}

/// Whom a share is paid for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reward {
    /// By the pool's scheme, together with all others.
    Shared,
    /// By the blocks that its miner finds, alone: it counts in no window.
    Solo,
}

/// What the share log keeps of a job that shares were found on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobTerms {
    /// Its number.
    pub job: JobNumber,
    /// The last segment that its block pays for. Shares on it lie behind.
    pub position: ShareSeq,
    /// When it was made, in milliseconds since 1970 UTC.
    pub opened_at_ms: i64,
    /// The block that it builds on. Nothing in the one job that stands for those of a time when jobs were not kept.
    pub prev_hash: Option<BlockHash>,
    /// The height of its block; nothing likewise.
    pub height: Option<u32>,
    /// The network's target.
    pub nbits: CompactTarget,
    /// The newly issued part of what its coinbase pays; nothing likewise.
    pub subsidy: Option<Amount>,
    /// The fees of its transactions; nothing likewise.
    pub fees: Option<Amount>,
}

/// Accepted shares that are not stored yet, and differ in nothing that is but their times: a run of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareRun {
    /// Who earned them.
    pub account: AccountId,
    /// The part of the user identity after the account; may be empty.
    pub worker: Arc<str>,
    /// The job that they were found on.
    pub job: JobTerms,
    /// The difficulty that was in force for their job; never that of a hash.
    pub difficulty: Difficulty,
    /// Whom they are paid for by.
    pub reward: Reward,
    /// How many there are, at least one.
    pub count: u32,
    /// When the first of them was accepted, in milliseconds since 1970 UTC.
    pub first_at_ms: i64,
    /// When the last of them was accepted.
    pub last_at_ms: i64,
}

/// Shares that are stored together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareGroup {
    /// The pool's session.
    pub session: i64,
    /// Its number within the session, from 1 and without gaps. A group of the same number is the same group again.
    pub number: i64,
    /// The segment that the shares belong to.
    pub segment: ShareSeq,
    /// The shares, in no particular order.
    pub runs: Vec<ShareRun>,
}

/// A segment of the share log, as far as it counts in windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its position.
    pub position: ShareSeq,
    /// What it holds, in no particular order. An account may have several rows.
    pub rows: Vec<ShareRow>,
}

/// How large a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSize {
    /// Its position.
    pub position: ShareSeq,
    /// How many rows it has.
    pub rows: u64,
    /// When its first share was accepted, in milliseconds since 1970 UTC.
    pub begun_at_ms: i64,
}

/// Shares of one account, difficulty and network's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareRow {
    /// Who earned them.
    pub account: AccountId,
    /// The difficulty of each.
    pub difficulty: Difficulty,
    /// The network's target when their job was made.
    pub nbits: CompactTarget,
    /// How many there are.
    pub count: u64,
}

/// An account's work on one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobWork {
    /// Who did it.
    pub account: AccountId,
    /// The job.
    pub job: JobTerms,
    /// The sum of the difficulties.
    pub work: Work,
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

/// What became of a group of shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is stored now.
    Stored,
    /// It was stored before, by an attempt whose answer was lost; nothing was changed.
    Already,
}

/// How many shares there are, and their work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareTotals {
    /// The number of shares.
    pub count: u64,
    /// The sum of their difficulties.
    pub work: Work,
}

/// What one worker of an account has done in a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerTotals {
    /// Its name; may be empty.
    pub worker: String,
    /// The number of its shares.
    pub count: u64,
    /// The sum of their difficulties.
    pub work: Work,
    /// When the first of them was accepted, in milliseconds since 1970 UTC.
    pub first_at_ms: i64,
    /// When the last of them was accepted.
    pub last_at_ms: i64,
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
