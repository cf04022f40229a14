//! SOLO: who finds a block gets it, less the fee.

use std::collections::BTreeMap;

use bitcoin::Amount;

use crate::{
    account::AccountId,
    scheme::{self, PoolFee, Split},
};

/// The rule of a solo pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solo {
    /// The pool's part.
    pub fee: PoolFee,
}

impl Solo {
    /// Gives what a block's coinbase paid to its finder.
    pub fn split(&self, value: Amount, finder: AccountId) -> Split {
        scheme::split(value, self.fee, &BTreeMap::new(), finder)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::scheme::{tests::sats, window::tests::FINDER};

    #[test]
    fn the_finder_gets_the_block_less_the_fee() {
        let split = Solo { fee: PoolFee::from_basis_points(50).unwrap() }.split(Amount::from_sat(312_500_199), FINDER);
        assert_eq!(split.fee.to_sat(), 1_562_500);
        assert_eq!(sats(&split), [(FINDER, 310_937_699)]);
    }
}
