//! The store that the config names: SQLite or PostgreSQL, behind the one trait.

use std::sync::Arc;

use anyhow::{Context, bail};
use payouts::store::{Store, postgres::PgStore, sqlite::SqliteStore};
use secrecy::ExposeSecret;

use crate::config::StoreConfig;

/// Opens the store for the one process that may write to it.
///
/// # Errors
///
/// When it cannot be opened, or another pool works on it.
pub async fn open(config: &StoreConfig) -> anyhow::Result<Arc<dyn Store>> {
    let opened: Result<Arc<dyn Store>, _> = match config {
        StoreConfig::Sqlite(path) => SqliteStore::open(path).await.map(|store| Arc::new(store) as _),
        StoreConfig::Postgres(url) => {
            PgStore::open(url.read()?.expose_secret()).await.map(|store| Arc::new(store) as _)
        }
    };
    opened.with_context(|| format!("cannot open {config}"))
}

/// Looks for the file of an SQLite store, which the pool makes when it starts.
///
/// # Errors
///
/// When there is none.
pub fn check_exists(config: &StoreConfig) -> anyhow::Result<()> {
    match config {
        StoreConfig::Sqlite(path) if !path.exists() => {
            bail!("there are no books in {}: start the pool once", path.display())
        }
        StoreConfig::Sqlite(_) | StoreConfig::Postgres(_) => Ok(()),
    }
}

/// Opens the store to read it, also beside a running pool.
///
/// # Errors
///
/// When it cannot be opened, or its tables are not those of this version.
pub async fn open_read_only(config: &StoreConfig) -> anyhow::Result<Arc<dyn Store>> {
    check_exists(config)?;
    let opened: Result<Arc<dyn Store>, _> = match config {
        StoreConfig::Sqlite(path) => SqliteStore::open_read_only(path).await.map(|store| Arc::new(store) as _),
        StoreConfig::Postgres(url) => {
            PgStore::open_read_only(url.read()?.expose_secret()).await.map(|store| Arc::new(store) as _)
        }
    };
    opened.with_context(|| format!("cannot read the books in {config}"))
}
