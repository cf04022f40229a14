//! What the next block would credit under SLICE, whose window is read from the share log each time.
//!
//! That may take long where shares are many. So it is counted beside the pages, of which none waits for more than a moment,
//! and then the store has its rest for many times as long.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use payouts::books::{BooksError, Outlook};
use tokio::{sync::Semaphore, time::timeout};
use tracing::warn;

/// It is not counted again before so long has passed,
const LASTS: Duration = Duration::from_secs(30);
/// nor before so many times as long as it took.
const REST: u32 = 50;
/// So long a page waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the next block would credit, as it was counted last.
#[derive(Debug)]
pub(super) struct SliceOutlook {
    /// A place for the one who counts.
    place: Arc<Semaphore>,
    counted: Arc<Mutex<Option<Counted>>>,
    patience: Duration,
}

/// What was counted.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    /// What a block would credit; nothing if there was no share.
    pub(super) outlook: Option<Arc<Outlook>>,
    /// When that was.
    pub(super) at: Instant,
    took: Duration,
}

impl Default for SliceOutlook {
    fn default() -> SliceOutlook {
        SliceOutlook { place: Arc::new(Semaphore::new(1)), counted: Arc::default(), patience: PATIENCE }
    }
}

impl SliceOutlook {
    /// Returns what was counted last, after it was counted again if that is too long ago. Nothing while it is counted for the
    /// first time, or if it cannot be.
    pub(super) async fn newest(
        &self,
        count: impl Future<Output = Result<Option<Outlook>, BooksError>> + Send + 'static,
    ) -> Option<Counted> {
        let is_due = locked(&self.counted).as_ref().is_none_or(|counted| counted.is_due(Instant::now()));
        if is_due && let Ok(place) = Arc::clone(&self.place).try_acquire_owned() {
            let counted = Arc::clone(&self.counted);
            let counting = tokio::spawn(async move {
                let (at, _place) = (Instant::now(), place);
                match count.await {
                    Ok(outlook) => {
                        let outlook = outlook.map(Arc::new);
                        *locked(&counted) = Some(Counted { outlook, at, took: at.elapsed() });
                    }
                    Err(error) => warn!(%error, "what the next block would credit cannot be counted, will try again"),
                }
            });
            // It goes on whether or not it is waited for.
            let _ = timeout(self.patience, counting).await;
        }
        locked(&self.counted).clone()
    }
}

impl Counted {
    fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= LASTS.max(self.took.saturating_mul(REST))
    }
}

fn locked(counted: &Mutex<Option<Counted>>) -> MutexGuard<'_, Option<Counted>> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_long_for_what_is_counted_and_it_is_counted_once() {
        let outlook = SliceOutlook { patience: Duration::ZERO, ..SliceOutlook::default() };
        let (done, is_done) = oneshot::channel();
        let slow = async {
            is_done.await.unwrap();
            Ok(None)
        };
        assert!(outlook.newest(slow).await.is_none(), "it is not counted yet");
        assert!(outlook.newest(async { panic!("there is one who counts") }).await.is_none());
        done.send(()).unwrap();
        let _over = outlook.place.acquire().await.unwrap();
        let counted = outlook.newest(async { panic!("it is counted") }).await.unwrap();
        assert!(counted.outlook.is_none());
    }

    #[test]
    fn what_took_long_has_a_long_rest() {
        let at = Instant::now();
        for (took_s, rest_s) in [(0, 30), (1, 50), (60, 3_000)] {
            let counted = Counted { outlook: None, at, took: Duration::from_secs(took_s) };
            assert!(!counted.is_due(at + Duration::from_secs(rest_s - 1)), "{took_s} s");
            assert!(counted.is_due(at + Duration::from_secs(rest_s)), "{took_s} s");
        }
    }
}
