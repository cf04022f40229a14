//! Found blocks: to the node at once, kept on disk until the node has answered and the books know.

mod spool;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use bitcoin::{Address, Amount, BlockHash, CompactTarget, OutPoint, Txid, address::NetworkUnchecked};
use payouts::{
    account::AccountId,
    books::{Books, BooksError, DirectPayments, FoundBlock},
    scheme::rule::Scheme,
    share::{Reward, ShareSeq},
    store::Store,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::{error, info, warn};

pub use self::spool::Spool;
use super::{
    block_news::{BlockPiece, Reached},
    kept_blocks::BlockWay,
    metrics::BlockStep,
    segments::Segments,
    share_log::unix_time_ms,
};
use crate::{
    mining::share::ValidShare,
    template::{
        node::{NodeError, SubmitOutcome},
        nodes::Nodes,
    },
};

/// Found blocks that wait for the node. When they are so many, the connections that found them wait.
const QUEUE_CAPACITY: usize = 64;
/// Submitted blocks that wait for the books, which may be out of reach: far more than any pool finds in an outage. When
/// they are so many, the next ones wait to be submitted.
const MAX_UNRECORDED: usize = 1_024;
/// The coinbase's output that pays the pool.
const POOL_OUTPUT: u32 = 0;
/// Pause before something that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// A share that is a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution {
    /// What the books need to know about it.
    pub facts: Facts,
    /// The whole block, in network serialisation.
    pub block: Vec<u8>,
}

/// What the books need to know about a found block. Kept beside it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Hash of the block.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// Txid of its coinbase, whose first output is the pool's.
    pub coinbase_txid: Txid,
    /// What the coinbase pays to the pool, in satoshis.
    pub value_sat: u64,
    /// The part of it that is newly issued; the rest are fees.
    pub subsidy_sat: u64,
    /// The network's target that it meets.
    pub nbits: CompactTarget,
    /// The address of whoever found it. Its network was checked when the channel was opened; its account is looked up
    /// when the block is booked, so that a database that is down does not stand between a block and the node.
    pub finder: Address<NetworkUnchecked>,
    /// The last segment of the share log that takes part in the split: where it was cut when the job was made.
    pub share_position: i64,
    /// When the share arrived, milliseconds since 1970 UTC.
    pub found_at_ms: i64,
    /// By what the block is split: frozen with its job. Blocks kept by older versions have none, and are split by the
    /// scheme of the run that books them.
    #[serde(default)]
    pub scheme: Option<Scheme>,
    /// Its way so far.
    #[serde(default)]
    pub way: BlockWay,
}

impl Solution {
    /// Writes down what a share has solved whose block is split by `scheme`.
    pub fn new(share: &ValidShare, finder: &Address, scheme: Option<Scheme>, found_at_ms: i64) -> Self {
        let (job, template) = (share.job(), share.job().template());
        let facts = Facts {
            hash: share.hash(),
            height: template.height,
            coinbase_txid: share.coinbase_txid(),
            value_sat: template.coinbase_value.to_sat(),
            subsidy_sat: job.subsidy().to_sat(),
            nbits: template.nbits,
            finder: finder.as_unchecked().clone(),
            share_position: job.share_position().0,
            found_at_ms,
            scheme,
            way: BlockWay { job_made_at_ms: Some(job.made_at_ms()), ..BlockWay::default() },
        };
        Self { facts, block: share.block() }
    }
}

impl Facts {
    fn news(&self, at_ms: i64, reached: Reached) -> BlockPiece {
        BlockPiece { at_ms, hash: self.hash, height: self.height, value_sat: self.value_sat, reached }
    }

    fn for_the_books(&self, finder: AccountId) -> FoundBlock {
        FoundBlock {
            hash: self.hash,
            height: self.height,
            coinbase: OutPoint::new(self.coinbase_txid, POOL_OUTPUT),
            value: Amount::from_sat(self.value_sat),
            subsidy: Amount::from_sat(self.subsidy_sat),
            finder,
            share_position: ShareSeq::new(self.share_position),
            nbits: self.nbits,
            found_at_ms: self.found_at_ms,
            direct: DirectPayments::default(),
        }
    }
}

/// The way of a found block from its connection to the node.
#[derive(Clone, Debug)]
pub struct FoundBlocks {
    spool: Spool,
    queue: mpsc::Sender<Arc<Solution>>,
}

/// The task behind [`FoundBlocks`] has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("found blocks are not submitted any more")]
pub struct NotSubmitting;

impl FoundBlocks {
    /// Opens the way over `spool`, and returns its end for [`submit_all`].
    pub fn open(spool: Spool) -> (Self, mpsc::Receiver<Arc<Solution>>) {
        let (queue, solutions) = mpsc::channel(QUEUE_CAPACITY);
        (Self { spool, queue }, solutions)
    }

    /// Writes a block down, which takes a moment, and sends it on its way. From then on no kill loses it: not between
    /// the share's acknowledgement and the node, and not between the node and the books. The books have no part in this,
    /// unless they have been out of reach for `MAX_UNRECORDED` blocks.
    ///
    /// # Errors
    ///
    /// If blocks are not submitted any more.
    pub async fn hand_in(&self, solution: Solution) -> Result<(), NotSubmitting> {
        self.spool.metrics.step(BlockStep::Found);
        self.spool.news.tell(solution.facts.news(solution.facts.found_at_ms, Reached::Found));
        let solution = Arc::new(solution);
        let (spool, kept) = (self.spool.clone(), Arc::clone(&solution));
        // A block that cannot be kept is submitted all the same.
        log_failure(run_blocking(move || spool.keep(&kept)).await, solution.facts.hash, "kept on disk");
        self.queue.send(solution).await.map_err(|_| NotSubmitting)
    }
}

/// What enters blocks in the books.
pub struct Booking {
    /// Where accounts are looked up.
    pub store: Arc<dyn Store>,
    /// The books.
    pub books: Arc<Books>,
    /// What tells when the shares are on disk that a block pays for.
    pub segments: Segments,
}

/// Takes found blocks to the node and into the books, first those that an earlier run has left, one after the other,
/// until all senders are gone. `changed` is told of each block that the books have taken.
///
/// The next block goes to the node while the last one waits for the books: a database that is down costs no block.
pub async fn submit_all(
    nodes: Nodes,
    booking: Booking,
    spool: Spool,
    left_over: Vec<Solution>,
    mut solutions: mpsc::Receiver<Arc<Solution>>,
    changed: watch::Sender<()>,
) {
    let (submitted, unrecorded) = mpsc::channel(MAX_UNRECORDED);
    let submitting = async {
        // Dropped at the end, which ends the recording too.
        let submitted = submitted;
        for solution in left_over {
            let Facts { hash, height, .. } = solution.facts;
            info!(block_hash = %hash, height, "block was kept by an earlier run");
            submit(&nodes, &spool, &solution, &submitted).await;
        }
        while let Some(solution) = solutions.recv().await {
            submit(&nodes, &spool, &solution, &submitted).await;
        }
    };
    tokio::join!(submitting, record_all(&booking, &spool, unrecorded, &changed));
}

/// Submits one block until its fate is known, and sends it to the books unless it is invalid.
async fn submit(nodes: &Nodes, spool: &Spool, solution: &Solution, submitted: &mpsc::Sender<Facts>) {
    let Facts { hash, height, .. } = solution.facts;
    // The disk works while the node does.
    let syncer = spool.clone();
    let (synced, outcome) = tokio::join!(run_blocking(move || syncer.sync(hash)), until_answered(nodes, solution));
    log_failure(synced, hash, "kept safe from a loss of power");
    spool.metrics.step(match &outcome {
        SubmitOutcome::Accepted | SubmitOutcome::Duplicate => BlockStep::Accepted,
        SubmitOutcome::Inconclusive => BlockStep::Stale,
        SubmitOutcome::Rejected { .. } => BlockStep::Rejected,
    });
    match &outcome {
        SubmitOutcome::Accepted => info!(block_hash = %hash, height, "block found and accepted"),
        SubmitOutcome::Duplicate => info!(block_hash = %hash, height, "block found; the node has it already"),
        SubmitOutcome::Inconclusive => warn!(block_hash = %hash, height, "block found, but it is not the tip: stale"),
        SubmitOutcome::Rejected { reason } => {
            error!(block_hash = %hash, height, reason, "block found, but the node calls it invalid");
            let rejected = Reached::Rejected { reason: reason.clone() };
            spool.news.tell(solution.facts.news(unix_time_ms(), rejected));
            log_failure(spool.set_aside(hash), hash, "put aside");
            return;
        }
    }
    let answer = match outcome {
        SubmitOutcome::Duplicate => "known",
        SubmitOutcome::Inconclusive => "stale",
        _ => "accepted",
    };
    let (mut facts, answered_at_ms) = (solution.facts.clone(), unix_time_ms());
    // Before the books can have it: what happens is told in its order.
    spool.news.tell(facts.news(answered_at_ms, Reached::Submitted { answer }));
    facts.way.answered_at_ms = Some(answered_at_ms);
    facts.way.answer = Some(answer.to_owned());
    submitted.send(facts).await.expect("blocks are recorded for as long as they are submitted");
}

/// Enters submitted blocks in the books, lower ones first, until all senders are gone.
///
/// None is split before all shares that it pays for are on disk: those of a group that was on its way there when the
/// block's job was made are too.
async fn record_all(
    booking: &Booking,
    spool: &Spool,
    mut unrecorded: mpsc::Receiver<Facts>,
    changed: &watch::Sender<()>,
) {
    let mut pending = BTreeMap::new();
    while let Some(facts) = next(spool, &mut pending, &mut unrecorded).await {
        booking.segments.settled(ShareSeq::new(facts.share_position)).await;
        record(booking, spool, &facts, changed).await;
    }
}

/// Returns the lowest submitted block, once no lower one is on its way; nothing when all are recorded.
async fn next(
    spool: &Spool,
    pending: &mut BTreeMap<(u32, BlockHash), Facts>,
    unrecorded: &mut mpsc::Receiver<Facts>,
) -> Option<Facts> {
    loop {
        while let Ok(facts) = unrecorded.try_recv() {
            pending.insert((facts.height, facts.hash), facts);
        }
        let arrived = match pending.first_key_value() {
            None => unrecorded.recv().await,
            // A lower block may also turn out to be invalid, of which nothing is heard here.
            Some((&(height, _), _)) if spool.has_lower(height) && !unrecorded.is_closed() => {
                let Ok(arrived) = timeout(RETRY_PAUSE, unrecorded.recv()).await else { continue };
                arrived
            }
            Some(_) => return pending.pop_first().map(|(_, facts)| facts),
        };
        match arrived {
            Some(facts) => pending.insert((facts.height, facts.hash), facts),
            None => return pending.pop_first().map(|(_, facts)| facts),
        };
    }
}

/// Enters one block in the books, as often as it takes; one that they refuse is put aside.
async fn record(booking: &Booking, spool: &Spool, facts: &Facts, changed: &watch::Sender<()>) {
    let hash = facts.hash;
    loop {
        match enter(booking, facts).await {
            Ok(()) => break,
            Err(BooksError::Store(error)) => {
                error!(block_hash = %hash, %error, "block could not be entered in the books, trying again");
                sleep(RETRY_PAUSE).await;
            }
            Err(error) => {
                error!(block_hash = %hash, %error, "block cannot be entered in the books");
                return log_failure(spool.set_aside(hash), hash, "put aside");
            }
        }
    }
    spool.metrics.step(BlockStep::Booked);
    log_failure(spool.put_away(facts), hash, "put away");
    changed.send_replace(());
}

async fn enter(booking: &Booking, facts: &Facts) -> Result<(), BooksError> {
    let finder = booking.store.account(facts.finder.assume_checked_ref()).await?;
    let scheme = match facts.scheme {
        Some(scheme) => scheme,
        None => scheme_of(booking, finder).await?,
    };
    booking.books.record_under(&facts.for_the_books(finder), scheme).await?;
    Ok(())
}

/// Returns the scheme for a block of a miner of whom it was not known yet what he mines for.
async fn scheme_of(booking: &Booking, finder: AccountId) -> Result<Scheme, BooksError> {
    let (scheme, settings) = (booking.books.scheme(), booking.store.settings(finder).await?);
    Ok(match settings.map(|settings| settings.reward) {
        Some(Reward::Solo) => scheme.solo(),
        Some(Reward::Shared) | None => scheme,
    })
}

async fn until_answered(nodes: &Nodes, solution: &Solution) -> SubmitOutcome {
    loop {
        match nodes.submit_block(&solution.block).await {
            Ok(outcome) => return outcome,
            Err(NodeError::Refused { message, .. }) => return SubmitOutcome::Rejected { reason: message },
            Err(error) => {
                error!(block_hash = %solution.facts.hash, %error, "block not submitted yet, trying again");
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Does what blocks apart from the threads that serve miners.
async fn run_blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn log_failure(result: io::Result<()>, hash: BlockHash, what: &str) {
    if let Err(error) = result {
        error!(block_hash = %hash, %error, "found block could not be {what}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use bitcoin::hashes::Hash;

    use super::{super::kept_blocks::KeptBlocks, spool::FACTS, *};

    fn solution(height: u32) -> Solution {
        let facts = Facts {
            hash: BlockHash::from_byte_array([height as u8; 32]),
            height,
            coinbase_txid: Txid::from_byte_array([2; 32]),
            value_sat: 5_000_000_000,
            subsidy_sat: 5_000_000_000,
            nbits: CompactTarget::from_consensus(0x1702_1369),
            finder: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".parse().unwrap(),
            share_position: 4,
            found_at_ms: 5,
            scheme: Some("prop fee_bp=100".parse().unwrap()),
            way: BlockWay::default(),
        };
        Solution { facts, block: vec![0, 1, 0xff] }
    }

    #[test]
    fn kept_block_is_found_by_the_next_run_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().join("blocks")).unwrap();
        for height in [8, 7] {
            spool.keep(&solution(height)).unwrap();
            spool.sync(solution(height).facts.hash).unwrap();
        }
        let next_run = Spool::open(folder.path().join("blocks")).unwrap();
        assert_eq!(next_run.left_over().unwrap(), [solution(7), solution(8)]);
        assert!(next_run.holds_any().unwrap());
        next_run.forget(solution(7).facts.hash).unwrap();
        next_run.set_aside(solution(8).facts.hash).unwrap();
        assert_eq!(next_run.left_over().unwrap(), []);
        assert!(!next_run.holds_any().unwrap());
    }

    #[test]
    fn block_that_needs_nothing_more_is_kept_for_whoever_asks() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptBlocks::open(folder.path().join("kept")).unwrap();
        let spool = Spool::open(folder.path().join("blocks")).unwrap().with_kept(kept.clone());
        let Solution { mut facts, block } = solution(7);
        spool.keep(&solution(7)).unwrap();
        facts.way.answer = Some("accepted".to_owned());
        spool.put_away(&facts).unwrap();
        assert!(!spool.holds_any().unwrap());
        assert_eq!((kept.raw(facts.hash).unwrap(), kept.way(facts.hash).unwrap()), (Some(block), Some(facts.way)));
    }

    #[test]
    fn block_kept_by_an_older_version_has_no_scheme_of_its_own() {
        let mut facts = serde_json::to_value(&solution(7).facts).unwrap();
        assert_eq!(facts["scheme"], "prop fee_bp=100");
        for since in ["scheme", "way"] {
            facts.as_object_mut().unwrap().remove(since);
        }
        let facts = serde_json::from_value::<Facts>(facts).unwrap();
        assert_eq!((facts.scheme, facts.way), (None, BlockWay::default()));
    }

    #[tokio::test]
    async fn lower_blocks_are_booked_first() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().to_owned()).unwrap();
        let (submitted, mut unrecorded) = mpsc::channel(4);
        for height in [7, 8, 9] {
            spool.keep(&solution(height)).unwrap();
        }
        let mut pending = BTreeMap::new();
        for height in [9, 8] {
            submitted.send(solution(height).facts).await.unwrap();
        }
        // The lowest is still with the node.
        let early = timeout(Duration::from_millis(50), next(&spool, &mut pending, &mut unrecorded)).await;
        assert!(early.is_err(), "{early:?}");
        submitted.send(solution(7).facts).await.unwrap();
        for height in [7, 8] {
            let facts = next(&spool, &mut pending, &mut unrecorded).await.unwrap();
            assert_eq!(facts.height, height);
            if height == 7 {
                spool.forget(facts.hash).unwrap();
            }
        }
        // One that the node calls invalid keeps nobody waiting.
        spool.set_aside(solution(8).facts.hash).unwrap();
        assert_eq!(next(&spool, &mut pending, &mut unrecorded).await.unwrap().height, 9);
        drop(submitted);
        assert_eq!(next(&spool, &mut pending, &mut unrecorded).await, None);
    }

    #[test]
    fn half_written_block_is_none_and_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().to_owned()).unwrap();
        let half_removed = solution(9);
        spool.keep(&half_removed).unwrap();
        fs::remove_file(spool.path(half_removed.facts.hash, FACTS)).unwrap();
        fs::write(folder.path().join("x.unfinished"), b"{").unwrap();
        assert_eq!(spool.left_over().unwrap(), []);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn unreadable_facts_and_rejected_blocks_are_left_for_the_operator() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().to_owned()).unwrap();
        spool.keep(&solution(7)).unwrap();
        spool.set_aside(solution(7).facts.hash).unwrap();
        fs::write(folder.path().join("y.json"), b"{").unwrap();
        assert_eq!(spool.left_over().unwrap(), []);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
