//! Periods: which are open, over, declared and closed, by profile.

use std::collections::BTreeSet;

use payouts::{
    export::{
        bookkeeping::{self, BookkeepingError},
        closing::{KnownPeriod, PeriodClosed, PeriodDeclared, Periods, profile_name},
        journal::JournalSeq,
        register::RowSeq,
        rules::{period::Period, profile::CountryProfile},
    },
    ledger::EntrySeq,
    store::Store,
};
use serde::Serialize;

use super::Edition;

/// Declarations of a period that count, the newest ones; nobody amends a return as often.
const MAX_EVENTS: u32 = 1_000;

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
        reports.push(report(profile, period, known.of(profile.name(), period), now_ms)?);
    }
    Ok(reports)
}

/// Tells how a period stands, of which this is known.
pub(super) fn report(
    profile: &CountryProfile,
    period: Period,
    known: Option<&KnownPeriod>,
    now_ms: i64,
) -> Result<PeriodStanding, BookkeepingError> {
    let due = profile.due(period);
    let state = match known {
        Some(KnownPeriod { closed_at: Some(_), .. }) => PeriodState::Closed,
        Some(_) => PeriodState::Declared,
        None if now_ms < period.end_ms(profile.zone()) => PeriodState::Open,
        None if profile.zone().day(now_ms)? > due => PeriodState::Overdue,
        None => PeriodState::Over,
    };
    Ok(PeriodStanding {
        profile: profile.name().to_owned(),
        period,
        state,
        due: Some(due.to_string()),
        declaration: known.map(DeclarationReport::from),
        closed_at_ms: known.and_then(|known| known.closed_at).map(|place| place.at_ms),
    })
}

/// Reads what is known of one period of a profile, by what is on record about it in any version, without reading all that
/// there is.
pub(super) async fn known(
    store: &dyn Store,
    profile: &CountryProfile,
    period: Period,
) -> Result<Option<KnownPeriod>, BookkeepingError> {
    let mut events = Vec::new();
    for version in 1..=profile.version() {
        let subject = format!("period:{}/{version}:{period}", profile.name());
        for kind in [PeriodDeclared::KIND, PeriodClosed::KIND] {
            events.extend(store.journal_about(kind, &subject, MAX_EVENTS).await?);
        }
    }
    events.sort_by_key(|event| event.seq);
    let mut known = Periods::default();
    events.iter().try_for_each(|event| known.note(event))?;
    Ok(known.of(profile.name(), period).cloned())
}
