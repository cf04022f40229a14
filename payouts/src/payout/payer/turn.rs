//! Whether it is time for new batches.

use super::{Payer, PayoutError, Selection, prepare::Made};
use crate::payout::{PayoutEvent, PayoutRun, Schedule, Slot};

/// Whether the schedule wants payouts now.
enum Turn {
    /// Whatever time it is.
    Whenever,
    /// Because this slot is not done with.
    Slot(Slot),
    /// It does not.
    No,
    /// It was chosen a moment ago: it begins with its next slot, and this one counts as done with.
    Begins(Slot),
}

impl Payer {
    /// Makes new batches if the schedule wants it, and notes a slot as done with once nothing is due any more. A slot
    /// that came while the pool was not running is made up for; of several, the last.
    pub(super) async fn take_turn(&mut self, now_ms: i64, events: &mut Vec<PayoutEvent>) -> Result<(), PayoutError> {
        let slot = match self.turn(now_ms).await? {
            Turn::No => return Ok(()),
            Turn::Begins(slot) => slot,
            Turn::Whenever => return self.make_batches(Selection::Due, events).await.map(drop),
            Turn::Slot(slot) => match self.make_batches(Selection::Due, events).await? {
                Made::All => slot,
                Made::NotAll => return Ok(()),
            },
        };
        let run = PayoutRun { schedule: self.policy.schedule, slot, at_ms: now_ms };
        self.store.note_run(&run).await?;
        match self.policy.schedule {
            // It was noted that it was chosen; there is nothing else to wait for.
            Schedule::Continuous => self.make_batches(Selection::Due, events).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Returns the slot that is not done with.
    pub(super) async fn open_slot(&self, now_ms: i64) -> Result<Option<Slot>, PayoutError> {
        Ok(match self.turn(now_ms).await? {
            Turn::Slot(slot) => Some(slot),
            Turn::Whenever | Turn::No | Turn::Begins(_) => None,
        })
    }

    async fn turn(&self, now_ms: i64) -> Result<Turn, PayoutError> {
        let schedule = self.policy.schedule;
        let last = self.store.last_run().await?;
        let is_new = last.is_some_and(|last| last.schedule != schedule);
        Ok(match (schedule, schedule.slot(now_ms)) {
            // So that a schedule with slots that is chosen again later begins anew.
            (Schedule::Continuous | Schedule::Manual, None) if is_new => Turn::Begins(Slot { at_ms: now_ms }),
            (Schedule::Continuous, _) => Turn::Whenever,
            (_, None) => Turn::No,
            (_, Some(slot)) => match last {
                Some(last) if !is_new && last.slot >= slot => Turn::No,
                Some(_) if !is_new => Turn::Slot(slot),
                Some(_) | None => Turn::Begins(slot),
            },
        })
    }
}
