//! The settings of payouts that are more than a number: whose keys, when, with whose consent, at whose cost.

use std::path::PathBuf;

use anyhow::Context;
use bitcoin::{Amount, Network};
use payouts::{
    payout::{Approval, FeePayer, NoSchedule, Schedule},
    wallet::{Keys, WalletKey, WatchOnly},
};

use super::{ConfigError, settings::Settings};

/// The most satoshis that there can be.
const MAX_SAT: u64 = 21_000_000 * 100_000_000;

/// Where the keys to the pool's coins are.
#[derive(Clone, Debug)]
pub enum WalletConfig {
    /// In a file of this machine: who has it, has the pool's coins.
    KeyFile(PathBuf),
    /// Elsewhere: this machine can see the coins and not spend them.
    WatchOnly(Box<WatchOnly>),
}

impl WalletConfig {
    /// Reads what the wallet is opened with.
    ///
    /// # Errors
    ///
    /// When the key file cannot be read, is open to others, or is of another network.
    pub fn read(&self, network: Network) -> anyhow::Result<Keys> {
        match self {
            WalletConfig::KeyFile(file) => {
                let key = WalletKey::read(file, network);
                Ok(Keys::from(key.with_context(|| format!("cannot read {}", file.display()))?))
            }
            WalletConfig::WatchOnly(descriptors) => Ok(Keys::from(WatchOnly::clone(descriptors))),
        }
    }
}

/// Reads where the keys are: a key file, or both descriptors.
pub(super) fn wallet(settings: &Settings, network: Network) -> Result<WalletConfig, ConfigError> {
    const EXTERNAL: &str = "payout.watch_only_descriptor";
    const CHANGE: &str = "payout.watch_only_change_descriptor";

    let file = settings.path("payout.wallet_key_file")?;
    match (file, settings.text(EXTERNAL)?, settings.text(CHANGE)?) {
        (file, None, None) => Ok(WalletConfig::KeyFile(file.unwrap_or_else(|| settings.resolve("wallet.key")))),
        (None, Some(external), Some(change)) => WatchOnly::new(&external, &change, network)
            .map(|descriptors| WalletConfig::WatchOnly(Box::new(descriptors)))
            .map_err(|error| settings.invalid(EXTERNAL, error.to_string())),
        (None, Some(_), None) => Err(settings.missing(CHANGE)),
        (None, None, Some(_)) => Err(settings.missing(EXTERNAL)),
        (Some(_), ..) => {
            let reason = "excludes payout.watch_only_descriptor: a pool without a key never signs";
            Err(settings.invalid("payout.wallet_key_file", reason))
        }
    }
}

/// Reads when payouts are made.
pub(super) fn schedule(settings: &Settings) -> Result<Schedule, ConfigError> {
    let Some(text) = settings.text("payout.schedule")? else { return Ok(Schedule::Continuous) };
    text.parse().map_err(|error: NoSchedule| settings.invalid("payout.schedule", error.to_string()))
}

/// Reads which payouts wait for consent.
pub(super) fn approval(settings: &Settings) -> Result<Approval, ConfigError> {
    let above = settings.integer("payout.approve_above_sat", 0..=MAX_SAT)?.map(Amount::from_sat);
    let name = settings.text("payout.approval")?;
    let approval = match (name.as_deref().unwrap_or("none"), above) {
        ("none", None) => Approval::None,
        ("always", None) => Approval::Always,
        ("above", Some(above)) => Approval::Above(above),
        ("above", None) => return Err(settings.missing("payout.approve_above_sat")),
        ("none" | "always", Some(_)) => {
            let reason = "has a meaning only with payout.approval = \"above\"";
            return Err(settings.invalid("payout.approve_above_sat", reason));
        }
        (other, _) => {
            let reason = format!("{other} is not one of none, always, above");
            return Err(settings.invalid("payout.approval", reason));
        }
    };
    Ok(approval)
}

/// Reads who pays the network.
pub(super) fn fee_payer(settings: &Settings) -> Result<FeePayer, ConfigError> {
    match settings.text("payout.network_fee")?.as_deref() {
        None | Some("pool") => Ok(FeePayer::Pool),
        Some("miners") => Ok(FeePayer::Miners),
        Some(other) => Err(settings.invalid("payout.network_fee", format!("{other} is not one of pool, miners"))),
    }
}
