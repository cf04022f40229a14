//! The API as a program sees it that knows its description and nothing else: schemathesis makes requests of it, good and bad
//! ones, and holds what comes back to what is described.

use std::{fs, path::PathBuf, process::Command};

use bitcoin::Address;
use tests::{foreign::cache_root, miner::Miner};

use crate::{
    payouts::find_blocks,
    site::{Site, eventually, standard},
};

/// What is installed, with its version.
const PINS: &str = include_str!("../../schemathesis.txt");
/// What is not asked of answers: that all is done which the description allows. It knows no grammar of accounts and no
/// state of the pool, and makes up one key for several requests.
const UNASKED: &str = "positive_data_acceptance";
/// The same requests each time.
const SEED: &str = "7";
/// Requests for each operation and kind of trial, at most.
const EXAMPLES: &str = "12";
/// Operations whose answer does not end.
const ENDLESS: &str = "/events";

/// Returns where the program is.
fn schemathesis() -> PathBuf {
    let version = PINS.lines().find_map(|line| line.strip_prefix("schemathesis==")).unwrap();
    let version = version.trim_end_matches(" \\");
    let program = cache_root().unwrap().join(format!("schemathesis-{version}/bin/schemathesis"));
    assert!(program.is_file(), "there is no {}: make schemathesis installs it", program.display());
    program
}

/// A pool with blocks, a payout that was made, one that waits for approval, and a miner; and whom it pays.
async fn busy_site() -> (Site, Miner, Address) {
    let mut site = Site::regtest();
    site.pool.set("ADIT__API__REQUESTS_PER_SECOND", 100_000).set("ADIT__PAYOUT__APPROVAL", "always");
    let addresses = find_blocks(&mut site, 2, 3).await;
    site.node.mine(100).unwrap();
    eventually("a payout to wait", async || site.pool.ask(&["payout", "approve", "1", "--by", "ann"]).ok()).await;
    eventually("it to be sent", async || (!site.node.mempool().unwrap().is_empty()).then_some(())).await;
    site.node.mine(1).unwrap();
    let miner = site.miner_with(standard(&addresses[0], 2.0)).await;
    (site, miner, addresses[0].clone())
}

/// Lets the program try all operations; `known` is what it knows of the pool beside the description. The token that asks is
/// revoked by nobody.
fn try_all(site: &Site, known: &str) {
    let (url, folder, token) = (site.pool.api_url().unwrap(), site.pool.folder(), site.pool.first_token());
    fs::write(folder.join("schemathesis.toml"), format!("[parameters]\n\"path.token\" = 2\n{known}")).unwrap();
    let output = Command::new(schemathesis())
        .current_dir(folder)
        .args(["run", &format!("{url}/api/openapi.json"), "--url", &url])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--exclude-checks", UNASKED, "--exclude-path-regex", ENDLESS])
        .args(["--seed", SEED, "--max-examples", EXAMPLES, "--generation-database", "none", "--continue-on-failure"])
        .args(["--workers", "2", "--request-timeout", "30", "--warnings", "off", "--no-color"])
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout).replace(token, "TOKEN"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_description_has_it() {
    let (site, _miner, address) = busy_site().await;
    try_all(&site, "");
    // And of what there is.
    let block = site.blocks_of_the_pool()[0].block_hash();
    try_all(&site, &format!("\"path.account\" = \"{address}\"\n\"path.hash\" = \"{block}\"\n\"path.batch\" = 1\n"));
    // The pool has lived through it, and its books with it.
    assert!(!site.pool.log().contains("panicked"));
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
}
