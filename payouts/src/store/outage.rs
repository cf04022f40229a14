//! What keeps a database from being used for a while, told apart from what is wrong for good.

use sqlx::{error::DatabaseError, postgres::PgDatabaseError, sqlite::SqliteError};

/// Why a database cannot be used at the moment. Each passes: the same call succeeds once its cause is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// There is no room for what is to be written.
    #[error("there is no room left for the database")]
    Full,
    /// Somebody else holds a lock, and has not given it up in time.
    #[error("the database is locked")]
    Locked,
    /// Nothing may be written to it: a standby, a file or a disk that is write-protected.
    #[error("the database is read-only")]
    ReadOnly,
    /// There is no answer from it.
    #[error("the database cannot be reached")]
    Gone,
}

impl Outage {
    /// Tells whether an error passes, and why.
    pub(crate) fn of(error: &sqlx::Error) -> Option<Self> {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => Some(Self::Gone),
            sqlx::Error::Database(error) => Self::told(error.as_ref()),
            _ => None,
        }
    }

    fn told(error: &dyn DatabaseError) -> Option<Self> {
        let code = error.code()?;
        if error.try_downcast_ref::<SqliteError>().is_some() {
            // The low byte of an extended result code is the result code: sqlite.org/rescode.html.
            match code.parse::<u32>().ok()? & 0xff {
                13 => Some(Self::Full),
                5 | 6 => Some(Self::Locked),
                8 => Some(Self::ReadOnly),
                10 | 14 => Some(Self::Gone),
                _ => None,
            }
        } else if error.try_downcast_ref::<PgDatabaseError>().is_some() {
            // PostgreSQL's appendix A. Class 08 are connections; 57P01 to 57P03 a server that stops or starts.
            match code.as_ref() {
                "53100" => Some(Self::Full),
                "55P03" | "40P01" => Some(Self::Locked),
                "25006" => Some(Self::ReadOnly),
                "53300" | "57P01" | "57P02" | "57P03" => Some(Self::Gone),
                code if code.starts_with("08") => Some(Self::Gone),
                _ => None,
            }
        } else {
            None
        }
    }
}
