//! Shares counted by whom they are credited to and by difficulty: what miners know, and what the books have.

use std::collections::BTreeMap;

use protocol::codec::U256;
use tests::miner::{Record, Submission};

/// Numbers of shares by identity (`address.worker`) and by the difficulty's base-2 logarithm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<(String, i64), u64>);

impl Tally {
    /// What a miner has had acknowledged.
    pub(crate) fn acknowledged(record: &Record) -> Self {
        let acknowledged = record.acknowledged();
        Self::of(record, |share| acknowledged.contains(&(share.channel_id, share.sequence_number)))
    }

    /// What a miner has submitted, answered or not.
    pub(crate) fn submitted(record: &Record) -> Self {
        Self::of(record, |_| true)
    }

    fn of(record: &Record, counts: impl Fn(&Submission) -> bool) -> Self {
        let mut tally = Self::default();
        for share in record.submitted.iter().filter(|share| counts(share)) {
            let difficulty = Self::log2_of(share.target.expect("the miner has found it itself"));
            tally.add_some(&record.identities[&share.channel_id], difficulty, 1);
        }
        tally
    }

    pub(crate) fn add_some(&mut self, identity: &str, difficulty_log2: i64, count: u64) {
        *self.0.entry((identity.to_owned(), difficulty_log2)).or_default() += count;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|((identity, log2), count)| self.add_some(identity, *log2, *count));
    }

    /// The logarithm of a target's difficulty, which is a power of two.
    pub(crate) fn log2_of(sought: U256) -> i64 {
        (-32..=95).find(|&log2| target(log2) == sought).unwrap_or_else(|| panic!("{sought} is no power of two"))
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The difficulties, easiest first, with their numbers.
    pub(crate) fn by_difficulty(&self) -> BTreeMap<i64, u64> {
        let mut counts = BTreeMap::new();
        self.0.iter().for_each(|((_, log2), count)| *counts.entry(*log2).or_default() += count);
        counts
    }

    /// Asserts that there are at least as many of each kind as `other` has.
    #[track_caller]
    pub(crate) fn assert_covers(&self, other: &Self, what: &str) {
        let lacks = |key: &&(String, i64)| self.0.get(key).copied().unwrap_or(0) < other.0[key];
        let lacking: Vec<_> = other.0.keys().filter(lacks).collect();
        assert!(lacking.is_empty(), "{what}: too few of {lacking:?}\n{self:?}\n{other:?}");
    }
}

/// The target of difficulty 2^log2.
pub(crate) fn target(log2: i64) -> U256 {
    let mut difficulty_one = [0; 32];
    difficulty_one[26..28].fill(0xff);
    let step = if log2 < 0 { double } else { half };
    U256((0..log2.unsigned_abs()).fold(difficulty_one, |target, _| step(&target)))
}

fn double(number: &[u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    number.map(|byte| {
        let doubled = byte << 1 | carry;
        carry = byte >> 7;
        doubled
    })
}

fn half(number: &[u8; 32]) -> [u8; 32] {
    let mut halved = *number;
    let mut carry = 0;
    for byte in halved.iter_mut().rev() {
        (*byte, carry) = (*byte >> 1 | carry << 7, *byte & 1);
    }
    halved
}
