//! The share log: every accepted share goes to disk before it is acknowledged.
//!
//! Shares of all connections queue here; one task commits whatever has gathered in a single transaction (a slow disk
//! makes larger groups, not a longer queue) and sends each connection a [`Durable`] for each of its shares. Only from
//! those can an acknowledgement be built.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use payouts::{
    books::Books,
    share::{NewShare, ShareGroup},
    store::Store,
};
use protocol::messages::mining::SubmitSharesSuccess;
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use tracing::{error, info};

use super::segments::Segments;
use crate::mining::difficulty::Difficulty;

/// Shares that wait for the disk, of all connections together. When they are so many, further ones wait with their
/// connections.
const QUEUE_CAPACITY: usize = 16_384;
/// Most shares in one transaction.
const MAX_BATCH: usize = 8_192;
/// Shares of one connection that may wait for the disk, here or with it. When they are so many, it reads no further for a
/// moment, and then refuses further ones.
pub const MAX_UNACKNOWLEDGED: usize = 4_096;
/// Shares that may wait with their connections, of all together: about 250 MB. When they are so many, connections refuse
/// further ones.
const MAX_WAITING: usize = 1 << 20;
/// Pause before a commit that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A number that tells connections apart while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// Proof that a share is on disk. Only the share log makes one.
#[derive(Clone, Copy, Debug)]
pub struct Durable {
    channel_id: u32,
    sequence_number: u32,
    difficulty: Difficulty,
}

#[cfg(test)]
impl Durable {
    /// Pretends that a share is on disk.
    pub(crate) fn pretended(channel_id: u32, sequence_number: u32) -> Self {
        Self { channel_id, sequence_number, difficulty: Difficulty::MIN }
    }
}

/// Builds the acknowledgements for what has become durable: one for each channel, in the order of first appearance.
pub fn acknowledge(receipts: &[Durable]) -> Vec<SubmitSharesSuccess> {
    let mut successes: Vec<(SubmitSharesSuccess, u128)> = Vec::new();
    for receipt in receipts {
        let index = successes.iter().position(|(success, _)| success.channel_id == receipt.channel_id);
        let index = index.unwrap_or_else(|| {
            let (channel_id, last_sequence_number) = (receipt.channel_id, receipt.sequence_number);
            let empty = SubmitSharesSuccess {
                channel_id,
                last_sequence_number,
                new_submits_accepted_count: 0,
                new_shares_sum: 0,
            };
            successes.push((empty, 0));
            successes.len() - 1
        });
        let (success, hashes) = &mut successes[index];
        success.last_sequence_number = receipt.sequence_number;
        success.new_submits_accepted_count += 1;
        *hashes = hashes.saturating_add(receipt.difficulty.in_hashes());
        success.new_shares_sum = u64::try_from(*hashes >> 32).unwrap_or(u64::MAX);
    }
    successes.into_iter().map(|(success, _)| success).collect()
}

/// Reads the clock that shares are dated by, in milliseconds since 1970 UTC.
pub fn unix_time_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A share for the log, with where its receipt goes.
#[derive(Debug)]
pub struct Entry {
    /// What is stored.
    pub share: NewShare,
    /// The channel within the connection.
    pub channel_id: u32,
    /// The client's number of the submission.
    pub sequence_number: u32,
    /// What the share is credited with.
    pub difficulty: Difficulty,
    /// Who waits for the receipt.
    pub connection: ConnectionId,
    /// Where the receipt goes. Holds [`MAX_UNACKNOWLEDGED`], as many as its connection may wait for.
    pub receipts: mpsc::Sender<Vec<Durable>>,
}

/// The way into the log; one for each connection.
#[derive(Clone, Debug)]
pub struct ShareLog {
    queue: mpsc::Sender<Entry>,
    waiting: WaitingShares,
}

/// How many shares wait with their connections; all clones are the same. Connections count them one by one while others
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

    /// Notes that one waits.
    pub fn add_one(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that so many of those that waited do not any more.
    pub fn subtract(&self, count: usize) {
        self.count.fetch_sub(count, Ordering::Relaxed);
    }
}

impl ShareLog {
    /// Starts the log's task for a session of the pool, whose shares go to `segments`, and which tells the books of all
    /// that is stored. It ends when the last [`ShareLog`] is dropped and all is committed.
    pub fn start(store: Arc<dyn Store>, books: Arc<Books>, session: i64, segments: Segments) -> (Self, JoinHandle<()>) {
        let (queue, entries) = mpsc::channel(QUEUE_CAPACITY);
        let task = tokio::spawn(commit_all(store, books, session, segments, entries));
        (Self { queue, waiting: WaitingShares::new(MAX_WAITING) }, task)
    }

    /// Makes a log that does nothing with what comes into `queue`.
    #[cfg(test)]
    pub(crate) fn stuck(queue: mpsc::Sender<Entry>) -> Self {
        Self { queue, waiting: WaitingShares::new(MAX_WAITING) }
    }

    /// Returns the queue, for connections that wait for room in it.
    pub fn queue(&self) -> &mpsc::Sender<Entry> {
        &self.queue
    }

    /// Returns the count of the shares that wait with their connections.
    pub fn waiting(&self) -> &WaitingShares {
        &self.waiting
    }
}

/// Commits group after group until all senders are gone.
async fn commit_all(
    store: Arc<dyn Store>,
    books: Arc<Books>,
    session: i64,
    segments: Segments,
    mut entries: mpsc::Receiver<Entry>,
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    for number in 1.. {
        if entries.recv_many(&mut batch, MAX_BATCH).await == 0 {
            return;
        }
        let shares = batch.iter().map(|entry| entry.share.clone()).collect();
        let group = ShareGroup { session, number, segment: segments.begin_group(), shares };
        commit(store.as_ref(), &group).await;
        books.shares_stored(&group).await;
        segments.end_group();
        send_receipts(&mut batch);
    }
}

/// Commits one group, again and again until it succeeds: until then nothing is acknowledged. Its number sees to it that
/// an attempt whose answer was lost does not count twice.
async fn commit(store: &dyn Store, group: &ShareGroup) {
    let mut failed = false;
    loop {
        match store.append_shares(group).await {
            Ok(_) => {
                if failed {
                    info!("share log writes again");
                }
                return;
            }
            Err(error) => {
                let shares = group.shares.len();
                error!(%error, shares, "share log cannot write; no share is acknowledged until it can");
                failed = true;
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

fn send_receipts(batch: &mut Vec<Entry>) {
    let mut by_connection: HashMap<ConnectionId, (mpsc::Sender<Vec<Durable>>, Vec<Durable>)> = HashMap::new();
    for entry in batch.drain(..) {
        let receipt = Durable {
            channel_id: entry.channel_id,
            sequence_number: entry.sequence_number,
            difficulty: entry.difficulty,
        };
        by_connection.entry(entry.connection).or_insert_with(|| (entry.receipts, Vec::new())).1.push(receipt);
    }
    for (sender, receipts) in by_connection.into_values() {
        // A connection never waits for more receipts than its channel holds; an error means that it is gone.
        let _ = sender.try_send(receipts);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::str::FromStr;

    use bitcoin::{Address, Amount, BlockHash, CompactTarget, address::NetworkUnchecked, hashes::Hash};
    use payouts::{
        scheme::{PoolFee, pplns::Pplns},
        share::{JobNumber, JobTerms, Reward, ShareSeq},
        store::sqlite::SqliteStore,
    };

    use super::*;

    fn receipt(channel_id: u32, sequence_number: u32, log2: i32) -> Durable {
        Durable { channel_id, sequence_number, difficulty: Difficulty::from_log2(log2) }
    }

    #[test]
    fn each_channel_is_told_its_last_number_its_count_and_its_sum() {
        let receipts = [receipt(3, 7, 4), receipt(2, 1, 10), receipt(3, 9, 5), receipt(3, 8, 5)];
        let told: Vec<_> = acknowledge(&receipts)
            .iter()
            .map(|success| {
                let SubmitSharesSuccess { last_sequence_number, new_submits_accepted_count, new_shares_sum, .. } =
                    *success;
                (success.channel_id, last_sequence_number, new_submits_accepted_count, new_shares_sum)
            })
            .collect();
        assert_eq!(told, [(3, 8, 3, 16 + 32 + 32), (2, 1, 1, 1024)]);
        assert_eq!(acknowledge(&[]), []);
    }

    #[test]
    fn shares_below_difficulty_one_add_up_before_they_are_cut_off() {
        let halves = [receipt(2, 1, -1), receipt(2, 2, -1), receipt(2, 3, -1)];
        assert_eq!(acknowledge(&halves)[0].new_shares_sum, 1);
        assert_eq!(acknowledge(&[receipt(2, 1, 95), receipt(2, 2, 95)])[0].new_shares_sum, u64::MAX);
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
        let (log, task) = ShareLog::start(Arc::clone(&store), books, session, segments.clone());
        let (receipts, mut received) = mpsc::channel(MAX_UNACKNOWLEDGED);
        let start = ShareSeq::new(segments.cut().0);
        let job = JobTerms {
            job: JobNumber::new(1),
            position: start,
            opened_at_ms: 0,
            prev_hash: Some(BlockHash::all_zeros()),
            height: Some(900_000),
            nbits: CompactTarget::from_consensus(0x1702_1369),
            subsidy: Some(Amount::from_sat(312_500_000)),
            fees: Some(Amount::ZERO),
        };
        for sequence_number in [1, 2, 3] {
            let share = NewShare {
                account,
                worker: String::new(),
                job,
                difficulty: payouts::share::Difficulty::MIN,
                reward: Reward::Shared,
                at_ms: 0,
            };
            let (channel_id, difficulty, connection) = (2, Difficulty::MIN, ConnectionId(1));
            let entry =
                Entry { share, channel_id, sequence_number, difficulty, connection, receipts: receipts.clone() };
            log.queue().send(entry).await.unwrap();
        }
        let mut acknowledged = Vec::new();
        while acknowledged.len() < 3 {
            let group = received.recv().await.unwrap();
            let stored = store.share_totals(None, 0).await.unwrap().count;
            acknowledged.extend(group.iter().map(|receipt| receipt.sequence_number));
            assert!(stored >= acknowledged.len() as u64, "{stored} stored, {acknowledged:?} acknowledged");
        }
        assert_eq!(acknowledged, [1, 2, 3]);
        // What a job made now pays for is what is stored, and nothing that comes later.
        let position = ShareSeq::new(segments.cut().0);
        segments.settled(position).await;
        assert_eq!(store.share_position().await.unwrap(), position);
        assert_eq!(store.work_between(start, position).await.unwrap().len(), 1);
        drop(log);
        task.await.unwrap();
        assert_eq!(store.share_totals(None, 0).await.unwrap().count, 3);
    }
}
