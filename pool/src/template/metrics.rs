//! What is counted about the nodes and their templates.
//!
//! Made with the nodes, so that every call is counted wherever it comes from, and shown where a pool runs.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitcoin::BlockHash;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use super::Template;
use crate::metrics::{Metrics, Moment, seconds};

/// The node's calls that have a name of their own in metrics; all others are "other".
const METHODS: [&str; 15] = [
    "getbestblockhash",
    "getblock",
    "getblockchaininfo",
    "getblockhash",
    "getblockheader",
    "getblockstats",
    "getblocktemplate",
    "getnetworkinfo",
    "getrawtransaction",
    "gettxout",
    "scantxoutset",
    "sendrawtransaction",
    "submitblock",
    "testmempoolaccept",
    "waitfornewblock",
];

/// What is counted about the nodes; all clones are the same.
#[derive(Clone, Debug)]
pub struct NodeMetrics {
    rpc_seconds: Family<Call, Histogram>,
    failures: Family<Failure, Counter>,
    template_at: Moment,
    build_seconds: Histogram,
    published: Counter,
    height: Gauge,
    clock_offset: Gauge<f64, AtomicU64>,
    noticed: Arc<Mutex<Option<(BlockHash, Instant)>>>,
    tip_template_seconds: Histogram,
    /// Of the tip's header, in seconds since 1970 UTC; zero while it is not known.
    tip_time: Arc<AtomicU64>,
}

/// The labels of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    node: &'static str,
    method: &'static str,
}

/// The labels of a call that brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    node: &'static str,
    reason: &'static str,
}

/// The label that names a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfNode {
    node: &'static str,
}

/// Why a call brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallFailure {
    /// There was no answer that could be read.
    NoAnswer,
    /// The answer is an error, as it also is about a block that the node does not know.
    Error,
}

impl CallFailure {
    const ALL: [Self; 2] = [Self::NoAnswer, Self::Error];

    fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::Error => "error",
        }
    }
}

impl Default for NodeMetrics {
    fn default() -> Self {
        Self {
            rpc_seconds: Family::new_with_constructor(seconds),
            failures: Family::default(),
            template_at: Moment::default(),
            build_seconds: seconds(),
            published: Counter::default(),
            height: Gauge::default(),
            clock_offset: Gauge::default(),
            noticed: Arc::default(),
            tip_template_seconds: seconds(),
            tip_time: Arc::default(),
        }
    }
}

impl NodeMetrics {
    /// Has all of it shown. `nodes` are the names of all nodes, `in_use` tells the place of the one that is used.
    pub(super) fn register(
        &self,
        metrics: &mut Metrics,
        nodes: Vec<&'static str>,
        in_use: impl Fn() -> usize + Send + Sync + 'static,
    ) {
        for node in &nodes {
            for reason in CallFailure::ALL {
                drop(self.failures.get_or_create(&Failure { node, reason: reason.name() }));
            }
        }
        metrics.add_seconds(
            "node_rpc",
            "How long calls to a node took; of waitfornewblock, mostly the wait for a block",
            self.rpc_seconds.clone(),
        );
        metrics.add(
            "node_rpc_failures",
            "Calls to a node without an answer, or answered by an error",
            self.failures.clone(),
        );
        metrics.measured_by("node_in_use", "Whether a node is the one in use: 1 or 0", move || {
            let used = in_use();
            nodes.iter().enumerate().map(|(index, node)| (OfNode { node }, f64::from(index == used))).collect()
        });
        metrics.age("template_age", "Time since the node in use gave a template", &self.template_at);
        metrics.add_seconds(
            "template_build",
            "How long the node took for a template, until it was checked",
            self.build_seconds.clone(),
        );
        metrics.add("templates", "Templates that differed from the one before", self.published.clone());
        metrics.add("template_height", "Height of the block that the newest template is for", self.height.clone());
        metrics.add_seconds(
            "node_clock_offset",
            "How far the node's clock was ahead of this machine's when it gave a template",
            self.clock_offset.clone(),
        );
        metrics.add_seconds(
            "tip_template",
            "From the notice of a new tip to the first template on it",
            self.tip_template_seconds.clone(),
        );
        let tip_time = Arc::clone(&self.tip_time);
        metrics.measured_seconds(
            "tip_age",
            "Time since the tip of the node in use was mined, by its header",
            move || tip_age_s(tip_time.load(Ordering::Relaxed), unix_time_s()),
        );
    }

    /// Counts a call to a node.
    pub(super) fn call(&self, node: &'static str, method: &str, took: Duration, failure: Option<CallFailure>) {
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        self.rpc_seconds.get_or_create(&Call { node, method }).observe(took.as_secs_f64());
        if let Some(failure) = failure {
            self.failures.get_or_create(&Failure { node, reason: failure.name() }).inc();
        }
    }

    /// Counts a template that the node in use has given after such a time.
    pub(super) fn build(&self, template: &Template, took: Duration) {
        self.build_seconds.observe(took.as_secs_f64());
        self.template_at.note();
        // Where the chain's times allow no earlier one, the node's clock does not show.
        if template.curtime > template.min_time {
            self.clock_offset.set(f64::from(template.curtime) - unix_time_s());
        }
    }

    /// Notes a tip that no published template builds on.
    pub(super) fn notice(&self, tip: BlockHash, at: Instant) {
        let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        if noticed.is_none_or(|(known, _)| known != tip) {
            *noticed = Some((tip, at));
        }
    }

    /// Counts a template that was published.
    pub(super) fn publish(&self, height: u32, prev_hash: BlockHash) {
        self.published.inc();
        self.height.set(i64::from(height));
        let noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(tip, _)| *tip == prev_hash);
        if let Some((_, at)) = noticed {
            self.tip_template_seconds.observe(at.elapsed().as_secs_f64());
        }
    }

    /// Notes the time in the tip's header, in seconds since 1970 UTC.
    pub(super) fn tip(&self, time_s: u64) {
        self.tip_time.store(time_s, Ordering::Relaxed);
    }
}

fn unix_time_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A header's time may be up to two hours ahead.
fn tip_age_s(time_s: u64, now_s: f64) -> Option<f64> {
    (time_s > 0).then(|| (now_s - time_s as f64).max(0.0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    fn text(node_metrics: &NodeMetrics) -> String {
        let mut metrics = Metrics::new();
        node_metrics.register(&mut metrics, vec!["bitcoind", "bitcoind.backup.b"], || 1);
        metrics.text()
    }

    #[test]
    fn calls_are_counted_by_node_and_by_known_methods_only() {
        let metrics = NodeMetrics::default();
        metrics.call("bitcoind", "getblocktemplate", Duration::from_millis(3), None);
        metrics.call("bitcoind", "importdescriptors", Duration::from_millis(3), Some(CallFailure::Error));
        let text = text(&metrics);
        for line in [
            "adit_node_rpc_seconds_count{node=\"bitcoind\",method=\"getblocktemplate\"} 1",
            "adit_node_rpc_seconds_count{node=\"bitcoind\",method=\"other\"} 1",
            "adit_node_rpc_failures_total{node=\"bitcoind\",reason=\"error\"} 1",
            "adit_node_rpc_failures_total{node=\"bitcoind\",reason=\"no_answer\"} 0",
            "adit_node_in_use{node=\"bitcoind\"} 0.0",
            "adit_node_in_use{node=\"bitcoind.backup.b\"} 1.0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("importdescriptors"));
        assert!(!text.contains("\nadit_template_age_seconds "), "there was no template");
    }

    #[test]
    fn tip_is_timed_from_its_notice_to_its_first_template() {
        let (metrics, tip) = (NodeMetrics::default(), BlockHash::from_byte_array([7; 32]));
        metrics.notice(tip, Instant::now() - Duration::from_secs(2));
        // Heard of again by another call.
        metrics.notice(tip, Instant::now());
        metrics.publish(8, BlockHash::all_zeros());
        metrics.publish(9, tip);
        metrics.publish(9, tip);
        let text = text(&metrics);
        assert!(text.contains("adit_tip_template_seconds_count 1\n"), "{text}");
        let sum = text.lines().find_map(|line| line.strip_prefix("adit_tip_template_seconds_sum ")).unwrap();
        assert!(sum.parse::<f64>().unwrap() >= 2.0, "{sum}");
        assert!(text.contains("adit_template_height 9\n") && text.contains("adit_templates_total 3\n"), "{text}");
    }

    #[test]
    fn tip_of_the_future_has_no_negative_age() {
        assert_eq!(tip_age_s(0, 1_000.0), None);
        assert_eq!(tip_age_s(900, 1_000.0), Some(100.0));
        assert_eq!(tip_age_s(1_900, 1_000.0), Some(0.0));
    }
}
