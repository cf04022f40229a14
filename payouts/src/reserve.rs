//! The reserve, out of which work is paid whatever is found: what the operator gives to it, and how it stands.
//!
//! The reserve is filled by the pool's own blocks, and by the operator from fees or deposits. What is given names the
//! coins that it comes from, so that each credit can be traced to them. Crediting is in [`crate::crediting`].

use bitcoin::{Amount, SignedAmount};

use crate::{
    clock::now_ms,
    crediting::{self, CreditingError, Period, PeriodState},
    export::{self, Lot, LotsShort},
    ledger::{Draft, DraftLines, EntryKind, EntrySeq, LedgerAccount, LedgerError},
    store::{Change, Commit, Row, Store, StoreError},
};

/// Times a change is worked out anew because another came first.
const COMMIT_ATTEMPTS: u32 = 16;
/// The longest reference of an operator, in bytes.
pub const MAX_REFERENCE_SIZE: usize = 200;

/// Why the reserve could not be given what it was meant to.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The entry cannot be made.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is less than was to be given.
    #[error("of {from} {} sat can be given, not {} sat", .available.to_sat(), .amount.to_sat())]
    Insufficient {
        /// Where it should come from.
        from: PoolMoney,
        /// What is there.
        available: Amount,
        /// What was to be given.
        amount: Amount,
    },
    /// There is money, but not coins of which it is known that they made it.
    #[error("the coins behind {from} are short: {source}")]
    Coins {
        /// Where it should come from.
        from: PoolMoney,
        /// By how much.
        source: LotsShort,
    },
    /// Nothing was to be given.
    #[error("an amount of zero cannot be given")]
    Nothing,
    /// The fee was to be given to itself.
    #[error("what the fee has is the fee's already")]
    SameAccount,
    /// The operator's reference is empty or long, or not plain text.
    #[error("a reference is 1 to {MAX_REFERENCE_SIZE} bytes of text without control characters")]
    Reference,
}

/// Money of the pool's own that can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMoney {
    /// Fees of matured blocks, less what payouts paid to the network.
    Fee,
    /// Coins that came to the pool from elsewhere.
    Deposits,
}

impl std::fmt::Display for PoolMoney {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fee => "the fee",
            Self::Deposits => "the deposits",
        })
    }
}

/// Whom money is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The reserve of PPS.
    Reserve,
    /// The pool's fee: its own from then on.
    Fee,
}

/// What an operator gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gift {
    /// How much.
    pub amount: Amount,
    /// Out of what.
    pub from: PoolMoney,
    /// To whom.
    pub to: Recipient,
    /// What the operator calls it: the same reference again is the same gift.
    pub reference: String,
}

/// Gives money of the pool to the reserve, or deposits to the fee, and returns the entry that says so. The same gift
/// again changes nothing.
///
/// # Errors
///
/// If there is less than that, the reference was used for another gift, or the store fails.
pub async fn give(store: &dyn Store, gift: &Gift) -> Result<EntrySeq, ReserveError> {
    let reference = &gift.reference;
    if reference.is_empty() || reference.len() > MAX_REFERENCE_SIZE || reference.contains(char::is_control) {
        return Err(ReserveError::Reference);
    }
    if gift.amount == Amount::ZERO {
        return Err(ReserveError::Nothing);
    }
    if (gift.from, gift.to) == (PoolMoney::Fee, Recipient::Fee) {
        return Err(ReserveError::SameAccount);
    }
    let draft = gift.lines().balanced()?;
    for _ in 0..COMMIT_ATTEMPTS {
        let head = store.head().await?;
        // What was given before is not measured by what is there now.
        if let Some(before) = store.entry(EntryKind::ReserveFunded, reference).await? {
            return match before.digest == draft.digest() {
                true => Ok(before.seq),
                false => {
                    let (kind, key) = (EntryKind::ReserveFunded, reference.clone());
                    Err(StoreError::DifferentEntry { kind, key }.into())
                }
            };
        }
        let lots = coins_for(store, gift).await?;
        let entry = draft.clone().seal(head, now_ms());
        let seq = entry.seq;
        let row = Row::Given { from: gift.from, to: gift.to, lots };
        if store.commit(Change { entry, rows: vec![row] }).await? != Commit::Stale {
            return Ok(seq);
        }
    }
    Err(StoreError::Contended.into())
}

impl Gift {
    fn lines(&self) -> DraftLines {
        let from = match self.from {
            PoolMoney::Fee => LedgerAccount::Fee,
            PoolMoney::Deposits => LedgerAccount::Remainder,
        };
        let to = match self.to {
            Recipient::Reserve => LedgerAccount::PpsReserve,
            Recipient::Fee => LedgerAccount::Fee,
        };
        Draft::begin(EntryKind::ReserveFunded, &self.reference).debit(from, self.amount).credit(to, self.amount)
    }
}

/// Finds the coins of a gift, oldest first.
async fn coins_for(store: &dyn Store, gift: &Gift) -> Result<Vec<Lot>, ReserveError> {
    let (from, amount) = (gift.from, gift.amount);
    let available = available(store, from).await?;
    if available < amount {
        return Err(ReserveError::Insufficient { from, available, amount });
    }
    let coins = store.pool_coins(from).await?;
    export::allocate(coins, amount).map_err(|source| ReserveError::Coins { from, source })
}

/// Returns what can be given of the fee or the deposits.
///
/// # Errors
///
/// If the store fails.
pub async fn available(store: &dyn Store, from: PoolMoney) -> Result<Amount, StoreError> {
    let sat = match from {
        // What payouts paid to the network was paid out of the fee.
        PoolMoney::Fee => {
            let (fee, spent) =
                (store.balance(LedgerAccount::Fee).await?, store.balance(LedgerAccount::NetworkFee).await?);
            fee.to_sat().saturating_add(spent.to_sat()).saturating_neg()
        }
        PoolMoney::Deposits => store.balance(LedgerAccount::Remainder).await?.to_sat().saturating_neg(),
    };
    Ok(Amount::from_sat(u64::try_from(sat).unwrap_or(0)))
}

/// How the reserve stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveStatus {
    /// What is in it. Below zero after a block was lost out of which work was paid.
    pub reserve: SignedAmount,
    /// What blocks that are not mature will bring.
    pub immature: Amount,
    /// What could be given to it of the fee.
    pub fee: Amount,
    /// What could be given to it of deposits.
    pub deposits: Amount,
    /// Periods that are closed and wait to be paid, the oldest of them first.
    pub waiting: Vec<Period>,
    /// The period to which work is added now.
    pub open: Option<Period>,
}

/// Tells how the reserve stands.
///
/// # Errors
///
/// If the store fails.
pub async fn status(store: &dyn Store) -> Result<ReserveStatus, StoreError> {
    let immature = -store.balance(LedgerAccount::PpsImmature).await?;
    let mut waiting = store.uncredited_periods().await?;
    let open = waiting.pop_if(|period| period.state == PeriodState::Open);
    Ok(ReserveStatus {
        reserve: -store.balance(LedgerAccount::PpsReserve).await?,
        immature: immature.to_unsigned().unwrap_or_default(),
        fee: available(store, PoolMoney::Fee).await?,
        deposits: available(store, PoolMoney::Deposits).await?,
        waiting,
        open,
    })
}

/// Returns what the reserve lacks for a period's work as it is now; nothing if that is not known, as with FPPS before
/// its day's fees are.
///
/// # Errors
///
/// If the store fails, or the work has no price.
pub async fn missing(store: &dyn Store, period: &Period) -> Result<Option<Amount>, CreditingError> {
    let Some(amount) = crediting::worth(store, period).await? else { return Ok(None) };
    let reserve = -store.balance(LedgerAccount::PpsReserve).await?;
    Ok(Some(crediting::shortfall(amount, reserve)))
}

#[cfg(test)]
mod tests;
