//! Screening: the lists, whom they restrain, and what operators decide about it.

use axum::{Extension, extract::State};
use payouts::{account::User, export::screened::ReviewReason};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{answered, by};
use crate::{
    api::{
        auth::Caller,
        extract::{Json, Path},
        problem::Problem,
    },
    operations::{
        Desk, Outcome, Request, Words,
        screening::{AcceptReport, ReviewReport, ReviewRequest, ScreenedText, ScreeningReport},
    },
};

/// The lists, and whom they restrain and why.
#[utoipa::path(
    get,
    path = "/api/v1/screening",
    operation_id = "show_screening",
    tag = "screening",
    responses((status = OK, description = "How screening stands", body = ScreeningReport))
)]
pub(super) async fn status(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
) -> Result<axum::Json<ScreeningReport>, Problem> {
    answered!(desk.ask(&caller.actor(), Request::Screening).await?, Outcome::Screening)
}

/// What to look for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    /// An address or a name.
    #[schema(value_type = String)]
    text: Words,
}

/// What lists have about an address or a name. Nothing comes of it.
#[utoipa::path(
    post,
    path = "/api/v1/screening/check",
    operation_id = "check_screening",
    tag = "screening",
    request_body = Look,
    responses((status = OK, description = "What was found", body = ScreenedText))
)]
pub(super) async fn check(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Json(Look { text }): Json<Look>,
) -> Result<axum::Json<ScreenedText>, Problem> {
    answered!(desk.ask(&caller.actor(), Request::Screen { text }).await?, Outcome::Screened)
}

/// An operator's word that an account may be released.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReview {
    /// Whose release: the address or name.
    #[schema(value_type = String)]
    account: User,
    /// `FALSE_POSITIVE`, `DELISTED`, `AUTHORISED` or `DATA_COMPLETE`.
    #[schema(value_type = String)]
    reason: ReviewReason,
    /// Why, in words.
    #[schema(value_type = String)]
    text: Words,
    /// Under which reference an authority allows it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    authorisation: Option<Words>,
}

/// Says that an account that screening found may be released. It takes two tokens of different people.
#[utoipa::path(
    post,
    path = "/api/v1/screening/reviews",
    operation_id = "review_screening",
    tag = "screening",
    request_body = NewReview,
    responses((status = OK, description = "What became of it", body = ReviewReport))
)]
pub(super) async fn review(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Json(NewReview { account, reason, text, authorisation }): Json<NewReview>,
) -> Result<axum::Json<ReviewReport>, Problem> {
    let review = ReviewRequest { account, by: by(&caller)?, reason, text, authorisation };
    answered!(desk.ask(&caller.actor(), Request::Review(review)).await?, Outcome::Reviewed)
}

/// Why a list is right.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Accept {
    /// In words.
    #[schema(value_type = String)]
    text: Words,
}

/// Says that a list is right although it is much smaller than the one before. It takes two tokens of different people.
#[utoipa::path(
    post,
    path = "/api/v1/screening/lists/{list}/accept",
    operation_id = "accept_screening_list",
    tag = "screening",
    params(("list" = String, Path, description = "Its name")),
    request_body = Accept,
    responses((status = OK, description = "What became of it", body = AcceptReport))
)]
pub(super) async fn accept(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(list): Path<String>,
    Json(Accept { text }): Json<Accept>,
) -> Result<axum::Json<AcceptReport>, Problem> {
    let request = Request::AcceptList { list, by: by(&caller)?, text };
    answered!(desk.ask(&caller.actor(), request).await?, Outcome::ListAccepted)
}
