//! Payouts: what is due, what a run would pay, the batches, and what an operator decides about them.

use askama::Template;
use axum::{extract::Path, response::Response};
use bitcoin::base64::{Engine, engine::general_purpose::STANDARD};
use payouts::{account::User, payout::BatchId};

use super::{PAGE, cut, expected, now_ms};
use crate::{
    operations::{
        Outcome, PsbtBytes, Refusal, RefusalCode, Request, Words,
        report::{
            AttemptReport, BatchReport, BatchSummary, LotReport, OutputReport, PreviewReport, Stage, Status, Wait,
        },
    },
    pages::{
        asked::{Asked, Shown, file, page},
        frame::{Frame, capitalised},
        show::{Ago, Btc, Ends, Number, When},
    },
};

/// What one signed transaction may be called in a form: all copies stand in one field, apart by blanks.
const MAX_COPIES: usize = 16;
/// Lots of an output that are listed; its miner's page has more of them.
const MOST_LOTS: usize = 20;
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
pub(in crate::pages) async fn list(asked: Asked) -> Shown {
    let Asked { pages, viewer, fields } = &asked;
    let now_ms = now_ms();
    let before = fields.optional::<i64>("before")?.map(BatchId::new);
    let mut batches = pages.store.batches_before(before, PAGE + 1).await?;
    let next = cut(&mut batches, PAGE).map(|last| format!("/payouts?before={}", last.id));
    let lines = batches.iter().map(|batch| BatchLine::new(&BatchSummary::from(batch), now_ms)).collect();
    let (mut problem, mut status, mut preview) = (None, None, None);
    match asked.ask(Request::Status).await {
        Ok(Outcome::Status(report)) => status = Some(status_view(report, now_ms)),
        Ok(_) => {}
        Err(refusal) => problem = Some(capitalised(&refusal.reason)),
    }
    // What is not due takes no dry run.
    if status.as_ref().is_some_and(|status| status.due_accounts > 0) {
        match asked.ask(Request::Preview { account: None }).await {
            Ok(Outcome::Preview(report)) => preview = Some(preview_view(report)),
            Ok(_) => {}
            Err(refusal) => problem = Some(capitalised(&refusal.reason)),
        }
    }
    let frame = asked.frame("/payouts", "Payouts").live_if(before.is_none());
    let may_act = viewer.may_post("/payouts/run");
    page(&Payouts { frame, may_act, problem, status, preview, batches: lines, next })
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
    /// The outputs that follow.
    next: Option<String>,
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
    /// How many lots are not listed.
    more_lots: usize,
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

/// A batch with all that is known of it, and a page of its outputs.
pub(in crate::pages) async fn show(asked: Asked, Path(batch): Path<String>) -> Shown {
    let Asked { pages, viewer, fields } = &asked;
    let id = batch_id(&batch)?;
    let unknown = || Refusal::new(RefusalCode::NotFound, format!("there is no batch {id}"));
    let head = pages.store.batch_head(id).await?.ok_or_else(unknown)?;
    let after = fields.optional::<u32>("after")?;
    let mut outputs = pages.store.outputs_of(id, after, PAGE + 1).await?;
    let next = cut(&mut outputs, PAGE).map(|last| format!("/payouts/{id}?after={}", last.vout));
    let report = BatchReport::with(&head, &outputs, pages.store.batch_events(id).await?);
    let stage = report.summary.stage;
    let may = |action: &str| viewer.may_post(&format!("/payouts/{{batch}}/{action}"));
    page(&BatchPage {
        frame: asked.frame("/payouts", format!("Payout {id}")),
        batch: BatchLine::new(&report.summary, now_ms()),
        txid: report.summary.txid.to_string(),
        outputs: report.outputs.iter().map(output_line).collect(),
        next,
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
    let lot = |lot: &LotReport| (Ends(lot.coinbase.to_string()), Number(lot.sat.into()));
    OutputLine {
        vout: output.vout,
        address: output.address.clone(),
        ends: Ends(output.address.clone()),
        paid: Number(output.paid_sat.into()),
        fee: Number(output.fee_part_sat.into()),
        lots: output.lots.iter().take(MOST_LOTS).map(lot).collect(),
        more_lots: output.lots.len().saturating_sub(MOST_LOTS),
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
pub(in crate::pages) async fn run(asked: Asked) -> Response {
    let ran = async {
        let account = asked.fields.optional::<User>("account")?;
        let ran = expected!(asked.ask(Request::Run { account }).await?, Outcome::Ran)?;
        Ok(match (ran.batches.len(), ran.waiting_accounts) {
            (0, 0) => "Nothing is due.".to_owned(),
            (0, accounts) => format!("Nothing was made: {accounts} accounts are due and wait for coins."),
            (batches, _) => format!("{batches} payouts were made."),
        })
    };
    asked.told("/payouts", ran).await
}

/// Lets a batch be signed.
pub(in crate::pages) async fn approve(asked: Asked, Path(batch): Path<String>) -> Response {
    let request = |batch| Ok(Request::Approve { batch, by: asked.viewer.by()? });
    act(&asked, &batch, request, "The payout is approved.").await
}

/// Gives up a batch that was never signed.
pub(in crate::pages) async fn cancel(asked: Asked, Path(batch): Path<String>) -> Response {
    let request = |batch| {
        let reason: Words = asked.fields.required("reason")?;
        Ok(Request::Cancel { batch, reason, even_if_exported: asked.fields.is_ticked("even_if_exported") })
    };
    act(&asked, &batch, request, "The payout is given up: what it took is due again.").await
}

/// Replaces a batch's transaction by one that pays the network more.
pub(in crate::pages) async fn bump(asked: Asked, Path(batch): Path<String>) -> Response {
    let request = |batch| {
        let fee_rate_sat_per_vb = asked.fields.required("fee_rate")?;
        if !FEE_RATES.contains(&fee_rate_sat_per_vb) {
            return Err(invalid(format!("fee rate: {fee_rate_sat_per_vb} is not from 1 to 10000")));
        }
        Ok(Request::Bump { batch, fee_rate_sat_per_vb })
    };
    act(&asked, &batch, request, "The transaction is replaced.").await
}

/// Hands out a batch's transaction to be signed elsewhere, as a file.
pub(in crate::pages) async fn export_psbt(asked: Asked, Path(batch): Path<String>) -> Shown {
    let batch = batch_id(&batch)?;
    let exported = expected!(asked.ask(Request::ExportPsbt { batch }).await?, Outcome::Psbt)?;
    file(&format!("payout-{batch}.psbt"), "application/octet-stream", exported.psbt.0)
}

/// Takes in a batch's transaction that was signed elsewhere, and sends it.
pub(in crate::pages) async fn import_psbt(asked: Asked, Path(batch): Path<String>) -> Response {
    let request = |batch| {
        let texts: Vec<&str> = asked.fields.text("psbts").split_whitespace().collect();
        if !(1..=MAX_COPIES).contains(&texts.len()) {
            return Err(invalid(format!("{} transactions are not 1 to {MAX_COPIES}", texts.len())));
        }
        let decode = |text: &&str| {
            let decoded = STANDARD.decode(text).map(PsbtBytes);
            decoded.map_err(|error| invalid(format!("the transaction is not base64: {error}")))
        };
        Ok(Request::ImportPsbt { batch, psbts: texts.iter().map(decode).collect::<Result<_, _>>()? })
    };
    act(&asked, &batch, request, "The signatures are taken in.").await
}

/// Hands in a request about a batch, and goes back to it.
async fn act(
    asked: &Asked,
    batch: &str,
    request: impl FnOnce(BatchId) -> Result<Request, Refusal>,
    done: &str,
) -> Response {
    let acted = async {
        asked.ask(request(batch_id(batch)?)?).await?;
        Ok(done.to_owned())
    };
    asked.told(&format!("/payouts/{batch}"), acted).await
}

fn invalid(reason: String) -> Refusal {
    Refusal::new(RefusalCode::Invalid, reason)
}

fn batch_id(text: &str) -> Result<BatchId, Refusal> {
    let unknown = |_| Refusal::new(RefusalCode::NotFound, "there is no such payout");
    text.parse().map(BatchId::new).map_err(unknown)
}
