//! Shares: when they are acknowledged, what they are credited with, and what a wrong one is answered.

use std::time::{Duration, Instant};

use bitcoin::Target;
use protocol::{codec::U256, messages::mining::ServerMessage};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tests::miner::{ChannelConfig, Record, Submission};

use crate::{
    site::{PATIENCE, Site, extended, standard},
    tally::{Tally, target},
};

/// The rule: an acknowledgement comes within this time, also when shares are rare.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn share_of_a_slow_miner_is_acknowledged_within_a_second() {
    const SHARES: usize = 10;

    let mut site = Site::signet();
    // A share in about a second, so that no other one can push it along.
    site.pool.set("ADIT__STRATUM__SHARES_PER_MINUTE", 120);
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 20_000.0).max_shares(SHARES as u64)).await;
    let mut waits = Vec::new();
    for count in 1..=SHARES {
        miner.wait_for_accepted(count, PATIENCE).await.unwrap();
        waits.push(miner.read(|record| record.submitted[count - 1].at.elapsed()));
    }
    waits.sort_unstable();
    // One that the machine's other work holds up proves nothing; two would.
    assert!(waits[SHARES - 2] <= ACKNOWLEDGED_WITHIN, "waits of {waits:?}");
    println!("longest waits: {:?}", &waits[SHARES - 3..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_share_is_acknowledged_before_it_is_on_disk() {
    const LOCKED_FOR: Duration = Duration::from_secs(3);

    let mut site = Site::signet();
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 30_000.0)).await;
    miner.wait_for_accepted(5, PATIENCE).await.unwrap();

    // Nobody else can write while this transaction is open.
    let options = SqliteConnectOptions::new().filename(site.pool.database()).busy_timeout(PATIENCE);
    let mut writer = SqliteConnection::connect_with(&options).await.unwrap();
    let transaction = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
    tokio::time::sleep(LOCKED_FOR).await;
    // Whatever has been acknowledged by now was stored before the lock.
    let record = miner.record();
    assert_eq!(record.end, None);
    let stored = site.books().await.tally().await;
    stored.assert_covers(&Tally::acknowledged(&record), "acknowledged while nothing could be written");
    assert!(record.submitted.len() as u64 > stored.total() + 5, "the miner goes on");
    let waiting = miner.read(|record| record.unanswered());
    transaction.rollback().await.unwrap();

    let answered = |record: &Record| record.unanswered().is_disjoint(&waiting).then_some(());
    miner.wait_for(PATIENCE, "the shares that had to wait", answered).await.unwrap();
    let record = miner.close().await;
    assert_eq!((record.faults.as_slice(), record.rejections.as_slice()), (&[][..], &[][..]));
    site.books().await.tally().await.assert_covers(&Tally::acknowledged(&record), "an acknowledged share is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn miner_faster_than_it_claims_gets_a_harder_target_within_seconds_and_credit_for_it() {
    let mut site = Site::signet();
    site.pool.start().unwrap();
    let miner = site.miner().await;
    let config = ChannelConfig { nominal_hash_rate: 1_000.0, ..standard(&site.new_address(), 40_000.0) };
    let opened = miner.open(config).await.unwrap();
    let begun = Instant::now();
    let raised = miner.wait_for(PATIENCE, "a harder target", |record| {
        record.received.iter().find_map(|message| match message {
            ServerMessage::SetTarget(target) => Some(target.maximum_target),
            _ => None,
        })
    });
    let raised = raised.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(raised < opened.target, "{raised} is not harder than {}", opened.target);
    miner
        .wait_for(PATIENCE, "shares on the harder target", |record| {
            let answered = record.acknowledged();
            let harder = record.submitted.iter().filter(|share| {
                share.target.unwrap() < opened.target && answered.contains(&(share.channel_id, share.sequence_number))
            });
            (harder.count() >= 10).then_some(())
        })
        .await
        .unwrap();
    let record = miner.close().await;
    assert_eq!((record.faults.as_slice(), record.rejections.as_slice()), (&[][..], &[][..]));

    // Each share is credited with the target that was in force for its job: neither the easier nor its own hash.
    let credited = site.books().await.tally().await;
    assert_eq!(credited, Tally::acknowledged(&record));
    let difficulties: Vec<i64> = credited.by_difficulty().into_keys().collect();
    assert!(difficulties.last() > difficulties.first(), "{difficulties:?}");
    // Less than twice the wished shares at the end.
    let hashes = 2_f64.powi(*difficulties.last().unwrap() as i32 + 32);
    assert!(40_000.0 / hashes < 20.0, "2^{:?} is too easy", difficulties.last());
}

#[tokio::test(flavor = "multi_thread")]
async fn miner_that_starts_anew_on_a_new_target_finds_no_share_twice() {
    let mut site = Site::signet();
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 40_000.0)).await;
    miner.wait_for_accepted(5, PATIENCE).await.unwrap();
    // With an easier target, all shares so far would be found again, if the same headers were hashed again.
    let channel_id = miner.read(|record| record.submitted[0].channel_id);
    miner.update_channel(channel_id, 8_000.0, U256::MAX).await.unwrap();
    // It does not stay easy for long, and each target means a new start.
    let before = miner.read(|record| record.submitted.len());
    let more = |record: &Record| (record.submitted.len() >= before + 30).then_some(());
    miner.wait_for(PATIENCE, "more shares", more).await.unwrap();
    miner.limit_hash_rate(channel_id, Some(0.0)).await.unwrap();
    miner.wait_for_answers(PATIENCE).await.unwrap();
    let record = miner.close().await;
    assert_eq!((record.faults.as_slice(), record.rejections.as_slice()), (&[][..], &[][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_share_is_answered_with_what_is_wrong_with_it() {
    let mut site = Site::signet();
    site.pool.start().unwrap();
    let miner = site.miner().await;
    let address = site.new_address();
    let standard_id = miner.open(standard(&address, 20_000.0).max_shares(1)).await.unwrap().channel_id;
    let extended_id = miner.open(extended(&address, 20_000.0).max_shares(1)).await.unwrap().channel_id;
    miner.wait_for_accepted(2, PATIENCE).await.unwrap();
    let good = |channel_id| {
        miner.read(|record| record.submitted.iter().find(|share| share.channel_id == channel_id).unwrap().clone())
    };
    let (standard, extended) = (good(standard_id), good(extended_id));
    let short = extended.extranonce.as_ref().map(|extranonce| extranonce[1..].to_vec());
    let long = extended.extranonce.as_ref().map(|extranonce| [extranonce, &[0][..]].concat());

    let wrong = [
        ("duplicate-share", standard.clone()),
        ("duplicate-share", extended.clone()),
        ("difficulty-too-low", Submission { nonce: standard.nonce ^ 1, ..standard.clone() }),
        ("invalid-job-id", Submission { job_id: standard.job_id + 1_000, ..standard.clone() }),
        ("bad-extranonce-size", Submission { extranonce: short, ..extended.clone() }),
        ("bad-extranonce-size", Submission { extranonce: long, ..extended.clone() }),
        ("invalid-channel-id", Submission { channel_id: 77, ..standard.clone() }),
        ("invalid-share", Submission { ntime: standard.ntime + 3 * 7_200, ..standard.clone() }),
    ];
    let mut rejected = 0;
    let mut expect = async |code: &str, share: Submission| {
        let sequence_number = miner.next_sequence_number(share.channel_id).await.unwrap();
        let at = Instant::now();
        miner.submit(Submission { sequence_number, hash: None, target: None, at, ..share.clone() }).await.unwrap();
        rejected += 1;
        assert_eq!(miner.wait_for_rejected(rejected, PATIENCE).await.unwrap(), code, "{share:?}");
    };
    for (code, share) in wrong {
        expect(code, share).await;
    }

    let tip = site.node.mine(1).unwrap()[0];
    let heard = miner.wait_for(PATIENCE, "the new tip", |record| {
        let tip = bitcoin::hashes::Hash::as_byte_array(&tip);
        let is_tip =
            |message: &ServerMessage| matches!(message, ServerMessage::SetNewPrevHash(m) if m.prev_hash.0 == *tip);
        record.received.iter().any(is_tip).then_some(())
    });
    heard.await.unwrap();
    expect("stale-share", standard).await;
    expect("stale-share", extended).await;

    let record = miner.close().await;
    assert_eq!(record.accepted_count(), 2);
    assert_eq!(site.books().await.tally().await.total(), 2, "nothing is credited for a wrong share");
}

#[test]
fn targets_of_these_tests_are_those_of_bitcoin() {
    assert_eq!(target(0).0, Target::MAX.to_le_bytes());
    let regtest = Target::MAX_ATTAINABLE_REGTEST;
    assert!(Target::from_le_bytes(target(-32).0) > regtest && Target::from_le_bytes(target(-31).0) < regtest);
    assert!((Target::from_le_bytes(target(5).0).difficulty_float() - 32.0).abs() < 1e-9);
}
