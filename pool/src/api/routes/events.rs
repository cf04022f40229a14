//! What happens in the pool, as it happens.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::api::{Live, problem::Problem};

/// What happens from now on, as server-sent events, each with JSON: `shares` (each second: what was accepted and refused),
/// `block` (new, or its state changed), `payout` (a batch is new, or its state changed), `connection` (some have come or
/// gone), and `lagged` with how many were missed, for who reads too slowly. A stream ends after ten minutes, and is to be
/// asked for again then.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "pool",
    responses((status = OK, description = "The events", content_type = "text/event-stream", body = String))
)]
pub(super) async fn events(State(live): State<Arc<Live>>) -> Response {
    match live.events.follow() {
        Some(followed) => followed.into_answer().into_response(),
        None => {
            let detail = "as many streams of events are open as may be; close one, or ask again later";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).into_response()
        }
    }
}
