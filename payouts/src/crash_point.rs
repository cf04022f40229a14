//! Points at which a test ends the process, as a loss of power would: before and after each step that must last.
//!
//! The variable `ADIT_CRASH_POINT` arms them: names with commas in between, each with `:n` for the n-th time, such as
//! `before commit matured, after sendrawtransaction:2`. The first armed one that is reached ends the process where it
//! stands: nothing is unwound, flushed or answered. With `panic ` before its name a point has the task panic that reaches it,
//! and nothing else. A release build has none of this: there [`reach`] is empty.

use std::fmt::Arguments;

/// Ends the process if this point is armed.
///
/// # Panics
///
/// If it is armed to.
#[cfg(debug_assertions)]
pub fn reach(point: Arguments<'_>) {
    armed::reach(point);
}

/// Does nothing: only debug builds have crash points.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_: Arguments<'_>) {}

#[cfg(debug_assertions)]
mod armed {
    use std::{
        collections::BTreeMap,
        env,
        fmt::Arguments,
        process,
        sync::{Mutex, OnceLock, PoisonError},
    };

    /// What arms points.
    const VARIABLE: &str = "ADIT_CRASH_POINT";

    /// Points by name, each with how often it is still to be reached.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Armed(BTreeMap<String, u32>);

    impl Armed {
        /// Reads a list of points. What is no list of points arms nothing that is ever reached.
        pub(super) fn read(list: &str) -> Self {
            let points = list.split(',').map(str::trim).filter(|point| !point.is_empty());
            let points = points.map(|point| match point.rsplit_once(':') {
                Some((name, times)) if times.parse::<u32>().is_ok_and(|times| times > 0) => {
                    (name.to_owned(), times.parse().unwrap_or(1))
                }
                _ => (point.to_owned(), 1),
            });
            Self(points.collect())
        }

        /// Counts that a point was reached; true if it was the last time that it was to be.
        pub(super) fn reach(&mut self, point: &str) -> bool {
            let Some(left) = self.0.get_mut(point) else { return false };
            *left -= 1;
            let is_last = *left == 0;
            if is_last {
                self.0.remove(point);
            }
            is_last
        }
    }

    pub(super) fn reach(point: Arguments<'_>) {
        static ARMED: OnceLock<Option<Mutex<Armed>>> = OnceLock::new();
        let armed = ARMED.get_or_init(|| env::var(VARIABLE).ok().map(|list| Mutex::new(Armed::read(&list))));
        let Some(armed) = armed else { return };
        let point = point.to_string();
        // Held to the end, so that no other thread reaches a point of its own in the meantime.
        let mut armed = armed.lock().unwrap_or_else(PoisonError::into_inner);
        if armed.reach(&point) {
            tracing::error!(point, "crash point reached");
            // To the kernel and to whoever is connected the same as SIGKILL, and within reach of safe code.
            process::abort();
        }
        let panics = armed.reach(&format!("panic {point}"));
        drop(armed);
        assert!(!panics, "armed to panic: {point}");
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::armed::Armed;

    #[test]
    fn a_point_is_reached_the_time_that_was_asked_for() {
        let mut armed = Armed::read("before commit matured, after sendrawtransaction:2,");
        assert!(!armed.reach("before commit orphaned"));
        assert!(armed.reach("before commit matured"));
        assert!(!armed.reach("after sendrawtransaction"));
        assert!(armed.reach("after sendrawtransaction"));
        assert!(!armed.reach("after sendrawtransaction"), "once is enough");
        assert_eq!(Armed::read(""), Armed::read(" , "));
    }

    #[test]
    fn nothing_is_armed_by_itself() {
        // Still here after it.
        super::reach(format_args!("before commit matured"));
        assert!(!Armed::read("").reach("before commit matured"));
    }
}
