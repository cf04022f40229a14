//! Blocks that the pool has found.

use std::{fmt, str::FromStr, sync::Arc};

use axum::{extract::State, http::header, response::IntoResponse};
use bitcoin::BlockHash;
use payouts::{
    books::{BlockPhase, BlockRecord},
    store::Store,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{
        Live,
        course::BlockCourse,
        extract::{Path, Query},
        paging::{Listed, Page},
        problem::Problem,
    },
    operations::account::addresses_of,
};

/// A block that the pool has found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct BlockReport {
    /// Its hash.
    hash: String,
    /// Its height.
    height: u32,
    /// `immature`, `matured` or `orphaned`.
    phase: &'static str,
    /// When it was found, in milliseconds since 1970 UTC.
    found_at_ms: i64,
    /// Who found it: the account's address.
    finder: String,
    /// The coinbase's output that pays the pool, `txid:vout`.
    coinbase: String,
    /// What the coinbase pays.
    value_sat: u64,
    /// What of it is newly issued.
    subsidy_sat: u64,
    /// The pool's fee.
    fee_sat: u64,
    /// What goes to the reserve.
    reserve_sat: u64,
    /// The rule by which it was split.
    rule: Option<String>,
}

/// A block and its split.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct BlockWithCredits {
    /// The block.
    block: BlockReport,
    /// What befell it, and when.
    course: BlockCourse,
    /// Its credits, in the order of accounts.
    credits: Vec<CreditReport>,
}

/// What a block credits to an account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct CreditReport {
    /// The account.
    account: i64,
    /// Its address.
    address: String,
    /// The credit.
    sat: u64,
    /// What of it is in payouts.
    paid_sat: u64,
}

impl BlockReport {
    fn new(block: BlockRecord, finder: String) -> BlockReport {
        let BlockRecord { found, fee, reserve, rule, state } = block;
        BlockReport {
            hash: found.hash.to_string(),
            height: found.height,
            phase: match state.phase {
                BlockPhase::Immature => "immature",
                BlockPhase::Matured => "matured",
                BlockPhase::Orphaned => "orphaned",
            },
            found_at_ms: found.found_at_ms,
            finder,
            coinbase: found.coinbase.to_string(),
            value_sat: found.value.to_sat(),
            subsidy_sat: found.subsidy.to_sat(),
            fee_sat: fee.to_sat(),
            reserve_sat: reserve.to_sat(),
            rule: rule.map(|rule| rule.to_string()),
        }
    }
}

/// The place of a block in the list: its height and hash.
struct Place(u32, BlockHash);

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Place, ()> {
        let (height, hash) = text.split_once('-').ok_or(())?;
        Ok(Place(height.parse().map_err(drop)?, hash.parse().map_err(drop)?))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// The blocks that the pool has found, the highest first.
#[utoipa::path(
    get,
    path = "/api/v1/blocks",
    operation_id = "list_blocks",
    tag = "blocks",
    params(Page),
    responses((status = OK, description = "The blocks", body = Listed<BlockReport>))
)]
pub(super) async fn list(
    State(store): State<Arc<dyn Store>>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Listed<BlockReport>>, Problem> {
    let (limit, after) = (page.limit()?, page.after::<Place>()?);
    let blocks = store.blocks_after(after.map(|Place(height, hash)| (height, hash)), limit + 1).await?;
    let listed = Listed::new(blocks, limit, |block| Place(block.found.height, block.found.hash).to_string());
    let addresses = addresses_of(&*store, listed.items.iter().map(|block| block.found.finder)).await?;
    Ok(axum::Json(listed.map(|block| {
        let finder = addresses.get(&block.found.finder).cloned().unwrap_or_default();
        BlockReport::new(block, finder)
    })))
}

/// A block that the pool has found, and whom it credits.
#[utoipa::path(
    get,
    path = "/api/v1/blocks/{hash}",
    operation_id = "show_block",
    tag = "blocks",
    params(("hash" = String, Path, description = "Its hash")),
    responses((status = OK, description = "The block", body = BlockWithCredits))
)]
pub(super) async fn show(
    State(store): State<Arc<dyn Store>>,
    State(live): State<Arc<Live>>,
    Path(hash): Path<String>,
) -> Result<axum::Json<BlockWithCredits>, Problem> {
    let hash = block_hash(&hash)?;
    let unknown = || Problem::not_found(format!("the pool has found no block {hash}"));
    let block = store.block(hash).await?.ok_or_else(unknown)?;
    let credits = store.credits(hash).await?;
    let wanted = credits.iter().map(|credit| credit.account).chain([block.found.finder]);
    let addresses = addresses_of(&*store, wanted).await?;
    let address = |account| addresses.get(&account).cloned().unwrap_or_default();
    let credits = credits.iter().map(|credit| CreditReport {
        account: credit.account.get(),
        address: address(credit.account),
        sat: credit.amount.to_sat(),
        paid_sat: credit.paid.to_sat(),
    });
    let credits = credits.collect();
    let finder = address(block.found.finder);
    let course = BlockCourse::of(&*store, &live, &block).await?;
    Ok(axum::Json(BlockWithCredits { block: BlockReport::new(block, finder), course, credits }))
}

/// A block that the pool has found, in network serialisation. Of very many blocks, the oldest are not kept.
#[utoipa::path(
    get,
    path = "/api/v1/blocks/{hash}/raw",
    operation_id = "download_block",
    tag = "blocks",
    params(("hash" = String, Path, description = "Its hash")),
    responses((status = OK, description = "The block", content_type = "application/octet-stream", body = Vec<u8>))
)]
pub(super) async fn raw(State(live): State<Arc<Live>>, Path(hash): Path<String>) -> Result<impl IntoResponse, Problem> {
    let hash = block_hash(&hash)?;
    let raw = live.raw_block(hash).await.map_err(|error| Problem::failed(format!("block {hash}: {error}")))?;
    let raw = raw.ok_or_else(|| Problem::not_found(format!("no block {hash} is kept")))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], raw))
}

fn block_hash(text: &str) -> Result<BlockHash, Problem> {
    text.parse().map_err(|_| Problem::invalid(format!("{text:?} is not the hash of a block")))
}
