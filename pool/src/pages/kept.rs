//! What public pages are made of, worked out once for all who look: so that a page costs little however many ask for it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OnceCell, Semaphore};

use crate::operations::{Refusal, RefusalCode};

/// What was worked out lately, by what it is of.
#[derive(Debug)]
pub(super) struct Kept<K, V> {
    lasts: Duration,
    most: usize,
    /// Places for those who work something out; others wait.
    places: Semaphore,
    values: Mutex<HashMap<K, Value<V>>>,
}

#[derive(Debug)]
struct Value<V> {
    since: Instant,
    /// Whoever comes while it is worked out waits for the same.
    cell: Arc<OnceCell<Arc<V>>>,
}

impl<K: Clone + Eq + Hash, V> Kept<K, V> {
    /// Keeps so many values, each for so long, of which so many are worked out at a time.
    pub(super) fn new(lasts: Duration, most: usize, at_a_time: usize) -> Kept<K, V> {
        Kept { lasts, most, places: Semaphore::new(at_a_time), values: Mutex::default() }
    }

    /// Returns a value that is no older than it may be; `work_out` is dropped if there is one. What fails is not kept.
    ///
    /// # Errors
    ///
    /// What `work_out` says.
    pub(super) async fn value(
        &self,
        key: &K,
        work_out: impl Future<Output = Result<V, Refusal>>,
    ) -> Result<Arc<V>, Refusal> {
        let cell = self.cell(key, Instant::now());
        let worked_out = async {
            let ended = |_| Refusal::new(RefusalCode::Unavailable, "the pool shuts down");
            let _place = self.places.acquire().await.map_err(ended)?;
            Ok(Arc::new(work_out.await?))
        };
        let value = cell.get_or_try_init(|| worked_out).await.cloned();
        if value.is_err() {
            self.forget(key, &cell);
        }
        value
    }

    fn cell(&self, key: &K, now: Instant) -> Arc<OnceCell<Arc<V>>> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |value: &Value<V>| now.saturating_duration_since(value.since) < self.lasts;
        if let Some(value) = values.get(key).filter(|value| is_fresh(value)) {
            return Arc::clone(&value.cell);
        }
        if values.len() >= self.most {
            values.retain(|_, value| is_fresh(value));
        }
        if values.len() >= self.most
            && let Some(oldest) = values.iter().min_by_key(|(_, value)| value.since).map(|(key, _)| key.clone())
        {
            values.remove(&oldest);
        }
        let cell = Arc::new(OnceCell::new());
        values.insert(key.clone(), Value { since: now, cell: Arc::clone(&cell) });
        cell
    }

    fn forget(&self, key: &K, cell: &Arc<OnceCell<Arc<V>>>) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if values.get(key).is_some_and(|value| Arc::ptr_eq(&value.cell, cell)) {
            values.remove(key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn value_is_worked_out_once_for_all_who_ask_until_it_is_old() {
        let (kept, counted) = (Kept::new(LONG, 4, 1), AtomicU32::new(0));
        let work_out = async || {
            tokio::task::yield_now().await;
            Ok(counted.fetch_add(1, Ordering::Relaxed))
        };
        let (one, other) = tokio::join!(kept.value(&1, work_out()), kept.value(&1, work_out()));
        assert_eq!((*one.unwrap(), *other.unwrap(), *kept.value(&1, work_out()).await.unwrap()), (0, 0, 0));
        assert_eq!(*kept.value(&2, work_out()).await.unwrap(), 1);
        let old = Kept::new(Duration::ZERO, 4, 1);
        assert_eq!((*old.value(&1, work_out()).await.unwrap(), *old.value(&1, work_out()).await.unwrap()), (2, 3));
    }

    #[tokio::test]
    async fn number_of_values_is_bounded() {
        let kept: Kept<u32, u32> = Kept::new(LONG, 3, 1);
        for key in 0..10 {
            kept.value(&key, async { Ok(key) }).await.unwrap();
            assert!(kept.values.lock().unwrap().len() <= 3);
        }
        assert_eq!(*kept.value(&9, async { panic!("it is kept") }).await.unwrap(), 9);
    }

    #[tokio::test]
    async fn what_fails_is_tried_again() {
        let kept: Kept<u32, u32> = Kept::new(LONG, 3, 1);
        let failed = kept.value(&1, async { Err(Refusal::new(RefusalCode::Failed, "no")) }).await;
        assert_eq!(failed.unwrap_err().code, RefusalCode::Failed);
        assert_eq!(*kept.value(&1, async { Ok(7) }).await.unwrap(), 7);
    }
}
