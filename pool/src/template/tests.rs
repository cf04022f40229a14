//! Templates and blocks of a real node.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bitcoin::{
    Block, FeeRate, Network, OutPoint, Sequence, Transaction, TxIn, TxOut, Witness, absolute,
    block::{Header, Version},
    consensus,
    hashes::Hash,
    opcodes, script, transaction,
};
use bitcoincore_rpc::RpcApi;
use bitcoind_regtest::{Chain, Coins, Node as Bitcoind, NodeOptions};
use payouts::wallet::SettledBlock;
use secrecy::SecretString;
use tokio::{sync::watch, time::timeout};

use super::{
    bitcoind::{self, OnNewTip, wait_until_ready},
    node::{BlockStatus, Node, NodeError, SubmitOutcome},
    nodes::Nodes,
    *,
};
use crate::{
    config::{BackupConfig, BitcoindConfig, NodeCredentials},
    tasks::Ending,
};

/// Long enough for a slow machine; far shorter than [`NO_REFRESH`].
const PATIENCE: Duration = Duration::from_secs(20);
/// An interval that no test lives to see.
const NO_REFRESH: Duration = Duration::from_secs(3_600);

fn cookie(bitcoind: &Bitcoind) -> NodeCredentials {
    NodeCredentials::CookieFile { key: "bitcoind.cookie_file", file: bitcoind.cookie_file() }
}

fn node_of(bitcoind: &Bitcoind) -> Node {
    node_with(bitcoind, cookie(bitcoind), bitcoind.chain().network())
}

fn node_with(bitcoind: &Bitcoind, credentials: NodeCredentials, network: Network) -> Node {
    nodes_with(bitcoind, credentials, network, vec![]).current()
}

fn nodes_with(
    bitcoind: &Bitcoind,
    credentials: NodeCredentials,
    network: Network,
    backups: Vec<BackupConfig>,
) -> Nodes {
    let config = BitcoindConfig { url: bitcoind.rpc_url(), credentials, template_refresh: NO_REFRESH, backups };
    Nodes::new(&config, network)
}

/// The first one, with the others behind it.
fn nodes_of(first: &Bitcoind, others: &[&Bitcoind]) -> Nodes {
    let backups = others.iter().map(|other| BackupConfig {
        section: "bitcoind.backup.other",
        url: other.rpc_url(),
        credentials: cookie(other),
    });
    nodes_with(first, cookie(first), first.chain().network(), backups.collect())
}

/// Follows templates as the node makes them.
fn follow_templates(node: Node, refresh: Duration) -> watch::Receiver<LatestTemplate> {
    bitcoind::follow_templates(&Nodes::single(node), refresh, OnNewTip::Wait, &Ending::default())
}

async fn template_where(
    templates: &mut watch::Receiver<LatestTemplate>,
    wanted: impl Fn(&Template) -> bool,
) -> Arc<Template> {
    let found = templates.wait_for(|latest| latest.as_deref().is_some_and(&wanted));
    timeout(PATIENCE, found).await.expect("the template comes in time").unwrap().clone().unwrap()
}

/// A block of the template with a coinbase of `value`; `tag` tells apart blocks of one template.
fn block_of(template: &Template, value: Amount, tag: u8) -> Block {
    let coinbase = Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: script::Builder::new().push_int(i64::from(template.height)).push_slice([tag; 8]).into_script(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0; 32]]),
        }],
        output: vec![
            TxOut { value, script_pubkey: script::Builder::new().push_opcode(opcodes::OP_TRUE).into_script() },
            TxOut { value: Amount::ZERO, script_pubkey: template.witness_commitment.clone() },
        ],
    };
    let root = template.merkle_path.iter().fold(coinbase.compute_txid().to_raw_hash(), |node, sibling| {
        Hash::hash(&[node.to_byte_array(), sibling.to_byte_array()].concat())
    });
    let mut header = Header {
        version: Version::from_consensus(template.version),
        prev_blockhash: template.prev_hash,
        merkle_root: TxMerkleNode::from_raw_hash(root),
        time: template.curtime,
        bits: template.nbits,
        nonce: 0,
    };
    while !template.target.is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
    let others = template.transactions.iter().map(|other| consensus::deserialize(&other.data).unwrap());
    Block { header, txdata: std::iter::once(coinbase).chain(others).collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn block_built_from_a_template_with_transactions_is_accepted() {
    let bitcoind = Bitcoind::start().unwrap();
    let mut coins = Coins::new(Chain::Regtest);
    coins.fund(&bitcoind, 3).unwrap();
    let fee_rates = [FeeRate::from_sat_per_vb(3).unwrap(), FeeRate::from_sat_per_vb(9).unwrap()];
    let mempool = coins.fill_mempool(&bitcoind, 3, &fee_rates).unwrap();
    let node = node_of(&bitcoind);
    assert_eq!(wait_until_ready(&Nodes::single(node.clone())).await.best_block, bitcoind.tip().unwrap());
    let mut templates = follow_templates(node.clone(), NO_REFRESH);
    let template = template_where(&mut templates, |template| template.transactions.len() >= mempool.len()).await;

    assert_eq!(template.height, bitcoind.height().unwrap() + 1);
    assert_eq!(template.prev_hash, bitcoind.tip().unwrap());
    for transaction in &template.transactions {
        let parsed: Transaction = consensus::deserialize(&transaction.data).unwrap();
        assert_eq!(parsed.compute_txid(), transaction.txid);
        assert_eq!(parsed.weight().to_wu(), transaction.weight);
        assert!(transaction.fee > Amount::ZERO);
    }

    let block = block_of(&template, template.coinbase_value, 1);
    let bytes = consensus::serialize(&block);
    assert_eq!(node.block_status(block.block_hash()).await.unwrap(), BlockStatus::Unknown);
    assert_eq!(node.submit_block(&bytes).await.unwrap(), SubmitOutcome::Accepted);
    assert_eq!(bitcoind.tip().unwrap(), block.block_hash());
    assert_eq!(node.submit_block(&bytes).await.unwrap(), SubmitOutcome::Duplicate);
    let status = BlockStatus::InBestChain { height: template.height, confirmations: 1 };
    assert_eq!(node.block_status(block.block_hash()).await.unwrap(), status);
    assert!(bitcoind.mempool().unwrap().is_empty());

    // A second block of the same template is as good, but came later.
    let rival = block_of(&template, template.coinbase_value, 2);
    let outcome = node.submit_block(&consensus::serialize(&rival)).await.unwrap();
    assert_eq!(outcome, SubmitOutcome::Inconclusive);
    assert_eq!(node.block_status(rival.block_hash()).await.unwrap(), BlockStatus::NotInBestChain);
}

#[tokio::test(flavor = "multi_thread")]
async fn block_that_pays_itself_too_much_is_rejected() {
    let bitcoind = Bitcoind::start().unwrap();
    let node = node_of(&bitcoind);
    let template = template_where(&mut follow_templates(node.clone(), NO_REFRESH), |_| true).await;
    let block = block_of(&template, template.coinbase_value + Amount::ONE_SAT, 1);
    let outcome = node.submit_block(&consensus::serialize(&block)).await.unwrap();
    assert_eq!(outcome, SubmitOutcome::Rejected { reason: "bad-cb-amount".to_owned() });
    let error = node.submit_block(b"not a block").await.unwrap_err();
    assert!(matches!(error, NodeError::Refused { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_tip_is_seen_when_it_happens() {
    let bitcoind = Bitcoind::start().unwrap();
    bitcoind.mine(1).unwrap();
    let mut templates = follow_templates(node_of(&bitcoind), NO_REFRESH);
    template_where(&mut templates, |_| true).await;
    for _ in 0..3 {
        let tip = *bitcoind.mine(1).unwrap().last().unwrap();
        template_where(&mut templates, |template| template.prev_hash == tip).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn template_follows_a_reorganisation() {
    let bitcoind = Bitcoind::start().unwrap();
    bitcoind.mine(5).unwrap();
    let mut templates = follow_templates(node_of(&bitcoind), NO_REFRESH);
    template_where(&mut templates, |template| template.height == 6).await;
    bitcoind.reorganise(2, 3).unwrap();
    let tip = bitcoind.tip().unwrap();
    template_where(&mut templates, |template| template.prev_hash == tip).await;
    // And back to a chain that is shorter than the best, as an operator may force it.
    bitcoind.invalidate(tip).unwrap();
    let tip = bitcoind.tip().unwrap();
    let template = template_where(&mut templates, |template| template.prev_hash == tip).await;
    assert_eq!(template.height, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_template_comes_without_a_new_tip() {
    let bitcoind = Bitcoind::start().unwrap();
    bitcoind.mine(1).unwrap();
    let mut templates = follow_templates(node_of(&bitcoind), Duration::from_secs(1));
    let first = template_where(&mut templates, |_| true).await;
    let second = template_where(&mut templates, |template| template.curtime > first.curtime).await;
    assert_eq!(second.prev_hash, first.prev_hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_is_down_is_waited_for() {
    let mut bitcoind = Bitcoind::start().unwrap();
    bitcoind.mine(1).unwrap();
    bitcoind.stop().unwrap();
    let node = node_of(&bitcoind);
    let error = node.check_ready().await.unwrap_err();
    assert!(error.to_string().contains("is bitcoind running?"), "{error}");
    let mut templates = follow_templates(node.clone(), NO_REFRESH);
    let waiting = tokio::spawn(async move { wait_until_ready(&Nodes::single(node.clone())).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(templates.borrow().is_none() && !waiting.is_finished());

    bitcoind.restart().unwrap();
    assert_eq!(timeout(PATIENCE, waiting).await.unwrap().unwrap().blocks, 1);
    template_where(&mut templates, |template| template.height == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_is_killed_and_comes_back_with_another_cookie_is_found_again() {
    let mut bitcoind = Bitcoind::start().unwrap();
    bitcoind.mine(1).unwrap();
    let node = node_of(&bitcoind);
    let client = node.client();
    assert_eq!(client.get_block_count().unwrap(), 1);
    let mut templates = follow_templates(node, NO_REFRESH);
    template_where(&mut templates, |_| true).await;
    bitcoind.kill().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(templates.borrow().is_some(), "the last template is kept");
    bitcoind.restart().unwrap();
    let tip = *bitcoind.mine(1).unwrap().last().unwrap();
    template_where(&mut templates, |template| template.prev_hash == tip).await;
    assert_eq!(client.get_best_block_hash().unwrap(), tip);
}

#[tokio::test(flavor = "multi_thread")]
async fn block_is_offered_until_the_node_is_back() {
    let mut bitcoind = Bitcoind::start().unwrap();
    let node = node_of(&bitcoind);
    let template = template_where(&mut follow_templates(node.clone(), NO_REFRESH), |_| true).await;
    let block = block_of(&template, template.coinbase_value, 1);
    bitcoind.stop().unwrap();
    let submission = tokio::spawn(async move { node.submit_block(&consensus::serialize(&block)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!submission.is_finished());
    bitcoind.restart().unwrap();
    assert_eq!(timeout(PATIENCE, submission).await.unwrap().unwrap().unwrap(), SubmitOutcome::Accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn node_on_another_network_is_told_apart() {
    let bitcoind = Bitcoind::start().unwrap();
    let node = node_with(&bitcoind, cookie(&bitcoind), Network::Bitcoin);
    let said = node.check_ready().await.unwrap_err().to_string();
    assert!(said.contains("follows regtest, but the pool is configured for mainnet"), "{said}");
    let templates = follow_templates(node, NO_REFRESH);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(templates.borrow().is_none(), "a template of another network was published");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_without_the_settled_block_is_told_apart_and_may_not_judge_blocks() {
    let bitcoind = Bitcoind::start().unwrap();
    bitcoind.mine(3).unwrap();
    let node = node_of(&bitcoind);
    let settled = |height, hash| SettledBlock { height, hash };
    node.expect_block(settled(2, bitcoind.block_hash(2).unwrap()));
    assert_eq!(node.check_ready().await.unwrap().blocks, 3);
    let template = template_where(&mut follow_templates(node.clone(), NO_REFRESH), |_| true).await;

    for height in [2, 200] {
        node.expect_block(settled(height, BlockHash::all_zeros()));
        let said = node.check_ready().await.unwrap_err().to_string();
        assert!(said.contains(&format!("is on another chain: at height {height}")), "{said}");
    }
    let templates = follow_templates(node.clone(), NO_REFRESH);
    let invalid = block_of(&template, template.coinbase_value + Amount::ONE_SAT, 1);
    let judged = tokio::spawn(async move { node.submit_block(&consensus::serialize(&invalid)).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(templates.borrow().is_none(), "a template of another chain was published");
    assert!(!judged.is_finished(), "a block was judged by a node on another chain");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_password_is_told_apart_from_a_right_one() {
    let bitcoind = NodeOptions::new().credentials("adit", "right").start().unwrap();
    let with = |password: &str| {
        let password = SecretString::from(password);
        node_with(&bitcoind, NodeCredentials::Password { user: "adit".to_owned(), password }, Network::Regtest)
    };
    with("right").check_ready().await.unwrap();
    let error = with("wrong").check_ready().await.unwrap_err();
    assert!(matches!(error, NodeError::Unauthorized { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signet_without_signatures_gives_templates() {
    let bitcoind = NodeOptions::new().chain(Chain::Signet).start().unwrap();
    let node = node_of(&bitcoind);
    wait_until_ready(&Nodes::single(node.clone())).await;
    let template = template_where(&mut follow_templates(node, NO_REFRESH), |_| true).await;
    assert_eq!(template.height, 1);
    assert!(template.target < Target::MAX_ATTAINABLE_REGTEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn template_of_a_full_mempool_leaves_room_for_the_coinbase() {
    let bitcoind = NodeOptions::new().argument("-blockmaxweight=20000").start().unwrap();
    let mut coins = Coins::new(Chain::Regtest);
    coins.fund(&bitcoind, 2).unwrap();
    coins.fill_mempool(&bitcoind, 40, &[FeeRate::from_sat_per_vb(5).unwrap()]).unwrap();
    let template = template_where(&mut follow_templates(node_of(&bitcoind), NO_REFRESH), |_| true).await;
    let weight: u64 = template.transactions.iter().map(|transaction| transaction.weight).sum();
    assert!(!template.transactions.is_empty() && weight <= 20_000 - answer::RESERVED_WEIGHT, "{weight}");
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_template_on_a_new_tip_agrees_with_the_one_that_the_node_makes() {
    let bitcoind = Bitcoind::start().unwrap();
    let mut coins = Coins::new(Chain::Regtest);
    // The subsidy halves at 150.
    coins.fund(&bitcoind, 47).unwrap();
    let node = node_of(&bitcoind);
    let mut empty =
        bitcoind::follow_templates(&Nodes::single(node.clone()), NO_REFRESH, OnNewTip::EmptyFirst, &Ending::default());
    for height in 148..=151 {
        let full = follow_templates(node.clone(), NO_REFRESH);
        template_where(&mut full.clone(), |template| template.height == height).await;
        coins.fill_mempool(&bitcoind, 3, &[FeeRate::from_sat_per_vb(5).unwrap()]).unwrap();
        let tip = bitcoind.mine_empty(1).unwrap()[0];
        // What comes first on the tip, unless this thread was late.
        let first = template_where(&mut empty, |template| template.prev_hash == tip).await;
        let made = template_where(&mut full.clone(), |template| template.prev_hash == tip).await;
        assert!(!made.transactions.is_empty());
        assert_eq!((first.height, first.nbits, first.target), (made.height, made.nbits, made.target));
        assert_eq!((first.version, first.min_time), (made.version, made.min_time));
        if first.transactions.is_empty() {
            assert_eq!(first.coinbase_value, made.subsidy());
            let block = block_of(&first, first.coinbase_value, 1);
            assert_eq!(node.submit_block(&consensus::serialize(&block)).await.unwrap(), SubmitOutcome::Accepted);
            bitcoind.invalidate(block.block_hash()).unwrap();
        }
        // The node's own always follows.
        template_where(&mut empty, |template| template.prev_hash == tip && !template.transactions.is_empty()).await;
        bitcoind.mine(0).unwrap();
    }
}

/// Two nodes with one chain, which know nothing of each other.
fn twins(height: u32) -> [Bitcoind; 2] {
    let twins = [Bitcoind::start().unwrap(), Bitcoind::start().unwrap()];
    for hash in twins[0].mine(height).unwrap() {
        let block = consensus::encode::serialize_hex(&twins[0].block(hash).unwrap());
        let _: Option<String> = twins[1].rpc().call("submitblock", &[block.into()]).unwrap();
    }
    assert_eq!(twins[0].tip().unwrap(), twins[1].tip().unwrap());
    twins
}

#[tokio::test(flavor = "multi_thread")]
async fn block_goes_to_all_nodes_and_one_is_enough() {
    let [mut first, second] = twins(3);
    let nodes = nodes_of(&first, &[&second]);
    let mut templates = bitcoind::follow_templates(&nodes, NO_REFRESH, OnNewTip::Wait, &Ending::default());
    let template = template_where(&mut templates, |template| template.height == 4).await;
    let block = block_of(&template, template.coinbase_value, 1);
    let outcome = nodes.submit_block(&consensus::serialize(&block)).await.unwrap();
    assert!(matches!(outcome, SubmitOutcome::Accepted | SubmitOutcome::Duplicate), "{outcome:?}");
    for node in [&first, &second] {
        let taken = async { while node.tip().unwrap() != block.block_hash() {} };
        timeout(PATIENCE, taken).await.unwrap();
    }

    let template = template_where(&mut templates, |template| template.height == 5).await;
    first.stop().unwrap();
    let block = block_of(&template, template.coinbase_value, 2);
    let outcome = nodes.submit_block(&consensus::serialize(&block)).await.unwrap();
    assert_eq!(outcome, SubmitOutcome::Accepted);
    assert_eq!(second.tip().unwrap(), block.block_hash());
    // What no node takes is refused, although one of them has no word.
    let worthless = block_of(&template, template.coinbase_value + Amount::ONE_SAT, 3);
    let outcome = nodes.submit_block(&consensus::serialize(&worthless)).await.unwrap();
    assert!(!matches!(outcome, SubmitOutcome::Accepted | SubmitOutcome::Duplicate), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_to_the_node_that_is_ready() {
    let [mut first, second] = twins(2);
    let nodes = nodes_of(&first, &[&second]);
    let client = nodes.client();
    assert_eq!(nodes.choose().await.unwrap().blocks, 2);
    assert_eq!(nodes.current().name(), "bitcoind");
    first.stop().unwrap();
    second.mine(1).unwrap();
    assert_eq!(nodes.choose().await.unwrap().blocks, 3);
    assert_eq!(nodes.current().name(), "bitcoind.backup.other");
    assert_eq!(client.get_block_count().unwrap(), 3);
    assert_eq!(nodes.check_ready().await.unwrap().best_block, second.tip().unwrap());
}
