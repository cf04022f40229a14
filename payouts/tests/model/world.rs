//! One run: a pool's money, the chain, and everything that happens to both.
//!
//! Owns what the model knows: which shares are on record, which blocks were found and what they pay. What must hold of
//! books and chain is in [`crate::checks`].

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use bitcoin::{Amount, BlockHash, FeeRate, OutPoint};
use payouts::{
    AccountId, Appended, BooksError, ChainPosition, FoundBlock, PayoutEvent, ShareSeq, books::COINBASE_MATURITY,
    deposits,
};

use crate::{
    bench::{self, Bench, Pool, RULE},
    books::{self, ModelGroup},
    chain::Chain,
    checks,
    faults::{Fault, Faults},
    node::{self, SharedChain},
    operations::{News, Operation},
    store::Mistake,
};

mod branches;
mod life;
mod orders;

use branches::UNSEEN_GROWTH;
pub(crate) use branches::foreign;
pub(crate) use orders::restraint_of;

/// The newly issued part of every coinbase.
pub(crate) const SUBSIDY_SAT: u64 = 312_500_000;
/// When runs that are reported begin: midnight of the 1st of January 2026 in UTC+3, which is still 2025 in UTC.
#[cfg(debug_assertions)]
pub(crate) const START_MS: i64 = 1_767_214_800_000;
/// Days that pass before each operation of such a run.
#[cfg(debug_assertions)]
const DAYS_OF_OPERATION: i64 = 3;
/// Rounds in which the end of a run must come to rest.
const LAST_ROUNDS: usize = 60;

/// A block of the pool, as the model knows it.
pub(crate) struct OurBlock {
    pub(crate) found: FoundBlock,
    pub(crate) fee: Amount,
    pub(crate) credits: BTreeMap<AccountId, Amount>,
    /// Whether the books have said that they have it.
    pub(crate) is_told: bool,
    /// The positions that it had in the chain, in their order, leaving out those of the same consequence.
    seen: Vec<ChainPosition>,
    /// Whether the books were ever told that it is deep enough to be paid.
    pub(crate) has_matured: bool,
}

/// How often things happened that make a run worth something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) runs: u32,
    pub(crate) crashes: u32,
    pub(crate) failed_calls: u32,
    pub(crate) payouts: u32,
    pub(crate) reversals: u32,
    pub(crate) refusals: u32,
    pub(crate) debts: u32,
    pub(crate) stuck: u32,
    /// Runs at whose end nothing was due.
    pub(crate) paid_out: u32,
    pub(crate) comparisons: u32,
    /// Transactions that were replaced.
    pub(crate) bumps: u32,
    /// Transactions that were replaced, and came back.
    pub(crate) recalls: u32,
    pub(crate) approvals: u32,
    pub(crate) cancellations: u32,
    pub(crate) sweeps: u32,
    pub(crate) deposits: u32,
    /// Batches of which another attempt than the newest confirmed.
    pub(crate) earlier: u32,
    /// Batches that were given up, for their coins were stolen.
    pub(crate) replaced: u32,
    /// Months of which there were reports.
    pub(crate) months: u32,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.crashes += other.crashes;
        self.failed_calls += other.failed_calls;
        self.payouts += other.payouts;
        self.reversals += other.reversals;
        self.refusals += other.refusals;
        self.debts += other.debts;
        self.stuck += other.stuck;
        self.paid_out += other.paid_out;
        self.comparisons += other.comparisons;
        self.bumps += other.bumps;
        self.recalls += other.recalls;
        self.approvals += other.approvals;
        self.cancellations += other.cancellations;
        self.sweeps += other.sweeps;
        self.deposits += other.deposits;
        self.earlier += other.earlier;
        self.replaced += other.replaced;
        self.months += other.months;
    }
}

/// Everything there is in a run.
pub(crate) struct World<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) chain: SharedChain,
    pub(crate) blocks: Vec<OurBlock>,
    pub(crate) tally: Tally,
    mistake: Option<Mistake>,
    is_reported: bool,
    database: PathBuf,
    pool: Option<Pool>,
    faults: Arc<Faults>,
    shares: Vec<ModelGroup>,
    log: OpenLog,
    /// Positions that jobs were given.
    positions: Vec<ShareSeq>,
    /// The accounts that are not paid.
    pub(crate) restrained: BTreeSet<AccountId>,
    /// Ends of branches that were left.
    branches: Vec<BlockHash>,
    /// The lowest block at which the chain forked since the pool last saw all of it.
    unseen_fork: Option<u32>,
}

/// Where shares of a session go.
#[derive(Clone, Copy, Debug, Default)]
struct OpenLog {
    session: i64,
    groups: i64,
    segment: u32,
}

/// Runs operations from the first state, and brings the run to an end. If it is reported, some days pass before each
/// operation, and at the end each month must reconcile.
pub(crate) async fn run(
    bench: &Bench,
    operations: &[Operation],
    mistake: Option<Mistake>,
    is_reported: bool,
) -> Result<Tally> {
    let mut world = World {
        bench,
        chain: Arc::new(Chain::new().into()),
        blocks: Vec::new(),
        tally: Tally { runs: 1, ..Tally::default() },
        mistake,
        is_reported,
        database: bench.database()?,
        pool: None,
        faults: Arc::default(),
        shares: Vec::new(),
        log: OpenLog::default(),
        positions: vec![ShareSeq::new(0)],
        restrained: BTreeSet::new(),
        branches: Vec::new(),
        unseen_fork: None,
    };
    let outcome = world.run_all(operations).await;
    world.fall().await;
    #[cfg(debug_assertions)]
    payouts::clock::set(None);
    outcome.map(|()| world.tally)
}

impl World<'_> {
    async fn run_all(&mut self, operations: &[Operation]) -> Result<()> {
        for (index, operation) in operations.iter().enumerate() {
            self.let_days_pass(index);
            let context = || format!("operation {index}, {operation:?}");
            self.perform(operation).await.with_context(context)?;
            self.note_positions();
            if let Some(pool) = &self.pool {
                checks::balance(&pool.sqlite).await.with_context(context)?;
            }
        }
        self.finish().await.context("at the end")?;
        if self.is_reported {
            let sqlite = self.pool().await?.sqlite.clone();
            self.tally.months += checks::reports(&sqlite).await.context("in the reports")?;
        }
        Ok(())
    }

    /// Sets the clock, where there is one that can be set.
    fn let_days_pass(&self, operations: usize) {
        #[cfg(debug_assertions)]
        if self.is_reported {
            let days = DAYS_OF_OPERATION * i64::try_from(operations).expect("operations are few");
            payouts::clock::set(Some(START_MS + days * 86_400_000));
        }
        #[cfg(not(debug_assertions))]
        let _ = operations;
    }

    async fn perform(&mut self, operation: &Operation) -> Result<()> {
        match *operation {
            Operation::Shares { .. } => self.store_shares(operation).await,
            Operation::SharesAgain => self.store_again().await,
            Operation::Find { finder, stale, value_sat, filled, news, rival, fault } => {
                self.room(1).await?;
                let value = Amount::from_sat(value_sat);
                let hash = {
                    let mut chain = node::locked(&self.chain);
                    match rival && chain.height() > 0 {
                        true => chain.mine_rival(&self.bench.script, value),
                        false => chain.mine(&self.bench.script, value, filled),
                    }
                };
                if rival {
                    self.branches.push(hash);
                }
                let block = self.note_block(hash, finder, stale, value);
                if news != News::Late {
                    self.tell(block, fault).await?;
                }
                if news == News::Twice {
                    self.tell(block, None).await?;
                }
                Ok(())
            }
            Operation::Mine { blocks, filled } => self.mine(blocks.into(), filled).await,
            Operation::Bury { filled } => self.mine(COINBASE_MATURITY, filled).await,
            Operation::Reorganise { depth, ours, filled, forgotten, finder, value_sat } => {
                let found = ours.then_some((finder, Amount::from_sat(value_sat)));
                self.reorganise(depth, found, filled, forgotten).await
            }
            Operation::Return { branch } => self.follow_branch(branch).await,
            Operation::Tell { block, fault } => match self.blocks.len() {
                0 => Ok(()),
                blocks => self.tell(block % blocks, fault).await,
            },
            Operation::Contradict { block } => self.contradict(block).await,
            Operation::Settle { backwards, fault } => self.settle(backwards, fault).await,
            Operation::SettleLate { block, seen, fault } => self.settle_late(block, seen, fault).await,
            Operation::Step { fault } => self.step(fault).await.map(drop),
            Operation::Restart { fault } => {
                self.fall().await;
                self.start(fault).await
            }
            Operation::Forget => {
                node::locked(&self.chain).forget_mempool();
                Ok(())
            }
            Operation::Fees { estimate, floor } => {
                self.set_fees(estimate, floor);
                Ok(())
            }
            Operation::Bump { batch, rate, fault } => self.bump(batch, rate, fault).await,
            Operation::Recall { which, mined } => self.recall(which, mined).await,
            Operation::Approve { batch, fault } => self.approve(batch, fault).await,
            Operation::Cancel { batch, fault } => self.cancel(batch, fault).await,
            Operation::Restrain { miner, fault } => self.restrain(miner, fault).await,
            Operation::Lift { miner, fault } => self.lift(miner, fault).await,
            Operation::Run { miner, fault } => self.run(miner, fault).await,
            Operation::Threshold { miner, sat, fault } => self.set_threshold(miner, sat, fault).await,
            Operation::Deposit { value_sat } => {
                self.deposit(Amount::from_sat(value_sat));
                Ok(())
            }
            Operation::Steal { batch } => self.steal(batch).await,
            Operation::Compare => self.compare().await,
        }
    }

    async fn store_shares(&mut self, operation: &Operation) -> Result<()> {
        let &Operation::Shares { miner, count, log2, network_log2, cut, fault } = operation else { return Ok(()) };
        let session = self.pool().await?.session;
        if self.log.session != session {
            self.log = OpenLog { session, groups: 0, segment: 1 };
        }
        self.log.groups += 1;
        let segment = ShareSeq::of_session(session, self.log.segment).context("sessions are few")?;
        let (account, number) = (self.bench.miners[miner].account, self.log.groups);
        let group = ModelGroup { session, number, segment, account, count, log2, network_log2 };
        let shares = bench::share_group(&group);
        let (pool, faults) = self.armed(fault)?;
        let stored = faults.survive(async { Ok(pool.store.append_shares(&shares).await?) }).await;
        let mut is_counted = false;
        match self.done(stored).await? {
            Some(appended) => ensure!(appended == Appended::Stored, "new shares are said to be old"),
            None => {
                // Not acknowledged, so the same come again: they count once, whatever became of them before.
                let pool = self.pool().await?;
                let appended = pool.store.append_shares(&shares).await?;
                // What is on disk at a start is counted then.
                is_counted = appended == Appended::Already && pool.session != session;
            }
        }
        if !is_counted {
            self.pool().await?.books.shares_stored(&shares).await;
        }
        self.shares.push(group);
        if cut {
            self.log.segment += 1;
            self.positions.push(segment);
        }
        Ok(())
    }

    async fn store_again(&mut self) -> Result<()> {
        let Some(newest) = self.shares.last() else { return Ok(()) };
        let shares = bench::share_group(newest);
        let appended = self.pool().await?.store.append_shares(&shares).await?;
        ensure!(appended == Appended::Already, "shares count twice");
        Ok(())
    }

    /// Notes what a block of the pool should pay, and to whom.
    fn note_block(&mut self, hash: BlockHash, finder: usize, stale: u8, value: Amount) -> usize {
        let share_position = self.positions[self.positions.len() - 1 - usize::from(stale) % self.positions.len()];
        let finder = self.bench.miners[finder].account;
        let shares = self.shares.iter().filter(|group| group.segment <= share_position);
        let (fee, credits) = books::split(RULE, value, shares, finder);
        let (height, coinbase) = {
            let chain = node::locked(&self.chain);
            let block = chain.block(hash).expect("it was just mined");
            (block.height, OutPoint::new(block.txids[0], 0))
        };
        let subsidy = Amount::from_sat(SUBSIDY_SAT);
        let (nbits, found_at_ms) = (bench::nbits(0), i64::from(height));
        let found = FoundBlock {
            hash,
            height,
            coinbase,
            value,
            subsidy,
            finder,
            share_position,
            nbits,
            found_at_ms,
            direct: Default::default(),
        };
        self.blocks.push(OurBlock { found, fee, credits, is_told: false, seen: Vec::new(), has_matured: false });
        self.note_positions();
        self.blocks.len() - 1
    }

    /// Tells the books of a block.
    async fn tell(&mut self, block: usize, fault: Option<Fault>) -> Result<()> {
        let found = self.blocks[block].found.clone();
        self.pool().await?;
        let (pool, faults) = self.armed(fault)?;
        let recorded = faults.survive(async { Ok(pool.books.record_found(&found).await?) }).await;
        if let Some(record) = self.done(recorded).await? {
            ensure!(record.found == found, "the books keep other facts: {record:?}");
            self.blocks[block].is_told = true;
        }
        Ok(())
    }

    async fn contradict(&mut self, block: usize) -> Result<()> {
        let told: Vec<_> = self.blocks.iter().filter(|block| block.is_told).collect();
        if told.is_empty() {
            return Ok(());
        }
        let mut found = told[block % told.len()].found.clone();
        found.value += Amount::ONE_SAT;
        match self.pool().await?.books.record_found(&found).await {
            Err(BooksError::DifferentBlock(hash)) if hash == found.hash => Ok(()),
            other => bail!("other facts were not refused: {other:?}"),
        }
    }

    /// Keeps what the chain says of each block, where that changes something.
    fn note_positions(&mut self) {
        let chain = node::locked(&self.chain);
        for block in &mut self.blocks {
            let position = chain.position(block.found.hash);
            if block
                .seen
                .last()
                .is_none_or(|last| is_mature(*last) != is_mature(position) || is_in(*last) != is_in(position))
            {
                block.seen.push(position);
            }
        }
    }

    /// Settles all blocks, as the pool does at each tip.
    async fn settle(&mut self, backwards: bool, fault: Option<Fault>) -> Result<()> {
        let height = node::locked(&self.chain).height();
        self.pool().await?;
        let (pool, faults) = self.armed(fault)?;
        let watched = faults.survive(async { Ok(pool.books.watched(height).await?) }).await;
        let Some(mut watched) = self.going(watched).await? else { return self.disarm() };
        if backwards {
            watched.reverse();
        }
        for record in watched {
            let position = node::locked(&self.chain).position(record.found.hash);
            if !self.settle_at(record.found.hash, position).await? {
                break;
            }
        }
        self.disarm()
    }

    async fn settle_late(&mut self, block: usize, seen: usize, fault: Option<Fault>) -> Result<()> {
        let Some(block) = self.blocks.get(block % self.blocks.len().max(1)) else { return Ok(()) };
        let (hash, height, position) = (block.found.hash, block.found.height, block.seen[seen % block.seen.len()]);
        if node::locked(&self.chain).height() > height + UNSEEN_GROWTH {
            return Ok(());
        }
        // What the books are told now may be wrong until the pool looks again, which it does not do for ever.
        self.note_fork(height);
        self.pool().await?;
        self.armed(fault)?;
        self.settle_at(hash, position).await?;
        self.disarm()
    }

    /// Settles one block; false if the pool could not go on.
    async fn settle_at(&mut self, hash: BlockHash, position: ChainPosition) -> Result<bool> {
        let block = self.blocks.iter_mut().find(|block| block.found.hash == hash).context("a block of nobody")?;
        block.has_matured |= is_mature(position);
        let is_told = block.is_told;
        let Some(pool) = &self.pool else { return Ok(false) };
        let settled = self.faults.survive(async { Ok(pool.books.settle(hash, position).await) }).await;
        let settled = match settled {
            Some(Ok(Err(BooksError::UnknownBlock(_)))) if !is_told => return Ok(true),
            Some(Ok(Err(error))) => Some(Err(error.into())),
            Some(Ok(Ok(state))) => Some(Ok(state)),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        };
        Ok(self.going(settled).await?.is_some())
    }

    /// Lets the payer do what it can; nothing if a fault came between.
    async fn step(&mut self, fault: Option<Fault>) -> Result<Option<Vec<PayoutEvent>>> {
        self.pool().await?;
        let (pool, faults) = self.armed(fault)?;
        let events = faults.survive(async {
            let events = pool.payer.step().await?;
            deposits::follow(&*pool.store, &pool.payer.wallet().deposits()).await?;
            Ok(events)
        });
        let events = events.await;
        let events = self.done(events).await?;
        for event in events.iter().flatten() {
            match event {
                PayoutEvent::Reversed { .. } => self.tally.reversals += 1,
                PayoutEvent::Refused { .. } => self.tally.refusals += 1,
                PayoutEvent::Swept { .. } => self.tally.sweeps += 1,
                _ => {}
            }
        }
        Ok(events)
    }

    /// Brings books and wallet to the tip, and compares all with the model.
    pub(crate) async fn compare(&mut self) -> Result<()> {
        for block in 0..self.blocks.len() {
            if !self.blocks[block].is_told {
                self.tell(block, None).await?;
            }
        }
        self.settle(false, None).await?;
        self.step(None).await?;
        self.unseen_fork = None;
        self.tally.comparisons += 1;
        let sqlite = self.pool().await?.sqlite.clone();
        let seen = checks::compare(self, &sqlite).await?;
        self.tally.debts += u32::from(seen.debt > 0);
        Ok(())
    }

    /// Lets everything mature and be paid, and checks that it was.
    async fn finish(&mut self) -> Result<()> {
        self.set_fees(None, 1);
        for miner in 0..self.bench.miners.len() {
            self.lift(miner, None).await?;
        }
        self.compare().await?;
        self.mine(COINBASE_MATURITY, true).await?;
        for _ in 0..LAST_ROUNDS {
            self.settle(false, None).await?;
            self.approve_all().await?;
            let events = self.step(None).await?.context("there was no fault")?;
            let waits = !node::locked(&self.chain).mempool().is_empty();
            let is_over = |event: &_| matches!(event, PayoutEvent::Refused { .. } | PayoutEvent::Waiting { .. });
            if !waits && events.iter().all(is_over) {
                self.compare().await?;
                let sqlite = self.pool().await?.sqlite.clone();
                return checks::paid_out(self, &sqlite).await;
            }
            self.mine(1, true).await?;
        }
        bail!("payouts go on for ever")
    }

    fn set_fees(&mut self, estimate: Option<u32>, floor: u32) {
        let mut chain = node::locked(&self.chain);
        chain.estimate = estimate.map(FeeRate::from_sat_per_vb_u32);
        chain.floor = FeeRate::from_sat_per_vb_u32(floor);
    }
}

fn is_in(position: ChainPosition) -> bool {
    position != ChainPosition::NotInBestChain
}

fn is_mature(position: ChainPosition) -> bool {
    matches!(position, ChainPosition::Confirmed { confirmations } if confirmations >= COINBASE_MATURITY)
}
