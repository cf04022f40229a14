//! Where the pool's satoshis are, by the chain alone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use bitcoin::{Block, BlockHash, OutPoint, Script, ScriptBuf, Transaction};
use bitcoind_regtest::Node;

/// What the best chain says of a pool: every coin from the coinbase on, wherever it went.
#[derive(Debug, Default)]
pub(crate) struct Recount {
    /// The pool's blocks.
    pub(crate) blocks: BTreeSet<BlockHash>,
    /// What their coinbases paid.
    pub(crate) mined_sat: u64,
    /// What payments brought to each miner.
    pub(crate) paid_sat: BTreeMap<ScriptBuf, u64>,
    /// What the payments cost.
    pub(crate) network_fee_sat: u64,
    /// What is left, coin by coin.
    own: BTreeMap<OutPoint, u64>,
}

impl Recount {
    /// Follows all coins of the pool whose coinbases pay `pool_script`, and that pays to `miners`.
    ///
    /// # Errors
    ///
    /// If a payment spends what is not the pool's, or the node does not answer.
    pub(crate) fn of(node: &Node, pool_script: &Script, miners: &[ScriptBuf]) -> anyhow::Result<Self> {
        let mut recount = Self::default();
        for height in 1..=node.height()? {
            let hash = node.block_hash(height)?;
            let block: Block = node.block(hash)?;
            let (coinbase, payments) = block.txdata.split_first().context("a block has a coinbase")?;
            for payment in payments {
                recount.follow(payment, miners)?;
            }
            if coinbase.output[0].script_pubkey == *pool_script {
                recount.blocks.insert(hash);
                recount.mined_sat += coinbase.output[0].value.to_sat();
                recount.own.insert(OutPoint::new(coinbase.compute_txid(), 0), coinbase.output[0].value.to_sat());
            }
        }
        Ok(recount)
    }

    /// What the pool still has.
    pub(crate) fn own_sat(&self) -> u64 {
        self.own.values().sum()
    }

    fn follow(&mut self, payment: &Transaction, miners: &[ScriptBuf]) -> anyhow::Result<()> {
        let txid = payment.compute_txid();
        let mut left = 0;
        for input in &payment.input {
            let coin = self.own.remove(&input.previous_output);
            left +=
                coin.with_context(|| format!("{txid} spends {}, which is not the pool's", input.previous_output))?;
        }
        for (vout, output) in (0..).zip(&payment.output) {
            let sat = output.value.to_sat();
            ensure!(sat <= left, "{txid} pays more than it spends");
            left -= sat;
            if miners.contains(&output.script_pubkey) {
                *self.paid_sat.entry(output.script_pubkey.clone()).or_default() += sat;
            } else {
                self.own.insert(OutPoint::new(txid, vout), sat);
            }
        }
        self.network_fee_sat += left;
        Ok(())
    }
}
