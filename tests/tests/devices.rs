//! Each device of the field against a pool that does the one thing wrong which that device cannot bear: it fails as the
//! device does, and not otherwise. That the real pool serves them all is for `pool/devices.rs`.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use protocol::codec::U256;
use tests::miner::{ChannelConfig, ChannelKind, DeviceFailure, End, Miner, MinerConfig, MinerError, Profile, Record};
use tests::wrong_pool::{Fault, WrongPool, WrongPoolConfig};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(60);
/// What stands for a device's patience with silence in these tests.
const SHORT: Duration = Duration::from_secs(3);
/// Enough for some shares a second at the wrong pool's target.
const HASH_RATE: f64 = 50_000.0;

/// A device that can find shares on a CPU.
fn on_cpu(profile: Profile) -> Profile {
    profile.with_difficulty_unit(U256::MAX)
}

fn channel(profile: &Profile) -> ChannelConfig {
    ChannelConfig { hash_rate_limit: Some(HASH_RATE), ..profile.channel("address.worker") }
}

async fn pool(faults: &[Fault]) -> WrongPool {
    WrongPool::start(WrongPoolConfig::new(faults)).await.unwrap()
}

async fn connect(profile: &Profile, pool: &WrongPool) -> Miner {
    let miner = Miner::connect(MinerConfig::device(profile, pool.address().clone())).await.unwrap();
    miner.open(channel(profile)).await.unwrap();
    miner
}

/// Runs a device against a pool with this fault, through a new tip, until it fails.
async fn fail(profile: &Profile, fault: Fault) -> DeviceFailure {
    let pool = pool(&[fault]).await;
    let miner = match Miner::connect(MinerConfig::device(profile, pool.address().clone())).await {
        Ok(miner) => miner,
        Err(MinerError::Device(failure)) => return failure,
        Err(other) => panic!("{profile} at {fault:?}: {other}"),
    };
    // Whether or not the channel is opened: the end says how it went.
    let _ = miner.open(channel(profile)).await;
    // A device that gets jobs is at work before the tip comes, which is what some faults wait for.
    let works = |record: &Record| (!record.submitted.is_empty()).then_some(());
    let _ = miner.wait_for(SHORT, "work", works).await;
    pool.new_tip();
    match miner.wait_for_end(PATIENCE).await {
        Ok(End::Device(failure)) => failure,
        other => panic!("{profile} at {fault:?} ended with {other:?}"),
    }
}

/// Runs a device against a pool with each of these faults, all at once.
async fn assert_fails(profile: &Profile, cases: &[(Fault, DeviceFailure)]) {
    let mut runs = JoinSet::new();
    for (fault, expected) in cases.iter().cloned() {
        let profile = profile.clone();
        runs.spawn(async move { assert_eq!(fail(&profile, fault).await, expected, "{profile} at {fault:?}") });
    }
    while let Some(run) = runs.join_next().await {
        run.unwrap();
    }
}

/// Runs a device against a pool with this fault, which it has to bear: it goes on with shares after a new tip, whatever
/// they are answered.
async fn bear(profile: &Profile, fault: Fault) -> Record {
    let pool = pool(&[fault]).await;
    let miner = connect(profile, &pool).await;
    miner.wait_for_accepted(3, PATIENCE).await.unwrap();
    pool.new_tip();
    let before = miner.read(|record| record.submitted.len());
    let more = |record: &Record| (record.accepted_count() + record.rejections.len() >= before + 10).then_some(());
    miner.wait_for(PATIENCE, "answers to more shares", more).await.unwrap();
    miner.close().await
}

fn answer_within(mut profile: Profile, limit: Duration) -> Profile {
    profile.rules.answer_timeout = Some(limit);
    profile
}

fn codes(record: &Record) -> Vec<&str> {
    record.rejections.iter().map(|rejection| rejection.error_code.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_without_faults_serves_each_device() {
    // One of them has jobs of its own, and gets none.
    for profile in Profile::all().into_iter().filter(|profile| profile.name != "jd-client").map(on_cpu) {
        let pool = pool(&[]).await;
        let miner = connect(&profile, &pool).await;
        miner.wait_for_accepted(5, PATIENCE).await.unwrap();
        pool.new_tip();
        miner.wait_for_accepted(15, PATIENCE).await.unwrap();
        let record = miner.close().await;
        assert_eq!((record.faults.as_slice(), record.pipeline_flushes), (&[][..], 0), "{profile}");
        assert!(codes(&record).iter().all(|code| *code == "stale-share"), "{profile}: {:?}", record.rejections);
        let first = record.submitted[0].sequence_number;
        assert_eq!(first, profile.rules.first_sequence_number, "{profile}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn braiins_os_leaves_at_what_it_does_not_know_and_after_five_seconds_without_an_answer() {
    let braiins = on_cpu(Profile::braiins_os());
    let limit = Duration::from_secs(5);
    let left = |message| DeviceFailure::LeftAt { message };
    assert_fails(
        &braiins,
        &[
            (Fault::NoAnswerToSetup, DeviceFailure::NoAnswer { limit }),
            (Fault::NoAnswerToOpen, DeviceFailure::NoAnswer { limit }),
            (Fault::JobBeforeAnswer, DeviceFailure::UnexpectedFrame { message: "NewMiningJob" }),
            (Fault::RefusesStandardChannels, DeviceFailure::UnexpectedFrame { message: "OpenMiningChannel.Error" }),
            (Fault::ChannelBitMissing, DeviceFailure::MissingChannelBit { message: "NewMiningJob" }),
            (Fault::ExtendedJobForStandardChannel, left("NewExtendedMiningJob")),
            (Fault::PrevHashForActiveJob, DeviceFailure::JobNotFuture { job_id: 2 }),
            (Fault::PrevHashForUnknownJob, DeviceFailure::UnknownJob { job_id: u32::MAX }),
            (Fault::SendsReconnect, left("Reconnect")),
            (Fault::MovesChannels, left("SetGroupChannel")),
        ],
    )
    .await;
    let hasty = braiins.with_silence_shortened(20);
    assert_fails(&hasty, &[(Fault::NoJob, DeviceFailure::Silence { limit: SHORT })]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn braiins_os_loses_its_pipeline_to_work_that_is_repeated() {
    let pool = pool(&[Fault::RepeatsWork]).await;
    let miner = connect(&on_cpu(Profile::braiins_os()), &pool).await;
    let flushed = |record: &Record| (record.pipeline_flushes >= 2).then_some(());
    miner.wait_for(PATIENCE, "flushes of the pipeline", flushed).await.unwrap();
    assert_eq!(bear(&on_cpu(Profile::axeos_2_15()), Fault::RepeatsWork).await.pipeline_flushes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_devices_leave_at_frames_that_do_not_fit_their_buffers() {
    let too_large = |failure: DeviceFailure| match failure {
        DeviceFailure::FrameTooLarge { payload_len, limit } => {
            assert!(payload_len > limit);
            limit
        }
        other => panic!("{other}"),
    };
    assert_eq!(too_large(fail(&on_cpu(Profile::axeos_2_14()), Fault::LargeFrames).await), 2_048);
    assert_eq!(too_large(fail(&on_cpu(Profile::nerdqaxe()), Fault::LargeFrames).await), 2_048);
    assert_eq!(too_large(fail(&Profile::axeos_2_15(), Fault::HugeFrames).await), 8_192);
    bear(&Profile::axeos_2_15(), Fault::LargeFrames).await;
    // Standard jobs are as long as ever.
    bear(&on_cpu(Profile::axeos_2_14_standard()), Fault::HugeFrames).await;
    bear(&Profile::axeos_2_15_standard(), Fault::HugeFrames).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_devices_take_only_the_success_as_the_next_frame_and_leave_after_silence() {
    let limit = Duration::from_secs(2);
    let unexpected = |message| DeviceFailure::UnexpectedFrame { message };
    for profile in [
        Profile::axeos_2_14(),
        Profile::axeos_2_14_standard(),
        Profile::axeos_2_15(),
        Profile::axeos_2_15_standard(),
        Profile::nerdqaxe(),
    ] {
        let refusal = match profile.channel {
            ChannelKind::Standard => Fault::RefusesStandardChannels,
            ChannelKind::Extended { .. } => Fault::RefusesExtendedChannels,
        };
        let hasty = answer_within(on_cpu(profile).with_silence_shortened(60), limit);
        assert_fails(
            &hasty,
            &[
                (Fault::NoAnswerToSetup, DeviceFailure::NoAnswer { limit }),
                (Fault::NoAnswerToOpen, DeviceFailure::NoAnswer { limit }),
                (Fault::JobBeforeAnswer, unexpected("NewMiningJob")),
                (refusal, unexpected("OpenMiningChannel.Error")),
                (Fault::NoJob, DeviceFailure::Silence { limit: SHORT }),
            ],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_devices_ignore_what_they_do_not_know_and_their_shares_are_lost() {
    for profile in [Profile::axeos_2_14(), Profile::axeos_2_15(), Profile::axeos_2_15_standard()] {
        let profile = on_cpu(profile);
        for fault in [Fault::SendsReconnect, Fault::MovesChannels] {
            bear(&profile, fault).await;
        }
        let record = bear(&profile, Fault::ClosesChannels).await;
        assert!(codes(&record).contains(&"invalid-channel-id"), "{profile}: {:?}", record.rejections);
    }
    let record = bear(&on_cpu(Profile::axeos_2_15()), Fault::ChangesPrefixes).await;
    assert!(codes(&record).contains(&"difficulty-too-low"), "{:?}", record.rejections);
    // It understands a new prefix, and only old shares are stale.
    let record = bear(&on_cpu(Profile::nerdqaxe()), Fault::ChangesPrefixes).await;
    assert!(codes(&record).iter().all(|code| *code == "stale-share"), "{:?}", record.rejections);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_devices_hash_on_after_a_tip_for_an_unknown_job_and_their_shares_are_stale() {
    // No further job comes to save them.
    let faults = [Fault::PrevHashForUnknownJob, Fault::Silence];
    for profile in [Profile::axeos_2_15(), Profile::axeos_2_15_standard(), Profile::nerdqaxe()] {
        let pool = pool(&faults).await;
        let miner = connect(&on_cpu(profile), &pool).await;
        miner.wait_for_accepted(2, PATIENCE).await.unwrap();
        pool.new_tip();
        miner.wait_for_rejected(5, PATIENCE).await.unwrap();
        let record = miner.close().await;
        assert!(codes(&record).iter().all(|code| *code == "stale-share"), "{:?}", record.rejections);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_with_whole_difficulties_lose_shares_at_a_fractional_one() {
    // Half as easy again as the wrong pool's target, so that its difficulty is 1.5.
    let mut unit = U256::MAX;
    unit.0[30..].copy_from_slice(&[0x17, 0x00]);
    for (profile, loses) in [
        (Profile::axeos_2_14(), true),
        (Profile::axeos_2_14_standard(), true),
        (Profile::nerdqaxe(), true),
        (Profile::axeos_2_15(), false),
    ] {
        let pool = pool(&[]).await;
        let miner = connect(&profile.clone().with_difficulty_unit(unit), &pool).await;
        miner.wait_for_accepted(20, PATIENCE).await.unwrap();
        let record = miner.close().await;
        assert_eq!(codes(&record).contains(&"difficulty-too-low"), loses, "{profile}: {:?}", record.rejections);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nerdqaxe_leaves_a_pool_that_fixes_the_version_and_drops_jobs_that_do() {
    let nerdqaxe = on_cpu(Profile::nerdqaxe());
    assert_fails(&nerdqaxe, &[(Fault::FixesVersion, DeviceFailure::FixedVersion)]).await;
    let pool = pool(&[Fault::ForbidsVersionRolling]).await;
    let miner = connect(&nerdqaxe, &pool).await;
    let dropped = |record: &Record| (record.faults.len() >= 3).then_some(());
    miner.wait_for(PATIENCE, "jobs that are dropped", dropped).await.unwrap();
    assert_eq!(miner.close().await.submitted, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn translator_leaves_at_grants_and_jobs_of_no_use_and_crashes_at_a_reconnect() {
    let left = |message| DeviceFailure::LeftAt { message };
    assert_fails(
        &Profile::translator(),
        &[
            (Fault::RefusesExtendedChannels, left("OpenMiningChannel.Error")),
            (Fault::LessExtranonce, DeviceFailure::SmallExtranonce { asked: 4, granted: 3 }),
            (Fault::ZeroTarget, DeviceFailure::ZeroTarget),
            (Fault::ForbidsVersionRolling, DeviceFailure::FixedVersion),
            (Fault::PrevHashForActiveJob, DeviceFailure::JobNotFuture { job_id: 2 }),
            (Fault::PrevHashForUnknownJob, DeviceFailure::UnknownJob { job_id: u32::MAX }),
            (Fault::SendsReconnect, left("Reconnect")),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn job_declarator_client_leaves_without_its_channel_and_ignores_jobs() {
    let jd_client = Profile::job_declarator_client();
    let left = |message| DeviceFailure::LeftAt { message };
    assert_fails(
        &jd_client,
        &[
            (Fault::RefusesExtendedChannels, left("OpenMiningChannel.Error")),
            (Fault::LessExtranonce, DeviceFailure::SmallExtranonce { asked: 10, granted: 9 }),
            (Fault::ClosesChannels, left("CloseChannel")),
        ],
    )
    .await;
    let pool = pool(&[Fault::JobsDespiteWorkSelection, Fault::MovesChannels]).await;
    let miner = connect(&jd_client, &pool).await;
    pool.new_tip();
    // The answer to the open, two jobs with their tips, and the move to another group.
    let came = |record: &Record| (record.received.len() >= 6).then_some(());
    miner.wait_for(PATIENCE, "jobs", came).await.unwrap();
    let record = miner.close().await;
    assert_eq!((record.end, record.submitted), (Some(End::ByMiner), vec![]));
}
