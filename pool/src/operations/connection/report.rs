//! How a connection of the miners' port stands, as API and commands tell it.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::stratum::roster::{Reason, Seat, SentError, SetUp, Stage, channel::Together};

/// A connection of a miner or proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConnectionReport {
    /// Its number since the pool was started.
    pub connection: u64,
    /// Where it comes from.
    pub peer: String,
    /// How far it came: `connected`, `answered` (the pool has answered its handshake) or `set_up`.
    pub stage: String,
    /// When it was accepted, in milliseconds since 1970 UTC.
    pub arrived_at_ms: i64,
    /// When its handshake was answered.
    pub answered_at_ms: Option<i64>,
    /// What it has said of itself.
    pub set_up: Option<SetUpReport>,
    /// The extensions that it may use.
    pub extensions: Vec<u16>,
    /// How many channels are open; if it has ended, how many were.
    pub channels: usize,
    /// Hashes a second that its channels claim.
    pub nominal_hash_rate: f64,
    /// Hashes a second that their accepted shares come to, over some minutes.
    pub hash_rate: f64,
    /// Accepted shares a minute, over some minutes.
    pub shares_per_minute: f64,
    /// Shares of its open channels that were accepted.
    pub accepted: u64,
    /// Shares of its open channels that were refused.
    pub refused: u64,
    /// When it was last heard.
    pub last_frame_at_ms: Option<i64>,
    /// The last error that it was sent.
    pub last_error: Option<ErrorReport>,
    /// How it ended; nothing if it is open.
    pub ended: Option<EndReport>,
}

/// What a client has said of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SetUpReport {
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who made it.
    pub vendor: String,
    /// Which hardware it is.
    pub hardware: String,
    /// Which firmware runs on it.
    pub firmware: String,
    /// Which one it is of its kind.
    pub device: String,
    /// The flags of its `SetupConnection`.
    pub flags: u32,
    /// The version of the protocol that is spoken.
    pub version: u16,
}

/// An error that a client was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorReport {
    /// Its code.
    pub code: String,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndReport {
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// A name for the reason that stays.
    pub code: String,
    /// The reason in words.
    pub reason: String,
}

impl ConnectionReport {
    /// Tells how a connection stands.
    pub fn new(seat: &Seat, now: Instant) -> ConnectionReport {
        let channels = seat.channels();
        let (Together { counts, recent, nominal_hash_rate }, ended) = (Together::of(&channels, now), seat.ending());
        ConnectionReport {
            connection: seat.id().0,
            peer: seat.peer().to_string(),
            stage: match seat.stage() {
                Stage::Connected => "connected",
                Stage::Answered => "answered",
                Stage::SetUp => "set_up",
            }
            .to_owned(),
            arrived_at_ms: seat.arrived_at_ms(),
            answered_at_ms: seat.answered_at_ms(),
            set_up: seat.set_up().map(|set_up| SetUpReport::from(&*set_up)),
            extensions: seat.extensions(),
            channels: ended.map_or(channels.len(), |ended| ended.channels),
            nominal_hash_rate,
            hash_rate: recent.hash_rate,
            shares_per_minute: recent.shares_per_minute,
            accepted: counts.accepted,
            refused: counts.refused(),
            last_frame_at_ms: seat.last_frame_at_ms(),
            last_error: seat.last_error().map(|SentError { code, at_ms }| ErrorReport { code: code.to_owned(), at_ms }),
            ended: ended.map(|ended| {
                let Reason { code, words } = ended.reason.clone();
                EndReport { at_ms: ended.at_ms, code: code.to_owned(), reason: words }
            }),
        }
    }
}

impl From<&SetUp> for SetUpReport {
    fn from(set_up: &SetUp) -> SetUpReport {
        let SetUp { at_ms, vendor, hardware, firmware, device, flags, version } = set_up.clone();
        SetUpReport { at_ms, vendor, hardware, firmware, device, flags, version }
    }
}
