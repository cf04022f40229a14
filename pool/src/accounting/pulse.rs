//! Whether the share log's task gets on: since when it has been with one attempt to write.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Since when the share log is with an attempt to write; all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    since: Arc<Mutex<Option<Instant>>>,
}

impl Pulse {
    /// Notes that an attempt begins, the first or another.
    pub fn begin(&self) {
        *self.since() = Some(Instant::now());
    }

    /// Notes that a group is on disk, and that nothing is being written.
    pub fn rest(&self) {
        *self.since() = None;
    }

    /// Returns for how long the present attempt has gone on; zero if nothing is being written.
    pub fn busy_for(&self, now: Instant) -> Duration {
        self.since().map(|since| now.saturating_duration_since(since)).unwrap_or_default()
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_counts_anew_and_rest_is_no_delay() {
        let (pulse, later) = (Pulse::default(), Instant::now() + Duration::from_secs(60));
        assert_eq!(pulse.busy_for(later), Duration::ZERO);
        pulse.begin();
        let first = pulse.busy_for(later);
        assert!(first > Duration::from_secs(59), "{first:?}");
        std::thread::sleep(Duration::from_millis(2));
        pulse.clone().begin();
        assert!(pulse.busy_for(later) < first);
        pulse.rest();
        assert_eq!(pulse.busy_for(later), Duration::ZERO);
    }
}
