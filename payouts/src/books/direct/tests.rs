//! What a coinbase pays directly, on a real database: it is followed, undone and posted again.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use bitcoin::{CompactTarget, Txid, hashes::Hash};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    audit,
    books::{COINBASE_MATURITY, ChainPosition},
    ledger::EntrySeq,
    scheme::{
        PoolFee,
        rule::{Scheme, SchemeName},
    },
    share::ShareSeq,
    store::{
        Store,
        conformance::{address, append, block_hash, share},
        sqlite::SqliteStore,
    },
};

const MATURE: ChainPosition = ChainPosition::Confirmed { confirmations: COINBASE_MATURITY };
const FRESH: ChainPosition = ChainPosition::Confirmed { confirmations: 1 };
const GONE: ChainPosition = ChainPosition::NotInBestChain;

struct Pool {
    _dir: TempDir,
    store: Arc<SqliteStore>,
    books: Books,
    miners: [AccountId; 3],
    position: ShareSeq,
}

/// Three miners, of whom the first has three shares of four and the second one.
async fn pool() -> Pool {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap());
    let mut miners = [AccountId::new(0); 3];
    for (miner, id) in miners.iter_mut().zip(1..) {
        *miner = store.account(&address(id)).await.unwrap();
    }
    let shares = [0, 0, 0, 1].map(|index: usize| share(miners[index], 0));
    let position = append(&*store, &shares).await;
    let books = Books::new(store.clone(), Scheme::new(SchemeName::Pplns, NonZeroU32::MAX, PoolFee::NONE));
    Pool { _dir: dir, store, books, miners, position }
}

impl Pool {
    /// A block of 1,000 satoshis that pays miners, by index, at the outputs from 1 on.
    fn found(&self, direct: &[(usize, u64)]) -> FoundBlock {
        let payment = |(&(index, sat), vout): (&(usize, u64), u32)| DirectPayment {
            vout,
            account: self.miners[index],
            amount: Amount::from_sat(sat),
        };
        FoundBlock {
            hash: block_hash(1),
            height: 1,
            coinbase: OutPoint::new(Txid::from_byte_array([1; 32]), 0),
            value: Amount::from_sat(1_000),
            subsidy: Amount::from_sat(900),
            finder: self.miners[0],
            share_position: self.position,
            nbits: CompactTarget::from_consensus(0x207f_ffff),
            found_at_ms: 1,
            direct: DirectPayments::new(direct.iter().zip(1..).map(payment).collect()).unwrap(),
        }
    }

    async fn balances(&self) -> BTreeMap<LedgerAccount, i64> {
        let balances = self.store.balances().await.unwrap();
        let balances = balances.into_iter().map(|(account, amount)| (account, amount.to_sat()));
        balances.filter(|(_, sat)| *sat != 0).collect()
    }

    async fn paid(&self) -> Vec<u64> {
        self.store.credits(block_hash(1)).await.unwrap().iter().map(|credit| credit.paid.to_sat()).collect()
    }

    async fn settle(&self, position: ChainPosition) {
        self.books.settle(block_hash(1), position).await.unwrap();
        audit::verify_books(&*self.store).await.unwrap();
    }

    async fn keys(&self) -> Vec<String> {
        let entries = self.store.entries(EntrySeq::new(0), 100).await.unwrap();
        entries.into_iter().filter(|entry| entry.kind == EntryKind::DirectPaid).map(|entry| entry.key).collect()
    }
}

#[tokio::test]
async fn what_the_coinbase_paid_is_neither_due_nor_spendable() {
    let pool = pool().await;
    let [a, b, c] = pool.miners;
    // Of credits of 750 and 250, one is paid in part, the other twice over, and one miner has no credit at all.
    let found = pool.found(&[(0, 300), (1, 200), (1, 90), (2, 10)]);
    let record = pool.books.record_found(&found).await.unwrap();
    audit::verify_books(&*pool.store).await.unwrap();
    assert_eq!(
        record.facts().split("nbits=207fffff ").nth(1),
        Some("direct=1:1=300,2:2=200,3:2=90,4:3=10 rule=pplns window=4294967295 fee_bp=0")
    );
    let immature = BTreeMap::from([
        (LedgerAccount::Immature(found.hash), 400),
        (LedgerAccount::MinerImmature(a), -450),
        (LedgerAccount::MinerDebt(b), 40),
        (LedgerAccount::MinerDebt(c), 10),
    ]);
    assert_eq!((pool.balances().await, pool.paid().await), (immature.clone(), vec![300, 250]));
    let txid = found.coinbase.txid;
    assert_eq!(pool.keys().await, [1, 2, 3, 4].map(|vout| format!("{txid}:{vout}")));

    // The sum rule: what is the pool's on the chain is what its own output pays.
    pool.settle(MATURE).await;
    let matured = BTreeMap::from([
        (LedgerAccount::Spendable, 400),
        (LedgerAccount::MinerPayable(a), -450),
        (LedgerAccount::MinerDebt(b), 40),
        (LedgerAccount::MinerDebt(c), 10),
    ]);
    assert_eq!(pool.balances().await, matured);
    let lots = pool.store.unpaid_lots(a).await.unwrap();
    assert_eq!(lots.iter().map(|lot| lot.amount.to_sat()).collect::<Vec<_>>(), [450]);
    assert_eq!(pool.store.unpaid_lots(b).await.unwrap(), []);
    let text = pool.books.explain(found.hash, a).await.unwrap().to_string();
    assert!(
        text.ends_with(
            "Direct    300 sat of it paid by the coinbase itself\nState     due; 0 sat of it taken by payouts\n"
        ),
        "{text}"
    );

    // Out of the chain nothing of it is left, and each return posts it again, under keys of its own.
    pool.settle(GONE).await;
    assert_eq!((pool.balances().await, pool.paid().await), (BTreeMap::new(), vec![0, 0]));
    pool.settle(FRESH).await;
    assert_eq!((pool.balances().await, pool.paid().await), (immature, vec![300, 250]));
    assert_eq!(pool.keys().await[4..], [1, 2, 3, 4].map(|vout| format!("{txid}:{vout}:2")));
    pool.settle(MATURE).await;
    assert_eq!(pool.balances().await, matured);
}

/// A crash between the entries of a block: whoever comes next posts what is missing, once.
#[tokio::test]
async fn payments_that_were_not_posted_are_posted_before_anything_else() {
    for settles in [false, true] {
        let pool = pool().await;
        let (found, scheme) = (pool.found(&[(0, 300), (1, 20)]), pool.books.scheme());
        pool.books.record_split(&found, scheme).await.unwrap();
        audit::verify_books(&*pool.store).await.unwrap();
        assert_eq!((pool.keys().await.len(), pool.paid().await), (0, vec![0, 0]));
        if settles {
            pool.settle(GONE).await;
            assert_eq!(pool.balances().await, BTreeMap::new());
        } else {
            pool.books.record_found(&found).await.unwrap();
            pool.books.record_found(&found).await.unwrap();
            audit::verify_books(&*pool.store).await.unwrap();
            assert_eq!(pool.paid().await, [300, 20]);
        }
        assert_eq!(pool.keys().await.len(), 2);
    }
}

#[tokio::test]
async fn a_coinbase_cannot_pay_more_than_it_has() {
    let pool = pool().await;
    let error = pool.books.record_found(&pool.found(&[(0, 900), (1, 101)])).await.unwrap_err();
    assert!(matches!(error, BooksError::DirectExceedsValue { .. }), "{error}");
    assert_eq!(pool.store.block(block_hash(1)).await.unwrap(), None);
}

#[test]
fn texts_of_payments_are_read_as_they_were_written() {
    for text in ["", "1:7=5000", "1:7=5000,2:7=0,9:1=3"] {
        assert_eq!(text.parse::<DirectPayments>().unwrap().to_string(), text);
    }
    for text in ["1", "1:7", "1:7=", "01:7=5", "2:7=5,1:7=5", "1:7=5,1:7=5", "1:7=5,", "1:7=2100000000000001"] {
        assert!(text.parse::<DirectPayments>().is_err(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Whatever the coinbase pays to whom, and wherever the block goes: only where it ends counts.
    #[test]
    fn the_way_there_does_not_matter(
        direct in proptest::collection::vec((0..3usize, 0..300u64), 0..4),
        way in proptest::collection::vec(0..3usize, 0..6),
        last in 0..3usize,
    ) {
        let positions = [MATURE, FRESH, GONE];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut ends = Vec::new();
            for way in [&way[..], &[]] {
                let pool = pool().await;
                pool.books.record_found(&pool.found(&direct)).await.unwrap();
                for &index in way.iter().chain([&last]) {
                    pool.settle(positions[index]).await;
                    let coins: i64 = pool.balances().await.iter().filter(|(account, _)| {
                        matches!(account, LedgerAccount::Immature(_) | LedgerAccount::Spendable)
                    }).map(|(_, sat)| sat).sum();
                    let own = 1_000 - direct.iter().map(|(_, sat)| *sat as i64).sum::<i64>();
                    assert_eq!(coins, if index == 2 { 0 } else { own });
                }
                ends.push((pool.balances().await, pool.paid().await));
            }
            assert_eq!(ends[0], ends[1]);
        });
    }
}
