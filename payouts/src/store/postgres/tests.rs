//! The conformance suite on PostgreSQL, and what only PostgreSQL does.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bitcoin::Amount;
use postgres_test::{Cluster, TestDatabase};

use super::*;
use crate::{
    account::AccountId,
    ledger::{Draft, EntryKind, Head, LedgerAccount},
    share::{Appended, ShareGroup, ShareRun, ShareSeq},
    store::{
        Change, Commit, Outage, Store,
        conformance::{self, address, append, for_each_requirement, share},
    },
};

async fn empty() -> (TestDatabase, PgStore) {
    let database = TestDatabase::create().unwrap();
    let store = PgStore::open(database.url()).await.unwrap();
    (database, store)
}

async fn post_one(store: &PgStore) {
    let draft = Draft::begin(EntryKind::Broadcast, "x")
        .debit(LedgerAccount::Fee, Amount::ONE_SAT)
        .credit(LedgerAccount::Spendable, Amount::ONE_SAT);
    let entry = draft.balanced().unwrap().seal(Head::EMPTY, 1);
    assert_eq!(store.commit(Change { entry, rows: vec![] }).await.unwrap(), Commit::Done);
}

/// A session of somebody else.
async fn other_session(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// Ends the session that writes, as a server or an administrator does.
async fn end_writer(url: &str) {
    let mut other = other_session(url).await;
    let ended = sqlx::query(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND granted \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    assert_eq!(ended.fetch_all(&mut other).await.unwrap().len(), 1);
}

/// The first group of a new session.
async fn first_group(store: &dyn Store, runs: Vec<ShareRun>) -> ShareGroup {
    let session = store.begin_session().await.unwrap();
    ShareGroup { session, number: 1, segment: ShareSeq::of_session(session, 1).unwrap(), runs }
}

macro_rules! conforms {
    ($($requirement:ident,)*) => {
        $(
            #[tokio::test]
            async fn $requirement() {
                let (_database, store) = empty().await;
                conformance::$requirement(Arc::new(store)).await;
            }
        )*
    };
}

for_each_requirement!(conforms);

#[tokio::test]
async fn everything_survives_a_restart() {
    let (database, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    let group = first_group(&store, vec![share(account, 1)]).await;
    store.append_shares(&group).await.unwrap();
    post_one(&store).await;
    let head = store.head().await.unwrap();
    store.close().await;

    let store = PgStore::open(database.url()).await.unwrap();
    assert_eq!(store.begin_session().await.unwrap(), 2);
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(store.append_shares(&group).await.unwrap(), Appended::Already);
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 1);
}

#[tokio::test]
async fn history_cannot_be_changed() {
    let (_database, store) = empty().await;
    post_one(&store).await;
    let mut session = store.session().await.unwrap();
    for replicating in ["SET session_replication_role = DEFAULT", "SET session_replication_role = replica"] {
        sqlx::query(replicating).execute(&mut *session).await.unwrap();
        for statement in [
            "UPDATE entries SET key = 'y'",
            "DELETE FROM entries",
            "TRUNCATE entries CASCADE",
            "UPDATE postings SET sat = 0",
            "DELETE FROM postings",
            "TRUNCATE postings",
            "DELETE FROM export_records",
            "UPDATE export_lots SET sat = 0",
            "TRUNCATE export_rows",
            "UPDATE export_journal SET body = '{}'",
            "DELETE FROM export_journal",
            "TRUNCATE export_journal",
            "DELETE FROM batch_events",
            "UPDATE conflicts SET loss_sat = 0",
            "UPDATE restraints SET act = 'ended'",
            "DELETE FROM payout_runs",
            "UPDATE account_names SET account = 2",
            "TRUNCATE account_names",
            "UPDATE audit_log SET actor = 'nobody'",
            "TRUNCATE audit_log CASCADE",
            "DELETE FROM audit_outcomes",
        ] {
            let error = sqlx::query(statement).execute(&mut *session).await.unwrap_err();
            assert!(error.to_string().contains("append-only"), "{statement}: {error}");
        }
    }
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused() {
    let (database, store) = empty().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, '\\x00', 0)",
    )
    .execute(&mut *store.session().await.unwrap())
    .await
    .unwrap();
    store.close().await;
    for result in [PgStore::open(database.url()).await, PgStore::open_read_only(database.url()).await] {
        assert!(matches!(result, Err(StoreError::NewerSchema { found: 9999, .. })), "{result:?}");
    }
}

#[tokio::test]
async fn a_database_that_no_pool_has_used_is_not_read() {
    let database = TestDatabase::create().unwrap();
    let result = PgStore::open_read_only(database.url()).await;
    assert!(matches!(result, Err(StoreError::OlderSchema { found: 0, .. })), "{result:?}");
}

#[tokio::test]
async fn a_second_process_reads_while_the_pool_writes() {
    let (database, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    let group = first_group(&store, vec![share(account, 1)]).await;
    let reader = PgStore::open_read_only(database.url()).await.unwrap();
    let mut session = store.session().await.unwrap();
    let mut transaction = begin(&mut session).await.unwrap();
    sql::shares::append(&mut transaction, &group, &Known::default()).await.unwrap();
    assert_eq!(reader.share_position().await.unwrap(), ShareSeq::new(0));
    transaction.commit().await.unwrap();
    assert_eq!(reader.share_position().await.unwrap(), group.segment);
    assert!(matches!(reader.begin_session().await, Err(StoreError::ReadOnly)));
    let error = sqlx::query("DELETE FROM wallet_changes").execute(&reader.readers).await.unwrap_err();
    assert_eq!(Outage::of(&error), Some(Outage::ReadOnly));
}

#[tokio::test]
async fn writers_wait_in_line_instead_of_failing() {
    let (_database, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    let appends = (0..50u32).map(|batch| {
        let store = store.clone();
        tokio::spawn(async move {
            let shares: Vec<_> = (0..20).map(|index| share(account, batch * 20 + index)).collect();
            append(&store, &shares).await
        })
    });
    let appends: Vec<_> = appends.collect();
    post_one(&store).await;
    for append in appends {
        append.await.unwrap();
    }
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 1_000);
}

#[tokio::test]
async fn a_write_that_is_given_up_leaves_nothing_and_holds_up_nobody() {
    let (_database, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    let group = first_group(&store, vec![share(account, 1)]).await;
    {
        let mut session = store.session().await.unwrap();
        let mut transaction = begin(&mut session).await.unwrap();
        sql::shares::append(&mut transaction, &group, &Known::default()).await.unwrap();
    }
    assert!(matches!(store.append_shares(&group).await, Ok(Appended::Stored)));
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 1);
}

#[tokio::test]
async fn a_second_writer_is_refused_until_the_first_has_ended() {
    let (database, store) = empty().await;
    assert!(matches!(PgStore::open(database.url()).await, Err(StoreError::InUse)));
    // Without a goodbye, as when the process is killed.
    drop(store);
    let next = PgStore::open(database.url()).await.unwrap();
    next.begin_session().await.unwrap();
}

#[tokio::test]
async fn a_lost_session_is_replaced_and_gets_the_lease_again() {
    let (database, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    let group = first_group(&store, vec![share(account, 1)]).await;
    end_writer(database.url()).await;
    assert!(matches!(store.append_shares(&group).await, Ok(Appended::Stored)));
    assert!(matches!(PgStore::open(database.url()).await, Err(StoreError::InUse)));
}

#[tokio::test]
async fn what_a_lost_session_knew_is_asked_for_again() {
    let (database, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    let group = first_group(&store, vec![share(account, 1)]).await;
    assert_eq!(store.append_shares(&group).await.unwrap(), Appended::Stored);
    end_writer(database.url()).await;
    // As on a server that has taken over, and does not have the last commit.
    let mut other = other_session(database.url()).await;
    let missing = "DELETE FROM shares; DELETE FROM workers; DELETE FROM share_jobs; UPDATE sessions SET last_group = 0";
    sqlx::raw_sql(missing).execute(&mut other).await.unwrap();
    assert_eq!(store.append_shares(&group).await.unwrap(), Appended::Stored);
    assert_eq!(store.worker_totals(account, 0).await.unwrap()[0].count, 1);
}

#[tokio::test]
async fn a_session_lost_within_a_write_leaves_nothing_of_it() {
    let (database, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    let group = first_group(&store, vec![share(account, 1)]).await;
    let mut session = store.session().await.unwrap();
    let mut transaction = begin(&mut session).await.unwrap();
    sql::shares::append(&mut transaction, &group, &Known::default()).await.unwrap();
    end_writer(database.url()).await;
    let error = StoreError::from(transaction.commit().await.unwrap_err());
    assert!(matches!(error, StoreError::Unavailable { outage: Outage::Gone, .. }), "{error}");
    drop(session);
    assert!(matches!(store.append_shares(&group).await, Ok(Appended::Stored)));
}

#[tokio::test]
async fn a_pool_that_lost_the_lease_to_another_never_writes_again() {
    let (database, store) = empty().await;
    end_writer(database.url()).await;
    let next = PgStore::open(database.url()).await.unwrap();
    assert!(matches!(store.begin_session().await, Err(StoreError::InUse)));
    next.begin_session().await.unwrap();
    next.close().await;
    // The lease is free, but what the first pool knows is no longer true.
    assert!(matches!(store.begin_session().await, Err(StoreError::LeaseLost)));
    assert_eq!(PgStore::open(database.url()).await.unwrap().begin_session().await.unwrap(), 2);
}

#[tokio::test]
async fn a_locked_database_takes_shares_again_once_it_is_released() {
    let (database, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    let group = first_group(&store, vec![share(account, 1)]).await;
    sqlx::query("SET lock_timeout = 50").execute(&mut *store.session().await.unwrap()).await.unwrap();
    let mut other = other_session(database.url()).await;
    let mut lock = other.begin().await.unwrap();
    sqlx::query("LOCK TABLE shares IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let error = store.append_shares(&group).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { outage: Outage::Locked, .. }), "{error}");
    lock.rollback().await.unwrap();
    assert!(matches!(store.append_shares(&group).await, Ok(Appended::Stored)));
}

#[tokio::test]
async fn a_read_only_database_takes_shares_again_once_it_may() {
    let (database, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    let group = first_group(&store, vec![share(account, 1)]).await;
    let name = database.url().rsplit_once('/').unwrap().1.to_owned();
    let read_only = async |setting| {
        // Of the sessions that begin from now on, and so of the one that takes the place of the present one.
        let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {setting}");
        let mut other = other_session(database.url()).await;
        sqlx::query("SET default_transaction_read_only = off").execute(&mut other).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(set)).execute(&mut other).await.unwrap();
    };
    read_only("on").await;
    sqlx::query("SET default_transaction_read_only = on").execute(&mut *store.session().await.unwrap()).await.unwrap();
    let error = store.append_shares(&group).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { outage: Outage::ReadOnly, .. }), "{error}");
    read_only("off").await;
    assert!(matches!(store.append_shares(&group).await, Ok(Appended::Stored)));
}

#[tokio::test]
async fn a_server_that_was_away_takes_shares_again_when_it_is_back() {
    let mut cluster = Cluster::start().unwrap();
    let store = PgStore::open(&cluster.url()).await.unwrap();
    let account = store.account(&address(1)).await.unwrap();
    let first = first_group(&store, vec![share(account, 1)]).await;
    store.append_shares(&first).await.unwrap();
    let second = ShareGroup { number: 2, ..first.clone() };
    cluster.stop().unwrap();
    for _ in 0..2 {
        let error = store.append_shares(&second).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { outage: Outage::Gone, .. }), "{error}");
    }
    cluster.restart().unwrap();
    assert_eq!(store.append_shares(&first).await.unwrap(), Appended::Already);
    assert_eq!(store.append_shares(&second).await.unwrap(), Appended::Stored);
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 2);
    assert_eq!(store.accounts(AccountId::new(0), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn commits_wait_for_the_disk_whatever_the_database_says() {
    let (database, store) = empty().await;
    let mut other = other_session(database.url()).await;
    let name: String = sqlx::query_scalar("SELECT current_database()::text").fetch_one(&mut other).await.unwrap();
    let hasty = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    sqlx::query(sqlx::AssertSqlSafe(hasty)).execute(&mut other).await.unwrap();
    store.close().await;
    let store = PgStore::open(database.url()).await.unwrap();
    let show = sqlx::query_scalar("SHOW synchronous_commit");
    let setting: String = show.fetch_one(&mut *store.session().await.unwrap()).await.unwrap();
    assert_eq!(setting, "on");
}

#[tokio::test]
async fn the_password_is_not_shown() {
    let (database, store) = empty().await;
    let with_password = database.url().replace("postgres@", "postgres:correct-horse@");
    let reader = PgStore::open_read_only(&with_password).await.unwrap();
    for shown in [format!("{reader:?}"), format!("{store:?}")] {
        assert!(shown.contains("adit_test_") && !shown.contains("correct-horse"), "{shown}");
    }
    let unreachable = "postgres://adit:correct-horse@127.0.0.1:1/adit";
    let error = PgStore::open(unreachable).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("correct-horse"), "{error:?}");
    let malformed = PgStore::open("postgres://adit:correct-horse@127.0.0.1:port/adit").await.unwrap_err();
    assert!(!format!("{malformed} {malformed:?}").contains("correct-horse"), "{malformed:?}");
}

#[tokio::test]
async fn a_block_of_the_first_schema_has_a_target_and_no_rule() {
    let database = TestDatabase::create().unwrap();
    let mut old = other_session(database.url()).await;
    MIGRATOR.run_to(1, &mut old).await.unwrap();
    let hash = conformance::block_hash(7);
    for statement in [
        "INSERT INTO accounts OVERRIDING SYSTEM VALUE VALUES (1, 'somewhere', '\\x51')".to_owned(),
        "INSERT INTO shares OVERRIDING SYSTEM VALUE VALUES (1, 1, '', 1, 1, 1, 0, 486604799, '\\x01', 1)".to_owned(),
        "INSERT INTO shares OVERRIDING SYSTEM VALUE VALUES (2, 1, '', 1, 1, 2, 0, 486604798, '\\x02', 1)".to_owned(),
        format!("INSERT INTO blocks VALUES ('{hash}', 9, '{hash}', 0, 50, 40, 1, 1, 3, 5, 'immature', 0)"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut old).await.unwrap();
    }
    let reader = PgStore::open_read_only(database.url()).await;
    assert!(matches!(reader, Err(StoreError::OlderSchema { found: 1, .. })), "{reader:?}");

    let store = PgStore::open(database.url()).await.unwrap();
    let block = store.block(hash).await.unwrap().unwrap();
    assert_eq!((block.found.nbits.to_consensus(), block.rule), (0x1d00_ffff, None));
    assert_eq!((block.found.height, block.fee), (9, Amount::from_sat(5)));
}

#[tokio::test]
async fn batches_of_the_second_schema_are_kept() {
    let database = TestDatabase::create().unwrap();
    let mut old = other_session(database.url()).await;
    MIGRATOR.run_to(2, &mut old).await.unwrap();
    for statement in conformance::batches_of_the_second_schema(|hex| format!("'\\x{hex}'")) {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut old).await.unwrap();
    }
    let store = PgStore::open(database.url()).await.unwrap();
    conformance::batches_of_the_second_schema_are_kept(Arc::new(store)).await;
}

#[tokio::test]
async fn an_account_of_the_sixth_schema_can_be_named() {
    let database = TestDatabase::create().unwrap();
    let mut old = other_session(database.url()).await;
    MIGRATOR.run_to(6, &mut old).await.unwrap();
    let insert = "INSERT INTO accounts OVERRIDING SYSTEM VALUE VALUES (1, 'somewhere', '\\x51')";
    sqlx::query(insert).execute(&mut old).await.unwrap();
    let store = PgStore::open(database.url()).await.unwrap();
    conformance::an_account_of_the_sixth_schema_can_be_named(Arc::new(store)).await;
}
