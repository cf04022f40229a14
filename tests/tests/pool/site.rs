//! A private node with a pool on it, and miners: what each test starts with.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use bitcoin::{
    Address, Amount, BlockHash, FeeRate, ScriptBuf,
    hashes::Hash,
    secp256k1::rand::{Rng, thread_rng},
};
use bitcoincore_rpc::RpcApi;
use bitcoind_regtest::{Chain, Coins, Node, NodeOptions};
use serde_json::{Value, json};
use tests::{
    adit::Pool,
    miner::{ChannelConfig, Miner, MinerConfig, Submission},
};

use crate::books::Books;

/// How long anything may take that happens at once on a machine with time to spare.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The pool's fee in all tests: one that leaves fractions of a satoshi.
pub(crate) const FEE_BP: i64 = 123;
/// The window of PPLNS in all tests: on regtest, room for many shares.
pub(crate) const PPLNS_WINDOW: u128 = 1000;
/// What a deposit brings to the pool, in satoshis.
pub(crate) const DEPOSIT_SAT: u64 = 45 * 100_000_000;
/// Pause between two looks at something that is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Where the pool keeps its books.
pub(crate) enum Database {
    /// In its own folder.
    Sqlite,
    /// In a file elsewhere.
    SqliteAt(PathBuf),
    /// On a server, at this URL. Whoever made the database keeps it for longer than the site.
    Postgres(String),
}

/// A node and a pool that uses it. The pool ends first.
pub(crate) struct Site {
    pub(crate) pool: Pool,
    pub(crate) node: Node,
    database: Database,
}

impl Site {
    /// A regtest chain, where each share of these tests is a block.
    pub(crate) fn regtest() -> Self {
        Self::regtest_on(Database::Sqlite)
    }

    /// A regtest chain, with the books where the test wants them.
    pub(crate) fn regtest_on(database: Database) -> Self {
        Self::new(Chain::Regtest, database)
    }

    /// A signet of its own, where a share is hardly ever a block.
    pub(crate) fn signet() -> Self {
        Self::signet_on(Database::Sqlite)
    }

    /// A signet of its own, with the books where the test wants them.
    pub(crate) fn signet_on(database: Database) -> Self {
        Self::new(Chain::Signet, database)
    }

    fn new(chain: Chain, database: Database) -> Self {
        Self::over(NodeOptions::new().chain(chain).start().unwrap(), database)
    }

    /// A pool over a node that the test has started.
    pub(crate) fn over(node: Node, database: Database) -> Self {
        let mut pool = Pool::init(&node).unwrap();
        pool.set("ADIT__STRATUM__SHARES_PER_MINUTE", 600)
            .set("ADIT__PAYOUT__FEE_BP", FEE_BP)
            .set("ADIT__PAYOUT__PPLNS_WINDOW", PPLNS_WINDOW)
            .set("ADIT__PAYOUT__THRESHOLD_SAT", 1_000);
        match &database {
            Database::Sqlite => {}
            Database::SqliteAt(path) => {
                pool.set("ADIT__STORE__PATH", path.display());
            }
            Database::Postgres(url) => {
                pool.set("ADIT__STORE__PATH", "").set("ADIT__STORE__URL", url);
            }
        }
        Self { pool, node, database }
    }

    /// A new address of the chain, whose key nobody keeps.
    pub(crate) fn new_address(&self) -> Address {
        Coins::new(self.node.chain()).address()
    }

    /// A miner connected to the running pool, without channels.
    pub(crate) async fn miner(&self) -> Miner {
        Miner::connect(MinerConfig::new(self.pool.address().unwrap())).await.unwrap()
    }

    /// A miner with one channel.
    pub(crate) async fn miner_with(&self, channel: ChannelConfig) -> Miner {
        let miner = self.miner().await;
        miner.open(channel).await.unwrap();
        miner
    }

    /// The pool's books. They exist once the pool has started.
    pub(crate) async fn books(&self) -> Books {
        match &self.database {
            Database::Sqlite => Books::open_sqlite(&self.pool.database()).await,
            Database::SqliteAt(path) => Books::open_sqlite(path).await,
            Database::Postgres(url) => Books::open_postgres(url).await,
        }
    }

    /// The script that coinbases of the pool pay.
    pub(crate) fn pool_script(&self) -> ScriptBuf {
        self.pool.coinbase_script().unwrap()
    }

    /// The blocks of the best chain whose coinbase pays the pool, from the lowest.
    pub(crate) fn blocks_of_the_pool(&self) -> Vec<bitcoin::Block> {
        let script = self.pool_script();
        let blocks = (1..=self.node.height().unwrap()).map(|height| {
            let hash = self.node.block_hash(height).unwrap();
            self.node.block(hash).unwrap()
        });
        blocks.filter(|block| block.txdata[0].output[0].script_pubkey == script).collect()
    }

    /// Waits until the books agree with the chain, and no block is on its way to them. Nobody may be mining.
    pub(crate) async fn settle(&self) -> Books {
        // A block lies in the pool's folder before its share is acknowledged, and until it is booked.
        self.agree_with_chain().await;
        // The last of them may still have to be found an orphan.
        self.agree_with_chain().await
    }

    /// Waits until the books agree with the chain: every block of the pool in the chain is in them, each in the phase
    /// that follows from its place in the chain, and none waits to be booked.
    pub(crate) async fn agree_with_chain(&self) -> Books {
        let books = self.books().await;
        eventually_or("the books to agree with the chain", async || {
            let mut wrong = Vec::new();
            let known: BTreeMap<BlockHash, String> =
                books.blocks().await.into_iter().map(|block| (block.hash(), block.phase)).collect();
            for block in self.blocks_of_the_pool() {
                let hash = block.block_hash();
                if !known.contains_key(&hash) {
                    wrong.push(format!("block {hash} is not in the books"));
                }
            }
            for (&hash, phase) in &known {
                let expected = self.phase(hash);
                if phase != expected {
                    wrong.push(format!("block {hash} is {phase} and not {expected}"));
                }
            }
            let waiting = fs::read_dir(self.pool.folder().join("data/blocks")).unwrap();
            let waiting = waiting.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            // Facts of a block, or of one that was put aside. A kill can leave parts of a block behind without its facts:
            // before it was submitted, or after it was booked.
            let waiting = waiting.filter(|name| name.ends_with(".json") || name.ends_with(".rejected"));
            wrong.extend(waiting.map(|name| format!("{name} waits")));
            if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
        })
        .await;
        books
    }

    /// The phase that follows from a block's place in the chain.
    pub(crate) fn phase(&self, hash: BlockHash) -> &'static str {
        match self.node.confirmations(hash) {
            Ok(100..) => "matured",
            Ok(1..) => "immature",
            Ok(_) | Err(_) => "orphaned",
        }
    }

    /// Sends [`DEPOSIT_SAT`] to the pool so many times, and waits until all of it is booked. It mines a hundred blocks and some.
    pub(crate) async fn deposit(&self, count: u32) {
        let mut coins = Coins::new(self.node.chain());
        coins.fund(&self.node, count + 2).unwrap();
        for _ in 0..count {
            let (amount, rate) = (Amount::from_sat(DEPOSIT_SAT), FeeRate::from_sat_per_vb_u32(5));
            coins.spend(&self.node, &self.pool_script(), amount, rate).unwrap();
        }
        self.node.mine(1).unwrap();
        let sum = (DEPOSIT_SAT * u64::from(count)).to_string();
        eventually("the deposits to be booked", async || {
            self.pool.ask(&["reserve", "show"]).unwrap().contains(&sum).then_some(())
        })
        .await;
    }

    /// Mines until all that is due is paid and all payments are confirmed.
    pub(crate) async fn pay_out(&self) -> Books {
        let books = self.settle().await;
        eventually_or("all that is due to be paid", async || {
            let (due, open) = (books.due().await, books.open_batches().await);
            if due.values().all(|&sat| sat < 1_000) && open == 0 {
                return Ok(());
            }
            self.node.mine(1).unwrap();
            tokio::time::sleep(Duration::from_millis(250)).await;
            Err(format!("{due:?} due, {open} batches open"))
        })
        .await;
        books
    }

    /// The unspent outputs of an address, as (txid:vout, satoshis), from the node.
    pub(crate) fn unspent(&self, address: &Address) -> BTreeMap<String, i64> {
        let descriptor = format!("addr({address})");
        let scan: Value = self.rpc("scantxoutset", &[json!("start"), json!([descriptor])]);
        let outputs = scan["unspents"].as_array().unwrap().iter().map(|output| {
            let sat = Amount::from_btc(output["amount"].as_f64().unwrap()).unwrap();
            (format!("{}:{}", output["txid"].as_str().unwrap(), output["vout"]), sat.to_sat() as i64)
        });
        outputs.collect()
    }

    /// Any call to the node.
    pub(crate) fn rpc(&self, method: &str, parameters: &[Value]) -> Value {
        self.node.rpc().call(method, parameters).unwrap()
    }
}

/// A channel that works at a real speed and says so.
pub(crate) fn standard(address: &Address, hashes_per_second: f64) -> ChannelConfig {
    ChannelConfig::standard(address.to_string()).hash_rate(hashes_per_second)
}

/// An extended channel that works at a real speed and says so.
pub(crate) fn extended(address: &Address, hashes_per_second: f64) -> ChannelConfig {
    ChannelConfig::extended(address.to_string(), 4).hash_rate(hashes_per_second)
}

/// A channel that claims a speed and does not hash at all.
pub(crate) fn idle(config: ChannelConfig) -> ChannelConfig {
    ChannelConfig { hash_rate_limit: Some(0.0), ..config }
}

/// The hash of a share that a miner has found itself.
pub(crate) fn hash_of(submission: &Submission) -> BlockHash {
    BlockHash::from_byte_array(submission.hash.unwrap().0)
}

/// Waits until `look` finds something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_or(what, async || look().await.ok_or("it did not happen")).await
}

/// Waits until `look` finds something; when it does not in time, its last reason is told.
pub(crate) async fn eventually_or<T, E: std::fmt::Display>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(reason) => assert!(Instant::now() < deadline, "waited in vain for {what}:\n{reason}"),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// A random time below `most`; told, so that a failure can be looked into.
pub(crate) fn random_pause(most: Duration) -> Duration {
    let pause = thread_rng().gen_range(Duration::ZERO..most);
    println!("pause of {pause:?}");
    pause
}
