//! Luck: what blocks have taken, beside what they take on average.

use bitcoin::{BlockHash, CompactTarget, Target};

use crate::{books::BlockPhase, share::Work};

/// Below this difficulty of the network there is no luck: on regtest every second hash is a block, and a share stands for more
/// hashes than a block takes.
const LEAST_DIFFICULTY: f64 = 1e-6;

/// A block, and the work that the history knew up to its place in the share log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockWork {
    /// The block.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// The network's target that it met.
    pub nbits: CompactTarget,
    /// When it was found, in milliseconds since 1970 UTC.
    pub found_at_ms: i64,
    /// Where it stands.
    pub phase: BlockPhase,
    /// All work up to it; nothing for a block of a time that the history does not know, or has not come to yet.
    pub work: Option<Work>,
}

/// The time from one block of the pool to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// The block that it ends with.
    pub block: BlockWork,
    /// Its work over what a block takes on average at the block's target: 1 is as expected, less is luck. Nothing if its
    /// work is not known, or blocks take none to speak of.
    pub effort: Option<f64>,
}

/// How many blocks were found, and how many were to be expected of the work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Luck {
    /// The blocks whose work is known.
    pub blocks: u32,
    /// How many the work finds on average.
    pub expected: f64,
}

impl Luck {
    /// Sums up rounds. Those of blocks that left the chain count: they were found.
    pub fn of<'a>(rounds: impl IntoIterator<Item = &'a Round>) -> Self {
        let efforts = rounds.into_iter().filter_map(|round| round.effort);
        efforts.fold(Self::default(), |luck, effort| Self { blocks: luck.blocks + 1, expected: luck.expected + effort })
    }

    /// Returns blocks found over blocks expected: 1 is as expected, more is luck. Nothing before there is work.
    pub fn ratio(self) -> Option<f64> {
        (self.expected > 0.0).then(|| f64::from(self.blocks) / self.expected)
    }
}

/// Returns the work over what a block takes on average at a target; nothing where that is no work to speak of.
pub fn effort(work: Work, nbits: CompactTarget) -> Option<f64> {
    let difficulty = Target::from_compact(nbits).difficulty_float();
    (difficulty >= LEAST_DIFFICULTY).then(|| work.approximate() / difficulty)
}

/// Makes rounds of blocks, the newest first. The last block ends a round only if there is none before it in the pool.
pub fn rounds(blocks: &[BlockWork], is_all: bool) -> Vec<Round> {
    let before = blocks.iter().skip(1).map(|block| block.work).chain(is_all.then_some(Some(Work::default())));
    let round = |(block, before): (&BlockWork, Option<Work>)| {
        let work = block.work.zip(before).map(|(work, before)| work.more_than(before));
        Round { block: *block, effort: work.and_then(|work| effort(work, block.nbits)) }
    };
    blocks.iter().zip(before).map(round).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;
    use crate::share::Difficulty;

    /// A block at difficulty 1, after so much work in all.
    fn block(work: Option<u64>) -> BlockWork {
        BlockWork {
            hash: BlockHash::all_zeros(),
            height: 1,
            nbits: CompactTarget::from_consensus(0x1d00_ffff),
            found_at_ms: 0,
            phase: BlockPhase::Matured,
            work: work.map(|work| Work::of(Difficulty::from_log2(0).unwrap(), work)),
        }
    }

    #[test]
    fn round_has_the_work_since_the_block_before() {
        let blocks = [block(Some(9)), block(Some(5)), block(Some(5)), block(Some(2))];
        let efforts = |is_all| rounds(&blocks, is_all).into_iter().map(|round| round.effort.unwrap());
        assert_eq!(efforts(true).collect::<Vec<_>>(), [4.0, 0.0, 3.0, 2.0]);
        assert_eq!(efforts(false).collect::<Vec<_>>(), [4.0, 0.0, 3.0], "what was before the last is not known");
    }

    #[test]
    fn where_every_hash_is_a_block_there_is_no_luck() {
        let work = Work::of(Difficulty::from_log2(0).unwrap(), 8);
        assert_eq!(effort(work, CompactTarget::from_consensus(0x207f_ffff)), None);
        assert_eq!(effort(work, CompactTarget::from_consensus(0x1d00_ffff)), Some(8.0));
    }

    #[test]
    fn luck_leaves_out_what_is_not_known() {
        let blocks = [block(Some(9)), block(Some(8)), block(None), block(Some(2))];
        let rounds = rounds(&blocks, true);
        assert_eq!(rounds.iter().map(|round| round.effort).collect::<Vec<_>>(), [Some(1.0), None, None, Some(2.0)]);
        let luck = Luck::of(&rounds);
        assert_eq!((luck.blocks, luck.expected, luck.ratio()), (2, 3.0, Some(2.0 / 3.0)));
        assert_eq!(Luck::default().ratio(), None);
    }
}
