//! The pasts that charts of pages draw, as the API tells them.

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use crate::{
    operations::history::{SpanName, pool_history},
    pages::{Pages, frame},
};

/// How far back a chart goes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(in crate::pages) struct Back {
    #[serde(default)]
    span: SpanName,
}

/// The pool's past.
pub(in crate::pages) async fn pool(State(pages): State<Pages>, Query(Back { span }): Query<Back>) -> Response {
    match pool_history(&*pages.store, span).await {
        Ok(report) => Json(report).into_response(),
        Err(refusal) => frame::refused(None, &pages, &refusal),
    }
}
