//! A foreign program that runs: its start, its log and its end.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::Program;

/// Pause between two looks at a log.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How much of a log is told when something fails.
const LOG_END_LINES: usize = 20;

/// A foreign program that runs in a folder of its own. It is killed with this value.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    folder: TempDir,
}

impl Process {
    /// Starts a program with the arguments that `prepare` gives it; `prepare` may put files into the folder.
    ///
    /// # Errors
    ///
    /// If the program is not there or cannot be started, or `prepare` fails.
    pub fn start(
        program: &Program,
        prepare: impl FnOnce(&mut Command, &Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix(program.binary).tempdir()?;
        let mut command = Command::new(program.executable()?);
        // All of them write their log with colours unless this is set.
        command.current_dir(folder.path()).env("NO_COLOR", "1").env("RUST_LOG", "info");
        prepare(&mut command, folder.path())?;
        let log = File::create(log_file(folder.path()))?;
        command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        let child = command.spawn().with_context(|| format!("start {}", program.binary))?;
        Ok(Self { name: program.binary, child, folder })
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns everything that the program has logged.
    pub fn log(&self) -> String {
        // What it writes right now may be cut anywhere.
        fs::read(log_file(self.folder.path()))
            .map_or_else(|_| String::new(), |log| String::from_utf8_lossy(&log).into())
    }

    /// Counts the lines of the log that contain a text.
    pub fn count(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until `look` finds something in the log. `what` is for the error's message.
    ///
    /// # Errors
    ///
    /// If the time is over, or the program ends before that.
    pub async fn wait_for<T>(
        &mut self,
        timeout: Duration,
        what: &str,
        mut look: impl FnMut(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            let ended = self.ended()?;
            if let Some(found) = look(&self.log()) {
                return Ok(found);
            }
            if let Some(status) = ended {
                bail!("{} ended with {status} before {what}", self.name);
            }
            if begun.elapsed() >= timeout {
                bail!("waited in vain for {what} in the log of {}", self.name);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Tells how the program has ended, if it has.
    ///
    /// # Errors
    ///
    /// If the system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kills the program. Its log stays until this value goes.
    ///
    /// # Errors
    ///
    /// If it cannot be killed.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_END_LINES)..].join("\n")
    }
}

#[allow(clippy::print_stderr)] // For whoever reads why a test has failed.
impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the log of {} ends with:\n{}", self.name, self.log_end());
        }
    }
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("log.txt")
}
