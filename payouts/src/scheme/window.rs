//! The shares that a block pays for, and what each of them weighs. Pure.
//!
//! Owns the counting, newest share first, and exact weights. How long a window is and where it ends is each scheme's
//! own.

use std::collections::BTreeMap;

use bitcoin::{CompactTarget, Target};
use ruint::{
    Uint,
    aliases::{U256, U512},
};

use crate::{
    account::AccountId,
    share::{Difficulty, ShareScore, ShareSeq},
};

/// The target of difficulty 1: 0xffff * 2^208.
const DIFFICULTY_ONE_TARGET: U512 = U512::from_limbs([0, 0, 0, 0xffff_0000, 0, 0, 0, 0]);

/// Difficulty 1, counted from the least difficulty: what weights are shifted by.
const ONE_SHIFT: usize = 32;

/// What a share is measured by.
///
/// Weights are integers: a ratio d/D is 2^log2 * target / target_of_difficulty_1, and as all of them share the divisor
/// only the product is kept, times 2^32 because the least log2 is -32. It is under 2^384: room for 2^64 shares and a
/// reward in satoshis within 512 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Its difficulty over the network's when it was submitted.
    NetworkAtSubmission,
    /// Its difficulty over that of the block that it is paid from.
    NetworkAtBlock(CompactTarget),
    /// Its difficulty alone.
    Work,
}

impl Measure {
    /// Returns what a share weighs.
    pub fn weight(self, difficulty: Difficulty, nbits: CompactTarget) -> U512 {
        let factor = match self {
            Self::NetworkAtSubmission => target(nbits),
            Self::NetworkAtBlock(nbits) => target(nbits),
            Self::Work => U512::ONE,
        };
        factor << difficulty.shift()
    }

    /// Returns the weight that counts as one: a block's worth of work, or of plain work difficulty 1.
    pub fn one(self) -> U512 {
        match self {
            Self::NetworkAtSubmission | Self::NetworkAtBlock(_) => DIFFICULTY_ONE_TARGET << ONE_SHIFT,
            Self::Work => U512::ONE << ONE_SHIFT,
        }
    }
}

fn target(nbits: CompactTarget) -> U512 {
    Uint::from(U256::from_be_bytes(Target::from_compact(nbits).to_be_bytes()))
}

/// What was counted of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The number of shares, with the one at the edge.
    pub shares: u64,
    /// Their weight, of the share at the edge the part that counts.
    pub weight: U512,
}

/// The share at the edge of a full window, of which only a part counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeShare {
    /// Its position.
    pub seq: ShareSeq,
    /// Who earned it.
    pub account: AccountId,
    /// What it weighs.
    pub weight: U512,
    /// The part that counts.
    pub counted: U512,
}

/// Where a window ends, going back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Where so much weight was counted.
    Weight(U512),
    /// Before the share at this position.
    Position(ShareSeq),
}

/// The shares that one block pays for, newest first, as far as they are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    measure: Measure,
    end: End,
    is_full: bool,
    span: Option<(ShareSeq, ShareSeq)>,
    edge: Option<EdgeShare>,
    total: Counted,
    accounts: BTreeMap<AccountId, Counted>,
}

impl Window {
    /// Opens a window that holds `multiple` times what counts as one.
    pub fn of_multiple(measure: Measure, multiple: u32) -> Self {
        Self::until(measure, End::Weight(U512::from(multiple) * measure.one()))
    }

    /// Opens a window that holds every share after the position `end`.
    pub fn after(measure: Measure, end: ShareSeq) -> Self {
        Self::until(measure, End::Position(end))
    }

    fn until(measure: Measure, end: End) -> Self {
        let is_full = end == End::Weight(U512::ZERO);
        let (total, accounts) = (Counted::default(), BTreeMap::new());
        Self { measure, end, is_full, span: None, edge: None, total, accounts }
    }

    /// Tells whether no further share counts.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Counts the next older share; the one at the edge counts for the part that is left.
    pub fn count(&mut self, share: &ShareScore) {
        self.take(share.seq, share.account, self.measure.weight(share.difficulty, share.nbits));
    }

    fn take(&mut self, seq: ShareSeq, account: AccountId, weight: U512) {
        let counted = match self.end {
            _ if self.is_full => return,
            End::Position(end) if seq <= end => {
                self.is_full = true;
                return;
            }
            End::Position(_) => weight,
            End::Weight(size) => {
                let left = size - self.total.weight;
                self.is_full = weight >= left;
                weight.min(left)
            }
        };
        if counted < weight {
            self.edge = Some(EdgeShare { seq, account, weight, counted });
        }
        self.span = Some((seq, self.span.map_or(seq, |(_, newest)| newest)));
        for sum in [&mut self.total, self.accounts.entry(account).or_default()] {
            sum.shares += 1;
            sum.weight += counted;
        }
    }

    /// Returns what shares are measured by.
    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// Returns the weight that it holds at most; nothing if a position ends it.
    pub fn size(&self) -> Option<U512> {
        match self.end {
            End::Weight(size) => Some(size),
            End::Position(_) => None,
        }
    }

    /// Returns the positions of the oldest and the newest share that count.
    pub fn span(&self) -> Option<(ShareSeq, ShareSeq)> {
        self.span
    }

    /// Returns the share of which only a part counts.
    pub fn edge(&self) -> Option<EdgeShare> {
        self.edge
    }

    /// Returns what was counted of all accounts together.
    pub fn total(&self) -> Counted {
        self.total
    }

    /// Returns what was counted of an account.
    pub fn counted(&self, account: AccountId) -> Counted {
        self.accounts.get(&account).copied().unwrap_or_default()
    }

    /// Returns the weight of each account that has any.
    pub fn weights(&self) -> BTreeMap<AccountId, U512> {
        let weights = self.accounts.iter().map(|(&account, counted)| (account, counted.weight));
        weights.filter(|(_, weight)| !weight.is_zero()).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    pub(crate) const ALICE: AccountId = AccountId::new(1);
    pub(crate) const BOB: AccountId = AccountId::new(2);
    pub(crate) const CAROL: AccountId = AccountId::new(3);
    pub(crate) const FINDER: AccountId = AccountId::new(99);

    /// The target of difficulty 1.
    pub(crate) const DIFFICULTY_1: u32 = 0x1d00_ffff;
    /// The target of difficulty 2.
    pub(crate) const DIFFICULTY_2: u32 = 0x1c7f_ff80;

    /// Counts weights, given oldest first, in a window of `size`.
    pub(crate) fn window(size: u64, shares: &[(AccountId, u64)]) -> Window {
        let mut window = Window::until(Measure::NetworkAtSubmission, End::Weight(U512::from(size)));
        for (index, &(account, weight)) in shares.iter().enumerate().rev() {
            window.take(position(index), account, U512::from(weight));
        }
        window
    }

    /// Counts shares of difficulty 2^log2 at a network's target, given oldest first.
    pub(crate) fn counted(mut window: Window, shares: &[(AccountId, i8, u32)]) -> Window {
        for (index, &(account, log2, nbits)) in shares.iter().enumerate().rev() {
            let (difficulty, nbits) = (Difficulty::from_log2(log2).unwrap(), CompactTarget::from_consensus(nbits));
            window.count(&ShareScore { seq: position(index), account, difficulty, nbits });
        }
        window
    }

    /// Shares stand at the positions from 1.
    fn position(index: usize) -> ShareSeq {
        ShareSeq::new(i64::try_from(index).unwrap() + 1)
    }

    pub(crate) fn weights(window: &Window) -> Vec<(AccountId, u64)> {
        window.weights().into_iter().map(|(account, weight)| (account, weight.to::<u64>())).collect()
    }

    #[test]
    fn the_window_holds_the_newest_shares() {
        let shares = [(ALICE, 10), (BOB, 20), (ALICE, 30), (CAROL, 50)];
        assert_eq!(weights(&window(80, &shares)), [(ALICE, 30), (CAROL, 50)]);
        let old = [(FINDER, 999), (BOB, 40), (ALICE, 30), (CAROL, 50)];
        assert_eq!(weights(&window(80, &old)), [(ALICE, 30), (CAROL, 50)]);
    }

    #[test]
    fn a_window_not_full_holds_what_was_counted() {
        let window = window(160, &[(ALICE, 10), (BOB, 20), (ALICE, 30), (CAROL, 50)]);
        assert!(!window.is_full());
        assert_eq!(weights(&window), [(ALICE, 40), (BOB, 20), (CAROL, 50)]);
        assert_eq!(window.total(), Counted { shares: 4, weight: U512::from(110) });
        assert_eq!(window.counted(ALICE), Counted { shares: 2, weight: U512::from(40) });
        assert_eq!((window.span(), window.edge()), (Some((ShareSeq::new(1), ShareSeq::new(4))), None));
    }

    #[test]
    fn the_share_at_the_edge_counts_for_what_is_left() {
        let window = window(800, &[(FINDER, 7), (CAROL, 300), (ALICE, 400), (BOB, 250), (ALICE, 50)]);
        assert!(window.is_full());
        assert_eq!(weights(&window), [(ALICE, 450), (BOB, 250), (CAROL, 100)]);
        let (weight, counted) = (U512::from(300), U512::from(100));
        assert_eq!(window.edge(), Some(EdgeShare { seq: ShareSeq::new(2), account: CAROL, weight, counted }));
        assert_eq!(window.span(), Some((ShareSeq::new(2), ShareSeq::new(5))));
    }

    #[test]
    fn a_window_that_ends_at_a_position_holds_all_that_is_later() {
        let mut window = Window::after(Measure::Work, ShareSeq::new(2));
        for seq in [5, 4, 3, 2, 1] {
            assert_eq!(window.is_full(), seq == 1);
            window.take(ShareSeq::new(seq), ALICE, U512::from(1));
        }
        assert_eq!(weights(&window), [(ALICE, 3)]);
    }

    #[test]
    fn the_greatest_weights_do_not_overflow() {
        let easiest = CompactTarget::from_consensus(0x2100_ffff);
        let mut window = Window::until(Measure::NetworkAtSubmission, End::Weight(U512::MAX >> 64));
        for (seq, account) in [(3, ALICE), (2, BOB), (1, CAROL)] {
            let (seq, difficulty) = (ShareSeq::new(seq), Difficulty::MAX);
            window.count(&ShareScore { seq, account, difficulty, nbits: easiest });
        }
        assert_eq!(window.total().weight, U512::from(3) * (U512::from(0xffff) << (240 + 127)));
        let largest = U512::from(u64::MAX) * Measure::NetworkAtSubmission.weight(Difficulty::MAX, easiest);
        assert!(largest.checked_mul(U512::from(bitcoin::Amount::MAX_MONEY.to_sat())).is_some());
    }

    proptest! {
        #[test]
        fn pages_and_order_within_the_window_change_nothing(
            shares in proptest::collection::vec((1..5i64, 1..100u64), 1..50),
            seed in any::<u64>(),
        ) {
            let shares: Vec<_> = shares.into_iter().map(|(id, weight)| (AccountId::new(id), weight)).collect();
            let total: u64 = shares.iter().map(|(_, weight)| weight).sum();
            let mut turned = shares.clone();
            turned.rotate_left(usize::try_from(seed % shares.len() as u64).unwrap());
            // A window that holds them all does not care about their order.
            prop_assert_eq!(weights(&window(total, &shares)), weights(&window(total, &turned)));
        }

        #[test]
        fn a_window_never_counts_more_than_its_size(
            size in 1..2_000u64,
            shares in proptest::collection::vec((1..5i64, 1..100u64), 0..50),
        ) {
            let shares: Vec<_> = shares.into_iter().map(|(id, weight)| (AccountId::new(id), weight)).collect();
            let window = window(size, &shares);
            let counted: u64 = weights(&window).iter().map(|(_, weight)| weight).sum();
            let offered: u64 = shares.iter().map(|(_, weight)| weight).sum();
            prop_assert_eq!(counted, size.min(offered));
            prop_assert_eq!(window.is_full(), offered >= size);
            prop_assert_eq!(window.total().weight, U512::from(counted));
        }
    }
}
