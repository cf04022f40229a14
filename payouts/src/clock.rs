//! The one place where this crate asks for the time.
//!
//! A test can set it for its own thread ([`set`]). A release build has none of this: there the time is the system's.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the milliseconds since 1970 in UTC, or 0 for a clock set before that.
pub(crate) fn now_ms() -> i64 {
    #[cfg(debug_assertions)]
    if let Some(set_ms) = SET_MS.get() {
        return set_ms;
    }
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(debug_assertions)]
thread_local! {
    static SET_MS: std::cell::Cell<Option<i64>> = const { std::cell::Cell::new(None) };
}

/// Makes it a time, in milliseconds since 1970 UTC, for all that this thread does from now on; nothing for the system's.
#[cfg(debug_assertions)]
pub fn set(now_ms: Option<i64>) {
    SET_MS.set(now_ms);
}
