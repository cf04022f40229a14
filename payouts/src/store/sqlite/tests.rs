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
    share::{Appended, ShareGroup, ShareRun, ShareSeq},
    store::{
        Change, Commit, Outage, Store,
        conformance::{self, address, append, for_each_requirement, share},
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
    let group = first_group(&store, vec![share(account, 1)]).await;
    store.append_shares(&group).await.unwrap();
    post_one(&store).await;
    let head = store.head().await.unwrap();
    store.close().await;

    let store = SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap();
    assert_eq!(store.begin_session().await.unwrap(), 2);
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(store.append_shares(&group).await.unwrap(), Appended::Already);
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 1);
}

#[tokio::test]
async fn history_cannot_be_changed() {
    let (_dir, store) = empty().await;
    post_one(&store).await;
    let account = store.account(&address(1)).await.unwrap();
    store.name_account(account, Some(&"farm".parse().unwrap())).await.unwrap();
    conformance::journal_is_read_back_and_found_by_subject(Arc::new(store.clone())).await;
    conformance::audit_log_is_read_newest_first_with_what_came_of_it(Arc::new(store.clone())).await;
    for statement in [
        "UPDATE entries SET key = 'y'",
        "UPDATE export_journal SET body = '{}'",
        "DELETE FROM export_journal",
        "DELETE FROM entries",
        "UPDATE postings SET sat = 0",
        "DELETE FROM postings",
        "UPDATE account_names SET account = 2",
        "DELETE FROM account_names",
        "UPDATE audit_log SET actor = 'nobody'",
        "DELETE FROM audit_log",
        "UPDATE audit_outcomes SET outcome = 'done'",
        "DELETE FROM audit_outcomes",
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
        assert!(matches!(result, Err(StoreError::NewerSchema { found: 9999, known: 13 })), "{result:?}");
    }
}

#[tokio::test]
async fn a_second_process_reads_while_the_pool_writes() {
    let (dir, store) = empty().await;
    let path = dir.path().join("adit.sqlite");
    let account = store.account(&address(1)).await.unwrap();
    let group = first_group(&store, vec![share(account, 1)]).await;
    let reader = SqliteStore::open_read_only(&path).await.unwrap();
    let mut session = store.session().await.unwrap();
    let mut transaction = begin(&mut session).await.unwrap();
    sql::shares::append(&mut transaction, &group, &Known::default()).await.unwrap();
    assert_eq!(reader.share_position().await.unwrap(), ShareSeq::new(0));
    transaction.commit().await.unwrap();
    assert_eq!(reader.share_position().await.unwrap(), group.segment);
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
    append(&store, &[share(account, 1)]).await;
    let rig = |index| ShareRun { worker: format!("rig {index}").into(), ..share(account, index) };
    let group = first_group(&store, (2..2_000).map(rig).collect()).await;
    let cause = cause.to_owned();
    sqlx::query(sqlx::AssertSqlSafe(cause)).execute(&store.writer).await.unwrap();
    for _ in 0..2 {
        let error = store.append_shares(&group).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { outage, .. } if outage == expected), "{error}");
    }
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 1);
    let mend = mend.to_owned();
    sqlx::query(sqlx::AssertSqlSafe(mend)).execute(&store.writer).await.unwrap();
    assert_eq!(store.append_shares(&group).await.unwrap(), Appended::Stored);
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
async fn nothing_is_written_to_a_file_that_is_not_in_its_place() {
    let (dir, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    let group = first_group(&store, vec![share(account, 1)]).await;
    let (place, away) = (dir.path().join("adit.sqlite"), dir.path().join("away.sqlite"));
    std::fs::rename(&place, &away).unwrap();
    let told = async |words| {
        let error = store.append_shares(&group).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { outage: Outage::Gone, .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    told("adit.sqlite was moved away or removed").await;
    std::fs::copy(&away, &place).unwrap();
    told("another file is in its place").await;
    std::fs::rename(&away, &place).unwrap();
    assert_eq!(store.append_shares(&group).await.unwrap(), Appended::Stored);
}

#[tokio::test]
async fn a_locked_database_takes_shares_again_once_it_is_released() {
    let (dir, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    let group = first_group(&store, vec![share(account, 1)]).await;
    sqlx::query("PRAGMA busy_timeout = 50").execute(&store.writer).await.unwrap();
    let options = SqliteConnectOptions::new().filename(dir.path().join("adit.sqlite"));
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = store.append_shares(&group).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { outage: Outage::Locked, .. }), "{error}");
    lock.rollback().await.unwrap();
    assert!(matches!(store.append_shares(&group).await, Ok(Appended::Stored)));
}

#[tokio::test]
async fn a_backup_is_made_while_shares_are_written() {
    let (dir, store) = empty().await;
    let account = store.account(&address(1)).await.unwrap();
    post_one(&store).await;
    let rig = |index| ShareRun { worker: format!("rig {index}").into(), ..share(account, index) };
    let before = first_group(&store, (0..1_000).map(rig).collect()).await;
    store.append_shares(&before).await.unwrap();

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writing = tokio::spawn({
        let (store, session, segment) = (store.clone(), before.session, before.segment);
        async move {
            let mut written = 1_000;
            for number in 2.. {
                if *stopped.borrow() {
                    break;
                }
                let group = ShareGroup { session, number, segment, runs: vec![share(account, written)] };
                store.append_shares(&group).await.unwrap();
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
    assert_eq!(copy.append_shares(&before).await.unwrap(), Appended::Already);
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

/// A pool of the time when each share was a row, with a block of 12 satoshis. Shares 4 and 3 are worth a quarter and half
/// a block, and the last quarter of X = 1 is a part of share 1, which is worth two.
#[tokio::test]
async fn single_shares_become_segments_and_old_blocks_are_explained_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adit.sqlite");
    let old = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path).create_if_missing(true));
    let old = old.await.unwrap();
    MIGRATOR.run_to(2, &old).await.unwrap();
    let hash = conformance::block_hash(7);
    for statement in [
        "INSERT INTO accounts VALUES (1, 'one', x'51'), (2, 'other', x'52')".to_owned(),
        "INSERT INTO shares VALUES (1, 1, 'rig', 1, 1, 1, 1, 486604799, x'01', 1000)".to_owned(),
        "INSERT INTO shares VALUES (3, 2, '', 1, 1, 2, -1, 486604799, x'02', 2000)".to_owned(),
        "INSERT INTO shares VALUES (4, 1, 'rig', 1, 1, 3, -2, 486604799, x'03', 2000)".to_owned(),
        "INSERT INTO shares VALUES (5, 2, '', 1, 1, 4, 5, 486604798, x'04', 3000)".to_owned(),
        format!(
            "INSERT INTO blocks VALUES ('{hash}', 9, '{hash}', 0, 12, 12, 1, 4, 3, 0, 'immature', 0, 486604799, \
             'pplns window=1 fee_bp=0')"
        ),
        format!("INSERT INTO credits VALUES ('{hash}', 1, 6, 0), ('{hash}', 2, 6, 0)"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&old).await.unwrap();
    }
    old.close().await;

    let store = Arc::new(SqliteStore::open(&path).await.unwrap());
    assert_eq!(store.share_position().await.unwrap(), ShareSeq::new(5));
    let positions: Vec<_> = store.segments_back(ShareSeq::new(4), 10).await.unwrap();
    let positions: Vec<_> = positions.iter().map(|segment| (segment.position.get(), segment.rows[0].count)).collect();
    assert_eq!(positions, [(4, 1), (3, 1), (1, 1)]);
    let work = store.work_between(ShareSeq::new(3), ShareSeq::new(5)).await.unwrap();
    assert_eq!(work.len(), 2);
    assert_eq!((work[0].job.height, work[0].job.subsidy, work[0].job.prev_hash), (None, None, None));
    assert_eq!(store.share_totals(None, 2_000).await.unwrap().count, 3);

    // The ledger's entry of that time.
    let draft = Draft::begin(EntryKind::BlockFound, hash)
        .debit(LedgerAccount::Immature(hash), Amount::from_sat(12))
        .credit(LedgerAccount::MinerImmature(AccountId::new(1)), Amount::from_sat(6))
        .credit(LedgerAccount::MinerImmature(AccountId::new(2)), Amount::from_sat(6));
    let entry = draft.balanced().unwrap().seal(Head::EMPTY, 1);
    assert_eq!(store.commit(Change { entry, rows: vec![] }).await.unwrap(), Commit::Done);
    let mut told = Vec::new();
    for account in [1, 2].map(AccountId::new) {
        let explained = crate::books::explain(&*store, hash, account).await.unwrap().explanation;
        assert_eq!(explained.credit, Amount::from_sat(6));
        told.push(explained);
    }
    let scheme = crate::scheme::pplns::Pplns { window: 1.try_into().unwrap(), fee: crate::scheme::PoolFee::NONE };
    let books = crate::Books::new(store.clone(), scheme);
    assert_eq!((books.freeze_windows().await.unwrap(), books.freeze_windows().await.unwrap()), (1, 0));
    assert_eq!(books.fold_shares(ShareSeq::new(0), ShareSeq::new(5), &[]).await.unwrap(), 2);
    assert_eq!(store.delete_segments(ShareSeq::new(4), 100).await.unwrap(), 3);
    for (account, told) in [1, 2].map(AccountId::new).into_iter().zip(told) {
        assert_eq!(crate::books::explain(&*store, hash, account).await.unwrap().explanation, told);
    }
    // New shares lie behind all old ones.
    let account = store.account(&address(1)).await.unwrap();
    assert!(append(&*store, &[share(account, 1)]).await > ShareSeq::new(u32::MAX.into()));
}

#[tokio::test]
async fn batches_of_the_second_schema_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adit.sqlite");
    let old = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path).create_if_missing(true));
    let old = old.await.unwrap();
    MIGRATOR.run_to(2, &old).await.unwrap();
    for statement in conformance::batches_of_the_second_schema(|hex| format!("x'{hex}'")) {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&old).await.unwrap();
    }
    old.close().await;
    let store = SqliteStore::open(&path).await.unwrap();
    conformance::batches_of_the_second_schema_are_kept(Arc::new(store)).await;
}

#[tokio::test]
async fn an_account_of_the_sixth_schema_can_be_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adit.sqlite");
    let old = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path).create_if_missing(true));
    let old = old.await.unwrap();
    MIGRATOR.run_to(6, &old).await.unwrap();
    sqlx::query("INSERT INTO accounts VALUES (1, 'somewhere', x'51')").execute(&old).await.unwrap();
    old.close().await;
    let store = SqliteStore::open(&path).await.unwrap();
    conformance::an_account_of_the_sixth_schema_can_be_named(Arc::new(store)).await;
}
