//! The pool's past, as charts draw it: the hash rate by stretches of time, and what else was counted in them.

use std::collections::{BTreeMap, btree_map::Entry};

use payouts::{
    account::AccountId,
    history::{Measured, Peaks, Progress, Resolution, Span, Subject},
    store::Store,
};
use serde::{Deserialize, Serialize};

use super::{
    Refusal, RefusalCode,
    hash_rate::{HashRate, Window, measured, past_of},
};

/// A stretch of time up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum SpanName {
    /// Five minutes, by the minute.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// An hour, by the minute.
    #[serde(rename = "1h")]
    Hour,
    /// A day, by five minutes.
    #[default]
    #[serde(rename = "24h")]
    Day,
    /// 30 days, by two hours.
    #[serde(rename = "30d")]
    Month,
    /// A year, by the day.
    #[serde(rename = "1y")]
    Year,
}

impl SpanName {
    /// All of them, the shortest first.
    pub const ALL: [Self; 5] = [Self::FiveMinutes, Self::Hour, Self::Day, Self::Month, Self::Year];
}

impl From<SpanName> for Span {
    fn from(name: SpanName) -> Span {
        match name {
            SpanName::FiveMinutes => Span::FiveMinutes,
            SpanName::Hour => Span::Hour,
            SpanName::Day => Span::Day,
            SpanName::Month => Span::Month,
            SpanName::Year => Span::Year,
        }
    }
}

/// Somebody's past over a span.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct HistoryReport {
    /// The span that was asked for.
    pub span: SpanName,
    /// Where it begins, in milliseconds since 1970 UTC: the begin of the first point's stretch, or that of the pool's past.
    pub from_ms: i64,
    /// Where it ends: up to here everything is counted. Usually half a minute ago.
    pub to_ms: i64,
    /// The stretch of a point, in seconds.
    pub step_seconds: i64,
    /// The hash rate over all of it.
    pub whole: HashRate,
    /// The points, oldest first and without gaps: at most 366.
    pub points: Vec<HistoryPoint>,
}

/// A stretch of somebody's past.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct HistoryPoint {
    /// Where it begins, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// How long it is, in seconds. The first and the last may be cut.
    pub seconds: f64,
    /// Hashes a second that the work of its shares comes to.
    pub hash_rate: f64,
    /// Chance alone may have moved it: in 19 cases of 20 the miners' hash rate is at least this. Nothing without shares.
    pub low: Option<f64>,
    /// And at most this.
    pub high: Option<f64>,
    /// The number of accepted shares.
    pub accepted: u64,
    /// The number of refused shares, by what the miner was told.
    pub refused: BTreeMap<String, u64>,
    /// The most channels that were open at a time; nothing if that is not known.
    pub channels: Option<u32>,
    /// The difficulty of the best share's hash; nothing if that is not known.
    pub best_difficulty: Option<f64>,
}

/// Tells the pool's past.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn pool_history(store: &dyn Store, span: SpanName) -> Result<HistoryReport, Refusal> {
    history(store, Subject::Pool, span).await
}

/// Tells the past of an account, or of one of its workers.
///
/// # Errors
///
/// When the store cannot be read, or the account never had such a worker.
pub async fn account_history(
    store: &dyn Store,
    account: AccountId,
    worker: Option<&str>,
    span: SpanName,
) -> Result<HistoryReport, Refusal> {
    history(store, subject(store, account, worker).await?, span).await
}

/// Returns whose past it is: an account's, or that of one of its workers.
///
/// # Errors
///
/// When the store cannot be read, or the account never had such a worker.
pub async fn subject(store: &dyn Store, account: AccountId, worker: Option<&str>) -> Result<Subject, Refusal> {
    let Some(name) = worker else { return Ok(Subject::Account(account)) };
    let found = store.worker_id(account, name).await?.map(|worker| Subject::Worker(account, worker));
    found.ok_or_else(|| Refusal::new(RefusalCode::NotFound, format!("the account has no worker {name:?}")))
}

/// What a span comes to in all.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// The span.
    pub span: SpanName,
    /// The hash rate over all of it.
    pub rate: HashRate,
    /// The number of refused shares.
    pub refused: u64,
}

/// Tells what each span of somebody's past comes to, the shortest first.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn wholes(store: &dyn Store, subject: Subject) -> Result<Vec<Whole>, Refusal> {
    let progress = store.history_progress().await?;
    let mut wholes = Vec::with_capacity(SpanName::ALL.len());
    for span in SpanName::ALL {
        wholes.push(match &progress {
            Some(progress) => whole(store, subject, span, progress).await?,
            None => Whole { span, rate: HashRate::default(), refused: 0 },
        });
    }
    Ok(wholes)
}

async fn whole(store: &dyn Store, subject: Subject, span: SpanName, progress: &Progress) -> Result<Whole, Refusal> {
    let (window, past) = past_of(store, subject, span.into(), progress).await?;
    let refused = past.refused.iter().map(|(.., count)| count).sum();
    Ok(Whole { span, rate: HashRate::of(&measured(&past), window), refused })
}

/// What was judged of somebody's shares in a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// The number of accepted shares.
    pub accepted: u64,
    /// The number of refused shares, by what the miner was told.
    pub refused: BTreeMap<String, u64>,
    /// The difficulty of the best share's hash; nothing if there was none.
    pub best_difficulty: Option<f64>,
}

/// Tells what was judged of somebody's shares since a time, in whole stretches: up to a minute ago.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn judged(
    store: &dyn Store,
    subject: Subject,
    resolution: Resolution,
    since_ms: i64,
    now_ms: i64,
) -> Result<Judged, Refusal> {
    let past = store.past(subject, resolution, resolution.begin_of(since_ms), now_ms.saturating_add(1)).await?;
    let mut judged = Judged { accepted: measured(&past).count(), ..Judged::default() };
    for (_, code, count) in past.refused {
        *judged.refused.entry(code).or_default() += count;
    }
    let best = past.peaks.iter().map(|(_, peaks)| peaks.best).fold(0.0, f64::max);
    Ok(Judged { best_difficulty: (best > 0.0).then_some(best), ..judged })
}

/// Tells somebody's past.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn history(store: &dyn Store, subject: Subject, name: SpanName) -> Result<HistoryReport, Refusal> {
    let span = Span::from(name);
    let resolution = span.resolution();
    let Some(progress) = store.history_progress().await? else {
        let step_seconds = resolution.step_ms() / 1_000;
        let whole = HashRate::default();
        return Ok(HistoryReport { span: name, from_ms: 0, to_ms: 0, step_seconds, whole, points: vec![] });
    };
    let (window, past) = past_of(store, subject, span, &progress).await?;
    let whole = HashRate::of(&measured(&past), window);
    let mut stretches = Stretches::empty(window, resolution);
    for (at_ms, difficulty, count) in past.work {
        stretches.change(at_ms, |it| it.accepted.add(difficulty, count));
    }
    for (at_ms, code, count) in past.refused {
        stretches.change(at_ms, |it| *it.refused.entry(code).or_default() += count);
    }
    for (at_ms, peaks) in past.peaks {
        stretches.change(at_ms, |it| it.peaks = Some(peaks));
    }
    Ok(HistoryReport {
        span: name,
        from_ms: window.from_ms,
        to_ms: window.to_ms,
        step_seconds: resolution.step_ms() / 1_000,
        whole,
        points: stretches.points(window),
    })
}

/// What was counted in one stretch.
#[derive(Clone, Debug, Default)]
struct Counted {
    accepted: Measured,
    refused: BTreeMap<String, u64>,
    peaks: Option<Peaks>,
}

/// All stretches of a window, by where they begin.
struct Stretches {
    step_ms: i64,
    counted: BTreeMap<i64, Counted>,
}

impl Stretches {
    fn empty(Window { from_ms, to_ms }: Window, resolution: Resolution) -> Stretches {
        let (mut counted, mut at_ms) = (BTreeMap::new(), resolution.begin_of(from_ms));
        while at_ms < to_ms && from_ms < to_ms {
            counted.insert(at_ms, Counted::default());
            at_ms += resolution.step_ms();
        }
        Stretches { step_ms: resolution.step_ms(), counted }
    }

    fn change(&mut self, at_ms: i64, change: impl FnOnce(&mut Counted)) {
        if let Entry::Occupied(mut counted) = self.counted.entry(at_ms) {
            change(counted.get_mut());
        }
    }

    fn points(self, window: Window) -> Vec<HistoryPoint> {
        let step_ms = self.step_ms;
        let point = |(at_ms, Counted { accepted, refused, peaks }): (i64, Counted)| {
            let stretch = Window { from_ms: at_ms.max(window.from_ms), to_ms: (at_ms + step_ms).min(window.to_ms) };
            let HashRate { seconds, shares, hash_rate, low, high } = HashRate::of(&accepted, stretch);
            let channels = peaks.map(|peaks| peaks.channels);
            let best_difficulty = peaks.map(|peaks| peaks.best).filter(|best| *best > 0.0);
            HistoryPoint { at_ms, seconds, hash_rate, low, high, accepted: shares, refused, channels, best_difficulty }
        };
        self.counted.into_iter().map(point).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payouts::{
        history::{PeakRow, RefusedRow, Stretch, WorkRow},
        share::{Difficulty, ShareSeq},
        store::{HistoryStep, HistoryStore, sqlite::SqliteStore},
    };
    use tempfile::TempDir;

    use super::*;
    use crate::operations::workers::HASHES_PER_DIFFICULTY;

    const MINUTE_MS: i64 = 60_000;
    /// A minute that begins a day.
    const BEGIN_MS: i64 = 20_000 * 1_440 * MINUTE_MS;

    /// A store whose past goes from one time to another and has shares of difficulty 2 in some minutes.
    async fn store(since_ms: i64, until_ms: i64, minutes: &[(i64, u64)]) -> (TempDir, SqliteStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let row = |&(begins_at_ms, count): &(i64, u64)| WorkRow {
            stretch: Stretch { resolution: Resolution::Minute, begins_at_ms, subject: Subject::Pool },
            difficulty: Difficulty::from_log2(1).unwrap(),
            count,
        };
        let to = Progress { until_ms, ..Progress::begin(ShareSeq::new(0), Some(since_ms), since_ms) };
        let step = HistoryStep { from: None, to, rows: minutes.iter().map(row).collect(), seen: vec![] };
        assert!(store.step_history(&step).await.unwrap());
        (folder, store)
    }

    fn rate(shares: f64, seconds: f64) -> f64 {
        shares * 2.0 * HASHES_PER_DIFFICULTY / seconds
    }

    #[tokio::test]
    async fn points_follow_each_other_without_gaps_and_are_cut_where_the_past_ends() {
        let until_ms = BEGIN_MS + 10 * MINUTE_MS + 15_000;
        let minutes = [(BEGIN_MS + 6 * MINUTE_MS, 8), (BEGIN_MS + 10 * MINUTE_MS, 3), (BEGIN_MS + 11 * MINUTE_MS, 9)];
        let (_folder, store) = store(BEGIN_MS, until_ms, &minutes).await;
        let history = pool_history(&store, SpanName::FiveMinutes).await.unwrap();
        assert_eq!((history.from_ms, history.to_ms), (BEGIN_MS + 5 * MINUTE_MS, until_ms));
        let begins: Vec<i64> = history.points.iter().map(|point| (point.at_ms - BEGIN_MS) / MINUTE_MS).collect();
        assert_eq!(begins, [5, 6, 7, 8, 9, 10]);
        let told: Vec<_> =
            history.points.iter().map(|point| (point.accepted, point.seconds, point.hash_rate)).collect();
        let none = (0, 60.0, 0.0);
        assert_eq!(told, [none, (8, 60.0, rate(8.0, 60.0)), none, none, none, (3, 15.0, rate(3.0, 15.0))]);
        assert_eq!((history.whole.shares, history.whole.hash_rate), (11, rate(11.0, 315.0)));
        let (low, high) = (history.points[1].low.unwrap(), history.points[1].high.unwrap());
        assert!(low < rate(8.0, 60.0) && high > rate(8.0, 60.0) && history.points[0].low.is_none());
    }

    #[tokio::test]
    async fn young_past_begins_where_it_begins() {
        let (since_ms, until_ms) = (BEGIN_MS + 20_000, BEGIN_MS + 50_000);
        let (_folder, store) = store(since_ms, until_ms, &[(BEGIN_MS, 6)]).await;
        let history = pool_history(&store, SpanName::Hour).await.unwrap();
        assert_eq!((history.from_ms, history.points.len()), (since_ms, 1));
        assert_eq!((history.points[0].seconds, history.points[0].hash_rate), (30.0, rate(6.0, 30.0)));
        assert_eq!(history.whole.hash_rate, rate(6.0, 30.0));
        for span in SpanName::ALL {
            assert!(pool_history(&store, span).await.unwrap().points.len() <= 366);
        }
    }

    #[tokio::test]
    async fn pool_without_a_past_has_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let history = pool_history(&store, SpanName::Year).await.unwrap();
        assert_eq!((history.points, history.whole), (vec![], HashRate::default()));
        assert_eq!(wholes(&store, Subject::Pool).await.unwrap().len(), 5);
        let refusal = account_history(&store, AccountId::new(1), Some("rig"), SpanName::Day).await.unwrap_err();
        assert_eq!(refusal.code, RefusalCode::NotFound);
    }

    #[tokio::test]
    async fn refused_shares_and_peaks_stand_with_their_stretch() {
        let (_folder, store) = store(BEGIN_MS, BEGIN_MS + 2 * MINUTE_MS, &[]).await;
        let at = |minute| {
            let begins_at_ms = BEGIN_MS + minute * MINUTE_MS;
            Stretch { resolution: Resolution::Minute, begins_at_ms, subject: Subject::Pool }
        };
        let refused = RefusedRow { stretch: at(1), code: "stale-share".to_owned(), count: 4 };
        let peaks = PeakRow { stretch: at(0), peaks: Peaks { channels: 7, best: 0.0 } };
        store.add_to_history(&[refused], &[peaks]).await.unwrap();
        let points = pool_history(&store, SpanName::Hour).await.unwrap().points;
        assert_eq!((points[0].channels, points[0].best_difficulty, points[1].channels), (Some(7), None, None));
        assert_eq!(points[1].refused, [("stale-share".to_owned(), 4)].into());
        assert_eq!(wholes(&store, Subject::Pool).await.unwrap()[0].refused, 4);
    }

    #[tokio::test]
    async fn what_was_judged_is_summed_up_over_whole_stretches_and_the_best_stays() {
        let (_folder, store) =
            store(BEGIN_MS, BEGIN_MS + 3 * MINUTE_MS, &[(BEGIN_MS, 5), (BEGIN_MS + MINUTE_MS, 6)]).await;
        let at = |minute| {
            let begins_at_ms = BEGIN_MS + minute * MINUTE_MS;
            Stretch { resolution: Resolution::Minute, begins_at_ms, subject: Subject::Pool }
        };
        let refused = |minute, code: &str, count| RefusedRow { stretch: at(minute), code: code.to_owned(), count };
        let best = |minute, best| PeakRow { stretch: at(minute), peaks: Peaks { channels: 1, best } };
        let refused = [refused(0, "stale-share", 4), refused(1, "stale-share", 2), refused(2, "duplicate-share", 1)];
        store.add_to_history(&refused, &[best(0, 90.0), best(1, 0.5), best(2, 0.25)]).await.unwrap();
        let of = async |minute| {
            let (since_ms, now_ms) = (BEGIN_MS + minute * MINUTE_MS + 59_999, BEGIN_MS + 2 * MINUTE_MS);
            judged(&store, Subject::Pool, Resolution::Minute, since_ms, now_ms).await.unwrap()
        };
        let told = |codes: &[(&str, u64)]| codes.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect();
        let refused = told(&[("duplicate-share", 1), ("stale-share", 6)]);
        assert_eq!(of(0).await, Judged { accepted: 11, refused, best_difficulty: Some(90.0) });
        let refused = told(&[("duplicate-share", 1), ("stale-share", 2)]);
        assert_eq!(of(1).await, Judged { accepted: 6, refused, best_difficulty: Some(0.5) });
        let other = Subject::Account(AccountId::new(1));
        let nothing = judged(&store, other, Resolution::Day, 0, BEGIN_MS).await.unwrap();
        assert_eq!(nothing, Judged::default());
    }
}
