//! Which records a set of reports is made from, and as of when: the name by which the same set is had again.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use payouts::{
    export::{
        bookkeeping::{self, BookkeepingError},
        journal::JournalSeq,
        register::RowSeq,
        report::model::{AsOf, ReportHead},
    },
    ledger::EntrySeq,
    store::Store,
};
use serde::Deserialize;

/// An edition of the reports of a period: the same profile makes the same bytes of it, whatever came after, as long as
/// what is known of parties is the same.
///
/// Its text form is what stands in `manifest.json`, with points between: the time at which the reports are made, in
/// milliseconds since 1970 UTC, and the last records of ledger, register and journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Edition {
    /// When the reports are made, in milliseconds since 1970 UTC.
    pub generated_at_ms: i64,
    /// The last entry of the ledger.
    pub ledger: EntrySeq,
    /// The last row of the register.
    pub register: RowSeq,
    /// The last row of the journal.
    pub journal: JournalSeq,
}

/// A text that names no edition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("should be an edition of reports, such as 1795564800000.120.7.33")]
pub struct NoEdition;

impl Edition {
    /// Returns the edition of reports that were made.
    pub(super) fn of(head: &ReportHead) -> Edition {
        Edition {
            generated_at_ms: head.generated_at_ms,
            ledger: EntrySeq::new(head.as_of.ledger.seq),
            register: RowSeq::new(head.as_of.register.seq),
            journal: JournalSeq::new(head.as_of.journal.seq),
        }
    }

    /// Returns the marks up to which records are read.
    pub(super) async fn as_of(self, store: &dyn Store) -> Result<AsOf, BookkeepingError> {
        bookkeeping::marks(store, self.ledger, self.register, self.journal).await
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.generated_at_ms, self.ledger, self.register, self.journal)
    }
}

impl TryFrom<String> for Edition {
    type Error = NoEdition;

    fn try_from(text: String) -> Result<Edition, NoEdition> {
        text.parse()
    }
}

impl FromStr for Edition {
    type Err = NoEdition;

    fn from_str(text: &str) -> Result<Edition, NoEdition> {
        let numbers: Option<Vec<i64>> = text.split('.').map(|part| part.parse().ok()).collect();
        let Some([generated_at_ms, ledger, register, journal]) = numbers.as_deref() else { return Err(NoEdition) };
        let is_time = *generated_at_ms >= 0 && Timestamp::from_millisecond(*generated_at_ms).is_ok();
        if !is_time || [ledger, register, journal].into_iter().any(|seq| *seq < 0) {
            return Err(NoEdition);
        }
        Ok(Edition {
            generated_at_ms: *generated_at_ms,
            ledger: EntrySeq::new(*ledger),
            register: RowSeq::new(*register),
            journal: JournalSeq::new(*journal),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn edition_is_read_as_it_is_written_and_nothing_else_is() {
        let text = "1795564800123.120.7.0";
        let edition: Edition = text.parse().unwrap();
        assert_eq!(
            (edition.generated_at_ms, edition.ledger, edition.to_string().as_str()),
            (1_795_564_800_123, EntrySeq::new(120), text)
        );
        for wrong in ["", "1.2.3", "1.2.3.4.5", "1.-2.3.4", "-1.2.3.4", "a.2.3.4", "9223372036854775807.1.1.1"] {
            assert_eq!(wrong.parse::<Edition>(), Err(NoEdition), "{wrong}");
        }
    }
}
