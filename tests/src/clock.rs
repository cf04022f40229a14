//! A clock for a pool that a test sets forward and back while the pool runs: Debian's `libfaketime`, which is loaded into
//! the process and answers for the system's clock. Only the time of day is another: what runs on, by which waits are
//! measured, goes on as it does.

use std::{fs, io, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::adit::Pool;

/// The library's file name. This build of it is for programs with several threads.
const LIBRARY: &str = "libfaketimeMT.so.1";
/// Where Debian puts it, below the folder of the machine's architecture.
const FOLDER: &str = "faketime";

/// A clock that differs from the system's by what a test wants.
#[derive(Debug)]
pub struct SetClock {
    folder: TempDir,
    library: PathBuf,
}

impl SetClock {
    /// Makes a clock that goes right.
    ///
    /// # Errors
    ///
    /// If there is no libfaketime (`make faketime` installs it), or no room for a file.
    pub fn right() -> anyhow::Result<Self> {
        let library = library()?.context("there is no libfaketime: run `make faketime`")?;
        let clock = Self { folder: tempfile::tempdir()?, library };
        clock.set(0)?;
        Ok(clock)
    }

    /// Lets a pool go by this clock from its next start on.
    pub fn give_to(&self, pool: &mut Pool) {
        pool.set("LD_PRELOAD", self.library.display())
            .set("FAKETIME_TIMESTAMP_FILE", self.file().display())
            .set("FAKETIME_NO_CACHE", 1)
            .set("DONT_FAKE_MONOTONIC", 1);
    }

    /// Sets the clock so many seconds ahead of the system's, or behind it.
    ///
    /// # Errors
    ///
    /// If that cannot be written down.
    pub fn set(&self, ahead_s: i64) -> io::Result<()> {
        // Replaced at once, so that the clock is never read half written.
        let next = self.folder.path().join("next");
        fs::write(&next, format!("{ahead_s:+}s\n"))?;
        fs::rename(next, self.file())
    }

    /// Makes sure that programs go by this clock here.
    ///
    /// # Errors
    ///
    /// If they do not.
    pub fn prove(&self) -> anyhow::Result<()> {
        const AHEAD: Duration = Duration::from_secs(7 * 86_400);

        self.set(AHEAD.as_secs() as i64)?;
        let date = |with: bool| -> anyhow::Result<u64> {
            let mut date = Command::new("date");
            if with {
                date.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", self.file());
            }
            Ok(String::from_utf8(date.arg("+%s").output()?.stdout)?.trim().parse()?)
        };
        let (set, right) = (date(true)?, date(false)?);
        self.set(0)?;
        ensure!(set.abs_diff(right + AHEAD.as_secs()) < 60, "the clock cannot be set: {set} and {right}");
        Ok(())
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }
}

fn library() -> io::Result<Option<PathBuf>> {
    for folder in fs::read_dir("/usr/lib")? {
        let found = folder?.path().join(FOLDER).join(LIBRARY);
        if found.is_file() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
