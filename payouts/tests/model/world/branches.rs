//! How the chain grows and forks around the pool.

use anyhow::Result;
use bitcoin::{Amount, Script, ScriptBuf};
use payouts::books::REORG_WATCH_DEPTH;

use super::World;
use crate::{chain::Chain, node};

/// The deepest reorganisation.
const DEEPEST_REORGANISATION: u32 = 250;
/// How far a chain may grow over a fork that the pool has not seen: deeper ones it does not follow.
pub(super) const UNSEEN_GROWTH: u32 = REORG_WATCH_DEPTH - 8;
/// What blocks of others pay.
const FOREIGN_SAT: u64 = 5_000_000_000;

impl World<'_> {
    pub(super) async fn mine(&mut self, blocks: u32, filled: bool) -> Result<()> {
        self.room(blocks).await?;
        let mut chain = node::locked(&self.chain);
        for _ in 0..blocks {
            chain.mine(&foreign(), Amount::from_sat(FOREIGN_SAT), filled);
        }
        Ok(())
    }

    pub(super) async fn reorganise(
        &mut self,
        depth: u32,
        found: Option<(usize, Amount)>,
        filled: bool,
        forgotten: bool,
    ) -> Result<()> {
        self.room(1).await?;
        let (depth, fork, hash) = {
            let mut chain = node::locked(&self.chain);
            let depth = depth.min(DEEPEST_REORGANISATION).min(chain.height() - settled_height(&chain));
            if depth == 0 {
                return Ok(());
            }
            self.branches.push(chain.tip());
            chain.disconnect(depth);
            if forgotten {
                chain.forget_mempool();
            }
            let fork = chain.height();
            let hash = match found {
                Some((_, value)) => chain.mine(&self.bench.script, value, filled),
                None => chain.mine(&foreign(), Amount::from_sat(FOREIGN_SAT), filled),
            };
            (depth, fork, hash)
        };
        self.note_fork(fork);
        if let Some((finder, value)) = found {
            self.note_block(hash, finder, 0, value);
        }
        let mut chain = node::locked(&self.chain);
        for _ in 0..depth {
            chain.mine(&foreign(), Amount::from_sat(FOREIGN_SAT), filled);
        }
        Ok(())
    }

    pub(super) async fn follow_branch(&mut self, branch: usize) -> Result<()> {
        self.room(1).await?;
        let fork = {
            let mut chain = node::locked(&self.chain);
            self.branches.retain(|&end| chain.confirmations(end).is_none());
            if self.branches.is_empty() {
                return Ok(());
            }
            let (end, height) = (self.branches[branch % self.branches.len()], chain.height());
            let fork = chain.fork_height(end);
            if height - fork > DEEPEST_REORGANISATION || fork < settled_height(&chain) {
                return Ok(());
            }
            self.branches.push(chain.tip());
            chain.activate(end);
            while chain.height() <= height {
                chain.mine(&foreign(), Amount::from_sat(FOREIGN_SAT), false);
            }
            fork
        };
        self.note_fork(fork);
        Ok(())
    }

    pub(super) fn note_fork(&mut self, fork: u32) {
        self.unseen_fork = Some(self.unseen_fork.map_or(fork, |lower| lower.min(fork)));
    }

    /// Makes sure that the pool sees a fork before it is too deep under the tip.
    pub(super) async fn room(&mut self, blocks: u32) -> Result<()> {
        let height = node::locked(&self.chain).height();
        match self.unseen_fork {
            Some(fork) if height + blocks > fork + UNSEEN_GROWTH => self.compare().await,
            _ => Ok(()),
        }
    }

    /// A miner has a transaction that was replaced elsewhere.
    pub(super) async fn recall(&mut self, which: usize, mined: bool) -> Result<()> {
        let is_back = node::locked(&self.chain).recall(which);
        self.tally.recalls += u32::from(is_back);
        if is_back && mined {
            self.mine(1, true).await?;
        }
        Ok(())
    }

    /// Somebody pays the pool, if there is somebody who can.
    pub(super) fn deposit(&mut self, amount: Amount) {
        let is_paid = node::locked(&self.chain).deposit(&foreign(), &self.bench.script, amount);
        self.tally.deposits += u32::from(is_paid);
    }
}

/// The height of the last theft that is booked as a loss: that is not undone, so no reorganisation goes below.
fn settled_height(chain: &Chain) -> u32 {
    chain.lost().map(|(_, height, _)| height).max().unwrap_or(0)
}

/// Where the blocks of others pay.
pub(crate) fn foreign() -> ScriptBuf {
    Script::from_bytes(&[0x51]).to_owned()
}
