//! What was judged of channels that have been closed, until whoever keeps the history takes it.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use payouts::account::AccountId;

use super::channel::{Counts, LiveChannel};

/// Workers whose counts are kept apart. Of further ones it is only known how many shares they were together, so that a
/// client who opens and closes channels under ever new names cannot fill the memory.
const MAX_WORKERS: usize = 65_536;

/// What was judged of one worker.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerCounts {
    /// The address that it mines for.
    pub address: String,
    /// Its name; empty if it has none.
    pub worker: Arc<str>,
    /// The account of the address, if a channel knew it: it had a right share.
    pub account: Option<AccountId>,
    /// What was judged.
    pub counts: Counts,
}

/// What was judged since it was last taken.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    by_worker: HashMap<(String, Arc<str>), (Option<AccountId>, Counts)>,
    rest: Counts,
}

impl Taken {
    /// Returns what was judged of each worker of whom something was.
    pub fn workers(&self) -> impl Iterator<Item = WorkerCounts> {
        self.by_worker.iter().map(|((address, worker), (account, counts))| WorkerCounts {
            address: address.clone(),
            worker: Arc::clone(worker),
            account: *account,
            counts: *counts,
        })
    }

    /// Returns what was judged of workers that were too many to be kept apart.
    pub fn rest(&self) -> Counts {
        self.rest
    }

    pub(super) fn add(&mut self, channel: &LiveChannel, counts: &Counts, max_workers: usize) {
        let key = (channel.address().to_owned(), Arc::clone(channel.worker()));
        if self.by_worker.len() >= max_workers && !self.by_worker.contains_key(&key) {
            return self.rest.add(counts);
        }
        let (account, sum) = self.by_worker.entry(key).or_default();
        *account = account.or(channel.account());
        sum.add(counts);
    }
}

/// What was judged of channels that have been closed since it was last taken.
#[derive(Debug, Default)]
pub(super) struct Departed(Mutex<Taken>);

impl Departed {
    pub(super) fn add(&self, channel: &LiveChannel, counts: &Counts) {
        if !counts.is_empty() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).add(channel, counts, MAX_WORKERS);
        }
    }

    pub(super) fn take(&self) -> Taken {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
