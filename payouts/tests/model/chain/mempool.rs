//! What waits for a block, and what may: the rules of Bitcoin Core's mempool, as far as payouts meet them.

use std::collections::{BTreeMap, HashSet};

use bitcoin::{
    Amount, FeeRate, OutPoint, PublicKey, Script, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid,
    absolute::LockTime, ecdsa::Signature, hashes::Hash, secp256k1::Message, sighash::SighashCache, transaction,
};
use payouts::books::COINBASE_MATURITY;

use super::Chain;

/// What a theft pays the network.
const THEFT_FEE: Amount = Amount::from_sat(1_000);

/// Why a transaction is not taken, with Bitcoin Core's code and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is in the chain.
    InChain,
    /// It is waiting already.
    Waiting,
    /// An input is not there, or spent in the chain.
    Missing,
    /// An input is spent by a transaction that waits, and this one does not pay enough more (BIP 125).
    Conflict,
    /// An input is a coinbase that is too young.
    Immature,
    /// It pays more than it spends.
    Overspent,
    /// It pays too little for the mempool.
    Cheap,
    /// A signature is wrong.
    Signature,
}

impl Refusal {
    /// The code and the words of `sendrawtransaction`.
    pub(crate) fn answer(self) -> (i32, &'static str) {
        match self {
            Self::InChain => (-27, "Transaction outputs already in utxo set"),
            Self::Waiting => (-26, "txn-already-in-mempool"),
            Self::Missing => (-25, "bad-txns-inputs-missingorspent"),
            Self::Conflict => (-26, "insufficient fee, rejecting replacement"),
            Self::Immature => (-26, "bad-txns-premature-spend-of-coinbase"),
            Self::Overspent => (-26, "bad-txns-in-belowout"),
            Self::Cheap => (-26, "mempool min fee not met"),
            Self::Signature => (-26, "mandatory-script-verify-flag-failed"),
        }
    }
}

impl Chain {
    /// Forgets what waits, as a node does that was killed.
    pub(crate) fn forget_mempool(&mut self) {
        self.mempool.clear();
    }

    /// Takes in a transaction, as `sendrawtransaction` does; it replaces others if it pays enough more (BIP 125).
    pub(crate) fn accept(&mut self, tx: &Transaction) -> Result<Txid, Refusal> {
        let txid = tx.compute_txid();
        self.offered.insert(txid, tx.clone());
        let before = self.mempool.clone();
        let replaced = self.remove_rivals(tx);
        let taken = self.check(tx).and_then(|fee| {
            let least = |rate: FeeRate| rate.fee_wu(tx.weight()).expect("fees are small");
            if fee < least(self.floor) {
                return Err(Refusal::Cheap);
            }
            match replaced.is_some_and(|replaced| fee < replaced + least(FeeRate::BROADCAST_MIN)) {
                true => Err(Refusal::Conflict),
                false => Ok(txid),
            }
        });
        match taken {
            Ok(_) => self.mempool.push(tx.clone()),
            Err(_) => self.mempool = before,
        }
        taken
    }

    /// Lets one of the transactions that the node was ever given wait in the place of those that exclude it, as with a
    /// miner that knows only that one; false if there is none that another excludes.
    pub(crate) fn recall(&mut self, which: usize) -> bool {
        let waiting: HashSet<_> = self.mempool.iter().flat_map(|tx| &tx.input).map(|i| i.previous_output).collect();
        let txids: HashSet<_> = self.mempool.iter().map(Transaction::compute_txid).collect();
        let is_excluded = |tx: &&Transaction| tx.input.iter().any(|input| waiting.contains(&input.previous_output));
        let excluded = self.offered.iter().filter(|&(txid, _)| !txids.contains(txid)).map(|(_, tx)| tx);
        let excluded: Vec<_> = excluded.filter(is_excluded).cloned().collect();
        let Some(tx) = excluded.get(which % excluded.len().max(1)) else { return false };
        let before = self.mempool.clone();
        self.remove_rivals(tx);
        let is_back = self.check(tx).is_ok();
        match is_back {
            true => self.mempool.push(tx.clone()),
            false => self.mempool = before,
        }
        is_back
    }

    /// Lets somebody pay to a script out of a coin of another; false if there is none to spend.
    pub(crate) fn deposit(&mut self, from: &Script, to: &Script, amount: Amount) -> bool {
        let coins = self.coins.iter().filter(|(outpoint, coin)| {
            *coin.output.script_pubkey == *from && coin.output.value > amount && self.spendable(**outpoint).is_ok()
        });
        let Some((outpoint, value)) = coins.map(|(outpoint, coin)| (*outpoint, coin.output.value)).min() else {
            return false;
        };
        let input = TxIn { previous_output: outpoint, sequence: Sequence::MAX, ..TxIn::default() };
        let output = |value, script: &Script| TxOut { value, script_pubkey: script.to_owned() };
        let tx = Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: vec![output(amount, to), output(value - amount, from)],
        };
        // Anybody can spend what it spends.
        self.verified.insert(tx.compute_wtxid());
        self.deposits.insert(tx.compute_txid());
        self.mempool.push(tx);
        true
    }

    /// Spends a coin of the pool by a transaction that its payer did not make, in the place of what waits; false if the
    /// coin cannot be spent.
    pub(crate) fn steal(&mut self, outpoint: OutPoint, to: &Script) -> bool {
        let before = self.mempool.clone();
        let input = TxIn { previous_output: outpoint, sequence: Sequence::MAX, ..TxIn::default() };
        let mut tx = Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: Vec::new(),
        };
        self.remove_rivals(&tx);
        let Ok(coin) = self.spendable(outpoint) else {
            self.mempool = before;
            return false;
        };
        tx.output.push(TxOut { value: coin.value - THEFT_FEE, script_pubkey: to.to_owned() });
        // The thief has the key; whether it signs well is not what is tested.
        self.verified.insert(tx.compute_wtxid());
        self.thefts.insert(tx.compute_txid());
        self.mempool.push(tx);
        true
    }

    /// Takes what spends the same coins as a transaction off the mempool, and what depends on it. Returns what that
    /// paid in all; nothing if there was none.
    fn remove_rivals(&mut self, tx: &Transaction) -> Option<Amount> {
        let txid = tx.compute_txid();
        let spent: HashSet<_> = tx.input.iter().map(|input| input.previous_output).collect();
        let mut removed: BTreeMap<Txid, Amount> = BTreeMap::new();
        for waiting in &self.mempool {
            let other = waiting.compute_txid();
            let is_rival = |input: &TxIn| {
                spent.contains(&input.previous_output) || removed.contains_key(&input.previous_output.txid)
            };
            if other != txid && waiting.input.iter().any(is_rival) {
                removed.insert(other, self.fee(waiting));
            }
        }
        self.mempool.retain(|waiting| !removed.contains_key(&waiting.compute_txid()));
        (!removed.is_empty()).then(|| removed.into_values().sum())
    }

    /// Returns what a transaction that waits pays the network.
    fn fee(&self, tx: &Transaction) -> Amount {
        let value = |outpoint: OutPoint| match self.coins.get(&outpoint) {
            Some(coin) => coin.output.value,
            None => {
                let parent = self.mempool.iter().find(|parent| parent.compute_txid() == outpoint.txid);
                parent.expect("what waits can be mined").output[outpoint.vout as usize].value
            }
        };
        let spent: Amount = tx.input.iter().map(|input| value(input.previous_output)).sum();
        spent - tx.output.iter().map(|output| output.value).sum()
    }

    /// Returns what a transaction pays the network, if it can be mined after all that waits.
    pub(crate) fn check(&mut self, tx: &Transaction) -> Result<Amount, Refusal> {
        let txid = tx.compute_txid();
        if (0..tx.output.len() as u32).any(|vout| self.coins.contains_key(&OutPoint::new(txid, vout))) {
            return Err(Refusal::InChain);
        }
        if self.mempool.iter().any(|waiting| waiting.compute_txid() == txid) {
            return Err(Refusal::Waiting);
        }
        let mut spent = Vec::with_capacity(tx.input.len());
        for input in &tx.input {
            spent.push(self.spendable(input.previous_output)?);
        }
        let out: Amount = tx.output.iter().map(|output| output.value).sum();
        let value: Amount = spent.iter().map(|output| output.value).sum();
        let fee = value.checked_sub(out).ok_or(Refusal::Overspent)?;
        let signed = tx.compute_wtxid();
        if !self.verified.contains(&signed) {
            self.verify(tx, &spent)?;
            self.verified.insert(signed);
        }
        Ok(fee)
    }

    fn spendable(&self, outpoint: OutPoint) -> Result<TxOut, Refusal> {
        if self.mempool.iter().flat_map(|tx| &tx.input).any(|input| input.previous_output == outpoint) {
            return Err(Refusal::Conflict);
        }
        if let Some(coin) = self.coins.get(&outpoint) {
            let is_young = coin.is_coinbase && self.height() + 1 - coin.height < COINBASE_MATURITY;
            return if is_young { Err(Refusal::Immature) } else { Ok(coin.output.clone()) };
        }
        let parent = self.mempool.iter().find(|tx| tx.compute_txid() == outpoint.txid).ok_or(Refusal::Missing)?;
        parent.output.get(outpoint.vout as usize).cloned().ok_or(Refusal::Missing)
    }

    /// Checks the signatures; every coin of the pool is P2WPKH.
    fn verify(&self, tx: &Transaction, spent: &[TxOut]) -> Result<(), Refusal> {
        let mut hashes = SighashCache::new(tx);
        for (index, (input, output)) in tx.input.iter().zip(spent).enumerate() {
            let mut is_signed = || {
                let signature = Signature::from_slice(input.witness.nth(0)?).ok()?;
                let key = PublicKey::from_slice(input.witness.nth(1)?).ok()?;
                let script = ScriptBuf::new_p2wpkh(&key.wpubkey_hash().ok()?);
                let kind = signature.sighash_type;
                let hash = hashes.p2wpkh_signature_hash(index, &output.script_pubkey, output.value, kind).ok()?;
                let message = Message::from_digest(hash.to_byte_array());
                let is_right = self.secp.verify_ecdsa(&message, &signature.signature, &key.inner).is_ok();
                (is_right && script == output.script_pubkey && input.witness.len() == 2).then_some(())
            };
            is_signed().ok_or(Refusal::Signature)?;
        }
        Ok(())
    }

    /// Lets transactions wait again, those that still can.
    pub(super) fn refill(&mut self, transactions: Vec<Transaction>) {
        self.mempool.clear();
        for tx in transactions {
            if self.check(&tx).is_ok() {
                self.mempool.push(tx);
            }
        }
    }
}
