//! `adit probe`: is a pool what a Stratum V2 client may expect? Connects as a client, checks rule by rule, and reports.
//!
//! What is checked is data ([`check`]). Rules that show in whatever a pool sends are checked as it comes ([`board`],
//! [`peer`]); for the others the probe asks, submits or waits (`setup`, `device`, `proxy`, `shares`, `targets`). It shares
//! the wire with the pool of this crate, and nothing of how that serves miners.
//!
//! It is polite to pools that are not one's own: ten connections in all and three at a time, each wait bounded, one search
//! for a share at a time, and channels are closed at the end.

pub mod board;
pub mod channel;
pub mod check;
mod coinbase;
mod device;
mod opening;
pub mod peer;
mod proxy;
pub mod report;
mod search;
mod setup;
mod shares;
mod targets;
pub mod url;

use std::time::{Duration, Instant};

use thiserror::Error;

use self::{
    check::Check,
    peer::{ConnectError, Peer},
    report::{Findings, Report},
    url::PoolUrl,
};

/// Whom the probe is when nobody says.
pub const DEFAULT_USER: &str = "adit-probe";

/// How to probe.
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// Which pool.
    pub url: PoolUrl,
    /// Whom to open channels for.
    pub user: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long to wait for what comes by itself: new jobs and tips.
    pub patience: Duration,
    /// How long one search for a share may take.
    pub search_time: Duration,
    /// The hash rate that is claimed, in hashes a second.
    pub hash_rate: f32,
}

/// There is no pool to check.
#[derive(Debug, Error)]
#[error("cannot connect to {url}")]
pub struct Unreachable {
    url: PoolUrl,
    source: ConnectError,
}

/// Checks a pool.
///
/// # Errors
///
/// If it cannot be reached or does not shake hands.
pub async fn probe(config: &ProbeConfig) -> Result<Report, Unreachable> {
    let started = Instant::now();
    let mut findings = check_certificate(config).await?;
    let reason = match setup::check(config, &mut findings).await {
        Err(reason) => reason,
        Ok(()) => {
            let (idle, device, proxy) =
                tokio::join!(setup::stay_idle(config), device::check(config), proxy::check(config));
            let reason = proxy.reason.or(device.reason);
            for found in [idle, device.findings, proxy.findings] {
                findings.absorb(found);
            }
            reason.unwrap_or_else(|| "it was not come to".into())
        }
    };
    let duration_ms = started.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    Ok(findings.into_report(config.url.to_string(), duration_ms, &reason))
}

/// What a part of the probe has found, and why it ended early, if it did.
#[derive(Debug, Default)]
struct Part {
    findings: Findings,
    reason: Option<String>,
}

/// Makes the first connection, which shows whether there is a pool and whether it is the right one.
async fn check_certificate(config: &ProbeConfig) -> Result<Findings, Unreachable> {
    let mut findings = Findings::default();
    let unreachable = |source| Unreachable { url: config.url.clone(), source };
    let Some(authority) = &config.url.authority else {
        Peer::connect(&config.url, None, config.timeout).await.map_err(unreachable)?;
        findings.not_checked(Check::Certificate, "the URL has no authority's key");
        return Ok(findings);
    };
    match Peer::connect(&config.url, Some(authority), config.timeout).await {
        Ok(_) => findings.held(Check::Certificate),
        Err(ConnectError::Noise(error @ protocol::noise::NoiseError::Certificate(_))) => {
            findings.broken(Check::Certificate, "a certificate of the URL's authority", error.to_string());
        }
        Err(error) => return Err(unreachable(error)),
    }
    Ok(findings)
}
