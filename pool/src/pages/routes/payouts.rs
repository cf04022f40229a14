//! Payouts: what is due, what a run would pay, the batches, and what an operator decides about them.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};
use bitcoin::base64::{Engine, engine::general_purpose::STANDARD};
use payouts::{account::User, payout::BatchId};

use super::{PAGE, now_ms};
use crate::{
    operations::{
        Outcome, PsbtBytes, Refusal, RefusalCode, Request, Words,
        report::{AttemptReport, BatchReport, BatchSummary, OutputReport, PreviewReport, Stage, Status, Wait},
    },
    pages::{
        Pages,
        fields::Fields,
        frame::{Frame, capitalised, refused, shown, told},
        guard::Viewer,
        show::{Ago, Btc, Ends, Number, When},
    },
};

/// What one signed transaction may be called in a form: all copies stand in one field, apart by blanks.
const MAX_COPIES: usize = 16;
/// Fee rates that a replacement may have, satoshis a virtual byte.
const FEE_RATES: std::ops::RangeInclusive<u32> = 1..=10_000;

#[derive(Template)]
#[template(path = "payouts.html")]
struct Payouts {
    frame: Frame,
    may_act: bool,
    /// Why payouts cannot be told of now.
    problem: Option<String>,
    status: Option<StatusView>,
    preview: Option<PreviewView>,
    batches: Vec<BatchLine>,
    next: Option<String>,
}

struct StatusView {
    schedule: String,
    next_slot: Option<When>,
    due_accounts: usize,
    due: Btc,
    mature: Btc,
    immature: Btc,
    signs_here: bool,
    totals: Vec<(&'static str, Number)>,
    waiting: Vec<WaitingLine>,
}

/// A batch that waits for something.
struct WaitingLine {
    batch: BatchLine,
    waits_for: String,
    wants_approval: bool,
}

/// A batch in a line.
pub(super) struct BatchLine {
    pub(super) id: i64,
    pub(super) stage: &'static str,
    pub(super) txid: Ends,
    pub(super) accounts: usize,
    pub(super) paid: Number,
    pub(super) network_fee: Number,
    pub(super) created: Ago,
    pub(super) height: Option<u32>,
}

struct PreviewView {
    paid: Btc,
    network_fee: Number,
    rate: String,
    left_accounts: usize,
    left: Btc,
    obstacle: Option<String>,
    outputs: Vec<PreviewLine>,
}

struct PreviewLine {
    address: String,
    ends: Ends,
    taken: Number,
    fee: Number,
}

impl BatchLine {
    fn new(batch: &BatchSummary, now_ms: i64) -> BatchLine {
        BatchLine {
            id: batch.batch.get(),
            stage: batch.stage.as_str(),
            txid: Ends(batch.txid.to_string()),
            accounts: batch.accounts,
            paid: Number(batch.paid_sat.into()),
            network_fee: Number(batch.network_fee_sat.into()),
            created: Ago { at_ms: batch.created_at_ms, now_ms },
            height: batch.block.map(|block| block.height),
        }
    }
}

/// How payouts stand.
pub(in crate::pages) async fn list(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::read(query.unwrap_or_default().as_bytes());
    let contents = payouts(&pages, &viewer, &fields).await;
    shown(&pages, &viewer, contents)
}

async fn payouts(pages: &Pages, viewer: &Viewer, fields: &Fields) -> Result<Payouts, Refusal> {
    let now_ms = now_ms();
    let before = fields.optional::<i64>("before")?.map(BatchId::new);
    let mut batches = pages.store.batches_before(before, PAGE + 1).await?;
    let has_more = batches.len() > PAGE as usize;
    batches.truncate(PAGE as usize);
    let next = batches.last().filter(|_| has_more).map(|last| format!("/payouts?before={}", last.id));
    let lines = batches.iter().map(|batch| BatchLine::new(&BatchSummary::from(batch), now_ms)).collect();
    let (mut problem, mut status, mut preview) = (None, None, None);
    match pages.desk.ask(&viewer.actor(), Request::Status).await {
        Ok(Outcome::Status(report)) => status = Some(status_view(report, now_ms)),
        Ok(_) => {}
        Err(refusal) => problem = Some(capitalised(&refusal.reason)),
    }
    // What is not due takes no dry run.
    if status.as_ref().is_some_and(|status| status.due_accounts > 0) {
        match pages.desk.ask(&viewer.actor(), Request::Preview { account: None }).await {
            Ok(Outcome::Preview(report)) => preview = Some(preview_view(report)),
            Ok(_) => {}
            Err(refusal) => problem = Some(capitalised(&refusal.reason)),
        }
    }
    let mut frame = Frame::new(pages, viewer, "/payouts", "Payouts");
    frame.is_live = before.is_none();
    let may_act = viewer.may_post("/payouts/run");
    Ok(Payouts { frame, may_act, problem, status, preview, batches: lines, next })
}

fn status_view(status: Status, now_ms: i64) -> StatusView {
    let ledger = status.ledger;
    let number = |sat: i64| Number(sat.into());
    let waiting = status.open.iter().map(|open| WaitingLine {
        batch: BatchLine::new(&open.batch, now_ms),
        waits_for: waits_for(&open.waits_for),
        wants_approval: open.waits_for == Wait::Approval,
    });
    StatusView {
        waiting: waiting.collect(),
        next_slot: status.next_slot_at_ms.map(When),
        due_accounts: status.due_accounts,
        due: Btc(status.due_sat.into()),
        mature: Btc(status.mature_coins_sat.into()),
        immature: Btc(status.immature_coins_sat.into()),
        signs_here: status.signs_here,
        totals: vec![
            ("Due to miners", number(ledger.payable_sat)),
            ("Held", number(ledger.held_sat)),
            ("Blocked", number(ledger.blocked_sat)),
            ("Reserved for batches", number(ledger.reserved_sat)),
            ("In flight", number(ledger.in_flight_sat)),
            ("Spendable", number(ledger.spendable_sat)),
            ("Immature", number(ledger.immature_sat)),
            ("Pool fee", number(ledger.fee_sat)),
            ("Network fees", number(ledger.network_fee_sat)),
            ("PPS reserve", number(ledger.pps_reserve_sat)),
        ],
        schedule: status.schedule,
    }
}

fn waits_for(wait: &Wait) -> String {
    match wait {
        Wait::Approval => "approval".to_owned(),
        Wait::Signature => "a signature".to_owned(),
        Wait::Node => "the node".to_owned(),
        Wait::Block => "a block".to_owned(),
        Wait::Conflict { by, depth } => format!("{by}, which has spent its coins, to be deep enough ({depth} deep)"),
    }
}

fn preview_view(preview: PreviewReport) -> PreviewView {
    let line = |output: &crate::operations::report::PreviewOutputReport| PreviewLine {
        address: output.address.clone(),
        ends: Ends(output.address.clone()),
        taken: Number(output.taken_sat.into()),
        fee: Number(output.fee_part_sat.into()),
    };
    PreviewView {
        paid: Btc(preview.paid_sat.into()),
        network_fee: Number(preview.network_fee_sat.into()),
        // A thousand weight units are 250 virtual bytes.
        rate: format!("{:.1}", preview.fee_rate_sat_per_kwu as f64 / 250.0),
        left_accounts: preview.left_accounts,
        left: Btc(preview.left_sat.into()),
        obstacle: preview.obstacle.as_deref().map(capitalised),
        outputs: preview.outputs.iter().rev().take(PAGE as usize).map(line).collect(),
    }
}

#[derive(Template)]
#[template(path = "batch.html")]
struct BatchPage {
    frame: Frame,
    batch: BatchLine,
    txid: String,
    outputs: Vec<OutputLine>,
    attempts: Vec<AttemptLine>,
    events: Vec<EventLine>,
    may_approve: bool,
    may_cancel: bool,
    may_bump: bool,
    may_sign: bool,
}

struct OutputLine {
    vout: u32,
    address: String,
    ends: Ends,
    paid: Number,
    fee: Number,
    lots: Vec<(Ends, Number)>,
}

struct AttemptLine {
    txid: String,
    stage: &'static str,
    network_fee: Number,
    made: When,
}

struct EventLine {
    at: When,
    event: String,
    note: String,
}

/// A batch with all that is known of it.
pub(in crate::pages) async fn show(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path(batch): Path<String>,
) -> Response {
    let contents = batch_page(&pages, &viewer, &batch).await;
    shown(&pages, &viewer, contents)
}

async fn batch_page(pages: &Pages, viewer: &Viewer, batch: &str) -> Result<BatchPage, Refusal> {
    let id = batch_id(batch)?;
    let unknown = || Refusal::new(RefusalCode::NotFound, format!("there is no batch {id}"));
    let found = pages.store.batch(id).await?.ok_or_else(unknown)?;
    let report = BatchReport::new(&found, pages.store.batch_events(id).await?);
    let stage = report.summary.stage;
    let may = |action: &str| viewer.may_post(&format!("/payouts/{{batch}}/{action}"));
    Ok(BatchPage {
        frame: Frame::new(pages, viewer, "/payouts", format!("Payout {id}")),
        batch: BatchLine::new(&report.summary, now_ms()),
        txid: report.summary.txid.to_string(),
        outputs: report.outputs.iter().map(output_line).collect(),
        attempts: report.transactions.iter().map(attempt_line).collect(),
        events: report
            .events
            .into_iter()
            .map(|event| EventLine { at: When(event.at_ms), event: event.event, note: event.note })
            .collect(),
        may_approve: stage == Stage::Unapproved && may("approve"),
        may_cancel: matches!(stage, Stage::Unapproved | Stage::Unsigned) && may("cancel"),
        may_bump: stage == Stage::Broadcast && may("bump"),
        may_sign: stage == Stage::Unsigned && may("psbt"),
    })
}

fn output_line(output: &OutputReport) -> OutputLine {
    OutputLine {
        vout: output.vout,
        address: output.address.clone(),
        ends: Ends(output.address.clone()),
        paid: Number(output.paid_sat.into()),
        fee: Number(output.fee_part_sat.into()),
        lots: output.lots.iter().map(|lot| (Ends(lot.coinbase.to_string()), Number(lot.sat.into()))).collect(),
    }
}

fn attempt_line(attempt: &AttemptReport) -> AttemptLine {
    AttemptLine {
        txid: attempt.txid.to_string(),
        stage: attempt.stage.as_str(),
        network_fee: Number(attempt.network_fee_sat.into()),
        made: When(attempt.created_at_ms),
    }
}

/// Pays now what is due.
pub(in crate::pages) async fn run(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let account = match fields.optional::<User>("account") {
        Ok(account) => account,
        Err(refusal) => return told(&pages, &viewer, "/payouts", Err(refusal), |_| String::new()),
    };
    let outcome = pages.desk.ask(&viewer.actor(), Request::Run { account }).await;
    told(&pages, &viewer, "/payouts", outcome, |outcome| match outcome {
        Outcome::Ran(ran) if ran.batches.is_empty() => match ran.waiting_accounts {
            0 => "Nothing is due.".to_owned(),
            accounts => format!("Nothing was made: {accounts} accounts are due and wait for coins."),
        },
        Outcome::Ran(ran) => format!("{} payouts were made.", ran.batches.len()),
        _ => String::new(),
    })
}

/// Lets a batch be signed.
pub(in crate::pages) async fn approve(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path(batch): Path<String>,
) -> Response {
    let request = async {
        let request = Request::Approve { batch: batch_id(&batch)?, by: viewer.by()? };
        pages.desk.ask(&viewer.actor(), request).await
    };
    let outcome = request.await;
    told(&pages, &viewer, &format!("/payouts/{batch}"), outcome, |_| "The payout is approved.".to_owned())
}

/// Gives up a batch that was never signed.
pub(in crate::pages) async fn cancel(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
    Path(batch): Path<String>,
) -> Response {
    let request = async {
        let reason: Words = fields.required("reason")?;
        let even_if_exported = fields.is_ticked("even_if_exported");
        let request = Request::Cancel { batch: batch_id(&batch)?, reason, even_if_exported };
        pages.desk.ask(&viewer.actor(), request).await
    };
    let outcome = request.await;
    let said = "The payout is given up: what it took is due again.";
    told(&pages, &viewer, &format!("/payouts/{batch}"), outcome, |_| said.to_owned())
}

/// Replaces a batch's transaction by one that pays the network more.
pub(in crate::pages) async fn bump(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
    Path(batch): Path<String>,
) -> Response {
    let request = async {
        let fee_rate_sat_per_vb = fields.required("fee_rate")?;
        if !FEE_RATES.contains(&fee_rate_sat_per_vb) {
            let reason = format!("fee rate: {fee_rate_sat_per_vb} is not from 1 to 10000");
            return Err(Refusal::new(RefusalCode::Invalid, reason));
        }
        let request = Request::Bump { batch: batch_id(&batch)?, fee_rate_sat_per_vb };
        pages.desk.ask(&viewer.actor(), request).await
    };
    let outcome = request.await;
    told(&pages, &viewer, &format!("/payouts/{batch}"), outcome, |_| "The transaction is replaced.".to_owned())
}

/// Hands out a batch's transaction to be signed elsewhere, as a file.
pub(in crate::pages) async fn export_psbt(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path(batch): Path<String>,
) -> Response {
    let request = async {
        let id = batch_id(&batch)?;
        match pages.desk.ask(&viewer.actor(), Request::ExportPsbt { batch: id }).await? {
            Outcome::Psbt(exported) => Ok((id, exported.psbt.0)),
            _ => Err(Refusal::new(RefusalCode::Failed, "the pool answers with something else")),
        }
    };
    match request.await {
        Ok((id, bytes)) => {
            let name = format!("attachment; filename=\"payout-{id}.psbt\"");
            let headers =
                [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_DISPOSITION, name)];
            (headers, bytes).into_response()
        }
        Err(refusal) => refused(Some(&viewer), &pages, &refusal),
    }
}

/// Takes in a batch's transaction that was signed elsewhere, and sends it.
pub(in crate::pages) async fn import_psbt(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
    Path(batch): Path<String>,
) -> Response {
    let request = async {
        let texts: Vec<&str> = fields.text("psbts").split_whitespace().collect();
        if !(1..=MAX_COPIES).contains(&texts.len()) {
            let reason = format!("{} transactions are not 1 to {MAX_COPIES}", texts.len());
            return Err(Refusal::new(RefusalCode::Invalid, reason));
        }
        let decode = |text: &&str| {
            let invalid = |error| Refusal::new(RefusalCode::Invalid, format!("the transaction is not base64: {error}"));
            STANDARD.decode(text).map(PsbtBytes).map_err(invalid)
        };
        let psbts = texts.iter().map(decode).collect::<Result<_, _>>()?;
        let request = Request::ImportPsbt { batch: batch_id(&batch)?, psbts };
        pages.desk.ask(&viewer.actor(), request).await
    };
    let outcome = request.await;
    told(&pages, &viewer, &format!("/payouts/{batch}"), outcome, |_| "The signatures are taken in.".to_owned())
}

fn batch_id(text: &str) -> Result<BatchId, Refusal> {
    let unknown = |_| Refusal::new(RefusalCode::NotFound, "there is no such payout");
    text.parse().map(BatchId::new).map_err(unknown)
}
