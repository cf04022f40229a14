//! Jobs out of templates: when one is made, and what becomes of the one that was sent ahead.
//!
//! Owns the numbers of jobs and their places in the share log. Who gets a job, and in which messages, belongs to
//! [`crate::mining::session`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use bitcoin::{Network, ScriptBuf};
use tokio::{sync::watch, task::JoinHandle, time::timeout_at};
use tracing::{debug, info};

use crate::{
    accounting::{segments::Segments, share_log::unix_time_ms},
    mining::{
        ahead::{JobAhead, Work},
        coinbase::{Coinbase, PoolTag},
        job::{Job, JobNumber, JobOrigin, SharePosition},
    },
    template::{LatestTemplate, Template},
};

/// How long after a new tip the job for the next height goes out, unless another job comes before and takes it along:
/// nothing shall stand between the tip and the last of the connections.
const AHEAD_DELAY: Duration = Duration::from_secs(1);

/// How far the time of jobs may be ahead of the node's, in seconds. If it is by more, a clock was wrong that is right now;
/// blocks of two hours ahead are worth nothing.
const MAX_LEAD_S: u32 = 600;

/// What turns a template into a job.
pub(crate) struct JobMaker {
    script: ScriptBuf,
    tag: PoolTag,
    segments: Segments,
    session: i64,
    /// The network, if a job for the next height is sent ahead.
    ahead_on: Option<Network>,
    made: u32,
}

impl JobMaker {
    /// Makes jobs for a session of the pool, whose coinbases pay to `script` and hold the tag; with a network, also those
    /// that are sent ahead.
    pub(crate) fn new(
        script: ScriptBuf,
        tag: PoolTag,
        segments: Segments,
        session: i64,
        ahead_on: Option<Network>,
    ) -> Self {
        Self { script, tag, segments, session, ahead_on, made: 0 }
    }

    fn make(&mut self, template: Arc<Template>) -> Arc<Job> {
        let (number, coinbase) = self.begin(&template);
        Arc::new(Job::new(template, coinbase, origin(number, self.segments.cut())))
    }

    /// Makes another job of the same template, with the time that it has become.
    fn renew(&mut self, job: &Job) -> Arc<Job> {
        self.make(Arc::new(Template { curtime: job.time_at(Instant::now()), ..job.template().clone() }))
    }

    /// Begins the job for the height after, if that is wanted and certain. It has the greatest number so far, as it must
    /// have when it is activated: a channel takes up no job that is older than what it has forgotten.
    fn begin_ahead(&mut self, template: &Template) -> Option<Arc<JobAhead>> {
        let next = template.next(self.ahead_on?)?;
        let (number, coinbase) = self.begin(&next);
        // The log is cut when the job is activated.
        let origin = origin(number, SharePosition::default());
        Some(Arc::new(JobAhead::new(Job::new(Arc::new(next), coinbase, origin))))
    }

    /// Completes the job that was sent ahead. The node's clock goes on from where `last` saw it.
    fn activate(&self, ahead: &JobAhead, template: &Template, last: &Job) -> Arc<Job> {
        let curtime = template.curtime.max(last.time_at(Instant::now()));
        let template = Arc::new(Template { curtime, ..template.clone() });
        Arc::new(ahead.activate(template, origin(ahead.number(), self.segments.cut())))
    }

    /// Takes a number, and puts it into the template's coinbase.
    fn begin(&mut self, template: &Template) -> (JobNumber, Coinbase) {
        let made = self.made;
        self.made = made.checked_add(1).expect("two jobs a second make 2^32 of them in 68 years");
        let (value, commitment) = (template.coinbase_value, &template.witness_commitment);
        let coinbase = Coinbase::new(template.height, value, &self.script, commitment, &self.tag, made);
        (JobNumber(self.session << 32 | i64::from(made)), coinbase)
    }
}

/// Returns the template with a time that is not before that of the last job, unless a clock was set back.
fn not_before(last: &Job, template: Arc<Template>) -> Arc<Template> {
    let (earliest, curtime) = (last.template().curtime, template.curtime);
    match earliest.saturating_sub(curtime) {
        1..=MAX_LEAD_S => Arc::new(Template { curtime: earliest, ..Template::clone(&template) }),
        _ => template,
    }
}

fn origin(number: JobNumber, share_position: SharePosition) -> JobOrigin {
    JobOrigin { number, share_position, made_at: Instant::now(), made_at_ms: unix_time_ms() }
}

/// Makes a job of the present template, and of each that follows until nobody wants jobs any more. Returns also the task that
/// does.
///
/// No job becomes older than `longest`: when the node gives nothing new, the last template serves again. Devices take
/// a pool that says nothing for a dead one, and leave it after one to three minutes.
///
/// # Errors
///
/// If there is no template yet.
pub(crate) fn make_jobs(
    mut templates: watch::Receiver<LatestTemplate>,
    maker: JobMaker,
    longest: Duration,
) -> anyhow::Result<(watch::Receiver<Work>, JoinHandle<()>)> {
    let first = templates.borrow_and_update().clone().context("there is no template")?;
    let mut desk = Desk::begin(maker, first, longest);
    let (sender, work) = watch::channel(desk.work.clone());
    let task = tokio::spawn(async move {
        loop {
            let changed = tokio::select! {
                changed = timeout_at(desk.deadline().into(), templates.changed()) => changed,
                () = sender.closed() => return,
            };
            match changed {
                Ok(Ok(())) => match templates.borrow_and_update().clone() {
                    Some(template) => desk.take(template),
                    None => continue,
                },
                Ok(Err(_)) => return,
                Err(_) => desk.go_on(),
            }
            sender.send_replace(desk.work.clone());
        }
    });
    Ok((work, task))
}

/// What is being worked on, and since when.
struct Desk {
    maker: JobMaker,
    longest: Duration,
    work: Work,
    /// When the job began to be worked on.
    since: Instant,
    /// When the job for the next height is sent, if it waits for that.
    ahead_due: Option<Instant>,
}

impl Desk {
    fn begin(mut maker: JobMaker, first: Arc<Template>, longest: Duration) -> Self {
        let (job, since) = (maker.make(first), Instant::now());
        // There are no connections yet whom it could delay.
        let work = Work { ahead: maker.begin_ahead(job.template()), job, sequence: 0 };
        Self { maker, longest, work, since, ahead_due: None }
    }

    /// Returns when to go on without a template.
    fn deadline(&self) -> Instant {
        let renewal = self.since + self.longest;
        self.ahead_due.map_or(renewal, |due| due.min(renewal))
    }

    /// Makes the next job of a template.
    ///
    /// On the same tip it never begins before the last one: a client may leave when a job's first time is below that of
    /// `SetNewPrevHash`, which can be ahead of the node's clock, and the miners with it.
    ///
    /// On a new tip it goes out alone: if the template is what the job ahead was made for, that job is activated, and
    /// whoever has it needs to hear of no more than the tip.
    fn take(&mut self, template: Arc<Template>) {
        let now = Instant::now();
        let (height, transactions) = (template.height, template.transactions.len());
        let same_tip = template.prev_hash == self.work.job.template().prev_hash;
        if same_tip {
            let was_empty = self.work.job.template().transactions.is_empty();
            if was_empty && transactions > 0 {
                let after_ms = (now - self.since).as_millis();
                info!(height, transactions, after_ms, "full job follows the empty one on the tip");
            }
            return self.put_with_ahead(|maker, last| maker.make(not_before(last, template)));
        }
        let ahead = self.work.ahead.take().filter(|ahead| ahead.fits(&template));
        let sent_ahead = ahead.is_some();
        info!(height, tip = %template.prev_hash, transactions, sent_ahead, "new tip");
        let job = match ahead {
            Some(ahead) => self.maker.activate(&ahead, &template, &self.work.job),
            None => self.maker.make(template),
        };
        self.work = Work { job, ahead: None, sequence: self.work.sequence + 1 };
        self.since = now;
        self.ahead_due = Some(now + AHEAD_DELAY);
    }

    /// Does what is due when the node has given nothing new.
    fn go_on(&mut self) {
        if Instant::now() >= self.since + self.longest {
            return self.put_with_ahead(|maker, last| maker.renew(last));
        }
        self.ahead_due = None;
        self.work.ahead = self.maker.begin_ahead(self.work.job.template());
        debug!(is_certain = self.work.ahead.is_some(), "job for the next height");
    }

    /// Puts another job on the same tip, and a new one for the next height beside it. Some clients forget what they had
    /// for the next height when they get another job for this one, and others have room for the last few jobs only.
    fn put_with_ahead(&mut self, make: impl FnOnce(&mut JobMaker, &Job) -> Arc<Job>) {
        let job = make(&mut self.maker, &self.work.job);
        let sequence = self.work.sequence + 1;
        self.work = Work { ahead: self.maker.begin_ahead(job.template()), job, sequence };
        self.since = Instant::now();
        self.ahead_due = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::mining::{extranonce::FULL_EXTRANONCE_SIZE, job::tests::template};
    use tokio::time::timeout;

    #[tokio::test]
    async fn job_is_renewed_with_a_later_time_when_the_node_gives_no_template() {
        const LONGEST: Duration = Duration::from_millis(1_100);

        let (node, templates) = watch::channel(Some(template(1, 1_700_000_000, 0x1702_1369)));
        let session = 1;
        let segments = Segments::of_session(session).unwrap();
        let maker = JobMaker::new(ScriptBuf::new(), PoolTag::new("/Adit/").unwrap(), segments, session, None);
        let (mut jobs, _task) = make_jobs(templates, maker, LONGEST).unwrap();
        let mut known = vec![Arc::clone(&jobs.borrow_and_update().job)];
        for _ in 0..2 {
            let begun = Instant::now();
            timeout(10 * LONGEST, jobs.changed()).await.unwrap().unwrap();
            assert!(begun.elapsed() > LONGEST / 2, "{:?}", begun.elapsed());
            known.push(Arc::clone(&jobs.borrow_and_update().job));
        }
        for pair in known.windows(2) {
            let [before, after] = pair else { panic!("windows of two") };
            assert!(after.same_tip(before) && after.number() > before.number());
            assert!(after.template().curtime > before.template().curtime);
            // Not the same work once more: it cannot even be told apart from new transactions.
            let root = |job: &Job| job.merkle_root(&[7; FULL_EXTRANONCE_SIZE]);
            assert_ne!(root(after), root(before));
        }

        node.send_replace(Some(template(2, 1_700_000_100, 0x1702_1369)));
        jobs.changed().await.unwrap();
        assert!(!jobs.borrow().job.same_tip(&known[0]), "a template is taken at once");
    }

    const TIME: u32 = 1_700_000_000;
    const BITS: u32 = 0x1702_1369;
    /// An interval that no test lives to see.
    const LONG: Duration = Duration::from_secs(3_600);

    fn desk(ahead_on: Option<Network>) -> (Desk, Segments) {
        let segments = Segments::of_session(1).unwrap();
        let maker = JobMaker::new(ScriptBuf::new(), PoolTag::new("/Adit/").unwrap(), segments.clone(), 1, ahead_on);
        (Desk::begin(maker, template(1, TIME, BITS), LONG), segments)
    }

    /// The template without transactions on the block with this byte, as the tip tells it.
    fn empty(last: &Desk, prev_hash: u8) -> Template {
        let next = last.work.job.template().next(Network::Bitcoin).unwrap();
        Template { prev_hash: template(prev_hash, TIME, BITS).prev_hash, ..next }
    }

    #[test]
    fn job_ahead_is_activated_by_the_template_that_it_was_made_for() {
        let (mut desk, segments) = desk(Some(Network::Bitcoin));
        let (first, ahead) = (Arc::clone(&desk.work.job), desk.work.ahead.clone().unwrap());
        assert!(ahead.number() > first.number());
        // Shares came since it was sent ahead.
        segments.begin_group();
        segments.end_group();
        desk.take(Arc::new(empty(&desk, 2)));
        let job = Arc::clone(&desk.work.job);
        assert_eq!((job.number(), job.template().height), (ahead.number(), 900_001));
        assert!(job.share_position() > first.share_position(), "its block pays for all shares before the tip");
        assert!(job.template().curtime >= first.template().curtime);
        let extranonce = [7; FULL_EXTRANONCE_SIZE];
        assert_eq!(job.merkle_root(&extranonce), ahead.merkle_root(&extranonce));
        assert!(desk.work.ahead.is_none(), "nothing stands between the tip and the connections");

        // The full job brings the next one along.
        let full = Template { height: 900_001, ..Template::clone(&template(2, TIME + 1, BITS)) };
        desk.take(Arc::new(full));
        assert!(desk.work.job.number() > job.number() && desk.work.job.same_tip(&job));
        assert!(desk.work.ahead.as_ref().unwrap().number() > desk.work.job.number());
    }

    #[test]
    fn job_ahead_follows_a_new_tip_although_no_other_job_comes() {
        let (mut desk, _) = desk(Some(Network::Bitcoin));
        desk.take(Arc::new(empty(&desk, 2)));
        let job = Arc::clone(&desk.work.job);
        assert!(desk.deadline() <= Instant::now() + AHEAD_DELAY);
        desk.go_on();
        assert!(Arc::ptr_eq(&desk.work.job, &job), "the same job, which nobody is given again");
        assert!(desk.work.ahead.as_ref().unwrap().number() > job.number());
        assert!(desk.deadline() > Instant::now() + AHEAD_DELAY);
    }

    #[test]
    fn each_job_on_a_tip_has_a_job_ahead_of_its_own() {
        let (mut desk, _) = desk(Some(Network::Bitcoin));
        let mut numbers = vec![desk.work.job.number(), desk.work.ahead.as_ref().unwrap().number()];
        for second in 1..4 {
            desk.take(template(1, TIME + second, BITS));
            numbers.extend([desk.work.job.number(), desk.work.ahead.as_ref().unwrap().number()]);
        }
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    }

    /// The translator leaves, with all its miners, when a job begins before its tip.
    #[test]
    fn job_on_the_same_tip_never_begins_before_the_last_one() {
        let (mut desk, _) = desk(Some(Network::Bitcoin));
        let tip = Template { curtime: TIME + 9, ..empty(&desk, 2) };
        desk.take(Arc::new(tip));
        assert_eq!(desk.work.job.template().curtime, TIME + 9);
        for (of_the_node, given) in [(TIME + 7, TIME + 9), (TIME + 8, TIME + 9), (TIME + 10, TIME + 10)] {
            let full = Template { height: 900_001, ..Template::clone(&template(2, of_the_node, BITS)) };
            desk.take(Arc::new(full));
            assert_eq!(desk.work.job.template().curtime, given);
        }
        // The node's clock was set back.
        let late = TIME + 10 - MAX_LEAD_S - 1;
        desk.take(Arc::new(Template { height: 900_001, ..Template::clone(&template(2, late, BITS)) }));
        assert_eq!(desk.work.job.template().curtime, late);
        // Another tip may have an earlier time.
        desk.take(Arc::new(Template { height: 900_000, ..Template::clone(&template(3, TIME, BITS)) }));
        assert_eq!(desk.work.job.template().curtime, TIME);
    }

    #[test]
    fn other_template_on_a_new_tip_makes_a_job_of_its_own() {
        // With transactions, at another height as after a reorganisation, and with another target.
        let others: [fn(Template) -> Template; 3] = [
            |next| Template { transactions: template(2, TIME, BITS).transactions.clone(), ..next },
            |next| Template { height: next.height - 1, ..next },
            |next| Template { nbits: bitcoin::CompactTarget::from_consensus(BITS - 1), ..next },
        ];
        for other in others {
            let (mut desk, _) = desk(Some(Network::Bitcoin));
            let ahead = desk.work.ahead.clone().unwrap();
            desk.take(Arc::new(other(empty(&desk, 2))));
            assert!(desk.work.job.number() > ahead.number() && desk.work.ahead.is_none());
        }
    }

    #[test]
    fn nothing_is_sent_ahead_where_it_is_not_wanted_or_not_certain() {
        for ahead_on in [None, Some(Network::Testnet4)] {
            let (mut desk, _) = desk(ahead_on);
            assert!(desk.work.ahead.is_none());
            desk.take(template(1, TIME + 1, BITS));
            assert!(desk.work.ahead.is_none());
            desk.take(template(2, TIME + 1, BITS));
            desk.go_on();
            assert!(desk.work.ahead.is_none() && desk.deadline() > Instant::now() + AHEAD_DELAY);
        }
    }
}
