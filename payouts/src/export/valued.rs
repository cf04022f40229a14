//! Valuations on record: what each receipt was worth, or why that is not known yet.
//!
//! A row of the journal is never changed. What had no value gets another row once the operator's files have a price, and
//! so does what a revised file values otherwise; the last row counts. What takes a receipt back has no valuation of its
//! own: it is the exact negative of what it takes back.
//!
//! Owns which receipts are valued, at which time, and that each is on record. It takes two steps, which need not be of one
//! process: [`Valuing`] works out what is new and only reads; [`keep`] checks that, a page at a time, and appends it. How a
//! value comes about belongs to [`super::rules::valuation`].

mod keeping;
mod valuing;

use std::collections::BTreeMap;

use bitcoin::{BlockHash, OutPoint};
use serde::{Deserialize, Serialize};

pub use self::{
    keeping::{KeepError, Kept, keep},
    valuing::Valuing,
};
use super::{
    bookkeeping::{BookkeepingError, Line},
    journal::{JournalFault, JournalRow, JournalSeq, Recorded},
    register::{RecordState, RegisterRow, RowSeq},
    rules::{
        prices::PriceBook,
        profile::{Blank, CountryProfile},
        source_file::FileHash,
        valuation::{Appraisal, ValuationError},
    },
};
use crate::{
    account::AccountId,
    ledger::{Entry, EntryKind, EntrySeq, LedgerAccount},
    store::{Store, StoreError},
};

/// The most valuations of a page.
pub const PAGE_VALUES: usize = 256;

/// What a valuation is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case", deny_unknown_fields)]
pub enum About {
    /// A delivery on record: one row of the register.
    Record {
        /// The row.
        row: RowSeq,
        /// The output.
        delivery: OutPoint,
    },
    /// An account's credit.
    Credit {
        /// The entry that credits it.
        entry: EntrySeq,
        /// The account.
        account: AccountId,
    },
    /// The pool's own part of a block: its fee.
    PoolFee {
        /// The entry that splits the block.
        entry: EntrySeq,
        /// The block.
        block: BlockHash,
    },
    /// An output of a coinbase that paid an account.
    DirectPayment {
        /// The entry that books it.
        entry: EntrySeq,
        /// The account.
        account: AccountId,
        /// The output.
        delivery: OutPoint,
    },
}

/// What tells valuations of one policy apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueKey {
    /// A row of the register.
    Row(RowSeq),
    /// An entry of the ledger, and an account that it is about.
    Entry(EntrySeq, AccountId),
    /// The pool's own part of the block that an entry splits.
    PoolFee(EntrySeq),
}

impl About {
    /// Returns what tells it apart.
    pub fn key(&self) -> ValueKey {
        match *self {
            Self::Record { row, .. } => ValueKey::Row(row),
            Self::Credit { entry, account } | Self::DirectPayment { entry, account, .. } => {
                ValueKey::Entry(entry, account)
            }
            Self::PoolFee { entry, .. } => ValueKey::PoolFee(entry),
        }
    }

    /// Returns what a row of the register delivers, and its satoshis; nothing if it takes a delivery back.
    fn of_row(row: &RegisterRow) -> Option<(Self, i64)> {
        let about = Self::Record { row: row.seq, delivery: row.record.delivery };
        let sat = i64::try_from(row.record.amount.to_sat()).unwrap_or(i64::MAX);
        (row.state == RecordState::Delivered).then_some((about, sat))
    }

    /// Returns the pool's own part of the block that an entry splits, and its satoshis; nothing if it splits none, or the
    /// pool has no part.
    fn of_fee(entry: &Entry) -> Option<(Self, i64)> {
        let block = match entry.kind {
            EntryKind::BlockFound | EntryKind::Reconnected => entry.key.split(':').next()?.parse().ok()?,
            _ => return None,
        };
        let sat = entry.amount(LedgerAccount::FeeImmature).to_sat().saturating_neg();
        (sat > 0).then_some((Self::PoolFee { entry: entry.seq, block }, sat))
    }

    /// Returns what is received with a line of an entry, and its satoshis; nothing if the line is no receipt.
    fn of_line(entry: EntrySeq, line: &Line) -> Option<(Self, i64)> {
        match *line {
            Line::Credit { account, sat, .. } => Some((Self::Credit { entry, account }, sat)),
            Line::Direct { account, delivery, sat, reversed: false, .. } => {
                Some((Self::DirectPayment { entry, account, delivery }, sat))
            }
            _ => None,
        }
    }
}

/// A receipt was valued, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Valued {
    /// What was valued.
    pub about: About,
    /// The country profile, name and version, by whose policy.
    pub profile: String,
    /// The SHA-256 of the profile's file.
    pub profile_sha256: FileHash,
    /// How much coin it is, in satoshis.
    pub amount_sat: i64,
    /// When it was received, in milliseconds since 1970 UTC.
    pub received_at_ms: i64,
    /// What it is worth.
    pub appraisal: Appraisal,
}

impl Valued {
    /// The kind of its rows.
    pub const KIND: &'static str = "VALUED";
}

impl Recorded for Valued {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn subject(&self) -> String {
        match &self.about {
            About::Record { delivery, .. } | About::DirectPayment { delivery, .. } => delivery.to_string(),
            About::Credit { entry, account } => format!("credit:{entry}:{account}"),
            About::PoolFee { block, .. } => format!("fee:{block}"),
        }
    }
}

/// Why receipts could not be valued.
#[derive(Debug, thiserror::Error)]
pub enum ValuingError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal is wrong.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The books cannot be understood.
    #[error(transparent)]
    Books(#[from] BookkeepingError),
    /// The profile does not say by which prices.
    #[error(transparent)]
    Blank(#[from] Blank),
    /// A value is out of range.
    #[error("{subject}: {error}")]
    Value {
        /// What was valued.
        subject: String,
        /// Why.
        error: ValuationError,
    },
    /// Valuations could not be put on record.
    #[error(transparent)]
    Keep(#[from] KeepError),
}

/// What valuing has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValuingOutcome {
    /// How many receipts were valued for the first time.
    pub valued: u64,
    /// How many got another value, or a first one after they had none.
    pub revalued: u64,
    /// How many had the same value already.
    pub unchanged: u64,
    /// Those that have no value, by what they lack: how many.
    pub unvalued: BTreeMap<String, u64>,
}

/// The last valuation of each receipt by one profile.
#[derive(Clone, Debug, Default)]
pub struct Valuations {
    known: BTreeMap<ValueKey, (JournalSeq, Valued)>,
}

impl Valuations {
    /// Takes in the next row of the journal; rows about other things or by other profiles change nothing.
    ///
    /// # Errors
    ///
    /// If the row cannot be read.
    pub fn note(&mut self, row: &JournalRow, profile: &str) -> Result<(), JournalFault> {
        if row.kind == Valued::KIND {
            let valued: Valued = row.read()?;
            if valued.profile == profile {
                self.known.insert(valued.about.key(), (row.seq, valued));
            }
        }
        Ok(())
    }

    /// Returns the last valuation of a receipt, and its row.
    pub fn of(&self, key: ValueKey) -> Option<&(JournalSeq, Valued)> {
        self.known.get(&key)
    }
}

/// Values all receipts that have no value by a profile, or another one by the book as it is now, and puts that on record.
///
/// # Errors
///
/// If the store fails, the profile names no source of prices, the books cannot be understood, or a value is out of range.
/// What was appended before stays; the next call goes on from there.
pub async fn value(
    store: &dyn Store,
    profile: &CountryProfile,
    book: &PriceBook,
) -> Result<ValuingOutcome, ValuingError> {
    let mut valuing = Valuing::begin(store, profile, book).await?;
    loop {
        let page = valuing.next_page().await?;
        if page.is_empty() {
            return Ok(valuing.finish());
        }
        keep(store, &page).await?;
    }
}

#[cfg(test)]
mod tests;
