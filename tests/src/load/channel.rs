//! A channel of the load: its jobs, tips and targets as the server sends them, and its shares. Owns which job is the
//! present one; how its shares are found is in `work`.

use std::collections::VecDeque;

use protocol::{
    codec::{B0_32, U256},
    messages::mining::{SetNewPrevHash, SubmitSharesExtended, SubmitSharesStandard},
};

use super::{
    unanswered::Unanswered,
    work::{Extranonce, Job, Share, Spoiled, Tip, Work},
};

/// Future jobs that a channel keeps. A pool may send several ahead of a tip; the oldest give way.
const MAX_FUTURE_JOBS: usize = 16;

/// What a message has changed for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A job waits for its tip.
    None,
    /// The channel has turned to a tip.
    Activated {
        /// Whether the job there holds transactions, if that can be seen.
        is_full: Option<bool>,
    },
    /// The channel has got another job on the present tip.
    Started {
        /// Whether it is the first one after the activation.
        is_second: bool,
        /// Whether it is the first one that is seen to hold transactions.
        is_first_full: bool,
    },
}

/// One open channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: u32,
    pub(super) group_id: u32,
    pub(super) unanswered: Unanswered,
    extranonce: Extranonce,
    target: U256,
    tip: Option<Tip>,
    future: VecDeque<(Job, U256)>,
    work: Option<Work>,
    next_sequence_number: u32,
    jobs_on_tip: u32,
    has_full_job: bool,
}

impl Channel {
    /// Starts a channel that was opened; `extranonce_size` is zero for a standard channel.
    pub(super) fn new(id: u32, group_id: u32, target: U256, prefix: &[u8], extranonce_size: usize) -> Self {
        Self {
            id,
            group_id,
            unanswered: Unanswered::default(),
            extranonce: Extranonce { prefix: prefix.to_vec(), size: extranonce_size },
            target,
            tip: None,
            future: VecDeque::new(),
            work: None,
            next_sequence_number: 1,
            jobs_on_tip: 0,
            has_full_job: false,
        }
    }

    /// Tells whether there is something to hash.
    pub(super) fn has_work(&self) -> bool {
        self.work.is_some()
    }

    /// Returns the present tip's hash.
    pub(super) fn prev_hash(&self) -> Option<[u8; 32]> {
        self.tip.map(|tip| tip.prev_hash)
    }

    /// Sets the target of the jobs that follow.
    pub(super) fn set_target(&mut self, target: U256) {
        self.target = target;
    }

    /// Sets the extranonce prefix of the jobs that follow.
    pub(super) fn set_prefix(&mut self, prefix: &[u8]) {
        self.extranonce.prefix = prefix.to_vec();
    }

    /// Takes a job: a future one without `min_ntime`, or one to be started at once.
    pub(super) fn give(&mut self, job: Job, min_ntime: Option<u32>) -> Result<Change, &'static str> {
        let Some(ntime) = min_ntime else {
            if self.future.len() == MAX_FUTURE_JOBS {
                self.future.pop_front();
            }
            self.future.push_back((job, self.target));
            return Ok(Change::None);
        };
        let tip = self.tip.ok_or("a job to be started before any tip")?;
        let is_first_full = job.is_full() == Some(true) && !self.has_full_job;
        self.has_full_job |= is_first_full;
        self.jobs_on_tip += 1;
        self.work = Some(Work::new(job, tip, ntime, self.target, self.extranonce.clone()));
        Ok(Change::Started { is_second: self.jobs_on_tip == 2, is_first_full })
    }

    /// Turns to a tip with one of the future jobs. The others stay: they may be for a tip that is yet to come.
    pub(super) fn activate(&mut self, message: &SetNewPrevHash) -> Result<Change, &'static str> {
        let tip = Tip { prev_hash: message.prev_hash.0, nbits: message.nbits };
        let place = self.future.iter().position(|(job, _)| job.job_id == message.job_id);
        let Some((job, target)) = place.and_then(|place| self.future.remove(place)) else {
            // What is hashed now is stale.
            self.work = None;
            self.tip = Some(tip);
            return Err("a tip for a job that was not given");
        };
        let is_full = job.is_full();
        self.tip = Some(tip);
        self.jobs_on_tip = 1;
        self.has_full_job = is_full == Some(true);
        // A client may apply a new target at once or with the next job: a share for the harder one is right either way.
        let target = target.min(self.target);
        self.work = Some(Work::new(job, tip, message.min_ntime, target, self.extranonce.clone()));
        Ok(Change::Activated { is_full })
    }

    /// Finds the next share and notes it as submitted. None if there is no work, or none in sight.
    pub(super) fn next_submission(&mut self, now_us: u64, spoiled: &mut Spoiled) -> Option<Submission> {
        let share = self.work.as_mut()?.next_share(spoiled)?;
        let sequence_number = self.next_sequence_number;
        self.next_sequence_number += 1;
        self.unanswered.submit(sequence_number, now_us);
        Some(Submission { channel_id: self.id, sequence_number, share })
    }
}

/// A share with what its message names beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Submission {
    channel_id: u32,
    sequence_number: u32,
    share: Share,
}

impl Submission {
    pub(super) fn standard(&self) -> SubmitSharesStandard {
        let Self { channel_id, sequence_number, share } = *self;
        let Share { job_id, nonce, ntime, version, .. } = share;
        SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version }
    }

    pub(super) fn extended(&self) -> SubmitSharesExtended {
        let Self { channel_id, sequence_number, share } = *self;
        let Share { job_id, nonce, ntime, version, extranonce, extranonce_len } = share;
        let extranonce = B0_32::new(&extranonce[..extranonce_len]).expect("an array of 32 bytes holds no more");
        SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::{
        super::work::{Coinbase, Root},
        *,
    };

    fn channel() -> Channel {
        Channel::new(2, 1, U256::MAX, &[7; 8], 0)
    }

    fn job(job_id: u32) -> Job {
        Job { job_id, version: 0x2000_0000, root: Root::Given([job_id as u8; 32]) }
    }

    fn extended(job_id: u32, path: Vec<[u8; 32]>) -> Job {
        let coinbase = Coinbase { prefix: vec![1; 40], suffix: vec![2; 40], path };
        Job { root: Root::Coinbase(Arc::new(coinbase)), ..job(job_id) }
    }

    fn tip(job_id: u32, block: u8) -> SetNewPrevHash {
        let prev_hash = U256([block; 32]);
        SetNewPrevHash { channel_id: 2, job_id, prev_hash, min_ntime: 1_700_000_000, nbits: 0x1702_1369 }
    }

    fn next_job_id(channel: &mut Channel) -> Option<u32> {
        channel.next_submission(0, &mut Spoiled::default()).map(|submission| submission.share.job_id)
    }

    #[test]
    fn shares_are_for_the_newest_active_job_and_numbered_from_one() {
        let mut channel = channel();
        assert!(channel.give(job(1), Some(5)).is_err(), "there is no tip");
        assert_eq!(channel.give(job(2), None), Ok(Change::None));
        assert_eq!(next_job_id(&mut channel), None);
        assert_eq!(channel.activate(&tip(2, 1)), Ok(Change::Activated { is_full: None }));
        assert_eq!(next_job_id(&mut channel), Some(2));
        let started = Change::Started { is_second: true, is_first_full: false };
        assert_eq!(channel.give(job(3), Some(1_700_000_001)), Ok(started));
        let submission = channel.next_submission(0, &mut Spoiled::default()).unwrap();
        let expected = (2, 2, 3, 1_700_000_001);
        let sent = submission.standard();
        assert_eq!((sent.channel_id, sent.sequence_number, sent.job_id, sent.ntime), expected);
        assert_eq!(channel.unanswered.count(), 2);
    }

    #[test]
    fn jobs_sent_long_ahead_wait_for_their_own_tip() {
        let mut channel = channel();
        (1..=4).for_each(|id| assert_eq!(channel.give(job(id), None), Ok(Change::None)));
        channel.activate(&tip(3, 1)).unwrap();
        assert_eq!(next_job_id(&mut channel), Some(3));
        channel.give(job(5), None).unwrap();
        assert_eq!(next_job_id(&mut channel), Some(3), "the job is for a tip to come");
        channel.activate(&tip(4, 2)).unwrap();
        assert_eq!((next_job_id(&mut channel), channel.prev_hash()), (Some(4), Some([2; 32])));
        assert!(channel.activate(&tip(9, 3)).is_err());
        assert_eq!(next_job_id(&mut channel), None, "whatever it is, the former tip is stale");
        // As many as may come, and the one that waits is still there.
        (10..20).for_each(|id| assert_eq!(channel.give(job(id), None), Ok(Change::None)));
        channel.activate(&tip(5, 4)).unwrap();
        assert_eq!(next_job_id(&mut channel), Some(5));
        (20..200).for_each(|id| assert_eq!(channel.give(job(id), None), Ok(Change::None)));
        assert!(channel.activate(&tip(10, 5)).is_err(), "an endless row of jobs is not kept");
        channel.activate(&tip(199, 6)).unwrap();
    }

    #[test]
    fn the_first_job_with_transactions_is_told_from_an_empty_one_before_it() {
        let mut channel = Channel::new(2, 1, U256::MAX, &[7; 8], 4);
        channel.give(extended(1, Vec::new()), None).unwrap();
        assert_eq!(channel.activate(&tip(1, 1)), Ok(Change::Activated { is_full: Some(false) }));
        let started = |is_second, is_first_full| Ok(Change::Started { is_second, is_first_full });
        let ntime = Some(1_700_000_001);
        assert_eq!(channel.give(extended(2, vec![[1; 32]]), ntime), started(true, true));
        assert_eq!(channel.give(extended(3, vec![[2; 32]]), ntime), started(false, false));
        channel.give(extended(4, vec![[3; 32]]), None).unwrap();
        assert_eq!(channel.activate(&tip(4, 2)), Ok(Change::Activated { is_full: Some(true) }));
        assert_eq!(channel.give(extended(5, vec![[4; 32]]), ntime), started(true, false));
    }

    #[test]
    fn a_new_target_holds_for_the_next_job_only() {
        let mut channel = channel();
        channel.give(job(1), None).unwrap();
        channel.activate(&tip(1, 1)).unwrap();
        channel.set_target(U256::ZERO);
        assert_eq!(next_job_id(&mut channel), Some(1));
        channel.give(job(2), Some(1_700_000_001)).unwrap();
        assert_eq!(next_job_id(&mut channel), None, "nothing meets the new target");
    }
}
