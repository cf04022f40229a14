//! All nodes that the pool can work with, and which of them it works with.
//!
//! The first that is fit is in use, in the operator's order: templates and the view of the chain come from it alone. A
//! found block goes to all. When the node in use stops answering, or falls behind another, the next takes its place; when
//! a preferred one has been well for a while, it is used again. With a single node there is nothing to decide.

use std::{fmt, sync::Arc, time::Duration};

use bitcoin::Network;
use bitcoincore_rpc::{
    Client,
    jsonrpc::{self, Request, Response, client::Transport},
};
use payouts::wallet::SettledBlock;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tracing::{info, warn};

use super::{
    metrics::NodeMetrics,
    node::{BlockStatus, ChainInfo, Node, NodeError, SubmitOutcome},
};
use crate::{config::BitcoindConfig, metrics::Metrics};

/// How long the other nodes may take to call a block good of which one has said that it is not the tip, or invalid.
const SECOND_OPINION_TIMEOUT: Duration = Duration::from_secs(5);

/// The nodes, the preferred one first. Clones are the same nodes, with the same one in use.
#[derive(Clone, Debug)]
pub struct Nodes {
    all: Arc<[Node]>,
    in_use: Arc<watch::Sender<InUse>>,
    metrics: NodeMetrics,
}

/// Which node is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InUse {
    /// Its place among all.
    pub(super) index: usize,
    /// Counts the changes, so that what was begun with one node is told from what follows with the same one later.
    pub(super) term: u64,
}

impl Nodes {
    /// Names the nodes of a pool. Nothing is sent before the first call.
    pub fn new(config: &BitcoindConfig, network: Network) -> Self {
        let metrics = NodeMetrics::default();
        let main = Node::new(config, network, &metrics);
        let backups = config.backups.iter().map(|backup| Node::backup(backup, network, &metrics));
        Self { all: std::iter::once(main).chain(backups).collect(), in_use: Arc::default(), metrics }
    }

    /// Names one node alone.
    #[cfg(test)]
    pub(super) fn single(node: Node) -> Self {
        Self { all: [node].into(), in_use: Arc::default(), metrics: NodeMetrics::default() }
    }

    /// Adds what is counted about the nodes to all that is counted.
    pub fn register(&self, metrics: &mut Metrics) {
        let (names, in_use) = (self.all.iter().map(Node::name).collect(), Arc::clone(&self.in_use));
        self.metrics.register(metrics, names, move || in_use.borrow().index);
    }

    /// What is counted about the nodes.
    pub(super) fn metrics(&self) -> &NodeMetrics {
        &self.metrics
    }

    /// The network that the nodes should follow.
    pub fn network(&self) -> Network {
        self.all[0].network()
    }

    /// Returns the nodes in the operator's order. There is at least one.
    pub fn all(&self) -> &[Node] {
        &self.all
    }

    /// Returns the node in use.
    pub fn current(&self) -> Node {
        self.all[self.in_use.borrow().index].clone()
    }

    /// As [`Node::expect_block`], of every node.
    pub fn expect_block(&self, settled: SettledBlock) {
        self.all.iter().for_each(|node| node.expect_block(settled));
    }

    pub(super) fn in_use(&self) -> InUse {
        *self.in_use.borrow()
    }

    /// Turns to another node.
    pub(super) fn turn_to(&self, index: usize) {
        self.in_use.send_modify(|in_use| *in_use = InUse { index, term: in_use.term + 1 });
    }

    /// Asks one node after the other where it stands, and uses the first that is ready.
    ///
    /// # Errors
    ///
    /// What the preferred node is not ready for, when none is.
    pub async fn choose(&self) -> Result<ChainInfo, NodeError> {
        let mut first_error = None;
        for (index, node) in self.all.iter().enumerate() {
            match node.check_ready().await {
                Ok(info) => {
                    if index != self.in_use().index {
                        warn!(node = node.name(), "a backup node is in use: those before it are not ready");
                        self.turn_to(index);
                    }
                    return Ok(info);
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.expect("there is at least one node"))
    }

    /// As [`Node::check_ready`], of the node in use.
    ///
    /// # Errors
    ///
    /// When it gives no answer, or what it is not ready for.
    pub async fn check_ready(&self) -> Result<ChainInfo, NodeError> {
        let info = self.current().check_ready().await?;
        if let Some(time) = info.time {
            self.metrics.tip(time);
        }
        Ok(info)
    }

    /// As [`Node::block_status`], of the node in use.
    ///
    /// # Errors
    ///
    /// When it gives no answer.
    pub async fn block_status(&self, hash: bitcoin::BlockHash) -> Result<BlockStatus, NodeError> {
        self.current().block_status(hash).await
    }

    /// Makes a client whose every call goes to the node that is in use then.
    pub fn client(&self) -> Client {
        Client::from_jsonrpc(jsonrpc::client::Client::with_transport(ToNodeInUse(self.clone())))
    }

    /// Offers a block to all nodes at once. It is accepted as soon as one takes it; the others go on hearing of it until
    /// they have answered, for five minutes at most.
    ///
    /// # Errors
    ///
    /// When no node has answered: the block's fate is then unknown, not refused.
    pub async fn submit_block(&self, block: &[u8]) -> Result<SubmitOutcome, NodeError> {
        let block: Arc<[u8]> = block.into();
        let mut submissions = JoinSet::new();
        for node in self.all.iter().cloned() {
            let block = Arc::clone(&block);
            submissions.spawn(async move { (node.submit_block(&block).await, node) });
        }
        let mut answers = Vec::new();
        loop {
            // Once there is an answer, a node that is away does not hold up the next block.
            let patience = if answers.iter().any(Result::is_ok) { SECOND_OPINION_TIMEOUT } else { Duration::MAX };
            let Ok(Some(submitted)) = timeout(patience, submissions.join_next()).await else { break };
            let (answer, node) = submitted.expect("submissions are neither cancelled nor do they panic");
            if self.all.len() > 1 {
                info!(node = node.name(), outcome = ?answer, "block submitted");
            }
            let is_accepted = matches!(answer, Ok(SubmitOutcome::Accepted | SubmitOutcome::Duplicate));
            answers.push(answer);
            if is_accepted {
                break;
            }
        }
        submissions.detach_all();
        best(answers)
    }
}

/// Returns the answer that says most for the block.
fn best(answers: Vec<Result<SubmitOutcome, NodeError>>) -> Result<SubmitOutcome, NodeError> {
    let rank = |answer: &Result<SubmitOutcome, NodeError>| match answer {
        Ok(SubmitOutcome::Accepted) => 0,
        Ok(SubmitOutcome::Duplicate) => 1,
        Ok(SubmitOutcome::Inconclusive) => 2,
        Ok(SubmitOutcome::Rejected { .. }) => 3,
        // That the call itself is refused says more of the block than that nobody was there.
        Err(NodeError::Refused { .. }) => 4,
        Err(_) => 5,
    };
    answers.into_iter().min_by_key(rank).expect("each node has given an answer or an error")
}

/// Sends each request to the node that is in use then.
struct ToNodeInUse(Nodes);

impl Transport for ToNodeInUse {
    fn send_request(&self, request: Request) -> Result<Response, jsonrpc::Error> {
        self.0.current().transport().send_request(request)
    }

    fn send_batch(&self, requests: &[Request]) -> Result<Vec<Response>, jsonrpc::Error> {
        self.0.current().transport().send_batch(requests)
    }

    fn fmt_target(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.current().transport().fmt_target(f)
    }
}
