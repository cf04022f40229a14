//! Sales of the pool's own coin to a desk, as an operator makes them beside a running pool: from the request to the report.

use std::{fs, path::Path, time::Duration};

use bitcoin::Address;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use crate::{
    payouts::find_blocks,
    reports::{PRICE, PROFILE, file, prices_around, table},
    site::{Site, eventually_or},
};

const SOLD_SAT: i64 = 120_000_000;
const DESK: &str = "kind = \"legal\"\nlegal_name = \"Example Desk LLC\"\nresidency = \"AE\"\nis_casp = true\n";

/// Runs a command of `adit sale` as alice.
fn sale(site: &Site, arguments: &[&str]) -> anyhow::Result<String> {
    site.pool.ask(&[&["sale"], arguments, &["--by", "alice"]].concat())
}

fn refused(site: &Site, arguments: &[&str]) -> String {
    sale(site, arguments).unwrap_err().to_string()
}

fn in_an_hour() -> Timestamp {
    Timestamp::now().checked_add(1.hour()).unwrap()
}

fn states(site: &Site) -> Vec<String> {
    let listed: Value = serde_json::from_str(&site.pool.ask(&["sale", "list", "--json"]).unwrap()).unwrap();
    listed["sales"].as_array().unwrap().iter().map(|sale| sale["state"].as_str().unwrap().to_owned()).collect()
}

/// Makes a desk known to the pool.
fn desk(site: &Site, folder: &Path) -> Address {
    let address = site.new_address();
    let (text, party) = (address.to_string(), folder.join("desk.toml"));
    fs::write(&party, DESK).unwrap();
    site.pool.ask(&["account", "add", &text]).unwrap();
    let said = site.pool.ask(&["party", "set", party.to_str().unwrap(), "--by", "alice"]).unwrap();
    assert!(said.contains("Party 1 is known"), "{said}");
    site.pool.ask(&["party", "own", &text, "1", "--by", "alice"]).unwrap();
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn coin_is_sold_to_a_desk_from_the_request_to_the_report() {
    let mut site = Site::regtest();
    let folder = site.pool.config_file().parent().unwrap().to_owned();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let profile =
        PROFILE.replace("venue = \"\"", "venue = \"example\"").replace("residency = \"\"", "residency = \"KZ\"");
    fs::write(path("mine.toml"), profile).unwrap();
    site.pool.set("ADIT__EXPORT__PROFILE", path("mine.toml"));
    find_blocks(&mut site, 2, 5).await;
    site.node.mine(100).unwrap();
    site.settle().await;
    eventually_or("the payouts to be made", async || {
        if site.node.mempool().unwrap().is_empty() { Err("no payout is in the mempool") } else { Ok(()) }
    })
    .await;
    site.node.mine(1).unwrap();
    site.settle().await;

    let address = desk(&site, &folder);
    let text = address.to_string();
    assert!(sale(&site, &["request", "s1", &SOLD_SAT.to_string()]).unwrap().contains("is DRAFT"));
    let early = refused(&site, &["deliver", "s1"]);
    assert!(early.contains("sale s1 is DRAFT"), "{early}");
    let quoted = |name: &str, expires: Timestamp| {
        let quote = ["quote", name, "Q1", "--desk", &text, "--price", "70000", "--currency", "USD", "--fee", "42"];
        sale(&site, &[quote.as_slice(), &["--expires", &expires.to_string()]].concat()).unwrap()
    };
    assert!(quoted("s1", in_an_hour()).contains("70000 USD a bitcoin, less 42.00 USD"));
    assert!(sale(&site, &["accept", "s1", "--contract", "C1"]).unwrap().contains("is CONTRACTED"));
    let said = sale(&site, &["deliver", "s1"]).unwrap();
    assert!(said.contains("to be delivered by batch"), "{said}");
    eventually_or("the delivery", async || {
        site.node.mine(1).unwrap();
        let paid: Vec<i64> = site.unspent(&address).into_values().collect();
        if paid == [SOLD_SAT] { Ok(()) } else { Err(format!("{paid:?}")) }
    })
    .await;
    eventually_or("it to be on record", async || match states(&site) {
        states if states == ["DELIVERED"] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;

    let settle = ["settle", "s1", "--currency", "USD", "--bank-reference", "B1", "--received"];
    let too_much = refused(&site, &[settle.as_slice(), &["83958.01"]].concat());
    assert!(too_much.contains("83958.01 USD"), "{too_much}");
    assert!(sale(&site, &[settle.as_slice(), &["83950"]].concat()).unwrap().contains("is SETTLED"));

    // An offer that nobody accepted in time.
    sale(&site, &["request", "s2", "1000000"]).unwrap();
    quoted("s2", Timestamp::now().checked_add(1.second()).unwrap());
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let late = refused(&site, &["accept", "s2", "--contract", "C2"]);
    assert!(late.contains("expired"), "{late}");

    let (prices, reports) = (path("prices.csv"), path("reports"));
    let now = Timestamp::now();
    fs::write(&prices, prices_around(now, PRICE)).unwrap();
    site.pool.ask(&["export", "value", "--prices", &prices]).unwrap();
    let period = now.strftime("%Y-%m").to_string();
    site.pool.ask(&["export", "report", "--period", &period, "--out", &reports]).unwrap();
    let sold = table(&file(Path::new(&reports), "export_sales_", ".csv"));
    let [line] = sold.as_slice() else { panic!("{sold:?}") };
    for (name, cell) in [
        ("sale", "s1"),
        ("state", "SETTLED"),
        ("basis", "SALE_TO_NON_RESIDENT"),
        ("export_sat", "120000000"),
        ("gross", "84000.00"),
        ("net", "83958.00"),
        ("received", "83950.00"),
        ("buyer_name", "Example Desk LLC"),
        // 0.615 bitcoins at the price of the day on which they were earned, and 0.585 parts of 0.615 of as much.
        ("cost", "116894.83"),
        ("gain", "-32936.83"),
    ] {
        assert_eq!(line[name], cell, "{name}: {line:?}");
    }
    let on_chain: Vec<String> = site.unspent(&address).into_keys().collect();
    assert_eq!(on_chain, [line["delivery"].clone()]);
    let said = site.pool.ask(&["export", "verify", "--dir", &reports]).unwrap();
    assert!(said.contains("were made again and are the same"), "{said}");
    site.settle().await;
    assert!(site.pool.ask(&["ledger", "verify"]).unwrap().contains("All records are as they were written"));
}
