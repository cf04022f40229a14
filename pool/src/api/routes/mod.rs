//! The routes, by theme.

mod health;
mod tokens;

use utoipa_axum::{router::OpenApiRouter, routes};

use super::{App, problem::Problem};
use crate::operations::Outcome;

/// Adds all routes.
pub(super) fn add(router: OpenApiRouter<App>) -> OpenApiRouter<App> {
    router
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(tokens::list, tokens::add))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::audit))
}

/// The desk has answered something else than what was asked.
fn unexpected(outcome: &Outcome) -> Problem {
    let debug = format!("{outcome:?}");
    let name = debug.split(['(', ' ']).next().unwrap_or_default();
    Problem::failed(format!("the pool answers with something else: {name}"))
}
