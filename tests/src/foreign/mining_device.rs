//! The reference implementation's miner, as it is run here. It opens one standard channel, asks for standard jobs only,
//! and starts every job at nonce 0 on one thread. When its connection ends, so does it.

use bitcoin::{BlockHash, hashes::Hash};
use protocol::codec::U256;

use super::{MINING_DEVICE, Process};
use crate::miner::PoolAddress;

/// What a miner is told.
#[derive(Clone, Debug)]
pub struct MiningDeviceOptions {
    /// Whom to credit.
    pub user: String,
    /// How many nonces it tries at one go, until it has found a share.
    pub nonces_at_a_go: u32,
    /// How long it pauses between two goes, in microseconds.
    pub pause_us: u32,
    /// By how much it understates or overstates its speed. The speed is what it measures at its start, as if there were
    /// no pauses.
    pub claim: f32,
}

/// A running miner.
#[derive(Debug)]
pub struct MiningDevice {
    /// Its process and log.
    pub process: Process,
}

impl MiningDevice {
    /// Starts a miner. It needs about five seconds until it opens its channel, because it measures its speed.
    ///
    /// # Errors
    ///
    /// If there is no such program, or it cannot be started.
    pub fn start(pool: &PoolAddress, options: &MiningDeviceOptions) -> anyhow::Result<Self> {
        let process = Process::start(&MINING_DEVICE, |command, _| {
            command.arg("--address-pool").arg(format!("{}:{}", pool.host, pool.port));
            command.args(pool.authority.iter().flat_map(|key| ["--pubkey-pool".to_owned(), key.to_string()]));
            command.args(["--id-user", &options.user, "--id-device", "device", "--cores", "1"]);
            command.arg("--handicap").arg(options.pause_us.to_string());
            command.arg("--nonces-per-call").arg(options.nonces_at_a_go.to_string());
            command.arg("--nominal-hashrate-multiplier").arg(options.claim.to_string());
            Ok(())
        })?;
        Ok(Self { process })
    }

    /// The hashes of the shares that it has found, in order: each is submitted at once.
    pub fn found(&self) -> Vec<BlockHash> {
        self.process.log().lines().filter_map(found_hash).collect()
    }

    /// The targets that it was given, in order.
    pub fn targets(&self) -> Vec<U256> {
        let log = self.process.log();
        // The first is zero and of its own making: by it, the miner measures its speed.
        log.lines().filter_map(set_target).skip(1).collect()
    }

    /// How many acknowledgements it has had. One may be for several shares.
    pub fn acknowledgements(&self) -> usize {
        self.process.count("Received SubmitSharesSuccess")
    }

    /// The codes of the rejections that it has had, in order.
    pub fn rejections(&self) -> Vec<String> {
        let log = self.process.log();
        let codes =
            log.lines().filter_map(|line| line.split_once("SubmitSharesError with error code ").map(|(_, code)| code));
        codes.map(|code| code.trim().to_owned()).collect()
    }
}

/// Reads the hash out of a line that tells of a share: `... with hash: [12, 34, ...]`, little-endian.
fn found_hash(line: &str) -> Option<BlockHash> {
    let (_, list) = line.split_once("Found share with nonce")?.1.split_once("with hash: [")?;
    let bytes: Vec<u8> =
        list.trim_end().trim_end_matches(']').split(", ").map_while(|byte| byte.parse().ok()).collect();
    Some(BlockHash::from_byte_array(bytes.try_into().ok()?))
}

/// Reads the target out of a line that tells of one, as little-endian digits.
fn set_target(line: &str) -> Option<U256> {
    let mut target = [0; 32];
    hex::decode_to_slice(line.split_once("Set target to ")?.1.trim_end(), &mut target).ok()?;
    Some(U256(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_read_from_the_line_of_a_share() {
        let bytes: Vec<String> = (0..32).map(|byte| byte.to_string()).collect();
        let line = format!("Found share with nonce: 7, for target: Some(9), with hash: [{}]\n", bytes.join(", "));
        let hash = found_hash(&line).map(|hash| hash.to_byte_array());
        assert_eq!(hash, Some(std::array::from_fn(|at| at as u8)));
        // A line that is being written.
        assert_eq!(found_hash(&line[..line.len() - 20]), None);
        assert_eq!(found_hash("Received SubmitSharesSuccess"), None);
    }

    #[test]
    fn target_is_read_in_its_byte_order() {
        let line = format!("INFO mining_device: Set target to {}01", "00".repeat(31));
        assert_eq!(set_target(&line).map(|target| target.0[31]), Some(1));
        assert_eq!(set_target(&line[..line.len() - 1]), None);
    }
}
