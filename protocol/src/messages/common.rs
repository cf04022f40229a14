//! The messages that all protocols share (SV2 3.6).

use crate::codec::Str0_255;

/// The one version of Stratum V2 that exists, for [`SetupConnection`].
pub const PROTOCOL_VERSION: u16 = 2;

/// [`SetupConnectionError::error_code`]: the server does not serve this protocol here.
pub const UNSUPPORTED_PROTOCOL: &str = "unsupported-protocol";
/// [`SetupConnectionError::error_code`]: no version suits both.
pub const PROTOCOL_VERSION_MISMATCH: &str = "protocol-version-mismatch";
/// [`SetupConnectionError::error_code`]: the client asks for features that the server lacks.
pub const UNSUPPORTED_FEATURE_FLAGS: &str = "unsupported-feature-flags";

/// What a connection is for, as [`SetupConnection::protocol`] says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// The Mining Protocol (SV2 5).
    Mining = 0,
    /// The Job Declaration Protocol (SV2 6).
    JobDeclaration = 1,
    /// The Template Distribution Protocol (SV2 7).
    TemplateDistribution = 2,
}

messages! {
    extension 0x0000;

    /// Opens a connection: the client's first message (SV2 3.6.1).
    SetupConnection = "SetupConnection", 0x00, connection {
        /// A [`Protocol`]'s number. Not the enum, because an unknown number has an answer of its own.
        protocol: u8,
        /// The lowest protocol version that the client speaks.
        min_version: u16,
        /// The highest protocol version that the client speaks.
        max_version: u16,
        /// What the client needs; each protocol has flags of its own.
        flags: u32,
        /// The server's host name or address, as the client was given it.
        endpoint_host: Str0_255,
        /// The server's port, as the client was given it.
        endpoint_port: u16,
        /// Who made the device or software.
        vendor: Str0_255,
        /// What model it is.
        hardware_version: Str0_255,
        /// What runs on it.
        firmware: Str0_255,
        /// The vendor's identifier of this very device; empty if the client gives no telemetry.
        device_id: Str0_255,
    }

    /// Accepts a connection (SV2 3.6.2).
    SetupConnectionSuccess = "SetupConnection.Success", 0x01, connection {
        /// The version that both will speak.
        used_version: u16,
        /// The server's own flags. Their bits mean other things than the client's, so these are never echoed.
        flags: u32,
    }

    /// Refuses a connection, and then closes it (SV2 3.6.3).
    SetupConnectionError = "SetupConnection.Error", 0x02, connection {
        /// The client's flags that the server cannot fulfil; zero if flags are not the reason.
        flags: u32,
        /// The reason, such as [`UNSUPPORTED_PROTOCOL`].
        error_code: Str0_255,
    }

    /// Says that a channel now ends at another device, so that its extensions are to be negotiated again (SV2 3.6.4).
    #[derive(Copy)]
    ChannelEndpointChanged = "ChannelEndpointChanged", 0x03, channel {
        /// The channel concerned.
        channel_id: u32,
    }

    /// Sends the client to another server of the same authority (SV2 3.6.5).
    Reconnect = "Reconnect", 0x04, connection {
        /// The host to go to; empty for the present one.
        new_host: Str0_255,
        /// The port to go to; zero for the present one.
        new_port: u16,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::messages::Message;

    #[test]
    fn setup_connection_is_the_specified_bytes() {
        let message = SetupConnection {
            protocol: Protocol::Mining as u8,
            min_version: 2,
            max_version: 2,
            flags: 0b101,
            endpoint_host: Str0_255::new("pool").unwrap(),
            endpoint_port: 34254,
            vendor: Str0_255::new("V").unwrap(),
            hardware_version: Str0_255::new("HW").unwrap(),
            firmware: Str0_255::default(),
            device_id: Str0_255::new("1").unwrap(),
        };
        let mut payload = Vec::new();
        message.encode(&mut payload);
        assert_eq!(hex::encode(&payload), "00020002000500000004706f6f6cce850156024857000131");
        assert_eq!(SetupConnection::decode(&payload).unwrap(), message);
    }
}
