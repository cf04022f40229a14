//! What happens in the pool, as it happens.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};

use crate::api::{
    Live,
    problem::{Problem, ProblemCode},
};

/// What happens from now on, as server-sent events, each with JSON: `shares` (each second: what was accepted and refused),
/// `block` (`found`, then `submitted` or `rejected` with what a node has answered, `immature` once the books have it, and at last
/// `matured` or `orphaned`), `payout` (a batch is new, or its state changed), `connection` (some have come or gone), and `lagged`
/// with how many were missed, for who reads too slowly. A stream ends after ten minutes, and is to be asked for again then.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    operation_id = "follow_events",
    tag = "pool",
    responses((status = OK, description = "The events", content_type = "text/event-stream", body = String))
)]
pub(super) async fn events(State(live): State<Arc<Live>>) -> Response {
    match live.events.follow() {
        Some(followed) => followed.into_answer().into_response(),
        None => {
            let detail = "as many streams of events are open as may be; close one, or ask again later";
            Problem::new(ProblemCode::Unavailable, detail).into_response()
        }
    }
}
