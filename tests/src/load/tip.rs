//! The mode that measures new tips: from the node's notice of a block to each channel's `SetNewPrevHash` and to its first
//! job with transactions.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bitcoin::{BlockHash, hashes::Hash};
use bitcoincore_rpc::{
    Client, RpcApi,
    jsonrpc::{self, simple_http::SimpleHttpTransport},
};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::{
    ChannelKind, Load, Percentiles, Report, Tips,
    connection::Plan,
    crew::{Crew, Orders, Stage},
    crowd::Stay,
    pace::Pace,
    shares::Meter,
    tally::{TipSeen, histogram},
};

/// How long a call to the node may take: on a signet a block is seconds of work.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long one wait for a tip lasts, in milliseconds, before the thread looks whether it is still wanted.
const WAIT_MS: u64 = 1_000;
/// How many nonces a call tries: more than any block here needs.
const MAX_TRIES: u64 = 1 << 40;
/// How often a block is tried to be made. On a signet one call can end without any.
const MINING_ATTEMPTS: u32 = 100;

/// New tips, while all channels wait.
#[derive(Clone, Debug)]
pub struct Tip {
    /// The RPC server of the pool's node, `http://host:port`.
    pub node_rpc: String,
    /// The node's cookie.
    pub node_cookie: PathBuf,
    /// How many tips there are.
    pub repeat: u32,
    /// How long each of them is waited for, with jobs that follow it.
    pub settle: Duration,
}

impl Tip {
    /// Five tips on this node.
    pub fn new(node_rpc: impl Into<String>, node_cookie: impl Into<PathBuf>) -> Self {
        let (node_rpc, node_cookie) = (node_rpc.into(), node_cookie.into());
        Self { node_rpc, node_cookie, repeat: 5, settle: Duration::from_secs(3) }
    }
}

/// Mines blocks without transactions, so that a full mempool stays full, and measures what each does.
///
/// A standard job does not show whether it holds transactions. So one more connection with an extended channel observes
/// whether the job that a tip starts with does; if not, it is the next one.
///
/// # Errors
///
/// If not all connections can be opened, the node refuses, or the server's process is gone.
pub fn tip(load: &Load, mode: &Tip) -> anyhow::Result<Report> {
    let plan = Arc::new(Plan { notes_tips: true, ..Plan::clone(&*load.plan()?) });
    let node = connect_node(&mode.node_rpc, &mode.node_cookie)?;
    let Load { connections, threads, in_flight, .. } = *load;
    let orders = Orders { connections, threads, in_flight, stay: Stay::Once, pace: Pace::Idle };
    let crew = Crew::start(&plan, orders);
    let observers_plan = Arc::new(Plan { kind: ChannelKind::Extended, channels: 1, ..Plan::clone(&plan) });
    let observer = Crew::start(&observers_plan, Orders { connections: 1, threads: 1, ..orders });
    crew.wait_until_open(load.open_timeout())?;
    observer.wait_until_open(load.open_timeout())?;
    let watch = Watch::start(connect_node(&mode.node_rpc, &mode.node_cookie)?, crew.shared.origin)?;
    [&crew, &observer].into_iter().for_each(|crew| crew.enter(Stage::Measure));
    thread::sleep(mode.settle);
    let meter = Meter::start(load.server_pid)?;
    for _ in 0..mode.repeat {
        mine(&node)?;
        thread::sleep(mode.settle);
    }
    let metered = meter.stop()?;
    let notices = watch.stop()?;
    let sums = crew.finish()?;
    let observed = observer.finish()?.measured.tips;
    let tips = add_up(&notices, &sums.measured.tips, &observed, load.kind);
    let units = sums.measured.tips.iter().map(|tip| tip.activated_us.len() as u64).sum();
    Ok(Report {
        seconds: metered.time.as_secs_f64(),
        client_cpu_seconds: metered.client_cpu.as_secs_f64(),
        server: metered.server_cost(units, "channel and tip"),
        tips: Some(tips),
        ..load.report("tip")
    }
    .with_troubles(&sums))
}

/// When the node told of a tip.
#[derive(Clone, Copy, Debug)]
struct Notice {
    tip: BlockHash,
    at_us: u64,
}

/// A thread that waits for the node's tips.
struct Watch {
    wanted: Arc<AtomicBool>,
    thread: thread::JoinHandle<anyhow::Result<Vec<Notice>>>,
}

impl Watch {
    /// Starts to wait for what follows the present tip. Times count from `origin`.
    fn start(node: Client, origin: Instant) -> anyhow::Result<Self> {
        let wanted = Arc::new(AtomicBool::new(true));
        let mut known: BlockHash = node.call("getbestblockhash", &[])?;
        let thread = thread::spawn({
            let wanted = Arc::clone(&wanted);
            move || {
                let mut notices = Vec::new();
                while wanted.load(Ordering::Relaxed) {
                    // With the known tip, so that none that comes between two calls is missed.
                    let answer: Value = node.call("waitfornewblock", &[json!(WAIT_MS), json!(known)])?;
                    let at_us = u64::try_from(origin.elapsed().as_micros())?;
                    let tip: BlockHash = answer["hash"].as_str().context("the node names no hash")?.parse()?;
                    if tip != known {
                        notices.push(Notice { tip, at_us });
                        known = tip;
                    }
                }
                Ok(notices)
            }
        });
        Ok(Self { wanted, thread })
    }

    fn stop(self) -> anyhow::Result<Vec<Notice>> {
        self.wanted.store(false, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the thread that waits for tips has panicked"))?
    }
}

fn connect_node(url: &str, cookie_file: &Path) -> anyhow::Result<Client> {
    let cookie = fs::read_to_string(cookie_file).with_context(|| format!("read {}", cookie_file.display()))?;
    let transport = SimpleHttpTransport::builder().url(url)?.timeout(CALL_TIMEOUT).cookie_auth(cookie.trim()).build();
    Ok(Client::from_jsonrpc(jsonrpc::Client::with_transport(transport)))
}

/// Makes a block, on regtest without the mempool's transactions. On a signet the node's search for such a block is too
/// short, so there it takes what the mempool holds.
fn mine(node: &Client) -> anyhow::Result<()> {
    // A script that anybody can spend: the coins are of no use.
    let script = "raw(51)";
    let chain: Value = node.call("getblockchaininfo", &[])?;
    if chain["chain"] == "regtest" {
        node.call::<Value>("generateblock", &[json!(script), json!([])])?;
        return Ok(());
    }
    for _ in 0..MINING_ATTEMPTS {
        let mined: Vec<BlockHash> = node.call("generatetodescriptor", &[json!(1), json!(script), json!(MAX_TRIES)])?;
        if !mined.is_empty() {
            return Ok(());
        }
    }
    bail!("the node finds no block")
}

/// Brings together what the node, the channels and the observer have seen of each tip.
fn add_up(notices: &[Notice], seen: &[TipSeen], observed: &[TipSeen], kind: ChannelKind) -> Tips {
    let mut tips = Tips { channels_least: usize::MAX, ..Tips::default() };
    let [mut to_first, mut to_last, mut across, mut spread, mut to_first_full, mut to_last_full] =
        std::array::from_fn(|_| histogram());
    let mut all_full = true;
    for notice in notices {
        let of = |seen: &[TipSeen]| seen.iter().find(|tip| tip.prev_hash == notice.tip.to_byte_array()).cloned();
        let Some(tip) = of(seen) else { continue };
        let (Some(&first), Some(&last)) = (tip.activated_us.iter().min(), tip.activated_us.iter().max()) else {
            continue;
        };
        tips.count += 1;
        tips.channels_least = tips.channels_least.min(tip.activated_us.len());
        record(&mut to_first, first.saturating_sub(notice.at_us));
        record(&mut to_last, last.saturating_sub(notice.at_us));
        record(&mut across, last - first);
        tip.activated_us.iter().for_each(|at_us| record(&mut spread, at_us - first));
        let full = full_times(&tip, of(observed).as_ref(), kind);
        let ends = (full.iter().min(), full.iter().max());
        let (Some(&first_full), Some(&last_full)) = ends else {
            all_full = false;
            continue;
        };
        all_full &= full.len() >= tip.activated_us.len();
        record(&mut to_first_full, first_full.saturating_sub(notice.at_us));
        record(&mut to_last_full, last_full.saturating_sub(notice.at_us));
    }
    tips.channels_least = if tips.count == 0 { 0 } else { tips.channels_least };
    tips.node_to_first_us = Percentiles::of(&to_first);
    tips.node_to_last_us = Percentiles::of(&to_last);
    tips.first_to_last_us = Percentiles::of(&across);
    tips.spread_us = Percentiles::of(&spread);
    tips.node_to_first_full_us = (!to_first_full.is_empty()).then(|| Percentiles::of(&to_first_full));
    tips.node_to_last_full_us = (all_full && !to_last_full.is_empty()).then(|| Percentiles::of(&to_last_full));
    tips
}

/// Returns when each channel got its first job with transactions on a tip.
fn full_times(tip: &TipSeen, observed: Option<&TipSeen>, kind: ChannelKind) -> Vec<u64> {
    if kind == ChannelKind::Extended {
        return tip.full_us.clone();
    }
    match observed.map(|observed| (observed.activated_us.first(), observed.full_us.first())) {
        Some((activated, Some(full))) if activated == Some(full) => tip.activated_us.clone(),
        Some((_, Some(_))) => tip.second_us.clone(),
        _ => Vec::new(),
    }
}

fn record(histogram: &mut Histogram<u64>, us: u64) {
    histogram.saturating_record(us.max(1));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TIP: [u8; 32] = [4; 32];

    fn notice(at_us: u64) -> Notice {
        Notice { tip: BlockHash::from_byte_array(TIP), at_us }
    }

    fn seen(activated_us: &[u64], full_us: &[u64], second_us: &[u64]) -> TipSeen {
        let [activated_us, full_us, second_us] = [activated_us, full_us, second_us].map(<[u64]>::to_vec);
        TipSeen { prev_hash: TIP, activated_us, full_us, second_us }
    }

    #[test]
    fn times_of_a_tip_are_from_the_nodes_notice_to_first_and_last() {
        let tips = add_up(&[notice(1_000)], &[seen(&[1_500, 1_900, 1_700], &[], &[])], &[], ChannelKind::Extended);
        assert_eq!((tips.count, tips.channels_least), (1, 3));
        let maxima = [tips.node_to_first_us, tips.node_to_last_us, tips.first_to_last_us, tips.spread_us];
        assert_eq!(maxima.map(|times| times.max), [500, 900, 400, 400]);
        assert_eq!(tips.spread_us.count, 3);
        assert!(tips.node_to_first_full_us.is_none() && tips.node_to_last_full_us.is_none());
    }

    #[test]
    fn a_tip_that_only_the_load_or_only_the_node_has_seen_does_not_count() {
        assert_eq!(add_up(&[notice(1)], &[], &[], ChannelKind::Standard), Tips::default());
        assert_eq!(add_up(&[], &[seen(&[5], &[], &[])], &[], ChannelKind::Standard), Tips::default());
    }

    #[test]
    fn full_job_of_a_standard_channel_is_the_first_or_the_second_as_the_observer_sees_it() {
        let standard = seen(&[1_500, 1_600], &[], &[2_500, 2_700]);
        let last_full = |observed: &TipSeen| {
            let observed = std::slice::from_ref(observed);
            let tips = add_up(&[notice(1_000)], std::slice::from_ref(&standard), observed, ChannelKind::Standard);
            tips.node_to_last_full_us.map(|times| times.max)
        };
        assert_eq!(last_full(&seen(&[1_550], &[1_550], &[])), Some(600));
        // Longer times are told apart to three digits.
        assert!((1_700..1_702).contains(&last_full(&seen(&[1_550], &[2_600], &[2_600])).unwrap()));
        assert_eq!(last_full(&seen(&[1_550], &[], &[2_600])), None, "no transaction anywhere");
    }

    #[test]
    fn a_channel_without_a_full_job_is_not_passed_over() {
        let tip = seen(&[1_500, 1_600], &[1_500], &[]);
        let tips = add_up(&[notice(1_000)], &[tip], &[], ChannelKind::Extended);
        assert_eq!(tips.node_to_first_full_us.map(|times| times.max), Some(500));
        assert_eq!(tips.node_to_last_full_us, None);
    }
}
