//! Pools to be measured: a node of its own with Adit or the reference pool on it, both told to take shares of any speed.

use std::{
    fmt,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bitcoin::FeeRate;
use bitcoind_regtest::{Chain, Coins, MAX_SPLIT, Node, NodeOptions};
use tempfile::TempDir;

use super::{Load, connection::Plan, crew, crowd::Stay, pace::Pace};
use crate::{
    adit,
    foreign::{ReferencePool, ReferencePoolOptions},
    miner::PoolAddress,
};

/// Shares a minute that both pools are told to expect of a channel: so many that none raises a difficulty or takes a fast
/// channel for an attack. Adit judges by what comes at once, too: thousands of shares within a millisecond of the opening.
const SHARES_PER_MINUTE: u32 = 600_000_000;
/// How long a pool may take until it serves a first job.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two looks at whether it does.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// The weight of a transaction that spends one coin to one P2WPKH output (BIP 141).
const TRANSACTION_WEIGHT: u64 = 438;
/// Coins that one larger coin is split into at most, with one to spare: twice that many are made of two.
const SPLIT_SIZE: usize = MAX_SPLIT - 1;

/// Which pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The `adit` beside the running executable.
    Adit,
    /// The reference implementation's pool, as `make test-interop` installs it.
    Reference,
}

impl FromStr for Program {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        match name {
            "adit" => Ok(Self::Adit),
            "reference" => Ok(Self::Reference),
            _ => bail!("{name} is neither adit nor reference"),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adit => "adit",
            Self::Reference => "reference",
        })
    }
}

/// A running pool with a node of its own. Both end with this value.
pub struct Target {
    // In the order in which they end.
    pool: Pool,
    node: Node,
    _folder: Option<TempDir>,
    coins: Coins,
}

enum Pool {
    Adit(Box<adit::Pool>),
    Reference(Box<ReferencePool>),
}

impl Target {
    /// Starts a node and the pool, and waits until miners get jobs. Both log errors only.
    ///
    /// # Errors
    ///
    /// If one of them is not there, does not start, or gives no job in time.
    pub fn start(program: Program, chain: Chain) -> anyhow::Result<Self> {
        match program {
            Program::Adit => Self::start_adit(chain, |_| Ok(())),
            Program::Reference => Self::start_reference(chain),
        }
    }

    /// Starts Adit as [`start`](Self::start) does, after something was done to its settings or its folder.
    ///
    /// # Errors
    ///
    /// Likewise, or if that fails.
    pub fn start_adit(
        chain: Chain,
        prepare: impl FnOnce(&mut adit::Pool) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let node = NodeOptions::new().chain(chain).start()?;
        let mut pool = adit::Pool::init(&node)?;
        configure(&mut pool);
        prepare(&mut pool)?;
        pool.start()?;
        let target = Self { pool: Pool::Adit(Box::new(pool)), node, _folder: None, coins: Coins::new(chain) };
        target.wait_for_job()?;
        Ok(target)
    }

    fn start_reference(chain: Chain) -> anyhow::Result<Self> {
        let coins = Coins::new(chain);
        let folder = tempfile::Builder::new().prefix("load-node").tempdir()?;
        let node = ReferencePool::node_options(chain, folder.path()).start()?;
        if chain == Chain::Regtest {
            // With the genesis block alone, which is years old, the node's mining interface gives no template.
            node.mine(1)?;
        }
        let options = ReferencePoolOptions {
            shares_per_minute: f64::from(SHARES_PER_MINUTE),
            log: "error".into(),
            ..ReferencePoolOptions::default()
        };
        let pool = ReferencePool::start_with(chain, folder.path(), &coins.address(), &options)?;
        let target = Self { pool: Pool::Reference(Box::new(pool)), node, _folder: Some(folder), coins };
        target.wait_for_job()?;
        Ok(target)
    }

    /// Returns where miners connect.
    ///
    /// # Errors
    ///
    /// If the pool does not run.
    pub fn address(&self) -> anyhow::Result<PoolAddress> {
        match &self.pool {
            Pool::Adit(pool) => pool.address(),
            Pool::Reference(pool) => Ok(pool.address().clone()),
        }
    }

    /// Returns the pool's process.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        match &self.pool {
            Pool::Adit(pool) => pool.pid(),
            Pool::Reference(pool) => Ok(pool.pid()),
        }
    }

    /// Returns the node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Returns Adit, if it is that.
    pub fn adit(&self) -> Option<&adit::Pool> {
        match &self.pool {
            Pool::Adit(pool) => Some(pool),
            Pool::Reference(_) => None,
        }
    }

    /// Returns Adit, if it is that, to be stopped, killed and started again.
    pub fn adit_mut(&mut self) -> Option<&mut adit::Pool> {
        match &mut self.pool {
            Pool::Adit(pool) => Some(pool),
            Pool::Reference(_) => None,
        }
    }

    /// Returns a user whose channels are a worker each.
    pub fn user(&self) -> String {
        format!("{}.rig{{}}", self.coins.address())
    }

    /// A load of one connection for this pool. Its certificate is not checked: that would only cost this side time.
    ///
    /// # Errors
    ///
    /// If the pool does not run.
    pub fn load(&self) -> anyhow::Result<Load> {
        let pool = PoolAddress { authority: None, ..self.address()? };
        Ok(Load { server_pid: Some(self.pid()?), ..Load::new(pool, self.user()) })
    }

    /// Fills the node's mempool with small transactions of about this weight together, on regtest. Mines
    /// a hundred blocks and some.
    ///
    /// # Errors
    ///
    /// If the node refuses them.
    pub fn fill_mempool(&mut self, weight: u64) -> anyhow::Result<usize> {
        let count = usize::try_from(weight / TRANSACTION_WEIGHT)?;
        self.coins.fund(&self.node, u32::try_from(count.div_ceil(SPLIT_SIZE))?)?;
        let rates = [2, 3, 5, 8, 13, 21].map(FeeRate::from_sat_per_vb_u32);
        Ok(self.coins.fill_mempool(&self.node, count, &rates)?.len())
    }

    /// Opens a channel again and again until that works: a pool may listen before it has a template.
    fn wait_for_job(&self) -> anyhow::Result<()> {
        let load = self.load()?;
        let plan: std::sync::Arc<Plan> = load.plan()?;
        let orders = crew::Orders { connections: 1, threads: 1, in_flight: 1, stay: Stay::Reconnect, pace: Pace::Idle };
        let crew = crew::Crew::start(&plan, orders);
        let begun = Instant::now();
        while crew.open_count() == 0 {
            if begun.elapsed() > START_TIMEOUT {
                let losses = crew.finish()?.total.lost;
                bail!("the pool gives no job after {START_TIMEOUT:?}; connections were lost: {losses:?}");
            }
            thread::sleep(LOOK_INTERVAL);
        }
        crew.finish().context("end the first connection")?;
        Ok(())
    }
}

/// Sets Adit up for shares of any speed: the easiest difficulty there is, never raised, and no limit that a load as this
/// one would reach.
fn configure(pool: &mut adit::Pool) {
    pool.set("ADIT__LOG", "error")
        .set("ADIT__STRATUM__SHARES_PER_MINUTE", SHARES_PER_MINUTE)
        .set("ADIT__STRATUM__INITIAL_DIFFICULTY", "2^-32")
        .set("ADIT__STRATUM__MIN_DIFFICULTY", "2^-32")
        .set("ADIT__STRATUM__MAX_CONNECTIONS", 100_000)
        .set("ADIT__STRATUM__MAX_CHANNELS_PER_CONNECTION", 100_000)
        .set("ADIT__LIMITS__HANDSHAKES", 100_000)
        .set("ADIT__LIMITS__SHARES_PER_JOB", 100_000_000)
        .set("ADIT__LIMITS__MESSAGES_PER_SECOND", 10_000_000)
        .set("ADIT__LIMITS__BYTES_PER_SECOND", 1_000_000_000)
        .set("ADIT__API__REQUESTS_PER_SECOND", 100_000);
}
