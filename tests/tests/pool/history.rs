//! The pool's past, as the API tells it, beside the shares that are in the log.

use std::time::Duration;

use bitcoin::Address;
use serde_json::Value;
use tests::{
    crash_points::VARIABLE,
    miner::{ChannelConfig, Miner},
};

use crate::{
    api::Api,
    books::Shares,
    site::{PATIENCE, Site, eventually, eventually_or, extended, standard},
};

/// Hashes that a share of difficulty 1 takes on average.
const HASHES: f64 = 4_294_967_296.0;
const SPANS: [&str; 4] = ["1h", "24h", "30d", "1y"];

/// What a past has of accepted shares: their number, and the hashes that they stand for.
fn accepted(history: &Value) -> (u64, f64) {
    let points = history["points"].as_array().unwrap();
    let count = points.iter().map(|point| point["accepted"].as_u64().unwrap()).sum();
    let hashes = |point: &Value| point["hash_rate"].as_f64().unwrap() * point["seconds"].as_f64().unwrap();
    (count, points.iter().map(hashes).sum())
}

fn counted<'a>(shares: impl IntoIterator<Item = &'a Shares>) -> (u64, f64) {
    shares.into_iter().fold((0, 0.0), |(count, hashes), share| {
        let difficulty = f64::from(i32::try_from(share.difficulty_log2).unwrap()).exp2();
        (count + share.count as u64, hashes + share.count as f64 * difficulty * HASHES)
    })
}

#[track_caller]
fn assert_alike(history: &Value, shares: (u64, f64)) {
    let (count, hashes) = accepted(history);
    assert_eq!(count, shares.0, "{history}");
    assert!((hashes - shares.1).abs() <= shares.1 * 1e-9, "{hashes} is not {}: {history}", shares.1);
}

async fn mine(site: &Site, addresses: &[Address]) -> Vec<Miner> {
    let mut miners = Vec::new();
    for address in addresses {
        let miner = site.miner().await;
        for (worker, config) in [("north", standard(address, 15_000.0)), ("south", extended(address, 9_000.0))] {
            let user_identity = format!("{}.{worker}", config.user_identity);
            miner.open(ChannelConfig { user_identity, ..config }).await.unwrap();
        }
        miners.push(miner);
    }
    miners
}

/// Asserts that the past has each share of the log once, for the pool, each account and each worker.
async fn assert_complete(site: &Site, addresses: &[Address]) {
    let api = Api::of(site);
    let shares = site.books().await.shares().await;
    eventually_or("all shares to be in the history", async || {
        let history = api.read("/api/v1/history?span=24h").await;
        let (known, stored) = (accepted(&history).0, counted(&shares).0);
        if known == stored { Ok(()) } else { Err(format!("{known} of {stored}")) }
    })
    .await;
    for span in SPANS {
        assert_alike(&api.read(&format!("/api/v1/history?span={span}")).await, counted(&shares));
        for address in addresses {
            let own = || shares.iter().filter(|share| share.address == address.to_string());
            let path = format!("/api/v1/accounts/{address}/history?span={span}");
            assert_alike(&api.read(&path).await, counted(own()));
            for worker in ["north", "south"] {
                let of_worker = own().filter(|share| share.worker == worker);
                assert_alike(&api.read(&format!("{path}&worker={worker}")).await, counted(of_worker));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_share_is_in_the_history_once_whatever_the_pool_dies_of() {
    let mut site = Site::signet();
    site.pool.set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", 5);
    let addresses = [site.new_address(), site.new_address()];
    for point in ["before step history:3", "after step history:3", ""] {
        site.pool.set(VARIABLE, point);
        site.pool.start().unwrap();
        let miners = mine(&site, &addresses).await;
        for miner in &miners {
            miner.wait_for_accepted(8, PATIENCE).await.unwrap();
        }
        if point.is_empty() {
            tokio::time::sleep(Duration::from_secs(3)).await;
            site.pool.kill().unwrap();
        } else {
            eventually(point, async || site.pool.ended().unwrap()).await;
        }
        for miner in miners {
            miner.wait_for_end(PATIENCE).await.unwrap();
            assert_eq!(miner.close().await.faults, []);
        }
    }
    site.pool.start().unwrap();
    assert_complete(&site, &addresses).await;
    let pool = Api::of(&site).read("/api/v1/pool").await;
    assert_eq!((&pool["workers"]["up"], &pool["workers"]["down"]), (&4.into(), &0.into()), "{pool}");
    assert!(pool["luck"]["round_effort"].as_f64().unwrap() > 0.0, "{pool}");
    let account = format!("/api/v1/accounts/{}/history?worker=", addresses[0]);
    assert_eq!(Api::of(&site).get(&format!("{account}nobody")).await.0, 404);
    assert_eq!(Api::of(&site).get("/api/v1/history?span=2h").await.0, 400);

    // Another run takes nothing in again.
    let before = Api::of(&site).read("/api/v1/history").await["to_ms"].as_i64().unwrap();
    site.pool.stop().unwrap();
    site.pool.start().unwrap();
    let api = Api::of(&site);
    eventually("the history to go on", async || {
        (api.read("/api/v1/history").await["to_ms"].as_i64().unwrap() > before).then_some(())
    })
    .await;
    assert_complete(&site, &addresses).await;
}
