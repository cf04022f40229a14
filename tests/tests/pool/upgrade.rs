//! What `docs/upgrade.md` promises: books of an older version are brought up to date at the start, those of a newer one are
//! refused, and a backup takes their place.

use std::{fs, path::Path};

use sqlx::{
    SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use crate::{
    rude::counted,
    site::{PATIENCE, Site, eventually, extended},
};

/// The schema of an earlier version, before blocks had their rules.
const EARLIER: i64 = 1;

async fn connect(database: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(database).create_if_missing(true);
    SqlitePool::connect_with(options.journal_mode(SqliteJournalMode::Wal)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn books_of_an_earlier_version_are_brought_up_to_date_at_the_start() {
    let mut site = Site::regtest();
    let miner = site.new_address();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("payouts/migrations/sqlite");
    let earlier = connect(&site.pool.database()).await;
    Migrator::new(migrations).await.unwrap().run_to(EARLIER, &earlier).await.unwrap();
    let insert = sqlx::query("INSERT INTO accounts VALUES (1, $1, $2)");
    insert.bind(miner.to_string()).bind(miner.script_pubkey().to_bytes()).execute(&earlier).await.unwrap();
    earlier.close().await;

    // Until then, commands of the new version refuse to read them: a backup is made with the old one.
    let file = site.pool.folder().join("backup.sqlite");
    let refused = site.pool.ask(&["store", "backup", file.to_str().unwrap()]).unwrap_err().to_string();
    assert!(refused.contains("the database has schema 1 instead of "), "{refused}");
    assert!(!file.exists());

    site.pool.start().unwrap();
    let accounts = site.pool.ask(&["account", "list"]).unwrap();
    assert!(accounts.contains(&miner.to_string()), "{accounts}");
    site.pool.ask(&["ledger", "verify"]).unwrap();
    site.pool.ask(&["store", "backup", file.to_str().unwrap()]).unwrap();
}

/// Puts a backup in the place of the books.
fn restore(backup: &Path, database: &Path) {
    for rest in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{rest}", database.display()));
    }
    fs::copy(backup, database).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_takes_the_place_of_books_of_a_later_version() {
    let mut site = Site::regtest();
    site.pool.start().unwrap();
    let payee = site.new_address();
    let miner = site.miner_with(extended(&payee, 40.0).max_shares(8)).await;
    miner.wait_for_judged(8, PATIENCE).await.unwrap();
    let before = site.settle().await.blocks().await.len();
    assert!(before > 0);
    // Fewer, if two were found at a height: the books have the orphan too.
    let in_chain = site.blocks_of_the_pool().len();
    site.pool.stop().unwrap();
    let (database, file) = (site.pool.database(), site.pool.folder().join("backup.sqlite"));
    site.pool.ask(&["store", "backup", file.to_str().unwrap()]).unwrap();

    let later = connect(&database).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', TRUE, x'00', 0)";
    sqlx::query(newer).execute(&later).await.unwrap();
    later.close().await;
    let refused = site.pool.spawn().unwrap().wait_with_output().unwrap();
    assert!(!refused.status.success());
    let said = site.pool.log();
    assert!(said.contains("the database has schema 9999, this program knows schemas up to "), "{said}");

    restore(&file, &database);
    site.pool.start().unwrap();
    assert_eq!(site.settle().await.blocks().await.len(), before);
    site.pool.ask(&["ledger", "verify"]).unwrap();

    // A block that was found since the backup is in no books: the running pool says so, and by how much.
    site.miner_with(extended(&payee, 40.0).max_shares(4)).await.wait_for_judged(4, PATIENCE).await.unwrap();
    assert!(site.settle().await.blocks().await.len() > before);
    site.pool.stop().unwrap();
    restore(&file, &database);
    site.pool.start().unwrap();
    eventually("the difference to be told", async || {
        site.pool.log().contains("incident: the books do not balance").then_some(())
    })
    .await;
    let imbalance_sat = counted(&site.pool, "adit_ledger_imbalance_sat");
    let lost = site.blocks_of_the_pool().len() - in_chain;
    assert_eq!(imbalance_sat, lost as u64 * 50 * 100_000_000);
}
