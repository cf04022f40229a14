//! A Stratum V2 miner for the command line: `test-miner stratum2+tcp://host:port/KEY --user address.worker`.
//!
//! For a look at a pool by hand. It mines until it is interrupted and says once in a while how it goes.

use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use protocol::messages::mining::{REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING};
use tests::miner::{ChannelConfig, Miner, MinerConfig, PoolAddress, Profile};

/// Pause between two reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Parser)]
#[command(about = "Mines on the CPU over Stratum V2, for tests")]
struct Arguments {
    /// The pool's address, stratum2+tcp://host:port/AUTHORITY_KEY
    pool: PoolAddress,
    /// Whom to credit, such as address.worker
    #[arg(long)]
    user: String,
    /// Opens an extended channel with at least so many bytes of extranonce
    #[arg(long, value_name = "BYTES")]
    extended: Option<u16>,
    /// How many channels to open
    #[arg(long, default_value_t = 1)]
    channels: usize,
    /// Hashes a second on each channel; as fast as possible without it
    #[arg(long)]
    hash_rate: Option<f64>,
    /// Takes standard jobs only, as most devices do
    #[arg(long)]
    standard_jobs: bool,
    /// Plays a device, such as axeos-2.15, with its channel and its demands
    #[arg(long, conflicts_with_all = ["extended", "channels", "standard_jobs"])]
    device: Option<Profile>,
}

impl Arguments {
    fn miner(&self) -> MinerConfig {
        match &self.device {
            Some(profile) => MinerConfig::device(profile, self.pool.clone()),
            None => {
                let standard_jobs = if self.standard_jobs { REQUIRES_STANDARD_JOBS } else { 0 };
                MinerConfig::new(self.pool.clone()).flags(REQUIRES_VERSION_ROLLING | standard_jobs)
            }
        }
    }

    fn channel(&self) -> ChannelConfig {
        match (&self.device, self.extended) {
            // A device declares what it declares, however fast it is.
            (Some(profile), _) => ChannelConfig { hash_rate_limit: self.hash_rate, ..profile.channel(&self.user) },
            (None, Some(bytes)) => self.paced(ChannelConfig::extended(&self.user, bytes)),
            (None, None) => self.paced(ChannelConfig::standard(&self.user)),
        }
    }

    fn paced(&self, channel: ChannelConfig) -> ChannelConfig {
        match self.hash_rate {
            Some(hash_rate) => channel.hash_rate(hash_rate),
            None => channel,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let miner = Miner::connect(arguments.miner()).await.with_context(|| format!("connect to {}", arguments.pool))?;
    for _ in 0..arguments.channels {
        println!("opened {:?}", miner.open(arguments.channel()).await.context("open a channel")?);
    }
    loop {
        tokio::select! {
            end = miner.wait_for_end(REPORT_INTERVAL) => {
                if let Ok(end) = end {
                    anyhow::bail!("the connection has ended: {end:?}");
                }
            }
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                break;
            }
        }
        miner.read(|record| {
            let accepted = record.accepted_count();
            println!("{} submitted, {accepted} accepted, {} rejected", record.submitted.len(), record.rejections.len());
            record.faults.iter().for_each(|fault| println!("fault of the pool: {fault}"));
        });
    }
    miner.close().await;
    Ok(())
}
