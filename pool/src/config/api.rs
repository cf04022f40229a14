//! Where and how operators are heard: `[api]`.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    narrow,
    settings::{ConfigError, Settings},
};

/// Where operators are heard unless the config file says otherwise: on this machine alone.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:34255";

/// How operators are served.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// What is presented to clients; without it the API speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Requests a second of one address, with as many at once.
    pub requests_per_second: u32,
}

/// The files of a certificate, both in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those that lead from it to one that clients know.
    pub certificate: PathBuf,
    /// Its secret key, in a file of mode 0600.
    pub key: PathBuf,
}

/// The setting that names the certificate.
pub const TLS_CERTIFICATE: &str = "api.tls_certificate";
/// The setting that names the secret key.
pub const TLS_KEY: &str = "api.tls_key";

pub(super) fn read(settings: &Settings) -> Result<ApiConfig, ConfigError> {
    let listen = settings.text("api.listen")?.unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
    let listen: SocketAddr = listen.parse().map_err(|_| {
        settings.invalid("api.listen", format!("{listen} is not an address and port, such as {DEFAULT_LISTEN}"))
    })?;
    let tls = match (settings.path(TLS_CERTIFICATE)?, settings.path(TLS_KEY)?) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (None, None) => None,
        (Some(_), None) => return Err(settings.missing(TLS_KEY)),
        (None, Some(_)) => return Err(settings.missing(TLS_CERTIFICATE)),
    };
    let is_allowed = settings.boolean("api.allow_plaintext_beyond_loopback")?.unwrap_or(false);
    if tls.is_none() && !listen.ip().is_loopback() && !is_allowed {
        let reason = format!(
            "{listen} can be reached from elsewhere, and without TLS tokens could be read on the way: set \
             api.tls_certificate and api.tls_key, or api.allow_plaintext_beyond_loopback if something else encrypts"
        );
        return Err(settings.invalid("api.listen", reason));
    }
    let requests_per_second = narrow(settings.integer("api.requests_per_second", 1..=100_000)?.unwrap_or(50));
    Ok(ApiConfig { listen, tls, requests_per_second })
}
