//! Addresses that are banned from the miners' port.

use std::net::IpAddr;

use axum::{Extension, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{answered, unexpected};
use crate::{
    api::{
        auth::Caller,
        extract::{Json, Path, Query},
        paging::{Listed, Page},
        problem::Problem,
    },
    operations::{
        Desk, Outcome, Request,
        port::{BanLifted, BanReport, Banned},
    },
};

/// The addresses that are banned.
#[utoipa::path(
    get,
    path = "/api/v1/bans",
    operation_id = "list_bans",
    tag = "connections",
    params(Page),
    responses((status = OK, description = "The bans", body = Listed<BanReport>))
)]
pub(super) async fn list(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Listed<BanReport>>, Problem> {
    match desk.ask(&caller.actor(), Request::Bans).await? {
        Outcome::Bans(mut bans) => {
            bans.sort_by(|one, other| one.origin.cmp(&other.origin));
            Ok(axum::Json(Listed::of_all(bans, &page, |ban| ban.origin.clone())?))
        }
        other => Err(unexpected(&other)),
    }
}

/// An address to be banned.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBan {
    /// The address; of IPv6, any of its network.
    #[schema(value_type = String)]
    address: IpAddr,
    /// For how many seconds; as configured if nothing.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 31_622_400)]
    seconds: Option<u64>,
}

/// Bans an address, and ends its connections.
#[utoipa::path(
    post,
    path = "/api/v1/bans",
    operation_id = "add_ban",
    tag = "connections",
    request_body = NewBan,
    responses((status = CREATED, description = "The ban", body = Banned))
)]
pub(super) async fn add(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Json(NewBan { address, seconds }): Json<NewBan>,
) -> Result<(StatusCode, axum::Json<Banned>), Problem> {
    let outcome = desk.ask(&caller.actor(), Request::Ban { address, seconds }).await?;
    Ok((StatusCode::CREATED, answered!(outcome, Outcome::Banned)?))
}

/// Lets a banned address connect again.
#[utoipa::path(
    delete,
    path = "/api/v1/bans/{address}",
    operation_id = "lift_ban",
    tag = "connections",
    params(("address" = String, Path, description = "The address; of IPv6, any of its network")),
    responses((status = OK, description = "What became of the ban", body = BanLifted))
)]
pub(super) async fn lift(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(address): Path<IpAddr>,
) -> Result<axum::Json<BanLifted>, Problem> {
    answered!(desk.ask(&caller.actor(), Request::LiftBan { address }).await?, Outcome::BanLifted)
}
