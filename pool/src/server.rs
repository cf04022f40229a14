//! One run of the pool: starts its tasks in the order in which they need each other, and ends them in reverse.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bitcoin::{Network, ScriptBuf};
use payouts::{
    books::Books,
    crediting::{Crediting, CreditingPolicy, NodeNetwork},
    scheme::{PoolFee, rule::Scheme},
    share::ShareSeq,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::{info, warn};

use crate::{
    accounting::{
        blocks::{Booking, FoundBlocks, Spool, submit_all},
        segments::Segments,
        settlement::{Signals, Work, settle_all},
        share_log::{ShareLog, unix_time_ms},
        upkeep::Upkeep,
    },
    config::{Config, PayoutConfig, StratumConfig},
    control::ControlSocket,
    lock::DataLock,
    mining::{
        coinbase::{Coinbase, PoolTag},
        extranonce::ExtranonceSpace,
        job::{Job, JobNumber, JobOrigin},
        session::SessionPolicy,
    },
    operations::{Desk, Order, Refusal, RefusalCode, open_payer},
    store,
    stratum::{
        channels::Upstream,
        listener::{CertificateIssuer, Extensions, accept_all},
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
    let Some(_lock) = DataLock::take(&config.data_dir)? else {
        bail!("another adit is running with {}", config.data_dir.display());
    };
    let control = ControlSocket::bind(&config.data_dir)?;
    let socket = bind(config.stratum.listen)?;
    // With port 0 the system chooses one.
    config.stratum.listen = socket.local_addr()?;
    let authority = config.stratum.authority_key()?;
    let miner_url = config.stratum.miner_url(&authority.public_key());
    let extensions = Extensions {
        supported: config.stratum.supported_extensions.clone(),
        required: config.stratum.required_extensions.clone(),
    };
    let issuer = CertificateIssuer::new(authority, config.stratum.certificate_validity, extensions);
    let wallet_keys = config.payout.wallet.read(config.network)?;
    let store = store::open(&config.store).await?;
    let node = Node::new(&config.bitcoind, config.network);

    let (desk, mut orders) = Desk::open();
    // Not yet a task: if the start fails, the socket ends with it.
    let mut served = Box::pin(control.serve(desk, draining.clone()));
    let templates = tokio::select! {
        templates = first_template(&node, config.bitcoind.template_refresh) => templates?,
        () = async { tokio::join!(&mut served, refuse_all(&mut orders)); } => return Ok(()),
        _ = draining.wait_for(|draining| *draining) => return Ok(()),
    };

    let session = store.begin_session().await?;
    let payer = open_payer(&config.payout, Arc::clone(&store), wallet_keys, Arc::new(node.client())).await?;
    let segments = Segments::of_session(session).context("the pool was started too often")?;
    // Before the first share, so that it has heard of all.
    let scheme = scheme(&config.payout)?;
    let books = Books::new(Arc::clone(&store), scheme).with_running_window().await?;
    let books = Arc::new(books);
    let (share_log, share_log_task) =
        ShareLog::start(Arc::clone(&store), Arc::clone(&books), session, segments.clone());
    let jobs = make_jobs(
        templates.clone(),
        JobMaker {
            script: payer.wallet().coinbase_script(),
            tag: config.stratum.pool_tag.clone(),
            segments: segments.clone(),
            session,
            made: 0,
        },
    )?;

    let policy = CreditingPolicy {
        period_ms: i64::try_from(config.payout.credit_period.as_millis())
            .context("payout.credit_minutes is too long")?,
        average: config.payout.fpps_average,
    };
    let network = Arc::new(NodeNetwork::new(Arc::new(node.client())));
    let crediting = Crediting::new(Arc::clone(&store), scheme, policy, network);
    // All shares of earlier runs lie before this one's first segment.
    let begin = ShareSeq::of_session(session, 0).context("the pool was started too often")?;
    crediting.turn_over(unix_time_ms(), begin).await.context("periods of work cannot be turned over")?;
    let spool = Spool::open(config.data_dir.join("blocks")).context("cannot keep found blocks")?;
    let left_over = spool.left_over().context("cannot list the blocks that are kept")?;
    let (found_blocks, solutions) = FoundBlocks::open(spool.clone());
    let (found_sender, found) = watch::channel(());
    let blocks_task = tokio::spawn(submit_all(
        node.clone(),
        Booking { store: Arc::clone(&store), books: Arc::clone(&books), segments: segments.clone() },
        spool.clone(),
        left_over,
        solutions,
        found_sender,
    ));
    let upkeep = Upkeep {
        store: Arc::clone(&store),
        books: Arc::clone(&books),
        spool,
        keep: config.payout.kept_shares().try_into().context("payout.pplns_window must not be zero")?,
    };
    let upkeep_task = tokio::spawn(upkeep.run(draining.clone()));
    let signals = Signals { templates, found, orders, draining: draining.clone() };
    let work = Work { crediting, segments };
    let settlement_task = tokio::spawn(settle_all(node, Arc::clone(&store), books, payer, work, signals));
    let control_task = tokio::spawn(served);

    let upstream = Upstream {
        network: config.network,
        policy: Arc::new(session_policy(&config.stratum, config.network)),
        // The session is a part of the prefix; after 65,536 starts it repeats, long after the jobs of the first.
        space: Arc::new(ExtranonceSpace::new(config.stratum.server_id, session as u16, MAX_CHANNELS)),
        jobs,
        share_log,
        found_blocks,
        scheme,
        store,
        draining,
    };
    let listener = socket.listen(BACKLOG).with_context(|| format!("cannot listen on {}", config.stratum.listen))?;
    announce(&listener, &miner_url);
    // Ends when the pool shuts down and all connections are closed; with them end the queues behind them.
    accept_all(listener, issuer, config.stratum.max_connections, upstream).await;
    info!("shutting down");
    let tasks = [
        ("share log", share_log_task),
        ("blocks", blocks_task),
        ("settlement", settlement_task),
        ("upkeep", upkeep_task),
        ("control socket", control_task),
    ];
    for (name, task) in tasks {
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

/// Tells whoever asks for something that the pool cannot do it yet, as long as it waits for its node.
async fn refuse_all(orders: &mut mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        order.answer(Err(Refusal::new(
            RefusalCode::Unavailable,
            "the pool waits for its node, see its log; nothing was done",
        )));
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
    segments: Segments,
    session: i64,
    made: u32,
}

impl JobMaker {
    fn make(&mut self, template: &Arc<Template>) -> Arc<Job> {
        let (value, commitment) = (template.coinbase_value, &template.witness_commitment);
        let coinbase = Coinbase::new(template.height, value, &self.script, commitment, &self.tag, self.made);
        let origin = JobOrigin {
            number: JobNumber(self.session << 32 | i64::from(self.made)),
            share_position: self.segments.cut(),
            made_at: Instant::now(),
            made_at_ms: unix_time_ms(),
        };
        self.made = self.made.checked_add(1).expect("a job a second makes 2^32 of them in 136 years");
        Arc::new(Job::new(Arc::clone(template), coinbase, origin))
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
    Ok(Scheme::new(config.scheme, window, fee).with_fee_growth(config.slice_fee_delta))
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
