//! A pool with more than one node.

use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoincore_rpc::RpcApi;
use bitcoind_regtest::{Chain, Node, NodeOptions};
use protocol::messages::mining::ServerMessage;
use serde_json::json;
use tests::miner::{Miner, Record};

use crate::site::{PATIENCE, Site, eventually, hash_of, idle, standard};

/// Long enough for the pool to give a node up, to turn to another, or to return.
const FAILOVER_PATIENCE: Duration = Duration::from_secs(90);

/// Gives the pool a second node.
fn add_backup(site: &mut Site, backup: &Node) {
    let cookie = backup.cookie_file();
    site.pool
        .set("ADIT__BITCOIND__BACKUP__SECOND__URL", backup.rpc_url())
        .set("ADIT__BITCOIND__BACKUP__SECOND__COOKIE_FILE", cookie.display());
}

/// Hands the blocks that one node has and the other lacks over.
fn hand_over(from: &Node, to: &Node) {
    for height in to.height().unwrap() + 1..=from.height().unwrap() {
        let block = from.block(from.block_hash(height).unwrap()).unwrap();
        let block = bitcoin::consensus::encode::serialize_hex(&block);
        let refused: Option<String> = to.rpc().call("submitblock", &[json!(block)]).unwrap();
        assert_eq!(refused, None);
    }
    assert_eq!(to.tip().unwrap(), from.tip().unwrap());
}

/// Waits until the pool's log has a line with all of these words.
async fn logged(site: &Site, words: &[&str]) {
    let deadline = std::time::Instant::now() + FAILOVER_PATIENCE;
    loop {
        let log = site.pool.log();
        if log.lines().any(|line| words.iter().all(|word| line.contains(word))) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "no line with {words:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn told_of(miner: &Miner, tip: bitcoin::BlockHash) {
    let told = |record: &Record| {
        let is_tip = |message: &ServerMessage| matches!(message, ServerMessage::SetNewPrevHash(told) if told.prev_hash.0 == tip.to_byte_array());
        record.received.iter().any(is_tip).then_some(())
    };
    miner.wait_for(FAILOVER_PATIENCE, "the tip", told).await.unwrap();
}

/// Lets miners find one block, and waits until it is the tip of these nodes. It is only one, because two of a height
/// could reach two nodes in either order.
async fn find_block(site: &Site, nodes: &[&Node]) {
    // Half of the shares are blocks.
    let mut found = None;
    while found.is_none() {
        let miner = site.miner_with(standard(&site.new_address(), 100.0).max_shares(1)).await;
        let answered = |record: &Record| !record.submitted.is_empty() && record.unanswered().is_empty();
        miner.wait_for(PATIENCE, "an answer", |record| answered(record).then_some(())).await.unwrap();
        let record = miner.close().await;
        let accepted = record.accepted_count() == 1;
        found = record.submitted.iter().find(|share| share.is_block && accepted).map(hash_of);
    }
    for node in nodes {
        eventually("the block at the tip of each node", async || (Some(node.tip().unwrap()) == found).then_some(()))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn second_node_takes_over_and_the_first_is_used_again_when_it_is_well() {
    let mut site = Site::regtest();
    site.node.mine(3).unwrap();
    let backup = Node::start().unwrap();
    hand_over(&site.node, &backup);
    add_backup(&mut site, &backup);
    site.pool.start().unwrap();
    logged(&site, &["node is ready", "bitcoind.backup.second"]).await;
    // Nobody else brings the second node the blocks of the first.
    find_block(&site, &[&site.node, &backup]).await;

    let miner = site.miner_with(idle(standard(&site.new_address(), 1e6))).await;
    site.node.stop().unwrap();
    logged(&site, &["another node is in use", "bitcoind.backup.second"]).await;
    let tip = backup.mine(1).unwrap()[0];
    told_of(&miner, tip).await;
    find_block(&site, &[&backup]).await;

    site.node.restart().unwrap();
    hand_over(&backup, &site.node);
    logged(&site, &["another node is in use", "to=\"bitcoind\""]).await;
    let tip = site.node.mine(1).unwrap()[0];
    told_of(&miner, tip).await;
    hand_over(&site.node, &backup);
    find_block(&site, &[&site.node, &backup]).await;
    assert_eq!(miner.close().await.faults, []);
    site.settle().await.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_hangs_is_left() {
    let mut site = Site::regtest();
    site.node.mine(3).unwrap();
    let backup = Node::start().unwrap();
    hand_over(&site.node, &backup);
    add_backup(&mut site, &backup);
    site.pool.start().unwrap();
    logged(&site, &["node is ready", "bitcoind.backup.second"]).await;
    let miner = site.miner_with(idle(standard(&site.new_address(), 1e6))).await;
    site.node.pause().unwrap();
    let tip = backup.mine(1).unwrap()[0];
    told_of(&miner, tip).await;
    find_block(&site, &[&backup]).await;
    site.node.resume().unwrap();
    // The hung one hears of the block too, now or when it is offered again.
    assert_eq!(miner.close().await.faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn node_of_another_network_or_with_a_lesser_chain_is_never_used() {
    let strangers = [
        (NodeOptions::new().chain(Chain::Signet).start().unwrap(), "follows signet"),
        (Node::start().unwrap(), "lacks blocks"),
    ];
    for (stranger, said) in strangers {
        let mut site = Site::regtest();
        site.node.mine(5).unwrap();
        if stranger.chain() == Chain::Regtest {
            // A chain of its own.
            stranger.mine(2).unwrap();
        }
        add_backup(&mut site, &stranger);
        site.pool.start().unwrap();
        let miner = site.miner_with(idle(standard(&site.new_address(), 1e6))).await;
        site.node.stop().unwrap();
        logged(&site, &[said]).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!site.pool.log().contains("another node is in use"));
        // The pool goes on with what it has, and with the node when it is back.
        site.node.restart().unwrap();
        let tip = site.node.mine(1).unwrap()[0];
        told_of(&miner, tip).await;
        assert_eq!(miner.close().await.faults, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_starts_with_the_second_node_while_the_first_is_down() {
    let mut site = Site::regtest();
    site.node.mine(3).unwrap();
    let backup = Node::start().unwrap();
    hand_over(&site.node, &backup);
    add_backup(&mut site, &backup);
    site.node.stop().unwrap();
    site.pool.start().unwrap();
    find_block(&site, &[&backup]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_looks_at_all_nodes() {
    let mut site = Site::regtest();
    site.node.mine(3).unwrap();
    let mut backup = Node::start().unwrap();
    add_backup(&mut site, &backup);
    let said = site.pool.ask(&["check"]).unwrap();
    assert!(said.contains("bitcoind ") && said.contains("bitcoind.backup.second"), "{said}");
    assert!(said.contains(&site.node.tip().unwrap().to_string()), "{said}");
    backup.stop().unwrap();
    let said = site.pool.ask(&["check"]).unwrap_err().to_string();
    assert!(said.contains("something is not as it must be: 1 errors"), "{said}");
}
