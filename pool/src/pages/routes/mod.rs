//! The pages, by theme. A handler reads what a page shows, or makes a request of a form and hands it in at the desk; it
//! decides nothing.

mod accounts;
mod blocks;
mod connections;
mod events;
mod help;
mod history;
mod home;
mod ledger;
mod miner;
mod parties;
mod payouts;
mod record;
mod register;
mod reports;
mod sales;
mod screening;
mod settings;
pub(super) mod start;

use axum::{
    Router,
    routing::{get, post},
};
use jiff::Timestamp;

pub(super) use self::miner::{Figures, TaxStatements};
use super::{Pages, doors, log_in};
use crate::operations::{Refusal, RefusalCode};

/// Items of a page.
const PAGE: u32 = 50;

/// The pages that take a log-in.
pub(super) fn guarded() -> Router<Pages> {
    Router::new()
        .route("/", get(home::show))
        .route("/history.json", get(history::pool))
        .route("/log-out", post(log_in::leave))
        .route(doors::EVENTS, get(events::follow))
        .merge(connections::routes())
        .route("/blocks", get(blocks::list))
        .route("/blocks/{hash}", get(blocks::show))
        .route("/blocks/{hash}/raw", get(blocks::raw))
        .route("/payouts", get(payouts::list))
        .route("/payouts/run", post(payouts::run))
        .route("/payouts/{batch}", get(payouts::show))
        .route("/payouts/{batch}/approve", post(payouts::approve))
        .route("/payouts/{batch}/cancel", post(payouts::cancel))
        .route("/payouts/{batch}/bump", post(payouts::bump))
        .route("/payouts/{batch}/psbt/export", post(payouts::export_psbt))
        .route("/payouts/{batch}/psbt", post(payouts::import_psbt))
        .merge(export())
}

/// The pages of the export register, and of screening and sales, which it tells of.
fn export() -> Router<Pages> {
    const REPORTS: &str = "/register/reports/{profile}/{period}";
    Router::new()
        .route("/register", get(register::list))
        .route("/register/{record}", get(register::show))
        .route("/register/periods", get(reports::periods))
        .route(REPORTS, get(reports::show))
        .route(&format!("{REPORTS}/files/{{file}}"), get(reports::file))
        .route(&format!("{REPORTS}/declare"), get(reports::ask_declare).post(reports::declare))
        .route(&format!("{REPORTS}/close"), get(reports::ask_close).post(reports::close))
        .route("/screening", get(screening::show))
        .route("/screening/check", post(screening::check))
        .route("/screening/release", post(screening::release))
        .route("/screening/lists/{list}/accept", post(screening::accept))
        .route("/parties", get(parties::list).post(parties::add))
        .route("/parties/own", post(parties::own))
        .route("/parties/{party}", get(parties::show).post(parties::change))
        .route("/parties/{party}/erase", post(parties::erase))
        .route("/sales", get(sales::list).post(sales::begin))
        .route("/sales/{sale}", get(sales::show))
        .route("/sales/{sale}/{step}", post(sales::step))
        .route("/sales/{sale}/deliver", post(sales::deliver))
        .route("/accounts", get(accounts::list).post(accounts::add))
        .route("/accounts/{account}", get(accounts::show))
        .route("/accounts/{account}/hold", post(accounts::hold))
        .route("/accounts/{account}/release", post(accounts::release))
        .route("/accounts/{account}/threshold", post(accounts::set_threshold))
        .route("/accounts/{account}/name", post(accounts::name))
        .route("/accounts/{account}/name/remove", post(accounts::remove_name))
        .route("/accounts/{account}/settings", post(accounts::change))
        .route("/ledger", get(ledger::list))
        .route("/ledger/{entry}", get(ledger::show))
        .route("/ledger/entries.csv", get(ledger::table))
        .route("/ledger/fund", post(ledger::fund))
        .route("/ledger/assign", post(ledger::assign))
        .route("/settings", get(settings::show))
        .route("/settings/reload", post(settings::reload))
        .route("/audit", get(record::audit))
        .route("/tokens", get(record::tokens).post(record::add_token))
        .route("/tokens/{token}/revoke", post(record::revoke_token))
}

/// The pages that are anybody's.
pub(super) fn open() -> Router<Pages> {
    Router::new()
        .route("/log-in", get(log_in::show).post(log_in::enter))
        .route("/help", get(help::index))
        .route("/help/{name}", get(help::show))
        .route("/connect", get(miner::connect::show))
        .route("/connect/qr.svg", get(miner::connect::qr))
        .route("/m", get(start::find))
}

/// The pages of one miner, which are anybody's unless he hides them.
pub(super) fn of_miners() -> Router<Pages> {
    miner::routes()
}

/// Takes what the desk has answered out of the outcome that was to be expected.
macro_rules! expected {
    ($outcome:expr, $expected:path) => {
        match $outcome {
            $expected(report) => Ok(report),
            _ => Err($crate::pages::routes::unexpected()),
        }
    };
}

use expected;

/// The desk has answered something else than what was asked.
fn unexpected() -> Refusal {
    Refusal::new(RefusalCode::Failed, "the pool answers with something else")
}

/// Cuts a page off what holds one item more if there are further pages; the last item of the page, if there are.
fn cut<T>(items: &mut Vec<T>, most: u32) -> Option<&T> {
    let has_more = items.len() > most as usize;
    items.truncate(most as usize);
    items.last().filter(|_| has_more)
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
