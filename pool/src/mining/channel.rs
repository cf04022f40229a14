//! One mining channel: the jobs it was given, the target each was given with, and the judgement of its shares.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bitcoin::Target;

use super::{
    difficulty::Difficulty,
    extranonce::{ExtranoncePrefix, FULL_EXTRANONCE_SIZE},
    job::{Job, JobNumber, sha256d},
    seen_shares::SeenShares,
    share::{HeldJob, MAX_NTIME_OFFSET_S, ROLLABLE_VERSION_BITS, ShareError, Submission, ValidShare, block_hash},
    vardiff::Vardiff,
};

/// Jobs on one tip for which a channel still takes shares; with a job every 25 seconds that is over three minutes.
const MAX_LIVE_JOBS: usize = 8;
/// Ids under which one job can have been given to a channel: once when it was new, and again for each new target.
const MAX_IDS_PER_JOB: usize = 16;

/// What kind of channel it is (SV2 5.2.1, 5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// Rolls the header alone; its merkle root is fixed by its prefix.
    Standard,
    /// Rolls bytes of the extranonce too.
    Extended,
}

/// What a channel is allowed and wants.
#[derive(Clone, Copy, Debug)]
pub struct DifficultyBounds {
    /// The easiest that the pool gives and the client's `max_target` allows.
    pub easiest: Difficulty,
    /// The hardest that makes sense: none of the network's blocks may be hidden by it.
    pub hardest: Difficulty,
}

impl DifficultyBounds {
    /// Brings a difficulty within the bounds. Where they contradict each other, the client's `max_target` wins.
    pub fn clamp(self, difficulty: Difficulty) -> Difficulty {
        difficulty.min(self.hardest).max(self.easiest)
    }
}

/// A channel of one connection.
#[derive(Debug)]
pub struct Channel {
    id: u32,
    kind: ChannelKind,
    prefix: ExtranoncePrefix,
    max_target: Target,
    /// The least that the client wishes for.
    least_difficulty: Option<Difficulty>,
    /// What the next job is given with.
    difficulty: Difficulty,
    vardiff: Vardiff,
    /// Jobs on the present tip, oldest first.
    live: VecDeque<LiveJob>,
    /// The newest job whose shares are not remembered any more.
    forgotten: Option<JobNumber>,
    /// First and last job id that the channel was ever given.
    given_ids: Option<(u32, u32)>,
    /// Under which id the client holds the job for the next height, if it does.
    ahead_id: Option<u32>,
    /// Shares for one job that are remembered to find duplicates. More are refused.
    max_shares_per_job: usize,
}

/// A job that the channel may hand in shares for.
#[derive(Debug)]
struct LiveJob {
    job: Arc<HeldJob>,
    /// For a standard channel, whose extranonce is fixed.
    merkle_root: Option<[u8; 32]>,
    ids: VecDeque<GivenId>,
    /// One set for all ids: the same header under another id is a duplicate.
    seen: SeenShares,
}

/// An id under which the job was sent, with what was in force at that moment.
#[derive(Clone, Copy, Debug)]
struct GivenId {
    job_id: u32,
    difficulty: Difficulty,
    min_ntime: u32,
}

impl Channel {
    /// Opens a channel that starts with `difficulty`.
    pub fn new(
        id: u32,
        kind: ChannelKind,
        prefix: ExtranoncePrefix,
        max_target: Target,
        difficulty: Difficulty,
        shares_per_minute: f64,
        now: Instant,
    ) -> Self {
        let vardiff = Vardiff::new(difficulty, shares_per_minute, now);
        Self {
            id,
            kind,
            prefix,
            max_target,
            least_difficulty: None,
            difficulty,
            vardiff,
            live: VecDeque::new(),
            forgotten: None,
            given_ids: None,
            ahead_id: None,
            max_shares_per_job: usize::MAX,
        }
    }

    /// Keeps to a difficulty that the client wishes to be the least.
    #[must_use]
    pub fn with_least_difficulty(self, least_difficulty: Option<Difficulty>) -> Self {
        Self { least_difficulty, ..self }
    }

    /// Remembers so many shares of a job at most, each in some 18 bytes, and takes no more.
    #[must_use]
    pub fn with_max_shares_per_job(self, max_shares_per_job: usize) -> Self {
        Self { max_shares_per_job, ..self }
    }

    /// Returns the id, unique within the connection.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns the kind.
    pub fn kind(&self) -> ChannelKind {
        self.kind
    }

    /// Returns the extranonce prefix.
    pub fn prefix(&self) -> &ExtranoncePrefix {
        &self.prefix
    }

    /// Returns the difficulty that the next job is given with.
    pub fn difficulty(&self) -> Difficulty {
        self.difficulty
    }

    /// Returns the largest target that the client takes.
    pub fn max_target(&self) -> Target {
        self.max_target
    }

    /// Returns the least difficulty that the client wishes for.
    pub fn least_difficulty(&self) -> Option<Difficulty> {
        self.least_difficulty
    }

    /// Returns the newest job, if one was given.
    pub fn newest_job(&self) -> Option<&Arc<Job>> {
        self.live.back().map(|live| &live.job.0)
    }

    /// Returns the time with which the newest job must begin when it is given again: later than any that the client can
    /// have hashed, so that a client that starts anew does nothing twice. None before the first job.
    pub fn restart_ntime(&self, now: Instant) -> Option<u32> {
        let live = self.live.back()?;
        let given = live.ids.back().map_or(0, |given| given.min_ntime);
        Some(live.job.0.time_at(now).max(given).saturating_add(1))
    }

    /// Notes under which id the client has got the job for the next height, or that it is void. No share is taken for it
    /// before it is given: its target is that of then (SV2 5.3.21).
    pub fn set_ahead_id(&mut self, ahead_id: Option<u32>) {
        self.ahead_id = ahead_id;
    }

    /// Returns under which id the client holds the job for the next height, if it does.
    pub fn ahead_id(&self) -> Option<u32> {
        self.ahead_id
    }

    /// Takes over the client's wish for another largest target.
    pub fn set_max_target(&mut self, max_target: Target) {
        self.max_target = max_target;
    }

    /// Sets the difficulty for the jobs that follow; those already given keep theirs (SV2 5.3.21).
    pub fn set_difficulty(&mut self, difficulty: Difficulty, now: Instant) {
        self.difficulty = difficulty;
        self.vardiff.reset(difficulty, now);
    }

    /// Returns the difficulty that suits what the channel has shown, if that is certainly another than the present.
    pub fn suited_difficulty(&mut self, now: Instant) -> Option<Difficulty> {
        self.vardiff.judge(now)
    }

    /// Returns the difficulty for a hash rate that the client claims.
    pub fn difficulty_for(&self, nominal_hash_rate: f32) -> Difficulty {
        Difficulty::for_hash_rate(f64::from(nominal_hash_rate), self.vardiff.interval_s())
    }

    /// Notes that the job was sent under `job_id`, with the channel's present difficulty. A job on another tip
    /// makes all before it stale. Returns the merkle root, which a standard channel's message holds.
    ///
    /// Each job has one set of seen shares for as long as the channel takes shares for it. One whose set is gone is
    /// never taken up again: shares on it are stale, whatever id they name.
    pub fn give(&mut self, job: &Arc<Job>, job_id: u32, min_ntime: u32) -> [u8; 32] {
        // A job that was sent ahead has an id that is less than those given since.
        let (first, last) = self.given_ids.unwrap_or((job_id, job_id));
        self.given_ids = Some((first.min(job_id), last.max(job_id)));
        let known = self.live.iter().position(|live| live.job.0.number() == job.number());
        let index = match known {
            Some(index) => index,
            None => {
                let merkle_root = self.fixed_extranonce().map(|extranonce| job.merkle_root(&extranonce));
                if self.forgotten.is_some_and(|forgotten| job.number() <= forgotten) {
                    return merkle_root.unwrap_or_default();
                }
                self.make_room(job);
                self.live.push_back(LiveJob {
                    job: Arc::new(HeldJob(Arc::clone(job))),
                    merkle_root,
                    ids: VecDeque::with_capacity(1),
                    seen: SeenShares::default(),
                });
                self.live.len() - 1
            }
        };
        let live = &mut self.live[index];
        if live.ids.len() == MAX_IDS_PER_JOB {
            live.ids.pop_front();
        }
        live.ids.push_back(GivenId { job_id, difficulty: self.difficulty, min_ntime });
        live.merkle_root.unwrap_or_default()
    }

    /// Forgets the jobs that end with a new one: all on another tip, or the oldest if there are too many.
    fn make_room(&mut self, job: &Job) {
        let ends_all = self.newest_job().is_some_and(|newest| !newest.same_tip(job));
        let keep = if ends_all { 0 } else { MAX_LIVE_JOBS - 1 };
        while self.live.len() > keep {
            let oldest = self.live.pop_front().map(|live| live.job.0.number());
            self.forgotten = self.forgotten.max(oldest);
        }
    }

    /// Judges a submission by the job it names and the target that was in force for that job; cheap checks first.
    ///
    /// # Errors
    ///
    /// What is wrong with it; nothing has been changed then.
    pub fn validate(&mut self, submission: &Submission<'_>) -> Result<ValidShare, ShareError> {
        let (index, given) = self.find(submission.job_id)?;
        let max_ntime = given.min_ntime.saturating_add(MAX_NTIME_OFFSET_S);
        if !(given.min_ntime..=max_ntime).contains(&submission.ntime) {
            return Err(ShareError::TimeOutOfRange { ntime: submission.ntime, min_ntime: given.min_ntime });
        }
        let live = &mut self.live[index];
        if (submission.version ^ live.job.0.version()) & !ROLLABLE_VERSION_BITS != 0 {
            return Err(ShareError::FixedVersionBit(submission.version));
        }
        let extranonce = self.prefix.full(submission.extranonce).ok_or(ShareError::ExtranonceSize {
            seen: submission.extranonce.len(),
            granted: self.prefix.rollable_size(),
        })?;
        let merkle_root = live.merkle_root.unwrap_or_else(|| live.job.0.merkle_root(&extranonce));
        let header = live.job.0.header(submission.version, &merkle_root, submission.ntime, submission.nonce);
        let hash = block_hash(sha256d(&header));
        if !given.difficulty.target().is_met_by(hash) {
            return Err(ShareError::AboveTarget);
        }
        // A block is worth more than the memory for it.
        if live.seen.len() >= self.max_shares_per_job && !live.job.0.template().target.is_met_by(hash) {
            return Err(ShareError::TooManyShares);
        }
        if !live.seen.insert(hash) {
            return Err(ShareError::Duplicate);
        }
        let job = Arc::clone(&live.job);
        self.vardiff.count(given.difficulty);
        Ok(ValidShare {
            job,
            job_id: submission.job_id,
            sequence_number: submission.sequence_number,
            difficulty: given.difficulty,
            header,
            hash,
            extranonce,
        })
    }

    /// Finds what was given under an id: the place of its job and what was in force.
    fn find(&self, job_id: u32) -> Result<(usize, GivenId), ShareError> {
        // The newest is what nearly every share is for.
        for (index, live) in self.live.iter().enumerate().rev() {
            if let Some(given) = live.ids.iter().rev().find(|given| given.job_id == job_id) {
                return Ok((index, *given));
            }
        }
        match self.given_ids {
            _ if self.ahead_id == Some(job_id) => Err(ShareError::UnknownJob(job_id)),
            Some((first, last)) if (first..=last).contains(&job_id) => Err(ShareError::Stale(job_id)),
            _ => Err(ShareError::UnknownJob(job_id)),
        }
    }

    /// Returns the full extranonce of a standard channel, which cannot choose it.
    pub fn fixed_extranonce(&self) -> Option<[u8; FULL_EXTRANONCE_SIZE]> {
        match self.kind {
            ChannelKind::Standard => self.prefix.full(&[]),
            ChannelKind::Extended => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::mining::{extranonce::ExtranonceSpace, job::tests::job};

    const TIME: u32 = 1_700_000_000;
    /// Regtest: every second hash is a block.
    const EASY: u32 = 0x207f_ffff;
    /// About the network of 2026: nothing here is a block.
    const HARD: u32 = 0x1702_1369;

    fn channel(kind: ChannelKind, difficulty: Difficulty) -> Channel {
        let rollable = if kind == ChannelKind::Standard { 0 } else { 4 };
        let prefix = ExtranonceSpace::new(1, 1, 10).allocate(rollable).unwrap();
        let max_target = Target::from_le_bytes([0xff; 32]);
        Channel::new(2, kind, prefix, max_target, difficulty, 10.0, Instant::now())
    }

    fn submission(job_id: u32, nonce: u32, extranonce: &[u8]) -> Submission<'_> {
        Submission { sequence_number: 1, job_id, nonce, ntime: TIME, version: 0x2000_0000, extranonce }
    }

    /// Finds a nonce whose share is right.
    fn solve(channel: &mut Channel, job_id: u32, extranonce: &[u8]) -> (u32, ValidShare) {
        (0..1_000_000)
            .find_map(|nonce| Some((nonce, channel.validate(&submission(job_id, nonce, extranonce)).ok()?)))
            .expect("an easy share within a million hashes")
    }

    #[test]
    fn share_of_a_standard_and_an_extended_channel_is_taken_once() {
        for (kind, extranonce) in [(ChannelKind::Standard, &[][..]), (ChannelKind::Extended, &[1, 2, 3, 4][..])] {
            let mut channel = channel(kind, Difficulty::from_log2(-28));
            channel.give(&job(1, TIME, HARD), 7, TIME);
            let (nonce, share) = solve(&mut channel, 7, extranonce);
            assert!(!share.is_block());
            assert_eq!(share.difficulty(), Difficulty::from_log2(-28));
            let again = channel.validate(&submission(7, nonce, extranonce));
            assert_eq!(again.unwrap_err(), ShareError::Duplicate);
        }
    }

    #[test]
    fn block_is_recognised_and_its_header_hashes_to_the_share() {
        let mut channel = channel(ChannelKind::Extended, Difficulty::MIN);
        channel.give(&job(1, TIME, EASY), 1, TIME);
        let block = (0..)
            .find_map(|nonce| channel.validate(&submission(1, nonce, &[0; 4])).ok().filter(ValidShare::is_block))
            .unwrap();
        assert_eq!(block_hash(sha256d(&block.block()[..80])), block.hash());
        assert!(Target::from_compact(bitcoin::CompactTarget::from_consensus(EASY)).is_met_by(block.hash()));
    }

    #[test]
    fn new_tip_makes_older_jobs_stale_and_unknown_ids_stay_unknown() {
        let mut channel = channel(ChannelKind::Standard, Difficulty::MIN);
        channel.give(&job(1, TIME, HARD), 5, TIME);
        channel.give(&job(2, TIME, HARD), 9, TIME);
        assert_eq!(channel.validate(&submission(5, 0, &[])).unwrap_err(), ShareError::Stale(5));
        assert_eq!(channel.validate(&submission(4, 0, &[])).unwrap_err(), ShareError::UnknownJob(4));
        assert_eq!(channel.validate(&submission(10, 0, &[])).unwrap_err(), ShareError::UnknownJob(10));
    }

    #[test]
    fn late_share_is_judged_by_the_target_of_its_own_job() {
        let mut channel = channel(ChannelKind::Standard, Difficulty::from_log2(-28));
        channel.give(&job(1, TIME, HARD), 1, TIME);
        channel.set_difficulty(Difficulty::from_log2(40), Instant::now());
        channel.give(&job(1, TIME + 30, HARD), 2, TIME + 30);
        let (_, share) = solve(&mut channel, 1, &[]);
        assert_eq!(share.difficulty(), Difficulty::from_log2(-28));
        let mut newest = submission(2, 0, &[]);
        newest.ntime = TIME + 30;
        assert_eq!(channel.validate(&newest).unwrap_err(), ShareError::AboveTarget);
    }

    #[test]
    fn shares_beyond_the_memory_for_duplicates_are_refused_but_for_blocks() {
        let mut channel = channel(ChannelKind::Extended, Difficulty::MIN).with_max_shares_per_job(2);
        channel.give(&job(1, TIME, HARD), 1, TIME);
        let judged: Vec<_> = (0..100).map(|nonce| channel.validate(&submission(1, nonce, &[0; 4]))).collect();
        assert_eq!(judged.iter().filter(|share| share.is_ok()).count(), 2);
        assert_eq!(judged.last().unwrap().as_ref().unwrap_err(), &ShareError::TooManyShares);
        channel.give(&job(2, TIME, EASY), 2, TIME);
        let mut judge = |nonce| channel.validate(&submission(2, nonce, &[0; 4]));
        let blocks = (0..100).filter_map(|nonce| judge(nonce).ok()).skip(2).collect::<Vec<_>>();
        assert!(!blocks.is_empty() && blocks.iter().all(ValidShare::is_block));
        let again = (0..100).map(judge).filter(|judged| judged.as_ref().err() == Some(&ShareError::Duplicate)).count();
        assert!(again >= blocks.len(), "they are not taken twice");
    }

    #[test]
    fn one_header_under_two_ids_of_one_job_is_credited_once() {
        let mut channel = channel(ChannelKind::Standard, Difficulty::from_log2(-28));
        let job = job(1, TIME, HARD);
        channel.give(&job, 1, TIME);
        let (nonce, _) = solve(&mut channel, 1, &[]);
        channel.give(&job, 2, TIME);
        assert_eq!(channel.validate(&submission(2, nonce, &[])).unwrap_err(), ShareError::Duplicate);
    }

    /// The share log does not look for duplicates: what a channel has seen of a job must hold for as long as it takes
    /// shares for it, however often and in whatever order jobs are given.
    #[test]
    fn no_share_is_taken_twice_whatever_is_given_again() {
        let mut channel = channel(ChannelKind::Extended, Difficulty::from_log2(-28));
        let (first, second) = (job(1, TIME, HARD), job(1, TIME + 30, HARD));
        channel.give(&first, 1, TIME);
        let (nonce, _) = solve(&mut channel, 1, &[0; 4]);
        // Under another id, behind a newer job.
        channel.give(&second, 2, TIME + 30);
        channel.give(&first, 3, TIME);
        for job_id in [1, 3] {
            let again = channel.validate(&submission(job_id, nonce, &[0; 4]));
            assert_eq!(again.unwrap_err(), ShareError::Duplicate);
        }
        // When it has made room for others.
        for job_id in 4..4 + MAX_LIVE_JOBS as u32 {
            channel.give(&job(1, TIME, HARD), job_id, TIME);
        }
        channel.give(&first, 20, TIME);
        assert_eq!(channel.validate(&submission(20, nonce, &[0; 4])).unwrap_err(), ShareError::Stale(20));
        // When a tip comes back for which it was made.
        let newest = job(1, TIME, HARD);
        channel.give(&newest, 21, TIME);
        let (nonce, _) = solve(&mut channel, 21, &[0; 4]);
        channel.give(&job(2, TIME, HARD), 22, TIME);
        channel.give(&newest, 23, TIME);
        assert_eq!(channel.validate(&submission(23, nonce, &[0; 4])).unwrap_err(), ShareError::Stale(23));
    }

    /// Channels, connections and runs of the pool never share a search space.
    #[test]
    fn one_nonce_makes_another_header_on_each_channel_job_and_run() {
        let (one, other) = (job(1, TIME, HARD), job(1, TIME, HARD));
        let mut headers = HashSet::new();
        for (server, session) in [(1, 1), (1, 2), (2, 1)] {
            let space = ExtranonceSpace::new(server, session, 10);
            for _ in 0..3 {
                // Its place is given back, its number is not.
                let prefix = space.allocate(0).unwrap();
                let root = one.merkle_root(&prefix.full(&[]).unwrap());
                assert!(headers.insert(one.header(one.version(), &root, TIME, 7)));
            }
        }
        // The coinbase has the job's number, which differs between jobs of one run.
        let prefix = ExtranonceSpace::new(1, 1, 10).allocate(0).unwrap();
        let root = |job: &Job| job.merkle_root(&prefix.full(&[]).unwrap());
        assert_ne!(root(&one), root(&other));
    }

    #[test]
    fn only_the_newest_jobs_stay_live() {
        let mut channel = channel(ChannelKind::Extended, Difficulty::MIN);
        for job_id in 0..=MAX_LIVE_JOBS as u32 {
            channel.give(&job(1, TIME, HARD), job_id, TIME);
        }
        assert_eq!(channel.validate(&submission(0, 0, &[0; 4])).unwrap_err(), ShareError::Stale(0));
        assert_ne!(channel.validate(&submission(1, 0, &[0; 4])).err(), Some(ShareError::Stale(1)));
    }

    #[test]
    fn fields_out_of_range_are_named() {
        let mut channel = channel(ChannelKind::Extended, Difficulty::MIN);
        channel.give(&job(1, TIME, HARD), 1, TIME);
        let right = submission(1, 0, &[0; 4]);
        let code = |channel: &mut Channel, submission| channel.validate(&submission).unwrap_err().code();
        for ntime in [TIME - 1, TIME + 7201] {
            assert_eq!(code(&mut channel, Submission { ntime, ..right }), "invalid-share");
        }
        for bit in [0, 4, 29, 31] {
            let version = right.version ^ (1 << bit);
            assert_eq!(code(&mut channel, Submission { version, ..right }), "invalid-non-rollable-version-bit");
        }
        for extranonce in [&[0; 3][..], &[0; 5], &[]] {
            assert_eq!(code(&mut channel, Submission { extranonce, ..right }), "bad-extranonce-size");
        }
        for bit in [5, 13, 28] {
            let version = right.version ^ (1 << bit);
            let judged = channel.validate(&Submission { version, ntime: TIME + 7200, ..right });
            assert!(matches!(judged, Ok(_) | Err(ShareError::AboveTarget)), "{judged:?}");
        }
    }

    #[test]
    fn all_24_bits_of_bip_323_roll_and_no_other() {
        let mut channel = channel(ChannelKind::Standard, Difficulty::MIN);
        channel.give(&job(1, TIME, HARD), 1, TIME);
        for bit in 0..32 {
            let right = submission(1, bit, &[]);
            let judged = channel.validate(&Submission { version: right.version ^ (1 << bit), ..right });
            let refused = matches!(judged, Err(ShareError::FixedVersionBit(_)));
            assert_eq!(refused, !(5..=28).contains(&bit), "bit {bit}");
        }
        // What devices roll is a part of them.
        const DEVICES: u32 = 0x1fff_e000;
        let judged = channel.validate(&Submission { version: 0x2000_0000 | DEVICES, ..submission(1, 99, &[]) });
        assert!(matches!(judged, Ok(_) | Err(ShareError::AboveTarget)), "{judged:?}");
    }
}
