//! Gifts to the reserve, on a real database.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bitcoin::{CompactTarget, OutPoint, Txid, hashes::Hash};
use tempfile::TempDir;

use super::*;
use crate::{
    audit,
    books::{Books, COINBASE_MATURITY, ChainPosition, DirectPayments, FoundBlock},
    deposits::{self, ChainDeposit},
    scheme::{PoolFee, rule::Scheme, solo::Solo},
    share::ShareSeq,
    store::{
        conformance::{address, block_hash},
        sqlite::SqliteStore,
    },
};

/// A store in which two blocks matured, each with a fee of 1,000 satoshis.
async fn store() -> (TempDir, Arc<SqliteStore>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap());
    let finder = store.account(&address(1)).await.unwrap();
    let fee = PoolFee::from_basis_points(100).unwrap();
    let books = Books::new(store.clone(), Scheme::Solo(Solo { fee }));
    for id in [1, 2] {
        let found = FoundBlock {
            hash: block_hash(id),
            height: id.into(),
            coinbase: OutPoint::new(Txid::from_byte_array([id; 32]), 0),
            value: Amount::from_sat(100_000),
            subsidy: Amount::from_sat(100_000),
            finder,
            share_position: ShareSeq::new(0),
            nbits: CompactTarget::from_consensus(0x207f_ffff),
            found_at_ms: 1,
            direct: DirectPayments::default(),
        };
        books.record_found(&found).await.unwrap();
        books.settle(found.hash, ChainPosition::Confirmed { confirmations: COINBASE_MATURITY }).await.unwrap();
    }
    (dir, store)
}

fn gift(sat: u64, from: PoolMoney, to: Recipient, reference: &str) -> Gift {
    Gift { amount: Amount::from_sat(sat), from, to, reference: reference.to_owned() }
}

#[tokio::test]
async fn the_fee_gives_its_oldest_coins_and_no_more_than_it_has() {
    let (_dir, store) = store().await;
    let from_fee = |sat, reference| gift(sat, PoolMoney::Fee, Recipient::Reserve, reference);
    assert_eq!(available(&*store, PoolMoney::Fee).await.unwrap().to_sat(), 2_000);
    give(&*store, &from_fee(600, "a")).await.unwrap();
    give(&*store, &from_fee(1_000, "b")).await.unwrap();
    let greedy = give(&*store, &from_fee(401, "c")).await;
    assert!(matches!(greedy, Err(ReserveError::Insufficient { available, .. }) if available.to_sat() == 400));
    let coins = store.reserve_lots().await.unwrap();
    let coins: Vec<_> = coins.iter().map(|coin| (coin.number, coin.lot.block, coin.lot.amount.to_sat())).collect();
    assert_eq!(coins, [(1, block_hash(1), 600), (2, block_hash(1), 400), (3, block_hash(2), 600)]);
    let status = status(&*store).await.unwrap();
    assert_eq!((status.reserve.to_sat(), status.fee.to_sat()), (1_600, 400));
    audit::verify_books(&*store).await.unwrap();
}

#[tokio::test]
async fn deposits_are_given_to_the_fee_and_from_there_to_the_reserve() {
    let (_dir, store) = store().await;
    let outpoint = OutPoint::new(Txid::from_byte_array([9; 32]), 1);
    let deposit = ChainDeposit { outpoint, amount: Amount::from_sat(500), block: block_hash(9) };
    deposits::follow(&*store, &[deposit]).await.unwrap();
    give(&*store, &gift(300, PoolMoney::Deposits, Recipient::Fee, "a")).await.unwrap();
    assert_eq!(available(&*store, PoolMoney::Fee).await.unwrap().to_sat(), 2_300);
    assert_eq!(available(&*store, PoolMoney::Deposits).await.unwrap().to_sat(), 200);
    give(&*store, &gift(2_250, PoolMoney::Fee, Recipient::Reserve, "b")).await.unwrap();
    let coins = store.reserve_lots().await.unwrap();
    let last = coins.last().unwrap();
    assert_eq!((last.lot.coinbase, last.lot.amount.to_sat()), (outpoint, 250));
    audit::verify_books(&*store).await.unwrap();
}

#[tokio::test]
async fn gifts_that_mean_nothing_are_refused() {
    let (_dir, store) = store().await;
    let head = store.head().await.unwrap();
    let long = "x".repeat(MAX_REFERENCE_SIZE + 1);
    for reference in ["", "two\nlines", &long] {
        let refused = give(&*store, &gift(1, PoolMoney::Fee, Recipient::Reserve, reference)).await;
        assert!(matches!(refused, Err(ReserveError::Reference)), "{refused:?}");
    }
    let nothing = give(&*store, &gift(0, PoolMoney::Fee, Recipient::Reserve, "x")).await;
    assert!(matches!(nothing, Err(ReserveError::Nothing)));
    let same = give(&*store, &gift(1, PoolMoney::Fee, Recipient::Fee, "x")).await;
    assert!(matches!(same, Err(ReserveError::SameAccount)));
    assert_eq!(store.head().await.unwrap(), head);
}
