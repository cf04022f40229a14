//! What watches over a pool asks: whether it lives, whether it has work, and what it counts.

use std::{sync::Arc, time::Instant};

use axum::{extract::State, http::header, response::IntoResponse};

use crate::api::{
    Live,
    problem::{Problem, ProblemCode},
};

/// The media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the process lives.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "show_health",
    tag = "health",
    responses((status = OK, description = "It does", body = String))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether miners get work: there is a template of the node, and a fresh one.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "show_readiness",
    tag = "health",
    responses((status = OK, description = "They do", body = String))
)]
pub(super) async fn readyz(State(live): State<Arc<Live>>) -> Result<&'static str, Problem> {
    match live.check_ready(Instant::now()) {
        Ok(_) => Ok("ready\n"),
        Err(reason) => Err(Problem::new(ProblemCode::NotReady, reason)),
    }
}

/// What the pool has counted, in the text format of OpenMetrics 1.0, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "show_metrics",
    tag = "health",
    responses((status = OK, description = "The metrics", content_type = "application/openmetrics-text", body = String))
)]
pub(super) async fn metrics(State(live): State<Arc<Live>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], live.metrics.text())
}
