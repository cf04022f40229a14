//! Periods that were declared to an authority, and closed: what the journal has on record about them, and what may be
//! said next.
//!
//! A period is declared once it is over, and perhaps again, as an amended return, until it is closed; the last declaration
//! counts. What was closed stays as it was declared: what turns out to be wrong is corrected in the open period.
//!
//! Profiles are told apart by name. What one version has closed is closed for all later ones, and keeps the values that
//! the declaring version gave it.
//!
//! Owns the rows, their fold and the order in which they may come. Whether reports are fit to be declared is told by
//! [`super::bookkeeping::check_declarable`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    journal::{JournalFault, JournalRow, JournalSeq, Recorded},
    report::model::AsOf,
    rules::{period::Period, source_file::FileHash},
};
use crate::ledger::EntrySeq;

/// A period was declared, by the files of one set of reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodDeclared {
    /// The country profile, name and version.
    pub profile: String,
    /// The SHA-256 of the profile's file.
    pub profile_sha256: FileHash,
    /// The period.
    pub period: Period,
    /// Its first millisecond in the profile's zone, since 1970 UTC.
    pub from_ms: i64,
    /// The first millisecond after it.
    pub until_ms: i64,
    /// The declaration's number or name, by whoever received it.
    pub declaration: String,
    /// Who received it.
    pub authority: String,
    /// Up to where the records were read that were declared.
    pub as_of: AsOf,
    /// When the declared files were made, in milliseconds since 1970 UTC.
    pub generated_at_ms: i64,
    /// The SHA-256 of their manifest, which has those of all files.
    pub manifest_sha256: FileHash,
    /// Who says so.
    pub by: String,
}

/// A period was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodClosed {
    /// The country profile, name and version, that it was declared by.
    pub profile: String,
    /// The period.
    pub period: Period,
    /// Who says so.
    pub by: String,
}

impl PeriodDeclared {
    /// The kind of its rows.
    pub const KIND: &'static str = "DECLARED";

    /// Tells whether something that was booked at a time is of the period.
    pub fn contains(&self, at_ms: i64) -> bool {
        (self.from_ms..self.until_ms).contains(&at_ms)
    }
}

impl PeriodClosed {
    /// The kind of its rows.
    pub const KIND: &'static str = "CLOSED";
}

impl Recorded for PeriodDeclared {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn subject(&self) -> String {
        subject(&self.profile, self.period)
    }
}

impl Recorded for PeriodClosed {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn subject(&self) -> String {
        subject(&self.profile, self.period)
    }
}

fn subject(profile: &str, period: Period) -> String {
    format!("period:{profile}:{period}")
}

/// Returns the name of a profile that is given with its version.
pub fn profile_name(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(name, _)| name)
}

/// Why a period is not declared or closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClosingError {
    /// More can be booked in it.
    #[error("{0} is not over: more may be booked in it, so it is declared later")]
    NotOver(Period),
    /// It is closed.
    #[error(
        "{period} is closed, as profile {profile} declared it: what turns out to be wrong is corrected in the open period"
    )]
    Closed {
        /// The profile that it was declared by.
        profile: String,
        /// The period.
        period: Period,
    },
    /// It was never declared.
    #[error("{period} was never declared by a profile {name}: adit export declare does that")]
    NotDeclared {
        /// The profile's name.
        name: String,
        /// The period.
        period: Period,
    },
    /// Another period of the profile's that is closed has part of its time.
    #[error("{period} has time in common with {other}, which profile {profile} closed: nothing is declared twice")]
    Overlaps {
        /// The period.
        period: Period,
        /// The closed one.
        other: Period,
        /// The profile that the other was declared by.
        profile: String,
    },
}

/// A row about a period that cannot be, or cannot stand where it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal row {seq}: {error}")]
pub struct OutOfOrder {
    /// The row.
    pub seq: JournalSeq,
    /// What it goes against.
    pub error: ClosingError,
}

/// Why what is on record about periods cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum PeriodsError {
    /// A row cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// A row stands where it cannot.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
}

/// Where in time a row of the journal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The row.
    pub seq: JournalSeq,
    /// The ledger's last entry when it was written.
    pub ledger: EntrySeq,
    /// When that was, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

impl Place {
    /// Returns where a row stands.
    ///
    /// # Errors
    ///
    /// If the row cannot be read.
    pub fn of(row: &JournalRow) -> Result<Self, JournalFault> {
        Ok(Self { seq: row.seq, ledger: row.ledger()?.seq, at_ms: row.at_ms()? })
    }
}

/// A period that was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPeriod {
    /// The last declaration.
    pub declared: PeriodDeclared,
    /// The row of the last declaration.
    pub declared_at: Place,
    /// How many declarations there were.
    pub declarations: u32,
    /// The row that closed it.
    pub closed_at: Option<Place>,
}

/// What is declared and closed, by the names of profiles.
#[derive(Clone, Debug, Default)]
pub struct Periods {
    known: BTreeMap<(String, Period), KnownPeriod>,
}

impl Periods {
    /// Takes in the next row of the journal; rows about other things change nothing.
    ///
    /// # Errors
    ///
    /// If the row cannot be read, or may not stand where it does.
    pub fn note(&mut self, row: &JournalRow) -> Result<(), PeriodsError> {
        let out_of_order = |error| OutOfOrder { seq: row.seq, error };
        match row.kind.as_str() {
            PeriodDeclared::KIND => {
                let declared: PeriodDeclared = row.read()?;
                let place = Place::of(row)?;
                self.check_declare(&declared, place.at_ms).map_err(out_of_order)?;
                let key = (profile_name(&declared.profile).to_owned(), declared.period);
                let declarations = self.known.get(&key).map_or(0, |known| known.declarations) + 1;
                let known = KnownPeriod { declared, declared_at: place, declarations, closed_at: None };
                self.known.insert(key, known);
            }
            PeriodClosed::KIND => {
                let PeriodClosed { profile, period, .. } = row.read()?;
                let place = Place::of(row)?;
                self.check_close(profile_name(&profile), period).map_err(out_of_order)?;
                if let Some(known) = self.known.get_mut(&(profile_name(&profile).to_owned(), period)) {
                    known.closed_at.get_or_insert(place);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes sure that a declaration may come next, at a time in milliseconds since 1970 UTC.
    ///
    /// # Errors
    ///
    /// If the period is not over or is closed, or a closed one has part of its time.
    pub fn check_declare(&self, declared: &PeriodDeclared, at_ms: i64) -> Result<(), ClosingError> {
        let period = declared.period;
        if at_ms < declared.until_ms {
            return Err(ClosingError::NotOver(period));
        }
        let closed = self.of_profile(profile_name(&declared.profile)).filter(|known| known.closed_at.is_some());
        for KnownPeriod { declared: closed, .. } in closed {
            let profile = closed.profile.clone();
            if closed.period == period {
                return Err(ClosingError::Closed { profile, period });
            }
            if closed.from_ms < declared.until_ms && declared.from_ms < closed.until_ms {
                return Err(ClosingError::Overlaps { period, other: closed.period, profile });
            }
        }
        Ok(())
    }

    /// Makes sure that a period may be closed, and returns it. One that is closed may be: that does no harm.
    ///
    /// # Errors
    ///
    /// If it was never declared.
    pub fn check_close(&self, name: &str, period: Period) -> Result<&KnownPeriod, ClosingError> {
        self.of(name, period).ok_or_else(|| ClosingError::NotDeclared { name: name.to_owned(), period })
    }

    /// Returns a period of a profile's, if it was declared.
    pub fn of(&self, name: &str, period: Period) -> Option<&KnownPeriod> {
        self.known.get(&(name.to_owned(), period))
    }

    /// Returns the declared periods of a profile, in order.
    pub fn of_profile<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p KnownPeriod> {
        self.known.iter().filter(move |((of, _), _)| of == name).map(|(_, known)| known)
    }

    /// Returns all declared periods, in the order of their profiles' names.
    pub fn iter(&self) -> impl Iterator<Item = &KnownPeriod> {
        self.known.values()
    }

    /// Returns the declared period of a profile that has what was booked at a time; a closed one before others.
    pub fn containing(&self, name: &str, at_ms: i64) -> Option<&KnownPeriod> {
        let known = self.known.iter().filter(|((of, _), known)| of == name && known.declared.contains(at_ms));
        known.map(|(_, known)| known).max_by_key(|known| known.closed_at.is_some())
    }

    /// Returns how many declarations there were, and how many periods are closed.
    pub fn counts(&self) -> (u64, u64) {
        let declared = self.known.values().map(|known| u64::from(known.declarations)).sum();
        (declared, self.known.values().map(|known| u64::from(known.closed_at.is_some())).sum())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        export::{journal::JournalHead, report::model::ChainMark, rules::zone::Zone},
        hash_chain::ChainHash,
        ledger::Head,
    };

    const DAY_MS: i64 = 86_400_000;

    pub(crate) fn declared(profile: &str, period: &str, declaration: &str) -> PeriodDeclared {
        let period: Period = period.parse().unwrap();
        let mark = || ChainMark { seq: 0, hash: ChainHash::ORIGIN.to_string() };
        PeriodDeclared {
            profile: profile.to_owned(),
            profile_sha256: FileHash::of(profile.as_bytes()),
            period,
            from_ms: period.start_ms(&Zone::utc()),
            until_ms: period.end_ms(&Zone::utc()),
            declaration: declaration.to_owned(),
            authority: "Example Authority".to_owned(),
            as_of: AsOf { ledger: mark(), register: mark(), journal: mark() },
            generated_at_ms: period.end_ms(&Zone::utc()),
            manifest_sha256: FileHash::of(declaration.as_bytes()),
            by: "alice".to_owned(),
        }
    }

    fn closed(profile: &str, period: &str) -> PeriodClosed {
        PeriodClosed { profile: profile.to_owned(), period: period.parse().unwrap(), by: "bob".to_owned() }
    }

    struct Journal {
        head: JournalHead,
        at_ms: i64,
        periods: Periods,
    }

    impl Journal {
        fn begin(at: &str) -> Self {
            let at_ms = at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
            Self { head: JournalHead::EMPTY, at_ms, periods: Periods::default() }
        }

        fn note(&mut self, event: &impl Recorded) -> Result<(), ClosingError> {
            let row = JournalRow::seal(self.head, self.at_ms, Head::EMPTY, event);
            match self.periods.note(&row) {
                Ok(()) => {
                    self.head = row.head();
                    self.at_ms += DAY_MS;
                    Ok(())
                }
                Err(PeriodsError::OutOfOrder(fault)) => {
                    assert_eq!(fault.seq, row.seq);
                    Err(fault.error)
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn rows_say_what_they_are_about() {
        let event = declared("neutral/1", "2026-10", "D-1");
        assert_eq!((event.kind(), event.subject().as_str()), ("DECLARED", "period:neutral/1:2026-10"));
        let event = closed("neutral/1", "2026-10");
        assert_eq!((event.kind(), event.subject().as_str()), ("CLOSED", "period:neutral/1:2026-10"));
        let row = JournalRow::seal(JournalHead::EMPTY, 5, Head::EMPTY, &declared("neutral/1", "2026-10", "D-1"));
        assert_eq!(row.read::<PeriodDeclared>().unwrap(), declared("neutral/1", "2026-10", "D-1"));
    }

    #[test]
    fn a_period_is_declared_when_it_is_over_and_not_before() {
        let mut journal = Journal::begin("2026-10-31T23:59:59.999Z");
        let event = declared("neutral/1", "2026-10", "D-1");
        assert_eq!(journal.note(&event), Err(ClosingError::NotOver(event.period)));
        journal.at_ms += 1;
        assert_eq!(journal.note(&event), Ok(()));
    }

    #[test]
    fn the_last_declaration_counts_until_the_period_is_closed() {
        let mut journal = Journal::begin("2026-11-01T00:00:00Z");
        journal.note(&declared("neutral/1", "2026-10", "D-1")).unwrap();
        journal.note(&declared("neutral/1", "2026-10", "D-2")).unwrap();
        let period = "2026-10".parse().unwrap();
        let known = journal.periods.of("neutral", period).unwrap();
        assert_eq!((known.declared.declaration.as_str(), known.declarations, known.closed_at), ("D-2", 2, None));

        journal.note(&closed("neutral/1", "2026-10")).unwrap();
        let first = journal.periods.of("neutral", period).unwrap().closed_at;
        assert_eq!(first.unwrap().seq, JournalSeq::new(3));
        journal.note(&closed("neutral/1", "2026-10")).unwrap();
        assert_eq!(journal.periods.of("neutral", period).unwrap().closed_at, first, "closing twice does no harm");
        let refused = journal.note(&declared("neutral/1", "2026-10", "D-3")).unwrap_err();
        assert_eq!(refused, ClosingError::Closed { profile: "neutral/1".to_owned(), period });
        assert_eq!(journal.periods.counts(), (2, 1));
    }

    #[test]
    fn nothing_is_closed_that_was_not_declared() {
        let mut journal = Journal::begin("2026-11-01T00:00:00Z");
        journal.note(&declared("neutral/1", "2026-10", "D-1")).unwrap();
        for (profile, period) in [("neutral/1", "2026-09"), ("other/1", "2026-10")] {
            let refused = journal.note(&closed(profile, period)).unwrap_err();
            assert!(matches!(refused, ClosingError::NotDeclared { .. }), "{refused}");
        }
    }

    #[test]
    fn a_later_version_of_a_profile_reopens_nothing_and_another_profile_is_free() {
        let mut journal = Journal::begin("2027-02-01T00:00:00Z");
        journal.note(&declared("neutral/1", "2026-10", "D-1")).unwrap();
        journal.note(&closed("neutral/1", "2026-10")).unwrap();
        let refused = journal.note(&declared("neutral/2", "2026-10", "D-2")).unwrap_err();
        assert!(matches!(&refused, ClosingError::Closed { profile, .. } if profile == "neutral/1"), "{refused}");
        // Not under another label either.
        let refused = journal.note(&declared("neutral/2", "2026-Q4", "D-3")).unwrap_err();
        assert!(matches!(&refused, ClosingError::Overlaps { .. }), "{refused}");
        journal.note(&declared("neutral/2", "2026-11", "D-4")).unwrap();
        journal.note(&declared("other/1", "2026-10", "D-5")).unwrap();
        let at_ms = "2026-10-05T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let containing = journal.periods.containing("neutral", at_ms).unwrap();
        assert_eq!(containing.declared.declaration, "D-1");
        assert_eq!(journal.periods.containing("neutral", at_ms - 40 * DAY_MS), None);
    }
}
