//! Jobs on the wire: when they come, to whom, and in which form.

use std::time::{Duration, Instant};

use bitcoin::hashes::Hash;
use protocol::messages::mining::{NewMiningJob, REQUIRES_STANDARD_JOBS, ServerMessage, SetNewPrevHash};
use tests::miner::{ChannelConfig, Miner, MinerConfig, Record, Submission};

use crate::site::{PATIENCE, Site, extended, idle, standard};

/// How soon a tip made elsewhere must have reached a miner: a small part of what a block takes, on a busy machine.
const TIP_WITHIN: Duration = Duration::from_secs(2);

fn tip_in(record: &Record, prev_hash: [u8; 32]) -> Option<SetNewPrevHash> {
    record.received.iter().find_map(|message| match message {
        ServerMessage::SetNewPrevHash(tip) if tip.prev_hash.0 == prev_hash => Some(*tip),
        _ => None,
    })
}

/// Waits until `count` messages have followed the first `after`, and returns them by name.
async fn messages(miner: &Miner, after: usize, count: usize) -> Vec<ServerMessage> {
    let look = |record: &Record| (record.received.len() >= after + count).then(|| record.received[after..].to_vec());
    miner.wait_for(PATIENCE, "messages", look).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tip_made_elsewhere_comes_as_a_future_job_and_its_prev_hash_and_makes_old_shares_stale() {
    let mut site = Site::signet();
    site.pool.start().unwrap();
    let miner = site.miner().await;
    let channel = miner.open(standard(&site.new_address(), 20_000.0).max_shares(1)).await.unwrap();
    miner.wait_for_accepted(1, PATIENCE).await.unwrap();
    let old = miner.read(|record| record.submitted[0].clone());

    let tip = site.node.mine(1).unwrap()[0].to_byte_array();
    let mined = Instant::now();
    let prev_hash = miner.wait_for(PATIENCE, "the tip", |record| tip_in(record, tip)).await.unwrap();
    assert!(mined.elapsed() < TIP_WITHIN, "{:?}", mined.elapsed());
    let future = miner.read(|record| {
        record.received.iter().find_map(|message| match message {
            ServerMessage::NewMiningJob(job) if job.job_id == prev_hash.job_id => Some(*job),
            _ => None,
        })
    });
    assert!(matches!(future, Some(NewMiningJob { min_ntime: None, .. })), "{future:?}");

    let sequence_number = miner.next_sequence_number(channel.channel_id).await.unwrap();
    miner.submit(Submission { sequence_number, hash: None, ..old }).await.unwrap();
    assert_eq!(miner.wait_for_rejected(1, PATIENCE).await.unwrap(), "stale-share");
    assert_eq!(miner.close().await.faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_of_one_connection_get_one_job_for_their_group() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.set("ADIT__STRATUM__JOB_AHEAD", false);
    site.pool.start().unwrap();
    let miner = site.miner().await;
    let address = site.new_address();
    let mut groups = Vec::new();
    for config in [standard(&address, 1e6), extended(&address, 1e6), extended(&address, 1e9)] {
        groups.push(miner.open(idle(config)).await.unwrap().group_channel_id);
    }
    let group = groups[0];
    assert!(groups.iter().all(|&other| other == group));
    // A job and its tip for each channel alone, since a new one cannot know what its group was told before.
    messages(&miner, 0, 9).await;
    let before = miner.read(|record| record.received.len());

    let tip = site.node.mine(1).unwrap()[0].to_byte_array();
    miner.wait_for(PATIENCE, "the tip", |record| tip_in(record, tip)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let came = messages(&miner, before, 2).await;
    let [ServerMessage::NewExtendedMiningJob(job), ServerMessage::SetNewPrevHash(prev_hash)] = came.as_slice() else {
        panic!("{came:?} is not one job and one tip");
    };
    assert_eq!((job.channel_id, job.min_ntime), (group, None));
    assert_eq!((prev_hash.channel_id, prev_hash.job_id, prev_hash.prev_hash.0), (group, job.job_id, tip));
    assert_eq!(miner.close().await.faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_on_a_group_job_are_accepted_from_each_channel() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let miner = site.miner().await;
    let address = site.new_address();
    for config in [standard(&address, 30.0), extended(&address, 30.0)] {
        miner.open(config).await.unwrap();
    }
    // Each block found makes a new tip, so nearly all of these are for group jobs.
    miner
        .wait_for(PATIENCE, "shares of both channels", |record| {
            let of = |channel| record.acknowledged().iter().filter(|(id, _)| *id == channel).count();
            (of(2) >= 5 && of(3) >= 5).then_some(())
        })
        .await
        .unwrap();
    let record = miner.close().await;
    assert_eq!(record.faults, []);
    let codes: Vec<_> = record.rejections.iter().filter(|rejection| rejection.error_code != "stale-share").collect();
    assert!(codes.is_empty(), "{codes:?}");
    site.settle().await.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_that_requires_standard_jobs_gets_one_for_each_channel() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.set("ADIT__STRATUM__JOB_AHEAD", false);
    let address = site.pool.start().unwrap();
    let miner = Miner::connect(MinerConfig::new(address).flags(REQUIRES_STANDARD_JOBS)).await.unwrap();
    let payee = site.new_address();
    let refused = miner.open(extended(&payee, 1e6)).await.unwrap_err().to_string();
    assert!(refused.contains("extended-channels-not-supported-for-standard-jobs"), "{refused}");
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(miner.open(idle(standard(&payee, 1e6))).await.unwrap().channel_id);
    }
    // The refusal, and for each channel its opening, its job and its tip.
    messages(&miner, 0, 7).await;
    let before = miner.read(|record| record.received.len());

    let tip = site.node.mine(1).unwrap()[0].to_byte_array();
    let came = messages(&miner, before, 4).await;
    let mut jobs = Vec::new();
    let mut tips = Vec::new();
    for message in &came {
        match message {
            ServerMessage::NewMiningJob(job) => jobs.push((job.channel_id, job.job_id)),
            ServerMessage::SetNewPrevHash(message) => {
                assert_eq!(message.prev_hash.0, tip);
                tips.push((message.channel_id, message.job_id));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(jobs, tips);
    assert_eq!(jobs.iter().map(|(channel_id, _)| *channel_id).collect::<Vec<_>>(), ids);
    assert_eq!(miner.close().await.faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn job_is_refreshed_although_nothing_happens() {
    const REFRESH: Duration = Duration::from_secs(5);

    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", REFRESH.as_secs());
    site.pool.start().unwrap();
    let miner = site.miner().await;
    miner.open(idle(ChannelConfig::standard(site.new_address().to_string()))).await.unwrap();
    // The second one: the time before the first depends on when the channel was opened.
    let refreshed = |count: usize| {
        let miner = &miner;
        async move {
            let times = |record: &Record| {
                let jobs = record.received.iter().filter_map(|message| match message {
                    ServerMessage::NewMiningJob(NewMiningJob { min_ntime: Some(min_ntime), .. }) => Some(*min_ntime),
                    _ => None,
                });
                let times: Vec<u32> = jobs.collect();
                (times.len() >= count).then_some(times)
            };
            miner.wait_for(PATIENCE, "a refreshed job", times).await.unwrap()
        }
    };
    let opened = Instant::now();
    refreshed(1).await;
    let first = Instant::now();
    assert!(first - opened < REFRESH + Duration::from_secs(2), "{:?}", first - opened);
    let times = refreshed(2).await;
    assert!(first.elapsed() < REFRESH + Duration::from_secs(2), "{:?}", first.elapsed());
    assert!(times[1] >= times[0] + 4, "the time of the job goes on: {times:?}");
    let record = miner.close().await;
    assert_eq!(record.faults, []);
    let tips = record.received.iter().filter(|message| matches!(message, ServerMessage::SetNewPrevHash(_)));
    assert_eq!(tips.count(), 1, "the tip is the same");
}
