//! The wrong pool's jobs: coinbases, channels and the judgement of shares.

use std::{
    collections::{BTreeMap, HashSet},
    time::{SystemTime, UNIX_EPOCH},
};

use protocol::codec::U256;

use super::fault::Fault;
use crate::miner::{Header, double_sha256, meets_target, merkle_root};

/// The whole extranonce of every channel, in bytes.
pub(super) const EXTRANONCE_SIZE: usize = 16;
/// Difficulty 1 in the block header: shares are never blocks.
pub(super) const NBITS: u32 = 0x1d00_ffff;
/// The version of all jobs.
pub(super) const VERSION: u32 = 0x2000_0000;
/// The bits of BIP 323.
const BIP_323: u32 = 0x1fff_ffe0;
/// The bits of BIP 320.
const BIP_320: u32 = 0x1fff_e000;
/// The second leaf of the merkle tree.
const SIBLING: [u8; 32] = [0x5b; 32];
/// How much the coinbase outgrows small devices with [`Fault::LargeFrames`], in bytes.
const PADDING: u16 = 3_000;
/// How much the coinbase outgrows the next generation with [`Fault::HugeFrames`], in bytes.
const HUGE_PADDING: u16 = 9_000;

/// The target of a share of a few thousand hashes.
pub(super) fn default_target() -> U256 {
    let mut bytes = [0xff; 32];
    bytes[30..].copy_from_slice(&[0x0f, 0x00]);
    U256(bytes)
}

pub(super) fn unix_now() -> u32 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.expect("the clock is past 1970").as_secs() as u32
}

pub(super) fn prev_hash(tip: u32) -> [u8; 32] {
    double_sha256(&tip.to_le_bytes())
}

/// A job as it was made for all channels of a connection.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) tip: u32,
    /// Makes the coinbase differ from those of other jobs.
    pub(super) number: u32,
}

impl Work {
    /// The coinbase before and after an extranonce of `extranonce_size` bytes.
    pub(super) fn coinbase(&self, extranonce_size: usize, faults: &HashSet<Fault>) -> (Vec<u8>, Vec<u8>) {
        let mut prefix = 2_u32.to_le_bytes().to_vec();
        let has_witness = faults.contains(&Fault::WitnessLeft);
        if has_witness {
            prefix.extend([0, 1]);
        }
        prefix.push(1);
        prefix.extend([0; 32]);
        prefix.extend([0xff; 4]);
        let mut script = vec![3];
        script.extend(&self.tip.to_le_bytes()[..3]);
        script.push(4);
        script.extend(self.number.to_le_bytes());
        let script_len = script.len() + extranonce_size + usize::from(faults.contains(&Fault::WrongScriptLength));
        prefix.push(u8::try_from(script_len).expect("the script is short"));
        prefix.extend(script);

        let mut suffix = vec![0xff; 4];
        let padding = match () {
            () if faults.contains(&Fault::HugeFrames) => Some(HUGE_PADDING),
            () if faults.contains(&Fault::LargeFrames) => Some(PADDING),
            () => None,
        };
        suffix.push(1 + u8::from(padding.is_some()));
        suffix.extend(5_000_000_000_u64.to_le_bytes());
        suffix.extend([22, 0, 20]);
        suffix.extend([0x77; 20]);
        if let Some(padding) = padding {
            suffix.extend(0_u64.to_le_bytes());
            suffix.push(0xfd);
            suffix.extend(padding.to_le_bytes());
            suffix.extend(vec![0x6a; usize::from(padding)]);
        }
        if has_witness {
            suffix.extend([1, 32]);
            suffix.extend([0; 32]);
        }
        suffix.extend([0; 4]);
        (prefix, suffix)
    }

    pub(super) fn merkle_path(&self) -> Vec<[u8; 32]> {
        vec![SIBLING]
    }
}

/// A job that a channel was given.
#[derive(Clone, Debug)]
struct Given {
    work: Work,
    min_ntime: u32,
    target: U256,
}

/// A share as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share<'a> {
    pub(super) job_id: u32,
    pub(super) nonce: u32,
    pub(super) ntime: u32,
    pub(super) version: u32,
    pub(super) extranonce: &'a [u8],
}

/// An open channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) is_extended: bool,
    pub(super) prefix: Vec<u8>,
    /// How many bytes of extranonce are the client's.
    pub(super) rollable: usize,
    pub(super) target: U256,
    jobs: BTreeMap<u32, Given>,
    seen: HashSet<[u8; 80]>,
    /// Accepted and not yet acknowledged.
    pub(super) unacknowledged: Vec<u32>,
}

impl Channel {
    pub(super) fn new(is_extended: bool, prefix: Vec<u8>, rollable: usize, target: U256) -> Self {
        let (jobs, seen, unacknowledged) = (BTreeMap::new(), HashSet::new(), Vec::new());
        Self { is_extended, prefix, rollable, target, jobs, seen, unacknowledged }
    }

    pub(super) fn full_size(&self) -> usize {
        self.prefix.len() + self.rollable
    }

    pub(super) fn give(&mut self, job_id: u32, work: &Work, min_ntime: u32) {
        self.jobs.insert(job_id, Given { work: work.clone(), min_ntime, target: self.target });
    }

    pub(super) fn merkle_root(&self, work: &Work, extranonce: &[u8], faults: &HashSet<Fault>) -> [u8; 32] {
        let (prefix, suffix) = work.coinbase(self.full_size(), faults);
        merkle_root(&[&prefix, &self.prefix, extranonce, &suffix].concat(), &work.merkle_path())
    }

    /// Judges a share on the present tip; the error is its code.
    pub(super) fn judge(&mut self, share: Share<'_>, tip: u32, faults: &HashSet<Fault>) -> Result<(), &'static str> {
        let has = |fault| faults.contains(&fault);
        let Some(given) = self.jobs.get(&share.job_id) else {
            return if has(Fault::AcceptsUnknownJob) { Ok(()) } else { Err("invalid-job-id") };
        };
        if given.work.tip != tip && !has(Fault::AcceptsStale) {
            return Err("stale-share");
        }
        if share.extranonce.len() != self.rollable && !has(Fault::AcceptsAnyExtranonceSize) {
            return Err("bad-extranonce-size");
        }
        let rolled = share.version ^ VERSION;
        if rolled & !BIP_323 != 0 && !has(Fault::AcceptsFixedVersionBits) {
            return Err("invalid-non-rollable-version-bit");
        }
        if rolled & !BIP_320 & BIP_323 != 0 && has(Fault::RefusesBip323) {
            return Err("invalid-non-rollable-version-bit");
        }
        if share.ntime < given.min_ntime && !has(Fault::AcceptsEarlyTime) {
            return Err("invalid-share");
        }
        let header = Header {
            version: share.version,
            prev_hash: prev_hash(given.work.tip),
            merkle_root: self.merkle_root(&given.work, share.extranonce, faults),
            ntime: share.ntime,
            nbits: NBITS,
            nonce: share.nonce,
        };
        let target = if has(Fault::JudgesByNewTarget) { self.target } else { given.target };
        if !meets_target(&header.hash(), &target.0) && !has(Fault::AcceptsAboveTarget) {
            return Err("difficulty-too-low");
        }
        if !self.seen.insert(header.to_bytes()) && !has(Fault::AcceptsDuplicates) {
            return Err("duplicate-share");
        }
        if has(Fault::RefusesShares) { Err("invalid-share") } else { Ok(()) }
    }
}
