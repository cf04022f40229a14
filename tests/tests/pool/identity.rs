//! Who may mine: addresses, names that the operator gives to accounts, and what users wish for in their identity.

use std::time::Duration;

use bitcoin::Address;
use postgres_test::{Cluster, TestDatabase};
use protocol::{codec::U256, messages::mining::ServerMessage};
use serde_json::{Value, json};
use tests::miner::{ChannelConfig, Miner, Record};

use crate::{
    site::{Database, PATIENCE, Site, idle},
    tally::target,
};

/// A real speed at which shares come within a second or so.
const HASH_RATE: f64 = 20_000.0;

/// Opens a channel of a miner that does not hash, and returns the code of the refusal, if it was refused.
async fn refusal(miner: &Miner, identity: &str) -> Option<String> {
    match miner.open(idle(ChannelConfig::standard(identity))).await {
        Ok(_) => None,
        Err(tests::miner::MinerError::OpenRefused(code)) => Some(code),
        Err(other) => panic!("{identity}: {other}"),
    }
}

/// Mines some shares as `identity`.
async fn work(site: &Site, identity: &str) {
    let miner = site.miner_with(ChannelConfig::standard(identity).hash_rate(HASH_RATE)).await;
    miner.wait_for_accepted(3, PATIENCE).await.unwrap();
    assert_eq!(miner.close().await.faults, []);
}

/// The workers of an address that have shares in the books.
async fn workers(site: &Site, address: &Address) -> Vec<String> {
    let shares = site.books().await.shares().await;
    let mut workers: Vec<_> =
        shares.into_iter().filter(|shares| shares.address == address.to_string()).map(|shares| shares.worker).collect();
    workers.sort();
    workers.dedup();
    workers
}

/// Runs `adit account ... --json` and returns what it printed.
fn account(site: &Site, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["account"].iter().chain(arguments).chain(&["--json"]).copied().collect();
    serde_json::from_str(&site.pool.ask(&arguments).unwrap()).unwrap()
}

/// The targets that a miner was given, in their order.
fn targets(record: &Record) -> Vec<U256> {
    let set = record.received.iter().filter_map(|message| match message {
        ServerMessage::SetTarget(set) => Some(set.maximum_target),
        _ => None,
    });
    set.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn work_for_a_name_is_credited_to_the_account_that_is_called_so() {
    work_for_a_name(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_for_a_name_is_credited_to_the_account_that_is_called_so_on_postgres() {
    let database = TestDatabase::create().unwrap();
    work_for_a_name(Database::Postgres(database.url().to_owned())).await;
}

async fn work_for_a_name(database: Database) {
    let mut site = Site::signet_on(database);
    site.pool.start().unwrap();
    let [farmer, other] = [site.new_address(), site.new_address()];
    let miner = site.miner().await;
    assert_eq!(refusal(&miner, "farm.rig").await.as_deref(), Some("unknown-user"));

    let added = account(&site, &["add", "Farm", &farmer.to_string()])["added"].take();
    assert_eq!((&added["account"]["name"], &added["already"]), (&json!("farm"), &json!(false)));
    work(&site, "FARM.rig").await;
    assert_eq!(workers(&site, &farmer).await, ["rig"]);

    // Commands know the account by its name.
    let shown = account(&site, &["show", "farm"]);
    assert_eq!((&shown["address"], &shown["name"]), (&json!(farmer.to_string()), &json!("farm")));
    let held = site.pool.ask(&["payout", "hold", "farm", "--reason", "a test"]).unwrap();
    assert!(held.contains(&format!("{farmer} is held")), "{held}");
    assert_eq!(account(&site, &["list"])[0], added["account"]);

    // Without its name, nobody works for it unawares, nor for anybody else.
    site.pool.ask(&["account", "remove", "farm"]).unwrap();
    assert_eq!(refusal(&miner, "farm.rig").await.as_deref(), Some("unknown-user"));
    let taken = site.pool.ask(&["account", "add", "farm", &other.to_string()]).unwrap_err().to_string();
    assert!(taken.contains(&format!("the name farm belongs to {farmer}")), "{taken}");
    site.pool.ask(&["account", "add", "farm", &farmer.to_string()]).unwrap();
    site.pool.stop().unwrap();
    site.pool.start().unwrap();
    work(&site, "farm.shed").await;
    assert_eq!(workers(&site, &farmer).await, ["rig", "shed"]);
    assert_eq!(workers(&site, &other).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_registration_admits_whom_the_operator_adds_while_the_pool_runs() {
    closed_registration(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_registration_admits_whom_the_operator_adds_while_the_pool_runs_on_postgres() {
    let database = TestDatabase::create().unwrap();
    closed_registration(Database::Postgres(database.url().to_owned())).await;
}

async fn closed_registration(database: Database) {
    let mut site = Site::signet_on(database);
    let [early, added, stranger] = [site.new_address(), site.new_address(), site.new_address()];
    // Who has mined while it was open goes on when it is closed.
    site.pool.start().unwrap();
    work(&site, &format!("{early}.rig")).await;
    site.pool.stop().unwrap();
    site.pool.set("ADIT__ACCOUNTS__OPEN_REGISTRATION", false).start().unwrap();
    work(&site, &format!("{early}.rig")).await;

    let miner = site.miner().await;
    for address in [&added, &stranger] {
        assert_eq!(refusal(&miner, &address.to_string()).await.as_deref(), Some("unknown-user"));
    }
    assert!(site.pool.log().contains(&format!("registration is closed, and {added} is no account")));
    let said = site.pool.ask(&["account", "add", &added.to_string()]).unwrap();
    assert!(said.contains(&format!("{added} is account ")), "{said}");
    work(&site, &format!("{added}.rig")).await;
    assert_eq!(workers(&site, &added).await, ["rig"]);
    assert_eq!(refusal(&miner, &stranger.to_string()).await.as_deref(), Some("unknown-user"));

    site.pool.stop().unwrap();
    site.pool.start().unwrap();
    let miner = site.miner().await;
    assert_eq!(refusal(&miner, &added.to_string()).await, None);
    assert_eq!(refusal(&miner, &stranger.to_string()).await.as_deref(), Some("unknown-user"));
    assert_eq!(account(&site, &["list"]).as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_open_for_whoever_is_known_while_the_database_is_away() {
    let mut server = Cluster::start().unwrap();
    let mut site = Site::signet_on(Database::Postgres(server.url()));
    let address = site.new_address();
    site.pool.set("ADIT__ACCOUNTS__OPEN_REGISTRATION", false).start().unwrap();
    site.pool.ask(&["account", "add", "farm", &address.to_string()]).unwrap();
    server.stop().unwrap();
    let miner = site.miner_with(ChannelConfig::standard("farm.rig").hash_rate(HASH_RATE)).await;
    assert_eq!(refusal(&miner, "shed.rig").await.as_deref(), Some("unknown-user"));
    miner.wait_for(PATIENCE, "a share", |record| record.submitted.first().map(drop)).await.unwrap();
    server.restart().unwrap();
    miner.wait_for_accepted(3, PATIENCE).await.unwrap();
    assert_eq!(miner.close().await.faults, []);
    assert_eq!(workers(&site, &address).await, ["rig"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn difficulty_that_a_user_wishes_for_is_kept_to() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let address = site.new_address();
    // 1,000 rounded up; and as a proxy makes of it, whose own number comes behind all.
    for identity in
        [format!("{address};d=1K.rig"), format!("{address}.rig%3Bd%3D1000"), format!("{address}.rig;d=1000.miner1")]
    {
        let miner = site.miner().await;
        let opened = miner.open(idle(ChannelConfig::standard(identity).hash_rate(1.0))).await.unwrap();
        assert_eq!(opened.target, target(10));
        // Each is answered. What asks for a harder target gets it, and nothing an easier one than was wished for. 10^15
        // hashes a second at 600 shares a minute are a difficulty of 23,283.
        let (easy, hard) = (U256::MAX, target(14));
        for (hash_rate, max_target, expected) in [(1.0, easy, 10), (1e15, easy, 15), (1.0, hard, 14), (1.0, easy, 10)] {
            let answered = targets(&miner.record()).len();
            miner.update_channel(opened.channel_id, hash_rate, max_target).await.unwrap();
            let given = miner
                .wait_for(PATIENCE, "an answer to the update", |record| targets(record).get(answered).copied())
                .await
                .unwrap();
            assert_eq!(given, target(expected), "2^{expected} for {hash_rate} hashes a second");
        }
        // Nor does silence, over some jobs.
        let answered = targets(&miner.record()).len();
        for _ in 0..3 {
            site.node.mine(1).unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let record = miner.close().await;
        assert_eq!(targets(&record).len(), answered, "the target was changed");
        assert_eq!(record.faults, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_identity_gets_its_code_and_the_connection_goes_on() {
    const MAINNET: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

    let mut site = Site::signet();
    site.pool.start().unwrap();
    let address = site.new_address().to_string();
    let miner = site.miner().await;
    let unknown = ["farm".to_owned(), "farm;d=1K.rig".to_owned(), MAINNET.to_owned(), format!("{MAINNET}.rig;d=5")];
    for identity in unknown {
        assert_eq!(refusal(&miner, &identity).await.as_deref(), Some("unknown-user"), "{identity}");
    }
    let malformed = [
        String::new(),
        ".rig".to_owned(),
        "7up.rig".to_owned(),
        address[..address.len() - 1].to_owned(),
        format!("{address}.two words"),
        format!("{address}.\u{e9}"),
        format!("{address}.{}", "w".repeat(33)),
        format!("{address};"),
        format!("{address};d=0"),
        format!("{address};d=0.5"),
        format!("{address};d=many.rig"),
        format!("{address};d=1;d=2"),
        format!("{address};fee=1"),
        "x".repeat(128),
    ];
    for identity in malformed {
        assert_eq!(refusal(&miner, &identity).await.as_deref(), Some("invalid-user-identity"), "{identity}");
    }
    assert_eq!(refusal(&miner, &format!("{address};d=1.rig")).await, None);
    // The log says which was refused, and why.
    let log = site.pool.log();
    for words in ["no account is called farm", "is not an address of signet", "option \"fee=1\"", "d=many is not"] {
        assert!(log.contains(words), "{words}");
    }
}
