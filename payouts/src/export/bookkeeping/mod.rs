//! Reports of one period by one country profile, from what a store holds.
//!
//! A period is a stretch of the ledger: an entry belongs to the period in which it was booked, and so does everything
//! that came with it. So a period that is over never changes; what turns out to be wrong is booked, and reported, later.
//!
//! Owns which records make which report, and from which of them each side of a reconciliation comes. What the files look
//! like belongs to [`super::report`].

mod blocked;
mod corrections;
mod declaring;
mod figures;
#[cfg(test)]
pub(crate) mod fixture;
mod gather;
mod on_record;
mod parties;
mod sales;
mod screenings;
mod statements;
mod states;
mod verify;
mod walk;
mod worth;
mod writing;

pub use declaring::{Declarable, DeclareError, PeriodRefused, check_declarable, close_period, declare_period, periods};
pub use gather::{Reports, Wanted, check_marks, gather, marks};
pub use sales::SaleFault;
pub use states::{RecordStates, record_states};
pub use verify::{VerifiedExports, VerifyError, verify};
pub(in crate::export) use walk::received_with;
pub use walk::{Booked, CreditedBlock, Line, Walk};
pub use writing::Written;

use super::{
    closing::OutOfOrder,
    journal::{JournalFault, JournalSeq},
    movement::MovementError,
    register::RowSeq,
    report::{ReportError, model},
    rules::{
        period::{BadPeriod, Period, PeriodKind},
        profile::Blank,
        source_file::FileHash,
        valuation::{Appraisal, Valuation},
        zone::TimeOutOfRange,
    },
};
use crate::{ledger::EntrySeq, store::StoreError};

/// Why reports cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BookkeepingError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal is wrong.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// Entries could not be understood.
    #[error(transparent)]
    Movement(#[from] MovementError),
    /// A report cannot be put together.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The profile asks for a report of which it leaves out what must stand in it.
    #[error(transparent)]
    Blank(#[from] Blank),
    /// There is no such period.
    #[error(transparent)]
    Period(#[from] BadPeriod),
    /// A time is in no calendar.
    #[error(transparent)]
    Time(#[from] TimeOutOfRange),
    /// The period is not as long as the profile's are.
    #[error("{label} is not one of the {} periods of {profile}", kind_word(*.kind))]
    PeriodKind {
        /// The period.
        label: String,
        /// What the profile has.
        kind: PeriodKind,
        /// The profile.
        profile: String,
    },
    /// What an entry tells of is not stored.
    #[error("entry {entry} tells of {what}, which is not stored")]
    Missing {
        /// The entry.
        entry: EntrySeq,
        /// What is missing.
        what: String,
    },
    /// An entry's key is not of its kind.
    #[error("entry {entry} has the key {key:?}, which is not of its kind")]
    Key {
        /// The entry.
        entry: EntrySeq,
        /// Its key.
        key: String,
    },
    /// A sale on record makes no sense.
    #[error("entry {entry}: {error}")]
    Sale {
        /// The entry that delivered it.
        entry: EntrySeq,
        /// Why.
        error: SaleFault,
    },
    /// The register's rows are not in the order of the entries that they came with.
    #[error("row {0} of the register does not follow the ledger's order")]
    RowOrder(RowSeq),
    /// Periods were declared or closed in an order that cannot be.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// Another version of the profile has closed the period, or the same with another file.
    #[error(
        "{period} is closed, as profile {profile} declared it with SHA-256 {sha256}: its reports are made by that file, given \
         by --profile"
    )]
    ClosedByAnother {
        /// The period.
        period: Period,
        /// The profile that declared it.
        profile: String,
        /// The SHA-256 of its file.
        sha256: FileHash,
    },
    /// The records are not those that reports were made from.
    #[error("record {seq} of the {chain} is not the one that the reports were made from")]
    OtherRecords {
        /// Ledger, register or journal.
        chain: &'static str,
        /// The record.
        seq: i64,
    },
}

fn kind_word(kind: PeriodKind) -> &'static str {
    match kind {
        PeriodKind::Monthly => "monthly",
        PeriodKind::Quarterly => "quarterly",
        PeriodKind::Yearly => "yearly",
    }
}

/// Returns how reports name a row of the journal.
fn journal_id(seq: JournalSeq) -> String {
    format!("journal:{seq}")
}

/// Returns a valuation as reports tell it.
fn told(appraisal: &Appraisal) -> model::Valuation {
    let Appraisal::Valued(value) = appraisal else { return model::Valuation::Unvalued };
    let Valuation { policy, price_of, price, price_time, price_file_sha256, fx, value, .. } = value.as_ref();
    let fx = fx.as_ref().map(|fx| {
        let base = match fx.nominal.get() {
            1 => fx.rate_of.base.to_string(),
            nominal => format!("{nominal} {}", fx.rate_of.base),
        };
        let source = format!("{}: {} for {base}", fx.rate_of.source, fx.rate_of.quote);
        model::Fx { source, rate: fx.rate.as_str().to_owned(), date: fx.date.to_string() }
    });
    model::Valuation::Valued(Box::new(model::Value {
        policy: policy.clone(),
        venue: price_of.venue.to_string(),
        pair: price_of.pair.to_string(),
        price: price.as_str().to_owned(),
        price_at_ms: price_time.as_millisecond(),
        basis: price_of.basis.to_string(),
        fx,
        currency: currency(value.currency()),
        minor: value.minor(),
        source_sha256: price_file_sha256.to_string(),
    }))
}

fn currency(currency: super::rules::currency::Currency) -> model::Currency {
    model::Currency { code: currency.code().to_owned(), decimals: currency.minor_digits() }
}

#[cfg(test)]
mod tests;
