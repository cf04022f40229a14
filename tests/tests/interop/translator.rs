//! The reference implementation's translator with Stratum V1 miners behind it, in both of its modes.
//!
//! What it says to its miners is its own judgement: it answers a share before the pool has seen it, and does not pass on
//! those that miss the pool's target. What the pool has acknowledged stands in its log.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Address, BlockHash};
use tests::{
    foreign::{Translator, TranslatorOptions},
    miner::PoolAddress,
    sv1_miner::{Record, Share, Sv1Miner, Sv1MinerConfig},
};

use crate::{
    accounts::{assert_blocks_are_booked, stored_by_worker, wait_until_translated_shares_are_accounted_for},
    site::{PATIENCE, Site, eventually_or},
};

/// The miners of each test, by their workers' names.
const WORKERS: [&str; 3] = ["north", "south", "east"];

async fn start(pool: &PoolAddress, options: &TranslatorOptions) -> Translator {
    let mut translator = Translator::start(pool, options).unwrap();
    translator.wait_until_listening(1, PATIENCE).await.unwrap();
    translator
}

/// One miner for each worker. The account that their names begin with is theirs alone: the pool credits the
/// translator's.
fn miners(translator: &Translator, hash_rate: f64) -> Vec<Sv1Miner> {
    let config = |worker| Sv1MinerConfig { server: translator.address(), user: format!("farm.{worker}"), hash_rate };
    WORKERS.map(|worker| Sv1Miner::start(config(worker))).into()
}

/// Waits until each worker has more shares than there were. What the translator accepts may be stale for the pool, where
/// one miner's blocks make another's shares so.
async fn wait_for_shares_of_each(site: &Site, account: &Address, before: &BTreeMap<String, u64>) {
    eventually_or("shares of each worker", async || {
        let stored = stored_by_worker(site, account).await;
        let has_more = |&worker: &&str| stored.get(worker) > before.get(worker);
        if WORKERS.iter().all(has_more) { Ok(()) } else { Err(format!("{stored:?}, and before {before:?}")) }
    })
    .await;
}

fn stop_hashing(miners: &[Sv1Miner]) {
    miners.iter().for_each(|miner| miner.limit_hash_rate(0.0));
}

fn found_blocks(miners: &[Sv1Miner]) -> BTreeSet<BlockHash> {
    let of = |record: &Record| {
        let blocks = record.shares.iter().filter(|share| share.is_block);
        blocks.map(|share| share.hash).collect::<Vec<_>>()
    };
    miners.iter().flat_map(|miner| miner.read(of)).collect()
}

/// On regtest, with the translator's own vardiff, as it is by default: shares, blocks, tips, and a restart of the pool.
async fn mines_through_tips_and_restarts(aggregate: bool) {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    let pool = site.pool.start().unwrap();
    let account = site.new_address();
    let options = TranslatorOptions {
        user: account.to_string(),
        aggregate,
        // A share of two or so hashes, each second: half of them are blocks.
        min_hash_rate: 1.0,
        shares_per_minute: 60.0,
        vardiff: true,
        names_workers: true,
    };
    let mut translator = start(&pool, &options).await;
    let miners = miners(&translator, 1.0);
    wait_for_shares_of_each(&site, &account, &BTreeMap::new()).await;
    for miner in &miners {
        // Each job is hashed with other version bits, so that they are in what the pool accepts.
        assert_eq!(miner.read(|record| record.version_mask), 0x1fff_e000);
    }
    let tip = site.node.mine(1).unwrap()[0];
    for miner in &miners {
        let heard = |record: &Record| record.jobs.iter().any(|job| job.prev_hash == tip && job.clean).then_some(());
        miner.wait_for(PATIENCE, "the new tip", heard).await.unwrap();
    }
    stop_hashing(&miners);
    wait_until_translated_shares_are_accounted_for(&site, &account, &translator).await;
    let before = stored_by_worker(&site, &account).await;
    assert!(before.keys().all(|worker| WORKERS.contains(&worker.as_str())), "{before:?}");

    site.pool.stop().unwrap();
    site.pool.start().unwrap();
    translator.wait_until_listening(2, PATIENCE).await.unwrap();
    for miner in &miners {
        miner.limit_hash_rate(1.0);
        miner.wait_for(PATIENCE, "to be let in again", |record| (record.admissions == 2).then_some(())).await.unwrap();
    }
    wait_for_shares_of_each(&site, &account, &before).await;
    stop_hashing(&miners);
    wait_until_translated_shares_are_accounted_for(&site, &account, &translator).await;
    for miner in &miners {
        assert_eq!(miner.read(|record| record.faults.clone()), [""; 0]);
    }
    assert!(translator.rejections().iter().all(|code| code == "stale-share"), "{:?}", translator.rejections());
    assert_blocks_are_booked(&site, &found_blocks(&miners)).await;
}

/// On signet, with the pool's own vardiff, which the translator hands on. `names` are the workers that it makes up.
async fn follows_the_targets_of_the_pool(aggregate: bool, names: &[&str]) {
    const SHARES: usize = 20;

    let mut site = Site::signet();
    let pool = site.pool.start().unwrap();
    let account = site.new_address();
    let options = TranslatorOptions {
        user: account.to_string(),
        aggregate,
        // A twentieth of the truth.
        min_hash_rate: 500.0,
        shares_per_minute: 600.0,
        vardiff: false,
        names_workers: false,
    };
    let translator = start(&pool, &options).await;
    let miners = miners(&translator, 10_000.0);
    for miner in &miners {
        let settled = |record: &Record| {
            let for_last = |share: &&Share| Some(&share.difficulty) == record.difficulties.last();
            let harder = record.difficulties.last() > record.difficulties.first();
            (harder && record.accepted().filter(for_last).count() >= SHARES).then_some(())
        };
        miner.wait_for(PATIENCE, "shares for a harder target", settled).await.unwrap();
    }
    stop_hashing(&miners);
    wait_until_translated_shares_are_accounted_for(&site, &account, &translator).await;
    for miner in &miners {
        assert_eq!(miner.read(|record| record.faults.clone()), [""; 0]);
        // A chance block makes a new tip, on which a share can come too late.
        let rejections = miner.read(|record| record.rejections().join("\n"));
        assert!(rejections.lines().all(|reason| reason.contains("Job not found")), "{rejections}");
    }
    assert!(translator.rejections().iter().all(|code| code == "stale-share"), "{:?}", translator.rejections());
    let stored = stored_by_worker(&site, &account).await;
    assert_eq!(stored.keys().map(String::as_str).collect::<Vec<_>>(), names);
    let difficulties = site.books().await.tally().await.by_difficulty();
    assert!(difficulties.len() > 1, "credit is by the target of each job: {difficulties:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregating_translator_mines_through_tips_and_restarts() {
    mines_through_tips_and_restarts(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn translator_with_a_channel_for_each_miner_mines_through_tips_and_restarts() {
    mines_through_tips_and_restarts(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregating_translator_follows_the_targets_of_the_pool() {
    follows_the_targets_of_the_pool(true, &["translator-proxy"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn translator_with_a_channel_for_each_miner_follows_the_targets_of_the_pool() {
    follows_the_targets_of_the_pool(false, &["miner1", "miner2", "miner3"]).await;
}

/// The translator takes a refusal for the end of the pool: it leaves, with all its miners, and comes again to the same end.
/// So `stratum.max_channels_per_connection` has to allow for all miners of a translator that does not aggregate.
#[tokio::test(flavor = "multi_thread")]
async fn translator_leaves_with_all_miners_when_one_is_refused_a_channel() {
    let mut site = Site::signet();
    site.pool.set("ADIT__STRATUM__MAX_CHANNELS_PER_CONNECTION", WORKERS.len() - 1);
    let pool = site.pool.start().unwrap();
    let options = TranslatorOptions {
        user: site.new_address().to_string(),
        aggregate: false,
        min_hash_rate: 500.0,
        shares_per_minute: 600.0,
        vardiff: false,
        names_workers: false,
    };
    let mut translator = start(&pool, &options).await;
    let miners = miners(&translator, 0.0);
    let refused = |log: &str| log.contains("channel-capacity-exhausted").then_some(());
    translator.process.wait_for(PATIENCE, "the refusal", refused).await.unwrap();
    translator.wait_until_listening(2, PATIENCE).await.unwrap();
    for miner in &miners {
        let back = |record: &Record| (record.connections > 1).then_some(());
        miner.wait_for(PATIENCE, "to have to connect again", back).await.unwrap();
    }
}
