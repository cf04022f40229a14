//! One life of a pool: what happens to it, and what must be true in the end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bitcoin::{
    Address, SignedAmount,
    secp256k1::rand::{Rng, rngs::StdRng, seq::SliceRandom},
};
use bitcoind_regtest::{Chain, Coins, Node};
use payouts::{
    Store,
    books::BlockPhase,
    ledger::LedgerAccount,
    store::{postgres::PgStore, sqlite::SqliteStore},
};
use postgres_test::TestDatabase;
use tests::{
    adit::Pool,
    crash_points::{HALVED, STEPS, VARIABLE},
    miner::{ChannelConfig, Miner, MinerConfig, Record},
};
use tokio::time::sleep;

use crate::recount::Recount;

/// Miners that there are; a few of them work at a time.
const ACCOUNTS: usize = 5;
/// Hashes a second of each. Every second one is a share, and a block.
const HASHES_PER_SECOND: f64 = 12.0;
/// The pool's fee: one that leaves fractions of a satoshi.
const FEE_BP: u32 = 123;
/// What a balance must come to before it is paid.
const THRESHOLD_SAT: u64 = 1_000;
/// Height at which a life ends: before there is nothing left to earn.
const LAST_HEIGHT: u32 = 1_200;
/// Confirmations after which a coinbase can be spent.
const MATURITY: u32 = 100;
/// The longest wait between two calamities.
const LONGEST_PAUSE: Duration = Duration::from_millis(600);
/// How long anything may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A pool and what surrounds it.
pub(crate) struct Life {
    pool: Pool,
    node: Node,
    database: Option<TestDatabase>,
    random: StdRng,
    addresses: Vec<Address>,
    tally: BTreeMap<Address, Tally>,
    deaths: u32,
    reorganisations: u32,
}

/// What a miner knows of his shares.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    submitted: u64,
    acknowledged: u64,
}

/// A miner at work.
struct Worker {
    address: Address,
    miner: Miner,
}

impl Life {
    /// Makes a node and a pool that was never started.
    pub(crate) fn begin(random: StdRng, database: Option<TestDatabase>) -> anyhow::Result<Self> {
        let node = Node::start()?;
        node.mine(1)?;
        let mut pool = Pool::init(&node)?;
        pool.set("ADIT__STRATUM__SHARES_PER_MINUTE", 600)
            .set("ADIT__PAYOUT__FEE_BP", FEE_BP)
            .set("ADIT__PAYOUT__PPLNS_WINDOW", 1_000)
            .set("ADIT__PAYOUT__THRESHOLD_SAT", THRESHOLD_SAT);
        if let Some(database) = &database {
            pool.set("ADIT__STORE__PATH", "").set("ADIT__STORE__URL", database.url());
        }
        let addresses = (0..ACCOUNTS).map(|_| Coins::new(Chain::Regtest).address()).collect();
        let tally = BTreeMap::new();
        Ok(Self { pool, node, database, random, addresses, tally, deaths: 0, reorganisations: 0 })
    }

    /// Lets calamities happen until the time is over or the chain is long.
    pub(crate) async fn suffer_until(&mut self, end: Instant) -> anyhow::Result<()> {
        while Instant::now() < end && self.node.height()? < LAST_HEIGHT {
            if !self.start()? {
                continue;
            }
            let workers = self.connect().await;
            for _ in 0..self.random.gen_range(1..5) {
                self.pause().await;
                self.disturb().await?;
            }
            self.end_run()?;
            self.dismiss(workers).await?;
        }
        Ok(())
    }

    /// Returns the last lines of the pool's log.
    pub(crate) fn log_end(&self) -> String {
        let log = self.pool.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    async fn pause(&mut self) {
        let pause = self.random.gen_range(Duration::ZERO..LONGEST_PAUSE);
        sleep(pause).await;
    }

    /// Starts the pool, now and then to die at some step. Tells whether it has lived to serve miners.
    fn start(&mut self) -> anyhow::Result<bool> {
        let may_die = self.random.gen_bool(0.4);
        let points: Vec<String> = ["before", "after"]
            .iter()
            .flat_map(|when| STEPS.iter().map(move |step| format!("{when} {step}")))
            .chain(HALVED.map(str::to_owned))
            .collect();
        let point = points.choose(&mut self.random).context("there are points")?;
        let point = format!("{point}:{}", self.random.gen_range(1..4));
        self.pool.set(VARIABLE, if may_die { point.as_str() } else { "" });
        match self.pool.start() {
            Ok(_) => Ok(true),
            Err(_) if may_die => {
                self.deaths += 1;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets some miners begin. One that comes to a dead pool goes away again.
    async fn connect(&mut self) -> Vec<Worker> {
        let mut workers = Vec::new();
        for _ in 0..self.random.gen_range(1..4) {
            let address = self.addresses.choose(&mut self.random).expect("there are addresses").clone();
            let user = format!("{address}.{}", self.random.gen_range(0..3));
            let is_extended = self.random.r#gen();
            let channel = if is_extended { ChannelConfig::extended(user, 4) } else { ChannelConfig::standard(user) };
            let Ok(pool) = self.pool.address() else { break };
            let Ok(miner) = Miner::connect(MinerConfig::new(pool)).await else { break };
            // An unsuccessful one has nothing to tell.
            if miner.open(channel.hash_rate(HASHES_PER_SECOND)).await.is_ok() {
                workers.push(Worker { address, miner });
            }
        }
        workers
    }

    /// Does something to the node or the chain.
    async fn disturb(&mut self) -> anyhow::Result<()> {
        match self.random.gen_range(0..10) {
            0..=3 => self.reorganise()?,
            4..=5 => self.elsewhere(1, 20)?,
            6 => self.elsewhere(60, 101)?,
            7 => self.node.restart()?,
            8 => {
                self.node.pause()?;
                self.pause().await;
                self.node.resume()?;
            }
            _ => {}
        }
        Ok(())
    }

    fn reorganise(&mut self) -> anyhow::Result<()> {
        let depth = self.random.gen_range(1..5).min(self.node.height()? - 1);
        let longer = self.random.gen_range(1..3);
        // Blocks come in between, so that the new branch is not always the longer one in the end; nothing is wrong then.
        if depth > 0 {
            self.node.reorganise(depth, depth + longer)?;
            self.reorganisations += 1;
        }
        Ok(())
    }

    /// Others find blocks.
    fn elsewhere(&mut self, least: u32, most: u32) -> anyhow::Result<()> {
        let count = self.random.gen_range(least..most);
        self.node.mine(count)?;
        Ok(())
    }

    /// Ends the pool one way or another, and lets things happen while it is away.
    fn end_run(&mut self) -> anyhow::Result<()> {
        if self.pool.ended()?.is_some() {
            self.deaths += 1;
        } else if self.random.gen_bool(0.8) {
            self.pool.kill()?;
            self.deaths += 1;
        } else if let Err(error) = self.pool.stop() {
            // It may have come to its crash point on the way out.
            ensure!(format!("{error:#}").contains("SIGABRT"), "{error:#}");
            self.deaths += 1;
        }
        match self.random.gen_range(0..4) {
            0 => self.reorganise(),
            1 => self.elsewhere(1, 20),
            _ => Ok(()),
        }
    }

    /// Hears what miners whose pool is gone have to tell.
    async fn dismiss(&mut self, workers: Vec<Worker>) -> anyhow::Result<()> {
        for Worker { address, miner } in workers {
            miner.wait_for_end(PATIENCE).await?;
            let record: Record = miner.close().await;
            ensure!(record.faults.is_empty(), "the pool broke rules: {:?}", record.faults);
            let tally = self.tally.entry(address).or_default();
            tally.submitted += record.submitted.len() as u64;
            tally.acknowledged += record.accepted_count() as u64;
        }
        Ok(())
    }

    /// Lets the pool settle in peace, then compares everything. Returns what was compared.
    ///
    /// # Errors
    ///
    /// If it does not settle, or with what differs.
    pub(crate) async fn settle_and_count(&mut self) -> anyhow::Result<String> {
        self.pool.set(VARIABLE, "");
        self.pool.start()?;
        let store = self.open_store().await?;
        let begun = Instant::now();
        // What is still on its way arrives, and all of it matures.
        while self.pool.keeps_blocks() {
            ensure!(begun.elapsed() < PATIENCE, "found blocks are not booked");
            sleep(POLL_INTERVAL).await;
        }
        self.node.mine(MATURITY + 1)?;
        loop {
            let open = self.unfinished(store.as_ref()).await?;
            if open.is_empty() {
                break;
            }
            ensure!(begun.elapsed() < PATIENCE, "{}", open.join("\n"));
            self.node.mine(1)?;
            sleep(POLL_INTERVAL * 3).await;
        }
        let report = self.count(store.as_ref()).await?;
        let verified = self.pool.ask(&["ledger", "verify"])?;
        ensure!(verified.contains("All records are as they were written"), "{verified}");
        self.pool.stop()?;
        Ok(report)
    }

    async fn open_store(&self) -> anyhow::Result<Box<dyn Store>> {
        Ok(match &self.database {
            Some(database) => Box::new(PgStore::open_read_only(database.url()).await?),
            None => Box::new(SqliteStore::open_read_only(&self.pool.database()).await?),
        })
    }

    /// What is still to happen before the books can be closed.
    async fn unfinished(&self, store: &dyn Store) -> anyhow::Result<Vec<String>> {
        let mut open: Vec<String> = Vec::new();
        for block in store.blocks(u32::MAX).await? {
            let hash = block.found.hash;
            // The node calls one that it never had unknown, which is as good as not in the chain.
            let in_chain = self.node.confirmations(hash).is_ok_and(|confirmations| confirmations > 0);
            let expected = if in_chain { BlockPhase::Matured } else { BlockPhase::Orphaned };
            if block.state.phase != expected {
                open.push(format!("block {hash} is {:?} and not {expected:?}", block.state.phase));
            }
        }
        let batches = store.batches_to_watch(u32::MAX).await?;
        open.extend(batches.iter().map(|batch| format!("batch {} is not confirmed", batch.id)));
        let due = store.due(bitcoin::Amount::from_sat(THRESHOLD_SAT)).await?;
        open.extend(due.iter().map(|due| format!("{} is due to {}", due.amount, due.address)));
        Ok(open)
    }

    /// Compares the ledger with the chain to the satoshi, and the stored shares with those that miners know of.
    async fn count(&self, store: &dyn Store) -> anyhow::Result<String> {
        let miners: Vec<_> = self.addresses.iter().map(Address::script_pubkey).collect();
        let chain = Recount::of(&self.node, &self.pool.coinbase_script()?, &miners)?;
        let mut matured = store.blocks(u32::MAX).await?;
        matured.retain(|block| block.state.phase == BlockPhase::Matured);
        let booked = matured.iter().map(|block| block.found.hash).collect();
        ensure!(chain.blocks == booked, "in the chain {:?}, in the books {booked:?}", chain.blocks);

        let balances = store.balances().await?;
        let balance = |account| balances.get(&account).copied().unwrap_or(SignedAmount::ZERO).to_sat();
        let mut credited: BTreeMap<_, u64> = BTreeMap::new();
        let mut pool_fee = 0;
        for block in &matured {
            pool_fee += block.fee.to_sat();
            for credit in store.credits(block.found.hash).await? {
                *credited.entry(credit.account).or_default() += credit.amount.to_sat();
            }
        }
        for address in &self.addresses {
            let paid = chain.paid_sat.get(&address.script_pubkey()).copied().unwrap_or(0);
            let tally = self.tally.get(address).copied().unwrap_or_default();
            let Some(account) = store.find_account(&address.to_string()).await? else {
                ensure!((paid, tally.acknowledged) == (0, 0), "{address} is unknown, with {paid} sat and {tally:?}");
                continue;
            };
            let earned = credited.remove(&account.id).unwrap_or(0);
            let due = -balance(LedgerAccount::MinerPayable(account.id));
            ensure!(
                i128::from(earned) == i128::from(paid) + i128::from(due),
                "{address} earned {earned} sat, was paid {paid}, is due {due}"
            );
            let stored = store.share_totals(Some(account.id), 0).await?.count;
            let Tally { submitted, acknowledged } = tally;
            ensure!(acknowledged <= stored, "{address}: {acknowledged} shares acknowledged, {stored} stored");
            ensure!(stored <= submitted, "{address}: {submitted} shares submitted, {stored} stored");
        }
        ensure!(credited.is_empty(), "credits of accounts that nobody mined for: {credited:?}");

        let same = |what: &str, ledger: i64, chain: u64| {
            let equal = i128::from(ledger) == i128::from(chain);
            if equal { Ok(()) } else { bail!("{what}: {ledger} sat in the ledger, {chain} in the chain") }
        };
        same("spendable", balance(LedgerAccount::Spendable), chain.own_sat())?;
        same("network fees", balance(LedgerAccount::NetworkFee), chain.network_fee_sat)?;
        same("the pool's fee", -balance(LedgerAccount::Fee), pool_fee)?;
        let paid: u64 = chain.paid_sat.values().sum();
        ensure!(chain.mined_sat == paid + chain.network_fee_sat + chain.own_sat(), "coins came from nowhere");
        let acknowledged: u64 = self.tally.values().map(|tally| tally.acknowledged).sum();
        Ok(format!(
            "{} deaths, {} reorganisations, height {}: {acknowledged} acknowledged shares are stored; {} sat of {} blocks \
             are where the ledger says: {paid} paid to miners, {} in fees to the network, {} with the pool",
            self.deaths,
            self.reorganisations,
            self.node.height()?,
            chain.mined_sat,
            matured.len(),
            chain.network_fee_sat,
            chain.own_sat(),
        ))
    }
}
