//! The pool's past, as it is kept for charts: how much work was done in each stretch of time, and by whom.
//!
//! Owns how finely and for how long it is kept, how shares become rows of it, and what chance does to a hash rate that is
//! told by shares. Nothing of it is money, and no rule of money reads it.

use std::collections::BTreeMap;

use crate::{
    account::AccountId,
    id::row_id,
    share::{Difficulty, ShareSeq, Work},
};

mod band;
mod luck;

pub use band::{Band, Measured};
pub use luck::{BlockWork, Luck, Round, effort, rounds};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

row_id! {
    /// The number of a worker within one store, from 1.
    WorkerId
}

/// How finely the past is kept: in stretches that begin where UTC begins them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// By the minute, for three hours.
    Minute,
    /// By five minutes, for 26 hours.
    FiveMinutes,
    /// By two hours, for 32 days.
    TwoHours,
    /// By the day, for 400 days.
    Day,
}

impl Resolution {
    /// All of them, the finest first.
    pub const ALL: [Self; 4] = [Self::Minute, Self::FiveMinutes, Self::TwoHours, Self::Day];

    /// Returns how long a stretch is.
    pub const fn step_ms(self) -> i64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::FiveMinutes => 5 * MINUTE_MS,
            Self::TwoHours => 2 * HOUR_MS,
            Self::Day => DAY_MS,
        }
    }

    /// Returns for how long stretches are kept.
    pub const fn kept_ms(self) -> i64 {
        match self {
            Self::Minute => 3 * HOUR_MS,
            Self::FiveMinutes => 26 * HOUR_MS,
            Self::TwoHours => 32 * DAY_MS,
            Self::Day => 400 * DAY_MS,
        }
    }

    /// Returns where the stretch begins that a time lies in.
    pub const fn begin_of(self, at_ms: i64) -> i64 {
        at_ms.div_euclid(self.step_ms()).saturating_mul(self.step_ms())
    }
}

/// A stretch of time that is looked at, up to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    /// Five minutes.
    FiveMinutes,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// 30 days.
    Month,
    /// 365 days.
    Year,
}

impl Span {
    /// All of them, the shortest first.
    pub const ALL: [Self; 5] = [Self::FiveMinutes, Self::Hour, Self::Day, Self::Month, Self::Year];

    /// Returns how long it is.
    pub const fn length_ms(self) -> i64 {
        match self {
            Self::FiveMinutes => 5 * MINUTE_MS,
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
            Self::Month => 30 * DAY_MS,
            Self::Year => 365 * DAY_MS,
        }
    }

    /// Returns how finely it is told: in 366 stretches at most.
    pub const fn resolution(self) -> Resolution {
        match self {
            Self::FiveMinutes | Self::Hour => Resolution::Minute,
            Self::Day => Resolution::FiveMinutes,
            Self::Month => Resolution::TwoHours,
            Self::Year => Resolution::Day,
        }
    }

    /// Returns its short name: `5m`, `1h`, `24h`, `30d`, `1y`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Month => "30d",
            Self::Year => "1y",
        }
    }
}

/// Whose past it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The whole pool's.
    Pool,
    /// An account's, of all its workers together.
    Account(AccountId),
    /// One worker's.
    Worker(AccountId, WorkerId),
}

impl Subject {
    /// Returns the numbers of account and worker under which its rows are kept; 0 for all.
    pub(crate) fn key(self) -> (i64, i64) {
        match self {
            Self::Pool => (0, 0),
            Self::Account(account) => (account.get(), 0),
            Self::Worker(account, worker) => (account.get(), worker.get()),
        }
    }
}

/// A stretch of somebody's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stretch {
    /// How long it is.
    pub resolution: Resolution,
    /// Where it begins, in milliseconds since 1970 UTC.
    pub begins_at_ms: i64,
    /// Whose it is.
    pub subject: Subject,
}

/// Shares of one worker and difficulty that the history has yet to take in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerShares {
    /// The worker.
    pub worker: WorkerId,
    /// Its account.
    pub account: AccountId,
    /// The difficulty of each.
    pub difficulty: Difficulty,
    /// How many there are.
    pub count: u64,
    /// When the last of them was accepted, in milliseconds since 1970 UTC. They all count for that time.
    pub last_at_ms: i64,
}

/// How many shares of a difficulty are added to a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkRow {
    /// The stretch.
    pub stretch: Stretch,
    /// The difficulty of each.
    pub difficulty: Difficulty,
    /// How many.
    pub count: u64,
}

/// How many refused shares are added to a stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// The stretch.
    pub stretch: Stretch,
    /// What the miner was told.
    pub code: String,
    /// How many.
    pub count: u64,
}

/// What a stretch has most of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakRow {
    /// The stretch.
    pub stretch: Stretch,
    /// Its peaks, if they are higher than those that it has.
    pub peaks: Peaks,
}

/// What there was most of at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Peaks {
    /// Open channels.
    pub channels: u32,
    /// The difficulty of the best share's hash, never negative; 0 for none.
    pub best: f64,
}

/// A part of somebody's past, as it was kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// Where a stretch begins, and how many shares of a difficulty it has; in the order of the stretches.
    pub work: Vec<(i64, Difficulty, u64)>,
    /// Where a stretch begins, a code, and how many shares were refused with it.
    pub refused: Vec<(i64, String, u64)>,
    /// Where a stretch begins, and its peaks.
    pub peaks: Vec<(i64, Peaks)>,
}

/// When a worker's last share was accepted, as far as the history knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The worker.
    pub worker: WorkerId,
    /// Its account.
    pub account: AccountId,
    /// When, in milliseconds since 1970 UTC.
    pub last_share_at_ms: i64,
}

/// How far the history has come with the share log. It takes in segments that have ceased to grow, in turns; a turn goes
/// worker by worker, so that no transaction is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it began: shares up to here were never taken in.
    pub origin: ShareSeq,
    /// All shares behind `origin` up to here are in it.
    pub upto: ShareSeq,
    /// Up to where the turn goes that is under way; `upto` if none is.
    pub goal: ShareSeq,
    /// Of the shares of that turn, those of workers up to this one are in.
    pub worker: WorkerId,
    /// The time that it tells of begins here, in milliseconds since 1970 UTC,
    pub since_ms: i64,
    /// and ends here.
    pub until_ms: i64,
    /// The work of all shares that are in it or ever were.
    pub work: Work,
}

impl Progress {
    /// Begins behind `origin`, at `now_ms`, or when the oldest share came that is to be taken in.
    pub fn begin(origin: ShareSeq, oldest_ms: Option<i64>, now_ms: i64) -> Self {
        let since_ms = oldest_ms.map_or(now_ms, |oldest_ms| oldest_ms.min(now_ms));
        let (worker, work) = (WorkerId::new(0), Work::default());
        Self { origin, upto: origin, goal: origin, worker, since_ms, until_ms: since_ms, work }
    }

    /// Tells whether a turn is under way.
    pub fn is_amid(&self) -> bool {
        self.upto < self.goal
    }

    /// The next turn is to go up to `goal`.
    pub fn towards(self, goal: ShareSeq) -> Self {
        Self { goal, worker: WorkerId::new(0), ..self }
    }

    /// Some workers' shares of this turn came in: all up to `worker`.
    pub fn past(self, worker: WorkerId, shares: &[WorkerShares]) -> Self {
        let sum = |work: Work, shares: &WorkerShares| work.plus(Work::of(shares.difficulty, shares.count));
        Self { worker, work: shares.iter().fold(self.work, sum), ..self }
    }

    /// The turn is over.
    pub fn arrived(self) -> Self {
        Self { upto: self.goal, worker: WorkerId::new(0), ..self }
    }
}

/// Makes rows out of shares: for each resolution one of the worker, one of its account and one of the pool. What is older than
/// a resolution is kept is left out of it.
pub fn roll_up(shares: &[WorkerShares], now_ms: i64) -> Vec<WorkRow> {
    let mut sums: BTreeMap<(Stretch, Difficulty), u64> = BTreeMap::new();
    for &WorkerShares { worker, account, difficulty, count, last_at_ms } in shares {
        for resolution in Resolution::ALL {
            let begins_at_ms = resolution.begin_of(last_at_ms);
            if begins_at_ms < now_ms.saturating_sub(resolution.kept_ms()) {
                continue;
            }
            for subject in [Subject::Pool, Subject::Account(account), Subject::Worker(account, worker)] {
                let stretch = Stretch { resolution, begins_at_ms, subject };
                *sums.entry((stretch, difficulty)).or_default() += count;
            }
        }
    }
    sums.into_iter().map(|((stretch, difficulty), count)| WorkRow { stretch, difficulty, count }).collect()
}

/// Returns when each worker's last share came.
pub fn seen(shares: &[WorkerShares]) -> Vec<Seen> {
    let mut last: BTreeMap<WorkerId, Seen> = BTreeMap::new();
    for &WorkerShares { worker, account, last_at_ms, .. } in shares {
        let seen = last.entry(worker).or_insert(Seen { worker, account, last_share_at_ms: last_at_ms });
        seen.last_share_at_ms = seen.last_share_at_ms.max(last_at_ms);
    }
    last.into_values().collect()
}

/// Splits shares, which are in the order of their workers, so that each part has those of `most` workers at most, and of each
/// of them all.
pub fn by_workers(shares: &[WorkerShares], most: usize) -> Vec<&[WorkerShares]> {
    let (mut parts, mut begin, mut end) = (Vec::new(), 0, 0);
    let mut workers = 0;
    for of_one in shares.chunk_by(|one, next| one.worker == next.worker) {
        if workers == most {
            parts.push(&shares[begin..end]);
            (begin, workers) = (end, 0);
        }
        end += of_one.len();
        workers += 1;
    }
    if begin < end {
        parts.push(&shares[begin..end]);
    }
    parts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NOW_MS: i64 = 400 * DAY_MS + 5 * HOUR_MS;

    fn shares(worker: i64, log2: i8, count: u64, last_at_ms: i64) -> WorkerShares {
        let difficulty = Difficulty::from_log2(log2).unwrap();
        let (account, worker) = (AccountId::new(worker / 10), WorkerId::new(worker));
        WorkerShares { worker, account, difficulty, count, last_at_ms }
    }

    #[test]
    fn stretches_begin_where_utc_begins_them() {
        let at_ms = 3 * DAY_MS + 13 * HOUR_MS + 57 * MINUTE_MS + 1;
        let begins = Resolution::ALL.map(|resolution| resolution.begin_of(at_ms) - 3 * DAY_MS);
        assert_eq!(begins, [837 * MINUTE_MS, 835 * MINUTE_MS, 12 * HOUR_MS, 0]);
        assert_eq!((Resolution::Day.begin_of(-1), Resolution::Day.begin_of(i64::MIN)), (-DAY_MS, i64::MIN));
    }

    #[test]
    fn every_span_is_kept_for_longer_than_it_is_and_told_in_a_bounded_number_of_stretches() {
        for span in Span::ALL {
            let resolution = span.resolution();
            assert!(resolution.kept_ms() >= span.length_ms() + 2 * resolution.step_ms(), "{span:?}");
            assert!(span.length_ms() / resolution.step_ms() < 366, "{span:?}");
        }
    }

    #[test]
    fn shares_count_once_for_the_pool_the_account_and_the_worker_at_each_resolution() {
        let all = [
            shares(11, 3, 2, NOW_MS),
            shares(11, 3, 1, NOW_MS - 1),
            shares(11, 5, 4, NOW_MS),
            shares(12, 3, 8, NOW_MS),
            shares(21, 3, 16, NOW_MS - 2 * HOUR_MS),
        ];
        let rows = roll_up(&all, NOW_MS);
        let total = |resolution, subject| -> u64 {
            let is_of = |row: &&WorkRow| (row.stretch.resolution, row.stretch.subject) == (resolution, subject);
            rows.iter().filter(is_of).map(|row| row.count).sum()
        };
        let (one, two) = (AccountId::new(1), AccountId::new(2));
        for resolution in Resolution::ALL {
            assert_eq!(total(resolution, Subject::Pool), 31);
            assert_eq!(total(resolution, Subject::Account(one)), 15);
            assert_eq!(total(resolution, Subject::Account(two)), 16);
            assert_eq!(total(resolution, Subject::Worker(one, WorkerId::new(11))), 7);
            assert_eq!(total(resolution, Subject::Worker(one, WorkerId::new(12))), 8);
        }
        let mut keys: Vec<_> = rows.iter().map(|row| (row.stretch, row.difficulty)).collect();
        let rows_before = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), rows_before, "one statement adds to no row twice");
    }

    #[test]
    fn what_is_too_old_for_a_resolution_is_left_out_of_it() {
        let resolutions = |ago_ms: i64| {
            let rows = roll_up(&[shares(11, 3, 1, NOW_MS - ago_ms)], NOW_MS);
            let resolutions: BTreeSet<_> = rows.into_iter().map(|row| row.stretch.resolution).collect();
            resolutions.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(resolutions(0), Resolution::ALL);
        assert_eq!(resolutions(4 * HOUR_MS), Resolution::ALL[1..]);
        assert_eq!(resolutions(28 * HOUR_MS), Resolution::ALL[2..]);
        assert_eq!(resolutions(34 * DAY_MS), Resolution::ALL[3..]);
        assert_eq!(resolutions(402 * DAY_MS), []);
    }

    #[test]
    fn parts_hold_whole_workers_and_so_many_at_most() {
        let all = [11, 11, 12, 13, 13, 13, 14].map(|worker| shares(worker, 3, 1, NOW_MS));
        for most in 1..6 {
            let parts = by_workers(&all, most);
            assert_eq!(parts.concat(), all);
            let workers = |part: &[WorkerShares]| part.iter().map(|shares| shares.worker).collect::<BTreeSet<_>>();
            assert!(parts.iter().all(|part| workers(part).len() <= most));
            assert_eq!(parts.len(), 4_usize.div_ceil(most));
        }
        assert_eq!(by_workers(&[], 3), Vec::<&[WorkerShares]>::new());
    }

    #[test]
    fn turn_counts_the_work_of_each_part_once() {
        let all = [shares(11, 3, 2, 7), shares(12, 4, 1, 9)];
        let begun = Progress::begin(ShareSeq::new(5), Some(7), 100).towards(ShareSeq::new(9));
        assert!(begun.is_amid() && begun.since_ms == 7);
        let amid = begun.past(WorkerId::new(11), &all[..1]);
        let over = amid.past(WorkerId::new(12), &all[1..]).arrived();
        assert_eq!((over.upto, over.worker, over.is_amid()), (ShareSeq::new(9), WorkerId::new(0), false));
        assert_eq!(over.work, Work::of(Difficulty::from_log2(5).unwrap(), 1));
        assert_eq!(seen(&all).iter().map(|seen| seen.last_share_at_ms).collect::<Vec<_>>(), [7, 9]);
    }
}
