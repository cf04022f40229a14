//! PostgreSQL for tests: each test gets a database of its own, which is dropped with it.
//!
//! The server is, in this order: the one that `ADIT_TEST_POSTGRES` names by a URL; one on this machine's usual port that
//! lets `postgres` in without a password; or one that is started from the installed binaries in a temporary folder, and
//! stopped with the last that uses it. Everything here blocks, and may be called inside a runtime too.

mod cluster;

use std::{
    env, process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub use cluster::Cluster;

/// The environment variable that names a server.
pub const SERVER_VARIABLE: &str = "ADIT_TEST_POSTGRES";
/// The server that is used without one.
const LOCAL_SERVER: &str = "postgres://postgres@127.0.0.1:5432/postgres";
/// The oldest server that the store is made for, as `server_version_num`.
const OLDEST_VERSION: i32 = 150_000;
/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that is reachable.
#[derive(Debug)]
pub struct Server {
    url: String,
    // Stopped when it is dropped.
    _started: Option<Cluster>,
}

impl Server {
    /// Finds a server, or starts one.
    ///
    /// # Errors
    ///
    /// When the named one cannot be reached, or none can be found or started.
    pub fn find_or_start() -> anyhow::Result<Self> {
        if let Ok(url) = env::var(SERVER_VARIABLE) {
            answers(&url).with_context(|| format!("the server of {SERVER_VARIABLE} cannot be used"))?;
            return Ok(Self { url, _started: None });
        }
        if answers(LOCAL_SERVER).is_ok() {
            return Ok(Self { url: LOCAL_SERVER.to_owned(), _started: None });
        }
        let cluster = Cluster::start()?;
        Ok(Self { url: cluster.url(), _started: Some(cluster) })
    }

    /// The URL of its database `postgres`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// An empty database, dropped at the end together with all that is in it.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
    server: Server,
}

impl TestDatabase {
    /// Makes a database on a server that is found or started.
    ///
    /// # Errors
    ///
    /// When there is no server, or it refuses.
    pub fn create() -> anyhow::Result<Self> {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let server = Server::find_or_start()?;
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        // Process ids come again, and several machines may share a server.
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let name = format!("adit_test_{}_{number}_{moment}", process::id());
        execute(server.url(), format!("CREATE DATABASE {name}"))?;
        let url = with_database(server.url(), &name)?;
        Ok(Self { name, url, server })
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // FORCE ends the sessions that a failed test has left. A server that is gone has nothing to drop.
        let _ = execute(self.server.url(), format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// Runs one statement.
fn execute(url: &str, statement: String) -> anyhow::Result<()> {
    let url = url.to_owned();
    block_on(async move {
        let mut connection = PgConnection::connect(&url).await?;
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    })
}

/// Checks that a server can be used.
fn answers(url: &str) -> anyhow::Result<()> {
    let url = url.to_owned();
    block_on(async move {
        let mut connection = PgConnection::connect(&url).await?;
        let version = sqlx::query_scalar("SELECT current_setting('server_version_num')::int4");
        let version: i32 = version.fetch_one(&mut connection).await?;
        connection.close().await?;
        if version < OLDEST_VERSION {
            bail!("it is version {version}, and {OLDEST_VERSION} is the oldest that will do");
        }
        Ok(())
    })
}

/// Puts another database into the URL of a server.
fn with_database(url: &str, name: &str) -> anyhow::Result<String> {
    let (before, parameters) = match url.split_once('?') {
        Some((before, parameters)) => (before, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let authority = before.find("://").with_context(|| "the server's URL has no scheme")? + 3;
    let end = before[authority..].find('/').map_or(before.len(), |path| authority + path);
    Ok(format!("{}/{name}{parameters}", &before[..end]))
}

/// Waits for a future on a thread of its own, since a runtime must not be blocked from inside.
fn block_on<T: Send>(future: impl Future<Output = anyhow::Result<T>> + Send) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::time::timeout(ANSWER_TIMEOUT, future).await.context("the server does not answer")?
            })
        });
        waiting.join().expect("nothing in the thread panics")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn database_takes_its_place_in_the_url() {
        for (url, expected) in [
            ("postgres://a@h:1/postgres", "postgres://a@h:1/x"),
            ("postgres://a@h:1", "postgres://a@h:1/x"),
            ("postgres:///postgres?host=/run", "postgres:///x?host=/run"),
            ("postgres://a:p@h/b?sslmode=require", "postgres://a:p@h/x?sslmode=require"),
        ] {
            assert_eq!(with_database(url, "x").unwrap(), expected);
        }
        assert!(with_database("nothing", "x").is_err());
    }

    #[test]
    fn each_database_is_its_own_and_gone_with_its_test() {
        let (one, other) = (TestDatabase::create().unwrap(), TestDatabase::create().unwrap());
        execute(one.url(), "CREATE TABLE here (id BIGINT)".to_owned()).unwrap();
        assert!(execute(other.url(), "SELECT * FROM here".to_owned()).is_err());
        let url = other.url().to_owned();
        drop(other);
        assert!(answers(&url).is_err());
        assert!(answers(one.url()).is_ok());
    }

    #[test]
    fn started_server_stops_and_starts_again_with_what_it_had() {
        let mut cluster = Cluster::start().unwrap();
        execute(&cluster.url(), "CREATE TABLE kept (id BIGINT)".to_owned()).unwrap();
        cluster.stop().unwrap();
        assert!(answers(&cluster.url()).is_err());
        cluster.restart().unwrap();
        execute(&cluster.url(), "SELECT * FROM kept".to_owned()).unwrap();
    }
}
