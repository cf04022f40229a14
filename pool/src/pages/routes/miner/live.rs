//! What a miner's open channels tell: what his devices declare, at which difficulty they work and why.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::{
    mining::session::RetargetCause,
    pages::show::{Ago, HashRate, Number, Percent},
    stratum::roster::channel::{Counts, LiveChannel},
};

/// Channels that are listed, those that were opened first.
const MOST_CHANNELS: usize = 100;

/// A miner's open channels.
pub(super) struct Live {
    pub(super) channels: Vec<ChannelLine>,
    pub(super) more: usize,
    pub(super) count: usize,
    /// Hashes a second, as his devices declare.
    pub(super) declared: HashRate,
    /// As their shares of the last minutes come to.
    pub(super) measured: HashRate,
    pub(super) accepted: Number,
    pub(super) refused_part: Percent,
    /// What was judged since they were opened.
    pub(super) counts: Counts,
    /// The difficulty of the best share.
    pub(super) best: Option<String>,
    /// What was refused of the open channels of each worker.
    workers: BTreeMap<Arc<str>, u64>,
}

/// An open channel.
pub(super) struct ChannelLine {
    pub(super) worker: String,
    pub(super) difficulty: String,
    pub(super) cause: &'static str,
    pub(super) since: Ago,
    pub(super) declared: HashRate,
    pub(super) measured: HashRate,
    pub(super) accepted: Number,
    pub(super) refused: Number,
    pub(super) last: Option<Ago>,
}

impl Live {
    /// Shows the channels that a miner has open.
    pub(super) fn new(mut open: Vec<Arc<LiveChannel>>, now: Instant, now_ms: i64) -> Live {
        open.sort_by_key(|channel| (channel.opened_at_ms(), channel.connection(), channel.id()));
        let (mut counts, mut workers) = (Counts::default(), BTreeMap::new());
        let (mut declared, mut measured) = (0.0, 0.0);
        for channel in &open {
            counts.add(&channel.counts());
            *workers.entry(Arc::clone(channel.worker())).or_default() += channel.counts().refused();
            declared += f64::from(channel.target().nominal_hash_rate);
            measured += channel.recent(now).hash_rate;
        }
        let best = counts.best_difficulty;
        Live {
            channels: open.iter().take(MOST_CHANNELS).map(|channel| ChannelLine::new(channel, now, now_ms)).collect(),
            more: open.len().saturating_sub(MOST_CHANNELS),
            count: open.len(),
            declared: HashRate(declared),
            measured: HashRate(measured),
            accepted: Number(counts.accepted.into()),
            refused_part: Percent(counts.refused() as f64 / (counts.accepted + counts.refused()).max(1) as f64),
            counts,
            best: (best > 0.0).then(|| difficulty(best)),
            workers,
        }
    }

    /// Returns how many shares were refused on a worker's open channels; nothing if it has none open.
    pub(super) fn refused_of(&self, worker: &str) -> Option<u64> {
        self.workers.get(worker).copied()
    }

    /// Returns the workers that have channels open.
    pub(super) fn workers(&self) -> impl Iterator<Item = &str> {
        self.workers.keys().map(|worker| &**worker)
    }
}

impl ChannelLine {
    fn new(channel: &LiveChannel, now: Instant, now_ms: i64) -> ChannelLine {
        let (target, counts) = (channel.target(), channel.counts());
        ChannelLine {
            worker: channel.worker().to_string(),
            difficulty: difficulty(2f64.powi(target.difficulty.log2().into())),
            cause: why(target.cause),
            since: Ago { at_ms: target.since_ms, now_ms },
            declared: HashRate(target.nominal_hash_rate.into()),
            measured: HashRate(channel.recent(now).hash_rate),
            accepted: Number(counts.accepted.into()),
            refused: Number(counts.refused().into()),
            last: channel.last_share_at_ms().map(|at_ms| Ago { at_ms, now_ms }),
        }
    }
}

/// Says why a channel has the difficulty that it has.
fn why(cause: Option<RetargetCause>) -> &'static str {
    match cause {
        None => "what it began with",
        Some(RetargetCause::Faster) => "shares came faster than the pool wishes",
        Some(RetargetCause::Slower) => "shares came slower than the pool wishes",
        Some(RetargetCause::Claimed) => "the device declared another hash rate",
        Some(RetargetCause::Bounds) => "what the network or the device allows has changed",
        Some(RetargetCause::Operator) => "the operator has set it",
    }
}

/// A difficulty for people: whole where it can be.
pub(super) fn difficulty(difficulty: f64) -> String {
    if difficulty >= 1.0 { Number(difficulty.round() as i128).to_string() } else { format!("{difficulty:.2e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulties_are_whole_where_they_can_be() {
        assert_eq!(difficulty(65_536.0), "65\u{202f}536");
        assert_eq!(difficulty(2f64.powi(-30)), "9.31e-10");
    }
}
