//! A clock that is set forward and back by minutes and hours while the pool runs. The miners' clock and the node's are
//! right.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tests::{
    clock::SetClock,
    miner::{Miner, MinerConfig, Record},
};

use crate::{
    site::{PATIENCE, Site, extended, standard},
    tally::Tally,
};

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 60 * MINUTE_S;
/// What dates may be off by for the time that the test takes.
const SLACK: Duration = Duration::from_secs(300);
/// By how many powers of two a channel's difficulty may differ before and after: chance alone makes some.
const DIFFICULTY_STEPS: u32 = 4;

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_are_accepted_and_dated_whatever_the_clock_is_set_to() {
    const AHEAD_S: [i64; 6] = [10 * MINUTE_S, 5 * HOUR_S, 0, -10 * MINUTE_S, -7 * HOUR_S, 0];

    let begun_ms = now_ms();
    let clock = SetClock::right().unwrap();
    clock.prove().unwrap();
    let mut site = Site::signet();
    clock.give_to(&mut site.pool);
    site.pool.start().unwrap();
    let miners = [
        site.miner_with(standard(&site.new_address(), 10_000.0)).await,
        site.miner_with(extended(&site.new_address(), 10_000.0)).await,
    ];
    for miner in &miners {
        miner.wait_for_accepted(10, PATIENCE).await.unwrap();
    }
    let newest_target = |record: &Record| Tally::log2_of(record.submitted.last().unwrap().target.unwrap());
    let before = miners.each_ref().map(|miner| miner.read(newest_target));
    let mut records = Vec::new();
    for ahead_s in AHEAD_S {
        clock.set(ahead_s).unwrap();
        for miner in &miners {
            let accepted = miner.read(Record::accepted_count);
            miner.wait_for_accepted(accepted + 5, PATIENCE).await.unwrap();
        }
        // A certificate that was good goes on to be.
        let another = site.miner_with(standard(&site.new_address(), 10_000.0).max_shares(2)).await;
        another.wait_for_judged(2, PATIENCE).await.unwrap();
        records.push(another.close().await);
        // And a tip comes as ever.
        site.node.mine(1).unwrap();
    }
    for (miner, before) in miners.iter().zip(before) {
        let after = miner.read(newest_target);
        assert!(after.abs_diff(before) <= u64::from(DIFFICULTY_STEPS), "from 2^{before} to 2^{after}");
    }
    site.pool.stop().unwrap();
    for miner in miners {
        miner.wait_for_end(PATIENCE).await.unwrap();
        records.push(miner.close().await);
    }
    let mut acknowledged = Tally::default();
    for record in &records {
        assert_eq!(record.faults, []);
        assert!(record.rejections.iter().all(|rejection| rejection.error_code == "stale-share"));
        acknowledged.add(&Tally::acknowledged(record));
    }
    let books = site.books().await;
    assert_eq!(books.tally().await, acknowledged);
    let (first, last) = books.share_dates_ms().await;
    let slack_ms = SLACK.as_millis() as i64;
    let (earliest, latest) = (begun_ms - 7 * HOUR_S * 1_000 - slack_ms, now_ms() + 5 * HOUR_S * 1_000 + slack_ms);
    assert!(earliest <= first && first < begun_ms - 6 * HOUR_S * 1_000, "the first share is of {first}");
    assert!(begun_ms + 4 * HOUR_S * 1_000 < last && last <= latest, "the last share is of {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_that_started_with_a_clock_ahead_serves_miners_as_soon_as_it_is_set_right() {
    let clock = SetClock::right().unwrap();
    clock.prove().unwrap();
    clock.set(6 * HOUR_S).unwrap();
    let mut site = Site::signet();
    clock.give_to(&mut site.pool);
    let address = site.pool.start().unwrap();
    // Its certificate is of a time that has not come.
    let refused = Miner::connect(MinerConfig::new(address)).await.unwrap_err().to_string();
    assert!(refused.contains("valid from Unix time"), "{refused}");
    clock.set(0).unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 10_000.0).max_shares(3)).await;
    miner.wait_for_accepted(3, PATIENCE).await.unwrap();
    assert_eq!(miner.close().await.faults, []);
}
