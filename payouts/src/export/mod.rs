//! The export register: which coin left the pool, and which coinbase it came from. Pure, but for [`valued`] and
//! [`bookkeeping`], which read a store.
//!
//! Owns how a payment is traced to coinbases, and the [`register`] of paid outputs.

use std::collections::BTreeMap;

use bitcoin::{Amount, BlockHash, OutPoint};

use self::rules::sale::{Pick, SaleError};
use crate::crediting::PeriodNumber;

pub mod bookkeeping;
pub mod closing;
pub mod journal;
pub mod lists;
pub mod movement;
pub mod owner;
pub mod party;
pub mod register;
pub mod report;
pub mod rules;
pub mod sales;
pub mod screened;
pub mod screening;
pub mod valued;

/// Which credit a lot belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LotCredit {
    /// That of its own block.
    Block,
    /// One for work, paid out of the reserve.
    Period {
        /// The period.
        number: PeriodNumber,
        /// The line of the account's lots of that period.
        line: u32,
    },
    /// None: it is the pool's own, out of its fee, and was sold.
    Fee,
}

/// A piece of a coin that belongs, or belonged, to one account.
///
/// The coin is a coinbase, or for credits out of the reserve perhaps a deposit that the operator gave to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The output that made it.
    pub coinbase: OutPoint,
    /// The block of that output.
    pub block: BlockHash,
    /// How much of it.
    pub amount: Amount,
    /// The credit that it belongs to.
    pub credit: LotCredit,
}

impl Lot {
    /// Returns a piece of a coinbase that its own block credits.
    pub const fn of_block(block: BlockHash, coinbase: OutPoint, amount: Amount) -> Self {
        Self { coinbase, block, amount, credit: LotCredit::Block }
    }
}

/// An account's lots do not cover what it is due.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("lots are {} sat short of the amount to pay", .missing.to_sat())]
pub struct LotsShort {
    /// What is missing.
    pub missing: Amount,
}

/// Takes `amount` from an account's lots, first in, first out: `lots` are given oldest first.
///
/// # Errors
///
/// If the lots are worth less than the amount, which the ledger rules out.
pub fn allocate(lots: impl IntoIterator<Item = Lot>, amount: Amount) -> Result<Vec<Lot>, LotsShort> {
    let mut missing = amount;
    let mut taken = Vec::new();
    for lot in lots {
        if missing == Amount::ZERO {
            break;
        }
        let part = lot.amount.min(missing);
        missing -= part;
        if part > Amount::ZERO {
            taken.push(Lot { amount: part, ..lot });
        }
    }
    if missing > Amount::ZERO { Err(LotsShort { missing }) } else { Ok(taken) }
}

/// Takes the pieces of coins that are named, which sum to `amount`. Coins are named by their outpoints.
///
/// # Errors
///
/// If a coin is not there or has less, is named twice, or the pieces are not the amount.
pub fn pick(lots: impl IntoIterator<Item = Lot>, amount: Amount, picks: &[Pick]) -> Result<Vec<Lot>, SaleError> {
    let mut coins: BTreeMap<String, Lot> = lots.into_iter().map(|lot| (lot.coinbase.to_string(), lot)).collect();
    let mut taken = Vec::with_capacity(picks.len());
    for (index, Pick { lot: name, amount: part }) in picks.iter().enumerate() {
        if picks[..index].iter().any(|earlier| earlier.lot == *name) {
            return Err(SaleError::LotTwice(name.clone()));
        }
        let lot = coins.remove(name).ok_or_else(|| SaleError::UnknownLot(name.clone()))?;
        match *part {
            Amount::ZERO => return Err(SaleError::Nothing),
            part if part > lot.amount => {
                return Err(SaleError::LotShort { lot: name.clone(), has: lot.amount, picked: part });
            }
            part => taken.push(Lot { amount: part, ..lot }),
        }
    }
    let picked_sat = taken.iter().map(|lot| u128::from(lot.amount.to_sat())).sum();
    if picked_sat == u128::from(amount.to_sat()) {
        Ok(taken)
    } else {
        Err(SaleError::Picks { picked_sat, sale: amount })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::hashes::Hash;

    use super::*;

    fn lot(id: u8, sat: u64) -> Lot {
        let coinbase = OutPoint::new(bitcoin::Txid::from_byte_array([id; 32]), 0);
        Lot::of_block(BlockHash::from_byte_array([id; 32]), coinbase, Amount::from_sat(sat))
    }

    #[test]
    fn the_oldest_lots_go_first_and_the_last_in_part() {
        let taken = allocate([lot(1, 10), lot(2, 20), lot(3, 30)], Amount::from_sat(25)).unwrap();
        assert_eq!(taken, [lot(1, 10), lot(2, 15)]);
    }

    #[test]
    fn lots_that_fall_short_are_an_error() {
        let error = allocate([lot(1, 10)], Amount::from_sat(11)).unwrap_err();
        assert_eq!(error.missing, Amount::ONE_SAT);
    }

    #[test]
    fn named_coins_are_taken_and_no_others() {
        let pick_of = |id: u8, sat| Pick { lot: lot(id, 0).coinbase.to_string(), amount: Amount::from_sat(sat) };
        let coins = || [lot(1, 10), lot(2, 20)];
        let sum = Amount::from_sat(25);
        assert_eq!(pick(coins(), sum, &[pick_of(2, 20), pick_of(1, 5)]), Ok(vec![lot(2, 20), lot(1, 5)]));
        let name = |id| lot(id, 0).coinbase.to_string();
        for (picks, error) in [
            (vec![pick_of(3, 25)], SaleError::UnknownLot(name(3))),
            (vec![pick_of(2, 20), pick_of(2, 5)], SaleError::LotTwice(name(2))),
            (
                vec![pick_of(2, 25)],
                SaleError::LotShort { lot: name(2), has: Amount::from_sat(20), picked: Amount::from_sat(25) },
            ),
            (vec![pick_of(2, 20), pick_of(1, 0)], SaleError::Nothing),
            (vec![pick_of(2, 20)], SaleError::Picks { picked_sat: 20, sale: sum }),
        ] {
            assert_eq!(pick(coins(), sum, &picks), Err(error));
        }
    }
}
