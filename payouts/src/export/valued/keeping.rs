//! Puts valuations on record that were worked out, here or in another process: a page at a time, each checked.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{About, PAGE_VALUES, ValueKey, Valued};
use crate::{
    clock::now_ms,
    export::{
        bookkeeping::{BookkeepingError, received_with},
        journal::{JournalFault, JournalRow, Recorded},
        register::RowSeq,
        rules::{fiat::FiatError, prices::SourceName, valuation::Appraisal},
    },
    ledger::EntrySeq,
    store::{Commit, Store, StoreError},
};

/// The newest rows about a receipt among which its last valuation by a profile is looked for.
const ROWS_OF_RECEIPT: u32 = 1_000;
/// Times that rows are sealed anew because others came first.
const COMMIT_ATTEMPTS: u32 = 16;

/// What became of a page of valuations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// How many were put on record.
    pub appended: u64,
    /// How many say nothing that is not on record already.
    pub already: u64,
}

/// Why valuations were not put on record. If any is wrong, none is.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal is wrong.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The books cannot be understood.
    #[error(transparent)]
    Books(#[from] BookkeepingError),
    /// They are too many at a time.
    #[error("{0} valuations are more than the {PAGE_VALUES} that are taken at a time")]
    TooMany(usize),
    /// The profile is not named as profiles are, or the value follows another one's policy.
    #[error("{subject}: the value follows the policy of {policy:?}, and {profile:?} is given as its profile")]
    Profile {
        /// What was valued.
        subject: String,
        /// By whose policy.
        policy: String,
        /// The profile.
        profile: String,
    },
    /// A value does not follow from its price and rate, or is that of another amount.
    #[error("{0}: the value does not follow from amount, price and rate")]
    Value(String),
    /// A value cannot be worked out.
    #[error("{subject}: {error}")]
    Fiat {
        /// What was valued.
        subject: String,
        /// Why.
        error: FiatError,
    },
    /// What was valued is not in the books, or with another amount.
    #[error("{subject}: {amount_sat} sat were valued, but the books have {}", received(*.found_sat))]
    NotReceived {
        /// What was valued.
        subject: String,
        /// How much.
        amount_sat: i64,
        /// What the books say; nothing if they have no such receipt.
        found_sat: Option<i64>,
    },
}

fn received(sat: Option<i64>) -> String {
    sat.map_or_else(|| "no such receipt".to_owned(), |sat| format!("{sat} sat"))
}

/// Checks a page of valuations, at most [`PAGE_VALUES`], and appends to the journal what is new of it. A page that is
/// handed in again changes nothing.
///
/// # Errors
///
/// If the store fails, or a valuation is wrong: it is about nothing in the books or another amount, does not follow from
/// its price and rate, or not from its profile's policy.
pub async fn keep(store: &dyn Store, page: &[Valued]) -> Result<Kept, KeepError> {
    if page.len() > PAGE_VALUES {
        return Err(KeepError::TooMany(page.len()));
    }
    let mut receipts = Receipts { store, of_entry: None };
    for valued in page {
        check_value(valued)?;
        let found_sat = receipts.sat(&valued.about).await?;
        if found_sat != Some(valued.amount_sat) {
            let (subject, amount_sat) = (valued.subject(), valued.amount_sat);
            return Err(KeepError::NotReceived { subject, amount_sat, found_sat });
        }
    }
    for _ in 0..COMMIT_ATTEMPTS {
        // Whoever appends after this head makes the attempt stale.
        let mut head = store.journal_head().await?;
        let (ledger, at_ms) = (store.head().await?, now_ms());
        let rows: Vec<_> = news(store, page)
            .await?
            .into_iter()
            .map(|valued| {
                let row = JournalRow::seal(head, at_ms, ledger, valued);
                head = row.head();
                row
            })
            .collect();
        if rows.is_empty() || store.append_journal(&rows).await? != Commit::Stale {
            let (all, appended) = (page.len() as u64, rows.len() as u64);
            return Ok(Kept { appended, already: all - appended });
        }
    }
    Err(StoreError::Contended.into())
}

/// Makes sure that a valuation is one by its profile, and follows from what stands beside it.
fn check_value(valued: &Valued) -> Result<(), KeepError> {
    let Valued { profile, appraisal, amount_sat, .. } = valued;
    let id = profile.split_once('/').map(|(name, version)| (name.parse::<SourceName>(), version.parse::<u32>()));
    if !matches!(id, Some((Ok(_), Ok(_)))) || appraisal.policy() != profile {
        let (subject, policy) = (valued.subject(), appraisal.policy().to_owned());
        return Err(KeepError::Profile { subject, policy, profile: profile.clone() });
    }
    let Appraisal::Valued(value) = appraisal else { return Ok(()) };
    let worked_out = value.worked_out().map_err(|error| KeepError::Fiat { subject: valued.subject(), error })?;
    if worked_out != value.value || value.amount_sat.to_sat() != *amount_sat {
        return Err(KeepError::Value(valued.subject()));
    }
    Ok(())
}

/// Returns the valuations of a page that say what is not on record.
async fn news<'p>(store: &dyn Store, page: &'p [Valued]) -> Result<Vec<&'p Valued>, KeepError> {
    let mut earlier_of: BTreeMap<(ValueKey, &str), Appraisal> = BTreeMap::new();
    let mut news = Vec::new();
    for valued in page {
        let id = (valued.about.key(), valued.profile.as_str());
        let earlier = match earlier_of.remove(&id) {
            Some(earlier) => Some(earlier),
            None => last_on_record(store, valued).await?,
        };
        let is_new = earlier.as_ref().is_none_or(|earlier| valued.appraisal.is_new_to(earlier));
        let last = earlier.filter(|_| !is_new).unwrap_or_else(|| valued.appraisal.clone());
        earlier_of.insert(id, last);
        news.extend(is_new.then_some(valued));
    }
    Ok(news)
}

/// Returns the last appraisal on record of the same receipt by the same profile.
async fn last_on_record(store: &dyn Store, valued: &Valued) -> Result<Option<Appraisal>, KeepError> {
    for row in store.journal_about(Valued::KIND, &valued.subject(), ROWS_OF_RECEIPT).await? {
        let earlier: Valued = row.read()?;
        if earlier.about.key() == valued.about.key() && earlier.profile == valued.profile {
            return Ok(Some(earlier.appraisal));
        }
    }
    Ok(None)
}

/// Finds receipts in the books. Those of one entry come one after the other, so the last entry's are kept.
struct Receipts<'a> {
    store: &'a dyn Store,
    of_entry: Option<(EntrySeq, HashMap<About, i64>)>,
}

impl Receipts<'_> {
    /// Returns what was received, in satoshis; nothing if there is no such receipt.
    async fn sat(&mut self, about: &About) -> Result<Option<i64>, KeepError> {
        match about.key() {
            ValueKey::Row(row) => {
                let before = RowSeq::new(row.get().saturating_sub(1));
                let rows = self.store.register_rows(before, 1).await?;
                let found = rows.iter().find_map(About::of_row).filter(|(found, _)| found == about);
                Ok(found.map(|(_, sat)| sat))
            }
            ValueKey::Entry(entry, _) | ValueKey::PoolFee(entry) => {
                if self.of_entry.as_ref().is_none_or(|(seq, _)| *seq != entry) {
                    self.of_entry = Some((entry, self.received_with(entry).await?));
                }
                Ok(self.of_entry.as_ref().and_then(|(_, receipts)| receipts.get(about).copied()))
            }
        }
    }

    async fn received_with(&self, seq: EntrySeq) -> Result<HashMap<About, i64>, KeepError> {
        let before = EntrySeq::new(seq.get().saturating_sub(1));
        let entries = self.store.entries(before, 1).await?;
        let Some(entry) = entries.first().filter(|entry| entry.seq == seq) else { return Ok(HashMap::new()) };
        let lines = received_with(self.store, entry).await?;
        Ok(lines.iter().filter_map(|line| About::of_line(seq, line)).chain(About::of_fee(entry)).collect())
    }
}
