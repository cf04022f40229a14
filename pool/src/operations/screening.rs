//! Requests about screening: what was found, and the release of whom operators find to be somebody else.

use std::str::FromStr;

use bitcoin::Address;
use jiff::Timestamp;
use payouts::{
    account::{Account, User},
    export::{
        party::PartyKind,
        screened::{Evidence, Finding, ReviewReason},
        screening::{self, ListStanding, Owner, list},
    },
    payout::{Payer, Review},
    store::Store,
};
use serde::{Deserialize, Serialize};

use super::{Refusal, RefusalCode, Words, account::find_account};

/// How screening stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScreeningReport {
    /// Why nothing is paid now; nothing if lists may be relied upon.
    pub nothing_is_paid: Option<String>,
    /// The lists.
    pub lists: Vec<ListReport>,
    /// Whom they restrain.
    pub findings: Vec<FindingReport>,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ListReport {
    /// Its name in the settings.
    pub source: String,
    /// `usable`, or why it is not.
    pub standing: String,
    /// Whether it is much smaller than the one before, which two operators can accept.
    pub is_shrunken: bool,
    /// When its file was written, in milliseconds since 1970 UTC; nothing without a file.
    pub fetched_at_ms: Option<i64>,
    /// The date that it bears.
    pub publication_date: Option<String>,
    /// How many parties it has.
    pub entry_count: u64,
    /// How many Bitcoin addresses.
    pub address_count: u64,
    /// How many entries could not be used.
    pub warning_count: u64,
}

/// An account that screening restrains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FindingReport {
    /// Its address.
    pub address: String,
    /// `HELD` or `BLOCKED`.
    pub outcome: String,
    /// What was found.
    #[schema(value_type = Vec<Object>)]
    pub evidence: Vec<Evidence>,
    /// What is missing of its owner.
    pub missing: Vec<String>,
    /// The row of the journal that says so.
    pub row: i64,
    /// Who has said that it may be released.
    pub first_review_by: Option<String>,
}

/// What lists have about an address or a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScreenedText {
    /// What was asked about.
    pub text: String,
    /// Whether it was compared as an address; else as a name.
    pub is_address: bool,
    /// `CLEAR`, `HELD` or `BLOCKED`.
    pub outcome: String,
    /// What was found.
    #[schema(value_type = Vec<Object>)]
    pub evidence: Vec<Evidence>,
    /// Why the lists may not be relied upon, if so.
    pub unusable: Option<String>,
}

/// What became of an operator's word for a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReviewReport {
    /// The account's address.
    pub address: String,
    /// Whether it is released; else another operator must agree.
    pub released: bool,
}

/// What became of an operator's word for a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AcceptReport {
    /// The list.
    pub source: String,
    /// Whether it is accepted; else another operator must agree.
    pub accepted: bool,
}

/// An operator's word for a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewRequest {
    /// Whose release.
    pub account: User,
    /// Who says so.
    pub by: Words,
    /// Why.
    pub reason: ReviewReason,
    /// In words.
    pub text: Words,
    /// Under which reference an authority allows it.
    #[serde(default)]
    pub authorisation: Option<Words>,
}

/// Tells how screening stands.
pub(super) fn report(payer: &Payer) -> ScreeningReport {
    let screening = payer.screening();
    let (lists, now_ms) = (screening.lists(), Timestamp::now().as_millisecond());
    let list = |read: &payouts::export::lists::ReadList| ListReport {
        source: read.source.to_string(),
        standing: read.standing(now_ms).to_string(),
        is_shrunken: matches!(read.standing(now_ms), ListStanding::Shrunken { .. }),
        fetched_at_ms: read.content.as_ref().map(|_| read.fetched_at_ms),
        publication_date: read.list().and_then(|list| list.publication_date).map(|date| date.to_string()),
        entry_count: read.list().map_or(0, |list| list.entry_count),
        address_count: read.list().map_or(0, |list| list.addresses.len() as u64),
        warning_count: read.list().map_or(0, |list| list.warning_count),
    };
    ScreeningReport {
        nothing_is_paid: screening.standing(now_ms).err().map(|unusable| unusable.to_string()),
        lists: lists.read().iter().map(list).collect(),
        findings: screening.findings().open().map(finding).collect(),
    }
}

fn finding(finding: &Finding) -> FindingReport {
    let Finding { row, screened, first_review } = finding;
    FindingReport {
        address: screened.address.clone(),
        outcome: screened.outcome.clone(),
        evidence: screened.evidence.clone(),
        missing: screened.missing.clone(),
        row: row.get(),
        first_review_by: first_review.as_ref().map(|review| review.by.clone()),
    }
}

/// Compares an address or a name with the lists; nothing comes of it.
pub(super) fn screen(payer: &Payer, text: &Words) -> ScreenedText {
    let lists = payer.screening().lists();
    // Of whatever network: it is compared by its script.
    let script = Address::from_str(text.as_str()).map(|address| address.assume_checked().script_pubkey()).ok();
    let hits = match &script {
        Some(script) => lists.index().screen_script(script),
        None => {
            let kinds = [PartyKind::Natural, PartyKind::Legal].map(|kind| match kind {
                PartyKind::Natural => list::PartyKind::Individual,
                PartyKind::Legal => list::PartyKind::Entity,
            });
            kinds.iter().flat_map(|&kind| lists.index().screen_name(text.as_str(), kind)).collect()
        }
    };
    let judgement = screening::judge_found(&Owner::Known, hits);
    ScreenedText {
        text: text.to_string(),
        is_address: script.is_some(),
        outcome: judgement.outcome.to_string(),
        evidence: judgement.hits.iter().map(Evidence::of).collect(),
        unusable: payer
            .screening()
            .standing(Timestamp::now().as_millisecond())
            .err()
            .map(|unusable| unusable.to_string()),
    }
}

/// Takes an operator's word for a release.
pub(super) async fn review(
    store: &dyn Store,
    payer: &mut Payer,
    request: &ReviewRequest,
) -> Result<ReviewReport, Refusal> {
    let ReviewRequest { account, by, reason, text, authorisation } = request;
    let Account { id, address, .. } = find_account(store, account).await?;
    let authorisation = authorisation.as_ref().map(Words::as_str);
    let review = payer.review(id, by.as_str(), *reason, text.as_str(), authorisation).await;
    let review = review.map_err(|error| {
        let Refusal { code, reason } = error.into();
        Refusal::new(code, format!("{address}: {reason}"))
    })?;
    Ok(ReviewReport { address, released: review == Review::Released })
}

/// Takes an operator's word that a list is right although it is much smaller than the one before.
pub(super) async fn accept(payer: &mut Payer, source: &str, by: &Words, text: &Words) -> Result<AcceptReport, Refusal> {
    let list = source.parse().map_err(|error| Refusal::new(RefusalCode::Invalid, error))?;
    let review = payer.accept_list(&list, by.as_str(), text.as_str()).await?;
    Ok(AcceptReport { source: source.to_owned(), accepted: review == Review::Released })
}

/// Refuses to end by an operator's word alone what screening has begun.
pub(super) fn check_release(payer: &Payer, account: &Account) -> Result<(), Refusal> {
    match payer.screening().findings().of(account.id) {
        None => Ok(()),
        Some(_) => {
            let reason = format!(
                "{} was found by screening: two operators release it with `adit screening release`",
                account.address
            );
            Err(Refusal::new(RefusalCode::Conflict, reason))
        }
    }
}
