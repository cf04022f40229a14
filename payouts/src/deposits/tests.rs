//! Deposits that come, go and return, on a real database.

#![allow(clippy::unwrap_used)]

use bitcoin::{Txid, hashes::Hash};

use super::*;
use crate::{
    audit,
    store::{conformance::block_hash, sqlite::SqliteStore},
};

fn deposit(id: u8, sat: u64, block: u8) -> ChainDeposit {
    let outpoint = OutPoint::new(Txid::from_byte_array([id; 32]), 2);
    ChainDeposit { outpoint, amount: Amount::from_sat(sat), block: block_hash(block) }
}

#[tokio::test]
async fn a_deposit_is_booked_once_and_follows_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap();
    let (one, other, moved) = (deposit(1, 500, 1), deposit(2, 30, 1), deposit(1, 500, 2));
    let coins = async || store.balance(LedgerAccount::Spendable).await.unwrap().to_sat();
    let unassigned = async || store.balance(LedgerAccount::Remainder).await.unwrap().to_sat();

    let came = DepositEvent::Deposited;
    let left = DepositEvent::Undeposited;
    assert_eq!(follow(&store, &[one]).await.unwrap(), [came(one)]);
    assert_eq!(follow(&store, &[one]).await.unwrap(), []);
    assert_eq!(follow(&store, &[one, other]).await.unwrap(), [came(other)]);
    assert_eq!((coins().await, unassigned().await), (530, -530));
    // One leaves with its block, and returns in another.
    assert_eq!(follow(&store, &[other]).await.unwrap(), [left(one)]);
    assert_eq!(coins().await, 30);
    assert_eq!(follow(&store, &[other, moved]).await.unwrap(), [came(moved)]);
    // It changes its block at once.
    assert_eq!(follow(&store, &[other, one]).await.unwrap(), [left(moved), came(one)]);
    assert_eq!((coins().await, unassigned().await), (530, -530));
    let keys: Vec<_> = store.entries(crate::ledger::EntrySeq::new(0), 20).await.unwrap();
    let keys: Vec<_> = keys.iter().map(|entry| format!("{} {}", entry.kind, &entry.key[64..])).collect();
    let expected = [
        "deposited :2:0",
        "deposited :2:0",
        "undeposited :2:0",
        "deposited :2:1",
        "undeposited :2:1",
        "deposited :2:2",
    ];
    assert_eq!(keys, expected);
    audit::verify_books(&store).await.unwrap();
}
