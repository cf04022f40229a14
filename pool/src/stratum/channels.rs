//! The channels of one connection with their owners: what its messages do, and where its shares go.

use std::{collections::HashMap, sync::Arc, time::Instant};

use bitcoin::{Address, Network};
use payouts::{scheme::rule::Scheme, share::Reward, store::Store};
use protocol::{
    codec::{DecodeError, Str0_255},
    connection::ServerConnection,
    messages::{
        Message,
        extensions::WorkerIdentity,
        mining::{ClientMessage, CloseChannel, SetCustomMiningJobError},
    },
};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info};

use super::{
    connection::End,
    earner::{Earner, look_up},
    unacknowledged::{AcceptedShare, Unacknowledged},
};
use crate::{
    accounting::{
        blocks::{FoundBlocks, Solution},
        identity::Identity,
        share_log::{ConnectionId, Durable, Entry, ShareLog, unix_time_ms},
    },
    mining::{
        extranonce::ExtranonceSpace,
        job::Job,
        session::{OpenRequest, Outbox, Session, SessionPolicy, refuse_open, refuse_share},
        share::Submission,
    },
};

/// What a right share is told that cannot be stored, because too many wait for the disk.
const NOT_STORED: &str = "share-not-stored";
/// What a right share is told whose worker cannot be read (extension 0x0002).
const INVALID_WORKER: &str = "invalid-user-identity";

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

/// The channels of one connection.
pub(super) struct Channels {
    session: Session,
    owners: HashMap<u32, Owner>,
    unacknowledged: Unacknowledged,
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
        let unacknowledged = Unacknowledged::new(connection, receipts);
        Self { session, owners: HashMap::new(), unacknowledged, empty_since: Some(now) }
    }

    /// Returns how many are open.
    pub(super) fn count(&self) -> usize {
        self.session.channel_count()
    }

    /// Returns since when none is open, if none is.
    pub(super) fn empty_since(&self) -> Option<Instant> {
        self.empty_since
    }

    /// Returns how many shares were found right and are not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.unacknowledged.count()
    }

    /// Tells whether a share waits for room in the log.
    pub(super) fn waits_for_room(&self) -> bool {
        self.unacknowledged.waits_for_room()
    }

    /// Passes the shares that wait on to the log, where there is room now.
    pub(super) fn fill(&mut self, place: mpsc::OwnedPermit<Entry>) {
        self.unacknowledged.fill(place);
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
        }
        self.unacknowledged.pass_on_owned(channel_id, earner, share_log.queue())
    }

    /// Does what a message asks for.
    pub(super) async fn react(
        &mut self,
        message: ClientMessage,
        upstream: &mut Upstream,
        out: &mut impl Outbox,
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
                self.submit(submit.channel_id, &Submission::from(&submit), Ok(None), upstream, out).await?;
            }
            ClientMessage::SubmitSharesExtended(submit, worker) => {
                self.submit(submit.channel_id, &Submission::from(&submit), worker, upstream, out).await?;
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
    pub(super) fn pass_on_job(&mut self, upstream: &mut Upstream, out: &mut impl Outbox) {
        let job = Arc::clone(&upstream.jobs.borrow_and_update());
        self.session.new_job(&job, Instant::now(), out);
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
        upstream: &mut Upstream,
        out: &mut impl Outbox,
    ) -> Result<(), End> {
        let identity = match Identity::parse(user_identity.as_bytes(), upstream.network) {
            Ok(identity) => identity,
            Err(error) => {
                info!(%error, "channel refused");
                refuse_open(request.request_id, error.code(), out);
                return Ok(());
            }
        };
        let job = Arc::clone(&upstream.jobs.borrow_and_update());
        if let Some(channel_id) = self.session.open(request, &job, Instant::now(), out) {
            let Identity { address, worker } = identity;
            info!(channel_id, %address, worker, "channel opened");
            self.empty_since = None;
            self.owners.insert(channel_id, Owner { address, worker, earner: None });
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

    /// Judges a share. One that is a block goes to the node, whatever becomes of it as a share; then every right one is
    /// on its way to the log, or refused if too many are already.
    async fn submit(
        &mut self,
        channel_id: u32,
        submission: &Submission<'_>,
        worker: Result<Option<WorkerIdentity>, DecodeError>,
        upstream: &Upstream,
        out: &mut impl Outbox,
    ) -> Result<(), End> {
        let sequence_number = submission.sequence_number;
        let share = match self.session.submit(channel_id, submission, Instant::now(), out) {
            Ok(share) => share,
            Err(refusal) => {
                debug!(channel_id, sequence_number, code = refusal.code(), "share refused");
                return Ok(());
            }
        };
        let owner = self.owners.get(&channel_id).expect("every open channel has an owner");
        let at_ms = unix_time_ms();
        if share.is_block() {
            let solution = Solution::new(&share, &owner.address, owner.scheme(upstream.scheme), at_ms);
            upstream.found_blocks.hand_in(solution).await.map_err(|_| End::Orphaned)?;
        }
        let worker = match worker {
            Ok(worker) if self.unacknowledged.has_room() => worker,
            Ok(_) => return Ok(refuse(channel_id, sequence_number, NOT_STORED, out)),
            Err(error) => {
                debug!(channel_id, sequence_number, %error, "worker not understood");
                return Ok(refuse(channel_id, sequence_number, INVALID_WORKER, out));
            }
        };
        // A name that a terminal would act on is as good as none.
        let named = worker.as_ref().map(WorkerIdentity::as_str);
        let named = named.filter(|name| !name.is_empty() && !name.contains(char::is_control));
        let accepted = AcceptedShare::new(&share, channel_id, named.unwrap_or(&owner.worker), at_ms);
        match owner.earner {
            Some(earner) => self.unacknowledged.credit(accepted, earner, upstream.share_log.queue())?,
            None => {
                let (store, address) = (&upstream.store, &owner.address);
                self.unacknowledged.credit_when_known(accepted, || look_up(Arc::clone(store), address.clone()));
            }
        }
        Ok(())
    }
}

/// Refuses a share that was found right. That is its end: the channel has seen it, and does not take it again.
fn refuse(channel_id: u32, sequence_number: u32, code: &'static str, out: &mut impl Outbox) {
    debug!(channel_id, sequence_number, code, "share refused");
    refuse_share(channel_id, sequence_number, code, out);
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
