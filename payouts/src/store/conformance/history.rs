//! What every store must do with the past of the pool.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    history::{
        PeakRow, Peaks, Progress, RefusedRow, Resolution, Stretch, Subject, WorkRow, WorkerId, WorkerShares, roll_up,
        seen,
    },
    store::HistoryStep,
};

const MINUTE_MS: i64 = 60_000;

/// The first step of a history, with all shares up to a position.
pub(super) async fn first_step(store: &dyn Store, goal: ShareSeq) -> HistoryStep {
    let begun = Progress::begin(ShareSeq::new(0), Some(0), 0);
    let shares = store.shares_by_worker(begun.upto, goal, begun.worker).await.unwrap();
    let to = begun.towards(goal).past(WorkerId::new(0), &shares).arrived();
    HistoryStep { from: None, to, rows: roll_up(&shares, 0), seen: seen(&shares) }
}

pub(crate) async fn shares_come_into_the_history_once(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    let rig = |account, worker: &str, at_ms| ShareRun { worker: worker.into(), ..share(account, at_ms) };
    let solo = ShareRun { reward: Reward::Solo, ..rig(other, "north", 61_000) };
    let runs = [rig(one, "south", 1), rig(one, "south", 2), rig(one, "north", 60_000), solo];
    let segment = append(&*store, &runs).await;

    assert_eq!(store.history_progress().await.unwrap(), None);
    let step = first_step(&*store, segment).await;
    let eighth = Difficulty::from_log2(-3).unwrap();
    assert_eq!(step.to.work, Work::of(eighth, 4));
    assert_eq!(store.all_work_between(ShareSeq::new(0), segment).await.unwrap(), step.to.work);
    assert_eq!(store.all_work_between(segment, ShareSeq::new(i64::MAX)).await.unwrap(), Work::default());
    for is_first in [true, false] {
        assert_eq!(store.step_history(&step).await.unwrap(), is_first);
        let late = HistoryStep { from: Some(Progress::begin(ShareSeq::new(7), None, 0)), ..step.clone() };
        assert!(!store.step_history(&late).await.unwrap(), "it begins where the history is not");
        assert_eq!(store.history_progress().await.unwrap(), Some(step.to));
        for resolution in Resolution::ALL {
            let all = async |subject| store.past(subject, resolution, 0, 2 * resolution.step_ms()).await.unwrap().work;
            let counts = async |subject| all(subject).await.iter().map(|(.., count)| count).sum::<u64>();
            let south = store.worker_id(one, "south").await.unwrap().unwrap();
            assert_eq!(counts(Subject::Pool).await, 4);
            assert_eq!((counts(Subject::Account(one)).await, counts(Subject::Account(other)).await), (3, 1));
            assert_eq!(counts(Subject::Worker(one, south)).await, 2);
        }
    }
    let by_minute = store.past(Subject::Account(one), Resolution::Minute, 0, 2 * MINUTE_MS).await.unwrap();
    assert_eq!(by_minute.work, [(0, eighth, 2), (MINUTE_MS, eighth, 1)]);
    assert_eq!(store.worker_id(one, "east").await.unwrap(), None);
    for (account, since_ms, workers) in
        [(None, 0, 3), (None, 60_000, 2), (None, 61_001, 0), (Some(one), 0, 2), (Some(other), 61_000, 1)]
    {
        assert_eq!(store.workers_seen(account, since_ms).await.unwrap(), workers, "{account:?} since {since_ms}");
    }
}

pub(crate) async fn shares_for_the_history_come_by_worker(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    let rig = |name: &str, at_ms| ShareRun { worker: name.into(), ..share(account, at_ms) };
    let positions = append_each(&*store, &[rig("a", 1), rig("b", 2), rig("a", 3), rig("c", 4)]).await;
    let id = async |name| store.worker_id(account, name).await.unwrap().unwrap();
    let (a, b, c) = (id("a").await, id("b").await, id("c").await);
    let read = async |after: usize, upto: usize, worker| -> Vec<(WorkerId, i64)> {
        let shares = store.shares_by_worker(positions[after], positions[upto], worker).await.unwrap();
        shares.iter().map(|shares: &WorkerShares| (shares.worker, shares.last_at_ms)).collect()
    };
    assert_eq!(read(0, 3, WorkerId::new(0)).await, [(a, 3), (b, 2), (c, 4)]);
    assert_eq!(read(0, 3, a).await, [(b, 2), (c, 4)]);
    assert_eq!(read(0, 2, WorkerId::new(0)).await, [(a, 3), (b, 2)]);
    assert_eq!(read(3, 3, WorkerId::new(0)).await, []);
}

pub(crate) async fn past_is_read_by_stretches_and_ends_with_its_time(store: AnyStore) {
    let (account, worker) = (AccountId::new(1), WorkerId::new(1));
    let (easy, hard) = (Difficulty::from_log2(1).unwrap(), Difficulty::from_log2(9).unwrap());
    let at =
        |minute: i64, subject| Stretch { resolution: Resolution::Minute, begins_at_ms: minute * MINUTE_MS, subject };
    let subjects = [Subject::Pool, Subject::Account(account), Subject::Worker(account, worker)];
    let mut rows = Vec::new();
    for (number, subject) in (1..).zip(subjects) {
        for minute in 0..400 {
            rows.push(WorkRow { stretch: at(minute, subject), difficulty: easy, count: number });
        }
        rows.push(WorkRow { stretch: at(7, subject), difficulty: hard, count: 10 });
    }
    let begun = Progress::begin(ShareSeq::new(0), None, 5);
    let mut step = HistoryStep { from: None, to: begun, rows, seen: vec![] };
    assert!(store.step_history(&step).await.unwrap());
    step = HistoryStep { from: Some(begun), to: begun.towards(ShareSeq::new(9)), ..step };
    assert!(store.step_history(&step).await.unwrap(), "what is there is added to");

    let read = async |subject, from: i64, to: i64| {
        store.past(subject, Resolution::Minute, from * MINUTE_MS, to * MINUTE_MS).await.unwrap().work
    };
    for (number, subject) in (1..).zip(subjects) {
        let of = |minute: i64, difficulty, count| (minute * MINUTE_MS, difficulty, count);
        let mut found = read(subject, 6, 9).await;
        found.sort();
        assert_eq!(found, [of(6, easy, 2 * number), of(7, easy, 2 * number), of(7, hard, 20), of(8, easy, 2 * number)]);
    }
    assert_eq!(read(Subject::Pool, 0, 450).await.len(), 401);
    assert_eq!(read(Subject::Pool, 5, 5).await, []);
    assert_eq!(store.past(Subject::Pool, Resolution::Day, 0, i64::MAX).await.unwrap().work, []);

    for left in [3, 2, 1, 0] {
        assert_eq!(store.prune_history(Resolution::Minute, 3 * MINUTE_MS).await.unwrap(), if left > 0 { 3 } else { 0 });
    }
    assert_eq!(store.prune_history(Resolution::Day, i64::MAX).await.unwrap(), 0);
    assert_eq!(read(Subject::Pool, 0, 5).await.len(), 2);
}

pub(crate) async fn refused_shares_are_added_up_and_peaks_stay(store: AnyStore) {
    let subject = Subject::Account(AccountId::new(4));
    let stretch = Stretch { resolution: Resolution::Day, begins_at_ms: 0, subject };
    let refused = |code: &str, count| RefusedRow { stretch, code: code.to_owned(), count };
    let peaks = |channels, best| PeakRow { stretch, peaks: Peaks { channels, best } };
    for peak in [peaks(3, 0.25), peaks(2, 1e18), peaks(4, 0.0)] {
        store.add_to_history(&[refused("stale-share", 2), refused("duplicate-share", 1)], &[peak]).await.unwrap();
    }
    let past = store.past(subject, Resolution::Day, 0, 1).await.unwrap();
    let mut refused = past.refused;
    refused.sort();
    assert_eq!(refused, [(0, "duplicate-share".to_owned(), 3), (0, "stale-share".to_owned(), 6)]);
    assert_eq!(past.peaks, [(0, Peaks { channels: 4, best: 1e18 })]);
    assert_eq!(store.past(Subject::Pool, Resolution::Day, 0, 1).await.unwrap(), Default::default());
    assert_eq!(store.prune_history(Resolution::Day, 1).await.unwrap(), 3);
}

pub(crate) async fn work_of_a_block_is_kept_once(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    let (first, second) = (matured_block(&store, 1, account, 9).await, matured_block(&store, 2, account, 9).await);
    let position = first.found.share_position;
    let without = async |from, upto| {
        let blocks = store.blocks_without_work(from, upto, 10).await.unwrap();
        assert!(blocks.iter().all(|(_, at)| *at == position));
        blocks.into_iter().map(|(hash, _)| hash).collect::<Vec<_>>()
    };
    let (before, behind) = (ShareSeq::new(position.get() - 1), ShareSeq::new(position.get() + 1));
    assert_eq!(without(position, position).await, [second.found.hash, first.found.hash]);
    assert_eq!((without(before, before).await, without(behind, behind).await), (vec![], vec![]));
    let work = Work::of(Difficulty::MAX, u64::MAX);
    store.keep_block_work(block_hash(1), work).await.unwrap();
    store.keep_block_work(block_hash(1), Work::default()).await.unwrap();
    assert_eq!(without(before, behind).await, [block_hash(2)]);
    let blocks = store.blocks_with_work(10).await.unwrap();
    let found: Vec<_> = blocks.iter().map(|block| (block.hash, block.work)).collect();
    assert_eq!(found, [(block_hash(2), None), (block_hash(1), Some(work))]);
    assert_eq!(store.blocks_with_work(1).await.unwrap(), blocks[..1]);
}

/// A row in each table of the history.
pub(super) async fn everything_of_the_past(store: &AnyStore, block: BlockHash) {
    let step = first_step(&**store, ShareSeq::new(i64::MAX)).await;
    assert!(store.step_history(&step).await.unwrap());
    let stretch = Stretch { resolution: Resolution::Day, begins_at_ms: 0, subject: Subject::Pool };
    let refused = RefusedRow { stretch, code: "stale-share".to_owned(), count: 1 };
    let peaks = PeakRow { stretch, peaks: Peaks { channels: 1, best: 0.5 } };
    store.add_to_history(&[refused], &[peaks]).await.unwrap();
    store.keep_block_work(block, step.to.work).await.unwrap();
}
