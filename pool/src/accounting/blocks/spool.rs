//! The folder where found blocks lie, so that they outlive the process.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bitcoin::BlockHash;
use payouts::crash_point;
use tracing::error;

use super::{Facts, Solution};
use crate::accounting::{block_news::BlockNews, kept_blocks::KeptBlocks, metrics::BlockMetrics};

/// Extension of the files with the facts about a kept block, in JSON.
pub(super) const FACTS: &str = "json";
/// Extension of facts that are being written.
const UNFINISHED: &str = "unfinished";
/// Extension of facts about a block that nothing more can be done with.
const REJECTED: &str = "rejected";
/// Extension of the files with a kept block, in network serialisation.
const BLOCK: &str = "block";

/// The folder where found blocks lie until they are known to the node and in the books.
#[derive(Clone, Debug)]
pub struct Spool {
    folder: PathBuf,
    /// Height and hash of the blocks that are on their way to the books.
    on_their_way: Arc<Mutex<BTreeSet<(u32, BlockHash)>>>,
    pub(super) metrics: BlockMetrics,
    pub(super) news: BlockNews,
    /// Where blocks go that need nothing more.
    kept: Option<KeptBlocks>,
}

impl Spool {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let (metrics, news) = (BlockMetrics::default(), BlockNews::default());
        Ok(Self { folder, on_their_way: Arc::default(), metrics, news, kept: None })
    }

    /// Keeps blocks for whoever asks later.
    #[must_use]
    pub fn with_kept(self, kept: KeptBlocks) -> Self {
        Self { kept: Some(kept), ..self }
    }

    /// Tells in `news` how far blocks come until they are booked.
    #[must_use]
    pub fn with_news(self, news: BlockNews) -> Self {
        Self { news, ..self }
    }

    /// Counts in `metrics` what becomes of blocks.
    #[must_use]
    pub fn with_metrics(self, metrics: BlockMetrics) -> Self {
        Self { metrics, ..self }
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
        let left_over = solutions.iter().map(|solution| (solution.facts.height, solution.facts.hash));
        self.change_on_their_way(|blocks| blocks.extend(left_over));
        Ok(solutions)
    }

    /// Tells whether a block waits there to be submitted or booked.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn holds_any(&self) -> io::Result<bool> {
        for entry in fs::read_dir(&self.folder)? {
            if entry?.path().extension().and_then(OsStr::to_str) == Some(FACTS) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn on_their_way(&self) -> MutexGuard<'_, BTreeSet<(u32, BlockHash)>> {
        self.on_their_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_on_their_way(&self, change: impl FnOnce(&mut BTreeSet<(u32, BlockHash)>)) {
        let mut blocks = self.on_their_way();
        change(&mut blocks);
        self.metrics.pending(blocks.len());
    }

    /// Tells whether a lower block is on its way, which must be booked first: with PROP it ends a round.
    pub(super) fn has_lower(&self, height: u32) -> bool {
        self.on_their_way().first().is_some_and(|(lowest, _)| *lowest < height)
    }

    pub(super) fn path(&self, hash: BlockHash, extension: &str) -> PathBuf {
        self.folder.join(format!("{hash}.{extension}"))
    }

    /// Writes the block down: enough to outlive the process, whenever that ends. Its facts come last, so that they
    /// never stand without it.
    pub(super) fn keep(&self, solution: &Solution) -> io::Result<()> {
        let Solution { facts, block } = solution;
        crash_point::reach(format_args!("before keep block"));
        self.change_on_their_way(|blocks| {
            blocks.insert((facts.height, facts.hash));
        });
        fs::write(self.path(facts.hash, BLOCK), block)?;
        let unfinished = self.path(facts.hash, UNFINISHED);
        fs::write(&unfinished, serde_json::to_vec(facts)?)?;
        crash_point::reach(format_args!("amid keep block"));
        fs::rename(&unfinished, self.path(facts.hash, FACTS))?;
        crash_point::reach(format_args!("after keep block"));
        Ok(())
    }

    /// Makes a block that was written down outlive a loss of power too.
    pub(super) fn sync(&self, hash: BlockHash) -> io::Result<()> {
        for extension in [BLOCK, FACTS] {
            fs::File::open(self.path(hash, extension))?.sync_all()?;
        }
        fs::File::open(&self.folder)?.sync_all()
    }

    /// Puts a block away that node and books have. Whoever asks later finds it where such blocks are kept.
    pub(super) fn put_away(&self, facts: &Facts) -> io::Result<()> {
        let kept = match &self.kept {
            Some(kept) => kept.keep(facts.hash, &self.path(facts.hash, BLOCK), &facts.way),
            None => Ok(()),
        };
        self.forget(facts.hash)?;
        kept
    }

    pub(super) fn forget(&self, hash: BlockHash) -> io::Result<()> {
        crash_point::reach(format_args!("before forget block"));
        self.change_on_their_way(|blocks| blocks.retain(|(_, kept)| *kept != hash));
        fs::remove_file(self.path(hash, FACTS))?;
        crash_point::reach(format_args!("amid forget block"));
        fs::remove_file(self.path(hash, BLOCK))
    }

    /// Puts a block aside that nothing more can be done with, for the operator to look at.
    pub(super) fn set_aside(&self, hash: BlockHash) -> io::Result<()> {
        self.change_on_their_way(|blocks| blocks.retain(|(_, kept)| *kept != hash));
        fs::rename(self.path(hash, FACTS), self.path(hash, REJECTED))
    }
}

fn has_facts(block: &Path) -> bool {
    [FACTS, REJECTED].into_iter().any(|extension| block.with_extension(extension).exists())
}

fn read(facts: &Path) -> io::Result<Solution> {
    Ok(Solution { facts: serde_json::from_slice(&fs::read(facts)?)?, block: fs::read(facts.with_extension(BLOCK))? })
}
