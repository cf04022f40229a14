//! The reference implementation's pool, as it is run here: on a node that serves its mining interface on a Unix socket.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use bitcoin::{Address, Network};
use bitcoind_regtest::{Chain, NodeOptions};

use super::{Process, REFERENCE_POOL};
use crate::miner::PoolAddress;

/// The key pair of the program's own example configuration.
const AUTHORITY_PUBLIC_KEY: &str = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";
const AUTHORITY_SECRET_KEY: &str = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";

/// A running reference pool.
#[derive(Debug)]
pub struct ReferencePool {
    process: Process,
    address: PoolAddress,
}

/// How a reference pool runs.
#[derive(Clone, Debug)]
pub struct ReferencePoolOptions {
    /// Shares a minute that it expects of a channel. A channel that has far more for long is closed.
    pub shares_per_minute: f64,
    /// How many shares it acknowledges together.
    pub share_batch_size: u32,
    /// What it logs, as `RUST_LOG` says it. [`ReferencePool::wait_until_listening`] needs `info`.
    pub log: String,
}

impl Default for ReferencePoolOptions {
    /// Acknowledges in batches of ten, as in its example configuration.
    fn default() -> Self {
        Self { shares_per_minute: 60.0, share_batch_size: 10, log: "info".into() }
    }
}

impl ReferencePool {
    /// Says how to start a node that the pool can use: its data in `folder`, with a socket where the pool looks for it.
    pub fn node_options(chain: Chain, folder: &Path) -> NodeOptions {
        let socket = socket(chain, folder);
        NodeOptions::new().chain(chain).datadir(folder).argument(format!("-ipcbind=unix:{}", socket.display()))
    }

    /// Starts a pool for the node with its data in `folder`; its coinbases pay `payee`. It acknowledges shares in batches
    /// of ten, as in its example configuration.
    ///
    /// # Errors
    ///
    /// If there is no such program, or it cannot be started.
    pub fn start(chain: Chain, folder: &Path, payee: &Address) -> anyhow::Result<Self> {
        Self::start_with(chain, folder, payee, &ReferencePoolOptions::default())
    }

    /// Starts a pool as [`start`](Self::start) does, with options.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(
        chain: Chain,
        folder: &Path,
        payee: &Address,
        options: &ReferencePoolOptions,
    ) -> anyhow::Result<Self> {
        let ReferencePoolOptions { shares_per_minute, share_batch_size, log } = options;
        // Asked for and given back, so that another could take it: the pool would end, and the test say so.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config = format!(
            "authority_public_key = \"{AUTHORITY_PUBLIC_KEY}\"\n\
             authority_secret_key = \"{AUTHORITY_SECRET_KEY}\"\n\
             cert_validity_sec = 3600\n\
             listen_address = \"127.0.0.1:{port}\"\n\
             coinbase_reward_script = \"addr({payee})\"\n\
             server_id = 1\n\
             pool_signature = \"reference\"\n\
             shares_per_minute = {shares_per_minute:?}\n\
             share_batch_size = {share_batch_size}\n\
             [template_provider_type.BitcoinCoreIpc]\n\
             version = 31\n\
             network = \"{}\"\n\
             data_dir = \"{}\"\n\
             fee_threshold = 100\n\
             min_interval = 5\n",
            chain.network(),
            folder.display(),
        );
        let process = Process::start(&REFERENCE_POOL, |command, folder| {
            let file = folder.join("pool.toml");
            fs::write(&file, config)?;
            command.arg("-c").arg(file).env("RUST_LOG", log);
            Ok(())
        })?;
        let authority = AUTHORITY_PUBLIC_KEY.parse().context("the key of the example is one")?;
        Ok(Self { process, address: PoolAddress { host: "127.0.0.1".into(), port, authority: Some(authority) } })
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns where miners connect.
    pub fn address(&self) -> &PoolAddress {
        &self.address
    }

    /// Waits until miners can connect.
    ///
    /// # Errors
    ///
    /// If they cannot in time.
    pub async fn wait_until_listening(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let is_ready = |log: &str| log.contains("ready to accept connections").then_some(());
        self.process.wait_for(timeout, "the pool to be ready", is_ready).await
    }
}

/// Where the pool looks for the node's socket: in the folder that the node has for its chain.
fn socket(chain: Chain, folder: &Path) -> PathBuf {
    let network = match chain.network() {
        Network::Signet => "signet",
        _ => "regtest",
    };
    folder.join(network).join("node.sock")
}
