//! What is known of a block of ours: the facts when it was found, where it stands, and what each account gets of it. Pure.

use bitcoin::{Amount, BlockHash, CompactTarget, OutPoint};

use super::{COINBASE_MATURITY, DirectPayments};
use crate::{
    account::AccountId,
    scheme::{BlockReward, rule::Rule},
    share::ShareSeq,
};

/// A block that the pool found, as known when it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBlock {
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// The coinbase output that pays the pool.
    pub coinbase: OutPoint,
    /// What it pays in all: the pool by that output, and miners directly.
    pub value: Amount,
    /// The part of the value that is newly issued; the rest are fees.
    pub subsidy: Amount,
    /// Who found it.
    pub finder: AccountId,
    /// The last segment of the share log before the winning job; the window goes back from here.
    pub share_position: ShareSeq,
    /// The network's target that it met.
    pub nbits: CompactTarget,
    /// When it was found, in milliseconds since 1970 UTC.
    pub found_at_ms: i64,
    /// The outputs that pay miners directly.
    pub direct: DirectPayments,
}

impl FoundBlock {
    /// Tells whether both state the same facts; when it was found may be told differently. Two blocks of one hash
    /// have one target, and what is kept as that of an old block may be a guess.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        *self == Self { found_at_ms: self.found_at_ms, nbits: self.nbits, ..other.clone() }
    }

    /// Returns what its coinbase paid.
    pub fn reward(&self) -> BlockReward {
        BlockReward { value: self.value, subsidy: self.subsidy }
    }
}

/// Where a block of ours stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockPhase {
    /// In the best chain, not deep enough to be spent.
    Immature,
    /// In the best chain and spendable; its credits are due.
    Matured,
    /// Not in the best chain; it pays nobody.
    Orphaned,
}

/// A phase, and how often the block was set back before: each stay in a phase has entries of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockState {
    /// Where it stands.
    pub phase: BlockPhase,
    /// How often a reorganisation set it back.
    pub epoch: u32,
}

/// A recorded block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRecord {
    /// The facts when it was found.
    pub found: FoundBlock,
    /// The pool's part of its value.
    pub fee: Amount,
    /// The part that goes to the reserve of PPS.
    pub reserve: Amount,
    /// The rule by which it was split; nothing for a block of a time when rules were not kept.
    pub rule: Option<Rule>,
    /// Where it stands.
    pub state: BlockState,
}

impl BlockRecord {
    /// Returns what its credits follow from besides the shares, as its entry states it.
    pub(crate) fn facts(&self) -> String {
        let FoundBlock { height, coinbase, subsidy, finder, share_position, nbits, direct, .. } = &self.found;
        // Entries of a time without direct payments keep their text.
        let direct = if direct.is_empty() { String::new() } else { format!("direct={direct} ") };
        let rule = self.rule.map_or_else(|| "unknown".to_owned(), |rule| rule.to_string());
        format!(
            "height={height} coinbase={coinbase} subsidy_sat={} finder={finder} share_position={share_position} \
             nbits={:08x} {direct}rule={rule}",
            subsidy.to_sat(),
            nbits.to_consensus(),
        )
    }
}

/// What one account gets of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCredit {
    /// Who gets it.
    pub account: AccountId,
    /// How much.
    pub amount: Amount,
    /// The part that was paid so far: what the coinbase pays directly, and what payouts have taken.
    pub paid: Amount,
}

/// A block's place in the chain, as a node tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainPosition {
    /// In the best chain, with so many confirmations; the tip has one.
    Confirmed {
        /// The number of confirmations.
        confirmations: u32,
    },
    /// Not in the best chain.
    NotInBestChain,
}

impl ChainPosition {
    pub(super) fn phase(self) -> BlockPhase {
        match self {
            Self::NotInBestChain => BlockPhase::Orphaned,
            Self::Confirmed { confirmations } if confirmations >= COINBASE_MATURITY => BlockPhase::Matured,
            Self::Confirmed { .. } => BlockPhase::Immature,
        }
    }
}

/// One move between neighbouring phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Mature,
    Unmature,
    Orphan,
    Reconnect,
}

impl BlockState {
    /// The state of a block just found.
    pub(crate) const FOUND: Self = Self { phase: BlockPhase::Immature, epoch: 0 };

    /// Returns the next step towards `goal`. Every way between matured and orphaned leads over immature.
    pub(super) fn step_towards(self, goal: BlockPhase) -> Option<Step> {
        match (self.phase, goal) {
            (BlockPhase::Immature, BlockPhase::Immature)
            | (BlockPhase::Matured, BlockPhase::Matured)
            | (BlockPhase::Orphaned, BlockPhase::Orphaned) => None,
            (BlockPhase::Immature, BlockPhase::Matured) => Some(Step::Mature),
            (BlockPhase::Immature, BlockPhase::Orphaned) => Some(Step::Orphan),
            (BlockPhase::Matured, _) => Some(Step::Unmature),
            (BlockPhase::Orphaned, _) => Some(Step::Reconnect),
        }
    }

    pub(super) fn after(self, step: Step) -> Self {
        let (phase, set_back) = match step {
            Step::Mature => (BlockPhase::Matured, 0),
            Step::Unmature => (BlockPhase::Immature, 1),
            Step::Orphan => (BlockPhase::Orphaned, 1),
            Step::Reconnect => (BlockPhase::Immature, 0),
        };
        Self { phase, epoch: self.epoch + set_back }
    }
}
