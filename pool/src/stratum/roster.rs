//! The roster: what is known of live connections and of those that ended lately, for whoever watches them.
//!
//! A connection has a [`Seat`] here from its arrival to its end, and each of its channels a [`LiveChannel`]. The roster's
//! own lock is taken when a connection arrives or ends and when a channel is opened or closed, never for a share: what is
//! counted for shares lies with the channel, see [`channel`]. Whoever waits for something to happen is told by
//! [`Roster::changes`]; what shares count up happens all the time and is looked at when it is wanted.

pub mod channel;
mod departed;
mod opening;
mod seat;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use protocol::messages::common::SetupConnection;
use tokio::sync::watch;

use self::{
    channel::{ChannelWishes, LiveChannel, Meter},
    departed::Departed,
};
pub use self::{
    departed::{Taken, WorkerCounts},
    opening::{Opening, Reason, Stage},
    seat::{ConnectionId, Ending, RefusedOpen, Seat, SentError, SetUp},
};
use super::{
    addresses::{Origin, Refused},
    end::End,
    orders::Order,
    trace::Trace,
};
use crate::{accounting::share_log::unix_time_ms, mining::difficulty::Difficulty};

/// Connections that were set up and have ended which are remembered, the newest.
const MAX_ENDED: usize = 256;
/// Traces of connections that are kept, the newest.
const MAX_TRACES: usize = 8;
/// Failures to connect that are remembered, the newest. The same of the same address again counts as one of them.
const MAX_FAILURES: usize = 256;

/// The connections of the miners' port.
#[derive(Debug)]
pub struct Roster {
    state: Mutex<State>,
    departed: Departed,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    seats: BTreeMap<ConnectionId, Arc<Seat>>,
    by_address: HashMap<String, BTreeMap<(ConnectionId, u32), Arc<LiveChannel>>>,
    ended: VecDeque<Arc<Seat>>,
    /// How many were ever put there.
    ended_count: u64,
    failures: VecDeque<Failure>,
    failure_count: u64,
    traces: VecDeque<(ConnectionId, Arc<Trace>)>,
}

/// A connection that came to nothing, or several of one address that did so alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it came from.
    pub peer: IpAddr,
    /// Why it came to nothing.
    pub reason: Reason,
    /// How often.
    pub count: u64,
    /// When it happened first, in milliseconds since 1970 UTC.
    pub first_at_ms: i64,
    /// When it happened last.
    pub last_at_ms: i64,
    /// The last of these connections; none if it was closed before it became one.
    pub connection: Option<ConnectionId>,
}

impl Default for Roster {
    fn default() -> Self {
        Self { state: Mutex::default(), departed: Departed::default(), changes: watch::Sender::new(0) }
    }
}

impl Roster {
    /// Gives a connection that arrives a seat.
    pub fn begin(self: &Arc<Self>, peer: SocketAddr, now: Instant) -> Seated {
        let now_ms = unix_time_ms();
        let mut state = self.state();
        state.last_id += 1;
        let id = ConnectionId(state.last_id);
        let seat = Arc::new(Seat::new(id, peer, now, now_ms));
        state.seats.insert(id, Arc::clone(&seat));
        drop(state);
        self.tell();
        Seated { roster: Arc::clone(self), seat }
    }

    /// Notes a connection that was closed at once.
    pub fn refuse(&self, peer: SocketAddr, why: Refused) {
        self.state().fail(peer.ip(), Reason::of_refusal(why), None, unix_time_ms());
        self.tell();
    }

    /// Returns the connections behind one, in the order of their numbers, which is that of their arrival.
    pub fn after(&self, after: Option<ConnectionId>, limit: usize) -> Vec<Arc<Seat>> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.state().seats.range((first, Bound::Unbounded)).take(limit).map(|(_, seat)| Arc::clone(seat)).collect()
    }

    /// Returns the newest connections behind one, the newest first.
    pub fn newest_after(&self, after: ConnectionId, limit: usize) -> Vec<Arc<Seat>> {
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        self.state().seats.range(behind).rev().take(limit).map(|(_, seat)| Arc::clone(seat)).collect()
    }

    /// Returns how many connections there are.
    pub fn count(&self) -> usize {
        self.state().seats.len()
    }

    /// Returns the number of the newest connection; those that arrive from now on have greater ones.
    pub fn newest(&self) -> ConnectionId {
        ConnectionId(self.state().last_id)
    }

    /// Returns a connection, also one that has ended as long as it is remembered.
    pub fn find(&self, id: ConnectionId) -> Option<Arc<Seat>> {
        let state = self.state();
        let ended = || state.ended.iter().find(|seat| seat.id() == id);
        state.seats.get(&id).or_else(ended).cloned()
    }

    /// Returns the open channels that mine for an address, in the order of their connections.
    pub fn channels_of(&self, address: &str) -> Vec<Arc<LiveChannel>> {
        let state = self.state();
        state.by_address.get(address).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Returns the newest open channel that mines for an address: the last one of its newest connection.
    pub fn newest_channel_of(&self, address: &str) -> Option<Arc<LiveChannel>> {
        let state = self.state();
        state.by_address.get(address)?.last_key_value().map(|(_, channel)| Arc::clone(channel))
    }

    /// Returns the connections that were set up and have ended, the newest first, and how many there ever were.
    pub fn ended(&self) -> (Vec<Arc<Seat>>, u64) {
        let state = self.state();
        (state.ended.iter().rev().cloned().collect(), state.ended_count)
    }

    /// Returns what came to nothing, the newest first.
    pub fn failures(&self) -> Vec<Failure> {
        self.state().failures.iter().rev().cloned().collect()
    }

    /// Returns how many came to nothing since the start.
    pub fn failure_count(&self) -> u64 {
        self.state().failure_count
    }

    /// Returns what was written down of a connection, if it is one of the last that were traced.
    pub fn trace(&self, id: ConnectionId) -> Option<Arc<Trace>> {
        let state = self.state();
        state.traces.iter().rev().find(|(traced, _)| *traced == id).map(|(_, trace)| Arc::clone(trace))
    }

    /// Keeps what is written down of a connection from now on, in the place of what was before.
    pub fn keep_trace(&self, id: ConnectionId, trace: Arc<Trace>) {
        let mut state = self.state();
        state.traces.retain(|(traced, _)| *traced != id);
        if state.traces.len() == MAX_TRACES {
            state.traces.pop_front();
        }
        state.traces.push_back((id, trace));
    }

    /// Has all connections end that come from somewhere, and returns how many they are.
    pub fn kick_all(&self, origin: Origin) -> usize {
        let state = self.state();
        let there = state.seats.values().filter(|seat| Origin::of(seat.peer().ip()) == origin);
        there.filter(|seat| seat.orders().give(Order::Kick)).count()
    }

    /// Returns what changes whenever a connection arrives, comes further or ends, a channel is opened, refused or closed,
    /// and when a channel's first share is judged.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns what was judged since this was last asked for: each share once, also those of channels that were closed
    /// meanwhile. For the one who keeps the history.
    pub fn take_counts(&self) -> Taken {
        let mut taken = self.departed.take();
        // Without the lock: a channel that is closed meanwhile has given its counts to one of both.
        let seats: Vec<_> = self.state().seats.values().cloned().collect();
        for channel in seats.iter().flat_map(|seat| seat.channels()) {
            let counts = channel.take();
            if !counts.is_empty() {
                taken.add(&channel, &counts, usize::MAX);
            }
        }
        taken
    }

    fn open(&self, seat: &Seat, channel: &Arc<LiveChannel>) {
        let key = (seat.id(), channel.id());
        let mut state = self.state();
        seat.add(Arc::clone(channel));
        match state.by_address.get_mut(channel.address()) {
            Some(channels) => drop(channels.insert(key, Arc::clone(channel))),
            None => {
                let channels = BTreeMap::from([(key, Arc::clone(channel))]);
                state.by_address.insert(channel.address().to_owned(), channels);
            }
        }
        drop(state);
        self.tell();
    }

    /// Keeps what was judged of channels that have ended until it is taken.
    fn close(&self, channels: &[Arc<LiveChannel>]) {
        for channel in channels {
            self.departed.add(channel, &channel.take());
        }
        let mut state = self.state();
        for channel in channels {
            state.forget(channel);
        }
    }

    fn tell(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, channel: &LiveChannel) {
        if let Some(channels) = self.by_address.get_mut(channel.address()) {
            channels.remove(&(channel.connection(), channel.id()));
            if channels.is_empty() {
                self.by_address.remove(channel.address());
            }
        }
    }

    fn fail(&mut self, peer: IpAddr, reason: Reason, connection: Option<ConnectionId>, at_ms: i64) {
        let peer = peer.to_canonical();
        self.failure_count += 1;
        let known = self.failures.iter().position(|it| it.peer == peer && it.reason.code == reason.code);
        let (count, first_at_ms) = match known.and_then(|index| self.failures.remove(index)) {
            Some(before) => (before.count + 1, before.first_at_ms),
            None => (1, at_ms),
        };
        if self.failures.len() == MAX_FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back(Failure { peer, reason, count, first_at_ms, last_at_ms: at_ms, connection });
    }
}

/// A connection's hold on its seat. When it lets go, the connection has ended.
#[derive(Debug)]
pub struct Seated {
    roster: Arc<Roster>,
    seat: Arc<Seat>,
}

impl Seated {
    /// Returns the seat.
    pub fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// Notes that the handshake was answered.
    pub fn answer(&self, now: Instant) {
        self.seat.answer(now);
        self.roster.tell();
    }

    /// Notes what the client has said of itself.
    pub fn set_up(&self, setup: &SetupConnection, version: u16, now: Instant) {
        self.seat.note_set_up(setup, version, now);
        self.roster.tell();
    }

    /// Has a channel shown that was opened, and returns the hand that counts for it.
    pub fn open(&self, wishes: ChannelWishes, difficulty: Difficulty, now: Instant) -> Meter {
        let meter = Meter::new(wishes, difficulty, now, self.seat.at_ms(now));
        self.roster.open(&self.seat, meter.channel());
        meter
    }

    /// Notes that a channel was refused to somebody.
    pub fn refuse_open(&self, user: &str, code: &'static str, now: Instant) {
        self.seat.refuse_open(user, code, now);
        self.roster.tell();
    }

    /// Has a channel shown no more.
    pub fn close(&self, meter: &Meter) {
        self.seat.remove(meter.channel().id());
        self.roster.close(std::slice::from_ref(meter.channel()));
        self.roster.tell();
    }

    /// Tells whoever follows that a channel's first share was judged.
    pub fn tell_first(&self) {
        self.roster.tell();
    }

    /// Notes why the connection ends, which began like this.
    pub fn end(&self, opening: &Opening, end: &End, now: Instant) {
        let (roster, seat) = (&self.roster, &self.seat);
        let stage = seat.stage();
        let reason = opening.explain(stage, end);
        let channels = seat.end(reason.clone(), now);
        roster.close(&channels);
        let mut state = roster.state();
        if state.seats.remove(&seat.id()).is_none() {
            return;
        }
        if stage == Stage::SetUp {
            state.ended_count += 1;
            if state.ended.len() == MAX_ENDED {
                state.ended.pop_front();
            }
            state.ended.push_back(Arc::clone(seat));
        } else {
            state.fail(seat.peer().ip(), reason, Some(seat.id()), seat.at_ms(now));
        }
        drop(state);
        roster.tell();
    }
}

impl Drop for Seated {
    /// Whoever was cut off has ended too.
    fn drop(&mut self) {
        if self.seat.ending().is_none() {
            self.end(&Opening::default(), &End::Drained, Instant::now());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
