//! One run of the pool: starts its tasks in the order in which they need each other, and ends them in reverse.

use std::{
    fs::{File, TryLockError},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bitcoin::{FeeRate, Network, ScriptBuf};
use payouts::{
    books::Books,
    payout::{Payer, PayoutPolicy},
    scheme::{PoolFee, rule::Scheme},
    wallet::{Wallet, WalletKey},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tracing::{info, warn};

use crate::{
    accounting::{
        blocks::{FoundBlocks, Spool, submit_all},
        settlement::{Signals, settle_all},
        share_log::ShareLog,
    },
    config::{Config, PayoutConfig, StratumConfig},
    mining::{
        coinbase::{Coinbase, PoolTag},
        extranonce::ExtranonceSpace,
        job::{Job, SharePosition},
        session::SessionPolicy,
    },
    store,
    stratum::{
        channels::Upstream,
        listener::{CertificateIssuer, accept_all},
    },
    template::{
        LatestTemplate, Template,
        bitcoind::{follow_templates, wait_until_ready},
        node::Node,
    },
};

/// Connections that the system may hold ready to be accepted.
const BACKLOG: u32 = 1024;
/// Channels that may be open at a time, of all connections together.
const MAX_CHANNELS: usize = 1_000_000;
/// How long a task may take to finish what it has begun when the pool shuts down.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the pool until SIGINT or SIGTERM, then acknowledges what is on disk and closes.
///
/// # Errors
///
/// If something is wrong that waiting does not mend: keys, the database, the port, another pool on the same data.
pub async fn run(mut config: Config) -> anyhow::Result<()> {
    let mut draining = draining_on_signal()?;
    let _lock = lock(&config.data_dir)?;
    let socket = bind(config.stratum.listen)?;
    // With port 0 the system chooses one.
    config.stratum.listen = socket.local_addr()?;
    let authority = config.stratum.authority_key()?;
    let miner_url = config.stratum.miner_url(&authority.public_key());
    let issuer = CertificateIssuer::new(authority, config.stratum.certificate_validity);
    let wallet_key = WalletKey::read(&config.payout.wallet_key_file, config.network)
        .with_context(|| format!("cannot read {}", config.payout.wallet_key_file.display()))?;
    let store = store::open(&config.store).await?;
    let node = Node::new(&config.bitcoind, config.network);

    let templates = tokio::select! {
        templates = first_template(&node, config.bitcoind.template_refresh) => templates?,
        _ = draining.wait_for(|draining| *draining) => return Ok(()),
    };

    let session = store.begin_session().await?;
    let rpc = Arc::new(node.client());
    let wallet = Wallet::open(Arc::clone(&store), wallet_key, Arc::clone(&rpc)).await?;
    let position = SharePosition(store.share_position().await?.get());
    let (share_log, share_log_task) = ShareLog::start(Arc::clone(&store), position);
    let jobs = make_jobs(
        templates.clone(),
        JobMaker {
            script: wallet.coinbase_script(),
            tag: config.stratum.pool_tag.clone(),
            share_log: share_log.clone(),
            made: 0,
        },
    )?;

    let books = Arc::new(Books::new(Arc::clone(&store), scheme(&config.payout)?));
    let spool = Spool::open(config.data_dir.join("blocks")).context("cannot keep found blocks")?;
    let left_over = spool.left_over().context("cannot list the blocks that are kept")?;
    let (found_blocks, solutions) = FoundBlocks::open(spool.clone());
    let (found_sender, found) = watch::channel(());
    let blocks_task = tokio::spawn(submit_all(
        node.clone(),
        Arc::clone(&store),
        Arc::clone(&books),
        spool,
        left_over,
        solutions,
        found_sender,
    ));
    let payer = Payer::new(Arc::clone(&store), wallet, rpc, payout_policy(&config.payout));
    let signals = Signals { templates, found, draining: draining.clone() };
    let settlement_task = tokio::spawn(settle_all(node, Arc::clone(&store), books, payer, signals));

    let upstream = Upstream {
        network: config.network,
        policy: Arc::new(session_policy(&config.stratum, config.network)),
        // The session is a part of the prefix; after 65,536 starts it repeats, long after the jobs of the first.
        space: Arc::new(ExtranonceSpace::new(config.stratum.server_id, session as u16, MAX_CHANNELS)),
        jobs,
        share_log,
        found_blocks,
        store,
        draining,
    };
    let listener = socket.listen(BACKLOG).with_context(|| format!("cannot listen on {}", config.stratum.listen))?;
    announce(&listener, &miner_url);
    // Ends when the pool shuts down and all connections are closed; with them end the queues behind them.
    accept_all(listener, issuer, config.stratum.max_connections, upstream).await;
    info!("shutting down");
    for (name, task) in [("share log", share_log_task), ("blocks", blocks_task), ("settlement", settlement_task)] {
        end(name, task).await;
    }
    info!("ended");
    Ok(())
}

/// Waits for the node and its first template: until there is one, nobody may connect.
async fn first_template(node: &Node, refresh: Duration) -> anyhow::Result<watch::Receiver<LatestTemplate>> {
    wait_until_ready(node).await;
    let mut templates = follow_templates(node.clone(), refresh);
    templates.wait_for(Option::is_some).await.context("templates have ended")?;
    Ok(templates)
}

/// Makes sure that no other pool works on the same data: it would commit to the same books.
fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("adit.lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another adit is running with {}", data_dir.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Takes the port, so that one in use is noticed at once; nobody can connect until there is work.
fn bind(address: SocketAddr) -> anyhow::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("cannot listen on {address}"))?;
    Ok(socket)
}

/// What turns a template into a job.
struct JobMaker {
    script: ScriptBuf,
    tag: PoolTag,
    share_log: ShareLog,
    made: u32,
}

impl JobMaker {
    fn make(&mut self, template: &Arc<Template>) -> Arc<Job> {
        let (value, commitment) = (template.coinbase_value, &template.witness_commitment);
        let coinbase = Coinbase::new(template.height, value, &self.script, commitment, &self.tag, self.made);
        self.made = self.made.wrapping_add(1);
        Arc::new(Job::new(Arc::clone(template), coinbase, self.share_log.position(), Instant::now()))
    }
}

/// Makes a job of the present template, and of each that follows until nobody wants jobs any more.
fn make_jobs(
    mut templates: watch::Receiver<LatestTemplate>,
    mut maker: JobMaker,
) -> anyhow::Result<watch::Receiver<Arc<Job>>> {
    let first = templates.borrow_and_update().clone().context("there is no template")?;
    let (sender, jobs) = watch::channel(maker.make(&first));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = templates.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
            let newest = templates.borrow_and_update().clone();
            if let Some(template) = newest {
                sender.send_replace(maker.make(&template));
            }
        }
    });
    Ok(jobs)
}

/// Tells a person where miners connect, also when the log is off.
#[allow(clippy::print_stdout)]
fn announce(listener: &TcpListener, miner_url: &str) {
    if let Ok(address) = listener.local_addr() {
        println!("Adit listens on {address}. Miners connect to:\n\n    {miner_url}\n");
    }
}

fn session_policy(config: &StratumConfig, network: Network) -> SessionPolicy {
    SessionPolicy {
        shares_per_minute: f64::from(config.shares_per_minute),
        initial_difficulty: config.initial_difficulty,
        min_difficulty: config.min_difficulty,
        max_channels: config.max_channels_per_connection,
        harder_than_network: network == Network::Regtest,
    }
}

fn scheme(config: &PayoutConfig) -> anyhow::Result<Scheme> {
    let window = config.pplns_window.try_into().context("payout.pplns_window must not be zero")?;
    let fee = PoolFee::from_basis_points(config.fee_bp).context("payout.fee_bp is over 10,000")?;
    Ok(Scheme::new(config.scheme, window, fee))
}

fn payout_policy(config: &PayoutConfig) -> PayoutPolicy {
    PayoutPolicy {
        threshold: config.threshold,
        confirm_within_blocks: config.fee_target_blocks,
        fallback_fee_rate: fee_rate(config.fallback_fee_rate_sat_per_vb),
        max_fee_rate: fee_rate(config.max_fee_rate_sat_per_vb),
        max_outputs: config.max_outputs,
    }
}

fn fee_rate(sat_per_vb: u64) -> FeeRate {
    FeeRate::from_sat_per_vb(sat_per_vb).unwrap_or(FeeRate::MAX)
}

/// Listens for SIGINT and SIGTERM. The first begins the shutdown.
fn draining_on_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let (sender, draining) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        sender.send_replace(true);
        // The sender lives on, so that whoever waits for a change is not told of an end.
        sender.closed().await;
    });
    Ok(draining)
}

async fn end(name: &str, task: JoinHandle<()>) {
    match timeout(END_TIMEOUT, task).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "{name} failed"),
        Err(_) => warn!("{name} did not end within {} s and is cut off", END_TIMEOUT.as_secs()),
    }
}
