//! Takes the share log into the history: each segment once, after it has ceased to grow.
//!
//! How far it has come is stored together with what came in, so a death in between loses nothing and repeats nothing. What
//! folds and deletes old shares waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use payouts::{
    history::{Progress, Resolution, by_workers, roll_up, seen},
    share::ShareSeq,
    store::{HistoryStep, Store, StoreError},
};
use tokio::{sync::watch, time::timeout};
use tracing::{debug, warn};

use crate::{
    accounting::{
        segments::{Cut, Segments},
        share_log::unix_time_ms,
    },
    metrics::Metrics,
};

/// How often it is looked whether the log was cut.
const INTERVAL: Duration = Duration::from_secs(5);
/// Workers whose shares come in by one transaction: shares wait for the disk meanwhile.
const WORKERS: usize = 256;
/// Rows of the share log that one turn takes in, unless a segment has more.
const ROWS: u64 = 20_000;
/// Segments that one turn takes in.
const SEGMENTS: u32 = 256;
/// Blocks whose work is told in one round.
const BLOCKS: u32 = 64;

/// Keeps the history up with the share log until the pool shuts down. What fails is tried again in the next round.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// The share log as it grows.
    pub segments: Segments,
    /// Where shares and history are.
    pub store: Arc<dyn Store>,
    /// Up to when it has come.
    pub reach: Reach,
}

/// Up to when the history tells of shares; all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Reach(Arc<AtomicI64>);

impl Reach {
    /// Has shown how far that is behind the present.
    pub fn register(&self, metrics: &mut Metrics) {
        let reach = self.clone();
        let text = "How far behind the present the history of shares ends, by which charts are drawn";
        metrics.measured_seconds("history_lag", text, move || reach.lag_s(unix_time_ms()));
    }

    fn note(&self, until_ms: i64) {
        self.0.store(until_ms, Ordering::Relaxed);
    }

    /// Returns nothing before it is known.
    fn lag_s(&self, now_ms: i64) -> Option<f64> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            until_ms => Some(now_ms.saturating_sub(until_ms).max(0) as f64 / 1e3),
        }
    }
}

impl Recorder {
    /// Works in rounds until the pool shuts down. What comes in after the last is taken in at the next start.
    pub async fn run(self, mut draining: watch::Receiver<bool>) {
        let (mut pruned_at_ms, mut failed) = (i64::MIN, false);
        loop {
            let now_ms = unix_time_ms();
            match self.round(pruned_at_ms, now_ms).await {
                Ok(()) => (pruned_at_ms, failed) = (now_ms, false),
                Err(error) if failed => debug!(%error, "history still cannot be written"),
                Err(error) => {
                    warn!(%error, "history cannot be written, will try again");
                    failed = true;
                }
            }
            if timeout(INTERVAL, draining.wait_for(|draining| *draining)).await.is_ok() {
                return;
            }
        }
    }

    async fn round(&self, pruned_at_ms: i64, now_ms: i64) -> Result<(), StoreError> {
        let cut = self.segments.last_cut();
        self.segments.settled(cut.position).await;
        let mut progress = match self.store.history_progress().await? {
            Some(progress) => progress,
            None => self.begin(now_ms).await?,
        };
        self.reach.note(progress.until_ms);
        while let Some(next) = self.turn(progress, cut, now_ms).await? {
            progress = next;
        }
        if !progress.is_amid() {
            self.tell_blocks(progress).await?;
        }
        for resolution in Resolution::ALL {
            if resolution.begin_of(now_ms) != resolution.begin_of(pruned_at_ms) {
                self.prune(resolution, now_ms).await?;
            }
        }
        Ok(())
    }

    /// Begins a history before the oldest share that is kept.
    async fn begin(&self, now_ms: i64) -> Result<Progress, StoreError> {
        let everything = ShareSeq::new(i64::MAX);
        let oldest = self.store.segment_sizes(ShareSeq::new(0), everything, 1).await?.into_iter().next();
        let origin = match oldest {
            Some(oldest) => ShareSeq::new(oldest.position.get() - 1),
            // Where no share is left, blocks that were found before have taken what nobody knows any more.
            None => self.store.blocks(1).await?.first().map_or(ShareSeq::new(0), |block| block.found.share_position),
        };
        let to = Progress::begin(origin, oldest.map(|oldest| oldest.begun_at_ms), now_ms);
        self.store.step_history(&HistoryStep { from: None, to, rows: vec![], seen: vec![] }).await?;
        Ok(to)
    }

    /// Takes in the next segments, or goes on where it was interrupted. Returns where the history is then; nothing when it has
    /// come to the cut, or is elsewhere than was thought: the answer to a step was lost, and the next round goes on there.
    async fn turn(&self, mut progress: Progress, cut: Cut, now_ms: i64) -> Result<Option<Progress>, StoreError> {
        let from = progress;
        if !progress.is_amid() {
            match self.next_goal(progress.upto, cut.position).await? {
                Some(goal) => progress = progress.towards(goal),
                None if progress.until_ms == cut.at_ms => return Ok(None),
                None => {
                    let to = Progress { until_ms: cut.at_ms, ..progress };
                    let step = HistoryStep { from: Some(from), to, rows: vec![], seen: vec![] };
                    if self.store.step_history(&step).await? {
                        self.reach.note(to.until_ms);
                    }
                    return Ok(None);
                }
            }
        }
        let shares = self.store.shares_by_worker(progress.upto, progress.goal, progress.worker).await?;
        let mut step = HistoryStep { from: Some(from), to: progress, rows: vec![], seen: vec![] };
        for part in by_workers(&shares, WORKERS) {
            let worker = part.last().map_or(progress.worker, |last| last.worker);
            step.to = step.to.past(worker, part);
            (step.rows, step.seen) = (roll_up(part, now_ms), seen(part));
            if worker < shares.last().map_or(worker, |last| last.worker) {
                if !self.store.step_history(&step).await? {
                    return Ok(None);
                }
                step.from = Some(step.to);
            }
        }
        step.to = step.to.arrived();
        Ok(self.store.step_history(&step).await?.then_some(step.to))
    }

    /// Returns the last segment of the next turn; nothing if there is none up to the cut.
    async fn next_goal(&self, upto: ShareSeq, cut: ShareSeq) -> Result<Option<ShareSeq>, StoreError> {
        let sizes = self.store.segment_sizes(upto, cut, SEGMENTS).await?;
        let mut rows = 0;
        let within = sizes.iter().take_while(|size| {
            rows += size.rows;
            rows <= ROWS
        });
        let last = within.last().or(sizes.first());
        Ok(last.map(|last| last.position))
    }

    /// Says of new blocks how much work there was up to them: what their rounds have taken is known from then on, however
    /// long the next one takes.
    async fn tell_blocks(&self, progress: Progress) -> Result<(), StoreError> {
        for (block, position) in self.store.blocks_without_work(progress.origin, progress.upto, BLOCKS).await? {
            let behind = self.store.all_work_between(position, progress.upto).await?;
            self.store.keep_block_work(block, progress.work.more_than(behind)).await?;
        }
        Ok(())
    }

    async fn prune(&self, resolution: Resolution, now_ms: i64) -> Result<(), StoreError> {
        while self.store.prune_history(resolution, now_ms.saturating_sub(resolution.kept_ms())).await? > 0 {}
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::{Address, BlockHash, CompactTarget, address::NetworkUnchecked, hashes::Hash};
    use payouts::{
        account::AccountId,
        history::Subject,
        share::{Difficulty, JobNumber, JobTerms, Reward, ShareGroup, ShareRun},
        store::{HistoryStore, sqlite::SqliteStore},
    };
    use tempfile::TempDir;

    use super::*;

    const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    /// A pool whose shares come from nowhere.
    struct Fixture {
        store: Arc<SqliteStore>,
        account: AccountId,
        session: i64,
        groups: i64,
        _folder: TempDir,
    }

    impl Fixture {
        async fn new() -> Fixture {
            let folder = tempfile::tempdir().unwrap();
            let store = Arc::new(SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap());
            let address: Address<NetworkUnchecked> = ADDRESS.parse().unwrap();
            let account = store.account(address.assume_checked_ref()).await.unwrap();
            let session = store.begin_session().await.unwrap();
            Fixture { store, account, session, groups: 0, _folder: folder }
        }

        fn recorder(&self, segments: &Segments) -> Recorder {
            let store = Arc::clone(&self.store) as Arc<dyn Store>;
            Recorder { segments: segments.clone(), store, reach: Reach::default() }
        }

        /// Puts one share of each of so many workers into a segment.
        async fn add(&mut self, segment: ShareSeq, workers: usize) {
            let job = JobTerms {
                job: JobNumber::new(1),
                position: ShareSeq::new(0),
                opened_at_ms: 0,
                prev_hash: Some(BlockHash::all_zeros()),
                height: Some(1),
                nbits: CompactTarget::from_consensus(0x207f_ffff),
                subsidy: None,
                fees: None,
            };
            let at_ms = unix_time_ms();
            let run = |worker: usize| ShareRun {
                account: self.account,
                worker: format!("rig {worker}").into(),
                job,
                difficulty: Difficulty::from_log2(10).unwrap(),
                reward: Reward::Shared,
                count: 1,
                first_at_ms: at_ms,
                last_at_ms: at_ms,
            };
            self.groups += 1;
            let runs = (0..workers).map(run).collect();
            let group = ShareGroup { session: self.session, number: self.groups, segment, runs };
            self.store.append_shares(&group).await.unwrap();
        }

        /// Shares that the history knows of the account and of the pool.
        async fn known(&self) -> [u64; 2] {
            let mut known = [0; 2];
            for (known, subject) in known.iter_mut().zip([Subject::Account(self.account), Subject::Pool]) {
                let now_ms = unix_time_ms();
                let past =
                    self.store.past(subject, Resolution::Day, now_ms - 2 * 86_400_000, now_ms + 1).await.unwrap();
                *known = past.work.iter().map(|(.., count)| count).sum();
            }
            known
        }
    }

    async fn round(recorder: &Recorder) {
        recorder.round(i64::MIN, unix_time_ms()).await.unwrap();
    }

    #[tokio::test]
    async fn segments_are_taken_in_when_they_have_ceased_to_grow_and_once() {
        let mut fixture = Fixture::new().await;
        let segments = Segments::of_session(fixture.session).unwrap();
        let recorder = fixture.recorder(&segments);
        let open = segments.begin_group();
        fixture.add(open, 3).await;
        segments.end_group();
        round(&recorder).await;
        assert_eq!(fixture.known().await, [0, 0], "it grows still");
        segments.cut();
        for _ in 0..2 {
            round(&recorder).await;
            assert_eq!(fixture.known().await, [3, 3]);
        }
        let progress = fixture.store.history_progress().await.unwrap().unwrap();
        let cut_at_ms = segments.last_cut().at_ms;
        assert_eq!((progress.upto, progress.until_ms), (open, cut_at_ms));
        assert_eq!(recorder.reach.lag_s(cut_at_ms + 1_500), Some(1.5));
        let next = segments.begin_group();
        fixture.add(next, 2).await;
        segments.end_group();
        segments.cut();
        round(&recorder).await;
        assert_eq!(fixture.known().await, [5, 5]);
    }

    #[tokio::test]
    async fn turn_that_was_interrupted_goes_on_with_the_workers_that_are_left() {
        let mut fixture = Fixture::new().await;
        let workers = 2 * WORKERS + 10;
        let segments = Segments::of_session(fixture.session).unwrap();
        let open = segments.begin_group();
        fixture.add(open, workers).await;
        segments.end_group();
        segments.cut();
        // The first step alone, as a pool takes it that dies then.
        let begun = fixture.recorder(&segments).begin(unix_time_ms()).await.unwrap();
        let shares = fixture.store.shares_by_worker(begun.upto, open, begun.worker).await.unwrap();
        let part = by_workers(&shares, WORKERS)[0];
        let to = begun.towards(open).past(part.last().unwrap().worker, part);
        let rows = roll_up(part, unix_time_ms());
        assert!(fixture.store.step_history(&HistoryStep { from: Some(begun), to, rows, seen: vec![] }).await.unwrap());
        assert_eq!(fixture.known().await, [WORKERS as u64; 2]);

        // The next run of the pool: more shares come meanwhile.
        let segments = Segments::of_session(fixture.session + 1).unwrap();
        let recorder = fixture.recorder(&segments);
        assert_eq!(recorder.reach.lag_s(7), None);
        round(&recorder).await;
        assert_eq!(recorder.reach.lag_s(segments.last_cut().at_ms), Some(0.0));
        assert_eq!(fixture.known().await, [workers as u64; 2]);
        let progress = fixture.store.history_progress().await.unwrap().unwrap();
        assert_eq!(progress.work, fixture.store.all_work_between(ShareSeq::new(0), open).await.unwrap());
        assert!(!progress.is_amid());
        assert_eq!(fixture.store.workers_seen(None, 0).await.unwrap(), workers as u64 - WORKERS as u64);
    }

    #[tokio::test]
    async fn history_of_old_books_begins_with_their_oldest_share() {
        let mut fixture = Fixture::new().await;
        let old = ShareSeq::of_session(fixture.session, 70).unwrap();
        fixture.add(old, 4).await;
        let segments = Segments::of_session(fixture.session + 1).unwrap();
        round(&fixture.recorder(&segments)).await;
        let progress = fixture.store.history_progress().await.unwrap().unwrap();
        assert_eq!((progress.origin, fixture.known().await), (ShareSeq::new(old.get() - 1), [4, 4]));
        assert!(progress.since_ms <= progress.until_ms);
    }
}
