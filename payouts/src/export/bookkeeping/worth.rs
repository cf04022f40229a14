//! What receipts count as worth in reports.
//!
//! While a period is open, the last value on record counts. Once it is closed, what it was declared with stands, and each
//! later value is a correction: at the time at which it came on record, or at which the period was closed if that was
//! later. So a correction always falls into a period that is not over at that time, and is in none that was declared.
//! What takes a receipt back takes back what it was worth until then, so that all its rows sum to nothing.

use std::collections::BTreeMap;

use super::told;
use crate::{
    export::{
        closing::{KnownPeriod, Periods, PeriodsError, Place, profile_name},
        journal::{JournalRow, JournalSeq},
        report::model,
        valued::{ValueKey, Valued},
    },
    hash_chain::ChainHash,
    ledger::EntrySeq,
};

/// A value on record.
#[derive(Clone, Debug)]
struct Stated {
    place: Place,
    hash: ChainHash,
    valued: Valued,
}

/// A value that came on record after the period of its receipt was declared, and which closed period it corrects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Correction {
    /// When it counts, in milliseconds since 1970 UTC.
    pub(super) at_ms: i64,
    /// The ledger's last entry at that time.
    pub(super) ledger: EntrySeq,
    /// The row that says so.
    pub(super) row: JournalSeq,
    pub(super) hash: ChainHash,
    /// What the receipt counted as worth before.
    pub(super) was: model::Valuation,
    /// What it counts as worth from then on.
    pub(super) is: model::Valuation,
}

impl Correction {
    /// Returns the difference in minor units; nothing if there was no value before, or one in another currency.
    pub(super) fn difference_minor(&self) -> Option<i64> {
        match (&self.was, &self.is) {
            (model::Valuation::Valued(was), model::Valuation::Valued(is)) if was.currency == is.currency => {
                is.minor.checked_sub(was.minor)
            }
            _ => None,
        }
    }
}

/// The values on record by all versions of a profile, and its declared periods.
#[derive(Debug)]
pub(super) struct Worth {
    /// The profile, name and version, whose values count in open periods.
    profile: String,
    /// The reported period: its first millisecond, and the first after it.
    span: (i64, i64),
    stated: BTreeMap<ValueKey, Vec<Stated>>,
    periods: Periods,
}

impl Worth {
    pub(super) fn new(profile: &str, span: (i64, i64)) -> Self {
        Self { profile: profile.to_owned(), span, stated: BTreeMap::new(), periods: Periods::default() }
    }

    pub(super) fn note(&mut self, row: &JournalRow) -> Result<(), PeriodsError> {
        self.periods.note(row)?;
        if row.kind == Valued::KIND {
            let valued: Valued = row.read()?;
            if profile_name(&valued.profile) == self.name() {
                let stated = Stated { place: Place::of(row)?, hash: row.hash, valued };
                self.stated.entry(stated.valued.about.key()).or_default().push(stated);
            }
        }
        Ok(())
    }

    pub(super) fn name(&self) -> &str {
        profile_name(&self.profile)
    }

    pub(super) fn periods(&self) -> &Periods {
        &self.periods
    }

    /// Returns what a receipt counts as worth in the period in which it was booked.
    pub(super) fn of(&self, key: ValueKey, booked_at_ms: i64) -> model::Valuation {
        valuation(match self.declared(booked_at_ms) {
            Some(known) => self.declared_value(key, known),
            None => self.last(key),
        })
    }

    /// Returns what a receipt counts as worth with all corrections.
    pub(super) fn corrected(&self, key: ValueKey, booked_at_ms: i64) -> model::Valuation {
        let last = self.corrections(key, booked_at_ms).pop();
        last.map_or_else(|| self.of(key, booked_at_ms), |correction| correction.is)
    }

    /// Returns what a receipt counts as worth when `entry` takes it back.
    pub(super) fn when_taken_back(&self, key: ValueKey, booked_at_ms: i64, entry: EntrySeq) -> model::Valuation {
        let corrections = self.corrections(key, booked_at_ms);
        let until_then = corrections.into_iter().rfind(|correction| correction.ledger < entry);
        until_then.map_or_else(|| self.of(key, booked_at_ms), |correction| correction.is)
    }

    /// Returns the corrections of a receipt, in order; none if its period is not closed.
    pub(super) fn corrections(&self, key: ValueKey, booked_at_ms: i64) -> Vec<Correction> {
        let known = self.periods.containing(self.name(), booked_at_ms);
        let Some((known, closed_at)) = known.and_then(|known| Some((known, known.closed_at?))) else {
            return Vec::new();
        };
        let mut was = valuation(self.declared_value(key, known));
        let later = self.of_version(key, &known.declared.profile).filter(|stated| !is_declared(stated, known));
        let correction = |stated: &Stated| {
            let is = told(&stated.valued.appraisal);
            let Place { seq, ledger, at_ms } = stated.place;
            Correction {
                at_ms: at_ms.max(closed_at.at_ms),
                ledger: ledger.max(closed_at.ledger),
                row: seq,
                hash: stated.hash,
                was: std::mem::replace(&mut was, is.clone()),
                is,
            }
        };
        later.map(correction).collect()
    }

    /// Returns the corrections of a receipt that are of the reported period.
    pub(super) fn corrections_within(&self, key: ValueKey, booked_at_ms: i64) -> Vec<Correction> {
        let mut corrections = self.corrections(key, booked_at_ms);
        corrections.retain(|correction| (self.span.0..self.span.1).contains(&correction.at_ms));
        corrections
    }

    /// Returns the period of a receipt if what was declared of it stands: it is closed, or at least not the one that is
    /// reported.
    fn declared(&self, booked_at_ms: i64) -> Option<&KnownPeriod> {
        let is_reported = (self.span.0..self.span.1).contains(&booked_at_ms);
        let known = self.periods.containing(self.name(), booked_at_ms)?;
        (known.closed_at.is_some() || !is_reported).then_some(known)
    }

    fn declared_value(&self, key: ValueKey, known: &KnownPeriod) -> Option<&Stated> {
        self.of_version(key, &known.declared.profile).filter(|stated| is_declared(stated, known)).last()
    }

    fn last(&self, key: ValueKey) -> Option<&Stated> {
        self.of_version(key, &self.profile).last()
    }

    fn of_version(&self, key: ValueKey, profile: &str) -> impl Iterator<Item = &Stated> {
        self.stated.get(&key).into_iter().flatten().filter(move |stated| stated.valued.profile == profile)
    }
}

fn is_declared(stated: &Stated, known: &KnownPeriod) -> bool {
    stated.place.seq.get() <= known.declared.as_of.journal.seq
}

fn valuation(stated: Option<&Stated>) -> model::Valuation {
    stated.map_or(model::Valuation::Unvalued, |stated| told(&stated.valued.appraisal))
}
