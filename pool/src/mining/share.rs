//! What a miner hands in, what it becomes when it is right, and what it is told when it is wrong.

use std::sync::Arc;

use bitcoin::{BlockHash, Txid, hashes::Hash};
use protocol::messages::mining::{SubmitSharesExtended, SubmitSharesStandard};
use thiserror::Error;

use super::{
    difficulty::Difficulty,
    extranonce::FULL_EXTRANONCE_SIZE,
    job::{HEADER_SIZE, Job},
};

/// Version bits that a miner may roll (BIP 323): 5 to 28.
pub const ROLLABLE_VERSION_BITS: u32 = 0x1fff_ffe0;

/// How far beyond its job's first time a share's time may lie, in seconds: `MAX_FUTURE_BLOCK_TIME`.
pub const MAX_NTIME_OFFSET_S: u32 = 7200;

/// The fields of `SubmitSharesStandard` and `SubmitSharesExtended` (SV2 5.3.11, 5.3.12).
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// The client's number of this submission within the channel.
    pub sequence_number: u32,
    /// Which job was worked on.
    pub job_id: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Header time, seconds since 1970 UTC.
    pub ntime: u32,
    /// Full header version.
    pub version: u32,
    /// What an extended channel rolled behind its prefix; empty for a standard channel.
    pub extranonce: &'a [u8],
}

impl From<&SubmitSharesStandard> for Submission<'_> {
    fn from(submit: &SubmitSharesStandard) -> Self {
        let SubmitSharesStandard { sequence_number, job_id, nonce, ntime, version, .. } = *submit;
        Self { sequence_number, job_id, nonce, ntime, version, extranonce: &[] }
    }
}

impl<'a> From<&'a SubmitSharesExtended> for Submission<'a> {
    fn from(submit: &'a SubmitSharesExtended) -> Self {
        let SubmitSharesExtended { sequence_number, job_id, nonce, ntime, version, .. } = *submit;
        Self { sequence_number, job_id, nonce, ntime, version, extranonce: submit.extranonce.as_slice() }
    }
}

/// A job as one channel has it, counted by that channel alone. Each share holds on to its job for a while, and a counter that
/// all connections turn takes a tenth of a share's time on two cores.
#[derive(Debug)]
pub(super) struct HeldJob(pub(super) Arc<Job>);

/// A share that passed every check. Only [`super::channel::Channel::validate`] makes one.
#[derive(Clone, Debug)]
pub struct ValidShare {
    pub(super) job: Arc<HeldJob>,
    pub(super) job_id: u32,
    pub(super) sequence_number: u32,
    pub(super) difficulty: Difficulty,
    pub(super) header: [u8; HEADER_SIZE],
    pub(super) hash: BlockHash,
    pub(super) extranonce: [u8; FULL_EXTRANONCE_SIZE],
}

impl ValidShare {
    /// Returns the job that was worked on.
    pub fn job(&self) -> &Arc<Job> {
        &self.job.0
    }

    /// Returns the id under which the channel was given the job.
    pub fn job_id(&self) -> u32 {
        self.job_id
    }

    /// Returns the client's number of the submission.
    pub fn sequence_number(&self) -> u32 {
        self.sequence_number
    }

    /// Returns the difficulty that was in force for the job: what the share is credited with, whatever its hash.
    pub fn difficulty(&self) -> Difficulty {
        self.difficulty
    }

    /// Returns the header's hash.
    pub fn hash(&self) -> BlockHash {
        self.hash
    }

    /// Tells whether the share meets the network's target.
    pub fn is_block(&self) -> bool {
        self.job.0.template().target.is_met_by(self.hash)
    }

    /// Writes the block that the share solves, if it does.
    pub fn block(&self) -> Vec<u8> {
        self.job.0.block(&self.header, &self.extranonce)
    }

    /// Returns the txid of the share's coinbase.
    pub fn coinbase_txid(&self) -> Txid {
        self.job.0.coinbase_txid(&self.extranonce)
    }
}

/// Why a share is not credited. Each is answered with `SubmitShares.Error` and costs nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShareError {
    /// The job was valid for this channel once, and no longer is.
    #[error("job {0} is stale")]
    Stale(u32),
    /// The channel was never given this job.
    #[error("job {0} is unknown")]
    UnknownJob(u32),
    /// The time lies before the job's or too far behind it.
    #[error("ntime {ntime} is not within {min_ntime} and {MAX_NTIME_OFFSET_S} seconds more")]
    TimeOutOfRange {
        /// The share's time.
        ntime: u32,
        /// The job's first time.
        min_ntime: u32,
    },
    /// A version bit differs from the job's that no miner may roll.
    #[error("version {0:#010x} differs from the job's outside of the rollable bits")]
    FixedVersionBit(u32),
    /// The extranonce has not the granted size.
    #[error("extranonce of {seen} bytes where {granted} were granted")]
    ExtranonceSize {
        /// Bytes in the submission.
        seen: usize,
        /// Bytes granted when the channel was opened.
        granted: usize,
    },
    /// The hash is above the target.
    #[error("hash is above the target of the job")]
    AboveTarget,
    /// The same header was handed in before.
    #[error("share was submitted before")]
    Duplicate,
    /// The channel has handed in more shares for one job than the pool remembers.
    #[error("too many shares for one job")]
    TooManyShares,
}

impl ShareError {
    /// Returns the code for `SubmitShares.Error`, as clients know it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Stale(_) => "stale-share",
            Self::UnknownJob(_) => "invalid-job-id",
            Self::TimeOutOfRange { .. } | Self::TooManyShares => "invalid-share",
            Self::FixedVersionBit(_) => "invalid-non-rollable-version-bit",
            Self::ExtranonceSize { .. } => "bad-extranonce-size",
            Self::AboveTarget => "difficulty-too-low",
            Self::Duplicate => "duplicate-share",
        }
    }
}

/// Makes the hash that headers and shares are known by from its bytes in internal order.
pub(super) fn block_hash(bytes: [u8; 32]) -> BlockHash {
    BlockHash::from_byte_array(bytes)
}
