//! What befalls found blocks before the books have them, for whoever follows what happens.
//!
//! Nothing depends on it: of more than anybody takes, the oldest go.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use bitcoin::BlockHash;

/// Most pieces of news that wait to be taken.
const MAX_WAITING: usize = 256;

/// How far a block has come that is not in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// A share has solved it, and it is on its way to a node.
    Found,
    /// A node has answered.
    Submitted {
        /// What: `accepted`; `known` if it had it; `stale` if another block was the tip.
        answer: &'static str,
    },
    /// A node calls it invalid.
    Rejected {
        /// The node's word for why.
        reason: String,
    },
}

/// A found block, and how far it has just come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockPiece {
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// What its coinbase pays to the pool, in satoshis.
    pub value_sat: u64,
    /// How far.
    pub reached: Reached,
}

/// News of found blocks. All clones are the same.
#[derive(Clone, Debug, Default)]
pub struct BlockNews(Arc<Mutex<VecDeque<BlockPiece>>>);

impl BlockNews {
    /// Tells of a block.
    pub fn tell(&self, piece: BlockPiece) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() == MAX_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(piece);
    }

    /// Takes what was told since the last time, oldest first.
    pub fn take(&self) -> VecDeque<BlockPiece> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    #[test]
    fn news_that_nobody_takes_are_forgotten_oldest_first() {
        let news = BlockNews::default();
        for height in 0..=MAX_WAITING as u32 {
            let hash = BlockHash::all_zeros();
            news.clone().tell(BlockPiece { at_ms: 1, hash, height, value_sat: 1, reached: Reached::Found });
        }
        let taken = news.take();
        assert_eq!((taken.len(), taken[0].height), (MAX_WAITING, 1));
        assert!(news.take().is_empty());
    }
}
