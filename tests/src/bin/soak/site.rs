//! The pool that is soaked, with all that surrounds it: a node behind a proxy, a database, a disk, a clock.

use std::{
    env,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use bitcoin::Address;
use bitcoind_regtest::{Chain, Coins, Node, NodeOptions};
use payouts::store::{Store, postgres::PgStore, sqlite::SqliteStore};
use postgres_test::TestDatabase;
use tests::{adit::Pool, clock::SetClock, node_proxy::NodeProxy, small_disk::DISK, store_lock::StoreLock};

use crate::{StoreKind, gauge::Sample};

const USER: &str = "adit";
const PASSWORD: &str = "behind a proxy";
/// Blocks' worth of work that a block pays for: more than all shares of a soak.
const WINDOW: u32 = 1_000;
/// Shares a minute that the pool expects of a channel: more than the miners find, so that it raises no difficulty.
const SHARES_PER_MINUTE: u32 = 600;

/// Where the books are.
enum Database {
    File(PathBuf),
    Server(TestDatabase),
}

/// The pool and what surrounds it.
pub(crate) struct Site {
    pub(crate) pool: Pool,
    pub(crate) node: Node,
    pub(crate) proxy: NodeProxy,
    pub(crate) clock: SetClock,
    /// The disk that can be filled.
    pub(crate) disk: Option<PathBuf>,
    database: Database,
    begun: Instant,
}

impl Site {
    /// Makes a node and a pool that was never started.
    pub(crate) async fn new(store: StoreKind) -> anyhow::Result<Self> {
        let node = NodeOptions::new().chain(Chain::Signet).credentials(USER, PASSWORD).start()?;
        let proxy = NodeProxy::start(node.rpc_port()).await?;
        let clock = SetClock::right()?;
        clock.prove()?;
        let mut pool = Pool::init(&node)?;
        clock.give_to(&mut pool);
        pool.set("ADIT__BITCOIND__URL", proxy.url())
            .set("ADIT__BITCOIND__COOKIE_FILE", "")
            .set("ADIT__BITCOIND__USER", USER)
            .set("ADIT__BITCOIND__PASSWORD", PASSWORD)
            .set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", 5)
            .set("ADIT__STRATUM__SHARES_PER_MINUTE", SHARES_PER_MINUTE)
            .set("ADIT__STRATUM__INITIAL_DIFFICULTY", "2^-32")
            .set("ADIT__STRATUM__MIN_DIFFICULTY", "2^-32")
            .set("ADIT__PAYOUT__PPLNS_WINDOW", WINDOW);
        let (database, disk) = match store {
            StoreKind::Sqlite => {
                let disk = PathBuf::from(env::var_os(DISK).context("the database has a disk of its own")?);
                let path = disk.join("adit.sqlite");
                pool.set("ADIT__STORE__PATH", path.display());
                (Database::File(path), Some(disk))
            }
            StoreKind::Postgres => {
                let database = TestDatabase::create()?;
                pool.set("ADIT__STORE__PATH", "").set("ADIT__STORE__URL", database.url());
                (Database::Server(database), None)
            }
        };
        Ok(Self { pool, node, proxy, clock, disk, database, begun: Instant::now() })
    }

    /// Starts the pool, and returns how long that took until it listened.
    pub(crate) fn start(&mut self) -> anyhow::Result<Duration> {
        self.begun = Instant::now();
        self.pool.start()?;
        Ok(self.begun.elapsed())
    }

    /// Looks at what the pool's process holds.
    pub(crate) fn sample(&self) -> anyhow::Result<Sample> {
        Sample::of(self.pool.pid()?, self.begun)
    }

    /// Locks the database against the pool.
    pub(crate) async fn lock(&self) -> anyhow::Result<StoreLock> {
        Ok(match &self.database {
            Database::File(path) => StoreLock::sqlite(path).await?,
            Database::Server(database) => StoreLock::postgres(database.url()).await?,
        })
    }

    /// Opens the pool's store to read it.
    pub(crate) async fn store(&self) -> anyhow::Result<Box<dyn Store>> {
        Ok(match &self.database {
            Database::File(path) => Box::new(SqliteStore::open_read_only(path).await?),
            Database::Server(database) => Box::new(PgStore::open_read_only(database.url()).await?),
        })
    }

    /// An address of the chain, whose key nobody keeps.
    pub(crate) fn new_address(&self) -> Address {
        Coins::new(self.node.chain()).address()
    }
}
