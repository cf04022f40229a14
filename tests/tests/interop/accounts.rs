//! What chain and books must say of what a client has done.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Address, BlockHash};
use tests::foreign::Translator;

use crate::site::{Site, eventually, eventually_or};

/// The stored shares of an account, by worker.
pub(crate) async fn stored_by_worker(site: &Site, account: &Address) -> BTreeMap<String, u64> {
    let mut stored = BTreeMap::new();
    for shares in site.books().await.shares().await {
        assert_eq!(shares.address, account.to_string(), "nobody else mines here");
        *stored.entry(shares.worker).or_default() += shares.count as u64;
    }
    stored
}

/// Waits until what the translator has passed on is either stored or was refused, and all that is stored was
/// acknowledged. The miners may be mining.
pub(crate) async fn wait_until_translated_shares_are_accounted_for(
    site: &Site,
    account: &Address,
    translator: &Translator,
) {
    eventually_or("all shares to be stored or refused", async || {
        let stored = stored_by_worker(site, account).await.values().sum::<u64>() as usize;
        let (forwarded, acknowledged, refused) =
            (translator.forwarded(), translator.acknowledged(), translator.rejections().len());
        if forwarded == stored + refused && acknowledged == stored {
            return Ok(());
        }
        Err(format!("{forwarded} passed on, {stored} stored, {acknowledged} acknowledged, {refused} refused"))
    })
    .await;
}

/// Mines a block elsewhere, and waits until the pool has found one on top of it.
pub(crate) async fn follow_new_tip(site: &Site) {
    let tip = site.node.mine(1).unwrap()[0];
    eventually("a block of the pool on the new tip", async || {
        site.blocks_of_the_pool().iter().any(|block| block.header.prev_blockhash == tip).then_some(())
    })
    .await;
}

/// Waits until books and chain agree, and asserts that every block of the pool was found by the client and is booked.
/// Nobody may be mining.
pub(crate) async fn assert_blocks_are_booked(site: &Site, found: &BTreeSet<BlockHash>) {
    let books = site.settle().await;
    let mined: BTreeSet<BlockHash> = site.blocks_of_the_pool().iter().map(bitcoin::Block::block_hash).collect();
    assert!(!mined.is_empty() && mined.is_subset(found), "{mined:?} are not all of {found:?}");
    let booked: BTreeSet<BlockHash> = books.blocks().await.iter().map(crate::books::Block::hash).collect();
    assert!(mined.is_subset(&booked), "{mined:?} are not all in the ledger, which has {booked:?}");
    books.assert_sound().await;
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
    println!("{} blocks in the chain, {} booked", mined.len(), booked.len());
}
