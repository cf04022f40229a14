//! Spendable coins against a real bitcoind: what is broadcast is in the mempool and then in a block.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use bitcoin::{Amount, FeeRate, ScriptBuf};
use bitcoind_regtest::bitcoincore_rpc::RpcApi;
use bitcoind_regtest::{Chain, Coins, Error, Node};
use serde_json::{Value, json};

fn rate(sat_per_vb: u32) -> FeeRate {
    FeeRate::from_sat_per_vb_u32(sat_per_vb)
}

fn funded(blocks: u32) -> (Node, Coins) {
    let node = Node::start().unwrap();
    let mut coins = Coins::new(Chain::Regtest);
    coins.fund(&node, blocks).unwrap();
    (node, coins)
}

/// Fee in satoshi and virtual size as the node sees them.
fn fee_and_size(node: &Node, txid: bitcoin::Txid) -> (u64, u64) {
    let entry: Value = node.rpc().call("getmempoolentry", &[json!(txid)]).unwrap();
    let fee = Amount::from_btc(entry["fees"]["base"].as_f64().unwrap()).unwrap();
    (fee.to_sat(), entry["vsize"].as_u64().unwrap())
}

#[test]
fn funded_coins_are_mature() {
    let (node, coins) = funded(2);
    assert_eq!(node.height().unwrap(), 102);
    assert_eq!((coins.count(), coins.total()), (2, Amount::from_int_btc(100)));
}

#[test]
fn payment_is_in_the_mempool_and_then_in_the_next_block() {
    let (node, mut coins) = funded(1);
    let script = ScriptBuf::from_hex("0014000102030405060708090a0b0c0d0e0f10111213").unwrap();
    let txid = coins.spend(&node, &script, Amount::from_sat(123_456), rate(7)).unwrap();
    assert_eq!(node.mempool().unwrap(), [txid]);
    let (fee, size) = fee_and_size(&node, txid);
    assert!((size * 7).abs_diff(fee) < 7, "{fee} for {size}");

    let block = node.block(node.mine(1).unwrap()[0]).unwrap();
    let paid = block.txdata.iter().find(|transaction| transaction.compute_txid() == txid).unwrap();
    assert_eq!((paid.output[0].value, &paid.output[0].script_pubkey), (Amount::from_sat(123_456), &script));
    assert!(node.mempool().unwrap().is_empty());
    coins.refresh(&node).unwrap();
    assert_eq!(coins.total(), Amount::from_int_btc(50) - Amount::from_sat(123_456 + fee));
}

#[test]
fn coin_in_the_mempool_is_not_spent_again() {
    let (node, mut coins) = funded(1);
    coins.burn(&node, rate(1)).unwrap();
    coins.refresh(&node).unwrap();
    assert_eq!(coins.count(), 0);
    assert!(matches!(coins.burn(&node, rate(1)), Err(Error::TooFewCoins { .. })));
}

#[test]
fn mempool_fills_with_independent_transactions_at_the_chosen_rates() {
    let (node, mut coins) = funded(1);
    let txids = coins.fill_mempool(&node, 60, &[rate(2), rate(30)]).unwrap();
    let mempool: HashSet<_> = node.mempool().unwrap().into_iter().collect();
    assert_eq!(mempool, txids.iter().copied().collect());
    for (txid, expected) in txids.iter().zip([2, 30].into_iter().cycle()) {
        let (fee, size) = fee_and_size(&node, *txid);
        assert!((size * expected).abs_diff(fee) < expected, "{fee} for {size}");
        let entry: Value = node.rpc().call("getmempoolentry", &[json!(txid)]).unwrap();
        assert_eq!(entry["ancestorcount"], 1);
    }
}

#[test]
fn blocks_take_all_some_or_none_of_the_mempool() {
    let (node, mut coins) = funded(1);
    let txids = coins.fill_mempool(&node, 5, &[rate(3)]).unwrap();
    node.mine_empty(1).unwrap();
    assert_eq!(node.mempool().unwrap().len(), 5);
    let chosen = node.mine_transactions(&txids[1..3]).unwrap();
    let mined: Vec<_> = node.block(chosen).unwrap().txdata.iter().skip(1).map(|tx| tx.compute_txid()).collect();
    assert_eq!(mined, txids[1..3]);
    node.mine(1).unwrap();
    assert!(node.mempool().unwrap().is_empty());
}

#[test]
fn orphaned_transaction_confirms_in_the_new_branch() {
    let (node, mut coins) = funded(1);
    let txid = coins.burn(&node, rate(2)).unwrap();
    let first = node.mine(1).unwrap()[0];
    let change = node.reorganise(1, 2).unwrap();
    assert_eq!(change.orphaned, [first]);
    let block = node.block(change.mined[0]).unwrap();
    assert!(block.txdata.iter().any(|transaction| transaction.compute_txid() == txid));
}

#[test]
fn coins_of_orphaned_blocks_are_forgotten_at_refresh() {
    let (node, mut coins) = funded(1);
    node.reorganise(101, 102).unwrap();
    coins.refresh(&node).unwrap();
    assert_eq!(coins.count(), 0);
}
