//! Screenings and reviews on record, and what they come to for each account. Pure.
//!
//! Whoever is found on a list is restrained until two operators have released him. A release covers what was found then:
//! the same entry of the same list restrains him no more, but another does.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    journal::{JournalFault, JournalRow, JournalSeq, Recorded},
    lists::ListsDigest,
    party::PartyId,
    screening::{Hit, Judgement, MatchKind, Outcome, Reason},
};
use crate::{
    account::AccountId,
    payout::{BatchId, Restraint},
};

/// When a screening is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Moment {
    /// An account or its owner became known, or known better.
    Registration,
    /// A list changed.
    ListUpdate,
    /// A payout was made up.
    Batch,
    /// It was about to be given to the network.
    Broadcast,
    /// An operator asked.
    Request,
}

/// What was screened by: part of each result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basis {
    /// The lists.
    pub lists: ListsDigest,
    /// The version of the comparison of names.
    pub algorithm: String,
    /// The version of this program.
    pub software: String,
}

/// Something on a list, as evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// What kind of match: a reason's name.
    pub reason: String,
    /// Of a similar name, how similar, in hundredths of a percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_bp: Option<u32>,
    /// The list.
    pub source: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// The date that it bears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication_date: Option<String>,
    /// How many entries it has.
    pub entry_count: u64,
    /// The publisher's number of the entry.
    pub uid: String,
    /// The party's name there.
    pub party: String,
    /// The programmes under which it is listed.
    pub programmes: Vec<String>,
    /// Of an address, the currency under which it is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The address or name as listed.
    pub listed: String,
}

impl Evidence {
    /// Writes down a hit.
    pub fn of(hit: &Hit) -> Self {
        let score_bp = match hit.match_kind {
            MatchKind::SimilarName { score_bp } => Some(score_bp),
            _ => None,
        };
        Self {
            reason: Reason::from(hit.match_kind).as_str().to_owned(),
            score_bp,
            source: hit.list.source.to_string(),
            sha256: hit.list.sha256.to_string(),
            publication_date: hit.list.publication_date.map(|date| date.to_string()),
            entry_count: hit.list.entry_count,
            uid: hit.party.uid.clone(),
            party: hit.party.name.clone(),
            programmes: hit.party.programmes.clone(),
            label: hit.label.clone(),
            listed: hit.listed.clone(),
        }
    }

    /// Returns what a release of it covers.
    pub fn key(&self) -> EvidenceKey {
        EvidenceKey { reason: self.reason.clone(), source: self.source.clone(), uid: self.uid.clone() }
    }
}

/// What is the same about a hit in every edition of its list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceKey {
    /// What kind of match.
    pub reason: String,
    /// The list.
    pub source: String,
    /// The publisher's number of the entry; for what is missing of an owner, the field.
    pub uid: String,
}

/// An account was found on a list, or an owner's data is missing: it is restrained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Screened {
    /// When.
    pub moment: Moment,
    /// Who.
    pub account: AccountId,
    /// The address.
    pub address: String,
    /// Its script, in hexadecimal: what was compared.
    pub script_pubkey: String,
    /// The owner, whose names were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<PartyId>,
    /// What follows: `HELD` or `BLOCKED`.
    pub outcome: String,
    /// What was found.
    pub evidence: Vec<Evidence>,
    /// What is missing of the owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// What was screened by.
    pub basis: Basis,
}

/// Accounts were screened, all that there were then, or those that were new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreenedAll {
    /// When.
    pub moment: Moment,
    /// The account before the first of them.
    pub after: AccountId,
    /// The last of them.
    pub upto: AccountId,
    /// How many there were.
    pub accounts: u64,
    /// How many of them are restrained by it, or were already.
    pub restrained: u64,
    /// SHA-256 over account and script of each, so that it can be shown who was screened.
    pub subjects_sha256: String,
    /// Stands for what was known of owners.
    pub owners: i64,
    /// What was screened by.
    pub basis: Basis,
}

/// The outputs of a payout were screened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreenedBatch {
    /// When.
    pub moment: Moment,
    /// Which payout.
    pub batch: BatchId,
    /// Its outputs, all of them clear.
    pub outputs: Vec<ScreenedOutput>,
    /// What was screened by.
    pub basis: Basis,
}

/// One output of a payout that was screened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreenedOutput {
    /// Its number.
    pub vout: u32,
    /// Who is paid.
    pub account: AccountId,
    /// The script, in hexadecimal.
    pub script_pubkey: String,
    /// What came out.
    pub outcome: String,
}

/// Why operators release an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReviewReason {
    /// It is somebody else than the one who is listed.
    FalsePositive,
    /// The list has it no more.
    Delisted,
    /// An authority allows it.
    Authorised,
    /// What was missing of the owner is known now.
    DataComplete,
}

/// An operator's word that an account may be released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reviewed {
    /// Whose release.
    pub account: AccountId,
    /// The row of the screening that restrained it.
    pub screening: JournalSeq,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: ReviewReason,
    /// In words.
    pub text: String,
    /// Under which reference an authority allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorisation: Option<String>,
    /// Whether it is the second word, by which the account is released.
    pub releases: bool,
    /// What the release covers.
    pub covers: Vec<EvidenceKey>,
}

macro_rules! recorded {
    ($type:ty, $kind:literal, $subject:expr) => {
        impl $type {
            /// The kind of its rows.
            pub const KIND: &'static str = $kind;
        }

        impl Recorded for $type {
            fn kind(&self) -> &'static str {
                Self::KIND
            }

            fn subject(&self) -> String {
                let subject: fn(&$type) -> String = $subject;
                subject(self)
            }
        }
    };
}

recorded!(Screened, "SCREENED", |screened| format!("account:{}", screened.account));
recorded!(ScreenedAll, "SCREENED_ALL", |_| "accounts".to_owned());
recorded!(ScreenedBatch, "SCREENED_BATCH", |screened| format!("batch:{}", screened.batch));
recorded!(Reviewed, "REVIEWED", |reviewed| format!("account:{}", reviewed.account));

impl Screened {
    /// Returns what a release of all of it covers.
    pub fn covers(&self) -> Vec<EvidenceKey> {
        let missing = self.missing.iter().map(|field| missing_key(field));
        self.evidence.iter().map(Evidence::key).chain(missing).collect()
    }

    /// Returns the restraint that it brings.
    pub fn restraint(&self) -> Restraint {
        if self.outcome == Outcome::Blocked.as_str() { Restraint::Blocked } else { Restraint::Held }
    }
}

fn missing_key(field: &str) -> EvidenceKey {
    let reason = Reason::MissingOwner.as_str().to_owned();
    EvidenceKey { reason, source: String::new(), uid: field.to_owned() }
}

/// A restraint that screening has laid on an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The row that says so.
    pub row: JournalSeq,
    /// What it says.
    pub screened: Screened,
    /// The first operator's word for a release, if there is one.
    pub first_review: Option<Reviewed>,
}

/// What screenings and reviews come to.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    open: BTreeMap<AccountId, Finding>,
    released: BTreeMap<AccountId, BTreeSet<EvidenceKey>>,
    last_all: Option<ScreenedAll>,
}

impl Findings {
    /// Takes in the next row of the journal; rows about other things change nothing.
    ///
    /// # Errors
    ///
    /// If the row cannot be read.
    pub fn note(&mut self, row: &JournalRow) -> Result<(), JournalFault> {
        match row.kind.as_str() {
            Screened::KIND => {
                let screened: Screened = row.read()?;
                self.open.insert(screened.account, Finding { row: row.seq, screened, first_review: None });
            }
            ScreenedAll::KIND => self.last_all = Some(row.read()?),
            Reviewed::KIND => {
                let reviewed: Reviewed = row.read()?;
                if reviewed.releases {
                    self.open.remove(&reviewed.account);
                    self.released.entry(reviewed.account).or_default().extend(reviewed.covers);
                } else if let Some(finding) = self.open.get_mut(&reviewed.account) {
                    finding.first_review = Some(reviewed);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns what restrains an account.
    pub fn of(&self, account: AccountId) -> Option<&Finding> {
        self.open.get(&account)
    }

    /// Returns all accounts that are restrained by screening.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.open.values()
    }

    /// Returns the last screening of accounts.
    pub fn last_all(&self) -> Option<&ScreenedAll> {
        self.last_all.as_ref()
    }

    /// Takes off a judgement what operators have released the account from. What is left may be clear.
    pub fn without_released(&self, account: AccountId, judgement: Judgement) -> Judgement {
        let Some(released) = self.released.get(&account) else { return judgement };
        let Judgement { mut hits, mut missing, .. } = judgement;
        hits.retain(|hit| !released.contains(&Evidence::of(hit).key()));
        missing.retain(|field| !released.contains(&missing_key(field)));
        Judgement { hits, missing, ..judgement }.drawn()
    }
}
