//! What the service manager is told of this process (sd_notify(3)): that miners can connect, what it does, that it still
//! gets on, that it reloads, that it ends. Where nobody has asked for it, by `NOTIFY_SOCKET`, nothing happens.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::{sync::watch, time::timeout};
use tracing::{error, info, warn};

use crate::accounting::pulse::Pulse;

/// How often the status is told where no watchdog is set.
const STATUS_INTERVAL: Duration = Duration::from_secs(30);
/// How many times the watchdog's time the share log may be with one attempt to write. With the 90 seconds of the unit that
/// is longer than any time-out of the stores: an outage that ends is sat out, with the shares that wait for its end.
const STUCK_AFTER: u32 = 5;

/// Tells that miners can connect, and what the pool does. Also ends a reload.
pub fn tell_ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells what the pool does, for the manager to show.
pub fn tell_status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Tells that the configuration is being read again. [`tell_ready`] must follow, whatever comes of it.
pub fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "the monotonic clock cannot be read"),
    }
}

/// Tells that the pool shuts down.
pub fn tell_stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("writes what it has, acknowledges that and closes")]);
}

/// Tells the manager's watchdog twice in its time that the pool gets on, and what it does, until the pool shuts down.
///
/// That this runs proves that the runtime does. It is told nothing while the share log has been with one attempt to write
/// for [`STUCK_AFTER`] times that: then shares pile up that nobody acknowledges, and only a new start can help. An attempt
/// that fails is no reason: the next one may succeed, and found blocks still go to the node.
pub(crate) async fn keep_watchdog(pulse: Pulse, mut draining: watch::Receiver<bool>, status: impl Fn() -> String) {
    let limit = sd_notify::watchdog_enabled();
    let interval = limit.map_or(STATUS_INTERVAL, |limit| limit / 2);
    let mut was_stuck = false;
    loop {
        let busy = pulse.busy_for(Instant::now());
        let is_stuck = limit.is_some_and(|limit| busy >= limit * STUCK_AFTER);
        if is_stuck {
            error!(seconds = busy.as_secs(), "the share log does not get on: the service manager is told nothing");
            tell_status(&format!("the share log has not got on for {} s", busy.as_secs()));
        } else {
            if was_stuck {
                info!("the share log gets on again");
            }
            let status = status();
            let alive = [NotifyState::Watchdog, NotifyState::Status(&status)];
            tell(if limit.is_some() { &alive } else { &alive[1..] });
        }
        was_stuck = is_stuck;
        if timeout(interval, draining.wait_for(|draining| *draining)).await.is_ok() {
            return;
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager cannot be told how the pool is");
    }
}
