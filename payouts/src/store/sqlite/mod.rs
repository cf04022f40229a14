//! The embedded store: one SQLite file, in WAL mode, durable at every commit.
//!
//! One connection writes, and whoever wants to write waits in line for it: that is fair, where SQLite's own lock is
//! taken by polling. Several connections read, here and in other processes, without waiting for the writer.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    Connection as _, Sqlite, SqliteConnection, SqlitePool,
    migrate::Migrator,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};

use tokio::sync::Mutex;

use self::{place::Place, sql::known::Known};
use crate::store::StoreError;

mod backup;
mod place;
#[path = "../sql/mod.rs"]
pub(super) mod sql;

pub use backup::BackupError;

type Backend = SqliteStore;
type Connection = SqliteConnection;
type Db = Sqlite;
type Pool = SqlitePool;
type SqlRow = SqliteRow;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/sqlite");

/// Connections that read.
const READERS: u32 = 4;
/// How long a writer waits for one in another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// The writer's page cache: room for the inner pages of a large index over share hashes, which are hit at random.
const WRITER_CACHE_KIB: u32 = 64 * 1024;
/// Where the lock against a second pool is: the database's name with this behind it.
const LOCK_SUFFIX: &str = ".lock";

/// An open SQLite database.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    pub(super) readers: SqlitePool,
    /// Held by the one process that may write; the system releases it when the process ends, however it ends.
    lock: Option<Arc<File>>,
    /// The file that is written to; nothing in a store that was opened to read.
    place: Option<Arc<Place>>,
    /// Asked for by whoever has the session that writes.
    known: Arc<Mutex<Known>>,
}

impl SqliteStore {
    /// Opens a database file, creates it if there is none, and brings its tables up to date.
    ///
    /// The folder must exist.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, is no database of ours, or was written by a later version of this program; and if
    /// another process has it open like this.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
            .busy_timeout(BUSY_TIMEOUT);
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        let (found, known) = schemas(&writer).await?;
        if found > known {
            return Err(StoreError::NewerSchema { found, known });
        }
        MIGRATOR.run(&writer).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await?;
        let place = Place::of(path).map_err(sqlx::Error::Io)?;
        Ok(Self { writer, readers, lock: Some(Arc::new(lock)), place: Some(Arc::new(place)), known: Arc::default() })
    }

    /// Opens a database file to read it, also while a pool writes to it. All calls that write fail.
    ///
    /// # Errors
    ///
    /// If there is no such file, or its tables are older or newer than this program's.
    pub async fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options).await?;
        let (found, known) = schemas(&readers).await?;
        match found.cmp(&known) {
            std::cmp::Ordering::Greater => Err(StoreError::NewerSchema { found, known }),
            std::cmp::Ordering::Less => Err(StoreError::OlderSchema { found, known }),
            std::cmp::Ordering::Equal => {
                Ok(Self { writer: readers.clone(), readers, lock: None, place: None, known: Arc::default() })
            }
        }
    }

    /// Closes all connections, after what is being written, and lets another process write.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
        if let Some(lock) = &self.lock {
            // Closing the file, at the latest when the process ends, releases it too.
            let _ = lock.unlock();
        }
    }

    /// Waits in line for the connection that writes.
    pub(super) async fn session(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        let mut session = self.writer.acquire().await?;
        if session.is_in_transaction() {
            // SQLite itself rolls back what met a full disk or a failed read or write, and the driver, whose own attempt
            // then fails, takes the transaction for open ever after: https://sqlite.org/lang_transaction.html, 3.
            session.close().await?;
            session = self.writer.acquire().await?;
            *self.known.lock().await = Known::default();
        }
        if let Some(place) = &self.place {
            place.check()?;
        }
        Ok(session)
    }
}

/// Begins a transaction that writes. It takes SQLite's lock at once, so that it never has to give up half-way.
async fn begin(session: &mut SqliteConnection) -> Result<sqlx::Transaction<'_, Sqlite>, StoreError> {
    Ok(session.begin_with("BEGIN IMMEDIATE").await?)
}

/// Makes sure that no other process writes to the same database.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(LOCK_SUFFIX);
    let path = PathBuf::from(name);
    let file = File::create(&path).map_err(|error| StoreError::Lock { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse),
        Err(TryLockError::Error(error)) => Err(StoreError::Lock { path, error }),
    }
}

/// Returns the latest schema in the database, 0 for none, and the latest known.
async fn schemas(pool: &SqlitePool) -> Result<(i64, i64), StoreError> {
    let known = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
        .fetch_one(pool)
        .await?;
    if tables == 0 {
        return Ok((0, known));
    }
    let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(pool).await?;
    Ok((found.unwrap_or(0), known))
}

#[cfg(test)]
mod tests;
