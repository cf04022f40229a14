//! A Stratum V1 miner on the CPU, as it stands behind a translator: JSON lines over TCP. It really hashes, it connects
//! again when its connection ends, and it keeps a record of what it did and was told.
//!
//! It is made to be many: one task each, which sleeps most of the time. What a job is, as the arithmetic of coinbase,
//! merkle root and header, is in `job`; the conversation is in `session`. It shares no code with the pool.

mod job;
mod session;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::Context;
use bitcoin::BlockHash;
use tokio::{sync::watch, task::JoinHandle};

/// What a miner is told before it starts.
#[derive(Clone, Debug)]
pub struct Sv1MinerConfig {
    /// Where the server listens.
    pub server: SocketAddr,
    /// The name it gives, such as `account.worker`.
    pub user: String,
    /// How fast it hashes, in hashes a second; not at all at 0.
    pub hash_rate: f64,
}

/// A job that came, and what was said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    /// Its id.
    pub job_id: String,
    /// The block below.
    pub prev_hash: BlockHash,
    /// Whether all jobs before it are stale.
    pub clean: bool,
}

/// A share that was submitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Its job.
    pub job_id: String,
    /// The block below.
    pub prev_hash: BlockHash,
    /// Its hash.
    pub hash: BlockHash,
    /// The difficulty that it was found for.
    pub difficulty: f64,
    /// Whether it meets the network's target too.
    pub is_block: bool,
    /// The answer: nothing while there is none, or the reason of a rejection.
    pub answer: Option<Result<(), String>>,
}

/// All that a miner did and was told.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// How often it has connected.
    pub connections: usize,
    /// How often it was let in: both subscribed and authorised.
    pub admissions: usize,
    /// The jobs, in order.
    pub jobs: Vec<Notified>,
    /// How many of them came on the connection that lasts.
    pub jobs_of_connection: usize,
    /// The difficulties, in order.
    pub difficulties: Vec<f64>,
    /// The version bits that it may roll; of the last connection.
    pub version_mask: u32,
    /// The shares, in order.
    pub shares: Vec<Share>,
    /// What the server must not do or say, and connections that failed.
    pub faults: Vec<String>,
    /// Shares of this connection without an answer, by the id of the request.
    unanswered: BTreeMap<u64, usize>,
}

impl Record {
    /// The shares that were accepted.
    pub fn accepted(&self) -> impl Iterator<Item = &Share> {
        self.shares.iter().filter(|share| share.answer == Some(Ok(())))
    }

    /// The reasons of the rejections, in order.
    pub fn rejections(&self) -> Vec<&str> {
        self.shares.iter().filter_map(|share| share.answer.as_ref()?.as_ref().err().map(String::as_str)).collect()
    }
}

/// A running miner. Dropping it closes its connection.
#[derive(Debug)]
pub struct Sv1Miner {
    record: watch::Receiver<Record>,
    hash_rate: watch::Sender<f64>,
    task: JoinHandle<()>,
}

impl Sv1Miner {
    /// Starts a miner. It connects by itself, now and whenever its connection has ended.
    pub fn start(config: Sv1MinerConfig) -> Self {
        let (hash_rate, pace) = watch::channel(config.hash_rate);
        let (writer, record) = watch::channel(Record::default());
        let task = tokio::spawn(session::run(config, pace, writer));
        Self { record, hash_rate, task }
    }

    /// Hashes at another speed from now on, in hashes a second.
    pub fn limit_hash_rate(&self, hashes_per_second: f64) {
        // Nobody listens any more only when the miner has been dropped.
        self.hash_rate.send_replace(hashes_per_second);
    }

    /// Looks at the record.
    pub fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.record.borrow())
    }

    /// Waits until `look` finds something in the record. `what` is for the error's message.
    ///
    /// # Errors
    ///
    /// When the time is over.
    pub async fn wait_for<T>(
        &self,
        timeout: Duration,
        what: &str,
        mut look: impl FnMut(&Record) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut record = self.record.clone();
        let mut found = None;
        let wait = record.wait_for(|record| {
            found = look(record);
            found.is_some()
        });
        let in_time = tokio::time::timeout(timeout, wait).await.is_ok_and(|record| record.is_ok());
        found.filter(|_| in_time).with_context(|| {
            let record = self.record.borrow();
            let accepted = record.accepted().count();
            format!(
                "waited in vain for {what}: {} connections, {} jobs, difficulties {:?}, {accepted} of {} shares accepted, \
                 rejected {:?}, faults {:?}",
                record.connections,
                record.jobs.len(),
                record.difficulties,
                record.shares.len(),
                record.rejections(),
                record.faults
            )
        })
    }

    /// Waits until so many shares in all are accepted.
    ///
    /// # Errors
    ///
    /// When the time is over.
    pub async fn wait_for_accepted(&self, count: usize, timeout: Duration) -> anyhow::Result<()> {
        let what = format!("{count} accepted shares");
        self.wait_for(timeout, &what, |record| (record.accepted().count() >= count).then_some(())).await
    }
}

impl Drop for Sv1Miner {
    fn drop(&mut self) {
        self.task.abort();
    }
}
