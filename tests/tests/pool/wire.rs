//! A client down to its frames: for what a miner never shows, and for what no miner would send.
//!
//! It shares the handshake with the `protocol` crate and nothing behind it: frames are cut and put together here.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use protocol::{
    codec::{Str0_255, U256},
    framing::Header,
    messages::{
        Message, MessageSet,
        common::{Protocol, SetupConnection, SetupConnectionSuccess},
        mining::{OpenExtendedMiningChannel, OpenStandardMiningChannel, ServerMessage},
        name_of,
    },
    noise::{ACT_2_LEN, Initiator, Transport},
};
use tests::miner::PoolAddress;

use crate::site::PATIENCE;

const HEADER_LEN: usize = 6;
const MAC_LEN: usize = 16;

/// Connects, and says nothing yet.
pub(crate) fn connect(pool: &PoolAddress) -> TcpStream {
    let stream = TcpStream::connect((pool.host.as_str(), pool.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads until the pool closes the connection.
pub(crate) fn assert_closed(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("the pool does not close the connection: {error}"),
        }
    }
}

pub(crate) fn unix_now() -> u32 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as u32
}

/// What a client without wishes says of itself.
pub(crate) fn setup(pool: &PoolAddress) -> SetupConnection {
    SetupConnection {
        protocol: Protocol::Mining as u8,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: Str0_255::new(&pool.host).unwrap(),
        endpoint_port: pool.port,
        vendor: Str0_255::from_static("nobody"),
        hardware_version: Str0_255::from_static(""),
        firmware: Str0_255::from_static(""),
        device_id: Str0_255::from_static(""),
    }
}

/// A request for a standard channel of 1 MH/s that takes any target. Its id is 7.
pub(crate) fn open_standard(identity: &str) -> OpenStandardMiningChannel {
    OpenStandardMiningChannel {
        request_id: 7,
        user_identity: Str0_255::new(identity).unwrap(),
        nominal_hash_rate: 1e6,
        max_target: U256::MAX,
    }
}

/// A request for an extended channel of 1 MH/s that takes any target. Its id is 7.
pub(crate) fn open_extended(identity: &str, min_extranonce_size: u16) -> OpenExtendedMiningChannel {
    let OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target } =
        open_standard(identity);
    OpenExtendedMiningChannel { request_id, user_identity, nominal_hash_rate, max_target, min_extranonce_size }
}

pub(crate) fn payload_of(message: &impl Message) -> Vec<u8> {
    let mut payload = Vec::new();
    message.encode(&mut payload);
    payload
}

/// A frame as it came, decrypted.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) header: [u8; HEADER_LEN],
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The specification's name of its message.
    pub(crate) fn name(&self) -> &'static str {
        name_of(Header::from_bytes(self.header)).unwrap_or("unknown")
    }

    /// Its message, which must be an `M`.
    #[track_caller]
    pub(crate) fn read<M: Message>(&self) -> M {
        assert_eq!(self.name(), M::NAME);
        M::decode(&self.payload).unwrap()
    }

    /// Its message, which must be one of the Mining Protocol.
    pub(crate) fn message(&self) -> ServerMessage {
        ServerMessage::decode(Header::from_bytes(self.header), &self.payload, &[]).unwrap()
    }
}

/// A connection whose handshake is done, and that is free to send what it likes.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    transport: Transport,
    /// What was read and not yet taken.
    input: Vec<u8>,
    /// A header that was decrypted and whose payload is not whole yet.
    header: Option<[u8; HEADER_LEN]>,
}

impl Wire {
    /// Shakes hands. The pool must have the authority key that its address names, if it names one.
    pub(crate) fn new(pool: &PoolAddress) -> Self {
        let mut stream = connect(pool);
        let (initiator, act_1) = Initiator::start();
        stream.write_all(&act_1).unwrap();
        let mut act_2 = [0; ACT_2_LEN];
        stream.read_exact(&mut act_2).unwrap();
        let transport = initiator.finish(&act_2, pool.authority.as_ref(), unix_now()).unwrap();
        Self { stream, transport, input: Vec::new(), header: None }
    }

    /// Shakes hands and sets the connection up with these flags.
    pub(crate) fn set_up(pool: &PoolAddress, flags: u32) -> Self {
        let mut wire = Self::new(pool);
        wire.send(&SetupConnection { flags, ..setup(pool) });
        wire.next().read::<SetupConnectionSuccess>();
        wire
    }

    /// Encrypts a frame, header and payload apart.
    fn seal(&mut self, header: [u8; HEADER_LEN], payload: &[u8]) -> [Vec<u8>; 2] {
        [&header[..], payload].map(|part| {
            let mut block = part.to_vec();
            let mac = self.transport.sealer.seal(&mut block);
            block.extend(mac);
            block
        })
    }

    /// Encrypts a message, header and payload apart.
    pub(crate) fn seal_message<M: Message>(&mut self, message: &M) -> [Vec<u8>; 2] {
        let payload = payload_of(message);
        self.seal(Header::of::<M>(payload.len()).unwrap().to_bytes(), &payload)
    }

    /// Sends a message in one piece.
    pub(crate) fn send<M: Message>(&mut self, message: &M) {
        self.send_payload::<M>(&payload_of(message));
    }

    /// Sends what need not be the payload of such a message.
    pub(crate) fn send_payload<M: Message>(&mut self, payload: &[u8]) {
        self.send_frame(Header::of::<M>(payload.len()).unwrap().to_bytes(), payload);
    }

    /// Sends any frame in one piece.
    pub(crate) fn send_frame(&mut self, header: [u8; HEADER_LEN], payload: &[u8]) {
        let frame = self.seal(header, payload).concat();
        self.stream.write_all(&frame).unwrap();
    }

    /// Waits for the next frame.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Frame {
        self.next_or_end().expect("the pool has closed the connection")
    }

    /// Waits for the next frame, or for the pool to close the connection in good order.
    pub(crate) fn next_or_end(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            if self.read_once().unwrap() == 0 {
                assert!(self.input.is_empty() && self.header.is_none(), "closed within a frame");
                return None;
            }
        }
    }

    /// Waits for frames until one satisfies `last`; returns all of them.
    pub(crate) fn read_until(&mut self, last: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !frames.last().is_some_and(&last) {
            frames.push(self.next());
        }
        frames
    }

    /// Takes all frames that come within a time.
    pub(crate) fn read_for(&mut self, time: Duration) -> Vec<Frame> {
        let end = Instant::now() + time;
        let mut frames = Vec::new();
        loop {
            frames.extend(std::iter::from_fn(|| self.take_frame()));
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.read_once() {
                Ok(len) => assert_ne!(len, 0, "the pool has closed the connection"),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        frames
    }

    /// Reads once, whatever there is, and returns its frames. Nothing of another may be left.
    pub(crate) fn frames_of_one_read(&mut self) -> Vec<Frame> {
        assert_ne!(self.read_once().unwrap(), 0, "the pool has closed the connection");
        let frames = std::iter::from_fn(|| self.take_frame()).collect();
        assert!(self.input.is_empty() && self.header.is_none(), "a frame is cut");
        frames
    }

    fn read_once(&mut self) -> std::io::Result<usize> {
        let mut buffer = [0; 64 * 1024];
        let len = self.stream.read(&mut buffer)?;
        self.input.extend_from_slice(&buffer[..len]);
        Ok(len)
    }

    /// Decrypts the next frame, if it is whole. None here is longer than a chunk.
    fn take_frame(&mut self) -> Option<Frame> {
        let header = match self.header {
            Some(header) => header,
            None => self.take_block(HEADER_LEN)?.try_into().unwrap(),
        };
        self.header = Some(header);
        let payload = self.take_block(Header::from_bytes(header).payload_len())?;
        self.header = None;
        Some(Frame { header, payload })
    }

    fn take_block(&mut self, len: usize) -> Option<Vec<u8>> {
        if self.input.len() < len + MAC_LEN {
            return None;
        }
        let mut block: Vec<u8> = self.input.drain(..len + MAC_LEN).collect();
        self.transport.opener.open(&mut block).unwrap();
        block.truncate(len);
        Some(block)
    }
}
