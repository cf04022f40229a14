//! The whole money path against a model: thousands of random runs of books and payer over a real SQLite store and a
//! simulated node, with crashes, outages, lost replies, reorganisations of any depth, an operator's orders, and a thief.
//!
//! `ADIT_MODEL_RUNS` sets the number of runs of each test and `ADIT_MODEL_SEED` the seed of the first; each run has the
//! seed after the one before. A run that fails is cut down to few operations, and printed with its seed.

#![allow(clippy::unwrap_used)]

use std::{cell::RefCell, env, fmt::Write, sync::Arc};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::{
    bench::Bench,
    chain::Chain,
    operations::{Climate, Operation, operations},
    store::Mistake,
    world::Tally,
};

mod bench;
mod books;
mod chain;
mod checks;
mod faults;
mod node;
mod operations;
mod store;
mod world;
// Its clock is there in debug builds only.
#[cfg(debug_assertions)]
mod year;

/// Runs of each test.
const RUNS: u32 = 500;
/// Runs whose reports are made.
const RUNS_REPORTED: u32 = 60;
/// Runs in which a mistake made on purpose must be found.
const RUNS_FOR_MISTAKE: u32 = 100;
/// The seed of the first run: the same each time, so that what passed once passes.
const SEED: u64 = 1;
/// Fewer runs say nothing about how often something happens.
const RUNS_THAT_TELL: u32 = 100;
/// Shorter lists that are tried once a run has failed.
const CUTS: u32 = 300;

#[test]
fn books_and_chain_agree_whatever_happens() {
    let tally = explore(Climate::Mixed);
    assert_often(&tally, tally.payouts, 150);
    assert_often(&tally, tally.paid_out, 60);
    assert_often(&tally, tally.approvals, 60);
    assert_often(&tally, tally.cancellations, 8);
    assert_often(&tally, tally.bumps, 20);
    assert_often(&tally, tally.deposits, 20);
    assert_often(&tally, tally.sweeps, 2);
}

#[test]
fn books_and_chain_agree_after_crashes_and_outages() {
    let tally = explore(Climate::Crashes);
    assert_often(&tally, tally.crashes, 100);
    assert_often(&tally, tally.failed_calls, 100);
    assert_often(&tally, tally.bumps, 15);
    assert_often(&tally, tally.replaced, 4);
}

#[test]
fn books_and_chain_agree_after_reorganisations_of_any_depth() {
    let tally = explore(Climate::Reorganisations);
    assert_often(&tally, tally.reversals, 10);
    assert_often(&tally, tally.debts, 30);
    assert_often(&tally, tally.replaced, 2);
    assert_often(&tally, tally.earlier, 2);
}

#[test]
fn books_and_chain_agree_when_the_node_forgets_and_refuses() {
    let tally = explore(Climate::Node);
    assert_often(&tally, tally.refusals, 40);
    assert_often(&tally, tally.failed_calls, 50);
    assert_often(&tally, tally.recalls, 2);
    assert_often(&tally, tally.earlier, 4);
}

#[test]
fn reports_reconcile_after_payouts_and_reorganisations_in_any_order() {
    let (tally, failure) = run_all(Climate::Reorganisations, RUNS_REPORTED.into(), CUTS, None, true);
    assert_none(failure);
    assert!(tally.months >= 3 * tally.runs, "{tally:?}");
    assert!(tally.payouts >= tally.runs && tally.debts > 0 && tally.reversals > 0, "{tally:?}");
}

#[test]
fn the_model_finds_a_dropped_share() {
    assert_found(Mistake::ShareDropped, Climate::Mixed);
}

#[test]
fn the_model_finds_a_dropped_register_row() {
    assert_found(Mistake::RegisterRowDropped, Climate::Mixed);
}

#[test]
fn the_model_finds_a_forgotten_reservation() {
    assert_found(Mistake::ReservationForgotten, Climate::Mixed);
}

#[test]
fn the_model_finds_a_reorganisation_that_is_not_seen() {
    assert_found(Mistake::ReorganisationUnseen, Climate::Reorganisations);
}

#[test]
fn the_model_finds_dropped_locks() {
    assert_found(Mistake::LocksDropped, Climate::Crashes);
}

#[test]
fn the_model_finds_a_dropped_broadcast() {
    assert_found(Mistake::BroadcastDropped, Climate::Mixed);
}

/// Checks that something came so often in a hundred runs: a run in which nothing happens shows nothing.
fn assert_often(tally: &Tally, count: u32, per_hundred: u32) {
    if tally.runs >= RUNS_THAT_TELL {
        assert!(count >= tally.runs * per_hundred / 100, "{count} is less than {per_hundred} in a hundred: {tally:?}");
    }
}

/// A run that failed.
struct Failure {
    seed: u64,
    reason: String,
    operations: Vec<Operation>,
}

fn explore(climate: Climate) -> Tally {
    let (tally, failure) = run_all(climate, setting("ADIT_MODEL_RUNS", RUNS.into()), CUTS, None, false);
    assert_none(failure);
    println!("{climate:?}: {tally:?}");
    tally
}

fn assert_none(failure: Option<Failure>) {
    if let Some(Failure { seed, reason, operations }) = failure {
        let mut list = String::new();
        for (index, operation) in operations.iter().enumerate() {
            writeln!(list, "{index:3} {operation:?}").unwrap();
        }
        panic!("run with ADIT_MODEL_SEED={seed} ADIT_MODEL_RUNS=1 fails: {reason}\n{list}");
    }
}

fn assert_found(mistake: Mistake, climate: Climate) {
    let (tally, failure) = run_all(climate, RUNS_FOR_MISTAKE.into(), 0, Some(mistake), false);
    let failure = failure.unwrap_or_else(|| panic!("{mistake:?} is not found in {} runs", tally.runs));
    println!("{mistake:?} is found in run {}: {}", tally.runs + 1, failure.reason);
}

/// Runs until one fails.
fn run_all(
    climate: Climate,
    runs: u64,
    cuts: u32,
    mistake: Option<Mistake>,
    is_reported: bool,
) -> (Tally, Option<Failure>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = runtime.block_on(Bench::new(&Arc::new(Chain::new().into()))).unwrap();
    let tally = RefCell::new(Tally::default());
    let strategy = operations(climate);
    let first = setting("ADIT_MODEL_SEED", SEED);
    for seed in first..first + runs {
        let config = Config { cases: 1, failure_persistence: None, max_shrink_iters: cuts, ..Config::default() };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let outcome = runner.run(&strategy, |operations| {
            let outcome = runtime.block_on(world::run(&bench, &operations, mistake, is_reported));
            let run = outcome.map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
            tally.borrow_mut().add(run);
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(reason, operations)) => {
                let reason = reason.message().to_owned();
                return (tally.into_inner(), Some(Failure { seed, reason, operations }));
            }
            Err(TestError::Abort(reason)) => panic!("{reason}"),
        }
    }
    (tally.into_inner(), None)
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}
