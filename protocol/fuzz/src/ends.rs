//! Both ends of a connection, watched: after each call, what must always hold of an end is asserted.
//!
//! [`Server`] and [`Client`] wrap the crate's own ends. [`Bare`] is an end that shares only the ciphers with them, and
//! sends whatever it likes.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use protocol::codec::Str0_255;
use protocol::connection::{
    ClientConfig, ClientConnection, ClientEvent, ConnectionError, Limits, ServerConfig, ServerConnection, ServerEvent,
};
use protocol::framing::{ENCRYPTED_HEADER_LEN, HEADER_LEN, Header, MAC_LEN, MAX_CHUNK_LEN, encrypted_payload_len};
use protocol::messages::common::{Protocol, SetupConnection};
use protocol::messages::extensions::WORKER_SPECIFIC_HASHRATE_TRACKING;
use protocol::messages::mining::REQUIRES_STANDARD_JOBS;
use protocol::messages::{Message, name_of};
use protocol::noise::{self, ACT_1_LEN, ACT_2_LEN, AuthoritySecretKey, Initiator, ServerIdentity, Transport};

/// The Unix time of all runs.
pub const NOW_UNIX: u32 = 1_750_000_000;
/// What a caller may hand over at once, after `poll` has returned `None`.
pub const READ_LEN: usize = 64 * 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// When all runs begin.
pub static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static AUTHORITY: LazyLock<AuthoritySecretKey> =
    LazyLock::new(|| AuthoritySecretKey::from_bytes(&[0x42; 32]).expect("the number is a valid key"));
/// One for each [`Setting`] of a server: making identities would take more time than using them.
static SERVERS: LazyLock<Vec<Arc<ServerConfig>>> =
    LazyLock::new(|| (0..8).map(|bits| Arc::new(Setting(bits).make_server())).collect());

/// How a run is configured, a bit for each choice: 1 small limits, 2 the server supports extension 0x0002, 4 it
/// demands it, 8 the client asks for it, 16 the client knows no authority, 32 the client wants what is not supported.
#[derive(Clone, Copy, Debug)]
pub struct Setting(pub u8);

impl Setting {
    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn extensions(self, bit: u8) -> Vec<u16> {
        if self.has(bit) { vec![WORKER_SPECIFIC_HASHRATE_TRACKING] } else { vec![] }
    }

    /// What either end allows the other.
    pub fn limits(self) -> Limits {
        let (max_frame_payload, max_unsent_bytes) = if self.has(1) { (300, 1024) } else { (144 * 1024, 512 * 1024) };
        let (handshake_timeout, setup_timeout) = (HANDSHAKE_TIMEOUT, SETUP_TIMEOUT);
        Limits { handshake_timeout, setup_timeout, max_frame_payload, max_unsent_bytes }
    }

    fn make_server(self) -> ServerConfig {
        ServerConfig {
            identity: ServerIdentity::new(&AUTHORITY, NOW_UNIX - 60, NOW_UNIX + 3600),
            supported_flags: REQUIRES_STANDARD_JOBS,
            success_flags: 0,
            supported_extensions: self.extensions(2),
            required_extensions: self.extensions(4),
            limits: self.limits(),
        }
    }

    fn server(self) -> Arc<ServerConfig> {
        Arc::clone(&SERVERS[usize::from(self.0 & 7)])
    }

    fn client(self) -> ClientConfig {
        ClientConfig {
            authority: (!self.has(16)).then(|| AUTHORITY.public_key()),
            setup: setup_connection(if self.has(32) { u32::MAX } else { REQUIRES_STANDARD_JOBS }),
            extensions: self.extensions(8),
            limits: self.limits(),
        }
    }

    /// The most bytes that an end may hold unread.
    fn max_unread(self) -> usize {
        ENCRYPTED_HEADER_LEN + encrypted_payload_len(self.limits().max_frame_payload) + READ_LEN
    }
}

/// What a miner says first.
pub fn setup_connection(flags: u32) -> SetupConnection {
    let text = Str0_255::from_static;
    SetupConnection {
        protocol: Protocol::Mining as u8,
        min_version: 2,
        max_version: 2,
        flags,
        endpoint_host: text("pool.example"),
        endpoint_port: 34254,
        vendor: text("fuzz"),
        hardware_version: text(""),
        firmware: text(""),
        device_id: text(""),
    }
}

/// What both roles have in common: what went in and out, and how it ended.
#[derive(Debug)]
struct Watch {
    setting: Setting,
    received: usize,
    /// Received since the last poll that returned `None`.
    unpolled: usize,
    /// Taken from the output so far.
    taken: usize,
    events: usize,
    connected: bool,
    error: Option<ConnectionError>,
}

impl Watch {
    fn new(setting: Setting) -> Self {
        Self { setting, received: 0, unpolled: 0, taken: 0, events: 0, connected: false, error: None }
    }

    fn receive(&mut self, len: usize) {
        self.received += len;
        self.unpolled += len;
    }

    /// Neither of the waiting output nor of the events is there more than the input and the limits allow.
    fn check(&self, unsent: usize, handshake_in: usize, handshake_out: usize) {
        let max = self.setting.limits().max_unsent_bytes.max(handshake_out);
        assert!(unsent <= max, "{unsent} bytes wait to be sent");
        let frames = self.received.saturating_sub(handshake_in) / ENCRYPTED_HEADER_LEN;
        assert!(self.events <= frames, "{} events of {} bytes", self.events, self.received);
    }

    /// `poll` returned `None`: nothing has failed, and there is a deadline until setup is done.
    fn waits(&mut self, deadline: Option<Instant>, now: Instant) {
        assert_eq!(self.error, None, "an end goes on after its error");
        assert!(self.unpolled <= self.setting.max_unread(), "{} bytes were taken without a poll", self.unpolled);
        self.unpolled = 0;
        assert_eq!(deadline.is_none(), self.connected, "only setup has a deadline");
        if let Some(deadline) = deadline {
            assert!(deadline > now, "a deadline has passed unnoticed");
            assert!(deadline <= now + HANDSHAKE_TIMEOUT.max(SETUP_TIMEOUT));
        }
    }

    /// `poll` returned an error: the first says what happened, all later ones that it has ended.
    fn fails(&mut self, error: ConnectionError, deadline: Option<Instant>) {
        assert_eq!(deadline, None, "an end that has failed waits for nothing");
        if self.error.is_some() {
            assert_eq!(error, ConnectionError::Ended);
            return;
        }
        let input_full = matches!(error, ConnectionError::InputFull { .. });
        assert!(!input_full || self.unpolled > READ_LEN, "a single read is too much");
        self.error = Some(error);
    }
}

/// The crate's server.
#[derive(Debug)]
pub struct Server {
    connection: ServerConnection,
    watch: Watch,
    /// What the client may use.
    pub negotiated: Vec<u16>,
    /// Whether a message of the protocol has come.
    spoken_to: bool,
}

impl Server {
    /// Starts a connection at [`START`].
    pub fn new(setting: Setting) -> Self {
        let connection = ServerConnection::new(setting.server(), *START);
        Self { connection, watch: Watch::new(setting), negotiated: vec![], spoken_to: false }
    }

    /// The first error, if there was one.
    pub fn error(&self) -> Option<&ConnectionError> {
        self.watch.error.as_ref()
    }

    /// Whether the client was accepted.
    pub fn is_connected(&self) -> bool {
        self.watch.connected
    }

    /// Hands bytes over, without a poll.
    pub fn receive(&mut self, bytes: &[u8]) {
        let sent = self.sent();
        self.watch.receive(bytes.len());
        self.connection.receive(bytes);
        assert_eq!(self.sent(), sent, "only a poll makes answers");
    }

    /// Polls until there is nothing more.
    pub fn poll(&mut self, now: Instant) -> Vec<ServerEvent> {
        let mut events = vec![];
        loop {
            let (sent, had_ended) = (self.sent(), self.watch.error.is_some());
            let polled = self.connection.poll(now);
            assert!(!had_ended || self.sent() == sent, "an ended connection sends");
            match polled {
                Ok(Some(event)) => {
                    assert!(!had_ended, "an event after an error");
                    self.watch.events += 1;
                    self.follow(&event);
                    self.check();
                    events.push(event);
                }
                Ok(None) => {
                    self.watch.waits(self.connection.deadline(), now);
                    self.check();
                    return events;
                }
                Err(error) => {
                    self.watch.fails(error, self.connection.deadline());
                    self.check();
                    assert_eq!(self.connection.poll(now), Err(ConnectionError::Ended));
                    return events;
                }
            }
        }
    }

    /// Sends a message; returns false if it was not taken.
    pub fn send<M: Message>(&mut self, message: &M) -> bool {
        let sent = self.sent();
        self.connection.send(message);
        self.check();
        assert!(self.sent() == sent || self.watch.connected, "{} went out before setup", M::NAME);
        assert!(self.sent() == sent || self.watch.error.is_none(), "{} went out after the end", M::NAME);
        self.sent() > sent
    }

    /// Takes up to `max` bytes off the output.
    pub fn take_output(&mut self, max: usize) -> Vec<u8> {
        let output = self.connection.output();
        let taken = output[..output.len().min(max)].to_vec();
        self.connection.consume_output(taken.len());
        self.watch.taken += taken.len();
        taken
    }

    fn sent(&self) -> usize {
        self.watch.taken + self.connection.output().len()
    }

    fn check(&self) {
        self.watch.check(self.connection.output().len(), ACT_1_LEN, ACT_2_LEN);
        let refused = matches!(self.watch.error, Some(ConnectionError::SetupRefused { .. }));
        match self.sent() {
            0 => {}
            ACT_2_LEN => assert!(self.watch.received >= ACT_1_LEN, "an answer to nothing"),
            _ => {
                let asked = self.watch.received > ACT_1_LEN + ENCRYPTED_HEADER_LEN;
                assert!(asked && (self.watch.connected || refused), "frames before setup");
            }
        }
    }

    /// Events come in this order: connected, extensions as often as the client likes, messages.
    fn follow(&mut self, event: &ServerEvent) {
        let config = self.watch.setting.server();
        match event {
            ServerEvent::Connected { setup, used_version } => {
                assert!(!self.watch.connected, "connected twice");
                assert_eq!((setup.protocol, *used_version), (Protocol::Mining as u8, 2));
                assert_eq!(setup.flags & !config.supported_flags, 0);
                self.watch.connected = true;
            }
            ServerEvent::ExtensionsNegotiated(extensions) => {
                assert!(self.watch.connected && !self.spoken_to, "extensions out of turn");
                let offered: Vec<_> = config.supported_extensions.iter().chain(&config.required_extensions).collect();
                assert!(extensions.iter().all(|extension| offered.contains(&extension)));
                assert!(config.required_extensions.iter().all(|extension| extensions.contains(extension)));
                self.negotiated.clone_from(extensions);
            }
            ServerEvent::Message(_) => {
                assert!(self.watch.connected, "a message before setup");
                let mut required = config.required_extensions.iter();
                assert!(
                    required.all(|extension| self.negotiated.contains(extension)),
                    "a message without its extension"
                );
                self.spoken_to = true;
            }
        }
    }
}

/// The crate's client.
#[derive(Debug)]
pub struct Client {
    connection: ClientConnection,
    watch: Watch,
    /// Requests for extensions so far, answers to them so far.
    requests: usize,
    answers: usize,
    refused: bool,
}

impl Client {
    /// Starts a connection at [`START`].
    pub fn new(setting: Setting) -> Self {
        let connection = ClientConnection::new(setting.client(), *START);
        assert_eq!(connection.output().len(), ACT_1_LEN);
        Self { connection, watch: Watch::new(setting), requests: 0, answers: 0, refused: false }
    }

    /// The first error, if there was one.
    pub fn error(&self) -> Option<&ConnectionError> {
        self.watch.error.as_ref()
    }

    /// Whether the server has accepted.
    pub fn is_connected(&self) -> bool {
        self.watch.connected
    }

    /// Hands bytes over, without a poll.
    pub fn receive(&mut self, bytes: &[u8]) {
        let sent = self.sent();
        self.watch.receive(bytes.len());
        self.connection.receive(bytes);
        assert_eq!(self.sent(), sent, "only a poll makes answers");
    }

    /// Polls until there is nothing more.
    pub fn poll(&mut self, now: Instant) -> Vec<ClientEvent> {
        let mut events = vec![];
        loop {
            let (sent, had_ended) = (self.sent(), self.watch.error.is_some());
            let polled = self.connection.poll(now, NOW_UNIX);
            assert!(!had_ended || self.sent() == sent, "an ended connection sends");
            match polled {
                Ok(Some(event)) => {
                    assert!(!had_ended, "an event after an error");
                    self.watch.events += 1;
                    self.follow(&event);
                    self.check();
                    events.push(event);
                }
                Ok(None) => {
                    self.watch.waits(self.connection.deadline(), now);
                    self.check();
                    return events;
                }
                Err(error) => {
                    assert!(!self.refused || error == ConnectionError::Ended, "a refusal has no second reason");
                    self.watch.fails(error, self.connection.deadline());
                    self.check();
                    assert_eq!(self.connection.poll(now, NOW_UNIX), Err(ConnectionError::Ended));
                    return events;
                }
            }
        }
    }

    /// Sends a message as `send` says; returns false if it was not taken.
    pub fn send(&mut self, send: impl FnOnce(&mut ClientConnection)) -> bool {
        let sent = self.sent();
        send(&mut self.connection);
        self.check();
        assert!(self.sent() == sent || self.watch.connected, "a message went out before setup");
        assert!(self.sent() == sent || self.watch.error.is_none(), "a message went out after the end");
        self.sent() > sent
    }

    /// Asks for extensions.
    pub fn request_extensions(&mut self, extensions: &[u16]) {
        if self.send(|connection| connection.request_extensions(extensions)) {
            self.requests += 1;
        }
    }

    /// Takes up to `max` bytes off the output.
    pub fn take_output(&mut self, max: usize) -> Vec<u8> {
        let output = self.connection.output();
        let taken = output[..output.len().min(max)].to_vec();
        self.connection.consume_output(taken.len());
        self.watch.taken += taken.len();
        taken
    }

    fn sent(&self) -> usize {
        self.watch.taken + self.connection.output().len()
    }

    fn check(&self) {
        self.watch.check(self.connection.output().len(), ACT_2_LEN, ACT_1_LEN);
        if self.sent() > ACT_1_LEN {
            assert!(self.watch.received >= ACT_2_LEN, "frames before the handshake's end");
        }
    }

    /// Events come in this order: connected or refused, and after a refusal nothing; answers to what was asked only.
    fn follow(&mut self, event: &ClientEvent) {
        assert!(!self.refused, "an event after a refusal");
        match event {
            ClientEvent::Connected { used_version, .. } => {
                assert!(!self.watch.connected, "connected twice");
                assert_eq!(*used_version, 2, "only this was offered");
                self.watch.connected = true;
                self.requests += usize::from(self.watch.setting.has(8));
            }
            ClientEvent::SetupRefused { .. } => {
                assert!(!self.watch.connected, "refused after setup");
                self.refused = true;
            }
            ClientEvent::ExtensionsNegotiated(_) | ClientEvent::ExtensionsRefused { .. } => {
                self.answers += 1;
                assert!(self.answers <= self.requests, "an answer to nothing");
            }
            ClientEvent::Message(_) | ClientEvent::Reconnect(_) | ClientEvent::ChannelEndpointChanged(_) => {
                assert!(self.watch.connected, "a message before setup");
            }
        }
    }
}

/// An end that has only the ciphers: it encrypts any frame, and checks that it can read whatever the other end sends.
#[derive(Debug)]
pub struct Bare {
    transport: Transport,
    /// What the other end sent and is not a whole frame yet.
    unread: Vec<u8>,
}

impl Bare {
    /// Shakes hands with a server.
    pub fn client_of(server: &mut Server) -> Self {
        let (initiator, act_1) = Initiator::start();
        server.receive(&act_1);
        assert!(server.poll(*START).is_empty());
        let act_2 = server.take_output(usize::MAX).try_into().expect("the server answers with its act and no more");
        let transport = initiator.finish(&act_2, Some(&AUTHORITY.public_key()), NOW_UNIX);
        Self { transport: transport.expect("the server is the authority's"), unread: vec![] }
    }

    /// Shakes hands with a client, and reads its setup.
    pub fn server_of(client: &mut Client) -> Self {
        let act_1 = client.take_output(usize::MAX).try_into().expect("a client starts with its act and no more");
        let (act_2, transport) = noise::respond(&Setting(0).server().identity, &act_1).expect("any bytes are a key");
        client.receive(&act_2);
        assert!(client.poll(*START).is_empty());
        Self { transport, unread: vec![] }
    }

    /// Encrypts a frame, whatever its header says.
    pub fn frame(&mut self, header: [u8; HEADER_LEN], payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![];
        for block in std::iter::once(&header[..]).chain(payload.chunks(MAX_CHUNK_LEN)) {
            let mut block = block.to_vec();
            let mac = self.transport.sealer.seal(&mut block);
            frame.extend(block);
            frame.extend(mac);
        }
        frame
    }

    /// Encrypts a message.
    pub fn message<M: Message>(&mut self, message: &M) -> Vec<u8> {
        let mut payload = vec![];
        message.encode(&mut payload);
        let header = Header::of::<M>(payload.len()).expect("no message here is longer than a frame");
        self.frame(header.to_bytes(), &payload)
    }

    /// Reads what the other end sent: frames of messages that have names, and nothing between them.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<(Header, Vec<u8>)> {
        self.unread.extend_from_slice(bytes);
        let mut frames = vec![];
        while !self.unread.is_empty() {
            // The other end's output is always taken whole, so that frames are never cut.
            let (header, rest) = self.unread.split_at_mut(ENCRYPTED_HEADER_LEN);
            self.transport.opener.open(header).expect("what an end sends can be decrypted");
            let header = *header.first_chunk::<HEADER_LEN>().expect("a header was decrypted");
            let header = Header::from_bytes(header);
            assert!(name_of(header).is_some(), "{header:?} means nothing");
            let len = encrypted_payload_len(header.payload_len());
            let mut payload = vec![];
            for block in rest[..len].chunks_mut(MAX_CHUNK_LEN + MAC_LEN) {
                let plain = self.transport.opener.open(block).expect("what an end sends can be decrypted");
                payload.extend_from_slice(&block[..plain]);
            }
            self.unread.drain(..ENCRYPTED_HEADER_LEN + len);
            frames.push((header, payload));
        }
        frames
    }
}
