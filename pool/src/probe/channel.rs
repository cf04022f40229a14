//! One channel as a client sees it: its jobs, its tip and what is to be hashed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use protocol::{codec::U256, messages::mining::NewExtendedMiningJob};

use super::{check::Check, report::Findings};

/// What leads to the merkle root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// The root itself.
    Root(U256),
    /// The coinbase around the part of the extranonce that is left to the client, and the merkle path.
    Coinbase {
        /// What stands before it, with the channel's extranonce prefix.
        prefix: Vec<u8>,
        /// How long it is, in bytes.
        size: usize,
        /// What stands behind it.
        suffix: Vec<u8>,
        /// The hashes up to the root.
        path: Vec<U256>,
    },
}

impl Form {
    /// Makes a channel's form of an extended job.
    pub fn of_coinbase(job: &NewExtendedMiningJob, channel: &Channel) -> Self {
        Self::Coinbase {
            prefix: [job.coinbase_tx_prefix.as_slice(), &channel.prefix].concat(),
            size: channel.size.unwrap_or(0),
            suffix: job.coinbase_tx_suffix.as_slice().to_vec(),
            path: job.merkle_path.as_slice().to_vec(),
        }
    }
}

/// A job as it came.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: u32,
    /// Its earliest time; none for a future job.
    pub min_ntime: Option<u32>,
    /// The block version.
    pub version: u32,
    /// Whether version bits may be rolled.
    pub rolling: bool,
    /// What leads to the merkle root.
    pub form: Form,
}

/// What `SetNewPrevHash` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The hash of the block below.
    pub prev_hash: U256,
    /// The network's target, compact.
    pub nbits: u32,
    /// The earliest time.
    pub min_ntime: u32,
}

/// An active job, with all that a header needs.
#[derive(Clone, Debug)]
pub struct Work {
    /// The job.
    pub job: Job,
    /// What it is on.
    pub tip: Tip,
    /// The earliest time of its shares.
    pub min_ntime: u32,
    /// The target that its shares must meet.
    pub target: U256,
}

/// An open channel.
#[derive(Debug)]
pub struct Channel {
    /// Its id.
    pub id: u32,
    /// The id of its group.
    pub group_id: u32,
    /// How many bytes of extranonce are the client's; none for a standard channel.
    pub size: Option<usize>,
    /// What its extranonce begins with.
    pub prefix: Vec<u8>,
    /// The target of its next job.
    pub target: U256,
    /// What it is to hash now.
    pub work: Option<Arc<Work>>,
    /// What it was to hash on the tip before.
    pub stale: Option<Arc<Work>>,
    /// Shares that were submitted and not answered, by number.
    pub pending: BTreeSet<u32>,
    /// How many jobs have come.
    pub jobs_given: u32,
    last_sequence_number: u32,
    tip: Option<Tip>,
    /// The jobs that are valid.
    jobs: BTreeMap<u32, Job>,
}

impl Channel {
    /// A channel that has just opened.
    pub fn new(id: u32, group_id: u32, target: U256, size: Option<usize>) -> Self {
        Self {
            id,
            group_id,
            size,
            prefix: Vec::new(),
            target,
            work: None,
            stale: None,
            pending: BTreeSet::new(),
            jobs_given: 0,
            last_sequence_number: 0,
            tip: None,
            jobs: BTreeMap::new(),
        }
    }

    /// The same with an extranonce prefix.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &[u8]) -> Self {
        self.prefix = prefix.to_vec();
        self
    }

    /// Returns how long the whole extranonce is, in bytes.
    pub fn full_size(&self) -> usize {
        self.prefix.len() + self.size.unwrap_or(0)
    }

    /// Takes a number for a share that is about to be submitted.
    pub fn next_sequence_number(&mut self) -> u32 {
        self.last_sequence_number += 1;
        self.pending.insert(self.last_sequence_number);
        self.last_sequence_number
    }

    /// Returns where to search for the next share, so that none is found twice.
    pub fn salt(&self) -> u8 {
        self.last_sequence_number as u8
    }

    /// Returns an id that none of the valid jobs has.
    pub fn unused_job_id(&self) -> u32 {
        (0xadd1_7000..).find(|id| !self.jobs.contains_key(id)).unwrap_or(u32::MAX)
    }

    /// Takes a job in.
    pub fn give(&mut self, job: Job, findings: &mut Findings) {
        let (id, channel) = (job.id, self.id);
        if self.jobs_given == 0 {
            let seen = || format!("job {id} of channel {channel} with a min_ntime");
            findings.judge(Check::FirstJobFuture, job.min_ntime.is_none(), "a first job without min_ntime", seen);
        }
        self.jobs_given += 1;
        let seen = || format!("job {id} of channel {channel} again");
        findings.judge(Check::UniqueJobId, !self.jobs.contains_key(&id), "a new id", seen);
        if let (Some(min_ntime), Some(tip)) = (job.min_ntime, self.tip) {
            self.activate(&job, tip, min_ntime, findings);
        }
        self.jobs.insert(id, job);
    }

    /// Turns to a tip, on which one job is valid.
    pub fn turn_to(&mut self, tip: Tip, job_id: u32, findings: &mut Findings) {
        let job = self.jobs.get(&job_id).cloned();
        let seen = || match &job {
            None => format!("job {job_id}, which channel {} was not given", self.id),
            Some(_) => format!("job {job_id} of channel {}, which has a min_ntime", self.id),
        };
        let is_future = job.as_ref().is_some_and(|job| job.min_ntime.is_none());
        findings.judge(Check::PrevHashJob, is_future, "the id of a future job", seen);
        if self.tip.is_some_and(|known| known.prev_hash != tip.prev_hash) {
            self.stale = self.work.take();
        }
        self.tip = Some(tip);
        self.jobs.clear();
        let Some(job) = job else { return };
        self.activate(&job, tip, tip.min_ntime, findings);
        self.jobs.insert(job_id, job);
    }

    fn activate(&mut self, job: &Job, tip: Tip, min_ntime: u32, findings: &mut Findings) {
        if let Some(known) = &self.work
            && known.job.id != job.id
        {
            let is_same = (known.tip.prev_hash, known.min_ntime, known.job.version, &known.job.form)
                == (tip.prev_hash, min_ntime, job.version, &job.form);
            let seen = || format!("job {} of channel {} is job {} again", job.id, self.id, known.job.id);
            findings.judge(Check::JobDiffers, !is_same, "another time or other transactions", seen);
        }
        self.work = Some(Arc::new(Work { job: job.clone(), tip, min_ntime, target: self.target }));
    }
}
