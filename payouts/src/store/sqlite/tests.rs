//! The conformance suite on SQLite, and what only SQLite does.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bitcoin::Amount;
use sqlx::Connection as _;
use tempfile::TempDir;

use super::*;
use crate::{
    account::AccountId,
    audit,
    ledger::{Draft, EntryKind, Head, LedgerAccount},
    share::{Appended, ShareSeq},
    store::{
        Change, Commit, Outage, Store,
        conformance::{self, address, for_each_requirement, share},
    },
};

async fn empty() -> (TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap();
    (dir, store)
}

async fn post_one(store: &SqliteStore) {
    let draft = Draft::begin(EntryKind::Broadcast, "x")
        .debit(LedgerAccount::Fee, Amount::ONE_SAT)
        .credit(LedgerAccount::Spendable, Amount::ONE_SAT);
    let entry = draft.balanced().unwrap().seal(Head::EMPTY, 1);
    assert_eq!(store.commit(Change { entry, rows: vec![] }).await.unwrap(), Commit::Done);
}

macro_rules! conforms {
    ($($requirement:ident,)*) => {
        $(
            #[tokio::test]
            async fn $requirement() {
                let (_dir, store) = empty().await;
                conformance::$requirement(Arc::new(store)).await;
            }
        )*
    };
}

for_each_requirement!(conforms);

#[tokio::test]
async fn everything_survives_a_restart() {
    let (dir, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    store.append_shares(&[share(account, 1)]).await.unwrap();
    store.begin_session().await.unwrap();
    post_one(&store).await;
    let head = store.head().await.unwrap();
    store.close().await;

    let store = SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap();
    assert_eq!(store.begin_session().await.unwrap(), 2);
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(store.append_shares(&[share(account, 1)]).await.unwrap(), [Appended::Duplicate]);
}

#[tokio::test]
async fn history_cannot_be_changed() {
    let (_dir, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    store.append_shares(&[share(account, 1)]).await.unwrap();
    post_one(&store).await;
    for statement in [
        "UPDATE shares SET account = 1",
        "DELETE FROM shares",
        "UPDATE entries SET key = 'y'",
        "DELETE FROM entries",
        "UPDATE postings SET sat = 0",
        "DELETE FROM postings",
    ] {
        let error = sqlx::query(statement).execute(&store.writer).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{statement}: {error}");
    }
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused() {
    let (dir, store) = empty().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, x'00', 0)",
    )
    .execute(&store.writer)
    .await
    .unwrap();
    store.close().await;
    let path = dir.path().join("adit.sqlite");
    for result in [SqliteStore::open(&path).await, SqliteStore::open_read_only(&path).await] {
        assert!(matches!(result, Err(StoreError::NewerSchema { found: 9999, known: 2 })), "{result:?}");
    }
}

#[tokio::test]
async fn a_second_process_reads_while_the_pool_writes() {
    let (dir, store) = empty().await;
    let path = dir.path().join("adit.sqlite");
    let account = store.account(&address(1)).await.unwrap();
    let reader = SqliteStore::open_read_only(&path).await.unwrap();
    let mut session = store.session().await.unwrap();
    let mut transaction = begin(&mut session).await.unwrap();
    sql::shares::append(&mut transaction, &[share(account, 1)]).await.unwrap();
    assert_eq!(reader.share_position().await.unwrap(), ShareSeq::new(0));
    transaction.commit().await.unwrap();
    assert_eq!(reader.share_position().await.unwrap(), ShareSeq::new(1));
    assert!(reader.begin_session().await.is_err());
}

#[tokio::test]
async fn a_database_at_rest_can_be_read() {
    let (dir, store) = empty().await;
    store.account(&address(1)).await.unwrap();
    store.close().await;
    let reader = SqliteStore::open_read_only(&dir.path().join("adit.sqlite")).await.unwrap();
    assert_eq!(reader.accounts(AccountId::new(0), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_missing_file_or_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(SqliteStore::open_read_only(&dir.path().join("none.sqlite")).await.is_err());
    assert!(SqliteStore::open(&dir.path().join("none/adit.sqlite")).await.is_err());
}

#[tokio::test]
async fn writers_wait_in_line_instead_of_failing() {
    let (_dir, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    let appends = (0..50u32).map(|batch| {
        let store = store.clone();
        tokio::spawn(async move {
            let shares: Vec<_> = (0..20).map(|index| share(account, batch * 20 + index)).collect();
            store.append_shares(&shares).await.unwrap()
        })
    });
    let appends: Vec<_> = appends.collect();
    post_one(&store).await;
    for append in appends {
        assert!(append.await.unwrap().iter().all(|appended| matches!(appended, Appended::Stored(_))));
    }
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 1_000);
}

#[tokio::test]
async fn a_second_writer_is_refused_until_the_first_has_ended() {
    let (dir, store) = empty().await;
    let path = dir.path().join("adit.sqlite");
    assert!(matches!(SqliteStore::open(&path).await, Err(StoreError::InUse)));
    store.close().await;
    let next = SqliteStore::open(&path).await.unwrap();
    next.begin_session().await.unwrap();
}

/// Fails an append with `cause`, makes sure that it is told, and that the same append succeeds after `mend`.
async fn resumes_after(cause: &str, mend: &str, expected: Outage) {
    let (_dir, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    store.append_shares(&[share(account, 1)]).await.unwrap();
    let cause = cause.to_owned();
    sqlx::query(sqlx::AssertSqlSafe(cause)).execute(&store.writer).await.unwrap();
    let batch: Vec<_> = (2..2_000).map(|hash| share(account, hash)).collect();
    for _ in 0..2 {
        let error = store.append_shares(&batch).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { outage, .. } if outage == expected), "{error}");
    }
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 1);
    let mend = mend.to_owned();
    sqlx::query(sqlx::AssertSqlSafe(mend)).execute(&store.writer).await.unwrap();
    let appended = store.append_shares(&batch).await.unwrap();
    assert!(appended.iter().all(|appended| matches!(appended, Appended::Stored(_))));
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 1_999);
}

#[tokio::test]
async fn a_full_database_takes_shares_again_once_there_is_room() {
    // SQLite keeps to the pages that are there when the limit is below them.
    resumes_after("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000", Outage::Full).await;
}

#[tokio::test]
async fn a_read_only_database_takes_shares_again_once_it_may() {
    resumes_after("PRAGMA query_only = ON", "PRAGMA query_only = OFF", Outage::ReadOnly).await;
}

#[tokio::test]
async fn a_locked_database_takes_shares_again_once_it_is_released() {
    let (dir, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    sqlx::query("PRAGMA busy_timeout = 50").execute(&store.writer).await.unwrap();
    let options = SqliteConnectOptions::new().filename(dir.path().join("adit.sqlite"));
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = store.append_shares(&[share(account, 1)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { outage: Outage::Locked, .. }), "{error}");
    lock.rollback().await.unwrap();
    assert!(matches!(store.append_shares(&[share(account, 1)]).await.unwrap()[..], [Appended::Stored(_)]));
}

#[tokio::test]
async fn a_backup_is_made_while_shares_are_written() {
    let (dir, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    post_one(&store).await;
    let before: Vec<_> = (0..1_000).map(|hash| share(account, hash)).collect();
    store.append_shares(&before).await.unwrap();

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writing = tokio::spawn({
        let store = store.clone();
        async move {
            let mut written = 1_000;
            while !*stopped.borrow() {
                store.append_shares(&[share(account, written)]).await.unwrap();
                written += 1;
            }
            written
        }
    });
    let reader = SqliteStore::open_read_only(&dir.path().join("adit.sqlite")).await.unwrap();
    let file = dir.path().join("backup.sqlite");
    let audited = reader.backup(&file).await.unwrap();
    stop.send_replace(true);
    let written = writing.await.unwrap();

    assert_eq!(audited, audit::verify(&store).await.unwrap());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let copy = SqliteStore::open(&file).await.unwrap();
    let count = copy.share_totals(None, 0).await.unwrap().count;
    assert!((1_000..=u64::from(written)).contains(&count), "{count} of {written}");
    // It goes on where it was taken: nothing that it has counts twice.
    assert_eq!(copy.append_shares(&before[..1]).await.unwrap(), [Appended::Duplicate]);
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, u64::from(written));
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_leaves_nothing_half_done() {
    let (dir, store) = empty().await;
    let file = dir.path().join("backup.sqlite");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(store.backup(&file).await, Err(BackupError::Exists(_))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let nowhere = dir.path().join("nowhere/backup.sqlite");
    assert!(matches!(store.backup(&nowhere).await, Err(BackupError::File { .. })));

    // Books that are wrong are not kept as if they were right.
    post_one(&store).await;
    for statement in ["DROP TRIGGER postings_no_update", "UPDATE postings SET sat = sat * 2"] {
        sqlx::query(statement).execute(&store.writer).await.unwrap();
    }
    let file = dir.path().join("second.sqlite");
    assert!(matches!(store.backup(&file).await, Err(BackupError::Audit(_))));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("second")), "{left:?}");
}

#[tokio::test]
async fn a_block_of_the_first_schema_has_a_target_and_no_rule() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adit.sqlite");
    let old = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path).create_if_missing(true));
    let old = old.await.unwrap();
    MIGRATOR.run_to(1, &old).await.unwrap();
    let hash = conformance::block_hash(7);
    for statement in [
        "INSERT INTO accounts VALUES (1, 'somewhere', x'51')".to_owned(),
        "INSERT INTO shares VALUES (1, 1, '', 1, 1, 1, 0, 486604799, x'01', 1)".to_owned(),
        "INSERT INTO shares VALUES (2, 1, '', 1, 1, 2, 0, 486604798, x'02', 1)".to_owned(),
        format!("INSERT INTO blocks VALUES ('{hash}', 9, '{hash}', 0, 50, 40, 1, 1, 3, 5, 'immature', 0)"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&old).await.unwrap();
    }
    old.close().await;

    let store = SqliteStore::open(&path).await.unwrap();
    let block = store.block(hash).await.unwrap().unwrap();
    assert_eq!((block.found.nbits.to_consensus(), block.rule), (0x1d00_ffff, None));
    assert_eq!((block.found.height, block.fee), (9, Amount::from_sat(5)));
    let explained = crate::books::explain(&store, hash, AccountId::new(1)).await;
    assert!(matches!(explained, Err(crate::BooksError::NoRule(_))), "{explained:?}");
}
