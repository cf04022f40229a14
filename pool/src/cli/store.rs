//! Copies of the books: a backup for safe keeping, and the move from SQLite to PostgreSQL.

use std::path::Path;

use anyhow::{Context, bail};
use payouts::store::{copy, postgres::PgStore, sqlite::SqliteStore};
use secrecy::ExposeSecret;

use super::table::{Align, Table};
use crate::{
    config::{PostgresUrl, StoreConfig},
    store::check_exists,
};

/// Writes a copy of the books to a new file, also while the pool runs, and says what is in it.
///
/// # Errors
///
/// When the books are not in SQLite or cannot be read, the file exists or cannot be written, or the copy is not right.
pub async fn backup(store: &StoreConfig, file: &Path) -> anyhow::Result<String> {
    let StoreConfig::Sqlite(path) = store else {
        bail!("the books are on a PostgreSQL server: back them up with its own pg_dump");
    };
    let store = SqliteStore::open_read_only(path)
        .await
        .with_context(|| format!("cannot read the books in {}", path.display()))?;
    let audited = store.backup(file).await.with_context(|| format!("no backup of {} was made", path.display()))?;
    let (ledger, register) = (audited.ledger, audited.register);
    Ok(format!(
        "{} holds the books up to ledger entry {} ({}) and export row {}.\nAll records in it are as they were written.\n",
        file.display(),
        ledger.seq,
        ledger.hash,
        register.seq,
    ))
}

/// Copies the books of a stopped pool from SQLite to the empty PostgreSQL database whose URL is in a file of mode 0600,
/// and says what arrived.
///
/// # Errors
///
/// When a pool works on either, the books are wrong, the target is not empty, or something did not arrive.
pub async fn copy(store: &StoreConfig, url_file: &Path) -> anyhow::Result<String> {
    let StoreConfig::Sqlite(path) = store else {
        bail!("the books are on a PostgreSQL server already");
    };
    let url = PostgresUrl::in_file("--to", url_file).read()?;
    // Opening would make an empty database of a wrong path.
    check_exists(store)?;
    let source = SqliteStore::open(path).await.with_context(|| format!("cannot open {}", path.display()))?;
    let target = PgStore::open(url.expose_secret())
        .await
        .with_context(|| format!("cannot open the database of {}", url_file.display()))?;
    let copied = copy::copy(&source, &target).await.context("the books were not copied")?;
    source.close().await;
    target.close().await;
    let mut table = Table::new([("TABLE", Align::Left), ("ROWS", Align::Right)]);
    for (name, rows) in copied.rows {
        table.push([name, rows.to_string()]);
    }
    let head = copied.audited.ledger;
    Ok(format!(
        "{table}\nEvery row was read back and is the same. Both ledgers end with entry {} ({}).\n\
         To go on there, set store.url_file to {} instead of store.path, and start the pool.\n",
        head.seq,
        head.hash,
        url_file.display(),
    ))
}
