//! What a channel hashes: a job on a tip, and the shares that come of it. Owns which header is a share; which job is
//! the present one is `channel`'s business.

use std::sync::Arc;

use bitcoin::{CompactTarget, Target};
use protocol::codec::U256;

use crate::miner::{Header, Midstate, merkle_root};

/// Extranonces that an extended channel takes in turn, one for each share, so that no two shares in a row have the same
/// merkle root, as behind a proxy. More would only make new jobs dearer for this side.
const EXTRANONCES: usize = 16;
/// Headers that are tried for one share. With the targets of a load test nearly the first one is a share.
const MAX_TRIES: u32 = 4_096;

/// What leads to the merkle root of a job.
#[derive(Clone, Debug)]
pub(super) enum Root {
    /// The root itself, from a standard job.
    Given([u8; 32]),
    /// An extended job, which all channels of a group share.
    Coinbase(Arc<Coinbase>),
}

/// The parts of an extended job.
#[derive(Debug)]
pub(super) struct Coinbase {
    pub(super) prefix: Vec<u8>,
    pub(super) suffix: Vec<u8>,
    pub(super) path: Vec<[u8; 32]>,
}

/// A job as it was given, before or after its tip is known.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) job_id: u32,
    pub(super) version: u32,
    pub(super) root: Root,
}

impl Job {
    /// Tells whether the job's block holds transactions; `None` for a standard job, which does not show it.
    pub(super) fn is_full(&self) -> Option<bool> {
        match &self.root {
            Root::Given(_) => None,
            Root::Coinbase(coinbase) => Some(!coinbase.path.is_empty()),
        }
    }
}

/// A block to build on, as `SetNewPrevHash` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) prev_hash: [u8; 32],
    pub(super) nbits: u32,
}

/// The bytes that are a channel's own in a coinbase.
#[derive(Clone, Debug)]
pub(super) struct Extranonce {
    pub(super) prefix: Vec<u8>,
    /// How many bytes the channel rolls; zero for a standard channel.
    pub(super) size: usize,
}

impl Extranonce {
    /// Returns how many values the channel takes in turn.
    fn count(&self) -> usize {
        match self.size {
            0 => 1,
            size => EXTRANONCES.min(1 << (8 * size).min(16)),
        }
    }

    /// Writes the value with a number, and returns its length.
    fn write(&self, number: usize, out: &mut [u8; 32]) -> usize {
        let len = self.size.min(out.len());
        out[..len].fill(0);
        let bytes = number.to_le_bytes();
        let written = len.min(bytes.len());
        out[..written].copy_from_slice(&bytes[..written]);
        len
    }
}

/// A share that was found: the fields of its submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) job_id: u32,
    pub(super) nonce: u32,
    pub(super) ntime: u32,
    pub(super) version: u32,
    /// The rolled bytes, of which `extranonce_len` count.
    pub(super) extranonce: [u8; 32],
    pub(super) extranonce_len: usize,
}

/// Headers that were hashed and not submitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spoiled {
    /// Their hash is above the target.
    pub(super) misses: u64,
    /// They are blocks, and a load test makes none.
    pub(super) blocks: u64,
}

/// An active job of one channel: a search that goes through nonces once.
#[derive(Debug)]
pub(super) struct Work {
    job: Job,
    tip: Tip,
    ntime: u32,
    target: U256,
    /// The network's target: what is at or below it is a block.
    block_target: U256,
    extranonce: Extranonce,
    /// One for each extranonce, made when it is first needed.
    midstates: Vec<Midstate>,
    /// The next nonce; none when all have been tried.
    nonce: Option<u32>,
}

impl Work {
    /// Starts the search at the job's first time.
    pub(super) fn new(job: Job, tip: Tip, ntime: u32, target: U256, extranonce: Extranonce) -> Self {
        let block_target = Target::from_compact(CompactTarget::from_consensus(tip.nbits));
        let block_target = U256(block_target.to_le_bytes());
        Self { job, tip, ntime, target, block_target, extranonce, midstates: Vec::new(), nonce: Some(0) }
    }

    /// Finds the next share. None if there is none within a bound of tries, or all nonces have been tried.
    pub(super) fn next_share(&mut self, spoiled: &mut Spoiled) -> Option<Share> {
        for _ in 0..MAX_TRIES {
            let nonce = self.nonce?;
            self.nonce = nonce.checked_add(1);
            let number = nonce as usize % self.extranonce.count();
            while self.midstates.len() <= number {
                self.midstates.push(self.midstate(self.midstates.len()));
            }
            let hash = U256(self.midstates[number].hash(nonce));
            if hash > self.target {
                spoiled.misses += 1;
            } else if hash <= self.block_target {
                spoiled.blocks += 1;
            } else {
                let mut extranonce = [0; 32];
                let extranonce_len = self.extranonce.write(number, &mut extranonce);
                let Job { job_id, version, .. } = self.job;
                return Some(Share { job_id, nonce, ntime: self.ntime, version, extranonce, extranonce_len });
            }
        }
        None
    }

    fn midstate(&self, number: usize) -> Midstate {
        let merkle_root = match &self.job.root {
            Root::Given(root) => *root,
            Root::Coinbase(coinbase) => {
                let mut rolled = [0; 32];
                let len = self.extranonce.write(number, &mut rolled);
                let own = [self.extranonce.prefix.as_slice(), &rolled[..len]].concat();
                merkle_root(&[coinbase.prefix.as_slice(), &own, &coinbase.suffix].concat(), &coinbase.path)
            }
        };
        let (Job { version, .. }, Tip { prev_hash, nbits }) = (&self.job, self.tip);
        Midstate::new(&Header { version: *version, prev_hash, merkle_root, ntime: self.ntime, nbits, nonce: 0 })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    const NEVER_A_BLOCK: u32 = 0x1702_1369;
    /// Regtest's: every second hash is a block.
    const OFTEN_A_BLOCK: u32 = 0x207f_ffff;

    fn coinbase() -> Root {
        Root::Coinbase(Arc::new(Coinbase { prefix: vec![1; 50], suffix: vec![2; 60], path: vec![[3; 32], [4; 32]] }))
    }

    fn work(root: Root, size: usize, nbits: u32, target: U256) -> Work {
        let job = Job { job_id: 7, version: 0x2000_0000, root };
        let tip = Tip { prev_hash: [9; 32], nbits };
        Work::new(job, tip, 1_700_000_000, target, Extranonce { prefix: vec![5; 8], size })
    }

    fn shares(work: &mut Work, count: usize) -> (Vec<Share>, Spoiled) {
        let mut spoiled = Spoiled::default();
        let shares = (0..count).map_while(|_| work.next_share(&mut spoiled)).collect();
        (shares, spoiled)
    }

    /// The header's hash, worked out the long way by another implementation.
    fn hash_of(share: &Share, root: &Root) -> [u8; 32] {
        use bitcoin::hashes::{Hash, sha256d};
        let merkle_root = match root {
            Root::Given(root) => *root,
            Root::Coinbase(coinbase) => {
                let rolled = &share.extranonce[..share.extranonce_len];
                let bytes = [coinbase.prefix.as_slice(), &[5; 8], rolled, &coinbase.suffix].concat();
                let id = sha256d::Hash::hash(&bytes).to_byte_array();
                coinbase.path.iter().fold(id, |root, step| sha256d::Hash::hash(&[root, *step].concat()).to_byte_array())
            }
        };
        let mut header = share.version.to_le_bytes().to_vec();
        header.extend([9; 32]);
        header.extend(merkle_root);
        header.extend(share.ntime.to_le_bytes());
        header.extend(NEVER_A_BLOCK.to_le_bytes());
        header.extend(share.nonce.to_le_bytes());
        sha256d::Hash::hash(&header).to_byte_array()
    }

    #[test]
    fn every_share_meets_the_target_and_what_does_not_is_counted() {
        let mut target = U256::MAX;
        target.0[31] = 0x3f;
        for (root, size) in [(Root::Given([6; 32]), 0), (coinbase(), 4)] {
            let (shares, spoiled) = shares(&mut work(root.clone(), size, NEVER_A_BLOCK, target), 200);
            assert_eq!(shares.len(), 200);
            assert!(shares.iter().all(|share| U256(hash_of(share, &root)) <= target));
            let tried = u64::from(shares.last().unwrap().nonce) + 1;
            assert_eq!((spoiled.misses, spoiled.blocks), (tried - 200, 0));
            assert!(spoiled.misses > 300, "about three of four hashes miss: {spoiled:?}");
        }
    }

    #[test]
    fn no_share_is_found_twice_and_none_has_the_extranonce_of_the_one_before() {
        for size in [1, 4, 16] {
            let (shares, _) = shares(&mut work(coinbase(), size, NEVER_A_BLOCK, U256::MAX), 100);
            let distinct: BTreeSet<_> = shares.iter().map(|share| (share.extranonce, share.nonce)).collect();
            assert_eq!(distinct.len(), 100);
            assert!(shares.windows(2).all(|pair| pair[0].extranonce != pair[1].extranonce));
            assert!(shares.iter().all(|share| share.extranonce_len == size));
        }
    }

    #[test]
    fn a_block_is_never_submitted() {
        let (shares, spoiled) = shares(&mut work(Root::Given([6; 32]), 0, OFTEN_A_BLOCK, U256::MAX), 100);
        assert_eq!(shares.len(), 100);
        assert!((50..200).contains(&spoiled.blocks), "about every second hash is one: {spoiled:?}");
        assert_eq!(spoiled.misses, 0);
    }

    #[test]
    fn a_target_that_is_too_hard_ends_the_search_instead_of_the_test() {
        let (shares, spoiled) = shares(&mut work(Root::Given([6; 32]), 0, NEVER_A_BLOCK, U256::ZERO), 3);
        assert_eq!((shares.len(), spoiled.misses), (0, u64::from(MAX_TRIES)));
    }
}
