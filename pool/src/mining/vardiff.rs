//! Variable difficulty: keeps a channel near the wished number of shares a minute.
//!
//! Event driven: looked at when a share is accepted and when a new job goes out (which also happens when no share
//! comes, so that silence eases the difficulty). Only accepted shares count, each with the work it was credited with.

use std::time::{Duration, Instant};

use super::difficulty::Difficulty;

/// Shares that must have come before the difficulty may rise.
const MIN_SHARES_TO_RAISE: f64 = 6.0;
/// How sure it must be, in standard deviations, that the rate is above the wish (or below half of it).
const SIGMAS: f64 = 2.5;
/// Expected shares after which old evidence starts to fade.
const WINDOW_SHARES: f64 = 120.0;

/// What one channel has shown since its difficulty was set.
#[derive(Clone, Debug)]
pub struct Vardiff {
    interval: Duration,
    difficulty: Difficulty,
    since: Instant,
    /// Accepted work since then, in shares of `difficulty`.
    shares: f64,
}

impl Vardiff {
    /// Starts with `difficulty`, wishing for `shares_per_minute`.
    pub fn new(difficulty: Difficulty, shares_per_minute: f64, now: Instant) -> Self {
        Self { interval: Duration::from_secs_f64(60.0 / shares_per_minute), difficulty, since: now, shares: 0.0 }
    }

    /// Starts anew with another difficulty.
    pub fn reset(&mut self, difficulty: Difficulty, now: Instant) {
        *self = Self { interval: self.interval, difficulty, since: now, shares: 0.0 };
    }

    /// Returns the seconds that shares shall lie apart.
    pub fn interval_s(&self) -> f64 {
        self.interval.as_secs_f64()
    }

    /// Counts an accepted share. `difficulty` is what it was credited with, which for an older job can be another
    /// than the present one.
    pub fn count(&mut self, difficulty: Difficulty) {
        self.shares += 2f64.powi(i32::from(difficulty.log2()) - i32::from(self.difficulty.log2()));
    }

    /// Judges what was seen. Returns the difficulty that would suit the channel better, if that is certain enough.
    ///
    /// At the right difficulty between half and all of the wished shares come, because difficulties are powers of two
    /// rounded up; so it rises when clearly more than all come, and falls when clearly less than half do.
    pub fn judge(&mut self, now: Instant) -> Option<Difficulty> {
        let elapsed_s = now.saturating_duration_since(self.since).as_secs_f64();
        let wished = elapsed_s / self.interval_s();
        let too_many = self.shares >= MIN_SHARES_TO_RAISE && self.shares - wished > SIGMAS * wished.max(1.0).sqrt();
        let half = wished / 2.0;
        let too_few = half - self.shares > SIGMAS * half.sqrt();
        let suited = (too_many || too_few).then(|| {
            // Silence is no proof of standstill: half a share is the least that is assumed.
            let shares = self.shares.max(0.5);
            let hash_rate = shares * self.difficulty.in_hashes() as f64 / elapsed_s.max(0.001);
            Difficulty::for_hash_rate(hash_rate, self.interval_s())
        });
        // Also where another would suit: if it is out of the channel's bounds, the present one stays for hours, and what
        // was then would outweigh what is now.
        if wished > WINDOW_SHARES {
            self.since += (now - self.since) / 2;
            self.shares /= 2.0;
        }
        suited.filter(|suited| *suited != self.difficulty)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Lets a miner of `hash_rate` run for `minutes` with evenly spaced shares. Returns the difficulties it was given.
    fn run(hash_rate: f64, start: Difficulty, minutes: u64) -> Vec<Difficulty> {
        let begin = Instant::now();
        let mut vardiff = Vardiff::new(start, 10.0, begin);
        let mut given = vec![start];
        let (mut now, end) = (begin, begin + Duration::from_secs(minutes * 60));
        let mut next_job = begin + Duration::from_secs(30);
        while now < end {
            let current = *given.last().unwrap();
            let share_at = now + Duration::from_secs_f64((current.in_hashes() as f64 / hash_rate).min(1e6));
            if share_at < next_job {
                now = share_at;
                vardiff.count(current);
            } else {
                now = next_job;
                next_job += Duration::from_secs(30);
            }
            if let Some(difficulty) = vardiff.judge(now) {
                vardiff.reset(difficulty, now);
                given.push(difficulty);
            }
        }
        given
    }

    #[test]
    fn fast_miner_is_raised_within_seconds() {
        // 100 TH/s that began with the difficulty of 1 TH/s.
        let given = run(1e14, Difficulty::for_hash_rate(1e12, 6.0), 10);
        assert_eq!(*given.last().unwrap(), Difficulty::for_hash_rate(1e14, 6.0));
        assert!(given.len() <= 4, "{given:?}");
    }

    #[test]
    fn slow_miner_is_eased_although_it_never_submits() {
        let given = run(1e9, Difficulty::for_hash_rate(1e14, 6.0), 60);
        let suited = Difficulty::for_hash_rate(1e9, 6.0);
        let last = i32::from(given.last().unwrap().log2());
        assert!((last - i32::from(suited.log2())).abs() <= 1, "{given:?} is not {suited:?}");
    }

    /// Firmware that always claims 1 TH/s, or 1 GH/s, whatever the device does.
    #[test]
    fn claim_is_only_where_the_search_for_the_real_rate_begins() {
        for (claimed, real) in [(1e12, 1e9), (1e12, 4.8e11), (1e12, 2e14), (1e9, 1e14), (1e9, 1e6)] {
            let given = run(real, Difficulty::for_hash_rate(claimed, 6.0), 60);
            let suited = i32::from(Difficulty::for_hash_rate(real, 6.0).log2());
            let last = i32::from(given.last().unwrap().log2());
            assert!((last - suited).abs() <= 1, "{claimed} for {real}: {given:?} is not 2^{suited}");
        }
    }

    #[test]
    fn miner_that_grows_after_hours_at_its_least_difficulty_is_raised_soon() {
        let (least, begin) = (Difficulty::for_hash_rate(1e14, 6.0), Instant::now());
        let mut vardiff = Vardiff::new(least, 10.0, begin);
        // Ten hours without any share, at a difficulty that may not fall.
        let mut now = begin;
        while now < begin + Duration::from_secs(36_000) {
            now += Duration::from_secs(30);
            assert!(vardiff.judge(now).is_none_or(|suited| suited < least));
        }
        let raised = (1..).find(|_| {
            now += Duration::from_secs(1);
            vardiff.count(least);
            vardiff.judge(now).is_some_and(|suited| suited > least)
        });
        assert!(raised.unwrap() < 300, "raised after {raised:?} s with six times the shares that are wished for");
    }

    #[test]
    fn steady_miner_is_left_alone() {
        for hash_rate in [6.0e11, 8.0e11, 1.0e12] {
            let start = Difficulty::for_hash_rate(hash_rate, 6.0);
            assert_eq!(run(hash_rate, start, 240), [start]);
        }
    }

    #[test]
    fn share_of_an_older_job_counts_its_own_work() {
        let now = Instant::now();
        let mut vardiff = Vardiff::new(Difficulty::from_log2(10), 10.0, now);
        vardiff.count(Difficulty::from_log2(8));
        assert_eq!(vardiff.shares, 0.25);
    }
}
