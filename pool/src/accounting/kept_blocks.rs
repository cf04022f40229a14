//! Found blocks after the books have them: their raw bytes and their way to the node, for whoever asks later.
//!
//! Nothing depends on them: what cannot be kept is not, and the oldest go when there are too many.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use bitcoin::BlockHash;
use serde::{Deserialize, Serialize};

/// Most bytes of blocks that are kept: some hundred full ones.
const MAX_KEPT_BYTES: u64 = 1 << 30;
/// Most blocks that are kept, however small they are.
const MAX_KEPT_BLOCKS: usize = 4_096;
/// Extension of a block, in network serialisation.
const BLOCK: &str = "block";
/// Extension of what is known of its way, in JSON.
const WAY: &str = "way";

/// A found block's way from its job to the node, as far as it is known. Times are milliseconds since 1970 UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockWay {
    /// When the job was made that it solved, out of a template of that moment.
    pub job_made_at_ms: Option<i64>,
    /// When a node answered.
    pub answered_at_ms: Option<i64>,
    /// What it answered: `accepted`, `known` or `stale`.
    pub answer: Option<String>,
}

/// The folder of kept blocks. All clones are the same.
#[derive(Clone, Debug)]
pub struct KeptBlocks {
    folder: PathBuf,
    kept: Arc<Mutex<Kept>>,
    max_bytes: u64,
    max_blocks: usize,
}

#[derive(Debug, Default)]
struct Kept {
    /// The blocks and their sizes, the oldest first.
    blocks: VecDeque<(BlockHash, u64)>,
    bytes: u64,
}

impl KeptBlocks {
    /// Opens the folder, or makes it, and looks at what is there.
    ///
    /// # Errors
    ///
    /// If it can be neither made nor read.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        Self::bounded(folder, MAX_KEPT_BYTES, MAX_KEPT_BLOCKS)
    }

    fn bounded(folder: PathBuf, max_bytes: u64, max_blocks: usize) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut found: Vec<(SystemTime, BlockHash, u64)> = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let Some(hash) = hash_of(&entry.path()) else { continue };
            let metadata = entry.metadata()?;
            found.push((metadata.modified()?, hash, metadata.len()));
        }
        found.sort();
        let bytes = found.iter().map(|(_, _, size)| size).sum();
        let kept = Kept { blocks: found.into_iter().map(|(_, hash, size)| (hash, size)).collect(), bytes };
        Ok(Self { folder, kept: Arc::new(Mutex::new(kept)), max_bytes, max_blocks })
    }

    /// Keeps a block that stands in a file, which stays. The oldest go if there are too many.
    ///
    /// # Errors
    ///
    /// If it cannot be written. Whatever was kept before still is.
    pub fn keep(&self, hash: BlockHash, block: &Path, way: &BlockWay) -> io::Result<()> {
        fs::write(self.path(hash, WAY), serde_json::to_vec(way)?)?;
        let to = self.path(hash, BLOCK);
        // The same file twice costs nothing, where the disk knows of it.
        match fs::hard_link(block, &to) {
            Ok(()) => {}
            // It was kept, and then the process died.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(_) => drop(fs::copy(block, &to)?),
        }
        let size = fs::metadata(&to)?.len();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.blocks.push_back((hash, size));
        kept.bytes += size;
        while kept.blocks.len() > self.max_blocks || kept.bytes > self.max_bytes {
            let Some((oldest, size)) = kept.blocks.pop_front() else { break };
            kept.bytes -= size;
            for extension in [BLOCK, WAY] {
                fs::remove_file(self.path(oldest, extension))?;
            }
        }
        Ok(())
    }

    /// Returns a block in network serialisation, if it is kept.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn raw(&self, hash: BlockHash) -> io::Result<Option<Vec<u8>>> {
        none_if_missing(fs::read(self.path(hash, BLOCK)))
    }

    /// Tells whether a block is kept.
    pub fn has(&self, hash: BlockHash) -> bool {
        self.path(hash, BLOCK).exists()
    }

    /// Returns what is known of a block's way.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn way(&self, hash: BlockHash) -> io::Result<Option<BlockWay>> {
        let Some(text) = none_if_missing(fs::read(self.path(hash, WAY)))? else { return Ok(None) };
        Ok(Some(serde_json::from_slice(&text)?))
    }

    fn path(&self, hash: BlockHash, extension: &str) -> PathBuf {
        self.folder.join(format!("{hash}.{extension}"))
    }
}

fn hash_of(path: &Path) -> Option<BlockHash> {
    let is_block = path.extension().is_some_and(|extension| extension == BLOCK);
    path.file_stem().filter(|_| is_block)?.to_str()?.parse().ok()
}

fn none_if_missing(read: io::Result<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    fn hash(id: u8) -> BlockHash {
        BlockHash::from_byte_array([id; 32])
    }

    fn way(id: u8) -> BlockWay {
        BlockWay { job_made_at_ms: Some(id.into()), answered_at_ms: Some(9), answer: Some("accepted".to_owned()) }
    }

    #[test]
    fn block_is_kept_beside_the_file_that_it_came_from() {
        let folder = tempfile::tempdir().unwrap();
        let (from, kept) = (folder.path().join("x"), KeptBlocks::open(folder.path().join("kept")).unwrap());
        fs::write(&from, [1, 2, 3]).unwrap();
        assert_eq!((kept.raw(hash(1)).unwrap(), kept.way(hash(1)).unwrap(), kept.has(hash(1))), (None, None, false));
        // As if the process had died in between.
        for _ in 0..2 {
            kept.keep(hash(1), &from, &way(1)).unwrap();
        }
        fs::remove_file(&from).unwrap();
        let again = KeptBlocks::open(folder.path().join("kept")).unwrap();
        assert_eq!((again.raw(hash(1)).unwrap(), again.way(hash(1)).unwrap()), (Some(vec![1, 2, 3]), Some(way(1))));
        assert!(again.has(hash(1)));
    }

    #[test]
    fn oldest_go_when_there_are_too_many_or_too_large_ones() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("x"), folder.path().join("kept"));
        let kept = KeptBlocks::bounded(to.clone(), 10, 3).unwrap();
        let stay = |kept: &KeptBlocks| (1..=9).filter(|id| kept.has(hash(*id))).collect::<Vec<_>>();
        for (id, size, expected) in [(1, 1, &[1][..]), (2, 1, &[1, 2]), (3, 1, &[1, 2, 3]), (4, 1, &[2, 3, 4])] {
            fs::write(&from, vec![0; size]).unwrap();
            kept.keep(hash(id), &from, &way(id)).unwrap();
            fs::remove_file(&from).unwrap();
            assert_eq!(stay(&kept), expected);
        }
        // And after a restart, of which the times of the files tell the order.
        let kept = KeptBlocks::bounded(to.clone(), 10, 3).unwrap();
        fs::write(&from, [0; 9]).unwrap();
        kept.keep(hash(5), &from, &way(5)).unwrap();
        assert_eq!(stay(&kept).last(), Some(&5));
        assert_eq!(stay(&kept).len(), 2);
        assert_eq!(fs::read_dir(&to).unwrap().count(), 4, "a way stays no longer than its block");
    }
}
