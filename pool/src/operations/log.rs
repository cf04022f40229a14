//! Payouts in the log.

use payouts::payout::PayoutEvent;
use tracing::{error, info, warn};

/// Writes what a payer did to the log.
pub fn tell(event: &PayoutEvent) {
    match event {
        PayoutEvent::ListsUnusable { reason } => {
            error!(reason, "incident: nothing is paid until the lists are in order; mining and crediting go on");
        }
        PayoutEvent::Found { account, restraint } => {
            warn!(%account, restraint = restraint.as_str(), "screening found an account: `adit screening status`");
        }
        PayoutEvent::GivenBack { batch } => {
            warn!(batch = batch.get(), "payout given back before it was signed: it paid whom screening found");
        }
        PayoutEvent::Withheld { batch } => {
            error!(batch = batch.get(), "incident: a signed payout is withheld: it pays whom screening found");
        }
        PayoutEvent::Created { batch, txid, outputs, paid, network_fee } => {
            info!(batch = batch.get(), %txid, outputs, %paid, %network_fee, "payout created");
        }
        PayoutEvent::Broadcast { batch, txid } => info!(batch = batch.get(), %txid, "payout broadcast"),
        PayoutEvent::Confirmed { batch, txid, block, records } => {
            info!(batch = batch.get(), %txid, block_hash = %block.hash, records, "payout confirmed and recorded");
        }
        PayoutEvent::Reversed { batch, txid, block } => {
            warn!(batch = batch.get(), %txid, block_hash = %block.hash, "payout's block left the chain, sending it again");
        }
        PayoutEvent::Refused { batch, txid, reason } => {
            warn!(batch = batch.get(), %txid, reason, "node does not take the payout now, will send it again");
        }
        PayoutEvent::AwaitsApproval { batch } => {
            info!(batch = batch.get(), "payout waits for approval: `adit payout approve`");
        }
        PayoutEvent::AwaitsSignature { batch, txid } => {
            info!(batch = batch.get(), %txid, "payout waits for a signature: `adit payout export-psbt`");
        }
        PayoutEvent::Conflicted { batch, by, depth } => {
            error!(batch = batch.get(), %by, depth, "incident: another transaction has spent a payout's coins");
        }
        PayoutEvent::Replaced { batch, by, loss } => {
            error!(batch = batch.get(), %by, %loss, "incident: payout given up, its coins are lost; its balances are due again");
        }
        PayoutEvent::Swept { accounts } => info!(accounts, "credits of restrained accounts kept back"),
        PayoutEvent::Waiting { accounts, due } => info!(accounts, %due, "payouts wait for coins"),
    }
}
