//! What a run would pay if it were asked for now. Nothing of it is done, stored or sent.

use bitcoin::{Amount, FeeRate, ScriptBuf};

use super::{Payer, PayoutError, Selection};
use crate::{
    clock::now_ms,
    payout::{Due, FeePayer, fee},
    wallet::{Coins, Price},
};

/// What a run would pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Whom the next transaction would pay, smallest first.
    pub outputs: Vec<PreviewOutput>,
    /// What it would pay the network, about: fees move from minute to minute.
    pub network_fee: Amount,
    /// Its fee rate.
    pub fee_rate: FeeRate,
    /// Balances that are due and are not in it: for a further transaction, or until there are coins.
    pub left: Vec<Due>,
    /// Why nothing is paid now whatever is due, if so.
    pub obstacle: Option<String>,
}

/// An output that a run would make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewOutput {
    /// The balance that it takes.
    pub due: Due,
    /// What of it goes to the network.
    pub fee: Amount,
}

impl Payer {
    /// Works out what a run would pay now, by the wallet's last look at the chain and what screening has found so far.
    ///
    /// # Errors
    ///
    /// If store, wallet or node fail.
    pub async fn preview(&mut self, selection: Selection) -> Result<Preview, PayoutError> {
        let due = self.selected(selection).await?;
        let fee_rate = self.fee_rate().await?;
        let obstacle = self.screening.standing(now_ms()).err().map(|unusable| unusable.to_string());
        let mut count = due.len().min(self.policy.max_outputs);
        while count > 0 {
            let recipients: Vec<_> = due[..count].iter().map(|due| (due.script_pubkey.clone(), due.amount)).collect();
            if let Some(draft) = self.wallet.draft(&recipients, Price::Rate(fee_rate), Coins::Any)? {
                let network_fee = draft.fee().unwrap_or_default();
                self.wallet.discard(&draft);
                let outputs = self.outputs(&due[..count], network_fee);
                return Ok(Preview { outputs, network_fee, fee_rate, left: due[count..].to_vec(), obstacle });
            }
            // As a run does: half as many, until the coins suffice.
            count /= 2;
        }
        Ok(Preview { outputs: Vec::new(), network_fee: Amount::ZERO, fee_rate, left: due, obstacle })
    }

    fn outputs(&self, due: &[Due], network_fee: Amount) -> Vec<PreviewOutput> {
        let scripts: Vec<&ScriptBuf> = due.iter().map(|due| &due.script_pubkey).collect();
        let parts = match self.policy.fee_payer {
            FeePayer::Pool => vec![Amount::ZERO; due.len()],
            FeePayer::Miners => fee::split(network_fee, &scripts),
        };
        due.iter().cloned().zip(parts).map(|(due, fee)| PreviewOutput { due, fee }).collect()
    }
}
