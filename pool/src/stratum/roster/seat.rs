//! One connection as it can be watched: who it is, how far it came, what it has open, and how it ended.

use std::{
    collections::VecDeque,
    fmt,
    net::SocketAddr,
    num::ParseIntError,
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use protocol::messages::common::SetupConnection;

use super::{
    channel::LiveChannel,
    opening::{Reason, Stage},
};
use crate::stratum::orders::Orders;

/// Refused requests for a channel that are remembered of a connection.
const MAX_REFUSED_OPENS: usize = 8;
/// Channels that are remembered of a connection that has ended.
const MAX_LEFT_CHANNELS: usize = 8;

/// A connection's number, counted from 1 since the pool was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ConnectionId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(ConnectionId)
    }
}

/// A connection, open or ended.
#[derive(Debug)]
pub struct Seat {
    id: ConnectionId,
    peer: SocketAddr,
    arrived: Instant,
    arrived_at_ms: i64,
    /// In milliseconds after it arrived, and one more, so that none is zero. Written once a read.
    last_frame_ms: AtomicU64,
    story: Mutex<Story>,
    orders: Orders,
    ending: OnceLock<Ending>,
}

/// What happens seldom.
#[derive(Debug, Default)]
struct Story {
    answered_at_ms: Option<i64>,
    set_up: Option<Arc<SetUp>>,
    extensions: Vec<u16>,
    /// In the order of their ids.
    channels: Vec<Arc<LiveChannel>>,
    refused_opens: VecDeque<RefusedOpen>,
    /// The last error about something else than a request for a channel or a share of an open one.
    last_other: Option<SentError>,
}

/// What a client has said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUp {
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who made the device or program.
    pub vendor: String,
    /// Which hardware it is.
    pub hardware: String,
    /// Which firmware runs on it.
    pub firmware: String,
    /// Which one it is of its kind.
    pub device: String,
    /// What it requires (SV2 5.3.1).
    pub flags: u32,
    /// The version of the protocol that is spoken.
    pub version: u16,
}

/// A request for a channel that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedOpen {
    /// For whom it was, as the client wrote it.
    pub user: String,
    /// What it was told.
    pub code: &'static str,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// An error that the pool has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentError {
    /// Its code.
    pub code: &'static str,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Why.
    pub reason: Reason,
    /// How many channels were open.
    pub channels: usize,
}

impl Seat {
    pub(super) fn new(id: ConnectionId, peer: SocketAddr, now: Instant, now_ms: i64) -> Seat {
        let (last_frame_ms, story, ending) = (AtomicU64::new(0), Mutex::default(), OnceLock::new());
        let orders = Orders::default();
        Seat { id, peer, arrived: now, arrived_at_ms: now_ms, last_frame_ms, story, orders, ending }
    }

    /// Returns where its task is told what to do.
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Returns its number.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Returns whom it goes to.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns when it was accepted, in milliseconds since 1970 UTC.
    pub fn arrived_at_ms(&self) -> i64 {
        self.arrived_at_ms
    }

    /// Returns when the pool answered its handshake, in milliseconds since 1970 UTC.
    pub fn answered_at_ms(&self) -> Option<i64> {
        self.story().answered_at_ms
    }

    /// Returns what it has said of itself.
    pub fn set_up(&self) -> Option<Arc<SetUp>> {
        self.story().set_up.clone()
    }

    /// Returns the extensions that it may use.
    pub fn extensions(&self) -> Vec<u16> {
        self.story().extensions.clone()
    }

    /// Returns its channels in the order of their ids; if it has ended, some of those that it had.
    pub fn channels(&self) -> Vec<Arc<LiveChannel>> {
        self.story().channels.clone()
    }

    /// Returns the last requests for a channel that were refused, oldest first.
    pub fn refused_opens(&self) -> Vec<RefusedOpen> {
        self.story().refused_opens.iter().cloned().collect()
    }

    /// Returns when the peer was last heard, in milliseconds since 1970 UTC.
    pub fn last_frame_at_ms(&self) -> Option<i64> {
        let after_ms = self.last_frame_ms.load(Relaxed).checked_sub(1)?;
        Some(self.arrived_at_ms + after_ms as i64)
    }

    /// Returns the last error that it was sent.
    pub fn last_error(&self) -> Option<SentError> {
        let story = self.story();
        let of_open = story.refused_opens.back().map(|open| SentError { code: open.code, at_ms: open.at_ms });
        let of_shares = story.channels.iter().filter_map(|channel| channel.last_refused());
        let of_shares = of_shares.map(|(why, at_ms)| SentError { code: why.name(), at_ms });
        of_open.into_iter().chain(of_shares).chain(story.last_other).max_by_key(|error| error.at_ms)
    }

    /// Returns how it ended, if it has.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.get()
    }

    /// Returns how far it came.
    pub fn stage(&self) -> Stage {
        let story = self.story();
        match (&story.set_up, story.answered_at_ms) {
            (Some(_), _) => Stage::SetUp,
            (None, Some(_)) => Stage::Answered,
            (None, None) => Stage::Connected,
        }
    }

    /// Notes that the peer was heard: once for each read, by the time that is known then.
    pub(in crate::stratum) fn hear(&self, now: Instant) {
        self.last_frame_ms.store(self.elapsed_ms(now) + 1, Relaxed);
    }

    pub(super) fn answer(&self, now: Instant) {
        self.story().answered_at_ms = Some(self.at_ms(now));
    }

    pub(super) fn note_set_up(&self, setup: &SetupConnection, version: u16, now: Instant) {
        let set_up = SetUp {
            at_ms: self.at_ms(now),
            vendor: setup.vendor.to_string(),
            hardware: setup.hardware_version.to_string(),
            firmware: setup.firmware.to_string(),
            device: setup.device_id.to_string(),
            flags: setup.flags,
            version,
        };
        self.story().set_up = Some(Arc::new(set_up));
    }

    /// Notes which extensions were negotiated.
    pub(in crate::stratum) fn note_extensions(&self, extensions: &[u16]) {
        self.story().extensions = extensions.to_vec();
    }

    /// Notes an error that it was sent about something else than a request for a channel or a share of an open one.
    pub(in crate::stratum) fn note_error(&self, code: &'static str, now: Instant) {
        self.story().last_other = Some(SentError { code, at_ms: self.at_ms(now) });
    }

    pub(super) fn refuse_open(&self, user: &str, code: &'static str, now: Instant) {
        let mut story = self.story();
        if story.refused_opens.len() == MAX_REFUSED_OPENS {
            story.refused_opens.pop_front();
        }
        story.refused_opens.push_back(RefusedOpen { user: printable(user), code, at_ms: self.at_ms(now) });
    }

    pub(super) fn add(&self, channel: Arc<LiveChannel>) {
        let channels = &mut self.story().channels;
        if channels.is_empty() {
            // Nearly every connection has one alone.
            channels.reserve_exact(1);
        }
        channels.push(channel);
    }

    pub(super) fn remove(&self, channel_id: u32) {
        let channels = &mut self.story().channels;
        if let Ok(index) = channels.binary_search_by_key(&channel_id, |channel| channel.id()) {
            channels.remove(index);
        }
    }

    /// Puts an end to it, and returns the channels that were open. A few stay, so that it can be told what it was.
    pub(super) fn end(&self, reason: Reason, now: Instant) -> Vec<Arc<LiveChannel>> {
        self.orders.end();
        let mut story = self.story();
        let channels = story.channels.clone();
        story.channels.truncate(MAX_LEFT_CHANNELS);
        story.channels.shrink_to_fit();
        drop(story);
        let _ = self.ending.set(Ending { at_ms: self.at_ms(now), reason, channels: channels.len() });
        channels
    }

    /// Tells when something was, by the clock that was read when it arrived.
    pub(super) fn at_ms(&self, now: Instant) -> i64 {
        self.arrived_at_ms.saturating_add(self.elapsed_ms(now) as i64)
    }

    fn elapsed_ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.arrived).as_millis() as u64
    }

    fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a peer has written, without what a terminal would act on.
fn printable(text: &str) -> String {
    text.chars().filter(|sign| !sign.is_control()).collect()
}
