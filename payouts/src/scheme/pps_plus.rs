//! PPS+: the subsidy is paid for each share as by PPS, the fees of the pool's own blocks are split as by PPLNS. Pure.
//!
//! Owns the split of a block. What shares earn of the subsidy is in [`pps`](super::pps), with no fees of the network.

use bitcoin::Amount;

use crate::{
    account::AccountId,
    scheme::{PoolFee, Split, pplns::Pplns, window::Window},
};

/// The rule of a PPS+ pool for the blocks that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PpsPlus {
    /// How fees are split. Its fee is taken of them alone; that on the subsidy belongs to the terms of PPS.
    pub fees: Pplns,
}

impl PpsPlus {
    /// Splits what a block's coinbase paid: the subsidy is the pool's, for it has paid that to its miners before.
    ///
    /// A coinbase that pays less than the subsidy has no fees to split.
    pub fn split(&self, value: Amount, subsidy: Amount, window: &Window, finder: AccountId) -> Split {
        let subsidy = subsidy.min(value);
        let Split { fee, credits } = self.fees.split(value - subsidy, window, finder);
        Split { fee: fee + subsidy, credits }
    }

    /// Returns the pool's fee on the fees.
    pub const fn fee(&self) -> PoolFee {
        self.fees.fee
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::num::NonZeroU32;

    use super::*;
    use crate::scheme::{
        tests::sats,
        window::tests::{ALICE, BOB, FINDER, window},
    };

    #[test]
    fn miners_share_the_fees_and_the_pool_keeps_the_subsidy() {
        let fee = PoolFee::from_basis_points(1_000).unwrap();
        let rule = PpsPlus { fees: Pplns { window: NonZeroU32::MIN, fee } };
        let window = window(100, &[(ALICE, 75), (BOB, 25)]);
        let (value, subsidy) = (Amount::from_sat(312_501_000), Amount::from_sat(312_500_000));
        let split = rule.split(value, subsidy, &window, FINDER);
        assert_eq!(split.fee.to_sat(), 312_500_100);
        assert_eq!(sats(&split), [(ALICE, 675), (BOB, 225)]);
        assert_eq!(rule.fee(), fee);

        let short = rule.split(Amount::from_sat(7), subsidy, &window, FINDER);
        assert_eq!((short.fee.to_sat(), short.credits.len()), (7, 0));
    }
}
