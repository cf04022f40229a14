//! Jobs of the wrong pool: when they are given, to whom, and what is wrong with them.

use protocol::{
    codec::{B0_64K, Seq0_255, U256},
    messages::mining::{NewExtendedMiningJob, NewMiningJob, SetNewPrevHash},
};

use super::Session;
use crate::wrong_pool::{
    fault::Fault,
    work::{self, EXTRANONCE_SIZE, NBITS, VERSION, Work, prev_hash},
};

impl Session {
    /// Gives an opened channel its first job and the tip.
    pub(super) fn give_first(&mut self, channel_id: u32) {
        let work = self.new_work();
        if self.has(Fault::FirstJobActive) {
            self.give(channel_id, &work, Some(work::unix_now()));
        }
        if self.requires_standard_jobs() && self.has(Fault::GroupMessagesToStandardClient) {
            return self.give_group(&work, None);
        }
        let work = self.new_work();
        let job_id = self.give(channel_id, &work, None);
        self.send_prev_hash(channel_id, job_id);
        if self.has(Fault::PrevHashForActiveJob) {
            let work = self.new_work();
            let job_id = self.give(channel_id, &work, Some(work::unix_now()));
            self.send_prev_hash(channel_id, job_id);
        }
    }

    /// Gives one channel a job; a future job has no time. Returns the job's id.
    fn give(&mut self, channel_id: u32, work: &Work, min_ntime: Option<u32>) -> u32 {
        let job_id = self.take_job_id(min_ntime.is_some());
        let Some(channel) = self.channels.get_mut(&channel_id) else { return job_id };
        channel.give(job_id, work, min_ntime.unwrap_or_else(work::unix_now));
        let merkle_root = U256(channel.merkle_root(work, &[], &self.shared.faults));
        let (is_extended, size) = (channel.is_extended, channel.full_size());
        let is_wrong = self.has(Fault::ExtendedJobForStandardChannel) && !self.requires_standard_jobs();
        if is_extended || is_wrong {
            self.send_extended_job(channel_id, job_id, work, size, min_ntime);
        } else {
            self.send(&NewMiningJob { channel_id, job_id, min_ntime, version: VERSION, merkle_root });
        }
        job_id
    }

    /// Gives all channels a job by their group, and the tip with a future job.
    fn give_group(&mut self, work: &Work, min_ntime: Option<u32>) {
        let job_id = self.take_job_id(min_ntime.is_some());
        for channel in self.channels.values_mut() {
            channel.give(job_id, work, min_ntime.unwrap_or_else(work::unix_now));
        }
        self.send_extended_job(self.group_id(), job_id, work, EXTRANONCE_SIZE, min_ntime);
        if min_ntime.is_none() {
            self.send_prev_hash(self.group_id(), job_id);
        }
    }

    fn take_job_id(&mut self, is_refresh: bool) -> u32 {
        if is_refresh && self.has(Fault::ReusesJobId) && self.next_job_id > 1 {
            return self.next_job_id - 1;
        }
        self.next_job_id += 1;
        self.next_job_id - 1
    }

    fn send_extended_job(
        &mut self,
        channel_id: u32,
        job_id: u32,
        work: &Work,
        extranonce_size: usize,
        min_ntime: Option<u32>,
    ) {
        let (prefix, suffix) = work.coinbase(extranonce_size, &self.shared.faults);
        let path: Vec<U256> = work.merkle_path().into_iter().map(U256).collect();
        self.send(&NewExtendedMiningJob {
            channel_id,
            job_id,
            min_ntime,
            version: VERSION,
            version_rolling_allowed: !self.has(Fault::ForbidsVersionRolling),
            merkle_path: Seq0_255::new(path).expect("one step fits"),
            coinbase_tx_prefix: B0_64K::new(prefix).expect("a coinbase is short"),
            coinbase_tx_suffix: B0_64K::new(suffix).expect("a coinbase is short"),
        });
    }

    fn send_prev_hash(&mut self, channel_id: u32, job_id: u32) {
        let prev_hash = U256(prev_hash(self.tip));
        self.send(&SetNewPrevHash { channel_id, job_id, prev_hash, min_ntime: work::unix_now(), nbits: NBITS });
    }

    /// Makes the next work. Numbers go on, unless work is to be repeated.
    fn new_work(&mut self) -> Work {
        if !self.has(Fault::RepeatsWork) {
            self.work_number += 1;
        }
        Work { tip: self.tip, number: self.work_number }
    }

    pub(super) fn refresh(&mut self) {
        let work = self.new_work();
        let min_ntime = match self.has(Fault::RepeatsWork) {
            true => work::unix_now() / 60 * 60,
            false => work::unix_now(),
        };
        self.give_all(&work, Some(min_ntime));
    }

    pub(super) fn turn_to(&mut self, tip: u32) {
        self.tip = tip;
        self.change_channels();
        if self.gives_jobs() {
            let work = self.new_work();
            self.give_all(&work, None);
        }
    }

    fn give_all(&mut self, work: &Work, min_ntime: Option<u32>) {
        if self.channels.len() > 1 && !self.requires_standard_jobs() {
            return self.give_group(work, min_ntime);
        }
        let ids: Vec<u32> = self.channels.keys().copied().collect();
        for channel_id in ids {
            let mut job_id = self.give(channel_id, work, min_ntime);
            if self.has(Fault::PrevHashForUnknownJob) {
                job_id = u32::MAX;
            }
            if min_ntime.is_none() {
                self.send_prev_hash(channel_id, job_id);
            }
        }
    }
}
