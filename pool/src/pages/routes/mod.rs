//! The pages, by theme. A handler reads what a page shows, or makes a request of a form and hands it in at the desk; it
//! decides nothing.

mod blocks;
mod connections;
mod events;
mod home;
mod miner;
mod payouts;
pub(super) mod start;

use std::collections::HashMap;

use ::payouts::{account::AccountId, store::Store};
use axum::{
    Router,
    routing::{get, post},
};
use jiff::Timestamp;

pub(super) use self::miner::{Figures, Tests};
use super::{Pages, doors, log_in};
use crate::operations::Refusal;

/// Items of a page.
const PAGE: u32 = 50;

/// The pages that take a log-in.
pub(super) fn guarded() -> Router<Pages> {
    Router::new()
        .route("/", get(home::show))
        .route("/log-out", post(log_in::leave))
        .route(doors::EVENTS, get(events::follow))
        .route("/connections", get(connections::list))
        .route("/connections/ended", get(connections::ended))
        .route("/connections/{connection}", get(connections::show))
        .route("/connections/{connection}/kick", post(connections::kick))
        .route("/connections/{connection}/drain", post(connections::drain))
        .route("/connections/{connection}/difficulty", post(connections::set_difficulty))
        .route("/connections/{connection}/trace", post(connections::trace))
        .route("/bans", get(connections::bans).post(connections::ban))
        .route("/bans/lift", post(connections::lift))
        .route("/blocks", get(blocks::list))
        .route("/blocks/{hash}", get(blocks::show))
        .route("/payouts", get(payouts::list))
        .route("/payouts/run", post(payouts::run))
        .route("/payouts/{batch}", get(payouts::show))
        .route("/payouts/{batch}/approve", post(payouts::approve))
        .route("/payouts/{batch}/cancel", post(payouts::cancel))
        .route("/payouts/{batch}/bump", post(payouts::bump))
        .route("/payouts/{batch}/psbt/export", post(payouts::export_psbt))
        .route("/payouts/{batch}/psbt", post(payouts::import_psbt))
}

/// The pages that are anybody's.
pub(super) fn open() -> Router<Pages> {
    Router::new()
        .route("/log-in", get(log_in::show).post(log_in::enter))
        .route("/connect", get(miner::connect::show))
        .route("/connect/qr.svg", get(miner::connect::qr))
        .route("/m", get(start::find))
}

/// The pages of one miner, which are anybody's unless he hides them.
pub(super) fn of_miners() -> Router<Pages> {
    miner::routes()
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Returns the addresses of some accounts.
async fn addresses(
    store: &dyn Store,
    accounts: impl Iterator<Item = AccountId>,
) -> Result<HashMap<AccountId, String>, Refusal> {
    let mut addresses = HashMap::new();
    for account in accounts {
        if !addresses.contains_key(&account) {
            let found = store.accounts(AccountId::new(account.get() - 1), 1).await?;
            addresses.extend(found.into_iter().filter(|it| it.id == account).map(|it| (it.id, it.address)));
        }
    }
    Ok(addresses)
}
