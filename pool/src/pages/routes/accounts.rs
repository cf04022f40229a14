//! Accounts: what the books have of each, what it was paid, what its workers do, and what an operator decides about it.

use askama::Template;
use axum::{extract::Path, response::Response};
use payouts::{
    account::{Account, AccountId, AccountName, User},
    ledger::EntrySeq,
    payout::{BatchId, Restraint},
    store::{AccountLine, AccountPayment, AccountPosting, Store},
};

use super::{PAGE, cut, now_ms};
use crate::{
    operations::{
        Refusal, RefusalCode, Request,
        account::{AccountReport, DonationReport, MinesFor, PageFor, find_account, show_account},
        workers::{WorkerReport, show_workers},
    },
    pages::{
        account_form::changes,
        asked::{Asked, Shown, page},
        fields::Fields,
        frame::Frame,
        links::with_query,
        show::{Ago, Btc, Ends, HashRate, Number, When},
    },
};

/// Entries and payments that the page of an account shows at a time.
const SHORT_PAGE: u32 = 20;
/// Over what stretch workers are looked at.
const WORKED_MS: i64 = 86_400_000;
/// Workers that it shows, the strongest.
const MOST_WORKERS: usize = 100;
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
    last_share: Option<Ago>,
}

impl Line {
    fn new(line: AccountLine, now_ms: i64) -> Line {
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
            last_share: line.last_share_at_ms.map(|at_ms| Ago { at_ms, now_ms }),
        }
    }

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

/// The accounts, in the order of their numbers.
pub(in crate::pages) async fn list(asked: Asked) -> Shown {
    let Asked { pages, viewer, fields } = &asked;
    let search: String = fields.text("search").chars().take(MAX_SEARCH_CHARS).collect();
    let after = fields.optional::<i64>("after")?;
    let mut found = pages.store.account_lines(&search, AccountId::new(after.unwrap_or(0)), PAGE + 1).await?;
    let last = cut(&mut found, PAGE).map(|last| last.account.id.to_string());
    let next = last.map(|last| with_query("/accounts", &[("search", &search), ("after", &last)]));
    let frame = asked.frame("/accounts", "Accounts").live_if(after.is_none());
    let now_ms = now_ms();
    let lines = found.into_iter().map(|line| Line::new(line, now_ms)).collect();
    page(&Accounts { frame, search, lines, next, may_add: viewer.may_post("/accounts") })
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
    more_workers: usize,
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
pub(in crate::pages) async fn show(asked: Asked, Path(account): Path<String>) -> Shown {
    let Asked { pages, viewer, fields } = &asked;
    let (store, user, now_ms) = (&*pages.store, user(&account)?, now_ms());
    let id = find_account(store, &user).await?.id;
    let path = format!("/accounts/{user}");
    let AccountReport { mines_for, donation, division, page: page_for, .. } = show_account(store, &user).await?;
    let mut workers = show_workers(store, &user, WORKED_MS, now_ms).await?.workers;
    let more_workers = workers.len().saturating_sub(MOST_WORKERS);
    workers.sort_by(|one, other| other.hash_rate.total_cmp(&one.hash_rate).then_with(|| one.worker.cmp(&other.worker)));
    workers.truncate(MOST_WORKERS);
    let (entries, more_entries) = entries(store, id, &path, fields).await?;
    let (payments, more_payments) = payments(store, id, &path, fields).await?;
    let line = line(store, id).await?;
    let title = if line.name.is_empty() { "Account".to_owned() } else { format!("Account {}", line.name) };
    let is_live = fields.text("entries_before").is_empty() && fields.text("payouts_before").is_empty();
    page(&AccountPage {
        frame: asked.frame("/accounts", title).live_if(is_live),
        line,
        threshold: Btc(asked.pages.about.threshold_sat().into()),
        mines_solo: mines_for == MinesFor::Solo,
        is_hidden: page_for != PageFor::Public,
        donation,
        division: division.into_iter().map(|part| (part.address, part.weight)).collect(),
        workers: workers.iter().map(|worker| worker_line(worker, now_ms)).collect(),
        more_workers,
        entries,
        more_entries,
        payments,
        more_payments,
        may_act: viewer.may_post("/accounts/{account}/hold"),
    })
}

async fn line(store: &dyn Store, id: AccountId) -> Result<Line, Refusal> {
    let before = AccountId::new(id.get() - 1);
    let found = store.account_lines("", before, 1).await?.pop().filter(|line| line.account.id == id);
    found
        .map(|line| Line::new(line, now_ms()))
        .ok_or_else(|| Refusal::new(RefusalCode::Failed, format!("account {id} is not listed")))
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
    let last = cut(&mut postings, SHORT_PAGE).map(|last| format!("{}-{}", last.entry, last.line));
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
    let last = cut(&mut payments, SHORT_PAGE).map(|last| last.batch.to_string());
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
pub(in crate::pages) async fn add(asked: Asked) -> Response {
    let added = async {
        let (address, name) = (asked.fields.required("address")?, asked.fields.optional::<AccountName>("name")?);
        asked.ask(Request::AddAccount { address, name }).await?;
        Ok("The address is an account.".to_owned())
    };
    let added = added.await;
    let to = if added.is_ok() { format!("/accounts/{}", asked.fields.text("address")) } else { "/accounts".to_owned() };
    asked.tell(&to, added)
}

/// Stops paying an account.
pub(in crate::pages) async fn hold(asked: Asked, Path(account): Path<String>) -> Response {
    let request = |account| Ok(Request::Hold { account, reason: asked.fields.required("reason")? });
    act(&asked, &account, request, "The account is not paid. What it earns is kept for it.").await
}

/// Pays a held account again.
pub(in crate::pages) async fn release(asked: Asked, Path(account): Path<String>) -> Response {
    let request = |account| Ok(Request::Release { account, reason: asked.fields.required("reason")? });
    act(&asked, &account, request, "The account is paid again.").await
}

/// Sets the balance from which an account is paid.
pub(in crate::pages) async fn set_threshold(asked: Asked, Path(account): Path<String>) -> Response {
    let request = |account| Ok(Request::Threshold { account, threshold_sat: asked.fields.amount("threshold")? });
    act(&asked, &account, request, "The threshold is set.").await
}

/// Names an account.
pub(in crate::pages) async fn name(asked: Asked, Path(account): Path<String>) -> Response {
    let request = |account| match account {
        User::Address(address) => Ok(Request::AddAccount { address, name: Some(asked.fields.required("name")?) }),
        User::Name(name) => Err(Refusal::new(RefusalCode::Invalid, format!("{name} is a name: open the address"))),
    };
    act(&asked, &account, request, "The account has its name.").await
}

/// Takes an account's name away.
pub(in crate::pages) async fn remove_name(asked: Asked, Path(account): Path<String>) -> Response {
    let request = |_| Ok(Request::RemoveName { name: asked.fields.required("name")? });
    act(&asked, &account, request, "The account has no name. No other account can get it.").await
}

/// Changes what an account asked for.
pub(in crate::pages) async fn change(asked: Asked, Path(account): Path<String>) -> Response {
    let request = |account| Ok(Request::SetAccount { account, changes: changes(&asked.fields)? });
    act(&asked, &account, request, "The account is changed.").await
}

/// Hands in a request about an account, and goes back to it.
async fn act(
    asked: &Asked,
    account: &str,
    request: impl FnOnce(User) -> Result<Request, Refusal>,
    done: &str,
) -> Response {
    let user = user(account);
    // Whatever stood in the path leads to a page of ours.
    let to = user.as_ref().map_or_else(|_| "/accounts".to_owned(), |user| format!("/accounts/{user}"));
    let acted = async {
        asked.ask(request(user?)?).await?;
        Ok(done.to_owned())
    };
    asked.told(&to, acted).await
}

fn user(text: &str) -> Result<User, Refusal> {
    text.parse().map_err(|_| Refusal::new(RefusalCode::NotFound, "there is no such account"))
}
