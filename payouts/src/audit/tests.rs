//! Books of a real node's blocks, on a real database: what an audit confirms, and that it names what was tampered with.

#![allow(clippy::unwrap_used)]

use std::{num::NonZeroU32, path::Path, sync::Arc};

use bitcoin::{Address, Amount, BlockHash, Network, OutPoint, PubkeyHash, hashes::Hash};
use bitcoincore_rpc::Client;
use bitcoind_regtest::Node;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use super::*;
use crate::{
    AccountId,
    books::{Books, ChainPosition, DirectPayments, FoundBlock},
    payout::{Payer, PayoutPolicy, Restraint, Screening},
    scheme::{PoolFee, pplns::Pplns},
    store::{
        conformance::{append, share},
        sqlite::SqliteStore,
    },
    wallet::{Wallet, WalletBalance, WalletKey},
};

struct Pool {
    dir: TempDir,
    node: Node,
    rpc: Arc<Client>,
    store: Arc<SqliteStore>,
    books: Books,
    payer: Payer,
    finder: AccountId,
}

/// A pool with two miners that pays balances from `threshold` on.
async fn pool(threshold: Amount) -> Pool {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start().unwrap();
    let rpc = Arc::new(node.new_client().unwrap());
    let store = Arc::new(SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap());
    let mut miners = Vec::new();
    for id in [1, 2] {
        let address = Address::p2pkh(PubkeyHash::from_byte_array([id; 20]), Network::Regtest);
        miners.push(store.account(&address).await.unwrap());
    }
    let shares = [share(miners[0], 0), share(miners[0], 1), share(miners[1], 2)];
    append(&*store, &shares).await;
    let key_file = dir.path().join("wallet.key");
    WalletKey::create(&key_file, Network::Regtest).unwrap();
    let key = WalletKey::read(&key_file, Network::Regtest).unwrap();
    let wallet = Wallet::open(store.clone(), key, rpc.clone()).await.unwrap();
    let policy = PayoutPolicy { threshold, ..PayoutPolicy::default() };
    let payer = Payer::new(store.clone(), wallet, rpc.clone(), policy, Screening::by_nobody());
    let scheme = Pplns { window: NonZeroU32::MAX, fee: PoolFee::from_basis_points(100).unwrap() };
    let books = Books::new(store.clone(), scheme);
    Pool { dir, node, rpc, store, books, payer, finder: miners[0] }
}

/// A pool that found a block, which has matured and is paid out to the last confirmation.
async fn paid_pool() -> Pool {
    let mut pool = pool(Amount::ONE_SAT).await;
    pool.find_block().await;
    pool.node.mine(99).unwrap();
    pool.settle().await;
    pool.payer.step().await.unwrap();
    pool.node.mine(1).unwrap();
    pool.payer.step().await.unwrap();
    pool
}

impl Pool {
    async fn find_block(&self) -> BlockHash {
        let hash = self.node.mine_to(&self.payer.wallet().coinbase_script(), 1).unwrap()[0];
        let block = self.node.block(hash).unwrap();
        let coinbase = &block.txdata[0];
        let value = coinbase.output[0].value;
        let found = FoundBlock {
            hash,
            height: self.node.height().unwrap(),
            coinbase: OutPoint::new(coinbase.compute_txid(), 0),
            value,
            subsidy: value,
            finder: self.finder,
            share_position: self.store.share_position().await.unwrap(),
            nbits: block.header.bits,
            found_at_ms: 1,
            direct: DirectPayments::default(),
        };
        self.books.record_found(&found).await.unwrap();
        hash
    }

    async fn settle(&self) {
        for block in self.books.watched(self.node.height().unwrap()).await.unwrap() {
            let position = match u32::try_from(self.node.confirmations(block.found.hash).unwrap()) {
                Ok(confirmations) => ChainPosition::Confirmed { confirmations },
                Err(_) => ChainPosition::NotInBestChain,
            };
            self.books.settle(block.found.hash, position).await.unwrap();
        }
    }

    async fn compared(&self) -> ChainAudit {
        verify_books(&*self.store).await.unwrap();
        verify_chain(&*self.store, self.rpc.clone()).await.unwrap()
    }

    /// The fault that an audit against the chain finds.
    async fn chain_fault(&self) -> ChainFault {
        match verify_chain(&*self.store, self.rpc.clone()).await {
            Err(ChainAuditError::Fault(fault)) => fault,
            other => panic!("{other:?}"),
        }
    }

    async fn change(&self, statement: &'static str) {
        change(&self.dir.path().join("adit.sqlite"), statement).await;
    }
}

/// Changes a database behind the store's back.
async fn change(file: &Path, statement: &'static str) {
    let mut connection = SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
    let changed = sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    assert!(changed.rows_affected() > 0, "{statement}");
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn books_agree_with_the_chain_at_every_step() {
    let mut pool = pool(Amount::ONE_SAT).await;
    let coins = |sat| Some(ChainCoins { ledger_sat: sat, chain_sat: sat });
    pool.find_block().await;
    assert_eq!(pool.compared().await.coins, None, "the wallet has not seen the block");
    pool.payer.step().await.unwrap();
    assert_eq!(pool.compared().await.coins, coins(5_000_000_000));

    pool.node.mine(99).unwrap();
    let behind = pool.compared().await.behind;
    assert!(behind.len() == 1 && behind[0].ends_with("is matured by now, not immature"), "{behind:?}");
    pool.settle().await;
    pool.payer.step().await.unwrap();
    let audit = pool.compared().await;
    assert_eq!((audit.behind.len(), audit.batches, audit.coins), (0, 0, coins(5_000_000_000)), "in flight");

    let block = pool.node.mine(1).unwrap()[0];
    assert_eq!(pool.compared().await.coins, None, "the books do not know the payout's block");
    pool.payer.step().await.unwrap();
    let audit = pool.compared().await;
    let leaving = pool.store.batches(1).await.unwrap()[0].in_flight().to_sat();
    assert_eq!((audit.blocks, audit.batches, audit.pruned), (1, 1, 0));
    assert_eq!(audit.coins, coins(5_000_000_000 - i128::from(leaving)));

    // The payout's block leaves the chain: the books are behind until the wallet has heard of it, but not longer.
    pool.node.invalidate(block).unwrap();
    pool.node.mine_empty(2).unwrap();
    let behind = pool.compared().await.behind;
    assert!(behind.len() == 1 && behind[0].starts_with("batch 1 is not confirmed any more"), "{behind:?}");
    pool.payer.step().await.unwrap();
    assert_eq!(pool.compared().await.coins, coins(5_000_000_000));
    let WalletBalance { mature, immature } = pool.payer.wallet().balance();
    assert_eq!((mature.to_sat(), immature), (5_000_000_000, Amount::ZERO), "no block has spent them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_changed_is_named() {
    let mut pool = paid_pool().await;
    pool.payer.restrain(pool.finder, Restraint::Held, "lost key").await.unwrap();
    verify_books(&*pool.store).await.unwrap();
    let tampered = [
        ("UPDATE blocks SET phase = 'immature'", "of blocks: phase is immature, but the entries say matured"),
        ("UPDATE blocks SET epoch = epoch + 1", "of blocks: epoch is 1"),
        ("UPDATE blocks SET value_sat = value_sat + 1", "of blocks: value is"),
        ("UPDATE blocks SET fee_sat = fee_sat - 1", "of blocks: fee is"),
        ("UPDATE blocks SET coinbase_vout = 7", "of blocks: facts is"),
        ("UPDATE blocks SET share_position = share_position + 1", "of blocks: facts is"),
        ("UPDATE blocks SET rule = 'solo fee_bp=100'", "of blocks: facts is"),
        ("UPDATE blocks SET finder = 2", "of blocks: facts is"),
        ("UPDATE blocks SET reserve_sat = 1", "of blocks: part of the reserve is"),
        (
            "INSERT INTO deposits VALUES ('00', 1, 5, '00', 0, 'booked', 0, 0, 1); \
          UPDATE deposits SET txid = (SELECT txid FROM batch_attempts), block_hash = (SELECT hash FROM blocks)",
            ":1 of deposits",
        ),
        (
            "INSERT INTO blocks SELECT '00' || substr(hash, 3, 60) || 'ff', height, coinbase_txid, coinbase_vout, \
          value_sat, subsidy_sat, finder, share_position, found_at_ms, fee_sat, phase, epoch, nbits, rule, 0, '' FROM blocks",
            "no entry tells of row 00",
        ),
        ("UPDATE blocks SET direct = '1:1=5'", "of blocks: facts is"),
        ("UPDATE credits SET sat = sat + 1 WHERE account = 2", "of account 2 of credits: amount is"),
        ("UPDATE credits SET paid_sat = paid_sat - 1 WHERE account = 1", "of account 1 of credits: paid is"),
        ("DELETE FROM credits WHERE account = 2", "of account 2 of credits is missing: entry 1 tells of it"),
        (
            "INSERT INTO accounts (id, address, script_pubkey) VALUES (3, 'x', x'00'); \
          INSERT INTO credits SELECT hash, 3, 5, 0 FROM blocks",
            "of account 3 of credits",
        ),
        ("UPDATE batches SET state = 'open', block_hash = NULL, attempt = NULL", "of batches: state is open, but"),
        ("UPDATE batches SET epoch = 4", "of batches: epoch is 4"),
        (
            "UPDATE batch_attempts SET txid = substr(txid, 1, 63) || CASE substr(txid, 64) WHEN '0' THEN '1' ELSE '0' END",
            "row 1 of batches: state is confirmed in",
        ),
        (
            "DROP TRIGGER export_journal_no_update; UPDATE export_journal SET body = body || ' ' WHERE seq = 1",
            "export journal: journal row 1 was changed",
        ),
        (
            "UPDATE batch_attempts SET network_fee_sat = network_fee_sat + 1",
            "row 1:0 of batch_attempts: coins that leave",
        ),
        ("UPDATE batch_attempts SET stage = 'signed'", "row 1:0 of batch_attempts: broadcast is false"),
        ("UPDATE batch_outputs SET fee_sat = 1 WHERE vout = 0", "of batch_outputs: fee of all outputs is"),
        ("UPDATE batches SET block_height = block_height + 1", "of batches: block height is"),
        ("UPDATE batches SET block_time_s = block_time_s + 1", "of batches: block time is"),
        ("UPDATE batch_outputs SET sat = sat + 1 WHERE account = 1", "of batch_outputs: amount is"),
        ("UPDATE batch_lots SET sat = sat - 1 WHERE vout = 0", "row 1:0 of batch_lots: sum is"),
        ("DELETE FROM batch_lots WHERE vout = 1", "row 1:1 of batch_lots: sum is 0"),
        ("DROP TRIGGER restraints_no_update; UPDATE restraints SET act = 'ended'", "of restraints: act is ended"),
        ("DROP TRIGGER restraints_no_delete; DELETE FROM restraints", "of restraints is missing"),
        ("UPDATE accounts SET address = 'elsewhere' WHERE id = 2", "address is elsewhere"),
        (
            "DROP TRIGGER export_rows_no_update; UPDATE export_rows SET block_height = 1 WHERE seq = 2",
            "export register: row 2 was changed",
        ),
        (
            "DROP TRIGGER export_lots_no_update; UPDATE export_lots SET sat = sat + 1 WHERE vout = 0",
            "was changed after it was written",
        ),
        (
            "DROP TRIGGER entries_no_update; UPDATE entries SET at_ms = at_ms + 1 WHERE seq = 3",
            "ledger: entry 3 was changed",
        ),
        (
            "DROP TRIGGER postings_no_update; UPDATE postings SET sat = sat + 1 WHERE entry = 2 AND line = 0",
            "ledger: entry 2 was changed",
        ),
        ("UPDATE balances SET sat = sat + 1 WHERE account = 'spendable'", "ledger: account spendable has balance"),
    ];
    for (number, (statement, named)) in tampered.into_iter().enumerate() {
        let file = pool.dir.path().join(format!("copy{number}.sqlite"));
        pool.store.backup(&file).await.unwrap();
        change(&file, statement).await;
        let copy = SqliteStore::open_read_only(&file).await.unwrap();
        let error = verify_books(&copy).await.expect_err(statement).to_string();
        assert!(error.contains(named), "{statement}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn books_that_the_chain_contradicts_are_named() {
    let pool = paid_pool().await;
    let [block] = &pool.store.blocks(9).await.unwrap()[..] else { panic!("one block was found") };
    let height = block.found.height;
    pool.change("UPDATE blocks SET height = height + 1").await;
    let fault = ChainFault::Height { block: block.found.hash, kept: height + 1, chain: height };
    assert_eq!(pool.chain_fault().await, fault);
    pool.change("UPDATE blocks SET height = height - 1, value_sat = value_sat + 1").await;
    assert!(matches!(pool.chain_fault().await, ChainFault::Coinbase { .. }));
    pool.change("UPDATE blocks SET value_sat = value_sat - 1").await;

    pool.change("UPDATE batch_outputs SET sat = sat + 1 WHERE account = 2").await;
    let fault = pool.chain_fault().await;
    assert!(matches!(fault, ChainFault::Output { account, .. } if account == AccountId::new(2)), "{fault}");
    pool.change("UPDATE batch_outputs SET sat = sat - 1 WHERE account = 2").await;
    pool.change("UPDATE batches SET block_height = block_height - 1").await;
    assert!(matches!(pool.chain_fault().await, ChainFault::Confirmation { .. }));
    pool.change("UPDATE batches SET block_height = block_height + 1").await;

    pool.change("UPDATE balances SET sat = sat + 1 WHERE account = 'spendable'").await;
    let fault = pool.chain_fault().await;
    assert!(matches!(fault, ChainFault::Coins { ledger_sat, chain_sat } if ledger_sat == chain_sat + 1), "{fault}");
    pool.change("UPDATE balances SET sat = sat - 1 WHERE account = 'spendable'").await;
    assert!(pool.compared().await.coins.is_some(), "all is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matured_block_that_left_the_chain_is_named() {
    let mut pool = pool(Amount::MAX_MONEY).await;
    let block = pool.find_block().await;
    pool.node.mine(99).unwrap();
    pool.settle().await;
    pool.payer.step().await.unwrap();
    pool.node.invalidate(block).unwrap();
    pool.node.mine(101).unwrap();
    let behind = pool.compared().await.behind;
    assert!(behind.len() == 1 && behind[0].ends_with("is orphaned by now, not matured"), "{behind:?}");

    // The wallet has taken the new chain in, so the books know it; what they say of the block is wrong.
    pool.payer.step().await.unwrap();
    let fault = ChainFault::Phase { block, kept: BlockPhase::Matured, chain: BlockPhase::Orphaned };
    assert_eq!(pool.chain_fault().await, fault);
    pool.settle().await;
    assert_eq!(pool.compared().await.coins, Some(ChainCoins { ledger_sat: 0, chain_sat: 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_that_do_not_balance_are_told_while_the_pool_runs() {
    let pool = paid_pool().await;
    let (mut watch, wallet) = (BalanceWatch::default(), pool.payer.wallet().balance());
    assert_eq!(watch.check(&*pool.store, Some(wallet)).await.unwrap(), []);
    assert!(!watch.is_in_doubt());

    // A block may be in the wallet before it is in the books: one look is not enough.
    let more = WalletBalance { immature: Amount::from_sat(7), ..wallet };
    assert_eq!(watch.check(&*pool.store, Some(more)).await.unwrap(), []);
    assert!(watch.is_in_doubt());
    assert_eq!(watch.check(&*pool.store, None).await.unwrap(), []);
    let told = watch.check(&*pool.store, Some(more)).await.unwrap();
    let ledger_sat = i128::from(wallet.mature.to_sat());
    assert_eq!(told, [Imbalance::Coins { ledger_sat, wallet_sat: ledger_sat + 7 }]);
    assert!(!watch.is_in_doubt());
    assert_eq!(watch.check(&*pool.store, Some(wallet)).await.unwrap(), []);

    // A new entry is added to the sums of those before.
    pool.find_block().await;
    assert_eq!(watch.check(&*pool.store, None).await.unwrap(), []);
    pool.change("UPDATE balances SET sat = sat - 2 WHERE account = 'fee'").await;
    let told = watch.check(&*pool.store, None).await.unwrap();
    let fee = Imbalance::Balance { account: LedgerAccount::Fee, kept_sat: -50_000_002, posted_sat: -50_000_000 };
    assert_eq!(told, [Imbalance::Total { sum_sat: -2 }, fee]);
}
