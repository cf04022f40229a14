//! The ledger and the reserve.

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, http::header, response::IntoResponse};
use payouts::{
    ledger::{Entry, EntrySeq, LedgerError},
    store::{EntryFilter, EntryLine, EntryRange, Store},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{answered, user};
use crate::{
    api::{
        auth::Caller,
        extract::{Json, Path, Query},
        paging::{Listed, Page},
        problem::Problem,
    },
    operations::{
        Desk, Outcome, Request, Words,
        ledger::{LedgerSums, WantedEntries, entries_table, entry_filter, find_entry, show_sums},
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
    /// How many postings it has.
    posting_count: u64,
    /// The sum of its debits, which is that of its credits.
    amount_sat: u64,
    /// Its postings, which sum to zero; a list has them if it is asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    postings: Option<Vec<LedgerBalance>>,
    /// The hash of the entry before it.
    previous: String,
    /// Its hash, over that of the entry before it.
    hash: String,
}

impl From<EntryLine> for EntryReport {
    fn from(line: EntryLine) -> EntryReport {
        EntryReport {
            seq: line.seq.get(),
            kind: line.kind.to_string(),
            key: line.key,
            corrects: line.corrects.map(EntrySeq::get),
            at_ms: line.at_ms,
            posting_count: line.postings,
            amount_sat: line.amount.to_sat(),
            postings: None,
            previous: line.previous.to_string(),
            hash: line.hash.to_string(),
        }
    }
}

impl From<Entry> for EntryReport {
    fn from(entry: Entry) -> EntryReport {
        let postings = entry.postings.iter();
        let postings = postings
            .map(|posting| LedgerBalance { account: posting.account.to_string(), sat: posting.amount.to_sat() })
            .collect();
        EntryReport { postings: Some(postings), ..EntryLine::from(&entry).into() }
    }
}

/// The balances of all ledger accounts, in the order of their names.
#[utoipa::path(
    get,
    path = "/api/v1/ledger/balances",
    operation_id = "list_ledger_balances",
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

/// The balance of the books: what all ledger accounts of each class have together.
#[utoipa::path(
    get,
    path = "/api/v1/ledger/sums",
    operation_id = "show_ledger_sums",
    tag = "ledger",
    responses((status = OK, description = "The sums", body = LedgerSums))
)]
pub(super) async fn sums(State(store): State<Arc<dyn Store>>) -> Result<axum::Json<LedgerSums>, Problem> {
    Ok(axum::Json(show_sums(&*store).await?))
}

/// In which order entries are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    /// The oldest first.
    #[default]
    Oldest,
    /// The newest first.
    Newest,
}

/// Which entries.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EntriesPage {
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before, in the same order.
    after: Option<String>,
    /// `oldest` or `newest` first; the oldest if it is not said.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// Those alone that record this, such as `block_found`.
    kind: Option<String>,
    /// Those alone that are about this miner: his address or name.
    account: Option<String>,
    /// Those alone that post to this ledger account, such as `fee` or `miner_payable:7`.
    ledger_account: Option<String>,
    /// Each with its postings, of which one can have as many as the pool has miners.
    #[serde(default)]
    postings: bool,
}

/// The entries of the ledger, in a line each unless their postings are asked for.
#[utoipa::path(
    get,
    path = "/api/v1/ledger/entries",
    operation_id = "list_ledger_entries",
    tag = "ledger",
    params(EntriesPage),
    responses((status = OK, description = "The entries", body = Listed<EntryReport>))
)]
pub(super) async fn entries(
    State(store): State<Arc<dyn Store>>,
    Query(EntriesPage { limit, after, order, kind, account, ledger_account, postings }): Query<EntriesPage>,
) -> Result<axum::Json<Listed<EntryReport>>, Problem> {
    let page = Page::new(limit, after);
    let (limit, after) = (page.limit()?, page.after()?.map(EntrySeq::new));
    let range = match order {
        Order::Oldest => EntryRange::After(after.unwrap_or(EntrySeq::new(0))),
        Order::Newest => EntryRange::Before(after),
    };
    let filter = filter(&*store, kind, account, ledger_account).await?;
    let entries: Vec<EntryReport> = match postings {
        true => store.entries_where(&filter, range, limit + 1).await?.into_iter().map(EntryReport::from).collect(),
        false => store.entry_lines(&filter, range, limit + 1).await?.into_iter().map(EntryReport::from).collect(),
    };
    Ok(axum::Json(Listed::new(entries, limit, |entry| entry.seq.to_string())))
}

/// An entry of the ledger.
#[utoipa::path(
    get,
    path = "/api/v1/ledger/entries/{entry}",
    operation_id = "show_ledger_entry",
    tag = "ledger",
    params(("entry" = i64, Path, description = "Its place")),
    responses((status = OK, description = "The entry", body = EntryReport))
)]
pub(super) async fn entry(
    State(store): State<Arc<dyn Store>>,
    Path(entry): Path<i64>,
) -> Result<axum::Json<EntryReport>, Problem> {
    Ok(axum::Json(find_entry(&*store, EntrySeq::new(entry)).await?.into()))
}

/// Which entries a table has.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EntriesTable {
    /// Those alone that record this, such as `block_found`.
    kind: Option<String>,
    /// Those alone that are about this miner: his address or name.
    account: Option<String>,
    /// Those alone that post to this ledger account, such as `fee` or `miner_payable:7`.
    ledger_account: Option<String>,
}

/// The entries of the ledger as CSV, a line for each posting, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/ledger/entries.csv",
    operation_id = "download_ledger_entries",
    tag = "ledger",
    params(EntriesTable),
    responses((status = OK, description = "The table", content_type = "text/csv", body = String))
)]
pub(super) async fn entries_csv(
    State(store): State<Arc<dyn Store>>,
    Query(EntriesTable { kind, account, ledger_account }): Query<EntriesTable>,
) -> Result<impl IntoResponse, Problem> {
    let filter = filter(&*store, kind, account, ledger_account).await?;
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
    Ok((headers, Body::from_stream(entries_table(store, filter))))
}

async fn filter(
    store: &dyn Store,
    kind: Option<String>,
    account: Option<String>,
    ledger_account: Option<String>,
) -> Result<EntryFilter, Problem> {
    let unknown = |error: LedgerError| Problem::invalid(error.to_string());
    let wanted = WantedEntries {
        kind: kind.map(|kind| kind.parse().map_err(unknown)).transpose()?,
        account: account.map(|account| user(&account)).transpose()?,
        ledger_account: ledger_account.map(|account| account.parse().map_err(unknown)).transpose()?,
    };
    Ok(entry_filter(store, &wanted).await?)
}

/// The reserve out of which PPS, FPPS and PPS+ pay, and the periods of work that wait for it.
#[utoipa::path(
    get,
    path = "/api/v1/reserve",
    operation_id = "show_reserve",
    tag = "ledger",
    responses((status = OK, description = "The reserve", body = ReserveReport))
)]
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
    operation_id = "fund_reserve",
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
    operation_id = "assign_reserve",
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
