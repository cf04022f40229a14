//! What the network does: blocks, branches, and somebody who steals.

use std::ops::Range;

use anyhow::{Context, Result};
use bitcoin::{Amount, BlockHash, OutPoint, TxOut};
use payouts::{
    FoundBlock,
    books::{DirectPayment, DirectPayments, REORG_WATCH_DEPTH},
    payout::{Batch, BatchState},
    scheme::rule::SchemeName,
};

use super::{Year, scheme};
use crate::{
    bench::{self, MINERS},
    node,
    world::{SUBSIDY_SAT, foreign},
};

/// Of a hundred blocks of the network, those that are the pool's.
const OURS_PERCENT: u64 = 32;
/// The schemes by which blocks are split, one or the other.
const SCHEMES: [SchemeName; 5] =
    [SchemeName::Pplns, SchemeName::Pplns, SchemeName::Prop, SchemeName::Solo, SchemeName::PpsPlus];

impl Year {
    /// The network finds its next block, which may be the pool's.
    pub(super) async fn mine(&mut self) -> Result<()> {
        let filled = self.dice.percent(80);
        if self.dice.percent(OURS_PERCENT) {
            return self.find(filled).await;
        }
        node::locked(&self.chain).mine(&foreign(), Amount::from_sat(SUBSIDY_SAT), filled);
        Ok(())
    }

    /// The pool finds a block; now and then its coinbase pays two miners directly.
    pub(super) async fn find(&mut self, filled: bool) -> Result<()> {
        let value = Amount::from_sat(SUBSIDY_SAT + self.dice.below(40_000_000));
        let direct = match self.dice.percent(6) {
            true => [(1, 50_000_000), (2, 90_000)]
                .map(|(vout, most)| DirectPayment {
                    vout,
                    account: self.bench.miners[self.dice.index(MINERS)].account,
                    amount: Amount::from_sat(1_000 + self.dice.below(most)),
                })
                .to_vec(),
            false => Vec::new(),
        };
        let direct = DirectPayments::new(direct).context("they are in order")?;
        let own = TxOut { value: value - direct.total(), script_pubkey: self.bench.script.clone() };
        let pays = |payment: &DirectPayment| {
            let miner = self.bench.miners.iter().find(|miner| miner.account == payment.account);
            TxOut { value: payment.amount, script_pubkey: miner.expect("a miner of the bench").script.clone() }
        };
        let outputs = [own].into_iter().chain(direct.iter().map(pays)).collect();
        let (hash, height, coinbase) = {
            let mut chain = node::locked(&self.chain);
            let hash = chain.mine_paying(outputs, filled);
            let block = chain.block(hash).context("it was just mined")?;
            (hash, block.height, OutPoint::new(block.txids[0], 0))
        };
        if !direct.is_empty() {
            self.deeds.note("direct payments");
        }
        let found = FoundBlock {
            hash,
            height,
            coinbase,
            value,
            subsidy: Amount::from_sat(SUBSIDY_SAT),
            finder: self.bench.miners[self.dice.index(MINERS)].account,
            share_position: self.position,
            nbits: bench::nbits(0),
            found_at_ms: self.at_ms,
            direct,
        };
        let scheme = scheme(SCHEMES[self.dice.index(SCHEMES.len())]);
        self.pool().books.record_under(&found, scheme).await?;
        self.deeds.note("blocks");
        Ok(())
    }

    /// The newest blocks are replaced by others, and by one more.
    pub(super) async fn reorganise(&mut self, depths: Range<u32>) -> Result<()> {
        let depth = depths.start + u32::try_from(self.dice.below((depths.end - depths.start).into()))?;
        // A theft that is booked as a loss is not undone.
        let lowest = node::locked(&self.chain).lost().map(|(_, height, _)| height).max().unwrap_or(0);
        let depth = depth.min(node::locked(&self.chain).height() - lowest);
        if depth == 0 {
            return Ok(());
        }
        let is_ours = self.dice.percent(50);
        let waits = self.dice.percent(50);
        {
            let mut chain = node::locked(&self.chain);
            self.branches.push(chain.tip());
            chain.disconnect(depth);
            for _ in 0..depth {
                chain.mine(&foreign(), Amount::from_sat(SUBSIDY_SAT), !waits);
            }
        }
        self.deeds.note(if depth > 99 { "deep reorganisations" } else { "reorganisations" });
        match is_ours {
            true => self.find(!waits).await,
            false => self.mine().await,
        }
    }

    /// A branch that was left is the best one again.
    pub(super) async fn follow_branch(&mut self) -> Result<()> {
        let is_back = {
            let mut chain = node::locked(&self.chain);
            self.branches.retain(|&end| chain.confirmations(end).is_none());
            let (height, lowest) = (chain.height(), chain.lost().map(|(_, height, _)| height).max().unwrap_or(0));
            // The pool does not look for ever at blocks that are gone.
            let reaches = |end: &BlockHash| {
                let fork = chain.fork_height(*end);
                height - fork < REORG_WATCH_DEPTH / 2 && fork >= lowest
            };
            let end = self.branches.iter().copied().rfind(reaches);
            if let Some(end) = end {
                self.branches.push(chain.tip());
                chain.activate(end);
                while chain.height() <= height {
                    chain.mine(&foreign(), Amount::from_sat(SUBSIDY_SAT), false);
                }
            }
            end.is_some()
        };
        if is_back {
            self.deeds.note("branches that came back");
        }
        Ok(())
    }

    /// Somebody else who has the key spends a coin of a batch that waits.
    pub(super) async fn steal(&mut self) -> Result<()> {
        let is_signed = |batch: &Batch| batch.state == BatchState::Open && !batch.is_unsigned();
        let Some(batch) = self.batch(is_signed).await? else { return Ok(()) };
        let first = batch.attempts[0].transaction().context("the first attempt is signed first")?;
        let mut chain = node::locked(&self.chain);
        if chain.steal(first.input[0].previous_output, &foreign()) {
            chain.mine(&foreign(), Amount::from_sat(SUBSIDY_SAT), true);
            drop(chain);
            self.thief_waits = false;
            self.deeds.note("thefts");
        }
        Ok(())
    }
}
