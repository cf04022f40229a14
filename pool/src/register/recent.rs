//! Sets of reports that were made of late, for whoever asks for them once more: to make a set takes as long as its records
//! are many.

use std::collections::VecDeque;

use payouts::{
    export::{journal::JournalSeq, register::RowSeq},
    ledger::EntrySeq,
    store::{Store, StoreError},
};

use super::{Made, Wish};

/// Sets that are kept; of each its manifest, not its files.
const MOST: usize = 8;
/// For so long a set stands for what would be made now, as long as nothing is added to the records. Its period may end
/// meanwhile.
const FRESH_MS: i64 = 60_000;

/// Sets of reports, the newest first.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Set>);

#[derive(Debug)]
struct Set {
    wish: Wish,
    /// What was on record when it was made.
    records: Records,
    made: Made,
}

/// How far records go at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Records {
    at_ms: i64,
    ledger: EntrySeq,
    register: RowSeq,
    journal: JournalSeq,
}

impl Records {
    /// Reads how far they go at `at_ms`, which is now.
    pub(super) async fn read(store: &dyn Store, at_ms: i64) -> Result<Records, StoreError> {
        let journal = store.journal_head().await?.seq;
        let (register, ledger) = (store.register_head().await?.seq, store.head().await?.seq);
        Ok(Records { at_ms, ledger, register, journal })
    }

    /// Whether reports that were made of these would be no others now.
    fn are_those_of(self, now: Records) -> bool {
        Records { at_ms: now.at_ms, ..self } == now && (0..FRESH_MS).contains(&(now.at_ms - self.at_ms))
    }
}

impl Recent {
    /// Returns the set that is wished for, if it was made of late and would be no other now.
    pub(super) fn find(&self, wish: &Wish, now: Records) -> Option<&Made> {
        let is_it = |set: &&Set| match wish.edition {
            // What is known of parties changes with a row of the journal alone; nothing else that an edition is made of does.
            Some(edition) => set.made.edition == edition && set.records.journal == now.journal,
            None => set.wish.edition.is_none() && set.records.are_those_of(now),
        };
        let is_meant = |set: &&Set| set.wish.period == wish.period && set.wish.profile == wish.profile;
        self.0.iter().filter(is_meant).find(is_it).map(|set| &set.made)
    }

    /// Keeps a set that was made after `records` were read, in the place of the oldest.
    pub(super) fn keep(&mut self, wish: Wish, records: Records, made: Made) {
        self.0.truncate(MOST - 1);
        self.0.push_front(Set { wish, records, made });
    }
}
