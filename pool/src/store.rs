//! The store that the config names: SQLite or PostgreSQL, behind the one trait.

use std::sync::Arc;

use anyhow::Context;
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

/// Opens the store to read it, also beside a running pool.
///
/// # Errors
///
/// When it cannot be opened, or its tables are not those of this version.
pub async fn open_read_only(config: &StoreConfig) -> anyhow::Result<Arc<dyn Store>> {
    let opened: Result<Arc<dyn Store>, _> = match config {
        StoreConfig::Sqlite(path) => SqliteStore::open_read_only(path).await.map(|store| Arc::new(store) as _),
        StoreConfig::Postgres(url) => {
            PgStore::open_read_only(url.read()?.expose_secret()).await.map(|store| Arc::new(store) as _)
        }
    };
    opened.with_context(|| format!("cannot read the books in {config}"))
}
