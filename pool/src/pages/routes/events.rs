//! What happens in the pool, for browsers that show it.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::pages::Pages;

/// The same stream as the API's. A browser that gets none asks for pages now and then instead.
pub(in crate::pages) async fn follow(State(pages): State<Pages>) -> Response {
    match pages.live.events.follow() {
        Some(followed) => followed.into_answer().into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
