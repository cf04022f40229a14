//! The lock on the data folder: one process at a time works in it, the pool or a command.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use anyhow::Context;

/// The lock's file in the data folder.
const LOCK_FILE: &str = "adit.lock";

/// Holds a data folder until it is dropped.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Takes the lock; `None` if another process has it.
    ///
    /// # Errors
    ///
    /// When the lock's file cannot be made.
    pub(crate) fn take(data_dir: &Path) -> anyhow::Result<Option<DataLock>> {
        let path = data_dir.join(LOCK_FILE);
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DataLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}
