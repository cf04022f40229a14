//! The pool is killed while miners hand in shares and blocks as fast as they can.

use std::{collections::BTreeSet, time::Duration};

use bitcoin::BlockHash;
use tests::miner::{ChannelConfig, Miner, Record};

use crate::site::{Database, PATIENCE, Site, extended, random_pause, standard};

/// Kills in each test, every one during another run of the pool.
const KILLS: usize = 5;
/// Acknowledged shares of each miner before the pool is killed: mining is in full swing then.
const WARM_UP: usize = 8;

/// What all miners of all runs have done.
#[derive(Default)]
struct Submitted {
    all: BTreeSet<Vec<u8>>,
    acknowledged: BTreeSet<Vec<u8>>,
}

impl Submitted {
    fn add(&mut self, record: &Record) {
        assert_eq!(record.faults, []);
        let acknowledged = record.acknowledged();
        for share in &record.submitted {
            let hash = share.hash.unwrap().0.to_vec();
            if acknowledged.contains(&(share.channel_id, share.sequence_number)) {
                self.acknowledged.insert(hash.clone());
            }
            assert!(self.all.insert(hash), "a miner has found a share twice: {share:?}");
        }
    }
}

/// Runs the pool with miners again and again, kills it at random moments, and returns what the miners know.
async fn kill_under_load(site: &mut Site, channels: &[Vec<ChannelConfig>]) -> Submitted {
    let mut submitted = Submitted::default();
    for _ in 0..KILLS {
        site.pool.start().unwrap();
        let mut miners: Vec<Miner> = Vec::new();
        for configs in channels {
            let miner = site.miner().await;
            for config in configs {
                miner.open(config.clone()).await.unwrap();
            }
            miners.push(miner);
        }
        for miner in &miners {
            // Mining goes on after each kill: there are new acknowledgements.
            miner.wait_for_accepted(WARM_UP, PATIENCE).await.unwrap();
        }
        tokio::time::sleep(random_pause(Duration::from_millis(1_000))).await;
        site.pool.kill().unwrap();
        for miner in miners {
            miner.wait_for_end(PATIENCE).await.unwrap();
            submitted.add(&miner.close().await);
        }
    }
    site.pool.start().unwrap();
    submitted
}

/// Asserts that each acknowledged share is stored, none is stored twice, and none was made up.
async fn assert_all_stored(site: &Site, submitted: &Submitted) {
    let stored = site.books().await.share_hashes().await;
    let lost: Vec<_> = submitted.acknowledged.difference(&stored).map(hex::encode).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged shares are lost: {lost:?}",
        lost.len(),
        submitted.acknowledged.len()
    );
    assert!(stored.is_subset(&submitted.all), "a stored share that nobody has submitted");
    println!(
        "{} submitted, {} stored, {} acknowledged",
        submitted.all.len(),
        stored.len(),
        submitted.acknowledged.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_under_load_loses_no_acknowledged_share_and_credits_none_twice() {
    no_acknowledged_share_is_lost(Database::Sqlite).await;
}

/// Kills the pool on a chain where shares come fast, because hardly any is a block; then counts the shares.
pub(crate) async fn no_acknowledged_share_is_lost(database: Database) {
    let mut site = Site::signet_on(database);
    let channels: Vec<Vec<ChannelConfig>> = (0..4)
        .map(|_| {
            let address = site.new_address();
            vec![standard(&address, 15_000.0), extended(&address, 15_000.0), standard(&address, 8_000.0)]
        })
        .collect();
    let submitted = kill_under_load(&mut site, &channels).await;
    assert_all_stored(&site, &submitted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_under_load_loses_no_block_that_the_node_has_taken() {
    no_block_is_lost(Database::Sqlite).await;
}

/// Kills the pool on a chain where every second share is a block; then looks the blocks up in chain and books.
pub(crate) async fn no_block_is_lost(database: Database) {
    let mut site = Site::regtest_on(database);
    site.node.mine(1).unwrap();
    let channels = [
        vec![standard(&site.new_address(), 60.0)],
        vec![extended(&site.new_address(), 90.0), standard(&site.new_address(), 60.0)],
    ];
    let submitted = kill_under_load(&mut site, &channels).await;
    assert_all_stored(&site, &submitted).await;

    let mined: Vec<BlockHash> = site.blocks_of_the_pool().iter().map(bitcoin::Block::block_hash).collect();
    assert!(mined.len() >= KILLS, "{mined:?}");
    let books = site.agree_with_chain().await;
    let booked: BTreeSet<BlockHash> = books.blocks().await.iter().map(crate::books::Block::hash).collect();
    assert!(mined.iter().all(|hash| booked.contains(hash)));
    // Also those that no node had yet when the pool was killed: a block is kept before its share is stored.
    let books = site.settle().await;
    println!("{} blocks in the chain, {} booked", mined.len(), books.blocks().await.len());
    books.assert_sound().await;
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
}
