//! The payer as the config wants it.

use std::sync::Arc;

use bitcoin::FeeRate;
use bitcoincore_rpc::Client;
use payouts::{
    payout::{Payer, PayoutPolicy},
    store::Store,
    wallet::{Keys, Wallet},
};

use crate::config::PayoutConfig;

/// Opens the wallet, and the payer that the config describes.
///
/// # Errors
///
/// When store or node fail, or the stored wallet belongs to other keys.
pub async fn open_payer(
    config: &PayoutConfig,
    store: Arc<dyn Store>,
    keys: Keys,
    rpc: Arc<Client>,
) -> anyhow::Result<Payer> {
    let wallet = Wallet::open(Arc::clone(&store), keys, Arc::clone(&rpc)).await?;
    Ok(Payer::new(store, wallet, rpc, policy(config)))
}

fn policy(config: &PayoutConfig) -> PayoutPolicy {
    PayoutPolicy {
        schedule: config.schedule,
        threshold: config.threshold,
        approval: config.approval,
        fee_payer: config.fee_payer,
        confirm_within_blocks: config.fee_target_blocks,
        fallback_fee_rate: fee_rate(config.fallback_fee_rate_sat_per_vb),
        min_fee_rate: fee_rate(config.min_fee_rate_sat_per_vb),
        max_fee_rate: fee_rate(config.max_fee_rate_sat_per_vb),
        max_outputs: config.max_outputs,
    }
}

fn fee_rate(sat_per_vb: u64) -> FeeRate {
    FeeRate::from_sat_per_vb(sat_per_vb).unwrap_or(FeeRate::MAX)
}
