//! The job for the next height: how channels get it before there is a tip for it, and how it is activated.
//!
//! Clients differ in how long they keep a job that waits. Some forget it when they get another job to start at once, and
//! small devices have room for the last eight jobs and judge its shares by the target of when they got it. So a channel
//! gets it again, under a new id, behind each job to start at once; proxies, whose channels share a group, keep it as the
//! specification says. Clients that require standard jobs get it with the tip: the reference implementation's miner
//! begins what it is at from the first nonce again whenever it gets a job, also one that is to wait.

use std::{sync::Arc, time::Instant};

use super::{
    GROUP_CHANNEL_ID, Outbox, Session, SessionKind,
    outbox::{prev_hash, send_extended_job, standard_job},
};
use crate::mining::{
    ahead::{JobAhead, Work},
    job::{Job, JobNumber},
};

/// A job for the next height that every channel holds, under the id that the channel knows.
#[derive(Debug)]
pub(super) struct SentAhead {
    job: Arc<JobAhead>,
    /// The one id of all channels, if it was sent to their group: then the group is told of the tip.
    group_job_id: Option<u32>,
}

impl SentAhead {
    /// Returns the number of the job.
    pub(super) fn number(&self) -> JobNumber {
        self.job.number()
    }
}

impl Session {
    /// Passes on what is news: the newest job, the job for the next height.
    pub fn take_up(&mut self, work: &Work, now: Instant, out: &mut impl Outbox) {
        if self.newest_job.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &work.job)) {
            self.new_job(&work.job, now, out);
        }
        if let Some(ahead) = &work.ahead
            && self.sent_ahead.as_ref().is_none_or(|known| known.number() != ahead.number())
        {
            self.send_ahead(ahead, out);
        }
    }

    /// Sends the job for the next height to all channels.
    fn send_ahead(&mut self, ahead: &Arc<JobAhead>, out: &mut impl Outbox) {
        let Some(first) = self.channels.keys().next().copied().filter(|_| self.kind == SessionKind::Any) else {
            return;
        };
        let (job, job_id) = (Arc::clone(ahead), self.take_job_id());
        if self.channels.len() == 1 {
            self.send_ahead_to(first, job_id, &job, out);
            self.sent_ahead = Some(SentAhead { job, group_job_id: None });
            return;
        }
        for channel in self.channels.values_mut() {
            channel.set_ahead_id(Some(job_id));
        }
        send_extended_job(GROUP_CHANNEL_ID, job_id, job.unfinished(), None, out);
        self.sent_ahead = Some(SentAhead { job, group_job_id: Some(job_id) });
    }

    /// Sends it to a channel that was opened since, so that every channel holds what the others do.
    pub(super) fn send_ahead_to_new(&mut self, channel_id: u32, out: &mut impl Outbox) {
        let Some(SentAhead { job, group_job_id }) = &self.sent_ahead else { return };
        let job = Arc::clone(job);
        match *group_job_id {
            // The group will be told of the tip by this id.
            Some(job_id) => self.send_ahead_to(channel_id, job_id, &job, out),
            // One channel knows it, and from now on there is a group, which does not.
            None => self.send_ahead(&job, out),
        }
    }

    /// Sends it once more to a channel that has got another job to start at once, if that is one of the clients that
    /// need it.
    pub(super) fn send_ahead_again(&mut self, channel_id: u32, out: &mut impl Outbox) {
        if let Some(SentAhead { job, group_job_id: None }) = &self.sent_ahead {
            let job = Arc::clone(job);
            let job_id = self.take_job_id();
            self.send_ahead_to(channel_id, job_id, &job, out);
        }
    }

    fn send_ahead_to(&mut self, channel_id: u32, job_id: u32, job: &JobAhead, out: &mut impl Outbox) {
        let channel = self.channels.get_mut(&channel_id).expect("callers name an open channel");
        channel.set_ahead_id(Some(job_id));
        match channel.fixed_extranonce() {
            Some(extranonce) => {
                let root = job.merkle_root(&extranonce);
                out.send(&standard_job(channel_id, job_id, job.unfinished(), None, root));
            }
            None => send_extended_job(channel_id, job_id, job.unfinished(), None, out),
        }
    }

    /// Turns to the tip for which all channels hold a job: it becomes `job`, and a client hears of the tip alone. Targets
    /// stay as they are, since some devices would judge by the one before; a job that follows soon brings new ones.
    pub(super) fn activate_ahead(&mut self, ahead: &SentAhead, job: &Arc<Job>, out: &mut impl Outbox) {
        let min_ntime = job.template().curtime;
        for channel in self.channels.values_mut() {
            let channel_id = channel.id();
            let job_id = channel.ahead_id().expect("every channel holds what was sent ahead");
            channel.set_ahead_id(None);
            channel.give(job, job_id, min_ntime);
            if ahead.group_job_id.is_none() {
                out.send(&prev_hash(channel_id, job_id, job));
            }
        }
        if let Some(job_id) = ahead.group_job_id {
            out.send(&prev_hash(GROUP_CHANNEL_ID, job_id, job));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::Network;
    use protocol::{
        codec::U256,
        messages::mining::{CloseChannel, ServerMessage, UpdateChannel},
    };

    use super::*;
    use crate::{
        mining::{
            coinbase::{Coinbase, PoolTag},
            difficulty::Difficulty,
            extranonce::ExtranonceSpace,
            job::{JobOrigin, SharePosition, tests::job},
            session::{ChannelWish, OpenRequest, SessionPolicy, tests::Sent},
            share::{ShareError, Submission, ValidShare},
        },
        template::Template,
    };

    const TIME: u32 = 1_700_000_000;
    const HARD: u32 = 0x1702_1369;
    const ANY_TARGET: U256 = U256([0xff; 32]);
    const EXTENDED: ChannelWish = ChannelWish::Extended(4);

    /// A session whose every hash is a share, and what it has sent.
    struct Miner {
        session: Session,
        sent: Sent,
        now: Instant,
    }

    impl Miner {
        /// Opens channels on a job.
        fn open(kind: SessionKind, wishes: &[ChannelWish], work: &Work) -> Self {
            let policy = SessionPolicy {
                shares_per_minute: 1e9,
                initial_difficulty: Difficulty::MIN,
                min_difficulty: Difficulty::MIN,
                max_channels: 4,
                max_shares_per_job: usize::MAX,
                harder_than_network: true,
            };
            let session = Session::new(Arc::new(policy), Arc::new(ExtranonceSpace::new(1, 1, 100)), kind);
            let mut miner = Self { session, sent: Sent::default(), now: Instant::now() };
            for &wish in wishes {
                miner.open_one(wish, work);
            }
            miner
        }

        fn open_one(&mut self, wish: ChannelWish, work: &Work) -> Vec<ServerMessage> {
            let (request_id, nominal_hash_rate, max_target) = (1, 0.0, ANY_TARGET);
            let request = OpenRequest { request_id, wish, nominal_hash_rate, max_target, least_difficulty: None };
            self.session.open(request, &work.job, self.now, &mut self.sent).unwrap();
            self.take_up(work)
        }

        fn take_up(&mut self, work: &Work) -> Vec<ServerMessage> {
            self.session.take_up(work, self.now, &mut self.sent);
            self.sent.take()
        }

        fn submit(
            &mut self,
            channel_id: u32,
            job_id: u32,
            nonce: u32,
        ) -> Result<ValidShare, super::super::SubmitRefusal> {
            let extranonce: &[u8] = match self.session.channels[&channel_id].kind() {
                crate::mining::channel::ChannelKind::Standard => &[],
                crate::mining::channel::ChannelKind::Extended => &[1, 2, 3, 4],
            };
            let (sequence_number, ntime, version) = (1, TIME + 30, 0x2000_0000);
            let submission = Submission { sequence_number, job_id, nonce, ntime, version, extranonce };
            self.session.submit(channel_id, &submission, self.now, &mut self.sent)
        }

        /// Hands in a right share.
        fn find_share(&mut self, channel_id: u32, job_id: u32) -> ValidShare {
            (0..100)
                .find_map(|nonce| self.submit(channel_id, job_id, nonce).ok())
                .expect("nearly every hash is a share")
        }

        fn refusal(&mut self, channel_id: u32, job_id: u32) -> super::super::SubmitRefusal {
            self.submit(channel_id, job_id, 1).unwrap_err()
        }
    }

    /// A job on the first tip, and the one for the next height.
    fn work() -> Work {
        let job = job(1, TIME, HARD);
        let next = job.template().next(Network::Bitcoin).unwrap();
        let number = JobNumber(job.number().0 + 1_000_000);
        let origin = JobOrigin { number, share_position: SharePosition(0), made_at: Instant::now(), made_at_ms: 0 };
        let tag = PoolTag::new("").unwrap();
        let (value, commitment) = (next.coinbase_value, &next.witness_commitment);
        let coinbase = Coinbase::new(next.height, value, &bitcoin::ScriptBuf::new(), commitment, &tag, number.0 as u32);
        let ahead = JobAhead::new(Job::new(Arc::new(next), coinbase, origin));
        Work { job, ahead: Some(Arc::new(ahead)), sequence: 0 }
    }

    /// The work that follows when the job ahead of `work` is activated by the second tip.
    fn activated(work: &Work) -> Work {
        let (ahead, tip) = (work.ahead.as_ref().unwrap(), job(2, TIME + 30, HARD));
        let next = work.job.template().next(Network::Bitcoin).unwrap();
        let template = Template { prev_hash: tip.template().prev_hash, curtime: TIME + 30, ..next };
        let number = ahead.number();
        let origin = JobOrigin { number, share_position: SharePosition(9), made_at: Instant::now(), made_at_ms: 0 };
        Work { job: Arc::new(ahead.activate(Arc::new(template), origin)), ahead: None, sequence: 1 }
    }

    /// The id under which a future job was sent to one channel or group, in the only message.
    fn future(sent: &[ServerMessage], to: u32) -> u32 {
        match sent {
            [ServerMessage::NewExtendedMiningJob(job)] if job.channel_id == to && job.min_ntime.is_none() => job.job_id,
            [ServerMessage::NewMiningJob(job)] if job.channel_id == to && job.min_ntime.is_none() => job.job_id,
            other => panic!("{other:?} is not one future job for {to}"),
        }
    }

    /// Asserts that channels or groups were told of the second tip, and nothing else.
    fn assert_tips(sent: &[ServerMessage], expected: &[(u32, u32)]) {
        let told = sent.iter().map(|message| match message {
            ServerMessage::SetNewPrevHash(tip) if tip.prev_hash == U256([2; 32]) => {
                assert_eq!((tip.min_ntime, tip.nbits), (TIME + 30, HARD));
                (tip.channel_id, tip.job_id)
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lone_channel_holds_the_job_and_hears_of_the_tip_alone() {
        for wish in [ChannelWish::Standard, EXTENDED] {
            let work = work();
            let mut miner = Miner::open(SessionKind::Any, &[], &work);
            let sent = miner.open_one(wish, &work);
            // The answer, the first job and its tip come before it: some devices start all that they hold with that.
            let job_id = future(&sent[3..], 2);
            assert!(matches!(sent[2], ServerMessage::SetNewPrevHash(tip) if tip.job_id != job_id));
            assert_eq!(miner.refusal(2, job_id).code(), "invalid-job-id");
            miner.sent.take();
            let next = activated(&work);
            assert_tips(&miner.take_up(&next), &[(2, job_id)]);
            let share = miner.find_share(2, job_id);
            assert_eq!((share.job().number(), share.job().share_position()), (next.job.number(), SharePosition(9)));
            // The first job is over.
            assert_eq!(miner.refusal(2, job_id - 1).code(), "stale-share");
        }
    }

    #[test]
    fn group_holds_one_job_and_is_told_of_the_tip_once() {
        let work = work();
        let bare = Work { ahead: None, ..work.clone() };
        let mut miner = Miner::open(SessionKind::Any, &[ChannelWish::Standard, EXTENDED, EXTENDED], &bare);
        let job_id = future(&miner.take_up(&work), GROUP_CHANNEL_ID);
        assert_tips(&miner.take_up(&activated(&work)), &[(GROUP_CHANNEL_ID, job_id)]);
        let hashes = [2, 3, 4].map(|channel_id| miner.find_share(channel_id, job_id).hash());
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2], "no search space is shared");
    }

    #[test]
    fn channel_opened_later_gets_what_its_group_holds_under_the_same_id() {
        let work = work();
        let bare = Work { ahead: None, ..work.clone() };
        let mut miner = Miner::open(SessionKind::Any, &[EXTENDED, EXTENDED], &bare);
        let job_id = future(&miner.take_up(&work), GROUP_CHANNEL_ID);
        for (channel_id, wish) in [(4, ChannelWish::Standard), (5, EXTENDED)] {
            let sent = miner.open_one(wish, &work);
            assert_eq!(future(&sent[3..], channel_id), job_id);
        }
        assert_tips(&miner.take_up(&activated(&work)), &[(GROUP_CHANNEL_ID, job_id)]);
        for channel_id in 2..=5 {
            miner.find_share(channel_id, job_id);
        }
    }

    /// A proxy's group must have been sent the job itself before it can be told of its tip.
    #[test]
    fn second_channel_makes_a_group_that_gets_the_job_anew() {
        let work = work();
        let mut miner = Miner::open(SessionKind::Any, &[EXTENDED], &work);
        let sent = miner.open_one(EXTENDED, &work);
        let job_id = future(&sent[3..], GROUP_CHANNEL_ID);
        assert_tips(&miner.take_up(&activated(&work)), &[(GROUP_CHANNEL_ID, job_id)]);
        for channel_id in [2, 3] {
            miner.find_share(channel_id, job_id);
        }
    }

    #[test]
    fn group_is_told_of_the_tip_also_when_one_channel_is_left() {
        let work = work();
        let mut miner = Miner::open(SessionKind::Any, &[EXTENDED, EXTENDED], &work);
        let reason_code = protocol::codec::Str0_255::new("test").unwrap();
        miner.session.close(&CloseChannel { channel_id: 2, reason_code });
        let sent = miner.take_up(&activated(&work));
        assert!(matches!(sent.as_slice(), [ServerMessage::SetNewPrevHash(tip)] if tip.channel_id == GROUP_CHANNEL_ID));
    }

    #[test]
    fn first_channel_of_a_new_group_gets_the_job_for_itself() {
        let work = work();
        let mut miner = Miner::open(SessionKind::Any, &[EXTENDED, EXTENDED], &work);
        let reason_code = protocol::codec::Str0_255::new("test").unwrap();
        miner.session.close(&CloseChannel { channel_id: GROUP_CHANNEL_ID, reason_code });
        assert_eq!(miner.take_up(&work), []);
        let sent = miner.open_one(EXTENDED, &work);
        let job_id = future(&sent[3..], 4);
        assert_tips(&miner.take_up(&activated(&work)), &[(4, job_id)]);
    }

    /// The reference implementation's miner begins the job that it is at anew when it gets another, also one that is to
    /// wait, and would hand in the same shares twice.
    #[test]
    fn client_that_requires_standard_jobs_gets_the_job_with_its_tip() {
        let work = work();
        let mut miner = Miner::open(SessionKind::StandardJobs, &[], &work);
        for _ in 0..2 {
            let sent = miner.open_one(ChannelWish::Standard, &work);
            // The answer, the first job and its tip.
            assert_eq!(sent.len(), 3, "{sent:?}");
        }
        assert_eq!(miner.take_up(&work), []);
        let next = activated(&work);
        let sent = miner.take_up(&next);
        for (channel_id, pair) in [2, 3].into_iter().zip(sent.chunks(2)) {
            let job_id = future(&pair[..1], channel_id);
            assert_tips(&pair[1..], &[(channel_id, job_id)]);
            assert_eq!(miner.find_share(channel_id, job_id).job().number(), next.job.number());
        }
        assert_eq!(sent.len(), 4, "{sent:?}");
    }

    #[test]
    fn client_that_selects_its_work_gets_none() {
        let work = work();
        let mut miner = Miner::open(SessionKind::WorkSelection, &[EXTENDED], &work);
        assert_eq!(miner.take_up(&work), []);
        assert_eq!(miner.take_up(&activated(&work)), []);
    }

    /// Some devices judge by the target of when they got the job, the specification by that of its activation: a job sent
    /// again agrees with both.
    #[test]
    fn new_target_brings_the_job_again_and_holds_for_it() {
        let work = work();
        let mut miner = Miner::open(SessionKind::Any, &[ChannelWish::Standard], &work);
        let before = miner.session.channels[&2].ahead_id().unwrap();
        let update = UpdateChannel { channel_id: 2, nominal_hash_rate: 1e18, maximum_target: ANY_TARGET };
        miner.session.update(&update, miner.now, &mut miner.sent);
        let sent = miner.sent.take();
        let [ServerMessage::SetTarget(_), ServerMessage::NewMiningJob(again), rest @ ..] = sent.as_slice() else {
            panic!("{sent:?}")
        };
        assert!(again.min_ntime.is_some());
        let job_id = future(rest, 2);
        assert_ne!(job_id, before);
        assert_tips(&miner.take_up(&activated(&work)), &[(2, job_id)]);
        assert_eq!(miner.refusal(2, job_id), super::super::SubmitRefusal::Share(ShareError::AboveTarget));
        assert_eq!(miner.refusal(2, before).code(), "stale-share");
    }

    #[test]
    fn job_that_no_tip_came_for_is_forgotten() {
        let work = work();
        let mut miner = Miner::open(SessionKind::Any, &[EXTENDED], &work);
        let job_id = miner.session.channels[&2].ahead_id().unwrap();
        // Another tip than it was made for, or a connection that did not read while it was activated.
        let other = Work { job: job(3, TIME + 30, HARD), ahead: None, sequence: 1 };
        let sent = miner.take_up(&other);
        assert!(
            matches!(sent.as_slice(), [ServerMessage::NewExtendedMiningJob(full), ServerMessage::SetNewPrevHash(tip)]
            if full.job_id == tip.job_id && full.job_id != job_id && full.min_ntime.is_none())
        );
        assert!(miner.submit(2, job_id, 1).is_err());
        miner.sent.take();
        // The late activation is a job like any other.
        let sent = miner.take_up(&activated(&work));
        assert!(matches!(sent.as_slice(), [ServerMessage::NewExtendedMiningJob(_), ServerMessage::SetNewPrevHash(tip)]
            if tip.job_id != job_id));
    }

    #[test]
    fn refreshed_job_brings_a_new_job_ahead_and_nothing_is_said_twice() {
        let first = work();
        let mut miner = Miner::open(SessionKind::Any, &[EXTENDED], &first);
        assert_eq!(miner.take_up(&first), []);
        let second = work();
        let sent = miner.take_up(&second);
        assert!(matches!(&sent[0], ServerMessage::NewExtendedMiningJob(active) if active.min_ntime.is_some()));
        let job_id = future(&sent[1..], 2);
        // The job before, whose tip comes late, is not what the client would start now.
        assert_tips(&miner.take_up(&activated(&second)), &[(2, job_id)]);
    }
}
