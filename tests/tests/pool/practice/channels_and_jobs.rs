//! What follows an open, and what a job must be made of.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bitcoin::{Transaction, consensus};
use protocol::messages::{
    Message,
    mining::{NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, ServerMessage, SetNewPrevHash},
};
use tests::miner::{ChannelConfig, Record};

use super::{STANDARD_JOBS, running_regtest};
use crate::{
    site::{PATIENCE, Site, standard},
    wire::{Wire, open_extended, open_standard},
};

#[tokio::test(flavor = "multi_thread")]
async fn extranonce_has_the_size_asked_for_and_its_shares_count() {
    let mut site = Site::signet();
    site.pool.start().unwrap();
    let miner = site.miner().await;
    let identity = site.new_address().to_string();
    let mut ids = Vec::new();
    for size in [2, 4, 6, 8, 10] {
        let config = ChannelConfig::extended(&identity, size).hash_rate(4_000.0);
        let opened = miner.open(config).await.unwrap();
        assert_eq!(opened.extranonce_size, Some(size));
        let full_size = opened.extranonce_prefix.as_slice().len() + usize::from(size);
        assert_eq!(full_size, 24, "all members of a group have one size, of 32 bytes at most");
        ids.push(opened.channel_id);
    }
    let each = |record: &Record| {
        let acknowledged = record.acknowledged();
        let has_two = |id: &u32| acknowledged.iter().filter(|(channel_id, _)| channel_id == id).count() >= 2;
        ids.iter().all(has_two).then_some(())
    };
    miner.wait_for(PATIENCE, "shares of each channel", each).await.unwrap();
    // The miner puts each coinbase together and notices a script whose length is wrong.
    assert_eq!(miner.close().await.faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn coinbase_of_a_job_is_a_transaction_without_witness() {
    let (site, pool) = running_regtest();
    for size in [2, 10] {
        let mut wire = Wire::set_up(&pool, 0);
        wire.send(&open_extended(&site.new_address().to_string(), size));
        let opened = wire.next().read::<OpenExtendedMiningChannelSuccess>();
        let job = wire.next().read::<NewExtendedMiningJob>();
        let extranonce = vec![0xee; usize::from(size)];
        let bytes = [
            job.coinbase_tx_prefix.as_slice(),
            opened.extranonce_prefix.as_slice(),
            &extranonce,
            job.coinbase_tx_suffix.as_slice(),
        ]
        .concat();
        // With BIP 144's marker, a zero would stand behind the version.
        assert_eq!(bytes[4], 1, "one input");
        let coinbase: Transaction = consensus::deserialize(&bytes).unwrap();
        assert!(coinbase.is_coinbase() && coinbase.input[0].witness.is_empty());
        let script = coinbase.input[0].script_sig.as_bytes();
        assert!(script.len() <= 100 && script.ends_with(&extranonce));
        // The commitment to the block's witnesses stays in, of course.
        assert!(coinbase.output.iter().any(|output| output.script_pubkey.as_bytes().starts_with(&[0x6a, 0x24, 0xaa])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn group_is_1_and_channels_begin_at_2() {
    let (site, pool) = running_regtest();
    let identity = site.new_address().to_string();
    for flags in [0, STANDARD_JOBS] {
        let mut wire = Wire::set_up(&pool, flags);
        for expected_id in [2, 3] {
            wire.send(&open_standard(&identity));
            let frames = wire.read_until(|frame| frame.name() == SetNewPrevHash::NAME);
            let [opened, job, tip] = frames.as_slice() else { panic!("{frames:?}") };
            let ServerMessage::OpenStandardMiningChannelSuccess(opened) = opened.message() else {
                panic!("{opened:?}")
            };
            assert_eq!((opened.channel_id, opened.group_channel_id), (expected_id, 1));
            let (job, tip) = (job.read::<NewMiningJob>(), tip.read::<SetNewPrevHash>());
            assert_eq!((job.channel_id, tip.channel_id, tip.job_id), (expected_id, expected_id, job.job_id));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_with_a_rolled_version_count() {
    /// What devices roll.
    const DEVICES: u32 = 0x1fff_e000;

    let mut site = Site::signet();
    site.pool.start().unwrap();
    // The version moves every few hashes.
    let config = ChannelConfig { nonces_per_roll: 16, ..standard(&site.new_address(), 20_000.0) };
    let miner = site.miner_with(config.max_shares(12)).await;
    miner.wait_for_accepted(12, PATIENCE).await.unwrap();
    let record = miner.close().await;
    let job = record.received.iter().find_map(|message| match message {
        ServerMessage::NewMiningJob(job) => Some(*job),
        _ => None,
    });
    let version = job.unwrap().version;
    let rolled: BTreeSet<u32> = record.submitted.iter().map(|share| share.version ^ version).collect();
    assert!(rolled.len() > 5 && rolled.iter().all(|bits| bits & !DEVICES == 0), "{rolled:x?}");
    assert_eq!((record.faults.as_slice(), record.rejections.as_slice()), (&[][..], &[][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_come_although_the_node_is_away_and_each_is_other_work() {
    const REFRESH: Duration = Duration::from_secs(5);

    let mut site = Site::signet();
    site.pool.set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", REFRESH.as_secs());
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 10_000.0)).await;
    miner.wait_for_accepted(1, PATIENCE).await.unwrap();
    site.node.stop().unwrap();
    let away_since = miner.read(|record| jobs(record).len());
    let mut before = Instant::now();
    for count in 1..=3 {
        let come = |record: &Record| (jobs(record).len() >= away_since + count).then_some(());
        miner.wait_for(PATIENCE, "a job", come).await.unwrap();
        assert!(before.elapsed() < REFRESH + Duration::from_secs(2), "{:?} of silence", before.elapsed());
        before = Instant::now();
    }
    let newest = miner.read(|record| jobs(record).last().unwrap().job_id);
    let on_newest = |record: &Record| {
        let acknowledged = record.acknowledged();
        let is_on_newest = |share: &tests::miner::Submission| {
            share.job_id >= newest && acknowledged.contains(&(share.channel_id, share.sequence_number))
        };
        record.submitted.iter().any(is_on_newest).then_some(())
    };
    miner.wait_for(PATIENCE, "a share of a job that was made without the node", on_newest).await.unwrap();
    let record = miner.close().await;
    assert_eq!((record.faults.as_slice(), record.rejections.as_slice()), (&[][..], &[][..]));
    let known = jobs(&record);
    let times: Vec<u32> = known[away_since..].iter().map(|job| job.min_ntime.unwrap()).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    // A new target gives a job again, with a later time; otherwise the coinbase is another each time.
    let work: BTreeSet<_> = known.iter().map(|job| (job.merkle_root.0, job.min_ntime)).collect();
    assert_eq!(work.len(), known.len(), "work was sent twice");
}

/// The jobs to start at once.
fn jobs(record: &Record) -> Vec<NewMiningJob> {
    let jobs = record.received.iter().filter_map(|message| match message {
        ServerMessage::NewMiningJob(job) if job.min_ntime.is_some() => Some(*job),
        _ => None,
    });
    jobs.collect()
}
