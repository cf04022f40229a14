//! SIGTERM: the pool ends in order.

use std::net::TcpStream;

use tests::miner::{ChannelConfig, End};

use crate::{
    site::{PATIENCE, Site, extended, standard},
    tally::Tally,
};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_acknowledges_all_that_is_stored_and_then_closes() {
    let mut site = Site::signet();
    let address = site.pool.start().unwrap();
    let mut miners = Vec::new();
    for _ in 0..4 {
        let payee = site.new_address();
        let miner = site.miner_with(standard(&payee, 20_000.0)).await;
        miner.open(extended(&payee, 20_000.0)).await.unwrap();
        miners.push(miner);
    }
    for miner in &miners {
        miner.wait_for_accepted(20, PATIENCE).await.unwrap();
    }
    // Fails unless the exit status is zero.
    site.pool.stop().unwrap();
    assert!(TcpStream::connect((address.host.as_str(), address.port)).is_err(), "the port is still open");

    let (mut acknowledged, mut submitted) = (Tally::default(), Tally::default());
    for miner in miners {
        assert_eq!(miner.wait_for_end(PATIENCE).await.unwrap(), End::ByPool);
        let record = miner.close().await;
        assert_eq!(record.faults, []);
        // One share in some thousands is a block here too, and makes the others' work stale.
        let is_stale = |rejection: &tests::miner::Rejection| rejection.error_code == "stale-share";
        assert!(record.rejections.iter().all(is_stale), "{:?}", record.rejections);
        acknowledged.add(&Tally::acknowledged(&record));
        submitted.add(&Tally::submitted(&record));
    }
    let stored = site.books().await.tally().await;
    // What came too late is not stored: whoever hands it in elsewhere gets nothing for it twice.
    assert_eq!(stored, acknowledged, "what was acknowledged is what is stored, of {} submitted", submitted.total());
    submitted.assert_covers(&stored, "stored without having been submitted");

    site.pool.start().unwrap();
    let again = site.miner_with(ChannelConfig::standard(site.new_address().to_string()).hash_rate(20_000.0)).await;
    again.wait_for_accepted(5, PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn miner_that_has_stopped_hashing_has_every_share_acknowledged_at_sigterm() {
    const SHARES: u64 = 12;

    let mut site = Site::signet();
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 40_000.0).max_shares(SHARES)).await;
    let all = |record: &tests::miner::Record| (record.submitted.len() as u64 == SHARES).then_some(());
    miner.wait_for(PATIENCE, "all shares", all).await.unwrap();
    // The last share is on its way or just arrived.
    miner.wait_for_accepted(SHARES as usize - 1, PATIENCE).await.unwrap();
    site.pool.stop().unwrap();
    assert_eq!(miner.wait_for_end(PATIENCE).await.unwrap(), End::ByPool);
    let record = miner.close().await;
    assert_eq!(site.books().await.tally().await, Tally::acknowledged(&record));
    assert!(record.accepted_count() as u64 >= SHARES - 1);
}
