//! The modes that send shares for a set time: as fast as the pool takes them, or evenly.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    Load, Percentiles, Report, ServerCost, Shares,
    crew::{Crew, Orders, Stage},
    crowd::Stay,
    pace::Pace,
    usage::{cpu_time, own_cpu_time},
};

/// Shares as fast as the pool takes them.
#[derive(Clone, Copy, Debug)]
pub struct Pipelined {
    /// Shares of each connection that wait for an answer: always so many, or at most so many with a rate.
    pub window: usize,
    /// Shares a second of all connections together; as many as the pool takes without it.
    pub rate: Option<f64>,
    /// How long shares are sent before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub time: Duration,
}

impl Default for Pipelined {
    fn default() -> Self {
        Self { window: 2_000, rate: None, warm_up: Duration::from_secs(2), time: Duration::from_secs(10) }
    }
}

/// Shares evenly over time and channels.
#[derive(Clone, Copy, Debug)]
pub struct Paced {
    /// Shares a second of each channel.
    pub per_second: f64,
    /// How long shares are sent before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub time: Duration,
}

impl Default for Paced {
    fn default() -> Self {
        Self { per_second: 2.0, warm_up: Duration::from_secs(5), time: Duration::from_secs(20) }
    }
}

/// Sends shares as fast as the pool takes them, or at a rate of all together.
///
/// # Errors
///
/// If not all connections can be opened, or the server's process is gone.
pub fn pipelined(load: &Load, mode: &Pipelined) -> anyhow::Result<Report> {
    let pace = match mode.rate {
        None => Pace::Window { shares: mode.window },
        Some(shares_per_second) => Pace::Rate { shares_per_second, window: mode.window },
    };
    send(load, "pipelined", pace, mode.warm_up, mode.time)
}

/// Sends so many shares a second on each channel.
///
/// # Errors
///
/// If not all connections can be opened, or the server's process is gone.
pub fn paced(load: &Load, mode: &Paced) -> anyhow::Result<Report> {
    let pace = Pace::Even { shares_per_second: mode.per_second, channels: load.channels };
    send(load, "paced", pace, mode.warm_up, mode.time)
}

fn send(load: &Load, name: &str, pace: Pace, warm_up: Duration, time: Duration) -> anyhow::Result<Report> {
    let Load { connections, threads, in_flight, .. } = *load;
    let orders = Orders { connections, threads, in_flight, stay: Stay::Once, pace };
    let crew = Crew::start(&load.plan()?, orders);
    crew.wait_until_open(load.open_timeout())?;
    crew.enter(Stage::WarmUp);
    thread::sleep(warm_up);
    let meter = Meter::start(load.server_pid)?;
    crew.enter(Stage::Measure);
    thread::sleep(time);
    let metered = meter.stop()?;
    let sums = crew.finish()?;
    let shares = Shares::of(&sums.measured, 0, metered.time);
    Ok(Report {
        seconds: metered.time.as_secs_f64(),
        client_cpu_seconds: metered.client_cpu.as_secs_f64(),
        server: metered.server_cost(shares.acknowledged, "acknowledged share"),
        shares_in_all: Some(Shares::of(&sums.total, sums.unanswered, metered.time + warm_up)),
        acknowledgement_us: Some(Percentiles::of(&sums.measured.acknowledgement_us)),
        shares: Some(shares),
        ..load.report(name)
    }
    .with_troubles(&sums))
}

/// CPU time from here on.
pub(super) struct Meter {
    pid: Option<u32>,
    begun: Instant,
    server: Duration,
    client: Duration,
}

/// CPU time in a span of time.
pub(super) struct Metered {
    pub(super) time: Duration,
    pub(super) client_cpu: Duration,
    pub(super) server_cpu: Option<Duration>,
}

impl Meter {
    pub(super) fn start(pid: Option<u32>) -> anyhow::Result<Self> {
        let server = pid.map(cpu_time).transpose()?.unwrap_or_default();
        Ok(Self { pid, begun: Instant::now(), server, client: own_cpu_time()? })
    }

    pub(super) fn stop(&self) -> anyhow::Result<Metered> {
        let server_cpu = self.pid.map(cpu_time).transpose()?.map(|now| now.saturating_sub(self.server));
        let client_cpu = own_cpu_time()?.saturating_sub(self.client);
        Ok(Metered { time: self.begun.elapsed(), client_cpu, server_cpu })
    }

    /// Like [`stop`](Self::stop), for a server whose process is gone.
    pub(super) fn stop_without_server(&self) -> anyhow::Result<Metered> {
        let client_cpu = own_cpu_time()?.saturating_sub(self.client);
        Ok(Metered { time: self.begun.elapsed(), client_cpu, server_cpu: None })
    }
}

impl Metered {
    /// Returns what so many units cost the server, if its process is known.
    pub(super) fn server_cost(&self, units: u64, unit: &str) -> Option<ServerCost> {
        let cpu_seconds = self.server_cpu?.as_secs_f64();
        let cpu_us_per_unit = if units == 0 { 0.0 } else { cpu_seconds * 1e6 / units as f64 };
        Some(ServerCost { cpu_seconds, cpu_us_per_unit, unit: unit.to_owned() })
    }
}
