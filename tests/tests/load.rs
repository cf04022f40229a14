//! The load generator against a real pool: each mode for a second or two, and what it counts is what the pool has stored.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bitcoind_regtest::Chain;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tests::load::{
    ChannelKind, Connect, Load, MemoryMode, Paced, Pipelined, Report, Restart, Soak, Tip, connect, memory, paced,
    pipelined, restart,
    target::{Program, Target},
    tip,
};

/// How long anything may take that happens at once on a machine with time to spare.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than what a regtest block holds: some of it stays when another block was mined.
const WEIGHT: u64 = 200_000;

fn target(chain: Chain) -> Target {
    Target::start(Program::Adit, chain).unwrap()
}

/// A load of a few connections.
fn small_load(target: &Target, kind: ChannelKind, connections: usize, channels: usize) -> Load {
    Load { kind, connections, channels, ..target.load().unwrap() }
}

/// The shares that are in the pool's books.
async fn stored(target: &Target) -> u64 {
    let options = SqliteConnectOptions::new().filename(target.adit().unwrap().database()).read_only(true);
    let mut books = SqliteConnection::connect_with(&options).await.unwrap();
    let (count,): (i64,) =
        sqlx::query_as("SELECT COALESCE(SUM(count), 0) FROM shares").fetch_one(&mut books).await.unwrap();
    count.try_into().unwrap()
}

/// Asserts that every share was right and has its acknowledgement, and that the pool has stored as many.
async fn assert_all_stored(target: &Target, report: &Report, stored_before: u64) {
    let shares = report.shares_in_all.as_ref().unwrap();
    assert!(shares.submitted > 0, "{report}");
    assert_eq!(shares.acknowledged, shares.submitted, "{report}");
    assert_eq!((shares.refused_count(), shares.unknown, shares.unanswered), (0, 0, 0), "{report}");
    assert_eq!(shares.miscounted_acknowledgements, 0, "{report}");
    assert!(report.lost_connections.is_empty() && report.faults.is_empty(), "{report}");
    let begun = Instant::now();
    while stored(target).await - stored_before < shares.acknowledged && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stored(target).await - stored_before, shares.acknowledged, "{report}");
}

/// Asserts what every report of a run with a known server holds.
fn assert_measured(report: &Report, unit: &str) {
    let server = report.server.as_ref().unwrap();
    assert!(server.unit == unit && server.cpu_us_per_unit >= 0.0, "{report}");
    assert!(report.client_cpu_seconds > 0.0 && report.seconds > 0.0, "{report}");
    let json = serde_json::to_string(report).unwrap();
    // Fractions may lose their last digit on the way.
    let read: Report = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&read.mode, &read.lost_connections, read.to_string()),
        (&report.mode, &report.lost_connections, report.to_string())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_share_of_a_load_is_acknowledged_and_stored_once() {
    let target = target(Chain::Signet);
    let (warm_up, time) = (Duration::from_millis(500), Duration::from_secs(1));
    let mut known = 0;
    for (kind, channels) in [(ChannelKind::Standard, 1), (ChannelKind::Extended, 3)] {
        let load = small_load(&target, kind, 4, channels);
        let mode = Pipelined { window: 500, warm_up, time, ..Pipelined::default() };
        let report = tokio::task::block_in_place(|| pipelined(&load, &mode)).unwrap();
        assert_all_stored(&target, &report, known).await;
        assert_measured(&report, "acknowledged share");
        let acknowledged = report.shares.as_ref().unwrap().acknowledged;
        assert!(acknowledged > 0 && report.acknowledgement_us.unwrap().count > 0, "{report}");
        known = stored(&target).await;

        let report = tokio::task::block_in_place(|| paced(&load, &Paced { per_second: 20.0, warm_up, time })).unwrap();
        assert_all_stored(&target, &report, known).await;
        // As many as were asked for, however late the machine is: twice as many would be another pace.
        let shares = report.shares_in_all.as_ref().unwrap();
        let asked = 20.0 * (4 * channels) as f64 * (time + warm_up).as_secs_f64();
        assert!((shares.submitted as f64) < asked * 2.0, "{report}");
        known = stored(&target).await;
    }
    let load = small_load(&target, ChannelKind::Standard, 4, 1);
    let mode = Pipelined { window: 500, rate: Some(400.0), warm_up, time };
    let report = tokio::task::block_in_place(|| pipelined(&load, &mode)).unwrap();
    assert_all_stored(&target, &report, known).await;
    assert!(report.shares_in_all.as_ref().unwrap().submitted < 1_200, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_come_and_go_or_stay() {
    let target = target(Chain::Regtest);
    let load = Load { in_flight: 4, ..small_load(&target, ChannelKind::Standard, 10, 2) };
    let (warm_up, time) = (Duration::from_millis(200), Duration::from_secs(1));
    let passing = tokio::task::block_in_place(|| connect(&load, &Connect { keep: false, warm_up, time })).unwrap();
    assert_measured(&passing, "connection");
    let opened = passing.opened.as_ref().unwrap();
    assert!(opened.count >= 1 && opened.opening_us.max > 0, "{passing}");
    assert!(passing.lost_connections.is_empty() && passing.faults.is_empty(), "{passing}");

    let kept = tokio::task::block_in_place(|| connect(&load, &Connect { keep: true, warm_up, time })).unwrap();
    assert_eq!(kept.opened.as_ref().unwrap().count, 10, "{kept}");

    let mode = MemoryMode { per_second: 5.0, time, settle: Duration::from_millis(200) };
    let load = small_load(&target, ChannelKind::Extended, 10, 1);
    let looked_at = tokio::task::block_in_place(|| memory(&load, &mode)).unwrap();
    assert_measured(&looked_at, "acknowledged share");
    let memory = looked_at.memory.as_ref().unwrap();
    assert!(memory.before_bytes > 1 << 20 && memory.busy_bytes > 1 << 20, "{looked_at}");
    assert_all_stored(&target, &looked_at, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tips_are_timed_from_the_node_to_the_last_channel_and_its_full_job() {
    let mut target = target(Chain::Regtest);
    assert!(target.fill_mempool(WEIGHT).unwrap() > 400);
    let (rpc, cookie) = (target.node().rpc_url(), target.node().cookie_file());
    let mode = Tip { repeat: 2, settle: Duration::from_secs(2), ..Tip::new(rpc, cookie) };
    for (kind, connections, channels) in [(ChannelKind::Standard, 6, 1), (ChannelKind::Extended, 2, 3)] {
        let load = small_load(&target, kind, connections, channels);
        let report = tokio::task::block_in_place(|| tip(&load, &mode)).unwrap();
        assert_measured(&report, "channel and tip");
        let tips = report.tips.as_ref().unwrap();
        assert_eq!((tips.count, tips.channels_least), (2, 6), "{report}");
        assert_eq!(tips.spread_us.count, 12, "{report}");
        assert!(tips.node_to_last_us.max >= tips.first_to_last_us.max, "{report}");
        assert!(tips.node_to_last_full_us.is_some(), "{report}");
        assert!(report.faults.is_empty(), "{report}");
    }
    assert!(!target.node().mempool().unwrap().is_empty(), "blocks without transactions leave the mempool as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soak_survives_a_kill_of_the_pool_and_knows_what_may_be_lost() {
    let mut target = target(Chain::Signet);
    let load = Load { server_pid: None, ..small_load(&target, ChannelKind::Standard, 8, 1) };
    let soak = Soak::start(&load, 50.0).unwrap();
    let at_least = |what: &str, enough: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !enough() {
            assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", soak.counts());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    at_least("acknowledgements", &|| soak.counts().acknowledged >= 100);
    target.adit_mut().unwrap().kill().unwrap();
    at_least("losses", &|| soak.counts().losses >= 8);
    let before = soak.counts().acknowledged;
    target.adit_mut().unwrap().start().unwrap();
    at_least("acknowledgements after the kill", &|| soak.counts().acknowledged >= before + 100);
    let report = tokio::task::block_in_place(|| soak.stop()).unwrap();

    let shares = report.shares_in_all.as_ref().unwrap();
    assert_eq!((shares.refused_count(), shares.unanswered, shares.miscounted_acknowledgements), (0, 0, 0), "{report}");
    assert_eq!(shares.submitted, shares.acknowledged + shares.unknown, "{report}");
    assert!(report.opened.as_ref().unwrap().count >= 16, "each connection came back: {report}");
    assert!(report.shares.as_ref().unwrap().longest_silence_seconds > 0.1, "the pool was away: {report}");
    let stored = stored(&target).await;
    let possible = shares.acknowledged..=shares.acknowledged + shares.unknown;
    assert!(possible.contains(&stored), "{stored} stored: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_is_restarted_under_load_and_all_channels_return() {
    let mut target = target(Chain::Signet);
    let load = small_load(&target, ChannelKind::Standard, 20, 1);
    let mode = Restart { per_second: 20.0, time: Duration::from_secs(1) };
    let report = tokio::task::block_in_place(|| restart(&load, &mode, &mut target)).unwrap();
    let restarted = report.restarted.as_ref().unwrap();
    assert!(restarted.all_back_seconds >= restarted.stop_seconds + restarted.start_seconds, "{report}");
    let shares = report.shares_in_all.as_ref().unwrap();
    assert!(shares.acknowledged > 0 && shares.refused_count() == 0, "{report}");
    assert!(report.lost_connections.values().sum::<u64>() >= 20, "each was lost: {report}");
    // What was on its way when the pool ended may be stored or not; nothing that was acknowledged is missing.
    let stored = stored(&target).await;
    assert!((shares.acknowledged..=shares.acknowledged + shares.unknown).contains(&stored), "{stored}: {report}");
}
