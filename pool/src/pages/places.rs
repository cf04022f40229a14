//! Places for those who follow something for as long as they like: so many at a time, and no more.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places, of which each who follows holds one.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    /// Makes so many.
    pub(super) fn new(count: usize) -> Places {
        Places(Arc::new(Semaphore::new(count)))
    }

    /// Takes one until it is dropped; none if all are taken.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}
