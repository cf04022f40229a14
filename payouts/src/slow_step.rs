//! Durable steps that a test makes slow, as a busy or worn disk does: the writer waits, and whoever waits for the writer.
//!
//! The variable `ADIT_SLOW_STEP` says how slow: steps with commas in between, each with its milliseconds, such as
//! `append shares:1500`. A release build has none of this: there [`linger`] does nothing.

/// Waits for as long as a test wants this step to take.
#[cfg(debug_assertions)]
pub(crate) async fn linger(step: &str) {
    let delay = slowed::delay_of(step);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

/// Does nothing: only debug builds have slow steps.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) async fn linger(_: &str) {}

#[cfg(debug_assertions)]
mod slowed {
    use std::{collections::BTreeMap, env, sync::OnceLock, time::Duration};

    /// What slows steps.
    const VARIABLE: &str = "ADIT_SLOW_STEP";

    pub(super) fn delay_of(step: &str) -> Duration {
        static SLOWED: OnceLock<BTreeMap<String, Duration>> = OnceLock::new();
        let slowed = SLOWED.get_or_init(|| read(&env::var(VARIABLE).unwrap_or_default()));
        slowed.get(step).copied().unwrap_or_default()
    }

    /// Reads a list of steps. What is none of them slows nothing.
    pub(super) fn read(list: &str) -> BTreeMap<String, Duration> {
        let step = |entry: &str| {
            let (step, delay_ms) = entry.trim().rsplit_once(':')?;
            Some((step.to_owned(), Duration::from_millis(delay_ms.parse().ok()?)))
        };
        list.split(',').filter_map(step).collect()
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::time::Duration;

    use super::slowed::read;

    #[test]
    fn steps_are_read_with_their_milliseconds() {
        let slowed = read("append shares:1500, commit:20,nonsense,other:soon");
        let expected = [("append shares", 1_500), ("commit", 20)];
        assert_eq!(slowed, expected.map(|(step, ms)| (step.to_owned(), Duration::from_millis(ms))).into());
    }
}
