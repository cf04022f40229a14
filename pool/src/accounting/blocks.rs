//! Found blocks: to the node at once, kept on disk until the node has answered and the books know.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bitcoin::{Address, Amount, BlockHash, CompactTarget, OutPoint, Txid, address::NetworkUnchecked};
use payouts::{
    account::AccountId,
    books::{Books, BooksError, FoundBlock},
    share::ShareSeq,
    store::Store,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::sleep,
};
use tracing::{error, info, warn};

use crate::{
    mining::share::ValidShare,
    template::node::{Node, NodeError, SubmitOutcome},
};

/// Found blocks that wait for the node. When they are so many, the connections that found them wait.
const QUEUE_CAPACITY: usize = 64;
/// Submitted blocks that wait for the books, which may be out of reach: far more than any pool finds in an outage. When
/// they are so many, the next ones wait to be submitted.
const MAX_UNRECORDED: usize = 1_024;
/// Extension of the files with the facts about a kept block, in JSON.
const FACTS: &str = "json";
/// Extension of facts that are being written.
const UNFINISHED: &str = "unfinished";
/// Extension of facts about a block that nothing more can be done with.
const REJECTED: &str = "rejected";
/// Extension of the files with a kept block, in network serialisation.
const BLOCK: &str = "block";
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
    /// Position of the newest share that takes part in the split: what was on disk when the job was made.
    pub share_position: i64,
    /// When the share arrived, milliseconds since 1970 UTC.
    pub found_at_ms: i64,
}

impl Solution {
    /// Writes down what a share has solved.
    pub fn new(share: &ValidShare, finder: &Address, found_at_ms: i64) -> Self {
        let (job, template) = (share.job(), share.job().template());
        let facts = Facts {
            hash: share.hash(),
            height: template.height,
            coinbase_txid: share.coinbase_txid(),
            value_sat: template.coinbase_value.to_sat(),
            subsidy_sat: template.subsidy().to_sat(),
            nbits: template.nbits,
            finder: finder.as_unchecked().clone(),
            share_position: job.share_position().0,
            found_at_ms,
        };
        Self { facts, block: share.block() }
    }
}

impl Facts {
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
        }
    }
}

/// The folder where found blocks lie until they are known to the node and in the books.
#[derive(Clone, Debug)]
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// Returns the blocks that an earlier run of the pool has left, lowest first. A file that cannot be read is
    /// named in the log and left alone; what a kill has left half written or half removed goes. To be called before
    /// the first block is kept.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn left_over(&self) -> io::Result<Vec<Solution>> {
        let mut solutions = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            match path.extension().and_then(OsStr::to_str) {
                Some(FACTS) => match read(&path) {
                    Ok(solution) => solutions.push(solution),
                    Err(error) => error!(path = %path.display(), %error, "kept block cannot be read"),
                },
                Some(UNFINISHED) => fs::remove_file(&path)?,
                Some(BLOCK) if !has_facts(&path) => fs::remove_file(&path)?,
                _ => {}
            }
        }
        solutions.sort_by_key(|solution: &Solution| (solution.facts.height, solution.facts.hash));
        Ok(solutions)
    }

    fn path(&self, hash: BlockHash, extension: &str) -> PathBuf {
        self.folder.join(format!("{hash}.{extension}"))
    }

    /// Writes the block down: enough to outlive the process, whenever that ends. Its facts come last, so that they
    /// never stand without it.
    fn keep(&self, solution: &Solution) -> io::Result<()> {
        let Solution { facts, block } = solution;
        fs::write(self.path(facts.hash, BLOCK), block)?;
        let unfinished = self.path(facts.hash, UNFINISHED);
        fs::write(&unfinished, serde_json::to_vec(facts)?)?;
        fs::rename(&unfinished, self.path(facts.hash, FACTS))
    }

    /// Makes a block that was written down outlive a loss of power too.
    fn sync(&self, hash: BlockHash) -> io::Result<()> {
        for extension in [BLOCK, FACTS] {
            fs::File::open(self.path(hash, extension))?.sync_all()?;
        }
        fs::File::open(&self.folder)?.sync_all()
    }

    fn forget(&self, hash: BlockHash) -> io::Result<()> {
        fs::remove_file(self.path(hash, FACTS))?;
        fs::remove_file(self.path(hash, BLOCK))
    }

    /// Puts a block aside that nothing more can be done with, for the operator to look at.
    fn set_aside(&self, hash: BlockHash) -> io::Result<()> {
        fs::rename(self.path(hash, FACTS), self.path(hash, REJECTED))
    }
}

fn has_facts(block: &Path) -> bool {
    [FACTS, REJECTED].into_iter().any(|extension| block.with_extension(extension).exists())
}

fn read(facts: &Path) -> io::Result<Solution> {
    Ok(Solution { facts: serde_json::from_slice(&fs::read(facts)?)?, block: fs::read(facts.with_extension(BLOCK))? })
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
    /// the share's acknowledgement and the node, and not between the node and the books.
    ///
    /// # Errors
    ///
    /// If blocks are not submitted any more.
    pub async fn hand_in(&self, solution: Solution) -> Result<(), NotSubmitting> {
        let solution = Arc::new(solution);
        let (spool, kept) = (self.spool.clone(), Arc::clone(&solution));
        // A block that cannot be kept is submitted all the same.
        log_failure(run_blocking(move || spool.keep(&kept)).await, solution.facts.hash, "kept on disk");
        self.queue.send(solution).await.map_err(|_| NotSubmitting)
    }
}

/// Takes found blocks to the node and into the books, first those that an earlier run has left, one after the other,
/// until all senders are gone. `changed` is told of each block that the books have taken.
///
/// The next block goes to the node while the last one waits for the books: a database that is down costs no block.
pub async fn submit_all(
    node: Node,
    store: Arc<dyn Store>,
    books: Arc<Books>,
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
            submit(&node, &spool, &solution, &submitted).await;
        }
        while let Some(solution) = solutions.recv().await {
            submit(&node, &spool, &solution, &submitted).await;
        }
    };
    tokio::join!(submitting, record_all(store.as_ref(), &books, &spool, unrecorded, &changed));
}

/// Submits one block until its fate is known, and sends it to the books unless it is invalid.
async fn submit(node: &Node, spool: &Spool, solution: &Solution, submitted: &mpsc::Sender<Facts>) {
    let Facts { hash, height, .. } = solution.facts;
    // The disk works while the node does.
    let syncer = spool.clone();
    let (synced, outcome) = tokio::join!(run_blocking(move || syncer.sync(hash)), until_answered(node, solution));
    log_failure(synced, hash, "kept safe from a loss of power");
    match &outcome {
        SubmitOutcome::Accepted => info!(block_hash = %hash, height, "block found and accepted"),
        SubmitOutcome::Duplicate => info!(block_hash = %hash, height, "block found; the node has it already"),
        SubmitOutcome::Inconclusive => warn!(block_hash = %hash, height, "block found, but it is not the tip: stale"),
        SubmitOutcome::Rejected { reason } => {
            error!(block_hash = %hash, height, reason, "block found, but the node calls it invalid");
            log_failure(spool.set_aside(hash), hash, "put aside");
            return;
        }
    }
    submitted.send(solution.facts.clone()).await.expect("blocks are recorded for as long as they are submitted");
}

/// Enters submitted blocks in the books, in their order, until all senders are gone.
async fn record_all(
    store: &dyn Store,
    books: &Books,
    spool: &Spool,
    mut unrecorded: mpsc::Receiver<Facts>,
    changed: &watch::Sender<()>,
) {
    while let Some(facts) = unrecorded.recv().await {
        record(store, books, spool, &facts, changed).await;
    }
}

/// Enters one block in the books, as often as it takes; one that they refuse is put aside.
async fn record(store: &dyn Store, books: &Books, spool: &Spool, facts: &Facts, changed: &watch::Sender<()>) {
    let hash = facts.hash;
    loop {
        match enter(store, books, facts).await {
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
    log_failure(spool.forget(hash), hash, "put away");
    changed.send_replace(());
}

async fn enter(store: &dyn Store, books: &Books, facts: &Facts) -> Result<(), BooksError> {
    let finder = store.account(facts.finder.assume_checked_ref()).await?;
    books.record_found(&facts.for_the_books(finder)).await?;
    Ok(())
}

async fn until_answered(node: &Node, solution: &Solution) -> SubmitOutcome {
    loop {
        match node.submit_block(&solution.block).await {
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
    use bitcoin::hashes::Hash;

    use super::*;

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
        next_run.forget(solution(7).facts.hash).unwrap();
        next_run.set_aside(solution(8).facts.hash).unwrap();
        assert_eq!(next_run.left_over().unwrap(), []);
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
