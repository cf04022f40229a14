//! The server's side of a connection, up to the messages of its protocol.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use super::link::Link;
use super::{ConnectionError, Deadline, Limits, Mining, Step, Subprotocol, check_deadline, decode, is_known_extension};
use crate::codec::{Seq0_64K, Str0_255};
use crate::messages::common::{
    PROTOCOL_VERSION, PROTOCOL_VERSION_MISMATCH, SetupConnection, SetupConnectionError, SetupConnectionSuccess,
    UNSUPPORTED_FEATURE_FLAGS, UNSUPPORTED_PROTOCOL,
};
use crate::messages::extensions::{
    EXTENSIONS_NEGOTIATION, RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess,
};
use crate::messages::{Message, MessageSet, mining};
use crate::noise::{self, ServerIdentity};

/// What all connections to one port have in common.
#[derive(Debug)]
pub struct ServerConfig {
    /// What the server proves itself with. Renewed by making a new configuration for new connections.
    pub identity: ServerIdentity,
    /// The flags of `SetupConnection` that the server can fulfil; any other refuses the connection.
    pub supported_flags: u32,
    /// The server's own flags, for `SetupConnection.Success`.
    pub success_flags: u32,
    /// The extensions that a client may use.
    pub supported_extensions: Vec<u16>,
    /// The extensions that a client must use. They count as supported.
    pub required_extensions: Vec<u16>,
    /// What a client may cost.
    pub limits: Limits,
}

/// What happened on a server's connection.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerEvent<M = mining::ClientMessage> {
    /// The client is set up and has been told so. Messages may be sent from now on.
    Connected {
        /// What the client said about itself.
        setup: SetupConnection,
        /// The protocol version spoken.
        used_version: u16,
    },
    /// The client may use these extensions, and has been told so.
    ExtensionsNegotiated(Vec<u16>),
    /// A message of the protocol.
    Message(M),
}

/// The server's end of a connection that speaks the protocol `P`.
#[derive(Debug)]
pub struct ServerConnection<P: Subprotocol = Mining> {
    config: Arc<ServerConfig>,
    pub(super) link: Link,
    state: State,
    started: Instant,
    protocol: PhantomData<fn() -> P>,
}

#[derive(Debug)]
enum State {
    Handshake {
        deadline: Deadline,
    },
    Setup {
        deadline: Deadline,
    },
    /// Set up. Extensions can be negotiated until the first message of the protocol.
    Open {
        negotiable: bool,
        extensions: Vec<u16>,
    },
    Ended,
}

/// The state that follows, and what to report; or why the connection ends.
type Stepped<P> = Result<(State, Step<ServerEvent<<P as Subprotocol>::ClientMessage>>), ConnectionError>;

impl ServerConnection {
    /// Starts a connection of the Mining Protocol that a client has opened.
    pub fn new(config: Arc<ServerConfig>, now: Instant) -> Self {
        Self::serving(config, now)
    }
}

impl<P: Subprotocol> ServerConnection<P> {
    /// Starts a connection of the protocol `P` that a client has opened.
    pub fn serving(config: Arc<ServerConfig>, now: Instant) -> Self {
        let link = Link::new(config.limits);
        let state = State::Handshake { deadline: now.checked_add(config.limits.handshake_timeout) };
        Self { config, link, state, started: now, protocol: PhantomData }
    }

    /// Takes bytes from the socket, cut anywhere. Up to 64 KiB always fit once [`poll`](Self::poll) has returned `None`.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.link.receive(bytes);
    }

    /// Returns the next event of what was received; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// Whatever ends the connection. The output, which may say why, is still to be written.
    pub fn poll(&mut self, now: Instant) -> Result<Option<ServerEvent<P::ClientMessage>>, ConnectionError> {
        let event = self.advance(now);
        if event.is_err() {
            self.state = State::Ended;
        }
        event
    }

    /// Encrypts a message into the output. One that cannot be sent ends the connection, with an error from the next
    /// [`poll`](Self::poll), for which [`deadline`](Self::deadline) then calls at once. After the end, nothing is sent.
    pub fn send<M: Message>(&mut self, message: &M) {
        self.send_encoded::<M>(|out| message.encode(out));
    }

    /// Like [`send`](Self::send), for a payload that `encode` appends: of a message that is the same for many connections
    /// but for a few fields, the rest need be encoded only once.
    pub fn send_encoded<M: Message>(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        match self.state {
            State::Open { .. } => self.link.send_encoded::<M>(encode),
            State::Ended => {}
            _ => self.link.fail(ConnectionError::SentBeforeSetup { message: M::NAME }),
        }
    }

    /// Returns all bytes that are ready for the socket.
    pub fn output(&self) -> &[u8] {
        self.link.output()
    }

    /// Forgets the first `n` bytes of the output, once they are written.
    pub fn consume_output(&mut self, n: usize) {
        self.link.consume_output(n);
    }

    /// Returns how many bytes of a frame are here that is not whole, once [`poll`](Self::poll) has returned `None`.
    pub fn partial_len(&self) -> usize {
        self.link.partial_len()
    }

    /// Returns when [`poll`](Self::poll) is due even if nothing is received.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Ended => None,
            _ if self.link.has_failed() => Some(self.started),
            State::Handshake { deadline } | State::Setup { deadline } => deadline,
            State::Open { .. } => None,
        }
    }

    fn advance(&mut self, now: Instant) -> Result<Option<ServerEvent<P::ClientMessage>>, ConnectionError> {
        loop {
            let (state, step) = match std::mem::replace(&mut self.state, State::Ended) {
                State::Handshake { deadline } => self.shake_hands(deadline, now)?,
                State::Setup { deadline } => self.set_up(deadline, now)?,
                State::Open { negotiable, extensions } => self.next_message(negotiable, extensions)?,
                State::Ended => return Err(ConnectionError::Ended),
            };
            self.state = state;
            match step {
                Step::Again => {}
                Step::Wait => return Ok(None),
                Step::Event(event) => return Ok(Some(event)),
            }
        }
    }

    fn shake_hands(&mut self, deadline: Deadline, now: Instant) -> Stepped<P> {
        self.link.check()?;
        let Some(act_1) = self.link.take_plain() else {
            check_deadline(deadline, now, ConnectionError::HandshakeTimeout)?;
            return Ok((State::Handshake { deadline }, Step::Wait));
        };
        let (act_2, transport) = noise::respond(&self.config.identity, &act_1)?;
        self.link.send_plain(&act_2);
        self.link.encrypt_with(transport);
        Ok((State::Setup { deadline: now.checked_add(self.config.limits.setup_timeout) }, Step::Again))
    }

    /// Answers `SetupConnection` (SV2 3.6.1).
    fn set_up(&mut self, deadline: Deadline, now: Instant) -> Stepped<P> {
        let Some((header, payload)) = self.link.next_frame()? else {
            check_deadline(deadline, now, ConnectionError::SetupTimeout)?;
            return Ok((State::Setup { deadline }, Step::Wait));
        };
        if !is_known_extension(header) {
            return Ok((State::Setup { deadline }, Step::Again));
        }
        if !header.is::<SetupConnection>() {
            return Err(ConnectionError::unexpected(header, "before setup"));
        }
        let setup: SetupConnection = decode(payload)?;
        if let Err((code, flags)) = self.judge(&setup) {
            self.link.send(&SetupConnectionError { flags, error_code: Str0_255::from_static(code) });
            return Err(ConnectionError::SetupRefused { code });
        }
        let used_version = PROTOCOL_VERSION;
        self.link.send(&SetupConnectionSuccess { used_version, flags: self.config.success_flags });
        let open = State::Open { negotiable: true, extensions: Vec::new() };
        Ok((open, Step::Event(ServerEvent::Connected { setup, used_version })))
    }

    fn next_message(&mut self, negotiable: bool, extensions: Vec<u16>) -> Stepped<P> {
        let Some((header, payload)) = self.link.next_frame()? else {
            return Ok((State::Open { negotiable, extensions }, Step::Wait));
        };
        if !is_known_extension(header) {
            return Ok((State::Open { negotiable, extensions }, Step::Again));
        }
        if header.extension_type == EXTENSIONS_NEGOTIATION {
            if !negotiable || !header.is::<RequestExtensions>() {
                return Err(ConnectionError::unexpected(header, "when extensions cannot be negotiated"));
            }
            let request = decode(payload)?;
            return Ok(self.negotiate(&request, extensions));
        }
        let message = P::ClientMessage::decode(header, payload, &extensions)
            .map_err(|error| ConnectionError::of_message(error, header))?;
        let mut required = self.config.required_extensions.iter();
        if negotiable && required.any(|extension| !extensions.contains(extension)) {
            return Err(ConnectionError::RequiredExtensionsMissing);
        }
        Ok((State::Open { negotiable: false, extensions }, Step::Event(ServerEvent::Message(message))))
    }

    /// Accepts, or returns the error code and the flags to blame.
    fn judge(&self, setup: &SetupConnection) -> Result<(), (&'static str, u32)> {
        if setup.protocol != P::PROTOCOL as u8 {
            return Err((UNSUPPORTED_PROTOCOL, 0));
        }
        if !(setup.min_version..=setup.max_version).contains(&PROTOCOL_VERSION) {
            return Err((PROTOCOL_VERSION_MISMATCH, 0));
        }
        match setup.flags & !self.config.supported_flags {
            0 => Ok(()),
            unsupported => Err((UNSUPPORTED_FEATURE_FLAGS, unsupported)),
        }
    }

    /// Answers `RequestExtensions` (extension 0x0001, 4). After a refusal, what was negotiated before, if anything,
    /// stays, and the client may ask again.
    fn negotiate(
        &mut self,
        request: &RequestExtensions,
        negotiated: Vec<u16>,
    ) -> (State, Step<ServerEvent<P::ClientMessage>>) {
        let request_id = request.request_id;
        let requested = request.requested_extensions.as_slice();
        let ServerConfig { supported_extensions: supported, required_extensions: required, .. } = &*self.config;

        // Taken from the server's lists, not from the client's, which may repeat itself 65,535 times.
        let mut granted: Vec<u16> = supported.iter().chain(required).copied().collect();
        granted.sort_unstable();
        granted.dedup();
        granted.retain(|extension| requested.contains(extension));
        let missing: Vec<u16> = required.iter().copied().filter(|extension| !requested.contains(extension)).collect();

        if !missing.is_empty() || (granted.is_empty() && !requested.is_empty()) {
            let unsupported = requested.iter().copied().filter(|extension| granted.binary_search(extension).is_err());
            let unsupported_extensions = sequence(unsupported.collect());
            let required_extensions = sequence(missing);
            self.link.send(&RequestExtensionsError { request_id, unsupported_extensions, required_extensions });
            return (State::Open { negotiable: true, extensions: negotiated }, Step::Again);
        }
        self.link.send(&RequestExtensionsSuccess { request_id, supported_extensions: sequence(granted.clone()) });
        let open = State::Open { negotiable: true, extensions: granted.clone() };
        (open, Step::Event(ServerEvent::ExtensionsNegotiated(granted)))
    }
}

/// Lists extensions; of configured lists that no message can hold, the first 65,535.
fn sequence(mut extensions: Vec<u16>) -> Seq0_64K<u16> {
    extensions.truncate(Seq0_64K::<u16>::MAX_LEN);
    Seq0_64K::new(extensions).expect("the list was cut to what a sequence holds")
}
