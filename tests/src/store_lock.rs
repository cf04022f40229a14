//! Another program that has the pool's database locked.

use std::{path::Path, time::Duration};

use sqlx::{Connection, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};

/// How long it tries to get the lock.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lock on the whole database, held until it is released or dropped.
#[derive(Debug)]
pub enum StoreLock {
    /// On a file.
    Sqlite(SqliteConnection),
    /// On all tables of a server's database.
    Postgres(PgConnection),
}

impl StoreLock {
    /// Locks a database file against all who write.
    ///
    /// # Errors
    ///
    /// If it cannot be locked.
    pub async fn sqlite(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await?;
        Ok(Self::Sqlite(connection))
    }

    /// Locks all tables of a database against all who write.
    ///
    /// # Errors
    ///
    /// If they cannot be locked.
    pub async fn postgres(url: &str) -> Result<Self, sqlx::Error> {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::query("BEGIN").execute(&mut connection).await?;
        // All tables, however shares are kept. What only reads goes on.
        let lock = "DO $$ DECLARE name TEXT; BEGIN \
                    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP \
                    EXECUTE format('LOCK TABLE %I IN EXCLUSIVE MODE', name); END LOOP; END $$";
        sqlx::query(lock).execute(&mut connection).await?;
        Ok(Self::Postgres(connection))
    }

    /// Unlocks it.
    ///
    /// # Errors
    ///
    /// If the connection fails, which unlocks it too.
    pub async fn release(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        }
    }
}
