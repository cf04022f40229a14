//! Books that were kept in SQLite, copied to PostgreSQL.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use postgres_test::TestDatabase;
use tempfile::TempDir;

use super::*;
use crate::{
    share::ShareSeq,
    store::{
        Store,
        conformance::{self, address, append, share},
    },
};

/// Makes books with everything in them: accounts, shares over several pages, blocks, credits, a batch, exports.
async fn books() -> (TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap();
    conformance::everything_is_in_use(Arc::new(store.clone())).await;
    (dir, store)
}

async fn target() -> (TestDatabase, PgStore) {
    let database = TestDatabase::create().unwrap();
    let store = PgStore::open(database.url()).await.unwrap();
    (database, store)
}

async fn change(store: &SqliteStore, statements: &[&'static str]) {
    for statement in statements {
        sqlx::query(*statement).execute(&mut *store.session().await.unwrap()).await.unwrap();
    }
}

async fn is_empty(store: &PgStore) -> bool {
    store.accounts(crate::AccountId::new(0), 1).await.unwrap().is_empty()
        && store.share_position().await.unwrap() == ShareSeq::new(0)
}

#[tokio::test]
async fn all_books_arrive_and_go_on_there() {
    let ((_dir, source), (_database, target)) = (books().await, target().await);
    let copied = copy(&source, &target).await.unwrap();
    let rows: std::collections::BTreeMap<_, _> = copied.rows.iter().cloned().collect();
    assert_eq!(rows["shares"], 2_500);
    assert!(rows.values().all(|rows| *rows > 0), "this test leaves tables empty: {rows:?}");

    assert_eq!(target.head().await.unwrap(), source.head().await.unwrap());
    assert_eq!(target.balances().await.unwrap(), source.balances().await.unwrap());
    assert_eq!(target.blocks(100).await.unwrap(), source.blocks(100).await.unwrap());
    assert_eq!(target.batches(100).await.unwrap(), source.batches(100).await.unwrap());
    let newest = source.share_position().await.unwrap();
    assert_eq!(target.segments_back(newest, 1).await.unwrap(), source.segments_back(newest, 1).await.unwrap());
    assert_eq!(target.wallet_changes().await.unwrap(), source.wallet_changes().await.unwrap());

    // Each number that comes next is the one that would have come next there.
    assert_eq!(target.begin_session().await.unwrap(), source.begin_session().await.unwrap());
    let (here, there) = (address(77), address(77));
    let account = source.account(&here).await.unwrap();
    assert_eq!(target.account(&there).await.unwrap(), account);
    assert!(append(&target, &[share(account, 1_000_000)]).await > newest);
    assert_eq!(target.share_totals(None, 0).await.unwrap().count, 2_501);
    assert_eq!(audit::verify(&target).await.unwrap(), copied.audited);
}

#[tokio::test]
async fn a_target_with_something_in_it_is_refused() {
    let ((_dir, source), (_database, target)) = (books().await, target().await);
    target.account(&address(9)).await.unwrap();
    let refused = copy(&source, &target).await;
    assert!(matches!(&refused, Err(CopyError::NotEmpty(table)) if table == "accounts"), "{refused:?}");
    assert_eq!(target.share_position().await.unwrap(), ShareSeq::new(0));
}

#[tokio::test]
async fn books_that_were_tampered_with_are_not_copied() {
    let ((_dir, source), (_database, target)) = (books().await, target().await);
    change(&source, &["DROP TRIGGER postings_no_update", "UPDATE postings SET sat = sat + 1 WHERE entry = 2"]).await;
    let refused = copy(&source, &target).await;
    assert!(matches!(refused, Err(CopyError::Source(AuditError::Ledger(_)))), "{refused:?}");
    assert!(is_empty(&target).await);
}

#[tokio::test]
async fn a_copy_that_differs_in_any_row_is_refused() {
    let ((_dir, source), (_database, target)) = (books().await, target().await);
    copy(&source, &target).await.unwrap();
    let tables = tables(&mut source.readers.acquire().await.unwrap()).await.unwrap();
    let mut session = target.session().await.unwrap();
    for table in &tables {
        let mut transaction = sqlx::Connection::begin(&mut *session).await.unwrap();
        let (column, kind) = table.columns.last().unwrap();
        let changed = match kind {
            Kind::Integer => format!("COALESCE({column}, 0) + 1"),
            Kind::Text => format!("COALESCE({column}, '') || 'x'"),
            Kind::Bytes => format!("COALESCE({column}, '') || '\\x00'"),
        };
        // What only the database's own administrator can do, and neither trigger nor constraint may hide.
        let statements = [
            format!("ALTER TABLE {} DISABLE TRIGGER ALL", table.name),
            "SET CONSTRAINTS ALL DEFERRED".to_owned(),
            format!(
                "UPDATE {name} SET {column} = {changed} WHERE ctid = (SELECT MAX(ctid) FROM {name})",
                name = table.name
            ),
        ];
        for statement in statements {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *transaction).await.unwrap();
        }
        let found = compare(table, &mut source.readers.acquire().await.unwrap(), &mut transaction).await;
        assert!(matches!(&found, Err(CopyError::Different { table: named, .. }) if *named == table.name), "{found:?}");
        transaction.rollback().await.unwrap();
        compare(table, &mut source.readers.acquire().await.unwrap(), &mut session).await.unwrap();
    }
}

#[tokio::test]
async fn both_databases_have_the_same_tables() {
    let ((_dir, source), (_database, target)) = (books().await, target().await);
    let here = tables(&mut source.readers.acquire().await.unwrap()).await.unwrap();
    let mut here: Vec<_> = here
        .into_iter()
        .flat_map(|table| {
            let name = table.name;
            table.columns.into_iter().map(move |(column, kind)| (name.clone(), column, kind))
        })
        .collect();
    here.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    let there: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns \
         WHERE table_schema = current_schema AND table_name NOT IN ('_sqlx_migrations', 'lease') \
         ORDER BY table_name COLLATE \"C\", column_name COLLATE \"C\"",
    )
    .fetch_all(&mut *target.session().await.unwrap())
    .await
    .unwrap();
    let kind = |kind: &str| match kind {
        "bigint" => Kind::Integer,
        "text" => Kind::Text,
        "bytea" => Kind::Bytes,
        other => panic!("{other} is not a kind that the store uses"),
    };
    let there: Vec<_> = there.into_iter().map(|(table, column, of)| (table, column, kind(&of))).collect();
    assert_eq!(here, there);
}
