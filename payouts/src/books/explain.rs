//! Explains stored credits: works them out again from what was counted, and compares the outcome with the ledger.

use std::fmt;

use bitcoin::{Amount, BlockHash};

use crate::{
    account::AccountId,
    books::{BlockPhase, BlockRecord, BooksError, window},
    ledger::{EntryKind, EntrySeq, LedgerAccount},
    scheme::{
        beneficiary::{self, Assigned},
        explanation::Explanation,
    },
    store::Store,
};

/// A credit with its explanation, which agrees with the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedCredit {
    /// The block that it comes from.
    pub block: BlockRecord,
    /// How the account's own part came about.
    pub explanation: Explanation,
    /// What became of that, and what the account got of what others earned.
    pub assigned: Vec<Assigned>,
    /// What the account is credited in the end.
    pub credit: Amount,
    /// The ledger's entry that posted it.
    pub entry: EntrySeq,
    /// The part that was paid so far: what the coinbase pays directly, and what payouts have taken.
    pub paid: Amount,
    /// What the coinbase pays directly of it.
    pub direct: Amount,
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
    // What was counted is kept with the block, for its shares may be folded or gone. Of old blocks it is not; nothing is
    // folded or deleted before it is.
    let window = match (rule.open_window(block.found.nbits), store.block_window(hash).await?) {
        (Some(opened), Some(frozen)) => Some(frozen.restore(opened)),
        _ => window::counted(store, rule, block.found.nbits, block.found.share_position).await?,
    };
    let (reward, finder) = (block.found.reward(), block.found.finder);
    let explanation = Explanation::of(rule, reward, window.as_ref(), finder, account);
    let wishes = store.wishes(block.found.share_position).await?;
    let assigned = beneficiary::assignments(&rule.split(reward, window.as_ref(), finder).credits, &wishes);
    let credit = assigned.iter().filter(|part| part.to == account).map(|part| part.amount).sum();
    let assigned: Vec<_> = assigned.into_iter().filter(|part| part.earner == account || part.to == account).collect();
    let posted = (-entry.amount(LedgerAccount::MinerImmature(account))).to_unsigned().unwrap_or_default();
    if posted != credit {
        return Err(BooksError::Unexplained { block: hash, account, posted, explained: credit });
    }
    let credits = store.credits(hash).await?;
    let paid = credits.iter().find(|credit| credit.account == account).map(|credit| credit.paid).unwrap_or_default();
    let direct = match block.state.phase {
        BlockPhase::Orphaned => Amount::ZERO,
        _ => block.found.direct.settled_of(&credits).get(&account).copied().unwrap_or_default(),
    };
    Ok(ExplainedCredit { block, explanation, assigned, credit, entry: entry.seq, paid, direct })
}

impl fmt::Display for ExplainedCredit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, paid) = (&self.block.found, self.paid.to_sat().saturating_sub(self.direct.to_sat()));
        writeln!(f, "Block     {} at height {}", found.hash, found.height)?;
        write!(f, "{}", self.explanation)?;
        write_assigned(f, self.explanation.account, &self.assigned)?;
        writeln!(f, "Credit    {} sat", self.credit.to_sat())?;
        writeln!(f, "Ledger    entry {} says the same", self.entry)?;
        if self.direct > Amount::ZERO {
            writeln!(f, "Direct    {} sat of it paid by the coinbase itself", self.direct.to_sat())?;
        }
        match self.block.state.phase {
            BlockPhase::Immature => writeln!(f, "State     not due yet: the block waits for its confirmations"),
            BlockPhase::Matured => writeln!(f, "State     due; {paid} sat of it taken by payouts"),
            BlockPhase::Orphaned => writeln!(f, "State     void: the block is not in the best chain"),
        }
    }
}

/// Tells what became of what an account earned, and what it got of what others did. Nothing, if it kept all.
pub(crate) fn write_assigned(f: &mut fmt::Formatter<'_>, account: AccountId, assigned: &[Assigned]) -> fmt::Result {
    for Assigned { earner, to, amount, is_donation } in assigned {
        let (sat, word) = (amount.to_sat(), if *is_donation { "donation" } else { "part" });
        match (*earner == account, *to == account) {
            (true, true) if assigned.len() == 1 => {}
            (true, true) => writeln!(f, "Kept      {sat} sat")?,
            (true, false) => writeln!(f, "Given     {sat} sat to account {to}, as a {word}")?,
            (false, _) => writeln!(f, "Received  {sat} sat from account {earner}, as a {word}")?,
        }
    }
    Ok(())
}
