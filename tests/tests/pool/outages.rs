//! Databases that fail while miners work: full, locked, moved away, read-only. (One whose server is down is in
//! `postgres`.)
//!
//! Whatever fails, the same holds: nothing is acknowledged, the log says why, miners stay and new ones may come, blocks
//! reach the node, and when the database is back the pool goes on by itself, with nothing lost and nothing counted
//! twice.

use std::{collections::BTreeSet, env, fs, path::PathBuf, time::Duration};

use bitcoin::BlockHash;
use postgres_test::{Cluster, TestDatabase};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};
use tests::{
    miner::{Miner, Record},
    small_disk::{self, DISK, empty, fill},
    store_lock::StoreLock,
};

use crate::{
    books::Block,
    handmade::Handmade,
    site::{Database, PATIENCE, Site, eventually, eventually_or, extended, hash_of, standard},
    start,
};

/// How long a database stays out of order, at least.
const DOWN_FOR: Duration = Duration::from_secs(2);
/// How long an acknowledgement of what was stored before may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// Slow enough that a chain does not grow by hundreds of blocks; every second hash is one.
const HASHES_PER_SECOND: f64 = 8.0;
/// Room for a database on a disk of its own.
const DISK_SIZE: &str = "48m";
/// What the pool says of a share log that does not write, before it says why.
const CANNOT_WRITE: &str = "share log cannot write; no share is acknowledged until it can";

/// What may happen to shares while a database is out of order.
#[derive(Clone, Copy, PartialEq)]
enum Meanwhile {
    /// None can be stored.
    NoneStored,
    /// A few may be: an attempt that failed leaves room in pages that the database has already.
    SomeStored,
}

/// Takes the database away from a pool with miners and gives it back. While it is away, the pool must say `words`.
async fn outlives(site: &mut Site, words: &str, fail: impl AsyncFnOnce(&Site), mend: impl AsyncFnOnce(&Site)) {
    outlives_with(site, words, Meanwhile::NoneStored, fail, mend).await;
}

async fn outlives_with(
    site: &mut Site,
    words: &str,
    meanwhile: Meanwhile,
    fail: impl AsyncFnOnce(&Site),
    mend: impl AsyncFnOnce(&Site),
) {
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let mut miners = vec![
        site.miner_with(standard(&site.new_address(), HASHES_PER_SECOND)).await,
        site.miner_with(extended(&site.new_address(), HASHES_PER_SECOND)).await,
    ];
    for miner in &miners {
        miner.wait_for_accepted(3, PATIENCE).await.unwrap();
    }

    fail(site).await;
    eventually_or(words, async || {
        let log = site.pool.log();
        let said = log.lines().any(|line| line.contains(CANNOT_WRITE) && line.contains(words));
        if said { Ok(()) } else { Err(log) }
    })
    .await;
    tokio::time::sleep(ON_ITS_WAY).await;
    let height = site.node.height().unwrap();
    let before: Vec<Record> = miners.iter().map(Miner::record).collect();
    // One that the pool has never seen comes too.
    miners.push(site.miner_with(standard(&site.new_address(), HASHES_PER_SECOND)).await);
    tokio::time::sleep(DOWN_FOR).await;
    let after: Vec<Record> = miners.iter().map(Miner::record).collect();
    let acknowledged: usize = after.iter().map(Record::accepted_count).sum();
    match meanwhile {
        Meanwhile::NoneStored => {
            let acknowledged_before: usize = before.iter().map(Record::accepted_count).sum();
            assert_eq!(acknowledged, acknowledged_before, "acknowledged while nothing could be written");
        }
        Meanwhile::SomeStored => {
            let stored = site.books().await.store().share_totals(None, 0).await.unwrap().count;
            assert!(stored >= acknowledged as u64, "{stored} stored, {acknowledged} acknowledged");
            assert!(after.iter().any(|record| !record.unanswered().is_empty()), "there was room for all");
        }
    }
    for (before, after) in before.iter().zip(&after) {
        assert!(after.submitted.len() > before.submitted.len() + 2, "the miner goes on");
    }
    assert!(after.iter().all(|record| record.end.is_none()), "a miner was sent away: {after:?}");
    assert!(!after[2].submitted.is_empty(), "{:?}", after[2]);
    assert!(site.node.height().unwrap() > height + 2, "blocks wait for the books");

    mend(site).await;
    eventually("the share log to write", async || site.pool.log().contains("share log writes again").then_some(()))
        .await;
    for (miner, before) in miners.iter().zip(&after) {
        let answered = |record: &Record| record.unanswered().is_disjoint(&before.unanswered()).then_some(());
        miner.wait_for(PATIENCE, "the shares that had to wait", answered).await.unwrap();
        let accepted = miner.read(|record| record.accepted_count());
        miner.wait_for_accepted(accepted + 2, PATIENCE).await.unwrap();
    }
    let (mut acknowledged, mut found) = (0, BTreeSet::new());
    for miner in miners {
        let channel_id = miner.read(|record| record.submitted[0].channel_id);
        miner.limit_hash_rate(channel_id, Some(0.0)).await.unwrap();
        miner.wait_for_answers(PATIENCE).await.unwrap();
        let record = miner.close().await;
        assert_eq!(record.faults, []);
        let answered = record.acknowledged();
        let shares = record.submitted.iter().filter(|s| answered.contains(&(s.channel_id, s.sequence_number)));
        found.extend(shares.filter(|share| share.is_block).map(hash_of));
        acknowledged += record.accepted_count() as u64;
    }
    // The same pool all along: it was not started anew. Nobody was killed, so what is stored is what was acknowledged.
    let books = site.agree_with_chain().await;
    let booked = async || -> BTreeSet<_> { books.blocks().await.iter().map(Block::hash).collect() };
    eventually("every found block to be booked", async || found.is_subset(&booked().await).then_some(())).await;
    assert_eq!(books.store().share_totals(None, 0).await.unwrap().count, acknowledged);
    books.assert_sound().await;
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
}

/// Makes sure that this test runs with a small disk of its own, and returns where that is. If there is none, the test
/// is run once more where there is one, and nothing is returned.
fn small_disk(test: &str) -> Option<PathBuf> {
    if let Some(disk) = env::var_os(DISK) {
        return Some(disk.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut isolated = small_disk::mounted_at(folder.path(), DISK_SIZE).unwrap();
    let name = format!("{}::{test}", module_path!().split_once("::").expect("a module of the test binary").1);
    isolated.arg(env::current_exe().unwrap()).args(["--exact", &name, "--nocapture"]);
    let output = isolated.output().expect("unshare, of util-linux, runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "on a disk of its own:\n{said}");
    assert!(said.contains("1 passed"), "the test did not run:\n{said}");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_acknowledgements_until_there_is_room() {
    let Some(disk) = small_disk("a_full_disk_stops_acknowledgements_until_there_is_room") else { return };
    let mut site = Site::regtest_on(Database::SqliteAt(disk.join("adit.sqlite")));
    let full = "there is no room left for the database";
    let fail = async |_: &Site| {
        // The write-ahead log would have room in itself for a while.
        let options = SqliteConnectOptions::new().filename(disk.join("adit.sqlite")).busy_timeout(PATIENCE);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        fill(&disk).unwrap();
    };
    let mend = async |_: &Site| empty(&disk).unwrap();
    outlives(&mut site, full, fail, mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_locked_by_another_process_stops_acknowledgements_until_it_is_released() {
    let mut site = Site::regtest();
    let held = tokio::sync::Mutex::new(None);
    let fail = async |site: &Site| {
        *held.lock().await = Some(StoreLock::sqlite(&site.pool.database()).await.unwrap());
    };
    let mend = async |_: &Site| held.lock().await.take().unwrap().release().await.unwrap();
    outlives(&mut site, "the database is locked", fail, mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_moved_away_stops_acknowledgements_until_it_is_back() {
    let place = tempfile::tempdir().unwrap();
    let (folder, away) = (place.path().join("books"), place.path().join("away"));
    fs::create_dir(&folder).unwrap();
    let mut site = Site::regtest_on(Database::SqliteAt(folder.join("adit.sqlite")));
    let fail = async |_: &Site| fs::rename(&folder, &away).unwrap();
    let mend = async |_: &Site| fs::rename(&away, &folder).unwrap();
    outlives(&mut site, "was moved away or removed", fail, mend).await;
}

/// Runs statements on a connection of their own.
async fn execute(url: &str, statements: &[&str]) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    for statement in statements {
        sqlx::query(AssertSqlSafe((*statement).to_owned())).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_postgres_stops_acknowledgements_until_it_may_be_written_to() {
    let database = TestDatabase::create().unwrap();
    let name = database.url().rsplit_once('/').unwrap().1;
    let name = name.split_once('?').map_or(name, |(name, _)| name);
    let mut site = Site::regtest_on(Database::Postgres(database.url().to_owned()));
    // As in a failover: the sessions end, and those that follow find a standby.
    let fail = async |_: &Site| {
        let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        execute(database.url(), &[&read_only, end]).await;
    };
    // The session that found it read-only stays so: the pool must try another.
    let mend = async |_: &Site| {
        let reset = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
        execute(database.url(), &["SET default_transaction_read_only = off", &reset]).await;
    };
    outlives(&mut site, "the database is read-only", fail, mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_postgres_stops_acknowledgements_until_it_is_released() {
    let database = TestDatabase::create().unwrap();
    let mut site = Site::regtest_on(Database::Postgres(database.url().to_owned()));
    let held = tokio::sync::Mutex::new(None);
    let fail = async |_: &Site| {
        *held.lock().await = Some(StoreLock::postgres(database.url()).await.unwrap());
    };
    let mend = async |_: &Site| held.lock().await.take().unwrap().release().await.unwrap();
    outlives(&mut site, "the database is locked", fail, mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_postgres_stops_acknowledgements_until_there_is_room() {
    let Some(disk) = small_disk("a_full_postgres_stops_acknowledgements_until_there_is_room") else { return };
    let folder = disk.join("tablespace");
    fs::create_dir(&folder).unwrap();
    let server = Cluster::start().unwrap();
    server.give(&folder).unwrap();
    execute(
        &server.url(),
        &[&format!("CREATE TABLESPACE small LOCATION '{}'", folder.display()), "CREATE DATABASE adit TABLESPACE small"],
    )
    .await;
    let url = server.url();
    let url = url.strip_suffix("/postgres").unwrap();
    let mut site = Site::regtest_on(Database::Postgres(format!("{url}/adit")));
    let fail = async |site: &Site| {
        fill(&disk).unwrap();
        eventually("the share log to fail", async || site.pool.log().contains(CANNOT_WRITE).then_some(())).await;
        // What the transaction that failed had taken is free again, and a small one would fit.
        fill(&disk).unwrap();
    };
    let mend = async |_: &Site| empty(&disk).unwrap();
    outlives_with(&mut site, "there is no room left for the database", Meanwhile::SomeStored, fail, mend).await;
}

/// In a long outage, more shares come than can wait, and miners of whom the database was never asked. A block that one
/// of them finds then goes to the node as if nothing were wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_reaches_the_node_behind_more_shares_than_can_wait_for_the_database() {
    /// How many shares of one connection wait.
    const WAITING: usize = 4_096;
    const TOO_MANY: usize = 10;

    let mut server = Cluster::start().unwrap();
    let mut site = Site::regtest_on(Database::Postgres(server.url()));
    // Every hash is a share, so that no share need be a block.
    site.pool.set("ADIT__STRATUM__INITIAL_DIFFICULTY", "2^-32");
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let mut full = Handmade::open(site.miner().await, standard(&site.new_address(), 0.0)).await;
    let found = full.find(false);
    full.submit(found).await;
    full.miner().wait_for_accepted(1, PATIENCE).await.unwrap();

    server.stop().unwrap();
    for _ in 0..WAITING + TOO_MANY {
        let found = full.find(false);
        full.submit(found).await;
    }
    assert_eq!(full.miner().wait_for_rejected(TOO_MANY, PATIENCE).await.unwrap(), "share-not-stored");
    let first = full.find(true);
    full.submit(first).await;
    reaches_the_node(&site, first.hash()).await;

    // One that the pool has never seen, whose account cannot be looked up.
    let mut new = Handmade::open(site.miner().await, standard(&site.new_address(), 0.0)).await;
    let found = new.find(false);
    new.submit(found).await;
    let second = new.find(true);
    new.submit(second).await;
    reaches_the_node(&site, second.hash()).await;
    assert_eq!(full.miner().read(|record| record.accepted_count()), 1, "acknowledged while nothing could be written");
    assert_eq!(new.miner().read(|record| (record.accepted_count(), record.rejections.len())), (0, 0));
    assert!(site.pool.log().contains("shares cannot be stored, further ones are refused"));

    server.restart().unwrap();
    let (mut acknowledged, mut rejected) = (0, 0);
    for handmade in [full, new] {
        handmade.miner().wait_for_answers(PATIENCE).await.unwrap();
        let record = handmade.close().await;
        assert_eq!(record.faults, []);
        assert!(record.rejections.iter().all(|rejection| rejection.error_code == "share-not-stored"));
        acknowledged += record.accepted_count();
        rejected += record.rejections.len();
    }
    // The first block's share was one too many, too.
    assert_eq!((acknowledged, rejected), (1 + WAITING + 2, TOO_MANY + 1));
    let books = site.agree_with_chain().await;
    let booked: BTreeSet<_> = books.blocks().await.iter().map(Block::hash).collect();
    assert_eq!(booked, [first.hash(), second.hash()].into());
    assert_eq!(books.store().share_totals(None, 0).await.unwrap().count, acknowledged as u64);
    books.assert_sound().await;
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
}

/// Waits until a block is the node's tip.
async fn reaches_the_node(site: &Site, block: BlockHash) {
    eventually("the block to reach the node", async || {
        let height = site.node.height().unwrap();
        (site.node.block_hash(height).unwrap() == block).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pool_on_the_same_file_is_refused_and_the_first_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let [mut first, second] = [(); 2].map(|()| Site::regtest_on(Database::SqliteAt(place.path().join("adit.sqlite"))));
    first.node.mine(1).unwrap();
    first.pool.start().unwrap();
    let miner = first.miner_with(standard(&first.new_address(), HASHES_PER_SECOND)).await;
    miner.wait_for_accepted(2, PATIENCE).await.unwrap();
    // In a folder of its own: only the database is shared.
    let said = start::refusal(&second, start::FAILED).await;
    assert!(said.contains("another pool works on this database"), "{said}");
    let accepted = miner.read(|record| record.accepted_count());
    miner.wait_for_accepted(accepted + 2, PATIENCE).await.unwrap();
    assert_eq!(miner.close().await.faults, []);
}
