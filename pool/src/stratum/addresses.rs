//! The addresses that connections come from: how many each has, who gives way when there is no room, who is banned.
//!
//! Knows no socket and reads no clock. A connection passes here when it is accepted, when it is set up, when it gets its
//! first channel or loses its last, and when it ends; its messages and shares never do. So one lock, held for a few
//! look-ups and never over a wait, serves all connections.
//!
//! Who gives way: a newcomer must not be locked out by connections that have shown nothing. When a bound is reached that
//! all addresses share, one of the address that has most makes room, the one that has been silent for longest first. An
//! address that itself has most gets no further place in this way, or a crowd that comes back from behind one address
//! would push out its own connections just before they are through; only those of its connections that have said nothing
//! for a while make room for it. Whoever has a channel is never sent away.

mod origin;
mod waiting;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tokio::sync::Notify;

pub use self::origin::Origin;
use self::waiting::{Ticket, Waiting};
use crate::{config::Config, metrics::Metrics};

/// Addresses that are remembered without a connection, for what they have done. When they are so many, the one whose
/// memory would end first is forgotten for a further one.
const MAX_REMEMBERED: usize = 65_536;
/// How long an operator's ban lasts where none is configured.
const UNCONFIGURED_BAN: Duration = Duration::from_secs(3_600);
/// Strikes that ban an address.
const STRIKES: u32 = 3;
/// How long a strike is remembered after the last one.
const STRIKE_MEMORY: Duration = Duration::from_secs(600);

/// What addresses may cost the pool.
#[derive(Clone, Debug)]
pub struct AddressLimits {
    /// Connections at a time.
    pub max_connections: usize,
    /// Connections of one address at a time.
    pub max_connections_per_address: usize,
    /// Connections at a time that are not set up yet.
    pub max_handshakes: usize,
    /// Connections of one address at a time that are not set up yet.
    pub max_handshakes_per_address: usize,
    /// Networks whose addresses have no bounds of their own, give way to nobody and are never banned.
    pub unlimited: Vec<IpNet>,
    /// How long a ban lasts. Zero bans nobody.
    pub ban: Duration,
}

impl AddressLimits {
    /// Takes what the operator has set. `max_connections` is what the system allows of it.
    pub fn of(config: &Config, max_connections: usize) -> Self {
        let limits = &config.limits;
        Self {
            max_connections,
            max_connections_per_address: limits.connections_per_address,
            max_handshakes: limits.handshakes,
            max_handshakes_per_address: limits.handshakes_per_address,
            unlimited: limits.unlimited_addresses.clone(),
            ban: limits.ban,
        }
    }

    fn is_unlimited(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.unlimited.iter().any(|network| network.contains(&address))
    }
}

/// Why a connection is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// All places are taken by connections that have a channel or as good a right.
    #[error("all connections are taken (stratum.max_connections)")]
    Full,
    /// The address has as many as one may have.
    #[error("the address has too many connections (limits.connections_per_address)")]
    AddressFull,
    /// Too many are not set up yet, and most of them are of this address.
    #[error("too many connections are not set up yet (limits.handshakes)")]
    HandshakesFull,
    /// Too many of this address are not set up yet.
    #[error("the address has too many connections that are not set up yet (limits.handshakes_per_address)")]
    AddressHandshakesFull,
    /// The address is banned.
    #[error("the address is banned (adit bans)")]
    Banned,
}

impl Refused {
    /// All reasons.
    pub const ALL: [Self; 5] =
        [Self::Full, Self::AddressFull, Self::HandshakesFull, Self::AddressHandshakesFull, Self::Banned];

    /// Returns the reason's name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "connections",
            Self::AddressFull => "connections_per_address",
            Self::HandshakesFull => "handshakes",
            Self::AddressHandshakesFull => "handshakes_per_address",
            Self::Banned => "banned",
        }
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not set up.
    Handshake,
    /// Set up, without a channel.
    Idle,
    /// With a channel, or about to end.
    Serving,
}

/// The addresses of all connections.
#[derive(Debug)]
pub struct Addresses {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: Arc<AddressLimits>,
    next_number: u64,
    connections: usize,
    records: HashMap<Origin, Record>,
    /// How many records have no connection.
    remembered: usize,
    handshakes: Waiting,
    idle: Waiting,
}

/// What is known of an address.
#[derive(Debug, Default)]
struct Record {
    connections: usize,
    strikes: u32,
    struck_at: Option<Instant>,
    banned_until: Option<Instant>,
}

impl Record {
    /// Returns until when it is worth to be remembered, if it is at all.
    fn remembered_until(&self) -> Option<Instant> {
        self.struck_at.map(|at| at + STRIKE_MEMORY).max(self.banned_until)
    }
}

impl State {
    /// Makes room for a connection of `newcomer` among those that wait, if somebody gives way to it.
    fn displace(&mut self, (origin, number): (Origin, u64)) {
        let ticket = self.handshakes.remove(origin, number).or_else(|| self.idle.remove(origin, number));
        if let Some(ticket) = ticket {
            // Its place counts as free from now on: it ends as soon as it hears of this.
            ticket.displaced.store(true, Ordering::Relaxed);
            ticket.told.notify_one();
            self.release(origin);
        }
    }

    /// Counts one connection of an address less.
    fn release(&mut self, origin: Origin) {
        self.connections -= 1;
        let Some(record) = self.records.get_mut(&origin) else { return };
        record.connections -= 1;
        if record.connections > 0 {
            return;
        }
        if record.remembered_until().is_none() {
            self.records.remove(&origin);
            return;
        }
        self.remembered += 1;
        if self.remembered > MAX_REMEMBERED {
            self.forget_one();
        }
    }

    /// Forgets the address without a connection whose memory ends first.
    fn forget_one(&mut self) {
        let unused = self.records.iter().filter(|(_, record)| record.connections == 0);
        let first = unused.min_by_key(|(origin, record)| (record.remembered_until(), **origin));
        if let Some(origin) = first.map(|(origin, _)| *origin) {
            self.records.remove(&origin);
            self.remembered -= 1;
        }
    }

    fn is_banned(&self, origin: Origin, now: Instant) -> bool {
        self.records.get(&origin).and_then(|record| record.banned_until).is_some_and(|until| until > now)
    }
}

impl Addresses {
    /// Begins without connections.
    pub fn new(limits: AddressLimits) -> Self {
        let state = State {
            limits: Arc::new(limits),
            next_number: 0,
            connections: 0,
            records: HashMap::new(),
            remembered: 0,
            handshakes: Waiting::default(),
            idle: Waiting::default(),
        };
        Self { state: Mutex::new(state) }
    }

    /// Has other limits hold from now on. Connections that are there keep their places, and bans their ends.
    pub fn set_limits(&self, limits: AddressLimits) {
        self.state().limits = Arc::new(limits);
    }

    /// Gives a connection from `address` a place, for which another may have to give way.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Place, Refused> {
        let origin = Origin::of(address);
        let mut state = self.state();
        let limits = Arc::clone(&state.limits);
        let is_unlimited = limits.is_unlimited(address);
        if !is_unlimited {
            Self::check_address(&limits, &mut state, origin, now)?;
        }
        if state.connections >= limits.max_connections {
            let state = &mut *state;
            let waiting = if state.handshakes.count > 0 { &state.handshakes } else { &state.idle };
            let victim = waiting.displaceable(origin, now).or_else(|| state.idle.displaceable(origin, now));
            state.displace(victim.ok_or(Refused::Full)?);
        }
        let number = state.next_number;
        state.next_number += 1;
        state.connections += 1;
        let record = state.records.entry(origin).or_default();
        let was_remembered = record.connections == 0 && record.remembered_until().is_some();
        record.connections += 1;
        state.remembered -= usize::from(was_remembered);
        let (spoke, displaced) = (AtomicBool::new(false), AtomicBool::new(false));
        let ticket = Arc::new(Ticket { since: now, spoke, displaced, told: Notify::new() });
        let place =
            Place { addresses: Arc::clone(self), origin, is_unlimited, number, stage: Stage::Handshake, ticket };
        place.enter(&mut state);
        Ok(place)
    }

    /// Checks what is asked of one address, and makes room among the handshakes if it is to have a place.
    fn check_address(limits: &AddressLimits, state: &mut State, origin: Origin, now: Instant) -> Result<(), Refused> {
        if state.is_banned(origin, now) {
            return Err(Refused::Banned);
        }
        let connections = state.records.get(&origin).map_or(0, |record| record.connections);
        let handshakes = state.handshakes.count_of(origin);
        if connections >= limits.max_connections_per_address || handshakes >= limits.max_handshakes_per_address {
            let full = if connections >= limits.max_connections_per_address {
                Refused::AddressFull
            } else {
                Refused::AddressHandshakesFull
            };
            let silent = state.handshakes.silent(origin, now).ok_or(full)?;
            state.displace((origin, silent));
        }
        if state.handshakes.count >= limits.max_handshakes {
            let victim = state.handshakes.displaceable(origin, now).ok_or(Refused::HandshakesFull)?;
            state.displace(victim);
        }
        Ok(())
    }

    /// Lists the addresses that are banned, each with how long its ban still lasts.
    pub fn bans(&self, now: Instant) -> Vec<(Origin, Duration)> {
        let state = self.state();
        let banned = state.records.iter().filter_map(|(origin, record)| {
            let left = record.banned_until?.saturating_duration_since(now);
            (!left.is_zero()).then_some((*origin, left))
        });
        let mut banned: Vec<_> = banned.collect();
        banned.sort_unstable();
        banned
    }

    /// Bans an address, for as long as is configured unless something else is said. Returns what is banned and for how
    /// long; none if it is never banned.
    pub fn ban(&self, address: IpAddr, length: Option<Duration>, now: Instant) -> Option<(Origin, Duration)> {
        let (origin, mut state) = (Origin::of(address), self.state());
        if state.limits.is_unlimited(address) {
            return None;
        }
        let configured = state.limits.ban;
        let length = length.unwrap_or(if configured.is_zero() { UNCONFIGURED_BAN } else { configured });
        let record = state.records.entry(origin).or_default();
        let is_new = record.connections == 0 && record.remembered_until().is_none();
        record.banned_until = Some(now + length);
        if is_new {
            state.remembered += 1;
            if state.remembered > MAX_REMEMBERED {
                state.forget_one();
            }
        }
        Some((origin, length))
    }

    /// Lifts the ban of an address and forgets its strikes. Tells whether it was banned.
    pub fn lift_ban(&self, address: IpAddr, now: Instant) -> bool {
        let (origin, mut state) = (Origin::of(address), self.state());
        let was_banned = state.is_banned(origin, now);
        if let Some(record) = state.records.get_mut(&origin) {
            (record.strikes, record.struck_at, record.banned_until) = (0, None, None);
            if record.connections == 0 {
                state.records.remove(&origin);
                state.remembered -= 1;
            }
        }
        was_banned
    }

    /// Has shown how many connections are not set up yet, and how many addresses are banned.
    pub fn register(self: &Arc<Self>, metrics: &mut Metrics) {
        let [of_handshakes, of_bans] = [Arc::clone(self), Arc::clone(self)];
        metrics.measured("handshakes", "Connections that are not set up yet", move || {
            Some(of_handshakes.state().handshakes.count as f64)
        });
        metrics.measured("banned_addresses", "Addresses that are banned", move || {
            Some(of_bans.bans(Instant::now()).len() as f64)
        });
    }

    /// Returns how many addresses are known, with a connection or remembered.
    pub fn count(&self) -> usize {
        self.state().records.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among all. Dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    addresses: Arc<Addresses>,
    origin: Origin,
    is_unlimited: bool,
    number: u64,
    stage: Stage,
    ticket: Arc<Ticket>,
}

impl Place {
    /// Returns where the connection comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Notes that the peer has sent something.
    pub fn speak(&self) {
        self.ticket.spoke.store(true, Ordering::Relaxed);
    }

    /// Notes that the connection is set up, with or without a channel.
    pub fn set_up(&mut self, has_channel: bool) {
        self.reach(if has_channel { Stage::Serving } else { Stage::Idle });
    }

    /// Notes that the connection is about to end by itself, and gives way to nobody any more.
    pub fn end(&mut self) {
        self.reach(Stage::Serving);
    }

    /// Tells whether the connection may have to give way to another.
    pub fn gives_way(&self) -> bool {
        self.stage != Stage::Serving
    }

    fn reach(&mut self, stage: Stage) {
        if stage == self.stage {
            return;
        }
        let addresses = Arc::clone(&self.addresses);
        let mut state = addresses.state();
        self.leave(&mut state);
        self.stage = stage;
        if !self.ticket.displaced.load(Ordering::Relaxed) {
            self.enter(&mut state);
        }
    }

    /// Waits until the connection has to give way to another; for ever if it never has to.
    pub async fn displaced(&self) {
        self.ticket.told.notified().await;
    }

    /// Notes that the connection was ended for what it did. Tells for how long its address is banned, if it is now.
    pub fn strike(&self, now: Instant) -> Option<Duration> {
        let mut state = self.addresses.state();
        let ban = state.limits.ban;
        if self.is_unlimited || ban.is_zero() {
            return None;
        }
        let record = state.records.get_mut(&self.origin)?;
        let remembers = record.struck_at.is_some_and(|at| now.saturating_duration_since(at) < STRIKE_MEMORY);
        record.strikes = if remembers { record.strikes + 1 } else { 1 };
        record.struck_at = Some(now);
        if record.strikes < STRIKES {
            return None;
        }
        record.strikes = 0;
        record.banned_until = Some(now + ban);
        Some(ban)
    }

    fn enter(&self, state: &mut State) {
        let waiting = match self.stage {
            Stage::Handshake => &mut state.handshakes,
            Stage::Idle => &mut state.idle,
            Stage::Serving => return,
        };
        if !self.is_unlimited {
            waiting.add(self.origin, self.number, Arc::clone(&self.ticket));
        }
    }

    fn leave(&self, state: &mut State) {
        let waiting = match self.stage {
            Stage::Handshake => &mut state.handshakes,
            Stage::Idle => &mut state.idle,
            Stage::Serving => return,
        };
        waiting.remove(self.origin, self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.addresses.state();
        self.leave(&mut state);
        if !self.ticket.displaced.load(Ordering::Relaxed) {
            state.release(self.origin);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv6Addr;

    use super::{waiting::SILENCE, *};

    const LIMITS: AddressLimits = AddressLimits {
        max_connections: 100,
        max_connections_per_address: 10,
        max_handshakes: 20,
        max_handshakes_per_address: 5,
        unlimited: Vec::new(),
        ban: Duration::from_secs(300),
    };

    fn table(limits: AddressLimits) -> Arc<Addresses> {
        Arc::new(Addresses::new(limits))
    }

    fn v4(last: u16) -> IpAddr {
        let [high, low] = last.to_be_bytes();
        [192, 0, high, low].into()
    }

    fn admit(table: &Arc<Addresses>, last: u16, now: Instant) -> Place {
        table.admit(v4(last), now).unwrap()
    }

    fn served(table: &Arc<Addresses>, last: u16, now: Instant) -> Place {
        let mut place = admit(table, last, now);
        place.set_up(true);
        place
    }

    fn refusal(table: &Arc<Addresses>, address: IpAddr, now: Instant) -> Option<Refused> {
        table.admit(address, now).err()
    }

    fn is_displaced(place: &Place) -> bool {
        place.ticket.displaced.load(Ordering::Relaxed)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn address_has_its_bounds_and_others_have_theirs() {
        let (table, now) = (table(LIMITS), Instant::now());
        let mut places: Vec<_> = (0..5).map(|_| admit(&table, 1, now)).collect();
        assert_eq!(refusal(&table, v4(1), now), Some(Refused::AddressHandshakesFull));
        for place in &mut places {
            place.set_up(true);
        }
        places.extend((0..5).map(|_| served(&table, 1, now)));
        assert_eq!(refusal(&table, v4(1), now), Some(Refused::AddressFull));
        assert_eq!(refusal(&table, v4(2), now), None);
        places.pop();
        assert_eq!(refusal(&table, v4(1), now), None);
    }

    #[test]
    fn ipv6_addresses_of_one_customer_are_one_and_mapped_ones_are_ipv4() {
        let (table, now) = (table(LIMITS), Instant::now());
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        let _places: Vec<_> =
            (0..5).map(|host| table.admit(of(&format!("2001:db8:1:2::{host}")), now).unwrap()).collect();
        assert_eq!(refusal(&table, of("2001:db8:1:2:ffff::1"), now), Some(Refused::AddressHandshakesFull));
        assert_eq!(refusal(&table, of("2001:db8:1:3::1"), now), None);
        assert_eq!(Origin::of(of("2001:db8:1:2:3:4:5:6")).to_string(), "2001:db8:1:2::/64");
        assert_eq!(Origin::of(of("::ffff:192.0.0.1")), Origin::of(v4(1)));
        assert_eq!(Origin::of(v4(1)).to_string(), "192.0.0.1");
    }

    #[test]
    fn silent_connection_gives_way_to_another_of_its_address_and_one_that_speaks_does_not() {
        let (table, start) = (table(LIMITS), Instant::now());
        let places: Vec<_> = (0..5).map(|_| admit(&table, 1, start)).collect();
        places[0].speak();
        assert_eq!(refusal(&table, v4(1), start), Some(Refused::AddressHandshakesFull), "none was silent for long");
        let later = start + SILENCE;
        let newcomer = admit(&table, 1, later);
        assert_eq!(places.iter().map(is_displaced).collect::<Vec<_>>(), [false, true, false, false, false]);
        assert!(!is_displaced(&newcomer));
        places[2..].iter().for_each(Place::speak);
        newcomer.speak();
        assert_eq!(refusal(&table, v4(1), later + SILENCE), Some(Refused::AddressHandshakesFull));
    }

    #[test]
    fn address_with_most_handshakes_gives_way_to_others_and_not_to_itself() {
        let (table, now) = (table(LIMITS), Instant::now());
        let attackers: Vec<_> =
            (0..4).flat_map(|last| (0..5).map(move |_| last)).map(|it| admit(&table, it, now)).collect();
        attackers.iter().for_each(Place::speak);
        assert_eq!(refusal(&table, v4(0), now), Some(Refused::AddressHandshakesFull));
        let honest: Vec<_> = (10..20).map(|last| admit(&table, last, now)).collect();
        assert_eq!(attackers.iter().filter(|place| is_displaced(place)).count(), 10);
        assert!(!honest.iter().any(is_displaced));
        // Each attacker has two or three left.
        let left = |last: usize| attackers[5 * last..][..5].iter().filter(|place| !is_displaced(place)).count();
        assert!((0..4).all(|last| (2..=3).contains(&left(last))), "{:?}", (0..4).map(left).collect::<Vec<_>>());
        assert_eq!(table.state().handshakes.count, LIMITS.max_handshakes);
    }

    #[test]
    fn crowd_that_comes_back_from_one_address_does_not_push_itself_out() {
        let limits = AddressLimits { max_handshakes_per_address: 1_000, max_connections_per_address: 1_000, ..LIMITS };
        let (table, now) = (table(limits), Instant::now());
        let crowd: Vec<_> = (0..20).map(|_| admit(&table, 1, now)).collect();
        crowd.iter().for_each(Place::speak);
        assert_eq!(refusal(&table, v4(1), now + seconds(5)), Some(Refused::HandshakesFull));
        assert!(!crowd.iter().any(is_displaced));
    }

    #[test]
    fn whoever_has_no_channel_gives_way_when_all_places_are_taken_and_whoever_has_one_does_not() {
        let limits = AddressLimits { max_connections: 6, ..LIMITS };
        let (table, now) = (table(limits), Instant::now());
        let miners: Vec<_> = (10..14).map(|last| served(&table, last, now)).collect();
        let mut idle: Vec<_> = (0..2).map(|_| admit(&table, 1, now)).collect();
        idle.iter_mut().for_each(|place| place.set_up(false));
        let mut newcomer = admit(&table, 2, now);
        assert_eq!(idle.iter().map(is_displaced).collect::<Vec<_>>(), [true, false]);
        // What it does before it hears of that changes nothing.
        idle[0].set_up(true);
        newcomer.set_up(true);
        idle[1].set_up(true);
        assert_eq!(refusal(&table, v4(3), now), Some(Refused::Full));
        assert!(!miners.iter().any(is_displaced));
        drop(idle);
        assert_eq!(refusal(&table, v4(3), now), None);
    }

    #[tokio::test]
    async fn whoever_has_to_give_way_hears_of_it_however_late_it_listens() {
        let limits = AddressLimits { max_handshakes: 1, ..LIMITS };
        let (table, now) = (table(limits), Instant::now());
        let silent = admit(&table, 1, now);
        assert_eq!(refusal(&table, v4(1), now), Some(Refused::HandshakesFull), "it would push itself out");
        let _newcomer = admit(&table, 2, now);
        silent.displaced().await;
    }

    #[test]
    fn address_is_banned_for_a_while_after_several_strikes_and_only_for_new_connections() {
        let (table, start) = (table(LIMITS), Instant::now());
        let (miner, other) = (served(&table, 1, start), served(&table, 2, start));
        for strike in 1..STRIKES {
            assert_eq!(miner.strike(start), None, "strike {strike}");
            assert_eq!(refusal(&table, v4(1), start), None);
        }
        assert_eq!(miner.strike(start), Some(seconds(300)));
        assert_eq!(refusal(&table, v4(1), start + seconds(299)), Some(Refused::Banned));
        assert_eq!(refusal(&table, v4(2), start), None);
        assert_eq!(table.bans(start + seconds(100)), [(miner.origin(), seconds(200))]);
        assert!(!is_displaced(&miner) && !is_displaced(&other));
        assert_eq!(refusal(&table, v4(1), start + seconds(300)), None);
        assert!(table.bans(start + seconds(300)).is_empty());
    }

    #[test]
    fn strikes_far_apart_ban_nobody() {
        let (table, start) = (table(LIMITS), Instant::now());
        for strike in 0..10 {
            let at = start + STRIKE_MEMORY * strike;
            assert_eq!(served(&table, 1, at).strike(at), None);
        }
    }

    #[test]
    fn probes_leave_nothing_behind() {
        let (table, now) = (table(LIMITS), Instant::now());
        for _ in 0..10_000 {
            drop(admit(&table, 1, now));
            let mut probe = admit(&table, 1, now);
            probe.speak();
            probe.set_up(false);
        }
        assert_eq!((table.count(), table.bans(now).len()), (0, 0));
        assert_eq!(table.state().connections, 0);
    }

    #[test]
    fn ban_is_lifted_by_hand() {
        let (table, now) = (table(LIMITS), Instant::now());
        let place = admit(&table, 1, now);
        for _ in 0..STRIKES {
            place.strike(now);
        }
        drop(place);
        assert!(!table.lift_ban(v4(2), now));
        assert!(table.lift_ban(v4(1), now));
        assert_eq!(refusal(&table, v4(1), now), None);
        assert_eq!(table.count(), 0);
        assert!(!table.lift_ban(v4(1), now));
    }

    #[test]
    fn unlimited_network_has_no_bounds_but_that_of_all() {
        let unlimited = vec!["192.0.0.0/24".parse().unwrap()];
        let (table, now) = (table(AddressLimits { unlimited, ..LIMITS }), Instant::now());
        let farm: Vec<_> = (0..100).map(|_| admit(&table, 1, now)).collect();
        assert_eq!(refusal(&table, v4(1), now), Some(Refused::Full));
        assert!((0..10).all(|_| farm[0].strike(now).is_none()));
        assert!(!farm.iter().any(is_displaced));
    }

    #[test]
    fn table_is_bounded_however_many_addresses_misbehave() {
        let limits = AddressLimits { max_connections: 1, ..LIMITS };
        let (table, start) = (table(limits), Instant::now());
        let of = |number: u32| IpAddr::from(Ipv6Addr::from_bits(u128::from(number) << 64));
        let count = MAX_REMEMBERED as u32 + 10;
        for number in 0..count {
            let now = start + Duration::from_millis(number.into());
            table.admit(of(number), now).unwrap().strike(now);
        }
        assert_eq!(table.count(), MAX_REMEMBERED);
        // The newest are remembered: two strikes more, and each is banned.
        let now = start + seconds(100);
        let place = table.admit(of(count - 1), now).unwrap();
        assert_eq!((place.strike(now), place.strike(now)), (None, Some(seconds(300))));
    }
}
