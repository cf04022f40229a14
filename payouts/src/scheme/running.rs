//! The window of the next block, kept counted in memory while the share log grows. Pure.
//!
//! A [`Window`] counted from scratch costs its whole length; here only what comes in and what falls out is counted.
//! The outcome is the same to the last bit. Reading the store is the caller's: where older segments are needed than are
//! held, the answer says so.

mod rows;

use std::{collections::VecDeque, ops::Range};

use ruint::aliases::U512;

use self::rows::{Accounts, Held, HeldRow, Kinds};

use crate::{
    account::AccountId,
    scheme::window::{Counted, End, Measure, Window, sum_by_account},
    share::{Segment, ShareRow, ShareSeq},
};

/// Segments at and before this position are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segments of the share log at and before {upto} are needed")]
pub struct OlderNeeded {
    /// The newest position of those that are missing.
    pub upto: ShareSeq,
}

impl OlderNeeded {
    /// What a window says that never held anything: the page may begin anywhere behind which nothing is asked for.
    pub const ALL: ShareSeq = ShareSeq::new(i64::MAX);
}

/// The newest segments of the share log, and what was counted of them for the block asked for last.
///
/// It holds all of the log between its oldest and its newest segment; see [`prepend`](Self::prepend) for how it is
/// filled. A row takes 16 bytes, an account about 130.
#[derive(Debug)]
pub struct RunningWindow {
    /// What rows are weighed by: never by the target of a block, which changes with each.
    measure: Measure,
    segments: VecDeque<Held>,
    /// Whether the log has nothing older than the oldest segment held.
    is_whole_log: bool,
    kinds: Kinds,
    accounts: Accounts,
    /// Which segments are in the accounts' sums.
    counted: Range<usize>,
    /// The newest segment that was held and is no more, if all older ones are not either.
    dropped: Option<ShareSeq>,
    /// The empty window of the block asked for last: the sums follow the log so that the next is near.
    last: Option<Window>,
}

impl Default for RunningWindow {
    fn default() -> Self {
        Self {
            measure: Measure::Work,
            segments: VecDeque::new(),
            is_whole_log: false,
            kinds: Kinds::default(),
            accounts: Accounts::default(),
            counted: 0..0,
            dropped: None,
            last: None,
        }
    }
}

impl RunningWindow {
    /// Adds shares that are new in the log: to the newest segment, or as the next one.
    ///
    /// A pool passes on all shares of its session, from the first on and each once: its segments belong to it alone, so
    /// what it adds here is never in a page as well.
    pub fn push(&mut self, segment: &Segment) {
        let rows = self.held_rows(&segment.rows);
        if rows.is_empty() {
            return;
        }
        let index = self.segments.partition_point(|held| held.position < segment.position);
        let is_known = self.segments.get(index).is_some_and(|held| held.position == segment.position);
        if !is_known {
            if index == 0 && !self.segments.is_empty() && !self.is_whole_log {
                // It lies before what is held: it is read from the store when it is needed.
                rows.iter().for_each(|row| self.accounts.release(row));
                return;
            }
            if let Some(closed) = self.segments.back_mut().filter(|_| index > 0) {
                closed.settle(&mut self.accounts);
            }
            self.insert(index, Held::at(segment.position));
        }
        let weight = self.kinds.sum(&rows);
        if self.counted.contains(&index) {
            self.accounts.add(&rows, &self.kinds);
        }
        self.segments[index].weight += weight;
        for newer in self.segments.range_mut(index + 1..) {
            newer.before = newer.before.wrapping_add(weight);
        }
        self.segments[index].gather(rows, &mut self.accounts);
        self.follow();
    }

    /// Adds a page of older segments, newest first, each with shares, that begins right before the oldest segment
    /// held; if none is, at the log's newest. An empty page says that the log has nothing older.
    ///
    /// What is needed is loaded like this, before the pool starts and whenever [`at`](Self::at) asks for it:
    /// `while let Err(OlderNeeded { upto }) = running.at(position, open) { running.prepend(page at and before upto) }`.
    pub fn prepend(&mut self, page: &[Segment]) {
        self.is_whole_log |= page.is_empty();
        for segment in page {
            if self.segments.front().is_some_and(|oldest| oldest.position <= segment.position) {
                // It came in meanwhile.
                continue;
            }
            let rows = self.held_rows(&segment.rows);
            if rows.is_empty() {
                continue;
            }
            let weight = self.kinds.sum(&rows);
            let mut held = Held { rows, weight, ..Held::at(segment.position) };
            held.settle(&mut self.accounts);
            self.insert(0, held);
        }
    }

    /// Counts an open window as of a position: all segments at and before it, newest first, until it is full. The sums
    /// are moved from where they are, so that this costs what has changed since the last time, and the accounts.
    ///
    /// # Errors
    ///
    /// If it needs older segments than are held.
    pub fn at(&mut self, position: ShareSeq, open: Window) -> Result<Window, OlderNeeded> {
        if open.is_full() {
            return Ok(open);
        }
        let (measure, factor) = open.measure().without_block();
        self.measure_by(measure);
        self.last = Some(open.clone());
        let reach = self.reach(position, &open)?;
        self.move_to(reach.whole.clone());
        let Reach { whole, edge, is_full, .. } = reach;
        let position = |index: usize| self.segments[index].position;
        let span = (!whole.is_empty()).then(|| (position(whole.start), position(whole.end - 1)));
        let accounts = self.accounts.sums(factor).into_iter().collect();
        let mut window = open.filled(is_full && edge.is_none(), span, accounts);
        if let Some(edge) = edge {
            let held = &self.segments[edge];
            window.take(held.position, &sum_by_account(self.parts(&held.rows, factor).collect()));
        }
        Ok(window)
    }

    /// Forgets what no window of the kind asked for last reaches back to, as of `live` or later. Before the first
    /// question nothing is forgotten.
    ///
    /// With TIDES a window grows with the difficulty; what is missing then is asked for again.
    pub fn forget(&mut self, live: ShareSeq) {
        let Some(last) = &self.last else { return };
        let Ok(Reach { oldest, .. }) = self.reach(live, last) else { return };
        if oldest > 0 {
            self.drop_oldest(oldest);
        }
    }

    /// Folds the segments after `after` up to and with `upto` into one at the position of the newest of them, as the
    /// store does. They have ceased to grow.
    pub fn fold(&mut self, after: ShareSeq, upto: ShareSeq) {
        let start = self.segments.partition_point(|held| held.position <= after);
        let end = self.segments.partition_point(|held| held.position <= upto);
        if start >= end {
            return;
        }
        if start == 0 && !self.is_whole_log {
            // Some of them may be forgotten. The whole is read from the store when it is needed.
            self.drop_oldest(end);
            return;
        }
        // The sums hold all of them or none.
        let is_cut = |bound: usize| start < bound && bound < end;
        if is_cut(self.counted.start) || is_cut(self.counted.end) {
            self.move_to(0..0);
        }
        let mut folded: Vec<Held> = self.segments.drain(start..end).collect();
        let gone = folded.len() - 1;
        let mut newest = folded.pop().expect("a range that is not empty holds a segment");
        for older in folded.into_iter().rev() {
            newest.weight += older.weight;
            newest.before = older.before;
            newest.rows.extend(older.rows);
        }
        newest.settle(&mut self.accounts);
        self.segments.insert(start, newest);
        for bound in [&mut self.counted.start, &mut self.counted.end] {
            *bound -= if *bound >= end { gone } else { 0 };
        }
        self.follow();
    }

    /// Drops the segments up to and with `upto`, of which it is not known any more how the store keeps them. They have
    /// ceased to grow, and are read from the store when they are needed.
    pub fn drop_upto(&mut self, upto: ShareSeq) {
        let gone = self.segments.partition_point(|held| held.position <= upto);
        if gone > 0 {
            self.drop_oldest(gone);
        }
    }

    /// Returns the number of rows held.
    pub fn rows(&self) -> usize {
        self.segments.iter().map(|held| held.rows.len()).sum()
    }
}

/// Which of the segments held are in a window.
#[derive(Debug)]
struct Reach {
    /// Those that count whole.
    whole: Range<usize>,
    /// The one that fills the window, of which perhaps only a part counts.
    edge: Option<usize>,
    /// The oldest one that decides about it.
    oldest: usize,
    is_full: bool,
}

impl RunningWindow {
    /// Finds out which segments are in a window as of a position.
    fn reach(&self, position: ShareSeq, window: &Window) -> Result<Reach, OlderNeeded> {
        let upto = self.segments.partition_point(|held| held.position <= position);
        match window.end() {
            End::Position(end) => {
                let start = self.segments.partition_point(|held| held.position <= end).min(upto);
                if start == 0 {
                    self.check_begin()?;
                }
                Ok(Reach { whole: start..upto, edge: None, oldest: start.saturating_sub(1), is_full: start > 0 })
            }
            End::Weight(size) => {
                let (_, factor) = window.measure().without_block();
                let through = self.before(upto);
                let since = |held: &Held| through.wrapping_sub(held.before) * factor;
                let full = self.segments.partition_point(|held| held.position <= position && since(held) >= size);
                let Some(oldest) = full.checked_sub(1) else {
                    self.check_begin()?;
                    return Ok(Reach { whole: 0..upto, edge: None, oldest: 0, is_full: false });
                };
                Ok(Reach { whole: oldest + 1..upto, edge: Some(oldest), oldest, is_full: true })
            }
        }
    }

    /// Checks that the log has nothing older than what is held.
    fn check_begin(&self) -> Result<(), OlderNeeded> {
        if self.is_whole_log {
            return Ok(());
        }
        let before = |oldest: &Held| ShareSeq::new(oldest.position.get() - 1);
        let upto = self.segments.front().map(before).or(self.dropped).unwrap_or(OlderNeeded::ALL);
        Err(OlderNeeded { upto })
    }

    /// Returns the weight of all segments before one, over that of a time of which only differences matter.
    fn before(&self, index: usize) -> U512 {
        match (self.segments.get(index), self.segments.back()) {
            (Some(held), _) => held.before,
            (None, Some(newest)) => newest.before.wrapping_add(newest.weight),
            (None, None) => U512::ZERO,
        }
    }

    /// Moves the sums along with the log, as far as what is held allows.
    fn follow(&mut self) {
        let (Some(last), Some(newest)) = (&self.last, self.segments.back()) else { return };
        let wanted = match self.reach(newest.position, last) {
            Ok(reach) => reach.whole,
            Err(OlderNeeded { .. }) => 0..self.segments.len(),
        };
        self.move_to(wanted);
    }

    /// Makes the accounts' sums those of other segments, by what is different.
    fn move_to(&mut self, wanted: Range<usize>) {
        let counted = std::mem::replace(&mut self.counted, wanted.clone());
        let both = wanted.start.max(counted.start)..wanted.end.min(counted.end);
        let accounts = &mut self.accounts;
        let segments = &self.segments;
        if both.is_empty() {
            accounts.clear();
            segments.range(wanted).for_each(|held| accounts.add(&held.rows, &self.kinds));
            return;
        }
        for gone in [counted.start..both.start, both.end..counted.end] {
            segments.range(gone).for_each(|held| accounts.subtract(&held.rows, &self.kinds));
        }
        for new in [wanted.start..both.start, both.end..wanted.end] {
            segments.range(new).for_each(|held| accounts.add(&held.rows, &self.kinds));
        }
    }

    /// Begins anew if rows were weighed by another measure.
    fn measure_by(&mut self, measure: Measure) {
        if self.measure == measure {
            return;
        }
        self.measure = measure;
        self.move_to(0..0);
        self.kinds.weigh_by(measure);
        let mut through = U512::ZERO;
        for held in &mut self.segments {
            (held.before, held.weight) = (through, self.kinds.sum(&held.rows));
            through = through.wrapping_add(held.weight);
        }
    }

    /// Puts a segment before the one at `index`. Unless it is the first, it is empty.
    fn insert(&mut self, index: usize, mut held: Held) {
        held.before =
            self.before(index).wrapping_sub(if index < self.segments.len() { held.weight } else { U512::ZERO });
        self.segments.insert(index, held);
        let Range { start, end } = &mut self.counted;
        if index <= *start {
            (*start, *end) = (*start + 1, *end + 1);
        } else if index < *end {
            *end += 1;
        }
    }

    fn drop_oldest(&mut self, gone: usize) {
        let end = self.counted.end.max(gone);
        self.move_to(self.counted.start.clamp(gone, end)..end);
        self.dropped = self.segments.get(gone.saturating_sub(1)).map(|held| held.position);
        for held in self.segments.drain(..gone) {
            held.rows.iter().for_each(|row| self.accounts.release(row));
        }
        self.counted = self.counted.start - gone..self.counted.end - gone;
        self.is_whole_log = false;
    }

    fn held_rows(&mut self, rows: &[ShareRow]) -> Vec<HeldRow> {
        let mut held = Vec::with_capacity(rows.len());
        held.extend(rows.iter().filter(|row| row.count > 0).map(|row| HeldRow {
            account: self.accounts.hold(row.account),
            kind: self.kinds.index(row.difficulty, row.nbits, self.measure),
            count: row.count,
        }));
        held
    }

    /// Returns what rows hold, each with its account, in weights times `factor`.
    fn parts(&self, rows: &[HeldRow], factor: U512) -> impl Iterator<Item = (AccountId, Counted)> {
        rows.iter().map(move |row| {
            let weight = self.kinds.weight(row) * factor;
            (self.accounts.id(row), Counted { shares: row.count, weight })
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::CompactTarget;
    use proptest::prelude::*;

    use super::*;
    use crate::scheme::{
        rule::Rule,
        window::tests::{ALICE, BOB, CAROL, DIFFICULTY_1, DIFFICULTY_2},
    };
    use crate::share::Difficulty;

    /// The share log, from scratch: what the store would answer.
    #[derive(Debug, Default)]
    struct Log(Vec<Segment>);

    impl Log {
        fn push(&mut self, segment: Segment) {
            match self.0.iter_mut().find(|known| known.position == segment.position) {
                _ if segment.rows.is_empty() => (),
                Some(known) => known.rows.extend(segment.rows),
                None => self.0.push(segment),
            }
        }

        fn fold(&mut self, after: ShareSeq, upto: ShareSeq) {
            let is_folded = |segment: &Segment| segment.position > after && segment.position <= upto;
            let at = self.0.iter().position(is_folded);
            let (folded, mut rest): (Vec<_>, Vec<_>) = self.0.drain(..).partition(is_folded);
            if let (Some(at), Some(newest)) = (at, folded.last()) {
                let position = newest.position;
                rest.insert(at, Segment { position, rows: folded.into_iter().flat_map(|old| old.rows).collect() });
            }
            self.0 = rest;
        }

        /// Segments at and before a position, newest first.
        fn page(&self, upto: ShareSeq, limit: usize) -> Vec<Segment> {
            self.0.iter().rev().filter(|segment| segment.position <= upto).take(limit).cloned().collect()
        }

        fn window(&self, position: ShareSeq, mut window: Window) -> Window {
            self.page(position, usize::MAX).iter().for_each(|segment| window.count(segment));
            window
        }
    }

    /// Asks until nothing is missing, and tells how many pages it took.
    fn ask(running: &mut RunningWindow, log: &Log, position: ShareSeq, open: &Window, page: usize) -> (Window, usize) {
        for pages in 0..1_000 {
            match running.at(position, open.clone()) {
                Ok(window) => return (window, pages),
                Err(OlderNeeded { upto }) => running.prepend(&log.page(upto, page)),
            }
        }
        panic!("the log ends, but more is asked for")
    }

    fn open(rule: &str, nbits: u32) -> Window {
        rule.parse::<Rule>().unwrap().open_window(CompactTarget::from_consensus(nbits)).unwrap()
    }

    fn segment(position: i64, rows: &[(AccountId, i8, u64)]) -> Segment {
        let nbits = CompactTarget::from_consensus(DIFFICULTY_1);
        let row = |&(account, log2, count): &(AccountId, i8, u64)| ShareRow {
            account,
            difficulty: Difficulty::from_log2(log2).unwrap(),
            nbits,
            count,
        };
        Segment { position: ShareSeq::new(position), rows: rows.iter().map(row).collect() }
    }

    #[test]
    fn only_what_is_missing_is_asked_for() {
        let mut log = Log::default();
        (1..=40).for_each(|position| log.push(segment(position, &[(ALICE, 0, 1), (BOB, -1, 1)])));
        let (mut running, open) = (RunningWindow::default(), open("pplns window=6 fee_bp=0", DIFFICULTY_1));
        let (window, pages) = ask(&mut running, &log, ShareSeq::new(40), &open, 2);
        assert_eq!((window, pages), (log.window(ShareSeq::new(40), open.clone()), 2));
        assert_eq!(running.rows(), 8);
        // The window as of 39 reaches back by one segment, which is in the page held; that as of 37 does not.
        assert_eq!(ask(&mut running, &log, ShareSeq::new(40), &open, 2).1, 0);
        assert_eq!(ask(&mut running, &log, ShareSeq::new(39), &open, 2).1, 1);
        assert_eq!(running.at(ShareSeq::new(36), open), Err(OlderNeeded { upto: ShareSeq::new(34) }));
    }

    #[test]
    fn what_no_live_window_reaches_is_forgotten_with_its_accounts() {
        let (mut running, open) = (RunningWindow::default(), open("pplns window=4 fee_bp=0", DIFFICULTY_1));
        running.prepend(&[]);
        for position in 1..=1_000 {
            running.push(&segment(position, &[(AccountId::new(position), 0, 1)]));
            assert!(running.at(ShareSeq::new(position), open.clone()).is_ok());
            running.forget(ShareSeq::new(position - 10));
        }
        assert_eq!((running.rows(), running.accounts.sizes()), (14, (14, 15)));
        assert!(running.at(ShareSeq::new(990), open.clone()).is_ok());
        assert_eq!(running.at(ShareSeq::new(989), open), Err(OlderNeeded { upto: ShareSeq::new(986) }));
    }

    #[test]
    fn a_round_is_kept_with_what_shows_that_it_is_whole() {
        let (mut running, open) = (RunningWindow::default(), open("prop last_block=6 fee_bp=0", DIFFICULTY_1));
        running.prepend(&[]);
        (1..=9).for_each(|position| running.push(&segment(position, &[(ALICE, 0, 1)])));
        assert_eq!(running.at(ShareSeq::new(9), open.clone()).unwrap().total().shares, 3);
        running.forget(ShareSeq::new(9));
        assert_eq!(running.rows(), 4);
        assert_eq!(running.at(ShareSeq::new(7), open).unwrap().total().shares, 1);
    }

    #[test]
    fn groups_of_one_segment_are_put_together() {
        let (mut running, open) = (RunningWindow::default(), open("prop last_block=0 fee_bp=0", DIFFICULTY_1));
        running.prepend(&[]);
        for _ in 0..10_000 {
            running.push(&segment(7, &[(ALICE, 0, 1), (BOB, 1, 2), (CAROL, 0, 1)]));
            assert!(running.rows() <= rows::FIRST_MERGE + 3);
        }
        running.push(&segment(8, &[(ALICE, 0, 1)]));
        assert_eq!(running.rows(), 4);
        let window = running.at(ShareSeq::new(7), open).unwrap();
        assert_eq!(window.counted(BOB).shares, 20_000);
        assert_eq!(window.total().weight, Measure::Work.one() * U512::from(60_000));
    }

    #[test]
    fn a_late_group_before_what_is_held_is_left_to_the_store() {
        let mut log = Log::default();
        (3..=4).for_each(|position| log.push(segment(position, &[(ALICE, 0, 4)])));
        let (mut running, open) = (RunningWindow::default(), open("pplns window=4 fee_bp=0", DIFFICULTY_1));
        assert_eq!(ask(&mut running, &log, ShareSeq::new(4), &open, 1).1, 1);
        let late = segment(3, &[(BOB, 0, 4)]);
        running.push(&late);
        log.push(late);
        let (window, _) = ask(&mut running, &log, ShareSeq::new(3), &open, 1);
        assert_eq!(window.weights().len(), 2);
        assert_eq!(window, log.window(ShareSeq::new(3), open));
    }

    #[test]
    fn late_groups_of_older_segments_count_where_they_belong() {
        let (mut log, mut running) = (Log::default(), RunningWindow::default());
        running.prepend(&[]);
        let open = open("pplns window=5 fee_bp=0", DIFFICULTY_1);
        for (position, account) in [(3, ALICE), (8, BOB), (5, CAROL), (3, BOB), (8, ALICE), (1, CAROL), (5, ALICE)] {
            let segment = segment(position, &[(account, 0, 2)]);
            running.push(&segment);
            log.push(segment);
            log.0.sort_by_key(|segment| segment.position);
            for position in [9, 8, 5, 3, 9].map(ShareSeq::new) {
                assert_eq!(running.at(position, open.clone()), Ok(log.window(position, open.clone())));
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Shares in the newest segment, or in one so much later.
        Push {
            later: i64,
            rows: Vec<(i64, i8, bool, u64)>,
        },
        /// The window of one of the rules, so far back.
        At {
            back: i64,
            rule: usize,
            nbits: bool,
        },
        /// Folds so many positions so far back.
        Fold {
            back: i64,
            length: i64,
        },
        Forget {
            back: i64,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        let row = (1..6i64, -3..3i8, any::<bool>(), 0..4u64);
        prop_oneof![
            4 => (0..3i64, proptest::collection::vec(row, 0..5)).prop_map(|(later, rows)| Step::Push { later, rows }),
            3 => (0..12i64, 0..RULES.len(), any::<bool>())
                .prop_map(|(back, rule, nbits)| Step::At { back, rule, nbits }),
            1 => (1..12i64, 1..6i64).prop_map(|(back, length)| Step::Fold { back, length }),
            1 => (0..8i64).prop_map(|back| Step::Forget { back }),
        ]
    }

    const RULES: [&str; 6] = [
        "pplns window=2 fee_bp=0",
        "pplns window=9 fee_bp=0",
        "tides window=3 fee_bp=0",
        "tides window=8 fee_bp=0",
        "prop last_block=0 fee_bp=0",
        "prop last_block=12 fee_bp=0",
    ];

    fn nbits(is_late: bool) -> u32 {
        if is_late { DIFFICULTY_2 } else { DIFFICULTY_1 }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn it_says_what_counting_from_scratch_says(
            stored in proptest::collection::vec((1..6i64, -3..3i8, 1..4u64), 0..12),
            steps in proptest::collection::vec(step(), 1..60),
            page in 1..5usize,
            // An operator who never changes the scheme, or does so all the time.
            only_rule in proptest::option::of(0..RULES.len()),
        ) {
            let (mut log, mut running) = (Log::default(), RunningWindow::default());
            for (index, (id, log2, count)) in stored.into_iter().enumerate() {
                log.push(segment(index as i64 + 1, &[(AccountId::new(id), log2, count)]));
            }
            let mut newest = 20;
            for step in steps {
                match step {
                    Step::Push { later, rows } => {
                        newest += later;
                        let row = |(id, log2, is_late, count)| ShareRow {
                            account: AccountId::new(id),
                            difficulty: Difficulty::from_log2(log2).unwrap(),
                            nbits: CompactTarget::from_consensus(nbits(is_late)),
                            count,
                        };
                        let rows = rows.into_iter().map(row).filter(|row| row.count > 0).collect();
                        let segment = Segment { position: ShareSeq::new(newest), rows };
                        running.push(&segment);
                        log.push(segment);
                    }
                    Step::At { back, rule, nbits: is_late } => {
                        let open = open(RULES[only_rule.unwrap_or(rule)], nbits(is_late));
                        let position = ShareSeq::new(newest - back);
                        let (window, _) = ask(&mut running, &log, position, &open, page);
                        prop_assert_eq!(window, log.window(position, open));
                    }
                    Step::Fold { back, length } => {
                        let upto = newest - back;
                        let (after, upto) = (ShareSeq::new(upto - length), ShareSeq::new(upto));
                        log.fold(after, upto);
                        running.fold(after, upto);
                    }
                    Step::Forget { back } => running.forget(ShareSeq::new(newest - back)),
                }
            }
        }
    }
}
