//! The channels of one connection with their owners: what its messages do, and where its shares go.

use std::{sync::Arc, time::Instant};

use bitcoin::Address;
use payouts::{scheme::rule::Scheme, share::Reward};
use protocol::{
    codec::{DecodeError, Str0_255},
    connection::ServerConnection,
    messages::{
        Message,
        extensions::WorkerIdentity,
        mining::{ClientMessage, CloseChannel, SetCustomMiningJobError},
    },
};
use tokio::sync::mpsc;
use tracing::{debug, info};

use super::{
    earner::{Earner, look_up},
    end::End,
    metrics::{PortMetrics, RefusedShare, ShareTally},
    roster::{
        Seated,
        channel::{ChannelWishes, Meter},
    },
    unacknowledged::{AcceptedShare, Unacknowledged},
    upstream::Upstream,
};
use crate::{
    accounting::{
        blocks::Solution,
        receipts::{Durable, ReceiptSlot},
        registry::Admitted,
        share_log::{Entry, ShareLog, unix_time_ms},
    },
    mining::{
        by_channel::ByChannel,
        channel::ChannelKind,
        difficulty::Difficulty,
        session::{ChannelWish, OpenRequest, Outbox, Retarget, Session, refuse_open, refuse_share},
        share::Submission,
    },
};

/// What a right share is told that cannot be stored, because too many wait for the disk.
const NOT_STORED: &str = "share-not-stored";
/// What a right share is told whose worker cannot be read (extension 0x0002).
const INVALID_WORKER: &str = "invalid-user-identity";
/// What a client is told that wants to make its own jobs.
const NO_CUSTOM_JOBS: &str = "jd-not-supported";

impl Outbox for ServerConnection {
    fn send_encoded<M: Message>(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        Self::send_encoded::<M>(self, encode);
    }
}

/// Whom a channel's shares are credited to.
#[derive(Debug)]
struct Owner {
    address: Address,
    worker: Arc<str>,
    /// From the first share on: an account takes room for ever, which nobody shall fill without work.
    earner: Option<Earner>,
    /// What counts the channel's shares for whoever watches.
    meter: Meter,
}

/// The channels of one connection.
pub(super) struct Channels {
    session: Session,
    seated: Arc<Seated>,
    owners: ByChannel<Owner>,
    unacknowledged: Unacknowledged,
    /// Since when no channel is open, if none is.
    empty_since: Option<Instant>,
    /// Which work was passed on last.
    passed_on: Option<u64>,
    /// What was judged since it was last asked for.
    tally: ShareTally,
    /// How many of the channels are extended ones.
    extended: usize,
    /// The first job on a new tip, until it is written: the height of its block, and when it was made.
    unwritten_tip: Option<(u32, Instant)>,
}

impl Channels {
    /// Starts without channels, whose shares are to go to `share_log`, and receipts for them to `receipts`.
    pub(super) fn new(
        session: Session,
        seated: Arc<Seated>,
        share_log: &ShareLog,
        receipts: ReceiptSlot,
        now: Instant,
    ) -> Self {
        let unacknowledged = Unacknowledged::new(receipts, share_log.waiting().clone());
        let (passed_on, tally) = (None, ShareTally::default());
        let (empty_since, extended, unwritten_tip) = (Some(now), 0, None);
        let owners = ByChannel::new();
        Self { session, seated, owners, unacknowledged, empty_since, passed_on, tally, extended, unwritten_tip }
    }

    /// Returns how many are open.
    pub(super) fn count(&self) -> usize {
        self.session.channel_count()
    }

    /// Returns how many standard and how many extended ones are open.
    pub(super) fn counts(&self) -> [usize; 2] {
        [self.count() - self.extended, self.extended]
    }

    /// Returns how many shares were judged since they were last asked for.
    pub(super) fn judged(&self) -> u32 {
        self.tally.judged()
    }

    /// Notes that all is written that there was to say.
    pub(super) fn note_written(&mut self, metrics: &PortMetrics) {
        if let Some((height, made_at)) = self.unwritten_tip.take() {
            metrics.reach(height, made_at, Instant::now());
        }
    }

    /// Returns since when none is open, if none is.
    pub(super) fn empty_since(&self) -> Option<Instant> {
        self.empty_since
    }

    /// Returns what was judged since this was last asked for.
    pub(super) fn take_tally(&mut self) -> ShareTally {
        std::mem::take(&mut self.tally)
    }

    /// Returns how many shares were found right and are not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.unacknowledged.count()
    }

    /// Returns until when nothing more is to be read, so that the log can catch up, if it needs to.
    pub(super) fn catches_up_until(&self) -> Option<Instant> {
        self.unacknowledged.catches_up_until()
    }

    /// Tells whether a share waits for room in the log.
    pub(super) fn waits_for_room(&self) -> bool {
        self.unacknowledged.waits_for_room()
    }

    /// Passes the shares that wait on to the log, where there is room now.
    pub(super) fn fill(&mut self, place: mpsc::OwnedPermit<Entry>, share_log: &ShareLog) {
        self.unacknowledged.fill(place, share_log);
    }

    /// Hands the shares of this turn over to the log.
    pub(super) fn hand_over(&mut self, share_log: &ShareLog) -> Result<(), End> {
        self.unacknowledged.hand_over(share_log)
    }

    /// Waits until a channel's account is known; for ever if none is being looked up. To give up waiting loses nothing.
    pub(super) async fn earner(&mut self) -> Result<(u32, Earner), End> {
        self.unacknowledged.earner().await
    }

    /// Passes the shares that waited for a channel's account on to the log.
    pub(super) fn pass_on_owned(&mut self, channel_id: u32, earner: Earner, share_log: &ShareLog) -> Result<(), End> {
        // The channel may have been closed meanwhile; its shares count all the same.
        if let Some(owner) = self.owners.get_mut(&channel_id) {
            owner.earner = Some(earner);
            owner.meter.note_account(earner.account);
        }
        self.unacknowledged.pass_on_owned(channel_id, earner, share_log)
    }

    /// Does what a message asks for.
    pub(super) async fn react(
        &mut self,
        message: ClientMessage,
        now: Instant,
        upstream: &Upstream,
        out: &mut impl Outbox,
    ) -> Result<(), End> {
        match message {
            ClientMessage::OpenStandardMiningChannel(open) => {
                self.open(&open.user_identity, OpenRequest::from(&open), upstream, out).await?;
            }
            ClientMessage::OpenExtendedMiningChannel(open) => {
                self.open(&open.user_identity, OpenRequest::from(&open), upstream, out).await?;
            }
            ClientMessage::UpdateChannel(update) => {
                if let Some(code) = self.session.update(&update, now, out) {
                    self.seated.seat().note_error(code, now);
                }
                if let Some(owner) = self.owners.get(&update.channel_id) {
                    owner.meter.note_claim(update.nominal_hash_rate);
                }
            }
            ClientMessage::CloseChannel(close) => self.close(&close),
            ClientMessage::SubmitSharesStandard(submit) => {
                self.submit(submit.channel_id, &Submission::from(&submit), Ok(None), now, upstream, out).await?;
            }
            ClientMessage::SubmitSharesExtended(submit, worker) => {
                self.submit(submit.channel_id, &Submission::from(&submit), worker, now, upstream, out).await?;
            }
            ClientMessage::SetCustomMiningJob(custom) => {
                self.seated.seat().note_error(NO_CUSTOM_JOBS, now);
                let error_code = Str0_255::from_static(NO_CUSTOM_JOBS);
                let (channel_id, request_id) = (custom.channel_id, custom.request_id);
                out.send(&SetCustomMiningJobError { channel_id, request_id, error_code });
            }
        }
        self.note_retargets(now);
        Ok(())
    }

    /// Gives a channel, or all, the difficulty that an operator wants.
    pub(super) fn set_difficulty(
        &mut self,
        channel_id: Option<u32>,
        difficulty: Difficulty,
        now: Instant,
        out: &mut impl Outbox,
    ) {
        self.session.set_difficulty(channel_id, difficulty, now, out);
        self.note_retargets(now);
    }

    /// Has the channels shown with the difficulties that they were given since.
    fn note_retargets(&mut self, now: Instant) {
        for Retarget { channel_id, difficulty, cause } in self.session.take_retargets() {
            if let Some(owner) = self.owners.get(&channel_id) {
                owner.meter.note_difficulty(difficulty, cause, now);
            }
        }
    }

    /// Passes the newest job on to all channels. Those that were made meanwhile are skipped.
    pub(super) fn pass_on_job(&mut self, upstream: &Upstream, out: &mut impl Outbox) {
        let work = upstream.jobs.borrow().clone();
        let skipped = self.passed_on.map_or(0, |before| work.sequence.saturating_sub(before + 1));
        upstream.metrics.jobs_skipped.inc_by(skipped);
        self.passed_on = Some(work.sequence);
        if self.session.channel_count() > 0 && !self.session.has_job(&work.job) {
            upstream.metrics.jobs_sent.inc();
            if self.session.is_new_tip(&work.job) {
                self.unwritten_tip = Some((work.job.template().height, work.job.made_at()));
            }
        }
        let now = Instant::now();
        // A channel that was opened since has brought it already.
        self.session.take_up(&work, now, out);
        self.note_retargets(now);
    }

    /// Says for each channel what has become durable.
    pub(super) fn acknowledge(&mut self, receipts: &[Durable], out: &mut impl Outbox) {
        for success in self.unacknowledged.acknowledge(receipts) {
            out.send(&success);
        }
    }

    /// Opens a channel for whoever the identity names.
    async fn open(
        &mut self,
        user_identity: &Str0_255,
        request: OpenRequest,
        upstream: &Upstream,
        out: &mut impl Outbox,
    ) -> Result<(), End> {
        let Admitted { identity, address } = match upstream.registry.admit(user_identity.as_bytes()) {
            Ok(admitted) => admitted,
            Err(error) => {
                info!(%error, code = error.code(), "channel refused");
                upstream.metrics.channels_refused.inc();
                let user = String::from_utf8_lossy(user_identity.as_bytes());
                self.seated.refuse_open(&user, error.code(), Instant::now());
                refuse_open(request.request_id, error.code(), out);
                return Ok(());
            }
        };
        let request = OpenRequest { least_difficulty: identity.least_difficulty, ..request };
        let kind = match request.wish {
            ChannelWish::Standard => ChannelKind::Standard,
            ChannelWish::Extended(_) => ChannelKind::Extended,
        };
        let work = upstream.jobs.borrow().clone();
        self.passed_on = Some(work.sequence);
        let (now, job) = (Instant::now(), &work.job);
        let opened = self.session.open(request, job, now, out);
        self.session.take_up(&work, now, out);
        match opened {
            Ok(channel_id) => {
                info!(channel_id, %identity, %address, "channel opened");
                self.empty_since = None;
                upstream.metrics.jobs_sent.inc();
                self.extended += usize::from(kind == ChannelKind::Extended);
                let worker: Arc<str> = identity.worker.into();
                let wishes = ChannelWishes {
                    connection: self.seated.seat().id(),
                    id: channel_id,
                    kind,
                    address: address.clone(),
                    worker: Arc::clone(&worker),
                    nominal_hash_rate: request.nominal_hash_rate,
                };
                let difficulty = self.session.difficulty(channel_id).unwrap_or(Difficulty::MIN);
                let meter = self.seated.open(wishes, difficulty, now);
                self.owners.insert(channel_id, Owner { address, worker, earner: None, meter });
            }
            // Devices do not show it: whoever looks for the reason looks here.
            Err(code) => {
                info!(%identity, %address, code, "channel refused");
                upstream.metrics.channels_refused.inc();
                self.seated.refuse_open(&identity.to_string(), code, now);
            }
        }
        Ok(())
    }

    fn close(&mut self, close: &CloseChannel) {
        for channel_id in self.session.close(close) {
            if let Some(owner) = self.owners.remove(&channel_id) {
                self.extended -= usize::from(owner.meter.channel().kind() == ChannelKind::Extended);
                self.seated.close(&owner.meter);
            }
            debug!(channel_id, reason = %close.reason_code, "channel closed");
        }
        if self.owners.is_empty() {
            self.empty_since.get_or_insert_with(Instant::now);
        }
    }

    /// Judges a share. One that is a block goes to the node, whatever becomes of it as a share; then every right one is
    /// gathered for the log, or refused if too many are on their way already.
    async fn submit(
        &mut self,
        channel_id: u32,
        submission: &Submission<'_>,
        worker: Result<Option<WorkerIdentity>, DecodeError>,
        now: Instant,
        upstream: &Upstream,
        out: &mut impl Outbox,
    ) -> Result<(), End> {
        let sequence_number = submission.sequence_number;
        let share = match self.session.submit(channel_id, submission, now, out) {
            Ok(share) => share,
            Err(refusal) => {
                debug!(channel_id, sequence_number, code = refusal.code(), "share refused");
                self.refuse(channel_id, refusal.into(), now);
                return Ok(());
            }
        };
        let owner = self.owners.get_mut(&channel_id).expect("every open channel has an owner");
        let at_ms = unix_time_ms();
        if share.is_block() {
            let solution = Solution::new(&share, &owner.address, owner.scheme(upstream.scheme), at_ms);
            // In a box, or each connection would keep room for a block that is on its way.
            Box::pin(upstream.found_blocks.hand_in(solution)).await.map_err(|_| End::Orphaned)?;
        }
        let worker = match worker {
            Ok(worker) if self.unacknowledged.has_room() => worker,
            refused => {
                // That is its end: the channel has seen it, and does not take it again.
                let (code, why) = match refused {
                    Err(_) => (INVALID_WORKER, RefusedShare::InvalidWorker),
                    Ok(_) => (NOT_STORED, RefusedShare::NotStored),
                };
                self.refuse(channel_id, why, now);
                debug!(channel_id, sequence_number, code, "share refused");
                refuse_share(channel_id, sequence_number, code, out);
                return Ok(());
            }
        };
        self.tally.accept(share.difficulty());
        if owner.meter.accept(share.difficulty(), share.hash(), now) {
            self.seated.tell_first();
        }
        // A name that a terminal would act on is as good as none.
        let named = worker.as_ref().map(WorkerIdentity::as_str);
        let named = named.filter(|name| !name.is_empty() && !name.contains(char::is_control));
        let named = named.map(Arc::from);
        let accepted = AcceptedShare::new(&share, channel_id, named.as_ref().unwrap_or(&owner.worker), at_ms);
        match owner.earner {
            Some(earner) => self.unacknowledged.credit(accepted, earner),
            None => {
                let (store, address) = (&upstream.store, &owner.address);
                self.unacknowledged.credit_when_known(accepted, || look_up(Arc::clone(store), address.clone()));
            }
        }
        Ok(())
    }

    /// Counts a share that is refused.
    fn refuse(&mut self, channel_id: u32, why: RefusedShare, now: Instant) {
        self.tally.refuse(why);
        match self.owners.get_mut(&channel_id) {
            Some(owner) => {
                if owner.meter.refuse(why, now) {
                    self.seated.tell_first();
                }
            }
            None => self.seated.seat().note_error(why.name(), now),
        }
    }
}

impl Owner {
    /// Returns how a block of this owner's is split, if it is known yet whom he mines for.
    fn scheme(&self, shared: Scheme) -> Option<Scheme> {
        self.earner.map(|earner| match earner.reward {
            Reward::Shared => shared,
            Reward::Solo => shared.solo(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use bitcoin::Network;
    use payouts::{
        account::AccountId,
        scheme::{PoolFee, rule::SchemeName},
        store::sqlite::SqliteStore,
    };
    use protocol::{
        codec::{B0_32, U256},
        messages::mining::{
            OpenExtendedMiningChannel, OpenStandardMiningChannel, ServerMessage, SubmitSharesExtended,
            SubmitSharesStandard, UpdateChannel,
        },
    };
    use tempfile::TempDir;
    use tokio::sync::watch;

    use super::*;
    use crate::{
        accounting::{
            blocks::{FoundBlocks, Spool},
            receipts::mailbox,
            registry::{Registration, Registry},
            share_log::MAX_UNACKNOWLEDGED,
        },
        metrics::Metrics,
        mining::{
            ahead::Work,
            extranonce::ExtranonceSpace,
            job::tests::job,
            session::{SessionKind, SessionPolicy, tests::Sent},
        },
        stratum::{limits::ConnectionLimits, turns::Turns, upstream::Terms},
    };

    const TIME: u32 = 1_700_000_000;
    /// Regtest: every second hash is a block.
    const EASY: u32 = 0x207f_ffff;
    /// About the network of 2026: nothing here is a block.
    const HARD: u32 = 0x1702_1369;
    const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    /// The first channel of a connection.
    const CHANNEL: u32 = 2;

    /// A connection in an outage: no account becomes known unless the test says so, and nothing leaves the log's queue.
    pub(in crate::stratum) struct Outage {
        channels: Channels,
        pub(in crate::stratum) upstream: Arc<Upstream>,
        pub(in crate::stratum) draining: watch::Sender<bool>,
        jobs: watch::Sender<Work>,
        solutions: mpsc::Receiver<Arc<Solution>>,
        sent: Sent,
        nonce: u32,
        _entries: mpsc::Receiver<Entry>,
        _folder: TempDir,
    }

    impl Outage {
        pub(in crate::stratum) async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
            let registry = Registry::load(&store, Network::Regtest, Registration::Open).await.unwrap();
            let (found_blocks, solutions) = FoundBlocks::open(Spool::open(folder.path().join("blocks")).unwrap());
            let (queue, entries) = mpsc::channel(16);
            let (sender, jobs) = watch::channel(Work { job: job(1, TIME, HARD), ahead: None, sequence: 1 });
            let policy = SessionPolicy {
                // So many that each hash is a share, however fast they come.
                shares_per_minute: 1e9,
                initial_difficulty: Difficulty::MIN,
                min_difficulty: Difficulty::MIN,
                max_channels: 1,
                max_shares_per_job: usize::MAX,
                harder_than_network: true,
            };
            let (policy, space) = (Arc::new(policy), Arc::new(ExtranonceSpace::new(1, 1, 10)));
            let session = Session::new(Arc::clone(&policy), Arc::clone(&space), SessionKind::Any);
            let (draining, drained) = watch::channel(false);
            let upstream = Arc::new(Upstream {
                registry: Arc::new(registry),
                terms: watch::channel(Arc::new(Terms { policy, limits: ConnectionLimits::default() })).1,
                space,
                jobs,
                share_log: ShareLog::stuck(queue),
                found_blocks,
                scheme: Scheme::new(SchemeName::Pplns, 8.try_into().unwrap(), PoolFee::NONE),
                store: Arc::new(store),
                draining: drained,
                turns: Arc::new(Turns::new(1)),
                metrics: Arc::new(PortMetrics::register(&mut Metrics::new())),
                roster: Arc::default(),
            });
            let seated = Arc::new(upstream.roster.begin(([192, 0, 2, 1], 7).into(), Instant::now()));
            let channels = Channels::new(session, seated, &upstream.share_log, mailbox().0, Instant::now());
            let (sent, nonce) = (Sent::default(), 0);
            Self {
                channels,
                upstream,
                draining,
                jobs: sender,
                solutions,
                sent,
                nonce,
                _entries: entries,
                _folder: folder,
            }
        }

        async fn react(&mut self, message: ClientMessage) -> Vec<ServerMessage> {
            self.channels.react(message, Instant::now(), &self.upstream, &mut self.sent).await.unwrap();
            self.sent.take()
        }

        async fn open_standard(&mut self) {
            let (user_identity, max_target) = (Str0_255::new(ADDRESS).unwrap(), U256::MAX);
            let open = OpenStandardMiningChannel { request_id: 1, user_identity, nominal_hash_rate: 0.0, max_target };
            self.react(ClientMessage::OpenStandardMiningChannel(open)).await;
        }

        /// Turns to a network where every second hash is a block.
        fn turn_easy(&mut self) {
            self.jobs.send_replace(Work { job: job(2, TIME, EASY), ahead: None, sequence: 1 });
            self.channels.pass_on_job(&self.upstream, &mut self.sent);
            self.sent.take();
        }

        /// Hands in a share that nobody has handed in before, and returns what it is answered.
        async fn submit(&mut self, job_id: u32) -> Option<String> {
            loop {
                self.nonce += 1;
                let (channel_id, sequence_number, nonce, version) = (CHANNEL, self.nonce, self.nonce, 0x2000_0000);
                let share = SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime: TIME, version };
                let answer = code(&self.react(ClientMessage::SubmitSharesStandard(share)).await);
                // One hash in 65,536 is above every target.
                if answer.as_deref() != Some("difficulty-too-low") {
                    return answer;
                }
            }
        }

        /// Hands in shares until one is a block. Each must get the same answer.
        async fn find_block(&mut self, job_id: u32, expected: Option<&str>) -> Arc<Solution> {
            loop {
                assert_eq!(self.submit(job_id).await.as_deref(), expected);
                if let Ok(solution) = self.solutions.try_recv() {
                    return solution;
                }
            }
        }
    }

    fn code(answer: &[ServerMessage]) -> Option<String> {
        match answer {
            [] => None,
            [ServerMessage::SubmitSharesError(error)] => Some(error.error_code.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn block_goes_to_the_node_behind_as_many_shares_as_can_wait() {
        for earner in [None, Some(Earner { account: AccountId::new(1), reward: Reward::Solo })] {
            let mut outage = Outage::new().await;
            outage.open_standard().await;
            if let Some(earner) = earner {
                outage.channels.pass_on_owned(CHANNEL, earner, &outage.upstream.share_log).unwrap();
            }
            for _ in 0..MAX_UNACKNOWLEDGED {
                assert_eq!(outage.submit(1).await, None);
            }
            assert_eq!(outage.submit(1).await.as_deref(), Some("share-not-stored"));
            outage.turn_easy();
            let Solution { facts, .. } = &*outage.find_block(2, Some("share-not-stored")).await;
            assert_eq!(facts.finder.assume_checked_ref().to_string(), ADDRESS);
            // Whom he mines for decides how it is split; what is not known yet is looked up when it is booked.
            assert_eq!(facts.scheme, earner.map(|_| outage.upstream.scheme.solo()));
            assert_eq!(outage.channels.unacknowledged(), MAX_UNACKNOWLEDGED);
        }
    }

    #[tokio::test]
    async fn second_share_of_a_miner_whose_account_is_not_known_yet_can_be_a_block() {
        let mut outage = Outage::new().await;
        outage.open_standard().await;
        outage.turn_easy();
        for _ in 0..2 {
            outage.find_block(2, None).await;
        }
        assert!(outage.channels.unacknowledged() >= 2, "they wait");
    }

    #[tokio::test]
    async fn job_that_an_open_has_brought_is_not_given_again() {
        let mut outage = Outage::new().await;
        outage.jobs.send_replace(Work { job: job(2, TIME, HARD), ahead: None, sequence: 1 });
        outage.open_standard().await;
        // The connection hears of the job only now.
        outage.channels.pass_on_job(&outage.upstream, &mut outage.sent);
        assert_eq!(outage.sent.take(), []);
        outage.jobs.send_replace(Work { job: job(2, TIME + 30, HARD), ahead: None, sequence: 1 });
        outage.channels.pass_on_job(&outage.upstream, &mut outage.sent);
        assert!(matches!(
            outage.sent.take().as_slice(),
            [ServerMessage::NewExtendedMiningJob(_) | ServerMessage::NewMiningJob(_)]
        ));
    }

    #[tokio::test]
    async fn every_error_is_the_last_one_of_its_connection() {
        let mut outage = Outage::new().await;
        outage.open_standard().await;
        let seat = Arc::clone(outage.channels.seated.seat());
        assert_eq!(seat.last_error(), None);
        let update = |channel_id, maximum_target| {
            ClientMessage::UpdateChannel(UpdateChannel { channel_id, nominal_hash_rate: 1e12, maximum_target })
        };
        let submit = SubmitSharesStandard {
            channel_id: 77,
            sequence_number: 1,
            job_id: 1,
            nonce: 1,
            ntime: TIME,
            version: 0x2000_0000,
        };
        for (message, code) in [
            (update(CHANNEL, U256([0; 32])), "max-target-out-of-range"),
            (update(77, U256::MAX), "invalid-channel-id"),
            (ClientMessage::SubmitSharesStandard(submit), "invalid-channel-id"),
        ] {
            outage.channels.seated.seat().note_error("another", Instant::now());
            outage.react(message).await;
            assert_eq!(seat.last_error().unwrap().code, code);
        }
        outage.react(update(CHANNEL, U256::MAX)).await;
        assert_eq!(seat.last_error().unwrap().code, "invalid-channel-id", "what is not refused is no error");
    }

    #[tokio::test]
    async fn share_that_was_refused_is_not_taken_again() {
        let mut outage = Outage::new().await;
        outage.open_standard().await;
        for _ in 0..=MAX_UNACKNOWLEDGED {
            outage.submit(1).await;
        }
        outage.nonce -= 1;
        assert_eq!(outage.submit(1).await.as_deref(), Some("duplicate-share"));
    }

    #[tokio::test]
    async fn block_of_a_worker_who_cannot_be_read_goes_to_the_node_all_the_same() {
        let mut outage = Outage::new().await;
        let open = OpenExtendedMiningChannel {
            request_id: 1,
            user_identity: Str0_255::new(ADDRESS).unwrap(),
            nominal_hash_rate: 0.0,
            max_target: U256::MAX,
            min_extranonce_size: 4,
        };
        outage.react(ClientMessage::OpenExtendedMiningChannel(open)).await;
        outage.turn_easy();
        for nonce in 0.. {
            let share = SubmitSharesExtended {
                channel_id: CHANNEL,
                sequence_number: nonce,
                job_id: 2,
                nonce,
                ntime: TIME,
                version: 0x2000_0000,
                extranonce: B0_32::new(&[0; 4]).unwrap(),
            };
            let unreadable = Err(DecodeError::NotUtf8 { field_type: "TLV user_identity" });
            let answer = code(&outage.react(ClientMessage::SubmitSharesExtended(share, unreadable)).await);
            assert!(matches!(answer.as_deref(), Some("invalid-user-identity" | "difficulty-too-low")), "{answer:?}");
            if outage.solutions.try_recv().is_ok() {
                break;
            }
        }
        assert_eq!(outage.channels.unacknowledged(), 0);
    }
}
