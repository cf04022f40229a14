//! Places for those who follow something for as long as they like: so many at a time, and no more.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places, of which each who follows holds one.
#[derive(Clone, Debug)]
pub struct Places(Arc<Semaphore>);

/// A place. Whoever drops it has left it.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit);

impl Places {
    /// Makes so many.
    pub fn new(count: usize) -> Places {
        Places(Arc::new(Semaphore::new(count)))
    }

    /// Takes one; none if all are taken.
    pub fn take(&self) -> Option<Place> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(Place)
    }
}
