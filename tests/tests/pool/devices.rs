//! The devices of the field on the real pool: each is served, and finds nothing of that which makes it fail. That it
//! would fail is shown in `tests/devices.rs`.

use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::{Address, FeeRate};
use bitcoind_regtest::Coins;
use protocol::codec::U256;
use protocol::messages::mining::ServerMessage;
use tests::miner::{ChannelConfig, DeviceFailure, End, Miner, MinerConfig, Profile, Record, Rejection, Submission};

use crate::site::{PATIENCE, Site, idle};
use crate::work_selection::custom_job;

/// How often the pool renews jobs in these tests; by default it is every 30 seconds.
const REFRESH: Duration = Duration::from_secs(5);
/// How much hastier than in the field devices are with silence, so that the pool is just as much ahead of them.
const HASTE: u32 = 6;
/// How fast a device hashes here, in hashes a second, whatever it declares.
const HASH_RATE: f64 = 5_000.0;

/// A device of the field that a CPU can play, with its own ratio between its patience and the pool's jobs.
fn hasty(profile: Profile) -> Profile {
    // Any difficulty of the pool is a whole multiple of this one, as in the field of 1.
    let mut unit = U256::ZERO;
    unit.0[30..].copy_from_slice(&[0xff, 0xff]);
    profile.with_silence_shortened(HASTE).with_difficulty_unit(unit)
}

fn channel(profile: &Profile, address: &Address) -> ChannelConfig {
    // As long as the pool allows, and longer than small devices can keep: those lose a part of the worker's name.
    let user = format!("{address}.{}", "w".repeat(32));
    ChannelConfig { hash_rate_limit: Some(HASH_RATE), ..profile.channel(&user) }
}

async fn connect(site: &Site, profile: &Profile) -> Miner {
    Miner::connect(MinerConfig::device(profile, site.pool.address().unwrap())).await.unwrap()
}

fn is_tip(message: &ServerMessage, hash: [u8; 32]) -> bool {
    matches!(message, ServerMessage::SetNewPrevHash(tip) if tip.prev_hash.0 == hash)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_device_is_served_from_its_first_share_to_a_new_tip_and_through_a_long_silence_of_its_own() {
    let mut site = Site::signet();
    site.pool.set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", REFRESH.as_secs());
    site.pool.start().unwrap();
    let mut devices = Vec::new();
    for profile in Profile::all().into_iter().filter(|profile| profile.name != "jd-client").map(hasty) {
        let miner = connect(&site, &profile).await;
        let channel = miner.open(channel(&profile, &site.new_address())).await.unwrap();
        devices.push((profile, miner, channel));
    }
    for (_, miner, channel) in &devices {
        // What a device declares has nothing to do with what it does, so that the pool must ease its target first.
        let eased = |record: &Record| {
            let is_easier = |message: &ServerMessage| matches!(message, ServerMessage::SetTarget(message) if message.maximum_target > channel.target);
            record.received.iter().any(is_easier).then_some(())
        };
        miner.wait_for(PATIENCE, "an easier target", eased).await.unwrap();
        miner.wait_for_accepted(5, PATIENCE).await.unwrap();
    }

    let tip = site.node.mine(1).unwrap()[0].to_byte_array();
    for (_, miner, _) in &devices {
        let followed = |record: &Record| record.received.iter().any(|message| is_tip(message, tip)).then_some(());
        miner.wait_for(PATIENCE, "the tip", followed).await.unwrap();
        let accepted = miner.read(Record::accepted_count);
        miner.wait_for_accepted(accepted + 5, PATIENCE).await.unwrap();
    }

    // With no shares, there are no acknowledgements either: only jobs break the silence.
    for (_, miner, channel) in &devices {
        miner.limit_hash_rate(channel.channel_id, Some(0.0)).await.unwrap();
    }
    let longest = devices.iter().filter_map(|(profile, ..)| profile.rules.silence_limit).max().unwrap();
    tokio::time::sleep(longest + REFRESH).await;
    for (profile, miner, channel) in devices {
        miner.wait_for_answers(PATIENCE).await.unwrap();
        let accepted = miner.read(Record::accepted_count);
        miner.limit_hash_rate(channel.channel_id, Some(HASH_RATE)).await.unwrap();
        miner.wait_for_accepted(accepted + 1, PATIENCE).await.unwrap();
        let record = miner.close().await;
        assert_eq!((record.faults.as_slice(), record.pipeline_flushes), (&[][..], 0), "{profile}");
        let is_stale = |rejection: &Rejection| rejection.error_code == "stale-share";
        assert!(record.rejections.iter().all(is_stale), "{profile}: {:?}", record.rejections);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_device_has_words_for_each_code_that_it_can_be_answered() {
    let mut site = Site::signet();
    site.pool.start().unwrap();
    let profile = hasty(Profile::axeos_2_15_standard());
    let miner = connect(&site, &profile).await;
    miner.open(channel(&profile, &site.new_address()).hash_rate(20_000.0).max_shares(1)).await.unwrap();
    miner.wait_for_accepted(1, PATIENCE).await.unwrap();
    let good = miner.read(|record| record.submitted[0].clone());
    let wrong = [
        Submission { nonce: good.nonce ^ 1, ..good.clone() },
        Submission { job_id: good.job_id + 1_000, ..good.clone() },
        Submission { channel_id: good.channel_id + 1_000, ..good.clone() },
    ];
    let mut codes = Vec::new();
    for share in wrong {
        codes.push(reject(&miner, share).await);
    }
    let tip = site.node.mine(1).unwrap()[0].to_byte_array();
    let followed = |record: &Record| record.received.iter().any(|message| is_tip(message, tip)).then_some(());
    miner.wait_for(PATIENCE, "the tip", followed).await.unwrap();
    codes.push(reject(&miner, good).await);
    assert_eq!(codes, ["difficulty-too-low", "invalid-job-id", "invalid-channel-id", "stale-share"]);
    assert!(codes.iter().all(|code| profile.explains(code)));
}

/// Submits a wrong share and returns the code of its rejection.
async fn reject(miner: &Miner, share: Submission) -> String {
    let rejected = miner.read(|record| record.rejections.len());
    let sequence_number = miner.next_sequence_number(share.channel_id).await.unwrap();
    miner.submit(Submission { sequence_number, hash: None, ..share }).await.unwrap();
    miner.wait_for_rejected(rejected + 1, PATIENCE).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn job_of_a_full_block_fits_the_smallest_buffers() {
    /// The tree of so many transactions and the coinbase has 12 levels.
    const TRANSACTIONS: usize = 2_100;

    let mut site = Site::regtest();
    let mut coins = Coins::new(site.node.chain());
    coins.fund(&site.node, 2).unwrap();
    coins.fill_mempool(&site.node, TRANSACTIONS, &[FeeRate::from_sat_per_vb_u32(2)]).unwrap();
    site.pool.start().unwrap();
    for profile in [hasty(Profile::axeos_2_14()), hasty(Profile::nerdqaxe())] {
        let miner = connect(&site, &profile).await;
        miner.open(idle(profile.channel(&site.new_address().to_string()))).await.unwrap();
        let path_len = |record: &Record| {
            record.received.iter().find_map(|message| match message {
                ServerMessage::NewExtendedMiningJob(job) => Some(job.merkle_path.as_slice().len()),
                _ => None,
            })
        };
        assert_eq!(miner.wait_for(PATIENCE, "a job", path_len).await.unwrap(), 12, "{profile}");
        let tip = |record: &Record| {
            let is_tip = |message: &ServerMessage| matches!(message, ServerMessage::SetNewPrevHash(_));
            record.received.iter().any(is_tip).then_some(())
        };
        miner.wait_for(PATIENCE, "the tip", tip).await.unwrap();
        let record = miner.close().await;
        assert_eq!(record.faults, [], "{profile}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn job_declarator_client_keeps_its_channel_without_jobs_until_its_own_job_is_refused() {
    let mut site = Site::signet();
    site.pool.set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", REFRESH.as_secs());
    site.pool.start().unwrap();
    let profile = Profile::job_declarator_client();
    let miner = connect(&site, &profile).await;
    let opened = miner.open(profile.channel(&site.new_address().to_string())).await.unwrap();
    assert_eq!(opened.extranonce_size, Some(10));
    // Long enough for a refresh, which is for others.
    tokio::time::sleep(REFRESH + Duration::from_secs(2)).await;
    miner.update_channel(opened.channel_id, 1e14, U256::MAX).await.unwrap();
    // The answer, and perhaps what silence brings on a machine that is busy.
    let is_target = |message: &ServerMessage| matches!(message, ServerMessage::SetTarget(_));
    let target = |record: &Record| record.received.iter().any(is_target).then_some(());
    miner.wait_for(PATIENCE, "a target", target).await.unwrap();
    let record = miner.record();
    let others: Vec<_> = record.received.iter().filter(|message| !is_target(message)).collect();
    assert!(matches!(others.as_slice(), [ServerMessage::OpenExtendedMiningChannelSuccess(_)]), "{others:?}");
    assert_eq!((record.faults, record.end), (vec![], None));

    miner.send(custom_job(opened.channel_id)).await.unwrap();
    let refused = DeviceFailure::CustomJobRefused { error_code: "jd-not-supported".into() };
    assert_eq!(miner.wait_for_end(PATIENCE).await.unwrap(), End::Device(refused));
}
