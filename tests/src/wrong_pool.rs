//! A pool that breaks rules on purpose, for tests of those who notice: each [`Fault`] is one broken rule. Without faults
//! it is a right, if simple, pool.
//!
//! It has no node and no books: tips are made up, and shares are validated and forgotten. It shares no code with the
//! real pool.

mod fault;
mod session;
mod work;

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use protocol::noise::{AuthoritySecretKey, ServerIdentity};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

pub use self::fault::Fault;
use crate::miner::PoolAddress;

/// How long certificates are valid, in seconds.
const CERTIFICATE_S: u32 = 3600;

/// How a wrong pool behaves.
#[derive(Clone, Debug)]
pub struct WrongPoolConfig {
    /// What it does wrong.
    pub faults: Vec<Fault>,
    /// How often each connection gets a new job.
    pub refresh: Duration,
    /// How often there is a new tip; only on [`WrongPool::new_tip`] when absent.
    pub tip_interval: Option<Duration>,
}

impl WrongPoolConfig {
    /// With these faults, a job every second, and tips on request only.
    pub fn new(faults: &[Fault]) -> Self {
        Self { faults: faults.to_vec(), refresh: Duration::from_secs(1), tip_interval: None }
    }
}

/// What all connections share.
struct Shared {
    faults: HashSet<Fault>,
    refresh: Duration,
    identity: ServerIdentity,
    tip: watch::Receiver<u32>,
}

/// A running pool. Dropping it closes all connections.
#[derive(Debug)]
pub struct WrongPool {
    address: PoolAddress,
    tip: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl WrongPool {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub async fn start(config: WrongPoolConfig) -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let authority = AuthoritySecretKey::generate();
        let faults: HashSet<Fault> = config.faults.iter().copied().collect();
        let signer = match faults.contains(&Fault::ForeignCertificate) {
            true => &AuthoritySecretKey::generate(),
            false => &authority,
        };
        let now = work::unix_now();
        let (valid_from, not_valid_after) = match faults.contains(&Fault::ExpiredCertificate) {
            true => (now - CERTIFICATE_S, now - 60),
            false => (now - 60, now + CERTIFICATE_S),
        };
        let identity = ServerIdentity::new(signer, valid_from, not_valid_after);
        let (tip, tips) = watch::channel(1);
        let shared = Arc::new(Shared { faults, refresh: config.refresh, identity, tip: tips });
        let address = PoolAddress {
            host: "127.0.0.1".into(),
            port: listener.local_addr()?.port(),
            authority: Some(authority.public_key()),
        };
        let task = tokio::spawn(serve(listener, shared, tip.clone(), config.tip_interval));
        Ok(Self { address, tip, task })
    }

    /// Returns where to connect, with the authority's key.
    pub fn address(&self) -> &PoolAddress {
        &self.address
    }

    /// Makes a new tip: all connections get a future job for it and its `SetNewPrevHash`.
    pub fn new_tip(&self) {
        self.tip.send_modify(|tip| *tip += 1);
    }
}

impl Drop for WrongPool {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts connections. They end with this task.
async fn serve(listener: TcpListener, shared: Arc<Shared>, tip: watch::Sender<u32>, tip_interval: Option<Duration>) {
    let mut connections = JoinSet::new();
    let mut next_tip = tip_interval.map(|interval| Instant::now() + interval);
    loop {
        let tip_due = async {
            match next_tip {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                connections.spawn(session::serve(stream, Arc::clone(&shared)));
            }
            () = tip_due => {
                tip.send_modify(|tip| *tip += 1);
                next_tip = tip_interval.map(|interval| Instant::now() + interval);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::miner::{ChannelConfig, Miner, MinerConfig};

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(flavor = "multi_thread")]
    async fn pool_without_faults_serves_a_miner_that_finds_none() {
        let pool = WrongPool::start(WrongPoolConfig::new(&[])).await.unwrap();
        let miner = Miner::connect(MinerConfig::new(pool.address().clone())).await.unwrap();
        for config in [ChannelConfig::standard("alice"), ChannelConfig::extended("bob", 4)] {
            miner.open(config.hash_rate(100_000.0)).await.unwrap();
        }
        miner.wait_for_accepted(5, PATIENCE).await.unwrap();
        pool.new_tip();
        miner.wait_for_accepted(50, PATIENCE).await.unwrap();
        let record = miner.close().await;
        assert_eq!(record.faults, []);
        assert!(record.rejections.iter().all(|rejection| rejection.error_code == "stale-share"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn planted_fault_is_there() {
        let pool = WrongPool::start(WrongPoolConfig::new(&[Fault::FirstJobActive])).await.unwrap();
        let miner = Miner::connect(MinerConfig::new(pool.address().clone())).await.unwrap();
        miner.open(ChannelConfig::standard("alice")).await.unwrap();
        let fault = miner.wait_for(PATIENCE, "a fault", |record| record.faults.first().cloned()).await.unwrap();
        assert_eq!(fault.what, "active job before the first SetNewPrevHash");
    }
}
