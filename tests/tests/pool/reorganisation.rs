//! Blocks of the pool that leave the best chain, and come back.

use std::collections::BTreeMap;

use bitcoin::BlockHash;

use crate::{
    books::Books,
    site::{Database, PATIENCE, Site, eventually, standard},
};

/// A pool that has found some blocks, and whose miners have left.
async fn site_with_blocks(database: Database) -> (Site, Books) {
    let mut site = Site::regtest_on(database);
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let miners = [
        site.miner_with(standard(&site.new_address(), 30.0)).await,
        site.miner_with(standard(&site.new_address(), 50.0)).await,
    ];
    let books = site.books().await;
    eventually("blocks", async || (site.node.height().unwrap() >= 6).then_some(())).await;
    for miner in miners {
        miner.close().await;
    }
    site.settle().await;
    // One more alone, so that no other block of the pool stands at the height of the last one and can take its place.
    let miner = site.miner_with(standard(&site.new_address(), 50.0).max_shares(1)).await;
    miner.wait_for_accepted(1, PATIENCE).await.unwrap();
    miner.close().await;
    site.settle().await;
    (site, books)
}

/// Asserts that the only thing that happened to the books is that `hash` was voided, exactly.
async fn assert_voided(books: &Books, hash: BlockHash, before: &BTreeMap<String, i64>, last_entry: i64) {
    let entries = books.entries_after(last_entry).await;
    let keys: Vec<_> = entries.iter().map(|entry| (entry.kind.as_str(), entry.key.clone())).collect();
    assert_eq!(keys, [("orphaned", format!("{hash}:0"))]);
    let booked = books.postings("block_found", &hash.to_string()).await;
    let voided = books.postings("orphaned", &format!("{hash}:0")).await;
    assert_eq!(voided, booked.iter().map(|(account, sat)| (account.clone(), -sat)).collect());
    let mut expected = before.clone();
    for (account, sat) in booked {
        *expected.entry(account).or_default() -= sat;
    }
    expected.retain(|_, sat| *sat != 0);
    assert_eq!(books.balances().await, expected);
}

async fn assert_restored(books: &Books, site: &Site, before: &BTreeMap<String, i64>) {
    assert_eq!(&books.balances().await, before, "the balances are not as if the block had never left");
    books.assert_sound().await;
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
}

async fn phase_is(books: &Books, hash: BlockHash, phase: &str) {
    eventually(phase, async || (books.phase(hash).await.as_deref() == Some(phase)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphaned_block_is_voided_exactly_and_restored_when_it_returns() {
    orphaned_block_is_voided_and_restored(Database::Sqlite).await;
}

/// Takes a block out of the best chain and brings it back, while the pool looks on.
pub(crate) async fn orphaned_block_is_voided_and_restored(database: Database) {
    let (site, books) = site_with_blocks(database).await;
    let (before, last_entry) = (books.balances().await, books.last_entry().await);
    let hash = site.node.tip().unwrap();

    let reorganisation = site.node.reorganise(1, 2).unwrap();
    assert_eq!(reorganisation.orphaned, [hash]);
    phase_is(&books, hash, "orphaned").await;
    assert_voided(&books, hash, &before, last_entry).await;
    books.assert_sound().await;

    site.node.invalidate(reorganisation.mined[0]).unwrap();
    assert_eq!(site.node.tip().unwrap(), hash);
    phase_is(&books, hash, "immature").await;
    assert_restored(&books, &site, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn block_orphaned_while_the_pool_is_down_is_voided_and_restored_at_the_next_start() {
    let (mut site, books) = site_with_blocks(Database::Sqlite).await;
    let (before, last_entry) = (books.balances().await, books.last_entry().await);
    let hash = site.node.tip().unwrap();

    site.pool.stop().unwrap();
    let reorganisation = site.node.reorganise(1, 2).unwrap();
    site.pool.start().unwrap();
    phase_is(&books, hash, "orphaned").await;
    assert_voided(&books, hash, &before, last_entry).await;

    site.pool.kill().unwrap();
    site.node.invalidate(reorganisation.mined[0]).unwrap();
    site.pool.start().unwrap();
    phase_is(&books, hash, "immature").await;
    assert_restored(&books, &site, &before).await;
}
