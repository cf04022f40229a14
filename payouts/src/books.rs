//! The books of found blocks: what the chain does to a block becomes entries in the ledger.
//!
//! A block's split is frozen when it is found. From then on its state follows its place in the chain, one entry per
//! step: immature, matured after 100 confirmations, back to immature or out of the chain in a reorganisation, and in
//! again. Each step undoes or repeats an earlier one exactly, so the balances depend on where the block ends up and
//! never on the way there. Paying what is due is not done here.

use std::sync::Arc;

use bitcoin::{Amount, BlockHash, CompactTarget, OutPoint};

use crate::{
    account::AccountId,
    clock::now_ms,
    ledger::{Draft, DraftLines, EntryKind, EntrySeq, Head, LedgerAccount, LedgerError},
    scheme::{
        Split,
        rule::{Rule, Scheme},
    },
    share::ShareSeq,
    store::{Change, Commit, Row, Store, StoreError},
};

mod explain;
mod window;

pub use explain::{ExplainedCredit, explain};

/// Confirmations at which a coinbase can be spent by the next block.
pub const COINBASE_MATURITY: u32 = 100;
/// Below the tip, how deep a block of ours is still watched for a reorganisation.
pub const REORG_WATCH_DEPTH: u32 = 288;
/// Blocks read first in search of the pool's block before another; the search goes on with twice as many.
const BLOCK_PAGE: u32 = 16;
/// Times a change is worked out anew because another came first. There are two writers at most.
const COMMIT_ATTEMPTS: u32 = 16;

/// Why the books could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// The store failed, or says that someone else was always first.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry cannot be made.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A block of this hash is recorded with other facts.
    #[error("block {0} is already recorded with other facts")]
    DifferentBlock(BlockHash),
    /// No block of this hash is recorded.
    #[error("block {0} is not recorded")]
    UnknownBlock(BlockHash),
    /// A block was recorded when its rule was not kept, so that its split cannot be worked out again.
    #[error("block {0} was recorded without its rule: its credits cannot be explained")]
    NoRule(BlockHash),
    /// What the ledger credits is not what follows from the shares.
    #[error("block {block}: the ledger credits account {account} with {posted}, but its shares come to {explained}")]
    Unexplained {
        /// The block.
        block: BlockHash,
        /// Whose credit it is.
        account: AccountId,
        /// What the ledger says.
        posted: Amount,
        /// What follows from the shares.
        explained: Amount,
    },
    /// A block's entry is missing from the ledger.
    #[error("the ledger has no {kind} entry {key}")]
    MissingEntry {
        /// The entry's kind.
        kind: EntryKind,
        /// The entry's key.
        key: String,
    },
}

/// A block that the pool found, as known when it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBlock {
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// The coinbase output that pays the pool.
    pub coinbase: OutPoint,
    /// What that output pays.
    pub value: Amount,
    /// The part of the value that is newly issued; the rest are fees.
    pub subsidy: Amount,
    /// Who found it.
    pub finder: AccountId,
    /// The last share stored when the winning job was issued; the window goes back from here.
    pub share_position: ShareSeq,
    /// The network's target that it met.
    pub nbits: CompactTarget,
    /// When it was found, in milliseconds since 1970 UTC.
    pub found_at_ms: i64,
}

impl FoundBlock {
    /// Tells whether both state the same facts; when it was found may be told differently. Two blocks of one hash
    /// have one target, and what is kept as that of an old block may be a guess.
    fn agrees_with(&self, other: &Self) -> bool {
        *self == Self { found_at_ms: self.found_at_ms, nbits: self.nbits, ..other.clone() }
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
    /// The rule by which it was split; nothing for a block of a time when rules were not kept.
    pub rule: Option<Rule>,
    /// Where it stands.
    pub state: BlockState,
}

/// What one account gets of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCredit {
    /// Who gets it.
    pub account: AccountId,
    /// How much.
    pub amount: Amount,
    /// The part that payouts have taken so far.
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
    fn phase(self) -> BlockPhase {
        match self {
            Self::NotInBestChain => BlockPhase::Orphaned,
            Self::Confirmed { confirmations } if confirmations >= COINBASE_MATURITY => BlockPhase::Matured,
            Self::Confirmed { .. } => BlockPhase::Immature,
        }
    }
}

/// One move between neighbouring phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Mature,
    Unmature,
    Orphan,
    Reconnect,
}

impl BlockState {
    /// The state of a block just found.
    pub(crate) const FOUND: Self = Self { phase: BlockPhase::Immature, epoch: 0 };

    /// Returns the next step towards `goal`. Every way between matured and orphaned leads over immature.
    fn step_towards(self, goal: BlockPhase) -> Option<Step> {
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

    fn after(self, step: Step) -> Self {
        let (phase, set_back) = match step {
            Step::Mature => (BlockPhase::Matured, 0),
            Step::Unmature => (BlockPhase::Immature, 1),
            Step::Orphan => (BlockPhase::Orphaned, 1),
            Step::Reconnect => (BlockPhase::Immature, 0),
        };
        Self { phase, epoch: self.epoch + set_back }
    }
}

/// Applies the rules to found blocks, over a store.
///
/// Every call can be repeated, and calls can come in any order: what was done is not done again.
#[derive(Clone, Debug)]
pub struct Books {
    store: Arc<dyn Store>,
    scheme: Scheme,
}

impl Books {
    /// Keeps books in `store`; blocks recorded from now on are split by `scheme`.
    pub fn new(store: Arc<dyn Store>, scheme: impl Into<Scheme>) -> Self {
        Self { store, scheme: scheme.into() }
    }

    /// Records a found block: freezes its split and posts it.
    ///
    /// # Errors
    ///
    /// If the store fails, or holds other facts about a block of this hash.
    pub async fn record_found(&self, found: &FoundBlock) -> Result<BlockRecord, BooksError> {
        let mut frozen: Option<(Rule, Split)> = None;
        for _ in 0..COMMIT_ATTEMPTS {
            let head = self.store.head().await?;
            if let Some(record) = self.store.block(found.hash).await? {
                return match record.found.agrees_with(found) {
                    true => Ok(record),
                    false => Err(BooksError::DifferentBlock(found.hash)),
                };
            }
            // A block that came first may begin another round of PROP; else the split stays what it is.
            let rule = self.rule(found).await?;
            let (_, split) = match frozen.take().filter(|(frozen, _)| *frozen == rule) {
                Some(same) => frozen.insert(same),
                None => frozen.insert((rule, self.split(found, rule).await?)),
            };
            let (fee, state) = (split.fee, BlockState::FOUND);
            let record = BlockRecord { found: found.clone(), fee, rule: Some(rule), state };
            let credits = credits_of(split);
            let draft = booking(EntryKind::BlockFound, found.hash.to_string(), &record, &credits).balanced()?;
            if self.commit(head, draft, vec![Row::BlockFound { block: record.clone(), credits }]).await? {
                return Ok(record);
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Posts what follows from a block's place in the chain, and returns where it stands then.
    ///
    /// # Errors
    ///
    /// If the store fails, or no such block is recorded.
    pub async fn settle(&self, hash: BlockHash, position: ChainPosition) -> Result<BlockState, BooksError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let head = self.store.head().await?;
            let block = self.store.block(hash).await?.ok_or(BooksError::UnknownBlock(hash))?;
            let Some(step) = block.state.step_towards(position.phase()) else {
                return Ok(block.state);
            };
            let credits = self.store.credits(hash).await?;
            let draft = self.step_draft(step, &block, &credits).await?;
            let state = block.state.after(step);
            self.commit(head, draft, vec![Row::BlockMoved { hash, state }]).await?;
        }
        Err(StoreError::Contended.into())
    }

    /// Returns the blocks whose place in the chain can still matter with the tip at `tip_height`: those immature, and
    /// those near enough to the tip to be reorganised.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn watched(&self, tip_height: u32) -> Result<Vec<BlockRecord>, BooksError> {
        Ok(self.store.blocks_to_watch(tip_height.saturating_sub(REORG_WATCH_DEPTH)).await?)
    }

    /// Explains what an account is credited of a block, and checks that against the ledger.
    ///
    /// # Errors
    ///
    /// As [`explain()`] does.
    pub async fn explain(&self, block: BlockHash, account: AccountId) -> Result<ExplainedCredit, BooksError> {
        explain(&*self.store, block, account).await
    }

    /// Returns the rule of a block: the scheme, and for PROP where the round of this block begins.
    async fn rule(&self, found: &FoundBlock) -> Result<Rule, BooksError> {
        Ok(match self.scheme {
            Scheme::Pplns(pplns) => Rule::Pplns(pplns),
            Scheme::Tides(tides) => Rule::Tides(tides),
            Scheme::Prop(prop) => Rule::Prop { prop, last_block: self.last_block(found).await? },
            Scheme::Solo(solo) => Rule::Solo(solo),
        })
    }

    /// Returns the share position of the pool's block before this one: the latest of those that lie lower and are not
    /// known to have left the chain. Rivals of one height do not end each other's rounds, for one of them pays nobody.
    async fn last_block(&self, found: &FoundBlock) -> Result<ShareSeq, BooksError> {
        let mut limit = BLOCK_PAGE;
        loop {
            let blocks = self.store.blocks(limit).await?;
            let earlier = blocks.iter().filter(|block| {
                block.found.height < found.height
                    && block.found.share_position <= found.share_position
                    && block.state.phase != BlockPhase::Orphaned
            });
            // Highest first: the first of them is the last that paid for shares, unless two of our own are rivals.
            let height = earlier.clone().map(|block| block.found.height).next();
            let latest = earlier.filter(|block| Some(block.found.height) == height);
            if let Some(position) = latest.map(|block| block.found.share_position).max() {
                return Ok(position);
            }
            if blocks.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
                return Ok(ShareSeq::new(0));
            }
            limit = limit.saturating_mul(2);
        }
    }

    async fn split(&self, found: &FoundBlock, rule: Rule) -> Result<Split, BooksError> {
        let window = window::counted(&*self.store, found, rule).await?;
        Ok(rule.split(found.value, window.as_ref(), found.finder))
    }

    async fn step_draft(&self, step: Step, block: &BlockRecord, credits: &[BlockCredit]) -> Result<Draft, BooksError> {
        let hash = block.found.hash;
        let key = format!("{hash}:{}", block.state.epoch);
        let lines = match step {
            Step::Mature => maturing(EntryKind::Matured, key, block, credits),
            Step::Unmature => {
                let matured = self.entry(EntryKind::Matured, key.clone()).await?;
                let debt: Amount = credits.iter().map(|credit| credit.paid).sum();
                if debt > Amount::ZERO {
                    tracing::warn!(block_hash = %hash, debt_sat = debt.to_sat(), "a block that was paid out left the chain");
                }
                maturing(EntryKind::Unmatured, key, block, credits).reversed().corrects(matured)
            }
            Step::Orphan => {
                let booked = self.booked(block).await?;
                booking(EntryKind::Orphaned, key, block, credits).reversed().corrects(booked)
            }
            Step::Reconnect => booking(EntryKind::Reconnected, key, block, credits),
        };
        Ok(lines.balanced()?)
    }

    /// Returns the entry that put the block on the books last: the latest return to the chain, or the find.
    async fn booked(&self, block: &BlockRecord) -> Result<EntrySeq, BooksError> {
        let hash = block.found.hash;
        for epoch in (1..=block.state.epoch).rev() {
            let entry = self.store.entry(EntryKind::Reconnected, &format!("{hash}:{epoch}")).await?;
            if let Some(entry) = entry {
                return Ok(entry.seq);
            }
        }
        self.entry(EntryKind::BlockFound, hash.to_string()).await
    }

    async fn entry(&self, kind: EntryKind, key: String) -> Result<EntrySeq, BooksError> {
        let entry = self.store.entry(kind, &key).await?;
        entry.map(|entry| entry.seq).ok_or(BooksError::MissingEntry { kind, key })
    }

    /// Commits an entry worked out at `head`; false if another entry came first.
    async fn commit(&self, head: Head, draft: Draft, rows: Vec<Row>) -> Result<bool, BooksError> {
        let change = Change { entry: draft.seal(head, now_ms()), rows };
        Ok(self.store.commit(change).await? != Commit::Stale)
    }
}

fn credits_of(split: &Split) -> Vec<BlockCredit> {
    let credit = |(&account, &amount)| BlockCredit { account, amount, paid: Amount::ZERO };
    split.credits.iter().map(credit).collect()
}

/// The lines that put a block's coinbase and credits on the books, immature.
fn booking(kind: EntryKind, key: String, block: &BlockRecord, credits: &[BlockCredit]) -> DraftLines {
    let lines = Draft::begin(kind, key)
        .debit(LedgerAccount::Immature(block.found.hash), block.found.value)
        .credit(LedgerAccount::FeeImmature, block.fee);
    credits
        .iter()
        .fold(lines, |lines, credit| lines.credit(LedgerAccount::MinerImmature(credit.account), credit.amount))
}

/// The lines that make a block's coinbase spendable and its credits due.
///
/// What payouts took of a credit before a reorganisation became the miner's debt then; it is that debt which such a
/// credit settles, and no other. So a debt is never taken from money of another block.
fn maturing(kind: EntryKind, key: String, block: &BlockRecord, credits: &[BlockCredit]) -> DraftLines {
    let lines = Draft::begin(kind, key)
        .debit(LedgerAccount::Spendable, block.found.value)
        .credit(LedgerAccount::Immature(block.found.hash), block.found.value)
        .debit(LedgerAccount::FeeImmature, block.fee)
        .credit(LedgerAccount::Fee, block.fee);
    credits.iter().fold(lines, |lines, credit| {
        lines
            .debit(LedgerAccount::MinerImmature(credit.account), credit.amount)
            .credit(LedgerAccount::MinerPayable(credit.account), credit.amount - credit.paid)
            .credit(LedgerAccount::MinerDebt(credit.account), credit.paid)
    })
}

#[cfg(test)]
mod tests;
