//! Screening: the lists and how old they are, whom they restrain, and what two operators decide about it.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use payouts::{
    account::User,
    export::screened::{Evidence, ReviewReason},
};

use super::{expected, now_ms};
use crate::{
    operations::{
        Outcome, Refusal, RefusalCode, Request, Words,
        screening::{FindingReport, ListReport, ReviewRequest, ScreenedText, ScreeningReport},
    },
    pages::{
        Pages,
        fields::Fields,
        frame::{Frame, capitalised, shown, told},
        guard::Viewer,
        show::{Ago, Number},
    },
};

#[derive(Template)]
#[template(path = "screening.html")]
struct Screening {
    frame: Frame,
    may_check: bool,
    may_accept: bool,
    may_release: bool,
    may_see_parties: bool,
    nothing_is_paid: Option<String>,
    lists: Vec<ListLine>,
    findings: Vec<FindingView>,
    checked: Option<CheckedView>,
}

struct ListLine {
    source: String,
    standing: String,
    is_usable: bool,
    is_shrunken: bool,
    published: String,
    fetched: Option<Ago>,
    entries: Number,
    addresses: Number,
    warnings: Number,
}

/// An account that screening restrains.
struct FindingView {
    address: String,
    outcome: String,
    class: String,
    row: i64,
    evidence: Vec<EvidenceView>,
    missing: Vec<String>,
    first_review_by: Option<String>,
}

/// Something on a list.
struct EvidenceView {
    reason: String,
    score: Option<String>,
    listed: String,
    label: Option<String>,
    source: String,
    uid: String,
    party: String,
    programmes: String,
}

/// What lists have about an address or a name.
struct CheckedView {
    text: String,
    kind: &'static str,
    outcome: String,
    class: String,
    evidence: Vec<EvidenceView>,
}

impl ListLine {
    fn new(list: ListReport, now_ms: i64) -> ListLine {
        ListLine {
            source: list.source,
            is_usable: list.standing == "usable",
            is_shrunken: list.is_shrunken,
            standing: list.standing,
            published: list.publication_date.unwrap_or_default(),
            fetched: list.fetched_at_ms.map(|at_ms| Ago { at_ms, now_ms }),
            entries: Number(list.entry_count.into()),
            addresses: Number(list.address_count.into()),
            warnings: Number(list.warning_count.into()),
        }
    }
}

impl FindingView {
    fn new(finding: FindingReport) -> FindingView {
        FindingView {
            address: finding.address,
            class: finding.outcome.to_lowercase(),
            outcome: finding.outcome,
            row: finding.row,
            evidence: finding.evidence.into_iter().map(EvidenceView::new).collect(),
            missing: finding.missing,
            first_review_by: finding.first_review_by,
        }
    }
}

impl EvidenceView {
    fn new(evidence: Evidence) -> EvidenceView {
        EvidenceView {
            reason: reason(&evidence.reason).to_owned(),
            score: evidence.score_bp.map(|bp| format!("{}.{:02} %", bp / 100, bp % 100)),
            listed: evidence.listed,
            label: evidence.label,
            source: evidence.source,
            uid: evidence.uid,
            party: evidence.party,
            programmes: evidence.programmes.join(", "),
        }
    }
}

impl CheckedView {
    fn new(screened: ScreenedText) -> CheckedView {
        CheckedView {
            text: screened.text,
            kind: if screened.is_address { "address" } else { "name" },
            class: screened.outcome.to_lowercase(),
            outcome: screened.outcome,
            evidence: screened.evidence.into_iter().map(EvidenceView::new).collect(),
        }
    }
}

/// How screening stands.
pub(in crate::pages) async fn show(State(pages): State<Pages>, Extension(viewer): Extension<Viewer>) -> Response {
    let contents = screening(&pages, &viewer, None).await;
    shown(&pages, &viewer, contents)
}

/// What lists have about an address or a name. It is a form, so that no name stands in an address of a page.
pub(in crate::pages) async fn check(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let contents = async {
        let text: Words = fields.required("text")?;
        let screened = expected!(pages.ask(&viewer, Request::Screen { text }).await?, Outcome::Screened)?;
        screening(&pages, &viewer, Some(screened)).await
    };
    let contents = contents.await;
    shown(&pages, &viewer, contents)
}

async fn screening(pages: &Pages, viewer: &Viewer, checked: Option<ScreenedText>) -> Result<Screening, Refusal> {
    let now_ms = now_ms();
    let report = expected!(pages.ask(viewer, Request::Screening).await?, Outcome::Screening)?;
    let ScreeningReport { nothing_is_paid, lists, findings } = report;
    let mut frame = Frame::new(pages, viewer, "/screening", "Screening");
    // What was asked about is not asked again.
    frame.is_live = checked.is_none();
    Ok(Screening {
        frame,
        may_check: viewer.may_post("/screening/check"),
        may_accept: viewer.may_post("/screening/lists/{list}/accept"),
        may_release: viewer.may_post("/screening/release"),
        may_see_parties: viewer.may_see("/parties"),
        nothing_is_paid: nothing_is_paid.as_deref().map(capitalised),
        lists: lists.into_iter().map(|list| ListLine::new(list, now_ms)).collect(),
        findings: findings.into_iter().map(FindingView::new).collect(),
        checked: checked.map(CheckedView::new),
    })
}

/// An operator's word that an account may be released.
pub(in crate::pages) async fn release(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let request = async {
        let account: User = fields.required("account")?;
        let (reason, text) = (review_reason(&fields)?, fields.required("text")?);
        let authorisation = fields.optional("authorisation")?;
        let review = ReviewRequest { account, by: viewer.by()?, reason, text, authorisation };
        pages.ask(&viewer, Request::Review(review)).await
    };
    let outcome = request.await;
    told(&pages, &viewer, "/screening", outcome, |outcome| match outcome {
        Outcome::Reviewed(review) if review.released => format!("{} is released.", review.address),
        Outcome::Reviewed(review) => {
            format!("On record. Another operator must agree before {} is released.", review.address)
        }
        _ => String::new(),
    })
}

/// An operator's word that a list is right although it is much smaller than the one before.
pub(in crate::pages) async fn accept(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
    Path(list): Path<String>,
) -> Response {
    let request = async {
        let text: Words = fields.required("text")?;
        pages.ask(&viewer, Request::AcceptList { list, by: viewer.by()?, text }).await
    };
    let outcome = request.await;
    told(&pages, &viewer, "/screening", outcome, |outcome| match outcome {
        Outcome::ListAccepted(report) if report.accepted => format!("List {} is accepted.", report.source),
        Outcome::ListAccepted(report) => {
            format!("On record. Another operator must agree before list {} is accepted.", report.source)
        }
        _ => String::new(),
    })
}

fn review_reason(fields: &Fields) -> Result<ReviewReason, Refusal> {
    let unknown = |_| Refusal::new(RefusalCode::Invalid, "choose a reason");
    serde_json::from_value(fields.text("reason").into()).map_err(unknown)
}

/// Returns a reason's name in words.
fn reason(name: &str) -> &str {
    match name {
        "EXACT_ADDRESS" => "The address is listed",
        "EXACT_NAME" => "The party is listed",
        "SAME_KEY" => "The key of a listed address can spend it",
        "SIMILAR_NAME" => "A listed party has a name like it",
        "MISSING_OWNER" => "It is not known well enough whose it is",
        "LISTS_UNUSABLE" => "A list cannot be relied upon",
        other => other,
    }
}
