//! The pool as a whole.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use payouts::{
    history::{Span, Subject},
    store::Store,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{
        Live,
        counted::Counted,
        health::{self, HealthItem},
        problem::Problem,
    },
    config::network_name,
    operations::{
        hash_rate::{HashRate, hash_rate},
        luck::{LuckReport, show_luck},
        workers::{WorkersUp, workers_up},
    },
};

/// The pool as it is now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct PoolReport {
    /// The version of the program.
    version: &'static str,
    /// `mainnet`, `testnet4`, `signet` or `regtest`.
    network: &'static str,
    /// When it was started, in milliseconds since 1970 UTC.
    started_at_ms: i64,
    /// Its hash rate over the last five minutes.
    hash_rate_5m: HashRate,
    /// Over the last hour.
    hash_rate_1h: HashRate,
    /// Over the last day.
    hash_rate_24h: HashRate,
    /// How many workers find shares.
    workers: WorkersUp,
    /// What its blocks have taken, beside what they take on average.
    luck: LuckReport,
    /// The template that miners work on; nothing while the pool waits for its node.
    template: Option<TemplateReport>,
    /// The height of the newest block that the pool has found.
    last_block_height: Option<u32>,
    /// What must be well for a pool to work.
    health: Vec<HealthItem>,
}

/// The template that miners work on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct TemplateReport {
    /// The height of the block to be found.
    height: u32,
    /// The block that it builds on: the node's tip.
    prev_hash: String,
    /// For how many milliseconds it has been the newest.
    age_ms: u64,
    /// The transactions in it, without the coinbase.
    transactions: usize,
    /// Subsidy and fees.
    coinbase_value_sat: u64,
}

/// The pool as it is now: its hash rate, its template, and whether what it needs is well.
#[utoipa::path(
    get,
    path = "/api/v1/pool",
    operation_id = "show_pool",
    tag = "pool",
    responses((status = OK, description = "The pool", body = PoolReport))
)]
pub(super) async fn pool(
    State(store): State<Arc<dyn Store>>,
    State(live): State<Arc<Live>>,
) -> Result<axum::Json<PoolReport>, Problem> {
    let now_ms = Timestamp::now().as_millisecond();
    let seen = live.newest();
    let nbits = seen.as_ref().map(|seen| seen.template.nbits);
    let template = seen.map(|seen| TemplateReport {
        height: seen.template.height,
        prev_hash: seen.template.prev_hash.to_string(),
        age_ms: u64::try_from(seen.at.elapsed().as_millis()).unwrap_or(u64::MAX),
        transactions: seen.template.transactions.len(),
        coinbase_value_sat: seen.template.coinbase_value.to_sat(),
    });
    Ok(axum::Json(PoolReport {
        version: env!("CARGO_PKG_VERSION"),
        network: network_name(live.network),
        started_at_ms: live.started_at_ms,
        hash_rate_5m: hash_rate(&*store, Subject::Pool, Span::FiveMinutes).await?,
        hash_rate_1h: hash_rate(&*store, Subject::Pool, Span::Hour).await?,
        hash_rate_24h: hash_rate(&*store, Subject::Pool, Span::Day).await?,
        workers: workers_up(&*store, None).await?,
        luck: show_luck(&*store, nbits, now_ms).await?,
        template,
        last_block_height: store.blocks(1).await?.first().map(|block| block.found.height),
        health: health::look(&live, &*store, &Counted::now(&live.metrics)).await,
    }))
}
