//! Compares the books with a node's chain.
//!
//! What is compared: of each block its height, its place in the best chain against its phase, and what its coinbase
//! pays; of each confirmed batch its block, that block's height and time, and every output; and of the ledger's coins
//! (immature, spendable, in flight) that the wallet's coins worth as much are unspent on the chain.
//!
//! The books follow the chain and may lag behind it. The wallet's last block tells how far they have come: what
//! happened up to that block they must know, and what happened after it they are merely behind with.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Transaction, TxOut, Txid, consensus::encode::deserialize_hex};
use bitcoincore_rpc::{Client, RpcApi, jsonrpc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{coins_of, phase_word};
use crate::{
    account::AccountId,
    books::{BlockPhase, BlockRecord, COINBASE_MATURITY},
    payout::{Batch, BatchId, BatchState},
    store::{Store, StoreError},
    wallet::{KnownCoins, WalletError, blocking, known_coins},
};

/// Times that a comparison is made before its fault is believed: a pool that runs takes in a new tip in steps.
const ATTEMPTS: u32 = 3;
/// The pause before another.
const ATTEMPT_PAUSE: Duration = Duration::from_secs(2);
/// Bitcoin Core's code for a block or transaction that it does not know.
const RPC_INVALID_ADDRESS_OR_KEY: i32 = -5;
/// Bitcoin Core's code for a block whose data it has pruned, among other things.
const RPC_MISC_ERROR: i32 = -1;

/// Why the books could not be compared, or where they do not agree with the chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainAuditError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored wallet cannot be read.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The node gave no usable answer.
    #[error("node: {0}")]
    Node(#[from] bitcoincore_rpc::Error),
    /// The books and the chain say different things.
    #[error("chain: {0}")]
    Fault(#[from] ChainFault),
}

/// Where the books do not agree with the chain.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// A block's phase is not what its place in the chain makes it.
    #[error("block {block} is {} in the books, but {} by the chain that they know", phase_word(*.kept), phase_word(*.chain))]
    Phase {
        /// The block.
        block: BlockHash,
        /// What the books say.
        kept: BlockPhase,
        /// What follows from the chain.
        chain: BlockPhase,
    },
    /// A block has another height.
    #[error("block {block} has height {kept} in the books, but {chain} on the chain")]
    Height {
        /// The block.
        block: BlockHash,
        /// What the books say.
        kept: u32,
        /// What the chain says.
        chain: u32,
    },
    /// The coinbase of a block does not pay what the books say.
    #[error("block {block} has no coinbase output {coinbase} of {value}")]
    Coinbase {
        /// The block.
        block: BlockHash,
        /// The output in the books.
        coinbase: OutPoint,
        /// What it should pay.
        value: Amount,
    },
    /// The coinbase of a block does not pay a miner what the books say.
    #[error("block {block}: coinbase output {output} does not pay {amount} to account {account}")]
    Direct {
        /// The block.
        block: BlockHash,
        /// The output in the books.
        output: OutPoint,
        /// What it should pay.
        amount: Amount,
        /// To whom.
        account: AccountId,
    },
    /// The block that confirmed a batch is not in the best chain, or has another height or time.
    #[error("batch {batch} is confirmed in block {block}, which is not in the best chain with that height and time")]
    Confirmation {
        /// The batch.
        batch: BatchId,
        /// The block.
        block: BlockHash,
    },
    /// The block that confirmed a batch does not have its transaction.
    #[error("batch {batch}: block {block} does not have its transaction {txid}")]
    Transaction {
        /// The batch.
        batch: BatchId,
        /// The block.
        block: BlockHash,
        /// The transaction.
        txid: Txid,
    },
    /// A transaction does not pay what the books say.
    #[error("batch {batch}: output {vout} of {txid} does not pay {amount} to account {account}")]
    Output {
        /// The batch.
        batch: BatchId,
        /// The transaction.
        txid: Txid,
        /// The output.
        vout: u32,
        /// What it should pay.
        amount: Amount,
        /// To whom.
        account: AccountId,
    },
    /// The chain has fewer coins of the pool than the ledger says.
    #[error("the ledger says that the pool has {ledger_sat} sat, but {chain_sat} sat of it are on the chain")]
    Coins {
        /// Immature, spendable and in flight.
        ledger_sat: i128,
        /// What is unspent on the chain.
        chain_sat: i128,
    },
}

/// What a comparison with the chain confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainAudit {
    /// The height of the node's best block.
    pub tip_height: u32,
    /// How many blocks were compared.
    pub blocks: usize,
    /// How many confirmed batches were compared.
    pub batches: usize,
    /// How many of both the node no longer has the transactions of, because it prunes: only their places were compared.
    pub pruned: usize,
    /// What the chain says that the books do not say yet, in words.
    pub behind: Vec<String>,
    /// The coins; nothing if the books have not come as far as the node.
    pub coins: Option<ChainCoins>,
}

/// The pool's coins, at least as many on the chain as in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainCoins {
    /// Immature, spendable and in flight, in satoshis.
    pub ledger_sat: i128,
    /// What is unspent on the chain, in satoshis. It is more than the ledger says if somebody sent coins to the pool.
    pub chain_sat: i128,
}

/// Compares the books with the chain of the node behind `rpc`.
///
/// Batches in flight are counted as unspent, so the coins are exact only at one tip: they are compared if the books
/// have come to the node's best block. A wallet's descriptors are taken as they are stored.
///
/// # Errors
///
/// Names the first block or batch about which books and chain differ, unless the books are merely behind.
pub async fn verify_chain(store: &dyn Store, rpc: Arc<Client>) -> Result<ChainAudit, ChainAuditError> {
    let mut attempt = 1;
    loop {
        let head = store.head().await?;
        let compared = compare(store, &rpc).await;
        let settled = store.head().await? == head;
        match compared {
            Ok(audit) if settled || attempt == ATTEMPTS => return Ok(audit),
            Err(error) if attempt == ATTEMPTS || !matches!(error, ChainAuditError::Fault(_)) => return Err(error),
            Ok(_) | Err(_) => {}
        }
        attempt += 1;
        tokio::time::sleep(ATTEMPT_PAUSE).await;
    }
}

async fn compare(store: &dyn Store, rpc: &Arc<Client>) -> Result<ChainAudit, ChainAuditError> {
    let wallet = known_coins(store).await?;
    let mut blocks = store.blocks(u32::MAX).await?;
    blocks.reverse();
    let direct = blocks.iter().flat_map(|block| block.found.direct.iter());
    let paid: Vec<_> = direct.map(|payment| payment.account).collect();
    let paid = store.accounts_among(&paid).await?.into_iter();
    let scripts: BTreeMap<_, _> = paid.map(|account| (account.id, account.script_pubkey)).collect();
    let known = wallet.as_ref().map(|wallet| (wallet.tip.height, wallet.tip.hash));
    let node = Arc::clone(rpc);
    let mut chain = blocking(move || {
        let mut chain = Chain::at_tip(&node, known)?;
        blocks.iter().try_for_each(|block| chain.compare_block(&node, block, &scripts))?;
        Ok::<_, ChainAuditError>(chain)
    })
    .await?;
    let newest = store.batches(1).await?.first().map_or(0, |batch| batch.id.get());
    for id in 1..=newest {
        let Some(batch) = store.batch(BatchId::new(id)).await? else { continue };
        let node = Arc::clone(rpc);
        chain = blocking(move || chain.compare_batch(&node, &batch).map(|()| chain)).await?;
    }
    let ledger_sat = coins_of(&store.balances().await?);
    let node = Arc::clone(rpc);
    blocking(move || {
        if let Some(wallet) = wallet
            && chain.audit.behind.is_empty()
        {
            chain.compare_coins(&node, &wallet, ledger_sat)?;
        }
        Ok(chain.audit)
    })
    .await
}

/// A comparison on its way.
struct Chain {
    tip: BlockHash,
    /// The height up to which the books must know the best chain.
    known_height: Option<u32>,
    audit: ChainAudit,
}

#[derive(Deserialize)]
struct Tip {
    blocks: u32,
    bestblockhash: BlockHash,
}

#[derive(Deserialize)]
struct Header {
    height: u32,
    confirmations: i64,
    time: i64,
}

impl Header {
    fn confirmations(&self) -> Option<u32> {
        u32::try_from(self.confirmations).ok().filter(|&confirmations| confirmations > 0)
    }
}

/// A transaction in a block, as the node tells it.
enum Found {
    Here(Transaction),
    Missing,
    Pruned,
}

impl Chain {
    fn at_tip(rpc: &Client, known: Option<(u32, BlockHash)>) -> Result<Self, ChainAuditError> {
        let tip: Tip = rpc.call("getblockchaininfo", &[])?;
        let known_height = match known {
            Some((height, hash)) => header(rpc, hash)?.and_then(|header| header.confirmations()).map(|_| height),
            None => None,
        };
        let (behind, tip_height) = (Vec::new(), tip.blocks);
        let audit = ChainAudit { tip_height, blocks: 0, batches: 0, pruned: 0, behind, coins: None };
        Ok(Self { tip: tip.bestblockhash, known_height, audit })
    }

    fn compare_block(
        &mut self,
        rpc: &Client,
        row: &BlockRecord,
        scripts: &BTreeMap<AccountId, ScriptBuf>,
    ) -> Result<(), ChainAuditError> {
        let (block, kept_height, kept) = (row.found.hash, row.found.height, row.state.phase);
        self.audit.blocks += 1;
        let header = header(rpc, block)?;
        if let Some(Header { height, .. }) = header
            && height != kept_height
        {
            return Err(ChainFault::Height { block, kept: kept_height, chain: height }.into());
        }
        let confirmations = header.and_then(|header| header.confirmations());
        if confirmations.is_some() {
            self.compare_coinbase(rpc, row, scripts)?;
        }
        let phase_at = |tip_height: u32| match confirmations {
            None => BlockPhase::Orphaned,
            Some(_) if tip_height.saturating_sub(kept_height) + 1 >= COINBASE_MATURITY => BlockPhase::Matured,
            Some(_) => BlockPhase::Immature,
        };
        let now = phase_at(self.audit.tip_height);
        if kept == now {
            return Ok(());
        }
        if let Some(known_height) = self.known_height.filter(|&known_height| known_height >= kept_height) {
            let chain = phase_at(known_height);
            if kept != chain {
                return Err(ChainFault::Phase { block, kept, chain }.into());
            }
        }
        self.audit.behind.push(format!("block {block} is {} by now, not {}", phase_word(now), phase_word(kept)));
        Ok(())
    }

    fn compare_coinbase(
        &mut self,
        rpc: &Client,
        row: &BlockRecord,
        scripts: &BTreeMap<AccountId, ScriptBuf>,
    ) -> Result<(), ChainAuditError> {
        let (block, coinbase, direct) = (row.found.hash, row.found.coinbase, &row.found.direct);
        let value = row.found.value.checked_sub(direct.total()).unwrap_or_default();
        let pays = match transaction_in(rpc, coinbase.txid, block)? {
            Found::Here(transaction) => {
                for payment in direct.iter() {
                    let (amount, account) = (payment.amount, payment.account);
                    let output = transaction.output.get(payment.vout as usize);
                    let pays =
                        |output: &TxOut| output.value == amount && scripts.get(&account) == Some(&output.script_pubkey);
                    if !output.is_some_and(pays) {
                        let output = row.found.direct_output(payment);
                        return Err(ChainFault::Direct { block, output, amount, account }.into());
                    }
                }
                let output = transaction.output.get(coinbase.vout as usize);
                transaction.is_coinbase() && output.is_some_and(|output| output.value == value)
            }
            Found::Missing => false,
            Found::Pruned => {
                self.audit.pruned += 1;
                true
            }
        };
        if pays { Ok(()) } else { Err(ChainFault::Coinbase { block, coinbase, value }.into()) }
    }

    fn compare_batch(&mut self, rpc: &Client, row: &Batch) -> Result<(), ChainAuditError> {
        let BatchState::Confirmed(_, booked) = row.state else { return Ok(()) };
        let (batch, block, txid) = (row.id, booked.hash, row.txid());
        self.audit.batches += 1;
        let header = header(rpc, block)?;
        let is_there = header.as_ref().is_some_and(|header| header.confirmations().is_some());
        if header.is_some_and(|header| (header.height, header.time) != (booked.height, booked.time)) {
            return Err(ChainFault::Confirmation { batch, block }.into());
        }
        if !is_there {
            if self.known_height.is_some_and(|known_height| known_height >= booked.height) {
                return Err(ChainFault::Confirmation { batch, block }.into());
            }
            self.audit.behind.push(format!("batch {batch} is not confirmed any more: block {block} left the chain"));
            return Ok(());
        }
        let transaction = match transaction_in(rpc, txid, block)? {
            Found::Here(transaction) => transaction,
            Found::Missing => return Err(ChainFault::Transaction { batch, block, txid }.into()),
            Found::Pruned => {
                self.audit.pruned += 1;
                return Ok(());
            }
        };
        for output in &row.outputs {
            let (vout, amount, account) = (output.vout, output.pays(), output.due.account);
            let paid = transaction.output.get(vout as usize);
            if paid.is_none_or(|paid| paid.value != amount || paid.script_pubkey != output.due.script_pubkey) {
                return Err(ChainFault::Output { batch, txid, vout, amount, account }.into());
            }
        }
        Ok(())
    }

    /// Compares the coins, if the wallet and the node are at the same tip and stay there.
    fn compare_coins(&mut self, rpc: &Client, wallet: &KnownCoins, ledger_sat: i128) -> Result<(), ChainAuditError> {
        let mut chain_sat = 0;
        for (coin, value) in &wallet.unspent {
            // Without the mempool: what a batch in flight spends is still the pool's.
            let found: Value = rpc.call("gettxout", &[json!(coin.txid), json!(coin.vout), json!(false)])?;
            if !found.is_null() {
                chain_sat += i128::from(value.to_sat());
            }
        }
        let tip: BlockHash = rpc.call("getbestblockhash", &[])?;
        if wallet.tip.hash != self.tip || tip != self.tip {
            return Ok(());
        }
        if chain_sat < ledger_sat {
            return Err(ChainFault::Coins { ledger_sat, chain_sat }.into());
        }
        self.audit.coins = Some(ChainCoins { ledger_sat, chain_sat });
        Ok(())
    }
}

fn header(rpc: &Client, hash: BlockHash) -> Result<Option<Header>, ChainAuditError> {
    match rpc.call("getblockheader", &[json!(hash)]) {
        Err(error) if code(&error) == Some(RPC_INVALID_ADDRESS_OR_KEY) => Ok(None),
        answer => Ok(Some(answer?)),
    }
}

fn transaction_in(rpc: &Client, txid: Txid, block: BlockHash) -> Result<Found, ChainAuditError> {
    match rpc.call::<String>("getrawtransaction", &[json!(txid), json!(false), json!(block)]) {
        Err(error) if code(&error) == Some(RPC_INVALID_ADDRESS_OR_KEY) => Ok(Found::Missing),
        Err(error) if code(&error) == Some(RPC_MISC_ERROR) => Ok(Found::Pruned),
        answer => Ok(Found::Here(deserialize_hex(&answer?).map_err(bitcoincore_rpc::Error::from)?)),
    }
}

fn code(error: &bitcoincore_rpc::Error) -> Option<i32> {
    match error {
        bitcoincore_rpc::Error::JsonRpc(jsonrpc::Error::Rpc(error)) => Some(error.code),
        _ => None,
    }
}
