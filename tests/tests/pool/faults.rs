//! A part of the pool dies of a fault of its own: the pool ends and can be started again, or the part begins anew.

use std::process::ExitStatus;

use tests::{
    crash_points::VARIABLE,
    miner::{Miner, Record},
};

use crate::{
    api::Api,
    site::{PATIENCE, Site, eventually, eventually_or, standard},
    tally::Tally,
};

/// Waits until the pool has ended by itself.
async fn ended(site: &mut Site) -> ExitStatus {
    eventually("the pool to end", async || site.pool.ended().unwrap()).await
}

async fn closed(miner: Miner) -> Record {
    miner.wait_for_end(PATIENCE).await.unwrap();
    let record = miner.close().await;
    assert_eq!(record.faults, []);
    record
}

/// Asserts that the pool has ended with an error that names the part, and that a start without the fault has everything that was
/// acknowledged, and goes on.
async fn assert_ended_by(site: &mut Site, part: &str, record: &Record) {
    let status = ended(site).await;
    assert_eq!(status.code(), Some(1), "{status}");
    let (log, words) = (site.pool.log(), format!("the pool cannot go on without {part}, which failed: "));
    assert!(log.lines().any(|line| line.starts_with(&format!("adit: {words}"))), "{words} is not in\n{log}");
    assert!(log.contains("armed to panic"), "{log}");
    let stored = site.books().await.tally().await;
    stored.assert_covers(&Tally::acknowledged(record), "an acknowledged share is lost");
    Tally::submitted(record).assert_covers(&stored, "stored without having been submitted");

    site.pool.set(VARIABLE, "");
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 2_000.0)).await;
    miner.wait_for_accepted(2, PATIENCE).await.unwrap();
    miner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settlement_that_dies_ends_the_pool_and_the_next_start_goes_on_with_it() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.set(VARIABLE, "panic before commit matured");
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 2_000.0)).await;
    miner.wait_for_accepted(4, PATIENCE).await.unwrap();
    eventually("blocks in the books", async || (!site.pool.keeps_blocks()).then_some(())).await;
    site.node.mine(100).unwrap();
    let record = closed(miner).await;
    assert!(record.submitted.iter().any(|share| share.is_block), "no block was found");
    assert_ended_by(&mut site, "settlement", &record).await;
    // What it was about to do is done now.
    site.node.mine(100).unwrap();
    eventually_or("a block to be mature", async || {
        let log = site.pool.log();
        if log.contains("phase=Matured") { Ok(()) } else { Err(log) }
    })
    .await;
    site.agree_with_chain().await;
    site.pool.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn share_log_that_dies_ends_the_pool_and_nothing_is_acknowledged_that_is_not_stored() {
    let mut site = Site::signet();
    site.pool.set(VARIABLE, "panic before append shares:5");
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 20_000.0)).await;
    let record = closed(miner).await;
    assert!(record.accepted_count() > 0 && record.accepted_count() < record.submitted.len());
    assert_ended_by(&mut site, "the share log", &record).await;
    site.pool.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_dies_begins_anew_and_misses_nothing() {
    let mut site = Site::signet();
    site.pool.set(VARIABLE, "panic before step history:3");
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 20_000.0)).await;
    eventually_or("history to fail", async || {
        let counted = site.pool.ask(&["metrics"]).unwrap();
        let has_failed = counted.contains("adit_task_failures_total{task=\"history\"} 1\n");
        if has_failed { Ok(()) } else { Err(counted) }
    })
    .await;
    let log = site.pool.log();
    assert!(log.contains("begins anew after a pause") && log.contains("task=\"history\""), "{log}");
    let accepted = miner.read(|record| record.accepted_count());
    miner.wait_for_accepted(accepted + 2, PATIENCE).await.unwrap();
    assert_eq!(miner.close().await.faults, []);
    let stored = site.books().await.tally().await.total();
    let api = Api::of(&site);
    eventually_or("all shares to be in the history", async || {
        let history = api.read("/api/v1/history?span=24h").await;
        let points = history["points"].as_array().unwrap();
        let known: u64 = points.iter().map(|point| point["accepted"].as_u64().unwrap()).sum();
        if known == stored { Ok(()) } else { Err(format!("{known} of {stored}")) }
    })
    .await;
    site.pool.stop().unwrap();
}
