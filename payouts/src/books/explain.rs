//! Explains stored credits: works them out again from the share log, and compares the outcome with the ledger.

use std::fmt;

use bitcoin::{Amount, BlockHash};

use crate::{
    account::AccountId,
    books::{BlockPhase, BlockRecord, BooksError, window},
    ledger::{EntryKind, EntrySeq, LedgerAccount},
    scheme::explanation::Explanation,
    store::Store,
};

/// A credit with its explanation, which agrees with the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedCredit {
    /// The block that it comes from.
    pub block: BlockRecord,
    /// How it came about.
    pub explanation: Explanation,
    /// The ledger's entry that posted it.
    pub entry: EntrySeq,
    /// The part that payouts have taken so far.
    pub paid: Amount,
}

/// Explains what an account is credited of a block, from shares to satoshis. It needs nothing but the store.
///
/// # Errors
///
/// If the store fails, the block is unknown or was recorded without its rule, or the ledger says something else.
pub async fn explain(store: &dyn Store, hash: BlockHash, account: AccountId) -> Result<ExplainedCredit, BooksError> {
    let block = store.block(hash).await?.ok_or(BooksError::UnknownBlock(hash))?;
    let rule = block.rule.ok_or(BooksError::NoRule(hash))?;
    let (kind, key) = (EntryKind::BlockFound, hash.to_string());
    let entry = store.entry(kind, &key).await?.ok_or(BooksError::MissingEntry { kind, key })?;
    let window = window::counted(store, &block.found, rule).await?;
    let explanation = Explanation::of(rule, block.found.value, window.as_ref(), block.found.finder, account);
    let posted = (-entry.amount(LedgerAccount::MinerImmature(account))).to_unsigned().unwrap_or_default();
    if posted != explanation.credit {
        let explained = explanation.credit;
        return Err(BooksError::Unexplained { block: hash, account, posted, explained });
    }
    let credits = store.credits(hash).await?;
    let paid = credits.iter().find(|credit| credit.account == account).map(|credit| credit.paid).unwrap_or_default();
    Ok(ExplainedCredit { block, explanation, entry: entry.seq, paid })
}

impl fmt::Display for ExplainedCredit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, paid) = (&self.block.found, self.paid.to_sat());
        writeln!(f, "Block     {} at height {}", found.hash, found.height)?;
        write!(f, "{}", self.explanation)?;
        writeln!(f, "Ledger    entry {} says the same", self.entry)?;
        match self.block.state.phase {
            BlockPhase::Immature => writeln!(f, "State     not due yet: the block waits for its confirmations"),
            BlockPhase::Matured => writeln!(f, "State     due; {paid} sat of it taken by payouts"),
            BlockPhase::Orphaned => writeln!(f, "State     void: the block is not in the best chain"),
        }
    }
}
