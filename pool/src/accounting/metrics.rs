//! What the share log counts.

use std::time::Duration;

use prometheus_client::metrics::{gauge::Gauge, histogram::Histogram};

use crate::metrics::Metrics;

/// What the share log counts.
#[derive(Clone, Debug)]
pub struct ShareLogMetrics {
    queue: Gauge,
    group_shares: Histogram,
    commit_seconds: Histogram,
}

impl ShareLogMetrics {
    /// Adds what the share log counts to all that is counted.
    pub fn register(metrics: &mut Metrics) -> Self {
        Self {
            queue: metrics
                .gauge("share_log_queue_shares", "Shares that wait for the disk, when a group was last taken"),
            group_shares: metrics.sizes("share_log_group_shares", "Shares that were written in one transaction"),
            commit_seconds: metrics.seconds("share_log_commit", "Time until a group of shares was on disk"),
        }
    }

    /// Notes that so many shares were left in the queue when a group was taken from it.
    pub fn leave(&self, waiting: usize) {
        self.queue.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Counts a group of shares that is on disk after such a time.
    pub fn commit(&self, shares: usize, took: Duration) {
        self.group_shares.observe(shares as f64);
        self.commit_seconds.observe(took.as_secs_f64());
    }
}
