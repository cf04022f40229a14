//! The pasts that charts of pages draw, as the API tells them.

use axum::{
    Extension, Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use payouts::history::Subject;
use serde::Deserialize;

use crate::{
    operations::{
        Refusal,
        history::{SpanName, subject},
    },
    pages::{Pages, frame, miners::Miner},
};

/// How far back a chart goes, and of which worker alone.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::pages) struct Back {
    #[serde(default)]
    span: SpanName,
    worker: Option<String>,
}

/// The pool's past.
pub(in crate::pages) async fn pool(State(pages): State<Pages>, Query(back): Query<Back>) -> Response {
    told(&pages, Ok(Subject::Pool), back.span).await
}

/// A miner's past, or that of one of his workers.
pub(super) async fn miner(
    State(pages): State<Pages>,
    Extension(miner): Extension<Miner>,
    Query(Back { span, worker }): Query<Back>,
) -> Response {
    let subject = match miner.known() {
        Ok(account) => subject(&*pages.store, account.id, worker.as_deref()).await,
        Err(refusal) => Err(refusal),
    };
    told(&pages, subject, span).await
}

async fn told(pages: &Pages, subject: Result<Subject, Refusal>, span: SpanName) -> Response {
    let report = match subject {
        Ok(subject) => pages.pasts.report(pages, subject, span).await,
        Err(refusal) => Err(refusal),
    };
    match report {
        Ok(report) => Json(&*report).into_response(),
        Err(refusal) => frame::refused(None, &refusal),
    }
}
