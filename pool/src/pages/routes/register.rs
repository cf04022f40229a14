//! The register: coin that left the pool, newest first, and what is on record of each output.

use std::collections::HashMap;

use askama::Template;
use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    response::Response,
};
use payouts::{
    account::{AccountId, User},
    export::{
        register::{RecordState, RegisterRow, RowSeq},
        rules::period::Period,
    },
    ledger::EntrySeq,
    payout::BatchId,
    store::Store,
};

use super::{PAGE, now_ms, sales::class};
use crate::{
    operations::{Outcome, Refusal, RefusalCode, Request, account::find_account},
    pages::{
        Pages,
        fields::Fields,
        frame::{Frame, shown},
        guard::Viewer,
        show::{Btc, Ends, Number, When},
    },
    register::records::{self, Moved, RecordDetail, ValueReport},
};

/// Rows that are looked through for a page, at most.
const SCANNED: u32 = 2_000;
/// Rows that are summed for a period, at most.
const SUMMED: i64 = 10_000;
/// Rows that are read at a time.
const CHUNK: u32 = 500;

#[derive(Template)]
#[template(path = "register.html")]
struct Register {
    frame: Frame,
    period: String,
    state: String,
    account: String,
    totals: Option<TotalsView>,
    records: Vec<RecordLine>,
    next: Option<String>,
    accounts_have_pages: bool,
}

/// What a period comes to.
struct TotalsView {
    delivered: u64,
    reversed: u64,
    moved: Btc,
    reports: Option<String>,
}

struct RecordLine {
    seq: i64,
    at: When,
    state: &'static str,
    class: &'static str,
    amount: Btc,
    address: String,
    ends: Ends,
    delivery: Ends,
    batch: Option<BatchId>,
    value: String,
}

/// Which records are shown.
struct Filter {
    account: Option<AccountId>,
    state: Option<RecordState>,
    /// The first and the last row.
    rows: Option<(RowSeq, RowSeq)>,
}

impl Filter {
    fn fits(&self, row: &RegisterRow) -> bool {
        self.account.is_none_or(|account| row.record.account == account)
            && self.state.is_none_or(|state| row.state == state)
    }
}

/// The records.
pub(in crate::pages) async fn list(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::read(query.unwrap_or_default().as_bytes());
    let contents = register(&pages, &viewer, &fields).await;
    shown(&pages, &viewer, contents)
}

async fn register(pages: &Pages, viewer: &Viewer, fields: &Fields) -> Result<Register, Refusal> {
    let (store, profile) = (&*pages.store, pages.register.profile(None)?);
    let before = fields.optional::<i64>("before")?.map(RowSeq::new);
    let account: Option<User> = fields.optional("account")?;
    let period: Option<Period> = fields.optional("period")?;
    let mut filter = Filter { account: None, state: fields.optional("state")?, rows: None };
    if let Some(user) = &account {
        filter.account = Some(find_account(store, user).await?.id);
    }
    let (mut totals, mut is_empty) = (None, false);
    if let Some(period) = period {
        let zone = profile.zone();
        let rows = records::rows_between(store, period.start_ms(zone), period.end_ms(zone)).await?;
        filter.rows = rows;
        is_empty = rows.is_none();
        let reports = format!("/register/reports/{}/{period}", profile.name());
        let reports = viewer.may_see("/register/reports/{profile}/{period}").then_some(reports);
        let view = |moved: Moved| TotalsView {
            delivered: moved.delivered,
            reversed: moved.reversed,
            moved: Btc(moved.sat),
            reports,
        };
        totals = sum(store, rows).await?.map(view);
    }
    let (rows, next) = if is_empty { (Vec::new(), None) } else { page(store, &filter, before).await? };
    let mut lines = Vec::with_capacity(rows.len());
    let mut booked: HashMap<EntrySeq, (i64, Option<BatchId>)> = HashMap::new();
    for row in &rows {
        let (at_ms, batch) = match booked.get(&row.entry) {
            Some(known) => *known,
            None => *booked.entry(row.entry).or_insert(records::booked(store, row.entry).await?),
        };
        let value = records::newest_value(store, row, &profile.id()).await?;
        lines.push(RecordLine {
            seq: row.seq.get(),
            at: When(at_ms),
            state: row.state.as_str(),
            class: class(row.state.as_str()),
            amount: Btc(row.record.amount.to_sat().into()),
            address: row.record.address.clone(),
            ends: Ends(row.record.address.clone()),
            delivery: Ends(row.record.delivery.to_string()),
            batch,
            value: value.as_ref().map(worth).unwrap_or_default(),
        });
    }
    let mut frame = Frame::new(pages, viewer, "/register", "Register");
    frame.is_live = before.is_none();
    let [period, state, account] = ["period", "state", "account"].map(|name| fields.text(name).to_owned());
    let more = |before: i64| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, text) in [("period", &period), ("state", &state), ("account", &account)] {
            if !text.is_empty() {
                query.append_pair(name, text);
            }
        }
        format!("/register?{}", query.append_pair("before", &before.to_string()).finish())
    };
    let next = next.map(more);
    let accounts_have_pages = viewer.may_see("/accounts/{account}");
    Ok(Register { frame, period, state, account, totals, records: lines, next, accounts_have_pages })
}

/// Returns a value with its currency; nothing without one.
fn worth(value: &ValueReport) -> String {
    match (&value.amount, &value.currency) {
        (Some(amount), Some(currency)) => format!("{amount} {currency}"),
        _ => String::new(),
    }
}

/// Looks for rows that fit, newest first, and where to go on.
async fn page(
    store: &dyn Store,
    filter: &Filter,
    before: Option<RowSeq>,
) -> Result<(Vec<RegisterRow>, Option<i64>), Refusal> {
    let (first, last) = filter.rows.map_or((1, i64::MAX - 1), |(first, last)| (first.get(), last.get()));
    let mut before = RowSeq::new(before.map_or(i64::MAX, RowSeq::get).min(last + 1));
    let (mut found, mut scanned) = (Vec::new(), 0);
    while scanned < SCANNED {
        let rows = records::rows_before(store, Some(before), CHUNK).await?;
        let Some(oldest) = rows.last().map(|row| row.seq) else { return Ok((found, None)) };
        scanned += CHUNK;
        for row in rows {
            if row.seq.get() < first {
                return Ok((found, None));
            }
            if found.len() == PAGE as usize {
                return Ok((found, Some(row.seq.get() + 1)));
            }
            if filter.fits(&row) {
                found.push(row);
            }
        }
        before = oldest;
    }
    Ok((found, (before.get() > first).then_some(before.get())))
}

/// Sums the rows of a period; nothing if they are too many.
async fn sum(store: &dyn Store, rows: Option<(RowSeq, RowSeq)>) -> Result<Option<Moved>, Refusal> {
    let mut moved = Moved::default();
    let Some((first, last)) = rows else { return Ok(Some(moved)) };
    if last.get() - first.get() >= SUMMED {
        return Ok(None);
    }
    let mut after = RowSeq::new(first.get() - 1);
    while after < last {
        let page = store.register_rows(after, CHUNK).await?;
        let Some(newest) = page.last() else { break };
        after = newest.seq;
        page.iter().filter(|row| row.seq <= last).for_each(|row| moved.add(row));
    }
    Ok(Some(moved))
}

#[derive(Template)]
#[template(path = "record.html")]
struct RecordPage {
    frame: Frame,
    record: RecordDetail,
    class: &'static str,
    amount: Btc,
    at: When,
    lots: Vec<LotLine>,
    values: Vec<ValueLine>,
    history: Vec<HappenedLine>,
    party: Option<String>,
    may_see_reports: bool,
    account_has_page: bool,
}

struct LotLine {
    block: String,
    is_known: bool,
    ends: Ends,
    sat: Number,
}

struct ValueLine {
    value: String,
    report: ValueReport,
    noted: When,
    price_at: Option<When>,
}

struct HappenedLine {
    state: String,
    class: &'static str,
    at: When,
    evidence: String,
}

/// One record.
pub(in crate::pages) async fn show(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path(record): Path<String>,
) -> Response {
    let contents = record_page(&pages, &viewer, &record).await;
    shown(&pages, &viewer, contents)
}

async fn record_page(pages: &Pages, viewer: &Viewer, record: &str) -> Result<RecordPage, Refusal> {
    let unknown = |_| Refusal::new(RefusalCode::NotFound, "there is no such record");
    let seq = record.parse().map(RowSeq::new).map_err(unknown)?;
    let detail = pages.register.record(seq, now_ms()).await?;
    let mut lots = Vec::new();
    for lot in &detail.record.lots {
        let is_known = match lot.block_hash.parse() {
            Ok(hash) => pages.store.block(hash).await?.is_some(),
            Err(_) => false,
        };
        lots.push(LotLine {
            block: lot.block_hash.clone(),
            is_known,
            ends: Ends(lot.coinbase.clone()),
            sat: Number(lot.sat.into()),
        });
    }
    let values = detail.values.iter().map(|report| ValueLine {
        value: worth(report),
        noted: When(report.at_ms),
        price_at: report.price_at_ms.map(When),
        report: report.clone(),
    });
    let history = detail.history.iter().map(|happened| HappenedLine {
        class: class(&happened.state),
        state: happened.state.clone(),
        at: When(happened.at_ms),
        evidence: happened.evidence.clone(),
    });
    Ok(RecordPage {
        frame: Frame::new(pages, viewer, "/register", format!("Record {seq}")),
        class: class(detail.record.state),
        amount: Btc(detail.record.sat.into()),
        at: When(detail.at_ms),
        lots,
        values: values.collect(),
        history: history.collect(),
        party: party_name(pages, viewer, detail.party).await,
        may_see_reports: viewer.may_see("/register/reports/{profile}/{period}"),
        account_has_page: viewer.may_see("/accounts/{account}"),
        record: detail,
    })
}

/// Returns what a party is called, for whoever may know it.
async fn party_name(pages: &Pages, viewer: &Viewer, party: Option<i64>) -> Option<String> {
    if !viewer.may_see("/parties") {
        return None;
    }
    let Ok(Outcome::Parties(parties)) = pages.ask(viewer, Request::Parties).await else { return None };
    parties.into_iter().find(|known| Some(known.party.get()) == party)?.legal_name
}
