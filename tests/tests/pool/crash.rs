//! The pool is killed while miners hand in shares and blocks as fast as they can.

use std::{collections::BTreeSet, time::Duration};

use bitcoin::BlockHash;
use tests::miner::{ChannelConfig, Miner, Record};

use crate::{
    site::{Database, PATIENCE, Site, extended, hash_of, random_pause, standard},
    tally::Tally,
};

/// Kills in each test, every one during another run of the pool.
const KILLS: usize = 5;
/// Acknowledged shares of each miner before the pool is killed: mining is in full swing then.
const WARM_UP: usize = 8;

/// What all miners of all runs have done.
#[derive(Default)]
struct Submitted {
    all: Tally,
    acknowledged: Tally,
    hashes: BTreeSet<BlockHash>,
    acknowledged_blocks: BTreeSet<BlockHash>,
}

impl Submitted {
    fn add(&mut self, record: &Record) {
        assert_eq!(record.faults, []);
        self.all.add(&Tally::submitted(record));
        self.acknowledged.add(&Tally::acknowledged(record));
        let acknowledged = record.acknowledged();
        for share in &record.submitted {
            if share.is_block && acknowledged.contains(&(share.channel_id, share.sequence_number)) {
                self.acknowledged_blocks.insert(hash_of(share));
            }
            assert!(self.hashes.insert(hash_of(share)), "a miner has found a share twice: {share:?}");
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

/// Asserts that of each identity and difficulty at least what was acknowledged is stored, and no more than was submitted.
async fn assert_all_stored(site: &Site, submitted: &Submitted) {
    let stored = site.books().await.tally().await;
    stored.assert_covers(&submitted.acknowledged, "an acknowledged share is lost");
    submitted.all.assert_covers(&stored, "a share counts twice, or nobody has submitted it");
    println!(
        "{} submitted, {} stored, {} acknowledged",
        submitted.all.total(),
        stored.total(),
        submitted.acknowledged.total()
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
            let rig = |name, config: ChannelConfig| ChannelConfig {
                user_identity: format!("{}.{name}", config.user_identity),
                ..config
            };
            let channels = [standard(&address, 15_000.0), extended(&address, 15_000.0), standard(&address, 8_000.0)];
            ["north", "south", "north"].into_iter().zip(channels).map(|(name, config)| rig(name, config)).collect()
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
    let missing: Vec<_> = submitted.acknowledged_blocks.difference(&booked).collect();
    assert!(missing.is_empty(), "found, acknowledged and not booked: {missing:?}");
    // Also those that no node had yet when the pool was killed: a block is kept before its share is stored.
    let books = site.settle().await;
    println!("{} blocks in the chain, {} booked", mined.len(), books.blocks().await.len());
    books.assert_sound().await;
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
}
