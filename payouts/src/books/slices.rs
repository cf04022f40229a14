//! Cuts the window of a SLICE block into slices, by the jobs that its shares were found on.
//!
//! A slice begins with the first job in the window that builds on another block than the one before, or whose fees have
//! grown. Jobs that no share was found on are not known, and none is missed.

use std::collections::BTreeMap;

use bitcoin::{Amount, BlockHash, hashes::Hash};
use ruint::aliases::U512;

use crate::{
    scheme::{
        slice::{SliceIndex, SliceRule, Slices},
        window::Window,
    },
    share::{JobNumber, JobTerms, JobWork, ShareSeq, Work},
    store::{Store, StoreError},
};

/// The slices of a window, while work is counted in them.
struct Cut {
    slices: Slices,
    of_job: BTreeMap<JobNumber, SliceIndex>,
}

/// Puts its slices into a counted window, which was read in pages: after the first position, up to the second.
///
/// # Errors
///
/// If the store fails; [`StoreError::Contended`] if the log was folded between the two readings.
pub(super) async fn cut(
    store: &dyn Store,
    rule: SliceRule,
    window: Window,
    pages: &[(ShareSeq, ShareSeq)],
) -> Result<Window, StoreError> {
    let Some((oldest, newest)) = window.span() else { return Ok(window) };
    let before = |position: ShareSeq| ShareSeq::new(position.get() - 1);
    let mut slices = Slices::new(rule.growth);
    let jobs = store.jobs_between(before(oldest), newest).await?;
    let of_job = jobs.iter().map(|job| (job.job, slices.slice_of_job(tip(job), fees(job)))).collect();
    let mut cut = Cut { slices, of_job };
    let whole_after = window.edge().map_or(before(oldest), |edge| edge.position);
    let mut weight = U512::ZERO;
    for &(after, upto) in pages {
        let after = after.max(whole_after);
        if after >= upto {
            continue;
        }
        for done in store.work_between(after, upto).await? {
            weight += window.measure().weight_of(done.work, done.job.nbits);
            cut.count(&done, done.work)?;
        }
    }
    if let Some(edge) = window.edge() {
        // The same part of each share counts. Running sums, each rounded down, end at exactly the part of the whole.
        let (mut whole, mut through, mut given) = (U512::ZERO, Work::default(), Work::default());
        for done in store.work_between(before(edge.position), edge.position).await? {
            whole += window.measure().weight_of(done.work, done.job.nbits);
            through = through.plus(done.work);
            let due = through.part(edge.counted, edge.weight);
            cut.count(&done, due.more_than(given))?;
            given = due;
        }
        weight += edge.counted;
        if whole != edge.weight {
            return Err(StoreError::Contended);
        }
    }
    if weight != window.total().weight {
        return Err(StoreError::Contended);
    }
    Ok(window.sliced(cut.slices.parts(rule.fee_parts)))
}

impl Cut {
    fn count(&mut self, done: &JobWork, work: Work) -> Result<(), StoreError> {
        let slice = *self.of_job.get(&done.job.job).ok_or(StoreError::Contended)?;
        self.slices.count(slice, done.account, work, fees(&done.job));
        Ok(())
    }
}

/// The block that a job builds on; one for all of the time when that was not kept.
fn tip(job: &JobTerms) -> BlockHash {
    job.prev_hash.unwrap_or(BlockHash::all_zeros())
}

fn fees(job: &JobTerms) -> Amount {
    job.fees.unwrap_or(Amount::ZERO)
}

#[cfg(test)]
mod tests;
