//! A changed config file under a running pool: SIGHUP and `adit reload`.

use std::{fs, path::PathBuf};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tests::miner::{Miner, MinerConfig};

use crate::{
    api::Api,
    site::{PATIENCE, Site, eventually_or, idle, standard},
    tally::Tally,
};

fn file(site: &Site) -> PathBuf {
    site.pool.config_file()
}

/// Puts `to` into the place of `from`, which must be there, in the config file.
fn edit(site: &Site, from: &str, to: &str) {
    let text = fs::read_to_string(file(site)).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(file(site), text.replace(from, to)).unwrap();
}

pub(crate) fn hang_up(site: &Site) {
    kill(Pid::from_raw(site.pool.pid().unwrap() as i32), Signal::SIGHUP).unwrap();
}

async fn log_contains(site: &Site, words: &str) {
    eventually_or(words, async || {
        let log = site.pool.log();
        if log.contains(words) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// The binary logarithm of the difficulty that a new channel without a declared hash rate begins with.
async fn first_difficulty(site: &Site) -> i64 {
    let miner = Miner::connect(MinerConfig::new(site.pool.address().unwrap())).await.unwrap();
    let opened = miner.open(idle(standard(&site.new_address(), 0.0))).await.unwrap();
    let log2 = Tally::log2_of(opened.target);
    miner.close().await;
    log2
}

#[tokio::test(flavor = "multi_thread")]
async fn hangup_takes_up_what_can_change_live_and_leaves_miners_alone() {
    let mut site = Site::signet();
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 20_000.0)).await;
    miner.wait_for_accepted(2, PATIENCE).await.unwrap();
    assert!(!site.pool.log().contains("DEBUG"));
    let before = first_difficulty(&site).await;

    edit(&site, "log = \"info\"", "log = \"debug\"");
    edit(&site, "initial_difficulty = \"2^-12\"", "initial_difficulty = \"2^-14\"");
    edit(&site, "fee_bp = 100", "fee_bp = 100\n# a comment changes nothing");
    edit(&site, "pool_tag = \"Adit\"", "pool_tag = \"Other\"");
    hang_up(&site);
    log_contains(&site, "configuration reloaded").await;
    let log = site.pool.log();
    for words in ["key=\"log\"", "key=\"stratum.initial_difficulty\"", "and needs a restart key=\"stratum.pool_tag\""] {
        assert!(log.contains(words), "{words} is not in\n{log}");
    }
    assert!(!log.contains("payout.fee_bp"));
    let after = first_difficulty(&site).await;
    assert_eq!(before - after, 2, "{before} {after}");
    log_contains(&site, "DEBUG").await;
    let accepted = miner.read(|record| record.accepted_count());
    miner.wait_for_accepted(accepted + 2, PATIENCE).await.unwrap();

    edit(&site, "log = \"debug\"", "lgo = \"info\"");
    hang_up(&site);
    log_contains(&site, "the configuration was not reloaded: lgo in ").await;
    log_contains(&site, "the nearest one is log; nothing was changed, the old settings stay in force").await;
    miner.wait_for_accepted(accepted + 4, PATIENCE).await.unwrap();
    site.pool.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn command_reloads_and_says_what_changed() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    let reload = |site: &Site, arguments: &[&str]| {
        let mut command = site.pool.command();
        let output = command.args(["reload", "--config"]).arg(file(site)).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (status, _, said) = reload(&site, &[]);
    assert!(status == Some(5) && said.contains("no pool runs in "), "{said}");
    site.pool.start().unwrap();
    assert_eq!(reload(&site, &[]).1, "No setting differs from what is in force.\n");

    edit(&site, "schedule = \"continuous\"", "schedule = \"manual\"");
    edit(&site, "data_dir = \"data\"", "data_dir = \"./data\"");
    let (status, dry, _) = reload(&site, &["--dry-run"]);
    assert_eq!(status, Some(0));
    assert!(dry.contains("payout.schedule") && dry.ends_with("Would change: 1. Need a restart: 1.\n"), "{dry}");
    // It has changed nothing.
    assert!(reload(&site, &["--dry-run"]).1.contains("Would change: 1."));
    let (_, done, _) = reload(&site, &[]);
    assert!(done.ends_with("Changed: 1. Need a restart: 1.\n"), "{done}");
    let json: Value = serde_json::from_str(&reload(&site, &["--json"]).1).unwrap();
    let report = &json["reloaded"];
    assert_eq!(report["applied"].as_array().unwrap().len(), 0);
    assert_eq!(report["needs_restart"][0]["key"], "data_dir");

    let text = fs::read_to_string(file(&site)).unwrap();
    fs::write(file(&site), text.replace("network_fee = \"pool\"", "network_fee = \"nobody\"")).unwrap();
    let (status, _, said) = reload(&site, &[]);
    assert!(status == Some(3) && said.contains("nobody is not one of pool, miners"), "{said}");
    assert!(said.contains("stay in force"), "{said}");
    site.pool.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn api_shows_the_settings_in_force_and_reloads_them() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.set("ADIT__LIMITS__BAN_SECONDS", "77");
    site.pool.start().unwrap();
    let api = Api::of(&site);
    let setting = |shown: &Value, key: &str| {
        let settings = shown["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["key"] == key).unwrap().clone()
    };
    let before = api.read("/api/v1/settings").await;
    let schedule = setting(&before, "payout.schedule");
    assert_eq!((&schedule["value"], &schedule["source"]), (&json!("continuous"), &json!("file")), "{schedule}");
    assert!(schedule["line"].as_u64().unwrap() > 1 && schedule["effect"] == "reload", "{schedule}");
    let ban = setting(&before, "limits.ban_seconds");
    assert_eq!((&ban["value"], &ban["variable"]), (&json!(77), &json!("ADIT__LIMITS__BAN_SECONDS")), "{ban}");
    assert_eq!(before["changes"], json!({"dry_run": true, "applied": [], "needs_restart": []}));

    edit(&site, "schedule = \"continuous\"", "schedule = \"manual\"");
    edit(&site, "data_dir = \"data\"", "data_dir = \"./data\"");
    let pending = api.read("/api/v1/settings").await;
    assert_eq!(setting(&pending, "payout.schedule")["value"], "continuous", "it is not in force yet");
    assert_eq!(pending["changes"]["applied"][0]["key"], "payout.schedule");
    let (_, dry) = api.post("/api/v1/settings/reload?dry_run=true", None, &Value::Null).await;
    assert_eq!(dry, pending["changes"]);
    let (status, done) = api.post("/api/v1/settings/reload", None, &Value::Null).await;
    assert_eq!((status.as_u16(), &done["applied"]), (200, &dry["applied"]), "{done}");
    assert_eq!(done["needs_restart"][0]["key"], "data_dir");
    let after = api.read("/api/v1/settings").await;
    assert_eq!(setting(&after, "payout.schedule")["value"], "manual");
    assert_eq!(after["changes"]["needs_restart"], done["needs_restart"], "it still waits");

    edit(&site, "schedule = \"manual\"", "schedule = \"never\"");
    let wrong = api.read("/api/v1/settings").await;
    assert!(wrong["problem"].as_str().unwrap().contains("payout.schedule"), "{wrong}");
    assert_eq!(api.post("/api/v1/settings/reload", None, &Value::Null).await.0, 422);
    let audit = api.read("/api/v1/audit?action=reload").await;
    let outcomes: Vec<_> = audit["items"].as_array().unwrap().iter().map(|row| row["outcome"].clone()).collect();
    assert!(outcomes[0].as_str().unwrap().starts_with("refused: ") && outcomes[1..] == [json!("done")], "{audit}");
    site.pool.stop().unwrap();
}
