//! PPS+: the subsidy is paid for each share as by PPS, the fees of the pool's own blocks are split as by PPLNS. Pure.
//!
//! Owns the split of a block. What shares earn of the subsidy is in [`pps`](super::pps), with no fees of the network.

use bitcoin::Amount;

use crate::{
    account::AccountId,
    scheme::{BlockReward, PoolFee, Split, pplns::Pplns, window::Window},
};

/// The rule of a PPS+ pool for the blocks that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PpsPlus {
    /// How fees are split. Its fee is taken of them alone; that on the subsidy belongs to the terms of PPS.
    pub fees: Pplns,
}

impl PpsPlus {
    /// Returns what goes to the reserve: the subsidy, for it was paid to the miners before. A coinbase that pays less
    /// than the subsidy has no fees to split.
    pub fn reserve(&self, reward: BlockReward) -> Amount {
        reward.subsidy.min(reward.value)
    }

    /// Splits what a block's coinbase paid: the fees over the window, the rest is for the reserve.
    pub fn split(&self, reward: BlockReward, window: &Window, finder: AccountId) -> Split {
        let reserve = self.reserve(reward);
        Split { reserve, ..self.fees.split(reward.value - reserve, window, finder) }
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
    fn miners_share_the_fees_and_the_reserve_gets_the_subsidy() {
        let fee = PoolFee::from_basis_points(1_000).unwrap();
        let rule = PpsPlus { fees: Pplns { window: NonZeroU32::MIN, fee } };
        let window = window(100, &[(ALICE, 75), (BOB, 25)]);
        let reward = BlockReward { value: Amount::from_sat(312_501_000), subsidy: Amount::from_sat(312_500_000) };
        let split = rule.split(reward, &window, FINDER);
        assert_eq!((split.fee.to_sat(), split.reserve.to_sat()), (100, 312_500_000));
        assert_eq!(sats(&split), [(ALICE, 675), (BOB, 225)]);
        assert_eq!(rule.fee(), fee);

        let short = rule.split(BlockReward { value: Amount::from_sat(7), ..reward }, &window, FINDER);
        assert_eq!((short.fee.to_sat(), short.reserve.to_sat(), short.credits.len()), (0, 7, 0));
    }
}
