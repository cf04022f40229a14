//! The private node against a real bitcoind: its life, its blocks, its chain's second thoughts.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use bitcoin::ScriptBuf;
use bitcoind_regtest::bitcoincore_rpc::{Auth, Client, RpcApi};
use bitcoind_regtest::{Chain, Error, Node, NodeOptions};
use serde_json::Value;

fn runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn node_starts_at_genesis_and_stops() {
    let mut node = Node::start().unwrap();
    let pid = node.pid().unwrap();
    assert_eq!(node.height().unwrap(), 0);
    let info: Value = node.rpc().call("getblockchaininfo", &[]).unwrap();
    assert_eq!(info["chain"], "regtest");
    node.stop().unwrap();
    assert_eq!(node.pid(), None);
    assert!(!runs(pid));
    assert!(matches!(node.height(), Err(Error::Rpc { method: "getblockcount", .. })));
    node.stop().unwrap();
}

#[test]
fn node_and_its_data_are_gone_after_drop() {
    let node = Node::start().unwrap();
    let (pid, datadir) = (node.pid().unwrap(), node.datadir().to_path_buf());
    assert!(runs(pid) && datadir.exists());
    drop(node);
    assert!(!runs(pid) && !datadir.exists());
}

#[test]
fn chosen_data_folder_outlives_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions::new().datadir(folder.path().join("node"));
    let node = options.clone().start().unwrap();
    let hashes = node.mine(3).unwrap();
    drop(node);
    assert_eq!(options.start().unwrap().tip().unwrap(), hashes[2]);
}

#[test]
fn restart_keeps_chain_and_port() {
    let mut node = Node::start().unwrap();
    let (pid, port) = (node.pid().unwrap(), node.rpc_port());
    let hashes = node.mine(5).unwrap();
    node.restart().unwrap();
    assert_eq!(node.tip().unwrap(), hashes[4]);
    assert_eq!(node.rpc_port(), port);
    assert_ne!(node.pid().unwrap(), pid);
}

#[test]
fn killed_node_starts_again() {
    let mut node = Node::start().unwrap();
    let pid = node.pid().unwrap();
    node.mine(1).unwrap();
    node.kill().unwrap();
    assert!(!runs(pid));
    node.restart().unwrap();
    // What was not flushed may be lost, as in a power failure; the node must work none the less.
    let height = node.height().unwrap();
    node.mine(2).unwrap();
    assert_eq!(node.height().unwrap(), height + 2);
}

#[test]
fn paused_node_answers_again_after_resume() {
    let node = Node::start().unwrap();
    let client = node.new_client().unwrap();
    node.pause().unwrap();
    let asked = Instant::now();
    let call = std::thread::spawn(move || (client.get_block_count(), asked.elapsed()));
    std::thread::sleep(Duration::from_millis(500));
    assert!(!call.is_finished());
    node.resume().unwrap();
    let (height, waited) = call.join().unwrap();
    assert_eq!(height.unwrap(), 0);
    assert!(waited >= Duration::from_millis(500));
}

#[test]
fn two_nodes_have_ports_and_chains_of_their_own() {
    let (a, b) = (Node::start().unwrap(), Node::start().unwrap());
    assert_ne!(a.rpc_port(), b.rpc_port());
    a.mine(2).unwrap();
    b.mine(1).unwrap();
    assert_eq!((a.height().unwrap(), b.height().unwrap()), (2, 1));
    assert!(a.confirmations(b.tip().unwrap()).is_err());
}

#[test]
fn credentials_and_cookie_both_open_the_door() {
    let node = NodeOptions::new().credentials("operator", "correct horse").start().unwrap();
    let with = |auth| Client::new(&node.rpc_url(), auth).unwrap().get_block_count();
    assert_eq!(with(Auth::UserPass("operator".into(), "correct horse".into())).unwrap(), 0);
    assert_eq!(with(node.auth()).unwrap(), 0);
    assert!(with(Auth::UserPass("operator".into(), "wrong".into())).is_err());
}

#[test]
fn wrong_argument_ends_with_the_nodes_own_words() {
    let error = NodeOptions::new().argument("-nosuchoption=1").start().unwrap_err();
    assert!(matches!(&error, Error::Ended { log, .. } if log.contains("nosuchoption")), "{error}");
}

#[test]
fn blocks_pay_to_the_chosen_script() {
    let node = Node::start().unwrap();
    let script = ScriptBuf::from_hex("76a914000102030405060708090a0b0c0d0e0f1011121388ac").unwrap();
    let hashes = node.mine_to(&script, 2).unwrap();
    assert_eq!(node.block_hash(2).unwrap(), hashes[1]);
    for hash in hashes {
        assert_eq!(node.block(hash).unwrap().txdata[0].output[0].script_pubkey, script);
    }
}

#[test]
fn reorganisation_orphans_and_can_be_taken_back() {
    let node = Node::start().unwrap();
    node.mine(10).unwrap();
    let fork = node.block_hash(7).unwrap();
    let change = node.reorganise(3, 4).unwrap();
    assert_eq!((change.orphaned.len(), change.mined.len()), (3, 4));
    assert_eq!(node.height().unwrap(), 11);
    assert_eq!(node.tip().unwrap(), change.mined[3]);
    assert_eq!(node.confirmations(fork).unwrap(), 5);
    for orphan in &change.orphaned {
        assert_eq!(node.confirmations(*orphan).unwrap(), -1);
    }

    node.invalidate(change.mined[0]).unwrap();
    assert_eq!(node.tip().unwrap(), change.orphaned[2]);
    assert_eq!(node.confirmations(change.mined[0]).unwrap(), -1);
    node.reconsider(change.mined[0]).unwrap();
    assert_eq!(node.tip().unwrap(), change.mined[3]);
}

#[test]
fn impossible_reorganisation_changes_nothing() {
    let node = Node::start().unwrap();
    node.mine(2).unwrap();
    let tip = node.tip().unwrap();
    assert!(matches!(node.reorganise(1, 1), Err(Error::BranchTooShort { depth: 1, new_length: 1 })));
    assert!(matches!(node.reorganise(3, 4), Err(Error::ChainTooShort { depth: 3, height: 2 })));
    assert_eq!(node.tip().unwrap(), tip);
}

#[test]
fn signet_needs_work_but_no_signature() {
    let node = NodeOptions::new().chain(Chain::Signet).start().unwrap();
    let hash = node.mine(1).unwrap()[0];
    assert_eq!(node.height().unwrap(), 1);
    let difficulty = node.block(hash).unwrap().header.difficulty_float();
    assert!((0.001..0.002).contains(&difficulty), "{difficulty}");
}
