//! A year of a pool under a clock of its own: blocks and what becomes of them, payouts, what an operator does, and the
//! reports of each month when it is over. Then all of it is recounted by a script that shares no code with Adit.
//!
//! Owns the pool and its clock. What the network does is in [`network`], what an operator does in [`operator`] and
//! [`sales`]; which reports are made, and what must hold of them, in [`reports`] and [`edits`].

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use bitcoin::{Amount, BlockHash};
use payouts::{
    PayoutPolicy, ShareSeq, SqliteStore, clock,
    crediting::{self, NetworkBlockRow, NetworkError},
    deposits,
    export::{party::Vault, rules::sale::LotMethod},
    payout::{Approval, FeePayer, PayoutError, SalePolicy},
    scheme::{
        PoolFee,
        rule::{Scheme, SchemeName},
    },
    share::JobTerms,
};

use crate::{
    bench::{self, Bench, MINERS, Pool},
    books::ModelGroup,
    chain::Chain,
    checks,
    node::{self, SharedChain},
    world::{START_MS, SUBSIDY_SAT},
};

mod edits;
mod network;
mod operator;
mod prices;
mod reports;
mod sales;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Blocks of the network in a day. They are few, so that a year is soon over: a block is mature after 50 days.
const BLOCKS_A_DAY: i64 = 2;
/// The least balance that is paid, so that an account is paid every few days.
const THRESHOLD: Amount = Amount::from_sat(250_000_000);
/// Batches that take more than this wait for approval.
const APPROVAL_LIMIT: Amount = Amount::from_sat(700_000_000);
/// Where the pool is resident.
const RESIDENCY: &str = "KZ";
const BY: &str = "the operator";

#[test]
fn a_year_is_recounted_to_the_satoshi() {
    reports::recount_year(2);
}

#[test]
fn another_year_is_recounted_to_the_satoshi() {
    reports::recount_year(5);
}

/// Random numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("it is below a length")
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// How often things happened that make a year worth something.
#[derive(Debug, Default)]
struct Deeds(BTreeMap<&'static str, u32>);

impl Deeds {
    fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn times(&self, what: &str) -> u32 {
        self.0.get(what).copied().unwrap_or_default()
    }
}

/// The network is not asked by the schemes of a year.
#[derive(Debug)]
struct NoNetwork;

#[async_trait::async_trait]
impl crediting::Network for NoNetwork {
    async fn tip_height(&self) -> Result<u32, NetworkError> {
        panic!("PPS+ asks the network for nothing")
    }

    async fn block(&self, _: u32) -> Result<NetworkBlockRow, NetworkError> {
        panic!("PPS+ asks the network for nothing")
    }
}

/// A pool in its year.
struct Year {
    bench: Bench,
    chain: SharedChain,
    dice: Dice,
    database: PathBuf,
    pool: Option<Pool>,
    at_ms: i64,
    month: usize,
    /// The last segment of the share log.
    position: ShareSeq,
    groups: i64,
    /// Ends of branches that were left.
    branches: Vec<BlockHash>,
    /// Whether somebody who has the key waits for a coin to steal.
    thief_waits: bool,
    /// Sales that were begun.
    sales: u32,
    deeds: Deeds,
}

impl Year {
    async fn begin(seed: u64) -> Result<Self> {
        clock::set(Some(START_MS));
        let bench = Bench::new(&Arc::new(Chain::new().into())).await?;
        let mut year = Self {
            chain: Arc::new(Chain::new().into()),
            dice: Dice(seed),
            database: bench.database()?,
            bench,
            pool: None,
            at_ms: START_MS,
            month: 0,
            position: ShareSeq::new(0),
            groups: 0,
            branches: Vec::new(),
            thief_waits: false,
            sales: 0,
            deeds: Deeds::default(),
        };
        year.restart(0).await?;
        Ok(year)
    }

    fn pool(&mut self) -> &mut Pool {
        self.pool.as_mut().expect("the pool runs")
    }

    fn store(&self) -> &SqliteStore {
        &self.pool.as_ref().expect("the pool runs").sqlite
    }

    /// Starts the pool anew; who pays for transactions, and which coins are sold, changes from month to month.
    async fn restart(&mut self, month: usize) -> Result<()> {
        if let Some(pool) = self.pool.take() {
            let sqlite = pool.sqlite.clone();
            drop(pool);
            sqlite.close().await;
        }
        let policy = PayoutPolicy {
            threshold: THRESHOLD,
            approval: Approval::Above(APPROVAL_LIMIT),
            fee_payer: if month.is_multiple_of(2) { FeePayer::Pool } else { FeePayer::Miners },
            sales: SalePolicy { lots: lot_method(month), residency: Some(RESIDENCY.parse()?) },
            ..bench::policy()
        };
        let sqlite = SqliteStore::open(&self.database).await?;
        let mut pool = bench::start(sqlite, &self.bench.key, &self.chain, &Arc::default(), None, policy).await?;
        pool.payer.open_vault(Vault::new(&[7; 32])).await?;
        self.groups = 0;
        self.month = month;
        self.pool = Some(pool);
        Ok(())
    }

    /// Lives through the days of a month, up to a moment after its end.
    async fn live_until(&mut self, end_ms: i64) -> Result<()> {
        while self.at_ms < end_ms {
            let turn_ms = DAY_MS / BLOCKS_A_DAY;
            let passed = turn_ms / 2 + i64::try_from(self.dice.below(turn_ms.unsigned_abs()))?;
            self.at_ms += passed;
            clock::set(Some(self.at_ms));
            self.turn().await.with_context(|| format!("at {} ms", self.at_ms))?;
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<()> {
        self.store_shares().await?;
        match self.dice.below(1_000) {
            0..22 => self.reorganise(1..6).await?,
            22..24 => self.reorganise(6..60).await?,
            24..26 => self.reorganise(100..130).await?,
            26..38 => self.follow_branch().await?,
            _ => self.mine().await?,
        }
        // Sometimes the pool looks only at the next tip.
        if self.dice.percent(80) {
            self.settle().await?;
            self.step().await?;
        }
        self.operate().await
    }

    async fn store_shares(&mut self) -> Result<()> {
        let session = self.pool().session;
        for _ in 0..=self.dice.below(2) {
            self.groups += 1;
            let segment = u32::try_from(self.groups)?;
            let group = ModelGroup {
                session,
                number: self.groups,
                segment: ShareSeq::of_session(session, segment).context("sessions are few")?,
                account: self.bench.miners[self.dice.index(MINERS)].account,
                count: 1 + u8::try_from(self.dice.below(5))?,
                log2: -12 + i8::try_from(self.dice.below(3))?,
                network_log2: 0,
            };
            let mut shares = bench::share_group(&group);
            for run in &mut shares.runs {
                run.job = JobTerms { subsidy: Some(Amount::from_sat(SUBSIDY_SAT)), ..run.job };
            }
            let pool = self.pool();
            pool.store.append_shares(&shares).await?;
            pool.books.shares_stored(&shares).await;
            self.position = group.segment;
        }
        Ok(())
    }

    /// Tells the books where all blocks stand.
    async fn settle(&mut self) -> Result<()> {
        let height = node::locked(&self.chain).height();
        for record in self.pool().books.watched(height).await? {
            let position = node::locked(&self.chain).position(record.found.hash);
            if record.state.phase != checks::phase(position) {
                self.pool().books.settle(record.found.hash, position).await?;
            }
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<()> {
        let pool = self.pool();
        pool.payer.step().await?;
        deposits::follow(&*pool.store, &pool.payer.wallet().deposits()).await?;
        Ok(())
    }

    /// Notes what was done; a refusal is an answer too.
    fn answered<T>(&mut self, what: &'static str, answer: Result<T, PayoutError>) -> Result<()> {
        match answer {
            Ok(_) => self.deeds.note(what),
            Err(PayoutError::Refused(_)) => self.deeds.note("refusals"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn lot_method(month: usize) -> LotMethod {
    if month % 3 == 2 { LotMethod::Specific } else { LotMethod::Fifo }
}

fn scheme(name: SchemeName) -> Scheme {
    let window = NonZeroU32::new(1).expect("a window is not empty");
    Scheme::new(name, window, PoolFee::from_basis_points(173).expect("a fee is under the whole"))
}
