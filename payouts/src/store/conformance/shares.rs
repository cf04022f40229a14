//! What every store must do with shares.

#![allow(clippy::unwrap_used)]

use super::*;

pub(crate) async fn a_group_of_shares_is_stored_once_and_in_turn(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    assert_eq!(store.share_position().await.unwrap(), ShareSeq::new(0));
    let session = store.begin_session().await.unwrap();
    let segment = ShareSeq::of_session(session, 1).unwrap();
    let group = |session, number, runs| ShareGroup { session, number, segment, runs };
    let first = group(session, 1, vec![share(account, 1), share(account, 2)]);
    assert_eq!(store.append_shares(&first).await.unwrap(), Appended::Stored);
    assert_eq!(store.append_shares(&first).await.unwrap(), Appended::Already);
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 2);

    assert_eq!(store.append_shares(&group(session, 2, vec![])).await.unwrap(), Appended::Stored);
    assert_eq!(store.append_shares(&group(session, 3, vec![share(account, 3)])).await.unwrap(), Appended::Stored);
    for number in [1, 2, 3] {
        let again = group(session, number, vec![share(account, 4)]);
        assert_eq!(store.append_shares(&again).await.unwrap(), Appended::Already);
    }
    for (session, number, known) in [(session, 5, Some(3)), (session, 0, Some(3)), (session + 1, 1, None)] {
        let refused = store.append_shares(&group(session, number, vec![share(account, 4)])).await;
        assert!(matches!(refused, Err(StoreError::OutOfTurn { last, .. }) if last == known), "{refused:?}");
    }
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 3);
    assert_eq!(store.share_position().await.unwrap(), segment);

    // Groups of the next session begin anew.
    assert_eq!(append(&*store, &[share(account, 9)]).await, ShareSeq::of_session(session + 1, 1).unwrap());
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 4);
}

pub(crate) async fn shares_of_one_kind_are_one_row(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    let session = store.begin_session().await.unwrap();
    let segment = ShareSeq::of_session(session, 7).unwrap();
    let (hard, another_job) = (Difficulty::from_log2(20).unwrap(), job_at(1, 0x1d00_ffff));
    let shares = vec![
        share(one, 1),
        share(one, 3),
        ShareRun { worker: "other rig".into(), ..share(one, 2) },
        ShareRun { difficulty: hard, ..share(one, 2) },
        ShareRun { job: another_job, ..share(one, 2) },
        ShareRun { reward: Reward::Solo, ..share(one, 2) },
        share(other, 2),
    ];
    for number in 1..=3 {
        let group = ShareGroup { session, number, segment, runs: shares.clone() };
        assert_eq!(store.append_shares(&group).await.unwrap(), Appended::Stored);
    }
    let [segment_read] = &store.segments_back(segment, 100).await.unwrap()[..] else { panic!() };
    let mut rows: Vec<_> = segment_read.rows.clone();
    rows.sort_by_key(|row| (row.account, row.difficulty, row.nbits.to_consensus(), row.count));
    let (eighth, easy) = (Difficulty::from_log2(-3).unwrap(), job(0).nbits);
    let row = |account, difficulty, nbits, count| ShareRow { account, difficulty, nbits, count };
    // What a miner earns for itself alone is in no window.
    let expected = [
        row(one, eighth, another_job.nbits, 3),
        row(one, eighth, easy, 3),
        row(one, eighth, easy, 6),
        row(one, hard, easy, 3),
        row(other, eighth, easy, 3),
    ];
    assert_eq!((segment_read.position, &rows[..]), (segment, &expected[..]));

    let work = store.work_between(ShareSeq::new(0), segment).await.unwrap();
    let of = |account, job, work| JobWork { account, job, work };
    let expected = [
        of(one, job(0), Work::of(eighth, 9).plus(Work::of(hard, 3))),
        of(other, job(0), Work::of(eighth, 3)),
        of(one, another_job, Work::of(eighth, 3)),
    ];
    assert_eq!(work, expected);
    assert_eq!(store.work_between(segment, ShareSeq::new(i64::MAX)).await.unwrap(), []);
    assert_eq!(store.jobs_between(ShareSeq::new(0), segment).await.unwrap(), [job(0), another_job]);
    assert_eq!(store.jobs_between(segment, ShareSeq::new(i64::MAX)).await.unwrap(), []);
}

pub(crate) async fn a_run_counts_as_so_many_shares(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    let session = store.begin_session().await.unwrap();
    let segment = ShareSeq::of_session(session, 1).unwrap();
    let run = |count, first_at_ms, last_at_ms| ShareRun { count, first_at_ms, last_at_ms, ..share(account, 0) };
    let group = |number, runs| ShareGroup { session, number, segment, runs };
    // Neither the runs of a group nor the groups of a segment need be in the order of their times.
    let groups = [
        group(1, vec![run(3, 40, 50), run(1, 20, 20), run(u32::MAX, 30, 90)]),
        group(2, vec![run(7, 25, 95), ShareRun { worker: "other rig".into(), ..run(5, 1, 2) }]),
        group(3, vec![run(1, 10, 10)]),
    ];
    for group in &groups {
        assert_eq!(store.append_shares(group).await.unwrap(), Appended::Stored);
        assert_eq!(store.append_shares(group).await.unwrap(), Appended::Already);
    }
    let count = u64::from(u32::MAX) + 12;
    let of = |worker: &str, count, first_at_ms, last_at_ms| {
        let work = Work::of(share(account, 0).difficulty, count);
        WorkerTotals { worker: worker.to_owned(), count, work, first_at_ms, last_at_ms }
    };
    let expected = [of("other rig", 5, 1, 2), of("rig", count, 10, 95)];
    assert_eq!(store.worker_totals(account, 0).await.unwrap(), expected);
    let [segment] = &store.segments_back(segment, 10).await.unwrap()[..] else { panic!() };
    assert_eq!(segment.rows.len(), 2);
}

pub(crate) async fn a_group_of_any_size_is_stored_whole(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    let rig = |index| ShareRun { worker: format!("rig {index}").into(), ..share(account, index) };
    // Around the sizes of the statements, and several of them together.
    for rows in [1, 7, 8, 9, 63, 64, 65, 72, 73, 511, 512, 513, 1_100] {
        let runs: Vec<_> = (0..rows).map(rig).collect();
        let position = append(&*store, &runs).await;
        let [segment] = &store.segments_back(position, 1).await.unwrap()[..] else { panic!("{rows} rows") };
        assert_eq!((segment.position, segment.rows.len()), (position, rows as usize));
        assert!(segment.rows.iter().all(|row| row.count == 1), "{rows} rows");
    }
}

pub(crate) async fn a_group_larger_than_a_statement_is_stored_whole(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    let rig = |index| ShareRun { worker: format!("rig {index}").into(), ..share(account, index) };
    let shares: Vec<_> = (0..1_777).chain(0..1_000).map(rig).collect();
    let position = append(&*store, &shares).await;
    let [segment] = &store.segments_back(position, 10).await.unwrap()[..] else { panic!() };
    assert_eq!(segment.rows.len(), 1_777);
    assert_eq!(segment.rows.iter().map(|row| row.count).sum::<u64>(), 2_777);
    assert_eq!(store.share_totals(Some(account), 0).await.unwrap().count, 2_777);
}

pub(crate) async fn segments_are_read_back_in_whole_from_a_position(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(append(&*store, &[share(one, 1), share(other, 2), share(other, 3)]).await);
    }
    all.reverse();
    let positions = |segments: &[Segment]| segments.iter().map(|segment| segment.position).collect::<Vec<_>>();
    let newest = ShareSeq::new(i64::MAX);
    assert_eq!(positions(&store.segments_back(newest, 100).await.unwrap()), all);
    assert_eq!(positions(&store.segments_back(all[1], 100).await.unwrap()), all[1..]);
    // Two rows each: what is begun is read to its end, and at least one segment comes.
    for (rows, expected) in [(1, &all[..1]), (2, &all[..1]), (3, &all[..1]), (4, &all[..2]), (9, &all[..4])] {
        assert_eq!(positions(&store.segments_back(newest, rows).await.unwrap()), expected, "{rows}");
    }
    assert_eq!(store.segments_back(ShareSeq::new(0), 4).await.unwrap(), []);
    // What counts in no window fills no page, however much of it there is: what lies behind is still found.
    for _ in 0..3 {
        let solo = |index| ShareRun { reward: Reward::Solo, ..share(one, index) };
        append(&*store, &[solo(1), ShareRun { job: job(7), ..solo(2) }]).await;
    }
    for (rows, expected) in [(1, &all[..1]), (2, &all[..1]), (4, &all[..2])] {
        assert_eq!(positions(&store.segments_back(newest, rows).await.unwrap()), expected, "{rows}");
    }
}

pub(crate) async fn share_totals_are_exact(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    let large = ShareRun { difficulty: Difficulty::MAX, ..share(other, 9) };
    append(&*store, &[share(one, 1), share(one, 5), share(other, 6), large]).await;
    let eighth = Difficulty::from_log2(-3).unwrap();
    let totals = store.share_totals(Some(one), 0).await.unwrap();
    assert_eq!((totals.count, totals.work), (2, Work::of(eighth, 2)));
    // Two shares that are one sum count together.
    let totals = store.share_totals(None, 5).await.unwrap();
    assert_eq!((totals.count, totals.work), (4, Work::of(eighth, 3).plus(Work::of(Difficulty::MAX, 1))));
    assert_eq!(store.share_totals(None, 6).await.unwrap().count, 2);

    // A day later, what lies behind is not read; what is new counts.
    let opened_at_ms = 86_400_000;
    let later = JobTerms { position: store.share_position().await.unwrap(), opened_at_ms, ..job(2) };
    append(
        &*store,
        &[ShareRun { job: later, first_at_ms: opened_at_ms + 1, last_at_ms: opened_at_ms + 1, ..share(one, 0) }],
    )
    .await;
    assert_eq!(store.share_totals(None, opened_at_ms).await.unwrap().count, 1);
    assert_eq!(store.share_totals(None, opened_at_ms + 200_000).await.unwrap().count, 0);
    assert_eq!(store.share_totals(None, 0).await.unwrap().count, 5);
}

pub(crate) async fn workers_of_an_account_are_told_apart(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    assert_eq!(store.shares_kept_since().await.unwrap(), None);
    let named = |worker: &str, at_ms| ShareRun { worker: worker.into(), ..share(one, at_ms) };
    let (eighth, hard) = (Difficulty::from_log2(-3).unwrap(), Difficulty::from_log2(20).unwrap());
    let first =
        [named("rig b", 3), named("Rig b", 4), named("", 5), ShareRun { difficulty: hard, ..named("rig b", 9) }];
    append(&*store, &first).await;
    let solo = ShareRun { reward: Reward::Solo, job: job(1), ..named("rig b", 20) };
    let elsewhere = ShareRun { worker: "rig b".into(), ..share(other, 30) };
    let end = append(&*store, &[solo, elsewhere]).await;
    let of = |worker: &str, count, work, (first_at_ms, last_at_ms)| WorkerTotals {
        worker: worker.to_owned(),
        count,
        work,
        first_at_ms,
        last_at_ms,
    };
    let work = Work::of(eighth, 2).plus(Work::of(hard, 1));
    let all = [
        of("", 1, Work::of(eighth, 1), (5, 5)),
        of("Rig b", 1, Work::of(eighth, 1), (4, 4)),
        of("rig b", 3, work, (3, 20)),
    ];
    assert_eq!(store.worker_totals(one, 0).await.unwrap(), all);
    // Solo work is work.
    assert_eq!(store.worker_totals(one, 10).await.unwrap(), [of("rig b", 1, Work::of(eighth, 1), (20, 20))]);
    assert_eq!(store.worker_totals(one, 21).await.unwrap(), []);
    assert_eq!(store.worker_totals(other, 0).await.unwrap(), [of("rig b", 1, Work::of(eighth, 1), (30, 30))]);
    assert_eq!(store.shares_kept_since().await.unwrap(), Some(3));
    store.fold_segments(ShareSeq::new(0), end).await.unwrap();
    assert_eq!(store.worker_totals(one, 0).await.unwrap(), all, "folding keeps workers apart");
    assert_eq!(store.shares_kept_since().await.unwrap(), Some(3));
    store.delete_segments(end, 100).await.unwrap();
    assert_eq!(store.worker_totals(one, 0).await.unwrap(), []);
    assert_eq!(store.shares_kept_since().await.unwrap(), None);
}

pub(crate) async fn folded_segments_keep_their_sums(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    let retarget = job_at(9, 0x1d00_ffff);
    let solo = ShareRun { reward: Reward::Solo, ..share(one, 7) };
    let mut positions = Vec::new();
    for at_ms in [10, 20, 30, 40] {
        let made = at_ms / 10;
        let shares = [
            ShareRun { job: job(made), ..share(one, at_ms) },
            ShareRun { job: job(made), ..share(one, at_ms + 1) },
            ShareRun { job: job(made), worker: "other rig".into(), ..share(one, at_ms) },
            ShareRun { job: retarget, ..share(other, at_ms) },
            ShareRun { job: job(made), ..solo.clone() },
        ];
        // The last segment has nothing that is shared.
        positions.push(append(&*store, if at_ms == 40 { &shares[4..] } else { &shares }).await);
    }
    let [first, second, third, last] = positions[..] else { panic!() };
    let sizes = store.segment_sizes(first, third, 10).await.unwrap();
    let size = |position, begun_at_ms| SegmentSize { position, rows: 4, begun_at_ms };
    assert_eq!(sizes, [size(second, 7), size(third, 7)]);
    assert_eq!(store.segment_sizes(ShareSeq::new(0), last, 1).await.unwrap(), [size(first, 7)]);

    let totals = store.share_totals(None, 0).await.unwrap();
    let before = store.segments_back(first, 10).await.unwrap();
    for _ in 0..2 {
        // Three kinds of shared rows; solo ones go to a segment of their own.
        assert_eq!(store.fold_segments(first, last).await.unwrap(), 4);
        assert_eq!(store.segments_back(first, 10).await.unwrap(), before);
        let [folded, _] = &store.segments_back(last, 100).await.unwrap()[..] else { panic!() };
        let mut rows = folded.rows.clone();
        rows.sort_by_key(|row| (row.account, row.count));
        let eighth = Difficulty::from_log2(-3).unwrap();
        let row = |account, nbits, count| ShareRow { account, difficulty: eighth, nbits, count };
        let expected = [row(one, job(0).nbits, 2), row(one, job(0).nbits, 4), row(other, retarget.nbits, 2)];
        assert_eq!((folded.position, &rows[..]), (third, &expected[..]));
        assert_eq!(store.share_totals(None, 0).await.unwrap(), totals);
        let work = store.work_between(first, last).await.unwrap();
        let jobs: Vec<_> = work.iter().map(|work| (work.account, work.job, work.work)).collect();
        assert_eq!(jobs, [(one, job(3), Work::of(eighth, 6)), (other, retarget, Work::of(eighth, 2))]);
        // The solo shares are still those of that time.
        assert_eq!(store.segment_sizes(third, last, 10).await.unwrap().len(), 1);
    }

    assert_eq!(store.delete_segments(first, 1).await.unwrap(), 4);
    assert_eq!(store.delete_segments(first, 1).await.unwrap(), 0);
    assert_eq!(store.segments_back(last, 100).await.unwrap().len(), 1);
    assert_eq!(store.delete_segments(last, 0).await.unwrap(), 3);
    assert_eq!(store.delete_segments(last, 100).await.unwrap(), 1);
    assert_eq!(store.share_position().await.unwrap(), ShareSeq::new(0));
}

pub(crate) async fn jobs_say_where_the_log_was(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    assert_eq!(store.position_at(i64::MAX).await.unwrap(), ShareSeq::new(0));
    for (made, opened_at_ms, position) in [(1, 100, 0), (2, 200, 5), (3, 300, 9)] {
        let job = JobTerms { opened_at_ms, position: ShareSeq::new(position), ..job(made) };
        append(&*store, &[ShareRun { job, ..share(account, 1) }]).await;
    }
    for (at_ms, position) in [(99, 0), (200, 5), (299, 5), (i64::MAX, 9)] {
        assert_eq!(store.position_at(at_ms).await.unwrap(), ShareSeq::new(position), "{at_ms}");
    }
}
