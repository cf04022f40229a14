//! Targets as clients read them, answers that they wait for, and the codes that they know.

use std::{collections::BTreeSet, time::Duration};

use protocol::{
    codec::{B0_64K, Seq0_255, U256},
    messages::{
        Message,
        mining::{
            NewMiningJob, OpenExtendedMiningChannel, OpenMiningChannelError, OpenStandardMiningChannel,
            OpenStandardMiningChannelSuccess, ServerMessage, SetCustomMiningJob, SetCustomMiningJobError,
            SetNewPrevHash, SetTarget, SubmitSharesError, SubmitSharesStandard, UpdateChannel, UpdateChannelError,
        },
    },
};
use tests::miner::{ChannelConfig, Record};

use super::{STANDARD_JOBS, running_regtest};
use crate::{
    site::{PATIENCE, Site, standard},
    tally::target,
    wire::{Frame, Wire, open_extended, open_standard, payload_of},
};

/// Sends a request to open a channel that must be refused, and returns the code.
fn refusal(wire: &mut Wire, open: &impl Message) -> String {
    wire.send(open);
    let error = wire.next().read::<OpenMiningChannelError>();
    assert_eq!(error.request_id, 7);
    error.error_code.to_string()
}

/// The codes with which opens were refused, as the pool's log tells them to its operator.
fn logged_refusals(site: &Site) -> BTreeSet<String> {
    let log = site.pool.log();
    let refusals = log.lines().filter(|line| line.contains("channel refused"));
    let code = |line: &str| Some(line.split_once("code=\"")?.1.split_once('"')?.0.to_owned());
    refusals.filter_map(code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn target_is_little_endian_on_the_wire_in_both_directions() {
    let (site, pool) = running_regtest();
    // Far from a palindrome: read the other way round, it would be harder than anything that the pool gives.
    let asked = target(20);
    let mut wire = Wire::set_up(&pool, 0);
    let identity = site.new_address().to_string();
    wire.send(&OpenStandardMiningChannel { nominal_hash_rate: 1.0, max_target: asked, ..open_standard(&identity) });
    let opened = wire.next();
    assert_eq!(opened.name(), OpenStandardMiningChannelSuccess::NAME);
    // Behind the ids of the request and of the channel.
    assert_eq!(opened.payload[8..40], asked.0);
    wire.read_until(|frame| frame.name() == SetNewPrevHash::NAME);

    let harder = target(30);
    wire.send(&UpdateChannel { channel_id: 2, nominal_hash_rate: 1.0, maximum_target: harder });
    let set = wire.next();
    assert_eq!(set.name(), SetTarget::NAME);
    assert_eq!(set.payload[4..], harder.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_update_is_answered_with_a_target_and_never_with_a_new_tip() {
    let (site, pool) = running_regtest();
    let mut wire = Wire::set_up(&pool, 0);
    wire.send(&open_standard(&site.new_address().to_string()));
    wire.read_until(|frame| frame.name() == SetNewPrevHash::NAME);
    let mut answers = |nominal_hash_rate: f32, maximum_target: U256| {
        wire.send(&UpdateChannel { channel_id: 2, nominal_hash_rate, maximum_target });
        wire.read_for(Duration::from_millis(300)).iter().map(Frame::name).collect::<Vec<_>>()
    };
    // Another target comes with a job for it, on the same tip.
    assert_eq!(answers(1e9, U256::MAX), [SetTarget::NAME, NewMiningJob::NAME]);
    // A request that changes nothing, a proxy without miners, and nonsense are answered all the same.
    for nominal_hash_rate in [1e9, 0.0, f32::NAN, -5.0, f32::INFINITY] {
        assert_eq!(answers(nominal_hash_rate, U256::MAX), [SetTarget::NAME], "{nominal_hash_rate}");
    }
    assert_eq!(answers(1e9, U256::ZERO), [UpdateChannelError::NAME]);
    assert_eq!(answers(1e9, U256::MAX), [SetTarget::NAME], "the refused request has changed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn device_that_claims_more_than_it_does_is_eased_by_silence_alone() {
    let mut site = Site::signet();
    site.pool.set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", 5);
    site.pool.start().unwrap();
    let miner = site.miner().await;
    // At the difficulty that it claims to be worth, its first share would come after minutes.
    let config = ChannelConfig { nominal_hash_rate: 1e12, ..standard(&site.new_address(), 20_000.0) };
    let opened = miner.open(config).await.unwrap();
    miner.wait_for_accepted(5, PATIENCE).await.unwrap();
    let record = miner.close().await;
    let targets: Vec<U256> = record.received.iter().filter_map(new_target).collect();
    assert!(targets[0] > opened.target, "{targets:?} after {}", opened.target);
    let tips = record.received.iter().filter(|message| matches!(message, ServerMessage::SetNewPrevHash(_)));
    assert_eq!(tips.count(), 1, "a new target is no new tip");
    assert_eq!((record.faults.as_slice(), record.rejections.as_slice()), (&[][..], &[][..]));
}

fn new_target(message: &ServerMessage) -> Option<U256> {
    match message {
        ServerMessage::SetTarget(set) => Some(set.maximum_target),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn last_share_of_a_burst_is_acknowledged_within_a_second() {
    const SHARES: u64 = 13;

    let mut site = Site::signet();
    site.pool.start().unwrap();
    let mut waits = Vec::new();
    for _ in 0..3 {
        // Found at once, and no other share follows that could push the last along.
        let config = ChannelConfig { nominal_hash_rate: 100.0, ..standard(&site.new_address(), 20_000.0) };
        let miner = site.miner_with(config.max_shares(SHARES)).await;
        let all = |record: &Record| (record.submitted.len() as u64 == SHARES).then_some(());
        miner.wait_for(PATIENCE, "all shares", all).await.unwrap();
        miner.wait_for_answers(PATIENCE).await.unwrap();
        let record = miner.close().await;
        assert_eq!(record.accepted_count() as u64, SHARES);
        waits.push(record.longest_wait());
    }
    waits.sort_unstable();
    // One burst that the machine's other work holds up proves nothing; two would.
    assert!(waits[1] <= Duration::from_secs(1), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_is_refused_by_code() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.set("ADIT__STRATUM__MAX_CHANNELS_PER_CONNECTION", 1).set("ADIT__STRATUM__JOB_AHEAD", false);
    let pool = site.pool.start().unwrap();
    let identity = site.new_address().to_string();
    let (standard, extended) = (open_standard(&identity), open_extended(&identity, 4));
    let mut wire = Wire::set_up(&pool, 0);
    assert_eq!(refusal(&mut wire, &open_standard("satoshi.rig")), "unknown-user");
    for invalid in ["two words".to_owned(), "x".repeat(128), format!("{identity}.{}", "w".repeat(33))] {
        assert_eq!(refusal(&mut wire, &open_standard(&invalid)), "invalid-user-identity");
    }
    for nominal_hash_rate in [f32::NAN, f32::NEG_INFINITY, -1.0] {
        let open = OpenStandardMiningChannel { nominal_hash_rate, ..standard.clone() };
        assert_eq!(refusal(&mut wire, &open), "invalid-nominal-hashrate");
    }
    let no_target = OpenExtendedMiningChannel { max_target: U256::ZERO, ..extended.clone() };
    assert_eq!(refusal(&mut wire, &no_target), "max-target-out-of-range");
    for size in [17, u16::MAX] {
        let open = OpenExtendedMiningChannel { min_extranonce_size: size, ..extended.clone() };
        assert_eq!(refusal(&mut wire, &open), "min-extranonce-size-too-large");
    }
    wire.send(&standard);
    wire.next().read::<OpenStandardMiningChannelSuccess>();
    wire.read_until(|frame| frame.name() == SetNewPrevHash::NAME);
    assert_eq!(refusal(&mut wire, &extended), "channel-capacity-exhausted");

    let mut standard_only = Wire::set_up(&pool, STANDARD_JOBS);
    assert_eq!(refusal(&mut standard_only, &extended), "extended-channels-not-supported-for-standard-jobs");
    standard_only.send(&standard);
    standard_only.next().read::<OpenStandardMiningChannelSuccess>();

    // No device shows its owner why.
    let told = [
        "channel-capacity-exhausted",
        "extended-channels-not-supported-for-standard-jobs",
        "invalid-nominal-hashrate",
        "invalid-user-identity",
        "max-target-out-of-range",
        "min-extranonce-size-too-large",
        "unknown-user",
    ];
    assert_eq!(logged_refusals(&site), told.map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn update_share_and_custom_job_are_refused_by_code() {
    let (site, pool) = running_regtest();
    let mut wire = Wire::set_up(&pool, 0);
    wire.send(&open_standard(&site.new_address().to_string()));
    let frames = wire.read_until(|frame| frame.name() == SetNewPrevHash::NAME);
    let (job, tip) = (frames[1].read::<NewMiningJob>(), frames[2].read::<SetNewPrevHash>());

    for (channel_id, maximum_target, code) in
        [(9, U256::MAX, "invalid-channel-id"), (2, U256::ZERO, "max-target-out-of-range")]
    {
        wire.send(&UpdateChannel { channel_id, nominal_hash_rate: 1e6, maximum_target });
        let error = wire.next().read::<UpdateChannelError>();
        assert_eq!((error.channel_id, error.error_code.to_str()), (channel_id, Some(code)));
    }

    let share = SubmitSharesStandard {
        channel_id: 2,
        sequence_number: 5,
        job_id: job.job_id,
        nonce: 0,
        ntime: tip.min_ntime,
        version: job.version,
    };
    for (code, wrong) in [
        ("invalid-channel-id", SubmitSharesStandard { channel_id: 9, ..share }),
        ("invalid-job-id", SubmitSharesStandard { job_id: job.job_id + 1, ..share }),
        ("invalid-share", SubmitSharesStandard { ntime: tip.min_ntime - 1, ..share }),
        ("invalid-share", SubmitSharesStandard { ntime: tip.min_ntime + 7_201, ..share }),
        ("invalid-non-rollable-version-bit", SubmitSharesStandard { version: job.version ^ 1, ..share }),
        ("invalid-non-rollable-version-bit", SubmitSharesStandard { version: job.version ^ (1 << 30), ..share }),
        ("difficulty-too-low", share),
    ] {
        wire.send(&wrong);
        let error = wire.next().read::<SubmitSharesError>();
        assert_eq!((error.sequence_number, error.error_code.to_str()), (5, Some(code)));
    }

    let custom = SetCustomMiningJob {
        channel_id: 2,
        request_id: 11,
        mining_job_token: Default::default(),
        version: job.version,
        prev_hash: tip.prev_hash,
        min_ntime: tip.min_ntime,
        nbits: tip.nbits,
        coinbase_tx_version: 2,
        coinbase_prefix: Default::default(),
        coinbase_tx_input_nsequence: 0,
        coinbase_tx_outputs: B0_64K::default(),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0_255::default(),
    };
    wire.send_payload::<SetCustomMiningJob>(&payload_of(&custom));
    let error = wire.next().read::<SetCustomMiningJobError>();
    assert_eq!((error.request_id, error.error_code.to_str()), (11, Some("jd-not-supported")));
}
