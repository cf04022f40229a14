//! The one place where this crate asks for the time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the milliseconds since 1970 in UTC, or 0 for a clock set before that.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}
