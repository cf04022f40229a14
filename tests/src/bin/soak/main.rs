//! Soak: a pool under a steady load to which things happen, for as long as one likes, and a recount to the share.
//!
//! The node stops, restarts, answers late or not at all; the database is locked, slow, or its disk full; the clock jumps;
//! tips come in storms, connections too, some with garbage; blocks are found. In the first part the pool also dies and is
//! stopped again and again; in the rest one process must live through everything else, and its memory, files and threads
//! must stay level. In the end, what the miners were told is compared with the store, the window of a block and the
//! ledger. The seed determines what happens, not to the millisecond when.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)]

mod crew;
mod gauge;
mod recount;
mod site;
mod soaking;
mod summary;
mod trouble;

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::Context;
use bitcoin::secp256k1::rand::{Rng, thread_rng};
use clap::{Parser, ValueEnum};
use tests::small_disk::{self, DISK};

use crate::soaking::Soaking;

/// Room for the database, on a disk of its own that is filled now and then.
const DISK_SIZE: &str = "1g";

/// Lets everything happen to a pool under load, and counts in the end.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// How long to go on, without the recount.
    #[arg(long, default_value_t = 20.0)]
    minutes: f64,
    /// What determines the troubles; one at random without it.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the pool keeps its books.
    #[arg(long, value_enum, default_value_t = StoreKind::Sqlite)]
    store: StoreKind,
    /// Connections with one channel each.
    #[arg(long, default_value_t = 24)]
    miners: usize,
    /// Shares a second of each.
    #[arg(long, default_value_t = 5.0)]
    per_second: f64,
    /// Writes the summary to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Where a pool can keep its books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StoreKind {
    /// In a file.
    Sqlite,
    /// On a server that is found or started.
    Postgres,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = Arguments::parse();
    let seed = *arguments.seed.get_or_insert_with(|| thread_rng().r#gen());
    if arguments.store == StoreKind::Sqlite && env::var_os(DISK).is_none() {
        return on_small_disk(seed);
    }
    println!("seed {seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(soak(&arguments, seed));
    if let Err(error) = &outcome {
        println!("seed {seed} failed: {error:#}");
    }
    // Whatever still waits is of no interest any more.
    runtime.shutdown_background();
    Ok(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs this program once more where the database has a disk of its own.
fn on_small_disk(seed: u64) -> anyhow::Result<ExitCode> {
    let folder = tempfile::Builder::new().prefix("adit-soak-disk").tempdir()?;
    let mut again = small_disk::mounted_at(folder.path(), DISK_SIZE)?;
    again.arg(env::current_exe()?).args(env::args_os().skip(1));
    if !env::args().any(|argument| argument.starts_with("--seed")) {
        again.args(["--seed", &seed.to_string()]);
    }
    let status = status_of(&mut again)?;
    Ok(if status { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn status_of(command: &mut Command) -> anyhow::Result<bool> {
    Ok(command.status().context("unshare, of util-linux, mounts the disk that is to be filled")?.success())
}

async fn soak(arguments: &Arguments, seed: u64) -> anyhow::Result<()> {
    let mut soaking = Soaking::begin(arguments, seed).await?;
    let outcome = soaking.run().await;
    let summary = match outcome {
        Ok(summary) => summary,
        Err(error) => return Err(error.context(format!("the pool's log ends with:\n{}", soaking.log_end()))),
    };
    print!("{summary}");
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&summary)?;
        fs::write(file, json + "\n").with_context(|| format!("write {}", file.display()))?;
    }
    summary.verdict()
}
