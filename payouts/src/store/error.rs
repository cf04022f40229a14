//! Why a store could not do what it was asked.

use std::{io, path::PathBuf};

use super::Outage;
use crate::{ledger::EntryKind, payout::BatchId};

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used at the moment. Nothing of the call was done, or it may be repeated.
    #[error("{outage}: {error}")]
    Unavailable {
        /// What stands in the way.
        outage: Outage,
        /// What the database says.
        error: sqlx::Error,
    },
    /// The database failed.
    #[error("database: {0}")]
    Database(sqlx::Error),
    /// Another process writes to this database, or did so a moment ago.
    #[error("another pool works on this database")]
    InUse,
    /// While the database was out of reach, another process wrote to it: what is known here is no longer true.
    #[error("another pool has taken over this database; this one must be started anew")]
    LeaseLost,
    /// The store was opened to read.
    #[error("the database was opened only to read")]
    ReadOnly,
    /// The file that keeps a second pool from a database cannot be made.
    #[error("cannot lock {}: {error}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database's tables could not be brought up to date.
    #[error("database migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The database was written by a later version of this program.
    #[error("the database has schema {found}, this program knows schemas up to {known}")]
    NewerSchema {
        /// The database's schema.
        found: i64,
        /// The latest schema known here.
        known: i64,
    },
    /// The database is older than this program, and was opened only to read.
    #[error("the database has schema {found} instead of {known}; start the pool once to bring it up to date")]
    OlderSchema {
        /// The database's schema.
        found: i64,
        /// The schema that is read.
        known: i64,
    },
    /// An entry of this kind and key exists with other content.
    #[error("the ledger holds {kind} {key} with other content")]
    DifferentEntry {
        /// The entry's kind.
        kind: EntryKind,
        /// The entry's key.
        key: String,
    },
    /// Another writer was first, every time.
    #[error("other changes to the ledger kept coming first")]
    Contended,
    /// A stored value is not what was written there.
    #[error("{table} holds a value that cannot be read: {value:?}")]
    Corrupt {
        /// Where it is.
        table: &'static str,
        /// The value.
        value: String,
    },
    /// A group of shares does not follow the last one of its session.
    #[error("share group {number} of session {session} does not follow {last:?}")]
    OutOfTurn {
        /// The session.
        session: i64,
        /// The group's number.
        number: i64,
        /// The last one that is stored; nothing if the session never began.
        last: Option<i64>,
    },
    /// A batch's attempt is not in the stage that the call expects.
    #[error("batch {0} is not waiting for a signature")]
    NotUnsigned(BatchId),
    /// A batch takes no other attempt, or not of this number.
    #[error("batch {batch} takes no attempt {attempt}")]
    NoAttempt {
        /// The batch.
        batch: BatchId,
        /// The attempt's number.
        attempt: u32,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match Outage::of(&error) {
            Some(outage) => Self::Unavailable { outage, error },
            None => Self::Database(error),
        }
    }
}
