//! bitcoind over JSON-RPC: each call that the pool makes, with its answer as a checked type.
//!
//! Owns how the node is reached, how long each call may take, and what its failures mean. When to call belongs to
//! [`super::bitcoind`]; what is in a template to [`super::answer`].
//!
//! Every call is a connection of its own that reads the credentials anew: a node that restarts, with a new cookie or at
//! a new address behind its name, is found again without anybody's doing. A call that got no answer is never repeated
//! behind the caller's back.

mod error;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bitcoin::{BlockHash, Network};
use bitcoincore_rpc::{
    Client, RpcApi,
    jsonrpc::{
        self, Request, Response,
        client::Transport,
        minreq_http::{self, MinreqHttpTransport},
    },
};
use payouts::{crash_point, wallet::SettledBlock};
use secrecy::ExposeSecret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tracing::warn;

pub use self::error::NodeError;
use super::{
    Template,
    answer::BlockTemplate,
    metrics::{CallFailure, NodeMetrics},
    tip::TipHeader,
};
use crate::config::{BackupConfig, BitcoindConfig, ConfigError, NodeCredentials, network_name};

/// A call that has no answer by then has failed. Well above what a block's validation takes on a slow machine.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How much longer than the wait it asks for a waiting call may take.
const WAIT_GRACE: Duration = Duration::from_secs(15);

/// How long to wait at a time on a node that cannot be told which tip is known already: a tip that comes between two
/// calls goes unseen this long.
const UNSURE_WAIT: Duration = Duration::from_secs(1);

/// How often a found block is offered to a node that does not answer, and the pause in between: five minutes in all,
/// after which another block has most likely been found elsewhere.
const SUBMIT_ATTEMPTS: u32 = 150;
const SUBMIT_PAUSE: Duration = Duration::from_secs(2);

/// "Initial warmup" in the node's list of error codes.
const RPC_IN_WARMUP: i32 = -28;
/// A catch-all of the node, also for a call with more arguments than it knows.
const RPC_MISC_ERROR: i32 = -1;
/// "Invalid address or key": here, a block that the node does not know.
const RPC_INVALID_ADDRESS_OR_KEY: i32 = -5;
/// "Invalid parameter": here, a height above the node's best block.
const RPC_INVALID_PARAMETER: i32 = -8;

/// The node that templates come from and blocks go to. Clones are the same node.
#[derive(Clone, Debug)]
pub struct Node {
    endpoint: Arc<Endpoint>,
}

#[derive(Debug)]
struct Endpoint {
    /// The section of its settings.
    name: &'static str,
    url: String,
    credentials: NodeCredentials,
    network: Network,
    /// What the node must have to be on the books' chain.
    settled: Mutex<Option<SettledBlock>>,
    /// Whether the node was found ready since it last failed. After a failure it may be another node.
    is_checked: AtomicBool,
    metrics: NodeMetrics,
}

/// Where the node stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ChainInfo {
    /// The node's name of its network.
    chain: String,
    /// Height of the best block.
    pub blocks: u32,
    /// Height of the best header.
    pub headers: u32,
    /// Hash of the best block.
    #[serde(rename = "bestblockhash")]
    pub best_block: BlockHash,
    /// The work of the best chain: 64 hexadecimal digits.
    #[serde(rename = "chainwork")]
    pub chain_work: String,
    /// Whether the node believes that it lacks blocks.
    #[serde(rename = "initialblockdownload")]
    pub initial_block_download: bool,
    /// The time in the best block's header, in seconds since 1970 UTC; nodes before version 23 do not tell it.
    pub time: Option<u64>,
}

/// What became of a block that was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// It is the node's new tip.
    Accepted,
    /// The node had it already, and it is valid: also the answer when an earlier attempt went unanswered.
    Duplicate,
    /// It is not the tip, for example because another block at its height came first. Its [`BlockStatus`] tells
    /// whether that changes.
    Inconclusive,
    /// It is not a valid block.
    Rejected {
        /// The node's word for what is wrong (BIP 22).
        reason: String,
    },
}

/// Where a block stands in the node's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockStatus {
    /// In the best chain.
    InBestChain {
        /// Its height.
        height: u32,
        /// 1 for the tip.
        confirmations: u32,
    },
    /// Known, but not in the best chain.
    NotInBestChain,
    /// The node has never heard of it.
    Unknown,
}

#[derive(Deserialize)]
struct Tip {
    hash: BlockHash,
}

#[derive(Deserialize)]
struct HeaderStatus {
    height: u32,
    confirmations: i64,
}

impl Node {
    /// Names the node that is preferred. Nothing is sent before the first call.
    pub fn new(config: &BitcoindConfig, network: Network, metrics: &NodeMetrics) -> Node {
        Node::at("bitcoind", &config.url, &config.credentials, network, metrics)
    }

    /// Names another node.
    pub fn backup(config: &BackupConfig, network: Network, metrics: &NodeMetrics) -> Node {
        Node::at(config.section, &config.url, &config.credentials, network, metrics)
    }

    fn at(
        name: &'static str,
        url: &str,
        credentials: &NodeCredentials,
        network: Network,
        metrics: &NodeMetrics,
    ) -> Node {
        let endpoint = Endpoint {
            name,
            url: url.to_owned(),
            credentials: credentials.clone(),
            network,
            settled: Mutex::new(None),
            is_checked: AtomicBool::new(false),
            metrics: metrics.clone(),
        };
        Node { endpoint: Arc::new(endpoint) }
    }

    /// What the operator calls it: the section of its settings.
    pub fn name(&self) -> &'static str {
        self.endpoint.name
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.endpoint.url
    }

    /// The network that the node should follow.
    pub fn network(&self) -> Network {
        self.endpoint.network
    }

    /// Says which block the node must have: without it, it is on another chain than the books, and not ready.
    pub fn expect_block(&self, settled: SettledBlock) {
        *self.endpoint.settled.lock().unwrap_or_else(PoisonError::into_inner) = Some(settled);
    }

    /// Tells whether the node was found ready since it last failed to answer. After that it may be another one.
    pub(super) fn is_checked(&self) -> bool {
        self.endpoint.is_checked.load(Ordering::Acquire)
    }

    /// Has the node checked again before the next template: after a failure it may be another one.
    pub(super) fn distrust(&self) {
        self.endpoint.is_checked.store(false, Ordering::Release);
    }

    /// Offers a serialised block until the node answers, for five minutes at most. A node that is not ready, for example
    /// on another chain, has no say about a block that it does not take.
    ///
    /// # Errors
    ///
    /// The last attempt's, when the node never answered: the block's fate is then unknown, not refused.
    pub async fn submit_block(&self, block: &[u8]) -> Result<SubmitOutcome, NodeError> {
        let block: Arc<str> = hex::encode(block).into();
        let mut attempt = 1;
        loop {
            let (node, data) = (self.clone(), Arc::clone(&block));
            match blocking(move || node.submit_block_once(&data)).await {
                Err(error) if attempt < SUBMIT_ATTEMPTS && error.may_pass() => {
                    warn!(attempt, %error, "block not yet submitted, will try again");
                    attempt += 1;
                    tokio::time::sleep(SUBMIT_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Asks where a block stands.
    ///
    /// # Errors
    ///
    /// When the node gives no answer.
    pub async fn block_status(&self, hash: BlockHash) -> Result<BlockStatus, NodeError> {
        let node = self.clone();
        blocking(move || node.block_status_now(hash)).await
    }

    /// Asks where the node stands, and makes sure that it can be worked with: on the right network, on the books'
    /// chain, and not downloading blocks, unless on regtest, where nobody may have mined for years.
    ///
    /// # Errors
    ///
    /// When the node gives no answer, or what it is not ready for.
    pub async fn check_ready(&self) -> Result<ChainInfo, NodeError> {
        let node = self.clone();
        blocking(move || node.check_ready_now(CALL_TIMEOUT)).await
    }

    /// Makes a client for calls that are not listed here. It too reads the credentials anew for each call, and can be
    /// kept while the node restarts.
    pub fn client(&self) -> Client {
        self.client_with(CALL_TIMEOUT)
    }

    pub(super) fn check_ready_now(&self, wait: Duration) -> Result<ChainInfo, NodeError> {
        let ready = self.find_ready(wait);
        self.endpoint.is_checked.store(ready.is_ok(), Ordering::Release);
        ready
    }

    fn find_ready(&self, wait: Duration) -> Result<ChainInfo, NodeError> {
        let info: ChainInfo = self.call("getblockchaininfo", &[], wait)?;
        let network = self.endpoint.network;
        if info.chain != network.to_core_arg() {
            return Err(NodeError::WrongNetwork { found: info.chain, expected: network_name(network) });
        }
        if info.initial_block_download && network != Network::Regtest {
            return Err(NodeError::Downloading { blocks: info.blocks, headers: info.headers });
        }
        let settled = *self.endpoint.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(SettledBlock { height, hash: expected }) = settled {
            let found = self.block_at(height, wait)?;
            if found != Some(expected) {
                let url = self.endpoint.url.clone();
                return Err(NodeError::OtherChain { url, height, expected, found });
            }
        }
        Ok(info)
    }

    /// Returns the block of the best chain at a height, if the chain is so long.
    pub(super) fn block_at(&self, height: u32, wait: Duration) -> Result<Option<BlockHash>, NodeError> {
        match self.call("getblockhash", &[json!(height)], wait) {
            Err(NodeError::Refused { code: RPC_INVALID_PARAMETER, .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    pub(super) fn template_now(&self) -> Result<Template, NodeError> {
        let rules: &[&str] = match self.endpoint.network {
            Network::Signet => &["segwit", "signet"],
            _ => &["segwit"],
        };
        let answer: BlockTemplate = self.call("getblocktemplate", &[json!({ "rules": rules })], CALL_TIMEOUT)?;
        Ok(answer.into_template()?)
    }

    pub(super) fn best_block_now(&self) -> Result<BlockHash, NodeError> {
        self.call("getbestblockhash", &[], CALL_TIMEOUT)
    }

    pub(super) fn block_hash_now(&self, height: u32, wait: Duration) -> Result<BlockHash, NodeError> {
        self.call("getblockhash", &[json!(height)], wait)
    }

    pub(super) fn header_now(&self, hash: BlockHash) -> Result<TipHeader, NodeError> {
        self.call("getblockheader", &[json!(hash)], CALL_TIMEOUT)
    }

    /// Waits until the best block is another than `known`, or until `wait` is over; returns the best block.
    pub(super) fn wait_for_tip_now(&self, known: BlockHash, wait: Duration) -> Result<BlockHash, NodeError> {
        let method = "waitfornewblock";
        let arguments = [json!(wait.as_millis() as u64), json!(known)];
        let tip: Tip = match self.call(method, &arguments, wait + WAIT_GRACE) {
            // Before version 30 the call took no hash.
            Err(NodeError::Refused { code: RPC_MISC_ERROR, .. }) => {
                self.call(method, &[json!(UNSURE_WAIT.as_millis() as u64)], UNSURE_WAIT + WAIT_GRACE)?
            }
            answer => answer?,
        };
        Ok(tip.hash)
    }

    fn submit_block_once(&self, block: &str) -> Result<SubmitOutcome, NodeError> {
        crash_point::reach(format_args!("before submitblock"));
        let answer: Option<String> = self.call("submitblock", &[json!(block)], CALL_TIMEOUT)?;
        crash_point::reach(format_args!("after submitblock"));
        Ok(match answer.as_deref() {
            None => SubmitOutcome::Accepted,
            Some("duplicate") => SubmitOutcome::Duplicate,
            Some("inconclusive" | "duplicate-inconclusive") => SubmitOutcome::Inconclusive,
            Some(reason) => {
                self.check_ready_now(CALL_TIMEOUT)?;
                SubmitOutcome::Rejected { reason: reason.to_owned() }
            }
        })
    }

    fn block_status_now(&self, hash: BlockHash) -> Result<BlockStatus, NodeError> {
        let header: HeaderStatus = match self.call("getblockheader", &[json!(hash)], CALL_TIMEOUT) {
            Err(NodeError::Refused { code: RPC_INVALID_ADDRESS_OR_KEY, .. }) => return Ok(BlockStatus::Unknown),
            answer => answer?,
        };
        Ok(match u32::try_from(header.confirmations) {
            Ok(confirmations) if confirmations > 0 => BlockStatus::InBestChain { height: header.height, confirmations },
            _ => BlockStatus::NotInBestChain,
        })
    }

    /// Calls without the client library's own types: they were made for older nodes, whose answers differ.
    pub(super) fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        arguments: &[Value],
        timeout: Duration,
    ) -> Result<T, NodeError> {
        let answer = self.client_with(timeout).call(method, arguments).map_err(|error| self.explain(method, error));
        if answer.as_ref().is_err_and(NodeError::may_pass) {
            self.distrust();
        }
        answer
    }

    fn client_with(&self, timeout: Duration) -> Client {
        let transport = FreshTransport { endpoint: Arc::clone(&self.endpoint), timeout };
        Client::from_jsonrpc(jsonrpc::client::Client::with_transport(transport))
    }

    pub(super) fn transport(&self) -> impl Transport {
        FreshTransport { endpoint: Arc::clone(&self.endpoint), timeout: CALL_TIMEOUT }
    }

    fn explain(&self, method: &str, error: bitcoincore_rpc::Error) -> NodeError {
        use jsonrpc::error::Error;

        let method = method.to_owned();
        match error {
            bitcoincore_rpc::Error::JsonRpc(Error::Rpc(error)) if error.code == RPC_IN_WARMUP => {
                NodeError::WarmingUp(error.message)
            }
            bitcoincore_rpc::Error::JsonRpc(Error::Rpc(error)) => {
                // The rest is the call's manual.
                let message = error.message.lines().next().unwrap_or_default().to_owned();
                NodeError::Refused { method, code: error.code, message }
            }
            bitcoincore_rpc::Error::JsonRpc(Error::Transport(error)) => self.explain_silence(error),
            other => NodeError::Nonsense { method, reason: other.to_string() },
        }
    }

    fn explain_silence(&self, error: Box<dyn std::error::Error + Send + Sync>) -> NodeError {
        let error = match error.downcast::<ConfigError>() {
            Ok(error) => return NodeError::Credentials(*error),
            Err(error) => error,
        };
        match error.downcast_ref() {
            Some(minreq_http::Error::Http(http)) if matches!(http.status_code, 401 | 403) => {
                NodeError::Unauthorized { url: self.endpoint.url.clone() }
            }
            Some(minreq_http::Error::Http(http)) => self.unreachable(format!("HTTP status {}", http.status_code)),
            _ => self.unreachable(error),
        }
    }

    fn unreachable(&self, reason: impl ToString) -> NodeError {
        NodeError::Unreachable { url: self.endpoint.url.clone(), reason: reason.to_string() }
    }
}

/// Sends each request over a connection of its own, with the credentials of that moment.
struct FreshTransport {
    endpoint: Arc<Endpoint>,
    timeout: Duration,
}

impl FreshTransport {
    fn open(&self) -> Result<MinreqHttpTransport, jsonrpc::Error> {
        let (user, password) =
            self.endpoint.credentials.read().map_err(|error| jsonrpc::Error::Transport(Box::new(error)))?;
        // Of the client library's two transports, the one that never sends a request a second time on its own.
        let builder = MinreqHttpTransport::builder().timeout(self.timeout).url(&self.endpoint.url)?;
        Ok(builder.basic_auth(user, Some(password.expose_secret().to_owned())).build())
    }
}

impl Transport for FreshTransport {
    fn send_request(&self, request: Request) -> Result<Response, jsonrpc::Error> {
        let (method, begun) = (request.method.to_owned(), Instant::now());
        let answer = self.open().and_then(|transport| transport.send_request(request));
        let failure = match &answer {
            Err(_) => Some(CallFailure::NoAnswer),
            Ok(response) => response.error.as_ref().map(|_| CallFailure::Error),
        };
        self.endpoint.metrics.call(self.endpoint.name, &method, begun.elapsed(), failure);
        answer
    }

    fn send_batch(&self, requests: &[Request]) -> Result<Vec<Response>, jsonrpc::Error> {
        self.open()?.send_batch(requests)
    }

    fn fmt_target(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint.url)
    }
}

/// Runs a blocking call apart from the threads that serve miners.
pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, NodeError> + Send + 'static,
) -> Result<T, NodeError> {
    spawn_blocking(call).await.expect("calls to the node do not panic, and their runtime outlives their callers")
}
