//! The probe's end of one connection: frames out, frames in, and what can be told of each frame by itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::{
    codec::Str0_255,
    connection::{ConnectionError, Limits, Link},
    framing::Header,
    messages::{
        Message, MessageError, MessageSet,
        common::{PROTOCOL_VERSION, Protocol, SetupConnection, SetupConnectionError, SetupConnectionSuccess},
        extensions::{RequestExtensionsError, RequestExtensionsSuccess},
        mining::{CloseChannel, NewExtendedMiningJob, ServerMessage},
        name_of,
    },
    noise::{ACT_2_LEN, AuthorityPublicKey, Initiator, NoiseError},
};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{board::Board, check::Check, report::Findings, url::PoolUrl};

/// The longest payload that small devices take, in bytes.
const SMALL_FRAME: usize = 2_048;
/// What one read takes at most.
const READ_SIZE: usize = 16 * 1024;
/// What the probe calls itself.
const VENDOR: &str = "Adit probe";

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The host cannot be reached.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The handshake failed.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The server did not answer.
    #[error("no answer in time")]
    Silent,
}

/// Why nothing came.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Lost {
    /// The time is over.
    #[error("no answer in time")]
    Silent,
    /// The pool has closed the connection.
    #[error("the pool closed the connection")]
    Closed,
    /// What came cannot be understood.
    #[error("what came cannot be read: {0}")]
    Garbled(String),
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The connection is accepted.
    SetupSuccess(SetupConnectionSuccess),
    /// The connection is refused.
    SetupError(SetupConnectionError),
    /// Extensions are granted.
    ExtensionsSuccess(RequestExtensionsSuccess),
    /// Extensions are refused.
    ExtensionsError(RequestExtensionsError),
    /// A message of the Mining Protocol.
    Mining(ServerMessage),
    /// Anything else, by its name or numbers.
    Other(String),
}

/// What `SetupConnection` says that differs from one connection to another.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The protocol's number.
    pub protocol: u8,
    /// The lowest and the highest version.
    pub versions: (u16, u16),
    /// What the client needs.
    pub flags: u32,
}

impl Setup {
    /// What a miner says.
    pub fn mining(flags: u32) -> Self {
        Self { protocol: Protocol::Mining as u8, versions: (PROTOCOL_VERSION, PROTOCOL_VERSION), flags }
    }
}

/// A connection to the pool.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    link: Link,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long the pool took to answer the handshake.
    pub round_trip: Duration,
    /// What the pool has said of channels and jobs.
    pub board: Board,
    /// What was found on this connection.
    pub findings: Findings,
}

impl Peer {
    /// Connects and shakes hands. With an authority, the server must have its certificate.
    ///
    /// # Errors
    ///
    /// If the host is not reached or the handshake fails.
    pub async fn connect(
        url: &PoolUrl,
        authority: Option<&AuthorityPublicKey>,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let shake_hands = async {
            let mut stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
            stream.set_nodelay(true)?;
            let (initiator, act_1) = Initiator::start();
            let sent = Instant::now();
            stream.write_all(&act_1).await?;
            let mut act_2 = [0; ACT_2_LEN];
            stream.read_exact(&mut act_2).await?;
            let round_trip = sent.elapsed();
            let transport = initiator.finish(&act_2, authority, unix_now())?;
            let mut link = Link::new(Limits::default());
            link.encrypt_with(transport);
            let (board, findings) = (Board::new(0), Findings::default());
            Ok(Self { stream, link, timeout: limit, round_trip, board, findings })
        };
        timeout(limit, shake_hands).await.unwrap_or(Err(ConnectError::Silent))
    }

    /// Sends `SetupConnection` and returns the first frame that comes.
    ///
    /// # Errors
    ///
    /// If none comes.
    pub async fn set_up(&mut self, url: &PoolUrl, setup: Setup) -> Result<Incoming, Lost> {
        self.board = Board::new(setup.flags);
        // A host's name has at most 253 characters.
        let host = Str0_255::new(&url.host).unwrap_or_default();
        self.send(&SetupConnection {
            protocol: setup.protocol,
            min_version: setup.versions.0,
            max_version: setup.versions.1,
            flags: setup.flags,
            endpoint_host: host,
            endpoint_port: url.port,
            vendor: Str0_255::from_static(VENDOR),
            hardware_version: Str0_255::from_static("none"),
            firmware: Str0_255::from_static(env!("CARGO_PKG_VERSION")),
            device_id: Str0_255::from_static(""),
        })
        .await;
        self.next(self.deadline()).await
    }

    /// Sends a message. That a connection is gone shows when its answer is waited for.
    pub async fn send<M: Message>(&mut self, message: &M) {
        self.link.send(message);
        self.flush().await;
    }

    /// Sends a frame as it is.
    pub async fn send_frame(&mut self, header: Header, payload: &[u8]) {
        self.link.send_frame(header, payload);
        self.flush().await;
    }

    /// Closes all channels and the connection, and returns what was found.
    pub async fn leave(mut self) -> Findings {
        for channel_id in self.board.channel_ids() {
            self.close(channel_id).await;
        }
        // Whoever has closed already need not be told.
        let _ = self.stream.shutdown().await;
        self.findings
    }

    /// Closes a channel.
    pub async fn close(&mut self, channel_id: u32) {
        self.send(&CloseChannel { channel_id, reason_code: Str0_255::from_static("probe-done") }).await;
        self.board.close(channel_id);
    }

    async fn flush(&mut self) {
        let written = timeout(self.timeout, self.stream.write_all(self.link.output())).await;
        let len = if written.is_ok() { self.link.output().len() } else { 0 };
        self.link.consume_output(len);
    }

    /// Returns when an answer to what is said now is late.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Waits for the next frame. Whatever it is, the board knows it then.
    ///
    /// # Errors
    ///
    /// If none comes until `deadline`.
    pub async fn next(&mut self, deadline: Instant) -> Result<Incoming, Lost> {
        loop {
            if let Some(incoming) = self.take()? {
                return Ok(incoming);
            }
            let mut buffer = [0; READ_SIZE];
            match timeout_at(deadline, self.stream.read(&mut buffer)).await {
                Err(_) => return Err(Lost::Silent),
                Ok(Ok(0) | Err(_)) => return Err(Lost::Closed),
                Ok(Ok(len)) => self.link.receive(&buffer[..len]),
            }
        }
    }

    /// Waits until `look` finds something in a frame.
    ///
    /// # Errors
    ///
    /// If it has not until `deadline`.
    pub async fn wait_for<T>(
        &mut self,
        deadline: Instant,
        mut look: impl FnMut(&Incoming, &Board) -> Option<T>,
    ) -> Result<T, Lost> {
        loop {
            let incoming = self.next(deadline).await?;
            if let Some(found) = look(&incoming, &self.board) {
                return Ok(found);
            }
        }
    }

    /// Takes in what has come until `deadline`.
    ///
    /// # Errors
    ///
    /// If the connection is gone before.
    pub async fn listen(&mut self, deadline: Instant) -> Result<(), Lost> {
        match self.wait_for(deadline, |_, _| None::<()>).await {
            Err(Lost::Silent) | Ok(()) => Ok(()),
            Err(lost) => Err(lost),
        }
    }

    /// Takes the next frame out of what was read.
    fn take(&mut self) -> Result<Option<Incoming>, Lost> {
        let frame = self.link.next_frame().map_err(|error: ConnectionError| Lost::Garbled(error.to_string()))?;
        let Some((header, payload)) = frame else { return Ok(None) };
        let incoming = decode(header, payload)?;
        self.board.apply(&incoming, &mut self.findings);
        self.examine(header, &incoming);
        Ok(Some(incoming))
    }

    /// Checks what a frame shows by itself.
    fn examine(&mut self, header: Header, incoming: &Incoming) {
        let name = name_of(header).unwrap_or("an unknown message");
        let len = header.payload_len();
        if len > SMALL_FRAME || header.is::<NewExtendedMiningJob>() {
            let seen = || format!("{name} of {len} bytes");
            self.findings.judge(Check::FrameSize, len <= SMALL_FRAME, "at most 2,048 bytes", seen);
        }
        if let Some(must_be_set) = channel_bit(incoming) {
            let state = |set: bool| format!("{name} {} the channel bit", if set { "with" } else { "without" });
            let holds = header.channel_msg == must_be_set;
            self.findings.judge(Check::ChannelBit, holds, state(must_be_set), || state(header.channel_msg));
        }
        if let Some(code) = code(incoming) {
            let holds = code.to_str().is_some_and(|code| !code.contains(char::is_control));
            self.findings.judge(Check::CodeCharacters, holds, "no control characters", || format!("{code:?}"));
        }
    }
}

fn decode(header: Header, payload: &[u8]) -> Result<Incoming, Lost> {
    fn of<M: Message>(payload: &[u8], variant: fn(M) -> Incoming) -> Result<Incoming, Lost> {
        M::decode(payload).map(variant).map_err(|error| Lost::Garbled(format!("{}: {error}", M::NAME)))
    }
    if header.is::<SetupConnectionSuccess>() {
        return of(payload, Incoming::SetupSuccess);
    }
    if header.is::<SetupConnectionError>() {
        return of(payload, Incoming::SetupError);
    }
    if header.is::<RequestExtensionsSuccess>() {
        return of(payload, Incoming::ExtensionsSuccess);
    }
    if header.is::<RequestExtensionsError>() {
        return of(payload, Incoming::ExtensionsError);
    }
    match ServerMessage::decode(header, payload, &[]) {
        Ok(message) => Ok(Incoming::Mining(message)),
        Err(MessageError::Decode { message, source }) => Err(Lost::Garbled(format!("{message}: {source}"))),
        Err(MessageError::NotOfThisSet) => Ok(Incoming::Other(match name_of(header) {
            Some(name) => name.to_owned(),
            None => format!("message {:#04x} of extension {:#06x}", header.message_type, header.extension_type),
        })),
    }
}

/// Says whether a message must have the channel bit (SV2 8).
fn channel_bit(incoming: &Incoming) -> Option<bool> {
    let Incoming::Mining(message) = incoming else {
        return (!matches!(incoming, Incoming::Other(_))).then_some(false);
    };
    Some(!matches!(
        message,
        ServerMessage::OpenStandardMiningChannelSuccess(_)
            | ServerMessage::OpenExtendedMiningChannelSuccess(_)
            | ServerMessage::OpenMiningChannelError(_)
            | ServerMessage::SetGroupChannel(_)
    ))
}

fn code(incoming: &Incoming) -> Option<&Str0_255> {
    match incoming {
        Incoming::SetupError(error) => Some(&error.error_code),
        Incoming::Mining(ServerMessage::OpenMiningChannelError(error)) => Some(&error.error_code),
        Incoming::Mining(ServerMessage::UpdateChannelError(error)) => Some(&error.error_code),
        Incoming::Mining(ServerMessage::SubmitSharesError(error)) => Some(&error.error_code),
        Incoming::Mining(ServerMessage::CloseChannel(close)) => Some(&close.reason_code),
        _ => None,
    }
}

fn unix_now() -> u32 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    elapsed.as_secs().try_into().unwrap_or(u32::MAX)
}
