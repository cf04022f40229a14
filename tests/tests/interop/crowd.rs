//! A large farm: two thousand Stratum V1 miners behind one translator, which shares one channel among all of them.

use std::{collections::BTreeSet, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tests::{
    foreign::{Translator, TranslatorOptions},
    sv1_miner::{Record, Sv1Miner, Sv1MinerConfig},
};

use crate::{
    accounts::{stored_by_worker, wait_until_translated_shares_are_accounted_for},
    site::{PATIENCE, Site, eventually_or},
};

/// The miners.
const MINERS: usize = 2_000;
/// How fast each of them hashes, in hashes a second: all together what one core does with ease.
const HASH_RATE: f64 = 5.0;
/// How many of them must have had a share credited in the end. Which ones is luck.
const CREDITED: usize = 200;
/// How long all of them together may take for one thing, on a machine with other work to do.
const CROWD_PATIENCE: Duration = Duration::from_secs(180);
/// Open files that this process and the translator need: one for each miner, and some for everything else.
const OPEN_FILES: u64 = MINERS as u64 + 500;

/// Waits until `look` is true of every miner's record.
async fn wait_for_all(what: &str, miners: &[Sv1Miner], look: impl Fn(&Record) -> bool) {
    let deadline = tokio::time::Instant::now() + CROWD_PATIENCE;
    for miner in miners {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now()).max(Duration::from_millis(1));
        miner.wait_for(left, what, |record| look(record).then_some(())).await.unwrap();
    }
}

/// Raises the bound of open files, which the translator inherits.
fn allow_open_files() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard >= OPEN_FILES, "the system allows no more than {hard} open files, and {OPEN_FILES} are needed");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(OPEN_FILES), hard).unwrap();
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
        // So that a miner finds one in ten seconds. The pool hears of the best of them only.
        shares_per_minute: 6.0,
        vardiff: true,
        names_workers: true,
    };
    let mut translator = Translator::start(&pool, &options).unwrap();
    translator.wait_until_listening(1, PATIENCE).await.unwrap();
    let config = |number| Sv1MinerConfig {
        server: translator.address(),
        user: format!("farm.rig{number}"),
        hash_rate: HASH_RATE,
    };
    let miners: Vec<Sv1Miner> = (0..MINERS).map(|number| Sv1Miner::start(config(number))).collect();
    wait_for_all("to be let in and to have a job", &miners, |record| {
        record.admissions == 1 && !record.jobs.is_empty() && !record.difficulties.is_empty()
    })
    .await;
    println!("all {MINERS} are at work");

    let tip = site.node.mine(1).unwrap()[0];
    wait_for_all("the new tip", &miners, |record| record.jobs.iter().any(|job| job.prev_hash == tip)).await;
    println!("all have the new tip");
    eventually_or("shares of many miners", async || {
        let credited = stored_by_worker(&site, &account).await.len();
        if credited >= CREDITED { Ok(()) } else { Err(format!("only {credited} miners have a share")) }
    })
    .await;
    miners.iter().for_each(|miner| miner.limit_hash_rate(0.0));
    wait_until_translated_shares_are_accounted_for(&site, &account, &translator).await;

    // Each is credited under its own name, and no more than it has found.
    let stored = stored_by_worker(&site, &account).await;
    let mut found = 0;
    for (number, miner) in miners.iter().enumerate() {
        let credited = stored.get(&format!("rig{number}")).copied().unwrap_or(0);
        miner.read(|record| {
            assert_eq!((record.connections, record.faults.as_slice()), (1, &[][..]), "rig{number}");
            assert!(credited <= record.accepted().count() as u64, "rig{number} is credited {credited} shares");
            found += record.accepted().count();
        });
    }
    let names: BTreeSet<String> = (0..MINERS).map(|number| format!("rig{number}")).collect();
    assert!(stored.keys().all(|worker| names.contains(worker)), "{stored:?}");
    assert_eq!(translator.rejections(), [""; 0]);
    println!(
        "{} of {found} shares were good enough for the pool, of {} miners",
        stored.values().sum::<u64>(),
        stored.len()
    );
}
