//! The routes, by theme. A handler makes a request of what a client has sent and hands it in at the desk, or reads a page
//! from the store; it decides nothing.

mod accounts;
mod bans;
mod blocks;
mod connections;
mod events;
mod exports;
mod health;
mod history;
mod ledger;
mod orders;
mod parties;
mod payouts;
mod pool;
mod sales;
mod screening;
mod settings;
mod tokens;

use ::payouts::account::User;
use jiff::Timestamp;
use utoipa_axum::routes;

use super::{auth::Caller, openapi::Described, problem::Problem};
use crate::operations::{Outcome, Words};

/// Adds all routes.
pub(super) fn add(router: Described) -> Described {
    let router = router
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(pool::pool))
        .routes(routes!(events::events))
        .routes(routes!(connections::list))
        .routes(routes!(connections::ended))
        .routes(routes!(connections::show))
        .routes(routes!(connections::channels))
        .routes(routes!(connections::workers))
        .routes(routes!(history::pool))
        .routes(routes!(orders::kick))
        .routes(routes!(orders::drain))
        .routes(routes!(orders::set_difficulty))
        .routes(routes!(orders::trace, orders::show_trace))
        .routes(routes!(bans::list, bans::add))
        .routes(routes!(bans::lift))
        .routes(routes!(blocks::list))
        .routes(routes!(blocks::show))
        .routes(routes!(blocks::raw))
        .routes(routes!(ledger::balances))
        .routes(routes!(ledger::sums))
        .routes(routes!(ledger::entries))
        .routes(routes!(ledger::entry))
        .routes(routes!(ledger::entries_csv))
        .routes(routes!(ledger::reserve))
        .routes(routes!(ledger::fund))
        .routes(routes!(ledger::assign))
        .routes(routes!(screening::status))
        .routes(routes!(screening::check))
        .routes(routes!(screening::review))
        .routes(routes!(screening::accept))
        .routes(routes!(sales::list))
        .routes(routes!(sales::step))
        .routes(routes!(sales::deliver))
        .routes(routes!(settings::show))
        .routes(routes!(settings::reload))
        .routes(routes!(tokens::list, tokens::add))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::audit));
    add_exports(add_payouts(add_accounts(router)))
}

fn add_accounts(router: Described) -> Described {
    router
        .routes(routes!(accounts::list, accounts::add))
        .routes(routes!(accounts::show, accounts::change))
        .routes(routes!(accounts::remove_name))
        .routes(routes!(accounts::balance))
        .routes(routes!(accounts::payouts))
        .routes(routes!(accounts::entries))
        .routes(routes!(accounts::workers))
        .routes(routes!(history::account))
        .routes(routes!(accounts::hold))
        .routes(routes!(accounts::release))
        .routes(routes!(accounts::set_threshold))
}

fn add_payouts(router: Described) -> Described {
    router
        .routes(routes!(payouts::status))
        .routes(routes!(payouts::next))
        .routes(routes!(payouts::list, payouts::run))
        .routes(routes!(payouts::show))
        .routes(routes!(payouts::approve))
        .routes(routes!(payouts::cancel))
        .routes(routes!(payouts::bump))
        .routes(routes!(payouts::export_psbt))
        .routes(routes!(payouts::import_psbt))
}

fn add_exports(router: Described) -> Described {
    router
        .routes(routes!(exports::records))
        .routes(routes!(exports::record))
        .routes(routes!(exports::value))
        .routes(routes!(exports::periods))
        .routes(routes!(exports::declare))
        .routes(routes!(exports::close))
        .routes(routes!(exports::reports))
        .routes(routes!(exports::file))
        .routes(routes!(parties::list, parties::add))
        .routes(routes!(parties::show, parties::change, parties::erase))
        .routes(routes!(parties::own))
}

/// What a handler answers.
type Answer<T> = Result<axum::Json<T>, Problem>;

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Takes what the desk has answered out of the outcome that was to be expected.
macro_rules! answered {
    ($outcome:expr, $expected:path) => {
        match $outcome {
            $expected(report) => Ok(axum::Json(report)),
            other => Err($crate::api::routes::unexpected(&other)),
        }
    };
}

use answered;

/// The desk has answered something else than what was asked.
fn unexpected(outcome: &Outcome) -> Problem {
    let debug = format!("{outcome:?}");
    let name = debug.split(['(', ' ']).next().unwrap_or_default();
    Problem::failed(format!("the pool answers with something else: {name}"))
}

/// Reads an account as people call it.
fn user(text: &str) -> Result<User, Problem> {
    text.parse().map_err(|error| Problem::invalid(format!("{error}")))
}

/// Who does something, for the record: what his token is called.
fn by(caller: &Caller) -> Result<Words, Problem> {
    caller.label.parse().map_err(|error| Problem::failed(format!("the token's label {error}")))
}
