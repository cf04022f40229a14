//! The register: coin that left the pool, newest first, and what is on record of each output.

use std::{collections::HashMap, sync::Arc};

use askama::Template;
use axum::extract::Path;
use payouts::{
    export::{party::PartyId, register::RowSeq, rules::period::Period},
    ledger::EntrySeq,
    payout::BatchId,
    store::{RecordFilter, RecordRange, Store},
};

use super::{PAGE, cut, now_ms, sales::class};
use crate::{
    operations::{Refusal, RefusalCode},
    pages::{
        asked::{Asked, Shown, page},
        frame::Frame,
        links::with_query,
        show::{Btc, Ends, Number, When},
    },
    register::records::{self, Moved, RecordDetail, ValueReport, WantedRecords},
};

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
    txid: String,
    party: String,
    may_see_parties: bool,
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

/// The records.
pub(in crate::pages) async fn list(asked: Asked) -> Shown {
    let Asked { pages, viewer, fields } = &asked;
    let (store, profile) = (&*pages.store, pages.register.profile(None)?);
    let before = fields.optional::<i64>("before")?.map(RowSeq::new);
    let period: Option<Period> = fields.optional("period")?;
    let wanted = WantedRecords {
        period: period.map(|period| (Arc::clone(&profile), period)),
        state: fields.optional("state")?,
        account: fields.optional("account")?,
        party: fields.optional("party")?.map(PartyId::new),
        txid: fields.optional("txid")?,
        ..WantedRecords::default()
    };
    let filter = wanted.filter(store).await?;
    let mut totals = None;
    if let Some(period) = period {
        let reports = format!("/register/reports/{}/{period}", profile.name());
        let reports = viewer.may_see("/register/reports/{profile}/{period}").then_some(reports);
        let view = |moved: Moved| TotalsView {
            delivered: moved.delivered,
            reversed: moved.reversed,
            moved: Btc(moved.sat),
            reports,
        };
        totals = sum(store, &filter).await?.map(view);
    }
    let mut rows = store.records_where(&filter, RecordRange::Before(before), PAGE + 1).await?;
    let next = cut(&mut rows, PAGE).map(|last| last.seq.to_string());
    let values = records::newest_values(store, &rows, &profile.id()).await?;
    let mut lines = Vec::with_capacity(rows.len());
    let mut booked: HashMap<EntrySeq, (i64, Option<BatchId>)> = HashMap::new();
    for row in &rows {
        let (at_ms, batch) = match booked.get(&row.entry) {
            Some(known) => *known,
            None => *booked.entry(row.entry).or_insert(records::booked(store, row.entry).await?),
        };
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
            value: values.get(&row.seq).map(worth).unwrap_or_default(),
        });
    }
    let names = ["period", "state", "account", "txid", "party"];
    let texts = names.map(|name| fields.text(name));
    let next = next.map(|before| {
        let asked = names.into_iter().zip(texts).chain([("before", before.as_str())]);
        with_query("/register", &asked.collect::<Vec<_>>())
    });
    let [period, state, account, txid, party] = texts.map(str::to_owned);
    page(&Register {
        frame: asked.frame("/register", "Records").live_if(before.is_none()),
        period,
        state,
        account,
        txid,
        party,
        may_see_parties: viewer.may_see("/parties"),
        totals,
        records: lines,
        next,
        accounts_have_pages: viewer.may_see("/accounts/{account}"),
    })
}

/// Returns a value with its currency; nothing without one.
fn worth(value: &ValueReport) -> String {
    match (&value.amount, &value.currency) {
        (Some(amount), Some(currency)) => format!("{amount} {currency}"),
        _ => String::new(),
    }
}

/// Sums the rows of a period; nothing if they are too many.
async fn sum(store: &dyn Store, period: &RecordFilter) -> Result<Option<Moved>, Refusal> {
    let wanted = RecordFilter { first: period.first, end: period.end, ..RecordFilter::default() };
    if wanted.first.zip(wanted.end).is_none_or(|(first, end)| end.get() - first.get() > SUMMED) {
        return Ok(None);
    }
    let (mut moved, mut after) = (Moved::default(), RowSeq::new(0));
    loop {
        let page = store.records_where(&wanted, RecordRange::After(after), CHUNK).await?;
        let Some(newest) = page.last() else { return Ok(Some(moved)) };
        after = newest.seq;
        page.iter().for_each(|row| moved.add(row));
    }
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
    may_see_parties: bool,
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
pub(in crate::pages) async fn show(asked: Asked, Path(record): Path<String>) -> Shown {
    let Asked { pages, viewer, .. } = &asked;
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
    page(&RecordPage {
        frame: asked.frame("/register", format!("Record {seq}")),
        class: class(detail.record.state),
        amount: Btc(detail.record.sat.into()),
        at: When(detail.at_ms),
        lots,
        values: values.collect(),
        history: history.collect(),
        may_see_parties: viewer.may_see("/parties/{party}"),
        may_see_reports: viewer.may_see("/register/reports/{profile}/{period}"),
        account_has_page: viewer.may_see("/accounts/{account}"),
        record: detail,
    })
}
