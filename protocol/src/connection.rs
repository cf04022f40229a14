//! A connection as a state machine: bytes in; messages and bytes out.
//!
//! Both roles are driven alike. After each read: `receive` the bytes, then `poll` until it returns `None`. After each
//! `poll` or `send`: write `output` to the socket, and `consume_output` what was written. At `deadline`: `poll`. When
//! `poll` returns an error, write what is left of `output`, then close the socket.
//!
//! The order of messages before channels open is kept here: handshake, setup, extensions. What channels, jobs and
//! shares then mean is the caller's business, and so are sockets, tasks and the clock.

mod client;
mod link;
mod server;

use std::time::{Duration, Instant};

pub use self::client::{ClientConfig, ClientConnection, ClientEvent};
pub use self::link::Link;
pub use self::server::{ServerConfig, ServerConnection, ServerEvent};
use crate::codec::DecodeError;
use crate::framing::Header;
use crate::messages::common::Protocol;
use crate::messages::extensions::EXTENSIONS_NEGOTIATION;
use crate::messages::{Message, MessageError, MessageSet, job_declaration, mining, name_of, template_distribution};
use crate::noise::NoiseError;

/// What one peer may cost the other in time and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long the handshake may take, from the connection's start.
    pub handshake_timeout: Duration,
    /// How long setup may take, from the handshake's end.
    pub setup_timeout: Duration,
    /// The longest payload that the peer may send, in bytes of plaintext.
    pub max_frame_payload: usize,
    /// The most bytes that may wait for the peer to read them.
    pub max_unsent_bytes: usize,
}

impl Default for Limits {
    /// Suits the Mining Protocol, whose longest messages, jobs with a coinbase of 64 kB on either side, fit in 144 KiB.
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            setup_timeout: Duration::from_secs(10),
            max_frame_payload: 144 * 1024,
            max_unsent_bytes: 1024 * 1024,
        }
    }
}

/// Reports why a connection must end. The fault is the peer's, except where noted; no other connection is affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The handshake took too long.
    #[error("no handshake in time")]
    HandshakeTimeout,
    /// The connection was encrypted, but not set up in time.
    #[error("no setup in time")]
    SetupTimeout,
    /// The bytes are not the encrypted ones of the peer that they should be from.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// A header announces more than the limit.
    #[error("a frame of {payload_len} bytes exceeds the limit of {max}")]
    FrameTooLarge {
        /// What the header announces.
        payload_len: usize,
        /// [`Limits::max_frame_payload`].
        max: usize,
    },
    /// A payload is not what its header says.
    #[error("cannot decode {message}: {source}")]
    Decode {
        /// The specification's name of the message.
        message: &'static str,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A message that exists, but not from this role or at this time.
    #[error("unexpected {message} {state}")]
    UnexpectedMessage {
        /// The specification's name of the message.
        message: &'static str,
        /// The time, such as "before setup".
        state: &'static str,
    },
    /// A message that no specification names, of an extension that this crate knows.
    #[error("unknown message type {message_type:#04x} of extension {extension_type:#06x}")]
    UnknownMessage {
        /// The extension; zero for the core protocols.
        extension_type: u16,
        /// The message's type.
        message_type: u8,
    },
    /// This server refused the connection; its `SetupConnection.Error` waits in the output.
    #[error("setup refused: {code}")]
    SetupRefused {
        /// The error code that the client is told.
        code: &'static str,
    },
    /// The client goes on without the extensions that this server requires.
    #[error("the client did not negotiate the required extensions")]
    RequiredExtensionsMissing,
    /// The server answers a request for extensions that this client did not make.
    #[error("an answer to request {request_id} for extensions, which was not made")]
    UnaskedAnswer {
        /// The id in the answer.
        request_id: u16,
    },
    /// The server accepted with a version that this client did not offer.
    #[error("the server chose version {used_version}, which was not offered")]
    VersionNotOffered {
        /// The server's choice.
        used_version: u16,
    },
    /// The peer does not read what it is sent.
    #[error("over {max} bytes wait for the peer to read them")]
    OutputFull {
        /// [`Limits::max_unsent_bytes`].
        max: usize,
    },
    /// The caller's fault: more was received than one frame and 64 KiB, without a `poll` until `None`.
    #[error("over {max} bytes wait to be polled")]
    InputFull {
        /// The bound of the input buffer.
        max: usize,
    },
    /// The caller's fault: a message to send is longer than any frame.
    #[error("{message} does not fit into a frame")]
    MessageTooLarge {
        /// The specification's name of the message.
        message: &'static str,
    },
    /// The caller's fault: a message was sent before the `Connected` event.
    #[error("{message} was sent before setup")]
    SentBeforeSetup {
        /// The specification's name of the message.
        message: &'static str,
    },
    /// The connection has already ended, with an error or a refusal that was returned before.
    #[error("the connection has ended")]
    Ended,
}

impl ConnectionError {
    /// Tells a message at the wrong time from one that does not exist.
    fn unexpected(header: Header, state: &'static str) -> Self {
        match name_of(header) {
            Some(message) => Self::UnexpectedMessage { message, state },
            None => Self::UnknownMessage { extension_type: header.extension_type, message_type: header.message_type },
        }
    }

    fn of_message(error: MessageError, header: Header) -> Self {
        match error {
            MessageError::NotOfThisSet => Self::unexpected(header, "on a connection that is set up"),
            MessageError::Decode { message, source } => Self::Decode { message, source },
        }
    }
}

/// One of the three protocols, as a type: what a connection speaks after setup.
pub trait Subprotocol {
    /// The protocol's number.
    const PROTOCOL: Protocol;
    /// What a client sends.
    type ClientMessage: MessageSet;
    /// What a server sends.
    type ServerMessage: MessageSet;
}

/// The Mining Protocol (SV2 5).
#[derive(Clone, Copy, Debug)]
pub enum Mining {}

impl Subprotocol for Mining {
    const PROTOCOL: Protocol = Protocol::Mining;
    type ClientMessage = mining::ClientMessage;
    type ServerMessage = mining::ServerMessage;
}

/// The Job Declaration Protocol (SV2 6).
#[derive(Clone, Copy, Debug)]
pub enum JobDeclaration {}

impl Subprotocol for JobDeclaration {
    const PROTOCOL: Protocol = Protocol::JobDeclaration;
    type ClientMessage = job_declaration::ClientMessage;
    type ServerMessage = job_declaration::ServerMessage;
}

/// The Template Distribution Protocol (SV2 7).
#[derive(Clone, Copy, Debug)]
pub enum TemplateDistribution {}

impl Subprotocol for TemplateDistribution {
    const PROTOCOL: Protocol = Protocol::TemplateDistribution;
    type ClientMessage = template_distribution::ClientMessage;
    type ServerMessage = template_distribution::ServerMessage;
}

/// A point in time; `None` is never.
type Deadline = Option<Instant>;

/// Fails if it is too late to go on waiting.
fn check_deadline(deadline: Deadline, now: Instant, too_late: ConnectionError) -> Result<(), ConnectionError> {
    match deadline {
        Some(deadline) if now >= deadline => Err(too_late),
        _ => Ok(()),
    }
}

/// What a state made of the input.
enum Step<E> {
    /// Nothing to report; there may be more input.
    Again,
    /// The input holds nothing whole.
    Wait,
    /// Something to report.
    Event(E),
}

fn decode<M: Message>(payload: &[u8]) -> Result<M, ConnectionError> {
    M::decode(payload).map_err(|source| ConnectionError::Decode { message: M::NAME, source })
}

/// Returns true for an extension whose messages this crate knows. Messages of all others are ignored (SV2 3.4.1).
fn is_known_extension(header: Header) -> bool {
    matches!(header.extension_type, 0 | EXTENSIONS_NEGOTIATION)
}

#[cfg(test)]
mod tests;
