//! The one session that writes, and the lease that it has.
//!
//! The lease is an advisory lock of the session: PostgreSQL gives it to one session at a time, and takes it back when
//! that session ends, however it ends. Nothing is written but through the session that has it, so two pools can never
//! both settle. A session that is lost is followed by a new one, which must get the lease again. If another pool had
//! it in between, which shows in the lease's term, this one is out: what it knows of coins and books has become old.

use std::{io, sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{MappedMutexGuard, Mutex, MutexGuard},
    time::{sleep, timeout},
};

use super::{migrate, sql::known::Known};
use crate::store::StoreError;

/// The advisory lock's key: "adit" in ASCII. Keys are told apart by database, so that each has a lease of its own.
const LEASE: i64 = 0x6164_6974;
/// How often the lease is asked for, and the pause in between: five seconds together.
const LEASE_ATTEMPTS: u32 = 20;
const LEASE_PAUSE: Duration = Duration::from_millis(250);
/// How long the server may take to accept a connection, and to answer that it is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The way to write.
pub(super) struct Writer {
    options: PgConnectOptions,
    /// The lease's term: counted up by each pool that takes it.
    term: i64,
    /// Nothing between two sessions.
    session: Mutex<Option<PgConnection>>,
    /// What the session knows. A server that takes over from one that failed may lack its last commits.
    known: Arc<Mutex<Known>>,
}

impl Writer {
    /// Takes the lease, brings the tables up to date, and begins a new term.
    pub(super) async fn open(options: PgConnectOptions, known: Arc<Mutex<Known>>) -> Result<Self, StoreError> {
        let mut session = connect_with_lease(&options).await?;
        migrate(&mut session).await?;
        let term = sqlx::query_scalar("UPDATE lease SET term = term + 1 RETURNING term");
        let term = term.fetch_one(&mut session).await?;
        warn_without_fsync(&mut session).await?;
        Ok(Self { options, term, session: Mutex::new(Some(session)), known })
    }

    /// Waits in line for the session; one that is lost is replaced first, and so is one that may only read: it stays so
    /// when the database does not.
    pub(super) async fn session(&self) -> Result<MappedMutexGuard<'_, PgConnection>, StoreError> {
        let mut session = self.session.lock().await;
        let lives = match session.as_mut() {
            Some(session) => matches!(timeout(ANSWER_TIMEOUT, may_write(session)).await, Ok(Ok(true))),
            None => false,
        };
        if !lives {
            // Closed before the next one asks: as long as it lives, it has the lease.
            *session = None;
            *self.known.lock().await = Known::default();
            *session = Some(self.resume().await?);
        }
        Ok(MutexGuard::map(session, |session| session.as_mut().expect("one that was lost has been replaced")))
    }

    /// Ends the session, and the lease with it.
    pub(super) async fn close(&self) {
        if let Some(session) = self.session.lock().await.take() {
            // A session that cannot say goodbye has ended all the same.
            let _ = session.close().await;
        }
    }

    async fn resume(&self) -> Result<PgConnection, StoreError> {
        let mut session = connect_with_lease(&self.options).await?;
        let term: i64 = sqlx::query_scalar("SELECT term FROM lease").fetch_one(&mut session).await?;
        if term == self.term { Ok(session) } else { Err(StoreError::LeaseLost) }
    }
}

/// Asks a session whether it may write, and so whether it is there. One on a standby may not, nor may one that began when
/// the database was set to be read only.
async fn may_write(session: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT current_setting('transaction_read_only') = 'off'").fetch_one(session).await
}

async fn connect_with_lease(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let connected = timeout(ANSWER_TIMEOUT, PgConnection::connect_with(options)).await;
    let mut session = connected.map_err(|_| sqlx::Error::Io(io::ErrorKind::TimedOut.into()))??;
    // The session of a pool that was just killed still has it for a moment.
    for _ in 0..LEASE_ATTEMPTS {
        let lease = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LEASE);
        if lease.fetch_one(&mut session).await? {
            return Ok(session);
        }
        sleep(LEASE_PAUSE).await;
    }
    Err(StoreError::InUse)
}

/// Tells the operator of a server that forgets commits in a power failure. It cannot be changed from here.
async fn warn_without_fsync(session: &mut PgConnection) -> Result<(), StoreError> {
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(session).await?;
    if fsync != "on" {
        tracing::warn!("the database server has fsync off: a power failure there loses acknowledged shares");
    }
    Ok(())
}
