//! A disk that takes its time. Acknowledgements wait for it, and nothing else does.

use std::time::{Duration, Instant};

use bitcoin::hashes::Hash;
use tests::miner::{End, Record};

use crate::{
    site::{PATIENCE, Site, extended, standard},
    tally::Tally,
};

/// How long each group of shares takes to be written.
const WRITE_TIME: Duration = Duration::from_millis(1_500);
/// How soon a tip must have come: sooner than two groups are written, on a busy machine.
const TIP_WITHIN: Duration = Duration::from_millis(2_500);
/// How long the pool may take to end: it writes at most the group that is on its way and one more.
const END_WITHIN: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn slow_disk_delays_acknowledgements_and_neither_jobs_nor_the_end() {
    let mut site = Site::signet();
    site.pool.set("ADIT_SLOW_STEP", format!("append shares:{}", WRITE_TIME.as_millis()));
    site.pool.start().unwrap();
    let miners = [
        site.miner_with(standard(&site.new_address(), 10_000.0)).await,
        site.miner_with(extended(&site.new_address(), 10_000.0)).await,
    ];
    for miner in &miners {
        miner.wait_for_accepted(10, PATIENCE).await.unwrap();
    }
    let tip = site.node.mine(1).unwrap()[0].to_byte_array();
    let mined = Instant::now();
    for miner in &miners {
        let knows = |record: &Record| {
            let messages = record.received.iter();
            let mut tips = messages.filter_map(|message| match message {
                protocol::messages::mining::ServerMessage::SetNewPrevHash(tip) => Some(tip.prev_hash.0),
                _ => None,
            });
            tips.any(|known| known == tip).then_some(())
        };
        miner.wait_for(PATIENCE, "the tip", knows).await.unwrap();
    }
    assert!(mined.elapsed() < TIP_WITHIN, "the tip waited {:?} for the disk", mined.elapsed());
    for miner in &miners {
        let accepted = miner.read(Record::accepted_count);
        miner.wait_for_accepted(accepted + 10, PATIENCE).await.unwrap();
        let waited = miner.read(Record::longest_wait);
        assert!(waited > WRITE_TIME, "acknowledged after {waited:?}: before it was written");
    }

    let asked = Instant::now();
    site.pool.stop().unwrap();
    assert!(asked.elapsed() < END_WITHIN, "the end took {:?}", asked.elapsed());
    let (mut acknowledged, mut submitted) = (Tally::default(), Tally::default());
    for miner in miners {
        assert_eq!(miner.wait_for_end(PATIENCE).await.unwrap(), End::ByPool);
        let record = miner.close().await;
        assert_eq!(record.faults, []);
        acknowledged.add(&Tally::acknowledged(&record));
        submitted.add(&Tally::submitted(&record));
    }
    let stored = site.books().await.tally().await;
    assert_eq!(stored, acknowledged, "of {} submitted", submitted.total());
}
