//! The ledger: its balance by class, its entries and their chain, and the reserve.

use std::{collections::HashMap, sync::Arc};

use askama::Template;
use axum::{body::Body, extract::Path, response::Response};
use bitcoin::BlockHash;
use payouts::{
    account::{AccountId, User},
    ledger::{EntryKind, EntrySeq, LedgerAccount, Posting},
    store::{EntryFilter, EntryLine, EntryRange},
};

use super::{PAGE, cut, expected};
use crate::{
    operations::{
        Outcome, Refusal, RefusalCode, Request,
        account::addresses_of,
        ledger::{ClassSum, LedgerSums, WantedEntries, entries_table, entry_filter, find_entry, show_sums},
        reserve::{GiftSource, PeriodReport, ReserveReport, show_reserve},
    },
    pages::{
        Pages,
        asked::{Asked, Shown, file, page},
        fields::Fields,
        frame::Frame,
        links::with_query,
        show::{Btc, Ends, Number, When},
    },
};

/// Lines of an entry that are shown: one of a block has a line for each miner.
const MAX_POSTINGS: usize = 500;

#[derive(Template)]
#[template(path = "ledger.html")]
struct Ledger {
    frame: Frame,
    classes: Vec<ClassLine>,
    imbalance: Btc,
    is_balanced: bool,
    head: i64,
    head_hash: Ends,
    kinds: Vec<(&'static str, bool)>,
    account: String,
    lines: Vec<Line>,
    next: Option<String>,
    table: String,
    reserve: ReserveView,
    may_give: bool,
}

struct ClassLine {
    class: &'static str,
    side: &'static str,
    meaning: &'static str,
    accounts: Number,
    sat: Btc,
}

struct Line {
    seq: i64,
    at: When,
    kind: String,
    key: Ends,
    corrects: Option<i64>,
    postings: Number,
    amount: Btc,
}

struct ReserveView {
    reserve: Btc,
    immature: Btc,
    fee: Btc,
    deposits: Btc,
    periods: Vec<PeriodLine>,
}

struct PeriodLine {
    period: i64,
    scheme: String,
    is_open: bool,
    missing: Option<Btc>,
}

impl From<ReserveReport> for ReserveView {
    fn from(report: ReserveReport) -> ReserveView {
        let period = |period: PeriodReport| PeriodLine {
            period: period.period.get(),
            scheme: period.scheme,
            is_open: period.upto.is_none(),
            missing: period.missing_sat.map(|sat| Btc(sat.into())),
        };
        ReserveView {
            reserve: Btc(report.reserve_sat.into()),
            immature: Btc(report.immature_sat.into()),
            fee: Btc(report.fee_sat.into()),
            deposits: Btc(report.deposits_sat.into()),
            periods: report.periods.into_iter().take(PAGE as usize).map(period).collect(),
        }
    }
}

/// The ledger as it stands, and its entries, newest first.
pub(in crate::pages) async fn list(asked: Asked) -> Shown {
    let Asked { pages, viewer, fields } = &asked;
    let (kind, account) = (fields.text("kind"), fields.text("account"));
    let filter = filter(pages, fields).await?;
    let before = fields.optional::<i64>("before")?.map(EntrySeq::new);
    let mut entries = pages.store.entry_lines(&filter, EntryRange::Before(before), PAGE + 1).await?;
    let last = cut(&mut entries, PAGE).map(|last| last.seq.to_string());
    let next = last.map(|last| with_query("/ledger", &[("kind", kind), ("account", account), ("before", &last)]));
    let LedgerSums { classes, imbalance_sat, head, head_hash } = show_sums(&*pages.store).await?;
    let frame = asked.frame("/ledger", "Ledger").live_if(before.is_none());
    let class = |sum: ClassSum| ClassLine {
        class: sum.class,
        side: sum.side.as_str(),
        meaning: sum.meaning,
        accounts: Number(sum.accounts.into()),
        sat: Btc(sum.sat.into()),
    };
    let line = |line: EntryLine| Line {
        seq: line.seq.get(),
        at: When(line.at_ms),
        kind: line.kind.to_string(),
        key: Ends(line.key),
        corrects: line.corrects.map(EntrySeq::get),
        postings: Number(line.postings.into()),
        amount: Btc(line.amount.to_sat().into()),
    };
    page(&Ledger {
        frame,
        classes: classes.into_iter().map(class).collect(),
        imbalance: Btc(imbalance_sat.into()),
        is_balanced: imbalance_sat == 0,
        head,
        head_hash: Ends(head_hash),
        kinds: EntryKind::all().map(|known| (known.as_str(), known.as_str() == kind)).collect(),
        lines: entries.into_iter().map(line).collect(),
        next,
        table: with_query("/ledger/entries.csv", &[("kind", kind), ("account", account)]),
        account: account.to_owned(),
        reserve: show_reserve(&*pages.store).await?.into(),
        may_give: viewer.may_post("/ledger/fund"),
    })
}

/// Reads which entries are wanted. In the one field for accounts stands a ledger account, or a miner's address or name; a
/// word that is both is the ledger's.
async fn filter(pages: &Pages, fields: &Fields) -> Result<EntryFilter, Refusal> {
    let kind = fields.optional::<EntryKind>("kind")?;
    let ledger_account = fields.text("account").parse::<LedgerAccount>().ok();
    let account = if ledger_account.is_none() { fields.optional::<User>("account")? } else { None };
    entry_filter(&*pages.store, &WantedEntries { kind, account, ledger_account }).await
}

/// The entries that are wanted, as a table to be kept.
pub(in crate::pages) async fn table(Asked { pages, fields, .. }: Asked) -> Shown {
    let entries = entries_table(Arc::clone(&pages.store), filter(&pages, &fields).await?);
    file("ledger.csv", "text/csv; charset=utf-8", Body::from_stream(entries))
}

#[derive(Template)]
#[template(path = "entry.html")]
struct EntryPage {
    frame: Frame,
    seq: i64,
    at: When,
    kind: String,
    key: String,
    /// The page of what the entry is about.
    about: Option<String>,
    corrects: Option<i64>,
    facts: Option<String>,
    digest: String,
    previous: String,
    hash: String,
    is_first: bool,
    is_last: bool,
    lines: Vec<PostingLine>,
    left_off: usize,
}

struct PostingLine {
    account: String,
    /// The miner's address.
    address: Option<String>,
    debit: Option<Btc>,
    credit: Option<Btc>,
}

/// An entry with its lines and its place in the chain.
pub(in crate::pages) async fn show(asked: Asked, Path(entry): Path<String>) -> Shown {
    let pages = &asked.pages;
    let unknown = |_| Refusal::new(RefusalCode::NotFound, "there is no such entry");
    let entry = find_entry(&*pages.store, EntrySeq::new(entry.parse().map_err(unknown)?)).await?;
    let left_off = entry.postings.len().saturating_sub(MAX_POSTINGS);
    let shown = &entry.postings[..entry.postings.len() - left_off];
    let miners = shown.iter().filter_map(|posting| miner_of(posting.account));
    let addresses = addresses_of(&*pages.store, miners).await?;
    let head = pages.store.head().await?.seq;
    page(&EntryPage {
        frame: asked.frame("/ledger", format!("Entry {}", entry.seq)).live_if(false),
        seq: entry.seq.get(),
        at: When(entry.at_ms),
        kind: entry.kind.to_string(),
        about: about(entry.kind, &entry.key),
        key: entry.key,
        corrects: entry.corrects.map(EntrySeq::get),
        facts: entry.facts,
        digest: entry.digest.to_string(),
        previous: entry.previous.to_string(),
        hash: entry.hash.to_string(),
        is_first: entry.seq.get() == 1,
        is_last: entry.seq == head,
        lines: shown.iter().map(|posting| posting_line(posting, &addresses)).collect(),
        left_off,
    })
}

fn posting_line(posting: &Posting, addresses: &HashMap<AccountId, String>) -> PostingLine {
    let sat = i128::from(posting.amount.to_sat());
    PostingLine {
        account: posting.account.to_string(),
        address: miner_of(posting.account).and_then(|account| addresses.get(&account).cloned()),
        debit: (sat > 0).then_some(Btc(sat)),
        credit: (sat < 0).then_some(Btc(-sat)),
    }
}

fn miner_of(account: LedgerAccount) -> Option<AccountId> {
    match account {
        LedgerAccount::MinerDebt(account)
        | LedgerAccount::MinerImmature(account)
        | LedgerAccount::MinerPayable(account)
        | LedgerAccount::Held(account)
        | LedgerAccount::Blocked(account) => Some(account),
        _ => None,
    }
}

/// The page of what an entry is about: its block or its payout, with which its key begins.
fn about(kind: EntryKind, key: &str) -> Option<String> {
    let first = key.split(':').next().unwrap_or_default();
    if kind == EntryKind::PayoutCreated && first.parse::<i64>().is_ok() {
        return Some(format!("/payouts/{first}"));
    }
    let is_block = matches!(
        kind,
        EntryKind::BlockFound
            | EntryKind::Matured
            | EntryKind::Unmatured
            | EntryKind::Orphaned
            | EntryKind::Reconnected
    );
    (is_block && first.parse::<BlockHash>().is_ok()).then(|| format!("/blocks/{first}"))
}

/// Gives money of the pool to the reserve.
pub(in crate::pages) async fn fund(asked: Asked) -> Response {
    let request = |fields: &Fields| {
        let from = match fields.text("from") {
            "fee" => GiftSource::Fee,
            "deposits" => GiftSource::Deposits,
            _ => return Err(Refusal::new(RefusalCode::Invalid, "the reserve is filled out of fee or deposits")),
        };
        Ok(Request::FundReserve { sat: amount(fields)?, from, reference: fields.required("reference")? })
    };
    give(&asked, request(&asked.fields), "to the reserve").await
}

/// Gives deposits to the fee.
pub(in crate::pages) async fn assign(asked: Asked) -> Response {
    let request = |fields: &Fields| {
        Ok(Request::AssignDeposits { sat: amount(fields)?, reference: fields.required("reference")? })
    };
    give(&asked, request(&asked.fields), "to the fee").await
}

fn amount(fields: &Fields) -> Result<u64, Refusal> {
    fields.amount("amount")?.ok_or_else(|| Refusal::new(RefusalCode::Invalid, "amount is missing"))
}

async fn give(asked: &Asked, request: Result<Request, Refusal>, to: &str) -> Response {
    let given = async {
        let given = expected!(asked.ask(request?).await?, Outcome::Given)?;
        Ok(format!("{} BTC went {to}: entry {}.", Btc(given.sat.into()), given.entry))
    };
    asked.told("/ledger", given).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_leads_to_what_it_is_about() {
        let block = "00".repeat(32);
        for (kind, key, page) in [
            (EntryKind::BlockFound, block.clone(), Some(format!("/blocks/{block}"))),
            (EntryKind::Matured, format!("{block}:1"), Some(format!("/blocks/{block}"))),
            (EntryKind::PayoutCreated, "7".to_owned(), Some("/payouts/7".to_owned())),
            (EntryKind::ReserveFunded, "7".to_owned(), None),
            (EntryKind::BlockFound, "../x".to_owned(), None),
        ] {
            assert_eq!(about(kind, &key), page, "{kind} {key}");
        }
    }
}
