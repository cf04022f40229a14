//! What a run of payouts would pay now.

use payouts::{
    account::AccountId,
    payout::{Preview, PreviewOutput},
};
use serde::{Deserialize, Serialize};

/// What a run would pay now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PreviewReport {
    /// Whom the next transaction would pay, smallest first.
    pub outputs: Vec<PreviewOutputReport>,
    /// What it would pay them, the network's fee taken off.
    pub paid_sat: u64,
    /// What it would pay the network, about.
    pub network_fee_sat: u64,
    /// Its fee rate, satoshis for a thousand weight units.
    pub fee_rate_sat_per_kwu: u64,
    /// How many accounts are due and not in it: they need a further transaction, or more coins.
    pub left_accounts: usize,
    /// What these are due.
    pub left_sat: u64,
    /// Why nothing is paid now whatever is due; nothing if that is not so.
    pub obstacle: Option<String>,
}

/// An output that a run would make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PreviewOutputReport {
    /// The account.
    #[schema(value_type = i64)]
    pub account: AccountId,
    /// Its address.
    pub address: String,
    /// What is taken from its balance.
    pub taken_sat: u64,
    /// What of it goes to the network.
    pub fee_part_sat: u64,
}

impl From<Preview> for PreviewReport {
    fn from(preview: Preview) -> PreviewReport {
        let output = |PreviewOutput { due, fee }| PreviewOutputReport {
            account: due.account,
            address: due.address,
            taken_sat: due.amount.to_sat(),
            fee_part_sat: fee.to_sat(),
        };
        let outputs: Vec<_> = preview.outputs.into_iter().map(output).collect();
        PreviewReport {
            paid_sat: outputs.iter().map(|output| output.taken_sat.saturating_sub(output.fee_part_sat)).sum(),
            outputs,
            network_fee_sat: preview.network_fee.to_sat(),
            fee_rate_sat_per_kwu: preview.fee_rate.to_sat_per_kwu(),
            left_accounts: preview.left.len(),
            left_sat: preview.left.iter().map(|due| due.amount.to_sat()).sum(),
            obstacle: preview.obstacle,
        }
    }
}
