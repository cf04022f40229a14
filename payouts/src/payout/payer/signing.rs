//! Signing elsewhere, by file: the transaction goes out, the signatures come in.

use bitcoin::{Psbt, Transaction};

use super::{Payer, PayoutError, orders};
use crate::{
    clock::now_ms,
    export::screened::Moment,
    payout::{AttemptStage, Batch, BatchApproval, BatchEvent, BatchEventKind, BatchId, BatchState, Outcome, Refusal},
    wallet::BadSignature,
};

impl Payer {
    /// Returns a batch's newest transaction, unsigned, with what is needed to sign it elsewhere (BIP 174): what its
    /// inputs spend, and where the keys derive from.
    ///
    /// # Errors
    ///
    /// If the store fails, or the batch is unknown, at its end, not approved, or signed.
    pub async fn export_psbt(&mut self, id: BatchId) -> Result<Vec<u8>, PayoutError> {
        let batch = self.batch(id).await?;
        self.check_signable(&batch)?;
        if batch.newest().stage != AttemptStage::Created {
            return Err(Refusal::NothingToSign(id).into());
        }
        if let Err(unusable) = self.screening.standing(now_ms()) {
            return Err(Refusal::NotScreened(unusable.to_string()).into());
        }
        self.read_journal().await?;
        let screened = self.screen_batch(&batch, Moment::Broadcast).ok_or(Refusal::Found(id))?;
        self.record(&screened).await?;
        // On record before it is out of hand.
        let event = BatchEvent { kind: BatchEventKind::Exported, at_ms: now_ms(), note: String::new() };
        self.store.note_batch(id, &event).await?;
        Ok(batch.newest().psbt.clone())
    }

    /// Takes in the signatures of a batch's newest transaction, from one file or, if each of several keys has signed
    /// its own, from several. They are taken only if they complete exactly the transaction that was exported. The next
    /// step sends it.
    ///
    /// # Errors
    ///
    /// If the store fails; if the batch is unknown, at its end or not approved; if a file holds another transaction;
    /// or if a signature is missing or wrong.
    pub async fn import_psbt(&mut self, id: BatchId, files: &[Vec<u8>]) -> Result<Outcome, PayoutError> {
        let batch = self.batch(id).await?;
        self.check_signable(&batch)?;
        let attempt = batch.newest();
        let mut gathered = attempt.unsigned().ok_or(PayoutError::Transaction(id))?;
        for bytes in files {
            let signed = Psbt::deserialize(bytes).map_err(|error| Refusal::NotPsbt(error.to_string()))?;
            if let Some(difference) = difference(&gathered.unsigned_tx, &signed.unsigned_tx) {
                return Err(Refusal::OtherTransaction { batch: id, txid: attempt.txid, difference }.into());
            }
            gather(&mut gathered, signed);
        }
        if attempt.stage != AttemptStage::Created {
            return Ok(Outcome::Already);
        }
        let transaction = self.wallet.finish(gathered)?.map_err(|bad| match bad {
            BadSignature::Missing(input) => Refusal::SignatureMissing(input),
            BadSignature::Wrong(input, reason) => Refusal::SignatureWrong { input, reason },
        })?;
        let number = attempt.number;
        self.store_signed(batch, number, transaction).await?;
        Ok(Outcome::Done)
    }

    fn check_signable(&self, batch: &Batch) -> Result<(), PayoutError> {
        if batch.state != BatchState::Open {
            return Err(orders::ended(batch).into());
        }
        if batch.approval == BatchApproval::Awaited {
            return Err(Refusal::NotApproved(batch.id).into());
        }
        Ok(())
    }
}

/// Takes the signatures over, and nothing else: what is spent and paid stays what was stored here.
fn gather(into: &mut Psbt, signed: Psbt) {
    for (into, signed) in into.inputs.iter_mut().zip(signed.inputs) {
        into.partial_sigs.extend(signed.partial_sigs);
        into.tap_script_sigs.extend(signed.tap_script_sigs);
        into.tap_key_sig = signed.tap_key_sig.or(into.tap_key_sig.take());
        into.final_script_witness = signed.final_script_witness.or(into.final_script_witness.take());
    }
}

/// Says in what another transaction differs from ours.
fn difference(ours: &Transaction, other: &Transaction) -> Option<String> {
    if ours == other {
        return None;
    }
    if ours.version != other.version {
        return Some(format!("its version is {}", other.version));
    }
    if ours.lock_time != other.lock_time {
        return Some(format!("its lock time is {}", other.lock_time));
    }
    if ours.input.len() != other.input.len() {
        return Some(format!("it has {} inputs instead of {}", other.input.len(), ours.input.len()));
    }
    if ours.output.len() != other.output.len() {
        return Some(format!("it has {} outputs instead of {}", other.output.len(), ours.output.len()));
    }
    for (index, (ours, other)) in ours.input.iter().zip(&other.input).enumerate() {
        if ours.previous_output != other.previous_output {
            return Some(format!("input {index} spends {}", other.previous_output));
        }
        if ours != other {
            return Some(format!("input {index} has another sequence or a script"));
        }
    }
    for (index, (ours, other)) in ours.output.iter().zip(&other.output).enumerate() {
        if ours.value != other.value {
            return Some(format!("output {index} pays {} instead of {}", other.value, ours.value));
        }
        if ours.script_pubkey != other.script_pubkey {
            return Some(format!("output {index} pays somebody else"));
        }
    }
    Some("it differs".to_owned())
}
