//! What whoever watches sees of connections that arrive, work and end.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bitcoin::{BlockHash, hashes::Hash};
use protocol::codec::Str0_255;

use super::*;
use crate::{mining::channel::ChannelKind, stratum::metrics::RefusedShare};

pub(crate) const ONE: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
pub(crate) const OTHER: &str = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";

pub(crate) fn peer(host: u8) -> SocketAddr {
    ([192, 0, 2, host], 40_000).into()
}

pub(crate) fn setup() -> SetupConnection {
    let text = |text: &'static str| Str0_255::from_static(text);
    SetupConnection {
        protocol: 0,
        min_version: 2,
        max_version: 2,
        flags: 1,
        endpoint_host: text("pool"),
        endpoint_port: 1,
        vendor: text("Bitaxe\x1b[31m"),
        hardware_version: text("601"),
        firmware: text("2.9"),
        device_id: text(""),
    }
}

pub(crate) fn open(seated: &Seated, id: u32, address: &str, worker: &str, now: Instant) -> Meter {
    let address: bitcoin::Address<bitcoin::address::NetworkUnchecked> = address.parse().unwrap();
    let wishes = ChannelWishes {
        connection: seated.seat().id(),
        id,
        kind: ChannelKind::Extended,
        address: address.assume_checked(),
        worker: worker.into(),
        nominal_hash_rate: 1e12,
    };
    seated.open(wishes, Difficulty::from_log2(0), now)
}

pub(crate) fn work(meter: &mut Meter, shares: u32, now: Instant) {
    let hash = BlockHash::from_byte_array(Difficulty::from_log2(0).target().to_le_bytes());
    (0..shares).for_each(|_| {
        meter.accept(Difficulty::from_log2(0), hash, now);
    });
}

/// Address, worker and accepted shares of what is taken, in order.
fn taken(roster: &Roster) -> Vec<(String, String, u64)> {
    let taken = roster.take_counts();
    let mut taken: Vec<_> = taken.workers().map(|it| (it.address, it.worker.to_string(), it.counts.accepted)).collect();
    taken.sort();
    taken
}

#[test]
fn connection_is_followed_from_its_arrival_to_its_end() {
    let (roster, now) = (Arc::<Roster>::default(), Instant::now());
    let mut changes = roster.changes();
    let mut has_changed = || {
        let has_changed = changes.has_changed().unwrap();
        changes.mark_unchanged();
        has_changed
    };
    let before = roster.newest();
    let seated = roster.begin(peer(1), now);
    let id = seated.seat().id();
    assert!(has_changed() && id > before);
    assert_eq!(roster.find(id).unwrap().stage(), Stage::Connected);
    seated.answer(now + Duration::from_millis(5));
    assert!(has_changed());
    seated.set_up(&setup(), 2, now + Duration::from_millis(10));
    let seat = roster.find(id).unwrap();
    assert_eq!(seat.stage(), Stage::SetUp);
    assert_eq!(seat.set_up().unwrap().vendor, "Bitaxe\u{fffd}[31m", "what a terminal would act on is left out");
    assert_eq!(seat.answered_at_ms(), Some(seat.arrived_at_ms() + 5));
    seat.hear(now + Duration::from_millis(30));
    assert_eq!(seat.last_frame_at_ms(), Some(seat.arrived_at_ms() + 30));

    seated.refuse_open("nobody.rig", "unknown-user", now);
    let mut meter = open(&seated, 2, ONE, "rig", now);
    assert!(has_changed());
    assert_eq!(roster.channels_of(ONE).len(), 1);
    assert_eq!(roster.channels_of(OTHER).len(), 0);
    assert_eq!(seat.last_error().unwrap().code, "unknown-user");
    meter.refuse(RefusedShare::Stale, now + Duration::from_secs(9));
    assert_eq!(seat.last_error().unwrap().code, "stale-share");

    seated.end(&Opening::default(), &End::Closed, now + Duration::from_secs(10));
    assert!(has_changed());
    assert_eq!((roster.count(), roster.channels_of(ONE).len()), (0, 0));
    let (ended, count) = roster.ended();
    assert_eq!((ended.len(), count, ended[0].id()), (1, 1, id));
    let ending = roster.find(id).unwrap().ending().cloned().unwrap();
    assert_eq!((ending.reason.code, ending.channels), ("closed", 1));
    assert_eq!(roster.find(id).unwrap().channels().len(), 1, "it can be told what it was");
    // And what holds on to it lets go later.
    drop(seated);
    assert_eq!(roster.ended().1, 1);
}

#[test]
fn connections_come_in_the_order_of_their_arrival() {
    let (roster, now) = (Arc::<Roster>::default(), Instant::now());
    let seated: Vec<_> = (0..5).map(|_| roster.begin(peer(1), now)).collect();
    let ids = |after: Option<ConnectionId>, limit| {
        roster.after(after, limit).iter().map(|seat| seat.id()).collect::<Vec<_>>()
    };
    let all: Vec<_> = seated.iter().map(|seated| seated.seat().id()).collect();
    assert_eq!(ids(None, 3), all[..3]);
    assert_eq!(ids(Some(all[2]), 3), all[3..]);
    assert_eq!(ids(Some(all[4]), 3), []);
}

#[test]
fn whoever_is_not_set_up_is_a_failure_and_the_same_again_is_the_same() {
    let (roster, now) = (Arc::<Roster>::default(), Instant::now());
    let mut last = None;
    for _ in 0..3 {
        let seated = roster.begin(peer(1), now);
        last = Some(seated.seat().id());
        let mut opening = Opening::default();
        opening.note(br#"{"id":1,"method":"mining.subscribe"}"#);
        seated.end(&opening, &End::Closed, now);
    }
    roster.refuse(peer(2), Refused::Banned);
    let failures = roster.failures();
    let told: Vec<_> = failures.iter().map(|it| (it.reason.code, it.count, it.connection)).collect();
    assert_eq!(told, [("banned", 1, None), ("stratum_v1", 3, last)]);
    assert_eq!(roster.ended().1, 0);
}

#[test]
fn what_is_remembered_is_bounded() {
    let (roster, now) = (Arc::<Roster>::default(), Instant::now());
    for number in 0..2 * MAX_FAILURES as u32 {
        let peer = SocketAddr::from((number.to_be_bytes(), 1));
        roster.refuse(peer, Refused::Full);
        let seated = roster.begin(peer, now);
        seated.set_up(&setup(), 2, now);
        seated.end(&Opening::default(), &End::Closed, now);
    }
    assert_eq!((roster.failures().len(), roster.ended().0.len()), (MAX_FAILURES, MAX_ENDED));
    let newest = roster.ended().0[0].id();
    assert_eq!(newest, roster.newest());
}

#[test]
fn every_share_is_taken_once_also_of_channels_that_were_closed_meanwhile() {
    let (roster, now) = (Arc::<Roster>::default(), Instant::now());
    let seated = roster.begin(peer(1), now);
    seated.set_up(&setup(), 2, now);
    let mut first = open(&seated, 2, ONE, "a", now);
    let mut second = open(&seated, 3, ONE, "b", now);
    let mut third = open(&seated, 4, OTHER, "", now);
    work(&mut first, 2, now);
    work(&mut second, 3, now);
    let told = |address: &str, worker: &str, shares| (address.to_owned(), worker.to_owned(), shares);
    assert_eq!(taken(&roster), [told(ONE, "a", 2), told(ONE, "b", 3)]);
    work(&mut first, 1, now);
    work(&mut third, 4, now);
    seated.close(&first);
    // Another one of the same worker.
    let mut again = open(&seated, 5, ONE, "a", now);
    work(&mut again, 10, now);
    assert_eq!(taken(&roster), [told(OTHER, "", 4), told(ONE, "a", 11)]);
    work(&mut second, 1, now);
    work(&mut again, 1, now);
    drop(seated);
    assert_eq!(taken(&roster), [told(ONE, "a", 1), told(ONE, "b", 1)]);
    assert_eq!(taken(&roster), []);
    assert_eq!(roster.take_counts().rest(), channel::Counts::default());
}
