//! Payouts: what is due, what a run would pay, and the batches with what operators decide about them.

use std::sync::Arc;

use axum::{Extension, extract::State, http::StatusCode};
use bitcoin::base64::{Engine, engine::general_purpose::STANDARD};
use payouts::{account::User, payout::BatchId, store::Store};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{answered, by, user};
use crate::{
    api::{
        auth::Caller,
        extract::{Json, Path, Query},
        paging::{Listed, Page},
        problem::Problem,
    },
    operations::{
        Desk, Outcome, PsbtBytes, Request, Words,
        report::{BatchChange, BatchReport, BatchSummary, PreviewReport, Ran, Status},
    },
};

/// Most copies of a transaction, each signed by another key.
const MAX_COPIES: usize = 16;

/// What is due, what is under way, what it waits for.
#[utoipa::path(
    get,
    path = "/api/v1/payouts",
    operation_id = "show_payouts",
    tag = "payouts",
    responses((status = OK, description = "How payouts stand", body = Status))
)]
pub(super) async fn status(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
) -> Result<axum::Json<Status>, Problem> {
    answered!(desk.ask(&caller.actor(), Request::Status).await?, Outcome::Status)
}

/// Whom a dry run is for.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ForWhom {
    /// This account alone, also below its threshold: its address or name.
    account: Option<String>,
}

/// What a run would pay now. Nothing is done.
#[utoipa::path(
    get,
    path = "/api/v1/payouts/next",
    operation_id = "show_next_payouts",
    tag = "payouts",
    params(ForWhom),
    responses((status = OK, description = "What would be paid", body = PreviewReport))
)]
pub(super) async fn next(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Query(ForWhom { account }): Query<ForWhom>,
) -> Result<axum::Json<PreviewReport>, Problem> {
    let account = account.as_deref().map(user).transpose()?;
    answered!(desk.ask(&caller.actor(), Request::Preview { account }).await?, Outcome::Preview)
}

/// The batches, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/payouts/batches",
    operation_id = "list_batches",
    tag = "payouts",
    params(Page),
    responses((status = OK, description = "The batches", body = Listed<BatchSummary>))
)]
pub(super) async fn list(
    State(store): State<Arc<dyn Store>>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Listed<BatchSummary>>, Problem> {
    let (limit, after) = (page.limit()?, page.after()?);
    let batches = store.batches_before(after.map(BatchId::new), limit + 1).await?;
    let listed = Listed::new(batches, limit, |batch| batch.id.to_string());
    Ok(axum::Json(listed.map(|batch| BatchSummary::from(&batch))))
}

/// Whom to pay.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    /// This account alone, also below its threshold: its address or name.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    account: Option<User>,
}

/// Pays now what is due, whatever the schedule says.
#[utoipa::path(
    post,
    path = "/api/v1/payouts/batches",
    operation_id = "run_payouts",
    tag = "payouts",
    request_body = Run,
    responses((status = CREATED, description = "What was made", body = Ran))
)]
pub(super) async fn run(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Json(Run { account }): Json<Run>,
) -> Result<(StatusCode, axum::Json<Ran>), Problem> {
    let outcome = desk.ask(&caller.actor(), Request::Run { account }).await?;
    Ok((StatusCode::CREATED, answered!(outcome, Outcome::Ran)?))
}

/// One batch with all that is known of it.
#[utoipa::path(
    get,
    path = "/api/v1/payouts/batches/{batch}",
    operation_id = "show_batch",
    tag = "payouts",
    params(("batch" = i64, Path, description = "Its number")),
    responses((status = OK, description = "The batch", body = BatchReport))
)]
pub(super) async fn show(
    State(store): State<Arc<dyn Store>>,
    Path(batch): Path<i64>,
) -> Result<axum::Json<BatchReport>, Problem> {
    let id = BatchId::new(batch);
    let found = store.batch(id).await?.ok_or_else(|| Problem::not_found(format!("there is no batch {id}")))?;
    Ok(axum::Json(BatchReport::new(&found, store.batch_events(id).await?)))
}

/// Lets a batch be signed. On record is the token's label.
#[utoipa::path(
    post,
    path = "/api/v1/payouts/batches/{batch}/approve",
    operation_id = "approve_batch",
    tag = "payouts",
    params(("batch" = i64, Path, description = "Its number")),
    responses((status = OK, description = "The batch", body = BatchChange))
)]
pub(super) async fn approve(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(batch): Path<i64>,
) -> Result<axum::Json<BatchChange>, Problem> {
    let request = Request::Approve { batch: BatchId::new(batch), by: by(&caller)? };
    answered!(desk.ask(&caller.actor(), request).await?, Outcome::Approved)
}

/// Why a batch is given up.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancel {
    /// In words, for the record.
    #[schema(value_type = String)]
    reason: Words,
    /// Also if it was exported: somebody is sure that nobody signs that file.
    #[serde(default)]
    even_if_exported: bool,
}

/// Gives up a batch that was never signed: what it took is due again.
#[utoipa::path(
    post,
    path = "/api/v1/payouts/batches/{batch}/cancel",
    operation_id = "cancel_batch",
    tag = "payouts",
    params(("batch" = i64, Path, description = "Its number")),
    request_body = Cancel,
    responses((status = OK, description = "The batch", body = BatchChange))
)]
pub(super) async fn cancel(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(batch): Path<i64>,
    Json(Cancel { reason, even_if_exported }): Json<Cancel>,
) -> Result<axum::Json<BatchChange>, Problem> {
    let request = Request::Cancel { batch: BatchId::new(batch), reason, even_if_exported };
    answered!(desk.ask(&caller.actor(), request).await?, Outcome::Cancelled)
}

/// What a replacement pays.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Bump {
    /// Its fee rate, satoshis a virtual byte, 1 to 10,000.
    fee_rate_sat_per_vb: u32,
}

/// Replaces a batch's transaction by one that pays the network more.
#[utoipa::path(
    post,
    path = "/api/v1/payouts/batches/{batch}/bump",
    operation_id = "bump_batch",
    tag = "payouts",
    params(("batch" = i64, Path, description = "Its number")),
    request_body = Bump,
    responses((status = OK, description = "The batch", body = BatchSummary))
)]
pub(super) async fn bump(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(batch): Path<i64>,
    Json(Bump { fee_rate_sat_per_vb }): Json<Bump>,
) -> Result<axum::Json<BatchSummary>, Problem> {
    if !(1..=10_000).contains(&fee_rate_sat_per_vb) {
        return Err(Problem::invalid(format!("fee_rate_sat_per_vb: {fee_rate_sat_per_vb} is not from 1 to 10000")));
    }
    let request = Request::Bump { batch: BatchId::new(batch), fee_rate_sat_per_vb };
    answered!(desk.ask(&caller.actor(), request).await?, Outcome::Bumped)
}

/// A transaction to be signed elsewhere.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct PsbtToSign {
    /// Whose transaction it is.
    batch: BatchSummary,
    /// The transaction (BIP 174), in base64.
    psbt: String,
}

/// Hands out a batch's transaction to be signed elsewhere. It is on record that it was.
#[utoipa::path(
    post,
    path = "/api/v1/payouts/batches/{batch}/psbt/export",
    operation_id = "export_batch_psbt",
    tag = "payouts",
    params(("batch" = i64, Path, description = "Its number")),
    responses((status = OK, description = "The transaction", body = PsbtToSign))
)]
pub(super) async fn export_psbt(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(batch): Path<i64>,
) -> Result<axum::Json<PsbtToSign>, Problem> {
    match desk.ask(&caller.actor(), Request::ExportPsbt { batch: BatchId::new(batch) }).await? {
        Outcome::Psbt(exported) => {
            Ok(axum::Json(PsbtToSign { batch: exported.batch, psbt: STANDARD.encode(exported.psbt.0) }))
        }
        other => Err(super::unexpected(&other)),
    }
}

/// A transaction that was signed elsewhere.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedPsbts {
    /// It (BIP 174), in base64: signed by all keys, or a copy signed by each.
    psbts: Vec<String>,
}

/// Takes in a batch's transaction that was signed elsewhere, and sends it.
#[utoipa::path(
    post,
    path = "/api/v1/payouts/batches/{batch}/psbt",
    operation_id = "import_batch_psbt",
    tag = "payouts",
    params(("batch" = i64, Path, description = "Its number")),
    request_body = SignedPsbts,
    responses((status = OK, description = "The batch", body = BatchChange))
)]
pub(super) async fn import_psbt(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(batch): Path<i64>,
    Json(SignedPsbts { psbts }): Json<SignedPsbts>,
) -> Result<axum::Json<BatchChange>, Problem> {
    if !(1..=MAX_COPIES).contains(&psbts.len()) {
        return Err(Problem::invalid(format!("psbts: {} are not 1 to {MAX_COPIES}", psbts.len())));
    }
    let decode = |text: &String| {
        let bytes = STANDARD.decode(text.trim()).map_err(|error| Problem::invalid(format!("psbts: {error}")))?;
        Ok::<_, Problem>(PsbtBytes(bytes))
    };
    let psbts = psbts.iter().map(decode).collect::<Result<_, _>>()?;
    let request = Request::ImportPsbt { batch: BatchId::new(batch), psbts };
    answered!(desk.ask(&caller.actor(), request).await?, Outcome::Imported)
}
