//! The payer as the config wants it.

use std::sync::Arc;

use bitcoin::FeeRate;
use bitcoincore_rpc::Client;
use payouts::{
    export::{party::Vault, rules::profile::PoolFact},
    payout::{Payer, PayoutPolicy, SalePolicy, Screening},
    store::Store,
    wallet::{Keys, Wallet},
};

use crate::{config::Config, screening::ListReader};

/// Opens the wallet, what is known of parties, and the payer that the config describes. It pays nobody until it has the
/// lists, which the reader that comes with it reads: the largest takes seconds, for which no miner should wait.
///
/// # Errors
///
/// When store or node fail, the stored wallet belongs to other keys, there is no list to screen payments by, or what is
/// known of parties cannot be opened.
pub async fn open_payer(
    config: &Config,
    store: Arc<dyn Store>,
    keys: Keys,
    rpc: Arc<Client>,
) -> anyhow::Result<(Payer, ListReader)> {
    let profile = &config.export.profile;
    let reader = ListReader::new(&config.lists, profile)?;
    let screening = Screening::new(reader.unread(), profile.party_facts().clone());
    let wallet = Wallet::open(Arc::clone(&store), keys, Arc::clone(&rpc)).await?;
    let mut payer = Payer::new(store, wallet, rpc, payout_policy(config), screening);
    if let Some(key) = config.export.party_key()? {
        payer.open_vault(Vault::new(&key)).await?;
    }
    Ok((payer, reader))
}

/// Returns what the config decides beforehand of payouts.
pub fn payout_policy(config: &Config) -> PayoutPolicy {
    let (config, profile) = (&config.payout, &config.export.profile);
    let residency = profile.pool_fact(PoolFact::Residency).and_then(|country| country.parse().ok());
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
        sales: SalePolicy { lots: profile.lot_method(), residency },
    }
}

fn fee_rate(sat_per_vb: u64) -> FeeRate {
    FeeRate::from_sat_per_vb(sat_per_vb).unwrap_or(FeeRate::MAX)
}
