//! What the miners' port counts.
//!
//! A connection counts shares in a tally of its own and adds it up here once for each time that it has read, so that
//! cores do not wait for each other over a share.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
};

use super::{addresses::Refused, connection::End};
use crate::{
    metrics::Metrics,
    mining::{session::SubmitRefusal, share::ShareError},
};

/// What the miners' port counts.
#[derive(Debug)]
pub struct PortMetrics {
    connections: Gauge,
    channels: Gauge,
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
    shares_refused: [Counter; RefusedShare::ALL.len()],
    /// Requests to open a channel that were refused.
    pub(super) channels_refused: Counter,
    /// Jobs that a connection was not given because a newer one came first.
    pub(super) jobs_skipped: Counter,
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
    refused: [u32; RefusedShare::ALL.len()],
}

impl ShareTally {
    /// Counts a right one.
    pub fn accept(&mut self) {
        self.accepted += 1;
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
    channels: i64,
}

impl OpenConnection {
    /// Counts a connection without channels.
    pub(super) fn new(metrics: Arc<PortMetrics>) -> Self {
        metrics.connections.inc();
        Self { metrics, channels: 0 }
    }

    /// Notes how many channels it has now.
    pub(super) fn note_channels(&mut self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if count != self.channels {
            self.metrics.channels.inc_by(count - self.channels);
            self.channels = count;
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.metrics.connections.dec();
        self.metrics.channels.dec_by(self.channels);
    }
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
        Self {
            connections: metrics.gauge("connections", "Connections that are open"),
            channels: metrics.gauge("channels", "Channels that are open"),
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
            shares_refused,
            channels_refused: metrics.counter("channels_refused", "Requests for a channel that were refused"),
            jobs_skipped: metrics
                .counter("jobs_skipped", "Jobs that a connection was not given because a newer one came first"),
        }
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

    /// Adds up the shares that a connection has judged.
    pub(super) fn add_shares(&self, tally: &ShareTally) {
        if tally.accepted > 0 {
            self.shares_accepted.inc_by(tally.accepted.into());
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
        (0..3).for_each(|_| tally.accept());
        tally.refuse(RefusedShare::Stale);
        port.add_shares(&tally);
        let text = metrics.text();
        assert_eq!(value(&text, "adit_connections"), 1.0);
        assert_eq!(value(&text, "adit_connections_refused_total{reason=\"banned\"}"), 1.0);
        assert_eq!(value(&text, "adit_connections_refused_total{reason=\"handshakes\"}"), 0.0);
        assert_eq!(value(&text, "adit_connections_ended_total{reason=\"stalled\"}"), 1.0);
        assert_eq!(value(&text, "adit_shares_total{result=\"accepted\",code=\"\"}"), 3.0);
        assert_eq!(value(&text, "adit_shares_total{result=\"refused\",code=\"stale-share\"}"), 1.0);
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
