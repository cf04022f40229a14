//! The mode that restarts the pool under load, and measures until all channels work again.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    Load, Percentiles, Report, Restarted, Shares,
    crew::{Crew, Orders, Stage},
    crowd::Stay,
    pace::Pace,
    target::Target,
    usage::own_cpu_time,
};

/// A restart while shares come.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    /// Shares a second of each channel.
    pub per_second: f64,
    /// How long shares are sent before, and again afterwards.
    pub time: Duration,
}

/// Ends Adit by SIGTERM while all channels send shares, starts it again at once, and waits until all are back.
///
/// # Errors
///
/// If the target is not Adit, does not end or start, or not all connections return.
pub fn restart(load: &Load, mode: &Restart, target: &mut Target) -> anyhow::Result<Report> {
    let Load { connections, threads, in_flight, .. } = *load;
    let pace = Pace::Even { shares_per_second: mode.per_second, channels: load.channels };
    let orders = Orders { connections, threads, in_flight, stay: Stay::Reconnect, pace };
    let (begun, cpu_before) = (Instant::now(), own_cpu_time()?);
    let crew = Crew::start(&load.plan()?, orders);
    crew.wait_until_open(load.open_timeout())?;
    crew.enter(Stage::Measure);
    thread::sleep(mode.time);
    let pool = target.adit_mut().ok_or_else(|| anyhow::anyhow!("only Adit can be restarted"))?;
    let told = Instant::now();
    pool.stop()?;
    let ended = Instant::now();
    pool.start()?;
    let listens = Instant::now();
    crew.wait_until_open(load.open_timeout())?;
    let all_back = Instant::now();
    thread::sleep(mode.time);
    let time = begun.elapsed();
    let sums = crew.finish()?;
    let seconds = |from: Instant, to: Instant| (to - from).as_secs_f64();
    Ok(Report {
        seconds: time.as_secs_f64(),
        client_cpu_seconds: (own_cpu_time()? - cpu_before).as_secs_f64(),
        shares_in_all: Some(Shares::of(&sums.total, sums.unanswered, time)),
        acknowledgement_us: Some(Percentiles::of(&sums.measured.acknowledgement_us)),
        restarted: Some(Restarted {
            stop_seconds: seconds(told, ended),
            start_seconds: seconds(ended, listens),
            all_back_seconds: seconds(told, all_back),
        }),
        ..load.report("restart")
    }
    .with_troubles(&sums))
}
