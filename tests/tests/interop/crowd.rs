//! A large farm: two thousand Stratum V1 miners behind one translator, which shares one channel among all of them.

use std::{collections::BTreeMap, time::Duration};

use bitcoin::Address;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tests::{
    foreign::{Translator, TranslatorOptions},
    sv1_miner::{Record, Sv1Miner, Sv1MinerConfig},
};
use tokio::time::{Instant, sleep};

use crate::{
    accounts::{stored_by_worker, wait_until_translated_shares_are_accounted_for},
    site::{PATIENCE, Site},
};

/// The miners.
const MINERS: usize = 2_000;
/// How fast each of them hashes, in hashes a second: all together what one core does with ease.
const HASH_RATE: f64 = 5.0;
/// How many of them must have had a share credited. Which ones is luck.
const CREDITED: usize = 500;
/// How long all of them together may take for one thing, on a machine with other work to do.
const CROWD_PATIENCE: Duration = Duration::from_secs(180);
/// Open files that this process and the translator need: one for each miner, and some for everything else.
const OPEN_FILES: u64 = MINERS as u64 + 500;

/// Waits until `look` is true of every miner's record.
async fn wait_for_all(what: &str, miners: &[Sv1Miner], look: impl Fn(&Record) -> bool) {
    let deadline = Instant::now() + CROWD_PATIENCE;
    for miner in miners {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        miner.wait_for(left, what, |record| look(record).then_some(())).await.unwrap();
    }
}

/// Raises the bound of open files, which the translator inherits.
fn allow_open_files() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard >= OPEN_FILES, "the system allows no more than {hard} open files, and {OPEN_FILES} are needed");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(OPEN_FILES), hard).unwrap();
}

/// Waits until so many of the miners have a share credited.
async fn wait_for_credit(site: &Site, account: &Address, count: usize) {
    let deadline = Instant::now() + CROWD_PATIENCE;
    loop {
        let credited = stored_by_worker(site, account).await.len();
        if credited >= count {
            return;
        }
        assert!(Instant::now() < deadline, "only {credited} miners have a share");
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_miners_share_one_channel_and_each_has_its_own_credit() {
    allow_open_files();
    let mut site = Site::signet();
    let pool = site.pool.start().unwrap();
    let account = site.new_address();
    let options = TranslatorOptions {
        user: account.to_string(),
        aggregate: true,
        min_hash_rate: HASH_RATE,
        // A miner finds one in ten seconds. The pool hears only of the best of them.
        shares_per_minute: 6.0,
        vardiff: true,
        names_workers: true,
    };
    let mut translator = Translator::start(&pool, &options).unwrap();
    translator.wait_until_listening(1, PATIENCE).await.unwrap();
    let server = translator.address();
    let config = |number| Sv1MinerConfig { server, user: format!("farm.rig{number}"), hash_rate: HASH_RATE };
    let miners: Vec<Sv1Miner> = (0..MINERS).map(|number| Sv1Miner::start(config(number))).collect();
    wait_for_all("to be let in and to have a job", &miners, |record| {
        record.admissions == 1 && !record.jobs.is_empty() && !record.difficulties.is_empty()
    })
    .await;
    let tip = site.node.mine(1).unwrap()[0];
    wait_for_all("the new tip", &miners, |record| record.jobs.iter().any(|job| job.prev_hash == tip)).await;
    // Once a minute, the translator reconsiders all its miners, and tells the pool of their hash rate.
    let reconsidered = |log: &str| (log.matches("Starting vardiff loop").count() > 1).then_some(());
    translator.process.wait_for(CROWD_PATIENCE, "its own vardiff", reconsidered).await.unwrap();
    wait_for_credit(&site, &account, CREDITED).await;
    miners.iter().for_each(|miner| miner.limit_hash_rate(0.0));
    wait_until_translated_shares_are_accounted_for(&site, &account, &translator).await;
    assert!(translator.rejections().iter().all(|code| code == "stale-share"), "{:?}", translator.rejections());
    let stored = stored_by_worker(&site, &account).await;
    assert_own_credit(&miners, &stored);

    site.pool.stop().unwrap();
    site.pool.start().unwrap();
    wait_for_all("to be let in again and to have a job", &miners, |record| {
        record.admissions == 2 && record.jobs_of_connection > 0
    })
    .await;
    miners.iter().for_each(|miner| miner.limit_hash_rate(HASH_RATE));
    wait_for_credit(&site, &account, stored.len() + 50).await;
}

/// Asserts that no connection has ended, and that each miner is credited under its own name, with no more shares than
/// the translator took from it.
fn assert_own_credit(miners: &[Sv1Miner], stored: &BTreeMap<String, u64>) {
    let (mut named, mut found) = (0, 0);
    for (number, miner) in miners.iter().enumerate() {
        let credited = stored.get(&format!("rig{number}")).copied().unwrap_or(0);
        named += credited;
        miner.read(|record| {
            let accepted = record.accepted().count() as u64;
            assert_eq!((record.connections, record.faults.as_slice()), (1, &[][..]), "rig{number}");
            assert!(credited <= accepted, "rig{number} is credited {credited} shares of {accepted}");
            found += accepted;
        });
    }
    assert_eq!(named, stored.values().sum::<u64>(), "shares of nobody: {stored:?}");
    println!("{named} of {found} shares met the pool's target, of {} miners", stored.len());
}
