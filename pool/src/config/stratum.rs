//! How miners are served: `[stratum]`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bitcoin::Network;
use protocol::noise::{AuthorityPublicKey, AuthoritySecretKey};
use secrecy::ExposeSecret;

use super::{
    extensions, narrow, samples, secret_file,
    settings::{ConfigError, Settings},
};
use crate::mining::{coinbase::PoolTag, difficulty::Difficulty};

/// Where miners are heard unless the config file says otherwise.
pub const DEFAULT_LISTEN: &str = "0.0.0.0:34254";

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

/// Reads the section.
pub(super) fn read(settings: &Settings, network: Network) -> Result<StratumConfig, ConfigError> {
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

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
}

pub(crate) fn has_port(host: &str) -> bool {
    host.rsplit_once(':')
        .is_some_and(|(before, port)| port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']')))
}
