//! One of the ends, and a peer that has the keys and keeps to nothing.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use protocol::codec::{Seq0_64K, Str0_255};
use protocol::connection::ConnectionError;
use protocol::framing::{ENCRYPTED_HEADER_LEN, HEADER_LEN, Header};
use protocol::messages::common::{SetupConnectionError, SetupConnectionSuccess};
use protocol::messages::extensions::{
    EXTENSIONS_NEGOTIATION, RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess,
    WORKER_SPECIFIC_HASHRATE_TRACKING,
};

use super::super::ends::{Bare, Client, READ_LEN, START, Server, Setting, setup_connection};
use super::super::frame::read_frame;
use super::MAX_OPERATIONS;
use super::words::{Words, client_sends, server_sends};

/// A server, and a peer that has shaken hands and then sends what it likes.
pub(super) struct BareClient {
    server: Server,
    peer: Bare,
    now: Duration,
    /// The peer's bytes are no longer frames: nothing must come of them.
    garbled: bool,
    /// How often the server has said that it accepts, and answered a request for extensions; how often it was asked to.
    accepted: usize,
    answered: usize,
    asked: usize,
}

impl BareClient {
    pub(super) fn new(setting: Setting) -> Self {
        let mut server = Server::new(setting);
        let peer = Bare::client_of(&mut server);
        Self { server, peer, now: Duration::ZERO, garbled: false, accepted: 0, answered: 0, asked: 0 }
    }

    pub(super) fn run(mut self, input: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..MAX_OPERATIONS {
            if input.is_empty() {
                break;
            }
            self.operate(input)?;
            let frames = self.peer.read(&self.server.take_output(usize::MAX));
            for (header, _) in frames {
                let refusal = matches!(self.server.error(), Some(ConnectionError::SetupRefused { .. }));
                assert!(!header.is::<SetupConnectionError>() || refusal, "a refusal without an end");
                self.accepted += usize::from(header.is::<SetupConnectionSuccess>());
                self.answered += usize::from(header.extension_type == EXTENSIONS_NEGOTIATION);
            }
            assert!(self.accepted <= usize::from(self.server.is_connected()), "accepted too often or too early");
            assert!(self.answered <= self.asked, "answers to nothing");
        }
        Ok(())
    }

    fn operate(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let operation = input.arbitrary::<u8>()?;
        match operation % 9 {
            8 => self.server.receive(&flood(&mut self.peer, input.arbitrary()?)),
            0 => {
                let frame = self.peer.message(&setup_connection(u32::from(operation >> 3) & 0b11));
                self.hear(&frame);
            }
            1 => {
                let (request_id, extensions): (u16, [u8; 2]) = input.arbitrary()?;
                let requested_extensions = Seq0_64K::new(extensions.map(u16::from)).expect("2 are few");
                let frame = self.peer.message(&RequestExtensions { request_id, requested_extensions });
                self.asked += 1;
                self.hear(&frame);
            }
            2 | 3 => {
                let (header, payload) = read_frame(input)?;
                self.asked += usize::from(Header::from_bytes(header).is::<RequestExtensions>());
                let frame = self.peer.frame(header, &payload);
                self.hear(&frame);
            }
            4 => {
                let ((header, payload), at, bit) = (read_frame(input)?, input.arbitrary()?, input.arbitrary()?);
                let frame = flipped(self.peer.frame(header, &payload), at, bit);
                self.garble(&frame);
            }
            5 => {
                let (header, payload) = lying(read_frame(input)?, input.arbitrary()?);
                let frame = self.peer.frame(header, &payload);
                self.garble(&frame);
            }
            6 => {
                self.now += Duration::from_millis(input.arbitrary::<u16>()?.into());
                let events = self.server.poll(*START + self.now);
                assert!(events.is_empty(), "time alone brings {events:?}");
            }
            _ => _ = server_sends(&mut self.server, &input.arbitrary::<Words>()?.of_server()),
        }
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8]) {
        for read in bytes.chunks(READ_LEN) {
            self.server.receive(read);
            let events = self.server.poll(*START + self.now);
            assert!(events.is_empty() || !self.garbled, "made of garbled bytes: {events:?}");
        }
    }

    fn garble(&mut self, bytes: &[u8]) {
        self.garbled = true;
        self.hear(bytes);
    }
}

/// A client, and a peer that has shaken hands and then sends what it likes.
pub(super) struct BareServer {
    client: Client,
    peer: Bare,
    now: Duration,
    garbled: bool,
}

impl BareServer {
    pub(super) fn new(setting: Setting) -> Self {
        // A client that pins an authority knows this one.
        let mut client = Client::new(setting);
        let peer = Bare::server_of(&mut client);
        Self { client, peer, now: Duration::ZERO, garbled: false }
    }

    pub(super) fn run(mut self, input: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..MAX_OPERATIONS {
            if input.is_empty() {
                break;
            }
            self.operate(input)?;
            self.peer.read(&self.client.take_output(usize::MAX));
        }
        Ok(())
    }

    fn operate(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let operation = input.arbitrary::<u8>()?;
        let request_id = u16::from(operation >> 4);
        match operation % 13 {
            12 => self.client.receive(&flood(&mut self.peer, input.arbitrary()?)),
            0 => {
                let used_version = if operation < 0x80 { 2 } else { input.arbitrary()? };
                let frame = self.peer.message(&SetupConnectionSuccess { used_version, flags: 0 });
                self.hear(&frame);
            }
            1 => {
                let error_code = Str0_255::from_static("unsupported-feature-flags");
                let frame = self.peer.message(&SetupConnectionError { flags: 1, error_code });
                self.hear(&frame);
            }
            2 => {
                let supported_extensions = Seq0_64K::new([WORKER_SPECIFIC_HASHRATE_TRACKING]).expect("1 is few");
                let frame = self.peer.message(&RequestExtensionsSuccess { request_id, supported_extensions });
                self.hear(&frame);
            }
            3 => {
                let (unsupported_extensions, required_extensions) = (Seq0_64K::default(), Seq0_64K::default());
                let answer = RequestExtensionsError { request_id, unsupported_extensions, required_extensions };
                let frame = self.peer.message(&answer);
                self.hear(&frame);
            }
            4 | 5 => {
                let (header, payload) = read_frame(input)?;
                let frame = self.peer.frame(header, &payload);
                self.hear(&frame);
            }
            6 => {
                let ((header, payload), at, bit) = (read_frame(input)?, input.arbitrary()?, input.arbitrary()?);
                let frame = flipped(self.peer.frame(header, &payload), at, bit);
                self.garble(&frame);
            }
            7 => {
                let (header, payload) = lying(read_frame(input)?, input.arbitrary()?);
                let frame = self.peer.frame(header, &payload);
                self.garble(&frame);
            }
            8 => {
                self.now += Duration::from_millis(input.arbitrary::<u16>()?.into());
                let events = self.client.poll(*START + self.now);
                assert!(events.is_empty(), "time alone brings {events:?}");
            }
            9 => {
                let extensions: [u8; 2] = input.arbitrary()?;
                self.client.request_extensions(&extensions.map(u16::from));
            }
            _ => _ = client_sends(&mut self.client, &input.arbitrary::<Words>()?.of_client()),
        }
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8]) {
        for read in bytes.chunks(READ_LEN) {
            self.client.receive(read);
            let events = self.client.poll(*START + self.now);
            assert!(events.is_empty() || !self.garbled, "made of garbled bytes: {events:?}");
        }
    }

    fn garble(&mut self, bytes: &[u8]) {
        self.garbled = true;
        self.hear(bytes);
    }
}

/// Frames of an experimental extension, which are to be ignored; together they can be more than any end may hold.
fn flood(peer: &mut Bare, frames: u16) -> Vec<u8> {
    (0..frames % 4096).flat_map(|_| peer.frame([0x00, 0x40, 0x01, 64, 0, 0], &[0; 64])).collect()
}

/// Flips one bit of an encrypted frame.
fn flipped(mut frame: Vec<u8>, at: u32, bit: u8) -> Vec<u8> {
    // Up to the payload's end, but as often in the header as in a long payload.
    let len = if bit & 0x80 == 0 { ENCRYPTED_HEADER_LEN } else { frame.len() };
    frame[at as usize % len] ^= 1 << (bit & 7);
    frame
}

/// Lets a header announce another length than follows.
fn lying((header, payload): ([u8; HEADER_LEN], Vec<u8>), by: u16) -> ([u8; HEADER_LEN], Vec<u8>) {
    let mut header = header;
    let len = Header::from_bytes(header).payload_len();
    let wrong = len ^ usize::from(by.max(1));
    header[3..].copy_from_slice(&wrong.to_le_bytes()[..3]);
    (header, payload)
}
