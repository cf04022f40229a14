//! The shares of one connection that are not on disk yet: in the log's queue, or here until they can go there.
//!
//! None of them keeps the connection from reading on for long, for the next share may be a block. A channel's first share waits
//! here until its account is known, those that follow it behind it; what finds the log's queue full waits for room in it.
//! All together are [`MAX_UNACKNOWLEDGED`] at most, and those that wait here are few enough for the memory of the pool,
//! however many connections there are ([`WaitingShares`]).

use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use payouts::{
    share::{Difficulty as ShareDifficulty, JobNumber, JobTerms, ShareRun, ShareSeq},
    store::StoreError,
};
use protocol::messages::mining::SubmitSharesSuccess;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::warn;

use super::{earner::Earner, end::End};
use crate::{
    accounting::{
        receipts::{Durable, ReceiptSlot, acknowledge},
        share_log::{Entry, MAX_UNACKNOWLEDGED, NotQueued, ShareLog, WaitingShares},
    },
    mining::{difficulty::Difficulty, job::Job, share::ValidShare},
};

/// How long a connection with [`MAX_UNACKNOWLEDGED`] shares reads no further, so that the log can catch up. If it does
/// not acknowledge any in that time, it is no longer slow but stuck, and a block must not wait for it.
pub(super) const CATCH_UP_TIME: Duration = Duration::from_secs(2);

/// A right share, as far as it is stored, but for whom it is credited to.
#[derive(Clone, Copy, Debug)]
pub(super) struct AcceptedShare<'a> {
    channel_id: u32,
    sequence_number: u32,
    difficulty: Difficulty,
    job: &'a Job,
    worker: &'a Arc<str>,
    at_ms: i64,
}

/// Shares of one channel that differ in nothing that is stored but their times: they are stored as one sum, and
/// acknowledged by one receipt. It holds no job: an outage can outlast many.
#[derive(Debug)]
struct Run {
    channel_id: u32,
    last_sequence_number: u32,
    difficulty: Difficulty,
    job: JobTerms,
    worker: Arc<str>,
    count: u32,
    first_at_ms: i64,
    last_at_ms: i64,
}

/// The shares of one connection between their acceptance and their acknowledgement.
pub(super) struct Unacknowledged {
    receipts: ReceiptSlot,
    /// Counts those that wait here, and with all other connections.
    waiting: WaitingShares,
    /// All of them, also those that are in the log's queue.
    count: usize,
    /// Since when there are as many as may be, without one being acknowledged.
    full_since: Option<Instant>,
    /// Whether the log was told that there is no room.
    is_told: bool,
    /// What this turn of the connection has brought so far, in its order but for shares that joined a run.
    gathered: Vec<(Run, Earner)>,
    /// Shares of channels whose accounts are being looked up, each channel's in their order.
    unowned: BTreeMap<u32, Vec<Run>>,
    /// One for each channel in `unowned`. They end with the connection.
    lookups: JoinSet<(u32, Result<Earner, StoreError>)>,
    /// Shares that found the log's queue full, in their order.
    roomless: VecDeque<Entry>,
}

impl Unacknowledged {
    /// Starts with none. Their receipts go to `receipts`.
    pub(super) fn new(receipts: ReceiptSlot, waiting: WaitingShares) -> Self {
        Self {
            receipts,
            waiting,
            count: 0,
            full_since: None,
            is_told: false,
            gathered: Vec::new(),
            unowned: BTreeMap::new(),
            lookups: JoinSet::new(),
            roomless: VecDeque::new(),
        }
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

    /// Takes in a share of a known account. It goes to the log with the next [`hand_over`](Self::hand_over), as part of a
    /// run if the connection brings several.
    pub(super) fn credit(&mut self, share: AcceptedShare<'_>, earner: Earner) {
        self.count_one();
        // The newest run of its channel, for those of one channel must stay in their order.
        let of_channel = self.gathered.iter_mut().rev().find(|(run, _)| run.channel_id == share.channel_id);
        if !of_channel.is_some_and(|(run, owner)| *owner == earner && run.join(&share)) {
            self.gathered.push((Run::begin(&share), earner));
        }
    }

    /// Takes in a share of a channel whose account is not known yet. The first one begins to `look_up`.
    pub(super) fn credit_when_known<F>(&mut self, share: AcceptedShare<'_>, look_up: impl FnOnce() -> F)
    where
        F: Future<Output = Result<Earner, StoreError>> + Send + 'static,
    {
        let channel_id = share.channel_id;
        let runs = self.unowned.entry(channel_id).or_insert_with(|| {
            let earner = look_up();
            self.lookups.spawn(async move { (channel_id, earner.await) });
            Vec::new()
        });
        if !runs.last_mut().is_some_and(|run| run.join(&share)) {
            runs.push(Run::begin(&share));
        }
        self.waiting.add(1);
        self.count_one();
    }

    /// Puts what was gathered in the log's queue, or has it wait for room there.
    pub(super) fn hand_over(&mut self, log: &ShareLog) -> Result<(), End> {
        mem::take(&mut self.gathered).into_iter().try_for_each(|(run, earner)| self.pass_on(run, earner, log))
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
    pub(super) fn pass_on_owned(&mut self, channel_id: u32, earner: Earner, log: &ShareLog) -> Result<(), End> {
        let runs = self.unowned.remove(&channel_id).unwrap_or_default();
        self.waiting.subtract(shares_of(&runs));
        runs.into_iter().try_for_each(|run| self.pass_on(run, earner, log))
    }

    /// Tells whether a share waits for room in the log's queue.
    pub(super) fn waits_for_room(&self) -> bool {
        !self.roomless.is_empty()
    }

    /// Fills the room that there is in the log's queue now, of which one place is held already.
    pub(super) fn fill(&mut self, place: mpsc::OwnedPermit<Entry>, log: &ShareLog) {
        let mut place = Some(place);
        while let Some(held) = place.take()
            && let Some(oldest) = self.roomless.pop_front()
        {
            self.waiting.subtract(oldest.shares());
            place = log.fill(held, oldest);
        }
    }

    /// Lets go of those that are on disk, and returns what is said of them.
    pub(super) fn acknowledge(&mut self, receipts: &[Durable]) -> Vec<SubmitSharesSuccess> {
        self.count -= receipts.iter().map(Durable::count).sum::<usize>();
        self.full_since = None;
        acknowledge(receipts)
    }

    fn count_one(&mut self) {
        self.count += 1;
        if self.count >= MAX_UNACKNOWLEDGED {
            self.full_since.get_or_insert_with(Instant::now);
        }
    }

    /// Puts a run in the log's queue, behind all that wait for room there.
    fn pass_on(&mut self, run: Run, earner: Earner, log: &ShareLog) -> Result<(), End> {
        let entry = Entry {
            channel_id: run.channel_id,
            last_sequence_number: run.last_sequence_number,
            difficulty: run.difficulty,
            run: run.credited_to(earner),
            receipts: self.receipts.clone(),
        };
        let left = match self.waits_for_room() {
            true => Err(NotQueued::Full(Box::new(entry))),
            false => log.try_queue(entry),
        };
        match left {
            Ok(()) => Ok(()),
            Err(NotQueued::Full(entry)) => {
                self.waiting.add(entry.shares());
                self.roomless.push_back(*entry);
                Ok(())
            }
            Err(NotQueued::Ended) => Err(End::Orphaned),
        }
    }
}

impl Drop for Unacknowledged {
    fn drop(&mut self) {
        let unowned: usize = self.unowned.values().map(|runs| shares_of(runs)).sum();
        let roomless: usize = self.roomless.iter().map(Entry::shares).sum();
        self.waiting.subtract(unowned + roomless);
    }
}

impl<'a> AcceptedShare<'a> {
    /// Writes down a share that was found right at `at_ms`.
    pub(super) fn new(share: &'a ValidShare, channel_id: u32, worker: &'a Arc<str>, at_ms: i64) -> Self {
        let (sequence_number, difficulty) = (share.sequence_number(), share.difficulty());
        Self { channel_id, sequence_number, difficulty, job: share.job(), worker, at_ms }
    }
}

impl Run {
    fn begin(share: &AcceptedShare<'_>) -> Self {
        Self {
            channel_id: share.channel_id,
            last_sequence_number: share.sequence_number,
            difficulty: share.difficulty,
            job: terms(share.job),
            worker: Arc::clone(share.worker),
            count: 1,
            first_at_ms: share.at_ms,
            last_at_ms: share.at_ms,
        }
    }

    /// Takes in a share of the same channel, if it is of the same kind.
    fn join(&mut self, share: &AcceptedShare<'_>) -> bool {
        let is_same = self.job.job.get() == share.job.number().0
            && self.difficulty == share.difficulty
            && self.worker == *share.worker;
        if is_same {
            self.last_sequence_number = share.sequence_number;
            self.count += 1;
            self.first_at_ms = self.first_at_ms.min(share.at_ms);
            self.last_at_ms = self.last_at_ms.max(share.at_ms);
        }
        is_same
    }

    fn credited_to(self, earner: Earner) -> ShareRun {
        let (Earner { account, reward }, log2) = (earner, self.difficulty.log2());
        let difficulty = ShareDifficulty::from_log2(log2).expect("both types have the same range");
        let Self { worker, job, count, first_at_ms, last_at_ms, .. } = self;
        ShareRun { account, worker, job, difficulty, reward, count, first_at_ms, last_at_ms }
    }
}

fn shares_of(runs: &[Run]) -> usize {
    runs.iter().map(|run| run.count as usize).sum()
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
    use crate::{accounting::receipts::mailbox, mining::job::tests::job};

    /// What shares are of.
    struct Source {
        jobs: [Arc<Job>; 2],
        worker: Arc<str>,
    }

    impl Source {
        fn new() -> Self {
            let jobs = [1, 2].map(|number| job(number, 1_700_000_000, 0x207f_ffff));
            Self { jobs, worker: "rig".into() }
        }

        fn share(&self, channel_id: u32, sequence_number: u32) -> AcceptedShare<'_> {
            let (job, worker, difficulty) = (&*self.jobs[0], &self.worker, Difficulty::MIN);
            AcceptedShare { channel_id, sequence_number, difficulty, job, worker, at_ms: 0 }
        }
    }

    fn earner(account: i64) -> Earner {
        Earner { account: AccountId::new(account), reward: Reward::Shared }
    }

    fn unacknowledged() -> Unacknowledged {
        with(WaitingShares::new(MAX_UNACKNOWLEDGED))
    }

    fn with(waiting: WaitingShares) -> Unacknowledged {
        Unacknowledged::new(mailbox().0, waiting)
    }

    /// A look-up that ends when it is told to.
    async fn told(earner: oneshot::Receiver<Earner>) -> Result<Earner, StoreError> {
        Ok(earner.await.unwrap())
    }

    fn stuck(capacity: usize) -> (ShareLog, mpsc::Receiver<Entry>) {
        let (queue, entries) = mpsc::channel(capacity);
        (ShareLog::stuck(queue), entries)
    }

    /// Channel, last sequence number and account of each run in the queue.
    fn queued(entries: &mut mpsc::Receiver<Entry>) -> Vec<(u32, u32, i64)> {
        let entries = std::iter::from_fn(|| entries.try_recv().ok());
        entries.map(|entry| (entry.channel_id, entry.last_sequence_number, entry.run.account.get())).collect()
    }

    /// Takes in a share, and hands it over on its own.
    fn credit(shares: &mut Unacknowledged, share: AcceptedShare<'_>, account: i64, log: &ShareLog) {
        shares.credit(share, earner(account));
        shares.hand_over(log).unwrap();
    }

    #[tokio::test]
    async fn shares_wait_for_the_account_of_their_own_channel_only_and_keep_their_order() {
        let (source, (log, mut entries)) = (Source::new(), stuck(16));
        let mut shares = unacknowledged();
        let ((tell_two, two), (tell_three, three)) = (oneshot::channel(), oneshot::channel());
        shares.credit_when_known(source.share(2, 1), || told(two));
        shares.credit_when_known(source.share(3, 1), || told(three));
        // One look-up a channel is enough.
        for sequence_number in [2, 3] {
            let second = || -> std::future::Pending<Result<Earner, StoreError>> { panic!("looked up twice") };
            shares.credit_when_known(source.share(2, sequence_number), second);
        }
        credit(&mut shares, source.share(4, 1), 40, &log);
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
        credit(&mut shares, source.share(2, 4), 20, &log);
        assert_eq!(queued(&mut entries), [(2, 3, 20), (2, 4, 20)], "those that waited became a run");
        assert_eq!(shares.count(), 6, "nothing is on disk");
    }

    #[tokio::test]
    async fn shares_of_a_turn_that_differ_only_in_time_are_one_run() {
        let (source, (log, mut entries)) = (Source::new(), stuck(16));
        let other: Arc<str> = "other rig".into();
        let mut shares = unacknowledged();
        let of = |channel_id, sequence_number| source.share(channel_id, sequence_number);
        for share in [
            AcceptedShare { at_ms: 50, ..of(2, 1) },
            of(3, 7),
            // The clock was set back.
            AcceptedShare { at_ms: 40, ..of(2, 2) },
            AcceptedShare { at_ms: 60, ..of(2, 3) },
            of(3, 8),
            AcceptedShare { job: &source.jobs[1], ..of(2, 4) },
            AcceptedShare { job: &source.jobs[1], difficulty: Difficulty::MAX, ..of(2, 5) },
            AcceptedShare { worker: &other, ..of(2, 6) },
            // What came before the last of another kind is not joined any more: a channel's shares keep their order.
            of(2, 7),
        ] {
            shares.credit(share, earner(1));
        }
        assert_eq!((shares.count(), queued(&mut entries)), (9, vec![]), "the turn is not over");
        shares.hand_over(&log).unwrap();
        let runs: Vec<_> = std::iter::from_fn(|| entries.try_recv().ok())
            .map(|Entry { channel_id, last_sequence_number, run, .. }| {
                (channel_id, last_sequence_number, run.count, (run.first_at_ms, run.last_at_ms))
            })
            .collect();
        let expected = [
            (2, 3, 3, (40, 60)),
            (3, 8, 2, (0, 0)),
            (2, 4, 1, (0, 0)),
            (2, 5, 1, (0, 0)),
            (2, 6, 1, (0, 0)),
            (2, 7, 1, (0, 0)),
        ];
        assert_eq!(runs, expected);
        // What comes in the next turn is another run: the log may have taken the last one already.
        shares.credit(of(2, 8), earner(1));
        shares.hand_over(&log).unwrap();
        assert_eq!(queued(&mut entries), [(2, 8, 1)]);
    }

    #[tokio::test]
    async fn shares_wait_for_room_in_the_log_and_none_passes_another() {
        let (source, (log, mut entries)) = (Source::new(), stuck(2));
        let mut shares = unacknowledged();
        for sequence_number in 1..=6 {
            credit(&mut shares, source.share(2, sequence_number), 1, &log);
        }
        assert!(shares.waits_for_room());
        entries.try_recv().unwrap();
        // There is room, but not for the newest.
        credit(&mut shares, source.share(2, 7), 1, &log);
        let mut numbers = vec![1];
        while shares.waits_for_room() {
            let place = log.place().await.unwrap();
            shares.fill(place, &log);
            numbers.extend(queued(&mut entries).iter().map(|(_, sequence_number, _)| *sequence_number));
        }
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    }

    #[tokio::test]
    async fn it_is_full_with_as_many_as_receipts_may_come_for_wherever_they_wait() {
        let (source, (log, _entries)) = (Source::new(), stuck(16));
        let mut shares = unacknowledged();
        for sequence_number in 1..=MAX_UNACKNOWLEDGED as u32 {
            assert!(shares.has_room());
            match sequence_number % 2 {
                0 => credit(&mut shares, source.share(2, sequence_number), 1, &log),
                _ => shares.credit_when_known(source.share(3, sequence_number), pending),
            }
        }
        assert!(!shares.has_room());
    }

    #[tokio::test]
    async fn a_full_connection_gives_the_log_time_from_when_it_became_full_or_heard_of_it_last() {
        let (source, (log, _entries)) = (Source::new(), stuck(16));
        let mut shares = unacknowledged();
        for sequence_number in 1..MAX_UNACKNOWLEDGED as u32 {
            credit(&mut shares, source.share(2, sequence_number), 1, &log);
        }
        assert_eq!(shares.catches_up_until(), None);
        let before = Instant::now();
        credit(&mut shares, source.share(2, 0), 1, &log);
        let until = shares.catches_up_until().unwrap();
        assert!(until >= before + CATCH_UP_TIME && until <= Instant::now() + CATCH_UP_TIME);

        shares.acknowledge(&[Durable::pretended(2, 1)]);
        assert_eq!((shares.catches_up_until(), shares.has_room()), (None, true));
    }

    #[tokio::test]
    async fn all_connections_share_the_room_to_wait() {
        let (source, (log, mut entries)) = (Source::new(), stuck(1));
        let waiting = WaitingShares::new(3);
        let (mut one, mut other) = (with(waiting.clone()), with(waiting.clone()));
        one.credit_when_known(source.share(2, 1), pending);
        for sequence_number in 1..=3 {
            assert!(other.has_room());
            credit(&mut other, source.share(2, sequence_number), 1, &log);
        }
        assert!(!one.has_room() && !other.has_room());
        entries.try_recv().unwrap();
        other.fill(log.place().await.unwrap(), &log);
        assert!(one.has_room() && other.has_room());
        one.pass_on_owned(2, earner(2), &log).unwrap();
        assert!(one.waits_for_room(), "it waits for another thing");
        credit(&mut other, source.share(2, 4), 1, &log);
        assert!(!one.has_room());
        drop(other);
        assert!(one.has_room());
        drop(one);
        assert_eq!(waiting.count(), 0);
    }

    #[tokio::test]
    async fn a_log_that_has_ended_ends_the_connection() {
        let (source, (log, entries)) = (Source::new(), stuck(1));
        drop(entries);
        let mut shares = unacknowledged();
        shares.credit(source.share(2, 1), earner(1));
        assert!(matches!(shares.hand_over(&log), Err(End::Orphaned)));
    }
}
