//! A miner's pages: what his devices do and what he is due, without an account or a log-in.
//!
//! Owns the overview. What it is made of is worked out once for all who look, every few seconds at most.

pub(super) mod connect;
mod device;
mod expected;
mod figures;
mod live;
mod progress;
mod statements;
mod why;

use std::time::Instant;

use askama::Template;
use axum::{
    Extension, Router,
    extract::{RawQuery, State},
    response::Response,
    routing::get,
};
use payouts::history::Subject;

use self::{
    connect::Connect,
    figures::{Money, Work},
    live::Live,
};
pub(in crate::pages) use self::{device::Tests, figures::Figures, statements::TaxStatements};
use super::now_ms;
use crate::{
    operations::Refusal,
    pages::{
        Pages,
        chart::Chart,
        fields::Fields,
        frame::{self, Frame},
        miners::Miner,
    },
};

/// The pages of one miner. Whose they are, and who may see them, is looked at before.
pub(super) fn routes() -> Router<Pages> {
    Router::new()
        .route("/m/{miner}", get(show))
        .route("/m/{miner}/history.json", get(super::history::miner))
        .route("/m/{miner}/payouts", get(why::payouts))
        .route("/m/{miner}/payouts/{payout}", get(why::payout))
        .route("/m/{miner}/blocks", get(why::blocks))
        .route("/m/{miner}/blocks/{hash}", get(why::block))
        .route("/m/{miner}/work/{period}", get(why::work))
        .route("/m/{miner}/test", get(device::show))
        .route("/m/{miner}/test/events", get(device::events))
        .route("/m/{miner}/statements", get(statements::show))
        .route("/m/{miner}/ledger.csv", get(statements::ledger))
        .route("/m/{miner}/statement", get(statements::statement))
}

/// The ways between a miner's pages.
struct Nav {
    base: String,
    here: &'static str,
}

impl Nav {
    fn new(miner: &Miner, here: &'static str) -> Nav {
        Nav { base: miner.path(), here }
    }
}

#[derive(Template)]
#[template(path = "miner.html")]
struct Overview {
    frame: Frame,
    nav: Nav,
    name: Option<String>,
    address: String,
    figures: Option<(Work, Money, Chart)>,
    live: Live,
    connect: Connect,
}

/// What a miner's devices do, and what he is due.
async fn show(State(pages): State<Pages>, Extension(miner): Extension<Miner>, RawQuery(query): RawQuery) -> Response {
    let fields = Fields::read(query.unwrap_or_default().as_bytes());
    match overview(&pages, &miner, &fields).await {
        Ok(page) => frame::page(&page),
        Err(refusal) => frame::refused(miner.viewer.as_ref(), &pages, &refusal),
    }
}

async fn overview(pages: &Pages, miner: &Miner, fields: &Fields) -> Result<Overview, Refusal> {
    let live = Live::new(pages.live.roster.channels_of(&miner.address), Instant::now(), now_ms());
    let figures = match &miner.account {
        Some(account) => {
            let figures = pages.figures.of(pages, account).await?;
            let url = format!("{}/history.json", miner.path());
            let chart = Chart::new(pages, Subject::Account(account.id), url).await?;
            Some((Work::new(&figures, &live), Money::new(&figures, pages, account).await?, chart))
        }
        None => None,
    };
    let name = miner.account.as_ref().and_then(|account| account.name.as_ref()).map(ToString::to_string);
    let frame = Frame { is_live: true, ..Frame::open(pages, miner.viewer.as_ref(), "/m", "Mining page") };
    // Firmware cuts what is too long: who has a name had better use it.
    let user = name.clone().unwrap_or_else(|| miner.address.clone());
    Ok(Overview {
        frame,
        nav: Nav::new(miner, ""),
        connect: Connect::new(&pages.about.miner_url, Some(&user), fields.text("worker")),
        address: miner.address.clone(),
        name,
        figures,
        live,
    })
}
