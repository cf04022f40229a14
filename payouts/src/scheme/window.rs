//! The shares that a block pays for, and what each of them weighs. Pure.
//!
//! Owns the counting, newest segment of the share log first, and exact weights. How long a window is and where it ends
//! is each scheme's own. [`running`](crate::scheme::running) keeps a window counted while the log grows.

use std::{collections::BTreeMap, ops::AddAssign};

use bitcoin::{CompactTarget, Target};
use ruint::{
    Uint,
    aliases::{U256, U512, U1024},
};

use crate::{
    account::AccountId,
    scheme::slice::SliceParts,
    share::{Difficulty, Segment, ShareRow, ShareScore, ShareSeq, Work},
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

    /// Returns what shares weigh that are so much work together.
    pub(crate) fn weight_of(self, work: Work, nbits: CompactTarget) -> U512 {
        self.weight(Difficulty::MIN, nbits) * U512::from(work.units())
    }

    /// Returns the weight that counts as one: a block's worth of work, or of plain work difficulty 1.
    pub fn one(self) -> U512 {
        match self {
            Self::NetworkAtSubmission | Self::NetworkAtBlock(_) => DIFFICULTY_ONE_TARGET << ONE_SHIFT,
            Self::Work => U512::ONE << ONE_SHIFT,
        }
    }

    /// Returns a measure that depends on no block, and the factor by which its weights become those of this one.
    pub(super) fn without_block(self) -> (Self, U512) {
        match self {
            Self::NetworkAtBlock(nbits) => (Self::Work, target(nbits)),
            Self::NetworkAtSubmission | Self::Work => (self, U512::ONE),
        }
    }
}

fn target(nbits: CompactTarget) -> U512 {
    Uint::from(U256::from_be_bytes(Target::from_compact(nbits).to_be_bytes()))
}

/// What was counted of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The number of shares, with those at the edge.
    pub shares: u64,
    /// Their weight, at the edge the part that counts.
    pub weight: U512,
}

impl AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.shares += other.shares;
        self.weight += other.weight;
    }
}

/// The segment at the edge of a full window, of which only a part counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeSegment {
    /// Its position.
    pub position: ShareSeq,
    /// What all its shares weigh.
    pub weight: U512,
    /// The part that counts: the same part of each share's weight.
    pub counted: U512,
}

/// Where a window ends, going back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Where so much weight was counted.
    Weight(U512),
    /// Before the segments up to this position.
    Position(ShareSeq),
}

/// The shares that one block pays for, newest first, as far as they are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    measure: Measure,
    end: End,
    is_full: bool,
    span: Option<(ShareSeq, ShareSeq)>,
    edge: Option<EdgeSegment>,
    total: Counted,
    accounts: BTreeMap<AccountId, Counted>,
    /// What SLICE splits by; nothing under other schemes.
    slices: Option<SliceParts>,
}

impl Window {
    /// Opens a window that holds `multiple` times what counts as one.
    pub fn of_multiple(measure: Measure, multiple: u32) -> Self {
        Self::until(measure, End::Weight(U512::from(multiple) * measure.one()))
    }

    /// Opens a window that holds every segment after the position `end`.
    pub fn after(measure: Measure, end: ShareSeq) -> Self {
        Self::until(measure, End::Position(end))
    }

    fn until(measure: Measure, end: End) -> Self {
        let is_full = end == End::Weight(U512::ZERO);
        let (total, accounts) = (Counted::default(), BTreeMap::new());
        Self { measure, end, is_full, span: None, edge: None, total, accounts, slices: None }
    }

    /// Returns this empty window as it was when it was counted: the positions of its oldest and newest segment, the
    /// segment at its edge, and what each account has in it.
    pub fn restored(
        self,
        span: Option<(ShareSeq, ShareSeq)>,
        edge: Option<EdgeSegment>,
        accounts: BTreeMap<AccountId, Counted>,
    ) -> Self {
        let weight = accounts.values().fold(U512::ZERO, |sum, counted| sum + counted.weight);
        let is_full = match self.end {
            End::Weight(size) => weight >= size,
            End::Position(_) => true,
        };
        Self { edge, ..self.filled(is_full, span, accounts) }
    }

    /// Puts whole segments into this empty window.
    pub(super) fn filled(
        self,
        is_full: bool,
        span: Option<(ShareSeq, ShareSeq)>,
        accounts: BTreeMap<AccountId, Counted>,
    ) -> Self {
        let mut total = Counted::default();
        accounts.values().for_each(|counted| total += *counted);
        Self { is_full, span, total, accounts, ..self }
    }

    /// Puts what SLICE splits by into this window, which is counted.
    pub fn sliced(self, parts: SliceParts) -> Self {
        Self { slices: Some(parts), ..self }
    }

    /// Returns what SLICE splits by.
    pub fn slices(&self) -> Option<&SliceParts> {
        self.slices.as_ref()
    }

    /// Tells whether no older segment counts.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Counts the next older segment; the one at the edge counts for the part that is left.
    ///
    /// There each account counts for the same part of what it has. What that leaves of the smallest units of weight
    /// is decided by running sums in the order of the accounts, each rounded down: they end at exactly what is left.
    pub fn count(&mut self, segment: &Segment) {
        if !self.is_full {
            self.take(segment.position, &self.sums(&segment.rows));
        }
    }

    /// Sums rows by account, in the order of the accounts.
    fn sums(&self, rows: &[ShareRow]) -> Vec<(AccountId, Counted)> {
        let counted = |row: &ShareRow| {
            let weight = self.measure.weight(row.difficulty, row.nbits) * U512::from(row.count);
            (row.account, Counted { shares: row.count, weight })
        };
        sum_by_account(rows.iter().map(counted).collect())
    }

    /// Counts the next older segment, of which each account's part is given once, in the order of the accounts.
    pub(super) fn take(&mut self, position: ShareSeq, parts: &[(AccountId, Counted)]) {
        if self.is_full || parts.is_empty() {
            return;
        }
        let mut whole = Counted::default();
        parts.iter().for_each(|(_, part)| whole += *part);
        let counted = match self.end {
            End::Position(end) if position <= end => {
                self.is_full = true;
                return;
            }
            End::Position(_) => whole.weight,
            End::Weight(size) => {
                let left = size - self.total.weight;
                self.is_full = whole.weight >= left;
                whole.weight.min(left)
            }
        };
        if counted < whole.weight {
            self.edge = Some(EdgeSegment { position, weight: whole.weight, counted });
        }
        self.span = Some((position, self.span.map_or(position, |(_, newest)| newest)));
        let (mut through, mut given) = (U512::ZERO, U512::ZERO);
        for &(account, Counted { shares, weight }) in parts {
            through += weight;
            let due = if counted == whole.weight { through } else { part_of(counted, through, whole.weight) };
            let part = Counted { shares, weight: due - given };
            given = due;
            *self.accounts.entry(account).or_default() += part;
            self.total += part;
        }
    }

    /// Returns where it ends, going back.
    pub(super) fn end(&self) -> End {
        self.end
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

    /// Returns the positions of the oldest and the newest segment that count.
    pub fn span(&self) -> Option<(ShareSeq, ShareSeq)> {
        self.span
    }

    /// Returns the segment of which only a part counts.
    pub fn edge(&self) -> Option<EdgeSegment> {
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

    /// Returns what was counted of each account that has shares in it, at the edge perhaps of no weight.
    pub fn accounts(&self) -> &BTreeMap<AccountId, Counted> {
        &self.accounts
    }

    /// Returns the weight of each account that has any.
    pub fn weights(&self) -> BTreeMap<AccountId, U512> {
        let weights = self.accounts.iter().map(|(&account, counted)| (account, counted.weight));
        weights.filter(|(_, weight)| !weight.is_zero()).collect()
    }
}

/// Sums parts by account, in the order of the accounts.
pub(super) fn sum_by_account(mut parts: Vec<(AccountId, Counted)>) -> Vec<(AccountId, Counted)> {
    parts.sort_unstable_by_key(|(account, _)| *account);
    parts.dedup_by(|(account, more), (same, sum)| {
        let is_same = account == same;
        if is_same {
            *sum += *more;
        }
        is_same
    });
    parts
}

/// Returns `counted * through / whole`, rounded down, of which `through` is at most `whole`. The product may need
/// twice the bits of a weight.
fn part_of(counted: U512, through: U512, whole: U512) -> U512 {
    let product: U1024 = U1024::from(counted) * U1024::from(through);
    Uint::from(product / U1024::from(whole))
}

/// A share on its own is a segment of one row.
impl From<ShareScore> for Segment {
    fn from(share: ShareScore) -> Self {
        let ShareScore { seq, account, difficulty, nbits } = share;
        Self { position: seq, rows: vec![ShareRow { account, difficulty, nbits, count: 1 }] }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::scheme::rule::Rule;

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
            window.take(position(index), &[(account, one(weight))]);
        }
        window
    }

    /// One share of a weight.
    fn one(weight: u64) -> Counted {
        Counted { shares: 1, weight: U512::from(weight) }
    }

    /// Counts shares of difficulty 2^log2 at a network's target, given oldest first.
    pub(crate) fn counted(mut window: Window, shares: &[(AccountId, i8, u32)]) -> Window {
        for (index, &(account, log2, nbits)) in shares.iter().enumerate().rev() {
            let (difficulty, nbits) = (Difficulty::from_log2(log2).unwrap(), CompactTarget::from_consensus(nbits));
            window.count(&ShareScore { seq: position(index), account, difficulty, nbits }.into());
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
        assert_eq!(window.edge(), Some(EdgeSegment { position: ShareSeq::new(2), weight, counted }));
        assert_eq!(window.span(), Some((ShareSeq::new(2), ShareSeq::new(5))));
    }

    #[test]
    fn of_the_segment_at_the_edge_every_account_counts_for_the_same_part() {
        let mut window = Window::until(Measure::NetworkAtSubmission, End::Weight(U512::from(110)));
        window.take(ShareSeq::new(9), &[(BOB, one(100))]);
        // 10 left of 30: running sums of 10 * (10, 15, 30) / 30, rounded down, are 3, 5 and 10.
        window.take(ShareSeq::new(8), &[(ALICE, one(10)), (BOB, one(5)), (CAROL, one(15))]);
        assert_eq!(weights(&window), [(ALICE, 3), (BOB, 102), (CAROL, 5)]);
        assert_eq!(window.total(), Counted { shares: 4, weight: U512::from(110) });
        let (weight, counted) = (U512::from(30), U512::from(10));
        assert_eq!(window.edge(), Some(EdgeSegment { position: ShareSeq::new(8), weight, counted }));
    }

    #[test]
    fn the_part_of_the_greatest_segment_does_not_overflow() {
        let most = U512::MAX >> 65;
        let mut window = Window::until(Measure::NetworkAtSubmission, End::Weight(most));
        let [half, rest] = [most >> 1, most - (most >> 1)].map(|weight| Counted { shares: 1, weight });
        window.take(ShareSeq::new(1), &[(ALICE, half), (BOB, rest), (CAROL, Counted { shares: 1, weight: most })]);
        assert_eq!(window.total().weight, most);
        assert_eq!(window.counted(ALICE).weight, most >> 2);
        assert_eq!(window.counted(CAROL).weight, most - (most >> 1));
    }

    #[test]
    fn a_window_is_restored_from_what_was_counted() {
        for rule in ["pplns window=2 fee_bp=0", "prop last_block=1 fee_bp=0"] {
            let rule: Rule = rule.parse().unwrap();
            let open = rule.open_window(CompactTarget::from_consensus(DIFFICULTY_1)).unwrap();
            let shares = [(FINDER, 0), (CAROL, 1), (ALICE, 0), (BOB, -1)].map(|(id, log2)| (id, log2, DIFFICULTY_1));
            let window = counted(open.clone(), &shares);
            assert_eq!(open.restored(window.span(), window.edge(), window.accounts().clone()), window);
        }
    }

    #[test]
    fn a_window_that_ends_at_a_position_holds_all_that_is_later() {
        let mut window = Window::after(Measure::Work, ShareSeq::new(2));
        for seq in [5, 4, 3, 2, 1] {
            assert_eq!(window.is_full(), seq == 1);
            window.take(ShareSeq::new(seq), &[(ALICE, one(1))]);
        }
        assert_eq!(weights(&window), [(ALICE, 3)]);
    }

    #[test]
    fn the_greatest_weights_do_not_overflow() {
        let easiest = CompactTarget::from_consensus(0x2100_ffff);
        let mut window = Window::until(Measure::NetworkAtSubmission, End::Weight(U512::MAX >> 64));
        for (seq, account) in [(3, ALICE), (2, BOB), (1, CAROL)] {
            let (seq, difficulty) = (ShareSeq::new(seq), Difficulty::MAX);
            window.count(&ShareScore { seq, account, difficulty, nbits: easiest }.into());
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
        fn how_a_segment_is_cut_into_rows_changes_nothing(
            rows in proptest::collection::vec((1..5i64, -3..3i8, any::<bool>(), 1..50u64), 1..30),
            window in 1..5u32,
            seed in any::<u64>(),
        ) {
            let row = |(id, log2, late, count): (i64, i8, bool, u64)| ShareRow {
                account: AccountId::new(id),
                difficulty: Difficulty::from_log2(log2).unwrap(),
                nbits: CompactTarget::from_consensus(if late { DIFFICULTY_2 } else { DIFFICULTY_1 }),
                count,
            };
            let rows: Vec<_> = rows.into_iter().map(row).collect();
            let mut cut: Vec<_> =
                rows.iter().flat_map(|row| (0..row.count).map(|_| ShareRow { count: 1, ..*row })).collect();
            let turn = usize::try_from(seed % cut.len() as u64).unwrap();
            cut.rotate_left(turn);
            let [whole, cut] = [rows, cut].map(|rows| {
                let mut counted = Window::of_multiple(Measure::NetworkAtSubmission, window);
                counted.count(&Segment { position: ShareSeq::new(7), rows });
                counted
            });
            prop_assert_eq!(whole, cut);
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
