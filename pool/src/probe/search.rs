//! The search for shares, on one CPU and for a limited time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{
    codec::{B0_32, U256},
    messages::mining::{SubmitSharesExtended, SubmitSharesStandard},
};
use sha2::{Digest, Sha256};
use tokio::{sync::Mutex, task::spawn_blocking};

use super::channel::{Form, Work};

/// Hashes between two looks at the clock.
const SLICE: u32 = 1 << 12;
/// One search at a time, however many connections want one.
static TURN: Mutex<()> = Mutex::const_new(());

/// What a share is to be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Bits of the version that are changed.
    pub(super) version_change: u32,
    /// Seconds that the time lies before the job's first.
    pub(super) seconds_early: u32,
    /// Bytes by which the extranonce is longer than granted.
    pub(super) extra_bytes: usize,
    /// What the hash is above, if anything.
    pub(super) above: Option<U256>,
    /// Whether the hash meets the job's target.
    pub(super) meets_target: bool,
}

impl Wish {
    /// A right share.
    pub(super) const RIGHT: Self =
        Self { version_change: 0, seconds_early: 0, extra_bytes: 0, above: None, meets_target: true };
}

/// A share that was found.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// The job.
    pub(super) job_id: u32,
    /// The nonce.
    pub(super) nonce: u32,
    /// The time.
    pub(super) ntime: u32,
    /// The version.
    pub(super) version: u32,
    /// What the client put behind its prefix; none for a standard job.
    pub(super) extranonce: Option<B0_32>,
}

impl Share {
    /// Makes the message for a standard channel.
    pub(super) fn standard(&self, channel_id: u32, sequence_number: u32) -> SubmitSharesStandard {
        let Self { job_id, nonce, ntime, version, .. } = *self;
        SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version }
    }

    /// Makes the message for an extended channel.
    pub(super) fn extended(&self, channel_id: u32, sequence_number: u32) -> SubmitSharesExtended {
        let Self { job_id, nonce, ntime, version, extranonce } = *self;
        let extranonce = extranonce.unwrap_or_default();
        SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce }
    }
}

/// Searches for a share for as long as `limit`. `salt` makes searches on one job look in different places.
pub(super) async fn search(work: Arc<Work>, wish: Wish, salt: u8, limit: Duration) -> Option<Share> {
    let _turn = TURN.lock().await;
    spawn_blocking(move || walk(&work, wish, salt, limit)).await.ok().flatten()
}

fn walk(work: &Work, wish: Wish, salt: u8, limit: Duration) -> Option<Share> {
    let until = Instant::now() + limit;
    let version = work.job.version ^ wish.version_change;
    let ntime = work.min_ntime.saturating_sub(wish.seconds_early);
    // The extranonce begins with the salt; where there is none, the nonce does.
    let extranonce = match &work.job.form {
        Form::Root(_) => None,
        Form::Coinbase { size, .. } => {
            let mut bytes = vec![0; size + wish.extra_bytes];
            if let Some(first) = bytes.first_mut() {
                *first = salt;
            }
            Some(B0_32::new(&bytes).ok()?)
        }
    };
    let midstate = Sha256::new()
        .chain_update(version.to_le_bytes())
        .chain_update(work.tip.prev_hash.0)
        .chain_update(merkle_root(&work.job.form, extranonce))
        .chain_update(ntime.to_le_bytes())
        .chain_update(work.tip.nbits.to_le_bytes());
    let start = u32::from(salt) << 24;
    for step in 0..=u32::MAX {
        if step % SLICE == 0 && Instant::now() >= until {
            return None;
        }
        let nonce = start.wrapping_add(step);
        let header_hash = midstate.clone().chain_update(nonce.to_le_bytes()).finalize();
        let hash = U256(Sha256::digest(header_hash).into());
        let is_easy = wish.above.is_none_or(|bound| hash > bound);
        if is_easy && (!wish.meets_target || hash <= work.target) {
            return Some(Share { job_id: work.job.id, nonce, ntime, version, extranonce });
        }
    }
    None
}

fn merkle_root(form: &Form, extranonce: Option<B0_32>) -> [u8; 32] {
    match form {
        Form::Root(root) => root.0,
        Form::Coinbase { prefix, suffix, path, .. } => {
            let extranonce = extranonce.unwrap_or_default();
            let txid = sha256d(&[prefix.as_slice(), extranonce.as_slice(), suffix].concat());
            path.iter().fold(txid, |root, step| sha256d(&[root, step.0].concat()))
        }
    }
}

fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::{Network, constants::genesis_block, hashes::Hash};

    use super::*;
    use crate::probe::channel::{Job, Tip};

    /// The genesis block's header as a job whose first nonces are near the one that solved it.
    fn genesis(target: U256) -> Work {
        let header = genesis_block(Network::Regtest).header;
        let form = Form::Root(U256(header.merkle_root.to_byte_array()));
        let version = header.version.to_consensus() as u32;
        let tip = Tip { prev_hash: U256::ZERO, nbits: header.bits.to_consensus(), min_ntime: header.time };
        Work { job: Job { id: 7, min_ntime: None, version, rolling: true, form }, tip, min_ntime: header.time, target }
    }

    fn hash_of(work: &Work, share: &Share) -> U256 {
        let header = bitcoin::block::Header {
            version: bitcoin::block::Version::from_consensus(share.version as i32),
            prev_blockhash: bitcoin::BlockHash::all_zeros(),
            merkle_root: genesis_block(Network::Regtest).header.merkle_root,
            time: share.ntime,
            bits: bitcoin::CompactTarget::from_consensus(work.tip.nbits),
            nonce: share.nonce,
        };
        U256(header.block_hash().to_byte_array())
    }

    #[test]
    fn share_is_as_wished() {
        let (mut target, mut above) = (U256::MAX, U256::MAX);
        (target.0[31], above.0[31]) = (0x0f, 0x07);
        let work = genesis(target);
        let limit = Duration::from_secs(60);
        let right = walk(&work, Wish::RIGHT, 3, limit).unwrap();
        assert!(hash_of(&work, &right) <= target);
        let between = walk(&work, Wish { above: Some(above), ..Wish::RIGHT }, 3, limit).unwrap();
        assert!((above..=target).contains(&hash_of(&work, &between)));
        let low = walk(&work, Wish { above: Some(target), meets_target: false, ..Wish::RIGHT }, 3, limit).unwrap();
        assert!(hash_of(&work, &low) > target);
        let odd = walk(&work, Wish { version_change: 0x20, seconds_early: 1, ..Wish::RIGHT }, 3, limit).unwrap();
        assert_eq!((odd.version, odd.ntime), (work.job.version ^ 0x20, work.min_ntime - 1));
        assert!(hash_of(&work, &odd) <= target);
    }

    #[test]
    fn search_ends_when_its_time_is_over() {
        assert!(walk(&genesis(U256::ZERO), Wish::RIGHT, 0, Duration::from_millis(20)).is_none());
    }
}
