//! Payouts on a real node and a real database: crashes between the steps, and reorganisations.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, num::NonZeroU32};

use bitcoin::{
    Address, Amount, BlockHash, FeeRate, Network, OutPoint, PubkeyHash, Transaction, consensus::encode::serialize_hex,
    hashes::Hash,
};
use bitcoincore_rpc::{Client, RpcApi};
use bitcoind_regtest::Node;
use tempfile::TempDir;

use super::*;
use crate::{
    audit,
    books::{BlockPhase, Books, ChainPosition, DirectPayments, FoundBlock},
    export::register::{RecordState, RegisterRow, RowSeq},
    ledger::LedgerAccount,
    scheme::{PoolFee, pplns::Pplns},
    share::Difficulty,
    store::{
        conformance::{append, job_at, share},
        sqlite::SqliteStore,
    },
    wallet::{WalletBalance, WalletKey},
};

mod operations;
mod sales;
mod screening;

const BLOCK_SAT: u64 = 5_000_000_000;
/// Fee rates are whole satoshis per virtual byte here, so that fees stand out in balances.
const FEE_RATE: FeeRate = FeeRate::from_sat_per_vb_u32(3);

/// A pool's money without its miners' wires: a node, a database, a key.
struct Pool {
    dir: TempDir,
    node: Node,
    store: Arc<SqliteStore>,
    rpc: Arc<Client>,
    books: Books,
    miners: Vec<AccountId>,
}

/// One miner for each number of shares.
async fn pool(shares: &[u32]) -> Pool {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start().unwrap();
    let rpc = Arc::new(node.new_client().unwrap());
    let store = Arc::new(SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap());
    WalletKey::create(&dir.path().join("wallet.key"), Network::Regtest).unwrap();
    let mut miners = Vec::new();
    let mut hash = 0;
    for (&count, id) in shares.iter().zip(1..) {
        let miner = store.account(&miner_address(id)).await.unwrap();
        miners.push(miner);
        let shares: Vec<_> = (hash..hash + count).map(|hash| share(miner, hash)).collect();
        append(&*store, &shares).await;
        hash += count;
    }
    let scheme = Pplns { window: NonZeroU32::MAX, fee: PoolFee::from_basis_points(200).unwrap() };
    let books = Books::new(store.clone(), scheme);
    Pool { dir, node, store, rpc, books, miners }
}

fn miner_address(id: u8) -> Address {
    Address::p2pkh(PubkeyHash::from_byte_array([id; 20]), Network::Regtest)
}

fn policy() -> PayoutPolicy {
    PayoutPolicy { fallback_fee_rate: FEE_RATE, ..PayoutPolicy::default() }
}

impl Pool {
    /// Starts a payer as the pool does at its start.
    async fn payer(&self) -> Payer {
        self.payer_with(policy()).await
    }

    async fn payer_with(&self, policy: PayoutPolicy) -> Payer {
        let key = WalletKey::read(&self.dir.path().join("wallet.key"), Network::Regtest).unwrap();
        let wallet = Wallet::open(self.store.clone(), key, self.rpc.clone()).await.unwrap();
        Payer::new(self.store.clone(), wallet, self.rpc.clone(), policy, Screening::by_nobody())
    }

    /// Mines a block that pays the pool and records it as found.
    async fn find_block(&self, payer: &Payer) -> BlockHash {
        let hash = self.node.mine_to(&payer.wallet().coinbase_script(), 1).unwrap()[0];
        let block = self.node.block(hash).unwrap();
        let coinbase = &block.txdata[0];
        let found = FoundBlock {
            hash,
            height: self.node.height().unwrap(),
            coinbase: OutPoint::new(coinbase.compute_txid(), 0),
            value: coinbase.output[0].value,
            subsidy: Amount::from_sat(BLOCK_SAT),
            finder: self.miners[0],
            share_position: self.store.share_position().await.unwrap(),
            nbits: block.header.bits,
            found_at_ms: 1,
            direct: DirectPayments::default(),
        };
        self.books.record_found(&found).await.unwrap();
        hash
    }

    /// Does what the pool does at each new tip.
    async fn settle(&self) {
        for block in self.books.watched(self.node.height().unwrap()).await.unwrap() {
            let position = match self.node.confirmations(block.found.hash).unwrap() {
                -1 => ChainPosition::NotInBestChain,
                confirmations => ChainPosition::Confirmed { confirmations: u32::try_from(confirmations).unwrap() },
            };
            self.books.settle(block.found.hash, position).await.unwrap();
        }
    }

    /// Finds blocks and makes them mature.
    async fn earn(&self, payer: &Payer, blocks: u32) {
        for _ in 0..blocks {
            self.find_block(payer).await;
        }
        self.node.mine(99).unwrap();
        self.settle().await;
    }

    async fn balance(&self, account: LedgerAccount) -> i64 {
        self.store.balance(account).await.unwrap().to_sat()
    }

    async fn rows(&self) -> Vec<RegisterRow> {
        self.store.register_rows(RowSeq::new(0), 100).await.unwrap()
    }

    /// The one transaction in the mempool.
    fn in_mempool(&self) -> Transaction {
        let [txid] = self.node.mempool().unwrap()[..] else { panic!("{:?}", self.node.mempool()) };
        self.rpc.get_raw_transaction(&txid, None).unwrap()
    }

    /// What the ledger says are the pool's own coins is what the node finds in the chain for the pool's scripts.
    async fn assert_coins_are_there(&self, payer: &Payer) {
        let mut ledger = 0;
        for (account, balance) in self.store.balances().await.unwrap() {
            if let LedgerAccount::Immature(_) | LedgerAccount::Spendable | LedgerAccount::InFlight(_) = account {
                ledger += balance.to_sat();
            }
        }
        let mut scripts = vec![payer.wallet().coinbase_script()];
        for batch in self.store.batches(100).await.unwrap() {
            for attempt in &batch.attempts {
                let outputs = attempt.unsigned().unwrap().unsigned_tx.output.into_iter();
                scripts.extend(outputs.skip(batch.outputs.len()).map(|txo| txo.script_pubkey));
            }
        }
        let descriptors: Vec<_> = scripts.iter().map(|script| format!("raw({})", script.to_hex_string())).collect();
        let answer: serde_json::Value = self.rpc.call("scantxoutset", &["start".into(), descriptors.into()]).unwrap();
        let total = answer["total_amount"].to_string().parse::<f64>().unwrap();
        assert_eq!(Amount::from_btc(total).unwrap().to_sat() as i64, ledger);
        let WalletBalance { mature, immature } = payer.wallet().balance();
        assert_eq!((mature + immature).to_sat() as i64, ledger);
    }
}

/// Counts the events of a kind.
fn count(events: &[PayoutEvent], kind: &str) -> usize {
    events
        .iter()
        .filter(|event| match event {
            PayoutEvent::Created { .. } => kind == "created",
            PayoutEvent::Broadcast { .. } => kind == "broadcast",
            PayoutEvent::Confirmed { .. } => kind == "confirmed",
            PayoutEvent::Reversed { .. } => kind == "reversed",
            PayoutEvent::Refused { .. } => kind == "refused",
            PayoutEvent::Waiting { .. } => kind == "waiting",
            PayoutEvent::AwaitsApproval { .. } => kind == "approval",
            PayoutEvent::AwaitsSignature { .. } => kind == "signature",
            PayoutEvent::Conflicted { .. } => kind == "conflicted",
            PayoutEvent::Replaced { .. } => kind == "replaced",
            PayoutEvent::Swept { .. } => kind == "swept",
            PayoutEvent::ListsUnusable { .. } => kind == "unusable",
            PayoutEvent::Found { .. } => kind == "found",
            PayoutEvent::GivenBack { .. } => kind == "given back",
            PayoutEvent::Withheld { .. } => kind == "withheld",
        })
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matured_block_is_paid_and_recorded_to_the_satoshi() {
    let pool = pool(&[5, 3, 2]).await;
    let mut payer = pool.payer().await;
    let first = pool.find_block(&payer).await;
    assert_eq!(payer.step().await.unwrap(), [], "nothing is due");
    pool.assert_coins_are_there(&payer).await;
    pool.earn(&payer, 1).await;
    let due: i64 = pool.store.due(Amount::ONE_SAT).await.unwrap().iter().map(|due| due.amount.to_sat() as i64).sum();
    assert_eq!(due, 2 * 4_900_000_000);

    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "created"), count(&events, "broadcast")), (1, 1), "{events:?}");
    let batch = pool.store.batch(BatchId::new(1)).await.unwrap().unwrap();
    let sent = pool.in_mempool();
    assert_eq!(sent.compute_txid(), batch.txid());
    // A new network has no estimate: the fallback is paid, and not much more.
    let price = FEE_RATE.fee_wu(sent.weight()).unwrap().to_sat();
    assert!(batch.network_fee().to_sat().abs_diff(price) <= 10, "{} is not {price}", batch.network_fee());
    assert_eq!(pool.balance(LedgerAccount::Reserved(batch.id)).await, -9_800_000_000);
    assert_eq!(pool.balance(LedgerAccount::InFlight(batch.id)).await, batch.in_flight().to_sat() as i64);
    pool.assert_coins_are_there(&payer).await;
    assert_eq!(payer.step().await.unwrap(), [], "nothing new while it waits");

    let block = pool.node.mine(1).unwrap()[0];
    let events = payer.step().await.unwrap();
    assert!(
        matches!(events[..], [PayoutEvent::Confirmed { records: 3, block: at, .. }] if at.hash == block),
        "{events:?}"
    );
    for account in [LedgerAccount::Reserved(batch.id), LedgerAccount::InFlight(batch.id)] {
        assert_eq!(pool.balance(account).await, 0);
    }
    assert_eq!(pool.balance(LedgerAccount::NetworkFee).await, batch.network_fee().to_sat() as i64);
    pool.assert_coins_are_there(&payer).await;

    let rows = pool.rows().await;
    let paid: BTreeMap<_, _> = rows.iter().map(|row| (row.record.account, row.record.amount.to_sat())).collect();
    let expected = [4_900_000_000u64, 2_940_000_000, 1_960_000_000];
    assert_eq!(paid, pool.miners.iter().copied().zip(expected).collect());
    let transaction = pool.node.block(block).unwrap().txdata.remove(1);
    for row in &rows {
        let output = &transaction.output[row.record.delivery.vout as usize];
        assert_eq!((&output.script_pubkey, output.value), (&row.record.script_pubkey, row.record.amount));
        assert_eq!(row.record.lots[0].block, first, "first in, first out");
        assert_eq!(row.record.lots.iter().map(|lot| lot.amount).sum::<Amount>(), row.record.amount);
    }
    let audited = audit::verify(&*pool.store).await.unwrap();
    assert_eq!(audited.delivered.to_sat(), 9_800_000_000);
    assert_eq!(payer.step().await.unwrap(), [], "nothing is paid twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_ends_in_one_payment() {
    for crash in ["reserved", "signed", "sent", "announced", "mined unseen"] {
        let pool = pool(&[1, 1]).await;
        let mut payer = pool.payer().await;
        pool.earn(&payer, 1).await;
        payer.wallet.sync(&pool.rpc).await.unwrap();
        let batch = payer.reserved().await;
        let txid = batch.txid();
        if crash != "reserved" {
            let signed = payer.sign(batch).await.unwrap();
            let transaction = signed.newest().transaction().unwrap();
            if crash == "sent" || crash == "mined unseen" {
                pool.rpc.send_raw_transaction(transaction).unwrap();
            }
            if crash == "announced" {
                payer.advance(signed, &mut Vec::new()).await.unwrap();
            }
        }
        if crash == "mined unseen" {
            pool.node.mine(1).unwrap();
        }
        drop(payer);

        let mut payer = pool.payer().await;
        payer.step().await.unwrap();
        payer.step().await.unwrap();
        if crash != "mined unseen" {
            assert_eq!(pool.in_mempool().compute_txid(), txid, "{crash}");
            pool.node.mine(1).unwrap();
        }
        payer.step().await.unwrap();
        pool.node.mine(1).unwrap();
        assert_eq!(payer.step().await.unwrap(), [], "{crash}");
        assert_eq!(pool.store.batches(10).await.unwrap().len(), 1, "{crash}");
        assert_eq!(pool.rows().await.len(), 2, "{crash}");
        assert_eq!(audit::verify(&*pool.store).await.unwrap().delivered.to_sat(), 4_900_000_000, "{crash}");
        pool.assert_coins_are_there(&payer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_that_is_reorganised_away_is_booked_again_with_the_same_transaction() {
    let pool = pool(&[2, 1]).await;
    let mut payer = pool.payer().await;
    pool.earn(&payer, 1).await;
    // Deep enough that the coinbase stays mature in the reorganisation.
    pool.node.mine(5).unwrap();
    payer.step().await.unwrap();
    let sent = pool.in_mempool();
    pool.node.mine(1).unwrap();
    payer.step().await.unwrap();

    // The block with the payout is replaced by two without it.
    let tip = pool.node.tip().unwrap();
    pool.node.invalidate(tip).unwrap();
    pool.node.mine_empty(2).unwrap();
    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "reversed"), events.len()), (1, 1), "{events:?}");
    assert_eq!(pool.in_mempool(), sent);
    let states = |rows: Vec<RegisterRow>| rows.iter().map(|row| row.state).collect::<Vec<_>>();
    let (delivered, reversed) = (RecordState::Delivered, RecordState::Reversed);
    assert_eq!(states(pool.rows().await), [delivered, delivered, reversed, reversed]);
    assert_eq!(audit::verify(&*pool.store).await.unwrap().delivered.to_sat(), 0);
    pool.assert_coins_are_there(&payer).await;

    let again = pool.node.mine(1).unwrap()[0];
    let events = payer.step().await.unwrap();
    assert!(matches!(events[..], [PayoutEvent::Confirmed { block, .. }] if block.hash == again), "{events:?}");
    assert_eq!(pool.rows().await.len(), 6);
    assert_eq!(audit::verify(&*pool.store).await.unwrap().delivered.to_sat(), 4_900_000_000);
    pool.assert_coins_are_there(&payer).await;

    // The first block comes back: the same block confirms the same transaction a second time.
    let fork = pool.node.block_hash(pool.node.height().unwrap() - 2).unwrap();
    pool.node.reconsider(tip).unwrap();
    pool.node.invalidate(fork).unwrap();
    assert_eq!(pool.node.tip().unwrap(), tip);
    pool.node.mine(3).unwrap();
    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "reversed"), count(&events, "confirmed")), (1, 1), "{events:?}");
    assert_eq!(audit::verify(&*pool.store).await.unwrap().delivered.to_sat(), 4_900_000_000);
    pool.assert_coins_are_there(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_found_block_that_is_orphaned_pays_nobody() {
    let pool = pool(&[1]).await;
    let mut payer = pool.payer().await;
    pool.node.mine(1).unwrap();
    let hash = pool.find_block(&payer).await;
    pool.settle().await;
    pool.node.reorganise(1, 2).unwrap();
    pool.settle().await;
    payer.step().await.unwrap();
    assert_eq!(pool.store.block(hash).await.unwrap().unwrap().state.phase, BlockPhase::Orphaned);
    pool.assert_coins_are_there(&payer).await;
    pool.node.mine(100).unwrap();
    pool.settle().await;
    assert_eq!(payer.step().await.unwrap(), []);
    assert!(pool.store.balances().await.unwrap().values().all(|amount| amount.to_sat() == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_block_that_leaves_the_chain_is_debt_until_it_returns() {
    let pool = pool(&[3, 1]).await;
    let mut payer = pool.payer().await;
    let base = pool.node.height().unwrap();
    pool.earn(&payer, 1).await;
    payer.step().await.unwrap();
    pool.node.mine(1).unwrap();
    payer.step().await.unwrap();
    let before = pool.store.balances().await.unwrap();

    let depth = pool.node.height().unwrap() - base;
    let reorganised = pool.node.reorganise(depth, depth + 1).unwrap();
    pool.settle().await;
    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "reversed"), count(&events, "refused"), events.len()), (1, 1, 2), "{events:?}");
    let debts = [0, 1].map(|index| LedgerAccount::MinerDebt(pool.miners[index]));
    assert_eq!(pool.balance(debts[0]).await, 3_675_000_000);
    assert_eq!(pool.balance(debts[1]).await, 1_225_000_000);
    assert_eq!(audit::verify(&*pool.store).await.unwrap().delivered.to_sat(), 0);
    pool.assert_coins_are_there(&payer).await;

    pool.node.invalidate(reorganised.mined[0]).unwrap();
    pool.node.mine(5).unwrap();
    payer.step().await.unwrap();
    pool.settle().await;
    let mut after = pool.store.balances().await.unwrap();
    after.retain(|account, _| before.contains_key(account));
    assert_eq!(after, before);
    assert_eq!(pool.balance(debts[0]).await, 0);
    assert_eq!(audit::verify(&*pool.store).await.unwrap().delivered.to_sat(), 4_900_000_000);
    pool.assert_coins_are_there(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_under_the_threshold_wait() {
    let pool = pool(&[1, 3]).await;
    let threshold = Amount::from_sat(2_000_000_000);
    let mut payer = pool.payer_with(PayoutPolicy { threshold, ..policy() }).await;
    pool.earn(&payer, 1).await;
    payer.step().await.unwrap();
    let batch = pool.store.batch(BatchId::new(1)).await.unwrap().unwrap();
    let paid: Vec<_> = batch.outputs.iter().map(|output| output.due.account).collect();
    assert_eq!(paid, [pool.miners[1]]);
    assert_eq!(pool.balance(LedgerAccount::MinerPayable(pool.miners[0])).await, -1_225_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_too_small_for_an_output_wait_whatever_the_threshold() {
    let pool = pool(&[1]).await;
    let tiny = pool.store.account(&miner_address(2)).await.unwrap();
    // Next to a share of regtest's difficulty, this one earns some 146 sat; an output to its address needs 546.
    let mut small = share(tiny, 9_000);
    small.job = job_at(1, 0x1d00_ffff);
    small.difficulty = Difficulty::from_log2(3).unwrap();
    append(&*pool.store, &[small]).await;
    let mut payer = pool.payer_with(PayoutPolicy { threshold: Amount::ONE_SAT, ..policy() }).await;
    pool.earn(&payer, 1).await;
    let due = pool.balance(LedgerAccount::MinerPayable(tiny)).await;
    assert!((-545..0).contains(&due), "{due}");
    payer.step().await.unwrap();
    let batch = pool.store.batch(BatchId::new(1)).await.unwrap().unwrap();
    assert_eq!(batch.outputs.len(), 1);
    assert_eq!(pool.balance(LedgerAccount::MinerPayable(tiny)).await, due);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_coins_are_short_the_smallest_balances_are_paid_and_the_rest_waits() {
    let pool = pool(&[1, 2, 3, 4]).await;
    let mut payer = pool.payer().await;
    pool.earn(&payer, 2).await;
    // One of two coinbases is held by somebody else's transaction: half of what is due can be paid at most.
    payer.wallet.sync(&pool.rpc).await.unwrap();
    let held = payer.wallet.propose(vec![(miner_address(9).script_pubkey(), Amount::from_sat(1_000))], FEE_RATE);
    assert!(held.unwrap().is_some());
    payer.wallet.stored();
    let events = payer.step().await.unwrap();
    assert_eq!(count(&events, "created"), 1, "{events:?}");
    let batch = pool.store.batch(BatchId::new(1)).await.unwrap().unwrap();
    let paid: Vec<_> = batch.outputs.iter().map(|output| output.due.account).collect();
    assert_eq!(paid, pool.miners[..2]);
    let events = payer.step().await.unwrap();
    assert!(matches!(events[..], [PayoutEvent::Waiting { accounts: 2, .. }]), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_stopped_while_it_reserves_leaves_no_coin_locked() {
    let pool = pool(&[1]).await;
    let mut payer = pool.payer().await;
    pool.earn(&payer, 1).await;
    payer.wallet.sync(&pool.rpc).await.unwrap();
    // As when the future of a step is dropped: the proposal was made, and nothing came of it.
    let paid = vec![(miner_address(1).script_pubkey(), Amount::from_sat(1_000))];
    assert!(payer.wallet.propose(paid, FEE_RATE).unwrap().is_some());
    let events = payer.step().await.unwrap();
    assert_eq!(count(&events, "broadcast"), 1, "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_of_another_network_does_not_open() {
    let pool = pool(&[1]).await;
    let key = WalletKey::create(&pool.dir.path().join("main.key"), Network::Bitcoin).unwrap();
    let wrong = Wallet::open(pool.store.clone(), key, pool.rpc.clone()).await;
    assert!(matches!(wrong, Err(WalletError::Chain(_))), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_accounts_are_paid_in_several_batches() {
    let pool = pool(&[1; 7]).await;
    let mut payer = pool.payer_with(PayoutPolicy { max_outputs: 3, ..policy() }).await;
    pool.earn(&payer, 3).await;
    // Three coinbases, and change only once it is confirmed: not all batches can go at once.
    payer.step().await.unwrap();
    for _ in 0..3 {
        pool.node.mine(1).unwrap();
        pool.settle().await;
        payer.step().await.unwrap();
    }
    let sizes: Vec<_> = pool.store.batches(10).await.unwrap().iter().map(|batch| batch.outputs.len()).collect();
    assert!(sizes.len() >= 3 && sizes.iter().all(|&size| size <= 3), "{sizes:?}");
    assert_eq!(pool.rows().await.len(), 7);
    assert_eq!(pool.store.due(Amount::ONE_SAT).await.unwrap(), []);
    audit::verify(&*pool.store).await.unwrap();
    pool.assert_coins_are_there(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_is_an_error_and_nothing_is_lost() {
    let mut pool = pool(&[1]).await;
    let mut payer = pool.payer().await;
    pool.earn(&payer, 1).await;
    pool.node.stop().unwrap();
    assert!(matches!(payer.step().await, Err(PayoutError::Wallet(_))));
    pool.node.restart().unwrap();
    pool.rpc = Arc::new(pool.node.new_client().unwrap());
    let mut payer = pool.payer().await;
    let events = payer.step().await.unwrap();
    assert_eq!(count(&events, "broadcast"), 1, "{events:?}");

    // The mempool is empty after the next restart: the same bytes are sent again.
    let sent = serialize_hex(&pool.in_mempool());
    pool.node.kill().unwrap();
    pool.node.restart().unwrap();
    pool.rpc = Arc::new(pool.node.new_client().unwrap());
    let mut payer = pool.payer().await;
    assert_eq!(payer.step().await.unwrap(), []);
    assert_eq!(serialize_hex(&pool.in_mempool()), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_node_refuses_is_kept_and_sent_again() {
    let pool = pool(&[1]).await;
    // Under what any mempool takes.
    let cheap = PayoutPolicy { max_fee_rate: FeeRate::ZERO, ..policy() };
    let mut payer = pool.payer_with(cheap).await;
    pool.earn(&payer, 1).await;
    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "created"), count(&events, "refused")), (1, 1), "{events:?}");
    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "refused"), events.len()), (1, 1), "{events:?}");
    assert_eq!(pool.store.batches(10).await.unwrap().len(), 1);
    assert_eq!(pool.balance(LedgerAccount::InFlight(BatchId::new(1))).await, 0);
    pool.assert_coins_are_there(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_keeps_its_address_and_coins_through_a_restart() {
    let pool = pool(&[1]).await;
    let mut payer = pool.payer().await;
    pool.earn(&payer, 2).await;
    payer.step().await.unwrap();
    let (script, balance) = (payer.wallet().coinbase_script(), payer.wallet().balance());
    drop(payer);
    let payer = pool.payer().await;
    assert_eq!((payer.wallet().coinbase_script(), payer.wallet().balance()), (script, balance));

    let stranger = pool.dir.path().join("other.key");
    let stranger = WalletKey::create(&stranger, Network::Regtest).unwrap();
    let wrong = Wallet::open(pool.store.clone(), stranger, pool.rpc.clone()).await;
    assert!(matches!(wrong, Err(WalletError::Load(_))), "{wrong:?}");
}
