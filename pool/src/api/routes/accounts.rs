//! Accounts: who they are, what they are due, what they were paid, what their workers do; and what operators decide about
//! them. What a watcher may see of his own account stands here.

use std::sync::Arc;

use axum::{Extension, extract::State, http::StatusCode};
use bitcoin::{Address, Amount, address::NetworkUnchecked};
use jiff::Timestamp;
use payouts::{
    account::{AccountId, AccountName, User},
    ledger::EntrySeq,
    payout::{BatchId, Restraint},
    store::{AccountLine, AccountPayment, AccountPosting, Store},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{answered, user};
use crate::{
    api::{
        auth::Caller,
        extract::{Json, Path, Query},
        paging::{Listed, Page},
        problem::Problem,
    },
    operations::{
        Desk, Outcome, Request, Words,
        account::{
            AccountAdded, AccountChange, AccountChanges, AccountReport, Balance, NameRemoved, balance_of, find_account,
            show_account,
        },
        report::{AddressChange, ThresholdSet},
        workers::{WorkersReport, show_workers},
    },
};

/// The longest text that accounts are looked for by.
const MAX_SEARCH_CHARS: usize = 128;
/// Over what stretch workers are looked at unless the client says otherwise.
const DEFAULT_PERIOD_S: i64 = 86_400;
/// The longest such stretch.
const MAX_PERIOD_S: i64 = 366 * 86_400;

/// An account in a list, with what the books have of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct AccountInBooks {
    /// Its number.
    account: i64,
    /// What it is called.
    name: Option<String>,
    /// Its address.
    address: String,
    /// What is credited to it of blocks that are not mature.
    immature_sat: i64,
    /// What it is due.
    payable_sat: i64,
    /// What operators keep back.
    held_sat: i64,
    /// What may not be paid.
    blocked_sat: i64,
    /// What it was paid beyond its credits.
    debt_sat: i64,
    /// From which balance it is paid; the pool's threshold if nothing.
    threshold_sat: Option<u64>,
    /// `held` or `blocked`, if it is not paid.
    restraint: Option<&'static str>,
    /// When its last share was accepted, in milliseconds since 1970 UTC; some seconds late.
    last_share_at_ms: Option<i64>,
}

impl From<AccountLine> for AccountInBooks {
    fn from(line: AccountLine) -> AccountInBooks {
        AccountInBooks {
            account: line.account.id.get(),
            name: line.account.name.map(String::from),
            address: line.account.address,
            immature_sat: line.immature.to_sat(),
            payable_sat: line.payable.to_sat(),
            held_sat: line.held.to_sat(),
            blocked_sat: line.blocked.to_sat(),
            debt_sat: line.debt.to_sat(),
            threshold_sat: line.threshold.map(Amount::to_sat),
            restraint: line.restraint.map(Restraint::as_str),
            last_share_at_ms: line.last_share_at_ms,
        }
    }
}

/// An output that pays an account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct PaymentReport {
    /// The batch.
    batch: i64,
    /// `open`, `confirmed`, `cancelled` or `replaced`.
    state: String,
    /// The transaction.
    txid: String,
    /// The output's place in it.
    vout: u32,
    /// What was taken from the balance.
    taken_sat: u64,
    /// What of it goes to the network.
    fee_part_sat: u64,
    /// When the batch was made, in milliseconds since 1970 UTC.
    created_at_ms: i64,
    /// The height of the block that it is in.
    height: Option<u32>,
}

/// A line of the ledger that is about an account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct PostingReport {
    /// The entry.
    entry: i64,
    /// The line's place in it.
    line: u32,
    /// When it was posted, in milliseconds since 1970 UTC.
    at_ms: i64,
    /// What the entry records.
    kind: String,
    /// What the entry is about.
    key: String,
    /// The ledger account, without the account's number: `miner_payable`, `miner_immature`, `held`, `blocked`, `miner_debt`.
    account: String,
    /// What was posted. What the pool owes is negative.
    sat: i64,
}

impl From<AccountPayment> for PaymentReport {
    fn from(payment: AccountPayment) -> PaymentReport {
        PaymentReport {
            batch: payment.batch.get(),
            state: payment.state,
            txid: payment.txid.to_string(),
            vout: payment.vout,
            taken_sat: payment.amount.to_sat(),
            fee_part_sat: payment.fee.to_sat(),
            created_at_ms: payment.created_at_ms,
            height: payment.height,
        }
    }
}

impl From<AccountPosting> for PostingReport {
    fn from(posting: AccountPosting) -> PostingReport {
        let account = posting.account.to_string();
        PostingReport {
            entry: posting.entry.get(),
            line: posting.line,
            at_ms: posting.at_ms,
            kind: posting.kind.to_string(),
            key: posting.key,
            account: account.split(':').next().unwrap_or_default().to_owned(),
            sat: posting.amount.to_sat(),
        }
    }
}

/// Which accounts.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WantedAccounts {
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before.
    after: Option<String>,
    /// Those alone whose address or name has this text in it.
    #[param(max_length = 128)]
    search: Option<String>,
}

/// All accounts with what the books have of them, in the order of their numbers.
#[utoipa::path(
    get,
    path = "/api/v1/accounts",
    operation_id = "list_accounts",
    tag = "accounts",
    params(WantedAccounts),
    responses((status = OK, description = "The accounts", body = Listed<AccountInBooks>))
)]
pub(super) async fn list(
    State(store): State<Arc<dyn Store>>,
    Query(WantedAccounts { limit, after, search }): Query<WantedAccounts>,
) -> Result<axum::Json<Listed<AccountInBooks>>, Problem> {
    let page = Page::new(limit, after);
    let (limit, after) = (page.limit()?, page.after()?.unwrap_or(0));
    let search = search.unwrap_or_default();
    if search.chars().count() > MAX_SEARCH_CHARS {
        return Err(Problem::invalid(format!("search: it is longer than {MAX_SEARCH_CHARS} characters")));
    }
    let lines = store.account_lines(search.trim(), AccountId::new(after), limit + 1).await?;
    let listed = Listed::new(lines, limit, |line| line.account.id.to_string());
    Ok(axum::Json(listed.map(AccountInBooks::from)))
}

/// A new account.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    /// The payout address.
    #[schema(value_type = String)]
    address: Address<NetworkUnchecked>,
    /// The name.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    name: Option<AccountName>,
}

/// Makes an address an account, and names it.
#[utoipa::path(
    post,
    path = "/api/v1/accounts",
    operation_id = "add_account",
    tag = "accounts",
    request_body = NewAccount,
    responses((status = CREATED, description = "The account", body = AccountAdded))
)]
pub(super) async fn add(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Json(NewAccount { address, name }): Json<NewAccount>,
) -> Result<(StatusCode, axum::Json<AccountAdded>), Problem> {
    let outcome = desk.ask(&caller.actor(), Request::AddAccount { address, name }).await?;
    Ok((StatusCode::CREATED, answered!(outcome, Outcome::Added)?))
}

/// What an account asked for: whom it mines for, and what becomes of what it earns.
#[utoipa::path(
    get,
    path = "/api/v1/accounts/{account}",
    operation_id = "show_account",
    tag = "accounts",
    params(("account" = String, Path, description = "Its address or name")),
    responses((status = OK, description = "The account", body = AccountReport))
)]
pub(super) async fn show(
    State(store): State<Arc<dyn Store>>,
    Path(account): Path<String>,
) -> Result<axum::Json<AccountReport>, Problem> {
    Ok(axum::Json(show_account(&*store, &user(&account)?).await?))
}

/// Changes what an account asked for. What is not given stays.
#[utoipa::path(
    patch,
    path = "/api/v1/accounts/{account}",
    operation_id = "change_account",
    tag = "accounts",
    params(("account" = String, Path, description = "Its address or name")),
    request_body = AccountChanges,
    responses((status = OK, description = "The account as it is now", body = AccountChange))
)]
pub(super) async fn change(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Json(changes): Json<AccountChanges>,
) -> Result<axum::Json<AccountChange>, Problem> {
    let request = Request::SetAccount { account: user(&account)?, changes };
    answered!(desk.ask(&caller.actor(), request).await?, Outcome::Account)
}

/// Takes an account's name away. No other account can get it.
#[utoipa::path(
    delete,
    path = "/api/v1/accounts/{account}/name",
    operation_id = "remove_account_name",
    tag = "accounts",
    params(("account" = String, Path, description = "Its name")),
    responses((status = OK, description = "The account as it is now", body = NameRemoved))
)]
pub(super) async fn remove_name(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
) -> Result<axum::Json<NameRemoved>, Problem> {
    let User::Name(name) = user(&account)? else {
        return Err(Problem::invalid(format!("{account:?} is an address: give the account's name")));
    };
    answered!(desk.ask(&caller.actor(), Request::RemoveName { name }).await?, Outcome::NameRemoved)
}

/// What an account is due, and what is kept back.
#[utoipa::path(
    get,
    path = "/api/v1/accounts/{account}/balance",
    operation_id = "show_account_balance",
    tag = "accounts",
    params(("account" = String, Path, description = "Its address or name")),
    responses((status = OK, description = "The balance", body = Balance))
)]
pub(super) async fn balance(
    State(store): State<Arc<dyn Store>>,
    Path(account): Path<String>,
) -> Result<axum::Json<Balance>, Problem> {
    let account = find_account(&*store, &user(&account)?).await?;
    Ok(axum::Json(balance_of(&*store, &account).await?))
}

/// What was paid to an account, and what is on its way, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/accounts/{account}/payouts",
    operation_id = "list_account_payouts",
    tag = "accounts",
    params(Page, ("account" = String, Path, description = "Its address or name")),
    responses((status = OK, description = "The payments", body = Listed<PaymentReport>))
)]
pub(super) async fn payouts(
    State(store): State<Arc<dyn Store>>,
    Path(account): Path<String>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Listed<PaymentReport>>, Problem> {
    let (limit, after) = (page.limit()?, page.after()?);
    let account = find_account(&*store, &user(&account)?).await?.id;
    let payments = store.payments_to(account, after.map(BatchId::new), limit + 1).await?;
    let listed = Listed::new(payments, limit, |payment| payment.batch.to_string());
    Ok(axum::Json(listed.map(PaymentReport::from)))
}

/// What the ledger has booked of an account, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/accounts/{account}/entries",
    operation_id = "list_account_entries",
    tag = "accounts",
    params(Page, ("account" = String, Path, description = "Its address or name")),
    responses((status = OK, description = "The lines", body = Listed<PostingReport>))
)]
pub(super) async fn entries(
    State(store): State<Arc<dyn Store>>,
    Path(account): Path<String>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Listed<PostingReport>>, Problem> {
    let limit = page.limit()?;
    let before = match page.after::<String>()? {
        None => None,
        Some(text) => {
            let parse = |text: &str| {
                let (entry, line) = text.split_once('-')?;
                Some((EntrySeq::new(entry.parse().ok()?), line.parse().ok()?))
            };
            Some(parse(&text).ok_or_else(|| Problem::invalid(format!("after: {text:?} is no `next` of this list")))?)
        }
    };
    let account = find_account(&*store, &user(&account)?).await?.id;
    let postings = store.postings_of(account, before, limit + 1).await?;
    let listed = Listed::new(postings, limit, |posting| format!("{}-{}", posting.entry, posting.line));
    Ok(axum::Json(listed.map(PostingReport::from)))
}

/// Over what stretch workers are looked at.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Stretch {
    /// How many seconds back from now; a day if it is not said.
    #[param(minimum = 1, maximum = 31622400)]
    seconds: Option<i64>,
}

/// What the workers of an account have done lately.
#[utoipa::path(
    get,
    path = "/api/v1/accounts/{account}/workers",
    operation_id = "list_account_workers",
    tag = "accounts",
    params(Stretch, ("account" = String, Path, description = "Its address or name")),
    responses((status = OK, description = "The workers", body = WorkersReport))
)]
pub(super) async fn workers(
    State(store): State<Arc<dyn Store>>,
    Path(account): Path<String>,
    Query(stretch): Query<Stretch>,
) -> Result<axum::Json<WorkersReport>, Problem> {
    let seconds = stretch.seconds.unwrap_or(DEFAULT_PERIOD_S);
    if !(1..=MAX_PERIOD_S).contains(&seconds) {
        return Err(Problem::invalid(format!("seconds: {seconds} is not from 1 to {MAX_PERIOD_S}")));
    }
    let now_ms = Timestamp::now().as_millisecond();
    Ok(axum::Json(show_workers(&*store, &user(&account)?, seconds * 1_000, now_ms).await?))
}

/// Why something is done, for the record.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    /// In words.
    #[schema(value_type = String)]
    reason: Words,
}

/// Stops paying an account. What it earns is kept for it.
#[utoipa::path(
    post,
    path = "/api/v1/accounts/{account}/hold",
    operation_id = "hold_account",
    tag = "accounts",
    params(("account" = String, Path, description = "Its address or name")),
    request_body = Why,
    responses((status = OK, description = "What is kept back", body = AddressChange))
)]
pub(super) async fn hold(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Json(Why { reason }): Json<Why>,
) -> Result<axum::Json<AddressChange>, Problem> {
    let request = Request::Hold { account: user(&account)?, reason };
    answered!(desk.ask(&caller.actor(), request).await?, Outcome::Held)
}

/// Pays a held account again.
#[utoipa::path(
    post,
    path = "/api/v1/accounts/{account}/release",
    operation_id = "release_account",
    tag = "accounts",
    params(("account" = String, Path, description = "Its address or name")),
    request_body = Why,
    responses((status = OK, description = "What it is due", body = AddressChange))
)]
pub(super) async fn release(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Json(Why { reason }): Json<Why>,
) -> Result<axum::Json<AddressChange>, Problem> {
    let request = Request::Release { account: user(&account)?, reason };
    answered!(desk.ask(&caller.actor(), request).await?, Outcome::Released)
}

/// From which balance on an account is paid.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Threshold {
    /// The balance; the pool's own threshold if nothing.
    threshold_sat: Option<u64>,
}

/// Sets the balance from which an account is paid.
#[utoipa::path(
    put,
    path = "/api/v1/accounts/{account}/threshold",
    operation_id = "set_account_threshold",
    tag = "accounts",
    params(("account" = String, Path, description = "Its address or name")),
    request_body = Threshold,
    responses((status = OK, description = "The threshold", body = ThresholdSet))
)]
pub(super) async fn set_threshold(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Json(Threshold { threshold_sat }): Json<Threshold>,
) -> Result<axum::Json<ThresholdSet>, Problem> {
    let request = Request::Threshold { account: user(&account)?, threshold_sat };
    answered!(desk.ask(&caller.actor(), request).await?, Outcome::Threshold)
}
