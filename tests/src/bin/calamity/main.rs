//! Calamity: a pool with miners to which everything happens that may happen, at random, for as long as one likes.
//!
//! The pool is killed at random times and at random durable steps, the node restarts or hangs, the chain reorganises,
//! blocks come from elsewhere, credits mature and are paid. After each life of some hundred blocks all is left to
//! settle, and then every satoshi of the ledger is compared with the chain, and the stored shares with what the miners
//! were told. The seed determines what happens, not to the millisecond when: it is printed, and worth trying again.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)]

mod life;
mod recount;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use bitcoin::secp256k1::rand::{Rng, SeedableRng, rngs::StdRng, thread_rng};
use clap::{Parser, ValueEnum};
use postgres_test::TestDatabase;

use crate::life::Life;

/// Kills a pool again and again, and counts in the end.
#[derive(Parser)]
struct Arguments {
    /// How long to go on, without the last settling.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// What determines the calamities; one at random without it.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the pool keeps its books.
    #[arg(long, value_enum, default_value_t = StoreKind::Sqlite)]
    store: StoreKind,
}

/// Where a pool can keep its books.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StoreKind {
    /// In a file.
    Sqlite,
    /// On a server that is found or started.
    Postgres,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| thread_rng().r#gen());
    println!("seed {seed}");
    match calamities(&arguments, seed).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("seed {seed} failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn calamities(arguments: &Arguments, seed: u64) -> anyhow::Result<()> {
    let time = Duration::try_from_secs_f64(arguments.minutes * 60.0).context("these minutes are no time")?;
    let end = Instant::now() + time;
    let mut random = StdRng::seed_from_u64(seed);
    while Instant::now() < end {
        let database = match arguments.store {
            StoreKind::Sqlite => None,
            StoreKind::Postgres => Some(TestDatabase::create()?),
        };
        let mut life = Life::begin(StdRng::from_rng(&mut random)?, database)?;
        let lived = life.suffer_until(end).await;
        let told = match lived {
            Ok(()) => life.settle_and_count().await,
            Err(error) => Err(error),
        };
        match told {
            Ok(report) => println!("{report}"),
            Err(error) => return Err(error.context(format!("the pool's log ends with:\n{}", life.log_end()))),
        }
    }
    Ok(())
}
