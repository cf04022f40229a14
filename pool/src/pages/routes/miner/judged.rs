//! What was judged of a miner's shares: what was refused, with the cure, and the best of them. Of a time by the pool's history,
//! and of the open channels by what they count themselves.

use std::{collections::BTreeMap, time::Duration};

use payouts::{
    account::AccountId,
    history::{Resolution, Subject},
    store::Store,
};

use super::{
    super::now_ms,
    live::{Live, difficulty},
};
use crate::{
    cures,
    operations::{
        Refusal,
        history::{self, Judged},
    },
    pages::{
        Pages,
        kept::Kept,
        show::{Marked, Number, Percent},
    },
    stratum::{metrics::RefusedShare, roster::channel::Counts},
};

const DAY_MS: i64 = 86_400_000;
/// For so long they are shown as they were: the history goes on once a minute.
const LASTS: Duration = Duration::from_secs(15);
/// Miners whose shares are kept.
const MOST: usize = 1_024;
/// Miners whose shares are summed up at a time: the pool has other things to do.
const AT_A_TIME: usize = 2;

/// What miners' shares have come to, summed up once for all who look.
#[derive(Debug)]
pub(super) struct Pasts(Kept<AccountId, SharesPast>);

impl Default for Pasts {
    fn default() -> Pasts {
        Pasts(Kept::new(LASTS, MOST, AT_A_TIME))
    }
}

/// What the history has of a miner's shares.
#[derive(Debug)]
struct SharesPast {
    day: Judged,
    /// The best of all that is kept.
    best: Option<f64>,
}

impl SharesPast {
    async fn read(store: &dyn Store, account: AccountId, now_ms: i64) -> Result<SharesPast, Refusal> {
        let since = async |resolution, since_ms| {
            history::judged(store, Subject::Account(account), resolution, since_ms, now_ms).await
        };
        let day = since(Resolution::FiveMinutes, now_ms - DAY_MS).await?;
        let kept = since(Resolution::Day, now_ms - Resolution::Day.kept_ms()).await?;
        Ok(SharesPast { day, best: kept.best_difficulty })
    }
}

/// What was judged of a miner's shares.
pub(super) struct JudgedShares {
    /// In the last 24 hours.
    pub(super) accepted: Number,
    pub(super) refused: Number,
    pub(super) refused_part: Percent,
    /// The difficulty of the best share of the last 24 hours,
    pub(super) best_of_day: Option<String>,
    /// and of so many days, which is all that is kept.
    pub(super) best: Option<String>,
    pub(super) days: i64,
    /// What was refused, most first.
    pub(super) lines: Vec<RefusedLine>,
}

/// Shares that were refused with one code, and the cure.
pub(super) struct RefusedLine {
    pub(super) code: String,
    /// In the last 24 hours.
    pub(super) day: Number,
    /// Since they were opened, on the open channels.
    pub(super) open: Number,
    pub(super) meaning: Marked,
    pub(super) cure: Marked,
}

impl JudgedShares {
    /// Tells it of an account, whose open channels are `live`.
    pub(super) async fn of(pages: &Pages, account: AccountId, live: &Live) -> Result<JudgedShares, Refusal> {
        let past = SharesPast::read(&*pages.store, account, now_ms());
        let past = pages.figures.shares.0.value(&account, past).await?;
        Ok(JudgedShares::new(&past, live))
    }

    fn new(past: &SharesPast, live: &Live) -> JudgedShares {
        let SharesPast { day, best } = past;
        let refused = day.refused.values().sum::<u64>();
        // The history is a minute behind.
        let best = best.unwrap_or(0.0).max(live.counts.best_difficulty);
        JudgedShares {
            accepted: Number(day.accepted.into()),
            refused: Number(refused.into()),
            refused_part: Percent(refused as f64 / (day.accepted + refused).max(1) as f64),
            best_of_day: day.best_difficulty.map(difficulty),
            best: (best > 0.0).then(|| difficulty(best)),
            days: Resolution::Day.kept_ms() / DAY_MS,
            lines: lines(&day.refused, &live.counts),
        }
    }
}

/// Returns the code that a miner is told for what the history has by its name.
fn told(name: &str) -> &str {
    RefusedShare::ALL.into_iter().find(|why| why.name() == name).map_or(name, |why| why.code())
}

/// What was refused, most first, by what the devices were told.
fn lines(day: &BTreeMap<String, u64>, open: &Counts) -> Vec<RefusedLine> {
    let mut by_code: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (name, count) in day {
        by_code.entry(told(name)).or_default().0 += count;
    }
    for (why, count) in RefusedShare::ALL.into_iter().zip(open.refused).filter(|(_, count)| *count > 0) {
        by_code.entry(why.code()).or_default().1 += count;
    }
    let mut by_code: Vec<_> = by_code.into_iter().collect();
    by_code.sort_by_key(|(code, counts)| (std::cmp::Reverse(*counts), *code));
    let line = |(code, (day, open)): (&str, (u64, u64))| {
        let cure = cures::find(code);
        RefusedLine {
            code: code.to_owned(),
            day: Number(day.into()),
            open: Number(open.into()),
            meaning: Marked(cure.map_or("", |cure| cure.meaning)),
            cure: Marked(cure.map_or("", |cure| cure.cure)),
        }
    };
    by_code.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_cure() {
        for why in RefusedShare::ALL {
            assert!(cures::find(why.code()).is_some(), "{} has none", why.code());
            assert_eq!(told(why.name()), why.code());
        }
    }

    #[test]
    fn refusals_are_told_by_what_the_device_was_told() {
        let mut open = Counts::default();
        open.refused[RefusedShare::TimeOutOfRange as usize] = 2;
        open.refused[RefusedShare::TooMany as usize] = 3;
        open.refused[RefusedShare::Stale as usize] = 9;
        let day = [("time-out-of-range", 4), ("too-many-shares", 1), ("duplicate-share", 5), ("of-old", 1)];
        let day = day.map(|(name, count)| (name.to_owned(), count)).into();
        let lines = lines(&day, &open);
        let told: Vec<_> = lines.iter().map(|line| (line.code.as_str(), line.day.0, line.open.0)).collect();
        assert_eq!(told, [("invalid-share", 5, 5), ("duplicate-share", 5, 0), ("of-old", 1, 0), ("stale-share", 0, 9)]);
        assert!(lines.iter().all(|line| line.code == "of-old" || !line.cure.0.is_empty()));
    }
}
