//! One run of the pool: starts its tasks in the order in which they need each other, and ends them in reverse.

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use anyhow::{Context, bail};
use bitcoin::Network;
use payouts::{
    books::Books,
    crediting::{Crediting, CreditingPolicy, NodeNetwork},
    payout::Payer,
    scheme::{PoolFee, rule::Scheme},
    share::ShareSeq,
    store::Store,
    wallet::{Keys, WalletError, settled_block},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    sync::{Mutex, mpsc, watch},
    task::spawn_blocking,
    time::sleep,
};
use tracing::{error, info, warn};

use crate::{
    accounting::{
        block_news::BlockNews,
        blocks::{Booking, FoundBlocks, Spool, submit_all},
        kept_blocks::KeptBlocks,
        metrics::{SettlementMetrics, ShareLogMetrics},
        registry::{Registration, Registry},
        segments::Segments,
        settlement::{Payments, Signals, Work, settle_all},
        share_log::{ShareLog, unix_time_ms},
        upkeep::Upkeep,
    },
    announcement,
    api::{ApiPort, App, Live},
    config::{AccountsConfig, Config, PayoutConfig},
    control::ControlSocket,
    descriptors,
    events::Source,
    history::{
        recorder::{Reach, Recorder},
        tallies::Tallies,
    },
    jobs::{JobMaker, make_jobs},
    lock::DataLock,
    metrics::Metrics,
    mining::extranonce::ExtranonceSpace,
    operations::{Desk, Order, Port, Refusal, RefusalCode, open_payer, token},
    pages::{self, About, Pages},
    register::Register,
    reload::{Loaded, Outlets, Reloader, SetLog},
    screening::ListReader,
    service, store,
    stratum::{
        addresses::{AddressLimits, Addresses},
        listener::{CertificateIssuer, Extensions, accept_all},
        metrics::PortMetrics,
        roster::Roster,
        turns::Turns,
        upstream::{Terms, Upstream},
    },
    tasks::{Ending, Part, Tasks},
    template::{
        LatestTemplate,
        bitcoind::{OnNewTip, READY_POLL, follow_templates, wait_until_ready},
        nodes::Nodes,
    },
};

/// Connections that the system may hold ready to be accepted.
const BACKLOG: u32 = 1024;
/// Channels that may be open at a time, of all connections together.
const MAX_CHANNELS: usize = 1_000_000;

/// Runs the pool until SIGINT or SIGTERM, then acknowledges what is on disk and closes.
///
/// # Errors
///
/// If something is wrong that waiting does not mend: keys, the database, the port, another pool on the same data. And if a
/// part of it has died that it cannot be without; then too what is on disk is acknowledged first.
pub async fn run(loaded: Loaded, set_log: SetLog) -> anyhow::Result<()> {
    let ending = Ending::default();
    end_on_signal(ending.clone())?;
    run_until(&ending, loaded, set_log).await?;
    ending.fault().map_or(Ok(()), |fault| Err(fault.into()))
}

async fn run_until(ending: &Ending, loaded: Loaded, set_log: SetLog) -> anyhow::Result<()> {
    let mut config = loaded.config.clone();
    if config.network == Network::Bitcoin {
        config.refuse_sample_passwords()?;
    }
    let mut draining = ending.watch();
    let Some(_lock) = DataLock::take(&config.data_dir)? else {
        bail!("another adit is running with {}", config.data_dir.display());
    };
    let control = ControlSocket::bind(&config.data_dir)?;
    let socket = bind(config.stratum.listen)?;
    // With port 0 the system chooses one.
    config.stratum.listen = socket.local_addr()?;
    let api_port = ApiPort::open(&config.api).await?;
    let authority = config.stratum.authority_key()?;
    let miner_url = config.stratum.miner_url(&authority.public_key());
    let extensions = Extensions {
        supported: config.stratum.supported_extensions.clone(),
        required: config.stratum.required_extensions.clone(),
    };
    let validity = config.stratum.certificate_validity;
    let issuer = CertificateIssuer::new(authority, validity, extensions, SystemTime::now())
        .with_max_frame_bytes(config.limits.frame_bytes);
    let wallet_keys = config.payout.wallet.read(config.network)?;
    let store = store::open(&config.store).await?;
    let nodes = Nodes::new(&config.bitcoind, config.network);
    if let Some(settled) = settled_block(&*store).await.context("the stored wallet cannot be read")? {
        nodes.expect_block(settled);
    }

    let max_connections = descriptors::fit(config.stratum.max_connections);
    let addresses = Arc::new(Addresses::new(AddressLimits::of(&config, max_connections)));
    let (terms_sender, terms) = watch::channel(Arc::new(Terms::of(&config)));
    let (payments_sender, payment_settings) = watch::channel(Arc::new(config.clone()));
    let certificate = api_port.certificate().cloned();
    let outlets = Outlets {
        set_log,
        addresses: Arc::clone(&addresses),
        terms: terms_sender,
        payments: payments_sender,
        certificate: certificate.clone(),
    };
    let reloader = Arc::new(Reloader::new(loaded, outlets));
    let ready = Arc::new(OnceLock::new());
    let mut metrics = Metrics::of_run();
    let mut tasks = Tasks::new(ending.clone(), &mut metrics);
    reload_on_hangup(&mut tasks, Arc::clone(&reloader), Arc::clone(&ready), draining.clone())?;
    issuer.register(&mut metrics);
    addresses.register(&mut metrics);
    let port_metrics = Arc::new(PortMetrics::register(&mut metrics));
    let share_log_metrics = ShareLogMetrics::register(&mut metrics);
    let pulse = share_log_metrics.pulse().clone();
    nodes.register(&mut metrics);
    let settlement_metrics = SettlementMetrics::default();
    settlement_metrics.register(&mut metrics);
    let reach = Reach::default();
    reach.register(&mut metrics);
    let metrics = Arc::new(metrics);
    let roster = Arc::<Roster>::default();
    let port = Port {
        addresses: Arc::clone(&addresses),
        roster: Arc::clone(&roster),
        metrics: Arc::clone(&metrics),
        reloader: Some(reloader),
    };

    service::tell_status("waits for its node and the first template");
    let (desk, mut orders) = Desk::open(port, Arc::clone(&store));
    token::take_up_first(&*store, &config.data_dir).await?;
    let live = Live::new(metrics, config.network, config.bitcoind.template_refresh).with_roster(Arc::clone(&roster));
    let kept_blocks =
        KeptBlocks::open(config.data_dir.join("blocks").join("kept")).context("cannot keep found blocks")?;
    let live = live.with_kept_blocks(kept_blocks.clone());
    let live = live.with_folder(config.data_dir.clone()).with_certificate(certificate);
    let live = Arc::new(live);
    let news = BlockNews::default();
    let source = Source {
        metrics: Arc::clone(&port_metrics),
        roster: Arc::clone(&roster),
        store: Arc::clone(&store),
        news: news.clone(),
    };
    let (events, ended) = (Arc::clone(&live.events), draining.clone());
    tasks.restarted(Part::Events, move || source.clone().tell(Arc::clone(&events), ended.clone()));
    let register = Arc::new(Register::new(Arc::clone(&store), config.export.clone()));
    let app = App::new(Arc::clone(&store), desk.clone(), Arc::clone(&live), Arc::clone(&register), &config.api);
    let has_tls = config.api.tls.is_some();
    let about = About { miner_url: miner_url.clone(), has_tls, settings: payment_settings.clone() };
    let pages = Pages::new(Arc::clone(&store), desk.clone(), Arc::clone(&live), register, about);
    announce_api(&api_port.url()?);
    let router = app.router(pages.router(), pages::not_found);
    tasks.vital("the API", tokio::spawn(api_port.serve(router, draining.clone())));
    // Not yet a task: if the start fails, the socket ends with it.
    let mut served = Box::pin(control.serve(desk, draining.clone()));
    let begun = async {
        let templates = first_template(&nodes, &config, ending).await?;
        anyhow::Ok((templates, payer_of_a_ready_node(&config, &store, &wallet_keys, &nodes).await?))
    };
    let (templates, (payer, lists)) = tokio::select! {
        begun = begun => begun?,
        () = async { tokio::join!(&mut served, refuse_all(&mut orders)); } => return Ok(()),
        _ = draining.wait_for(|draining| *draining) => return Ok(()),
    };

    let (shown, newest, ended) = (Arc::clone(&live), templates.clone(), draining.clone());
    tasks.restarted(Part::Newest, move || Arc::clone(&shown).follow(newest.clone(), ended.clone()));
    let session = store.begin_session().await?;
    let segments = Segments::of_session(session).context("the pool was started too often")?;
    // Before the first share, so that it has heard of all.
    let scheme = scheme(&config.payout)?;
    let books = Books::new(Arc::clone(&store), scheme).with_running_window().await?;
    let books = Arc::new(books);
    live.open_books(Arc::clone(&books));
    let (share_log, share_log_task) =
        ShareLog::start(Arc::clone(&store), Arc::clone(&books), session, segments.clone(), share_log_metrics);
    let (script, tag) = (payer.wallet().coinbase_script(), config.stratum.pool_tag.clone());
    let ahead_on = config.stratum.job_ahead.then_some(config.network);
    let maker = JobMaker::new(script, tag, segments.clone(), session, ahead_on);
    tasks.vital("the share log", share_log_task);
    let (jobs, jobs_task) = make_jobs(templates.clone(), maker, config.bitcoind.template_refresh)?;
    tasks.vital("jobs", jobs_task);

    let policy = CreditingPolicy {
        period_ms: i64::try_from(config.payout.credit_period.as_millis())
            .context("payout.credit_minutes is too long")?,
        average: config.payout.fpps_average,
    };
    let network = Arc::new(NodeNetwork::new(Arc::new(nodes.client())));
    let crediting = Crediting::new(Arc::clone(&store), scheme, policy, network);
    // All shares of earlier runs lie before this one's first segment.
    let begin = ShareSeq::of_session(session, 0).context("the pool was started too often")?;
    crediting.turn_over(unix_time_ms(), begin).await.context("periods of work cannot be turned over")?;
    let spool = Spool::open(config.data_dir.join("blocks"))
        .context("cannot keep found blocks")?
        .with_kept(kept_blocks)
        .with_metrics(settlement_metrics.blocks.clone())
        .with_news(news);
    let left_over = spool.left_over().context("cannot list the blocks that are kept")?;
    let (found_blocks, solutions) = FoundBlocks::open(spool.clone());
    let (found_sender, found) = watch::channel(());
    let submitting = submit_all(
        nodes.clone(),
        Booking { store: Arc::clone(&store), books: Arc::clone(&books), segments: segments.clone() },
        spool.clone(),
        left_over,
        solutions,
        found_sender,
    );
    tasks.vital("blocks", tokio::spawn(submitting));
    let upkeep = Upkeep {
        segments: segments.clone(),
        store: Arc::clone(&store),
        books: Arc::clone(&books),
        spool,
        keep: config.payout.kept_shares().try_into().context("payout.pplns_window must not be zero")?,
    };
    let recorder = Recorder { segments: segments.clone(), store: Arc::clone(&store), reach };
    let tallies = Tallies { roster: Arc::clone(&roster), store: Arc::clone(&store) };
    let signals = Signals { templates, found, orders, settings: payment_settings, draining: draining.clone() };
    let work = Work { crediting, segments, metrics: settlement_metrics };
    let registry = Registry::load(&*store, config.network, registration(config.accounts)).await;
    let registry = Arc::new(registry.context("the accounts cannot be read")?);
    let settlement =
        settle_all(nodes, Arc::clone(&store), books, Payments { payer, lists }, work, Arc::clone(&registry), signals);
    tasks.vital("settlement", tokio::spawn(settlement));
    let ended = draining.clone();
    tasks.restarted(Part::Upkeep, move || upkeep.clone().run(ended.clone()));
    let ended = draining.clone();
    tasks.restarted(Part::History, move || recorder.clone().run(ended.clone()));
    let ended = draining.clone();
    tasks.restarted(Part::Tallies, move || tallies.clone().run(ended.clone()));
    tasks.vital("the control socket", tokio::spawn(served));

    let counts = Arc::clone(&port_metrics);
    let watchdog = service::keep_watchdog(pulse, draining.clone(), move || counts.summary());
    let upstream = Upstream {
        registry,
        terms,
        // The session is a part of the prefix; after 65,536 starts it repeats, long after the jobs of the first.
        space: Arc::new(ExtranonceSpace::new(config.stratum.server_id, session as u16, MAX_CHANNELS)),
        jobs,
        share_log,
        found_blocks,
        scheme,
        store,
        draining,
        turns: Arc::new(Turns::new(Turns::suited())),
        metrics: port_metrics,
        roster,
    };
    let listener = socket.listen(BACKLOG).with_context(|| format!("cannot listen on {}", config.stratum.listen))?;
    announce(&listener, &miner_url);
    service::tell_ready(ready.get_or_init(|| format!("serves miners at {}", config.stratum.listen)));
    tasks.vital("the watchdog", tokio::spawn(watchdog));
    // Ends when the pool shuts down and all connections are closed; with them end the queues behind them.
    accept_all(listener, issuer, addresses, upstream).await;
    info!("shutting down");
    tasks.end().await;
    info!("ended");
    Ok(())
}

/// Waits for the node and its first template: until there is one, nobody may connect.
async fn first_template(
    nodes: &Nodes,
    config: &Config,
    ending: &Ending,
) -> anyhow::Result<watch::Receiver<LatestTemplate>> {
    wait_until_ready(nodes).await;
    let on_new_tip = if config.stratum.job_ahead { OnNewTip::EmptyFirst } else { OnNewTip::Wait };
    let mut templates = follow_templates(nodes, config.bitcoind.template_refresh, on_new_tip, ending);
    templates.wait_for(Option::is_some).await.context("templates have ended")?;
    Ok(templates)
}

/// Opens the payer. A new wallet asks the node for its tip, and the node may have no time for it, just when it was ready: that
/// is waited for as the node itself is.
async fn payer_of_a_ready_node(
    config: &Config,
    store: &Arc<dyn Store>,
    keys: &Keys,
    nodes: &Nodes,
) -> anyhow::Result<(Payer, ListReader)> {
    loop {
        match open_payer(config, Arc::clone(store), keys.clone(), Arc::new(nodes.client())).await {
            Err(error) if matches!(error.downcast_ref(), Some(WalletError::Node(_))) => {
                warn!(%error, "the wallet waits for its node");
                sleep(READY_POLL).await;
            }
            opened => return opened,
        }
    }
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

/// Tells a person where miners connect, also when the log is off.
#[allow(clippy::print_stdout)]
fn announce(listener: &TcpListener, miner_url: &str) {
    let Ok(address) = listener.local_addr() else { return };
    println!("{}", announcement::text(address, miner_url));
    if io::stdout().is_terminal()
        && let Some(code) = announcement::qr_code(miner_url)
    {
        println!("{code}\n");
    }
}

/// Tells a person where operators are heard, which is before miners are.
#[allow(clippy::print_stdout)]
fn announce_api(url: &str) {
    println!("The dashboard is at {url}/, and the API at {url}/api/docs");
}

fn registration(config: AccountsConfig) -> Registration {
    if config.open_registration { Registration::Open } else { Registration::Closed }
}

fn scheme(config: &PayoutConfig) -> anyhow::Result<Scheme> {
    let window = config.pplns_window.try_into().context("payout.pplns_window must not be zero")?;
    let fee = PoolFee::from_basis_points(config.fee_bp).context("payout.fee_bp is over 10,000")?;
    Ok(Scheme::new(config.scheme, window, fee).with_fee_growth(config.slice_fee_delta))
}

/// Listens for SIGINT and SIGTERM. The first begins the shutdown.
fn end_on_signal(ending: Ending) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        ending.begin();
    });
    Ok(())
}

/// Reads the config file again at each SIGHUP. `ready` is what the service manager was told when miners could connect; before that, a reload is
/// nothing to it.
fn reload_on_hangup(
    tasks: &mut Tasks,
    reloader: Arc<Reloader>,
    ready: Arc<OnceLock<String>>,
    draining: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let hangup = Arc::new(Mutex::new(hangup));
    tasks.restarted(Part::Hangups, move || {
        let (hangup, reloader, ready) = (Arc::clone(&hangup), Arc::clone(&reloader), Arc::clone(&ready));
        let mut draining = draining.clone();
        async move {
            let mut hangup = hangup.lock().await;
            loop {
                tokio::select! {
                    Some(()) = hangup.recv() => {}
                    _ = draining.wait_for(|draining| *draining) => return,
                }
                let status = ready.get();
                if status.is_some() {
                    service::tell_reloading();
                }
                let reloading = Arc::clone(&reloader);
                if let Err(error) = spawn_blocking(move || reloading.reload_and_tell()).await {
                    error!(%error, "the configuration was not reloaded");
                }
                if let Some(status) = status {
                    service::tell_ready(status);
                }
            }
        }
    });
    Ok(())
}
