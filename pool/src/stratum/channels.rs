//! The channels of one connection with their owners: what its messages do, and where its shares go.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bitcoin::{Address, Network};
use payouts::{
    account::AccountId,
    share::{Difficulty, NewShare},
    store::Store,
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
use tokio::sync::{mpsc, watch};
use tracing::{debug, info};

use super::connection::End;
use crate::{
    accounting::{
        blocks::{FoundBlocks, Solution},
        identity::Identity,
        share_log::{ConnectionId, Durable, Entry, ShareLog, acknowledge},
    },
    mining::{
        extranonce::ExtranonceSpace,
        job::Job,
        session::{OpenRequest, Outbox, Session, SessionPolicy, refuse_open},
        share::{Submission, ValidShare},
    },
};

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
    account: Option<AccountId>,
}

/// The channels of one connection.
pub(super) struct Channels {
    session: Session,
    owners: HashMap<u32, Owner>,
    connection: ConnectionId,
    receipts: mpsc::Sender<Vec<Durable>>,
    /// Shares that wait for the disk.
    unacknowledged: usize,
    /// A share that found the log's queue full.
    waiting: Option<Entry>,
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
        Self { session, owners, connection, receipts, unacknowledged: 0, waiting: None, empty_since }
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

    /// Tells whether a share waits for room in the log. Until it has it, no further message may come.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Passes the share that waits to the log, where there is room now.
    pub(super) fn pass_on_waiting(&mut self, room: mpsc::OwnedPermit<Entry>) {
        if let Some(entry) = self.waiting.take() {
            room.send(entry);
        }
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
                self.open(&open.user_identity, OpenRequest::from(&open), upstream, out);
            }
            ClientMessage::OpenExtendedMiningChannel(open) => {
                self.open(&open.user_identity, OpenRequest::from(&open), upstream, out);
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
    fn open(
        &mut self,
        user_identity: &Str0_255,
        request: OpenRequest,
        upstream: &mut Upstream,
        out: &mut ServerConnection,
    ) {
        let identity = match Identity::parse(user_identity.as_bytes(), upstream.network) {
            Ok(identity) => identity,
            Err(error) => {
                info!(%error, "channel refused");
                return refuse_open(request.request_id, error.code(), out);
            }
        };
        let job = Arc::clone(&upstream.jobs.borrow_and_update());
        if let Some(channel_id) = self.session.open(request, &job, Instant::now(), out) {
            let Identity { address, worker } = identity;
            info!(channel_id, %address, worker, "channel opened");
            self.empty_since = None;
            self.owners.insert(channel_id, Owner { address, worker, account: None });
        }
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
        let owner = self.owners.get_mut(&channel_id).expect("every open channel has an owner");
        let at_ms = unix_time_ms();
        if share.is_block() {
            let solution = Solution::new(&share, &owner.address, at_ms);
            upstream.found_blocks.hand_in(solution).await.map_err(|_| End::Orphaned)?;
        }
        let account = match owner.account {
            Some(account) => account,
            None => *owner.account.insert(upstream.store.account(&owner.address).await?),
        };
        // A name that a terminal would act on is as good as none.
        let worker = worker.map(WorkerIdentity::as_str).filter(|name| !name.contains(char::is_control));
        let entry = Entry {
            share: new_share(&share, account, worker.unwrap_or(&owner.worker), at_ms),
            channel_id,
            sequence_number: share.sequence_number(),
            difficulty: share.difficulty(),
            connection: self.connection,
            receipts: self.receipts.clone(),
        };
        self.unacknowledged += 1;
        match upstream.share_log.queue().try_send(entry) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(entry)) => {
                self.waiting = Some(entry);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(End::Orphaned),
        }
    }
}

fn new_share(share: &ValidShare, account: AccountId, worker: &str, at_ms: i64) -> NewShare {
    NewShare {
        account,
        worker: worker.to_owned(),
        channel: share.channel_tag(),
        job: share.job_id(),
        sequence_number: share.sequence_number(),
        difficulty: Difficulty::from_log2(share.difficulty().log2()).expect("both types have the same range"),
        nbits: share.job().template().nbits,
        header_hash: share.hash(),
        at_ms,
    }
}

fn unix_time_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
