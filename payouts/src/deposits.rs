//! Deposits: coins that came to the pool's wallet and that none of its coinbases or payouts made.
//!
//! They are booked when they are in a block, as money of which it is not said yet whose it is, and taken off the books
//! when that block leaves the chain. So the ledger's coins are those of the wallet at any tip. A coinbase is never a
//! deposit: one that pays the pool and is not in the books is a matter for the operator.

use bitcoin::{Amount, BlockHash, OutPoint};

use crate::{
    clock::now_ms,
    ledger::{Draft, EntryKind, LedgerAccount, LedgerError},
    store::{Change, Commit, Row, Store, StoreError},
};

/// Times a change is worked out anew because another came first.
const COMMIT_ATTEMPTS: u32 = 16;

/// Why deposits could not be followed.
#[derive(Debug, thiserror::Error)]
pub enum DepositError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry cannot be made.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An entry that must be there is missing.
    #[error("deposit {0} is booked, but the ledger has no entry for it")]
    MissingEntry(OutPoint),
}

/// A deposit in the chain, as the wallet sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainDeposit {
    /// The output.
    pub outpoint: OutPoint,
    /// What it pays.
    pub amount: Amount,
    /// The block that it is in.
    pub block: BlockHash,
}

/// A deposit as the books have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Where it is, or was.
    pub seen: ChainDeposit,
    /// Whether it is in the chain.
    pub is_booked: bool,
    /// How often it left the chain.
    pub epoch: u32,
    /// What of it was given to the reserve, and to the fee.
    pub given: Amount,
}

impl Deposit {
    /// Returns what the entry of a deposit states of it besides its amount.
    pub(crate) fn facts(block: &BlockHash) -> String {
        format!("block={block}")
    }

    fn key(&self) -> String {
        format!("{}:{}", self.seen.outpoint, self.epoch)
    }
}

/// What became of a deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepositEvent {
    /// It is in a block, and booked.
    Deposited(ChainDeposit),
    /// It left the chain.
    Undeposited(ChainDeposit),
}

/// Books what has come, and undoes what has left: `seen` is all that the wallet sees in the chain. Call it with what
/// one sync of the wallet has brought.
///
/// # Errors
///
/// If the store fails. What was done before is stored, and the next call goes on from there.
pub async fn follow(store: &dyn Store, seen: &[ChainDeposit]) -> Result<Vec<DepositEvent>, DepositError> {
    let mut events = Vec::new();
    for known in store.deposits().await? {
        let still_there = seen.contains(&known.seen);
        if known.is_booked && !still_there {
            undeposit(store, &known).await?;
            events.push(DepositEvent::Undeposited(known.seen));
        }
    }
    let known = store.deposits().await?;
    for deposit in seen {
        let before = known.iter().find(|known| known.seen.outpoint == deposit.outpoint);
        if before.is_some_and(|before| before.is_booked) {
            continue;
        }
        let epoch = before.map_or(0, |before| before.epoch);
        let given = before.map_or(Amount::ZERO, |before| before.given);
        let new = Deposit { seen: *deposit, is_booked: true, epoch, given };
        let draft = Draft::begin(EntryKind::Deposited, new.key())
            .debit(LedgerAccount::Spendable, deposit.amount)
            .credit(LedgerAccount::Remainder, deposit.amount)
            .facts(Deposit::facts(&deposit.block))
            .balanced()?;
        post(store, draft, new).await?;
        events.push(DepositEvent::Deposited(*deposit));
    }
    Ok(events)
}

async fn undeposit(store: &dyn Store, known: &Deposit) -> Result<(), DepositError> {
    let booked = store.entry(EntryKind::Deposited, &known.key()).await?;
    let booked = booked.ok_or(DepositError::MissingEntry(known.seen.outpoint))?;
    let draft = Draft::begin(EntryKind::Undeposited, known.key())
        .debit(LedgerAccount::Remainder, known.seen.amount)
        .credit(LedgerAccount::Spendable, known.seen.amount)
        .corrects(booked.seq)
        .balanced()?;
    if known.given > Amount::ZERO {
        let (outpoint, given_sat) = (known.seen.outpoint, known.given.to_sat());
        tracing::warn!(%outpoint, given_sat, "a deposit left the chain that was given away");
    }
    post(store, draft, Deposit { is_booked: false, epoch: known.epoch + 1, ..*known }).await
}

async fn post(store: &dyn Store, draft: Draft, deposit: Deposit) -> Result<(), DepositError> {
    for _ in 0..COMMIT_ATTEMPTS {
        let entry = draft.clone().seal(store.head().await?, now_ms());
        if store.commit(Change { entry, rows: vec![Row::Deposit(deposit)] }).await? != Commit::Stale {
            return Ok(());
        }
    }
    Err(StoreError::Contended.into())
}

#[cfg(test)]
mod tests;
