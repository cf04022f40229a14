//! The ledger and the reserve.

use std::sync::Arc;

use axum::{Extension, extract::State};
use payouts::{
    ledger::{Entry, EntrySeq},
    store::Store,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answered;
use crate::{
    api::{
        auth::Caller,
        extract::{Json, Query},
        paging::{Listed, Page},
        problem::Problem,
    },
    operations::{
        Desk, Outcome, Request, Words,
        reserve::{GiftSource, Given, ReserveReport, show_reserve},
    },
};

/// The balance of a ledger account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct LedgerBalance {
    /// The ledger account, such as `fee` or `miner_payable:7`.
    account: String,
    /// Its balance. What the pool owes is negative.
    sat: i64,
}

/// An entry of the ledger.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct EntryReport {
    /// Its place.
    seq: i64,
    /// What it records.
    kind: String,
    /// What it is about.
    key: String,
    /// The entry that it undoes.
    corrects: Option<i64>,
    /// When it was posted, in milliseconds since 1970 UTC.
    at_ms: i64,
    /// Its lines, which sum to zero.
    postings: Vec<LedgerBalance>,
    /// Its hash, over that of the entry before it.
    hash: String,
}

impl From<Entry> for EntryReport {
    fn from(entry: Entry) -> EntryReport {
        let postings = entry.postings.iter();
        EntryReport {
            seq: entry.seq.get(),
            kind: entry.kind.to_string(),
            key: entry.key,
            corrects: entry.corrects.map(EntrySeq::get),
            at_ms: entry.at_ms,
            postings: postings
                .map(|posting| LedgerBalance { account: posting.account.to_string(), sat: posting.amount.to_sat() })
                .collect(),
            hash: entry.hash.to_string(),
        }
    }
}

/// The balances of all ledger accounts, in the order of their names.
#[utoipa::path(
    get,
    path = "/api/v1/ledger/balances",
    tag = "ledger",
    params(Page),
    responses((status = OK, description = "The balances", body = Listed<LedgerBalance>))
)]
pub(super) async fn balances(
    State(store): State<Arc<dyn Store>>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Listed<LedgerBalance>>, Problem> {
    let balances = store.balances().await?.into_iter();
    let mut balances: Vec<_> = balances
        .map(|(account, amount)| LedgerBalance { account: account.to_string(), sat: amount.to_sat() })
        .collect();
    balances.sort_by(|one, other| one.account.cmp(&other.account));
    Ok(axum::Json(Listed::of_all(balances, &page, |balance| balance.account.clone())?))
}

/// The entries of the ledger, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/ledger/entries",
    tag = "ledger",
    params(Page),
    responses((status = OK, description = "The entries", body = Listed<EntryReport>))
)]
pub(super) async fn entries(
    State(store): State<Arc<dyn Store>>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Listed<EntryReport>>, Problem> {
    let (limit, after) = (page.limit()?, page.after()?.unwrap_or(0));
    let entries = store.entries(EntrySeq::new(after), limit + 1).await?;
    let listed = Listed::new(entries, limit, |entry| entry.seq.to_string());
    Ok(axum::Json(listed.map(EntryReport::from)))
}

/// The reserve out of which PPS, FPPS and PPS+ pay, and the periods of work that wait for it.
#[utoipa::path(get, path = "/api/v1/reserve", tag = "ledger", responses((status = OK, description = "The reserve", body = ReserveReport)))]
pub(super) async fn reserve(State(store): State<Arc<dyn Store>>) -> Result<axum::Json<ReserveReport>, Problem> {
    Ok(axum::Json(show_reserve(&*store).await?))
}

/// Money of the pool for the reserve.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fund {
    /// How much.
    sat: u64,
    /// Out of what.
    from: GiftSource,
    /// A name for it: the same again gives nothing twice.
    #[schema(value_type = String)]
    reference: Words,
}

/// Gives money of the pool to the reserve.
#[utoipa::path(
    post,
    path = "/api/v1/reserve/fund",
    tag = "ledger",
    request_body = Fund,
    responses((status = OK, description = "What was given", body = Given))
)]
pub(super) async fn fund(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Json(Fund { sat, from, reference }): Json<Fund>,
) -> Result<axum::Json<Given>, Problem> {
    answered!(desk.ask(&caller.actor(), Request::FundReserve { sat, from, reference }).await?, Outcome::Given)
}

/// Deposits for the fee.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Assign {
    /// How much.
    sat: u64,
    /// A name for it: the same again gives nothing twice.
    #[schema(value_type = String)]
    reference: Words,
}

/// Gives deposits to the fee.
#[utoipa::path(
    post,
    path = "/api/v1/reserve/assign",
    tag = "ledger",
    request_body = Assign,
    responses((status = OK, description = "What was given", body = Given))
)]
pub(super) async fn assign(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Json(Assign { sat, reference }): Json<Assign>,
) -> Result<axum::Json<Given>, Problem> {
    answered!(desk.ask(&caller.actor(), Request::AssignDeposits { sat, reference }).await?, Outcome::Given)
}
