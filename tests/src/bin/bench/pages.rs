//! How soon pages and routes of the API answer on a pool with many channels and a long history.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bitcoin::Address;
use bitcoind_regtest::Chain;
use hdrhistogram::Histogram;
use jiff::Timestamp;
use payouts::{
    SqliteStore,
    books::BlockPhase,
    payout::{Batch, BatchState},
    store::Store,
};
use serde::{Deserialize, Serialize};
use tests::{
    adit::Pool,
    dashboard::Session,
    load::{Load, Meanwhile, meanwhile, target::Target},
    miner::{ChannelConfig, Miner, MinerConfig},
    past::{self, Extent},
};

use tokio::time::sleep;

use crate::{machine::Machine, page};

/// Connections, with a channel each.
const CONNECTIONS: usize = 5_000;
/// Shares a second of each channel: what the pool aims at unless it is told otherwise.
const SHARES_PER_SECOND: f64 = 0.1;
/// How long shares come before it is measured: until each channel has sent some.
const WARM_UP: Duration = Duration::from_secs(30);
/// What the pool has behind it.
const PAST: Extent = Extent { accounts: 500, workers: 10, days: 365, until_ms: 0 };
/// Blocks that the pool finds before it is measured: one for each day.
const BLOCKS: u32 = 365;
/// Hashes a second of the miner that finds them, of which every other one is a block.
const HASH_RATE: f64 = 10.0;
/// A balance is paid from here on, in satoshis. All accounts earn alike and reach it together.
const THRESHOLD_SAT: u64 = 100_000_000;
/// Blocks that the pool splits: the shares of all accounts, which regtest's difficulty makes a great number.
const WINDOW: u64 = 10_000_000;
/// Blocks after which a coinbase can be spent.
const MATURITY: u32 = 100;
/// How long it may take until payouts have confirmed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests of each page, one after the other on one connection.
const REQUESTS: usize = 200;
/// What the median of each must stay below, in milliseconds.
const BOUND_MS: f64 = 50.0;
/// What costs the pool next to nothing: beside it, the others are seen.
const FLOOR: &str = "/assets/icon.svg";
/// Pages and routes beside those to which the dashboard has a way; `{miner}` becomes the address that all channels work for,
/// `{block}` the first block that was found, `{payout}` the last one that paid that address, `{month}` this month.
const PATHS: [&str; 35] = [
    FLOOR,
    "/",
    "/connections/ended",
    "/bans",
    "/history.json?span=1y",
    "/accounts/{miner}",
    "/m/{miner}",
    "/m/{miner}/history.json?span=1y",
    "/m/{miner}/statements",
    "/m/{miner}/payouts",
    "/m/{miner}/payouts/{payout}",
    "/m/{miner}/blocks",
    "/m/{miner}/blocks/{block}",
    "/blocks/{block}",
    "/payouts/{payout}",
    "/ledger/1",
    "/register/1",
    "/register/reports/neutral/{month}",
    "/connect",
    "/metrics",
    "/api/openapi.json",
    "/api/v1/pool",
    "/api/v1/history?span=1y",
    "/api/v1/connections",
    "/api/v1/channels",
    "/api/v1/workers",
    "/api/v1/accounts",
    "/api/v1/accounts/{miner}/workers",
    "/api/v1/accounts/{miner}/history?span=1y",
    "/api/v1/blocks",
    "/api/v1/payouts",
    "/api/v1/payouts/batches",
    "/api/v1/ledger/entries",
    "/api/v1/exports/records",
    "/api/v1/exports/records?account={miner}",
];

/// What was measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct PageResults {
    /// Where and when.
    machine: Machine,
    /// In the order of the table.
    pages: Vec<PageTime>,
}

/// How soon a page answered.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct PageTime {
    path: String,
    bytes: usize,
    median_us: u64,
    p99_us: u64,
}

/// Starts a pool with its past, loads it, and asks for each page.
///
/// # Errors
///
/// If the pool does not start or take the load, or a page does not answer.
#[allow(clippy::print_stdout)]
pub(crate) fn measure() -> anyhow::Result<PageResults> {
    let machine = Machine::describe()?;
    let mut miners = Vec::new();
    let target = Target::start_adit(Chain::Regtest, |pool| {
        pool.set("ADIT__PAYOUT__THRESHOLD_SAT", THRESHOLD_SAT).set("ADIT__PAYOUT__PPLNS_WINDOW", WINDOW);
        miners = write_past(pool)?;
        Ok(())
    })?;
    let miner = miners.first().context("the past has accounts")?.to_string();
    let pool = target.adit().context("the target is Adit")?;
    let (url, token) = (pool.api_url()?, pool.first_token());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let Lived { block, payout } = runtime.block_on(live(&target, &miner))?;
    let month = Timestamp::now().strftime("%Y-%m").to_string();
    let load = Load { connections: CONNECTIONS, user: format!("{miner}.rig{{}}"), ..target.load()? };
    let mode = Meanwhile { per_second: SHARES_PER_SECOND, warm_up: WARM_UP };
    let pages = meanwhile(&load, mode, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let session = Session::log_in(&url, token).await?;
            let mut pages = Vec::new();
            let mut paths: Vec<String> = PATHS.map(str::to_owned).into();
            paths.extend(ways(&session.read("/", None).await?));
            for path in paths {
                let asked = path
                    .replace("{miner}", &miner)
                    .replace("{block}", &block)
                    .replace("{payout}", &payout)
                    .replace("{month}", &month);
                let time = ask(&session, &asked, token).await?;
                println!("{:<40} {:>8} B {:>8} us {:>8} us", path, time.bytes, time.median_us, time.p99_us);
                pages.push(PageTime { path, ..time });
            }
            Ok(pages)
        })
    })?;
    Ok(PageResults { machine, pages })
}

/// Gives the pool a year of many accounts and workers, and returns their addresses.
fn write_past(pool: &Pool) -> anyhow::Result<Vec<Address>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = SqliteStore::open(&pool.database()).await?;
        past::write(&store, Extent { until_ms: Timestamp::now().as_millisecond(), ..PAST }).await
    })
}

/// Of what the pool has lived through, what its pages can be asked for.
struct Lived {
    block: String,
    payout: String,
}

/// Lets the pool find blocks and pay for them, so that its books and its register are as those of a year.
#[allow(clippy::print_stdout)]
async fn live(target: &Target, user: &str) -> anyhow::Result<Lived> {
    let (node, pool) = (target.node(), target.adit().context("the target is Adit")?);
    let before = node.height()?;
    let miner = Miner::connect(MinerConfig::new(target.address()?)).await?;
    miner.open(ChannelConfig::standard(format!("{user}.rig0")).hash_rate(HASH_RATE)).await?;
    while node.height()? < before + BLOCKS {
        sleep(Duration::from_millis(100)).await;
    }
    miner.close().await;
    node.mine(MATURITY)?;
    let (store, begun) = (SqliteStore::open_read_only(&pool.database()).await?, Instant::now());
    loop {
        let batches = store.batches(BLOCKS).await?;
        let is_settled = store.blocks(1).await?.iter().all(|block| block.state.phase != BlockPhase::Immature);
        if is_settled && batches.iter().all(|batch| batch.state != BatchState::Open) {
            let account = store.find_account(user).await?.context("the miner has an account")?.id;
            let is_his = |batch: &&Batch| batch.outputs.iter().any(|output| output.due.account == account);
            let of_his = batches.iter().filter(is_his).count();
            println!("{} payouts, of which {of_his} paid {user}", batches.len());
            let payout = batches.iter().find(is_his).context("the miner was paid")?.id.get().to_string();
            return Ok(Lived { block: node.block_hash(before + 1)?.to_string(), payout });
        }
        ensure!(begun.elapsed() < PATIENCE, "payouts do not confirm: {batches:?}");
        node.mine(1)?;
        sleep(Duration::from_millis(500)).await;
    }
}

/// The pages to which a page has a way, beside the first.
fn ways(page: &str) -> Vec<String> {
    let between = |text: &str, begin: &str, end: &str| Some(text.split_once(begin)?.1.split_once(end)?.0.to_owned());
    let nav = between(page, "<nav", "</nav>").unwrap_or_default();
    let paths = nav.split("href=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    paths.map(|(path, _)| path.to_owned()).filter(|path| path != "/").collect()
}

async fn ask(session: &Session, path: &str, token: &str) -> anyhow::Result<PageTime> {
    let is_of_programs = path.starts_with("/api/v1/") || path == "/metrics";
    let mut times: Histogram<u64> = Histogram::new(3)?;
    let mut bytes = 0;
    for _ in 0..REQUESTS {
        let asked = Instant::now();
        bytes = session.read(path, is_of_programs.then_some(token)).await?.len();
        times.record(u64::try_from(asked.elapsed().as_micros())?)?;
    }
    let (median_us, p99_us) = (times.value_at_quantile(0.5), times.value_at_quantile(0.99));
    Ok(PageTime { path: path.to_owned(), bytes, median_us, p99_us })
}

/// Writes the section for readers.
pub(crate) fn section(text: &mut String, results: &PageResults) -> std::fmt::Result {
    writeln!(text, "\n## Pages\n")?;
    page::measured_on(text, &results.machine)?;
    writeln!(
        text,
        "`bench --pages`: {REQUESTS} requests for each, one after the other on one connection, while {} channels send a share \
         every {:.0} s, on a pool that has {} days of {} workers in its history, and in its books {BLOCKS} blocks, of which all {} \
         accounts have their part and were paid. The icon, which costs the pool next to nothing, \
         is the floor of the others. At most {BOUND_MS:.0} ms are allowed at the median.\n",
        page::thousands(CONNECTIONS as u64),
        1.0 / SHARES_PER_SECOND,
        PAST.days,
        page::thousands(u64::from(PAST.accounts) * u64::from(PAST.workers)),
        PAST.accounts,
    )?;
    writeln!(text, "| page | kB | median | p99 | |\n|---|--:|--:|--:|---|")?;
    for PageTime { path, bytes, median_us, p99_us } in &results.pages {
        let verdict = if *median_us as f64 / 1e3 <= BOUND_MS { "met" } else { "missed" };
        let (median, p99) = (page::time(*median_us as f64 * 1e3), page::time(*p99_us as f64 * 1e3));
        writeln!(text, "| `{path}` | {:.1} | {median} | {p99} | {verdict} |", *bytes as f64 / 1e3)?;
    }
    Ok(())
}
