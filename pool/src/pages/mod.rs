//! The pages of the pool: the operator's dashboard, and a page for each miner. HTML from the same port as the API.
//!
//! Owns what is shown and the sessions of browsers. What is done belongs to [`crate::operations`]; who may do it, to the
//! table of the API's rules, of which `doors` names a row for each page. No page needs a script: with one, the figures
//! keep up by themselves. Nothing comes from elsewhere, and nothing stands in a page that could run.

mod account_form;
mod asked;
mod assets;
mod chart;
mod doors;
mod fields;
mod frame;
mod guard;
mod help;
mod kept;
mod links;
mod log_in;
mod luck;
mod miners;
mod routes;
mod session;
mod show;
mod ways;

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRef, Request},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use payouts::store::Store;
use tokio::sync::watch;

pub(crate) use self::frame::not_found;
use self::session::Sessions;
use crate::{api::Live, config::Config, events::Places, operations::Desk, register::Register};

/// What a page may load and send: its own styles, scripts and images, and its own forms. Nothing inline runs.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                                 connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Tests of devices that are followed at a time.
const MOST_TESTS: usize = 64;
/// Miners' pages that are followed at a time. Those that find no place ask for the page every few seconds.
const MOST_ONLOOKERS: usize = 256;

/// What pages take from.
#[derive(Clone, Debug, FromRef)]
pub struct Pages {
    store: Arc<dyn Store>,
    desk: Desk,
    live: Arc<Live>,
    register: Arc<Register>,
    sessions: Arc<Sessions>,
    about: Arc<About>,
    figures: Arc<routes::Figures>,
    pasts: Arc<chart::Pasts>,
    #[from_ref(skip)]
    tests: Places,
    #[from_ref(skip)]
    onlookers: Places,
    statements: Arc<routes::TaxStatements>,
}

/// What pages say of the pool.
#[derive(Clone, Debug)]
pub struct About {
    /// Where miners connect: `stratum2+tcp://HOST:PORT/KEY`.
    pub miner_url: String,
    /// Whether pages go over TLS, so that cookies go over nothing else.
    pub has_tls: bool,
    /// The settings in force, which a reload changes.
    pub settings: watch::Receiver<Arc<Config>>,
}

impl About {
    /// Returns how blocks are split, by its name in the settings.
    fn scheme(&self) -> String {
        self.settings.borrow().payout.scheme.to_string()
    }

    /// Returns the pool's fee in hundredths of a percent.
    fn fee_bp(&self) -> u16 {
        self.settings.borrow().payout.fee_bp
    }

    /// A balance is paid when it reaches this, in satoshis, unless its miner wants otherwise.
    fn threshold_sat(&self) -> u64 {
        self.settings.borrow().payout.threshold.to_sat()
    }
}

impl Pages {
    /// Brings together what pages show and where they hand in requests.
    pub fn new(store: Arc<dyn Store>, desk: Desk, live: Arc<Live>, register: Arc<Register>, about: About) -> Pages {
        let sessions = Arc::new(Sessions::new(session::IDLE, session::LONGEST));
        Pages {
            store,
            desk,
            live,
            register,
            sessions,
            about: Arc::new(about),
            figures: Arc::default(),
            pasts: Arc::default(),
            tests: Places::new(MOST_TESTS),
            onlookers: Places::new(MOST_ONLOOKERS),
            statements: Arc::default(),
        }
    }

    /// Returns the pages as something that answers requests.
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        routes::guarded()
            .route_layer(middleware::from_fn_with_state(self.clone(), guard::admit))
            .merge(routes::of_miners().route_layer(middleware::from_fn_with_state(self.clone(), miners::admit)))
            .merge(routes::open())
            .layer(middleware::from_fn(add_headers))
            .merge(Router::new().route("/assets/{*file}", get(assets::serve)))
            .with_state(self)
    }
}

async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
