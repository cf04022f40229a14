//! A channel as the miner sees it: which job is to be hashed, on what, and to which target. Owns the rules for
//! jobs, tips and targets from the client's side, and notices a server that breaks them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use protocol::codec::U256;
use protocol::messages::mining::{NewExtendedMiningJob, NewMiningJob, SetNewPrevHash};

use super::header::merkle_root;
use super::record::Fault;

/// Consensus' limit on the script of a coinbase input.
const MAX_COINBASE_SCRIPT: usize = 100;

/// What leads to the merkle root of a job.
#[derive(Clone, Debug)]
pub(super) enum Coinbase {
    /// The root itself, from a standard job.
    Root([u8; 32]),
    /// An extended job, with the channel's extranonce prefix at the end of its own prefix. A standard channel's
    /// `extranonce_size` is zero.
    Parts { prefix: Vec<u8>, suffix: Vec<u8>, path: Vec<[u8; 32]>, extranonce_size: usize },
}

impl Coinbase {
    pub(super) fn merkle_root(&self, extranonce: &[u8]) -> [u8; 32] {
        match self {
            Self::Root(root) => *root,
            Self::Parts { prefix, suffix, path, .. } => {
                merkle_root(&[prefix.as_slice(), extranonce, suffix].concat(), path)
            }
        }
    }

    /// Whether the parts make a transaction that a block could start with.
    fn check(&self) -> Result<(), String> {
        let Self::Parts { prefix, suffix, extranonce_size, .. } = self else { return Ok(()) };
        let bytes = [prefix.as_slice(), &vec![0; *extranonce_size], suffix].concat();
        let coinbase: bitcoin::Transaction =
            bitcoin::consensus::deserialize(&bytes).map_err(|error| error.to_string())?;
        let script = coinbase.input.first().map_or(0, |input| input.script_sig.len());
        if !coinbase.is_coinbase() {
            return Err("is no coinbase".into());
        }
        if script > MAX_COINBASE_SCRIPT {
            return Err(format!("has a script of {script} bytes"));
        }
        Ok(())
    }
}

/// An active job, with all that its header needs but what the miner chooses.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) job_id: u32,
    pub(super) version: u32,
    pub(super) version_rolling: bool,
    pub(super) prev_hash: [u8; 32],
    pub(super) nbits: u32,
    pub(super) min_ntime: u32,
    pub(super) coinbase: Coinbase,
    /// The target of the job's shares: the channel's when the job became active (SV2 5.3.21).
    pub(super) target: [u8; 32],
    /// When the job became active.
    pub(super) since: Instant,
}

/// A job that waits for its tip.
#[derive(Debug)]
struct Future {
    version: u32,
    version_rolling: bool,
    coinbase: Coinbase,
}

#[derive(Clone, Copy, Debug)]
struct Tip {
    prev_hash: [u8; 32],
    nbits: u32,
}

/// One open channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: u32,
    pub(super) group_id: u32,
    /// What is left to the miner; absent on a standard channel.
    pub(super) extranonce_size: Option<usize>,
    pub(super) extranonce_prefix: Vec<u8>,
    pub(super) target: U256,
    /// Whether the device rolls version bits where it may.
    pub(super) rolls_version: bool,
    tip: Option<Tip>,
    future: BTreeMap<u32, Future>,
    /// The active jobs of the tip, whose shares are still good.
    active: BTreeSet<u32>,
    work: Option<Arc<Work>>,
}

impl Channel {
    pub(super) fn new(id: u32, group_id: u32, target: U256, extranonce_prefix: &[u8], size: Option<usize>) -> Self {
        Self {
            id,
            group_id,
            extranonce_size: size,
            extranonce_prefix: extranonce_prefix.to_vec(),
            target,
            rolls_version: true,
            tip: None,
            future: BTreeMap::new(),
            active: BTreeSet::new(),
            work: None,
        }
    }

    /// The job to hash now.
    pub(super) fn work(&self) -> Option<&Arc<Work>> {
        self.work.as_ref()
    }

    /// Whether shares of a job can still be accepted, as far as the miner knows.
    pub(super) fn is_current(&self, work: &Work) -> bool {
        self.tip.is_some_and(|tip| tip.prev_hash == work.prev_hash) && self.active.contains(&work.job_id)
    }

    pub(super) fn standard_job(&mut self, job: &NewMiningJob) -> Result<(), Fault> {
        if self.extranonce_size.is_some() {
            return Err(self.fault(job.job_id, "standard job on an extended channel"));
        }
        let future = Future {
            version: job.version,
            version_rolling: self.rolls_version,
            coinbase: Coinbase::Root(job.merkle_root.0),
        };
        self.job(job.job_id, job.min_ntime, future)
    }

    pub(super) fn extended_job(&mut self, job: &NewExtendedMiningJob) -> Result<(), Fault> {
        if self.extranonce_size.is_none() && job.channel_id == self.id {
            return Err(self.fault(job.job_id, "extended job addressed to a standard channel"));
        }
        let coinbase = Coinbase::Parts {
            prefix: [job.coinbase_tx_prefix.as_slice(), &self.extranonce_prefix].concat(),
            suffix: job.coinbase_tx_suffix.as_slice().to_vec(),
            path: job.merkle_path.as_slice().iter().map(|step| step.0).collect(),
            extranonce_size: self.extranonce_size.unwrap_or(0),
        };
        coinbase.check().map_err(|reason| self.fault(job.job_id, format!("coinbase transaction: {reason}")))?;
        let version_rolling = self.rolls_version && job.version_rolling_allowed;
        self.job(job.job_id, job.min_ntime, Future { version: job.version, version_rolling, coinbase })
    }

    fn job(&mut self, job_id: u32, min_ntime: Option<u32>, job: Future) -> Result<(), Fault> {
        if self.active.contains(&job_id) || self.future.contains_key(&job_id) {
            return Err(self.fault(job_id, "id of a job that is still valid"));
        }
        let Some(min_ntime) = min_ntime else {
            self.future.insert(job_id, job);
            return Ok(());
        };
        let Some(tip) = self.tip else {
            return Err(self.fault(job_id, "active job before the first SetNewPrevHash"));
        };
        self.activate(job_id, job, tip, min_ntime);
        Ok(())
    }

    pub(super) fn new_prev_hash(&mut self, message: &SetNewPrevHash) -> Result<(), Fault> {
        let job = self.future.remove(&message.job_id);
        // Every other job is void with the tip (SV2 5.3.17), whether or not the new one is known.
        self.future.clear();
        self.active.clear();
        self.work = None;
        let tip = Tip { prev_hash: message.prev_hash.0, nbits: message.nbits };
        self.tip = Some(tip);
        let Some(job) = job else {
            return Err(self.fault(message.job_id, "SetNewPrevHash without a future job of this id"));
        };
        self.activate(message.job_id, job, tip, message.min_ntime);
        Ok(())
    }

    fn activate(&mut self, job_id: u32, job: Future, tip: Tip, min_ntime: u32) {
        self.active.insert(job_id);
        self.work = Some(Arc::new(Work {
            job_id,
            version: job.version,
            version_rolling: job.version_rolling,
            prev_hash: tip.prev_hash,
            nbits: tip.nbits,
            min_ntime,
            coinbase: job.coinbase,
            target: self.target.0,
            since: Instant::now(),
        }));
    }

    fn fault(&self, job_id: u32, what: impl Into<String>) -> Fault {
        Fault { channel_id: self.id, job_id: Some(job_id), what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use protocol::codec::{B0_64K, Seq0_255};

    use super::*;

    fn standard() -> Channel {
        Channel::new(2, 1, U256([0xff; 32]), &[1, 2, 3, 4], None)
    }

    fn job(job_id: u32, min_ntime: Option<u32>) -> NewMiningJob {
        NewMiningJob { channel_id: 2, job_id, min_ntime, version: 0x2000_0000, merkle_root: U256([7; 32]) }
    }

    fn tip(job_id: u32, byte: u8) -> SetNewPrevHash {
        SetNewPrevHash { channel_id: 2, job_id, prev_hash: U256([byte; 32]), min_ntime: 100, nbits: 0x207f_ffff }
    }

    /// A coinbase whose script is `script_length` bytes, four of them before the extranonce.
    fn extended_job(channel_id: u32, script_length: u8, min_ntime: Option<u32>) -> NewExtendedMiningJob {
        let mut prefix =
            hex::decode("01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff").unwrap();
        prefix.extend([script_length, 3, 1, 2, 3]);
        let suffix = hex::decode("ffffffff0100f2052a01000000015100000000").unwrap();
        NewExtendedMiningJob {
            channel_id,
            job_id: 9,
            min_ntime,
            version: 0x2000_0000,
            version_rolling_allowed: true,
            merkle_path: Seq0_255::new(vec![U256([5; 32])]).unwrap(),
            coinbase_tx_prefix: B0_64K::new(prefix).unwrap(),
            coinbase_tx_suffix: B0_64K::new(suffix).unwrap(),
        }
    }

    #[test]
    fn future_job_waits_for_its_tip_and_other_jobs_end_with_the_old_one() {
        let mut channel = standard();
        channel.standard_job(&job(1, None)).unwrap();
        channel.standard_job(&job(2, None)).unwrap();
        assert!(channel.work().is_none());
        channel.new_prev_hash(&tip(1, 0xaa)).unwrap();
        let first = channel.work().unwrap().clone();
        assert_eq!((first.job_id, first.prev_hash, first.min_ntime), (1, [0xaa; 32], 100));

        channel.standard_job(&job(3, Some(130))).unwrap();
        assert_eq!((channel.work().unwrap().job_id, channel.work().unwrap().min_ntime), (3, 130));
        assert!(channel.is_current(&first));

        channel.standard_job(&job(4, None)).unwrap();
        channel.new_prev_hash(&tip(4, 0xbb)).unwrap();
        assert_eq!(channel.work().unwrap().job_id, 4);
        assert!(!channel.is_current(&first));
    }

    #[test]
    fn target_is_that_of_the_moment_a_job_becomes_active() {
        let mut channel = standard();
        channel.standard_job(&job(1, None)).unwrap();
        channel.target = U256([0x0f; 32]);
        channel.new_prev_hash(&tip(1, 0xaa)).unwrap();
        assert_eq!(channel.work().unwrap().target, [0x0f; 32]);
        channel.target = U256([0x01; 32]);
        assert_eq!(channel.work().unwrap().target, [0x0f; 32]);
        channel.standard_job(&job(2, Some(101))).unwrap();
        assert_eq!(channel.work().unwrap().target, [0x01; 32]);
    }

    #[test]
    fn server_that_breaks_the_order_of_jobs_is_noticed() {
        let mut channel = standard();
        assert!(channel.standard_job(&job(1, Some(100))).unwrap_err().what.contains("before the first"));
        assert!(channel.new_prev_hash(&tip(1, 0xaa)).unwrap_err().what.contains("without a future job"));
        assert!(channel.work().is_none());
        channel.standard_job(&job(1, Some(100))).unwrap();
        assert!(channel.standard_job(&job(1, Some(101))).unwrap_err().what.contains("still valid"));
        // A job that is already active is not a future job.
        assert!(channel.new_prev_hash(&tip(1, 0xbb)).unwrap_err().what.contains("without a future job"));
    }

    #[test]
    fn group_job_gives_each_channel_its_own_coinbase() {
        let mut standard = standard();
        let mut extended = Channel::new(3, 1, U256([0xff; 32]), &[9, 9], Some(2));
        for channel in [&mut standard, &mut extended] {
            channel.extended_job(&extended_job(1, 8, None)).unwrap();
            channel.new_prev_hash(&SetNewPrevHash { channel_id: 1, ..tip(9, 0xaa) }).unwrap();
        }
        let job = extended_job(1, 8, None);
        let root = |extranonce: &[u8]| {
            let parts = [job.coinbase_tx_prefix.as_slice(), extranonce, job.coinbase_tx_suffix.as_slice()];
            merkle_root(&parts.concat(), &[[5; 32]])
        };
        assert_eq!(standard.work().unwrap().coinbase.merkle_root(&[]), root(&[1, 2, 3, 4]));
        assert_eq!(extended.work().unwrap().coinbase.merkle_root(&[7, 8]), root(&[9, 9, 7, 8]));
    }

    #[test]
    fn coinbase_whose_script_has_another_length_is_noticed() {
        let mut channel = Channel::new(3, 1, U256([0xff; 32]), &[9, 9], Some(2));
        let fault = channel.extended_job(&extended_job(3, 7, None)).unwrap_err();
        assert!(fault.what.contains("coinbase transaction"), "{fault:?}");
    }

    #[test]
    fn version_rolls_only_where_device_and_job_allow_it() {
        for (device, job_allows) in [(true, true), (true, false), (false, true)] {
            let mut channel = Channel::new(3, 1, U256([0xff; 32]), &[9, 9], Some(2));
            channel.rolls_version = device;
            let job = NewExtendedMiningJob { version_rolling_allowed: job_allows, ..extended_job(3, 8, None) };
            channel.extended_job(&job).unwrap();
            channel.new_prev_hash(&tip(9, 0xaa)).unwrap();
            assert_eq!(channel.work().unwrap().version_rolling, device && job_allows);
        }
    }
}
