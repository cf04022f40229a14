//! Coins that can be spent and transactions that spend them, with a key of their own. Owns the key and the list
//! of coins; which blocks confirm them is the node's affair.

use std::collections::HashSet;

use bitcoin::absolute::LockTime;
use bitcoin::key::CompressedPublicKey;
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey, rand};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, FeeRate, OutPoint, PrivateKey, Script, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid,
    Witness,
};
use serde_json::json;

use crate::blocks::throwaway_script;
use crate::error::{Error, Result};
use crate::node::Node;
use crate::options::Chain;

/// Blocks on top of a coinbase before it can be spent.
const COINBASE_MATURITY: u32 = 100;
/// Outputs of one transaction that splits a coin: below the size limit of a standard transaction.
pub const MAX_SPLIT: usize = 2_000;
/// Outputs below this would be refused as dust; with room for a fee on top.
const SMALLEST_CHANGE: Amount = Amount::from_sat(1_000);
/// What a coin made by [`Coins::split`] must hold to be worth spending.
const SMALLEST_PART: Amount = Amount::from_sat(20_000);

#[derive(Clone, Copy, Debug)]
struct Coin {
    outpoint: OutPoint,
    value: Amount,
}

/// A key and the confirmed coins that it can spend.
///
/// Each spend takes confirmed coins only, so transactions never depend on each other. The list follows the
/// chain when it is [`refresh`](Self::refresh)ed: after blocks that others mined, and after a reorganisation.
pub struct Coins {
    secp: Secp256k1<All>,
    key: SecretKey,
    public_key: CompressedPublicKey,
    chain: Chain,
    spendable: Vec<Coin>,
}

impl std::fmt::Debug for Coins {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Coins")
            .field("address", &self.address())
            .field("spendable", &self.spendable.len())
            .finish()
    }
}

impl Coins {
    /// A new random key without coins.
    pub fn new(chain: Chain) -> Self {
        let key = SecretKey::new(&mut rand::thread_rng());
        let secp = Secp256k1::new();
        let public_key = CompressedPublicKey(key.public_key(&secp));
        Self { secp, key, public_key, chain, spendable: Vec::new() }
    }

    /// The P2WPKH address of the key.
    pub fn address(&self) -> Address {
        Address::p2wpkh(&self.public_key, self.chain.network())
    }

    /// The script of [`address`](Self::address).
    pub fn script(&self) -> ScriptBuf {
        self.address().script_pubkey()
    }

    /// The private key, for a test that spends the coins elsewhere.
    pub fn private_key(&self) -> PrivateKey {
        PrivateKey::new(self.key, self.chain.network())
    }

    /// How many coins can be spent now.
    pub fn count(&self) -> usize {
        self.spendable.len()
    }

    /// The value of all coins that can be spent now.
    pub fn total(&self) -> Amount {
        self.spendable.iter().map(|coin| coin.value).sum()
    }

    /// Mines `blocks` to the key and 100 more on top, so that their rewards can be spent. Minutes on signet.
    ///
    /// # Errors
    /// When the node refuses, or is gone.
    pub fn fund(&mut self, node: &Node, blocks: u32) -> Result<()> {
        node.mine_to(&self.script(), blocks)?;
        node.mine(COINBASE_MATURITY)?;
        self.refresh(node)
    }

    /// Reads from the node which coins can be spent: confirmed, mature, and not spent in the mempool.
    ///
    /// # Errors
    /// When the node is gone.
    pub fn refresh(&mut self, node: &Node) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Scan {
            height: u32,
            unspents: Vec<Unspent>,
        }
        #[derive(serde::Deserialize)]
        struct Unspent {
            txid: Txid,
            vout: u32,
            #[serde(with = "bitcoin::amount::serde::as_btc")]
            amount: Amount,
            coinbase: bool,
            height: u32,
        }
        let descriptor = format!("raw({})", self.script().to_hex_string());
        let scan: Scan = node.request("scantxoutset", &[json!("start"), json!([descriptor])])?;
        let mature = |unspent: &Unspent| !unspent.coinbase || scan.height - unspent.height + 1 >= COINBASE_MATURITY;
        let confirmed: Vec<Coin> = scan
            .unspents
            .iter()
            .filter(|unspent| mature(unspent))
            .map(|unspent| Coin { outpoint: OutPoint::new(unspent.txid, unspent.vout), value: unspent.amount })
            .collect();
        let spent = spent_in_mempool(node, &confirmed)?;
        self.spendable = confirmed.into_iter().filter(|coin| !spent.contains(&coin.outpoint)).collect();
        // Largest first: `take` looks from the end, so that small coins go before large ones.
        self.spendable.sort_by_key(|coin| std::cmp::Reverse(coin.value));
        Ok(())
    }

    /// Broadcasts a payment of `value` to `script` at the fee rate; what is left over returns to the key once
    /// a block confirms it.
    ///
    /// # Errors
    /// When no single coin is large enough, or the node refuses the transaction.
    pub fn spend(&mut self, node: &Node, script: &Script, value: Amount, fee_rate: FeeRate) -> Result<Txid> {
        let payment = TxOut { value, script_pubkey: script.to_owned() };
        let mut transaction = self.unsigned(vec![payment, TxOut { value: Amount::ZERO, script_pubkey: self.script() }]);
        let coin = self.take(node, value + self.fee(&transaction, fee_rate))?;
        let left = coin.value - value - self.fee(&transaction, fee_rate);
        if left >= SMALLEST_CHANGE {
            transaction.output[1].value = left;
        } else {
            transaction.output.pop();
        }
        self.broadcast(node, transaction, &coin)
    }

    /// Broadcasts a payment of one whole coin, less the fee, to a script that nobody has the key of.
    ///
    /// # Errors
    /// When there is no coin that pays for the fee, or the node refuses the transaction.
    pub fn burn(&mut self, node: &Node, fee_rate: FeeRate) -> Result<Txid> {
        let mut transaction = self.unsigned(vec![TxOut { value: Amount::ZERO, script_pubkey: throwaway_script() }]);
        let fee = self.fee(&transaction, fee_rate);
        let coin = self.take(node, fee + SMALLEST_CHANGE)?;
        transaction.output[0].value = coin.value - fee;
        self.broadcast(node, transaction, &coin)
    }

    /// Makes sure that there are at least `count` confirmed coins, where needed by splitting large ones and
    /// mining one block.
    ///
    /// # Errors
    /// When the coins are too few or too small, or the node refuses.
    pub fn split(&mut self, node: &Node, count: usize) -> Result<()> {
        self.refresh(node)?;
        let rate = FeeRate::from_sat_per_vb_u32(2);
        let mut missing = count.saturating_sub(self.count());
        if missing == 0 {
            return Ok(());
        }
        while missing > 0 {
            // The coin that is split is gone, so one more than is missing must come out of it.
            let parts = (missing + 1).min(MAX_SPLIT);
            let empty = TxOut { value: Amount::ZERO, script_pubkey: self.script() };
            let mut transaction = self.unsigned(vec![empty; parts]);
            let fee = self.fee(&transaction, rate);
            let needed = SMALLEST_PART * parts as u64 + fee;
            // Refreshed above, so the largest is first.
            if self.spendable.first().is_none_or(|coin| coin.value < needed) {
                return Err(self.too_few(needed));
            }
            let coin = self.spendable.remove(0);
            let part = (coin.value - fee) / parts as u64;
            transaction.output.iter_mut().for_each(|output| output.value = part);
            self.broadcast(node, transaction, &coin)?;
            missing -= parts - 1;
        }
        node.mine(1)?;
        self.refresh(node)
    }

    /// Broadcasts `count` independent transactions at the fee rates in turn. Mines one block first where it
    /// takes more coins than there are.
    ///
    /// # Errors
    /// When the coins are too few or too small, the list of rates is empty, or the node refuses.
    pub fn fill_mempool(&mut self, node: &Node, count: usize, fee_rates: &[FeeRate]) -> Result<Vec<Txid>> {
        self.split(node, count)?;
        fee_rates.iter().cycle().take(count).map(|&rate| self.burn(node, rate)).collect()
    }

    /// Takes the smallest coin of at least `needed`, after another look at the chain where there is none.
    fn take(&mut self, node: &Node, needed: Amount) -> Result<Coin> {
        let enough = |coin: &Coin| coin.value >= needed;
        if !self.spendable.iter().any(enough) {
            self.refresh(node)?;
        }
        match self.spendable.iter().rposition(enough) {
            Some(position) => Ok(self.spendable.remove(position)),
            None => Err(self.too_few(needed)),
        }
    }

    fn too_few(&self, needed: Amount) -> Error {
        Error::TooFewCoins { needed, available: self.total(), count: self.count() }
    }

    fn unsigned(&self, output: Vec<TxOut>) -> Transaction {
        let input = TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::new(),
        };
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output }
    }

    /// The fee of the signed transaction: signatures are ground to 71 bytes, so its weight is known before.
    fn fee(&self, unsigned: &Transaction, rate: FeeRate) -> Amount {
        let mut sized = unsigned.clone();
        sized.input[0].witness = Witness::from_slice(&[&[0; 71][..], &[0; 33][..]]);
        rate.fee_wu(sized.weight()).unwrap_or(Amount::MAX_MONEY)
    }

    fn broadcast(&self, node: &Node, mut transaction: Transaction, coin: &Coin) -> Result<Txid> {
        transaction.input[0].previous_output = coin.outpoint;
        let sighash = SighashCache::new(&transaction)
            .p2wpkh_signature_hash(0, &self.script(), coin.value, EcdsaSighashType::All)
            .expect("input 0 exists and the script is P2WPKH");
        let signature = bitcoin::ecdsa::Signature {
            signature: self.secp.sign_ecdsa_low_r(&Message::from(sighash), &self.key),
            sighash_type: EcdsaSighashType::All,
        };
        transaction.input[0].witness = Witness::p2wpkh(&signature, &self.public_key.0);
        // The zero lifts the node's limit on the fee rate, which is the caller's choice here.
        let hex = bitcoin::consensus::encode::serialize_hex(&transaction);
        node.request("sendrawtransaction", &[hex.into(), 0.into()])
    }
}

/// Which of the coins a transaction in the mempool spends.
fn spent_in_mempool(node: &Node, coins: &[Coin]) -> Result<HashSet<OutPoint>> {
    #[derive(serde::Deserialize)]
    struct Prevout {
        txid: Txid,
        vout: u32,
        spendingtxid: Option<Txid>,
    }
    if coins.is_empty() {
        return Ok(HashSet::new());
    }
    let outpoints: Vec<_> =
        coins.iter().map(|coin| json!({"txid": coin.outpoint.txid, "vout": coin.outpoint.vout})).collect();
    let prevouts: Vec<Prevout> = node.request("gettxspendingprevout", &[json!(outpoints)])?;
    let spent = prevouts.iter().filter(|prevout| prevout.spendingtxid.is_some());
    Ok(spent.map(|prevout| OutPoint::new(prevout.txid, prevout.vout)).collect())
}
