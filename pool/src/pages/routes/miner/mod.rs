//! A miner's pages: what his devices do and what he is due, without an account or a log-in.
//!
//! Owns the overview. What it is made of is worked out once for all who look, every few seconds at most.

pub(super) mod connect;
mod device;
mod events;
mod expected;
mod figures;
mod judged;
mod live;
mod progress;
mod sliced;
mod statements;
mod why;

use std::time::Instant;

use askama::Template;
use axum::{Router, routing::get};
use payouts::history::Subject;

use self::{
    connect::Connect,
    figures::{Money, Work},
    judged::JudgedShares,
    live::Live,
};
pub(in crate::pages) use self::{figures::Figures, statements::TaxStatements};
use super::now_ms;
use crate::pages::{
    Pages,
    asked::{Shown, page},
    chart::Chart,
    frame::Frame,
    miners::{Miner, Visit},
};

/// The pages of one miner. Whose they are, and who may see them, is looked at before.
pub(super) fn routes() -> Router<Pages> {
    Router::new()
        .route("/m/{miner}", get(show))
        .route("/m/{miner}/events", get(events::follow))
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
    figures: Option<(Work, JudgedShares, Money, Chart)>,
    live: Live,
    connect: Connect,
}

/// What a miner's devices do, and what he is due.
async fn show(visit: Visit) -> Shown {
    let Visit { pages, miner, fields } = &visit;
    let live = Live::new(pages.live.roster.channels_of(&miner.address), Instant::now(), now_ms());
    let figures = match &miner.account {
        Some(account) => {
            let figures = pages.figures.of(pages, account).await?;
            let url = format!("{}/history.json", miner.path());
            let chart = Chart::new(pages, Subject::Account(account.id), url).await?;
            let judged = JudgedShares::of(pages, account.id, &live).await?;
            Some((Work::new(&figures, &live), judged, Money::new(&figures, pages, account).await?, chart))
        }
        None => None,
    };
    let name = miner.account.as_ref().and_then(|account| account.name.as_ref()).map(ToString::to_string);
    // Firmware cuts what is too long: who has a name had better use it.
    let user = name.clone().unwrap_or_else(|| miner.address.clone());
    page(&Overview {
        frame: visit.frame("Mining page").live_by(format!("{}/events", miner.path())),
        nav: Nav::new(miner, ""),
        connect: Connect::new(&pages.about.miner_url, Some(&user), fields.text("worker")),
        address: miner.address.clone(),
        name,
        figures,
        live,
    })
}
