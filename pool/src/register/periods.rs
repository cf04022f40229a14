//! Periods: which are open, over, declared and closed, by profile.

use std::collections::BTreeSet;

use payouts::{
    export::{
        bookkeeping::{self, BookkeepingError},
        closing::{KnownPeriod, Periods, profile_name},
        journal::JournalSeq,
        register::RowSeq,
        rules::{period::Period, profile::CountryProfile},
    },
    ledger::EntrySeq,
    store::Store,
};
use serde::Serialize;

use super::Edition;

/// How a period stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PeriodState {
    /// More may be booked in it.
    Open,
    /// It is over, and not declared.
    Over,
    /// It is over and not declared, and the day has passed by which it was due.
    Overdue,
    /// It was declared, and may be again.
    Declared,
    /// It stays as it was declared.
    Closed,
}

/// A period of a country profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PeriodStanding {
    /// The profile's name.
    pub profile: String,
    /// The period: `2026-10`, `2026-Q3` or `2026`.
    #[schema(value_type = String)]
    pub period: Period,
    /// How it stands.
    pub state: PeriodState,
    /// The day by which its reports are due; nothing for a profile that is not at hand.
    pub due: Option<String>,
    /// The last declaration.
    pub declaration: Option<DeclarationReport>,
    /// When it was closed, in milliseconds since 1970 UTC.
    pub closed_at_ms: Option<i64>,
}

/// A declaration of a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DeclarationReport {
    /// Its number or name, by whoever received it.
    pub declaration: String,
    /// Who received it.
    pub authority: String,
    /// When it came on record, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who said so.
    pub by: String,
    /// How many declarations of the period there were, with this one.
    pub declarations: u32,
    /// The profile, name and version.
    pub profile: String,
    /// The edition of the reports that were declared.
    pub edition: String,
    /// The SHA-256 of their manifest.
    pub manifest_sha256: String,
}

impl PeriodState {
    /// Returns the state as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            PeriodState::Open => "OPEN",
            PeriodState::Over => "OVER",
            PeriodState::Overdue => "OVERDUE",
            PeriodState::Declared => "DECLARED",
            PeriodState::Closed => "CLOSED",
        }
    }
}

impl From<&KnownPeriod> for DeclarationReport {
    fn from(known: &KnownPeriod) -> DeclarationReport {
        let declared = &known.declared;
        let edition = Edition {
            generated_at_ms: declared.generated_at_ms,
            ledger: EntrySeq::new(declared.as_of.ledger.seq),
            register: RowSeq::new(declared.as_of.register.seq),
            journal: JournalSeq::new(declared.as_of.journal.seq),
        };
        DeclarationReport {
            declaration: declared.declaration.clone(),
            authority: declared.authority.clone(),
            at_ms: known.declared_at.at_ms,
            by: declared.by.clone(),
            declarations: known.declarations,
            profile: declared.profile.clone(),
            edition: edition.to_string(),
            manifest_sha256: declared.manifest_sha256.to_string(),
        }
    }
}

/// Returns all periods of a profile, from the first in which something was booked to that of now, and further ones that
/// were declared.
///
/// # Errors
///
/// When the store cannot be read, or a time is in no calendar.
pub async fn of_profile(
    store: &dyn Store,
    profile: &CountryProfile,
    now_ms: i64,
) -> Result<Vec<PeriodStanding>, BookkeepingError> {
    let known = bookkeeping::periods(store, store.journal_head().await?.seq).await?;
    told(store, profile, &known, now_ms).await
}

/// Returns the periods of a profile, and those that were declared by others.
pub(super) async fn all(
    store: &dyn Store,
    profile: &CountryProfile,
    now_ms: i64,
) -> Result<Vec<PeriodStanding>, BookkeepingError> {
    let known = bookkeeping::periods(store, store.journal_head().await?.seq).await?;
    let mut all = told(store, profile, &known, now_ms).await?;
    for known in known.iter().filter(|known| profile_name(&known.declared.profile) != profile.name()) {
        let (name, period) = (profile_name(&known.declared.profile).to_owned(), known.declared.period);
        let due = CountryProfile::shipped(&name).map(|profile| profile.due(period).to_string());
        all.push(PeriodStanding {
            profile: name,
            period,
            state: if known.closed_at.is_some() { PeriodState::Closed } else { PeriodState::Declared },
            due,
            declaration: Some(known.into()),
            closed_at_ms: known.closed_at.map(|place| place.at_ms),
        });
    }
    all.sort_by(|one, other| (&one.profile, one.period).cmp(&(&other.profile, other.period)));
    Ok(all)
}

async fn told(
    store: &dyn Store,
    profile: &CountryProfile,
    known: &Periods,
    now_ms: i64,
) -> Result<Vec<PeriodStanding>, BookkeepingError> {
    let mut all: BTreeSet<Period> = known.of_profile(profile.name()).map(|known| known.declared.period).collect();
    let current = profile.period_at(now_ms)?;
    let first = store.entries(EntrySeq::new(0), 1).await?;
    let first = first.first().map_or(Ok(current), |entry| profile.period_at(entry.at_ms.min(now_ms)))?;
    all.extend(std::iter::successors(Some(first), |period| period.next()).take_while(|period| *period <= current));
    let mut reports = Vec::with_capacity(all.len());
    for period in all {
        let declared = known.of(profile.name(), period);
        let due = profile.due(period);
        let state = match declared {
            Some(KnownPeriod { closed_at: Some(_), .. }) => PeriodState::Closed,
            Some(_) => PeriodState::Declared,
            None if now_ms < period.end_ms(profile.zone()) => PeriodState::Open,
            None if profile.zone().day(now_ms)? > due => PeriodState::Overdue,
            None => PeriodState::Over,
        };
        reports.push(PeriodStanding {
            profile: profile.name().to_owned(),
            period,
            state,
            due: Some(due.to_string()),
            declaration: declared.map(DeclarationReport::from),
            closed_at_ms: declared.and_then(|known| known.closed_at).map(|place| place.at_ms),
        });
    }
    Ok(reports)
}
