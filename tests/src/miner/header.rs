//! Block headers and merkle roots, hashed with SHA-256's compression function alone. Owns the arithmetic of proof
//! of work; which header to hash is decided in `channel` and `search`.

use sha2::block_api::compress256;

/// SHA-256's state before the first block (FIPS 180-4, 5.3.3).
const INITIAL_STATE: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// The fields of a block header; hashes in the byte order of the wire, which is that of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version, with the rolled bits.
    pub version: u32,
    /// The hash of the block below.
    pub prev_hash: [u8; 32],
    /// The merkle root.
    pub merkle_root: [u8; 32],
    /// The time, in seconds since 1970.
    pub ntime: u32,
    /// The network's target in its compact form.
    pub nbits: u32,
    /// The nonce.
    pub nonce: u32,
}

impl Header {
    /// The 80 bytes of the header.
    pub fn to_bytes(&self) -> [u8; 80] {
        let mut bytes = [0; 80];
        bytes[..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..36].copy_from_slice(&self.prev_hash);
        bytes[36..68].copy_from_slice(&self.merkle_root);
        bytes[68..72].copy_from_slice(&self.ntime.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.nbits.to_le_bytes());
        bytes[76..].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// The block hash, little-endian as a number.
    pub fn hash(&self) -> [u8; 32] {
        Midstate::new(self).hash(self.nonce)
    }
}

/// A header whose first 64 bytes are already hashed, for trying nonces: two compressions each, not three.
#[derive(Clone, Debug)]
pub struct Midstate {
    state: [u32; 8],
    /// The rest of the header, padded to a block.
    rest: [u8; 64],
}

impl Midstate {
    /// Hashes what all nonces share.
    pub fn new(header: &Header) -> Self {
        let bytes = header.to_bytes();
        let (mut state, mut first, mut rest) = (INITIAL_STATE, [0; 64], [0; 64]);
        first.copy_from_slice(&bytes[..64]);
        compress256(&mut state, &[first]);
        rest[..16].copy_from_slice(&bytes[64..]);
        rest[16] = 0x80;
        rest[56..].copy_from_slice(&(80_u64 * 8).to_be_bytes());
        Self { state, rest }
    }

    /// The block hash with this nonce, little-endian as a number.
    pub fn hash(&mut self, nonce: u32) -> [u8; 32] {
        self.rest[12..16].copy_from_slice(&nonce.to_le_bytes());
        let mut inner = self.state;
        compress256(&mut inner, &[self.rest]);

        let mut block = [0; 64];
        write_state(&inner, &mut block[..32]);
        block[32] = 0x80;
        block[56..].copy_from_slice(&(32_u64 * 8).to_be_bytes());
        let mut outer = INITIAL_STATE;
        compress256(&mut outer, &[block]);

        let mut hash = [0; 32];
        write_state(&outer, &mut hash);
        hash
    }
}

/// SHA-256 of SHA-256.
pub fn double_sha256(bytes: &[u8]) -> [u8; 32] {
    sha256(&sha256(bytes))
}

/// The merkle root of a block: the coinbase's txid, folded with each hash of the path (SV2 5.3.16).
///
/// The coinbase is serialised without its witness.
pub fn merkle_root(coinbase: &[u8], path: &[[u8; 32]]) -> [u8; 32] {
    path.iter().fold(double_sha256(coinbase), |root, step| double_sha256(&[root, *step].concat()))
}

/// Whether a hash is at or below a target, both little-endian.
pub fn meets_target(hash: &[u8; 32], target: &[u8; 32]) -> bool {
    // The most significant bytes come last, and almost always decide.
    hash.iter().rev().le(target.iter().rev())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - bytes.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let length_at = padded.len() - 8;
    padded[length_at..].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    let mut state = INITIAL_STATE;
    let (blocks, _) = padded.as_chunks::<64>();
    compress256(&mut state, blocks);
    let mut hash = [0; 32];
    write_state(&state, &mut hash);
    hash
}

fn write_state(state: &[u32; 8], out: &mut [u8]) {
    let (words, _) = out.as_chunks_mut::<4>();
    for (bytes, word) in words.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::hashes::Hash;
    use bitcoin::{Network, Txid};

    use super::*;

    fn genesis() -> Header {
        let block = bitcoin::constants::genesis_block(Network::Bitcoin);
        Header {
            version: block.header.version.to_consensus() as u32,
            prev_hash: block.header.prev_blockhash.to_byte_array(),
            merkle_root: block.header.merkle_root.to_byte_array(),
            ntime: block.header.time,
            nbits: block.header.bits.to_consensus(),
            nonce: block.header.nonce,
        }
    }

    fn number(big_endian: &str) -> [u8; 32] {
        let mut bytes: [u8; 32] = hex::decode(big_endian).unwrap().try_into().unwrap();
        bytes.reverse();
        bytes
    }

    #[test]
    fn genesis_block_has_its_known_hash() {
        let expected = number("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f");
        assert_eq!(genesis().hash(), expected);
        assert_eq!(double_sha256(&genesis().to_bytes()), expected);
    }

    #[test]
    fn midstate_finds_the_genesis_nonce_and_no_other_near_it() {
        let target = number("00000000ffff0000000000000000000000000000000000000000000000000000");
        let mut midstate = Midstate::new(&Header { nonce: 0, ..genesis() });
        let nonce = genesis().nonce;
        let found: Vec<u32> =
            (nonce - 500..nonce + 500).filter(|&nonce| meets_target(&midstate.hash(nonce), &target)).collect();
        assert_eq!(found, [nonce]);
    }

    #[test]
    fn hashes_agree_with_an_independent_implementation_at_every_length() {
        for len in 0..200_usize {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let expected = bitcoin::hashes::sha256d::Hash::hash(&bytes).to_byte_array();
            assert_eq!(double_sha256(&bytes), expected, "{len} bytes");
        }
    }

    #[test]
    fn merkle_fold_gives_the_root_of_the_whole_tree() {
        let coinbase = b"any bytes will do".to_vec();
        let leaf = |number: u8| [number; 32];
        let leaves = [double_sha256(&coinbase), leaf(1), leaf(2), leaf(3), leaf(4)];
        // The path of leaf 0 in a tree of five: its neighbour, the pair (2, 3), and (4, 4) twice over.
        let pair = |left: [u8; 32], right: [u8; 32]| double_sha256(&[left, right].concat());
        let last = pair(leaf(4), leaf(4));
        let path = [leaf(1), pair(leaf(2), leaf(3)), pair(last, last)];
        let expected = bitcoin::merkle_tree::calculate_root(leaves.iter().map(|leaf| Txid::from_byte_array(*leaf)));
        assert_eq!(merkle_root(&coinbase, &path), expected.unwrap().to_byte_array());
        assert_eq!(merkle_root(&coinbase, &[]), leaves[0]);
    }

    #[test]
    fn target_is_met_up_to_equality_and_compared_as_a_little_endian_number() {
        let mut target = [0; 32];
        target[31] = 1;
        let (mut below, mut above) = ([0xff; 32], target);
        below[31] = 0;
        above[0] = 1;
        assert!(meets_target(&target, &target));
        assert!(meets_target(&below, &target));
        assert!(!meets_target(&above, &target));
    }
}
