//! The mode that opens connections: as many as the pool takes, or so many that stay.

use std::{thread, time::Duration};

use super::{
    Load, Opened, Percentiles, Report,
    crew::{Crew, Orders, Stage},
    crowd::Stay,
    pace::Pace,
    shares::{Meter, Metered},
    tally::Tally,
};

/// New connections, each with its channels and their first jobs.
#[derive(Clone, Copy, Debug)]
pub struct Connect {
    /// Whether [`Load::connections`] are opened once and stay. Otherwise each is closed when it is open, and the next one
    /// takes its place: [`Load::in_flight`] at a time.
    pub keep: bool,
    /// How long connections come and go before it is measured. Not used if they stay.
    pub warm_up: Duration,
    /// How long it is measured. Not used if they stay.
    pub time: Duration,
}

impl Default for Connect {
    fn default() -> Self {
        Self { keep: false, warm_up: Duration::from_secs(1), time: Duration::from_secs(10) }
    }
}

/// Opens connections.
///
/// # Errors
///
/// If those that stay cannot be opened, or the server's process is gone.
pub fn connect(load: &Load, mode: &Connect) -> anyhow::Result<Report> {
    let (connections, stay) = match mode.keep {
        true => (load.connections, Stay::Once),
        false => (load.in_flight, Stay::Pass),
    };
    let orders = Orders { connections, threads: load.threads, in_flight: load.in_flight, stay, pace: Pace::Idle };
    let plan = load.plan()?;
    let (metered, sums, opened);
    if mode.keep {
        let meter = Meter::start(load.server_pid)?;
        let crew = Crew::start(&plan, orders);
        crew.wait_until_open(load.open_timeout())?;
        metered = meter.stop()?;
        sums = crew.finish()?;
        opened = opened_of(&sums.total, &metered);
    } else {
        let crew = Crew::start(&plan, orders);
        thread::sleep(mode.warm_up);
        let meter = Meter::start(load.server_pid)?;
        crew.enter(Stage::Measure);
        thread::sleep(mode.time);
        metered = meter.stop()?;
        sums = crew.finish()?;
        opened = opened_of(&sums.measured, &metered);
    }
    Ok(Report {
        connections,
        seconds: metered.time.as_secs_f64(),
        client_cpu_seconds: metered.client_cpu.as_secs_f64(),
        server: metered.server_cost(opened.count, "connection"),
        opened: Some(opened),
        ..load.report("connect")
    }
    .with_troubles(&sums))
}

/// Says what connections a tally has seen.
pub(super) fn opened_of(tally: &Tally, metered: &Metered) -> Opened {
    Opened {
        count: tally.opened,
        per_second: tally.opened as f64 / metered.time.as_secs_f64(),
        opening_us: Percentiles::of(&tally.opening_us),
    }
}
