//! What `adit check` asks a node: its program, its peers, and the time that it has.

use bitcoincore_rpc::jsonrpc::serde_json::json;
use serde::Deserialize;

use super::node::{CALL_TIMEOUT, Node, NodeError, blocking};

/// How a node is, beyond whether it can be worked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeHealth {
    /// Its version: 10,000 times the major one.
    pub version: u32,
    /// What it calls itself, `/Satoshi:31.0.0/`.
    pub subversion: String,
    /// Peers that it is connected to.
    pub connections: u32,
    /// How far the clocks of its peers are from its own, at the median, in seconds.
    pub peers_offset_s: i64,
    /// The median time past of its best block, seconds since 1970 UTC (BIP 113).
    pub tip_median_time: u32,
    /// The time of a template that it made, seconds since 1970 UTC, or why it makes none.
    pub template: Result<u32, String>,
}

#[derive(Deserialize)]
struct NetworkInfo {
    version: u32,
    subversion: String,
    connections: u32,
    #[serde(rename = "timeoffset", default)]
    time_offset: i64,
}

#[derive(Deserialize)]
struct TipTimes {
    #[serde(rename = "mediantime")]
    median_time: u32,
}

impl Node {
    /// Asks how the node is. It makes a template for it.
    ///
    /// # Errors
    ///
    /// When the node gives no answer.
    pub async fn health(&self) -> Result<NodeHealth, NodeError> {
        let node = self.clone();
        blocking(move || node.health_now()).await
    }

    fn health_now(&self) -> Result<NodeHealth, NodeError> {
        let network: NetworkInfo = self.call("getnetworkinfo", &[], CALL_TIMEOUT)?;
        let tip = self.best_block_now()?;
        let times: TipTimes = self.call("getblockheader", &[json!(tip)], CALL_TIMEOUT)?;
        let template = match self.template_now() {
            Ok(template) => Ok(template.curtime),
            Err(error @ (NodeError::Unreachable { .. } | NodeError::Credentials(_))) => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        let NetworkInfo { version, subversion, connections, time_offset: peers_offset_s } = network;
        Ok(NodeHealth {
            version,
            subversion,
            connections,
            peers_offset_s,
            tip_median_time: times.median_time,
            template,
        })
    }
}
