//! The store on a server: PostgreSQL, for pools whose books must outlive a machine.
//!
//! One session writes; it has the lease (`writer.rs`), and whoever wants to write waits in line for it. Several
//! connections read, here and in other processes, without waiting for the writer. A connection pooler that gives the
//! same session to several clients must not stand in between: the lease belongs to the session.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    Connection as _, PgConnection, PgPool, Postgres,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
};
use tokio::sync::{MappedMutexGuard, Mutex};

use self::{sql::known::Known, writer::Writer};
use crate::store::StoreError;

#[path = "../sql/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database, as its documentation says")]
pub(super) mod sql;
mod writer;

type Backend = PgStore;
type Connection = PgConnection;
type Db = Postgres;
type Pool = PgPool;
type SqlRow = PgRow;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/postgres");

/// Connections that read.
const READERS: u32 = 4;
/// How long a reader waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// What every session sets, whatever the server's own settings are. A commit is on disk before it is answered; a wait
/// for a lock and a statement have an end; and a client that vanished without a word is noticed within half a minute,
/// so that it does not keep the lease.
const SESSION_SETTINGS: [(&str, &str); 6] = [
    ("synchronous_commit", "on"),
    ("lock_timeout", "5s"),
    ("statement_timeout", "5min"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "4"),
];

/// An open PostgreSQL database.
#[derive(Clone)]
pub struct PgStore {
    /// Nothing in a store that was opened to read.
    writer: Option<Arc<Writer>>,
    readers: PgPool,
    /// Host and database, for people.
    place: String,
    /// Asked for by whoever has the session that writes.
    known: Arc<Mutex<Known>>,
}

impl PgStore {
    /// Opens the database at `url`, `postgres://user:password@host/database`, for the one pool that may write to it, and
    /// brings its tables up to date.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached, another pool works on it, or a later version of this program wrote to it.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = options(url)?;
        let place = place(&options);
        let known = Arc::default();
        let writer = Writer::open(options.clone(), Arc::clone(&known)).await?;
        let readers = connect_readers(options).await?;
        Ok(Self { writer: Some(Arc::new(writer)), readers, place, known })
    }

    /// Opens the database at `url` to read it, also while a pool writes to it. All calls that write fail.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached, or its tables are older or newer than this program's.
    pub async fn open_read_only(url: &str) -> Result<Self, StoreError> {
        let options = options(url)?;
        let place = place(&options);
        let readers = connect_readers(options).await?;
        let mut connection = readers.acquire().await?;
        let (found, known) = schemas(&mut connection).await?;
        match found.cmp(&known) {
            std::cmp::Ordering::Greater => Err(StoreError::NewerSchema { found, known }),
            std::cmp::Ordering::Less => Err(StoreError::OlderSchema { found, known }),
            std::cmp::Ordering::Equal => Ok(Self { writer: None, readers, place, known: Arc::default() }),
        }
    }

    /// Closes all connections, after what is being written, and lets another process write.
    pub async fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
        self.readers.close().await;
    }

    /// Waits in line for the session that writes.
    pub(super) async fn session(&self) -> Result<MappedMutexGuard<'_, PgConnection>, StoreError> {
        self.writer.as_ref().ok_or(StoreError::ReadOnly)?.session().await
    }
}

impl fmt::Debug for PgStore {
    /// Says where the database is. The password, which is part of the options to connect, is never shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PgStore").field(&self.place).finish()
    }
}

/// Begins a transaction. One that is dropped is rolled back before the session does anything else.
async fn begin(session: &mut PgConnection) -> Result<sqlx::Transaction<'_, Postgres>, StoreError> {
    Ok(session.begin().await?)
}

fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(url)?.application_name("adit").options(SESSION_SETTINGS))
}

fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    format!("{}:{}/{database}", options.get_host(), options.get_port())
}

async fn connect_readers(options: PgConnectOptions) -> Result<PgPool, StoreError> {
    let options = options.options([("default_transaction_read_only", "on")]);
    let pool = PgPoolOptions::new().max_connections(READERS).acquire_timeout(ACQUIRE_TIMEOUT);
    Ok(pool.connect_with(options).await?)
}

/// Brings the tables up to date.
async fn migrate(session: &mut PgConnection) -> Result<(), StoreError> {
    let (found, known) = schemas(session).await?;
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    Ok(MIGRATOR.run(session).await?)
}

/// Returns the latest schema in the database, 0 for none, and the latest known.
async fn schemas(connection: &mut PgConnection) -> Result<(i64, i64), StoreError> {
    let known = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    let exists: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok((0, known));
    }
    let found: Option<i64> =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(connection).await?;
    Ok((found.unwrap_or(0), known))
}

#[cfg(test)]
mod tests;
