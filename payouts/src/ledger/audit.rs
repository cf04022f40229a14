//! A ledger recomputed from its entries alone.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::SignedAmount;

use super::{Entry, EntrySeq, Head, LedgerAccount, entry_hash};

/// Where a ledger is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discrepancy {
    /// An entry is missing or out of order.
    #[error("entry {found} stands where entry {expected} should")]
    Place {
        /// The place that follows the entry before.
        expected: EntrySeq,
        /// The place it claims.
        found: EntrySeq,
    },
    /// An entry does not follow the one before it.
    #[error("entry {0} does not continue the chain")]
    Chain(EntrySeq),
    /// An entry's content is not what its digest or hash covers.
    #[error("entry {0} was changed after it was posted")]
    Content(EntrySeq),
    /// An entry's lines do not sum to zero.
    #[error("entry {0} does not sum to zero")]
    Unbalanced(EntrySeq),
    /// An entry undoes one that does not stand before it.
    #[error("entry {0} corrects an entry that is not before it")]
    Correction(EntrySeq),
    /// The balance kept for an account is not the sum of its postings.
    #[error("account {account} has balance {kept}, but its postings sum to {recomputed}")]
    Balance {
        /// The account.
        account: LedgerAccount,
        /// The stored balance.
        kept: SignedAmount,
        /// The sum of all postings.
        recomputed: SignedAmount,
    },
}

/// Recomputes a ledger from its entries alone, one after the other.
#[derive(Debug)]
pub struct Audit {
    head: Head,
    sums: BTreeMap<LedgerAccount, i128>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { head: Head::EMPTY, sums: BTreeMap::new() }
    }
}

impl Audit {
    /// Checks the next entry.
    ///
    /// # Errors
    ///
    /// Names the entry if it is not exactly what was posted after the one before.
    pub fn check(&mut self, entry: &Entry) -> Result<(), Discrepancy> {
        let expected = EntrySeq::new(self.head.seq.get() + 1);
        if entry.seq != expected {
            return Err(Discrepancy::Place { expected, found: entry.seq });
        }
        if entry.previous != self.head.hash {
            return Err(Discrepancy::Chain(entry.seq));
        }
        let draft = entry.draft();
        if draft.digest() != entry.digest || entry_hash(&draft, entry.previous, entry.seq, entry.at_ms) != entry.hash {
            return Err(Discrepancy::Content(entry.seq));
        }
        if entry.corrects.is_some_and(|corrected| corrected >= entry.seq || corrected.get() < 1) {
            return Err(Discrepancy::Correction(entry.seq));
        }
        let mut sum = 0i128;
        for posting in &entry.postings {
            let sat = i128::from(posting.amount.to_sat());
            sum += sat;
            *self.sums.entry(posting.account).or_default() += sat;
        }
        if sum != 0 {
            return Err(Discrepancy::Unbalanced(entry.seq));
        }
        self.head = entry.head();
        Ok(())
    }

    /// Compares the balances that were kept with the recomputed ones, and returns the head.
    ///
    /// # Errors
    ///
    /// Names the first account that differs.
    pub fn finish(self, kept: &BTreeMap<LedgerAccount, SignedAmount>) -> Result<Head, Discrepancy> {
        let accounts: BTreeSet<_> = self.sums.keys().chain(kept.keys()).copied().collect();
        for account in accounts {
            let recomputed = self.sums.get(&account).copied().unwrap_or_default();
            let kept = kept.get(&account).copied().unwrap_or(SignedAmount::ZERO);
            if recomputed != i128::from(kept.to_sat()) {
                let sat = i64::try_from(recomputed).unwrap_or(i64::MAX);
                return Err(Discrepancy::Balance { account, kept, recomputed: SignedAmount::from_sat(sat) });
            }
        }
        Ok(self.head)
    }
}

/// Recomputes chain, sums, digests and balances of a whole ledger, and returns its head.
///
/// # Errors
///
/// Names the first entry, or else the first account, that is wrong.
pub fn verify<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    balances: &BTreeMap<LedgerAccount, SignedAmount>,
) -> Result<Head, Discrepancy> {
    let mut audit = Audit::default();
    for entry in entries {
        audit.check(entry)?;
    }
    audit.finish(balances)
}
