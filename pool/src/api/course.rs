//! The course of a found block: from the job that it solved to its hundredth confirmation, as far as it is known.

use bitcoin::{BlockHash, constants::COINBASE_MATURITY};
use payouts::{
    books::{BlockPhase, BlockRecord},
    ledger::EntryKind,
    store::{Store, StoreError},
};
use serde::Serialize;
use tracing::warn;
use utoipa::ToSchema;

use super::Live;
use crate::accounting::kept_blocks::BlockWay;

/// What befell a found block, and when. Times are milliseconds since 1970 UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct BlockCourse {
    /// When the job was made that it solved, out of a template of that moment.
    pub(crate) job_made_at_ms: Option<i64>,
    /// When it was found.
    pub(crate) found_at_ms: i64,
    /// When a node answered to it.
    pub(crate) answered_at_ms: Option<i64>,
    /// What the node answered: `accepted`; `known` if it had it; `stale` if another block was the tip.
    pub(crate) answer: Option<String>,
    /// When the ledger had it.
    pub(crate) booked_at_ms: Option<i64>,
    /// The blocks from it on to the node's tip; nothing if it left the chain, or the tip is not known.
    pub(crate) confirmations: Option<u32>,
    /// When its coinbase was mature, and its credits due.
    pub(crate) matured_at_ms: Option<i64>,
    /// When it left the chain.
    pub(crate) orphaned_at_ms: Option<i64>,
    /// Whether its raw bytes are kept.
    pub(crate) has_raw: bool,
}

impl BlockCourse {
    /// The confirmations that a coinbase takes until it can be spent.
    pub(crate) const MATURITY: u32 = COINBASE_MATURITY;

    /// Brings together what is known of a block.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn of(store: &dyn Store, live: &Live, block: &BlockRecord) -> Result<BlockCourse, StoreError> {
        let (hash, phase, epoch) = (block.found.hash, block.state.phase, block.state.epoch);
        let kept = live.kept_blocks.as_ref();
        let way = kept.map(|kept| kept.way(hash)).transpose().unwrap_or_else(|error| {
            warn!(block_hash = %hash, %error, "what is known of a block's way cannot be read");
            None
        });
        let BlockWay { job_made_at_ms, answered_at_ms, answer } = way.flatten().unwrap_or_default();
        Ok(BlockCourse {
            job_made_at_ms,
            found_at_ms: block.found.found_at_ms,
            answered_at_ms,
            answer,
            booked_at_ms: posted_at(store, EntryKind::BlockFound, &hash.to_string()).await?,
            confirmations: live.tip_height().filter(|_| phase != BlockPhase::Orphaned).map(|tip| {
                // A tip below it is about to follow.
                (tip + 1).saturating_sub(block.found.height)
            }),
            matured_at_ms: match phase {
                BlockPhase::Matured => last_of(store, EntryKind::Matured, hash, epoch).await?,
                _ => None,
            },
            orphaned_at_ms: match phase {
                BlockPhase::Orphaned => last_of(store, EntryKind::Orphaned, hash, epoch).await?,
                _ => None,
            },
            has_raw: kept.is_some_and(|kept| kept.has(hash)),
        })
    }
}

/// Returns when a block came last into a state: the epoch counts how often it changed.
async fn last_of(store: &dyn Store, kind: EntryKind, hash: BlockHash, epoch: u32) -> Result<Option<i64>, StoreError> {
    for epoch in (0..=epoch).rev() {
        let posted_at_ms = posted_at(store, kind, &format!("{hash}:{epoch}")).await?;
        if posted_at_ms.is_some() {
            return Ok(posted_at_ms);
        }
    }
    Ok(None)
}

async fn posted_at(store: &dyn Store, kind: EntryKind, key: &str) -> Result<Option<i64>, StoreError> {
    Ok(store.entry(kind, key).await?.map(|entry| entry.at_ms))
}
