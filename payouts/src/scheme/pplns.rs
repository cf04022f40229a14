//! PPLNS: a block pays the last shares whose scores sum to X, each by its score.
//!
//! A share's score is its difficulty over the network's *when it was submitted*, which is the form that gains nothing
//! by leaving at a retarget (Rosenfeld, arXiv:1112.4980). The window goes back from the position at which the winning
//! job was issued, so the winning share is not in it. Windows never start anew at a block; one not yet full pays by
//! what was counted.

use std::num::NonZeroU32;

use bitcoin::Amount;

use crate::{
    account::AccountId,
    scheme::{
        self, PoolFee, Split,
        window::{Measure, Window},
    },
};

/// The rule of a PPLNS pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pplns {
    /// X: how many blocks' worth of work a block pays for.
    pub window: NonZeroU32,
    /// The pool's part.
    pub fee: PoolFee,
}

impl Pplns {
    /// The window that pools use unless told otherwise.
    pub const DEFAULT_WINDOW: NonZeroU32 = NonZeroU32::new(8).expect("eight is not zero");

    /// Returns the empty window of a block.
    pub fn open_window(&self) -> Window {
        Window::of_multiple(Measure::NetworkAtSubmission, self.window.get())
    }

    /// Splits what a block's coinbase paid over the window; an empty window pays the finder.
    pub fn split(&self, value: Amount, window: &Window, finder: AccountId) -> Split {
        scheme::split(value, self.fee, &window.weights(), finder)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::CompactTarget;

    use super::*;
    use crate::{
        scheme::{
            tests::sats,
            window::tests::{ALICE, BOB, CAROL, FINDER, window},
        },
        share::{Difficulty, Segment, ShareScore, ShareSeq},
    };

    fn free(window: u32) -> Pplns {
        Pplns { window: NonZeroU32::new(window).unwrap(), fee: PoolFee::NONE }
    }

    fn share(account: AccountId, log2: i8, nbits: u32) -> Segment {
        let (difficulty, nbits) = (Difficulty::from_log2(log2).unwrap(), CompactTarget::from_consensus(nbits));
        ShareScore { seq: ShareSeq::new(1), account, difficulty, nbits }.into()
    }

    #[test]
    fn a_window_not_full_pays_by_what_was_counted() {
        let window = window(160, &[(ALICE, 10), (BOB, 20), (ALICE, 30), (CAROL, 50)]);
        let split = free(8).split(Amount::from_sat(1_100), &window, FINDER);
        assert_eq!(sats(&split), [(ALICE, 400), (BOB, 200), (CAROL, 500)]);
    }

    #[test]
    fn scores_keep_their_value_across_a_retarget() {
        // X = 2, difficulty 100 then 200; scores times 200, oldest first. The winning share is not among them.
        let shares = [(ALICE, 120), (BOB, 80), (ALICE, 200), (BOB, 100), (CAROL, 100)];
        let split = free(2).split(Amount::from_sat(312_500_000), &window(400, &shares), FINDER);
        assert_eq!(sats(&split), [(ALICE, 156_250_000), (BOB, 78_125_000), (CAROL, 78_125_000)]);
    }

    #[test]
    fn a_share_of_the_networks_difficulty_scores_one_block() {
        let at_difficulty_one = share(ALICE, 0, 0x1d00_ffff);
        let mut window = free(1).open_window();
        window.count(&at_difficulty_one);
        assert!(window.is_full());

        // Twice the network's difficulty halves the score.
        let mut window = free(1).open_window();
        window.count(&share(ALICE, 0, 0x1c7f_ff80));
        assert!(!window.is_full());
        window.count(&share(BOB, 0, 0x1c7f_ff80));
        assert!(window.is_full());
        let split = free(1).split(Amount::from_sat(50), &window, FINDER);
        assert_eq!(sats(&split), [(ALICE, 25), (BOB, 25)]);
    }

    #[test]
    fn the_easiest_network_fills_a_window_with_the_easiest_shares() {
        // Regtest: every second hash is a block, and a share of 2^-32 is half of one.
        let mut window = free(8).open_window();
        for _ in 0..17 {
            window.count(&share(ALICE, -32, 0x207f_ffff));
        }
        assert!(window.is_full());
    }

    #[test]
    fn an_empty_window_pays_the_finder() {
        let split = free(8).split(Amount::from_sat(7), &free(8).open_window(), FINDER);
        assert_eq!(sats(&split), [(FINDER, 7)]);
    }
}
