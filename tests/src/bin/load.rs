//! Loads a Stratum V2 pool and reports what that cost: `load pipelined --start adit`, or
//! `load paced stratum2+tcp://host:port/KEY --user address.worker --pid PID`.

use std::{fs, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use bitcoind_regtest::{Chain, Node};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tests::{
    load::{
        ChannelKind, Connect, Load, MemoryMode, Paced, Pipelined, Report, Restart, SoakCounts, Tip, connect, memory,
        paced, pipelined, restart, soak,
        target::{Program, Target},
        tip,
    },
    miner::PoolAddress,
};

#[derive(Parser)]
#[command(about = "Loads a Stratum V2 pool and reports what that cost")]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct Common {
    /// The pool, stratum2+tcp://host:port/AUTHORITY_KEY; without the key, its certificate is not checked
    #[arg(long, global = true, conflicts_with = "start")]
    url: Option<PoolAddress>,
    /// Starts this pool instead, with a node of its own: adit or reference
    #[arg(long, global = true, value_name = "POOL")]
    start: Option<Program>,
    /// The chain of the node that is started
    #[arg(long, global = true, value_enum, default_value_t = ChainName::Signet)]
    chain: ChainName,
    /// Fills the mempool of the node that is started, on regtest, with transactions of so much weight
    #[arg(long, global = true, requires = "start")]
    fill_weight: Option<u64>,
    /// Whom to credit, such as address.worker{}, where {} becomes the channel's number
    #[arg(long, global = true)]
    user: Option<String>,
    /// The server's process, for its CPU time and memory
    #[arg(long, global = true)]
    pid: Option<u32>,
    /// How many connections
    #[arg(long, global = true, default_value_t = 1)]
    connections: usize,
    /// How many channels on each of them
    #[arg(long, global = true, default_value_t = 1)]
    channels: usize,
    /// What channels are opened
    #[arg(long, global = true, value_enum, default_value_t = KindName::Standard)]
    kind: KindName,
    /// How long it is measured
    #[arg(long, global = true, default_value_t = 10.0)]
    seconds: f64,
    /// How long shares are sent before that
    #[arg(long, global = true, default_value_t = 3.0)]
    warm_up: f64,
    /// Threads of this client
    #[arg(long, global = true, default_value_t = 1)]
    threads: usize,
    /// Connections that are being opened at one time
    #[arg(long, global = true, default_value_t = 64)]
    in_flight: usize,
    /// Local addresses to connect from, such as 127.0.0.2,127.0.0.3
    #[arg(long, global = true, value_delimiter = ',')]
    from: Vec<IpAddr>,
    /// Writes the report to this file as JSON
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Mode {
    /// Sends shares as fast as the pool takes them
    Pipelined {
        /// Shares of each connection that wait for an answer; below 4096
        #[arg(long, default_value_t = 2_000)]
        window: usize,
        /// Shares a second of all connections together
        #[arg(long)]
        rate: Option<f64>,
    },
    /// Sends so many shares a second on each channel, evenly
    Paced {
        /// Shares a second of each channel
        #[arg(long, default_value_t = 2.0)]
        per_second: f64,
    },
    /// Opens connections, --in-flight at a time, and closes each one as soon as its channels have jobs
    Connect {
        /// Opens --connections and keeps them
        #[arg(long)]
        keep: bool,
    },
    /// Mines blocks without transactions while all channels wait, and measures how each tip reaches them
    Tip {
        /// The RPC server of the pool's node, unless the node is started too
        #[arg(long, value_name = "URL")]
        node_rpc: Option<String>,
        /// The node's cookie
        #[arg(long, value_name = "FILE")]
        node_cookie: Option<PathBuf>,
        /// How many blocks
        #[arg(long, default_value_t = 5)]
        repeat: u32,
        /// Seconds between two of them, in which full jobs are waited for
        #[arg(long, default_value_t = 3.0)]
        settle: f64,
    },
    /// Looks at the server's memory: before, with idle connections, with busy ones, and afterwards
    Memory {
        /// Shares a second of each channel when they are busy
        #[arg(long, default_value_t = 1.0)]
        per_second: f64,
        /// Seconds before each look
        #[arg(long, default_value_t = 3.0)]
        settle: f64,
    },
    /// Restarts an Adit that was started by --start while shares come, and waits until all channels are back
    Restart {
        /// Shares a second of each channel
        #[arg(long, default_value_t = 1.0)]
        per_second: f64,
    },
    /// Sends shares evenly for long, reconnects whatever happens, and counts everything
    Soak {
        /// Shares a second of each channel
        #[arg(long, default_value_t = 1.0)]
        per_second: f64,
        /// Seconds between two lines of counts
        #[arg(long, default_value_t = 10.0)]
        interval: f64,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum KindName {
    Standard,
    Extended,
}

#[derive(Clone, Copy, ValueEnum)]
enum ChainName {
    Regtest,
    Signet,
}

impl Common {
    fn start(&self) -> anyhow::Result<Option<Target>> {
        let chain = match self.chain {
            ChainName::Regtest => Chain::Regtest,
            ChainName::Signet => Chain::Signet,
        };
        let Some(program) = self.start else { return Ok(None) };
        let mut target = Target::start(program, chain)?;
        if let Some(weight) = self.fill_weight {
            target.fill_mempool(weight)?;
        }
        Ok(Some(target))
    }

    fn load(&self, target: Option<&Target>) -> anyhow::Result<Load> {
        let mut load = match target {
            Some(target) => target.load()?,
            None => {
                let pool = self.url.clone().context("neither --url nor --start names a pool")?;
                Load::new(pool, self.user.clone().context("--user says whom to credit")?)
            }
        };
        load.user = self.user.clone().unwrap_or(load.user);
        load.server_pid = self.pid.or(load.server_pid);
        load.kind = match self.kind {
            KindName::Standard => ChannelKind::Standard,
            KindName::Extended => ChannelKind::Extended,
        };
        (load.connections, load.channels, load.threads) = (self.connections, self.channels, self.threads);
        (load.in_flight, load.from) = (self.in_flight, self.from.clone());
        Ok(load)
    }
}

fn run(Arguments { mode, common }: &Arguments) -> anyhow::Result<Report> {
    let mut target = common.start()?;
    let load = common.load(target.as_ref())?;
    let (time, warm_up) = (Duration::try_from_secs_f64(common.seconds)?, Duration::try_from_secs_f64(common.warm_up)?);
    match *mode {
        Mode::Pipelined { window, rate } => pipelined(&load, &Pipelined { window, rate, warm_up, time }),
        Mode::Paced { per_second } => paced(&load, &Paced { per_second, warm_up, time }),
        Mode::Connect { keep } => connect(&load, &Connect { keep, warm_up, time }),
        Mode::Tip { ref node_rpc, ref node_cookie, repeat, settle } => {
            let node = target.as_ref().map(Target::node);
            let rpc = node_rpc.clone().or_else(|| node.map(Node::rpc_url)).context("--node-rpc names the node")?;
            let cookie = node_cookie.clone().or_else(|| node.map(Node::cookie_file));
            let cookie = cookie.context("--node-cookie names the node's cookie")?;
            tip(&load, &Tip { repeat, settle: Duration::try_from_secs_f64(settle)?, ..Tip::new(rpc, cookie) })
        }
        Mode::Memory { per_second, settle } => {
            memory(&load, &MemoryMode { per_second, time, settle: Duration::try_from_secs_f64(settle)? })
        }
        Mode::Restart { per_second } => {
            let target = target.as_mut().context("--start adit makes one that can be restarted")?;
            restart(&load, &Restart { per_second, time }, target)
        }
        Mode::Soak { per_second, interval } => {
            soak(&load, per_second, time, Duration::try_from_secs_f64(interval)?, print_counts)
        }
    }
}

fn print_counts(counts: SoakCounts) {
    let SoakCounts { open, submitted, acknowledged, refused, unknown, losses } = counts;
    println!(
        "{open} open, {submitted} sent, {acknowledged} acknowledged, {refused} refused, {unknown} unknown, {losses} lost"
    );
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let report = run(&arguments)?;
    print!("{report}");
    if let Some(file) = &arguments.common.json {
        let json = serde_json::to_string_pretty(&report)?;
        fs::write(file, json + "\n").with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}
