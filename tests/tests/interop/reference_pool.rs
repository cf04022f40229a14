//! `adit probe` against the reference implementation's pool: what is known of it is found.

use std::{collections::BTreeMap, time::Duration};

use bitcoind_regtest::{Chain, Coins};
use serde_json::Value;
use tests::{adit::executable, foreign::ReferencePool};
use tokio::{process::Command, time::sleep};

use crate::site::PATIENCE;

/// What is known of the reference pool 0.7.0:
///
/// - The number of a protocol that does not exist makes its decoder fail, so that the connection is closed without an
///   error.
/// - Shares are acknowledged by ten (`share_batch_size`), with no timer.
/// - Jobs come with templates, and templates with tips and fees only: an empty node gives miners nothing new for as long
///   as it likes.
const KNOWN: [&str; 3] = ["acknowledged-in-time", "error-before-close", "job-refresh"];

/// The checks with an outcome, with all that is said of them.
fn with<'a>(report: &'a Value, outcome: &str) -> BTreeMap<&'a str, String> {
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["outcome"] == outcome);
    checks.map(|check| (check["id"].as_str().unwrap(), check.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_the_reference_pool_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let node = ReferencePool::node_options(Chain::Signet, folder.path()).start().unwrap();
    let payee = Coins::new(node.chain()).address();
    let mut pool = ReferencePool::start(Chain::Signet, folder.path(), &payee).unwrap();
    pool.wait_until_listening(PATIENCE).await.unwrap();

    let mut command = Command::new(executable().unwrap());
    command.arg("probe").arg(pool.address().to_string()).arg("--json");
    command.args(["--user", "probe", "--hash-rate", "20000", "--timeout", "5", "--patience", "120"]).kill_on_drop(true);
    let probing = command.output();
    // The one tip comes late, when a minute has passed without a job since the probe began to wait for one, which it does
    // once it has checked all else.
    let tip = async {
        sleep(Duration::from_secs(110)).await;
        node.mine(1).unwrap();
        std::future::pending::<()>().await;
    };
    let output = tokio::select! {
        output = probing => output.unwrap(),
        () = tip => unreachable!("it never ends"),
    };
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let broken = with(&report, "broken");
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), KNOWN, "{broken:#?}");
    assert!(broken["acknowledged-in-time"].contains("share 10"), "{}", broken["acknowledged-in-time"]);
    assert!(broken["error-before-close"].contains("protocol 127"), "{}", broken["error-before-close"]);
    assert_eq!(output.status.code(), Some(1));
    // It takes all flags, so that none is refused; and the other checks take two jobs on one tip.
    let not_checked: Vec<&str> = with(&report, "not-checked").into_keys().collect();
    assert_eq!(not_checked, ["closed-channel", "error-flags", "job-differs", "target-of-job"]);
}
