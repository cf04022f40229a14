//! The shares of one connection that are not on disk yet: in the log's queue, or here until they can go there.
//!
//! None of them keeps the connection from reading on for long, for the next share may be a block. A channel's first share waits
//! here until its account is known, those that follow it behind it; what finds the log's queue full waits for room in it.
//! All together are [`MAX_UNACKNOWLEDGED`] at most, and those that wait here are few enough for the memory of the pool,
//! however many connections there are ([`WaitingShares`]).

use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    time::{Duration, Instant},
};

use payouts::{
    share::{Difficulty as ShareDifficulty, JobNumber, JobTerms, NewShare, ShareSeq},
    store::StoreError,
};
use protocol::messages::mining::SubmitSharesSuccess;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::warn;

use super::{connection::End, earner::Earner};
use crate::{
    accounting::share_log::{ConnectionId, Durable, Entry, MAX_UNACKNOWLEDGED, WaitingShares, acknowledge},
    mining::{difficulty::Difficulty, job::Job, share::ValidShare},
};

/// How long a connection with [`MAX_UNACKNOWLEDGED`] shares reads no further, so that the log can catch up. If it does
/// not acknowledge any in that time, it is no longer slow but stuck, and a block must not wait for it.
pub(super) const CATCH_UP_TIME: Duration = Duration::from_secs(2);

/// What is stored of a right share, but for whom it is credited to. It holds no job: an outage can outlast many.
#[derive(Clone, Debug)]
pub(super) struct AcceptedShare {
    channel_id: u32,
    sequence_number: u32,
    difficulty: Difficulty,
    job: JobTerms,
    worker: String,
    at_ms: i64,
}

/// The shares of one connection between their acceptance and their acknowledgement.
pub(super) struct Unacknowledged {
    connection: ConnectionId,
    receipts: mpsc::Sender<Vec<Durable>>,
    /// Counts those that wait here, and with all other connections.
    waiting: WaitingShares,
    /// All of them, also those that are in the log's queue.
    count: usize,
    /// Since when there are as many as may be, without one being acknowledged.
    full_since: Option<Instant>,
    /// Whether the log was told that there is no room.
    is_told: bool,
    /// Shares of channels whose accounts are being looked up, each channel's in their order.
    unowned: BTreeMap<u32, Vec<AcceptedShare>>,
    /// One for each channel in `unowned`. They end with the connection.
    lookups: JoinSet<(u32, Result<Earner, StoreError>)>,
    /// Shares that found the log's queue full, in their order.
    roomless: VecDeque<Entry>,
}

impl Unacknowledged {
    /// Starts with none. Their receipts go to `receipts`.
    pub(super) fn new(connection: ConnectionId, receipts: mpsc::Sender<Vec<Durable>>, waiting: WaitingShares) -> Self {
        let (unowned, lookups, roomless) = (BTreeMap::new(), JoinSet::new(), VecDeque::new());
        Self { connection, receipts, waiting, count: 0, full_since: None, is_told: false, unowned, lookups, roomless }
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns until when the log is given time to catch up, if it is.
    pub(super) fn catches_up_until(&self) -> Option<Instant> {
        self.full_since.map(|since| since + CATCH_UP_TIME)
    }

    /// Tells whether another share can be taken in, and says in the log when none can, once a connection.
    pub(super) fn has_room(&mut self) -> bool {
        let has_room = self.count < MAX_UNACKNOWLEDGED && self.waiting.has_room();
        if !has_room && !self.is_told {
            warn!(unacknowledged = self.count, "shares cannot be stored, further ones are refused");
            self.is_told = true;
        }
        has_room
    }

    /// Takes in a share of a known account: it goes to the log's queue, or waits for room there.
    pub(super) fn credit(
        &mut self,
        share: AcceptedShare,
        earner: Earner,
        log: &mpsc::Sender<Entry>,
    ) -> Result<(), End> {
        self.count_one();
        self.pass_on(share, earner, log)
    }

    /// Takes in a share of a channel whose account is not known yet. The first one begins to `look_up`.
    pub(super) fn credit_when_known<F>(&mut self, share: AcceptedShare, look_up: impl FnOnce() -> F)
    where
        F: Future<Output = Result<Earner, StoreError>> + Send + 'static,
    {
        let channel_id = share.channel_id;
        let shares = self.unowned.entry(channel_id).or_insert_with(|| {
            let earner = look_up();
            self.lookups.spawn(async move { (channel_id, earner.await) });
            Vec::new()
        });
        shares.push(share);
        self.waiting.add_one();
        self.count_one();
    }

    /// Waits until a channel's account is known; for ever if none is being looked up. To give up waiting loses nothing.
    pub(super) async fn earner(&mut self) -> Result<(u32, Earner), End> {
        match self.lookups.join_next().await {
            Some(Ok((channel_id, earner))) => Ok((channel_id, earner?)),
            Some(Err(_)) => Err(End::Orphaned),
            None => pending().await,
        }
    }

    /// Sends the shares of a channel on their way whose account is known now.
    pub(super) fn pass_on_owned(
        &mut self,
        channel_id: u32,
        earner: Earner,
        log: &mpsc::Sender<Entry>,
    ) -> Result<(), End> {
        let shares = self.unowned.remove(&channel_id).unwrap_or_default();
        self.waiting.subtract(shares.len());
        shares.into_iter().try_for_each(|share| self.pass_on(share, earner, log))
    }

    /// Tells whether a share waits for room in the log's queue.
    pub(super) fn waits_for_room(&self) -> bool {
        !self.roomless.is_empty()
    }

    /// Fills the room that there is in the log's queue now, of which one place is held already.
    pub(super) fn fill(&mut self, place: mpsc::OwnedPermit<Entry>) {
        let mut place = Some(place);
        while let Some(held) = place.take()
            && let Some(oldest) = self.roomless.pop_front()
        {
            self.waiting.subtract(1);
            place = held.send(oldest).try_reserve_owned().ok();
        }
    }

    /// Lets go of those that are on disk, and returns what is said of them.
    pub(super) fn acknowledge(&mut self, receipts: &[Durable]) -> Vec<SubmitSharesSuccess> {
        self.count -= receipts.len();
        self.full_since = None;
        acknowledge(receipts)
    }

    fn count_one(&mut self) {
        self.count += 1;
        if self.count >= MAX_UNACKNOWLEDGED {
            self.full_since.get_or_insert_with(Instant::now);
        }
    }

    /// Puts a share in the log's queue, behind all that wait for room there.
    fn pass_on(&mut self, share: AcceptedShare, earner: Earner, log: &mpsc::Sender<Entry>) -> Result<(), End> {
        let entry = Entry {
            channel_id: share.channel_id,
            sequence_number: share.sequence_number,
            difficulty: share.difficulty,
            share: share.credited_to(earner),
            connection: self.connection,
            receipts: self.receipts.clone(),
        };
        let left = match self.waits_for_room() {
            true => Err(mpsc::error::TrySendError::Full(entry)),
            false => log.try_send(entry),
        };
        match left {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(entry)) => {
                self.waiting.add_one();
                self.roomless.push_back(entry);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(End::Orphaned),
        }
    }
}

impl Drop for Unacknowledged {
    fn drop(&mut self) {
        let unowned: usize = self.unowned.values().map(Vec::len).sum();
        self.waiting.subtract(unowned + self.roomless.len());
    }
}

impl AcceptedShare {
    /// Writes down a share that was found right at `at_ms`.
    pub(super) fn new(share: &ValidShare, channel_id: u32, worker: &str, at_ms: i64) -> Self {
        let (sequence_number, difficulty) = (share.sequence_number(), share.difficulty());
        Self { channel_id, sequence_number, difficulty, job: terms(share.job()), worker: worker.to_owned(), at_ms }
    }

    fn credited_to(self, earner: Earner) -> NewShare {
        let (Earner { account, reward }, log2) = (earner, self.difficulty.log2());
        let difficulty = ShareDifficulty::from_log2(log2).expect("both types have the same range");
        NewShare { account, worker: self.worker, job: self.job, difficulty, reward, at_ms: self.at_ms }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payouts::{account::AccountId, share::Reward};
    use tokio::{sync::oneshot, time::timeout};

    use super::*;
    use crate::mining::job::tests::job;

    fn share(channel_id: u32, sequence_number: u32) -> AcceptedShare {
        AcceptedShare {
            channel_id,
            sequence_number,
            difficulty: Difficulty::MIN,
            job: terms(&job(1, 1_700_000_000, 0x207f_ffff)),
            worker: String::new(),
            at_ms: 0,
        }
    }

    fn earner(account: i64) -> Earner {
        Earner { account: AccountId::new(account), reward: Reward::Shared }
    }

    fn unacknowledged() -> Unacknowledged {
        with(WaitingShares::new(MAX_UNACKNOWLEDGED))
    }

    fn with(waiting: WaitingShares) -> Unacknowledged {
        Unacknowledged::new(ConnectionId(1), mpsc::channel(1).0, waiting)
    }

    /// A look-up that ends when it is told to.
    async fn told(earner: oneshot::Receiver<Earner>) -> Result<Earner, StoreError> {
        Ok(earner.await.unwrap())
    }

    fn queued(log: &mut mpsc::Receiver<Entry>) -> Vec<(u32, u32, i64)> {
        let entries = std::iter::from_fn(|| log.try_recv().ok());
        entries.map(|entry| (entry.channel_id, entry.sequence_number, entry.share.account.get())).collect()
    }

    #[tokio::test]
    async fn shares_wait_for_the_account_of_their_own_channel_only_and_keep_their_order() {
        let (log, mut entries) = mpsc::channel(16);
        let mut shares = unacknowledged();
        let ((tell_two, two), (tell_three, three)) = (oneshot::channel(), oneshot::channel());
        shares.credit_when_known(share(2, 1), || told(two));
        shares.credit_when_known(share(3, 1), || told(three));
        // One look-up a channel is enough.
        for sequence_number in [2, 3] {
            let second = || -> std::future::Pending<Result<Earner, StoreError>> { panic!("looked up twice") };
            shares.credit_when_known(share(2, sequence_number), second);
        }
        shares.credit(share(4, 1), earner(40), &log).unwrap();
        assert_eq!((queued(&mut entries), shares.count()), (vec![(4, 1, 40)], 5));
        assert!(timeout(Duration::from_millis(10), shares.earner()).await.is_err());

        tell_three.send(earner(30)).unwrap();
        let known = shares.earner().await.unwrap();
        assert_eq!(known, (3, earner(30)));
        shares.pass_on_owned(3, known.1, &log).unwrap();
        assert_eq!(queued(&mut entries), [(3, 1, 30)]);
        tell_two.send(earner(20)).unwrap();
        let known = shares.earner().await.unwrap();
        shares.pass_on_owned(2, known.1, &log).unwrap();
        shares.credit(share(2, 4), earner(20), &log).unwrap();
        assert_eq!(queued(&mut entries), [(2, 1, 20), (2, 2, 20), (2, 3, 20), (2, 4, 20)]);
        assert_eq!(shares.count(), 6, "nothing is on disk");
    }

    #[tokio::test]
    async fn shares_wait_for_room_in_the_log_and_none_passes_another() {
        let (log, mut entries) = mpsc::channel(2);
        let mut shares = unacknowledged();
        for sequence_number in 1..=6 {
            shares.credit(share(2, sequence_number), earner(1), &log).unwrap();
        }
        assert!(shares.waits_for_room());
        entries.try_recv().unwrap();
        // There is room, but not for the newest.
        shares.credit(share(2, 7), earner(1), &log).unwrap();
        let mut numbers = vec![1];
        while shares.waits_for_room() {
            let place = log.clone().reserve_owned().await.unwrap();
            shares.fill(place);
            numbers.extend(queued(&mut entries).iter().map(|(_, sequence_number, _)| *sequence_number));
        }
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    }

    #[tokio::test]
    async fn it_is_full_with_as_many_as_receipts_may_come_for_wherever_they_wait() {
        let (log, _entries) = mpsc::channel(16);
        let mut shares = unacknowledged();
        for sequence_number in 1..=MAX_UNACKNOWLEDGED as u32 {
            assert!(shares.has_room());
            match sequence_number % 2 {
                0 => shares.credit(share(2, sequence_number), earner(1), &log).unwrap(),
                _ => shares.credit_when_known(share(3, sequence_number), pending),
            }
        }
        assert!(!shares.has_room());
    }

    #[tokio::test]
    async fn a_full_connection_gives_the_log_time_from_when_it_became_full_or_heard_of_it_last() {
        let (log, _entries) = mpsc::channel(16);
        let mut shares = unacknowledged();
        for sequence_number in 1..MAX_UNACKNOWLEDGED as u32 {
            shares.credit(share(2, sequence_number), earner(1), &log).unwrap();
        }
        assert_eq!(shares.catches_up_until(), None);
        let before = Instant::now();
        shares.credit(share(2, 0), earner(1), &log).unwrap();
        let until = shares.catches_up_until().unwrap();
        assert!(until >= before + CATCH_UP_TIME && until <= Instant::now() + CATCH_UP_TIME);

        shares.acknowledge(&[Durable::pretended(2, 1)]);
        assert_eq!((shares.catches_up_until(), shares.has_room()), (None, true));
    }

    #[tokio::test]
    async fn all_connections_share_the_room_to_wait() {
        let (log, mut entries) = mpsc::channel(1);
        let waiting = WaitingShares::new(3);
        let (mut one, mut other) = (with(waiting.clone()), with(waiting.clone()));
        one.credit_when_known(share(2, 1), pending);
        for sequence_number in 1..=3 {
            assert!(other.has_room());
            other.credit(share(2, sequence_number), earner(1), &log).unwrap();
        }
        assert!(!one.has_room() && !other.has_room());
        entries.try_recv().unwrap();
        other.fill(log.clone().reserve_owned().await.unwrap());
        assert!(one.has_room() && other.has_room());
        one.pass_on_owned(2, earner(2), &log).unwrap();
        assert!(one.waits_for_room(), "it waits for another thing");
        other.credit(share(2, 4), earner(1), &log).unwrap();
        assert!(!one.has_room());
        drop(other);
        assert!(one.has_room());
        drop(one);
        assert_eq!(waiting.count(), 0);
    }

    #[tokio::test]
    async fn a_log_that_has_ended_ends_the_connection() {
        let (log, entries) = mpsc::channel(1);
        drop(entries);
        let ended = unacknowledged().credit(share(2, 1), earner(1), &log);
        assert!(matches!(ended, Err(End::Orphaned)));
    }
}
