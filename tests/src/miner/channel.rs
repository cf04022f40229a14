//! A channel as the miner sees it: which job is to be hashed, on what, and to which target. Owns the rules for
//! jobs, tips and targets from the client's side, and notices a server that breaks them, or asks too much of a device.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use protocol::codec::U256;
use protocol::messages::mining::{NewExtendedMiningJob, NewMiningJob, SetNewPrevHash};

use super::device::DeviceFailure;
use super::header::merkle_root;
use super::profile::{FixedVersion, LostTip, Rules};
use super::record::Fault;

/// Consensus' limit on the script of a coinbase input.
const MAX_COINBASE_SCRIPT: usize = 100;

/// What leads to the merkle root of a job.
#[derive(Clone, Debug, PartialEq)]
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

impl Work {
    /// Whether every header of the one is a header of the other.
    fn repeats(&self, other: &Self) -> bool {
        let fields = |work: &Self| (work.version, work.version_rolling, work.prev_hash, work.nbits, work.min_ntime);
        fields(self) == fields(other) && self.coinbase == other.coinbase
    }
}

/// What a server did and must not do, by what it does to the device.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Breach {
    /// It is noted.
    Fault(Fault),
    /// The device goes on, but loses what was in its pipeline.
    Flush(Fault),
    /// The device gives the pool up.
    Fatal(Fault, DeviceFailure),
}

impl Breach {
    /// What the server did.
    pub(super) fn fault(&self) -> &Fault {
        match self {
            Self::Fault(fault) | Self::Flush(fault) | Self::Fatal(fault, _) => fault,
        }
    }
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
    /// What the device demands.
    pub(super) rules: Rules,
    tip: Option<Tip>,
    future: BTreeMap<u32, Future>,
    /// The active jobs of the tip, whose shares are still good.
    active: BTreeSet<u32>,
    /// The active jobs that came before any tip.
    early: BTreeSet<u32>,
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
            rules: Rules::SPECIFICATION,
            tip: None,
            future: BTreeMap::new(),
            active: BTreeSet::new(),
            early: BTreeSet::new(),
            work: None,
        }
    }

    /// The job to hash now.
    pub(super) fn work(&self) -> Option<&Arc<Work>> {
        self.work.as_ref()
    }

    /// Whether shares of a job can still be accepted, as far as the miner knows.
    pub(super) fn is_current(&self, work: &Work) -> bool {
        let is_of_tip = self.tip.is_some_and(|tip| tip.prev_hash == work.prev_hash);
        // A device that hashes on has its work from before the tip.
        (is_of_tip || self.rules.lost_tip == LostTip::HashesOn) && self.active.contains(&work.job_id)
    }

    pub(super) fn standard_job(&mut self, job: &NewMiningJob) -> Result<(), Breach> {
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

    pub(super) fn extended_job(&mut self, job: &NewExtendedMiningJob) -> Result<(), Breach> {
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
        if !job.version_rolling_allowed {
            self.bear_fixed_version(job.job_id)?;
        }
        let version_rolling = self.rolls_version && job.version_rolling_allowed;
        self.job(job.job_id, job.min_ntime, Future { version: job.version, version_rolling, coinbase })
    }

    fn bear_fixed_version(&self, job_id: u32) -> Result<(), Breach> {
        const WHAT: &str = "version that may not be rolled";
        match self.rules.fixed_version {
            FixedVersion::Obeys => Ok(()),
            FixedVersion::Drops => Err(self.fault(job_id, WHAT)),
            FixedVersion::Leaves => Err(self.fatal(job_id, WHAT, DeviceFailure::FixedVersion)),
        }
    }

    fn job(&mut self, job_id: u32, min_ntime: Option<u32>, job: Future) -> Result<(), Breach> {
        if self.active.contains(&job_id) || self.future.contains_key(&job_id) {
            return Err(self.fault(job_id, "id of a job that is still valid"));
        }
        let Some(min_ntime) = min_ntime else {
            self.future.insert(job_id, job);
            return Ok(());
        };
        let Some(tip) = self.tip else {
            if self.rules.lost_tip == LostTip::HashesOn {
                self.future.insert(job_id, job);
            } else {
                self.early.insert(job_id);
            }
            return Err(self.fault(job_id, "active job before the first SetNewPrevHash"));
        };
        self.activate(job_id, job, tip, min_ntime)
    }

    pub(super) fn new_prev_hash(&mut self, message: &SetNewPrevHash) -> Result<(), Breach> {
        let SetNewPrevHash { job_id, min_ntime, .. } = *message;
        let tip = Tip { prev_hash: message.prev_hash.0, nbits: message.nbits };
        self.tip = Some(tip);
        let Some(job) = self.future.remove(&job_id) else { return Err(self.lose_tip(job_id)) };
        self.void_jobs();
        self.activate(job_id, job, tip, min_ntime)
    }

    /// Does what the device does with a tip that names no future job.
    fn lose_tip(&mut self, job_id: u32) -> Breach {
        const WHAT: &str = "SetNewPrevHash without a future job of this id";
        let was_active = self.active.contains(&job_id) || self.early.contains(&job_id);
        match self.rules.lost_tip {
            LostTip::HashesOn => return self.fault(job_id, WHAT),
            LostTip::Stops => {}
            LostTip::Leaves if was_active => return self.fatal(job_id, WHAT, DeviceFailure::JobNotFuture { job_id }),
            LostTip::Leaves => return self.fatal(job_id, WHAT, DeviceFailure::UnknownJob { job_id }),
        }
        self.void_jobs();
        self.work = None;
        self.fault(job_id, WHAT)
    }

    /// Forgets which jobs there are: with a new tip they are void (SV2 5.3.17).
    fn void_jobs(&mut self) {
        self.future.clear();
        self.active.clear();
        self.early.clear();
    }

    fn activate(&mut self, job_id: u32, job: Future, tip: Tip, min_ntime: u32) -> Result<(), Breach> {
        self.active.insert(job_id);
        let work = Arc::new(Work {
            job_id,
            version: job.version,
            version_rolling: job.version_rolling,
            prev_hash: tip.prev_hash,
            nbits: tip.nbits,
            min_ntime,
            coinbase: job.coinbase,
            target: self.rules.whole_difficulty.map_or(self.target, |unit| cut_fraction(self.target, unit)).0,
            since: Instant::now(),
        });
        let repeated = self.work.as_ref().filter(|before| work.repeats(before)).map(|before| before.job_id);
        self.work = Some(work);
        match repeated {
            Some(before) if self.rules.flushes_on_repeated_work => {
                let what = format!("work of job {before} under a new id");
                Err(Breach::Flush(Fault { channel_id: self.id, job_id: Some(job_id), what }))
            }
            _ => Ok(()),
        }
    }

    fn fault(&self, job_id: u32, what: impl Into<String>) -> Breach {
        Breach::Fault(Fault { channel_id: self.id, job_id: Some(job_id), what: what.into() })
    }

    fn fatal(&self, job_id: u32, what: &str, failure: DeviceFailure) -> Breach {
        Breach::Fatal(Fault { channel_id: self.id, job_id: Some(job_id), what: what.into() }, failure)
    }
}

/// The target of the whole part of a difficulty, and at least of 1, where `unit` is the target of 1.
fn cut_fraction(target: U256, unit: U256) -> U256 {
    let value = |target: U256| target.0.iter().rev().fold(0.0, |value, byte| value * 256.0 + f64::from(*byte));
    let difficulty = (value(unit) / value(target)).clamp(1.0, f64::from(u32::MAX)) as u64;
    // Division as on paper, digit by digit from the most significant one.
    let mut quotient = U256::ZERO;
    let mut remainder = 0;
    for (digit, dividend) in quotient.0.iter_mut().zip(unit.0).rev() {
        remainder = remainder << 8 | u64::from(dividend);
        *digit = (remainder / difficulty) as u8;
        remainder %= difficulty;
    }
    quotient
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use protocol::codec::{B0_64K, Seq0_255};

    use super::*;
    use crate::miner::profile::Profile;

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
        assert!(channel.standard_job(&job(1, Some(100))).unwrap_err().fault().what.contains("before the first"));
        assert!(channel.new_prev_hash(&tip(1, 0xaa)).unwrap_err().fault().what.contains("without a future job"));
        assert!(channel.work().is_none());
        channel.standard_job(&job(1, Some(100))).unwrap();
        assert!(channel.standard_job(&job(1, Some(101))).unwrap_err().fault().what.contains("still valid"));
        // A job that is already active is not a future job.
        assert!(channel.new_prev_hash(&tip(1, 0xbb)).unwrap_err().fault().what.contains("without a future job"));
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
        let breach = channel.extended_job(&extended_job(3, 7, None)).unwrap_err();
        assert!(breach.fault().what.contains("coinbase transaction"), "{breach:?}");
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

    fn device(profile: Profile) -> Channel {
        Channel { rules: profile.rules, ..standard() }
    }

    fn failure(breach: Result<(), Breach>) -> Option<DeviceFailure> {
        match breach.unwrap_err() {
            Breach::Fatal(_, failure) => Some(failure),
            Breach::Fault(_) | Breach::Flush(_) => None,
        }
    }

    #[test]
    fn tip_for_a_job_that_is_active_or_unknown_drives_braiins_os_off() {
        let mut channel = device(Profile::braiins_os());
        channel.standard_job(&job(1, Some(100))).unwrap_err();
        assert_eq!(failure(channel.new_prev_hash(&tip(1, 0xaa))), Some(DeviceFailure::JobNotFuture { job_id: 1 }));
        let mut channel = device(Profile::braiins_os());
        channel.standard_job(&job(1, None)).unwrap();
        channel.new_prev_hash(&tip(1, 0xaa)).unwrap();
        channel.standard_job(&job(2, Some(130))).unwrap();
        assert_eq!(failure(channel.new_prev_hash(&tip(2, 0xbb))), Some(DeviceFailure::JobNotFuture { job_id: 2 }));
        assert_eq!(failure(channel.new_prev_hash(&tip(3, 0xbb))), Some(DeviceFailure::UnknownJob { job_id: 3 }));
    }

    #[test]
    fn axeos_hashes_on_when_a_tip_names_no_future_job() {
        let mut channel = device(Profile::axeos_2_15_standard());
        // It keeps an early job until its tip comes.
        channel.standard_job(&job(1, Some(100))).unwrap_err();
        channel.new_prev_hash(&tip(1, 0xaa)).unwrap();
        let work = channel.work().unwrap().clone();
        assert_eq!(failure(channel.new_prev_hash(&tip(5, 0xbb))), None);
        assert_eq!(channel.work().unwrap().prev_hash, [0xaa; 32]);
        assert!(channel.is_current(&work));
        channel.standard_job(&job(6, Some(130))).unwrap();
        assert_eq!(channel.work().unwrap().prev_hash, [0xbb; 32]);
    }

    #[test]
    fn work_repeated_under_a_new_id_flushes_the_pipeline_of_braiins_os_alone() {
        for (profile, flushes) in [(Profile::braiins_os(), true), (Profile::axeos_2_15_standard(), false)] {
            let mut channel = device(profile);
            channel.standard_job(&job(1, None)).unwrap();
            channel.new_prev_hash(&tip(1, 0xaa)).unwrap();
            channel.standard_job(&job(2, Some(101))).unwrap();
            let repeated = channel.standard_job(&job(3, Some(101)));
            assert_eq!(matches!(repeated, Err(Breach::Flush(_))), flushes, "{repeated:?}");
            assert_eq!(channel.work().unwrap().job_id, 3);
        }
    }

    #[test]
    fn job_whose_version_is_fixed_is_dropped_or_drives_off() {
        let job = NewExtendedMiningJob { version_rolling_allowed: false, ..extended_job(3, 8, None) };
        let extended = |profile: Profile| Channel {
            rules: profile.rules,
            ..Channel::new(3, 1, U256([0xff; 32]), &[9, 9], Some(2))
        };
        assert_eq!(failure(extended(Profile::translator()).extended_job(&job)), Some(DeviceFailure::FixedVersion));
        let mut nerdqaxe = extended(Profile::nerdqaxe());
        assert_eq!(failure(nerdqaxe.extended_job(&job)), None);
        assert!(nerdqaxe.future.is_empty());
        extended(Profile::axeos_2_15()).extended_job(&job).unwrap();
    }

    #[test]
    fn whole_difficulties_keep_powers_of_two_and_lose_fractions() {
        let unit = U256(bitcoin::Target::MAX.to_le_bytes());
        let target_of = |difficulty: f64| {
            let mut target = U256::ZERO;
            // Seven digits of the quotient are enough, and exact for these.
            let digits = (65_535.0 * f64::from(1 << 24) / difficulty) as u64;
            target.0[23..31].copy_from_slice(&digits.to_le_bytes());
            target
        };
        assert_eq!(target_of(1.0), unit);
        for (difficulty, whole) in [(1.0, 1.0), (2.0, 2.0), (4096.0, 4096.0), (1.5, 1.0), (2.5, 2.0), (0.25, 1.0)] {
            assert_eq!(cut_fraction(target_of(difficulty), unit), target_of(whole), "{difficulty}");
        }
        // The cut target is the easier one, so that shares are sent which do not count.
        assert!(cut_fraction(target_of(2.5), unit) > target_of(2.5));
        assert!(cut_fraction(U256::ZERO, unit) > U256::ZERO);
    }
}
