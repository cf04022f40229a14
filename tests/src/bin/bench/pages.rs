//! How soon pages and routes of the API answer on a pool with many channels and a long history.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use anyhow::Context;
use bitcoind_regtest::Chain;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tests::{
    dashboard::Session,
    load::{
        Load, Meanwhile, meanwhile,
        target::{Program, Target},
    },
};

use crate::{machine::Machine, page};

/// Connections, with a channel each.
const CONNECTIONS: usize = 5_000;
/// Shares a second of each channel: what the pool aims at unless it is told otherwise.
const SHARES_PER_SECOND: f64 = 0.1;
/// How long shares come before it is measured: until each channel has sent some.
const WARM_UP: Duration = Duration::from_secs(30);
/// Requests of each page, one after the other on one connection.
const REQUESTS: usize = 200;
/// What the median of each must stay below, in milliseconds.
const BOUND_MS: f64 = 50.0;
/// What costs the pool next to nothing: beside it, the others are seen.
const FLOOR: &str = "/assets/icon.svg";
/// Pages and routes; `{miner}` becomes the address that all channels work for.
const PATHS: [&str; 14] = [
    FLOOR,
    "/",
    "/blocks",
    "/payouts",
    "/log-in",
    "/metrics",
    "/api/openapi.json",
    "/api/v1/pool",
    "/api/v1/accounts",
    "/api/v1/accounts/{miner}",
    "/api/v1/accounts/{miner}/workers",
    "/api/v1/blocks",
    "/api/v1/payouts",
    "/api/v1/ledger/entries",
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
    let target = Target::start(Program::Adit, Chain::Signet)?;
    let pool = target.adit().context("the target is Adit")?;
    let (url, token, user) = (pool.api_url()?, pool.first_token(), target.user());
    let miner = user.split('.').next().unwrap_or_default();
    let load = Load { connections: CONNECTIONS, ..target.load()? };
    let mode = Meanwhile { per_second: SHARES_PER_SECOND, warm_up: WARM_UP };
    let pages = meanwhile(&load, mode, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let session = Session::log_in(&url, token).await?;
            let mut pages = Vec::new();
            for path in PATHS {
                let time = ask(&session, &path.replace("{miner}", miner), token).await?;
                println!("{:<40} {:>8} B {:>8} us {:>8} us", path, time.bytes, time.median_us, time.p99_us);
                pages.push(PageTime { path: path.to_owned(), ..time });
            }
            Ok(pages)
        })
    })?;
    Ok(PageResults { machine, pages })
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
         every {:.0} s. The icon, which costs the pool next to nothing, is the floor of the others. At most {BOUND_MS:.0} ms \
         are allowed at the median.\n",
        page::thousands(CONNECTIONS as u64),
        1.0 / SHARES_PER_SECOND,
    )?;
    writeln!(text, "| page | kB | median | p99 | |\n|---|--:|--:|--:|---|")?;
    for PageTime { path, bytes, median_us, p99_us } in &results.pages {
        let verdict = if *median_us as f64 / 1e3 <= BOUND_MS { "met" } else { "missed" };
        let (median, p99) = (page::time(*median_us as f64 * 1e3), page::time(*p99_us as f64 * 1e3));
        writeln!(text, "| `{path}` | {:.1} | {median} | {p99} | {verdict} |", *bytes as f64 / 1e3)?;
    }
    Ok(())
}
