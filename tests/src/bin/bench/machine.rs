//! What the figures were measured on.

use std::{fs, process::Command};

use anyhow::Context;
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// A machine, and when it was used.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Machine {
    /// The day, UTC, as `2026-11-22`.
    pub(crate) day: String,
    /// The processor as it calls itself.
    pub(crate) processor: String,
    /// Cores that the system offers.
    pub(crate) cores: usize,
    /// Main memory in GiB.
    pub(crate) memory_gib: u64,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The compiler.
    pub(crate) rustc: String,
    /// How many tasks ran or waited for a core just before, as the system averages over a minute.
    pub(crate) load_before: f64,
}

impl Machine {
    /// Describes this one.
    ///
    /// # Errors
    ///
    /// If the system does not say, as only Linux does.
    pub(crate) fn describe() -> anyhow::Result<Self> {
        let processors = read("/proc/cpuinfo")?;
        let processor = value(&processors, "model name").unwrap_or("unknown").to_owned();
        let memory = read("/proc/meminfo")?;
        let kilobytes =
            value(&memory, "MemTotal").and_then(|text| text.strip_suffix(" kB")?.trim().parse::<u64>().ok());
        let load = read("/proc/loadavg")?;
        let rustc = Command::new("rustc").arg("--version").output().context("run rustc")?;
        Ok(Self {
            day: Timestamp::now().to_zoned(TimeZone::UTC).date().to_string(),
            processor,
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: kilobytes.context("/proc/meminfo has no total")?.div_ceil(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            rustc: String::from_utf8_lossy(&rustc.stdout).trim().to_owned(),
            load_before: load.split(' ').next().and_then(|text| text.parse().ok()).context("no load average")?,
        })
    }
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}

/// Returns what stands behind a name and a colon.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':')).map(str::trim)
}
