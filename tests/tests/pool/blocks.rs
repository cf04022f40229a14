//! Blocks that miners find: what is in them, and what they credit.

use bitcoin::{Amount, BlockHash, FeeRate};
use bitcoind_regtest::Coins;
use serde_json::json;
use tests::miner::ChannelConfig;

use crate::site::{PATIENCE, Site, eventually, extended, hash_of, standard};

const TAG: &str = "/end to end/";

fn subsidy(height: u32) -> Amount {
    Amount::from_sat((50 * 100_000_000) >> (height / 150))
}

/// Lets a channel find one block on a chain with transactions waiting, and looks at every part of it.
async fn block_is_accepted(channel: impl FnOnce(&Site) -> ChannelConfig) {
    let mut site = Site::regtest();
    let mut coins = Coins::new(site.node.chain());
    coins.fund(&site.node, 1).unwrap();
    let rates = [3, 7, 20].map(FeeRate::from_sat_per_vb_u32);
    let transactions = coins.fill_mempool(&site.node, 25, &rates).unwrap();
    let height = site.node.height().unwrap() + 1;
    site.pool.set("ADIT__STRATUM__POOL_TAG", TAG);
    site.pool.start().unwrap();

    let miner = site.miner_with(channel(&site).max_shares(1)).await;
    miner.wait_for_accepted(1, PATIENCE).await.unwrap();
    let record = miner.close().await;
    assert_eq!(record.faults, []);
    let share = &record.submitted[0];
    assert!(share.is_block);
    let hash = hash_of(share);
    eventually("the block to be the tip", async || (site.node.tip().unwrap() == hash).then_some(())).await;

    let block = site.node.block(hash).unwrap();
    let coinbase = &block.txdata[0];
    let contained: Vec<_> = block.txdata[1..].iter().map(|transaction| transaction.compute_txid()).collect();
    assert!(transactions.iter().all(|txid| contained.contains(txid)), "{transactions:?} are not all in {contained:?}");
    let stats = site.rpc("getblockstats", &[json!(hash), json!(["totalfee"])]);
    let fees = Amount::from_sat(stats["totalfee"].as_u64().unwrap());
    assert!(fees > Amount::ZERO);
    assert_eq!(coinbase.output[0].script_pubkey, site.pool_script());
    assert_eq!(coinbase.output[0].value, subsidy(height) + fees);
    assert!(coinbase.output[1..].iter().all(|output| output.value == Amount::ZERO));
    assert_eq!(block.bip34_block_height().unwrap(), u64::from(height));
    let script = coinbase.input[0].script_sig.as_bytes();
    assert!(script.windows(TAG.len()).any(|window| window == TAG.as_bytes()), "no tag in {script:02x?}");

    let books = site.settle().await;
    let booked = books.blocks().await;
    assert_eq!(booked.len(), 1);
    assert_eq!((booked[0].hash(), booked[0].height), (hash, i64::from(height)));
    assert_eq!((&booked[0].coinbase_txid, booked[0].coinbase_vout), (&coinbase.compute_txid().to_string(), 0));
    assert_eq!(booked[0].value_sat, coinbase.output[0].value.to_sat() as i64);
    assert_eq!(booked[0].subsidy_sat, subsidy(height).to_sat() as i64);
    books.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn block_of_a_standard_channel_is_accepted_with_all_transactions_and_pays_the_pool() {
    block_is_accepted(|site| standard(&site.new_address(), 500.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn block_of_an_extended_channel_is_accepted_with_all_transactions_and_pays_the_pool() {
    // One nonce a roll: the miner's own part of the extranonce is in the block too.
    block_is_accepted(|site| ChannelConfig { nonces_per_roll: 1, ..extended(&site.new_address(), 500.0) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_and_fee_of_each_block_are_its_coinbase_to_the_satoshi() {
    const BLOCKS: usize = 20;

    let mut site = Site::regtest();
    let mut coins = Coins::new(site.node.chain());
    coins.fund(&site.node, 1).unwrap();
    site.pool.start().unwrap();
    let addresses = [(); 3].map(|()| site.new_address());
    let first = site.miner_with(standard(&addresses[0], 30.0)).await;
    let second = site.miner_with(extended(&addresses[1], 60.0)).await;
    // Two workers of one account, and one of them on a channel of another.
    let third = site.miner().await;
    for (address, worker, speed) in [(&addresses[2], "a", 45.0), (&addresses[2], "b", 20.0), (&addresses[0], "c", 25.0)]
    {
        third.open(ChannelConfig::standard(format!("{address}.{worker}")).hash_rate(speed)).await.unwrap();
    }
    let books = site.books().await;
    eventually("blocks", async || {
        // Fees make values that do not divide well.
        let _ = coins.spend(&site.node, &site.pool_script(), Amount::from_sat(1_000), FeeRate::from_sat_per_vb_u32(3));
        (books.blocks().await.len() >= BLOCKS).then_some(())
    })
    .await;
    let records = [first.close().await, second.close().await, third.close().await];
    assert!(records.iter().all(|record| record.faults.is_empty()), "{records:?}");

    let books = site.settle().await;
    books.assert_sound().await;
    let blocks = books.blocks().await;
    let mut most_credited = 0;
    for block in &blocks {
        let on_chain = site.node.block(block.hash()).unwrap().txdata[0].output[0].value;
        assert_eq!(on_chain.to_sat() as i64, block.value_sat);
        most_credited = most_credited.max(books.credits(block).await.len());
    }
    assert_eq!(most_credited, 3, "all three share a block");
    // Every share that is a block was found by somebody who is known to have found it.
    let found: Vec<BlockHash> =
        records.iter().flat_map(|record| record.submitted.iter().filter(|share| share.is_block).map(hash_of)).collect();
    assert!(blocks.iter().all(|block| found.contains(&block.hash())));
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
}
