//! Screening of those who are paid, as an operator meets it: lists in files, `adit screening` and `adit party`.

use std::{fs, path::PathBuf};

use bitcoin::{Address, Network};
use serde_json::{Value, json};

use crate::{
    payouts::find_blocks,
    site::{Site, eventually, eventually_or},
};

const HEADER: &str = "address,name,label,programme,reference\n";
/// An address that nobody here has.
const NOBODY: &str = "1BitcoinEaterAddressDontSendf59kuE,,XBT,TEST,\n";

/// Where `adit init` has put the list of a pool on regtest.
fn list_file(site: &Site) -> PathBuf {
    site.pool.config_file().parent().unwrap().join("lists/supplement.csv")
}

/// Writes the list as it is from now on.
fn publish(site: &Site, rows: &str) {
    // In one step, as whoever fetches lists should.
    let (file, new) = (list_file(site), list_file(site).with_extension("new"));
    fs::write(&new, format!("{HEADER}{rows}")).unwrap();
    fs::rename(&new, &file).unwrap();
    // The pool looks for it at each new tip, and from time to time.
    site.node.mine(1).unwrap();
}

/// The row by which a list names an address, written as on mainnet.
fn listed(address: &Address) -> String {
    format!("{},,XBT,TEST,case 7\n", Address::from_script(&address.script_pubkey(), Network::Bitcoin).unwrap())
}

fn screening(site: &Site) -> Value {
    serde_json::from_str::<Value>(&site.pool.ask(&["screening", "status", "--json"]).unwrap()).unwrap()["screening"]
        .take()
}

/// Runs a command that must fail with status 1 and one line, and returns that.
fn refused(site: &Site, arguments: &[&str]) -> String {
    let mut command = site.pool.command();
    let output = command.args(arguments).arg("--config").arg(site.pool.config_file()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// Lets miners earn, mines until that is mature, and waits until all but the named are paid.
async fn earn(site: &mut Site, miners: usize) -> Vec<Address> {
    let addresses = find_blocks(site, miners, 5).await;
    site.node.mine(100).unwrap();
    site.settle().await;
    addresses
}

/// Asserts that the pool's own check finds the books right.
async fn verified(site: &Site) {
    site.settle().await;
    let said = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(said.contains("All records are as they were written"), "{said}");
}

async fn paid(site: &Site, address: &Address) {
    eventually_or("a payout", async || {
        site.node.mine(1).unwrap();
        if site.unspent(address).is_empty() { Err(screening(site)) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_miner_is_not_paid_and_the_others_are_until_two_operators_release_him() {
    let mut site = Site::regtest();
    site.pool.set("ADIT__PAYOUT__SCHEDULE", "manual");
    let addresses = earn(&mut site, 2).await;
    let (bad, good) = (&addresses[0], &addresses[1]);
    publish(&site, &format!("{NOBODY}{}", listed(bad)));
    eventually("the account to be found", async || {
        screening(&site)["findings"].as_array().is_some_and(|found| !found.is_empty()).then_some(())
    })
    .await;
    site.pool.ask(&["payout", "run"]).unwrap();
    paid(&site, good).await;
    assert!(site.unspent(bad).is_empty());

    let report = screening(&site);
    let finding = &report["findings"][0];
    assert_eq!((finding["address"].as_str(), finding["outcome"].as_str()), (Some(&*bad.to_string()), Some("BLOCKED")));
    assert_eq!(finding["evidence"][0]["reason"], json!("EXACT_ADDRESS"));
    let status = site.pool.ask(&["screening", "status"]).unwrap();
    assert!(status.contains("is BLOCKED") && status.contains("EXACT_ADDRESS"), "{status}");
    let checked = site.pool.ask(&["screening", "check", &bad.to_string()]).unwrap();
    assert!(checked.contains("BLOCKED"), "{checked}");

    let bad = bad.to_string();
    let said = refused(&site, &["payout", "release", &bad, "--reason", "a friend"]);
    assert!(said.contains("adit screening release"), "{said}");
    let release = ["screening", "release", &bad, "--reason", "delisted", "--text", "gone from the list", "--by"];
    let ask = |by| site.pool.ask(&[release.as_slice(), &[by]].concat());
    let said = ask("alice").unwrap_err().to_string();
    assert!(said.contains("still on a list"), "{said}");
    publish(&site, NOBODY);
    eventually("the list to be read again", async || {
        (screening(&site)["lists"][0]["address_count"] == json!(1)).then_some(())
    })
    .await;
    // Half of the list is gone, which looks like a mistake until two operators say that it is none.
    let said = refused(&site, &["payout", "run"]);
    assert!(said.contains("shrunken"), "{said}");
    for (by, expected) in [("alice", "Another operator"), ("bob", "is accepted")] {
        let said =
            site.pool.ask(&["screening", "accept-list", "ofac-sdn", "--text", "short list", "--by", by]).unwrap();
        assert!(said.contains(expected), "{said}");
    }
    assert!(ask("alice").unwrap().contains("Another operator must agree"));
    let said = ask("alice").unwrap_err().to_string();
    assert!(said.contains("another one must agree"), "{said}");
    assert!(ask("bob").unwrap().contains("is released"));
    site.pool.ask(&["payout", "run"]).unwrap();
    paid(&site, &addresses[0]).await;
    verified(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_list_a_pool_mines_and_credits_and_pays_nobody() {
    let mut site = Site::regtest();
    fs::remove_file(list_file(&site)).unwrap();
    let addresses = earn(&mut site, 2).await;
    let report = screening(&site);
    assert!(report["nothing_is_paid"].as_str().unwrap().contains("missing"), "{report}");
    assert!(refused(&site, &["payout", "run"]).contains("nothing is paid"));
    site.node.mine(2).unwrap();
    site.settle().await;
    assert!(addresses.iter().all(|address| site.unspent(address).is_empty()));
    let due: i64 = site.books().await.due().await.values().sum();
    assert!(due > 0, "work was credited all the same");

    // What is written half is no list; nor is one without an entry.
    for (rows, standing) in [("\"", "unreadable"), ("", "empty")] {
        publish(&site, rows);
        eventually_or(&format!("the list to be {standing}"), async || {
            let report = screening(&site);
            let said = report["nothing_is_paid"].as_str().unwrap_or_default().to_owned();
            if said.contains(standing) { Ok(()) } else { Err(report) }
        })
        .await;
    }
    publish(&site, NOBODY);
    for address in &addresses {
        paid(&site, address).await;
    }
    verified(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_by_name_is_blocked_and_his_data_is_sealed_and_can_be_erased() {
    const NAME: &str = "Example Trading LLC";
    let mut site = Site::regtest();
    site.pool.set("ADIT__PAYOUT__SCHEDULE", "manual");
    let addresses = earn(&mut site, 2).await;
    let file = site.pool.config_file().with_file_name("party.toml");
    fs::write(&file, format!("kind = \"legal\"\nlegal_name = \"{NAME}\"\nresidency = \"NO\"\n")).unwrap();
    let said = site.pool.ask(&["party", "set", file.to_str().unwrap(), "--by", "alice"]).unwrap();
    assert!(said.contains("Party 1"), "{said}");
    let owner = addresses[0].to_string();
    site.pool.ask(&["party", "own", &owner, "1", "--proof", "BIP 322", "--by", "alice"]).unwrap();
    assert!(site.pool.ask(&["party", "list"]).unwrap().contains(NAME));
    publish(&site, &format!(",{},,TEST,\n", NAME.to_uppercase()));
    eventually("the owner to be found", async || {
        (screening(&site)["findings"][0]["outcome"] == json!("BLOCKED")).then_some(())
    })
    .await;
    site.pool.ask(&["payout", "run"]).unwrap();
    paid(&site, &addresses[1]).await;
    assert!(site.unspent(&addresses[0]).is_empty());

    // Neither database nor log has the name.
    site.pool.stop().unwrap();
    let folder = site.pool.database().parent().unwrap().to_owned();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(NAME.len()).any(|window| window == NAME.as_bytes()), "{}", path.display());
        }
    }
    assert!(!site.pool.log().contains(NAME));
    site.pool.start().unwrap();
    assert!(site.pool.ask(&["party", "list"]).unwrap().contains(NAME));
    site.pool.ask(&["party", "erase", "1", "--by", "bob", "--reason", "asked for it"]).unwrap();
    assert!(site.pool.ask(&["party", "list"]).unwrap().contains("(erased)"));
    verified(&site).await;
}
