//! The channels of one connection with their owners: what its messages do, and where its shares go.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bitcoin::{Address, Network};
use payouts::{
    account::AccountId,
    scheme::rule::Scheme,
    share::{Difficulty, JobNumber, JobTerms, NewShare, Reward, ShareSeq},
    store::{Store, StoreError},
};
use protocol::{
    codec::Str0_255,
    connection::ServerConnection,
    messages::{
        Message,
        extensions::WorkerIdentity,
        mining::{ClientMessage, CloseChannel, SetCustomMiningJobError},
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tracing::{debug, info, warn};

use super::connection::End;
use crate::{
    accounting::{
        blocks::{FoundBlocks, Solution},
        identity::Identity,
        share_log::{ConnectionId, Durable, Entry, ShareLog, acknowledge, unix_time_ms},
    },
    mining::{
        extranonce::ExtranonceSpace,
        job::Job,
        session::{OpenRequest, Outbox, Session, SessionPolicy, refuse_open},
        share::{Submission, ValidShare},
    },
};

/// Pause before an account is looked up again in a database that was out of reach.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

impl Outbox for ServerConnection {
    fn send<M: Message>(&mut self, message: &M) {
        Self::send(self, message);
    }
}

/// What a connection hears from and passes on to.
#[derive(Clone)]
pub struct Upstream {
    /// The network whose addresses are accounts.
    pub network: Network,
    /// What the operator set for all sessions.
    pub policy: Arc<SessionPolicy>,
    /// Where extranonce prefixes come from.
    pub space: Arc<ExtranonceSpace>,
    /// The newest job.
    pub jobs: watch::Receiver<Arc<Job>>,
    /// Where shares go.
    pub share_log: ShareLog,
    /// Where shares go first that are blocks.
    pub found_blocks: FoundBlocks,
    /// How the pool pays.
    pub scheme: Scheme,
    /// Where accounts are looked up.
    pub store: Arc<dyn Store>,
    /// Turns true when the pool shuts down.
    pub draining: watch::Receiver<bool>,
}

/// Whom a channel's shares are credited to.
#[derive(Clone, Debug)]
struct Owner {
    address: Address,
    worker: String,
    /// From the first share on: an account takes room for ever, which nobody shall fill without work.
    earner: Option<Earner>,
}

/// An account, and by whom its shares are paid for, as it had asked when the channel's first share came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Earner {
    account: AccountId,
    reward: Reward,
}

/// A share that cannot go to the log yet. Until it can, no further message is dealt with; jobs and acknowledgements are.
enum Waiting {
    /// Its account is being looked up, which takes as long as the database is out of reach.
    Account { share: Box<ValidShare>, channel_id: u32, worker: String, at_ms: i64 },
    /// The log's queue was full.
    Room(Entry),
}

/// The channels of one connection.
pub(super) struct Channels {
    session: Session,
    owners: HashMap<u32, Owner>,
    connection: ConnectionId,
    receipts: mpsc::Sender<Vec<Durable>>,
    /// Shares that wait for the disk.
    unacknowledged: usize,
    waiting: Option<Waiting>,
    /// Looks up the account of the share that waits for it; ends with the connection.
    lookup: JoinSet<Result<Earner, StoreError>>,
    /// Since when no channel is open, if none is.
    empty_since: Option<Instant>,
}

impl Channels {
    /// Starts without channels. Receipts for their shares go to `receipts`.
    pub(super) fn new(
        session: Session,
        connection: ConnectionId,
        receipts: mpsc::Sender<Vec<Durable>>,
        now: Instant,
    ) -> Self {
        let (owners, empty_since) = (HashMap::new(), Some(now));
        let lookup = JoinSet::new();
        Self { session, owners, connection, receipts, unacknowledged: 0, waiting: None, lookup, empty_since }
    }

    /// Returns how many are open.
    pub(super) fn count(&self) -> usize {
        self.session.channel_count()
    }

    /// Returns since when none is open, if none is.
    pub(super) fn empty_since(&self) -> Option<Instant> {
        self.empty_since
    }

    /// Returns how many shares wait for the disk.
    pub(super) fn unacknowledged(&self) -> usize {
        self.unacknowledged
    }

    /// Tells whether a share waits for its account or for room in the log. Until it has it, no further message may come.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Tells whether a share waits for room in the log.
    pub(super) fn waits_for_room(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Room(_)))
    }

    /// Passes the share that waits to the log, where there is room now.
    pub(super) fn pass_on_waiting(&mut self, room: mpsc::OwnedPermit<Entry>) {
        if let Some(Waiting::Room(entry)) = self.waiting.take_if(|waiting| matches!(waiting, Waiting::Room(_))) {
            room.send(entry);
        }
    }

    /// Waits for the account of the share that waits for one; for ever if none does. To give up waiting loses nothing.
    pub(super) async fn earner(&mut self) -> Result<Earner, End> {
        match self.lookup.join_next().await {
            Some(Ok(earner)) => Ok(earner?),
            Some(Err(_)) => Err(End::Orphaned),
            None => std::future::pending().await,
        }
    }

    /// Passes the share that waited for its account to the log.
    pub(super) fn pass_on_owned(&mut self, earner: Earner, share_log: &ShareLog) -> Result<(), End> {
        let waiting = self.waiting.take_if(|waiting| matches!(waiting, Waiting::Account { .. }));
        let Some(Waiting::Account { share, channel_id, worker, at_ms }) = waiting else { return Ok(()) };
        if let Some(owner) = self.owners.get_mut(&channel_id) {
            owner.earner = Some(earner);
        }
        self.log(new_share(&share, earner, &worker, at_ms), channel_id, &share, share_log)
    }

    /// Does what a message asks for.
    pub(super) async fn react(
        &mut self,
        message: ClientMessage,
        upstream: &mut Upstream,
        out: &mut ServerConnection,
    ) -> Result<(), End> {
        match message {
            ClientMessage::OpenStandardMiningChannel(open) => {
                self.open(&open.user_identity, OpenRequest::from(&open), upstream, out).await?;
            }
            ClientMessage::OpenExtendedMiningChannel(open) => {
                self.open(&open.user_identity, OpenRequest::from(&open), upstream, out).await?;
            }
            ClientMessage::UpdateChannel(update) => self.session.update(&update, Instant::now(), out),
            ClientMessage::CloseChannel(close) => self.close(&close),
            ClientMessage::SubmitSharesStandard(submit) => {
                self.submit(submit.channel_id, &Submission::from(&submit), None, upstream, out).await?;
            }
            ClientMessage::SubmitSharesExtended(submit, worker) => {
                self.submit(submit.channel_id, &Submission::from(&submit), worker.as_ref(), upstream, out).await?;
            }
            ClientMessage::SetCustomMiningJob(custom) => {
                let error_code = Str0_255::from_static("jd-not-supported");
                let (channel_id, request_id) = (custom.channel_id, custom.request_id);
                out.send(&SetCustomMiningJobError { channel_id, request_id, error_code });
            }
        }
        Ok(())
    }

    /// Passes the newest job on to all channels.
    pub(super) fn pass_on_job(&mut self, upstream: &mut Upstream, out: &mut ServerConnection) {
        let job = Arc::clone(&upstream.jobs.borrow_and_update());
        self.session.new_job(&job, Instant::now(), out);
    }

    /// Says for each channel what has become durable.
    pub(super) fn acknowledge(&mut self, receipts: &[Durable], out: &mut ServerConnection) {
        self.unacknowledged -= receipts.len();
        for success in acknowledge(receipts) {
            out.send(&success);
        }
    }

    /// Opens a channel for whoever the identity names.
    async fn open(
        &mut self,
        user_identity: &Str0_255,
        request: OpenRequest,
        upstream: &mut Upstream,
        out: &mut ServerConnection,
    ) -> Result<(), End> {
        let identity = match Identity::parse(user_identity.as_bytes(), upstream.network) {
            Ok(identity) => identity,
            Err(error) => {
                info!(%error, code = error.code(), "channel refused");
                refuse_open(request.request_id, error.code(), out);
                return Ok(());
            }
        };
        let job = Arc::clone(&upstream.jobs.borrow_and_update());
        let Identity { address, worker } = identity;
        match self.session.open(request, &job, Instant::now(), out) {
            Ok(channel_id) => {
                info!(channel_id, %address, worker, "channel opened");
                self.empty_since = None;
                self.owners.insert(channel_id, Owner { address, worker, earner: None });
            }
            // Devices do not show it: whoever looks for the reason looks here.
            Err(code) => info!(%address, worker, code, "channel refused"),
        }
        Ok(())
    }

    fn close(&mut self, close: &CloseChannel) {
        for channel_id in self.session.close(close) {
            self.owners.remove(&channel_id);
            debug!(channel_id, reason = %close.reason_code, "channel closed");
        }
        if self.owners.is_empty() {
            self.empty_since.get_or_insert_with(Instant::now);
        }
    }

    /// Judges a share. One that is a block goes to the node first; then every right one goes to the log.
    async fn submit(
        &mut self,
        channel_id: u32,
        submission: &Submission<'_>,
        worker: Option<&WorkerIdentity>,
        upstream: &Upstream,
        out: &mut ServerConnection,
    ) -> Result<(), End> {
        let share = match self.session.submit(channel_id, submission, Instant::now(), out) {
            Ok(share) => share,
            Err(refusal) => {
                let (sequence_number, code) = (submission.sequence_number, refusal.code());
                debug!(channel_id, sequence_number, code, "share refused");
                return Ok(());
            }
        };
        let owner = self.owners.get(&channel_id).expect("every open channel has an owner");
        let at_ms = unix_time_ms();
        if share.is_block() {
            let scheme = owner.earner.map(|earner| match earner.reward {
                Reward::Shared => upstream.scheme,
                Reward::Solo => upstream.scheme.solo(),
            });
            let solution = Solution::new(&share, &owner.address, scheme, at_ms);
            upstream.found_blocks.hand_in(solution).await.map_err(|_| End::Orphaned)?;
        }
        // A name that a terminal would act on is as good as none.
        let worker = worker.map(WorkerIdentity::as_str).filter(|name| !name.contains(char::is_control));
        let worker = worker.unwrap_or(&owner.worker);
        if let Some(earner) = owner.earner {
            let stored = new_share(&share, earner, worker, at_ms);
            return self.log(stored, channel_id, &share, &upstream.share_log);
        }
        let worker = worker.to_owned();
        self.lookup.spawn(look_up(Arc::clone(&upstream.store), owner.address.clone()));
        self.waiting = Some(Waiting::Account { share: Box::new(share), channel_id, worker, at_ms });
        Ok(())
    }

    /// Puts a share in the log's queue, or lets it wait for room there.
    fn log(&mut self, stored: NewShare, channel_id: u32, share: &ValidShare, share_log: &ShareLog) -> Result<(), End> {
        let entry = Entry {
            share: stored,
            channel_id,
            sequence_number: share.sequence_number(),
            difficulty: share.difficulty(),
            connection: self.connection,
            receipts: self.receipts.clone(),
        };
        self.unacknowledged += 1;
        match share_log.queue().try_send(entry) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(entry)) => {
                self.waiting = Some(Waiting::Room(entry));
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(End::Orphaned),
        }
    }
}

/// Looks up the account of an address, again and again while the database is out of reach: a miner who comes then is
/// served all the same, and waits for his first acknowledgement.
async fn look_up(store: Arc<dyn Store>, address: Address) -> Result<Earner, StoreError> {
    let mut is_told = false;
    loop {
        match earner_at(&*store, &address).await {
            Err(error @ StoreError::Unavailable { .. }) => {
                if !is_told {
                    warn!(%address, %error, "account cannot be looked up yet, its shares wait");
                    is_told = true;
                }
                sleep(RETRY_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// An account that has asked for nothing mines for the pool.
async fn earner_at(store: &dyn Store, address: &Address) -> Result<Earner, StoreError> {
    let account = store.account(address).await?;
    let reward = store.settings(account).await?.map_or(Reward::Shared, |settings| settings.reward);
    Ok(Earner { account, reward })
}

fn new_share(share: &ValidShare, earner: Earner, worker: &str, at_ms: i64) -> NewShare {
    let Earner { account, reward } = earner;
    NewShare {
        account,
        worker: worker.to_owned(),
        job: terms(share.job()),
        difficulty: Difficulty::from_log2(share.difficulty().log2()).expect("both types have the same range"),
        reward,
        at_ms,
    }
}

fn terms(job: &Job) -> JobTerms {
    let template = job.template();
    JobTerms {
        job: JobNumber::new(job.number().0),
        position: ShareSeq::new(job.share_position().0),
        opened_at_ms: job.made_at_ms(),
        prev_hash: Some(template.prev_hash),
        height: Some(template.height),
        nbits: template.nbits,
        subsidy: Some(job.subsidy()),
        fees: Some(job.fees()),
    }
}
