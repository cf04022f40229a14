//! What follows from hits, from missing data and from unusable lists.
//!
//! Owns the rule; finding hits is [`super::index`]'s, and what a held or blocked party may do is not decided here.

use std::fmt;
use std::str::FromStr;

use super::index::{Hit, MatchKind};
use super::list::{ListSource, quoted};
use super::standing::{ListStanding, UnusableLists, UsableLists};

/// What becomes of a payment. The worst one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It may go.
    Clear,
    /// Nothing goes until people have looked.
    Held,
    /// Nothing goes: the balance moves to a blocked account.
    Blocked,
}

impl Outcome {
    /// Returns the text form that stores and reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "CLEAR",
            Self::Held => "HELD",
            Self::Blocked => "BLOCKED",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        [Self::Clear, Self::Held, Self::Blocked]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or_else(|| UnknownOutcome(quoted(text)))
    }
}

/// A text that names no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown screening outcome {0}")]
pub struct UnknownOutcome(String);

/// Why an outcome is not [`Outcome::Clear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The address is listed.
    ExactAddress,
    /// The party is listed.
    ExactName,
    /// The key of a listed address can spend it.
    SameKey,
    /// A listed party has a name like it.
    SimilarName,
    /// It is not known well enough whose it is.
    MissingOwner,
    /// A list that is required cannot be relied upon.
    ListsUnusable,
}

impl Reason {
    /// All of them, grave ones first.
    pub const ALL: [Self; 6] = [
        Self::ExactAddress,
        Self::ExactName,
        Self::SameKey,
        Self::SimilarName,
        Self::MissingOwner,
        Self::ListsUnusable,
    ];

    /// Returns the text form that stores and reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExactAddress => "EXACT_ADDRESS",
            Self::ExactName => "EXACT_NAME",
            Self::SameKey => "SAME_KEY",
            Self::SimilarName => "SIMILAR_NAME",
            Self::MissingOwner => "MISSING_OWNER",
            Self::ListsUnusable => "LISTS_UNUSABLE",
        }
    }

    /// Returns what follows from it alone.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::ExactAddress | Self::ExactName => Outcome::Blocked,
            Self::SameKey | Self::SimilarName | Self::MissingOwner | Self::ListsUnusable => Outcome::Held,
        }
    }
}

impl From<MatchKind> for Reason {
    fn from(match_kind: MatchKind) -> Self {
        match match_kind {
            MatchKind::ExactAddress => Self::ExactAddress,
            MatchKind::SameKey => Self::SameKey,
            MatchKind::ExactName => Self::ExactName,
            MatchKind::SimilarName { .. } => Self::SimilarName,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(|| UnknownReason(quoted(text)))
    }
}

/// A text that names no reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown screening reason {0}")]
pub struct UnknownReason(String);

/// What is known of whose an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// All that is required.
    Known,
    /// Something required is missing.
    Missing {
        /// What, in words for the operator; sorted in the judgement.
        fields: Vec<String>,
    },
}

/// The judgement on one address or party, with all that it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What follows.
    pub outcome: Outcome,
    /// Why, each reason once, grave ones first; none if it is clear.
    pub reasons: Vec<Reason>,
    /// All that was found, grave ones first, each once.
    pub hits: Vec<Hit>,
    /// What is missing of the owner.
    pub missing: Vec<String>,
    /// The lists that cannot be relied upon.
    pub unusable: Vec<(ListSource, ListStanding)>,
}

/// Judges. The same input, in any order, gives the same judgement.
///
/// Hits count on unusable lists too: an old list is no reason to pay whom it names.
pub fn judge(
    lists: Result<&UsableLists, &UnusableLists>,
    owner: &Owner,
    hits: impl IntoIterator<Item = Hit>,
) -> Judgement {
    let unusable = lists.err().map_or_else(Vec::new, |lists| lists.standings().to_vec());
    Judgement { unusable, ..judge_found(owner, hits) }.drawn()
}

/// Judges what was found, as [`judge`] does with lists that may be relied upon.
pub fn judge_found(owner: &Owner, hits: impl IntoIterator<Item = Hit>) -> Judgement {
    let missing = match owner {
        Owner::Known => Vec::new(),
        Owner::Missing { fields } => fields.clone(),
    };
    let hits = hits.into_iter().collect();
    Judgement { outcome: Outcome::Clear, reasons: Vec::new(), hits, missing, unusable: Vec::new() }.drawn()
}

impl Judgement {
    /// Draws the conclusion anew from what was found.
    pub(crate) fn drawn(self) -> Self {
        let Self { mut hits, mut missing, unusable, .. } = self;
        hits.sort();
        hits.dedup();
        missing.sort();
        missing.dedup();
        let mut reasons: Vec<_> = hits.iter().map(|hit| Reason::from(hit.match_kind)).collect();
        reasons.extend((!missing.is_empty()).then_some(Reason::MissingOwner));
        reasons.extend((!unusable.is_empty()).then_some(Reason::ListsUnusable));
        reasons.sort();
        reasons.dedup();
        let outcome = reasons.iter().map(|reason| reason.outcome()).max().unwrap_or(Outcome::Clear);
        Self { outcome, reasons, hits, missing, unusable }
    }
}
