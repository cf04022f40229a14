//! Transactions that spend the pool's coins: made, reserved, signed here or elsewhere, and given up.

use bdk_wallet::{
    KeychainKind,
    error::CreateTxError,
    miniscript::interpreter::{Interpreter, KeySigPair, SatisfiedConstraint},
};
use bitcoin::{
    Amount, EcdsaSighashType, FeeRate, OutPoint, Psbt, ScriptBuf, TapSighashType, Transaction, TxOut, Weight,
    sighash::Prevouts,
};

use super::{Keys, Wallet, WalletError, locked};

/// The heaviest transaction that nodes pass on (Bitcoin Core's constant of this name).
const MAX_STANDARD_TX_WEIGHT: Weight = Weight::from_wu(400_000);
/// What a transaction with witnesses weighs more, once.
const SEGWIT_MARKER_WU: u64 = 2;
/// What an input without a witness weighs in a transaction that has others: the number of its witness's items.
const EMPTY_WITNESS_WU: u64 = 1;

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

/// What a transaction pays the network.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Price {
    /// By its weight.
    Rate(FeeRate),
    /// So much. What is left over and too little for a change output comes on top.
    Fixed(Amount),
}

/// The coins that a transaction spends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Coins<'a> {
    /// Any that are confirmed, mature and not reserved.
    Any,
    /// Those of another transaction, and others if they are needed.
    With(&'a Psbt),
    /// Those of another transaction alone.
    Only(&'a Psbt),
}

/// Why a signature from elsewhere is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadSignature {
    /// An input is not signed, or not by enough keys.
    Missing(usize),
    /// An input's signature is wrong, for this reason.
    Wrong(usize, String),
}

impl Wallet {
    /// Makes an unsigned transaction that pays the recipients in the given order, from confirmed coins, and reserves
    /// its coins.
    ///
    /// Returns `None` if there are not coins enough, or too many of them for a transaction that nodes pass on. Store
    /// the proposal's change with the transaction, then call [`Wallet::stored`]; if that failed, [`Wallet::reload`].
    #[cfg(test)]
    pub(crate) fn propose(
        &mut self,
        recipients: Vec<(ScriptBuf, Amount)>,
        fee_rate: FeeRate,
    ) -> Result<Option<Proposal>, WalletError> {
        let draft = self.draft(&recipients, Price::Rate(fee_rate), Coins::Any)?;
        draft.map(|psbt| self.reserve(psbt)).transpose()
    }

    /// Makes an unsigned transaction as [`Wallet::propose`] does, and reserves nothing yet: give the draft to
    /// [`Wallet::reserve`] or to [`Wallet::discard`].
    pub(crate) fn draft(
        &mut self,
        recipients: &[(ScriptBuf, Amount)],
        price: Price,
        spent: Coins<'_>,
    ) -> Result<Option<Psbt>, WalletError> {
        let mut coins = locked(&self.coins);
        let with = match spent {
            Coins::Any => None,
            Coins::With(psbt) | Coins::Only(psbt) => Some(psbt),
        };
        let mut required = Vec::new();
        for (input, of) in with.into_iter().flat_map(|psbt| psbt.unsigned_tx.input.iter().zip(&psbt.inputs)) {
            required.push((input.previous_output, of.clone(), satisfaction_weight(&coins, of)?));
        }
        let mut builder = coins.build_tx();
        builder.set_recipients(recipients.to_vec()).ordering(bdk_wallet::TxOrdering::Untouched).exclude_unconfirmed();
        // Not as coins of the wallet: it may take them for spent by a transaction that a reorganisation threw out.
        for (outpoint, input, weight) in required {
            let added = builder.add_foreign_utxo(outpoint, input, weight);
            added.map_err(|error| WalletError::Sign(error.to_string()))?;
        }
        if matches!(spent, Coins::Only(_)) {
            builder.manually_selected_only();
        }
        match price {
            Price::Rate(rate) => builder.fee_rate(rate),
            Price::Fixed(amount) => builder.fee_absolute(amount),
        };
        let psbt = match builder.finish() {
            Ok(psbt) => psbt,
            Err(CreateTxError::CoinSelection(_)) => return Ok(None),
            Err(error) => return Err(WalletError::Create(Box::new(error))),
        };
        // What is staged from here on must not be saved before the store has the transaction.
        self.proposed = true;
        drop(coins);
        if self.weight_when_signed(&psbt)? > MAX_STANDARD_TX_WEIGHT {
            self.discard(&psbt);
            return Ok(None);
        }
        Ok(Some(psbt))
    }

    /// Locks the coins of a draft: they are spent by this transaction or, after a reorganisation, by it again.
    pub(crate) fn reserve(&mut self, psbt: Psbt) -> Result<Proposal, WalletError> {
        let mut coins = locked(&self.coins);
        self.proposed = true;
        for input in &psbt.unsigned_tx.input {
            coins.lock_outpoint(input.previous_output);
        }
        let fee = psbt.fee().map_err(|error| WalletError::Sign(error.to_string()))?;
        let change = serde_json::to_string(&coins.staged().cloned().unwrap_or_default())?;
        Ok(Proposal { psbt, fee, change })
    }

    /// Gives a draft up, so that its change address can be used by the next.
    pub(crate) fn discard(&mut self, psbt: &Psbt) {
        let mut coins = locked(&self.coins);
        for output in &psbt.unsigned_tx.output {
            if let Some((keychain, index)) = coins.derivation_of_spk(output.script_pubkey.clone()) {
                coins.unmark_used(keychain, index);
            }
        }
    }

    /// Unlocks coins, and returns the wallet's changes to store with what frees them, in JSON. Store them, then call
    /// [`Wallet::stored`]; if that failed, [`Wallet::reload`].
    pub(crate) fn unlock(&mut self, outpoints: &[OutPoint]) -> Result<String, WalletError> {
        let mut coins = locked(&self.coins);
        self.proposed = true;
        for &outpoint in outpoints {
            coins.unlock_outpoint(outpoint);
        }
        Ok(serde_json::to_string(&coins.staged().cloned().unwrap_or_default())?)
    }

    /// Notes that the last change is stored.
    pub(crate) fn stored(&mut self) {
        self.coins().take_staged();
        self.proposed = false;
    }

    /// Returns what a draft weighs at most once it is signed.
    pub(crate) fn weight_when_signed(&self, psbt: &Psbt) -> Result<Weight, WalletError> {
        let coins = self.coins();
        let mut witnesses = Weight::ZERO;
        for input in &psbt.inputs {
            witnesses += satisfaction_weight(&coins, input)?;
        }
        Ok(weight_when_signed(&psbt.unsigned_tx, witnesses))
    }

    /// Returns what a change output weighs.
    pub(crate) fn change_weight(&self) -> Weight {
        let script_pubkey = self.coins().peek_address(KeychainKind::Internal, 0).script_pubkey();
        TxOut { value: Amount::ZERO, script_pubkey }.weight()
    }

    /// Tells whether transactions are signed here.
    pub fn signs_here(&self) -> bool {
        matches!(self.keys, Keys::Here(_))
    }

    /// Signs a proposed transaction; nothing if the keys are elsewhere.
    pub(crate) fn sign(&self, mut psbt: Psbt) -> Result<Option<Transaction>, WalletError> {
        let Keys::Here(key) = &self.keys else { return Ok(None) };
        key.add_signatures(&mut psbt).map_err(WalletError::Sign)?;
        let finished = self.finish(psbt)?;
        finished.map(Some).map_err(|bad| WalletError::Sign(format!("{bad:?}")))
    }

    /// Makes the signed transaction from the signatures that a proposed one has gathered, and checks each.
    pub(crate) fn finish(&self, mut psbt: Psbt) -> Result<Result<Transaction, BadSignature>, WalletError> {
        let mut prevouts = Vec::with_capacity(psbt.inputs.len());
        for input in &psbt.inputs {
            prevouts.push(spent_output(input).cloned().ok_or_else(no_witness_utxo)?);
        }
        // Whether all inputs could be finalized shows below, and which could not.
        let coins = self.coins();
        coins.try_finalize_psbt(&mut psbt).map_err(|error| WalletError::Sign(error.to_string()))?;
        let bare = psbt.inputs.iter().position(|input| input.final_script_witness.is_none());
        if let Some(input) = bare {
            let signed = &psbt.inputs[input];
            return Ok(Err(match signed.partial_sigs.is_empty() && signed.tap_key_sig.is_none() {
                true => BadSignature::Missing(input),
                false => first_wrong(&psbt, input, &prevouts).unwrap_or(BadSignature::Missing(input)),
            }));
        }
        let transaction = psbt.extract_tx_unchecked_fee_rate();
        for input in 0..transaction.input.len() {
            if let Err(reason) = check_input(&transaction, input, &prevouts, coins.secp_ctx()) {
                return Ok(Err(BadSignature::Wrong(input, reason)));
            }
        }
        Ok(Ok(transaction))
    }
}

/// Says which of an input's partial signatures is not one of its key over this transaction.
fn first_wrong(psbt: &Psbt, input: usize, prevouts: &[TxOut]) -> Option<BadSignature> {
    let secp = bitcoin::secp256k1::Secp256k1::verification_only();
    let mut cache = bitcoin::sighash::SighashCache::new(&psbt.unsigned_tx);
    let of = &psbt.inputs[input];
    let (spent, wrong) = (&prevouts[input], |reason: &str| Some(BadSignature::Wrong(input, reason.to_owned())));
    for (key, signature) in &of.partial_sigs {
        let hash = match (&of.witness_script, spent.script_pubkey.is_p2wpkh()) {
            (_, true) => {
                cache.p2wpkh_signature_hash(input, &spent.script_pubkey, spent.value, signature.sighash_type).ok()
            }
            (Some(script), false) => {
                cache.p2wsh_signature_hash(input, script, spent.value, signature.sighash_type).ok()
            }
            (None, false) => None,
        };
        let message = hash.map(bitcoin::secp256k1::Message::from);
        if message.is_none_or(|message| secp.verify_ecdsa(&message, &signature.signature, &key.inner).is_err()) {
            return wrong(&format!("the signature of key {key} does not fit this transaction"));
        }
    }
    None
}

/// Runs an input's witness against the script that it must satisfy, and makes sure that every signature covers all of
/// the transaction: one that leaves out inputs or outputs would let others change it.
fn check_input(
    transaction: &Transaction,
    input: usize,
    prevouts: &[TxOut],
    secp: &bitcoin::secp256k1::Secp256k1<bitcoin::secp256k1::All>,
) -> Result<(), String> {
    let txin = &transaction.input[input];
    let script = &prevouts[input].script_pubkey;
    let interpreter =
        Interpreter::from_txdata(script, &txin.script_sig, &txin.witness, txin.sequence, transaction.lock_time);
    let interpreter = interpreter.map_err(|error| error.to_string())?;
    let prevouts = Prevouts::All(prevouts);
    for constraint in interpreter.iter(secp, transaction, input, &prevouts) {
        let signature = match constraint.map_err(|error| error.to_string())? {
            SatisfiedConstraint::PublicKey { key_sig } | SatisfiedConstraint::PublicKeyHash { key_sig, .. } => key_sig,
            SatisfiedConstraint::HashLock { .. }
            | SatisfiedConstraint::RelativeTimelock { .. }
            | SatisfiedConstraint::AbsoluteTimelock { .. } => continue,
        };
        let covers_all = match signature {
            KeySigPair::Ecdsa(_, signature) => signature.sighash_type == EcdsaSighashType::All,
            KeySigPair::Schnorr(_, signature) => {
                matches!(signature.sighash_type, TapSighashType::Default | TapSighashType::All)
            }
        };
        if !covers_all {
            return Err("a signature does not cover the whole transaction".to_owned());
        }
    }
    Ok(())
}

/// Returns what the witness of an input of ours weighs at most.
fn satisfaction_weight(coins: &bdk_wallet::Wallet, input: &bitcoin::psbt::Input) -> Result<Weight, WalletError> {
    let script = spent_output(input).map(|output| output.script_pubkey.clone()).ok_or_else(no_witness_utxo)?;
    let keychain = coins.derivation_of_spk(script).map_or(KeychainKind::External, |(keychain, _)| keychain);
    let weight = coins.public_descriptor(keychain).max_weight_to_satisfy();
    weight.map_err(|error| WalletError::Sign(error.to_string()))
}

fn spent_output(input: &bitcoin::psbt::Input) -> Option<&TxOut> {
    input.witness_utxo.as_ref()
}

fn no_witness_utxo() -> WalletError {
    WalletError::Sign("an input does not say what it spends".to_owned())
}

/// Returns what an unsigned transaction weighs once its inputs have their witnesses.
fn weight_when_signed(unsigned: &Transaction, witnesses: Weight) -> Weight {
    let inputs = unsigned.input.len() as u64;
    unsigned.weight() + witnesses + Weight::from_wu(SEGWIT_MARKER_WU + inputs * EMPTY_WITNESS_WU)
}

#[cfg(test)]
mod tests {
    use bitcoin::{TxIn, Witness, absolute::LockTime, transaction::Version};

    use super::*;

    #[test]
    fn the_weight_of_a_signed_transaction_is_foreseen() {
        let output = TxOut { value: Amount::ONE_SAT, script_pubkey: ScriptBuf::new() };
        let (version, lock_time) = (Version::TWO, LockTime::ZERO);
        let mut transaction = Transaction { version, lock_time, input: vec![TxIn::default(); 3], output: vec![output] };
        // What miniscript says of wpkh(): two items, a signature of 72 bytes and a key of 33, each with its length.
        let foreseen = weight_when_signed(&transaction, Weight::from_wu(3 * 107));
        for input in &mut transaction.input {
            input.witness = Witness::from_slice(&[vec![0; 72], vec![0; 33]]);
        }
        assert_eq!(transaction.weight(), foreseen);
    }
}
