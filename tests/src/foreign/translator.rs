//! The reference implementation's translator, as it is run here: one pool above it, Stratum V1 miners below.

use std::{
    fmt::Write,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::Context;
use bitcoin::secp256k1::rand::{Rng, thread_rng};

use super::{Process, TRANSLATOR};
use crate::miner::PoolAddress;

/// Below the range from which the system takes ports for outgoing connections, so that none of them can sit on the
/// translator's port when it takes it again.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
/// How many ports are tried.
const PORT_ATTEMPTS: u32 = 20;
/// How often the pool stands in the list of upstreams. The translator tries each entry three times within three seconds
/// and never returns to one, not even to one that worked: a pool that is to be found again after its restart has to be
/// listed more than once.
const UPSTREAM_ENTRIES: usize = 10;

/// What a translator is told.
#[derive(Clone, Debug)]
pub struct TranslatorOptions {
    /// Whom to credit. The translator itself adds a worker's name, after a dot.
    pub user: String,
    /// Whether all miners share one channel.
    pub aggregate: bool,
    /// What each miner is believed to hash at first, in hashes a second.
    pub min_hash_rate: f64,
    /// How many shares a minute each miner should find at first.
    pub shares_per_minute: f64,
    /// Whether the translator sets the miners' difficulty by itself, every minute; else it hands the pool's targets on.
    pub vardiff: bool,
    /// Whether it asks for extension 0x0002 and tells the pool which worker found a share. For this the extension has to
    /// stand among those that it requires: those that it only supports it never asks for.
    pub names_workers: bool,
}

/// A running translator.
#[derive(Debug)]
pub struct Translator {
    /// Its process and log.
    pub process: Process,
    address: SocketAddr,
}

impl Translator {
    /// Starts a translator; [`wait_until_listening`](Self::wait_until_listening) tells when miners may connect.
    ///
    /// # Errors
    ///
    /// If there is no such program, or it cannot be started.
    pub fn start(pool: &PoolAddress, options: &TranslatorOptions) -> anyhow::Result<Self> {
        let address = free_address()?;
        let config = config(pool, address, options)?;
        let process = Process::start(&TRANSLATOR, |command, folder| {
            let file = folder.join("translator.toml");
            fs::write(&file, config)?;
            command.arg("--config").arg(file);
            Ok(())
        })?;
        Ok(Self { process, address })
    }

    /// Where miners connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it has listened so many times: it does so anew whenever it has lost the pool.
    ///
    /// # Errors
    ///
    /// If it does not in time.
    pub async fn wait_until_listening(&mut self, times: usize, timeout: Duration) -> anyhow::Result<()> {
        let enough = |log: &str| (log.matches("Translator Proxy: listening on").count() >= times).then_some(());
        self.process.wait_for(timeout, "the translator to listen", enough).await
    }

    /// How many shares it has sent to the pool.
    pub fn forwarded(&self) -> usize {
        self.process.count("valid share, forwarding it to upstream")
    }

    /// How many shares the pool has acknowledged.
    pub fn acknowledged(&self) -> usize {
        let log = self.process.log();
        values(&log, "SubmitSharesSuccess(", "new_submits_accepted_count=")
            .filter_map(|count| count.parse::<usize>().ok())
            .sum()
    }

    /// The codes of the pool's rejections, in order.
    pub fn rejections(&self) -> Vec<String> {
        let log = self.process.log();
        values(&log, "SubmitSharesError(", "error_code=").map(str::to_owned).collect()
    }
}

/// Reads what stands behind `name`, up to the next comma or parenthesis, in those lines that contain `message`.
fn values<'a>(log: &'a str, message: &str, name: &str) -> impl Iterator<Item = &'a str> {
    let of_message = log.lines().filter(move |line| line.contains(message));
    of_message.filter_map(move |line| line.split_once(name)?.1.split_once([',', ')'])).map(|(value, _)| value)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let mut candidates = (0..PORT_ATTEMPTS).map(|_| (Ipv4Addr::LOCALHOST, thread_rng().gen_range(PORTS)).into());
    candidates.find(|address: &SocketAddr| TcpListener::bind(address).is_ok()).context("no port is free")
}

/// The config file. What it leaves out is as the program has it by default.
fn config(pool: &PoolAddress, address: SocketAddr, options: &TranslatorOptions) -> anyhow::Result<String> {
    let authority = pool.authority.as_ref().context("the translator needs the pool's key")?;
    let extensions = if options.names_workers { "0x0002" } else { "" };
    let mut config = format!(
        "downstream_address = \"{}\"\n\
         downstream_port = {}\n\
         max_supported_version = 2\n\
         min_supported_version = 2\n\
         downstream_extranonce2_size = 4\n\
         aggregate_channels = {}\n\
         required_extensions = [{extensions}]\n\
         [downstream_difficulty_config]\n\
         min_individual_miner_hashrate = {:?}\n\
         shares_per_minute = {:?}\n\
         enable_vardiff = {}\n\
         job_keepalive_interval_secs = 60\n",
        address.ip(),
        address.port(),
        options.aggregate,
        options.min_hash_rate,
        options.shares_per_minute,
        options.vardiff,
    );
    for _ in 0..UPSTREAM_ENTRIES {
        write!(
            config,
            "[[upstreams]]\naddress = \"{}\"\nport = {}\nauthority_pubkey = \"{authority}\"\nuser_identity = \"{}\"\n",
            pool.host, pool.port, options.user
        )?;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_the_lines_of_their_message() {
        let log = "INFO Received: SubmitSharesSuccess(channel_id=2, new_submits_accepted_count=3, new_shares_sum=9) ok\n\
                   WARN Received: SubmitSharesError(channel_id=2, error_code=stale-share) no\n\
                   INFO Received: SubmitSharesSuccess(channel_id=2, new_submits_accepted_count=1, new_shares_sum=3) ok\n\
                   INFO Received: SubmitSharesSuccess(channel_id=2, new_sub";
        let counts: Vec<&str> = values(log, "SubmitSharesSuccess(", "new_submits_accepted_count=").collect();
        assert_eq!(counts, ["3", "1"]);
        assert_eq!(values(log, "SubmitSharesError(", "error_code=").collect::<Vec<_>>(), ["stale-share"]);
    }
}
