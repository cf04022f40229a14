//! A job for the next height, sent ahead of the tip that it will build on: a block without transactions, of which clients
//! hold all but what `SetNewPrevHash` says (SV2 5.3.17).

use std::sync::Arc;

use super::{
    extranonce::FULL_EXTRANONCE_SIZE,
    job::{Job, JobNumber, JobOrigin},
};
use crate::template::Template;

/// What channels are to work on. Immutable: a newer one takes its place.
#[derive(Clone, Debug)]
pub struct Work {
    /// The newest job.
    pub job: Arc<Job>,
    /// The job for the height after, if there is one yet.
    pub ahead: Option<Arc<JobAhead>>,
    /// How many jobs of this run were to be started at once before this one, so that whoever skips some can count them.
    pub sequence: u64,
}

/// A job that waits for its tip.
#[derive(Debug)]
pub struct JobAhead {
    /// Complete but for the parent's hash and the time, which nobody here may look at.
    unfinished: Job,
}

impl JobAhead {
    /// Takes a job that was made of [`Template::next`].
    pub fn new(unfinished: Job) -> Self {
        Self { unfinished }
    }

    /// Returns the number that it has, and will have with its tip.
    pub fn number(&self) -> JobNumber {
        self.unfinished.number()
    }

    /// Returns the job, for what of it is known: version and coinbase.
    pub(super) fn unfinished(&self) -> &Job {
        &self.unfinished
    }

    /// Computes the merkle root for a full extranonce, which needs no tip.
    pub fn merkle_root(&self, extranonce: &[u8; FULL_EXTRANONCE_SIZE]) -> [u8; 32] {
        self.unfinished.merkle_root(extranonce)
    }

    /// Tells whether the template is the one that the job was made for, so that clients that hold the job lack nothing
    /// but its tip.
    pub fn fits(&self, template: &Template) -> bool {
        let fields = |of: &Template| (of.height, of.version, of.nbits, of.coinbase_value);
        template.transactions.is_empty() && fields(template) == fields(self.unfinished.template())
    }

    /// Completes the job with a template that it fits. Its number stays: no other job has its coinbase.
    ///
    /// The rest of its origin is that of now, not of when it was sent ahead. So its block pays for all shares up to the
    /// new tip, as that of every job on the tip does: whoever found one while it waited is not left out.
    pub fn activate(&self, template: Arc<Template>, origin: JobOrigin) -> Job {
        debug_assert!(self.fits(&template) && origin.number == self.number(), "{origin:?} of {template:?}");
        Job::new(template, self.unfinished.coinbase().clone(), origin)
    }
}
