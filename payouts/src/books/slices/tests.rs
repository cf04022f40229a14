//! SLICE on a real database: how a window is cut, and that its credits stay explained.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bitcoin::{CompactTarget, OutPoint, Txid};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    account::AccountId,
    audit,
    books::{Books, DirectPayments, FoundBlock},
    scheme::{BlockReward, rule::Scheme},
    share::{Difficulty, ShareGroup, ShareRun},
    store::{
        conformance::{address, block_hash, job_at, share},
        sqlite::SqliteStore,
    },
};

/// The target of difficulty 1.
const DIFFICULTY_1: u32 = 0x1d00_ffff;

struct Pool {
    _dir: TempDir,
    store: Arc<SqliteStore>,
    books: Books,
    miners: [AccountId; 2],
    segments: u32,
}

async fn pool(scheme: &str) -> Pool {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap());
    let miners = [store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap()];
    store.begin_session().await.unwrap();
    let scheme: Scheme = scheme.parse().unwrap();
    let books = Books::new(store.clone(), scheme).with_running_window().await.unwrap();
    Pool { _dir: dir, store, books, miners, segments: 0 }
}

impl Pool {
    /// A job that builds on a tip and holds fees. Numbers are in the order of the jobs.
    fn job(&self, number: u32, tip: u8, fees_sat: u64) -> JobTerms {
        let fees = Some(Amount::from_sat(fees_sat));
        JobTerms { prev_hash: Some(block_hash(tip)), fees, ..job_at(number, DIFFICULTY_1) }
    }

    /// Logs a segment of shares: whose, of 2^so much, so many, on which job.
    async fn log(&mut self, shares: &[(usize, i8, usize, JobTerms)]) -> ShareSeq {
        self.segments += 1;
        let segment = ShareSeq::of_session(1, self.segments).unwrap();
        let of = |&(miner, log2, count, job): &(usize, i8, usize, JobTerms)| {
            let difficulty = Difficulty::from_log2(log2).unwrap();
            vec![ShareRun { job, difficulty, ..share(self.miners[miner], 0) }; count]
        };
        let shares = shares.iter().flat_map(of).collect();
        let group = ShareGroup { session: 1, number: self.segments.into(), segment, runs: shares };
        self.store.append_shares(&group).await.unwrap();
        self.books.shares_stored(&group).await;
        segment
    }

    async fn find(&self, position: ShareSeq) -> Vec<(AccountId, u64)> {
        let found = FoundBlock {
            hash: block_hash(200),
            height: 200,
            coinbase: OutPoint::new(Txid::from_byte_array([200; 32]), 0),
            value: Amount::from_sat(332_500_000),
            subsidy: Amount::from_sat(312_500_000),
            finder: self.miners[0],
            share_position: position,
            nbits: CompactTarget::from_consensus(DIFFICULTY_1),
            found_at_ms: 1,
            direct: DirectPayments::default(),
        };
        self.books.record_found(&found).await.unwrap();
        audit::verify_books(&*self.store).await.unwrap();
        let credits = self.store.credits(found.hash).await.unwrap();
        credits.iter().map(|credit| (credit.account, credit.amount.to_sat())).collect()
    }
}

/// The first has 100 of difficulty in each of two slices, the second 100 and 300; jobs hold 10 and 12, then 10 each.
async fn two_slices(pool: &mut Pool) -> ShareSeq {
    let [first, dearer, second] = [pool.job(1, 1, 10), pool.job(2, 1, 12), pool.job(3, 2, 10)];
    pool.log(&[(0, 2, 13, first), (1, 2, 15, dearer)]).await;
    // A share that comes late counts in the slice of its job.
    pool.log(&[(0, 2, 25, second), (0, 2, 12, first), (1, 2, 10, dearer)]).await;
    pool.log(&[(1, 2, 75, second)]).await
}

#[tokio::test]
async fn blocks_are_split_as_the_paper_has_it_or_by_work() {
    for (scheme, expected) in [
        ("slice window=4294967295 delta_sat=5 fee_bp=0", [111_212_121, 221_287_879]),
        ("slice-weighted window=4294967295 delta_sat=5 fee_bp=0", [110_530_303, 221_969_697]),
    ] {
        let mut pool = pool(scheme).await;
        let position = two_slices(&mut pool).await;
        let [one, other] = pool.miners;
        assert_eq!(pool.find(position).await, [(one, expected[0]), (other, expected[1])], "{scheme}");
        let text = pool.books.explain(block_hash(200), one).await.unwrap().to_string();
        assert!(text.contains("in 2 slices with work") && text.contains("Subsidy   312500000 * 1 / 3 ="), "{text}");
        assert!(text.contains(&format!("Credit    {} sat", expected[0])), "{text}");
    }
}

#[tokio::test]
async fn the_segment_at_the_edge_counts_in_part_and_older_ones_not_at_all() {
    // A window of ten: eight of the newest segment, two of the sixteen before, in the parts that its accounts have.
    let mut pool = pool("slice window=10 delta_sat=5 fee_bp=0").await;
    let [old, edge, new] = [pool.job(1, 1, 999), pool.job(2, 2, 10), pool.job(3, 3, 10)];
    pool.log(&[(0, 0, 50, old)]).await;
    pool.log(&[(0, 0, 4, edge), (1, 0, 12, edge)]).await;
    let position = pool.log(&[(1, 0, 8, new)]).await;
    let [one, other] = pool.miners;
    // Half of ten, and of one of two slices a quarter.
    let first = 15_625_000 + 2_500_000;
    assert_eq!(pool.find(position).await, [(one, first), (other, 332_500_000 - first)]);
}

#[tokio::test]
async fn grown_fees_begin_a_slice() {
    for (growth, expected) in [(40, 3), (41, 2), (90, 1)] {
        let mut pool = pool(&format!("slice window=1000 delta_sat={growth} fee_bp=0")).await;
        let jobs = [10, 50, 90].map(|fees| (0, 0, 1, pool.job(fees, 1, fees.into())));
        let position = pool.log(&jobs).await;
        pool.find(position).await;
        let window = pool.store.block_window(block_hash(200)).await.unwrap().unwrap();
        assert_eq!(window.slices.unwrap().slices, expected, "{growth}");
    }
}

#[tokio::test]
async fn outlook_credits_what_a_block_found_now_is_split_to() {
    let reward = BlockReward { value: Amount::from_sat(332_500_000), subsidy: Amount::from_sat(312_500_000) };
    let nbits = CompactTarget::from_consensus(DIFFICULTY_1);
    for name in ["slice", "slice-weighted"] {
        let mut pool = pool(&format!("{name} window=4294967295 delta_sat=5 fee_bp=150")).await;
        assert!(pool.books.outlook(200, nbits, reward).await.unwrap().is_none(), "there is no share");
        let position = two_slices(&mut pool).await;
        let outlook = pool.books.outlook(200, nbits, reward).await.unwrap().unwrap();
        assert_eq!((outlook.total().shares, outlook.slices().unwrap().slices), (150, 2));
        let credits = pool.find(position).await;
        assert_eq!(credits.len(), 2, "{name}");
        for (account, sat) in credits {
            assert_eq!(outlook.credit(account).to_sat(), sat, "{name}");
        }
    }
}

#[tokio::test]
async fn credits_are_explained_after_the_shares_are_gone_and_no_job_is_folded_away() {
    let mut pool = pool("slice window=4 delta_sat=5 fee_bp=100").await;
    let position = two_slices(&mut pool).await;
    let credits = pool.find(position).await;
    assert_eq!(pool.books.fold_shares(ShareSeq::new(0), position, &[]).await.unwrap(), 0);
    let mut texts = Vec::new();
    for (account, _) in &credits {
        texts.push(pool.books.explain(block_hash(200), *account).await.unwrap().to_string());
    }
    assert!(pool.store.delete_segments(position, 1_000).await.unwrap() > 0);
    for ((account, sat), before) in credits.iter().zip(texts) {
        let explained = pool.books.explain(block_hash(200), *account).await.unwrap();
        assert_eq!((explained.credit.to_sat(), explained.to_string()), (*sat, before));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_block_is_paid_out_whole(
        segments in proptest::collection::vec(
            proptest::collection::vec((0..2usize, -4..4i8, 1..4usize, 1..6u32), 0..4), 1..6),
        window in 1..40u32,
        growth in 1..30u64,
        fee_bp in 0..=10_000u16,
        weighted in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let name = if weighted { "slice-weighted" } else { "slice" };
            let mut pool = pool(&format!("{name} window={window} delta_sat={growth} fee_bp={fee_bp}")).await;
            let mut position = ShareSeq::new(0);
            for shares in segments {
                // One job has one tip and one sum of fees.
                let share = |(miner, log2, count, number): (usize, i8, usize, u32)| {
                    (miner, log2, count, pool.job(number, (number / 2) as u8, u64::from(number) * 7))
                };
                let shares: Vec<_> = shares.into_iter().map(share).collect();
                if !shares.is_empty() {
                    position = pool.log(&shares).await;
                }
            }
            let credited: u64 = pool.find(position).await.iter().map(|(_, sat)| sat).sum();
            let block = pool.store.block(block_hash(200)).await.unwrap().unwrap();
            assert_eq!(block.fee.to_sat() + credited, 332_500_000);
            for miner in pool.miners {
                pool.books.explain(block_hash(200), miner).await.unwrap();
            }
        });
    }
}
