//! The pool's coins: where coinbases go, which coins can be spent, and transactions that spend them.
//!
//! A BDK wallet, kept in our own store and fed with blocks over RPC, so that the node needs no wallet. Only confirmed
//! and mature coins are spent. What a transaction is for, and when it is sent, is said in [`crate::payout`].

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bdk_bitcoind_rpc::{Emitter, NO_EXPECTED_MEMPOOL_TXS};
use bdk_wallet::{
    AddressInfo, ChangeSet, KeychainKind, LoadError, Update,
    chain::{
        BlockId, ChainPosition, Merge,
        local_chain::{ApplyHeaderError, CannotConnectError},
    },
    descriptor::DescriptorError,
    error::CreateTxError,
    template::Bip84,
};
use bitcoin::{Amount, BlockHash, FeeRate, Network, OutPoint, Psbt, ScriptBuf, Transaction, Txid, Weight};
use bitcoincore_rpc::{Client, RpcApi};

use crate::{
    books::COINBASE_MATURITY,
    payout::ConfirmationBlock,
    store::{Store, StoreError},
};

mod key;

pub use key::{KeyError, WalletKey};

/// How far below the tip a new wallet begins to look at blocks: deeper than any reorganisation.
const BIRTHDAY_DEPTH: u32 = 100;
/// Blocks taken in between two saves of the wallet.
const SYNC_SAVE_BLOCKS: usize = 500;
/// The heaviest transaction that nodes pass on (Bitcoin Core's constant of this name).
const MAX_STANDARD_TX_WEIGHT: Weight = Weight::from_wu(400_000);
/// What a transaction with witnesses weighs more, once.
const SEGWIT_MARKER_WU: u64 = 2;
/// What the witness of a P2WPKH input weighs at most: two items, a signature of 72 bytes and a key of 33.
const WITNESS_WU: u64 = 108;
/// The index of the address that all coinbases pay.
const COINBASE_INDEX: u32 = 0;

/// Why the wallet could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node failed.
    #[error("node: {0}")]
    Node(#[from] bitcoincore_rpc::Error),
    /// The key gives no usable descriptors.
    #[error("wallet descriptor: {0}")]
    Descriptor(#[from] DescriptorError),
    /// The stored wallet does not fit the key.
    #[error("the stored wallet does not belong to this key: {0}")]
    Load(#[source] Box<LoadError>),
    /// The stored wallet cannot be read.
    #[error("the stored wallet cannot be read: {0}")]
    Format(#[from] serde_json::Error),
    /// The node's blocks do not connect to those known.
    #[error("the node's chain does not connect to the wallet's: {0}")]
    Chain(String),
    /// No transaction can be made.
    #[error("no transaction can be made: {0}")]
    Create(#[source] Box<CreateTxError>),
    /// A transaction cannot be signed.
    #[error("the transaction cannot be signed: {0}")]
    Sign(String),
}

impl From<CannotConnectError> for WalletError {
    fn from(error: CannotConnectError) -> Self {
        Self::Chain(error.to_string())
    }
}

impl From<ApplyHeaderError> for WalletError {
    fn from(error: ApplyHeaderError) -> Self {
        Self::Chain(error.to_string())
    }
}

/// A transaction that the wallet proposes. Its inputs are locked in memory; for good once the change is stored.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    /// The unsigned transaction.
    pub(crate) psbt: Psbt,
    /// What it pays the network.
    pub(crate) fee: Amount,
    /// The wallet's changes to store with it, in JSON.
    pub(crate) change: String,
}

/// The pool's wallet. One owner changes it; it takes its state from the store and keeps it there.
pub struct Wallet {
    store: Arc<dyn Store>,
    key: WalletKey,
    coins: Arc<Mutex<bdk_wallet::Wallet>>,
    /// Whether a proposal was made of which it is not known that it is stored.
    proposed: bool,
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wallet").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Wallet {
    /// Opens the wallet of a key. At the first time, it begins a little below the node's tip: coins from before that,
    /// as of a key that was used with another store, are not seen.
    ///
    /// # Errors
    ///
    /// If store or node fail, or the stored wallet belongs to another key.
    pub async fn open(store: Arc<dyn Store>, key: WalletKey, rpc: Arc<Client>) -> Result<Self, WalletError> {
        let coins = match load(&*store, &key).await? {
            Some(coins) => coins,
            None => {
                let mut coins = create(&key)?;
                coins.reveal_addresses_to(KeychainKind::External, COINBASE_INDEX).for_each(drop);
                let genesis = coins.latest_checkpoint();
                let genesis_hash = genesis.hash();
                let birthday = blocking(move || birthday(&rpc, genesis_hash)).await?;
                let checkpoint = genesis.insert(birthday);
                coins.apply_update(Update { chain: Some(checkpoint), ..Update::default() })?;
                coins
            }
        };
        let wallet = Self { store, key, coins: Arc::new(Mutex::new(coins)), proposed: false };
        wallet.save().await?;
        Ok(wallet)
    }

    /// Returns the network whose coins it holds.
    pub fn network(&self) -> Network {
        self.key.network()
    }

    /// Returns the script that the pool's coinbases pay: always the same.
    pub fn coinbase_script(&self) -> ScriptBuf {
        self.coinbase_address().script_pubkey()
    }

    /// Returns the address of [`Wallet::coinbase_script`].
    pub fn coinbase_address(&self) -> bitcoin::Address {
        let AddressInfo { address, .. } = self.coins().peek_address(KeychainKind::External, COINBASE_INDEX);
        address
    }

    /// Returns the coins in the chain as the wallet knows it: mature ones, and immature ones.
    pub fn balance(&self) -> WalletBalance {
        let coins = self.coins();
        let tip_height = coins.latest_checkpoint().height();
        let mut balance = WalletBalance { mature: Amount::ZERO, immature: Amount::ZERO };
        for coin in in_chain(&coins) {
            match coin.mature_at <= tip_height + 1 {
                true => balance.mature += coin.value,
                false => balance.immature += coin.value,
            }
        }
        balance
    }

    /// Takes in the node's blocks up to its tip and returns the tip's height.
    ///
    /// # Errors
    ///
    /// If store or node fail. What was taken in before stays.
    pub async fn sync(&mut self, rpc: &Arc<Client>) -> Result<u32, WalletError> {
        // Whoever made a proposal was stopped before its end: its locks must not be saved unless the store has it.
        if self.proposed {
            self.reload().await?;
        }
        loop {
            let (coins, rpc) = (Arc::clone(&self.coins), Arc::clone(rpc));
            let at_tip = blocking(move || take_blocks(&mut locked(&coins), &rpc)).await?;
            self.save().await?;
            if at_tip {
                return Ok(self.coins().latest_checkpoint().height());
            }
        }
    }

    /// Returns the block that holds a transaction of ours, as of the last sync.
    pub fn confirmation(&self, txid: Txid) -> Option<ConfirmationBlock> {
        let coins = self.coins();
        match coins.get_tx(txid)?.chain_position {
            ChainPosition::Confirmed { anchor, transitively: None } => Some(ConfirmationBlock {
                hash: anchor.block_id.hash,
                height: anchor.block_id.height,
                time: i64::try_from(anchor.confirmation_time).unwrap_or(i64::MAX),
            }),
            ChainPosition::Confirmed { .. } | ChainPosition::Unconfirmed { .. } => None,
        }
    }

    /// Makes an unsigned transaction that pays the recipients in the given order, from confirmed coins.
    ///
    /// Returns `None` if there are not coins enough, or too many of them for a transaction that nodes pass on. Store
    /// the proposal's change with the transaction, then call [`Wallet::stored`]; if that failed, [`Wallet::reload`].
    pub(crate) fn propose(
        &mut self,
        recipients: Vec<(ScriptBuf, Amount)>,
        fee_rate: FeeRate,
    ) -> Result<Option<Proposal>, WalletError> {
        let mut coins = locked(&self.coins);
        let mut builder = coins.build_tx();
        builder
            .set_recipients(recipients)
            .ordering(bdk_wallet::TxOrdering::Untouched)
            .exclude_unconfirmed()
            .fee_rate(fee_rate);
        let psbt = match builder.finish() {
            Ok(psbt) => psbt,
            Err(CreateTxError::CoinSelection(_)) => return Ok(None),
            Err(error) => return Err(WalletError::Create(Box::new(error))),
        };
        if weight_when_signed(&psbt.unsigned_tx) > MAX_STANDARD_TX_WEIGHT {
            return Ok(None);
        }
        self.proposed = true;
        // Locked for good: the coins are spent by this transaction or, after a reorganisation, by it again.
        for input in &psbt.unsigned_tx.input {
            coins.lock_outpoint(input.previous_output);
        }
        let fee = psbt.fee().map_err(|error| WalletError::Sign(error.to_string()))?;
        let change = serde_json::to_string(&coins.staged().cloned().unwrap_or_default())?;
        Ok(Some(Proposal { psbt, fee, change }))
    }

    /// Notes that the proposal's change is stored.
    pub(crate) fn stored(&mut self) {
        self.coins().take_staged();
        self.proposed = false;
    }

    /// Forgets what is not stored.
    pub(crate) async fn reload(&mut self) -> Result<(), WalletError> {
        if let Some(coins) = load(&*self.store, &self.key).await? {
            *self.coins() = coins;
        }
        self.proposed = false;
        Ok(())
    }

    /// Signs a proposed transaction.
    pub(crate) fn sign(&self, mut psbt: Psbt) -> Result<Transaction, WalletError> {
        let coins = self.coins();
        let signed = psbt.sign(&self.key.xpriv(), coins.secp_ctx());
        signed.map_err(|(_, errors)| WalletError::Sign(format!("{errors:?}")))?;
        let finalized = coins.try_finalize_psbt(&mut psbt).map_err(|error| WalletError::Sign(error.to_string()))?;
        if !finalized.is_finalized() {
            return Err(WalletError::Sign("a signature is missing".to_owned()));
        }
        psbt.extract_tx().map_err(|error| WalletError::Sign(error.to_string()))
    }

    /// Stores what changed since the last time.
    async fn save(&self) -> Result<(), WalletError> {
        let change = self.coins().staged().map(serde_json::to_string).transpose()?;
        if let Some(change) = change {
            self.store.append_wallet_change(&change).await?;
            self.coins().take_staged();
        }
        Ok(())
    }

    fn coins(&self) -> MutexGuard<'_, bdk_wallet::Wallet> {
        locked(&self.coins)
    }
}

/// Coins in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletBalance {
    /// Coins that can be spent by the next block.
    pub mature: Amount,
    /// Coinbases that cannot be spent yet.
    pub immature: Amount,
}

/// What a stored wallet knows without its key.
#[derive(Debug)]
pub(crate) struct KnownCoins {
    /// The last block that it took in.
    pub(crate) tip: BlockId,
    /// Its coins as of that block, with what each is worth.
    pub(crate) unspent: Vec<(OutPoint, Amount)>,
}

/// Reads what the stored wallet knows; nothing if no wallet was ever stored.
pub(crate) async fn known_coins(store: &dyn Store) -> Result<Option<KnownCoins>, WalletError> {
    let load = bdk_wallet::Wallet::load().load_wallet_no_persist(stored(store).await?);
    let Some(coins) = load.map_err(|error| WalletError::Load(Box::new(error)))? else { return Ok(None) };
    let unspent = in_chain(&coins).map(|coin| (coin.outpoint, coin.value)).collect();
    Ok(Some(KnownCoins { tip: coins.latest_checkpoint().block_id(), unspent }))
}

/// A panic while the lock is held leaves the wallet as of some block: the next sync goes on from there.
fn locked(coins: &Mutex<bdk_wallet::Wallet>) -> MutexGuard<'_, bdk_wallet::Wallet> {
    coins.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs calls that block on the node where they stop no other task.
pub(crate) async fn blocking<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that shuts down cancels such work, and it drops this task next.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A coin that a block made and none has spent.
struct ChainCoin {
    outpoint: OutPoint,
    value: Amount,
    /// The height of the first block that may spend it.
    mature_at: u32,
}

/// Returns the coins in the chain. A transaction that waits for a block, also again after a reorganisation, has spent
/// nothing yet.
fn in_chain(coins: &bdk_wallet::Wallet) -> impl Iterator<Item = ChainCoin> + '_ {
    let is_confirmed = |txid: &Txid| coins.get_tx(*txid).is_some_and(|tx| tx.chain_position.is_confirmed());
    coins.list_output().filter_map(move |output| {
        let height = output.chain_position.confirmation_height_upper_bound()?;
        if !is_confirmed(&output.outpoint.txid) || coins.tx_graph().outspends(output.outpoint).iter().any(is_confirmed)
        {
            return None;
        }
        let is_coinbase = coins.get_tx(output.outpoint.txid)?.tx_node.tx.is_coinbase();
        let mature_at = if is_coinbase { height + COINBASE_MATURITY } else { height };
        Some(ChainCoin { outpoint: output.outpoint, value: output.txout.value, mature_at })
    })
}

fn create(key: &WalletKey) -> Result<bdk_wallet::Wallet, WalletError> {
    let [external, internal] = descriptors(key);
    Ok(bdk_wallet::Wallet::create(external, internal).network(key.network()).create_wallet_no_persist()?)
}

async fn load(store: &dyn Store, key: &WalletKey) -> Result<Option<bdk_wallet::Wallet>, WalletError> {
    let all = stored(store).await?;
    let [external, internal] = descriptors(key);
    bdk_wallet::Wallet::load()
        .descriptor(KeychainKind::External, Some(external))
        .descriptor(KeychainKind::Internal, Some(internal))
        .check_network(key.network())
        .load_wallet_no_persist(all)
        .map_err(|error| WalletError::Load(Box::new(error)))
}

/// Adds up the stored changes.
async fn stored(store: &dyn Store) -> Result<ChangeSet, WalletError> {
    let mut all = ChangeSet::default();
    for change in store.wallet_changes().await? {
        all.merge(serde_json::from_str(&change)?);
    }
    Ok(all)
}

fn descriptors(key: &WalletKey) -> [Bip84<bitcoin::bip32::Xpriv>; 2] {
    [KeychainKind::External, KeychainKind::Internal].map(|keychain| Bip84(key.xpriv(), keychain))
}

/// Returns what an unsigned transaction of ours weighs at most once it is signed.
fn weight_when_signed(unsigned: &Transaction) -> Weight {
    let inputs = unsigned.input.len() as u64;
    unsigned.weight() + Weight::from_wu(SEGWIT_MARKER_WU + inputs * WITNESS_WU)
}

fn birthday(rpc: &Client, genesis: BlockHash) -> Result<BlockId, WalletError> {
    let found = rpc.get_block_hash(0)?;
    if found != genesis {
        return Err(WalletError::Chain(format!("the node's chain begins with {found}, the key's with {genesis}")));
    }
    let tip = u32::try_from(rpc.get_block_count()?).unwrap_or(u32::MAX);
    let height = tip.saturating_sub(BIRTHDAY_DEPTH);
    Ok(BlockId { height, hash: rpc.get_block_hash(height.into())? })
}

/// Takes in up to [`SYNC_SAVE_BLOCKS`] blocks; true once there are no more.
fn take_blocks(coins: &mut bdk_wallet::Wallet, rpc: &Client) -> Result<bool, WalletError> {
    let checkpoint = coins.latest_checkpoint();
    let start = checkpoint.height();
    let mut emitter = Emitter::new(rpc, checkpoint, start, NO_EXPECTED_MEMPOOL_TXS);
    for _ in 0..SYNC_SAVE_BLOCKS {
        let Some(event) = emitter.next_block()? else { return Ok(true) };
        coins.apply_block_connected_to(&event.block, event.block_height(), event.connected_to())?;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use bitcoin::{TxIn, TxOut, Witness, absolute::LockTime, transaction::Version};

    use super::*;

    #[test]
    fn the_weight_of_a_signed_transaction_is_foreseen() {
        let output = TxOut { value: Amount::ONE_SAT, script_pubkey: ScriptBuf::new() };
        let (version, lock_time) = (Version::TWO, LockTime::ZERO);
        let mut transaction = Transaction { version, lock_time, input: vec![TxIn::default(); 3], output: vec![output] };
        let foreseen = weight_when_signed(&transaction);
        for input in &mut transaction.input {
            input.witness = Witness::from_slice(&[vec![0; 72], vec![0; 33]]);
        }
        assert_eq!(transaction.weight(), foreseen);
    }
}
