//! The export register: which coin left the pool, and which coinbase it came from. Pure, but for [`valued`] and
//! [`bookkeeping`], which read a store.
//!
//! Owns how a payment is traced to coinbases, and the [`register`] of paid outputs.

use bitcoin::{Amount, BlockHash, OutPoint};

use crate::crediting::PeriodNumber;

pub mod bookkeeping;
pub mod journal;
pub mod lists;
pub mod movement;
pub mod owner;
pub mod party;
pub mod register;
pub mod report;
pub mod rules;
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
}
