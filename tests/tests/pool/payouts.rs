//! Mature credits become payments that arrive once, and records that say where each came from.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bitcoin::{Address, Amount, OutPoint};
use serde_json::json;

use crate::{
    books::{Books, Record},
    site::{Database, PATIENCE, Site, eventually, random_pause, standard},
};

/// A pool with a few blocks, found by a miner for each address, and no miner any more.
async fn site_with_blocks(database: Database, miners: usize, blocks: u64) -> (Site, Vec<Address>) {
    let mut site = Site::regtest_on(database);
    let addresses = find_blocks(&mut site, miners, blocks).await;
    (site, addresses)
}

/// Starts the pool and lets a miner for each address find a few blocks. In the end there is no miner any more.
pub(crate) async fn find_blocks(site: &mut Site, miners: usize, blocks: u64) -> Vec<Address> {
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let addresses: Vec<Address> = (0..miners).map(|_| site.new_address()).collect();
    let mut connected = Vec::new();
    for address in &addresses {
        connected.push(site.miner_with(standard(address, 40.0).max_shares(blocks)).await);
    }
    for miner in connected {
        miner.wait_for_judged(blocks, PATIENCE).await.unwrap();
        miner.close().await;
    }
    site.settle().await;
    addresses
}

fn outpoint(record: &Record) -> String {
    format!("{}:{}", record.txid, record.vout)
}

/// Asserts that each address holds on the chain exactly what the matured blocks credit to it, each output on record.
pub(crate) async fn assert_paid(site: &Site, books: &Books, addresses: &[Address]) {
    let (credits, due, records) = (books.matured_credits().await, books.due().await, books.records().await);
    let kept_back = books.kept_back().await;
    let of = |sums: &BTreeMap<i64, i64>, account| sums.get(&account).copied().unwrap_or(0);
    let mut on_record: BTreeMap<String, i64> = BTreeMap::new();
    let mut in_chain: BTreeMap<String, i64> = BTreeMap::new();
    for address in addresses {
        let account = books.account(address).await;
        let held = site.unspent(address);
        let owed = of(&credits, account) - of(&due, account) - of(&kept_back, account);
        assert_eq!(held.values().sum::<i64>(), owed, "{address} holds {held:?}");
        in_chain.extend(held);
    }
    for record in &records {
        assert_eq!(on_record.insert(outpoint(record), record.sat), None, "{record:?} is there twice");
        let lots = books.lots(record).await;
        assert_eq!(lots.iter().map(|lot| lot.sat).sum::<i64>(), record.sat, "{record:?} came from {lots:?}");
    }
    assert_eq!(on_record, in_chain);

    // No coinbase gave more to an account than the block credits to it.
    let mut given: BTreeMap<(String, i64), i64> = BTreeMap::new();
    for record in &records {
        for lot in books.lots(record).await {
            *given.entry((lot.block_hash, record.account)).or_default() += lot.sat;
        }
    }
    for block in books.blocks().await {
        for (account, sat) in books.credits(&block).await {
            let taken = given.remove(&(block.hash().to_string(), account)).unwrap_or(0);
            assert!(taken <= sat, "{taken} of {sat} taken for {account} from {block:?}");
        }
    }
    assert_eq!(given, BTreeMap::new(), "lots of blocks that credit nothing");
    books.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mature_credit_is_paid_once_and_recorded_with_the_coinbases_it_came_from() {
    mature_credit_is_paid_once(Database::Sqlite).await;
}

/// Lets some blocks mature, and follows each paid output back to its coinbases.
pub(crate) async fn mature_credit_is_paid_once(database: Database) {
    let (site, addresses) = site_with_blocks(database, 2, 3).await;
    let books = site.books().await;
    assert_eq!(books.batch_states().await, [""; 0], "nothing is paid before it is mature");
    site.node.mine(100).unwrap();
    site.pay_out().await;
    assert_paid(&site, &books, &addresses).await;
    assert_eq!(books.due().await, BTreeMap::new());

    let (exports, ledger) = (site.pool.ask(&["export", "list"]).unwrap(), site.pool.ask(&["ledger", "show"]).unwrap());
    for record in books.records().await {
        // The node is asked for this very output: where it is, what it holds and whom it pays.
        let output = site.rpc("gettxout", &[json!(record.txid), json!(record.vout), json!(false)]);
        assert_eq!(Amount::from_btc(output["value"].as_f64().unwrap()).unwrap().to_sat() as i64, record.sat);
        assert_eq!(output["scriptPubKey"]["address"], json!(record.address));
        assert!(addresses.iter().any(|address| address.to_string() == record.address));
        for lot in books.lots(&record).await {
            let coinbase: OutPoint = format!("{}:{}", lot.coinbase_txid, lot.coinbase_vout).parse().unwrap();
            let block = site.node.block(lot.block_hash.parse().unwrap()).unwrap();
            assert_eq!(block.txdata[0].compute_txid(), coinbase.txid);
            assert_eq!(block.txdata[0].output[coinbase.vout as usize].script_pubkey, site.pool_script());
            let line = exports.lines().find(|line| {
                line.contains(&outpoint(&record)) && line.contains(&coinbase.to_string()) && line.contains("DELIVERED")
            });
            assert!(line.is_some_and(|line| line.contains("SETTLED")), "screened, delivered and nothing more is owed");
            let line = line.unwrap_or_else(|| panic!("{record:?} from {lot:?} is not in\n{exports}"));
            assert!(line.contains(&record.sat.to_string()) && line.contains(&record.address), "{line}");
        }
        assert!(ledger.contains(&record.txid), "{} is not in\n{ledger}", record.txid);
    }
    assert!(ledger.contains("confirmed"), "{ledger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmation_that_is_reorganised_away_is_booked_again_without_a_second_payment() {
    let (site, addresses) = site_with_blocks(Database::Sqlite, 1, 2).await;
    site.node.mine(110).unwrap();
    let books = site.pay_out().await;
    assert_paid(&site, &books, &addresses).await;
    let records = books.records().await;
    let last = records.last().unwrap().clone();
    let confirmed_in = books.confirmed_in(&last).await;
    site.node.invalidate(confirmed_in).unwrap();
    site.node.mine_empty(2).unwrap();
    eventually("the confirmation to be undone", async || {
        (books.register_states(&last).await == ["DELIVERED", "REVERSED"]).then_some(())
    })
    .await;
    books.assert_sound().await;
    assert_eq!(books.records().await, records);
    let txid: bitcoin::Txid = last.txid.parse().unwrap();
    eventually("the payment to wait for a block again", async || {
        site.node.mempool().unwrap().contains(&txid).then_some(())
    })
    .await;

    site.node.mine(1).unwrap();
    eventually("the payment to be booked again", async || {
        (books.register_states(&last).await == ["DELIVERED", "REVERSED", "DELIVERED"]).then_some(())
    })
    .await;
    site.pay_out().await;
    assert_eq!(books.records().await, records, "the same payments and no other");
    assert_paid(&site, &books, &addresses).await;
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_at_any_moment_of_a_payout_pays_each_account_once() {
    interrupted_payouts_pay_once(Database::Sqlite).await;
}

/// Kills the pool again and again between the steps of payouts; in the end each account has its due, once.
pub(crate) async fn interrupted_payouts_pay_once(database: Database) {
    const KILLS: u32 = 14;

    let (mut site, addresses) = site_with_blocks(database, 3, 5).await;
    let books = site.books().await;
    // From here on almost each block makes another one mature, and a payout due.
    let lowest = books.blocks().await.iter().filter(|block| block.phase == "immature").map(|block| block.height).min();
    let ripe = u32::try_from(lowest.unwrap()).unwrap() + 98;
    site.node.mine(ripe - site.node.height().unwrap()).unwrap();
    for kill in 0..KILLS {
        let before = books.payout_progress().await;
        site.node.mine(1).unwrap();
        // Right after a step of a payout, or at any time.
        let deadline = Instant::now() + Duration::from_secs(2);
        while kill % 3 != 0 && books.payout_progress().await == before && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(random_pause(Duration::from_millis(if kill % 3 == 0 { 400 } else { 15 }))).await;
        site.pool.kill().unwrap();
        println!("killed at {:?}", books.batch_states().await);
        site.pool.start().unwrap();
    }
    assert!(!books.batch_states().await.is_empty(), "there were payouts to interrupt");
    site.node.mine(100).unwrap();
    site.pay_out().await;
    assert_eq!(books.due().await, BTreeMap::new());
    assert_paid(&site, &books, &addresses).await;
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
}
