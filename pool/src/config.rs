//! The pool's configuration: a TOML file and the environment, turned into checked types.
//!
//! Owns what each setting means, its default and its bounds. How the layers are read belongs to [`settings`]; secrets
//! are not held here but read from their files when they are needed, so that a command that needs none also runs where
//! they cannot be read.

pub mod api;
mod bitcoind;
pub mod effective;
mod error;
mod export;
mod extensions;
mod limits;
mod lines;
mod nearest;
mod payout;
pub mod reference;
mod samples;
mod screening;
pub mod secret_file;
pub mod settings;
pub mod shown;
mod store;
mod stratum;

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use bitcoin::{Amount, Network};
use payouts::{
    payout::{Approval, FeePayer, PayoutPolicy, Schedule},
    scheme::{network_fees::Average, rule::SchemeName, slice::SliceRule},
};
use secrecy::ExposeSecret;
use tracing_subscriber::EnvFilter;

use self::settings::Settings;
pub(crate) use self::stratum::has_port;
pub use self::{
    api::ApiConfig,
    bitcoind::{BackupConfig, BitcoindConfig, NodeCredentials},
    error::ConfigError,
    export::ExportConfig,
    limits::LimitsConfig,
    payout::WalletConfig,
    screening::ListConfig,
    store::{PostgresUrl, StoreConfig},
    stratum::{DEFAULT_LISTEN, StratumConfig},
};

/// The networks a pool may work on, by the names that the config file uses.
pub const NETWORKS: [(&str, Network); 4] = [
    ("mainnet", Network::Bitcoin),
    ("testnet4", Network::Testnet4),
    ("signet", Network::Signet),
    ("regtest", Network::Regtest),
];

/// Everything the operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network whose blocks are mined.
    pub network: Network,
    /// The folder of everything the pool writes.
    pub data_dir: PathBuf,
    /// Which log lines are written, as a `tracing` filter.
    pub log: String,
    /// The node.
    pub bitcoind: BitcoindConfig,
    /// The miners' side.
    pub stratum: StratumConfig,
    /// What a peer may cost the pool.
    pub limits: LimitsConfig,
    /// The operators' side.
    pub api: ApiConfig,
    /// Who may mine.
    pub accounts: AccountsConfig,
    /// The money.
    pub payout: PayoutConfig,
    /// By which lists payments are screened.
    pub lists: Vec<ListConfig>,
    /// The register of coin that leaves.
    pub export: ExportConfig,
    /// The database.
    pub store: StoreConfig,
}

/// Who may mine.
#[derive(Clone, Copy, Debug)]
pub struct AccountsConfig {
    /// Whether any address of the network may, or only those that are accounts already.
    pub open_registration: bool,
}

/// How miners are paid.
#[derive(Clone, Debug)]
pub struct PayoutConfig {
    /// Where the keys to the pool's coins are.
    pub wallet: WalletConfig,
    /// The pool's fee in hundredths of a percent.
    pub fee_bp: u16,
    /// How blocks are split.
    pub scheme: SchemeName,
    /// By how much the fees of jobs grow within a slice, with SLICE.
    pub slice_fee_delta: Amount,
    /// The window of PPLNS, TIDES, SLICE and the fees of PPS+ in multiples of the network's difficulty.
    pub pplns_window: u32,
    /// For how many blocks' worth of work shares are kept at least.
    pub keep_shares: u32,
    /// How long work is gathered until the reserve pays for it, with PPS and PPS+.
    pub credit_period: Duration,
    /// How FPPS averages the fees of the network's blocks of a day.
    pub fpps_average: Average,
    /// A balance is paid out when it reaches this.
    pub threshold: Amount,
    /// When new payouts are made.
    pub schedule: Schedule,
    /// Which payouts wait for a person's consent.
    pub approval: Approval,
    /// Who pays the network's fee.
    pub fee_payer: FeePayer,
    /// Most payments in one transaction.
    pub max_outputs: usize,
    /// The blocks within which a payout should confirm, for the node's fee estimate.
    pub fee_target_blocks: u16,
    /// The fee rate when the node has no estimate, satoshis a virtual byte.
    pub fallback_fee_rate_sat_per_vb: u64,
    /// The fee rate that no payout goes below, satoshis a virtual byte.
    pub min_fee_rate_sat_per_vb: u64,
    /// The fee rate that no payout exceeds, satoshis a virtual byte.
    pub max_fee_rate_sat_per_vb: u64,
}

impl PayoutConfig {
    /// Returns for how many blocks' worth of work shares are kept: twice the window, or more if the operator wants it.
    pub fn kept_shares(&self) -> u32 {
        self.pplns_window.saturating_mul(2).max(self.keep_shares)
    }
}

impl Config {
    /// Loads a config file, with this process's environment over it.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, a key is unknown, or a value is wrong.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        Config::load_with(file, std::env::vars_os())
    }

    /// Loads a config file, with the given environment over it.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, a key is unknown, or a value is wrong.
    pub fn load_with(
        file: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, ConfigError> {
        Config::from_settings(&Settings::read(file, environment)?)
    }

    /// Checks what the settings mean.
    ///
    /// # Errors
    ///
    /// When a value is wrong, or one is missing.
    pub fn from_settings(settings: &Settings) -> Result<Config, ConfigError> {
        let network = network(settings)?;
        let data_dir = settings.path("data_dir")?.unwrap_or_else(|| settings.resolve("data"));
        if !data_dir.is_dir() {
            let reason = format!("there is no folder {}: create it, or name another", data_dir.display());
            return Err(settings.invalid("data_dir", reason));
        }
        let log = settings.text("log")?.unwrap_or_else(|| "info".to_owned());
        EnvFilter::try_new(&log).map_err(|error| settings.invalid("log", error.to_string()))?;
        Ok(Config {
            network,
            log,
            bitcoind: bitcoind::read(settings)?,
            stratum: stratum::read(settings, network)?,
            limits: limits::read(settings)?,
            api: api::read(settings)?,
            accounts: AccountsConfig {
                open_registration: settings.boolean("accounts.open_registration")?.unwrap_or(true),
            },
            payout: payout(settings, network)?,
            lists: screening::read(settings)?,
            export: ExportConfig::read(settings)?,
            store: StoreConfig::read(settings, data_dir.join("adit.sqlite"))?,
            data_dir,
        })
    }
}

impl Config {
    /// Refuses passwords that stand in examples, or are empty, of nodes and of the database. What cannot be read is not
    /// judged: whoever needs it complains.
    ///
    /// # Errors
    ///
    /// Names the setting.
    pub fn refuse_sample_passwords(&self) -> Result<(), ConfigError> {
        let main = std::iter::once((bitcoind::MAIN_NODE, &self.bitcoind.credentials));
        let backups = self.bitcoind.backups.iter().map(|backup| (backup.section, &backup.credentials));
        let refused = |key: String| ConfigError::Invalid {
            key,
            reason: "is a password that examples show: whoever reaches the port can guess it".to_owned(),
        };
        for (section, credentials) in main.chain(backups) {
            let is_chosen = !matches!(credentials, NodeCredentials::CookieFile { .. });
            if is_chosen && credentials.read().is_ok_and(|(_, password)| samples::is_sample_password(&password)) {
                return Err(refused(format!("{section}.password")));
            }
        }
        if let StoreConfig::Postgres(url) = &self.store
            && let Ok(url) = url.read()
            && store::password(url.expose_secret()).is_some_and(|given| samples::is_sample_password(&given))
        {
            return Err(refused("store.url".to_owned()));
        }
        Ok(())
    }
}

/// A network's name in the config file.
pub fn network_name(network: Network) -> &'static str {
    NETWORKS.iter().find(|(_, known)| *known == network).map_or("unknown", |(name, _)| *name)
}

fn network(settings: &Settings) -> Result<Network, ConfigError> {
    let name = settings.text("network")?.ok_or_else(|| settings.missing("network"))?;
    let known = NETWORKS.iter().find(|(known, _)| *known == name);
    known.map(|(_, network)| *network).ok_or_else(|| {
        let names = NETWORKS.map(|(name, _)| name).join(", ");
        settings.invalid("network", format!("{name} is not one of {names}"))
    })
}

/// At regtest's difficulty one share is worth thousands of blocks: a window that holds several of them is huge there.
fn largest_window(network: Network) -> u64 {
    if network == Network::Regtest { u64::from(u32::MAX) } else { 1_000 }
}

fn payout(settings: &Settings, network: Network) -> Result<PayoutConfig, ConfigError> {
    let min = settings.integer("payout.min_fee_rate_sat_per_vb", 1..=10_000)?.unwrap_or(1);
    let fallback = settings.integer("payout.fallback_fee_rate_sat_per_vb", 1..=10_000)?.unwrap_or(5.max(min));
    let max = settings.integer("payout.max_fee_rate_sat_per_vb", 1..=10_000)?.unwrap_or(200.max(fallback));
    if fallback < min {
        let reason = format!("{fallback} is below payout.min_fee_rate_sat_per_vb, {min}");
        return Err(settings.invalid("payout.fallback_fee_rate_sat_per_vb", reason));
    }
    if fallback > max {
        let reason = format!("{fallback} is above payout.max_fee_rate_sat_per_vb, {max}");
        return Err(settings.invalid("payout.fallback_fee_rate_sat_per_vb", reason));
    }
    Ok(PayoutConfig {
        wallet: payout::wallet(settings, network)?,
        fee_bp: narrow(settings.integer("payout.fee_bp", 0..=10_000)?.unwrap_or(100)),
        scheme: scheme(settings)?,
        slice_fee_delta: settings
            .integer("payout.slice_fee_delta_sat", 1..=Amount::MAX_MONEY.to_sat())?
            .map_or(SliceRule::DEFAULT_GROWTH, Amount::from_sat),
        pplns_window: narrow(settings.integer("payout.pplns_window", 1..=largest_window(network))?.unwrap_or(8)),
        keep_shares: narrow(settings.integer("payout.keep_shares", 0..=u32::MAX.into())?.unwrap_or(0)),
        credit_period: Duration::from_secs(60 * settings.integer("payout.credit_minutes", 1..=1_440)?.unwrap_or(60)),
        fpps_average: average(settings)?,
        threshold: Amount::from_sat(settings.integer("payout.threshold_sat", 1_000..=100_000_000)?.unwrap_or(100_000)),
        schedule: payout::schedule(settings)?,
        approval: payout::approval(settings)?,
        fee_payer: payout::fee_payer(settings)?,
        max_outputs: settings
            .integer("payout.max_outputs", 1..=2_000)?
            .map_or(PayoutPolicy::default().max_outputs, narrow),
        fee_target_blocks: narrow(settings.integer("payout.fee_target_blocks", 1..=1_008)?.unwrap_or(6)),
        fallback_fee_rate_sat_per_vb: fallback,
        min_fee_rate_sat_per_vb: min,
        max_fee_rate_sat_per_vb: max,
    })
}

fn average(settings: &Settings) -> Result<Average, ConfigError> {
    match settings.text("payout.fpps_average")?.as_deref() {
        None | Some("plain") => Ok(Average::Plain),
        Some("trimmed") => Ok(Average::Trimmed),
        Some(other) => Err(settings.invalid("payout.fpps_average", format!("{other} is not plain or trimmed"))),
    }
}

fn scheme(settings: &Settings) -> Result<SchemeName, ConfigError> {
    let Some(name) = settings.text("payout.scheme")? else { return Ok(SchemeName::Pplns) };
    name.parse().map_err(|_| {
        let names = SchemeName::ALL.map(|(_, name)| name).join(", ");
        settings.invalid("payout.scheme", format!("{name} is not one of {names}"))
    })
}

/// Brings an integer that was read within bounds to the type that those bounds fit.
fn narrow<T: TryFrom<u64, Error: fmt::Debug>>(number: u64) -> T {
    T::try_from(number).expect("the bounds it was read with fit its type")
}

#[cfg(test)]
pub(crate) mod tests;
