//! Replacing a batch's transaction by one that pays the network more (BIP 125).

use std::sync::Arc;

use bitcoin::{Amount, FeeRate, Psbt, Txid};

use super::{Payer, PayoutError, orders, prepare};
use crate::{
    clock::now_ms,
    payout::{Batch, BatchId, BatchState, Refusal, node},
    wallet::{Coins, Price, WalletError, blocking},
};

/// A transaction that replaces another of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The attempt's number.
    pub attempt: u32,
    /// The transaction.
    pub txid: Txid,
    /// What it pays the network.
    pub network_fee: Amount,
}

impl Payer {
    /// Replaces a batch's transaction by one that pays the same outputs and spends the same coins, and more if they are
    /// needed, at a greater fee rate. The pool bears the difference. The new one is stored as the batch's next attempt;
    /// the next step signs and sends it. Whichever of them confirms is booked.
    ///
    /// # Errors
    ///
    /// If store, wallet or node fail; if the batch is not waiting for a block; if the rate is above the greatest that
    /// is allowed, or too low for nodes to take the replacement; or if there are not coins enough.
    pub async fn bump(&mut self, id: BatchId, fee_rate: FeeRate) -> Result<Replacement, PayoutError> {
        self.wallet.sync(&self.rpc).await?;
        let batch = self.batch(id).await?;
        self.check_replaceable(&batch, fee_rate)?;
        let newest = batch.newest();
        let before = newest.unsigned().ok_or(PayoutError::Transaction(id))?;
        let recipients: Vec<_> =
            batch.outputs.iter().map(|output| (output.due.script_pubkey.clone(), output.pays())).collect();
        let draft = self.wallet.draft(&recipients, Price::Rate(fee_rate), Coins::With(&before))?;
        let draft = draft.ok_or(Refusal::NoCoins(id))?;
        if let Err(error) = self.check_replacement(&batch, &draft).await {
            self.wallet.discard(&draft);
            return Err(error);
        }
        let proposal = self.wallet.reserve(draft)?;
        let attempt = prepare::new_attempt(newest.number + 1, &proposal, now_ms());
        let added = self.store.add_attempt(id, &attempt, &proposal.change).await;
        if let Err(error) = added {
            self.wallet.reload().await?;
            return Err(error.into());
        }
        self.wallet.stored();
        Ok(Replacement { attempt: attempt.number, txid: attempt.txid, network_fee: attempt.network_fee })
    }

    fn check_replaceable(&self, batch: &Batch, fee_rate: FeeRate) -> Result<(), PayoutError> {
        let max = self.policy.max_fee_rate;
        if fee_rate > max {
            return Err(Refusal::FeeRateTooHigh { wanted: fee_rate, max }.into());
        }
        if batch.state != BatchState::Open || self.in_chain(batch).is_some() {
            return Err(orders::ended(batch).into());
        }
        if batch.newest().transaction().is_none() {
            return Err(Refusal::NothingToReplace(batch.id).into());
        }
        match self.conflict(batch.id, &batch.attempts)? {
            Some(conflict) => Err(Refusal::Conflicted(batch.id, conflict.by).into()),
            None => Ok(()),
        }
    }

    /// Makes sure that a replacement pays the same outputs, can never confirm beside any attempt before it, and pays
    /// enough more for nodes to take it.
    async fn check_replacement(&self, batch: &Batch, draft: &Psbt) -> Result<(), PayoutError> {
        prepare::check_outputs(batch.id, &batch.outputs, draft)?;
        let spends = |outpoint| draft.unsigned_tx.input.iter().any(|input| input.previous_output == outpoint);
        for attempt in &batch.attempts {
            let before = attempt.unsigned().ok_or(PayoutError::Transaction(batch.id))?;
            if !before.unsigned_tx.input.iter().any(|input| spends(input.previous_output)) {
                return Err(PayoutError::Transaction(batch.id));
            }
        }
        let rpc = Arc::clone(&self.rpc);
        let incremental = blocking(move || Ok::<_, WalletError>(node::incremental_fee_rate(&rpc))).await?;
        let own = incremental.fee_wu(self.wallet.weight_when_signed(draft)?).unwrap_or(Amount::MAX_MONEY);
        // Also more than any that was sent: each of them may be the one that the network has.
        let before = batch.attempts.iter().map(|attempt| attempt.network_fee).max().unwrap_or(Amount::ZERO);
        let least = before + own.max(Amount::ONE_SAT);
        let offered = draft.fee().map_err(|error| WalletError::Sign(error.to_string()))?;
        match offered >= least {
            true => Ok(()),
            false => Err(Refusal::FeeTooLow { batch: batch.id, least, offered }.into()),
        }
    }
}
