//! The mode that looks at the server's memory: without connections, with idle ones, with busy ones, and afterwards.

use std::{thread, time::Duration};

use anyhow::Context;

use super::{
    Load, Memory, Percentiles, Report, Shares,
    crew::{Crew, Orders, Stage},
    crowd::Stay,
    pace::Pace,
    shares::Meter,
    usage::resident_bytes,
};

/// Connections that are idle, then busy, then gone.
#[derive(Clone, Copy, Debug)]
pub struct MemoryMode {
    /// Shares a second of each channel when they are busy.
    pub per_second: f64,
    /// How long they are busy.
    pub time: Duration,
    /// How long the server is left alone before each look at its memory.
    pub settle: Duration,
}

impl Default for MemoryMode {
    fn default() -> Self {
        Self { per_second: 1.0, time: Duration::from_secs(20), settle: Duration::from_secs(3) }
    }
}

/// Looks at the memory of the server's process, which [`Load::server_pid`] must name.
///
/// # Errors
///
/// If not all connections can be opened, or the server's process is not known or gone.
pub fn memory(load: &Load, mode: &MemoryMode) -> anyhow::Result<Report> {
    let pid = load.server_pid.context("the server's process is not named")?;
    let Load { connections, threads, in_flight, .. } = *load;
    let pace = Pace::Even { shares_per_second: mode.per_second, channels: load.channels };
    let before_bytes = resident_bytes(pid)?;
    let crew = Crew::start(&load.plan()?, Orders { connections, threads, in_flight, stay: Stay::Once, pace });
    crew.wait_until_open(load.open_timeout())?;
    thread::sleep(mode.settle);
    let idle_bytes = resident_bytes(pid)?;
    let meter = Meter::start(Some(pid))?;
    crew.enter(Stage::Measure);
    thread::sleep(mode.time);
    let metered = meter.stop()?;
    let busy_bytes = resident_bytes(pid)?;
    let sums = crew.finish()?;
    thread::sleep(mode.settle);
    let after_bytes = resident_bytes(pid)?;
    let each = |bytes: u64| (bytes as f64 - before_bytes as f64) / connections as f64;
    let shares = Shares::of(&sums.measured, 0, metered.time);
    Ok(Report {
        seconds: metered.time.as_secs_f64(),
        client_cpu_seconds: metered.client_cpu.as_secs_f64(),
        server: metered.server_cost(shares.acknowledged, "acknowledged share"),
        shares_in_all: Some(Shares::of(&sums.total, sums.unanswered, metered.time)),
        acknowledgement_us: Some(Percentiles::of(&sums.measured.acknowledgement_us)),
        shares: Some(shares),
        memory: Some(Memory {
            before_bytes,
            idle_bytes,
            busy_bytes,
            after_bytes,
            idle_bytes_per_connection: each(idle_bytes),
            busy_bytes_per_connection: each(busy_bytes),
        }),
        ..load.report("memory")
    }
    .with_troubles(&sums))
}
