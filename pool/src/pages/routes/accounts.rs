//! Accounts: what the books have of each, what it was paid, what its workers do, and what an operator decides about it.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    response::Response,
};
use payouts::{
    account::{Account, AccountId, AccountName, User},
    ledger::EntrySeq,
    payout::{BatchId, Restraint},
    store::{AccountLine, AccountPayment, AccountPosting, Store},
};

use super::{PAGE, now_ms};
use crate::{
    operations::{
        Outcome, Refusal, RefusalCode, Request,
        account::{AccountReport, DonationReport, MinesFor, PageFor, find_account, show_account},
        workers::{WorkerReport, show_workers},
    },
    pages::{
        Pages,
        account_form::changes,
        fields::Fields,
        frame::{Frame, shown, told},
        guard::Viewer,
        links::with_query,
        show::{Ago, Btc, Ends, HashRate, Number, When},
    },
};

/// Entries and payments that the page of an account shows at a time.
const SHORT_PAGE: u32 = 20;
/// Over what stretch workers are looked at.
const WORKED_MS: i64 = 86_400_000;
/// The longest text that accounts are looked for by.
const MAX_SEARCH_CHARS: usize = 128;

#[derive(Template)]
#[template(path = "accounts.html")]
struct Accounts {
    frame: Frame,
    search: String,
    lines: Vec<Line>,
    next: Option<String>,
    may_add: bool,
}

/// An account with what the books have of it.
struct Line {
    name: String,
    address: String,
    ends: Ends,
    payable: Btc,
    immature: Btc,
    held: Btc,
    blocked: Btc,
    debt: Btc,
    /// Its own threshold.
    threshold: Option<Btc>,
    restraint: Option<&'static str>,
}

impl Line {
    /// What is not paid, for whatever reason.
    fn kept(&self) -> Btc {
        Btc(self.held.0 + self.blocked.0)
    }

    fn is_held(&self) -> bool {
        self.restraint == Some(Restraint::Held.as_str())
    }

    fn is_blocked(&self) -> bool {
        self.restraint == Some(Restraint::Blocked.as_str())
    }
}

impl From<AccountLine> for Line {
    fn from(line: AccountLine) -> Line {
        let Account { address, name, .. } = line.account;
        Line {
            name: name.map(String::from).unwrap_or_default(),
            ends: Ends(address.clone()),
            address,
            payable: Btc(line.payable.to_sat().into()),
            immature: Btc(line.immature.to_sat().into()),
            held: Btc(line.held.to_sat().into()),
            blocked: Btc(line.blocked.to_sat().into()),
            debt: Btc(line.debt.to_sat().into()),
            threshold: line.threshold.map(|threshold| Btc(threshold.to_sat().into())),
            restraint: line.restraint.map(Restraint::as_str),
        }
    }
}

/// The accounts, in the order of their numbers.
pub(in crate::pages) async fn list(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::read(query.unwrap_or_default().as_bytes());
    let contents = accounts(&pages, &viewer, &fields).await;
    shown(&pages, &viewer, contents)
}

async fn accounts(pages: &Pages, viewer: &Viewer, fields: &Fields) -> Result<Accounts, Refusal> {
    let search: String = fields.text("search").chars().take(MAX_SEARCH_CHARS).collect();
    let after = fields.optional::<i64>("after")?;
    let mut found = pages.store.account_lines(&search, AccountId::new(after.unwrap_or(0)), PAGE + 1).await?;
    let has_more = found.len() > PAGE as usize;
    found.truncate(PAGE as usize);
    let last = found.last().filter(|_| has_more).map(|last| last.account.id.to_string());
    let next = last.map(|last| with_query("/accounts", &[("search", &search), ("after", &last)]));
    let mut frame = Frame::new(pages, viewer, "/accounts", "Accounts");
    frame.is_live = after.is_none();
    let lines = found.into_iter().map(Line::from).collect();
    Ok(Accounts { frame, search, lines, next, may_add: viewer.may_post("/accounts") })
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    line: Line,
    /// The pool's threshold.
    threshold: Btc,
    mines_solo: bool,
    is_hidden: bool,
    donation: Option<DonationReport>,
    division: Vec<(String, u32)>,
    workers: Vec<WorkerLine>,
    entries: Vec<EntryLine>,
    more_entries: Option<String>,
    payments: Vec<PaymentLine>,
    more_payments: Option<String>,
    may_act: bool,
}

struct WorkerLine {
    name: String,
    rate: HashRate,
    shares: Number,
    last: Ago,
}

struct EntryLine {
    entry: i64,
    at: When,
    kind: String,
    account: String,
    sat: Btc,
}

struct PaymentLine {
    batch: i64,
    state: String,
    txid: Ends,
    taken: Btc,
    fee: Number,
    made: When,
    height: Option<u32>,
}

/// An account with all that is known of it.
pub(in crate::pages) async fn show(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path(account): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::read(query.unwrap_or_default().as_bytes());
    let contents = account_page(&pages, &viewer, &account, &fields).await;
    shown(&pages, &viewer, contents)
}

async fn account_page(pages: &Pages, viewer: &Viewer, account: &str, fields: &Fields) -> Result<AccountPage, Refusal> {
    let (store, user, now_ms) = (&*pages.store, user(account)?, now_ms());
    let id = find_account(store, &user).await?.id;
    let path = format!("/accounts/{user}");
    let AccountReport { mines_for, donation, division, page, .. } = show_account(store, &user).await?;
    let workers = show_workers(store, &user, WORKED_MS, now_ms).await?.workers;
    let (entries, more_entries) = entries(store, id, &path, fields).await?;
    let (payments, more_payments) = payments(store, id, &path, fields).await?;
    let line = line(store, id).await?;
    let title = if line.name.is_empty() { "Account".to_owned() } else { format!("Account {}", line.name) };
    let mut frame = Frame::new(pages, viewer, "/accounts", title);
    frame.is_live = fields.text("entries_before").is_empty() && fields.text("payouts_before").is_empty();
    Ok(AccountPage {
        frame,
        line,
        threshold: threshold(pages, viewer).await,
        mines_solo: mines_for == MinesFor::Solo,
        is_hidden: page != PageFor::Public,
        donation,
        division: division.into_iter().map(|part| (part.address, part.weight)).collect(),
        workers: workers.iter().map(|worker| worker_line(worker, now_ms)).collect(),
        entries,
        more_entries,
        payments,
        more_payments,
        may_act: viewer.may_post("/accounts/{account}/hold"),
    })
}

/// Returns the pool's threshold, which a reload may have changed.
async fn threshold(pages: &Pages, viewer: &Viewer) -> Btc {
    let in_force = match pages.desk.ask(&viewer.actor(), Request::Settings).await {
        Ok(Outcome::Settings(settings)) => settings.value("payout.threshold_sat").and_then(|sat| sat.as_u64()),
        Ok(_) | Err(_) => None,
    };
    Btc(in_force.unwrap_or(pages.about.threshold_sat).into())
}

async fn line(store: &dyn Store, id: AccountId) -> Result<Line, Refusal> {
    let before = AccountId::new(id.get() - 1);
    let found = store.account_lines("", before, 1).await?.pop().filter(|line| line.account.id == id);
    found.map(Line::from).ok_or_else(|| Refusal::new(RefusalCode::Failed, format!("account {id} is not listed")))
}

fn worker_line(worker: &WorkerReport, now_ms: i64) -> WorkerLine {
    WorkerLine {
        name: worker.worker.clone(),
        rate: HashRate(worker.hash_rate),
        shares: Number(worker.shares.into()),
        last: Ago { at_ms: worker.last_share_at_ms, now_ms },
    }
}

async fn entries(
    store: &dyn Store,
    account: AccountId,
    path: &str,
    fields: &Fields,
) -> Result<(Vec<EntryLine>, Option<String>), Refusal> {
    let before = fields.text("entries_before");
    let before =
        before.split_once('-').and_then(|(entry, line)| Some((EntrySeq::new(entry.parse().ok()?), line.parse().ok()?)));
    let mut postings = store.postings_of(account, before, SHORT_PAGE + 1).await?;
    let has_more = postings.len() > SHORT_PAGE as usize;
    postings.truncate(SHORT_PAGE as usize);
    let last = postings.last().filter(|_| has_more).map(|last| format!("{}-{}", last.entry, last.line));
    let line = |posting: AccountPosting| EntryLine {
        entry: posting.entry.get(),
        at: When(posting.at_ms),
        kind: posting.kind.to_string(),
        account: posting.account.to_string().split(':').next().unwrap_or_default().to_owned(),
        // To a miner, what the pool owes him is his.
        sat: Btc(-i128::from(posting.amount.to_sat())),
    };
    let next = last.map(|last| with_query(path, &[("entries_before", &last)]));
    Ok((postings.into_iter().map(line).collect(), next))
}

async fn payments(
    store: &dyn Store,
    account: AccountId,
    path: &str,
    fields: &Fields,
) -> Result<(Vec<PaymentLine>, Option<String>), Refusal> {
    let before = fields.optional::<i64>("payouts_before")?.map(BatchId::new);
    let mut payments = store.payments_to(account, before, SHORT_PAGE + 1).await?;
    let has_more = payments.len() > SHORT_PAGE as usize;
    payments.truncate(SHORT_PAGE as usize);
    let last = payments.last().filter(|_| has_more).map(|last| last.batch.to_string());
    let line = |payment: AccountPayment| PaymentLine {
        batch: payment.batch.get(),
        state: payment.state,
        txid: Ends(payment.txid.to_string()),
        taken: Btc(payment.amount.to_sat().into()),
        fee: Number(payment.fee.to_sat().into()),
        made: When(payment.created_at_ms),
        height: payment.height,
    };
    let next = last.map(|last| with_query(path, &[("payouts_before", &last)]));
    Ok((payments.into_iter().map(line).collect(), next))
}

/// Makes an address an account.
pub(in crate::pages) async fn add(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let request = async {
        let (address, name) = (fields.required("address")?, fields.optional::<AccountName>("name")?);
        pages.desk.ask(&viewer.actor(), Request::AddAccount { address, name }).await
    };
    let outcome = request.await;
    let address = fields.text("address");
    let is_done = outcome.is_ok();
    let to = if is_done { format!("/accounts/{address}") } else { "/accounts".to_owned() };
    told(&pages, &viewer, &to, outcome, |_| "The address is an account.".to_owned())
}

/// Stops paying an account.
pub(in crate::pages) async fn hold(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
    Path(account): Path<String>,
) -> Response {
    let request = || Ok(Request::Hold { account: user(&account)?, reason: fields.required("reason")? });
    ask(&pages, &viewer, &account, request(), "The account is not paid. What it earns is kept for it.").await
}

/// Pays a held account again.
pub(in crate::pages) async fn release(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
    Path(account): Path<String>,
) -> Response {
    let request = || Ok(Request::Release { account: user(&account)?, reason: fields.required("reason")? });
    ask(&pages, &viewer, &account, request(), "The account is paid again.").await
}

/// Sets the balance from which an account is paid.
pub(in crate::pages) async fn set_threshold(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
    Path(account): Path<String>,
) -> Response {
    let request = || {
        let threshold_sat = fields.amount("threshold")?;
        Ok(Request::Threshold { account: user(&account)?, threshold_sat })
    };
    ask(&pages, &viewer, &account, request(), "The threshold is set.").await
}

/// Names an account.
pub(in crate::pages) async fn name(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
    Path(account): Path<String>,
) -> Response {
    let request = || match user(&account)? {
        User::Address(address) => Ok(Request::AddAccount { address, name: Some(fields.required("name")?) }),
        User::Name(name) => Err(Refusal::new(RefusalCode::Invalid, format!("{name} is a name: open the address"))),
    };
    ask(&pages, &viewer, &account, request(), "The account has its name.").await
}

/// Takes an account's name away.
pub(in crate::pages) async fn remove_name(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
    Path(account): Path<String>,
) -> Response {
    let request = || Ok(Request::RemoveName { name: fields.required("name")? });
    ask(&pages, &viewer, &account, request(), "The account has no name. No other account can get it.").await
}

/// Changes what an account asked for.
pub(in crate::pages) async fn change(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
    Path(account): Path<String>,
) -> Response {
    let request = || Ok(Request::SetAccount { account: user(&account)?, changes: changes(&fields)? });
    ask(&pages, &viewer, &account, request(), "The account is changed.").await
}

/// Hands a request in, and goes back to the account.
async fn ask(pages: &Pages, viewer: &Viewer, account: &str, request: Result<Request, Refusal>, done: &str) -> Response {
    let outcome = match request {
        Ok(request) => pages.desk.ask(&viewer.actor(), request).await,
        Err(refusal) => Err(refusal),
    };
    // Whatever stood in the path leads to a page of ours.
    let to = user(account).map_or_else(|_| "/accounts".to_owned(), |user| format!("/accounts/{user}"));
    told(pages, viewer, &to, outcome, |_| done.to_owned())
}

fn user(text: &str) -> Result<User, Refusal> {
    text.parse().map_err(|_| Refusal::new(RefusalCode::NotFound, "there is no such account"))
}
