//! How far a device came that its owner waits for: five steps, each with what went wrong and the cure.
//!
//! Who may see what: a connection belongs to the page of the miner for whom it has opened a channel. Before that nobody
//! knows whose it is, so it is shown only to a browser of the same address, and as no more than a step or a fault: neither
//! what it is nor for whom it asked, for behind one address there may be several people.

use std::{net::IpAddr, sync::Arc};

use payouts::account::{Account, User};

use super::live::difficulty;
use crate::{
    accounting::identity::Identity,
    cures::{self, Refused},
    pages::show::HashRate,
    stratum::roster::{ConnectionId, Reason, RefusedOpen, Roster, Seat, Stage, channel::LiveChannel},
};

/// Connections that are looked at, the newest of those that came since the test began.
const MOST_SEATS: usize = 4_096;

/// Whose device is waited for, and by whom.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// What the miner may be called by his devices.
    pub(super) users: Vec<User>,
    /// His address.
    pub(super) address: String,
    /// Where the browser is.
    pub(super) browser: IpAddr,
    /// Connections with greater numbers came since the test began.
    pub(super) since: ConnectionId,
    /// When the test began, in milliseconds since 1970 UTC.
    pub(super) began_at_ms: i64,
}

/// How far a device came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The steps, in their order.
    pub(super) steps: Vec<Step>,
    /// What went wrong, if something did.
    pub(super) trouble: Option<Trouble>,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// What it is.
    pub(super) name: &'static str,
    /// Whether it is done; the first that is not is being waited for.
    pub(super) is_done: bool,
    /// What there is to say of it.
    pub(super) detail: String,
}

/// What went wrong, in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What.
    pub(super) what: String,
    /// What to do.
    pub(super) cure: String,
}

/// The steps.
const STEPS: [&str; 5] = ["Connection", "Handshake", "Setup", "Channel", "First share"];

impl Waiting {
    /// Waits for a device of a miner, from now on.
    pub(super) fn new(
        user: &User,
        address: &str,
        account: Option<&Account>,
        browser: IpAddr,
        (since, began_at_ms): (ConnectionId, i64),
    ) -> Waiting {
        let mut users = vec![user.clone()];
        users.extend(address.parse().ok());
        users.extend(account.and_then(|account| account.name.clone()).map(User::Name));
        Waiting { users, address: address.to_owned(), browser: browser.to_canonical(), since, began_at_ms }
    }

    /// Looks how far a device came.
    pub(super) fn look(&self, roster: &Roster) -> Progress {
        // One that came since is what is waited for; without one, what was there already is good to know.
        if let Some(channel) = roster.newest_channel_of(&self.address) {
            return self.working(&channel, roster.find(channel.connection()).as_deref());
        }
        let new = roster.newest_after(self.since, MOST_SEATS);
        let asked = new.iter().find_map(|seat| Some((seat, self.refused(seat)?)));
        if let Some((seat, refused)) = asked {
            return Progress { trouble: Some(trouble_of_open(&refused)), ..steps_of(seat) };
        }
        let is_near = |seat: &&Arc<Seat>| seat.peer().ip().to_canonical() == self.browser;
        let furthest = new.iter().filter(is_near).max_by_key(|seat| (seat.stage(), seat.id()));
        match furthest {
            Some(seat) => Progress { trouble: seat.refused_opens().last().map(trouble_of_open), ..steps_of(seat) },
            None => self.gone(roster),
        }
    }

    /// Returns what a connection was told that has asked for a channel for this miner.
    fn refused(&self, seat: &Seat) -> Option<RefusedOpen> {
        seat.refused_opens().into_iter().rev().find(|open| self.is_meant(&open.user))
    }

    fn is_meant(&self, user_identity: &str) -> bool {
        Identity::parse(user_identity.as_bytes()).is_ok_and(|identity| self.users.contains(&identity.user))
    }

    /// A channel of the miner is open: the connection is his, and all of it may be told.
    fn working(&self, channel: &LiveChannel, seat: Option<&Seat>) -> Progress {
        let is_new = channel.connection() > self.since;
        let connected = if is_new { "accepted" } else { "was there before the test began" };
        let mut steps = steps_up_to(3);
        connected.clone_into(&mut steps[0].detail);
        if let Some(set_up) = seat.and_then(Seat::set_up) {
            steps[2].detail = [set_up.vendor.as_str(), &set_up.hardware, &set_up.firmware].join(" ").trim().to_owned();
        }
        steps[3].is_done = true;
        let (target, worker) = (channel.target(), channel.worker());
        let named = if worker.is_empty() { "without a worker's name".to_owned() } else { format!("worker {worker}") };
        let rate = HashRate(target.nominal_hash_rate.into());
        let difficulty = difficulty(2f64.powi(target.difficulty.log2().into()));
        steps[3].detail = format!("{named}, difficulty {difficulty}, declares {rate}");
        let counts = channel.counts();
        steps[4].is_done = counts.accepted > 0;
        let mut trouble = None;
        match (counts.accepted, channel.last_refused()) {
            (0, Some((why, _))) => {
                steps[4].detail = format!("refused: {}", why.code());
                trouble = Some(trouble_of_code(why.code(), "a share was refused"));
            }
            (0, None) => "none yet: it takes as long as the difficulty asks for".clone_into(&mut steps[4].detail),
            (count, _) => steps[4].detail = format!("accepted; {count} by now, {} refused", counts.refused()),
        }
        Progress { steps, trouble }
    }

    /// Nobody is there now. Somebody may have been.
    fn gone(&self, roster: &Roster) -> Progress {
        let (ended, _) = roster.ended();
        let of_test = |seat: &&Arc<Seat>| seat.id() > self.since;
        let is_near = |seat: &Seat| seat.peer().ip().to_canonical() == self.browser;
        let is_own = |seat: &Seat| seat.channels().iter().any(|channel| channel.address() == self.address);
        if let Some(seat) = ended.iter().filter(of_test).find(|seat| is_own(seat) || is_near(seat)) {
            let refused = seat.refused_opens().into_iter().last();
            let trouble = refused.as_ref().map(trouble_of_open).or_else(|| {
                let reason = &seat.ending()?.reason;
                Some(trouble_of_reason(reason))
            });
            return Progress { trouble, ..steps_of(seat) };
        }
        let failures = roster.failures();
        let failure = failures.iter().find(|it| it.last_at_ms >= self.began_at_ms && it.peer == self.browser);
        match failure {
            Some(failure) => {
                let seat = failure.connection.and_then(|id| roster.find(id));
                let steps = seat.map_or_else(|| steps_up_to(0), |seat| steps_of(&seat).steps);
                Progress { steps, trouble: Some(trouble_of_reason(&failure.reason)) }
            }
            None => Progress { steps: steps_up_to(0), trouble: None },
        }
    }
}

fn steps_up_to(done: usize) -> Vec<Step> {
    let step = |(at, name)| Step { name, is_done: at < done, detail: String::new() };
    STEPS.into_iter().enumerate().map(step).collect()
}

/// The steps of a connection of which nobody knows whose it is.
fn steps_of(seat: &Seat) -> Progress {
    let done = match seat.stage() {
        Stage::Connected => 1,
        Stage::Answered => 2,
        Stage::SetUp => 3,
    };
    let mut steps = steps_up_to(done);
    "a device from your network".clone_into(&mut steps[0].detail);
    Progress { steps, trouble: None }
}

fn trouble_of_open(refused: &RefusedOpen) -> Trouble {
    trouble_of_code(refused.code, "a channel was refused")
}

fn trouble_of_code(code: &str, what: &str) -> Trouble {
    match cures::find(code) {
        Some(cure) => Trouble { what: format!("{what} with {code}: {}", cure.meaning), cure: cure.cure.to_owned() },
        None => Trouble { what: format!("{what} with {code}"), cure: ELSE.to_owned() },
    }
}

/// What to do if nothing better is known.
const ELSE: &str = "look at what the connect panel says of your firmware; the operator's log has more";

/// What to do about connections that came to nothing, by what they came to nothing for.
const CURES: [(&str, &str); 9] = [
    (
        "another_key",
        "enter this pool's authority key anew, as the connect panel has it; let the device's clock have NTP",
    ),
    ("stratum_v1", "choose Stratum V2 in the firmware, or let the device go through a translator proxy"),
    ("tls", "take TLS out of the device's settings: Stratum V2 is encrypted by itself"),
    ("http", "that was a browser or a program that is no miner"),
    ("ssh", "that was a program that is no miner"),
    ("proxy_protocol", "turn the PROXY protocol off in the balancer before the pool"),
    ("silent", "that was a check whether the port is open; a device that does only this has no Stratum V2 turned on"),
    ("handshake_unfinished", "check the network between device and pool, and that the firmware speaks Stratum V2"),
    ("setup_timeout", "restart the device, and update its firmware if that goes on"),
];

fn trouble_of_reason(reason: &Reason) -> Trouble {
    let of_setup = cures::CURES.iter().find(|cure| cure.of == Refused::Setup && reason.words.contains(cure.code));
    let known = CURES.iter().find(|(code, _)| *code == reason.code).map(|(_, cure)| *cure);
    let cure = of_setup.map(|cure| cure.cure).or(known).unwrap_or(ELSE);
    Trouble { what: format!("the connection ended: {}", reason.words), cure: cure.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{net::SocketAddr, time::Instant};

    use bitcoin::{Address, BlockHash, address::NetworkUnchecked, hashes::Hash};
    use protocol::{codec::Str0_255, messages::common::SetupConnection};

    use super::*;
    use crate::{
        mining::{channel::ChannelKind, difficulty::Difficulty},
        stratum::{
            end::End,
            metrics::RefusedShare,
            roster::{
                Opening, Seated,
                channel::{ChannelWishes, Meter},
            },
        },
    };

    const OWN: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const OTHER: &str = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";

    fn peer(host: u8) -> SocketAddr {
        ([192, 0, 2, host], 40_000).into()
    }

    /// Somebody at host 1 waits for a device of [`OWN`].
    fn waiting(roster: &Roster) -> Waiting {
        let user = OWN.parse().unwrap();
        Waiting::new(&user, OWN, None, peer(1).ip(), (roster.newest(), 0))
    }

    fn set_up(seated: &Seated) {
        let text = |text: &'static str| Str0_255::from_static(text);
        let setup = SetupConnection {
            protocol: 0,
            min_version: 2,
            max_version: 2,
            flags: 0,
            endpoint_host: text("pool"),
            endpoint_port: 1,
            vendor: text("Bitaxe"),
            hardware_version: text("601"),
            firmware: text("2.15"),
            device_id: text(""),
        };
        seated.set_up(&setup, 2, Instant::now());
    }

    fn open(seated: &Seated, address: &str) -> Meter {
        let address: Address<NetworkUnchecked> = address.parse().unwrap();
        let wishes = ChannelWishes {
            connection: seated.seat().id(),
            id: 2,
            kind: ChannelKind::Standard,
            address: address.assume_checked(),
            worker: "shed".into(),
            nominal_hash_rate: 1e12,
        };
        seated.open(wishes, Difficulty::from_log2(0), Instant::now())
    }

    fn done(progress: &Progress) -> usize {
        let done = progress.steps.iter().filter(|step| step.is_done).count();
        assert!(progress.steps[..done].iter().all(|step| step.is_done), "a step was left out: {progress:?}");
        assert_eq!(progress.steps.len(), STEPS.len());
        done
    }

    #[test]
    fn device_is_seen_step_by_step() {
        let roster = Arc::<Roster>::default();
        let test = waiting(&roster);
        assert_eq!((done(&test.look(&roster)), test.look(&roster).trouble), (0, None));
        let seated = roster.begin(peer(1), Instant::now());
        assert_eq!(done(&test.look(&roster)), 1);
        seated.answer(Instant::now());
        assert_eq!(done(&test.look(&roster)), 2);
        set_up(&seated);
        assert_eq!(done(&test.look(&roster)), 3);
        let mut meter = open(&seated, OWN);
        let opened = test.look(&roster);
        assert_eq!(done(&opened), 4);
        assert!(opened.steps[2].detail.contains("Bitaxe 601") && opened.steps[3].detail.contains("worker shed"));
        meter.refuse(RefusedShare::AboveTarget, Instant::now());
        let refused = test.look(&roster);
        assert!(
            refused.trouble.unwrap().cure.contains("overclock")
                && refused.steps[4].detail.contains("difficulty-too-low")
        );
        meter.accept(Difficulty::from_log2(0), BlockHash::from_byte_array([0; 32]), Instant::now());
        assert_eq!((done(&test.look(&roster)), test.look(&roster).trouble), (5, None));
    }

    #[test]
    fn device_of_elsewhere_is_seen_once_it_has_a_channel_of_the_miner() {
        let roster = Arc::<Roster>::default();
        let test = waiting(&roster);
        let seated = roster.begin(peer(2), Instant::now());
        seated.answer(Instant::now());
        set_up(&seated);
        let stranger = open(&seated, OTHER);
        assert_eq!(done(&test.look(&roster)), 0, "a connection of somebody else is shown");
        seated.close(&stranger);
        let _own = open(&seated, OWN);
        assert_eq!(done(&test.look(&roster)), 4);
    }

    #[test]
    fn of_a_neighbour_nothing_is_told_but_how_far_he_came() {
        let roster = Arc::<Roster>::default();
        let test = waiting(&roster);
        let seated = roster.begin(peer(1), Instant::now());
        seated.answer(Instant::now());
        set_up(&seated);
        let _channel = open(&seated, OTHER);
        let seen = test.look(&roster);
        assert_eq!(done(&seen), 3);
        let said = format!("{seen:?}");
        assert!(![OTHER, "shed", "Bitaxe"].iter().any(|word| said.contains(word)), "{said}");
    }

    #[test]
    fn fault_is_told_in_plain_words_with_its_cure() {
        let roster = Arc::<Roster>::default();
        let test = waiting(&roster);
        let mut opening = Opening::default();
        opening.note(b"{\"id\":1,\"method\":\"mining.subscribe\"}");
        for host in [2, 1] {
            let seated = roster.begin(peer(host), Instant::now());
            seated.end(&opening, &End::Closed, Instant::now());
            let trouble = test.look(&roster).trouble;
            assert_eq!(trouble.is_some(), host == 1, "{trouble:?}");
        }
        let trouble = test.look(&roster).trouble.unwrap();
        assert!(trouble.what.contains("Stratum V1") && trouble.cure.contains("translator proxy"), "{trouble:?}");
    }

    #[test]
    fn channel_that_was_refused_to_the_miner_is_told_wherever_he_is() {
        let roster = Arc::<Roster>::default();
        let test = waiting(&roster);
        let seated = roster.begin(peer(2), Instant::now());
        seated.answer(Instant::now());
        set_up(&seated);
        seated.refuse_open(&format!("{OTHER}.rig"), "unknown-user", Instant::now());
        assert_eq!(test.look(&roster).trouble, None);
        seated.refuse_open(&format!("{OWN}.rig"), "channel-capacity-exhausted", Instant::now());
        let trouble = test.look(&roster).trouble.unwrap();
        assert!(trouble.what.contains("channel-capacity-exhausted"), "{trouble:?}");
    }

    #[test]
    fn newest_device_is_seen_however_many_came_before_it() {
        let (roster, now) = (Arc::<Roster>::default(), Instant::now());
        let test = waiting(&roster);
        let _crowd: Vec<_> = (0..MOST_SEATS).map(|_| roster.begin(peer(3), now)).collect();
        let seated = roster.begin(peer(1), now);
        assert_eq!(done(&test.look(&roster)), 1);
        seated.answer(now);
        set_up(&seated);
        seated.refuse_open(&format!("{OWN}.rig"), "channel-capacity-exhausted", now);
        assert!(test.look(&roster).trouble.is_some());
        let _channel = open(&seated, OWN);
        assert_eq!(done(&test.look(&roster)), 4);
    }

    #[test]
    fn test_begins_with_what_comes_after_it() {
        let roster = Arc::<Roster>::default();
        let early = roster.begin(peer(1), Instant::now());
        let test = waiting(&roster);
        assert_eq!(done(&test.look(&roster)), 0, "a connection of before the test");
        early.answer(Instant::now());
        set_up(&early);
        let _channel = open(&early, OWN);
        let seen = test.look(&roster);
        assert!(done(&seen) == 4 && seen.steps[0].detail.contains("before the test"), "{seen:?}");
    }
}
