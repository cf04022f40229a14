//! The reference implementation's miner: one standard channel, without a proxy.

use bitcoin::Address;
use tests::{
    foreign::{MiningDevice, MiningDeviceOptions},
    miner::PoolAddress,
};

use crate::{
    accounts::{assert_blocks_are_booked, follow_new_tip, stored_by_worker},
    site::{PATIENCE, Site, eventually, eventually_or},
};

/// A miner that tries two nonces a second: on regtest, about a block a second.
fn slow(pool: &PoolAddress, account: &Address, worker: &str) -> MiningDevice {
    let options = MiningDeviceOptions {
        user: format!("{account}.{worker}"),
        nonces_at_a_go: 1,
        pause_us: 500_000,
        // It measures some million hashes a second, and claims a few.
        claim: 1e-6,
    };
    MiningDevice::start(pool, &options).unwrap()
}

/// A miner of some ten thousand hashes a second.
fn fast(pool: &PoolAddress, account: &Address, worker: &str, claim: f32) -> MiningDevice {
    let options =
        MiningDeviceOptions { user: format!("{account}.{worker}"), nonces_at_a_go: 64, pause_us: 2_000, claim };
    MiningDevice::start(pool, &options).unwrap()
}

async fn wait_for_acknowledgements(device: &MiningDevice, count: usize) {
    eventually("acknowledgements", async || (device.acknowledgements() >= count).then_some(())).await;
}

/// Waits until each share that the miner has found is either stored or was refused.
async fn wait_until_all_is_accounted_for(site: &Site, account: &Address, worker: &str, device: &MiningDevice) {
    eventually_or("all shares to be stored or refused", async || {
        let stored = stored_by_worker(site, account).await.get(worker).copied().unwrap_or(0);
        let (found, rejected) = (device.found().len() as u64, device.rejections().len() as u64);
        if found == stored + rejected {
            Ok(())
        } else {
            Err(format!("{found} found, {stored} stored, {rejected} refused"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mining_device_finds_blocks_follows_new_tips_and_mines_on_after_a_restart() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    let pool = site.pool.start().unwrap();
    let account = site.new_address();
    let mut device = slow(&pool, &account, "first");
    wait_for_acknowledgements(&device, 3).await;
    follow_new_tip(&site).await;
    wait_until_all_is_accounted_for(&site, &account, "first", &device).await;
    assert!(device.rejections().iter().all(|code| code == "stale-share"), "{:?}", device.rejections());

    site.pool.stop().unwrap();
    // The end of its connection is the end of this miner: whoever runs it has to start it again.
    eventually("the miner to end", async || device.process.ended().unwrap()).await;
    assert_eq!(site.pool.start().unwrap().port, pool.port);
    let mut second = slow(&pool, &account, "second");
    wait_for_acknowledgements(&second, 3).await;
    wait_until_all_is_accounted_for(&site, &account, "second", &second).await;
    second.process.stop().unwrap();
    let found = device.found().into_iter().chain(second.found()).collect();
    assert_blocks_are_booked(&site, &found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mining_device_follows_harder_and_easier_targets() {
    const SHARES: usize = 20;

    let mut site = Site::signet();
    let pool = site.pool.start().unwrap();
    let account = site.new_address();
    // One claims a few hashes a second, the other so many that a share would be as rare as a block.
    let mut modest = fast(&pool, &account, "modest", 1e-5);
    let mut boastful = fast(&pool, &account, "boastful", 100.0);
    for (device, worker) in [(&mut modest, "modest"), (&mut boastful, "boastful")] {
        let told = |log: &str| log.contains("Received SetTarget").then_some(());
        device.process.wait_for(PATIENCE, "another target", told).await.unwrap();
        let before = device.found().len();
        eventually("shares for another target", async || (device.found().len() >= before + SHARES).then_some(())).await;
        wait_until_all_is_accounted_for(&site, &account, worker, device).await;
        device.process.stop().unwrap();
        // At a new target it starts anew on the job that it has, an instant before it gets the next one: a share that it
        // finds in there may be one that it has handed in before.
        assert!(device.rejections().iter().all(|code| code == "duplicate-share"), "{:?}", device.rejections());
    }
    let (modest, boastful) = (modest.targets(), boastful.targets());
    // A guess after few shares may go too far: not every step is one up.
    assert!(modest.last() < modest.first(), "{modest:?} do not get harder");
    assert!(boastful[1] > boastful[0], "{boastful:?} do not get easier");
    let difficulties = site.books().await.tally().await.by_difficulty();
    assert!(difficulties.len() > 2, "credit is by the target of each job: {difficulties:?}");
}
