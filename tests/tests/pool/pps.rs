//! Work paid out of a reserve: deposits fill it, crediting waits for it, and payments name the coins they came from. A
//! miner that mines for itself is beside it.

use serde_json::{Value, json};

use crate::site::{PATIENCE, Site, eventually, standard};

/// What comes to the pool from elsewhere: 18 times [`DEPOSIT_SAT`](crate::site::DEPOSIT_SAT).
const DEPOSITED_SAT: &str = "81000000000";

/// Mines until all of `shares` are acknowledged.
async fn work(site: &Site, identity: &bitcoin::Address, shares: u64) {
    let miner = site.miner_with(standard(identity, 40.0).max_shares(shares)).await;
    miner.wait_for_judged(shares, PATIENCE).await.unwrap();
    miner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_paid_out_of_the_reserve_to_whom_the_miner_wishes() {
    let mut site = Site::regtest();
    site.pool.set("ADIT__PAYOUT__SCHEME", "pps");
    site.node.mine(1).unwrap();
    let [miner, other, solo] = [site.new_address(), site.new_address(), site.new_address()];
    site.pool.start().unwrap();
    // While the pool runs.
    let split = format!("{miner}=1,{other}=1");
    site.pool.ask(&["account", "set", &miner.to_string(), "--split", &split]).unwrap();
    let set = site.pool.ask(&["account", "set", &solo.to_string(), "--scheme", "solo", "--json"]).unwrap();
    let set: Value = serde_json::from_str(&set).unwrap();
    assert_eq!((&set["account"]["account"]["mines_for"], &set["account"]["already"]), (&json!("solo"), &json!(false)));
    let shown = site.pool.ask(&["account", "show", &miner.to_string()]).unwrap();
    assert!(shown.contains(&format!("Divides   1 / 2 of the rest to {other}")), "{shown}");
    work(&site, &miner, 4).await;
    work(&site, &solo, 4).await;
    let books = site.settle().await;

    // A pool that is dearer from now on: what was done before is a period of its own, for which there is no reserve.
    site.pool.stop().unwrap();
    site.pool.set("ADIT__PAYOUT__FEE_BP", 124).start().unwrap();
    eventually("the operator to be told", async || {
        site.pool.log().contains("the reserve does not suffice").then_some(())
    })
    .await;
    let status = site.pool.ask(&["reserve", "show"]).unwrap();
    assert!(status.contains("pps fee_bp=123"), "{status}");

    // Coins from elsewhere are booked, and given to the reserve.
    site.deposit(18).await;
    let fund = ["reserve", "fund", DEPOSITED_SAT, "--from", "deposits", "--reference", "first"];
    let given = site.pool.ask(&fund).unwrap();
    assert_eq!(site.pool.ask(&fund).unwrap(), given, "what was given is not given twice");
    let more = site.pool.ask(&["reserve", "fund", "1", "--from", "deposits", "--reference", "second"]);
    let said = more.unwrap_err().to_string();
    assert!(said.contains("of the deposits 0 sat can be given, not 1 sat"), "{said}");
    eventually("the work to be credited", async || {
        site.pool.ask(&["ledger", "show"]).unwrap().contains("credited").then_some(())
    })
    .await;

    // What the work came to is divided, and both are paid.
    let explained = site.pool.ask(&["ledger", "explain-period", "1", &miner.to_string()]).unwrap();
    assert!(explained.contains("Earned") && explained.contains("Given"), "{explained}");
    let earned = explained.lines().find_map(|line| line.strip_prefix("Earned")?.split_whitespace().next()).unwrap();
    let earned: i64 = earned.parse().unwrap();
    assert!(earned > 0, "{explained}");
    site.pay_out().await;
    let held = |address| site.unspent(address).values().sum::<i64>();
    let (kept, given) = (held(&miner), held(&other));
    assert_eq!(kept + given, earned, "{explained}");
    assert!(kept - given <= 1 && given <= kept);
    // The miner beside it got the blocks that it found, and nothing for work.
    let nothing = site.pool.ask(&["ledger", "explain-period", "1", &solo.to_string()]).unwrap();
    assert!(nothing.contains("Credit    0 sat"), "{nothing}");
    for block in books.blocks().await {
        let explained = site.pool.ask(&["ledger", "explain", &block.hash().to_string(), &solo.to_string()]).unwrap();
        assert!(explained.contains("Rule      solo") || explained.contains("Rule      pps"), "{explained}");
    }
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
    assert!(!site.pool.log().contains("incident"), "{}", site.pool.log());
}

/// How the reserve stands, and what it lacks for the first period.
fn reserve(site: &Site) -> (Value, i64) {
    let status: Value = serde_json::from_str(&site.pool.ask(&["reserve", "show", "--json"]).unwrap()).unwrap();
    let missing = status["periods"][0]["missing_sat"].as_i64().unwrap();
    (status, missing)
}

#[tokio::test(flavor = "multi_thread")]
async fn reserve_that_was_short_pays_when_a_block_matures() {
    let mut site = Site::regtest();
    site.pool.set("ADIT__PAYOUT__SCHEME", "pps");
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    site.deposit(18).await;
    let miner = site.new_address();
    work(&site, &miner, 4).await;
    site.settle().await;
    // Another fee ends the period.
    site.pool.stop().unwrap();
    site.pool.set("ADIT__PAYOUT__FEE_BP", 124).start().unwrap();

    // Enough for the work together with what the blocks will bring, and not before.
    let (status, missing) = reserve(&site);
    let immature = status["immature_sat"].as_i64().unwrap();
    assert!(0 < immature && immature < missing, "{status}");
    let given = (missing - immature).to_string();
    site.pool.ask(&["reserve", "fund", &given, "--from", "deposits", "--reference", "a loan"]).unwrap();
    eventually("the reserve to lack what is immature", async || (reserve(&site).1 == immature).then_some(())).await;
    assert!(!site.pool.ask(&["ledger", "show"]).unwrap().contains("credited"));

    site.node.mine(100).unwrap();
    eventually("the work to be credited", async || {
        site.pool.ask(&["ledger", "show"]).unwrap().contains("credited").then_some(())
    })
    .await;
    site.pay_out().await;
    let status: Value = serde_json::from_str(&site.pool.ask(&["reserve", "show", "--json"]).unwrap()).unwrap();
    assert_eq!(status["reserve_sat"], json!(0), "it was enough to the satoshi: {status}");
    assert_eq!(site.unspent(&miner).values().sum::<i64>(), missing, "there was nothing in it before");
    assert!(!site.pool.log().contains("incident"), "{}", site.pool.log());
}
