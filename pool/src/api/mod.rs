//! The admin API: what operators and watchers see of the pool, and what operators do, over HTTP.
//!
//! Owns routes, tokens at the door, problems, pages and keys of requests. What is done belongs to [`crate::operations`]:
//! a handler makes a request of what a client has sent, and hands it in at the desk, or reads from the store.
//!
//! A request passes, in this order: the bound on its address (`limits`), its token and the table of rules (`auth`,
//! `rules`), its key if it moves money (`idempotency`), and then its handler in `routes`.

mod auth;
pub(crate) mod certificate;
pub(crate) mod counted;
pub(crate) mod course;
mod extract;
pub(crate) mod health;
mod idempotency;
mod limits;
mod listener;
mod live;
mod openapi;
mod paging;
mod problem;
mod routes;
mod rules;

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef, Request},
    http::{HeaderValue, Method, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use payouts::{access::Role, store::Store};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::error;

use self::{auth::Uses, idempotency::UnderWay, limits::RequestRates, problem::Problem};
pub use self::{
    certificate::{LITTLE_VALIDITY_S, certificate_validity},
    listener::ApiPort,
    live::Live,
    problem::ProblemCode,
};
use crate::{config::ApiConfig, operations::Desk, register::Register};

/// What handlers take from: each takes only the part that it needs.
#[derive(Clone, Debug, FromRef)]
pub struct App {
    store: Arc<dyn Store>,
    desk: Desk,
    live: Arc<Live>,
    register: Arc<Register>,
    uses: Arc<Uses>,
    rates: Arc<RequestRates>,
    under_way: Arc<UnderWay>,
}

impl App {
    /// Brings together what the API shows and where it hands in requests.
    pub fn new(store: Arc<dyn Store>, desk: Desk, live: Arc<Live>, register: Arc<Register>, config: &ApiConfig) -> App {
        let rates = Arc::new(RequestRates::new(config.requests_per_second));
        App { store, desk, live, register, uses: Arc::default(), rates, under_way: Arc::default() }
    }

    /// Returns the API as something that answers requests, with the pages beside it, and the page for where there is
    /// nothing.
    pub fn router(self, pages: Router<App>, nothing: fn() -> Response) -> Router {
        let (routes, _) = openapi::router();
        routes
            .route_layer(middleware::from_fn_with_state(self.clone(), idempotency::once))
            .route_layer(middleware::from_fn_with_state(self.clone(), auth::authorise))
            .merge(pages)
            .fallback(move |uri: Uri| async move { if is_of_the_api(&uri) { no_route() } else { nothing() } })
            .layer(DefaultBodyLimit::max(idempotency::MAX_BODY_BYTES))
            .layer(middleware::from_fn_with_state(self.clone(), limits::limit))
            .layer(middleware::from_fn(add_headers))
            .layer(CatchPanicLayer::custom(panicked))
            .with_state(self)
    }
}

/// Returns the least role that a route of the API takes; none if it takes no token, or there is no such route.
pub(crate) fn least_role(method: &Method, path: &str) -> Option<Role> {
    rules::find(method, path)?.access.least_role()
}

/// Programs hear of a problem, people see a page.
fn is_of_the_api(uri: &Uri) -> bool {
    uri.path().starts_with("/api/")
}

fn no_route() -> Response {
    Problem::not_found("there is nothing at this path: see /api/docs").into_response()
}

/// Nothing of the API is kept by whoever passes it on, and nothing in it is taken for what it is not.
async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}

/// A handler that panics ends its own request alone.
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    error!(panic = words.unwrap_or_default(), "a request of the API failed");
    Problem::new(ProblemCode::Failed, "the pool failed, see its log").into_response()
}

#[cfg(test)]
mod tests;
