//! What an operator does about payouts with `adit payout`, while the pool runs and while it does not. The node, the
//! chain and the books say what came of it.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bitcoin::{
    Address, Amount, Psbt, Txid,
    base64::{Engine, engine::general_purpose::STANDARD},
    bip32::{DerivationPath, Xpriv, Xpub},
    secp256k1::{Secp256k1, ecdsa::Signature},
};
use postgres_test::TestDatabase;
use serde_json::{Value, json};

use crate::{
    books::{Block, Books},
    payouts::{assert_paid, find_blocks},
    site::{Database, Site, eventually, eventually_or},
};

/// An output that was paid, in satoshis by `txid:vout`.
type Outputs = BTreeMap<String, i64>;

/// A running pool with mature credits for each address, and settings of its own.
async fn site_with_due(database: Database, miners: usize, settings: &[(&str, &str)]) -> (Site, Vec<Address>) {
    let mut site = Site::regtest_on(database);
    for (key, value) in settings {
        site.pool.set(&format!("ADIT__PAYOUT__{key}"), value);
    }
    // So many that each miner has a share in some block.
    let addresses = find_blocks(&mut site, miners, 5).await;
    site.node.mine(100).unwrap();
    site.settle().await;
    (site, addresses)
}

/// Runs `adit payout ... --json` and returns what it printed.
fn payout(site: &Site, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["payout"].iter().chain(arguments).chain(&["--json"]).copied().collect();
    serde_json::from_str(&site.pool.ask(&arguments).unwrap()).unwrap()
}

/// Runs `adit payout ...`, which must fail with status 1 and one line, and returns that.
fn refused(site: &Site, arguments: &[&str]) -> String {
    let mut command = site.pool.command();
    let output = command.arg("payout").args(arguments).arg("--config").arg(site.pool.config_file()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty() && said.lines().count() == 1 && said.starts_with("adit: "), "{said}");
    said
}

fn batch(site: &Site, number: &str) -> Value {
    payout(site, &["show", number])["batch"].take()
}

fn txid(summary: &Value) -> Txid {
    summary["txid"].as_str().unwrap().parse().unwrap()
}

/// Waits until a batch is as far as named.
async fn reaches(site: &Site, number: &str, stage: &str) -> Value {
    eventually_or(&format!("batch {number} to be {stage}"), async || {
        let summary = batch(site, number)["summary"].take();
        if summary["stage"] == json!(stage) { Ok(summary) } else { Err(summary) }
    })
    .await
}

async fn in_mempool(site: &Site, txid: Txid) {
    eventually("the payout to be sent", async || site.node.mempool().unwrap().contains(&txid).then_some(())).await;
}

/// Mines until a batch is confirmed.
async fn confirm(site: &Site, number: &str) -> Value {
    site.node.mine(1).unwrap();
    reaches(site, number, "confirmed").await
}

/// Asserts that the pool's own check finds the books right, and their coins those of the chain.
async fn assert_verified(site: &Site) {
    eventually_or("the books to be verified", async || {
        let said = site.pool.ask(&["ledger", "verify"]).unwrap();
        assert!(said.contains("All records are as they were written"), "{said}");
        let coins = said.lines().find_map(|line| line.strip_prefix("Coins of the pool on the chain: "));
        // Until the pool has seen the node's last block, coins are not compared.
        let Some(coins) = coins else { return Err(said) };
        let (chain, ledger) = coins.split_once(" sat, in the ledger: ").unwrap();
        assert_eq!(format!("{chain} sat."), ledger, "{said}");
        Ok(())
    })
    .await;
}

/// What the addresses are due in sum.
async fn due_sat(books: &Books) -> i64 {
    books.due().await.values().sum()
}

fn unspent(site: &Site, addresses: &[Address]) -> Outputs {
    addresses.iter().flat_map(|address| site.unspent(address)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn payout_waits_for_approval_and_then_goes_its_way() {
    approval(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payout_waits_for_approval_and_then_goes_its_way_on_postgres() {
    let database = TestDatabase::create().unwrap();
    approval(Database::Postgres(database.url().to_owned())).await;
}

async fn approval(database: Database) {
    let settings = [("APPROVAL", "always"), ("SCHEDULE", "manual")];
    let (site, addresses) = site_with_due(database, 2, &settings).await;
    payout(&site, &["run"]);
    let summary = reaches(&site, "1", "unapproved").await;
    let status = payout(&site, &["status"])["status"].take();
    assert_eq!(status["open"][0]["waits_for"], json!("approval"), "{status}");
    assert_eq!(status["open"][0]["batch"], summary);
    site.node.mine(2).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(site.node.mempool().unwrap().is_empty(), "sent without approval");
    assert_eq!(unspent(&site, &addresses), Outputs::new());

    let said = site.pool.ask(&["payout", "approve", "1", "--by", "alice"]).unwrap();
    assert!(said.contains("Batch 1 is approved"), "{said}");
    in_mempool(&site, txid(&summary)).await;
    assert_eq!(payout(&site, &["approve", "1", "--by", "bob"])["approved"]["already"], json!(true));
    let said = refused(&site, &["cancel", "1", "--reason", "too late"]);
    assert!(said.contains("batch 1 is signed already"), "{said}");

    confirm(&site, "1").await;
    let report = batch(&site, "1");
    let events = report["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["event"], &events[0]["note"]), (&json!("approved"), &json!("alice")));
    let books = site.books().await;
    assert_paid(&site, &books, &addresses).await;
    assert_verified(&site).await;
    let listed = site.pool.ask(&["payout", "list"]).unwrap();
    assert!(listed.contains("confirmed") && listed.contains(&txid(&summary).to_string()), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_is_needed_only_above_the_amount() {
    let settings = [("APPROVAL", "above"), ("APPROVE_ABOVE_SAT", "100000000000000")];
    let (site, addresses) = site_with_due(Database::Sqlite, 1, &settings).await;
    let books = site.pay_out().await;
    assert_paid(&site, &books, &addresses).await;
    assert_eq!(batch(&site, "1")["events"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_batch_gives_back_what_it_took() {
    let settings = [("APPROVAL", "always"), ("SCHEDULE", "manual")];
    let (site, addresses) = site_with_due(Database::Sqlite, 2, &settings).await;
    let books = site.books().await;
    let (due, balances) = (books.due().await, books.balances().await);
    assert_eq!(due.len(), 2);
    assert_eq!(books.open_batches().await, 0, "made although nobody asked");

    let made = payout(&site, &["run"])["ran"]["batches"].take();
    assert_eq!(made.as_array().unwrap().len(), 1, "{made}");
    assert_eq!(due_sat(&books).await, 0);
    let cancelled = payout(&site, &["cancel", "1", "--reason", "wrong day"]);
    assert_eq!(cancelled["cancelled"]["batch"]["stage"], json!("cancelled"));
    assert_eq!(books.due().await, due);
    assert_eq!(books.balances().await, balances, "not all of it was undone");
    assert_eq!(payout(&site, &["cancel", "1", "--reason", "again"])["cancelled"]["already"], json!(true));
    let said = refused(&site, &["approve", "1", "--by", "alice"]);
    assert!(said.contains("batch 1 is cancelled already"), "{said}");
    assert_eq!(batch(&site, "1")["events"][0]["note"], json!("wrong day"));

    // The same coins and the same credits pay the next one.
    payout(&site, &["run"]);
    payout(&site, &["approve", "2", "--by", "alice"]);
    let summary = reaches(&site, "2", "broadcast").await;
    in_mempool(&site, txid(&summary)).await;
    confirm(&site, "2").await;
    assert_paid(&site, &books, &addresses).await;
    assert_verified(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_address_is_not_paid_until_it_is_released() {
    let (site, addresses) = site_with_due(Database::Sqlite, 2, &[("SCHEDULE", "manual")]).await;
    let books = site.books().await;
    let [held, free] = [addresses[0].to_string(), addresses[1].to_string()];
    let account = books.account(&addresses[0]).await;
    let due = books.due().await[&account];

    let change = payout(&site, &["hold", &held, "--reason", "owner reports a lost key"])["held"].take();
    assert_eq!((&change["already"], &change["held_sat"]), (&json!(false), &json!(due)), "{change}");
    assert_eq!(books.kept_back().await, BTreeMap::from([(account, due)]));
    let again = payout(&site, &["hold", &held, "--reason", "once more"])["held"].take();
    assert_eq!((&again["already"], &again["held_sat"]), (&json!(true), &json!(due)), "{again}");
    let said = refused(&site, &["run", "--account", &held]);
    assert!(said.contains("is held"), "{said}");

    payout(&site, &["run"]);
    reaches(&site, "1", "broadcast").await;
    confirm(&site, "1").await;
    let report = batch(&site, "1");
    assert_eq!(report["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(report["outputs"][0]["address"], json!(free));
    assert_eq!(site.unspent(&addresses[0]), Outputs::new());
    let status = site.pool.ask(&["payout", "status"]).unwrap();
    assert!(status.contains(&held) && status.contains("owner reports a lost key"), "{status}");
    books.assert_sound().await;

    let released = payout(&site, &["release", &held, "--reason", "owner has a new one"])["released"].take();
    assert_eq!((&released["held_sat"], &released["payable_sat"]), (&json!(0), &json!(due)), "{released}");
    assert_eq!(payout(&site, &["release", &held, "--reason", "again"])["released"]["already"], json!(true));
    payout(&site, &["run"]);
    reaches(&site, "2", "broadcast").await;
    confirm(&site, "2").await;
    assert_paid(&site, &books, &addresses).await;
    assert_verified(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_matures_for_a_held_address_is_kept_back_too() {
    let mut site = Site::regtest();
    let addresses = find_blocks(&mut site, 1, 2).await;
    let books = site.books().await;
    let held = addresses[0].to_string();
    payout(&site, &["hold", &held, "--reason", "a question is open"]);
    site.node.mine(105).unwrap();
    let account = books.account(&addresses[0]).await;
    let is_matured = |block: &Block| block.phase == "matured";
    eventually("the blocks to mature", async || books.blocks().await.iter().all(is_matured).then_some(())).await;
    let owed = books.matured_credits().await[&account];
    eventually_or("the credits to be kept back", async || {
        let kept_back = books.kept_back().await;
        if kept_back.get(&account) == Some(&owed) { Ok(()) } else { Err(format!("{kept_back:?} of {owed}")) }
    })
    .await;
    assert_eq!(books.open_batches().await, 0);
    payout(&site, &["release", &held, "--reason", "answered"]);
    let books = site.pay_out().await;
    assert_paid(&site, &books, &addresses).await;
    assert_verified(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn threshold_of_an_address_decides_when_it_is_paid() {
    let (site, addresses) = site_with_due(Database::Sqlite, 2, &[("SCHEDULE", "manual")]).await;
    let [patient, other] = [addresses[0].to_string(), addresses[1].to_string()];
    let set = payout(&site, &["threshold", &patient, "2000000000000000"])["threshold"].take();
    assert_eq!(set, json!({"address": patient, "threshold_sat": 2_000_000_000_000_000_u64, "already": false}));
    payout(&site, &["run"]);
    reaches(&site, "1", "broadcast").await;
    let report = batch(&site, "1");
    assert_eq!(report["outputs"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["outputs"][0]["address"], json!(other));
    confirm(&site, "1").await;
    assert_eq!(payout(&site, &["run"])["ran"]["batches"], json!([]));

    // On demand it is paid all the same.
    payout(&site, &["run", "--account", &patient]);
    reaches(&site, "2", "broadcast").await;
    confirm(&site, "2").await;
    let books = site.books().await;
    assert_paid(&site, &books, &addresses).await;
    let said = refused(&site, &["run", "--account", &patient]);
    assert!(said.contains("is due 0 sat"), "{said}");
    let said = refused(&site, &["threshold", &patient, "1"]);
    assert!(said.contains("is below"), "{said}");
    assert_eq!(payout(&site, &["threshold", &patient, "default"])["threshold"]["threshold_sat"], Value::Null);
    let stranger = site.new_address().to_string();
    let said = refused(&site, &["threshold", &stranger, "default"]);
    assert!(said.contains(&stranger), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn miners_can_pay_the_network_fee_to_the_satoshi() {
    let (site, addresses) = site_with_due(Database::Sqlite, 3, &[("NETWORK_FEE", "miners")]).await;
    let books = site.pay_out().await;
    let mut owed: BTreeMap<i64, i64> = books.matured_credits().await;
    let listed = payout(&site, &["list"])["batches"].take();
    let mut network_fee = 0;
    for summary in listed.as_array().unwrap() {
        let report = batch(&site, &summary["batch"].to_string());
        let outputs = report["outputs"].as_array().unwrap();
        let parts: i64 = outputs.iter().map(|output| output["fee_part_sat"].as_i64().unwrap()).sum();
        assert_eq!(json!(parts), summary["network_fee_sat"], "the parts are not the whole fee");
        network_fee += parts;
        for output in outputs {
            let address = addresses.iter().find(|address| json!(address.to_string()) == output["address"]).unwrap();
            let sat = |name: &str| output[name].as_i64().unwrap();
            *owed.get_mut(&books.account(address).await).unwrap() -= sat("paid_sat") + sat("fee_part_sat");
            let outpoint = format!("{}:{}", summary["txid"].as_str().unwrap(), output["vout"]);
            assert_eq!(site.unspent(address).get(&outpoint), Some(&sat("paid_sat")));
        }
    }
    assert!(network_fee > 0);
    owed.retain(|_, sat| *sat != 0);
    assert_eq!(owed, BTreeMap::new());
    assert!(!books.balances().await.contains_key("network_fee"), "the pool paid for it");
    books.assert_sound().await;
    assert_verified(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replacement_with_a_greater_fee_is_paid_once_and_booked_to_the_satoshi() {
    let settings = [("SCHEDULE", "manual"), ("FALLBACK_FEE_RATE_SAT_PER_VB", "1")];
    let (site, addresses) = site_with_due(Database::Sqlite, 2, &settings).await;
    payout(&site, &["run"]);
    let stuck = reaches(&site, "1", "broadcast").await;
    in_mempool(&site, txid(&stuck)).await;
    // Blocks come and nobody takes it.
    site.node.mine_empty(2).unwrap();
    let said = refused(&site, &["bump", "1", "--fee-rate", "1"]);
    assert!(said.contains("must pay at least"), "{said}");
    let said = refused(&site, &["bump", "1", "--fee-rate", "5000"]);
    assert!(said.contains("above the greatest fee rate"), "{said}");

    let bumped = payout(&site, &["bump", "1", "--fee-rate", "20"])["bumped"].take();
    assert_ne!(txid(&bumped), txid(&stuck));
    assert!(bumped["network_fee_sat"].as_i64() > stuck["network_fee_sat"].as_i64().map(|fee| 10 * fee), "{bumped}");
    in_mempool(&site, txid(&bumped)).await;
    assert_eq!(site.node.mempool().unwrap(), [txid(&bumped)], "the node has both");
    let confirmed = confirm(&site, "1").await;
    assert_eq!((txid(&confirmed), &confirmed["attempts"]), (txid(&bumped), &json!(2)));
    let books = site.books().await;
    assert_paid(&site, &books, &addresses).await;
    assert_eq!(books.balances().await["network_fee"], bumped["network_fee_sat"].as_i64().unwrap());
    assert_verified(&site).await;
    let said = refused(&site, &["bump", "1", "--fee-rate", "40"]);
    assert!(said.contains("batch 1 is confirmed already"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_transaction_may_confirm_although_it_was_replaced() {
    let settings = [("SCHEDULE", "manual"), ("FALLBACK_FEE_RATE_SAT_PER_VB", "1")];
    let (site, addresses) = site_with_due(Database::Sqlite, 2, &settings).await;
    payout(&site, &["run"]);
    let first = reaches(&site, "1", "broadcast").await;
    in_mempool(&site, txid(&first)).await;
    let bytes = site.rpc("getrawtransaction", &[json!(txid(&first))]);
    let bumped = payout(&site, &["bump", "1", "--fee-rate", "20"])["bumped"].take();
    in_mempool(&site, txid(&bumped)).await;
    let replacement = site.rpc("getrawtransaction", &[json!(txid(&bumped))]);
    // A miner that never heard of the replacement.
    let block = site.rpc("generateblock", &[json!(site.new_address().to_string()), json!([bytes])]);
    let confirmed = reaches(&site, "1", "confirmed").await;
    assert_eq!(txid(&confirmed), txid(&first));
    assert_eq!(confirmed["block"]["hash"], block["hash"]);
    let books = site.books().await;
    assert_paid(&site, &books, &addresses).await;
    assert_eq!(books.balances().await["network_fee"], first["network_fee_sat"].as_i64().unwrap());
    assert_verified(&site).await;

    // The chain changes its mind: in the longer branch it is the replacement.
    site.node.invalidate(block["hash"].as_str().unwrap().parse().unwrap()).unwrap();
    site.rpc("generateblock", &[json!(site.new_address().to_string()), json!([replacement])]);
    site.node.mine_empty(1).unwrap();
    eventually_or("the replacement to be booked", async || {
        let summary = batch(&site, "1")["summary"].take();
        let booked = summary["stage"] == json!("confirmed") && txid(&summary) == txid(&bumped);
        if booked { Ok(()) } else { Err(summary) }
    })
    .await;
    assert_eq!(books.balances().await["network_fee"], bumped["network_fee_sat"].as_i64().unwrap());
    assert_verified(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_decides_when_a_payout_is_made() {
    const SLOT_TIMEOUT: Duration = Duration::from_secs(150);

    let (mut site, addresses) = site_with_due(Database::Sqlite, 1, &[("SCHEDULE", "manual")]).await;
    let books = site.books().await;
    site.node.mine(1).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(books.open_batches().await, 0, "made although nobody asked");
    site.pool.stop().unwrap();

    // A minute that has not begun, and leaves the time to start.
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let slot_s = (now_s / 60 + 1 + u64::from(now_s % 60 > 40)) * 60;
    let (hour, minute) = (slot_s / 3_600 % 24, slot_s / 60 % 60);
    site.pool.set("ADIT__PAYOUT__SCHEDULE", format!("daily {hour:02}:{minute:02}"));
    site.pool.start().unwrap();
    let status = payout(&site, &["status"])["status"].take();
    assert_eq!(status["next_slot_at_ms"], json!(slot_s * 1_000), "{status}");
    assert_eq!(status["open"], json!([]));
    let deadline = std::time::Instant::now() + SLOT_TIMEOUT;
    while books.open_batches().await == 0 {
        assert!(std::time::Instant::now() < deadline, "no payout was made at its time");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let made_at_ms = batch(&site, "1")["summary"]["created_at_ms"].as_i64().unwrap();
    assert!(made_at_ms >= (slot_s * 1_000) as i64, "made before its time");
    // Not a second time, also after a restart.
    site.pool.stop().unwrap();
    site.pool.start().unwrap();
    let books = site.settle().await;
    confirm(&site, "1").await;
    assert_paid(&site, &books, &addresses).await;
    assert_eq!(payout(&site, &["list"])["batches"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_do_the_same_while_no_pool_runs() {
    let settings = [("APPROVAL", "always"), ("SCHEDULE", "manual")];
    let (mut site, addresses) = site_with_due(Database::Sqlite, 2, &settings).await;
    let books = site.books().await;
    let held = addresses[0].to_string();
    // Killed, so that its socket is left behind.
    site.pool.kill().unwrap();
    assert!(site.pool.folder().join("data/adit.sock").exists());

    let status = payout(&site, &["status"])["status"].take();
    assert_eq!(status["due_accounts"], json!(2), "{status}");
    payout(&site, &["hold", &held, "--reason", "a question is open"]);
    assert_eq!(books.kept_back().await.len(), 1);
    payout(&site, &["release", &held, "--reason", "answered"]);
    payout(&site, &["run"]);
    payout(&site, &["cancel", "1", "--reason", "not yet"]);
    payout(&site, &["run"]);
    let approved = payout(&site, &["approve", "2", "--by", "alice"]);
    assert_eq!(approved["approved"]["already"], json!(false));
    assert_verified(&site).await;

    // The pool goes on where the commands have left.
    site.pool.start().unwrap();
    let summary = reaches(&site, "2", "broadcast").await;
    in_mempool(&site, txid(&summary)).await;
    confirm(&site, "2").await;
    assert_paid(&site, &books, &addresses).await;
    site.pool.stop().unwrap();
    assert!(!site.pool.folder().join("data/adit.sock").exists(), "the socket is left behind");
    let listed = payout(&site, &["list"])["batches"].take();
    let stages: Vec<_> = listed.as_array().unwrap().iter().map(|batch| batch["stage"].clone()).collect();
    assert_eq!(stages, ["confirmed", "cancelled"]);
    let said = refused(&site, &["show", "3"]);
    assert!(said.contains("there is no batch 3"), "{said}");
}

/// The descriptors of the pool's key: those to watch, and those to sign with, each for coinbases and for change.
fn descriptors(site: &Site) -> [[String; 2]; 2] {
    let file = fs::read_to_string(site.pool.folder().join("wallet.key")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let master: Xpriv = file["xpriv"].as_str().unwrap().parse().unwrap();
    let (secp, path) = (Secp256k1::new(), "84h/1h/0h");
    let account = master.derive_priv(&secp, &path.parse::<DerivationPath>().unwrap()).unwrap();
    let (fingerprint, account) = (master.fingerprint(&secp), Xpub::from_priv(&secp, &account));
    [
        [0, 1].map(|keychain| format!("wpkh([{fingerprint}/{path}]{account}/{keychain}/*)")),
        [0, 1].map(|keychain| format!("wpkh({master}/{path}/{keychain}/*)")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_without_a_key_pays_with_signatures_from_elsewhere() {
    let mut site = Site::regtest();
    let [[external, change], signing] = descriptors(&site);
    site.pool
        .set("ADIT__PAYOUT__WALLET_KEY_FILE", "")
        .set("ADIT__PAYOUT__WATCH_ONLY_DESCRIPTOR", &external)
        .set("ADIT__PAYOUT__WATCH_ONLY_CHANGE_DESCRIPTOR", &change)
        .set("ADIT__PAYOUT__SCHEDULE", "manual");
    let addresses = find_blocks(&mut site, 2, 5).await;
    // The key is nowhere near the pool when it pays.
    let key = site.pool.folder().join("wallet.key");
    let kept = fs::read(&key).unwrap();
    site.node.mine(100).unwrap();
    site.settle().await;
    fs::remove_file(&key).unwrap();

    payout(&site, &["run"]);
    let summary = reaches(&site, "1", "unsigned").await;
    let status = payout(&site, &["status"])["status"].take();
    assert_eq!((&status["signs_here"], &status["open"][0]["waits_for"]), (&json!(false), &json!("signature")));
    let file = |name: &str| site.pool.folder().join(name).to_str().unwrap().to_owned();
    let unsigned = file("unsigned.psbt");
    payout(&site, &["export-psbt", "1", "--out", &unsigned]);
    let exported = Psbt::deserialize(&fs::read(&unsigned).unwrap()).unwrap();
    assert_eq!(exported.unsigned_tx.compute_txid(), txid(&summary));
    assert!(refused(&site, &["export-psbt", "1", "--out", &unsigned]).contains("exists already"));
    let said = refused(&site, &["cancel", "1", "--reason", "a second thought"]);
    assert!(said.contains("batch 1 was exported"), "{said}");
    let said = refused(&site, &["import-psbt", "1", &unsigned]);
    assert!(said.contains("is not completely signed"), "{said}");

    // Signed by the node, which was given the private descriptors for this one call.
    let sign = |psbt: &Psbt, finalize: bool| -> Vec<u8> {
        let psbt = STANDARD.encode(psbt.serialize());
        let signing: Vec<Value> = signing.iter().map(|desc| json!({"desc": desc, "range": 100})).collect();
        let parameters = [json!(psbt), json!(signing), json!("ALL"), json!(true), json!(finalize)];
        let signed = site.rpc("descriptorprocesspsbt", &parameters);
        // To the node, an input is complete once it is in its final form.
        assert_eq!(signed["complete"], json!(finalize), "{signed}");
        signed["psbt"].as_str().unwrap().as_bytes().to_vec()
    };
    let mut tampered = exported.clone();
    tampered.unsigned_tx.output[0].value -= Amount::ONE_SAT;
    fs::write(file("tampered.psbt"), sign(&tampered, true)).unwrap();
    let said = refused(&site, &["import-psbt", "1", &file("tampered.psbt")]);
    assert!(said.contains("this is not the transaction of batch 1"), "{said}");

    let signed = sign(&exported, false);
    let mut forged = read_base64(&signed);
    let signature = forged.inputs[0].partial_sigs.values_mut().next().unwrap();
    let mut bytes = signature.signature.serialize_compact();
    bytes[40] ^= 1;
    signature.signature = Signature::from_compact(&bytes).unwrap();
    fs::write(file("forged.psbt"), forged.serialize()).unwrap();
    let said = refused(&site, &["import-psbt", "1", &file("forged.psbt")]);
    assert!(said.contains("input 0"), "{said}");
    fs::write(file("rubbish.psbt"), b"psbt\xffrubbish").unwrap();
    let said = refused(&site, &["import-psbt", "1", &file("rubbish.psbt")]);
    assert!(said.contains("this is not a partially signed transaction"), "{said}");
    assert!(site.node.mempool().unwrap().is_empty());

    fs::write(file("signed.psbt"), &signed).unwrap();
    payout(&site, &["import-psbt", "1", &file("signed.psbt")]);
    in_mempool(&site, txid(&summary)).await;
    confirm(&site, "1").await;
    fs::write(&key, kept).unwrap();
    let books = site.books().await;
    assert_paid(&site, &books, &addresses).await;
    assert_verified(&site).await;
}

/// Reads a PSBT as the node prints it.
fn read_base64(text: &[u8]) -> Psbt {
    Psbt::deserialize(&STANDARD.decode(text).unwrap()).unwrap()
}
