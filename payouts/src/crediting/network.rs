//! What the network's blocks of a day paid in fees, asked of a node once for each block.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bitcoin::{Amount, BlockHash};
use bitcoincore_rpc::{Client, RpcApi};
use serde::Deserialize;
use serde_json::json;

use super::CreditingError;
use crate::{
    scheme::network_fees::{self, Average, AverageError, FeeRatio, NetworkBlock, UtcDay},
    store::Store,
    wallet::blocking,
};

/// Confirmations from which on a block of the network is taken to stay.
const DEPTH: u32 = 6;
/// How much earlier than a block's median time its own time, or that of one below, may lie: blocks may be two hours
/// ahead of the clock, and the median is about an hour behind it. Twice that.
const MARGIN_S: i64 = 6 * 3_600;

/// A node gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[error("the network's blocks are not known: {0}")]
pub struct NetworkError(pub String);

/// A block of the network, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkBlockRow {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// The median of the times of it and the ten blocks before (BIP 113), in seconds since 1970 UTC. It never falls.
    pub median_time_s: i64,
    /// What it paid, and its own time.
    pub block: NetworkBlock,
}

/// The best chain of the network.
#[async_trait]
pub trait Network: fmt::Debug + Send + Sync {
    /// Returns the height of its last block.
    async fn tip_height(&self) -> Result<u32, NetworkError>;

    /// Returns its block of a height.
    async fn block(&self, height: u32) -> Result<NetworkBlockRow, NetworkError>;
}

/// The best chain as a node knows it.
pub struct NodeNetwork {
    rpc: Arc<Client>,
}

impl NodeNetwork {
    /// Asks the node behind `rpc`. A node that prunes must keep the blocks of the last two days.
    pub fn new(rpc: Arc<Client>) -> Self {
        Self { rpc }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> Result<T, bitcoincore_rpc::Error> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let rpc = Arc::clone(&self.rpc);
        blocking(move || question(&rpc).map_err(|error| NetworkError(error.to_string()))).await
    }
}

impl fmt::Debug for NodeNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeNetwork").finish_non_exhaustive()
    }
}

/// What `getblockstats` says of a block, amounts in satoshis.
#[derive(Deserialize)]
struct BlockStats {
    blockhash: BlockHash,
    mediantime: i64,
    subsidy: u64,
    time: i64,
    totalfee: u64,
}

#[async_trait]
impl Network for NodeNetwork {
    async fn tip_height(&self) -> Result<u32, NetworkError> {
        self.ask(|rpc| rpc.call("getblockcount", &[])).await
    }

    async fn block(&self, height: u32) -> Result<NetworkBlockRow, NetworkError> {
        let wanted = json!(["blockhash", "mediantime", "subsidy", "time", "totalfee"]);
        let stats: BlockStats = self.ask(move |rpc| rpc.call("getblockstats", &[json!(height), wanted])).await?;
        let (subsidy, fees) = (Amount::from_sat(stats.subsidy), Amount::from_sat(stats.totalfee));
        let block = NetworkBlock { time_s: stats.time, subsidy, fees };
        Ok(NetworkBlockRow { height, hash: stats.blockhash, median_time_s: stats.mediantime, block })
    }
}

/// Averages the fees of a day's blocks. Nothing, as long as another block could belong to the day, or one that does is
/// not deep. A day without blocks enough, as test networks have them, has no fees.
pub(super) async fn fees_of_day(
    store: &dyn Store,
    network: &dyn Network,
    day: UtcDay,
    average: Average,
) -> Result<Option<FeeRatio>, CreditingError> {
    let tip_height = network.tip_height().await?;
    let (begin_s, end_s) = (day.begin_s(), day.next().begin_s());
    let mut height = tip_height;
    // A block's time is later than the median of those before it: from here on none is of the day.
    let mut above: Option<u32> = None;
    let mut blocks = Vec::new();
    loop {
        let row = block(store, network, height, tip_height).await?;
        if row.median_time_s >= end_s {
            above = Some(height);
        }
        if above.is_none_or(|above| tip_height - above + 1 < DEPTH) && row.median_time_s < end_s {
            return Ok(None);
        }
        blocks.push(row.block);
        if height == 0 || row.median_time_s < begin_s - MARGIN_S {
            break;
        }
        height -= 1;
    }
    match network_fees::average(day, &blocks, average) {
        Ok(ratio) => Ok(Some(ratio)),
        Err(AverageError::TooFewBlocks { .. }) => Ok(Some(FeeRatio::NONE)),
        Err(error) => Err(error.into()),
    }
}

/// Returns a block from the store, or from the network; it is stored when it is deep.
async fn block(
    store: &dyn Store,
    network: &dyn Network,
    height: u32,
    tip_height: u32,
) -> Result<NetworkBlockRow, CreditingError> {
    if let Some(known) = store.network_block(height).await? {
        return Ok(known);
    }
    let row = network.block(height).await?;
    if tip_height.saturating_sub(height) + 1 >= DEPTH {
        store.save_network_block(&row).await?;
    }
    Ok(row)
}
