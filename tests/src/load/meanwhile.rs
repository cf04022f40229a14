//! The mode that measures nothing itself: a load that is there while something else is measured.

use std::{thread, time::Duration};

use super::{
    Load,
    crew::{Crew, Orders, Stage},
    crowd::Stay,
    pace::Pace,
};

/// A load while something else is done.
#[derive(Clone, Copy, Debug)]
pub struct Meanwhile {
    /// Shares a second of each channel.
    pub per_second: f64,
    /// How long shares are sent before.
    pub warm_up: Duration,
}

/// Opens all connections, lets each channel send its shares, does something, and ends the load.
///
/// # Errors
///
/// If not all connections can be opened or stay open, or what is done fails.
pub fn meanwhile<T>(load: &Load, mode: Meanwhile, act: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let Load { connections, threads, in_flight, .. } = *load;
    let pace = Pace::Even { shares_per_second: mode.per_second, channels: load.channels };
    let crew = Crew::start(&load.plan()?, Orders { connections, threads, in_flight, stay: Stay::Once, pace });
    crew.wait_until_open(load.open_timeout())?;
    crew.enter(Stage::WarmUp);
    thread::sleep(mode.warm_up);
    let outcome = act()?;
    anyhow::ensure!(crew.open_count() == connections as u64, "only {} connections are still open", crew.open_count());
    crew.finish()?;
    Ok(outcome)
}
