//! `adit probe`: it finds each planted fault and nothing else, and nothing in this pool.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tests::{
    adit::executable,
    miner::PoolAddress,
    wrong_pool::{Fault, WrongPool, WrongPoolConfig},
};
use tokio::{process::Command, sync::Semaphore, task::JoinSet, time::sleep};

use crate::site::Site;

/// Probes that run at a time: they wait more than they work.
const AT_A_TIME: usize = 8;
/// Arguments for a pool that answers at once and refreshes jobs every second.
const HASTE: &[&str] = &["--timeout", "4", "--patience", "5"];

/// Which check finds which fault.
const PLANTED: &[(Fault, &str)] = &[
    (Fault::ForeignCertificate, "certificate"),
    (Fault::ExpiredCertificate, "certificate"),
    (Fault::NoAnswerToSetup, "setup-answered"),
    (Fault::VersionNotOffered, "used-version"),
    (Fault::EchoesFlags, "success-flags"),
    (Fault::AcceptsAnyProtocol, "unknown-protocol"),
    (Fault::AcceptsAnyVersion, "unknown-version"),
    (Fault::ClosesWithoutError, "error-before-close"),
    (Fault::ErrorWithoutFlags, "error-flags"),
    (Fault::DisconnectsOnUnknownExtension, "unknown-extension"),
    (Fault::WrongExtensionRequestId, "extensions-answer"),
    (Fault::GrantsUnaskedExtension, "extensions-answer"),
    (Fault::ClosesIdleEarly, "idle-before-open"),
    (Fault::NoAnswerToOpen, "open-answered"),
    (Fault::JobBeforeAnswer, "answer-first"),
    (Fault::WrongRequestId, "request-id"),
    (Fault::RefusesStandardChannels, "standard-channels"),
    (Fault::RefusesExtendedChannels, "extended-channels"),
    (Fault::SameChannelId, "unique-channel-id"),
    (Fault::GroupIdOfChannel, "group-id"),
    (Fault::UnequalExtranonces, "group-extranonce"),
    (Fault::LessExtranonce, "extranonce-size"),
    (Fault::SamePrefix, "unique-prefix"),
    (Fault::TargetAboveMax, "max-target"),
    (Fault::BigEndianTarget, "target-byte-order"),
    (Fault::ZeroTarget, "target-byte-order"),
    (Fault::FractionalDifficulty, "whole-difficulty"),
    (Fault::NoJob, "first-job"),
    (Fault::FirstJobActive, "first-job-future"),
    (Fault::PrevHashForActiveJob, "prev-hash-job"),
    (Fault::ChannelBitMissing, "channel-bit"),
    (Fault::ReusesJobId, "unique-job-id"),
    (Fault::RepeatsWork, "job-differs"),
    (Fault::WitnessLeft, "witness-stripped"),
    (Fault::WrongScriptLength, "coinbase-script"),
    (Fault::ForbidsVersionRolling, "version-rolling"),
    (Fault::LargeFrames, "frame-size"),
    (Fault::GroupMessagesToStandardClient, "standard-jobs-only"),
    (Fault::ExtendedJobForStandardChannel, "job-kind"),
    (Fault::IgnoresClose, "closed-channel"),
    (Fault::NoAnswerToUpdate, "update-reflected"),
    (Fault::AnswersOnlyTighterUpdates, "update-answered"),
    (Fault::IgnoresMaximumTarget, "update-max-target"),
    (Fault::IgnoresInvalidUpdate, "update-refused"),
    (Fault::DemandsChannelBit, "channel-bit-optional"),
    (Fault::NeverAcknowledges, "share-answered"),
    (Fault::AcknowledgesLate, "acknowledged-in-time"),
    (Fault::AcknowledgesInTens, "acknowledged-in-time"),
    (Fault::WrongCount, "acknowledged-count"),
    (Fault::RefusesShares, "right-share"),
    (Fault::AcceptsDuplicates, "duplicate-share"),
    (Fault::AcceptsAboveTarget, "low-share"),
    (Fault::AcceptsUnknownJob, "unknown-job"),
    (Fault::AcceptsUnknownChannel, "unknown-channel"),
    (Fault::AcceptsAnyExtranonceSize, "extranonce-length"),
    (Fault::AcceptsFixedVersionBits, "fixed-version-bits"),
    (Fault::RefusesBip323, "bip-323"),
    (Fault::AcceptsEarlyTime, "early-time"),
    (Fault::JudgesByNewTarget, "target-of-job"),
    (Fault::ControlCharacters, "code-characters"),
    (Fault::OwnCodes, "familiar-codes"),
];

/// What a probe found, as JSON, and its exit status.
struct Found {
    report: Value,
    status: i32,
}

impl Found {
    /// The checks with an outcome, with all that is said of them.
    fn with(&self, outcome: &str) -> BTreeMap<&str, String> {
        let checks = self.report["checks"].as_array().unwrap().iter();
        let with = checks.filter(|check| check["outcome"] == outcome);
        with.map(|check| (check["id"].as_str().unwrap(), check.to_string())).collect()
    }

    fn is_violation(&self, id: &str) -> bool {
        let mut checks = self.report["checks"].as_array().unwrap().iter();
        checks.find(|check| check["id"] == id).unwrap()["severity"] == "violation"
    }
}

async fn run(pool: &PoolAddress, arguments: &[&str]) -> Output {
    let mut command = Command::new(executable().unwrap());
    command.arg("probe").arg(pool.to_string()).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.unwrap()
}

async fn probe(pool: &PoolAddress, arguments: &[&str]) -> Found {
    let output = run(pool, &[&["--json"], arguments].concat()).await;
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    Found { report, status: output.status.code().unwrap() }
}

/// Probes a pool with a fault; says so if not exactly the one check finds it.
async fn find(fault: Fault, check: &str, arguments: &[&str]) -> Result<(), String> {
    let pool = WrongPool::start(WrongPoolConfig::new(&[fault])).await.unwrap();
    let found = probe(pool.address(), arguments).await;
    let broken = found.with("broken");
    let expected_status = i32::from(found.is_violation(check));
    if broken.keys().eq([&check]) && found.status == expected_status {
        return Ok(());
    }
    let not_checked = found.with("not-checked").get(check).cloned().unwrap_or_default();
    Err(format!("{fault:?} should be found by {check}, status {}: {broken:#?} {not_checked}", found.status))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_planted_fault_is_found_by_its_check_and_by_no_other() {
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    let mut probes = JoinSet::new();
    for &(fault, check) in PLANTED {
        let turns = Arc::clone(&turns);
        probes.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            find(fault, check, HASTE).await
        });
    }
    let failures: Vec<String> = probes.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_found_after_a_minute() {
    find(Fault::Silence, "job-refresh", &["--timeout", "4", "--patience", "61"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn share_for_an_old_tip_that_is_accepted_is_found() {
    let tip_interval = Some(Duration::from_secs(2));
    let config = WrongPoolConfig { tip_interval, ..WrongPoolConfig::new(&[Fault::AcceptsStale]) };
    let pool = WrongPool::start(config).await.unwrap();
    let found = probe(pool.address(), &["--timeout", "4", "--patience", "10"]).await;
    assert!(found.with("broken").keys().eq([&"stale-share"]), "{:#?}", found.with("broken"));
    assert_eq!(found.status, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_in_a_pool_without_faults_and_every_check_has_its_fault() {
    let tip_interval = Some(Duration::from_secs(9));
    let config = WrongPoolConfig { tip_interval, ..WrongPoolConfig::new(&[]) };
    let pool = WrongPool::start(config).await.unwrap();
    let found = probe(pool.address(), &["--timeout", "4", "--patience", "20"]).await;
    assert_eq!(found.with("broken"), BTreeMap::new());
    assert_eq!(found.with("not-checked"), BTreeMap::new());
    assert_eq!(found.status, 0);

    let planted = PLANTED.iter().map(|(_, check)| *check).chain(["job-refresh", "stale-share"]);
    let all: BTreeSet<&str> = found.with("held").into_keys().collect();
    assert_eq!(all, planted.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_in_adit() {
    let mut site = Site::signet();
    site.pool.set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", 5);
    let address = site.pool.start().unwrap();
    let user = site.new_address().to_string();
    let arguments = ["--user", &user, "--patience", "25", "--hash-rate", "20000"];
    let probing = probe(&address, &arguments);
    // Seldom enough that none comes between a share and its answer.
    let tips = async {
        loop {
            sleep(Duration::from_secs(10)).await;
            site.node.mine(1).unwrap();
        }
    };
    let found = tokio::select! {
        found = probing => found,
        () = tips => unreachable!("tips do not end"),
    };
    assert_eq!(found.with("broken"), BTreeMap::new());
    assert_eq!(found.with("not-checked"), BTreeMap::new());
    assert_eq!(found.status, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn user_whom_the_pool_does_not_know_leaves_the_rest_unchecked() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    let address = site.pool.start().unwrap();
    let found = probe(&address, HASTE).await;
    assert_eq!((found.with("broken"), found.status), (BTreeMap::new(), 0));
    assert!(found.with("held").contains_key("open-answered"));
    let not_checked = found.with("not-checked");
    assert!(not_checked["low-share"].contains("refuses the user adit-probe"), "{}", not_checked["low-share"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn report_is_readable_and_names_the_section() {
    let pool = WrongPool::start(WrongPoolConfig::new(&[Fault::EchoesFlags])).await.unwrap();
    let output = run(pool.address(), HASTE).await;
    let (report, complaint) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(report.contains("  VIOLATION    success-flags         SV2 5.3.1\n"), "{report}");
    assert!(report.contains("\nviolations: 1, advice: 0, "), "{report}");
    assert!(complaint.ends_with("breaks rules of the protocol: 1\n") && complaint.lines().count() == 1, "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_that_is_not_there_is_said_by_the_exit_status() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody: PoolAddress = closed.to_string().parse().unwrap();
    let output = run(&nobody, &[]).await;
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(4), &b""[..]));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("adit: cannot connect to stratum2+tcp://127.0.0.1:"));

    let wrong = Command::new(executable().unwrap()).args(["probe", "pool.example"]).output().await.unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}
