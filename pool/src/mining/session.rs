//! A miner's session: the channels of one connection, and what is said about them.
//!
//! Pure: the connection task passes in what arrived, the newest job and the time, and an [`Outbox`] for what goes out.

mod ahead;
mod outbox;
mod request;
mod retarget;

use std::{sync::Arc, time::Instant};

use bitcoin::Target;
use protocol::messages::mining::{CloseChannel, UpdateChannel};

use self::{
    ahead::SentAhead,
    outbox::{prev_hash, refuse_update, send_extended_job, send_open_success, send_target, standard_job},
    retarget::{bounds, retarget},
};
pub use self::{
    outbox::{Outbox, refuse_open, refuse_share},
    request::{ChannelWish, OpenRequest, SessionKind},
    retarget::{Retarget, RetargetCause},
};
use super::{
    by_channel::ByChannel,
    channel::{Channel, ChannelKind},
    difficulty::Difficulty,
    extranonce::{DEFAULT_ROLLABLE_SIZE, ExtranonceSpace, MAX_ROLLABLE_SIZE},
    job::Job,
    share::{ShareError, Submission, ValidShare},
};

/// The group that all channels of a connection belong to (SV2 5.2.3).
const GROUP_CHANNEL_ID: u32 = 1;
/// First id of a channel; differs from the group's.
const FIRST_CHANNEL_ID: u32 = 2;

/// What the operator has set for all sessions.
#[derive(Clone, Debug)]
pub struct SessionPolicy {
    /// Shares a minute that each channel shall come to.
    pub shares_per_minute: f64,
    /// What a channel starts with whose client claims no hash rate.
    pub initial_difficulty: Difficulty,
    /// The easiest difficulty that is given.
    pub min_difficulty: Difficulty,
    /// Channels that one connection may hold.
    pub max_channels: usize,
    /// Shares of one channel for one job that are remembered to find duplicates, and so taken.
    pub max_shares_per_job: usize,
    /// Whether a share may be harder to find than a block: only where the network's difficulty means nothing.
    pub harder_than_network: bool,
}

/// The channels of one connection.
#[derive(Debug)]
pub struct Session {
    policy: Arc<SessionPolicy>,
    space: Arc<ExtranonceSpace>,
    kind: SessionKind,
    channels: ByChannel<Channel>,
    /// The newest job of the pool, from the first open on: its network's target bounds what is given.
    newest_job: Option<Arc<Job>>,
    /// The job for the next height, which every channel holds then.
    sent_ahead: Option<SentAhead>,
    next_channel_id: u32,
    next_job_id: u32,
    /// New difficulties that nobody has asked for yet.
    retargets: Vec<Retarget>,
}

impl Session {
    /// Starts a session without channels.
    pub fn new(policy: Arc<SessionPolicy>, space: Arc<ExtranonceSpace>, kind: SessionKind) -> Self {
        let (next_channel_id, next_job_id) = (FIRST_CHANNEL_ID, 1);
        let (channels, newest_job, sent_ahead, retargets) = (ByChannel::new(), None, None, Vec::new());
        Self { policy, space, kind, channels, newest_job, sent_ahead, next_channel_id, next_job_id, retargets }
    }

    /// Returns the difficulty that a channel's next job is given with.
    pub fn difficulty(&self, channel_id: u32) -> Option<Difficulty> {
        self.channels.get(&channel_id).map(Channel::difficulty)
    }

    /// Returns which channels were given another difficulty since this was last asked for.
    pub fn take_retargets(&mut self) -> Vec<Retarget> {
        // Nearly always there is none, and then nothing is written.
        if self.retargets.is_empty() { Vec::new() } else { std::mem::take(&mut self.retargets) }
    }

    /// Returns how many channels are open.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Tells whether the channels have got this job as the newest.
    pub fn has_job(&self, job: &Arc<Job>) -> bool {
        self.newest_job.as_ref().is_some_and(|known| Arc::ptr_eq(known, job))
    }

    /// Tells whether a job builds on another tip than the newest that the channels have got.
    pub fn is_new_tip(&self, job: &Job) -> bool {
        self.newest_job.as_ref().is_some_and(|known| !known.same_tip(job))
    }

    /// Opens a channel, answers, and gives it the job: as a future job, then with `SetNewPrevHash` for it alone. The
    /// answer comes before all else, since devices take what follows their request for it; the channels that are open
    /// already get the job too, if they have not got it. Returns the channel's id, or the error code that was answered.
    pub fn open(
        &mut self,
        request: OpenRequest,
        job: &Arc<Job>,
        now: Instant,
        out: &mut impl Outbox,
    ) -> Result<u32, &'static str> {
        let opened = self.try_open(request, job, now);
        match &opened {
            Ok(channel) => send_open_success(channel, request.request_id, out),
            Err(code) => refuse_open(request.request_id, code, out),
        }
        if !self.has_job(job) {
            self.new_job(job, now, out);
        }
        let channel = opened?;
        let channel_id = channel.id();
        self.channels.insert(channel_id, channel);
        if self.kind.takes_jobs() {
            self.give_future(channel_id, job, out);
            self.send_ahead_to_new(channel_id, out);
        }
        Ok(channel_id)
    }

    /// Changes a channel as its client asks (SV2 5.3.7). A valid request is always answered with `SetTarget`, for
    /// which proxies wait. Returns the error with which it was answered, if it was.
    pub fn update(&mut self, update: &UpdateChannel, now: Instant, out: &mut impl Outbox) -> Option<&'static str> {
        let max_target = Target::from_le_bytes(update.maximum_target.0);
        let Some(channel) = self.channels.get_mut(&update.channel_id) else {
            return refuse_update(update.channel_id, "invalid-channel-id", out);
        };
        let least = channel.least_difficulty();
        let newest_job = self.newest_job.as_ref();
        let Some(bounds) = newest_job.and_then(|job| bounds(&self.policy, job, max_target, least)) else {
            return refuse_update(update.channel_id, "max-target-out-of-range", out);
        };
        channel.set_max_target(max_target);
        let wished = match update.nominal_hash_rate {
            claimed if claimed > 0.0 && claimed.is_finite() => channel.difficulty_for(claimed),
            // A proxy without miners, or nonsense: what the channel has shown stays the better guess.
            _ => channel.difficulty(),
        };
        let difficulty = bounds.clamp(wished);
        let changed = difficulty != channel.difficulty();
        send_target(update.channel_id, difficulty, out);
        if changed {
            channel.set_difficulty(difficulty, now);
            let (channel_id, cause) = (update.channel_id, RetargetCause::Claimed);
            self.retargets.push(Retarget { channel_id, difficulty, cause });
            self.give_again(channel_id, now, out);
        }
        None
    }

    /// Gives a channel, or all of them, a difficulty that the operator wants, within what network and client allow. From
    /// there it follows the channel's shares again: a difficulty that stayed would soon suit nobody.
    pub fn set_difficulty(
        &mut self,
        channel_id: Option<u32>,
        difficulty: Difficulty,
        now: Instant,
        out: &mut impl Outbox,
    ) {
        let Some(job) = self.newest_job.clone() else { return };
        let all: Vec<u32> = self.channels.keys().copied().collect();
        for channel_id in all.into_iter().filter(|id| channel_id.is_none_or(|wanted| wanted == *id)) {
            let channel = self.channels.get_mut(&channel_id).expect("it is one of the keys");
            if let Some(retarget) = retarget(&self.policy, channel, difficulty, &job, now, out) {
                self.retargets.push(Retarget { cause: RetargetCause::Operator, ..retarget });
                if self.kind.takes_jobs() {
                    self.give_again(channel_id, now, out);
                }
            }
        }
    }

    /// Closes a channel, or all of them if the group is named (SV2 5.3.9). Returns the ids that are gone; an unknown
    /// id closes nothing, since its channel may have been closed already.
    pub fn close(&mut self, close: &CloseChannel) -> Vec<u32> {
        let closed: Vec<u32> = match close.channel_id {
            GROUP_CHANNEL_ID => std::mem::take(&mut self.channels).into_keys().collect(),
            channel_id => self.channels.remove(&channel_id).map(|channel| channel.id()).into_iter().collect(),
        };
        if self.channels.is_empty() {
            // Nobody holds it, and a client may have forgotten the group that did.
            self.sent_ahead = None;
        }
        closed
    }

    /// Judges a share. A wrong one is answered at once; for a right one nothing is said here: that takes a receipt
    /// that it is on disk. May be followed by a new target, with the job given anew for it.
    pub fn submit(
        &mut self,
        channel_id: u32,
        submission: &Submission<'_>,
        now: Instant,
        out: &mut impl Outbox,
    ) -> Result<ValidShare, SubmitRefusal> {
        let Some(channel) = self.channels.get_mut(&channel_id) else {
            let refusal = SubmitRefusal::UnknownChannel(channel_id);
            refuse_share(channel_id, submission.sequence_number, refusal.code(), out);
            return Err(refusal);
        };
        let share = channel.validate(submission).map_err(|error| {
            refuse_share(channel_id, submission.sequence_number, error.code(), out);
            SubmitRefusal::Share(error)
        })?;
        if let Some(suited) = channel.suited_difficulty(now)
            && let Some(retarget) = retarget(&self.policy, channel, suited, share.job(), now, out)
        {
            self.retargets.push(retarget);
            self.give_again(channel_id, now, out);
        }
        Ok(share)
    }

    /// Gives a new job to all channels: on a new tip as a future job and then `SetNewPrevHash`, or the latter alone if it
    /// was sent ahead; on the same tip as a job to start at once. New targets, also those that silence has eased, go out before it. A client that brings its
    /// own jobs gets nothing else.
    pub fn new_job(&mut self, job: &Arc<Job>, now: Instant, out: &mut impl Outbox) {
        self.newest_job = Some(Arc::clone(job));
        let ahead = self.sent_ahead.take();
        if let Some(ahead) = ahead.filter(|ahead| ahead.number() == job.number()) {
            return self.activate_ahead(&ahead, job, out);
        }
        for channel in self.channels.values_mut() {
            channel.set_ahead_id(None);
            let suited = channel.suited_difficulty(now).unwrap_or(channel.difficulty());
            self.retargets.extend(retarget(&self.policy, channel, suited, job, now, out));
        }
        if !self.kind.takes_jobs() {
            return;
        }
        let grouped = self.kind == SessionKind::Any && self.channels.len() > 1;
        let new_tip =
            self.channels.values().any(|channel| channel.newest_job().is_none_or(|known| !known.same_tip(job)));
        let ids: Vec<u32> = self.channels.keys().copied().collect();
        if !grouped {
            for channel_id in ids {
                if new_tip { self.give_future(channel_id, job, out) } else { self.give_active(channel_id, job, out) }
            }
            return;
        }
        let job_id = self.take_job_id();
        let min_ntime = job.template().curtime;
        for channel in self.channels.values_mut() {
            channel.give(job, job_id, min_ntime);
        }
        let start = (!new_tip).then_some(min_ntime);
        send_extended_job(GROUP_CHANNEL_ID, job_id, job, start, out);
        if new_tip {
            out.send(&prev_hash(GROUP_CHANNEL_ID, job_id, job));
        }
    }

    fn try_open(&mut self, request: OpenRequest, job: &Arc<Job>, now: Instant) -> Result<Channel, &'static str> {
        self.kind.admit(request.wish)?;
        let (kind, rollable_size) = match request.wish {
            ChannelWish::Standard => (ChannelKind::Standard, 0),
            ChannelWish::Extended(0) => (ChannelKind::Extended, DEFAULT_ROLLABLE_SIZE),
            ChannelWish::Extended(size) => (ChannelKind::Extended, usize::from(size)),
        };
        if rollable_size > MAX_ROLLABLE_SIZE {
            return Err("min-extranonce-size-too-large");
        }
        if !is_hash_rate(request.nominal_hash_rate) {
            return Err("invalid-nominal-hashrate");
        }
        let max_target = Target::from_le_bytes(request.max_target.0);
        let least = request.least_difficulty;
        let bounds = bounds(&self.policy, job, max_target, least).ok_or("max-target-out-of-range")?;
        if self.channels.len() >= self.policy.max_channels {
            return Err("channel-capacity-exhausted");
        }
        let prefix = self.space.allocate(rollable_size).ok_or("channel-capacity-exhausted")?;
        let start = match (least, request.nominal_hash_rate) {
            // A user knows his device better than devices know themselves: many claim the same rate whatever they do.
            (Some(least), _) => least,
            (None, 0.0) => self.policy.initial_difficulty,
            (None, claimed) => Difficulty::for_hash_rate(f64::from(claimed), 60.0 / self.policy.shares_per_minute),
        };
        let id = self.next_channel_id;
        self.next_channel_id = id.checked_add(1).ok_or("channel-capacity-exhausted")?;
        let start = bounds.clamp(start);
        let channel = Channel::new(id, kind, prefix, max_target, start, self.policy.shares_per_minute, now);
        Ok(channel.with_least_difficulty(least).with_max_shares_per_job(self.policy.max_shares_per_job))
    }

    /// Sends the job to one channel as a future job and activates it.
    fn give_future(&mut self, channel_id: u32, job: &Arc<Job>, out: &mut impl Outbox) {
        let job_id = self.give_one(channel_id, job, None, out);
        out.send(&prev_hash(channel_id, job_id, job));
    }

    /// Sends the job to one channel to be started at once.
    fn give_active(&mut self, channel_id: u32, job: &Arc<Job>, out: &mut impl Outbox) {
        self.give_one(channel_id, job, Some(job.template().curtime), out);
    }

    /// Gives a channel its newest job again under a new id, for which its new target holds, and with a later time:
    /// the same headers again would be duplicates.
    fn give_again(&mut self, channel_id: u32, now: Instant, out: &mut impl Outbox) {
        let Some(channel) = self.channels.get(&channel_id) else { return };
        if let (Some(job), start @ Some(_)) = (channel.newest_job().cloned(), channel.restart_ntime(now)) {
            self.give_one(channel_id, &job, start, out);
            self.send_ahead_again(channel_id, out);
        }
    }

    fn give_one(&mut self, channel_id: u32, job: &Arc<Job>, start: Option<u32>, out: &mut impl Outbox) -> u32 {
        let job_id = self.take_job_id();
        let channel = self.channels.get_mut(&channel_id).expect("callers name an open channel");
        let merkle_root = channel.give(job, job_id, start.unwrap_or(job.template().curtime));
        match channel.kind() {
            ChannelKind::Standard => out.send(&standard_job(channel_id, job_id, job, start, merkle_root)),
            ChannelKind::Extended => send_extended_job(channel_id, job_id, job, start, out),
        }
        job_id
    }

    fn take_job_id(&mut self) -> u32 {
        let job_id = self.next_job_id;
        // After four thousand million jobs on one connection the first ids are long forgotten.
        self.next_job_id = job_id.checked_add(1).unwrap_or(1);
        job_id
    }
}

/// Why a submission was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitRefusal {
    /// No such channel is open.
    UnknownChannel(u32),
    /// The channel refused it.
    Share(ShareError),
}

impl SubmitRefusal {
    /// Returns the code for `SubmitShares.Error`, as clients know it.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownChannel(_) => "invalid-channel-id",
            Self::Share(error) => error.code(),
        }
    }
}

/// Zero is allowed: a proxy without miners says so.
fn is_hash_rate(nominal: f32) -> bool {
    nominal.is_finite() && nominal >= 0.0
}

#[cfg(test)]
// What an open returns, its messages say too.
#[allow(clippy::unwrap_used, unused_must_use)]
pub(crate) mod tests {
    use std::time::Duration;

    use bitcoin::ScriptBuf;
    use protocol::{
        codec::{Str0_255, U256},
        framing::Header,
        messages::{
            Message, MessageSet,
            mining::{NewExtendedMiningJob, ServerMessage},
        },
    };

    use super::{outbox::target, *};
    use crate::mining::{
        coinbase::{Coinbase, MAX_TAG_SIZE, PoolTag},
        extranonce::FULL_EXTRANONCE_SIZE,
        job::{
            JobNumber, JobOrigin, SharePosition,
            tests::{job, template},
        },
    };

    const TIME: u32 = 1_700_000_000;
    const HARD: u32 = 0x1702_1369;
    const ANY_TARGET: U256 = U256([0xff; 32]);

    /// What a client would have got.
    #[derive(Default)]
    pub(crate) struct Sent(Vec<ServerMessage>);

    impl Outbox for Sent {
        fn send_encoded<M: Message>(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
            let mut payload = Vec::new();
            encode(&mut payload);
            let header = Header::of::<M>(payload.len()).unwrap();
            self.0.push(ServerMessage::decode(header, &payload, &[]).unwrap());
        }
    }

    impl Sent {
        pub(crate) fn take(&mut self) -> Vec<ServerMessage> {
            std::mem::take(&mut self.0)
        }
    }

    fn session(kind: SessionKind) -> Session {
        let policy = SessionPolicy {
            shares_per_minute: 6.0,
            initial_difficulty: Difficulty::from_log2(10),
            min_difficulty: Difficulty::MIN,
            max_channels: 3,
            max_shares_per_job: usize::MAX,
            harder_than_network: false,
        };
        Session::new(Arc::new(policy), Arc::new(ExtranonceSpace::new(1, 1, 100)), kind)
    }

    fn request(wish: ChannelWish) -> OpenRequest {
        OpenRequest { request_id: 77, wish, nominal_hash_rate: 1e12, max_target: ANY_TARGET, least_difficulty: None }
    }

    /// An open channel with a wish, and the difficulty that it began with.
    fn wishing(log2: i32, request: OpenRequest, job: &Arc<Job>, now: Instant) -> (Session, Difficulty) {
        let (mut session, mut sent) = (session(SessionKind::StandardJobs), Sent::default());
        let least_difficulty = Some(Difficulty::from_log2(log2));
        session.open(OpenRequest { least_difficulty, ..request }, job, now, &mut sent).unwrap();
        let ServerMessage::OpenStandardMiningChannelSuccess(success) = &sent.take()[0] else { panic!("no success") };
        let given = session.channels[&FIRST_CHANNEL_ID].difficulty();
        assert_eq!(success.target, target(given));
        (session, given)
    }

    #[test]
    fn wish_is_where_a_channel_starts_whatever_hash_rate_it_claims() {
        for nominal_hash_rate in [0.0, 1e9, 1e12, 1e15] {
            let request = OpenRequest { nominal_hash_rate, ..request(ChannelWish::Standard) };
            let (_, given) = wishing(14, request, &job(1, TIME, HARD), Instant::now());
            assert_eq!(given, Difficulty::from_log2(14));
        }
    }

    #[test]
    fn wish_gives_way_to_the_network_and_to_the_clients_max_target() {
        let job = job(1, TIME, HARD);
        let network = Difficulty::hardest_within(job.template().target);
        assert_eq!(wishing(90, request(ChannelWish::Standard), &job, Instant::now()).1, network);
        let max_target = target(Difficulty::from_log2(20));
        let careful = OpenRequest { max_target, ..request(ChannelWish::Standard) };
        assert_eq!(wishing(14, careful, &job, Instant::now()).1, Difficulty::from_log2(20));
    }

    #[test]
    fn neither_silence_nor_an_update_eases_a_channel_below_its_wish() {
        let (now, mut sent) = (Instant::now(), Sent::default());
        let (mut session, given) = wishing(14, request(ChannelWish::Standard), &job(1, TIME, HARD), now);
        let later = now + Duration::from_secs(3_600);
        session.new_job(&job(1, TIME + 3_600, HARD), later, &mut sent);
        assert!(matches!(sent.take().as_slice(), [ServerMessage::NewMiningJob(_)]));
        for (nominal_hash_rate, log2) in [(1e9, 14), (0.0, 14), (1e15, 22), (1e9, 14)] {
            let update = UpdateChannel { channel_id: 2, nominal_hash_rate, maximum_target: ANY_TARGET };
            session.update(&update, later, &mut sent);
            let expected = target(Difficulty::from_log2(log2));
            assert!(matches!(&sent.take()[0], ServerMessage::SetTarget(set) if set.maximum_target == expected));
        }
        assert_eq!(session.channels[&2].difficulty(), given);
    }

    #[test]
    fn operators_difficulty_is_given_with_a_job_within_what_the_network_allows() {
        let (job, now) = (job(1, TIME, HARD), Instant::now());
        let (mut session, mut sent) = (session(SessionKind::Any), Sent::default());
        for _ in 0..2 {
            session.open(request(ChannelWish::Standard), &job, now, &mut sent).unwrap();
        }
        sent.take();
        session.set_difficulty(Some(3), Difficulty::from_log2(20), now, &mut sent);
        let [ServerMessage::SetTarget(set), ServerMessage::NewMiningJob(given)] = &sent.take()[..] else {
            panic!("no target and job")
        };
        assert_eq!((set.channel_id, set.maximum_target), (3, target(Difficulty::from_log2(20))));
        assert_eq!(given.channel_id, 3);
        let difficulty = Difficulty::from_log2(20);
        let expected = Retarget { channel_id: 3, difficulty, cause: RetargetCause::Operator };
        assert_eq!(session.take_retargets(), [expected]);

        session.set_difficulty(None, Difficulty::MAX, now, &mut sent);
        let network = Difficulty::hardest_within(job.template().target);
        assert_eq!([2, 3].map(|id| session.difficulty(id)), [Some(network); 2]);
        assert_eq!(session.take_retargets().len(), 2);
        session.set_difficulty(Some(9), Difficulty::MIN, now, &mut sent);
        assert_eq!(session.take_retargets(), [], "there is no such channel");
    }

    #[test]
    fn channel_returns_to_its_wish_when_the_network_allows_that_again() {
        const EASY: u32 = 0x1c00_ffff; // Difficulty 256.
        let (now, mut sent) = (Instant::now(), Sent::default());
        let (mut session, given) = wishing(14, request(ChannelWish::Standard), &job(1, TIME, EASY), now);
        assert_eq!(given, Difficulty::from_log2(8));
        session.new_job(&job(2, TIME, HARD), now, &mut sent);
        let expected = target(Difficulty::from_log2(14));
        assert!(matches!(&sent.take()[0], ServerMessage::SetTarget(set) if set.maximum_target == expected));
    }

    fn open_error(session: &mut Session, request: OpenRequest) -> String {
        let mut sent = Sent::default();
        let code = session.open(request, &job(1, TIME, HARD), Instant::now(), &mut sent).unwrap_err();
        match sent.take().as_slice() {
            [ServerMessage::OpenMiningChannelError(error), ..] if error.request_id == 77 => {
                assert_eq!(error.error_code.to_str(), Some(code));
            }
            other => panic!("{other:?}"),
        }
        code.to_owned()
    }

    #[test]
    fn standard_channel_gets_a_future_job_and_then_the_prev_hash() {
        let (mut session, mut sent) = (session(SessionKind::StandardJobs), Sent::default());
        assert_eq!(session.open(request(ChannelWish::Standard), &job(1, TIME, HARD), Instant::now(), &mut sent), Ok(2));
        let [
            ServerMessage::OpenStandardMiningChannelSuccess(success),
            ServerMessage::NewMiningJob(new_job),
            ServerMessage::SetNewPrevHash(prev_hash),
        ] = <[ServerMessage; 3]>::try_from(sent.take()).unwrap()
        else {
            panic!("other messages");
        };
        assert_eq!((success.request_id, success.channel_id, success.group_channel_id), (77, 2, 1));
        // 1 TH/s at 6 shares a minute.
        assert_eq!(success.target, target(Difficulty::from_log2(12)));
        assert_eq!((new_job.channel_id, new_job.min_ntime), (2, None));
        assert_eq!((prev_hash.channel_id, prev_hash.job_id), (2, new_job.job_id));
        assert_eq!((prev_hash.min_ntime, prev_hash.nbits), (TIME, HARD));
    }

    #[test]
    fn extended_channel_gets_the_size_it_asked_for() {
        for (asked, granted) in [(2, 2), (4, 4), (6, 6), (8, 8), (10, 10), (16, 16), (0, DEFAULT_ROLLABLE_SIZE)] {
            let (mut session, mut sent) = (session(SessionKind::Any), Sent::default());
            session.open(request(ChannelWish::Extended(asked)), &job(1, TIME, HARD), Instant::now(), &mut sent);
            let sent = sent.take();
            let [
                ServerMessage::OpenExtendedMiningChannelSuccess(success),
                ServerMessage::NewExtendedMiningJob(job),
                ServerMessage::SetNewPrevHash(_),
            ] = sent.as_slice()
            else {
                panic!("{sent:?}")
            };
            let full_size = success.extranonce_prefix.as_slice().len() + granted;
            assert_eq!((usize::from(success.extranonce_size), full_size), (granted, FULL_EXTRANONCE_SIZE));
            // Behind version, count of inputs and outpoint: the length of the script, which ends with the extranonce.
            let (script_size, script) = job.coinbase_tx_prefix.as_slice()[41..].split_first().unwrap();
            assert_eq!(usize::from(*script_size), script.len() + full_size);
        }
    }

    /// Proxies leave when they may not roll the version.
    #[test]
    fn version_may_be_rolled_on_every_extended_job() {
        let (mut session, mut sent, now) = (session(SessionKind::Any), Sent::default(), Instant::now());
        session.open(request(ChannelWish::Extended(4)), &job(1, TIME, HARD), now, &mut sent);
        session.new_job(&job(1, TIME + 1, HARD), now, &mut sent);
        let update = UpdateChannel { channel_id: 2, nominal_hash_rate: 8e12, maximum_target: ANY_TARGET };
        session.update(&update, now, &mut sent);
        session.open(request(ChannelWish::Standard), &job(2, TIME, HARD), now, &mut sent);
        session.new_job(&job(3, TIME, HARD), now, &mut sent);
        let messages = sent.take();
        let allowed = messages.iter().filter_map(|message| match message {
            ServerMessage::NewExtendedMiningJob(job) => Some(job.version_rolling_allowed),
            _ => None,
        });
        assert_eq!(allowed.collect::<Vec<_>>(), [true; 5], "{messages:?}");
    }

    /// A target in the other order of bytes makes a device hash and never submit.
    #[test]
    fn targets_are_little_endian_both_ways() {
        let (mut session, mut sent) = (session(SessionKind::StandardJobs), Sent::default());
        // Difficulty 2^20: 0xffff shifted by 188 bits. The other way round it would be harder than any difficulty.
        let mut asked = [0; 32];
        asked[23..26].copy_from_slice(&[0xf0, 0xff, 0x0f]);
        let request = OpenRequest { max_target: U256(asked), nominal_hash_rate: 1.0, ..request(ChannelWish::Standard) };
        session.open(request, &job(1, TIME, HARD), Instant::now(), &mut sent);
        let ServerMessage::OpenStandardMiningChannelSuccess(success) = &sent.take()[0] else { panic!("no success") };
        assert_eq!(success.target.0, asked);
    }

    /// Older firmware takes payloads of up to 2,048 bytes and no more.
    #[test]
    fn messages_fit_into_the_smallest_frames_that_devices_take() {
        #[derive(Default)]
        struct Sizes(Vec<(&'static str, usize)>);

        impl Outbox for Sizes {
            fn send_encoded<M: Message>(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
                let mut payload = Vec::new();
                encode(&mut payload);
                self.0.push((M::NAME, payload.len()));
            }
        }

        // More transactions than a block has room for, the longest tag, and an output that is longer than a wallet's.
        let mut largest = crate::template::Template::clone(&template(1, TIME, HARD));
        largest.merkle_path = vec![largest.merkle_path[0]; 17];
        let tag = PoolTag::new(&"x".repeat(MAX_TAG_SIZE)).unwrap();
        let (script, commitment) = (ScriptBuf::from_bytes(vec![0; 42]), &largest.witness_commitment);
        let coinbase = Coinbase::new(largest.height, largest.coinbase_value, &script, commitment, &tag, u32::MAX);
        let origin = JobOrigin {
            number: JobNumber(i64::MAX),
            share_position: SharePosition(0),
            made_at: Instant::now(),
            made_at_ms: 0,
        };
        let job = Arc::new(Job::new(Arc::new(largest), coinbase, origin));
        let (mut session, mut sizes) = (session(SessionKind::Any), Sizes::default());
        for wish in [ChannelWish::Extended(2), ChannelWish::Standard, ChannelWish::Extended(17)] {
            session.open(request(wish), &job, Instant::now(), &mut sizes);
        }
        session.new_job(&job, Instant::now(), &mut sizes);
        assert!(sizes.0.iter().any(|(name, _)| *name == NewExtendedMiningJob::NAME));
        for (name, size) in sizes.0 {
            assert!(size <= 2_048, "{name} of {size} bytes");
        }
    }

    #[test]
    fn wrong_shares_say_nothing_of_a_miners_speed() {
        let (mut session, mut sent, now) = (session(SessionKind::StandardJobs), Sent::default(), Instant::now());
        session.open(request(ChannelWish::Standard), &job(1, TIME, HARD), now, &mut sent);
        sent.take();
        let right =
            Submission { sequence_number: 1, job_id: 1, nonce: 0, ntime: TIME, version: 0x2000_0000, extranonce: &[] };
        for nonce in 0..1_000 {
            let wrong =
                [Submission { nonce, ..right }, Submission { job_id: 9, ..right }, Submission { ntime: 0, ..right }];
            for submission in wrong {
                assert!(session.submit(2, &submission, now, &mut sent).is_err());
            }
        }
        let others = sent.take().into_iter().filter(|message| !matches!(message, ServerMessage::SubmitSharesError(_)));
        assert_eq!(others.collect::<Vec<_>>(), []);
        assert_eq!(session.channels[&2].difficulty(), Difficulty::from_log2(12));
    }

    #[test]
    fn what_cannot_be_opened_is_answered_with_the_codes_that_clients_know() {
        assert_eq!(
            open_error(&mut session(SessionKind::StandardJobs), request(ChannelWish::Extended(4))),
            "extended-channels-not-supported-for-standard-jobs"
        );
        assert_eq!(
            open_error(&mut session(SessionKind::Any), request(ChannelWish::Extended(17))),
            "min-extranonce-size-too-large"
        );
        let no_target = OpenRequest { max_target: U256([0; 32]), ..request(ChannelWish::Standard) };
        assert_eq!(open_error(&mut session(SessionKind::Any), no_target), "max-target-out-of-range");
        for nominal_hash_rate in [f32::NAN, f32::INFINITY, -1.0] {
            let request = OpenRequest { nominal_hash_rate, ..request(ChannelWish::Standard) };
            assert_eq!(open_error(&mut session(SessionKind::Any), request), "invalid-nominal-hashrate");
        }
        let mut full = session(SessionKind::Any);
        for _ in 0..3 {
            full.open(request(ChannelWish::Standard), &job(1, TIME, HARD), Instant::now(), &mut Sent::default());
        }
        assert_eq!(open_error(&mut full, request(ChannelWish::Standard)), "channel-capacity-exhausted");
    }

    #[test]
    fn one_message_serves_the_group_and_a_lone_channel_is_addressed_itself() {
        let (mut session, mut sent, now) = (session(SessionKind::Any), Sent::default(), Instant::now());
        session.open(request(ChannelWish::Extended(4)), &job(1, TIME, HARD), now, &mut sent);
        sent.take();
        session.new_job(&job(1, TIME + 1, HARD), now, &mut sent);
        assert!(matches!(sent.take().as_slice(), [ServerMessage::NewExtendedMiningJob(job)]
            if job.channel_id == 2 && job.min_ntime == Some(TIME + 1)));

        session.open(request(ChannelWish::Standard), &job(1, TIME + 1, HARD), now, &mut sent);
        sent.take();
        session.new_job(&job(1, TIME + 2, HARD), now, &mut sent);
        assert!(matches!(sent.take().as_slice(), [ServerMessage::NewExtendedMiningJob(job)]
            if job.channel_id == 1 && job.min_ntime == Some(TIME + 2)));
        session.new_job(&job(2, TIME + 3, HARD), now, &mut sent);
        assert!(matches!(sent.take().as_slice(), [
            ServerMessage::NewExtendedMiningJob(job),
            ServerMessage::SetNewPrevHash(prev_hash),
        ] if job.channel_id == 1 && job.min_ntime.is_none() && prev_hash.channel_id == 1 && prev_hash.job_id == job.job_id));
    }

    #[test]
    fn no_group_message_goes_to_a_client_that_requires_standard_jobs() {
        let (mut session, mut sent, now) = (session(SessionKind::StandardJobs), Sent::default(), Instant::now());
        for _ in 0..2 {
            session.open(request(ChannelWish::Standard), &job(1, TIME, HARD), now, &mut sent);
        }
        sent.take();
        session.new_job(&job(2, TIME, HARD), now, &mut sent);
        let kinds: Vec<_> = sent.take().into_iter().collect();
        assert!(matches!(kinds.as_slice(), [
            ServerMessage::NewMiningJob(first),
            ServerMessage::SetNewPrevHash(_),
            ServerMessage::NewMiningJob(second),
            ServerMessage::SetNewPrevHash(_),
        ] if (first.channel_id, second.channel_id) == (2, 3) && first.job_id != second.job_id));
    }

    #[test]
    fn client_that_selects_its_work_gets_a_target_and_no_job() {
        let (mut session, mut sent, now) = (session(SessionKind::of_flags(0b110)), Sent::default(), Instant::now());
        let standard = request(ChannelWish::Standard);
        assert_eq!(open_error(&mut session, standard), "standard-channels-not-supported-for-custom-work");
        session.open(request(ChannelWish::Extended(10)), &job(1, TIME, HARD), now, &mut sent);
        assert!(matches!(sent.take().as_slice(), [ServerMessage::OpenExtendedMiningChannelSuccess(success)]
            if success.extranonce_size == 10 && success.target == target(Difficulty::from_log2(12))));
        for (prev_hash, time) in [(1, TIME + 30), (2, TIME + 31)] {
            session.new_job(&job(prev_hash, time, HARD), now, &mut sent);
        }
        assert_eq!(sent.take(), [], "the pool's jobs are of no use to it");

        let update = UpdateChannel { channel_id: 2, nominal_hash_rate: 8e12, maximum_target: ANY_TARGET };
        session.update(&update, now, &mut sent);
        let set = |sent: &mut Sent| match sent.take().as_slice() {
            [ServerMessage::SetTarget(set)] => set.maximum_target,
            other => panic!("{other:?}"),
        };
        assert_eq!(set(&mut sent), target(Difficulty::from_log2(15)));
        let late = now + Duration::from_secs(300);
        session.new_job(&job(2, TIME + 300, HARD), late, &mut sent);
        assert!(set(&mut sent) > target(Difficulty::from_log2(15)), "silence eases the target");
        let submission =
            Submission { sequence_number: 5, job_id: 1, nonce: 0, ntime: TIME, version: 0, extranonce: &[0; 10] };
        assert!(session.submit(2, &submission, late, &mut sent).is_err());
        assert!(matches!(sent.take().as_slice(), [ServerMessage::SubmitSharesError(error)]
            if error.error_code.to_string() == "invalid-job-id"));
    }

    #[test]
    fn client_that_requires_standard_jobs_and_selects_its_work_can_open_nothing() {
        let mut session = session(SessionKind::of_flags(0b011));
        let code = open_error(&mut session, request(ChannelWish::Standard));
        assert_eq!(code, "standard-channels-not-supported-for-custom-work");
        let code = open_error(&mut session, request(ChannelWish::Extended(4)));
        assert_eq!(code, "extended-channels-not-supported-for-standard-jobs");
    }

    #[test]
    fn flag_for_version_rolling_changes_no_kind() {
        for (flags, kind) in [(0b000, SessionKind::Any), (0b001, SessionKind::StandardJobs)] {
            assert_eq!([flags, flags | 0b100].map(SessionKind::of_flags), [kind; 2]);
        }
    }

    #[test]
    fn answer_to_an_open_comes_first_and_open_channels_get_the_job_that_a_new_one_starts_with() {
        let (mut session, mut sent, now) = (session(SessionKind::Any), Sent::default(), Instant::now());
        session.open(request(ChannelWish::Extended(4)), &job(1, TIME, HARD), now, &mut sent);
        sent.take();
        let newer = job(2, TIME, HARD);
        session.open(request(ChannelWish::Standard), &newer, now, &mut sent);
        assert!(matches!(sent.take().as_slice(), [
            ServerMessage::OpenStandardMiningChannelSuccess(_),
            ServerMessage::NewExtendedMiningJob(for_old),
            ServerMessage::SetNewPrevHash(_),
            ServerMessage::NewMiningJob(for_new),
            ServerMessage::SetNewPrevHash(_),
        ] if (for_old.channel_id, for_new.channel_id) == (2, 3)));

        // Also a refusal comes first, and what is known is not said again.
        let newest = job(3, TIME, HARD);
        session.open(request(ChannelWish::Extended(17)), &newest, now, &mut sent);
        assert!(matches!(
            sent.take().as_slice(),
            [
                ServerMessage::OpenMiningChannelError(_),
                ServerMessage::NewExtendedMiningJob(_),
                ServerMessage::SetNewPrevHash(_),
            ]
        ));
        session.open(request(ChannelWish::Extended(17)), &newest, now, &mut sent);
        assert!(matches!(sent.take().as_slice(), [ServerMessage::OpenMiningChannelError(_)]));
    }

    #[test]
    fn update_is_answered_with_a_target_and_a_job_for_it() {
        let (mut session, mut sent, now) = (session(SessionKind::Any), Sent::default(), Instant::now());
        session.open(request(ChannelWish::Extended(4)), &job(1, TIME, HARD), now, &mut sent);
        sent.take();
        let update = UpdateChannel { channel_id: 2, nominal_hash_rate: 8e12, maximum_target: ANY_TARGET };
        session.update(&update, now, &mut sent);
        assert!(matches!(sent.take().as_slice(), [
            ServerMessage::SetTarget(set),
            ServerMessage::NewExtendedMiningJob(job),
        ] if set.maximum_target == target(Difficulty::from_log2(15)) && job.min_ntime.is_some()));
        // Nothing changes: still answered, and no job for nothing.
        session.update(&update, now, &mut sent);
        assert!(matches!(sent.take().as_slice(), [ServerMessage::SetTarget(_)]));
    }

    #[test]
    fn job_given_again_begins_later_than_anything_hashed_before() {
        let (mut session, mut sent, now) = (session(SessionKind::StandardJobs), Sent::default(), Instant::now());
        session.open(request(ChannelWish::Standard), &job(1, TIME, HARD), now, &mut sent);
        let mut starts = Vec::new();
        // Twice within a second, and once when miners may have rolled the time further than that.
        for (waited_s, nominal_hash_rate) in [(0, 8e12), (0, 1e12), (20, 8e12)] {
            sent.take();
            let update = UpdateChannel { channel_id: 2, nominal_hash_rate, maximum_target: ANY_TARGET };
            session.update(&update, now + Duration::from_secs(waited_s), &mut sent);
            let sent = sent.take();
            let [ServerMessage::SetTarget(_), ServerMessage::NewMiningJob(again)] = sent.as_slice() else {
                panic!("{sent:?}")
            };
            starts.push(again.min_ntime.unwrap());
        }
        assert_eq!(starts[..2], [TIME + 1, TIME + 2]);
        assert!((TIME + 20..=TIME + 21).contains(&starts[2]), "{starts:?}");
    }

    #[test]
    fn update_never_assigns_a_target_above_the_clients() {
        let (mut session, mut sent, now) = (session(SessionKind::Any), Sent::default(), Instant::now());
        session.open(request(ChannelWish::Extended(4)), &job(1, TIME, HARD), now, &mut sent);
        sent.take();
        let maximum_target = target(Difficulty::from_log2(20));
        session.update(&UpdateChannel { channel_id: 2, nominal_hash_rate: 1.0, maximum_target }, now, &mut sent);
        assert!(matches!(&sent.take()[0], ServerMessage::SetTarget(set) if set.maximum_target == maximum_target));
        for (channel_id, maximum_target, code) in
            [(9, ANY_TARGET, "invalid-channel-id"), (2, U256([0; 32]), "max-target-out-of-range")]
        {
            session.update(&UpdateChannel { channel_id, nominal_hash_rate: 1.0, maximum_target }, now, &mut sent);
            assert!(matches!(sent.take().as_slice(), [ServerMessage::UpdateChannelError(error)]
                if error.error_code.to_string() == code && error.channel_id == channel_id));
        }
    }

    #[test]
    fn silence_eases_the_target_before_the_next_job() {
        let (mut session, mut sent, now) = (session(SessionKind::StandardJobs), Sent::default(), Instant::now());
        session.open(request(ChannelWish::Standard), &job(1, TIME, HARD), now, &mut sent);
        sent.take();
        session.new_job(&job(1, TIME + 300, HARD), now + Duration::from_secs(300), &mut sent);
        assert!(matches!(sent.take().as_slice(), [ServerMessage::SetTarget(set), ServerMessage::NewMiningJob(_)]
            if set.maximum_target > target(Difficulty::from_log2(12))));
    }

    #[test]
    fn silence_never_eases_beyond_what_the_client_takes() {
        let (mut session, mut sent, now) = (session(SessionKind::StandardJobs), Sent::default(), Instant::now());
        let max_target = target(Difficulty::from_log2(12));
        session.open(OpenRequest { max_target, ..request(ChannelWish::Standard) }, &job(1, TIME, HARD), now, &mut sent);
        sent.take();
        session.new_job(&job(1, TIME + 300, HARD), now + Duration::from_secs(300), &mut sent);
        assert!(matches!(sent.take().as_slice(), [ServerMessage::NewMiningJob(_)]));
    }

    #[test]
    fn closing_the_group_closes_all_and_a_share_for_none_is_refused() {
        let (mut session, mut sent, now) = (session(SessionKind::Any), Sent::default(), Instant::now());
        for _ in 0..2 {
            session.open(request(ChannelWish::Standard), &job(1, TIME, HARD), now, &mut sent);
        }
        let reason_code = Str0_255::new("test").unwrap();
        assert_eq!(session.close(&CloseChannel { channel_id: 1, reason_code }), [2, 3]);
        assert_eq!(session.space.live(), 0);
        sent.take();
        let submission =
            Submission { sequence_number: 5, job_id: 1, nonce: 0, ntime: TIME, version: 0x2000_0000, extranonce: &[] };
        assert!(session.submit(2, &submission, now, &mut sent).is_err());
        assert!(matches!(sent.take().as_slice(), [ServerMessage::SubmitSharesError(error)]
            if error.sequence_number == 5 && error.error_code.to_string() == "invalid-channel-id"));
    }

    #[test]
    fn no_share_is_harder_to_find_than_a_block() {
        let (mut session, mut sent) = (session(SessionKind::Any), Sent::default());
        let fast = OpenRequest { nominal_hash_rate: f32::MAX, ..request(ChannelWish::Standard) };
        let job = job(1, TIME, HARD);
        session.open(fast, &job, Instant::now(), &mut sent);
        let ServerMessage::OpenStandardMiningChannelSuccess(success) = &sent.take()[0] else { panic!("no success") };
        assert!(Target::from_le_bytes(success.target.0) >= job.template().target);
    }
}
