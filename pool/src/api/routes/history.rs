//! The pool's past and that of accounts, as charts draw it.

use std::sync::Arc;

use axum::extract::State;
use payouts::store::Store;
use serde::Deserialize;

use super::user;
use crate::{
    api::{
        extract::{Path, Query},
        problem::Problem,
    },
    operations::{
        account::find_account,
        history::{HistoryReport, SpanName, account_history, pool_history},
    },
};

/// How far back.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Back {
    /// A day if it is not said.
    #[param(inline)]
    span: Option<SpanName>,
}

/// How far back, and of whom.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BackOf {
    /// A day if it is not said.
    #[param(inline)]
    span: Option<SpanName>,
    /// One worker alone, by its name, which may be empty; the whole account if it is not said.
    worker: Option<String>,
}

/// The pool's hash rate by stretches of time up to now, with what was refused.
#[utoipa::path(
    get,
    path = "/api/v1/history",
    operation_id = "show_pool_history",
    tag = "pool",
    params(Back),
    responses((status = OK, description = "The past", body = HistoryReport))
)]
pub(super) async fn pool(
    State(store): State<Arc<dyn Store>>,
    Query(Back { span }): Query<Back>,
) -> Result<axum::Json<HistoryReport>, Problem> {
    Ok(axum::Json(pool_history(&*store, span.unwrap_or_default()).await?))
}

/// An account's hash rate by stretches of time up to now, or that of one of its workers, with what was refused.
#[utoipa::path(
    get,
    path = "/api/v1/accounts/{account}/history",
    operation_id = "show_account_history",
    tag = "accounts",
    params(BackOf, ("account" = String, Path, description = "Its address or name")),
    responses((status = OK, description = "The past", body = HistoryReport))
)]
pub(super) async fn account(
    State(store): State<Arc<dyn Store>>,
    Path(account): Path<String>,
    Query(BackOf { span, worker }): Query<BackOf>,
) -> Result<axum::Json<HistoryReport>, Problem> {
    let account = find_account(&*store, &user(&account)?).await?.id;
    let span = span.unwrap_or_default();
    Ok(axum::Json(account_history(&*store, account, worker.as_deref(), span).await?))
}
