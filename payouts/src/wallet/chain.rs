//! The wallet's coins as its chain has them.

use std::{collections::HashSet, sync::Arc};

use bdk_wallet::chain::{BlockId, ConfirmationBlockTime};
use bitcoin::{Amount, OutPoint, Transaction, Txid};

use crate::books::COINBASE_MATURITY;

/// Returns the block of the wallet's chain that holds a transaction. It walks from the tip down to that block; the wallet
/// itself would do so for all transactions that it ever saw.
pub(super) fn anchor(wallet: &bdk_wallet::Wallet, txid: Txid) -> Option<ConfirmationBlockTime> {
    let chain = wallet.local_chain();
    anchor_among(wallet, txid, |block| chain.get(block.height).is_some_and(|found| found.hash() == block.hash))
}

fn anchor_among(
    wallet: &bdk_wallet::Wallet,
    txid: Txid,
    is_in_chain: impl Fn(BlockId) -> bool,
) -> Option<ConfirmationBlockTime> {
    let transaction = wallet.tx_graph().get_tx_node(txid)?;
    transaction.anchors.iter().find(|anchor| is_in_chain(anchor.block_id)).copied()
}

/// The chain of a wallet, to ask about many transactions without a walk for each.
pub(super) struct Chain<'a> {
    wallet: &'a bdk_wallet::Wallet,
    blocks: HashSet<BlockId>,
}

/// A coin that a block made.
pub(super) struct ChainCoin {
    /// Where it is.
    pub(super) outpoint: OutPoint,
    /// The transaction that made it.
    pub(super) transaction: Arc<Transaction>,
    /// The block that holds the transaction.
    pub(super) block: BlockId,
}

impl<'a> Chain<'a> {
    /// Looks at the wallet's chain as it is now.
    pub(super) fn of(wallet: &'a bdk_wallet::Wallet) -> Self {
        Self {
            wallet,
            blocks: wallet.local_chain().iter_checkpoints().map(|checkpoint| checkpoint.block_id()).collect(),
        }
    }

    fn anchor(&self, txid: Txid) -> Option<ConfirmationBlockTime> {
        anchor_among(self.wallet, txid, |block| self.blocks.contains(&block))
    }

    /// Returns the coins that its blocks made, spent or not.
    pub(super) fn coins_made(&self) -> impl Iterator<Item = ChainCoin> + '_ {
        self.wallet.spk_index().outpoints().iter().filter_map(|&(_, outpoint)| {
            let block = self.anchor(outpoint.txid)?.block_id;
            let transaction = self.wallet.tx_graph().get_tx(outpoint.txid)?;
            Some(ChainCoin { outpoint, transaction, block })
        })
    }

    /// Returns the coins that its blocks made and did not spend. A transaction that waits for a block, also again after a
    /// reorganisation, has spent nothing yet.
    pub(super) fn coins(&self) -> impl Iterator<Item = ChainCoin> + '_ {
        let spenders = |outpoint| self.wallet.tx_graph().outspends(outpoint).iter();
        self.coins_made().filter(move |coin| !spenders(coin.outpoint).any(|&spender| self.anchor(spender).is_some()))
    }
}

impl ChainCoin {
    /// Returns what it is worth.
    pub(super) fn value(&self) -> Amount {
        self.transaction.output[self.outpoint.vout as usize].value
    }

    /// Returns the height of the first block that may spend it.
    pub(super) fn mature_at(&self) -> u32 {
        let maturity = if self.transaction.is_coinbase() { COINBASE_MATURITY } else { 0 };
        self.block.height + maturity
    }
}
