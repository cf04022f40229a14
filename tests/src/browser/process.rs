//! The driver's process and all that it starts: one group, which ends as one.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;

/// The program.
const DRIVER: &str = "chromedriver";
/// How long it may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A driver that runs, and where its browser keeps what it keeps.
pub(super) struct DriverProcess {
    child: Child,
    url: String,
    profile: TempDir,
}

impl DriverProcess {
    /// Starts the driver on a port that the system chooses.
    ///
    /// # Errors
    ///
    /// If there is none, or it does not say where it listens.
    pub(super) fn start() -> anyhow::Result<DriverProcess> {
        let profile = tempfile::Builder::new().prefix("adit-browser").tempdir()?;
        let mut command = Command::new(DRIVER);
        command.arg("--port=0").env("TMPDIR", profile.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // The browser is in the driver's group, so that both can be ended at once by the driver's id.
        let mut child = command.process_group(0).spawn().context("start chromedriver: make browser installs it")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut process = DriverProcess { child, url: String::new(), profile };
        process.url = format!("http://127.0.0.1:{}", wait_for_port(stdout)?);
        Ok(process)
    }

    /// Returns where it listens.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the folder of its browser.
    pub(super) fn profile(&self) -> &Path {
        self.profile.path()
    }
}

impl Drop for DriverProcess {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            // It fails only where all of them have ended.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// Reads the driver's output until it names its port; the rest is read away.
fn wait_for_port(stdout: impl Read + Send + 'static) -> anyhow::Result<u16> {
    let (sender, ports) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(port) = port_in(&line) {
                // The receiver has given up when the driver was too slow.
                let _ = sender.send(port);
            }
        }
    });
    ports.recv_timeout(START_TIMEOUT).context("chromedriver does not say where it listens")
}

fn port_in(line: &str) -> Option<u16> {
    line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_read_from_what_the_driver_says() {
        assert_eq!(port_in("ChromeDriver was started successfully on port 42961."), Some(42961));
        assert_eq!(port_in("Starting ChromeDriver 156.0.8078.79 (refs/branch-heads/8078@{#1704}) on port 0"), None);
    }
}
