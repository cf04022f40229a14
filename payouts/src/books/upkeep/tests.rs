//! Upkeep of the share log on a real database: what is folded, what is deleted, and what nobody notices of it.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bitcoin::{BlockHash, OutPoint, Txid, hashes::Hash};
use tempfile::TempDir;

use super::*;
use crate::{
    account::AccountId,
    books::{COINBASE_MATURITY, ChainPosition, DirectPayments, FoundBlock},
    scheme::{PoolFee, rule::SchemeName},
    share::{Appended, Difficulty, ShareGroup, ShareRun},
    store::{
        Store,
        conformance::{address, block_hash, job_at, share},
        sqlite::SqliteStore,
    },
};

const MATURE: ChainPosition = ChainPosition::Confirmed { confirmations: COINBASE_MATURITY };
const MINUTE_MS: u32 = 60_000;
/// The target of difficulty 1: an eighth is an eighth of a block's worth.
const DIFFICULTY_1: u32 = 0x1d00_ffff;

/// A pool that logs shares and tells its books of them.
struct Pool {
    _dir: TempDir,
    store: Arc<SqliteStore>,
    books: Books,
    miners: [AccountId; 2],
    segments: u32,
}

async fn pool(name: SchemeName) -> Pool {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap());
    let miners = [store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap()];
    store.begin_session().await.unwrap();
    let scheme = Scheme::new(name, 4.try_into().unwrap(), PoolFee::from_basis_points(100).unwrap());
    let books = Books::new(store.clone(), scheme).with_running_window().await.unwrap();
    Pool { _dir: dir, store, books, miners, segments: 0 }
}

impl Pool {
    /// Logs a segment with shares of an eighth each at a minute of the day: so many of one miner, and one of the other.
    async fn log(&mut self, minute: u32, count: usize) -> ShareSeq {
        self.segments += 1;
        let segment = ShareSeq::of_session(1, self.segments).unwrap();
        let job = job_at(self.segments, DIFFICULTY_1);
        let of = |account| ShareRun { job, ..share(account, minute * MINUTE_MS) };
        let mut shares = vec![of(self.miners[0]); count];
        shares.push(of(self.miners[1]));
        let group = ShareGroup { session: 1, number: self.segments.into(), segment, runs: shares };
        assert_eq!(self.store.append_shares(&group).await.unwrap(), Appended::Stored);
        self.books.shares_stored(&group).await;
        segment
    }

    async fn find(&self, id: u8, share_position: ShareSeq) -> BlockHash {
        let found = FoundBlock {
            hash: block_hash(id),
            height: id.into(),
            coinbase: OutPoint::new(Txid::from_byte_array([id; 32]), 0),
            value: Amount::from_sat(316_737_819),
            subsidy: Amount::from_sat(312_500_000),
            finder: self.miners[0],
            share_position,
            nbits: CompactTarget::from_consensus(DIFFICULTY_1),
            found_at_ms: 1,
            direct: DirectPayments::default(),
        };
        self.books.record_found(&found).await.unwrap();
        found.hash
    }

    async fn positions(&self) -> Vec<ShareSeq> {
        let sizes = self.store.segment_sizes(ShareSeq::new(0), ShareSeq::new(i64::MAX), 1_000).await.unwrap();
        sizes.iter().map(|size| size.position).collect()
    }

    /// The window as of a position, counted from the store and by the books, which must agree.
    async fn window(&self, position: ShareSeq, open: Window) -> Window {
        let mut counted = open.clone();
        let segments = self.store.segments_back(position, 10_000).await.unwrap();
        segments.iter().for_each(|segment| counted.count(segment));
        let mut running = self.books.running.as_ref().unwrap().lock().await;
        let kept = window::move_to(&mut running, &*self.store, position, open).await.unwrap();
        assert_eq!(kept.accounts(), counted.accounts());
        counted
    }
}

#[tokio::test]
async fn segments_of_an_hour_become_one_and_no_block_is_in_its_midst() {
    let mut pool = pool(SchemeName::Pplns).await;
    let mut at = Vec::new();
    for minute in [5, 20, 40, 59, 60, 61, 90, 119, 200] {
        at.push(pool.log(minute, 3).await);
    }
    pool.find(1, at[5]).await;
    let everything = || Window::of_multiple(Measure::NetworkAtSubmission, u32::MAX);
    let mut before = Vec::new();
    for position in [at[5], at[8]] {
        before.push(pool.window(position, everything()).await);
    }
    // At 1:01 a block, at 1:30 the end of a period; after 1:59 all is new.
    let gone = pool.books.fold_shares(ShareSeq::new(0), at[7], &[at[6]]).await.unwrap();
    let folded = [at[3], at[5], at[6], at[7], at[8]];
    assert_eq!((gone, pool.positions().await), (4, folded.to_vec()));
    assert_eq!(pool.books.fold_shares(ShareSeq::new(0), at[7], &[at[6]]).await.unwrap(), 0);
    assert_eq!(pool.positions().await, folded);
    for (position, before) in [at[5], at[8]].into_iter().zip(before) {
        let after = pool.window(position, everything()).await;
        assert_eq!((after.accounts(), after.total()), (before.accounts(), before.total()));
    }
    let since_block = Window::after(Measure::Work, at[5]);
    assert_eq!(pool.window(at[8], since_block).await.total().shares, 12);
}

/// Nobody waits for the answer: the store may have folded, or not.
#[tokio::test]
async fn a_fold_without_an_answer_changes_no_window() {
    let mut pool = pool(SchemeName::Pplns).await;
    let mut at = Vec::new();
    for minute in [5, 20, 40, 60, 61] {
        at.push(pool.log(minute, 3).await);
    }
    let everything = || Window::after(Measure::Work, ShareSeq::new(0));
    let before = pool.window(at[4], everything()).await;
    for folds in [false, true] {
        let running = pool.books.running.clone().unwrap();
        let folding = Folding { running: running.lock().await, upto: at[2], is_known: false };
        if folds {
            pool.store.fold_segments(ShareSeq::new(0), at[2]).await.unwrap();
        }
        drop(folding);
        let after = pool.window(at[4], everything()).await;
        assert_eq!((after.accounts(), after.total()), (before.accounts(), before.total()));
    }
    assert_eq!(pool.positions().await, at[2..]);
    // All that was held is in doubt, and a share comes meanwhile.
    let running = pool.books.running.clone().unwrap();
    drop(Folding { running: running.lock().await, upto: at[4], is_known: false });
    let newest = pool.log(62, 3).await;
    assert_eq!(pool.window(newest, everything()).await.total().shares, 24);
    drop(Folding { running: running.lock().await, upto: newest, is_known: false });
    assert_eq!(pool.window(newest, everything()).await.total().shares, 24);
}

#[tokio::test]
async fn a_pool_without_blocks_forgets_what_no_window_reaches() {
    let mut pool = pool(SchemeName::Pplns).await;
    let mut newest = ShareSeq::new(0);
    for hour in 0..20 {
        newest = pool.log(hour * 60, 7).await;
    }
    // Four blocks' worth are four segments: the newest has its eight shares as they came, the others a row for each miner.
    pool.books.fold_shares(ShareSeq::new(0), newest, &[]).await.unwrap();
    let rows = pool.books.running.as_ref().unwrap().lock().await.rows();
    assert_eq!(rows, 8 + 3 * 2);
}

#[tokio::test]
async fn schemes_that_count_no_shares_hold_none() {
    for name in [SchemeName::Solo, SchemeName::Pps, SchemeName::Fpps] {
        let mut pool = pool(name).await;
        pool.log(1, 7).await;
        assert!(pool.books.running.is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_run_longer_than_a_page_becomes_one() {
    let mut pool = pool(SchemeName::Pplns).await;
    let mut newest = ShareSeq::new(0);
    for _ in 0..SIZES + 20 {
        newest = pool.log(7, 1).await;
    }
    let gone = pool.books.fold_shares(ShareSeq::new(0), newest, &[]).await.unwrap();
    assert_eq!((gone, pool.positions().await), (u64::from(SIZES) + 19, vec![newest]));
    let all = pool.window(newest, Window::after(Measure::Work, ShareSeq::new(0))).await;
    assert_eq!(all.total().shares, 2 * u64::from(SIZES + 20));
}

#[tokio::test]
async fn credits_are_explained_alike_after_their_shares_were_folded_and_deleted() {
    for (name, _) in SchemeName::ALL {
        let mut pool = pool(name).await;
        // A block's worth is eight shares, the window four of them: the oldest segment counts in part.
        for minute in 0..12 {
            pool.log(minute, 3).await;
        }
        let position = pool.log(12, 1).await;
        let hash = pool.find(1, position).await;
        let credits = pool.store.credits(hash).await.unwrap();
        let mut told = Vec::new();
        for miner in pool.miners {
            told.push(pool.books.explain(hash, miner).await.unwrap());
        }
        for minute in 600..700 {
            pool.log(minute, 3).await;
        }
        pool.books.settle(hash, MATURE).await.unwrap();
        let newest = pool.store.share_position().await.unwrap();
        pool.books.fold_shares(ShareSeq::new(0), newest, &[]).await.unwrap();
        let deleted = pool.books.delete_shares(8.try_into().unwrap(), newest).await.unwrap();
        assert!(deleted > 0, "{name}");
        assert!(pool.positions().await[0] > position, "{name}");
        assert_eq!(pool.store.credits(hash).await.unwrap(), credits);
        for (miner, told) in pool.miners.into_iter().zip(told) {
            let again = pool.books.explain(hash, miner).await.unwrap();
            assert_eq!(again.explanation, told.explanation, "{name} for {miner}");
        }
    }
}

#[tokio::test]
async fn nothing_is_deleted_that_may_count_again() {
    let mut pool = pool(SchemeName::Prop).await;
    let mut at = Vec::new();
    for hour in 0..40 {
        at.push(pool.log(hour * 60, 7).await);
    }
    let all = |pool: &Pool| (pool.books.clone(), *at.last().unwrap());
    let (books, newest) = all(&pool);
    let keep = |blocks: u32| blocks.try_into().unwrap();
    // Forty blocks' worth of work: there is no more than that.
    assert_eq!(books.delete_shares(keep(41), newest).await.unwrap(), 0);
    // No block has matured: the round of one that is found now may begin with the first share.
    pool.find(1, at[9]).await;
    assert_eq!(books.delete_shares(keep(10), newest).await.unwrap(), 0);
    books.settle(block_hash(1), MATURE).await.unwrap();
    // What is still to be credited otherwise stays.
    books.delete_shares(keep(10), at[4]).await.unwrap();
    assert_eq!(pool.positions().await, at[5..]);
    books.delete_shares(keep(10), newest).await.unwrap();
    assert_eq!(pool.positions().await, at[10..]);
    // A block's window stays until it has matured.
    pool.find(2, at[19]).await;
    assert_eq!(books.delete_shares(keep(10), newest).await.unwrap(), 0);
    books.settle(block_hash(2), MATURE).await.unwrap();
    books.delete_shares(keep(25), newest).await.unwrap();
    assert_eq!(pool.positions().await, at[15..], "work counts, whatever the round");
}

#[tokio::test]
async fn harder_targets_do_not_shorten_what_is_kept() {
    let mut pool = pool(SchemeName::Tides).await;
    for hour in 0..40 {
        pool.log(hour * 60, 7).await;
    }
    // Twice as hard: by today's measure all of that is half as much.
    let segment = ShareSeq::of_session(1, 41).unwrap();
    let harder = ShareRun {
        job: job_at(41, 0x1c7f_ff80),
        difficulty: Difficulty::from_log2(1).unwrap(),
        ..share(pool.miners[0], 41 * 60 * MINUTE_MS)
    };
    let group = ShareGroup { session: 1, number: 41, segment, runs: vec![harder] };
    pool.store.append_shares(&group).await.unwrap();
    pool.books.delete_shares(11.try_into().unwrap(), segment).await.unwrap();
    assert_eq!(pool.positions().await.len(), 21);
}
