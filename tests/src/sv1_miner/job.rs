//! Stratum V1's jobs: from `mining.notify` to a header, and from a header to `mining.submit`. Owns the byte orders of that
//! protocol and the search for a share; knows no connection.

use anyhow::{Context, ensure};
use bitcoin::{BlockHash, CompactTarget, Target, hashes::Hash};
use serde_json::{Value, json};

use crate::miner::{Header, Midstate, meets_target, merkle_root};

/// What a connection's subscription assigns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    /// What every coinbase of the connection has first in its extranonce.
    pub(super) extranonce1: Vec<u8>,
    /// How many bytes the miner adds.
    pub(super) extranonce2_size: usize,
    /// The bits of the version that it may change (BIP 310).
    pub(super) version_mask: u32,
}

/// A job as `mining.notify` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// Its id.
    pub(super) id: String,
    /// The hash of the block below, in the byte order of the header.
    pub(super) prev_hash: [u8; 32],
    coinbase_prefix: Vec<u8>,
    coinbase_suffix: Vec<u8>,
    merkle_path: Vec<[u8; 32]>,
    version: u32,
    nbits: u32,
    ntime: u32,
    /// Whether all jobs before it are stale.
    pub(super) clean: bool,
}

/// A header that meets its target, with what the server must be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Solution {
    job_id: String,
    extranonce2: Vec<u8>,
    ntime: u32,
    nonce: u32,
    version_bits: u32,
    /// Its hash, in the byte order of the header.
    pub(super) hash: [u8; 32],
    /// Whether it meets the network's target too.
    pub(super) is_block: bool,
}

/// A walk through the nonces of one job with one extranonce.
#[derive(Clone, Debug)]
pub(super) struct Search {
    solution: Solution,
    midstate: Midstate,
    target: [u8; 32],
    network_target: [u8; 32],
}

impl Job {
    /// Reads the parameters of `mining.notify`.
    ///
    /// # Errors
    ///
    /// If there are fewer than nine, or one is not what it should be.
    pub(super) fn from_parameters(parameters: &[Value]) -> anyhow::Result<Self> {
        let [id, prev_hash, prefix, suffix, path, version, nbits, ntime, clean] =
            parameters.first_chunk().context("mining.notify has fewer than nine parameters")?;
        let path = path.as_array().context("the merkle branch is no list")?;
        Ok(Self {
            id: text(id)?.to_owned(),
            prev_hash: swap_words(bytes32(prev_hash)?),
            coinbase_prefix: hex::decode(text(prefix)?)?,
            coinbase_suffix: hex::decode(text(suffix)?)?,
            merkle_path: path.iter().map(bytes32).collect::<anyhow::Result<_>>()?,
            version: number(version)?,
            nbits: number(nbits)?,
            ntime: number(ntime)?,
            clean: clean.as_bool().context("clean_jobs is no boolean")?,
        })
    }

    /// Returns the block below.
    pub(super) fn prev_block(&self) -> BlockHash {
        BlockHash::from_byte_array(self.prev_hash)
    }

    /// Begins to look for shares in the part of the job's space that has this number: parts of different numbers have
    /// nothing in common while the numbers fit into the second extranonce.
    pub(super) fn search(&self, subscription: &Subscription, difficulty: f64, number: u64) -> Search {
        let size = subscription.extranonce2_size;
        let extranonce2 = [&[0; 32][..size.saturating_sub(8)], &number.to_be_bytes()[8 - size.min(8)..]].concat();
        let mask = subscription.version_mask;
        // The lowest bits that may be rolled count along, so that shares have different ones.
        let version_bits = (number as u32).checked_shl(mask.trailing_zeros()).unwrap_or(0) & mask;
        let header = self.header(subscription, &extranonce2, version_bits);
        let solution = Solution {
            job_id: self.id.clone(),
            extranonce2,
            ntime: self.ntime,
            nonce: 0,
            version_bits,
            hash: [0xff; 32],
            is_block: false,
        };
        Search {
            solution,
            midstate: Midstate::new(&header),
            target: target_of(difficulty),
            network_target: Target::from_compact(CompactTarget::from_consensus(self.nbits)).to_le_bytes(),
        }
    }

    /// The header with the job's own time and nonce 0.
    fn header(&self, subscription: &Subscription, extranonce2: &[u8], version_bits: u32) -> Header {
        let parts: [&[u8]; 4] = [&self.coinbase_prefix, &subscription.extranonce1, extranonce2, &self.coinbase_suffix];
        Header {
            version: self.version & !subscription.version_mask | version_bits,
            prev_hash: self.prev_hash,
            merkle_root: merkle_root(&parts.concat(), &self.merkle_path),
            ntime: self.ntime,
            nbits: self.nbits,
            nonce: 0,
        }
    }
}

impl Search {
    /// Tries the next nonce. There are more than any of these miners gets through.
    pub(super) fn step(&mut self) -> Option<Solution> {
        let nonce = self.solution.nonce;
        let hash = self.midstate.hash(nonce);
        self.solution.nonce = nonce.wrapping_add(1);
        meets_target(&hash, &self.target).then(|| Solution {
            nonce,
            hash,
            is_block: meets_target(&hash, &self.network_target),
            ..self.solution.clone()
        })
    }
}

impl Solution {
    /// Returns the parameters of `mining.submit`; with the version bits only where they were negotiated.
    pub(super) fn parameters(&self, user: &str, with_version: bool) -> Vec<Value> {
        let number = |number: u32| json!(format!("{number:08x}"));
        let mut parameters = vec![
            json!(user),
            json!(self.job_id),
            json!(hex::encode(&self.extranonce2)),
            number(self.ntime),
            number(self.nonce),
        ];
        parameters.extend(with_version.then(|| number(self.version_bits)));
        parameters
    }
}

/// Returns the target of a difficulty, little-endian: difficulty 1 is 0xffff * 2^208, as pools and devices count it.
pub(super) fn target_of(difficulty: f64) -> [u8; 32] {
    let mut target = [0; 32];
    // The quotient times 2^208, from its most significant byte; what a byte leaves over is exact in floating point.
    let mut rest = 65_535.0 / difficulty / 2_f64.powi(256 - 208);
    if rest >= 1.0 {
        return [0xff; 32];
    }
    for byte in target.iter_mut().rev() {
        rest *= 256.0;
        *byte = rest as u8;
        rest -= f64::from(*byte);
    }
    target
}

fn text(value: &Value) -> anyhow::Result<&str> {
    value.as_str().with_context(|| format!("{value} is no text"))
}

fn number(value: &Value) -> anyhow::Result<u32> {
    let text = text(value)?;
    ensure!(text.len() == 8, "{text} has not eight digits");
    Ok(u32::from_str_radix(text, 16)?)
}

fn bytes32(value: &Value) -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text(value)?, &mut bytes)?;
    Ok(bytes)
}

/// Turns each word of four bytes around: the order in which Stratum V1 sends the hash of the block below.
fn swap_words(mut hash: [u8; 32]) -> [u8; 32] {
    hash.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    hash
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::{Network, consensus::serialize, constants::genesis_block};

    use super::*;

    /// The example in the protocol's first description, by its author: a job, and a share of difficulty 1.
    fn published_job() -> (Job, Subscription) {
        let parameters = json!([
            "bf",
            "4d16b6f85af6e2198f44ae2a6de67f78487ae5611b77c6c0440b921e00000000",
            "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff20020862062f503253482f04b8864e5008",
            "072f736c7573682f000000000100f2052a010000001976a914d23fcdf86f7e756a64a7a9688ef9903327048ed988ac00000000",
            [],
            "00000002",
            "1c2ac4af",
            "504e86b9",
            false
        ]);
        let subscription =
            Subscription { extranonce1: hex::decode("08000002").unwrap(), extranonce2_size: 4, version_mask: 0 };
        (Job::from_parameters(parameters.as_array().unwrap()).unwrap(), subscription)
    }

    /// A job whose answer is a block that the whole world knows, cut where a server could cut it.
    fn genesis_job() -> (Job, Subscription, bitcoin::Block) {
        let block = genesis_block(Network::Bitcoin);
        let coinbase = serialize(&block.txdata[0]);
        let parameters = json!([
            "genesis",
            "00".repeat(32),
            hex::encode(&coinbase[..50]),
            hex::encode(&coinbase[58..]),
            [],
            format!("{:08x}", block.header.version.to_consensus()),
            format!("{:08x}", block.header.bits.to_consensus()),
            format!("{:08x}", block.header.time),
            true
        ]);
        let subscription =
            Subscription { extranonce1: coinbase[50..54].to_vec(), extranonce2_size: 4, version_mask: 0 };
        (Job::from_parameters(parameters.as_array().unwrap()).unwrap(), subscription, block)
    }

    #[test]
    fn published_share_meets_its_difficulty() {
        let (job, subscription) = published_job();
        let header = job.header(&subscription, &[0, 0, 0, 1], 0);
        let hash = Header { ntime: 0x504e_86ed, nonce: 0xb295_7c02, ..header }.hash();
        assert!(meets_target(&hash, &target_of(1.0)), "{}", BlockHash::from_byte_array(hash));
    }

    #[test]
    fn job_of_the_genesis_block_gives_its_hash() {
        let (job, subscription, block) = genesis_job();
        let extranonce2 = &serialize(&block.txdata[0])[54..58];
        let header = job.header(&subscription, extranonce2, 0);
        assert_eq!(
            BlockHash::from_byte_array(Header { nonce: block.header.nonce, ..header }.hash()),
            block.block_hash()
        );
    }

    #[test]
    fn hash_of_the_block_below_is_in_the_byte_order_of_the_header() {
        // The example's block, as block explorers write it.
        let expected = "00000000440b921e1b77c6c0487ae5616de67f788f44ae2a5af6e2194d16b6f8";
        assert_eq!(published_job().0.prev_block().to_string(), expected);
    }

    #[test]
    fn share_found_is_told_as_it_was_hashed() {
        let (job, mut subscription, block) = genesis_job();
        subscription.version_mask = 0x1fff_e000;
        let mut search = job.search(&subscription, 0.000_001, 0x0102_0304_0000_0503);
        let found = std::iter::repeat_with(|| search.step()).take(100_000).flatten().next().unwrap();
        assert!(!found.is_block && meets_target(&found.hash, &target_of(0.000_001)));

        let told = found.parameters("a.b", true);
        assert_eq!(told[..3], [json!("a.b"), json!("genesis"), json!("00000503")]);
        let [ntime, nonce, version_bits] = [3, 4, 5].map(|at| number(&told[at]).unwrap());
        assert_eq!(version_bits, 0x00a0_6000);
        let header =
            Header { ntime, nonce, ..job.header(&subscription, &hex::decode("00000503").unwrap(), version_bits) };
        assert_eq!(header.version, block.header.version.to_consensus() as u32 | version_bits);
        assert_eq!(header.hash(), found.hash);
        assert_eq!(found.parameters("a.b", false)[..], told[..5]);
    }

    #[test]
    fn parts_of_a_job_have_nothing_in_common() {
        let (job, subscription) = published_job();
        let roots = [0, 1, 2, 255, 256].map(|part| {
            let mut search = job.search(&subscription, 1e-12, part);
            search.step().expect("any hash will do").hash
        });
        assert!((1..roots.len()).all(|at| !roots[..at].contains(&roots[at])));
    }

    #[test]
    fn target_is_that_of_bitcoin_for_whole_and_broken_difficulties() {
        for difficulty in [1.0, 2.0, 4096.0, 0.5, 1.0 / 65_536.0, 2_f64.powi(-20)] {
            let target = Target::from_le_bytes(target_of(difficulty));
            assert_eq!(target.difficulty_float(), difficulty);
        }
        assert_eq!(target_of(1.0), Target::MAX.to_le_bytes());
        let broken = Target::from_le_bytes(target_of(0.001_234_5)).difficulty_float();
        assert!((broken / 0.001_234_5 - 1.0).abs() < 1e-12, "{broken}");
        assert_eq!(target_of(1e-12), [0xff; 32]);
    }

    #[test]
    fn job_that_lacks_something_is_refused() {
        assert!(Job::from_parameters(&[]).is_err());
        let wrong = json!(["1", "00", "", "", [], "00000001", "1d00ffff", "00000000", true]);
        assert!(Job::from_parameters(wrong.as_array().unwrap()).is_err());
    }
}
