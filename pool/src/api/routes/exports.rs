//! The export register: records of coin that left, periods, and the files of their reports.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bitcoin::Txid;
use payouts::{
    export::{
        party::PartyId,
        register::{RecordState, RowSeq},
        report::manifest::{FileEntry, MANIFEST_FILE},
        rules::{period::Period, source_file::FileHash},
    },
    store::{RecordRange, Store},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answer, answered, ledger::Order, now_ms, user};
use crate::{
    api::{
        extract::{Asker, Json, Path, Query},
        paging::{Listed, Page},
        problem::Problem,
    },
    operations::{Outcome, Refusal, RefusalCode, Request, Words, period::PeriodChange},
    register::{
        Edition, HandedIn, Made, PeriodStanding, PeriodTotals, PriceTexts, Register, ValuesReport, Wish, media_type,
        records::{RecordDetail, RecordReport, WantedRecords},
    },
};

/// A set of reports, and a page of its files.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ReportSet {
    /// The country profile, name and version.
    profile: String,
    /// The period.
    period: String,
    /// The day by which the reports are due.
    due: String,
    /// By which name the same files are had again, whatever comes on record, as long as what is known of parties is the same.
    edition: String,
    /// When the reports are made, in milliseconds since 1970 UTC.
    generated_at_ms: i64,
    /// The SHA-256 of `manifest.json`, which has those of all other files.
    manifest_sha256: String,
    /// What is not equal that must be. Only reports without faults can be declared.
    faults: Vec<String>,
    /// What a reader should know.
    notes: Vec<String>,
    /// What the register's rows of the period come to.
    totals: PeriodTotals,
    /// The files.
    items: Vec<ReportFile>,
    /// The `after` of the next page; nothing if this is the last.
    next: Option<String>,
}

/// A file of a set of reports.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ReportFile {
    /// Its name.
    name: String,
    /// Its size.
    bytes: u64,
    /// The SHA-256 of its bytes.
    sha256: String,
}

/// Which records.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordsPage {
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before, in the same order.
    after: Option<String>,
    /// `oldest` or `newest` first; the oldest if it is not said.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// Those alone that were booked in this period: `2026-10`, `2026-Q3` or `2026`, in the zone of the profile.
    #[param(value_type = Option<String>)]
    period: Option<Period>,
    /// The name of the country profile that the period is of, if it is not that of the settings.
    profile: Option<String>,
    /// Those alone that were booked from this time on, in milliseconds since 1970 UTC.
    from_ms: Option<i64>,
    /// Those alone that were booked before this time, in milliseconds since 1970 UTC.
    until_ms: Option<i64>,
    /// `DELIVERED` or `REVERSED` ones alone.
    state: Option<String>,
    /// Those alone that pay this account: its address or name.
    account: Option<String>,
    /// Those alone whose address is owned by this party now: its number.
    party: Option<i64>,
    /// Those alone whose output is of this transaction.
    txid: Option<String>,
}

impl RecordsPage {
    /// Reads which records are wanted.
    fn wanted(self, register: &Register) -> Result<WantedRecords, Problem> {
        let RecordsPage { period, profile, from_ms, until_ms, state, account, party, txid, .. } = self;
        if profile.is_some() && period.is_none() {
            return Err(Problem::invalid("profile: it says whose period is meant, and none is given"));
        }
        let period =
            period.map(|period| Ok::<_, Problem>((register.profile(profile.as_deref())?, period))).transpose()?;
        let state = state
            .map(|state| state.parse::<RecordState>().map_err(|error| Problem::invalid(format!("state: {error}"))));
        let txid = txid.map(|txid| txid.parse::<Txid>().map_err(|error| Problem::invalid(format!("txid: {error}"))));
        Ok(WantedRecords {
            period,
            from_ms,
            until_ms,
            state: state.transpose()?,
            account: account.map(|account| user(&account)).transpose()?,
            party: party.map(PartyId::new),
            txid: txid.transpose()?,
        })
    }
}

/// The register of paid outputs: one record for each, traced to its coinbases. Of all filters that are given, each holds.
#[utoipa::path(
    get,
    path = "/api/v1/exports/records",
    operation_id = "list_records",
    tag = "exports",
    params(RecordsPage),
    responses((status = OK, description = "The register", body = Listed<RecordReport>))
)]
pub(super) async fn records(
    State(store): State<Arc<dyn Store>>,
    State(register): State<Arc<Register>>,
    Query(mut query): Query<RecordsPage>,
) -> Answer<Listed<RecordReport>> {
    let page = Page::new(query.limit, query.after.take());
    let (limit, after) = (page.limit()?, page.after()?.map(RowSeq::new));
    let range = match query.order {
        Order::Oldest => RecordRange::After(after.unwrap_or(RowSeq::new(0))),
        Order::Newest => RecordRange::Before(after),
    };
    let filter = query.wanted(&register)?.filter(&*store).await?;
    let rows = store.records_where(&filter, range, limit + 1).await?;
    let listed = Listed::new(rows, limit, |row| row.seq.to_string());
    Ok(axum::Json(listed.map(RecordReport::from)))
}

/// One record with what is on record of it: its payout, the owner of its address, its values, its period and its history.
#[utoipa::path(
    get,
    path = "/api/v1/exports/records/{record}",
    operation_id = "show_record",
    tag = "exports",
    params(("record" = i64, Path, description = "Its place in the register")),
    responses((status = OK, description = "The record", body = RecordDetail))
)]
pub(super) async fn record(State(register): State<Arc<Register>>, Path(record): Path<i64>) -> Answer<RecordDetail> {
    Ok(axum::Json(register.record(RowSeq::new(record), now_ms()).await?))
}

/// By what receipts are valued.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ValueBy {
    /// CSV files with prices, each as text: `venue,pair,basis,time,price` and perhaps `revision`.
    #[schema(min_items = 1, max_items = 100)]
    prices: Vec<String>,
    /// CSV files with a central bank's rates, each as text: `source,base,quote,date,rate` and perhaps `nominal` and
    /// `revision`.
    #[serde(default)]
    #[schema(max_items = 100)]
    rates: Vec<String>,
    /// The name of the country profile, if it is not that of the settings: one that comes with the pool.
    #[serde(default)]
    profile: Option<String>,
}

/// Values what was received by files of prices and rates, and puts that on record, as `adit export value` does. What has no
/// price in them is told and left without a value. The same files once more change nothing, so it takes no key.
#[utoipa::path(
    post,
    path = "/api/v1/exports/values",
    operation_id = "value_receipts",
    tag = "exports",
    request_body = ValueBy,
    responses((status = OK, description = "What it came to", body = ValuesReport))
)]
pub(super) async fn value(
    asker: Asker,
    State(register): State<Arc<Register>>,
    Json(ValueBy { prices, rates, profile }): Json<ValueBy>,
) -> Answer<ValuesReport> {
    let profile = register.profile(profile.as_deref())?;
    let keep = async move |values| match asker.ask_plainly(Request::KeepValues { values }).await? {
        Outcome::ValuesKept(kept) => Ok(kept),
        other => Err(Refusal::new(RefusalCode::Failed, format!("the pool answers with something else: {other:?}"))),
    };
    Ok(axum::Json(register.value(profile, PriceTexts { prices, rates }, keep).await?))
}

/// The periods of the country profile of the settings, and those that were declared by others; by profile, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/exports/periods",
    operation_id = "list_periods",
    tag = "exports",
    params(Page),
    responses((status = OK, description = "The periods", body = Listed<PeriodStanding>))
)]
pub(super) async fn periods(
    State(register): State<Arc<Register>>,
    Query(page): Query<Page>,
) -> Answer<Listed<PeriodStanding>> {
    let periods = register.periods(now_ms()).await?;
    Ok(axum::Json(Listed::of_all(periods, &page, |report| format!("{} {}", report.profile, report.period))?))
}

/// Which reports, and which page of their files.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichReports {
    /// The period: `2026-10`, `2026-Q3` or `2026`, as the profile has them.
    #[param(value_type = String)]
    period: Period,
    /// The name of the country profile, if it is not that of the settings: one that comes with the pool.
    profile: Option<String>,
    /// Which edition of them. Without one, they are made from all records that there are, as of now.
    #[param(value_type = Option<String>)]
    edition: Option<Edition>,
    /// How many files at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before, with its edition.
    after: Option<String>,
}

/// The reports of a period: what they come to, and which files they are. They are made for each request, one at a time.
/// Of a closed period they are those that were declared.
#[utoipa::path(
    get,
    path = "/api/v1/exports/reports",
    operation_id = "show_reports",
    tag = "exports",
    params(WhichReports),
    responses((status = OK, description = "The reports", body = ReportSet))
)]
pub(super) async fn reports(
    State(register): State<Arc<Register>>,
    Query(WhichReports { period, profile, edition, limit, after }): Query<WhichReports>,
) -> Answer<ReportSet> {
    let page = Page::new(limit, after);
    page.limit()?;
    let profile = register.profile(profile.as_deref())?;
    let due = profile.due(period).to_string();
    let wish = Wish { profile: Arc::clone(&profile), period, edition };
    let Made { manifest, manifest_bytes, edition, totals, faults, notes } = register.reports(wish).await?;
    let manifest_sha256 = FileHash::of(&manifest_bytes).to_string();
    let last = FileEntry {
        name: MANIFEST_FILE.to_owned(),
        bytes: manifest_bytes.len() as u64,
        sha256: manifest_sha256.clone(),
    };
    let files = (1_i64..).zip(manifest.files.into_iter().chain([last]));
    let Listed { items, next } = Listed::of_all(files, &page, |(place, _)| *place)?
        .map(|(_, FileEntry { name, bytes, sha256 })| ReportFile { name, bytes, sha256 });
    Ok(axum::Json(ReportSet {
        profile: profile.id(),
        period: period.to_string(),
        due,
        edition: edition.to_string(),
        generated_at_ms: edition.generated_at_ms,
        manifest_sha256,
        faults,
        notes,
        totals,
        items,
        next,
    }))
}

/// Which edition of a file.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichEdition {
    /// The edition of the reports. Without one, they are made from all records that there are, as of now.
    #[param(value_type = Option<String>)]
    edition: Option<Edition>,
}

/// A file of a period's reports, as `adit export report` writes it.
#[utoipa::path(
    get,
    path = "/api/v1/exports/reports/{profile}/{period}/{file}",
    operation_id = "download_report",
    tag = "exports",
    params(
        ("profile" = String, Path, description = "The name of the country profile"),
        ("period" = String, Path, description = "The period"),
        ("file" = String, Path, description = "The name of the file"),
        WhichEdition,
    ),
    responses((
        status = OK,
        description = "The file",
        content(
            (String = "text/csv"),
            (Object = "application/json"),
            (String = "application/xml"),
            (String = "text/html"),
            (String = "text/markdown"),
        )
    ))
)]
pub(super) async fn file(
    asker: Asker,
    State(register): State<Arc<Register>>,
    Path((profile, period, file)): Path<(String, Period, String)>,
    Query(WhichEdition { edition }): Query<WhichEdition>,
) -> Result<Response, Problem> {
    let wish = Wish { profile: register.profile(Some(&profile))?, period, edition };
    let bytes = register.file(wish, &file).await?;
    asker.note_download(&file, &profile, &period).await?;
    let headers = [
        (header::CONTENT_TYPE, media_type(&file).to_owned()),
        // No report's name has a sign that ends it here.
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{file}\"")),
    ];
    Ok((headers, bytes).into_response())
}

/// Reports that were handed in.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Declare {
    /// The period.
    #[schema(value_type = String)]
    period: Period,
    /// The name of the country profile, if it is not that of the settings.
    #[serde(default)]
    profile: Option<String>,
    /// The edition of the reports that were handed in. Of those that `adit export report` has written, it is made of what
    /// stands in `manifest.json`: the time `generated_at` in milliseconds since 1970, and `seq` of ledger, register and
    /// journal in `as_of`, with points between.
    #[schema(value_type = String, example = "1795564800000.120.7.33")]
    edition: Edition,
    /// The SHA-256 of their `manifest.json`.
    #[schema(value_type = String)]
    manifest_sha256: FileHash,
    /// The declaration's number or name, by whoever received it.
    #[schema(value_type = String)]
    declaration: Words,
    /// Who received it.
    #[schema(value_type = String)]
    authority: Words,
}

/// Puts on record that a period was declared, by reports that are made again and must be the same. It can be declared again,
/// by an amended return, until it is closed. The same once more changes nothing, so it takes no key.
#[utoipa::path(
    post,
    path = "/api/v1/exports/periods/declare",
    operation_id = "declare_period",
    tag = "exports",
    request_body = Declare,
    responses((status = OK, description = "The period", body = PeriodChange))
)]
pub(super) async fn declare(
    asker: Asker,
    State(register): State<Arc<Register>>,
    Json(Declare { period, profile, edition, manifest_sha256, declaration, authority }): Json<Declare>,
) -> Answer<PeriodChange> {
    let wish = Wish { profile: register.profile(profile.as_deref())?, period, edition: Some(edition) };
    let handed_in = HandedIn { manifest_sha256, declaration, authority };
    let declared = register.declarable(wish, handed_in, &asker.by()?).await?;
    answered!(asker.ask(Request::DeclarePeriod(Box::new(declared))).await?, Outcome::PeriodDeclared)
}

/// A period that is to be closed.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Close {
    /// The period.
    #[schema(value_type = String)]
    period: Period,
    /// The name of the country profile that it was declared by, if it is not that of the settings.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    profile: Option<Words>,
}

/// Closes a period that was declared, for ever: what was declared last stands, and later values are corrections in the open
/// period. Once more changes nothing, so it takes no key.
#[utoipa::path(
    post,
    path = "/api/v1/exports/periods/close",
    operation_id = "close_period",
    tag = "exports",
    request_body = Close,
    responses((status = OK, description = "The period", body = PeriodChange))
)]
pub(super) async fn close(
    asker: Asker,
    State(register): State<Arc<Register>>,
    Json(Close { period, profile }): Json<Close>,
) -> Answer<PeriodChange> {
    let profile = match profile {
        Some(profile) => profile,
        None => register.own_profile_name()?,
    };
    let request = Request::ClosePeriod { profile, period, by: asker.by()? };
    answered!(asker.ask(request).await?, Outcome::PeriodClosed)
}
