//! `adit check` on real nodes: what it finds of a node that is down, behind or another's, and of a pool that runs.

use bitcoind_regtest::{Chain, NodeOptions};
use serde_json::Value;

use crate::site::{Database, Site};

/// Runs the check, which must end with `status`, and returns its report.
fn check(site: &Site, status: i32) -> Value {
    let mut command = site.pool.command();
    let output = command.args(["check", "--json", "--config"]).arg(site.pool.config_file()).output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(status), "{report}");
    serde_json::from_str(&report).unwrap()
}

/// Severity, message and cure of what was found of one thing.
fn found<'a>(report: &'a Value, check: &str) -> (&'a str, &'a str, Option<&'a str>) {
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("no {check} in {report:#}"));
    (finding["severity"].as_str().unwrap(), finding["message"].as_str().unwrap(), finding["cure"].as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_no_error_before_the_first_start_nor_beside_a_running_pool() {
    let mut site = Site::regtest();
    site.node.mine(3).unwrap();
    let report = check(&site, 0);
    assert_eq!(report["errors"], 0);
    assert_eq!(found(&report, "port").0, "ok");
    assert!(found(&report, "database").1.contains("is made at the first start"));
    assert!(found(&report, "node-synced").1.contains(&site.node.tip().unwrap().to_string()));
    assert_eq!(found(&report, "node-template").0, "ok");
    assert_eq!(found(&report, "clock").0, "ok");
    let paid = site.pool.coinbase_script().unwrap();
    let address = bitcoin::Address::from_script(&paid, bitcoin::Network::Regtest).unwrap();
    assert_eq!(found(&report, "wallet").1, format!("coinbases pay {address}"));

    site.pool.start().unwrap();
    let report = check(&site, 0);
    assert!(found(&report, "port").1.contains("is held while the pool of this folder runs"), "{report:#}");
    assert_eq!(found(&report, "database-schema").0, "ok");
    site.pool.stop().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    site.pool.set("ADIT__STRATUM__LISTEN", taken.local_addr().unwrap());
    let report = check(&site, 1);
    assert!(found(&report, "port").1.ends_with("is in use by another program"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_that_the_node_is_down() {
    let mut site = Site::regtest();
    site.node.stop().unwrap();
    let report = check(&site, 1);
    let (severity, message, cure) = found(&report, "node-reachable");
    assert_eq!(severity, "error");
    assert!(message.starts_with("bitcoind: ") && cure.unwrap().contains("start bitcoind"), "{report:#}");
    assert_eq!(report["errors"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_that_the_node_follows_another_network() {
    let mut site = Site::regtest();
    site.pool.set("ADIT__NETWORK", "signet");
    let report = check(&site, 1);
    let (severity, message, _) = found(&report, "node-network");
    assert_eq!(severity, "error");
    assert!(message.contains("follows regtest") && message.contains("configured for signet"), "{report:#}");
    // The key was made for the other network as well.
    assert_eq!(found(&report, "wallet").0, "error");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_that_the_node_lacks_blocks() {
    let options = NodeOptions::new().chain(Chain::Signet).argument("-maxtipage=60");
    let site = Site::over(options.start().unwrap(), Database::Sqlite);
    let report = check(&site, 1);
    let (severity, message, cure) = found(&report, "node-synced");
    assert_eq!(severity, "error");
    assert!(message.contains("is downloading blocks") && cure.unwrap().contains("wait"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_that_the_node_does_not_know_the_user() {
    let mut site = Site::regtest();
    site.pool.set("ADIT__BITCOIND__COOKIE_FILE", "").set("ADIT__BITCOIND__USER", "nobody");
    site.pool.set("ADIT__BITCOIND__PASSWORD", "a5Jp0ZkYc3QH");
    let report = check(&site, 1);
    assert_eq!(found(&report, "node-credentials").0, "error");
    assert!(!report.to_string().contains("a5Jp0ZkYc3QH"));
}
