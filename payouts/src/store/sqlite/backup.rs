//! Copies of a SQLite database for safe keeping, made while a pool writes to it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::SqliteStore;
use crate::{
    audit::{self, AuditError, Audited},
    store::StoreError,
};

/// Behind the name of a backup that is not complete.
const PARTIAL_SUFFIX: &str = ".partial";

/// Why a backup was not made. There is no file of its name then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is a file of that name already.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database cannot be read, or not be written to the file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// SQLite says that the copy is damaged.
    #[error("the copy is damaged: {0}")]
    Damaged(String),
    /// The books in the copy are wrong.
    #[error("the copy does not pass the audit: {0}")]
    Audit(#[from] AuditError),
}

impl SqliteStore {
    /// Writes a copy of the database, as it is at one moment, to a new file of mode 0600, and audits it. The pool may
    /// write on meanwhile.
    ///
    /// The file gets its name when it is complete, checked and on disk.
    ///
    /// # Errors
    ///
    /// If there is such a file, it cannot be written, or what is in it is not right.
    pub async fn backup(&self, file: &Path) -> Result<Audited, BackupError> {
        if file.exists() {
            return Err(BackupError::Exists(file.to_owned()));
        }
        let mut partial = file.as_os_str().to_owned();
        partial.push(PARTIAL_SUFFIX);
        let partial = PathBuf::from(partial);
        let outcome = self.copy_to(&partial, file).await;
        if outcome.is_err() {
            // What is not complete is of no use; the error that counts is the first.
            let _ = fs::remove_file(&partial);
        }
        outcome
    }

    async fn copy_to(&self, partial: &Path, file: &Path) -> Result<Audited, BackupError> {
        let failed = |error| BackupError::File { path: partial.to_owned(), error };
        // SQLite takes an empty file for the copy, so that nobody else may read it at any moment.
        let copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(partial);
        let copy = copy.map_err(failed)?;
        let name = partial.to_str().ok_or_else(|| failed(io::Error::other("the name is not UTF-8")))?;
        sqlx::query("VACUUM INTO $1").bind(name).execute(&self.readers).await.map_err(StoreError::from)?;
        copy.sync_all().map_err(failed)?;
        let audited = check(partial).await?;
        fs::rename(partial, file).map_err(failed)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(audited)
    }
}

async fn check(copy: &Path) -> Result<Audited, BackupError> {
    let store = SqliteStore::open_read_only(copy).await?;
    let check = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&store.readers).await;
    let verdict: String = check.map_err(StoreError::from)?;
    if verdict != "ok" {
        return Err(BackupError::Damaged(verdict));
    }
    let audited = audit::verify(&store).await?;
    store.close().await;
    Ok(audited)
}
