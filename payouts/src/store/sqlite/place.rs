//! The file that was opened, told from no file and from another one in its place.
//!
//! A file that is moved or removed lives on for whoever has it open: SQLite would go on to write, and what it wrote would
//! be where nobody looks for it, or nowhere.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::store::StoreError;

/// A path, and which file was there.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl Place {
    /// Notes which file is at `path`.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: file_at(path)? })
    }

    /// Makes sure that the same file is still there.
    ///
    /// # Errors
    ///
    /// That the database is out of reach, until the file is back.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match file_at(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            Ok(_) => Err(self.lost("was moved away or removed, and another file is in its place")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.lost("was moved away or removed")),
            Err(error) => Err(sqlx::Error::Io(error).into()),
        }
    }

    fn lost(&self, how: &str) -> StoreError {
        sqlx::Error::Io(io::Error::new(io::ErrorKind::NotFound, format!("{} {how}", self.path.display()))).into()
    }
}

fn file_at(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
