//! The books of found blocks: what the chain does to a block becomes entries in the ledger.
//!
//! A block's split is frozen when it is found. From then on its state follows its place in the chain, one entry per
//! step: immature, matured after 100 confirmations, back to immature or out of the chain in a reorganisation, and in
//! again. Each step undoes or repeats an earlier one exactly, so the balances depend on where the block ends up and
//! never on the way there. Paying what is due is not done here.

use std::sync::Arc;

use bitcoin::{Amount, BlockHash};
use tokio::sync::Mutex;

use crate::{
    account::AccountId,
    clock::now_ms,
    export::Lot,
    ledger::{Draft, DraftLines, EntryKind, EntrySeq, Head, LedgerAccount, LedgerError},
    scheme::{
        Split, beneficiary,
        rule::{Rule, Scheme},
        running::RunningWindow,
        window::Window,
    },
    share::{Reward, Segment, ShareGroup, ShareRow, ShareRun, ShareSeq},
    store::{Change, Commit, Row, Store, StoreError},
};

mod block;
mod direct;
mod explain;
mod frozen;
mod outlook;
mod slices;
mod upkeep;
mod window;

pub use block::{BlockCredit, BlockPhase, BlockRecord, BlockState, ChainPosition, FoundBlock};
pub use direct::{DirectPayment, DirectPayments, NoDirectPayments};
pub use explain::{ExplainedCredit, explain};
pub use frozen::FrozenWindow;
pub use outlook::Outlook;

pub(crate) use explain::write_assigned;

use block::Step;
use direct::with_direct;

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
    #[error(
        "block {block}: the ledger credits account {account} with {posted}, but what it follows from comes to {explained}"
    )]
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
    /// A coinbase is said to pay miners more than it pays.
    #[error("block {block}: the coinbase pays {value}, but miners are said to get {direct} of it directly")]
    DirectExceedsValue {
        /// The block.
        block: BlockHash,
        /// What the coinbase pays.
        value: Amount,
        /// What miners are said to get.
        direct: Amount,
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

/// Applies the rules to found blocks, over a store.
///
/// Every call can be repeated, and calls can come in any order: what was done is not done again.
#[derive(Clone, Debug)]
pub struct Books {
    store: Arc<dyn Store>,
    scheme: Scheme,
    /// The window of the next block, kept counted. Without it, each is counted from the store.
    running: Option<Arc<Mutex<RunningWindow>>>,
}

impl Books {
    /// Keeps books in `store`; blocks recorded from now on are split by `scheme`.
    pub fn new(store: Arc<dyn Store>, scheme: impl Into<Scheme>) -> Self {
        Self { store, scheme: scheme.into(), running: None }
    }

    /// Counts the window of the next block now and keeps it counted from here on, so that a found block is split without
    /// reading the share log. From now on each stored group of shares must be told by [`Books::shares_stored`]. Under a
    /// scheme that counts no shares when a block is found, nothing is kept.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn with_running_window(mut self) -> Result<Self, BooksError> {
        if self.scheme.keeps_window() {
            let mut running = RunningWindow::default();
            if self.follow(&mut running).await?.is_none() {
                running.prepend(&[]);
            }
            self.running = Some(Arc::new(Mutex::new(running)));
        }
        Ok(self)
    }

    /// Counts the window of a block whose job is made now; nothing if there are no shares.
    async fn follow(&self, running: &mut RunningWindow) -> Result<Option<Window>, BooksError> {
        let newest = self.store.share_position().await?;
        let segments = self.store.segments_back(newest, 1).await?;
        let Some(nbits) = segments.first().and_then(|segment| Some(segment.rows.first()?.nbits)) else {
            return Ok(None);
        };
        let rule = self.rule(self.scheme, u32::MAX, newest).await?;
        let Some(open) = rule.open_window(nbits) else { return Ok(None) };
        Ok(Some(window::move_to(running, &*self.store, newest, open).await?))
    }

    /// Takes note of shares that are on disk now. Groups come in their order, each once.
    pub async fn shares_stored(&self, group: &ShareGroup) {
        let Some(running) = &self.running else { return };
        let runs = group.runs.iter().filter(|run| run.reward == Reward::Shared);
        let row = |run: &ShareRun| ShareRow {
            account: run.account,
            difficulty: run.difficulty,
            nbits: run.job.nbits,
            count: run.count.into(),
        };
        let segment = Segment { position: group.segment, rows: runs.map(row).collect() };
        running.lock().await.push(&segment);
    }

    /// Returns the scheme by which blocks are split that do not bring their own.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Records a found block: freezes its split and posts it.
    ///
    /// # Errors
    ///
    /// If the store fails, or holds other facts about a block of this hash.
    pub async fn record_found(&self, found: &FoundBlock) -> Result<BlockRecord, BooksError> {
        self.record_under(found, self.scheme).await
    }

    /// Records a found block whose job was made under `scheme`, whatever the books' own scheme is by now.
    ///
    /// # Errors
    ///
    /// As [`Books::record_found`].
    pub async fn record_under(&self, found: &FoundBlock, scheme: Scheme) -> Result<BlockRecord, BooksError> {
        found.pool_value()?;
        let record = self.record_split(found, scheme).await?;
        self.post_direct(found.hash).await?;
        Ok(record)
    }

    async fn record_split(&self, found: &FoundBlock, scheme: Scheme) -> Result<BlockRecord, BooksError> {
        let mut frozen: Option<(Rule, Option<Window>)> = None;
        for _ in 0..COMMIT_ATTEMPTS {
            let head = self.store.head().await?;
            if let Some(record) = self.store.block(found.hash).await? {
                return match record.found.agrees_with(found) {
                    true => Ok(record),
                    false => Err(BooksError::DifferentBlock(found.hash)),
                };
            }
            // A block that came first may begin another round of PROP; else the split stays what it is.
            let rule = self.rule(scheme, found.height, found.share_position).await?;
            let (_, window) = match frozen.take().filter(|(frozen, _)| *frozen == rule) {
                Some(same) => frozen.insert(same),
                None => frozen.insert((rule, self.counted(found, rule).await?)),
            };
            let split = rule.split(found.reward(), window.as_ref(), found.finder);
            // As they were when the job was made.
            let wishes = self.store.wishes(found.share_position).await?;
            let split = Split { credits: beneficiary::assign(&split.credits, &wishes), ..split };
            let window = window.as_ref().and_then(FrozenWindow::of);
            let (fee, reserve, state) = (split.fee, split.reserve, BlockState::FOUND);
            let record = BlockRecord { found: found.clone(), fee, reserve, rule: Some(rule), state };
            let credits = credits_of(&split);
            let lines = booking(EntryKind::BlockFound, found.hash.to_string(), &record, &credits);
            let draft = lines.facts(record.facts()).balanced()?;
            if self.commit(head, draft, vec![Row::BlockFound { block: record.clone(), credits, window }]).await? {
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
            self.post_direct(hash).await?;
            let head = self.store.head().await?;
            let block = self.store.block(hash).await?.ok_or(BooksError::UnknownBlock(hash))?;
            let Some(step) = block.state.step_towards(position.phase()) else {
                return Ok(block.state);
            };
            let credits = self.store.credits(hash).await?;
            let draft = self.step_draft(step, &block, &credits).await?;
            let state = block.state.after(step);
            let mut rows = vec![Row::BlockMoved { hash, state }];
            if step == Step::Orphan {
                let settled = block.found.direct.settled_of(&credits);
                rows.extend(settled.into_iter().map(|(account, amount)| Row::DirectVoid {
                    block: hash,
                    account,
                    amount,
                }));
            }
            if block.reserve > Amount::ZERO && matches!(step, Step::Mature | Step::Unmature) {
                let lot = Lot::of_block(hash, block.found.coinbase, block.reserve);
                rows.push(Row::ReserveBlock { lot, is_void: step == Step::Unmature });
            }
            self.commit(head, draft, rows).await?;
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

    /// Counts the shares that a block pays for; nothing if shares do not matter.
    async fn counted(&self, found: &FoundBlock, rule: Rule) -> Result<Option<Window>, BooksError> {
        match (&self.running, rule.open_window(found.nbits)) {
            (Some(running), Some(open)) if rule.scheme().keeps_window() => {
                let mut running = running.lock().await;
                Ok(Some(window::move_to(&mut running, &*self.store, found.share_position, open).await?))
            }
            _ => Ok(window::counted(&*self.store, rule, found.nbits, found.share_position).await?),
        }
    }

    /// Returns the rule of a block: the scheme, and for PROP where the round of this block begins.
    async fn rule(&self, scheme: Scheme, height: u32, position: ShareSeq) -> Result<Rule, BooksError> {
        let last_block = match scheme {
            Scheme::Prop(_) => self.last_block(height, position).await?,
            _ => ShareSeq::new(0),
        };
        Ok(scheme.rule(last_block))
    }

    /// Returns the share position of the pool's block before this one: the latest of those that lie lower and are not
    /// known to have left the chain. Rivals of one height do not end each other's rounds, for one of them pays nobody.
    async fn last_block(&self, below: u32, position: ShareSeq) -> Result<ShareSeq, BooksError> {
        let mut limit = BLOCK_PAGE;
        loop {
            let blocks = self.store.blocks(limit).await?;
            let earlier = blocks.iter().filter(|block| {
                block.found.height < below
                    && block.found.share_position <= position
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

    async fn step_draft(&self, step: Step, block: &BlockRecord, credits: &[BlockCredit]) -> Result<Draft, BooksError> {
        let hash = block.found.hash;
        let key = format!("{hash}:{}", block.state.epoch);
        let lines = match step {
            Step::Mature => maturing(EntryKind::Matured, key, block, credits)?,
            Step::Unmature => {
                let matured = self.entry(EntryKind::Matured, key.clone()).await?;
                let direct: Amount = block.found.direct.settled_of(credits).into_values().sum();
                let paid: Amount = credits.iter().map(|credit| credit.paid).sum();
                let debt = paid.checked_sub(direct).unwrap_or_default();
                if debt > Amount::ZERO {
                    tracing::warn!(block_hash = %hash, debt_sat = debt.to_sat(), "a block that was paid out left the chain");
                }
                maturing(EntryKind::Unmatured, key, block, credits)?.reversed().corrects(matured)
            }
            Step::Orphan => {
                let (booked, _) = self.booked(block).await?;
                with_direct(booking(EntryKind::Orphaned, key, block, credits), block, credits)
                    .reversed()
                    .corrects(booked)
            }
            Step::Reconnect => booking(EntryKind::Reconnected, key, block, credits),
        };
        Ok(lines.balanced()?)
    }

    /// Returns the entry that put the block on the books last, and in which epoch: the latest return to the chain, or the
    /// find.
    async fn booked(&self, block: &BlockRecord) -> Result<(EntrySeq, u32), BooksError> {
        let hash = block.found.hash;
        for epoch in (1..=block.state.epoch).rev() {
            let entry = self.store.entry(EntryKind::Reconnected, &format!("{hash}:{epoch}")).await?;
            if let Some(entry) = entry {
                return Ok((entry.seq, epoch));
            }
        }
        Ok((self.entry(EntryKind::BlockFound, hash.to_string()).await?, 0))
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
        .credit(LedgerAccount::FeeImmature, block.fee)
        .credit(LedgerAccount::PpsImmature, block.reserve);
    credits
        .iter()
        .fold(lines, |lines, credit| lines.credit(LedgerAccount::MinerImmature(credit.account), credit.amount))
}

/// The lines that make a block's coinbase spendable and its credits due.
///
/// What payouts took of a credit before a reorganisation became the miner's debt then; it is that debt which such a
/// credit settles, and no other. So a debt is never taken from money of another block.
/// What the coinbase paid directly is settled by then: it neither becomes spendable nor due.
fn maturing(
    kind: EntryKind,
    key: String,
    block: &BlockRecord,
    credits: &[BlockCredit],
) -> Result<DraftLines, BooksError> {
    let (value, direct) = (block.found.pool_value()?, block.found.direct.settled_of(credits));
    let lines = Draft::begin(kind, key)
        .debit(LedgerAccount::Spendable, value)
        .credit(LedgerAccount::Immature(block.found.hash), value)
        .debit(LedgerAccount::FeeImmature, block.fee)
        .credit(LedgerAccount::Fee, block.fee)
        .debit(LedgerAccount::PpsImmature, block.reserve)
        .credit(LedgerAccount::PpsReserve, block.reserve);
    Ok(credits.iter().fold(lines, |lines, credit| {
        let direct = direct.get(&credit.account).copied().unwrap_or_default();
        lines
            .debit(LedgerAccount::MinerImmature(credit.account), credit.amount - direct)
            .credit(LedgerAccount::MinerPayable(credit.account), credit.amount - credit.paid)
            .credit(LedgerAccount::MinerDebt(credit.account), credit.paid.checked_sub(direct).unwrap_or_default())
    }))
}

#[cfg(test)]
mod tests;
