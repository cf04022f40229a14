//! TIDES: a block pays the last shares whose work sums to 8 times its own difficulty, each by its work.
//!
//! Shares weigh what they are, not what they were when they were submitted: when the difficulty rises, old shares come
//! back into the window. The window goes back from the position at which the winning job was issued. One not yet full
//! pays by what was counted.

use std::num::NonZeroU32;

use bitcoin::{Amount, CompactTarget};

use crate::{
    account::AccountId,
    scheme::{
        self, PoolFee, Split,
        window::{Measure, Window},
    },
};

/// The rule of a TIDES pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tides {
    /// How many times the block's difficulty the window holds.
    pub window: NonZeroU32,
    /// The pool's part.
    pub fee: PoolFee,
}

impl Tides {
    /// The window that gives the scheme its name: eight times the block's difficulty.
    pub const DEFAULT_WINDOW: NonZeroU32 = NonZeroU32::new(8).expect("eight is not zero");

    /// Returns the empty window of a block that met the target `nbits`.
    pub fn open_window(&self, nbits: CompactTarget) -> Window {
        Window::of_multiple(Measure::NetworkAtBlock(nbits), self.window.get())
    }

    /// Splits what a block's coinbase paid over the window; an empty window pays the finder.
    pub fn split(&self, value: Amount, window: &Window, finder: AccountId) -> Split {
        scheme::split(value, self.fee, &window.weights(), finder)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::scheme::{
        tests::sats,
        window::tests::{ALICE, BOB, CAROL, DIFFICULTY_1, DIFFICULTY_2, FINDER, counted, window},
    };

    fn tides(window: u32) -> Tides {
        Tides { window: NonZeroU32::new(window).unwrap(), fee: PoolFee::NONE }
    }

    fn open_at(nbits: u32) -> Window {
        tides(8).open_window(CompactTarget::from_consensus(nbits))
    }

    #[test]
    fn the_share_at_the_edge_is_paid_for_its_remaining_part() {
        let window = window(800, &[(CAROL, 300), (ALICE, 400), (BOB, 250), (ALICE, 50)]);
        let split = tides(8).split(Amount::from_sat(312_500_001), &window, FINDER);
        assert_eq!(sats(&split), [(ALICE, 175_781_251), (BOB, 97_656_250), (CAROL, 39_062_500)]);
    }

    #[test]
    fn old_shares_come_back_when_the_difficulty_rises() {
        let (old, new) = (DIFFICULTY_1, DIFFICULTY_2);
        let shares = [(CAROL, 2, old), (ALICE, 2, old), (BOB, 2, new), (ALICE, 2, new)];
        let before = counted(open_at(DIFFICULTY_1), &shares);
        assert_eq!((before.counted(BOB).shares, before.counted(ALICE).shares), (1, 1));
        let after = counted(open_at(DIFFICULTY_2), &shares);
        assert!(before.is_full() && after.is_full());
        let split = tides(8).split(Amount::from_sat(400), &after, FINDER);
        assert_eq!(sats(&split), [(ALICE, 200), (BOB, 100), (CAROL, 100)]);
    }

    #[test]
    fn shares_weigh_their_work_whenever_they_were_submitted() {
        let window = counted(open_at(DIFFICULTY_2), &[(ALICE, 0, DIFFICULTY_1), (BOB, 0, DIFFICULTY_2)]);
        assert_eq!(window.counted(ALICE).weight, window.counted(BOB).weight);
        // Half a block's worth each, at difficulty 2.
        assert_eq!(window.total().weight, window.measure().one());
    }

    #[test]
    fn an_empty_window_pays_the_finder() {
        let split = tides(8).split(Amount::from_sat(7), &open_at(DIFFICULTY_1), FINDER);
        assert_eq!(sats(&split), [(FINDER, 7)]);
    }
}
