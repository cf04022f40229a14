//! Valuations on record: what each receipt was worth, or why that is not known yet.
//!
//! A row of the journal is never changed. What had no value gets another row once the operator's files have a price, and
//! so does what a revised file values otherwise; the last row counts. What takes a receipt back has no valuation of its
//! own: it is the exact negative of what it takes back.
//!
//! Owns which receipts are valued, at which time, and that each is on record. How a value comes about belongs to
//! [`super::rules::valuation`].

use std::collections::BTreeMap;

use bitcoin::{BlockHash, OutPoint, SignedAmount};
use serde::{Deserialize, Serialize};

use super::{
    bookkeeping::{BookkeepingError, Line, Walk},
    journal::{JournalFault, JournalRow, JournalSeq, Recorded},
    register::{RecordState, RowSeq},
    rules::{
        prices::PriceBook,
        profile::{Blank, CountryProfile, ReceiptEvent},
        source_file::FileHash,
        valuation::{Appraisal, Revaluation, ValuationError, ValuationPolicy},
    },
};
use crate::{
    account::AccountId,
    clock::now_ms,
    ledger::{EntryKind, EntrySeq},
    store::{Commit, Store, StoreError},
};

/// Rows that are read at a time.
const PAGE: u32 = 1_000;
/// Valuations that are appended at a time.
const BATCH: usize = 256;
/// Times that rows are sealed anew because others came first.
const COMMIT_ATTEMPTS: u32 = 16;

/// What a valuation is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl About {
    /// Returns what tells it apart.
    pub fn key(&self) -> ValueKey {
        match *self {
            Self::Record { row, .. } => ValueKey::Row(row),
            Self::Credit { entry, account } | Self::DirectPayment { entry, account, .. } => {
                ValueKey::Entry(entry, account)
            }
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
/// Deliveries are valued when the register had them first; credits when they were booked or matured, if that is what the
/// profile holds for receipt, and what coinbases pay directly if payment is.
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
    let policy = profile.valuation_policy()?;
    let mut known = Valuations::default();
    let mut after = JournalSeq::new(0);
    loop {
        let page = store.journal_rows(after, PAGE).await?;
        let Some(newest) = page.last() else { break };
        after = newest.seq;
        page.iter().try_for_each(|row| known.note(row, policy.id()))?;
    }
    let mut valuer =
        Valuer { store, profile, policy, book, known, pending: Vec::new(), outcome: ValuingOutcome::default() };
    let mut receipts = Receipts::of(profile.receipt_event());
    let mut walk = Walk::begin(store).await?;
    while let Some(booked) = walk.next().await? {
        for (about, sat) in receipts.of_entry(&booked) {
            valuer.value(about, sat, booked.at_ms).await?;
        }
    }
    valuer.flush().await?;
    Ok(valuer.outcome)
}

/// Finds receipts among the books' entries.
struct Receipts {
    event: ReceiptEvent,
    /// Credits of blocks that are not mature.
    immature: BTreeMap<BlockHash, Vec<(About, i64)>>,
}

impl Receipts {
    fn of(event: ReceiptEvent) -> Self {
        Self { event, immature: BTreeMap::new() }
    }

    /// Returns what is received with an entry.
    fn of_entry(&mut self, booked: &super::bookkeeping::Booked) -> Vec<(About, i64)> {
        let seq = booked.entry.seq;
        let delivered = booked.rows.iter().filter(|row| row.state == RecordState::Delivered);
        let mut receipts: Vec<_> = delivered
            .map(|row| {
                let about = About::Record { row: row.seq, delivery: row.record.delivery };
                (about, i64::try_from(row.record.amount.to_sat()).unwrap_or(i64::MAX))
            })
            .collect();
        for line in &booked.lines {
            match *line {
                Line::Credit { account, sat, ref block, .. } => {
                    let credit = (About::Credit { entry: seq, account }, sat);
                    match (self.event, block) {
                        (ReceiptEvent::Payout, _) => {}
                        (ReceiptEvent::Maturity, Some(block)) => {
                            self.immature.entry(block.hash).or_default().push(credit);
                        }
                        (ReceiptEvent::Credit | ReceiptEvent::Maturity, _) => receipts.push(credit),
                    }
                }
                Line::Direct { account, delivery, sat, reversed: false, .. } if self.event == ReceiptEvent::Payout => {
                    receipts.push((About::DirectPayment { entry: seq, account, delivery }, sat));
                }
                _ => {}
            }
        }
        match (booked.entry.kind, booked.block) {
            (EntryKind::Matured, Some(block)) => receipts.extend(self.immature.remove(&block).unwrap_or_default()),
            (EntryKind::Orphaned, Some(block)) => drop(self.immature.remove(&block)),
            _ => {}
        }
        receipts
    }
}

struct Valuer<'a> {
    store: &'a dyn Store,
    profile: &'a CountryProfile,
    policy: ValuationPolicy,
    book: &'a PriceBook,
    known: Valuations,
    pending: Vec<Valued>,
    outcome: ValuingOutcome,
}

impl Valuer<'_> {
    async fn value(&mut self, about: About, amount_sat: i64, received_at_ms: i64) -> Result<(), ValuingError> {
        let amount = SignedAmount::from_sat(amount_sat);
        let earlier = self.known.of(about.key()).map(|(_, valued)| &valued.appraisal);
        let appraised = match earlier {
            None => self.policy.appraise(amount, received_at_ms, self.book).map(Some),
            Some(earlier) => self.policy.revalue(earlier, amount, received_at_ms, self.book).map(|new| match new {
                Revaluation::Unchanged => None,
                Revaluation::New(value) => Some(Appraisal::Valued(value)),
            }),
        };
        let valued = |appraisal| Valued {
            about,
            profile: self.policy.id().to_owned(),
            profile_sha256: self.profile.file_sha256(),
            amount_sat,
            received_at_ms,
            appraisal,
        };
        let new = match appraised {
            Ok(new) => new,
            Err(error) => {
                let subject = match earlier {
                    Some(earlier) => valued(earlier.clone()).subject(),
                    None => format!("a receipt of {amount_sat} sat at {received_at_ms} ms"),
                };
                return Err(ValuingError::Value { subject, error });
            }
        };
        let outcome = &mut self.outcome;
        match (&new, earlier) {
            (Some(Appraisal::Unvalued(lack)), _) | (None, Some(Appraisal::Unvalued(lack))) => {
                *outcome.unvalued.entry(lack.to_string()).or_default() += 1;
            }
            (Some(Appraisal::Valued(_)), None) => outcome.valued += 1,
            (Some(Appraisal::Valued(_)), Some(_)) => outcome.revalued += 1,
            (None, _) => outcome.unchanged += 1,
        }
        if let Some(appraisal) = new {
            let event = valued(appraisal);
            self.pending.push(event);
            if self.pending.len() >= BATCH {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Appends what is pending.
    async fn flush(&mut self) -> Result<(), ValuingError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let (mut head, ledger, at_ms) = (self.store.journal_head().await?, self.store.head().await?, now_ms());
            let seal = |valued: &Valued| {
                let row = JournalRow::seal(head, at_ms, ledger, valued);
                head = row.head();
                row
            };
            let rows: Vec<_> = self.pending.iter().map(seal).collect();
            if self.store.append_journal(&rows).await? != Commit::Stale {
                self.pending.clear();
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }
}

#[cfg(test)]
mod tests;
