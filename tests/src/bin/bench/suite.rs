//! The loads that are measured. Each has a pool and a node of its own, fresh, so that none sees what another left.

use std::time::Duration;

use anyhow::Context;
use bitcoind_regtest::Chain;
use serde::{Deserialize, Serialize};
use tests::load::{
    Connect, Load, MemoryMode, Paced, Pipelined, Report, Restart, Tip, connect, memory, paced, pipelined, restart,
    sockets_paced, sockets_tip,
    target::{Program, Target},
    tip,
};

/// Connections of the chart.
pub(crate) const STEPS: [usize; 6] = [1, 10, 100, 1_000, 4_000, 10_000];
/// Shares of one connection that wait for an answer, when they are sent as fast as they are taken.
const WINDOW: usize = 2_000;
/// Such shares of all connections together. A million shares a second that are on disk 20 ms later are 20,000 at a time: with
/// fewer than this, the window would be the limit, and with more the time until an answer only that of a longer queue.
const WINDOW_OF_ALL: usize = 50_000;
/// The transactions that fill a block's template, in weight units.
pub(crate) const FULL_WEIGHT: u64 = 4_000_000;

/// New tips of one measurement.
const TIPS: u32 = 11;
/// What stands in place of a pool's name where there is none.
pub(crate) const SOCKETS: &str = "sockets";

/// One load.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Scenario {
    /// Shares as fast as they are taken.
    Pipelined { connections: usize },
    /// So many shares a second of all channels together.
    Rate { connections: usize, per_second: u32 },
    /// So many shares a second of each channel.
    Paced { connections: usize, per_second: f64 },
    /// New connections, 64 at a time.
    Connect,
    /// New tips, with a mempool of such a weight.
    Tip { connections: usize, weight: u64 },
    /// Idle connections, and then with a share a second each.
    Memory { connections: usize },
    /// A restart while each channel sends a share a second.
    Restart { connections: usize },
}

/// The loads for which there are targets relative to the reference pool.
pub(crate) const COMPARED: [Scenario; 6] = [
    Scenario::Pipelined { connections: 100 },
    Scenario::Paced { connections: 1_000, per_second: 2.0 },
    Scenario::Connect,
    Scenario::Tip { connections: 5_000, weight: 0 },
    Scenario::Memory { connections: 4_000 },
    Scenario::Pipelined { connections: 1 },
];

/// The loads that have no counterpart: steps of the chart, and targets of their own.
pub(crate) fn alone() -> Vec<Scenario> {
    let steps = STEPS.map(|connections| Scenario::Pipelined { connections });
    let others = [
        Scenario::Rate { connections: 1_000, per_second: 20_000 },
        Scenario::Rate { connections: 100, per_second: 10_000 },
        Scenario::Rate { connections: 10_000, per_second: 10_000 },
        Scenario::Tip { connections: 100, weight: FULL_WEIGHT },
        Scenario::Memory { connections: 10_000 },
        Scenario::Restart { connections: 5_000 },
    ];
    steps.into_iter().chain(others).collect()
}

/// Sends the same messages between sockets without a pool, if that says something: what is due at certain times cannot be
/// gathered into fewer calls.
///
/// # Errors
///
/// If the system refuses that.
#[allow(clippy::print_stdout)]
pub(crate) fn run_sockets(scenario: Scenario, seconds: f64) -> anyhow::Result<Option<Run>> {
    let report = match scenario {
        Scenario::Paced { connections, per_second } => {
            sockets_paced(connections, per_second, Duration::try_from_secs_f64(seconds)?)?
        }
        Scenario::Tip { connections, .. } => sockets_tip(connections, TIPS)?,
        _ => return Ok(None),
    };
    println!("{report}");
    Ok(Some(Run { pool: SOCKETS.to_owned(), scenario, report }))
}

/// What was measured of one load on one pool.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Run {
    /// The pool, `adit` or `reference`; or [`SOCKETS`].
    pub(crate) pool: String,
    /// The load.
    pub(crate) scenario: Scenario,
    /// What was found.
    pub(crate) report: Report,
}

/// Starts a pool, loads it, and prints what was found.
///
/// # Errors
///
/// If the pool does not start, or does not do what the load needs.
#[allow(clippy::print_stdout)]
pub(crate) fn run(program: Program, scenario: Scenario, seconds: f64) -> anyhow::Result<Run> {
    // On regtest each second hash is a block, so shares go to a signet; blocks are quickly made on regtest only.
    let chain = if matches!(scenario, Scenario::Tip { .. }) { Chain::Regtest } else { Chain::Signet };
    let mut target = Target::start(program, chain).with_context(|| format!("start {program}"))?;
    let report = load(&mut target, scenario, Duration::try_from_secs_f64(seconds)?)?;
    println!("{program} {report}");
    Ok(Run { pool: program.to_string(), scenario, report })
}

fn load(target: &mut Target, scenario: Scenario, time: Duration) -> anyhow::Result<Report> {
    let warm_up = time / 3;
    let crowd = |target: &Target, connections| anyhow::Ok(Load { connections, ..target.load()? });
    match scenario {
        Scenario::Pipelined { connections } => {
            let window = (WINDOW_OF_ALL / connections).clamp(2, WINDOW);
            pipelined(&crowd(target, connections)?, &Pipelined { window, rate: None, warm_up, time })
        }
        Scenario::Rate { connections, per_second } => {
            let rate = Some(f64::from(per_second));
            pipelined(&crowd(target, connections)?, &Pipelined { window: WINDOW, rate, warm_up, time })
        }
        Scenario::Paced { connections, per_second } => {
            paced(&crowd(target, connections)?, &Paced { per_second, warm_up, time })
        }
        Scenario::Connect => connect(&target.load()?, &Connect { keep: false, warm_up, time }),
        Scenario::Tip { connections, weight } => {
            if weight > 0 {
                target.fill_mempool(weight)?;
            }
            let load = crowd(target, connections)?;
            let node = target.node();
            tip(&load, &Tip { repeat: TIPS, ..Tip::new(node.rpc_url(), node.cookie_file()) })
        }
        Scenario::Memory { connections } => {
            memory(&crowd(target, connections)?, &MemoryMode { time: 3 * time, ..MemoryMode::default() })
        }
        Scenario::Restart { connections } => {
            restart(&crowd(target, connections)?, &Restart { per_second: 1.0, time }, target)
        }
    }
}
