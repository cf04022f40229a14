//! The demo: everything that the pool does, once, on a private regtest network.
//!
//! A node, the pool and three CPU miners; the first share, the first block, a block that all three have earned, its
//! maturity, the payout, the export records, the dashboard. Then a summary, each line of which was checked against the node, not only
//! against the pool's own word. Ends with a failure if any of it did not come out right.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)]

mod stage;
mod summary;

use std::{future::Future, process::ExitCode, time::Duration};

use anyhow::{Context, bail, ensure};
use bitcoin::{Address, CompressedPublicKey, FeeRate, KnownHrp, key::rand, secp256k1};
use bitcoind_regtest::{Coins, Node};
use clap::Parser;
use payouts::{AccountId, BlockRecord, SqliteStore, Store, books::BlockPhase, payout::BatchState};
use tests::{
    adit::Pool,
    dashboard::Session,
    miner::{ChannelConfig, Miner, MinerConfig, PoolAddress},
};
use tokio::{
    task::block_in_place,
    time::{sleep, timeout},
};

use crate::{stage::Stage, summary::Summary};

/// Hashes a second of the three miners: on regtest a CPU would find thousands of blocks a second.
const HASH_RATES: [f64; 3] = [4_000.0, 8_000.0, 16_000.0];
/// Transactions in the mempool before the first block.
const MEMPOOL_SIZE: usize = 20;
/// Shares of each miner that the shared block shall be split over.
const SHARES_EACH: usize = 3;
/// How long any stage may take on a slow machine.
const STAGE_TIMEOUT: Duration = Duration::from_secs(180);
/// How often the pool's books are looked at.
const POLL: Duration = Duration::from_millis(100);
/// Confirmations that a coinbase needs.
const MATURITY: u32 = 100;

/// Shows all that Adit does, on a private regtest network.
#[derive(Parser)]
struct Arguments {
    /// End after the summary, with an exit status that tells whether everything came out right.
    #[arg(long)]
    once: bool,
}

/// A miner and where it is paid.
struct Worker {
    name: &'static str,
    address: Address,
    hash_rate: f64,
    channel_id: u32,
    miner: Miner,
}

#[tokio::main]
async fn main() -> ExitCode {
    match demo(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(arguments: &Arguments) -> anyhow::Result<()> {
    println!("Adit: from a block template to an export record, on a private regtest network\n");

    // The first time this builds one, and says so.
    block_in_place(bitcoind_regtest::find_or_build)?;
    let stage = Stage::begin("node started, with transactions in its mempool", MEMPOOL_SIZE);
    let node = block_in_place(prepare_node)?;
    stage.end();

    let stage = Stage::begin("pool started", 1);
    let (mut pool, address) = block_in_place(|| start_pool(&node))?;
    let store = SqliteStore::open_read_only(&pool.database()).await?;
    stage.end();

    let workers = connect(&address).await?;
    first_share(&workers).await?;
    first_block(&store).await?;
    let block = shared_block(&store, &workers).await?;
    maturity(&node, &store, &workers, &block).await?;
    payout(&store, &workers, &block).await?;
    records(&store, &block).await?;
    let stage = Stage::begin("dashboard answered, and opened by its token", 1);
    let session = Session::log_in(&pool.api_url()?, pool.first_token()).await?;
    ensure!(session.read("/", None).await?.contains("Hash rate"), "the dashboard shows no hash rate");
    stage.end();
    for worker in &workers {
        worker.miner.limit_hash_rate(worker.channel_id, Some(0.0)).await?;
        worker.miner.wait_for_answers(STAGE_TIMEOUT).await?;
    }

    println!();
    let accounts: Vec<(&str, Address)> = workers.iter().map(|worker| (worker.name, worker.address.clone())).collect();
    let summary = settled(|| Summary::gather(&node, &pool, &store, &block, &accounts)).await?;
    println!("{summary}");

    if !arguments.once {
        for worker in &workers {
            worker.miner.limit_hash_rate(worker.channel_id, Some(worker.hash_rate)).await?;
        }
        println!("\nThe miners go on until you press Ctrl-C. Connect your own to\n\n    {address}\n");
        println!("Config, keys, log and database are in {}\n", pool.folder().display());
        println!("Look at it all at {}/ and log in with this token, of role admin:\n", pool.api_url()?);
        println!("    {}\n", pool.first_token());
        tokio::signal::ctrl_c().await?;
    }
    drop(workers);
    block_in_place(|| pool.stop())?;
    summary.verdict()
}

fn prepare_node() -> anyhow::Result<Node> {
    let node = Node::start()?;
    let mut coins = Coins::new(node.chain());
    coins.fund(&node, 2)?;
    coins.split(&node, MEMPOOL_SIZE)?;
    let fee_rates = [2, 5, 20].map(|rate| FeeRate::from_sat_per_vb(rate).expect("a small rate"));
    coins.fill_mempool(&node, MEMPOOL_SIZE, &fee_rates)?;
    Ok(node)
}

fn start_pool(node: &Node) -> anyhow::Result<(Pool, PoolAddress)> {
    let mut pool = Pool::init(node)?;
    pool.set("ADIT__STRATUM__SHARES_PER_MINUTE", 60).set("ADIT__PAYOUT__FEE_BP", 100);
    // One share is worth thousands of blocks at regtest's difficulty; this holds about two thousand shares.
    pool.set("ADIT__PAYOUT__PPLNS_WINDOW", 10_000_000);
    let address = pool.start()?;
    Ok((pool, address))
}

async fn connect(pool: &PoolAddress) -> anyhow::Result<Vec<Worker>> {
    let mut workers = Vec::new();
    for (name, hash_rate) in ["alpha", "bravo", "charlie"].into_iter().zip(HASH_RATES) {
        let address = new_address();
        let identity = format!("{address}.{name}");
        let miner = Miner::connect(MinerConfig::new(pool.clone())).await?;
        // One of them rolls an extranonce, the others headers only.
        let channel = match name {
            "charlie" => ChannelConfig::extended(identity, 6),
            _ => ChannelConfig::standard(identity),
        };
        let channel_id = miner.open(channel.hash_rate(hash_rate)).await?.channel_id;
        workers.push(Worker { name, address, hash_rate, channel_id, miner });
    }
    Ok(workers)
}

/// An address that nobody will ever spend from.
fn new_address() -> Address {
    let secp = secp256k1::Secp256k1::new();
    let (_, key) = secp.generate_keypair(&mut rand::thread_rng());
    Address::p2wpkh(&CompressedPublicKey(key), KnownHrp::Regtest)
}

async fn first_share(workers: &[Worker]) -> anyhow::Result<()> {
    let stage = Stage::begin("first share accepted, and on disk", 1);
    until(|| async { Ok(accepted(workers).into_iter().any(|count| count > 0).then_some(())) }).await?;
    stage.end();
    Ok(())
}

async fn first_block(store: &SqliteStore) -> anyhow::Result<()> {
    let stage = Stage::begin("first block found, and accepted by the node", 1);
    until(|| async { Ok(store.blocks(1).await?.first().map(|_| ())) }).await?;
    stage.end();
    Ok(())
}

/// Waits until each miner has some shares, and then for a block that pays them all.
async fn shared_block(store: &SqliteStore, workers: &[Worker]) -> anyhow::Result<BlockRecord> {
    let stage = Stage::begin("a block that all miners have earned", workers.len() * SHARES_EACH);
    let block = until(|| async {
        let counts = accepted(workers);
        stage.set(counts.iter().map(|&count| count.min(SHARES_EACH)).sum());
        if counts.iter().any(|&count| count < SHARES_EACH) {
            return Ok(None);
        }
        for block in store.blocks(3).await? {
            let credits = store.credits(block.found.hash).await?;
            if credits.len() == workers.len() && block.state.phase == BlockPhase::Immature {
                return Ok(Some(block));
            }
        }
        Ok(None)
    })
    .await?;
    stage.end();
    Ok(block)
}

/// Buries the block under a hundred others. The miners rest meanwhile, so that nobody races them.
async fn maturity(node: &Node, store: &SqliteStore, workers: &[Worker], block: &BlockRecord) -> anyhow::Result<()> {
    let stage = Stage::begin("block matured by 100 confirmations", MATURITY as usize);
    for worker in workers {
        worker.miner.limit_hash_rate(worker.channel_id, Some(0.0)).await?;
    }
    let hash = block.found.hash;
    until(|| async {
        let confirmations = block_in_place(|| node.confirmations(hash))?;
        if confirmations < 0 {
            bail!("block {hash} was orphaned");
        }
        stage.set(confirmations.unsigned_abs() as usize);
        if confirmations < i64::from(MATURITY) {
            block_in_place(|| node.mine(4))?;
        }
        let record = store.block(hash).await?.context("the block is not on the books")?;
        Ok((record.state.phase == BlockPhase::Matured).then_some(()))
    })
    .await?;
    stage.end();
    Ok(())
}

/// Lets the miners go on, whose next block takes the payout in.
async fn payout(store: &SqliteStore, workers: &[Worker], block: &BlockRecord) -> anyhow::Result<()> {
    let stage = Stage::begin("payout signed, sent and confirmed", workers.len());
    for worker in workers {
        worker.miner.limit_hash_rate(worker.channel_id, Some(worker.hash_rate)).await?;
    }
    until(|| async {
        let credits = store.credits(block.found.hash).await?;
        let paid = credits.iter().filter(|credit| credit.paid == credit.amount).count();
        stage.set(paid);
        let all_confirmed =
            store.batches(100).await?.iter().all(|batch| matches!(batch.state, BatchState::Confirmed(..)));
        Ok((paid == credits.len() && all_confirmed).then_some(()))
    })
    .await?;
    stage.end();
    Ok(())
}

/// Waits until the register accounts for every satoshi that the block has earned the miners.
async fn records(store: &SqliteStore, block: &BlockRecord) -> anyhow::Result<()> {
    let stage = Stage::begin("export records written", 1);
    let credits = store.credits(block.found.hash).await?;
    let accounts: Vec<AccountId> = credits.iter().map(|credit| credit.account).collect();
    until(|| async {
        let rows = summary::register(store).await?;
        let recorded = |account: AccountId| {
            let of_account = rows.iter().filter(|row| row.record.account == account);
            of_account.flat_map(|row| &row.record.lots).any(|lot| lot.block == block.found.hash)
        };
        Ok(accounts.iter().all(|&account| recorded(account)).then_some(()))
    })
    .await?;
    stage.end();
    Ok(())
}

fn accepted(workers: &[Worker]) -> Vec<usize> {
    workers.iter().map(|worker| worker.miner.read(tests::miner::Record::accepted_count)).collect()
}

/// Repeats until there is something, for as long as a stage may take.
async fn until<T, F: Future<Output = anyhow::Result<Option<T>>>>(mut look: impl FnMut() -> F) -> anyhow::Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            sleep(POLL).await;
        }
    };
    timeout(STAGE_TIMEOUT, looking).await.context("it did not happen in time")?
}

/// Repeats what fails while the pool is still booking, a few times.
async fn settled<T, F: Future<Output = anyhow::Result<T>>>(mut gather: impl FnMut() -> F) -> anyhow::Result<T> {
    for _ in 0..5 {
        match gather().await {
            Ok(gathered) => return Ok(gathered),
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
    gather().await
}
