//! What the session that writes knows to be in the database, so that it need not ask with each group of shares.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use crate::{account::AccountId, share::JobNumber};

/// Workers that are known at most: some 25 MB. When there are more, all are forgotten, and asked for again.
const MAX_WORKERS: usize = 1 << 17;
/// Jobs that are known at most. Shares are found on the newest few.
const MAX_JOBS: usize = 1_024;

/// The numbers of workers, and jobs that have rows.
///
/// Both are never changed nor deleted, and nobody else writes. But only what was committed is known, and only until the
/// session is replaced: the next one may find a database in which a commit is missing.
#[derive(Debug, Default)]
pub(in crate::store) struct Known {
    workers: HashMap<AccountId, HashMap<Arc<str>, i64>>,
    /// Of all accounts together.
    worker_count: usize,
    jobs: HashSet<JobNumber>,
}

impl Known {
    /// Returns the number of a worker's row, if it is known.
    pub(super) fn worker(&self, account: AccountId, name: &str) -> Option<i64> {
        self.workers.get(&account)?.get(name).copied()
    }

    /// Tells whether a job is known to have a row.
    pub(super) fn has_job(&self, job: JobNumber) -> bool {
        self.jobs.contains(&job)
    }

    /// Takes in what a group of shares has shown. It is committed now.
    pub(super) fn add(&mut self, news: News) {
        for ((account, name), id) in news.workers {
            self.add_worker(account, name, id);
        }
        if self.jobs.len() + news.jobs.len() > MAX_JOBS {
            self.jobs.clear();
        }
        self.jobs.extend(news.jobs);
    }

    fn add_worker(&mut self, account: AccountId, name: Arc<str>, id: i64) {
        if self.worker_count >= MAX_WORKERS {
            self.workers = HashMap::new();
            self.worker_count = 0;
        }
        let is_new = self.workers.entry(account).or_default().insert(name, id).is_none();
        self.worker_count += usize::from(is_new);
    }
}

/// What a transaction has found or written that was not known.
#[derive(Debug, Default)]
pub(in crate::store) struct News {
    /// The numbers of workers' rows, by account and name.
    pub(super) workers: BTreeMap<(AccountId, Arc<str>), i64>,
    pub(super) jobs: BTreeSet<JobNumber>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(workers: impl IntoIterator<Item = i64>) -> News {
        let worker = |id| ((AccountId::new(id % 7), format!("rig {id}").into()), id);
        News { workers: workers.into_iter().map(worker).collect(), jobs: [JobNumber::new(1)].into() }
    }

    #[test]
    fn workers_of_a_name_are_told_apart_by_account() {
        let mut known = Known::default();
        let worker = |account| (AccountId::new(account), Arc::from("rig"));
        known.add(News { workers: [(worker(1), 10), (worker(2), 20)].into(), jobs: BTreeSet::new() });
        let of = |account| known.worker(AccountId::new(account), "rig");
        assert_eq!((of(1), of(2), of(3)), (Some(10), Some(20), None));
        assert_eq!(known.worker(AccountId::new(1), "Rig"), None);
    }

    #[test]
    fn no_more_is_known_than_there_is_room_for() {
        let most = i64::try_from(MAX_WORKERS).expect("it is small");
        let mut known = Known::default();
        known.add(news(0..most));
        known.add(news(0..most));
        assert_eq!(known.worker(AccountId::new(1), "rig 1"), Some(1), "the same ones take no more room");
        known.add(news([most]));
        assert_eq!((known.worker_count, known.worker(AccountId::new(1), "rig 1")), (1, None));
        for job in 0..3 * MAX_JOBS as i64 {
            known.add(News { jobs: [JobNumber::new(job)].into(), ..News::default() });
            assert!(known.has_job(JobNumber::new(job)) && known.jobs.len() <= MAX_JOBS);
        }
    }
}
