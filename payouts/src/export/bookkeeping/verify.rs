//! Recomputes what is on record about coin that left: chains, values, declarations, and what stands for sealed data.

use std::collections::BTreeMap;

use super::{
    BookkeepingError, check_marks,
    walk::{Line, Walk, sat},
};
use crate::{
    audit::{self, AuditError, Audited},
    export::{
        closing::{OutOfOrder, PeriodDeclared, Periods, PeriodsError},
        journal::{JournalFault, JournalRow, JournalSeq},
        owner::Owners,
        party::{PartyId, Vault, VaultError},
        rules::{fiat::FiatError, valuation::Appraisal},
        valued::{ValueKey, Valued},
    },
    ledger::{EntrySeq, LedgerAccount},
    store::{Store, StoreError},
};

/// Rows that are read at a time.
const PAGE: u32 = 1_000;

/// What of the exports is wrong, or why it could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Ledger, register or journal are wrong.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A row of the journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The books cannot be understood.
    #[error(transparent)]
    Books(#[from] BookkeepingError),
    /// Periods were declared or closed in an order that cannot be.
    #[error(transparent)]
    Order(#[from] OutOfOrder),
    /// A declaration names records that were not there.
    #[error("journal row {seq}: {error}")]
    Declaration {
        /// The row.
        seq: JournalSeq,
        /// Which.
        error: BookkeepingError,
    },
    /// A party's sealed data cannot be opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A party's sealed data is not what the journal has a commitment to, or is not there, or should not be.
    #[error("party {0}: the sealed data is not what the journal stands for")]
    Party(PartyId),
    /// A value does not follow from its price and rate.
    #[error("journal row {0}: the value does not follow from price and rate")]
    Value(JournalSeq),
    /// A value cannot be worked out.
    #[error("journal row {seq}: {error}")]
    Fiat {
        /// The row.
        seq: JournalSeq,
        /// Why.
        error: FiatError,
    },
    /// A valuation is about nothing that is on record, or about another amount.
    #[error("journal row {seq}: {amount_sat} sat were valued, but {} were received", received(*.found_sat))]
    Amount {
        /// The row.
        seq: JournalSeq,
        /// What it says.
        amount_sat: i64,
        /// What the books say; nothing if they have no such receipt.
        found_sat: Option<i64>,
    },
}

fn received(sat: Option<i64>) -> String {
    sat.map_or_else(|| "none".to_owned(), |sat| format!("{sat} sat"))
}

/// What was confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedExports {
    /// Ledger, register and journal.
    pub audited: Audited,
    /// How many parties' data agree with the journal.
    pub parties: usize,
    /// Whether that was checked: it needs the key.
    pub parties_opened: bool,
    /// How many valuations have a value, which was worked out again.
    pub valued: u64,
    /// How many have none.
    pub unvalued: u64,
    /// How many declarations of periods there are.
    pub declared: u64,
    /// How many periods are closed.
    pub closed: u64,
}

/// Recomputes ledger, register and journal, every value on record, and the commitments to sealed data if there is a key;
/// makes sure that what was declared is there, and that nothing was said of a period that may not be.
///
/// # Errors
///
/// Names the first record that is wrong.
pub async fn verify(store: &dyn Store, vault: Option<&Vault>) -> Result<VerifiedExports, VerifyError> {
    let audited = audit::verify(store).await?;
    let mut owners = Owners::default();
    let mut amounts: Vec<(JournalSeq, ValueKey, i64)> = Vec::new();
    let (mut valued, mut unvalued) = (0, 0);
    let mut periods = Periods::default();
    let mut after = JournalSeq::new(0);
    'journal: loop {
        let page = store.journal_rows(after, PAGE).await?;
        let Some(newest) = page.last() else { break };
        after = newest.seq;
        for row in &page {
            if row.seq > audited.journal.seq {
                break 'journal;
            }
            owners.note(row)?;
            periods.note(row)?;
            if row.kind == PeriodDeclared::KIND {
                check_declaration(store, row).await?;
            }
            if row.kind == Valued::KIND {
                let event: Valued = row.read()?;
                match check_value(row.seq, &event)? {
                    true => valued += 1,
                    false => unvalued += 1,
                }
                amounts.push((row.seq, event.about.key(), event.amount_sat));
            }
        }
    }
    check_amounts(store, audited.ledger.seq, &amounts).await?;
    let parties = match vault {
        Some(vault) => check_parties(store, vault, &owners).await?,
        None => 0,
    };
    let (declared, closed) = periods.counts();
    Ok(VerifiedExports { audited, parties, parties_opened: vault.is_some(), valued, unvalued, declared, closed })
}

/// Makes sure that the records that were declared are there, and were when they were declared.
async fn check_declaration(store: &dyn Store, row: &JournalRow) -> Result<(), VerifyError> {
    let PeriodDeclared { as_of, .. } = row.read()?;
    let later = |chain, seq| BookkeepingError::OtherRecords { chain, seq };
    let checked = if as_of.journal.seq >= row.seq.get() {
        Err(later("journal", as_of.journal.seq))
    } else if as_of.ledger.seq > row.ledger()?.seq.get() {
        Err(later("ledger", as_of.ledger.seq))
    } else {
        check_marks(store, &as_of).await
    };
    checked.map_err(|error| VerifyError::Declaration { seq: row.seq, error })
}

impl From<PeriodsError> for VerifyError {
    fn from(error: PeriodsError) -> Self {
        match error {
            PeriodsError::Journal(fault) => Self::Journal(fault),
            PeriodsError::OutOfOrder(out_of_order) => Self::Order(out_of_order),
        }
    }
}

/// Tells whether there is a value; if so, it follows from what stands beside it.
fn check_value(seq: JournalSeq, event: &Valued) -> Result<bool, VerifyError> {
    let Appraisal::Valued(value) = &event.appraisal else { return Ok(false) };
    let worked_out = value.worked_out().map_err(|error| VerifyError::Fiat { seq, error })?;
    if worked_out != value.value || value.amount_sat.to_sat() != event.amount_sat {
        return Err(VerifyError::Value(seq));
    }
    Ok(true)
}

/// Makes sure that what was valued was received.
async fn check_amounts(
    store: &dyn Store,
    upto: EntrySeq,
    amounts: &[(JournalSeq, ValueKey, i64)],
) -> Result<(), VerifyError> {
    if amounts.is_empty() {
        return Ok(());
    }
    let mut received: BTreeMap<ValueKey, Option<i64>> = amounts.iter().map(|&(_, key, _)| (key, None)).collect();
    let mut walk = Walk::up_to(store, upto);
    while let Some(booked) = walk.next().await? {
        let rows = booked.rows.iter().map(|row| (ValueKey::Row(row.seq), sat(row.record.amount)));
        let lines = booked.lines.iter().filter_map(|line| match line {
            Line::Credit { account, sat, .. } | Line::Direct { account, sat, reversed: false, .. } => {
                Some((ValueKey::Entry(booked.entry.seq, *account), *sat))
            }
            _ => None,
        });
        let fee = (
            ValueKey::PoolFee(booked.entry.seq),
            booked.entry.amount(LedgerAccount::FeeImmature).to_sat().saturating_neg(),
        );
        for (key, sat) in rows.chain(lines).chain([fee]) {
            if let Some(found) = received.get_mut(&key) {
                *found = Some(sat);
            }
        }
    }
    for &(seq, ref key, amount_sat) in amounts {
        let found_sat = received.get(key).copied().flatten();
        if found_sat != Some(amount_sat) {
            return Err(VerifyError::Amount { seq, amount_sat, found_sat });
        }
    }
    Ok(())
}

async fn check_parties(store: &dyn Store, vault: &Vault, owners: &Owners) -> Result<usize, VerifyError> {
    let sealed: BTreeMap<PartyId, Vec<u8>> = store.parties().await?.into_iter().collect();
    for (&id, bytes) in &sealed {
        let (_, commitment) = vault.open(id, bytes)?;
        let known = owners.party(id).filter(|known| !known.is_erased && known.set.commitment == commitment);
        known.ok_or(VerifyError::Party(id))?;
    }
    let lost = owners.parties().find(|(id, known)| !known.is_erased && !sealed.contains_key(id));
    match lost {
        Some((id, _)) => Err(VerifyError::Party(id)),
        None => Ok(sealed.len()),
    }
}
