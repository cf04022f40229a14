//! What the threads of a load count, and how it is added up.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use hdrhistogram::Histogram;

use super::work::Spoiled;

/// The longest time that is told from longer ones: an hour.
const LONGEST_US: u64 = 3_600_000_000;
/// Significant decimal digits of the times.
const DIGITS: u8 = 3;

/// What happened on the connections of one thread, or of all.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Shares sent.
    pub(super) submitted: u64,
    /// Shares that the pool says it has accepted.
    pub(super) acknowledged: u64,
    /// Acknowledgements whose count is not that of the submissions which they settle.
    pub(super) miscounted: u64,
    /// The difficulties that the pool says it has credited.
    pub(super) work_sum: u64,
    /// Refused shares by their codes.
    pub(super) refused: BTreeMap<String, u64>,
    /// Shares in flight when their connection was lost.
    pub(super) unknown: u64,
    /// Shares that were due and not sent, because too many waited for an answer or the connection was away.
    pub(super) held_back: u64,
    /// Headers that were hashed and not sent.
    pub(super) spoiled: Spoiled,
    /// Connections on which every channel has got its first job.
    pub(super) opened: u64,
    /// Connections that ended by themselves, by the reason.
    pub(super) lost: BTreeMap<String, u64>,
    /// Messages that make no sense where they came, by what is wrong with them.
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// From a share's submission to its acknowledgement, in microseconds.
    pub(super) acknowledgement_us: Histogram<u64>,
    /// From the start of a connection to the first jobs of all its channels, in microseconds.
    pub(super) opening_us: Histogram<u64>,
    /// The longest time without an acknowledgement while shares were being sent, in microseconds.
    pub(super) longest_silence_us: u64,
    /// The tips in the order in which they came, if they are noted.
    pub(super) tips: Vec<TipSeen>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            submitted: 0,
            acknowledged: 0,
            miscounted: 0,
            work_sum: 0,
            refused: BTreeMap::new(),
            unknown: 0,
            held_back: 0,
            spoiled: Spoiled::default(),
            opened: 0,
            lost: BTreeMap::new(),
            faults: BTreeMap::new(),
            acknowledgement_us: histogram(),
            opening_us: histogram(),
            longest_silence_us: 0,
            tips: Vec::new(),
        }
    }
}

/// Makes an empty histogram of times in microseconds.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds are constants that suit each other")
}

impl Tally {
    /// Returns how many shares were refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Adds what another thread, or an earlier time, has counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.submitted += other.submitted;
        self.acknowledged += other.acknowledged;
        self.miscounted += other.miscounted;
        self.work_sum = self.work_sum.saturating_add(other.work_sum);
        self.unknown += other.unknown;
        self.held_back += other.held_back;
        self.spoiled.misses += other.spoiled.misses;
        self.spoiled.blocks += other.spoiled.blocks;
        self.opened += other.opened;
        self.longest_silence_us = self.longest_silence_us.max(other.longest_silence_us);
        add_all(&mut self.refused, &other.refused);
        add_all(&mut self.lost, &other.lost);
        add_all(&mut self.faults, &other.faults);
        let same_bounds = "all histograms have the same bounds";
        self.acknowledgement_us.add(&other.acknowledgement_us).expect(same_bounds);
        self.opening_us.add(&other.opening_us).expect(same_bounds);
        for seen in &other.tips {
            match self.tips.iter_mut().find(|tip| tip.prev_hash == seen.prev_hash) {
                Some(tip) => tip.add(seen),
                None => self.tips.push(seen.clone()),
            }
        }
    }

    /// Notes a lost connection.
    pub(super) fn lose(&mut self, reason: &str) {
        *self.lost.entry(reason.to_owned()).or_default() += 1;
    }

    /// Notes a message that makes no sense.
    pub(super) fn fault(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
    }

    /// Notes that a channel has turned to a tip, or got a job on it, at a time in microseconds.
    pub(super) fn see_tip(&mut self, prev_hash: [u8; 32], what: OnTip, at_us: u64) {
        let known = self.tips.iter().rposition(|tip| tip.prev_hash == prev_hash);
        let index = known.unwrap_or_else(|| {
            self.tips.push(TipSeen::new(prev_hash));
            self.tips.len() - 1
        });
        let tip = &mut self.tips[index];
        let times = match what {
            OnTip::Activated => &mut tip.activated_us,
            OnTip::Full => &mut tip.full_us,
            OnTip::Second => &mut tip.second_us,
        };
        times.push(at_us);
    }
}

fn add_all<K: Ord + Clone>(sums: &mut BTreeMap<K, u64>, others: &BTreeMap<K, u64>) {
    others.iter().for_each(|(key, count)| *sums.entry(key.clone()).or_default() += count);
}

/// What a channel can get on a tip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnTip {
    /// The tip, and a job on it.
    Activated,
    /// The first job that is seen to hold transactions.
    Full,
    /// The first job after the activation.
    Second,
}

/// When the channels heard of a tip, in microseconds of the load's clock.
#[derive(Clone, Debug)]
pub(super) struct TipSeen {
    /// The tip's hash in the order of the wire.
    pub(super) prev_hash: [u8; 32],
    /// One for each channel that turned to it.
    pub(super) activated_us: Vec<u64>,
    /// One for each extended channel that got a job with transactions.
    pub(super) full_us: Vec<u64>,
    /// One for each channel that got a second job.
    pub(super) second_us: Vec<u64>,
}

impl TipSeen {
    fn new(prev_hash: [u8; 32]) -> Self {
        Self { prev_hash, activated_us: Vec::new(), full_us: Vec::new(), second_us: Vec::new() }
    }

    fn add(&mut self, other: &Self) {
        self.activated_us.extend(&other.activated_us);
        self.full_us.extend(&other.full_us);
        self.second_us.extend(&other.second_us);
    }
}

/// What can be read while a load runs: sums over all threads, behind by a moment.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) open: AtomicU64,
    pub(super) submitted: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) losses: AtomicU64,
}

impl Live {
    /// Adds what has come to a thread's tally since it was last told of, which `told` remembers.
    pub(super) fn tell(&self, tally: &Tally, told: &mut Told) {
        let now = Told {
            submitted: tally.submitted,
            acknowledged: tally.acknowledged,
            refused: tally.refused(),
            unknown: tally.unknown,
            losses: tally.lost.values().sum(),
        };
        self.submitted.fetch_add(now.submitted - told.submitted, Ordering::Relaxed);
        self.acknowledged.fetch_add(now.acknowledged - told.acknowledged, Ordering::Relaxed);
        self.refused.fetch_add(now.refused - told.refused, Ordering::Relaxed);
        self.unknown.fetch_add(now.unknown - told.unknown, Ordering::Relaxed);
        self.losses.fetch_add(now.losses - told.losses, Ordering::Relaxed);
        *told = now;
    }
}

/// What a thread has told of its tally.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    submitted: u64,
    acknowledged: u64,
    refused: u64,
    unknown: u64,
    losses: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_of_several_threads_add_up() {
        let mut one = Tally { submitted: 5, acknowledged: 3, longest_silence_us: 70, ..Tally::default() };
        one.refused.insert("stale-share".into(), 2);
        one.acknowledgement_us.saturating_record(1_000);
        one.see_tip([1; 32], OnTip::Activated, 10);
        let mut other = Tally { submitted: 4, acknowledged: 4, longest_silence_us: 90, ..Tally::default() };
        other.refused.insert("stale-share".into(), 1);
        other.acknowledgement_us.saturating_record(3_000);
        other.see_tip([2; 32], OnTip::Activated, 30);
        other.see_tip([1; 32], OnTip::Activated, 20);
        one.add(&other);
        assert_eq!((one.submitted, one.acknowledged, one.refused(), one.longest_silence_us), (9, 7, 3, 90));
        assert_eq!(one.acknowledgement_us.len(), 2);
        let tips: Vec<_> = one.tips.iter().map(|tip| (tip.prev_hash[0], tip.activated_us.as_slice())).collect();
        assert_eq!(tips, [(1, &[10, 20][..]), (2, &[30][..])]);
    }

    #[test]
    fn live_counts_grow_by_what_is_new() {
        let (live, mut told) = (Live::default(), Told::default());
        let mut tally = Tally { submitted: 5, ..Tally::default() };
        live.tell(&tally, &mut told);
        tally.submitted = 8;
        live.tell(&tally, &mut told);
        assert_eq!(live.submitted.load(Ordering::Relaxed), 8);
    }
}
