//! Block templates: what one holds, and where they come from.
//!
//! A [`Template`] is parsed and checked once, at this edge; everything behind it trusts it. Building jobs from it
//! belongs to `mining`.

pub mod answer;
pub mod bitcoind;
mod choice;
pub mod health;
pub mod merkle;
pub mod metrics;
pub mod node;
pub mod nodes;
mod notice;
pub mod tip;

use std::sync::Arc;

use bitcoin::{Amount, BlockHash, CompactTarget, ScriptBuf, Target, TxMerkleNode, Txid};

/// A candidate for the next block, without its coinbase (BIP 22, BIP 23, BIP 145).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Height of the block to be found.
    pub height: u32,
    /// Hash of the block it builds on.
    pub prev_hash: BlockHash,
    /// Header version with the bits that the network's deployments ask for.
    pub version: i32,
    /// Compact form of the network's target.
    pub nbits: CompactTarget,
    /// The network's target; agrees with `nbits`.
    pub target: Target,
    /// The node's time when the template was made, seconds since 1970 UTC.
    pub curtime: u32,
    /// Smallest header time that consensus allows, seconds since 1970 UTC.
    pub min_time: u32,
    /// Subsidy and fees: what the coinbase may pay out at most.
    pub coinbase_value: Amount,
    /// `scriptPubKey` of the witness commitment output (BIP 141).
    pub witness_commitment: ScriptBuf,
    /// The transactions after the coinbase, in block order.
    pub transactions: Vec<TemplateTransaction>,
    /// Hashes that lead from the coinbase's txid to the merkle root, deepest first, in internal byte order.
    pub merkle_path: Vec<TxMerkleNode>,
}

impl Template {
    /// Returns the newly issued part of the coinbase's value: what is not fees.
    pub fn subsidy(&self) -> Amount {
        let fees = self.transactions.iter().map(|transaction| transaction.fee).sum();
        self.coinbase_value.checked_sub(fees).unwrap_or(Amount::ZERO)
    }
}

/// A transaction of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateTransaction {
    /// Consensus serialisation with witness.
    pub data: Vec<u8>,
    /// Identifier without witness, a leaf of the merkle tree.
    pub txid: Txid,
    /// Weight in weight units (BIP 141).
    pub weight: u64,
    /// Signature operations as the node counts them.
    pub sigops: u64,
    /// Fee.
    pub fee: Amount,
}

/// The newest template, or none before the node has given the first.
pub type LatestTemplate = Option<Arc<Template>>;

#[cfg(test)]
mod tests;
