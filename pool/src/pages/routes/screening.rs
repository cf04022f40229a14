//! Screening: the lists and how old they are, whom they restrain, and what two operators decide about it.

use askama::Template;
use axum::{extract::Path, response::Response};
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
        asked::{Asked, Shown, page},
        fields::Fields,
        frame::{Frame, capitalised},
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
pub(in crate::pages) async fn show(asked: Asked) -> Shown {
    screening(&asked, None).await
}

/// What lists have about an address or a name. It is a form, so that no name stands in an address of a page.
pub(in crate::pages) async fn check(asked: Asked) -> Shown {
    let text: Words = asked.fields.required("text")?;
    let screened = expected!(asked.ask(Request::Screen { text }).await?, Outcome::Screened)?;
    screening(&asked, Some(screened)).await
}

async fn screening(asked: &Asked, checked: Option<ScreenedText>) -> Shown {
    let (viewer, now_ms) = (&asked.viewer, now_ms());
    let report = expected!(asked.ask(Request::Screening).await?, Outcome::Screening)?;
    let ScreeningReport { nothing_is_paid, lists, findings } = report;
    page(&Screening {
        // What was asked about is not asked again.
        frame: asked.frame("/screening", "Screening").live_if(checked.is_none()),
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
pub(in crate::pages) async fn release(asked: Asked) -> Response {
    let Asked { viewer, fields, .. } = &asked;
    let reviewed = async {
        let account: User = fields.required("account")?;
        let (reason, text) = (review_reason(fields)?, fields.required("text")?);
        let authorisation = fields.optional("authorisation")?;
        let review = ReviewRequest { account, by: viewer.by()?, reason, text, authorisation };
        let review = expected!(asked.ask(Request::Review(review)).await?, Outcome::Reviewed)?;
        Ok(match review.released {
            true => format!("{} is released.", review.address),
            false => format!("On record. Another operator must agree before {} is released.", review.address),
        })
    };
    asked.told("/screening", reviewed).await
}

/// An operator's word that a list is right although it is much smaller than the one before.
pub(in crate::pages) async fn accept(asked: Asked, Path(list): Path<String>) -> Response {
    let accepted = async {
        let text: Words = asked.fields.required("text")?;
        let request = Request::AcceptList { list, by: asked.viewer.by()?, text };
        let report = expected!(asked.ask(request).await?, Outcome::ListAccepted)?;
        Ok(match report.accepted {
            true => format!("List {} is accepted.", report.source),
            false => format!("On record. Another operator must agree before list {} is accepted.", report.source),
        })
    };
    asked.told("/screening", accepted).await
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
