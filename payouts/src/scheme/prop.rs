//! PROP: a block pays the shares of its round, each by its work. A round begins where the pool's last block ended it.
//!
//! Shares early in a round are worth more than late ones, so strangers profit by leaving when a round grows long
//! (Rosenfeld, arXiv:1112.4980, section 2.1). It is for groups whose members trust each other.

use bitcoin::Amount;

use crate::{
    account::AccountId,
    scheme::{
        self, PoolFee, Split,
        window::{Measure, Window},
    },
    share::ShareSeq,
};

/// The rule of a proportional pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prop {
    /// The pool's part.
    pub fee: PoolFee,
}

impl Prop {
    /// Returns the empty round of a block. `last_block` is the position at which the job of the pool's block before
    /// was issued, 0 for the first block: that one paid for the shares up to there.
    pub fn open_round(&self, last_block: ShareSeq) -> Window {
        Window::after(Measure::Work, last_block)
    }

    /// Splits what a block's coinbase paid over its round; an empty round pays the finder.
    pub fn split(&self, value: Amount, round: &Window, finder: AccountId) -> Split {
        scheme::split(value, self.fee, &round.weights(), finder)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::scheme::{
        tests::sats,
        window::tests::{ALICE, BOB, CAROL, DIFFICULTY_1, DIFFICULTY_2, FINDER, counted},
    };

    fn round(last_block: i64, shares: &[(AccountId, i8, u32)]) -> Window {
        counted(Prop { fee: PoolFee::NONE }.open_round(ShareSeq::new(last_block)), shares)
    }

    #[test]
    fn a_round_pays_by_work_and_leaves_the_rounds_before_alone() {
        let fee = PoolFee::from_basis_points(100).unwrap();
        let (old, new) = (DIFFICULTY_1, DIFFICULTY_2);
        let shares = [(CAROL, 20, old), (ALICE, 3, old), (BOB, 1, new), (ALICE, 1, new)];
        let round = round(1, &shares);
        let split = Prop { fee }.split(Amount::from_sat(1_212), &round, FINDER);
        assert_eq!(split.fee.to_sat(), 12);
        assert_eq!(sats(&split), [(ALICE, 1_000), (BOB, 200)]);
    }

    #[test]
    fn a_round_without_shares_pays_the_finder() {
        let round = round(2, &[(ALICE, 1, DIFFICULTY_1), (BOB, 1, DIFFICULTY_1)]);
        let split = Prop { fee: PoolFee::NONE }.split(Amount::from_sat(5), &round, FINDER);
        assert_eq!(sats(&split), [(FINDER, 5)]);
    }
}
