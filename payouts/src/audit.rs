//! Recomputes everything a store holds about money from the entries alone, and says whether it agrees: with itself,
//! and with a node's chain.
//!
//! [`verify`] checks the three hash chains, the balances and the register; [`verify_books`] also every row that changes
//! with entries; [`verify_chain`] compares the books with the chain. [`BalanceWatch`] is the small check for a pool
//! that runs.

use std::collections::BTreeMap;

use bitcoin::SignedAmount;

use crate::{
    books::BlockPhase,
    export::{
        journal::{JournalFault, JournalHead},
        register::{RegisterAudit, RegisterFault, RegisterHead, RowSeq},
    },
    ledger::{Audit, Discrepancy, EntrySeq, Head, LedgerAccount},
    store::{Store, StoreError},
};

mod batches;
mod chain;
mod imbalance;
mod journal;
mod reserve;
mod restraints;
mod rows;

pub use chain::{ChainAudit, ChainAuditError, ChainCoins, ChainFault, verify_chain};
pub use imbalance::{BalanceWatch, Imbalance};
pub use rows::RowFault;

use journal::CheckedJournal;
use rows::{DeliveryAudit, RowAudit};

/// Records read from the store at a time.
const PAGE: u32 = 1_000;
/// Times that entries posted meanwhile are read on before giving up.
const CATCH_UP_ATTEMPTS: u32 = 16;

/// What an audit found wrong, or why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger is wrong.
    #[error("ledger: {0}")]
    Ledger(#[from] Discrepancy),
    /// A row does not follow from the ledger.
    #[error("books: {0}")]
    Rows(#[from] RowFault),
    /// The register is wrong, or does not agree with the ledger.
    #[error("export register: {0}")]
    Register(#[from] RegisterFault),
    /// The register's journal is wrong, or does not agree with the ledger.
    #[error("export journal: {0}")]
    Journal(#[from] JournalFault),
}

/// What an audit confirmed: these three hashes stand for all records before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audited {
    /// The ledger's last entry.
    pub ledger: Head,
    /// The register's last row.
    pub register: RegisterHead,
    /// The journal's last row.
    pub journal: JournalHead,
    /// What was delivered in sum, less what was reversed.
    pub delivered: SignedAmount,
}

/// Audits ledger, register and journal, up to a moment during the call; entries that come later do not matter.
///
/// # Errors
///
/// Names the first record that is wrong.
pub async fn verify(store: &dyn Store) -> Result<Audited, AuditError> {
    audit(store, None).await
}

/// Audits ledger, register and journal as [`verify`] does, and the rows of blocks, credits, periods, deposits, batches and
/// restraints, which must say what follows from the entries: phase, epoch, value, fee, facts, credits and what was paid
/// of each; state, transactions, outputs and lots; who was not paid for a while. What no entry tells is compared with
/// the chain ([`verify_chain`]), or follows from the shares
/// ([`crate::books::explain()`]).
///
/// # Errors
///
/// Names the first record that is wrong: of the entries, then the balances, the rows, the register.
pub async fn verify_books(store: &dyn Store) -> Result<Audited, AuditError> {
    audit(store, Some(RowAudit::default())).await
}

async fn audit(store: &dyn Store, mut rows: Option<RowAudit>) -> Result<Audited, AuditError> {
    let mut journal = CheckedJournal::read(store).await?;
    let (mut ledger, mut register) = (Audit::default(), RegisterAudit::default());
    let mut last = EntrySeq::new(0);
    let mut read = None;
    for _ in 0..CATCH_UP_ATTEMPTS {
        loop {
            let entries = store.entries(last, PAGE).await?;
            let Some(newest) = entries.last() else { break };
            last = newest.seq;
            for entry in &entries {
                ledger.check(entry)?;
                register.note(entry);
                journal.note(entry)?;
                if let Some(rows) = &mut rows {
                    rows.note(entry)?;
                }
            }
        }
        // Balances and rows are those of the entries read if no entry was posted before they were read.
        let balances = store.balances().await?;
        let compared = match &rows {
            Some(rows) => rows.compare(store).await?,
            None => Ok(()),
        };
        if store.head().await?.seq == last {
            read = Some((balances, compared));
            break;
        }
    }
    let (balances, compared) = read.ok_or(StoreError::Contended)?;
    let ledger = ledger.finish(&balances)?;
    compared?;
    let mut deliveries = rows.as_ref().map(|rows| DeliveryAudit::new(rows, store));
    let mut after = RowSeq::new(0);
    'register: loop {
        let page = store.register_rows(after, PAGE).await?;
        let Some(newest) = page.last() else { break };
        after = newest.seq;
        for row in &page {
            if row.entry > last {
                break 'register;
            }
            register.check(row)?;
            if let Some(deliveries) = &mut deliveries {
                deliveries.check(row).await??;
            }
        }
    }
    let (register, delivered) = register.finish()?;
    let journal = journal.finish()?;
    Ok(Audited { ledger, register, journal, delivered })
}

/// Returns what the ledger says are the pool's own coins on the chain, in satoshis: immature, spendable and in flight.
fn coins_of(balances: &BTreeMap<LedgerAccount, SignedAmount>) -> i128 {
    let is_coin = |account: &LedgerAccount| {
        matches!(account, LedgerAccount::Immature(_) | LedgerAccount::Spendable | LedgerAccount::InFlight(_))
    };
    balances.iter().filter(|(account, _)| is_coin(account)).map(|(_, amount)| i128::from(amount.to_sat())).sum()
}

fn phase_word(phase: BlockPhase) -> &'static str {
    match phase {
        BlockPhase::Immature => "immature",
        BlockPhase::Matured => "matured",
        BlockPhase::Orphaned => "orphaned",
    }
}

#[cfg(test)]
mod tests;
