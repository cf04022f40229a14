//! The mode that goes on whatever happens to the server: lost connections are made anew, and everything is counted.

use std::{
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use super::{
    Load, Percentiles, Report, Shares,
    connect::opened_of,
    crew::{Crew, Orders, Stage},
    crowd::Stay,
    pace::Pace,
    shares::{Meter, Metered},
};

/// A load that lasts until it is stopped. It may begin before the server does.
pub struct Soak {
    crew: Crew,
    load: Load,
    meter: Meter,
}

/// What a soak has counted so far; behind by a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoakCounts {
    /// Connections on which every channel has its jobs.
    pub open: u64,
    /// Shares sent.
    pub submitted: u64,
    /// Shares acknowledged, as the server counts them.
    pub acknowledged: u64,
    /// Shares refused.
    pub refused: u64,
    /// Shares in flight when their connection was lost.
    pub unknown: u64,
    /// Connections lost, and attempts that failed.
    pub losses: u64,
}

impl Soak {
    /// Starts to connect, and to send so many shares a second on each channel that is open.
    ///
    /// [`Load::server_pid`] is of use only if the server is not to be restarted.
    ///
    /// # Errors
    ///
    /// If this process may not open enough files.
    pub fn start(load: &Load, per_second: f64) -> anyhow::Result<Self> {
        let Load { connections, threads, in_flight, channels, .. } = *load;
        let pace = Pace::Even { shares_per_second: per_second, channels };
        let crew = Crew::start(&load.plan()?, Orders { connections, threads, in_flight, stay: Stay::Reconnect, pace });
        crew.enter(Stage::Measure);
        Ok(Self { crew, load: load.clone(), meter: Meter::start(load.server_pid)? })
    }

    /// Waits until all connections are open.
    ///
    /// # Errors
    ///
    /// If they are not in time.
    pub fn wait_until_open(&self, timeout: Duration) -> anyhow::Result<()> {
        self.crew.wait_until_open(timeout)
    }

    /// Returns what has been counted so far.
    pub fn counts(&self) -> SoakCounts {
        let live = &self.crew.shared.live;
        SoakCounts {
            open: live.open.load(Ordering::Relaxed),
            submitted: live.submitted.load(Ordering::Relaxed),
            acknowledged: live.acknowledged.load(Ordering::Relaxed),
            refused: live.refused.load(Ordering::Relaxed),
            unknown: live.unknown.load(Ordering::Relaxed),
            losses: live.losses.load(Ordering::Relaxed),
        }
    }

    /// Waits for the last answers, closes all connections, and adds up. The longest silence in [`Report::shares`] is the
    /// longest outage; [`Report::opened`] counts each return of a connection as one more.
    ///
    /// # Errors
    ///
    /// If a thread of the load has failed.
    pub fn stop(self) -> anyhow::Result<Report> {
        let Self { crew, load, meter } = self;
        // The server may have been started anew as another process.
        let metered = meter.stop().or_else(|_| meter.stop_without_server())?;
        let sums = crew.finish()?;
        let shares = Shares::of(&sums.measured, 0, metered.time);
        let Metered { time, client_cpu, .. } = metered;
        Ok(Report {
            seconds: time.as_secs_f64(),
            client_cpu_seconds: client_cpu.as_secs_f64(),
            server: metered.server_cost(shares.acknowledged, "acknowledged share"),
            shares_in_all: Some(Shares::of(&sums.total, sums.unanswered, time)),
            acknowledgement_us: Some(Percentiles::of(&sums.measured.acknowledgement_us)),
            opened: Some(opened_of(&sums.measured, &metered)),
            shares: Some(shares),
            ..load.report("soak")
        }
        .with_troubles(&sums))
    }
}

/// Soaks a pool for a set time; `look` is told of the counts at each interval.
///
/// # Errors
///
/// As [`Soak::start`] and [`Soak::stop`].
pub fn soak(
    load: &Load,
    per_second: f64,
    time: Duration,
    interval: Duration,
    mut look: impl FnMut(SoakCounts),
) -> anyhow::Result<Report> {
    let soak = Soak::start(load, per_second)?;
    let begun = Instant::now();
    while let Some(left) = time.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        thread::sleep(left.min(interval));
        look(soak.counts());
    }
    soak.stop()
}
