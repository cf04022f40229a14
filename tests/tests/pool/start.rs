//! How the pool starts: what it refuses, what it waits for, and that it outlives its node.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use bitcoind_regtest::{Chain, NodeOptions};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tests::miner::{Miner, MinerConfig, PoolAddress};

use crate::site::{PATIENCE, Site, eventually, eventually_or, standard};

pub(crate) const FAILED: Option<i32> = Some(1);
const WRONG_CONFIGURATION: Option<i32> = Some(3);

/// A started pool that is not expected to listen, or not yet. It is killed when the test ends.
struct Started(Child);

impl Started {
    fn new(site: &Site) -> Self {
        Self(site.pool.spawn().unwrap())
    }

    /// Waits until it has ended by itself.
    async fn end(&mut self) -> ExitStatus {
        eventually("the pool to end", async || self.0.try_wait().unwrap()).await
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the pool, which must end by itself, and returns the last line that it said.
pub(crate) async fn refusal(site: &Site, status: Option<i32>) -> String {
    let ended = Started::new(site).end().await;
    let log = site.pool.log();
    assert_eq!(ended.code(), status, "{log}");
    log.lines().last().unwrap_or_default().to_owned()
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn log_contains(site: &Site, words: &str) {
    eventually_or(words, async || {
        let log = site.pool.log();
        if log.contains(words) { Ok(()) } else { Err(log) }
    })
    .await;
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn port_in_use_is_an_error_at_once() {
    let mut site = Site::regtest();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    site.pool.set("ADIT__STRATUM__LISTEN", &address);
    let said = refusal(&site, FAILED).await;
    assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("in use"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_setting_is_named_with_the_cure() {
    for (variable, value, words) in [
        ("ADIT__STRATUM__LISTN", "127.0.0.1:0", "the nearest one is ADIT__STRATUM__LISTEN"),
        ("ADIT__STRATUM__SHARES_PER_MINUTE", "0", "ADIT__STRATUM__SHARES_PER_MINUTE"),
        ("ADIT__STRATUM__MIN_DIFFICULTY", "3", "is not a power of two"),
        ("ADIT__NETWORK", "testnet3", "mainnet, testnet4, signet, regtest"),
        ("ADIT__PAYOUT__FEE_BP", "ten", "ten"),
    ] {
        let mut site = Site::regtest();
        site.pool.set(variable, value);
        let said = refusal(&site, WRONG_CONFIGURATION).await;
        assert!(said.contains(words) && said.contains(variable), "{variable}={value}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn database_of_a_newer_version_is_left_alone() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    site.pool.stop().unwrap();
    let options = SqliteConnectOptions::new().filename(site.pool.database());
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', 1, x'00', 0)",
    )
    .execute(&mut database)
    .await
    .unwrap();
    database.close().await.unwrap();
    let said = refusal(&site, FAILED).await;
    assert!(said.contains("schema 9999"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn second_pool_on_the_same_data_is_refused_and_the_first_goes_on() {
    let mut site = Site::signet();
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 20_000.0)).await;
    miner.wait_for_accepted(2, PATIENCE).await.unwrap();
    site.pool.set("ADIT__STRATUM__LISTEN", "127.0.0.1:0");
    let said = refusal(&site, FAILED).await;
    assert!(said.contains("another adit is running"), "{said}");
    let accepted = miner.read(|record| record.accepted_count());
    miner.wait_for_accepted(accepted + 3, PATIENCE).await.unwrap();
    assert_eq!(miner.close().await.faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_waits_for_a_node_that_is_down_and_listens_when_it_comes_up() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    let port = free_port();
    site.pool.set("ADIT__STRATUM__LISTEN", format!("127.0.0.1:{port}"));
    site.node.stop().unwrap();
    let mut started = Started::new(&site);
    log_contains(&site, "waiting: ").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!listens(port), "the pool listens without work");
    assert!(started.0.try_wait().unwrap().is_none());
    // Whoever asks it for something is told at once.
    let asked = Instant::now();
    let said = site.pool.ask(&["payout", "status"]).unwrap_err().to_string();
    assert!(said.contains("the pool waits for its node") && asked.elapsed() < Duration::from_secs(20), "{said}");

    site.node.restart().unwrap();
    eventually("the pool to listen", async || listens(port).then_some(())).await;
    let pool = PoolAddress { host: "127.0.0.1".into(), port, authority: None };
    let miner = Miner::connect(MinerConfig::new(pool)).await.unwrap();
    miner.open(standard(&site.new_address(), 500.0).max_shares(1)).await.unwrap();
    miner.wait_for_accepted(1, PATIENCE).await.unwrap();
    assert_eq!(miner.close().await.faults, []);
    site.settle().await.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_of_another_network_is_named_and_nobody_is_served() {
    let mut site = Site::regtest();
    let other = NodeOptions::new().chain(Chain::Signet).start().unwrap();
    let port = free_port();
    site.pool
        .set("ADIT__STRATUM__LISTEN", format!("127.0.0.1:{port}"))
        .set("ADIT__BITCOIND__URL", other.rpc_url())
        .set("ADIT__BITCOIND__COOKIE_FILE", other.cookie_file().display());
    let mut started = Started::new(&site);
    log_contains(&site, "bitcoind follows signet, but the pool is configured for regtest").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!listens(port));
    assert!(started.0.try_wait().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_goes_on_with_a_node_that_was_restarted() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let address = site.new_address();
    let miner = site.miner().await;
    let channel = miner.open(standard(&address, 40.0)).await.unwrap().channel_id;
    miner.wait_for_accepted(3, PATIENCE).await.unwrap();

    // A new process with a new cookie; meanwhile there are shares, and blocks that have nowhere to go.
    site.node.restart().unwrap();
    let (height, accepted) = (site.node.height().unwrap(), miner.read(|record| record.accepted_count()));
    miner.wait_for_accepted(accepted + 3, PATIENCE).await.unwrap();
    eventually("blocks again", async || (site.node.height().unwrap() >= height + 3).then_some(())).await;
    miner.limit_hash_rate(channel, Some(0.0)).await.unwrap();
    miner.wait_for_answers(PATIENCE).await.unwrap();
    let record = miner.close().await;
    assert_eq!((record.faults.as_slice(), record.end), (&[][..], Some(tests::miner::End::ByMiner)));

    site.settle().await;
    site.node.mine(100).unwrap();
    let books = site.pay_out().await;
    books.assert_sound().await;
    let paid: i64 = site.unspent(&address).values().sum();
    assert!(paid > 0);
    assert_eq!(Some(&paid), books.matured_credits().await.get(&books.account(&address).await));
}
