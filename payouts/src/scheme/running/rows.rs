//! What a running window holds in memory: segments, their rows, and the accounts' sums. Which of it is in the window
//! belongs to [`super`].

use std::collections::HashMap;

use bitcoin::CompactTarget;
use ruint::aliases::U512;

use crate::{
    account::AccountId,
    scheme::window::{Counted, Measure},
    share::{Difficulty, ShareSeq},
};

/// Rows that a segment gathers before those of one account and kind are first put together.
pub(super) const FIRST_MERGE: usize = 64;

/// A segment in memory.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) position: ShareSeq,
    pub(super) rows: Vec<HeldRow>,
    /// How many rows it gathers before it puts together those of one account and kind.
    pub(super) merge_at: usize,
    pub(super) weight: U512,
    /// The weight of all older segments, modulo 2^512: those not held make it wrong by the same for all.
    pub(super) before: U512,
}

/// A row of a segment in memory: the account's slot, the kind, and how many shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldRow {
    pub(super) account: u32,
    pub(super) kind: u32,
    pub(super) count: u64,
}

impl Held {
    pub(super) fn at(position: ShareSeq) -> Self {
        Self { position, rows: Vec::new(), merge_at: FIRST_MERGE, weight: U512::ZERO, before: U512::ZERO }
    }

    /// Takes rows in. They are put together only when there are twice as many as the last time, so that a row costs
    /// little however small the groups are in which a segment comes.
    pub(super) fn gather(&mut self, rows: Vec<HeldRow>, accounts: &mut Accounts) {
        self.rows.extend(rows);
        if self.rows.len() >= self.merge_at {
            self.merge(accounts);
            self.merge_at = FIRST_MERGE.max(2 * self.rows.len());
        }
    }

    /// Takes no more room than it needs, as one that has ceased to grow.
    pub(super) fn settle(&mut self, accounts: &mut Accounts) {
        self.merge(accounts);
        self.rows.shrink_to_fit();
    }

    fn merge(&mut self, accounts: &mut Accounts) {
        self.rows.sort_unstable_by_key(|row| (row.account, row.kind));
        self.rows.dedup_by(|row, same| {
            let is_same = (row.account, row.kind) == (same.account, same.kind);
            if is_same {
                same.count += row.count;
                accounts.release(row);
            }
            is_same
        });
    }
}

/// The difficulties and network targets of all rows, each pair once: there are few.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    kinds: Vec<(Difficulty, CompactTarget)>,
    /// What a share of each weighs.
    weights: Vec<U512>,
    indices: HashMap<(Difficulty, CompactTarget), u32>,
}

impl Kinds {
    pub(super) fn index(&mut self, difficulty: Difficulty, nbits: CompactTarget, measure: Measure) -> u32 {
        *self.indices.entry((difficulty, nbits)).or_insert_with(|| {
            self.kinds.push((difficulty, nbits));
            self.weights.push(measure.weight(difficulty, nbits));
            u32::try_from(self.kinds.len() - 1).expect("there are fewer difficulties times targets than rows in memory")
        })
    }

    pub(super) fn weigh_by(&mut self, measure: Measure) {
        self.weights = self.kinds.iter().map(|&(difficulty, nbits)| measure.weight(difficulty, nbits)).collect();
    }

    pub(super) fn weight(&self, row: &HeldRow) -> U512 {
        self.weights[row.kind as usize] * U512::from(row.count)
    }

    pub(super) fn sum(&self, rows: &[HeldRow]) -> U512 {
        rows.iter().fold(U512::ZERO, |sum, row| sum + self.weight(row))
    }
}

/// The accounts that have rows in memory, each in a slot, and what is counted of them.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    slots: Vec<Slot>,
    /// Slots whose account has no rows any more.
    free: Vec<u32>,
    indices: HashMap<AccountId, u32>,
}

#[derive(Debug)]
struct Slot {
    id: AccountId,
    counted: Counted,
    /// How many rows in memory name it.
    rows: u64,
}

impl Accounts {
    /// Returns the slot of an account for one more row.
    pub(super) fn hold(&mut self, id: AccountId) -> u32 {
        let index = *self.indices.entry(id).or_insert_with(|| {
            let empty = Slot { id, counted: Counted::default(), rows: 0 };
            if let Some(index) = self.free.pop() {
                self.slots[index as usize] = empty;
                return index;
            }
            self.slots.push(empty);
            u32::try_from(self.slots.len() - 1).expect("there are fewer accounts than fit in memory")
        });
        self.slots[index as usize].rows += 1;
        index
    }

    /// Returns whose row it is.
    pub(super) fn id(&self, row: &HeldRow) -> AccountId {
        self.slots[row.account as usize].id
    }

    /// Gives up a row's slot; it is not in the sums any more, or another row of the same slot has its shares.
    pub(super) fn release(&mut self, row: &HeldRow) {
        let slot = &mut self.slots[row.account as usize];
        slot.rows -= 1;
        if slot.rows == 0 {
            self.indices.remove(&slot.id);
            self.free.push(row.account);
        }
    }

    pub(super) fn add(&mut self, rows: &[HeldRow], kinds: &Kinds) {
        for row in rows {
            self.slots[row.account as usize].counted += Counted { shares: row.count, weight: kinds.weight(row) };
        }
    }

    pub(super) fn subtract(&mut self, rows: &[HeldRow], kinds: &Kinds) {
        for row in rows {
            let counted = &mut self.slots[row.account as usize].counted;
            counted.shares -= row.count;
            counted.weight -= kinds.weight(row);
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.counted = Counted::default());
    }

    /// Returns how many accounts have rows, and how many slots there are.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.indices.len(), self.slots.len())
    }

    /// Returns what is counted of each account, in the order of the accounts, in weights times `factor`.
    pub(super) fn sums(&self, factor: U512) -> Vec<(AccountId, Counted)> {
        let counted = self.slots.iter().filter(|slot| slot.counted.shares > 0);
        let scaled = |slot: &Slot| {
            let Counted { shares, weight } = slot.counted;
            (slot.id, Counted { shares, weight: weight * factor })
        };
        let mut sums: Vec<_> = counted.map(scaled).collect();
        sums.sort_unstable_by_key(|(account, _)| *account);
        sums
    }
}
