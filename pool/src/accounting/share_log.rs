//! The share log: every accepted share goes to disk before it is acknowledged.
//!
//! Runs of shares of all connections queue here; one task commits whatever has gathered in a single transaction (a slow
//! disk makes larger groups, not a longer queue) and sends each connection a [`Durable`] for each of its runs. Only from
//! those can an acknowledgement be built.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use payouts::{
    books::Books,
    share::{ShareGroup, ShareRun},
    store::Store,
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tracing::{error, info};

use super::{
    metrics::ShareLogMetrics,
    receipts::{Durable, ReceiptSlot},
    segments::Segments,
};
use crate::mining::difficulty::Difficulty;

/// Runs of shares that wait for the disk, of all connections together: about 4 MB. When they are so many, further ones
/// wait with their connections.
const QUEUE_CAPACITY: usize = 16_384;
/// Most runs in one transaction.
const MAX_BATCH: usize = 8_192;
/// How long after a group began the next one begins, if it is not large by then. A commit has a cost of its own, and rows
/// that lie on one page are written together, so fewer and larger groups cost less a share (`payouts/benches/shares.rs`
/// measures how much). Miners who hand in a share now and then are acknowledged a little later for it. A share that comes
/// after a pause is committed at once.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// Shares that are a large group, which does not wait so long: whoever has handed in all the shares that he may have
/// unacknowledged goes on when they are stored.
const LARGE_GROUP: usize = 1_024;
/// How long after a group began a large one begins at the soonest. When shares come as fast as they are taken, more of
/// them share the cost of a commit, and nobody waits for the few milliseconds.
const LARGE_COMMIT_INTERVAL: Duration = Duration::from_millis(4);
/// Shares of one connection that may wait for the disk, here or with it. When they are so many, it reads no further for a
/// moment, and then refuses further ones.
pub const MAX_UNACKNOWLEDGED: usize = 4_096;
/// Shares that may wait with their connections, of all together: about 250 MB. When they are so many, connections refuse
/// further ones.
const MAX_WAITING: usize = 1 << 20;
/// Pause before a commit that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Reads the clock that shares are dated by, in milliseconds since 1970 UTC.
pub fn unix_time_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A run of shares of one channel for the log, with where its receipt goes.
#[derive(Debug)]
pub struct Entry {
    /// What is stored.
    pub run: ShareRun,
    /// The channel within the connection.
    pub channel_id: u32,
    /// The client's number of the last of the submissions.
    pub last_sequence_number: u32,
    /// What each share is credited with.
    pub difficulty: Difficulty,
    /// Where the receipt goes.
    pub receipts: ReceiptSlot,
}

impl Entry {
    /// Returns how many shares it is.
    pub fn shares(&self) -> usize {
        self.run.count as usize
    }
}

/// The way into the log; one for each connection.
#[derive(Clone, Debug)]
pub struct ShareLog {
    queue: mpsc::Sender<Entry>,
    gathered: Arc<Gathered>,
    waiting: WaitingShares,
}

/// Why a run of shares did not come into the log's queue.
#[derive(Debug)]
pub enum NotQueued {
    /// There is no room now.
    Full(Box<Entry>),
    /// The log has ended.
    Ended,
}

/// How many shares are in the log's queue.
#[derive(Debug, Default)]
struct Gathered {
    shares: AtomicUsize,
    /// Told when they become a large group.
    large: Notify,
}

impl Gathered {
    fn add(&self, shares: usize) {
        let before = self.shares.fetch_add(shares, Ordering::Relaxed);
        if before < LARGE_GROUP && before + shares >= LARGE_GROUP {
            self.large.notify_one();
        }
    }

    fn subtract(&self, shares: usize) {
        self.shares.fetch_sub(shares, Ordering::Relaxed);
    }

    /// Waits for a large group, but not beyond `until`.
    async fn large_or_until(&self, until: Instant) {
        while self.shares.load(Ordering::Relaxed) < LARGE_GROUP
            && timeout_at(until, self.large.notified()).await.is_ok()
        {}
    }
}

/// How many shares wait with their connections; all clones are the same. Connections count them while others
/// do so too, so there can be a few more than the most.
#[derive(Clone, Debug)]
pub struct WaitingShares {
    count: Arc<AtomicUsize>,
    most: usize,
}

impl WaitingShares {
    /// Begins with none, of which there may be `most`.
    pub fn new(most: usize) -> Self {
        Self { count: Arc::default(), most }
    }

    /// Tells whether another one may wait.
    pub fn has_room(&self) -> bool {
        self.count() < self.most
    }

    /// Returns how many wait.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Notes that so many more wait.
    pub fn add(&self, count: usize) {
        self.count.fetch_add(count, Ordering::Relaxed);
    }

    /// Notes that so many of those that waited do not any more.
    pub fn subtract(&self, count: usize) {
        self.count.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Default for WaitingShares {
    fn default() -> Self {
        Self::new(MAX_WAITING)
    }
}

impl ShareLog {
    /// Starts the log's task for a session of the pool, whose shares go to `segments`, and which tells the books of all
    /// that is stored. It ends when the last [`ShareLog`] is dropped and all is committed.
    pub fn start(
        store: Arc<dyn Store>,
        books: Arc<Books>,
        session: i64,
        segments: Segments,
        metrics: ShareLogMetrics,
    ) -> (Self, JoinHandle<()>) {
        let (queue, entries) = mpsc::channel(QUEUE_CAPACITY);
        let log = Self::new(queue, metrics.waiting().clone());
        let incoming = Incoming { entries, gathered: Arc::clone(&log.gathered) };
        let task = tokio::spawn(commit_all(store, books, session, segments, incoming, metrics));
        (log, task)
    }

    /// Makes a log that does nothing with what comes into `queue`.
    #[cfg(test)]
    pub(crate) fn stuck(queue: mpsc::Sender<Entry>) -> Self {
        Self::new(queue, WaitingShares::default())
    }

    fn new(queue: mpsc::Sender<Entry>, waiting: WaitingShares) -> Self {
        Self { queue, gathered: Arc::default(), waiting }
    }

    /// Puts a run of shares in the queue, if there is room.
    ///
    /// # Errors
    ///
    /// If there is none, or the log has ended.
    pub fn try_queue(&self, entry: Entry) -> Result<(), NotQueued> {
        let shares = entry.shares();
        // Before it is there to be taken out, so that the count is never too small.
        self.gathered.add(shares);
        self.queue.try_send(entry).map_err(|error| {
            self.gathered.subtract(shares);
            match error {
                mpsc::error::TrySendError::Full(entry) => NotQueued::Full(Box::new(entry)),
                mpsc::error::TrySendError::Closed(_) => NotQueued::Ended,
            }
        })
    }

    /// Waits for a place in the queue, in line with all others who do; nothing if the log has ended.
    pub async fn place(&self) -> Option<mpsc::OwnedPermit<Entry>> {
        self.queue.clone().reserve_owned().await.ok()
    }

    /// Puts a run of shares in a place that was waited for, and takes another one, if there is one now.
    pub fn fill(&self, place: mpsc::OwnedPermit<Entry>, entry: Entry) -> Option<mpsc::OwnedPermit<Entry>> {
        self.gathered.add(entry.shares());
        place.send(entry).try_reserve_owned().ok()
    }

    /// Returns the count of the shares that wait with their connections.
    pub fn waiting(&self) -> &WaitingShares {
        &self.waiting
    }
}

/// What comes into the log.
struct Incoming {
    entries: mpsc::Receiver<Entry>,
    gathered: Arc<Gathered>,
}

impl Incoming {
    /// Waits for the next group; false if no more come. After another one it begins within `span`: at its end, or before
    /// if it is large.
    async fn gather(&mut self, batch: &mut Vec<Entry>, span: Option<RangeInclusive<Instant>>) -> bool {
        if self.entries.recv_many(batch, MAX_BATCH).await == 0 {
            return false;
        }
        if let Some(span) = span {
            self.gathered.large_or_until(*span.end()).await;
            sleep_until(*span.start()).await;
        }
        while batch.len() < MAX_BATCH
            && let Ok(entry) = self.entries.try_recv()
        {
            batch.push(entry);
        }
        self.gathered.subtract(batch.iter().map(Entry::shares).sum());
        true
    }
}

/// Commits group after group until all senders are gone.
async fn commit_all(
    store: Arc<dyn Store>,
    books: Arc<Books>,
    session: i64,
    segments: Segments,
    mut incoming: Incoming,
    metrics: ShareLogMetrics,
) {
    let (mut batch, mut begun) = (Vec::new(), None);
    for number in 1.. {
        let span = begun.map(|begun| begun + LARGE_COMMIT_INTERVAL..=begun + COMMIT_INTERVAL);
        if !incoming.gather(&mut batch, span).await {
            return;
        }
        let start = Instant::now();
        begun = Some(start);
        metrics.leave(incoming.gathered.shares.load(Ordering::Relaxed));
        let mut receipts = Vec::with_capacity(batch.len());
        let runs =
            batch.drain(..).map(|Entry { run, channel_id, last_sequence_number, difficulty, receipts: slot }| {
                receipts.push((slot, Durable::new(channel_id, last_sequence_number, run.count, difficulty)));
                run
            });
        let group = ShareGroup { session, number, segment: segments.begin_group(), runs: runs.collect() };
        commit(store.as_ref(), &group, &metrics).await;
        books.shares_stored(&group).await;
        segments.end_group();
        metrics.pulse().rest();
        let shares = receipts.iter().map(|(_, receipt)| receipt.count()).sum();
        let first_at_ms = group.runs.iter().map(|run| run.first_at_ms).min().unwrap_or_default();
        deliver(receipts);
        metrics.commit(shares, start.elapsed(), first_at_ms);
    }
}

/// Commits one group, again and again until it succeeds: until then nothing is acknowledged. Its number sees to it that
/// an attempt whose answer was lost does not count twice.
async fn commit(store: &dyn Store, group: &ShareGroup, metrics: &ShareLogMetrics) {
    let mut failed = false;
    loop {
        metrics.pulse().begin();
        match store.append_shares(group).await {
            Ok(_) => {
                if failed {
                    info!("share log writes again");
                }
                return;
            }
            Err(error) => {
                let shares: u64 = group.runs.iter().map(|run| u64::from(run.count)).sum();
                error!(%error, shares, "share log cannot write; no share is acknowledged until it can");
                failed = true;
                metrics.fail();
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Puts receipts in the mailboxes that they are for, and then wakes each connection that waits, once.
fn deliver(receipts: Vec<(ReceiptSlot, Durable)>) {
    let wakers: Vec<Waker> = receipts.into_iter().filter_map(|(slot, receipt)| slot.put(receipt)).collect();
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        str::FromStr,
        task::{Context, Poll},
    };

    use bitcoin::{Address, Amount, BlockHash, CompactTarget, address::NetworkUnchecked, hashes::Hash};
    use payouts::{
        account::AccountId,
        scheme::{PoolFee, pplns::Pplns},
        share::{JobNumber, JobTerms, Reward, ShareSeq},
        store::sqlite::SqliteStore,
    };
    use tokio::time::timeout;

    use super::*;
    use crate::{accounting::receipts::mailbox, metrics::Metrics};

    /// A run of shares of the easiest kind, on channel 2.
    fn entry(account: AccountId, job: JobTerms, count: u32, last_sequence_number: u32, slot: &ReceiptSlot) -> Entry {
        let run = ShareRun {
            account,
            worker: "".into(),
            job,
            difficulty: payouts::share::Difficulty::MIN,
            reward: Reward::Shared,
            count,
            first_at_ms: 0,
            last_at_ms: 0,
        };
        Entry { run, channel_id: 2, last_sequence_number, difficulty: Difficulty::MIN, receipts: slot.clone() }
    }

    fn terms(position: ShareSeq) -> JobTerms {
        JobTerms {
            job: JobNumber::new(1),
            position,
            opened_at_ms: 0,
            prev_hash: Some(BlockHash::all_zeros()),
            height: Some(900_000),
            nbits: CompactTarget::from_consensus(0x1702_1369),
            subsidy: Some(Amount::from_sat(312_500_000)),
            fees: Some(Amount::ZERO),
        }
    }

    fn incoming(capacity: usize) -> (ShareLog, Incoming) {
        let (queue, entries) = mpsc::channel(capacity);
        let log = ShareLog::stuck(queue);
        let gathered = Arc::clone(&log.gathered);
        (log, Incoming { entries, gathered })
    }

    fn of(count: usize) -> Entry {
        let count = u32::try_from(count).unwrap();
        entry(AccountId::new(1), terms(ShareSeq::new(0)), count, count, &mailbox().0)
    }

    #[tokio::test]
    async fn group_after_another_waits_for_more_and_one_after_a_pause_does_not() {
        let (log, mut incoming) = incoming(16);
        let mut batch = Vec::new();
        log.try_queue(of(1)).unwrap();
        assert!(incoming.gather(&mut batch, None).await);
        assert_eq!(batch.drain(..).len(), 1);

        log.try_queue(of(1)).unwrap();
        let (now, due) = (Instant::now(), Instant::now() + Duration::from_millis(200));
        let more = async {
            sleep(Duration::from_millis(20)).await;
            log.try_queue(of(2)).unwrap();
        };
        assert!(tokio::join!(incoming.gather(&mut batch, Some(now..=due)), more).0);
        assert!(Instant::now() >= due);
        assert_eq!(batch.drain(..).len(), 2, "what came meanwhile belongs to it");

        log.try_queue(of(1)).unwrap();
        let mut gathered = Box::pin(incoming.gather(&mut batch, Some(now..=due)));
        let polled = gathered.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(true), "its time has come already");
    }

    #[tokio::test]
    async fn large_group_waits_for_the_shortest_interval_only() {
        let (log, mut incoming) = incoming(16);
        let mut batch = Vec::new();
        let begun = Instant::now();
        let span = || Some(begun + Duration::from_millis(50)..=begun + Duration::from_secs(3_600));
        for _ in 0..3 {
            log.try_queue(of(LARGE_GROUP - 1)).unwrap();
            let last = async {
                sleep(Duration::from_millis(1)).await;
                log.try_queue(of(1)).unwrap();
            };
            let gathered = async { tokio::join!(incoming.gather(&mut batch, span()), last).0 };
            assert!(timeout(Duration::from_secs(60), gathered).await.unwrap());
            assert!(begun.elapsed() >= Duration::from_millis(50));
            assert_eq!(batch.drain(..).map(|entry| entry.shares()).sum::<usize>(), LARGE_GROUP);
        }
        // What found no room does not count.
        assert!((0..16).all(|_| log.try_queue(of(1)).is_ok()));
        assert!(matches!(log.try_queue(of(LARGE_GROUP)), Err(NotQueued::Full(_))));
        let small = timeout(Duration::from_millis(50), incoming.gather(&mut batch, span()));
        assert!(small.await.is_err(), "it waits");
    }

    #[tokio::test]
    async fn receipts_come_when_the_shares_are_in_the_store_and_the_log_ends_with_its_last_handle() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap());
        let address = Address::<NetworkUnchecked>::from_str("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4").unwrap();
        let account = store.account(&address.assume_checked()).await.unwrap();
        let session = store.begin_session().await.unwrap();
        let segments = Segments::of_session(session).unwrap();
        let scheme = Pplns { window: 8.try_into().unwrap(), fee: PoolFee::NONE };
        let books = Arc::new(Books::new(Arc::clone(&store), scheme));
        let metrics = ShareLogMetrics::register(&mut Metrics::new());
        let (log, task) = ShareLog::start(Arc::clone(&store), books, session, segments.clone(), metrics);
        let (slot, mut receipts) = mailbox();
        let start = ShareSeq::new(segments.cut().0);
        let job = terms(start);
        for (count, last_sequence_number) in [(1, 1), (3, 4), (1, 5)] {
            log.try_queue(entry(account, job, count, last_sequence_number, &slot)).unwrap();
        }
        let mut acknowledged = 0;
        while acknowledged < 5 {
            let group = receipts.take().await;
            let stored = store.share_totals(None, 0).await.unwrap().count;
            acknowledged += group.iter().map(Durable::count).sum::<usize>();
            assert!(stored >= acknowledged as u64, "{stored} stored, {acknowledged} acknowledged");
        }
        assert_eq!(acknowledged, 5);
        // What a job made now pays for is what is stored, and nothing that comes later.
        let position = ShareSeq::new(segments.cut().0);
        segments.settled(position).await;
        assert_eq!(store.share_position().await.unwrap(), position);
        assert_eq!(store.work_between(start, position).await.unwrap().len(), 1);
        drop(log);
        task.await.unwrap();
        assert_eq!(store.share_totals(None, 0).await.unwrap().count, 5);
    }
}
