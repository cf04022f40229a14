//! The pool's configuration: a TOML file and the environment, turned into checked types.
//!
//! Owns what each setting means, its default and its bounds. How the layers are read belongs to [`settings`]; secrets
//! are not held here but read from their files when they are needed, so that a command that needs none also runs where
//! they cannot be read.

pub mod effective;
mod error;
mod export;
mod extensions;
mod limits;
mod nearest;
mod payout;
pub mod reference;
mod samples;
mod screening;
pub mod secret_file;
pub mod settings;
mod store;

use std::{
    ffi::OsString,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bitcoin::{Amount, Network};
use payouts::{
    payout::{Approval, FeePayer, PayoutPolicy, Schedule},
    scheme::{network_fees::Average, rule::SchemeName, slice::SliceRule},
};
use protocol::noise::{AuthorityPublicKey, AuthoritySecretKey};
use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::EnvFilter;

use self::settings::{Settings, key_in};
pub use self::{
    error::ConfigError,
    export::ExportConfig,
    limits::LimitsConfig,
    payout::WalletConfig,
    screening::ListConfig,
    store::{PostgresUrl, StoreConfig},
};
use crate::mining::{coinbase::PoolTag, difficulty::Difficulty};

/// The networks a pool may work on, by the names that the config file uses.
pub const NETWORKS: [(&str, Network); 4] = [
    ("mainnet", Network::Bitcoin),
    ("testnet4", Network::Testnet4),
    ("signet", Network::Signet),
    ("regtest", Network::Regtest),
];

/// Most nodes beside the preferred one. A found block goes to all of them.
const MAX_BACKUPS: usize = 8;

/// Where miners are heard unless the config file says otherwise.
pub const DEFAULT_LISTEN: &str = "0.0.0.0:34254";

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

/// How the node is reached.
#[derive(Clone, Debug)]
pub struct BitcoindConfig {
    /// `http://host:port`.
    pub url: String,
    /// How the pool proves to the node who it is.
    pub credentials: NodeCredentials,
    /// A template lives this long at most before a fresh one takes its place.
    pub template_refresh: Duration,
    /// The nodes that take its place when it fails, the preferred one first.
    pub backups: Vec<BackupConfig>,
}

/// How a further node is reached.
#[derive(Clone, Debug)]
pub struct BackupConfig {
    /// Its section, by which it is known in the log.
    pub section: &'static str,
    /// `http://host:port`.
    pub url: String,
    /// How the pool proves to the node who it is.
    pub credentials: NodeCredentials,
}

/// How the pool proves to the node who it is.
#[derive(Clone, Debug)]
pub enum NodeCredentials {
    /// The cookie that bitcoind writes anew at each start.
    CookieFile {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// `rpcuser` or `rpcauth`, with the password in a file of mode 0600.
    PasswordFile {
        /// The setting that names it.
        key: &'static str,
        /// The user.
        user: String,
        /// The file.
        file: PathBuf,
    },
    /// `rpcuser` or `rpcauth`, with the password from the environment.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
}

/// How miners are served.
#[derive(Clone, Debug)]
pub struct StratumConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// `host` or `host:port` as miners reach the pool, for its URL.
    pub public_host: Option<String>,
    /// The file of the authority's secret key: who has it, is the pool to its miners.
    pub authority_key_file: PathBuf,
    /// How long a certificate of the pool's static key is valid.
    pub certificate_validity: Duration,
    /// Tells apart the servers of one pool: a part of every extranonce prefix.
    pub server_id: u16,
    /// Most connections at one time.
    pub max_connections: usize,
    /// Most channels of one connection.
    pub max_channels_per_connection: usize,
    /// Shares a minute that a channel's difficulty aims at.
    pub shares_per_minute: u32,
    /// A new channel's difficulty when its declared hash rate says nothing.
    pub initial_difficulty: Difficulty,
    /// No channel's difficulty falls below this.
    pub min_difficulty: Difficulty,
    /// What the pool writes into its coinbases.
    pub pool_tag: PoolTag,
    /// Whether miners get an empty job on a new tip at once, for which most hold it already, and the full one after it.
    pub job_ahead: bool,
    /// The protocol's extensions that clients may use, beside the negotiation itself.
    pub supported_extensions: Vec<u16>,
    /// The extensions that clients must use. They count as supported.
    pub required_extensions: Vec<u16>,
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
            bitcoind: bitcoind(settings)?,
            stratum: stratum(settings, network)?,
            limits: limits::read(settings)?,
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
        let main = std::iter::once((MAIN_NODE, &self.bitcoind.credentials));
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

impl StratumConfig {
    /// Reads the authority's secret key.
    ///
    /// # Errors
    ///
    /// When its file cannot be read, is open to others, or holds something else.
    pub fn authority_key(&self) -> Result<AuthoritySecretKey, ConfigError> {
        let key = "stratum.authority_key_file";
        let secret = secret_file::read(key, &self.authority_key_file)?;
        let invalid =
            |reason| ConfigError::Invalid { key: format!("{key} ({})", self.authority_key_file.display()), reason };
        let secret: AuthoritySecretKey =
            secret.expose_secret().parse().map_err(|error| invalid(format!("holds no authority key: {error}")))?;
        if samples::is_sample_authority(&secret) {
            let reason = "holds a key that examples show: anybody could be this pool; let `adit init` make one";
            return Err(invalid(reason.to_owned()));
        }
        Ok(secret)
    }

    /// The URL that miners are given. Its host is the public one, else the address that is listened on, else
    /// `localhost`.
    pub fn miner_url(&self, authority: &AuthorityPublicKey) -> String {
        let port = self.listen.port();
        let host = match &self.public_host {
            Some(host) if has_port(host) => host.clone(),
            Some(host) => format!("{host}:{port}"),
            None if self.listen.ip().is_unspecified() => format!("localhost:{port}"),
            None => self.listen.to_string(),
        };
        format!("stratum2+tcp://{host}/{authority}")
    }
}

impl NodeCredentials {
    /// Reads user and password anew, so that a node's next cookie is found without a restart of the pool.
    ///
    /// # Errors
    ///
    /// When their file cannot be read.
    pub fn read(&self) -> Result<(String, SecretString), ConfigError> {
        match self {
            NodeCredentials::CookieFile { key, file } => {
                let cookie = std::fs::read_to_string(file).map_err(|source| ConfigError::UnreadableFile {
                    key,
                    path: file.clone(),
                    source,
                })?;
                let (user, password) = cookie.trim().split_once(':').ok_or_else(|| ConfigError::Invalid {
                    key: (*key).to_owned(),
                    reason: format!("{} is not a cookie of bitcoind", file.display()),
                })?;
                Ok((user.to_owned(), SecretString::from(password)))
            }
            NodeCredentials::PasswordFile { key, user, file } => Ok((user.clone(), secret_file::read(key, file)?)),
            NodeCredentials::Password { user, password } => Ok((user.clone(), password.clone())),
        }
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

/// The section of the node that is preferred.
const MAIN_NODE: &str = "bitcoind";

fn bitcoind(settings: &Settings) -> Result<BitcoindConfig, ConfigError> {
    let (url, credentials) = node(settings, MAIN_NODE)?;
    let refresh = settings.integer("bitcoind.template_refresh_seconds", 5..=30)?.unwrap_or(30);
    let backups = settings.backup_sections().into_iter().map(|section| {
        let (url, credentials) = node(settings, section)?;
        Ok(BackupConfig { section, url, credentials })
    });
    let backups: Vec<BackupConfig> = backups.collect::<Result<_, ConfigError>>()?;
    if let Some(surplus) = backups.get(MAX_BACKUPS) {
        let reason = format!("is one backup too many: there may be {MAX_BACKUPS}");
        return Err(settings.invalid(key_in(surplus.section, "url"), reason));
    }
    Ok(BitcoindConfig { url, credentials, template_refresh: Duration::from_secs(refresh), backups })
}

/// Reads how the node of a section is reached.
fn node(settings: &Settings, section: &str) -> Result<(String, NodeCredentials), ConfigError> {
    let key = key_in(section, "url");
    let url = settings.text(key)?.ok_or_else(|| settings.missing(key))?;
    // Encryption on the way to the node is a tunnel's work: bitcoind itself speaks plain HTTP only.
    let Some(authority) = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else {
        return Err(settings.invalid(key, format!("{url} does not start with http://")));
    };
    if authority.is_empty() || authority.contains('@') {
        let reason = "should be http://host:port; user and password have their own settings";
        return Err(settings.invalid(key, reason));
    }
    Ok((url, credentials(settings, section)?))
}

fn credentials(settings: &Settings, section: &str) -> Result<NodeCredentials, ConfigError> {
    let keys = ["cookie_file", "user", "password_file", "password"].map(|setting| key_in(section, setting));
    let [cookie_key, user_key, file_key, password_key] = keys;
    let cookie = settings.path(cookie_key)?;
    let user = settings.text(user_key)?;
    let file = settings.path(file_key)?;
    let password = settings.text(password_key)?.map(SecretString::from);
    match (cookie, user, file, password) {
        (Some(file), None, None, None) => Ok(NodeCredentials::CookieFile { key: cookie_key, file }),
        (None, Some(user), Some(file), None) => Ok(NodeCredentials::PasswordFile { key: file_key, user, file }),
        (None, Some(user), None, Some(password)) => Ok(NodeCredentials::Password { user, password }),
        (None, None, None, None) => Err(settings.missing(cookie_key)),
        (None, Some(_), None, None) => Err(settings.missing(file_key)),
        (None, None, _, _) => Err(settings.missing(user_key)),
        (None, Some(_), Some(_), Some(_)) => {
            Err(settings.invalid(password_key, format!("and {file_key} exclude each other")))
        }
        (Some(_), ..) => {
            let reason = format!("excludes {user_key} and its password: set the one or the other");
            Err(settings.invalid(cookie_key, reason))
        }
    }
}

fn stratum(settings: &Settings, network: Network) -> Result<StratumConfig, ConfigError> {
    let listen = settings.text("stratum.listen")?.unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
    let listen: SocketAddr = listen.parse().map_err(|_| {
        settings.invalid("stratum.listen", format!("{listen} is not an address and port, such as {DEFAULT_LISTEN}"))
    })?;
    let public_host = settings.text("stratum.public_host")?;
    if let Some(host) = public_host.as_deref().filter(|host| !is_host(host)) {
        return Err(settings.invalid("stratum.public_host", format!("{host} is not a host or host:port")));
    }
    let hours = settings.integer("stratum.certificate_validity_hours", 1..=8_760)?.unwrap_or(168);
    let (default_initial, default_min) = default_difficulties(network);
    let initial_difficulty = difficulty(settings, "stratum.initial_difficulty")?.unwrap_or(default_initial);
    let min_difficulty = difficulty(settings, "stratum.min_difficulty")?.unwrap_or(default_min.min(initial_difficulty));
    if min_difficulty > initial_difficulty {
        return Err(settings.invalid("stratum.min_difficulty", "is above stratum.initial_difficulty"));
    }
    let pool_tag = settings.text("stratum.pool_tag")?.unwrap_or_else(|| "Adit".to_owned());
    let pool_tag = PoolTag::new(&pool_tag).map_err(|error| settings.invalid("stratum.pool_tag", error.to_string()))?;
    Ok(StratumConfig {
        listen,
        public_host,
        authority_key_file: settings
            .path("stratum.authority_key_file")?
            .unwrap_or_else(|| settings.resolve("authority.key")),
        certificate_validity: Duration::from_secs(hours * 3_600),
        server_id: narrow(settings.integer("stratum.server_id", 0..=u64::from(u16::MAX))?.unwrap_or(0)),
        max_connections: narrow(settings.integer("stratum.max_connections", 1..=1_000_000)?.unwrap_or(10_000)),
        max_channels_per_connection: narrow(
            settings.integer("stratum.max_channels_per_connection", 1..=100_000)?.unwrap_or(1_000),
        ),
        shares_per_minute: narrow(settings.integer("stratum.shares_per_minute", 1..=600_000_000)?.unwrap_or(6)),
        initial_difficulty,
        min_difficulty,
        pool_tag,
        job_ahead: settings.boolean("stratum.job_ahead")?.unwrap_or(true),
        supported_extensions: extensions::read(settings, "stratum.supported_extensions")?
            .unwrap_or_else(extensions::all),
        required_extensions: extensions::read(settings, "stratum.required_extensions")?.unwrap_or_default(),
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

/// The initial and the least difficulty that suit a network's hardware: one device of a few TH/s where real money is
/// mined, a processor's core elsewhere.
fn default_difficulties(network: Network) -> (Difficulty, Difficulty) {
    match network {
        Network::Signet | Network::Regtest => (Difficulty::from_log2(-12), Difficulty::MIN),
        _ => (Difficulty::from_log2(11), Difficulty::from_log2(0)),
    }
}

/// Reads a difficulty: a power of two, as a number or as `2^n`.
fn difficulty(settings: &Settings, key: &'static str) -> Result<Option<Difficulty>, ConfigError> {
    let Some(text) = settings.number_or_text(key)? else { return Ok(None) };
    let log2 = match text.trim().strip_prefix("2^") {
        Some(exponent) => exponent.parse().ok(),
        None => text.trim().parse().ok().and_then(exact_log2),
    };
    let (least, most) = (Difficulty::MIN.log2(), Difficulty::MAX.log2());
    match log2 {
        Some(log2) if (i32::from(least)..=i32::from(most)).contains(&log2) => Ok(Some(Difficulty::from_log2(log2))),
        _ => {
            let reason = format!("{text} is not a power of two from 2^{least} to 2^{most}, such as 2048 or \"2^11\"");
            Err(settings.invalid(key, reason))
        }
    }
}

/// The binary logarithm of an exact power of two. Such a number has no mantissa bits in its floating-point form, so
/// that nothing is rounded here.
fn exact_log2(number: f64) -> Option<i32> {
    let exponent = i32::try_from(number.to_bits() >> 52).ok()? - 1_023;
    (number == 2_f64.powi(exponent)).then_some(exponent)
}

/// Brings an integer that was read within bounds to the type that those bounds fit.
fn narrow<T: TryFrom<u64, Error: fmt::Debug>>(number: u64) -> T {
    T::try_from(number).expect("the bounds it was read with fit its type")
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
}

pub(crate) fn has_port(host: &str) -> bool {
    host.rsplit_once(':')
        .is_some_and(|(before, port)| port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']')))
}

#[cfg(test)]
pub(crate) mod tests;
