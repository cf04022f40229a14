//! What keeps the pool waiting, said often enough to be seen and not so often as to fill the log.

use std::time::{Duration, Instant};

/// The same words are repeated after this long.
const REPEAT_AFTER: Duration = Duration::from_secs(10);

/// Remembers what was said last.
#[derive(Debug, Default)]
pub(super) struct Notice {
    last: Option<(String, Instant)>,
}

impl Notice {
    /// Whether `words` should be said now: when they are new, and every ten seconds.
    pub(super) fn is_due(&mut self, words: &str, now: Instant) -> bool {
        let said = self.last.as_ref().is_some_and(|(last, at)| last == words && now < *at + REPEAT_AFTER);
        if !said {
            self.last = Some((words.to_owned(), now));
        }
        !said
    }

    /// Forgets what was said; returns whether anything was.
    pub(super) fn clear(&mut self) -> bool {
        self.last.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_words_are_said_again_after_ten_seconds() {
        let mut notice = Notice::default();
        let start = Instant::now();
        assert!(notice.is_due("down", start));
        assert!(!notice.is_due("down", start + Duration::from_secs(9)));
        assert!(notice.is_due("down", start + Duration::from_secs(10)));
        assert!(!notice.is_due("down", start + Duration::from_secs(11)));
        assert!(notice.is_due("starting", start + Duration::from_secs(12)));
    }

    #[test]
    fn clearing_tells_whether_there_was_trouble() {
        let mut notice = Notice::default();
        assert!(!notice.clear());
        notice.is_due("down", Instant::now());
        assert!(notice.clear());
    }
}
