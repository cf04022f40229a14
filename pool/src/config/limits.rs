//! What a peer may cost the pool: the section `limits`.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    narrow,
    settings::{ConfigError, Settings},
};
use crate::stratum::limits::ConnectionLimits;

/// What a peer may cost the pool.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// Most connections of one address at a time.
    pub connections_per_address: usize,
    /// Most connections at a time that are not set up yet.
    pub handshakes: usize,
    /// Most connections of one address at a time that are not set up yet.
    pub handshakes_per_address: usize,
    /// Networks whose addresses have no bounds of their own and are never banned.
    pub unlimited_addresses: Vec<IpNet>,
    /// What each connection may ask for.
    pub connection: ConnectionLimits,
    /// The longest payload of a frame.
    pub frame_bytes: usize,
    /// Shares of one channel for one job that are remembered to find duplicates, and so taken.
    pub shares_per_job: usize,
    /// How long a ban lasts; zero for none.
    pub ban: Duration,
}

/// Reads the section.
pub(super) fn read(settings: &Settings) -> Result<LimitsConfig, ConfigError> {
    let default = ConnectionLimits::default();
    let connection = ConnectionLimits {
        messages_per_second: settings
            .integer("limits.messages_per_second", 1..=10_000_000)?
            .map_or(default.messages_per_second, narrow),
        bytes_per_second: settings
            .integer("limits.bytes_per_second", 1_024..=1_000_000_000)?
            .map_or(default.bytes_per_second, narrow),
        invalid_shares: settings
            .integer("limits.invalid_shares", 1..=1_000_000)?
            .map_or(default.invalid_shares, narrow),
        // Devices measure their hash rate before they open a channel, for five seconds and more.
        idle: settings.integer("limits.idle_seconds", 15..=3_600)?.map_or(default.idle, Duration::from_secs),
    };
    Ok(LimitsConfig {
        connections_per_address: narrow(
            settings.integer("limits.connections_per_address", 1..=1_000_000)?.unwrap_or(1_024),
        ),
        handshakes: narrow(settings.integer("limits.handshakes", 1..=1_000_000)?.unwrap_or(2_048)),
        handshakes_per_address: narrow(
            settings.integer("limits.handshakes_per_address", 1..=1_000_000)?.unwrap_or(512),
        ),
        unlimited_addresses: networks(settings, "limits.unlimited_addresses")?.unwrap_or_else(own_machine),
        connection,
        frame_bytes: narrow(settings.integer("limits.frame_bytes", 4_096..=0xff_ffff)?.unwrap_or(144 * 1024)),
        shares_per_job: narrow(settings.integer("limits.shares_per_job", 1..=u32::MAX.into())?.unwrap_or(1 << 20)),
        ban: Duration::from_secs(settings.integer("limits.ban_seconds", 0..=86_400)?.unwrap_or(300)),
    })
}

/// The machine itself: whoever comes from there is a proxy of the operator's, with any number of miners behind it.
fn own_machine() -> Vec<IpNet> {
    let parse = |text: &str| text.parse().expect("both are networks");
    ["127.0.0.0/8", "::1/128"].map(parse).into()
}

/// Reads a list of addresses and networks.
fn networks(settings: &Settings, key: &'static str) -> Result<Option<Vec<IpNet>>, ConfigError> {
    let Some(items) = settings.list(key)? else { return Ok(None) };
    let parse = |item: String| {
        let network = item.parse::<IpNet>().or_else(|error| item.parse::<IpAddr>().map(IpNet::from).map_err(|_| error));
        let wrong = |_| settings.invalid(key, format!("{item} is not an address or a network such as 192.0.2.0/24"));
        network.map_err(wrong)
    };
    items.into_iter().map(parse).collect::<Result<_, _>>().map(Some)
}
