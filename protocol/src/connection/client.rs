//! The client's side of a connection, up to the messages of its protocol.

use std::marker::PhantomData;
use std::time::Instant;

use super::link::Link;
use super::{ConnectionError, Deadline, Limits, Mining, Step, Subprotocol, check_deadline, decode, is_known_extension};
use crate::codec::{Seq0_64K, Str0_255};
use crate::framing::Header;
use crate::messages::common::{
    ChannelEndpointChanged, Reconnect, SetupConnection, SetupConnectionError, SetupConnectionSuccess,
};
use crate::messages::extensions::{
    RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess, WorkerIdentity,
};
use crate::messages::mining::{self, SubmitSharesExtended};
use crate::messages::{Message, MessageSet};
use crate::noise::{AuthorityPublicKey, Initiator};

/// What a client needs for a connection.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Whose certificate the server must have. With none, anybody may be at the other end.
    pub authority: Option<AuthorityPublicKey>,
    /// What to say about oneself. The connection sets the protocol's number to its own.
    pub setup: SetupConnection,
    /// The extensions to ask for after setup; with none, nothing is asked.
    pub extensions: Vec<u16>,
    /// What the server may cost.
    pub limits: Limits,
}

/// What happened on a client's connection.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent<M = mining::ServerMessage> {
    /// The server accepts. Messages may be sent from now on, those that need an extension after its negotiation.
    Connected {
        /// The server's flags.
        flags: u32,
        /// The protocol version spoken.
        used_version: u16,
    },
    /// The server refuses; the connection has ended.
    SetupRefused {
        /// The reason.
        code: Str0_255,
        /// The client's flags that are to blame, if any.
        flags: u32,
    },
    /// These extensions may be used.
    ExtensionsNegotiated(Vec<u16>),
    /// No extension may be used; [`ClientConnection::request_extensions`] may ask again.
    ExtensionsRefused {
        /// What the server does not know.
        unsupported: Vec<u16>,
        /// What the server demands and was not asked for.
        required: Vec<u16>,
    },
    /// A message of the protocol.
    Message(M),
    /// The server wishes the client to go elsewhere.
    Reconnect(Reconnect),
    /// A channel ends at another device now.
    ChannelEndpointChanged(ChannelEndpointChanged),
}

/// The client's end of a connection that speaks the protocol `P`.
#[derive(Debug)]
pub struct ClientConnection<P: Subprotocol = Mining> {
    config: ClientConfig,
    pub(super) link: Link,
    state: State,
    /// The request for extensions that waits for its answer.
    asked: Option<u16>,
    /// The id of the last such request.
    last_request_id: u16,
    started: Instant,
    protocol: PhantomData<fn() -> P>,
}

#[derive(Debug)]
enum State {
    Handshake { initiator: Initiator, deadline: Deadline },
    Setup { deadline: Deadline },
    Open { extensions: Vec<u16> },
    Ended,
}

/// The state that follows, and what to report; or why the connection ends.
type Stepped<P> = Result<(State, Step<ClientEvent<<P as Subprotocol>::ServerMessage>>), ConnectionError>;

impl ClientConnection {
    /// Starts a connection of the Mining Protocol. The first message of the handshake is ready to be written.
    pub fn new(config: ClientConfig, now: Instant) -> Self {
        Self::speaking(config, now)
    }

    /// Sends a share with the name of the worker that found it. Only for a connection that has negotiated extension
    /// 0x0002.
    pub fn send_with_worker(&mut self, share: &SubmitSharesExtended, worker: &WorkerIdentity) {
        match self.state {
            State::Open { .. } => self.link.send_with(share, |out| worker.encode_field(out)),
            State::Ended => {}
            _ => self.link.fail(ConnectionError::SentBeforeSetup { message: SubmitSharesExtended::NAME }),
        }
    }
}

impl<P: Subprotocol> ClientConnection<P> {
    /// Starts a connection of the protocol `P`. The first message of the handshake is ready to be written.
    pub fn speaking(config: ClientConfig, now: Instant) -> Self {
        let mut link = Link::new(config.limits);
        let (initiator, act_1) = Initiator::start();
        link.send_plain(&act_1);
        let state = State::Handshake { initiator, deadline: now.checked_add(config.limits.handshake_timeout) };
        Self { config, link, state, asked: None, last_request_id: 0, started: now, protocol: PhantomData }
    }

    /// Takes bytes from the socket, cut anywhere. Up to 64 KiB always fit once [`poll`](Self::poll) has returned `None`.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.link.receive(bytes);
    }

    /// Returns the next event of what was received; `None` when more bytes are needed. The server's certificate is
    /// checked against the Unix time `now_unix`.
    ///
    /// # Errors
    ///
    /// Whatever ends the connection.
    pub fn poll(
        &mut self,
        now: Instant,
        now_unix: u32,
    ) -> Result<Option<ClientEvent<P::ServerMessage>>, ConnectionError> {
        let event = self.advance(now, now_unix);
        if event.is_err() {
            self.state = State::Ended;
        }
        event
    }

    /// Returns the header of the last frame that was received whole, as the server sent it. After an event or an error of
    /// [`poll`](Self::poll) that is about a frame, it is that frame's.
    pub fn last_header(&self) -> Option<Header> {
        self.link.last_header()
    }

    /// Encrypts a message into the output. One that cannot be sent ends the connection, with an error from the next
    /// [`poll`](Self::poll), for which [`deadline`](Self::deadline) then calls at once. After the end, nothing is sent.
    pub fn send<M: Message>(&mut self, message: &M) {
        match self.state {
            State::Open { .. } => self.link.send(message),
            State::Ended => {}
            _ => self.link.fail(ConnectionError::SentBeforeSetup { message: M::NAME }),
        }
    }

    /// Asks for other extensions, after a refusal and before the first message of the protocol.
    pub fn request_extensions(&mut self, extensions: &[u16]) {
        match self.state {
            State::Open { .. } => self.send_request(extensions),
            State::Ended => {}
            _ => self.link.fail(ConnectionError::SentBeforeSetup { message: RequestExtensions::NAME }),
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

    /// Returns when [`poll`](Self::poll) is due even if nothing is received.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Ended => None,
            _ if self.link.has_failed() => Some(self.started),
            State::Handshake { deadline, .. } | State::Setup { deadline } => deadline,
            State::Open { .. } => None,
        }
    }

    fn advance(
        &mut self,
        now: Instant,
        now_unix: u32,
    ) -> Result<Option<ClientEvent<P::ServerMessage>>, ConnectionError> {
        loop {
            let (state, step) = match std::mem::replace(&mut self.state, State::Ended) {
                State::Handshake { initiator, deadline } => self.shake_hands(initiator, deadline, now, now_unix)?,
                State::Setup { deadline } => self.set_up(deadline, now)?,
                State::Open { extensions } => self.next_message(extensions)?,
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

    fn shake_hands(&mut self, initiator: Initiator, deadline: Deadline, now: Instant, now_unix: u32) -> Stepped<P> {
        self.link.check()?;
        let Some(act_2) = self.link.take_plain() else {
            check_deadline(deadline, now, ConnectionError::HandshakeTimeout)?;
            return Ok((State::Handshake { initiator, deadline }, Step::Wait));
        };
        let transport = initiator.finish(&act_2, self.config.authority.as_ref(), now_unix)?;
        self.link.encrypt_with(transport);
        self.config.setup.protocol = P::PROTOCOL as u8;
        self.link.send(&self.config.setup);
        Ok((State::Setup { deadline: now.checked_add(self.config.limits.setup_timeout) }, Step::Again))
    }

    fn set_up(&mut self, deadline: Deadline, now: Instant) -> Stepped<P> {
        let Some((header, payload)) = self.link.next_frame()? else {
            check_deadline(deadline, now, ConnectionError::SetupTimeout)?;
            return Ok((State::Setup { deadline }, Step::Wait));
        };
        if !is_known_extension(header) {
            return Ok((State::Setup { deadline }, Step::Again));
        }
        if header.is::<SetupConnectionError>() {
            let SetupConnectionError { flags, error_code: code } = decode(payload)?;
            return Ok((State::Ended, Step::Event(ClientEvent::SetupRefused { code, flags })));
        }
        if !header.is::<SetupConnectionSuccess>() {
            return Err(ConnectionError::unexpected(header, "before setup"));
        }
        let SetupConnectionSuccess { used_version, flags } = decode(payload)?;
        let SetupConnection { min_version, max_version, .. } = self.config.setup;
        if !(min_version..=max_version).contains(&used_version) {
            return Err(ConnectionError::VersionNotOffered { used_version });
        }
        if !self.config.extensions.is_empty() {
            let extensions = std::mem::take(&mut self.config.extensions);
            self.send_request(&extensions);
        }
        let open = State::Open { extensions: Vec::new() };
        Ok((open, Step::Event(ClientEvent::Connected { flags, used_version })))
    }

    fn next_message(&mut self, extensions: Vec<u16>) -> Stepped<P> {
        let Some((header, payload)) = self.link.next_frame()? else {
            return Ok((State::Open { extensions }, Step::Wait));
        };
        if !is_known_extension(header) {
            return Ok((State::Open { extensions }, Step::Again));
        }
        if header.is::<RequestExtensionsSuccess>() {
            let RequestExtensionsSuccess { request_id, supported_extensions } = decode(payload)?;
            self.expect_answer_to(request_id)?;
            let extensions = supported_extensions.into_vec();
            let event = ClientEvent::ExtensionsNegotiated(extensions.clone());
            return Ok((State::Open { extensions }, Step::Event(event)));
        }
        if header.is::<RequestExtensionsError>() {
            let RequestExtensionsError { request_id, unsupported_extensions, required_extensions } = decode(payload)?;
            self.expect_answer_to(request_id)?;
            let (unsupported, required) = (unsupported_extensions.into_vec(), required_extensions.into_vec());
            let event = ClientEvent::ExtensionsRefused { unsupported, required };
            return Ok((State::Open { extensions }, Step::Event(event)));
        }
        let event = if header.is::<Reconnect>() {
            ClientEvent::Reconnect(decode(payload)?)
        } else if header.is::<ChannelEndpointChanged>() {
            ClientEvent::ChannelEndpointChanged(decode(payload)?)
        } else {
            P::ServerMessage::decode(header, payload, &extensions)
                .map(ClientEvent::Message)
                .map_err(|error| ConnectionError::of_message(error, header))?
        };
        Ok((State::Open { extensions }, Step::Event(event)))
    }

    fn send_request(&mut self, extensions: &[u16]) {
        let Ok(requested_extensions) = Seq0_64K::new(extensions) else {
            return self.link.fail(ConnectionError::MessageTooLarge { message: RequestExtensions::NAME });
        };
        let request_id = self.last_request_id.wrapping_add(1);
        self.last_request_id = request_id;
        self.asked = Some(request_id);
        self.link.send(&RequestExtensions { request_id, requested_extensions });
    }

    fn expect_answer_to(&mut self, request_id: u16) -> Result<(), ConnectionError> {
        match self.asked.take() {
            Some(asked) if asked == request_id => Ok(()),
            _ => Err(ConnectionError::UnaskedAnswer { request_id }),
        }
    }
}
