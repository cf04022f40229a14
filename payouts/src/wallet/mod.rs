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
        BlockId, Merge,
        local_chain::{ApplyHeaderError, CannotConnectError},
    },
    descriptor::{DescriptorError, ExtendedDescriptor},
    error::CreateTxError,
    keys::KeyMap,
};
use bitcoin::{Amount, BlockHash, Network, OutPoint, ScriptBuf, Transaction, Txid};
use bitcoincore_rpc::{Client, RpcApi, jsonrpc};

use crate::{
    books::REORG_WATCH_DEPTH,
    deposits::ChainDeposit,
    payout::ConfirmationBlock,
    store::{Store, StoreError},
};

mod chain;
mod key;
mod spending;
mod watch_only;

use self::chain::{Chain, anchor};
pub use key::{KeyError, WalletKey};
pub(crate) use spending::{BadSignature, Coins, Price, Proposal};
pub use watch_only::{WatchOnly, WatchOnlyError};

/// How far below the tip a new wallet begins to look at blocks: deeper than any reorganisation.
const BIRTHDAY_DEPTH: u32 = 100;
/// Bitcoin Core's code for a parameter out of its range, such as a height above its tip.
const RPC_INVALID_PARAMETER: i32 = -8;
/// Blocks taken in between two saves of the wallet.
const SYNC_SAVE_BLOCKS: usize = 500;
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

/// Where the keys of a wallet are.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a pool has one of them")]
pub enum Keys {
    /// The private key is here: transactions are signed by the pool itself.
    Here(WalletKey),
    /// Only public descriptors are here: transactions are signed elsewhere, by file.
    Elsewhere(WatchOnly),
}

impl Keys {
    /// Returns the address that the coinbases of a pool with these keys pay.
    ///
    /// # Errors
    ///
    /// If no wallet can be made of them.
    pub fn coinbase_address(&self) -> Result<bitcoin::Address, WalletError> {
        Ok(create(self)?.peek_address(KeychainKind::External, COINBASE_INDEX).address)
    }

    fn network(&self) -> Network {
        match self {
            Self::Here(key) => key.network(),
            Self::Elsewhere(public) => public.network(),
        }
    }

    /// Returns the descriptors for coinbases and for change, with the keys that are here.
    fn descriptors(&self) -> Result<[(ExtendedDescriptor, KeyMap); 2], DescriptorError> {
        match self {
            Self::Here(key) => key.descriptors(),
            Self::Elsewhere(public) => Ok([KeychainKind::External, KeychainKind::Internal]
                .map(|keychain| (public.descriptor(keychain).clone(), KeyMap::default()))),
        }
    }
}

impl From<WalletKey> for Keys {
    fn from(key: WalletKey) -> Self {
        Self::Here(key)
    }
}

impl From<WatchOnly> for Keys {
    fn from(public: WatchOnly) -> Self {
        Self::Elsewhere(public)
    }
}

/// The pool's wallet. One owner changes it; it takes its state from the store and keeps it there.
pub struct Wallet {
    store: Arc<dyn Store>,
    keys: Keys,
    coins: Arc<Mutex<bdk_wallet::Wallet>>,
    /// Whether a proposal was made of which it is not known that it is stored.
    proposed: bool,
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wallet").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Wallet {
    /// Opens the wallet of a key or of public descriptors. At the first time, it begins a little below the node's tip: coins from before that,
    /// as of a key that was used with another store, are not seen.
    ///
    /// # Errors
    ///
    /// If store or node fail, or the stored wallet belongs to another key.
    pub async fn open(store: Arc<dyn Store>, keys: impl Into<Keys>, rpc: Arc<Client>) -> Result<Self, WalletError> {
        let keys = keys.into();
        let coins = match load(&*store, &keys).await? {
            Some(coins) => coins,
            None => {
                let mut coins = create(&keys)?;
                coins.reveal_addresses_to(KeychainKind::External, COINBASE_INDEX).for_each(drop);
                let genesis = coins.latest_checkpoint();
                let genesis_hash = genesis.hash();
                let birthday = blocking(move || birthday(&rpc, genesis_hash)).await?;
                let checkpoint = genesis.insert(birthday);
                coins.apply_update(Update { chain: Some(checkpoint), ..Update::default() })?;
                coins
            }
        };
        let wallet = Self { store, keys, coins: Arc::new(Mutex::new(coins)), proposed: false };
        wallet.save().await?;
        Ok(wallet)
    }

    /// Returns the network whose coins it holds.
    pub fn network(&self) -> Network {
        self.keys.network()
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
        for coin in Chain::of(&coins).coins() {
            match coin.mature_at() <= tip_height + 1 {
                true => balance.mature += coin.value(),
                false => balance.immature += coin.value(),
            }
        }
        balance
    }

    /// Returns the coins in the chain, spent or not, that came from elsewhere: no coinbase made them, and no transaction
    /// that spends coins of this wallet.
    pub fn deposits(&self) -> Vec<ChainDeposit> {
        let coins = self.coins();
        let is_from_elsewhere = |transaction: &Transaction| {
            !transaction.is_coinbase() && coins.sent_and_received(transaction).0 == Amount::ZERO
        };
        let chain = Chain::of(&coins);
        let made = chain.coins_made().filter(|coin| is_from_elsewhere(&coin.transaction));
        made.map(|coin| ChainDeposit { outpoint: coin.outpoint, amount: coin.value(), block: coin.block.hash })
            .collect()
    }

    /// Returns the block that a node must have to be on this wallet's chain.
    pub fn settled_block(&self) -> SettledBlock {
        settled_in(&self.coins())
    }

    /// Takes in the node's blocks up to its tip and returns the tip's height.
    ///
    /// # Errors
    ///
    /// If store or node fail, or the node does not have [`Wallet::settled_block`]: then it is another chain's, and
    /// nothing is taken in. What was taken in before stays.
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
        let anchor = anchor(&self.coins(), txid)?;
        Some(ConfirmationBlock {
            hash: anchor.block_id.hash,
            height: anchor.block_id.height,
            time: i64::try_from(anchor.confirmation_time).unwrap_or(i64::MAX),
        })
    }

    /// Returns a transaction that touches coins of ours, if it was ever in a block.
    pub(crate) fn transaction(&self, txid: Txid) -> Option<Transaction> {
        self.coins().get_tx(txid).map(|tx| tx.tx_node.tx.as_ref().clone())
    }

    /// Returns the transactions in the chain, as of the last sync, that spend a coin of ours.
    pub(crate) fn spenders(&self, outpoint: OutPoint) -> Vec<Spender> {
        let coins = self.coins();
        let tip_height = coins.latest_checkpoint().height();
        let spender = |&txid: &Txid| {
            let height = anchor(&coins, txid)?.block_id.height;
            Some(Spender { txid, depth: (tip_height + 1).saturating_sub(height) })
        };
        coins.tx_graph().outspends(outpoint).iter().filter_map(spender).collect()
    }

    /// Returns what a transaction in the chain spends of our coins.
    pub(crate) fn spent_by(&self, txid: Txid) -> Amount {
        let coins = self.coins();
        coins.get_tx(txid).map_or(Amount::ZERO, |tx| coins.sent_and_received(&tx.tx_node.tx).0)
    }

    /// Forgets what is not stored.
    pub(crate) async fn reload(&mut self) -> Result<(), WalletError> {
        if let Some(coins) = load(&*self.store, &self.keys).await? {
            *self.coins() = coins;
        }
        self.proposed = false;
        Ok(())
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

/// A block so deep in the chain that the books follow no reorganisation that replaces it: a node without it is on another
/// chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledBlock {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
}

/// Reads the settled block of the stored wallet; nothing if no wallet was ever stored.
///
/// # Errors
///
/// If the store fails, or what is stored cannot be read.
pub async fn settled_block(store: &dyn Store) -> Result<Option<SettledBlock>, WalletError> {
    let load = bdk_wallet::Wallet::load().load_wallet_no_persist(stored(store).await?);
    Ok(load.map_err(|error| WalletError::Load(Box::new(error)))?.as_ref().map(settled_in))
}

fn settled_in(coins: &bdk_wallet::Wallet) -> SettledBlock {
    let tip = coins.latest_checkpoint();
    let deepest = tip.height().saturating_sub(REORG_WATCH_DEPTH);
    let settled = tip.floor_at(deepest).unwrap_or(tip);
    SettledBlock { height: settled.height(), hash: settled.hash() }
}

/// A transaction in the chain that spends a coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spender {
    /// The transaction.
    pub(crate) txid: Txid,
    /// How many confirmations it has.
    pub(crate) depth: u32,
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
    let unspent = Chain::of(&coins).coins().map(|coin| (coin.outpoint, coin.value())).collect();
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

fn create(keys: &Keys) -> Result<bdk_wallet::Wallet, WalletError> {
    let [external, internal] = keys.descriptors()?;
    Ok(bdk_wallet::Wallet::create(external, internal).network(keys.network()).create_wallet_no_persist()?)
}

async fn load(store: &dyn Store, keys: &Keys) -> Result<Option<bdk_wallet::Wallet>, WalletError> {
    let all = stored(store).await?;
    let [external, internal] = keys.descriptors()?;
    bdk_wallet::Wallet::load()
        .descriptor(KeychainKind::External, Some(external))
        .descriptor(KeychainKind::Internal, Some(internal))
        .check_network(keys.network())
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
    let settled = settled_in(coins);
    let found = rpc.get_block_hash(settled.height.into()).map(Some).or_else(nothing_so_high)?;
    if found != Some(settled.hash) {
        let SettledBlock { height, hash } = settled;
        return Err(WalletError::Chain(format!("it does not have block {hash} at height {height}")));
    }
    let checkpoint = coins.latest_checkpoint();
    let start = checkpoint.height();
    let mut emitter = Emitter::new(rpc, checkpoint, start, NO_EXPECTED_MEMPOOL_TXS);
    for _ in 0..SYNC_SAVE_BLOCKS {
        let Some(event) = emitter.next_block()? else { return Ok(true) };
        coins.apply_block_connected_to(&event.block, event.block_height(), event.connected_to())?;
    }
    Ok(false)
}

/// Turns the node's refusal of a height above its tip into the news that it has no block there.
fn nothing_so_high(error: bitcoincore_rpc::Error) -> Result<Option<BlockHash>, WalletError> {
    match error {
        bitcoincore_rpc::Error::JsonRpc(jsonrpc::Error::Rpc(error)) if error.code == RPC_INVALID_PARAMETER => Ok(None),
        error => Err(error.into()),
    }
}
