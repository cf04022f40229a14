//! What the miners' port counts.
//!
//! A connection counts shares in a tally of its own and adds it up here once for each time that it has read, so that
//! cores do not wait for each other over a share.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
};

use super::{addresses::Refused, end::End};
use crate::{
    metrics::Metrics,
    mining::{difficulty::Difficulty, session::SubmitRefusal, share::ShareError},
};

/// What the miners' port counts.
#[derive(Debug)]
pub struct PortMetrics {
    connections: Gauge,
    /// Standard ones, extended ones.
    channels: [Gauge; 2],
    /// Connections that were accepted.
    pub(super) accepted: Counter,
    refused: [Counter; Refused::ALL.len()],
    ended: [Counter; End::NAMES.len()],
    /// Attempts to accept a connection that failed.
    pub(super) accept_errors: Counter,
    /// Times that an address was banned.
    pub(super) bans: Counter,
    handshake_seconds: Histogram,
    /// Messages that were dealt with.
    pub(super) messages: Counter,
    /// Times that a connection began to be slowed.
    pub(super) slowed: Counter,
    shares_accepted: Counter,
    accepted_hashes: Counter<f64, AtomicU64>,
    validation_seconds: Histogram,
    shares_refused: [Counter; RefusedShare::ALL.len()],
    /// Requests to open a channel that were refused.
    pub(super) channels_refused: Counter,
    /// Jobs that were passed on to a connection.
    pub(super) jobs_sent: Counter,
    /// Jobs that a connection was not given because a newer one came first.
    pub(super) jobs_skipped: Counter,
    newest_tip: Arc<Mutex<Option<NewestTip>>>,
}

/// How far the newest tip has come.
#[derive(Clone, Copy, Debug)]
struct NewestTip {
    height: u32,
    /// When the first job on it was made.
    began: Instant,
    /// How long after that the last of the connections so far was given one.
    longest: Duration,
}

/// Why a share is refused, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedShare {
    /// Of a channel that is not open.
    UnknownChannel,
    /// For a job that has ended.
    Stale,
    /// For a job that was never given.
    UnknownJob,
    /// With a time out of range.
    TimeOutOfRange,
    /// With a version bit changed that no miner may roll.
    FixedVersionBit,
    /// With an extranonce of another size.
    ExtranonceSize,
    /// Whose hash is above the target.
    AboveTarget,
    /// Handed in before.
    Duplicate,
    /// More than the pool remembers for one job.
    TooMany,
    /// Of a worker whose name cannot be read.
    InvalidWorker,
    /// Right, but there is no room for it.
    NotStored,
}

impl RefusedShare {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::UnknownChannel,
        Self::Stale,
        Self::UnknownJob,
        Self::TimeOutOfRange,
        Self::FixedVersionBit,
        Self::ExtranonceSize,
        Self::AboveTarget,
        Self::Duplicate,
        Self::TooMany,
        Self::InvalidWorker,
        Self::NotStored,
    ];

    /// Returns the label's value: mostly the code that the miner is told.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownChannel => "invalid-channel-id",
            Self::Stale => "stale-share",
            Self::UnknownJob => "invalid-job-id",
            Self::TimeOutOfRange => "time-out-of-range",
            Self::FixedVersionBit => "invalid-non-rollable-version-bit",
            Self::ExtranonceSize => "bad-extranonce-size",
            Self::AboveTarget => "difficulty-too-low",
            Self::Duplicate => "duplicate-share",
            Self::TooMany => "too-many-shares",
            Self::InvalidWorker => "invalid-user-identity",
            Self::NotStored => "share-not-stored",
        }
    }

    /// Returns the code that the miner is told.
    pub fn code(self) -> &'static str {
        match self {
            Self::TimeOutOfRange | Self::TooMany => "invalid-share",
            other => other.name(),
        }
    }

    /// Tells whether it speaks against the peer. Late shares come with every new tip, and what finds no room in the pool
    /// is the pool's own fault.
    pub fn is_peers_fault(self) -> bool {
        !matches!(self, Self::Stale | Self::TooMany | Self::NotStored)
    }
}

impl From<SubmitRefusal> for RefusedShare {
    fn from(refusal: SubmitRefusal) -> Self {
        match refusal {
            SubmitRefusal::UnknownChannel(_) => Self::UnknownChannel,
            SubmitRefusal::Share(error) => match error {
                ShareError::Stale(_) => Self::Stale,
                ShareError::UnknownJob(_) => Self::UnknownJob,
                ShareError::TimeOutOfRange { .. } => Self::TimeOutOfRange,
                ShareError::FixedVersionBit(_) => Self::FixedVersionBit,
                ShareError::ExtranonceSize { .. } => Self::ExtranonceSize,
                ShareError::AboveTarget => Self::AboveTarget,
                ShareError::Duplicate => Self::Duplicate,
                ShareError::TooManyShares => Self::TooMany,
            },
        }
    }
}

/// Shares that a connection has judged since it last added them up.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShareTally {
    accepted: u32,
    accepted_hashes: f64,
    refused: [u32; RefusedShare::ALL.len()],
}

/// What was judged since the start, of all connections.
#[derive(Clone, Debug, Default)]
pub struct ShareSums {
    /// Right ones.
    pub accepted: u64,
    /// The hashes that they stand for.
    pub hashes: f64,
    /// Refused ones, in the order of [`RefusedShare::ALL`].
    pub refused: [u64; RefusedShare::ALL.len()],
}

impl ShareTally {
    /// Counts a right one, with the hashes that it stands for.
    pub fn accept(&mut self, difficulty: Difficulty) {
        self.accepted += 1;
        self.accepted_hashes += difficulty.in_hashes() as f64;
    }

    /// Returns how many there are of both.
    pub fn judged(&self) -> u32 {
        self.accepted + self.refused.iter().sum::<u32>()
    }

    /// Counts one that is refused.
    pub fn refuse(&mut self, why: RefusedShare) {
        self.refused[why as usize] += 1;
    }

    /// Returns how many were right.
    pub fn accepted(&self) -> u32 {
        self.accepted
    }

    /// Returns how many were refused through the peer's fault.
    pub fn invalid(&self) -> u32 {
        let faults = RefusedShare::ALL.iter().filter(|why| why.is_peers_fault());
        faults.map(|why| self.refused[*why as usize]).sum()
    }
}

/// A connection that is open, and its channels, as gauges show them. Dropping it takes them back.
#[derive(Debug)]
pub(super) struct OpenConnection {
    metrics: Arc<PortMetrics>,
    channels: [i64; 2],
}

impl OpenConnection {
    /// Counts a connection without channels.
    pub(super) fn new(metrics: Arc<PortMetrics>) -> Self {
        metrics.connections.inc();
        Self { metrics, channels: [0; 2] }
    }

    /// Notes how many standard and extended channels it has now.
    pub(super) fn note_channels(&mut self, counts: [usize; 2]) {
        let counts = counts.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        if counts != self.channels {
            for ((gauge, count), before) in self.metrics.channels.iter().zip(counts).zip(self.channels) {
                gauge.inc_by(count - before);
            }
            self.channels = counts;
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.metrics.connections.dec();
        for (gauge, count) in self.metrics.channels.iter().zip(self.channels) {
            gauge.dec_by(count);
        }
    }
}

/// The label that says of what kind a channel is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelKind {
    kind: &'static str,
}

/// The labels that say what became of a share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShareResult {
    result: &'static str,
    code: &'static str,
}

impl PortMetrics {
    /// Adds what the port counts to all that is counted.
    pub fn register(metrics: &mut Metrics) -> Self {
        let (shares_accepted, shares_refused) = shares(metrics);
        let newest_tip = Arc::<Mutex<Option<NewestTip>>>::default();
        let looked_at = Arc::clone(&newest_tip);
        metrics.measured_seconds(
            "tip_to_last_miner",
            "From the first job on the newest tip until it was written to the last connection so far",
            move || {
                let tip = *looked_at.lock().unwrap_or_else(PoisonError::into_inner);
                tip.map(|tip| tip.longest.as_secs_f64())
            },
        );
        Self {
            connections: metrics.gauge("connections", "Connections that are open"),
            channels: metrics.gauges(
                "channels",
                "Channels that are open",
                ["standard", "extended"].map(|kind| ChannelKind { kind }),
            ),
            accepted: metrics.counter("connections_accepted", "Connections that were accepted"),
            refused: metrics.counters_by_reason(
                "connections_refused",
                "Connections that were closed at once",
                Refused::ALL.map(Refused::name),
            ),
            ended: metrics.counters_by_reason("connections_ended", "Connections that ended", End::NAMES),
            accept_errors: metrics.counter("accept_errors", "Connections that could not be accepted"),
            bans: metrics.counter("bans", "Times that an address was banned"),
            handshake_seconds: metrics
                .seconds("handshake", "From a handshake's arrival to its answer, with the wait for its turn"),
            messages: metrics.counter("messages", "Messages of miners that were dealt with"),
            slowed: metrics.counter("connections_slowed", "Times that a connection began to be slowed"),
            shares_accepted,
            accepted_hashes: metrics
                .sum("accepted_hashes", "Hashes that accepted shares stand for, by their difficulty"),
            validation_seconds: metrics.short_seconds(
                "share_validation",
                "What a share took from its encrypted frame to its place in the log's queue, on average of a read",
            ),
            shares_refused,
            channels_refused: metrics.counter("channels_refused", "Requests for a channel that were refused"),
            jobs_sent: metrics.counter("jobs_sent", "Jobs that were passed on to a connection"),
            jobs_skipped: metrics
                .counter("jobs_skipped", "Jobs that a connection was not given because a newer one came first"),
            newest_tip,
        }
    }

    /// Returns in words how many miners are served.
    pub fn summary(&self) -> String {
        let channels: i64 = self.channels.iter().map(|gauge| gauge.get()).sum();
        format!("serves {} connections with {channels} channels", self.connections.get())
    }

    /// Counts a connection that was closed at once.
    pub(super) fn refuse(&self, why: Refused) {
        self.refused[why as usize].inc();
    }

    /// Counts a connection that ended.
    pub(super) fn end(&self, why: &End) {
        self.ended[why.index()].inc();
    }

    /// Counts a handshake that was answered after such a time.
    pub(super) fn shake_hands(&self, took: Duration) {
        self.handshake_seconds.observe(took.as_secs_f64());
    }

    /// Counts a read whose shares, so many of them, took such a time together.
    pub(super) fn validate(&self, shares: u32, took: Duration) {
        self.validation_seconds.observe(took.as_secs_f64() / f64::from(shares));
    }

    /// Notes that a connection was given a job on the tip for a block of this height, of which this is the first that it
    /// was given; `made_at` is when that job was made.
    pub(super) fn reach(&self, height: u32, made_at: Instant, now: Instant) {
        let mut newest = self.newest_tip.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is late for one tip says nothing of the next.
        if newest.is_some_and(|tip| tip.height != height && tip.began > made_at) {
            return;
        }
        let tip = match *newest {
            Some(tip) if tip.height == height => tip,
            _ => NewestTip { height, began: made_at, longest: Duration::ZERO },
        };
        let took = now.saturating_duration_since(tip.began);
        *newest = Some(NewestTip { longest: tip.longest.max(took), ..tip });
    }

    /// Returns what was judged since the start.
    pub fn share_sums(&self) -> ShareSums {
        ShareSums {
            accepted: self.shares_accepted.get(),
            hashes: self.accepted_hashes.get(),
            refused: std::array::from_fn(|code| self.shares_refused[code].get()),
        }
    }

    /// Adds up the shares that a connection has judged.
    pub(crate) fn add_shares(&self, tally: &ShareTally) {
        if tally.accepted > 0 {
            self.shares_accepted.inc_by(tally.accepted.into());
            self.accepted_hashes.inc_by(tally.accepted_hashes);
        }
        for (counter, count) in self.shares_refused.iter().zip(tally.refused).filter(|(_, count)| *count > 0) {
            counter.inc_by(count.into());
        }
    }
}

/// What was judged right, and what was refused for each reason.
fn shares(metrics: &mut Metrics) -> (Counter, [Counter; RefusedShare::ALL.len()]) {
    const COUNT: usize = RefusedShare::ALL.len() + 1;

    let labels: [ShareResult; COUNT] = std::array::from_fn(|index| match index.checked_sub(1) {
        None => ShareResult { result: "accepted", code: "" },
        Some(index) => ShareResult { result: "refused", code: RefusedShare::ALL[index].name() },
    });
    let counters = metrics.counters("shares", "Shares that were judged", labels);
    let refused = std::array::from_fn(|index| counters[index + 1].clone());
    (counters[0].clone(), refused)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn value(text: &str, series: &str) -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().unwrap()
    }

    #[test]
    fn what_is_counted_is_shown_under_its_name() {
        let mut metrics = Metrics::new();
        let port = PortMetrics::register(&mut metrics);
        port.connections.inc();
        port.refuse(Refused::Banned);
        port.end(&End::Stalled);
        port.shake_hands(Duration::from_millis(2));
        let mut tally = ShareTally::default();
        (0..3).for_each(|_| tally.accept(Difficulty::from_log2(-31)));
        tally.refuse(RefusedShare::Stale);
        port.add_shares(&tally);
        let text = metrics.text();
        assert_eq!(value(&text, "adit_connections"), 1.0);
        assert_eq!(value(&text, "adit_connections_refused_total{reason=\"banned\"}"), 1.0);
        assert_eq!(value(&text, "adit_connections_refused_total{reason=\"handshakes\"}"), 0.0);
        assert_eq!(value(&text, "adit_connections_ended_total{reason=\"stalled\"}"), 1.0);
        assert_eq!(value(&text, "adit_shares_total{result=\"accepted\",code=\"\"}"), 3.0);
        assert_eq!(value(&text, "adit_shares_total{result=\"refused\",code=\"stale-share\"}"), 1.0);
        assert_eq!(value(&text, "adit_accepted_hashes_total"), 6.0);
        assert_eq!(value(&text, "adit_handshake_seconds_count"), 1.0);
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn every_series_has_the_prefix_and_stands_there_once() {
        let mut metrics = Metrics::new();
        PortMetrics::register(&mut metrics);
        let (text, mut series) = (metrics.text(), BTreeSet::new());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("adit_"), "{line}");
            assert!(series.insert(line.rsplit_once(' ').unwrap().0), "{line}");
        }
        assert!(series.len() > 40);
    }

    #[test]
    fn last_miner_of_the_newest_tip_is_what_counts() {
        let mut metrics = Metrics::new();
        let port = PortMetrics::register(&mut metrics);
        let (begun, ms) = (Instant::now(), Duration::from_millis);
        assert!(!metrics.text().contains("\nadit_tip_to_last_miner_seconds "));
        // The second was given the next job on the same tip, and is late for the tip all the same.
        for (made_at, now) in [(0, 2), (1_000, 1_005), (0, 3)] {
            port.reach(9, begun + ms(made_at), begun + ms(now));
        }
        assert_eq!(value(&metrics.text(), "adit_tip_to_last_miner_seconds"), 1.005);
        port.reach(10, begun + ms(2_000), begun + ms(2_004));
        port.reach(9, begun + ms(1_000), begun + ms(9_000));
        assert_eq!(value(&metrics.text(), "adit_tip_to_last_miner_seconds"), 0.004);
    }

    #[test]
    fn late_shares_and_shares_without_room_do_not_speak_against_the_peer() {
        let mut tally = ShareTally::default();
        RefusedShare::ALL.into_iter().for_each(|why| tally.refuse(why));
        assert_eq!(tally.invalid() as usize, RefusedShare::ALL.len() - 3);
    }

    #[test]
    fn lists_are_in_the_order_of_what_they_list() {
        assert!(RefusedShare::ALL.into_iter().enumerate().all(|(index, why)| why as usize == index));
        assert!(Refused::ALL.into_iter().enumerate().all(|(index, why)| why as usize == index));
    }
}
