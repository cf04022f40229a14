//! Why a connection ended: in words, and by the name that metrics and the API show.

use std::{io, time::Duration};

use payouts::store::StoreError;
use protocol::connection::ConnectionError;
use thiserror::Error;

use super::limits::MAX_SLOWED;

/// How long a long frame may take from its first byte to its last.
pub(super) const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a connection ended.
#[derive(Debug, Error)]
pub enum End {
    /// The peer closed it.
    #[error("closed by the peer")]
    Closed,
    /// The pool shuts down.
    #[error("the pool shuts down")]
    Drained,
    /// The socket failed.
    #[error("socket failed: {0}")]
    Socket(#[from] io::Error),
    /// The peer broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ConnectionError),
    /// The peer opened no channel in time.
    #[error("no channel opened within {} s (limits.idle_seconds)", .0.as_secs())]
    NoChannel(Duration),
    /// An operator ended it.
    #[error("ended by an operator")]
    Kicked,
    /// An operator had the client connect again.
    #[error("asked by an operator to connect again")]
    Moved,
    /// It gave way to a connection that had a better right to its place.
    #[error("gave way to another connection")]
    Displaced,
    /// The peer asked for more than its rate for too long.
    #[error("over its rate for {} s (limits.messages_per_second, limits.bytes_per_second)", MAX_SLOWED.as_secs())]
    TooFast,
    /// Too many of the peer's shares were wrong.
    #[error("too many invalid shares (limits.invalid_shares)")]
    InvalidShares,
    /// The peer did not finish a frame.
    #[error("a frame was not whole within {} s", FRAME_TIMEOUT.as_secs())]
    SlowFrame,
    /// The peer does not read.
    #[error("did not read what waits for it in time")]
    Stalled,
    /// Accounts cannot be looked up.
    #[error("account could not be looked up: {0}")]
    Store(#[from] StoreError),
    /// The tasks behind the connection are gone.
    #[error("the pool's inner tasks have ended")]
    Orphaned,
}

impl End {
    /// The names of all ends, as metrics show them.
    pub const NAMES: [&'static str; 18] = [
        "closed",
        "shutdown",
        "socket",
        "handshake_timeout",
        "setup_timeout",
        "setup_refused",
        "frame_too_large",
        "protocol",
        "no_channel",
        "displaced",
        "too_fast",
        "invalid_shares",
        "slow_frame",
        "stalled",
        "store",
        "orphaned",
        "kicked",
        "moved",
    ];

    /// Returns the place of its name among all.
    pub fn index(&self) -> usize {
        match self {
            Self::Closed => 0,
            Self::Drained => 1,
            Self::Socket(_) => 2,
            Self::Protocol(ConnectionError::HandshakeTimeout) => 3,
            Self::Protocol(ConnectionError::SetupTimeout) => 4,
            Self::Protocol(ConnectionError::SetupRefused { .. }) => 5,
            Self::Protocol(ConnectionError::FrameTooLarge { .. }) => 6,
            Self::Protocol(ConnectionError::OutputFull { .. }) | Self::Stalled => 13,
            Self::Protocol(_) => 7,
            Self::NoChannel(_) => 8,
            Self::Displaced => 9,
            Self::TooFast => 10,
            Self::InvalidShares => 11,
            Self::SlowFrame => 12,
            Self::Store(_) => 14,
            Self::Orphaned => 15,
            Self::Kicked => 16,
            Self::Moved => 17,
        }
    }

    /// Tells whether nobody is there to hear last words, or nobody who should keep others waiting for his place.
    pub(super) fn is_abrupt(&self) -> bool {
        matches!(self, Self::Displaced | Self::Socket(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_have_their_own_names() {
        let timeout = Duration::from_secs(1);
        for (end, name) in [
            (End::Closed, "closed"),
            (End::Drained, "shutdown"),
            (End::Socket(io::ErrorKind::ConnectionReset.into()), "socket"),
            (ConnectionError::HandshakeTimeout.into(), "handshake_timeout"),
            (ConnectionError::SetupTimeout.into(), "setup_timeout"),
            (ConnectionError::SetupRefused { code: "unsupported-protocol" }.into(), "setup_refused"),
            (ConnectionError::FrameTooLarge { payload_len: 2, max: 1 }.into(), "frame_too_large"),
            (ConnectionError::Ended.into(), "protocol"),
            (End::NoChannel(timeout), "no_channel"),
            (End::Displaced, "displaced"),
            (End::TooFast, "too_fast"),
            (End::InvalidShares, "invalid_shares"),
            (End::SlowFrame, "slow_frame"),
            (ConnectionError::OutputFull { max: 1 }.into(), "stalled"),
            (End::Stalled, "stalled"),
            (End::Orphaned, "orphaned"),
            (End::Kicked, "kicked"),
            (End::Moved, "moved"),
        ] {
            assert_eq!(End::NAMES[end.index()], name, "{end}");
        }
    }
}
