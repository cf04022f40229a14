//! The shares of one job that a channel has handed in, to find those that come again.

use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hasher},
};

use bitcoin::{BlockHash, hashes::Hash};

/// The shares of one channel for one job, each known by 64 bits of its hash.
///
/// These bits are as good as random. That two different shares of a million have the same, so that the second is taken
/// for a repetition, comes once in 2^25 such sets. Nobody can bring it about for another miner, since no two channels
/// share a set, and who does so for himself loses a share.
#[derive(Debug, Default)]
pub(super) struct SeenShares(HashSet<u64, BuildHasherDefault<Fingerprint>>);

impl SeenShares {
    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a share by its hash. Tells whether it is new.
    pub(super) fn insert(&mut self, hash: BlockHash) -> bool {
        // The number's lowest bytes: the highest are zeros in every share.
        let lowest = hash.as_byte_array().first_chunk().expect("a hash has 32 bytes");
        self.0.insert(u64::from_le_bytes(*lowest))
    }
}

/// Takes a fingerprint for its own hash: SHA-256 has mixed it better than any hash of a table would. Whoever wants many
/// of them in one place of the table has to throw away nearly all of his shares, and slows down his own connection.
#[derive(Default)]
struct Fingerprint(u64);

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not what a `u64` does. It stays a hash of all that is written.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(changed: usize, to: u8) -> BlockHash {
        let mut bytes = [0; 32];
        bytes[changed] = to;
        BlockHash::from_byte_array(bytes)
    }

    #[test]
    fn each_of_the_random_bytes_makes_another_share() {
        let mut seen = SeenShares::default();
        for changed in 0..8 {
            for to in 1..=255 {
                assert!(seen.insert(hash(changed, to)));
                assert!(!seen.insert(hash(changed, to)));
            }
        }
        assert_eq!(seen.len(), 8 * 255);
    }
}
