//! Addresses that are banned from the miners' port.

use std::net::IpAddr;

use axum::{Extension, extract::State};

use super::{answered, unexpected};
use crate::{
    api::{
        auth::Caller,
        extract::{Path, Query},
        paging::{Listed, Page},
        problem::Problem,
    },
    operations::{
        Desk, Outcome, Request,
        port::{BanLifted, BanReport},
    },
};

/// The addresses that are banned.
#[utoipa::path(
    get,
    path = "/api/v1/bans",
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

/// Lets a banned address connect again.
#[utoipa::path(
    delete,
    path = "/api/v1/bans/{address}",
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
