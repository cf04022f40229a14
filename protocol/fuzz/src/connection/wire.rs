//! Both ends, with somebody on the wire between them.
//!
//! Whatever is done to the wire, an end tells of nothing but what the other has said, in its order; and if nothing is
//! done to it, of all of it.

use std::collections::VecDeque;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use protocol::codec::{Seq0_64K, U256};
use protocol::connection::{ClientEvent, ConnectionError, ServerEvent};
use protocol::messages::extensions::{RequestExtensions, WORKER_SPECIFIC_HASHRATE_TRACKING};
use protocol::messages::mining::{ClientMessage, SetTarget};

use super::super::ends::{Client, READ_LEN, START, Server, Setting};
use super::MAX_OPERATIONS;
use super::words::{Words, client_sends, server_sends};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// Both ends, and what is on the wire between them.
pub(super) struct Wire {
    client: Client,
    server: Server,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    now: Duration,
    /// What was sent and has not arrived; in order, since the wire keeps it or breaks the connection.
    due_at_server: VecDeque<ClientMessage>,
    due_at_client: VecDeque<ClientEvent>,
    /// Nobody has touched the wire.
    intact: bool,
    /// Everything sent was right and at its time, and nothing was left to wait for.
    faithful: bool,
}

impl Wire {
    pub(super) fn new(setting: Setting) -> Self {
        Self {
            client: Client::new(setting),
            server: Server::new(setting),
            to_server: vec![],
            to_client: vec![],
            now: Duration::ZERO,
            due_at_server: [].into(),
            due_at_client: [].into(),
            intact: true,
            faithful: true,
        }
    }

    pub(super) fn run(mut self, input: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..MAX_OPERATIONS {
            if input.is_empty() {
                break;
            }
            self.operate(input)?;
        }
        self.settle();
        let errors = [self.client.error(), self.server.error()];
        for error in errors.into_iter().flatten().filter(|_| self.intact) {
            let corrupt = matches!(error, ConnectionError::Noise(_) | ConnectionError::Decode { .. });
            assert!(!corrupt, "an untouched wire breaks: {error}");
            assert!(!self.faithful || is_circumstance(error), "two good ends fall out: {error}");
        }
        if self.intact && self.faithful && errors == [None, None] {
            assert!(self.client.is_connected() && self.server.is_connected(), "two good ends do not connect");
            assert!(self.due_at_server.is_empty(), "lost on the way: {:?}", self.due_at_server);
            assert!(self.due_at_client.is_empty(), "lost on the way: {:?}", self.due_at_client);
        }
        Ok(())
    }

    fn operate(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let operation = input.arbitrary::<u8>()?;
        let way = if operation & 0x80 == 0 { Way::ToServer } else { Way::ToClient };
        match operation & 0x0f {
            0 => self.settle(),
            1 | 2 => {
                let max = usize::from(input.arbitrary::<u16>()?);
                self.deliver(way, max);
                self.poll(way);
            }
            3 => {
                // Without a poll. More than the caller may do is the caller's fault, and an error.
                let max = usize::from(input.arbitrary::<u16>()?);
                self.deliver(way, max);
            }
            4 => {
                self.now += Duration::from_millis(input.arbitrary::<u16>()?.into());
                self.faithful &= self.client.is_connected() && self.server.is_connected();
                self.poll(Way::ToServer);
                self.poll(Way::ToClient);
            }
            5 | 6 => self.speak(way, input.arbitrary()?),
            7 => {
                let extensions: [u16; 2] = [input.arbitrary::<u8>()?.into(), input.arbitrary::<u8>()?.into()];
                self.faithful = false;
                self.client.request_extensions(&extensions);
            }
            8 => {
                // A message that the other role may not send.
                self.faithful = false;
                let channel_id = input.arbitrary::<u8>()?.into();
                match way {
                    Way::ToServer => {
                        _ = self.client.send(|it| it.send(&SetTarget { channel_id, maximum_target: U256::MAX }))
                    }
                    Way::ToClient => {
                        _ = self
                            .server
                            .send(&RequestExtensions { request_id: 1, requested_extensions: Seq0_64K::default() })
                    }
                }
            }
            9 | 10 => self.flip(way, input.arbitrary()?, input.arbitrary()?),
            11 => self.drop(way, input.arbitrary()?, input.arbitrary()?),
            12 => self.repeat(way),
            13 => {
                let (at, len) = (input.arbitrary::<u8>()?, input.arbitrary::<u8>()?);
                let bytes = input.bytes(usize::from(len).min(input.len()))?;
                self.inject(way, at.into(), bytes);
            }
            _ => {
                self.poll(Way::ToServer);
                self.poll(Way::ToClient);
            }
        }
        Ok(())
    }

    fn speak(&mut self, way: Way, words: Words) {
        match way {
            Way::ToServer => {
                let message = words.of_client();
                if client_sends(&mut self.client, &message) {
                    self.due_at_server.push_back(message);
                }
            }
            Way::ToClient => {
                let event = words.of_server();
                if server_sends(&mut self.server, &event) {
                    self.due_at_client.push_back(event);
                }
            }
        }
    }

    /// Puts what an end has to say on the wire.
    fn pump(&mut self) {
        self.to_server.extend(self.client.take_output(usize::MAX));
        self.to_client.extend(self.server.take_output(usize::MAX));
    }

    fn deliver(&mut self, way: Way, max: usize) {
        self.pump();
        let wire = self.wire(way);
        let bytes: Vec<u8> = wire.drain(..wire.len().min(max)).collect();
        match way {
            Way::ToServer => self.server.receive(&bytes),
            Way::ToClient => self.client.receive(&bytes),
        }
    }

    /// Delivers until neither end has anything more to say.
    fn settle(&mut self) {
        loop {
            for way in [Way::ToServer, Way::ToClient] {
                self.poll(way);
                self.deliver(way, READ_LEN);
                self.poll(way);
            }
            self.pump();
            if self.to_server.is_empty() && self.to_client.is_empty() {
                return;
            }
        }
    }

    /// Polls the end that bytes go to, and checks that what it tells was said to it, in this order.
    fn poll(&mut self, way: Way) {
        let now = *START + self.now;
        match way {
            Way::ToServer => {
                for event in self.server.poll(now) {
                    let ServerEvent::Message(message) = event else { continue };
                    let due = self.due_at_server.pop_front().expect("a message arrives that nobody sent");
                    assert_eq!(message, as_negotiated(due, &self.server.negotiated));
                }
            }
            Way::ToClient => {
                for event in self.client.poll(now) {
                    let set_up = matches!(
                        event,
                        ClientEvent::Connected { .. }
                            | ClientEvent::SetupRefused { .. }
                            | ClientEvent::ExtensionsNegotiated(_)
                            | ClientEvent::ExtensionsRefused { .. }
                    );
                    if !set_up {
                        let due = self.due_at_client.pop_front().expect("a message arrives that nobody sent");
                        assert_eq!(event, due);
                    }
                }
            }
        }
    }

    fn wire(&mut self, way: Way) -> &mut Vec<u8> {
        match way {
            Way::ToServer => &mut self.to_server,
            Way::ToClient => &mut self.to_client,
        }
    }

    fn flip(&mut self, way: Way, at: u16, bit: u8) {
        self.pump();
        let wire = self.wire(way);
        if let Some(len) = std::num::NonZero::new(wire.len()) {
            wire[usize::from(at) % len] ^= 1 << (bit % 8);
            self.intact = false;
        }
    }

    fn drop(&mut self, way: Way, at: u16, len: u8) {
        self.pump();
        let wire = self.wire(way);
        let at = usize::from(at).min(wire.len());
        let end = wire.len().min(at + usize::from(len));
        wire.drain(at..end);
        self.intact &= at == end;
    }

    fn repeat(&mut self, way: Way) {
        self.pump();
        let wire = self.wire(way);
        let len = wire.len();
        wire.extend_from_within(len.saturating_sub(READ_LEN)..);
        self.intact &= len == 0;
    }

    fn inject(&mut self, way: Way, at: usize, bytes: &[u8]) {
        self.pump();
        let wire = self.wire(way);
        let at = at.min(wire.len());
        wire.splice(at..at, bytes.iter().copied());
        self.intact &= bytes.is_empty();
    }
}

/// Whether a limit or a setting explains an end between peers that both keep to the protocol.
fn is_circumstance(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::FrameTooLarge { .. }
            | ConnectionError::OutputFull { .. }
            | ConnectionError::InputFull { .. }
            | ConnectionError::SentBeforeSetup { .. }
            | ConnectionError::SetupRefused { .. }
            | ConnectionError::RequiredExtensionsMissing
            | ConnectionError::Ended
    )
}

/// A worker's name is for those who have negotiated it; others must ignore it (extension 0x0002, 1.3).
fn as_negotiated(message: ClientMessage, negotiated: &[u16]) -> ClientMessage {
    match message {
        ClientMessage::SubmitSharesExtended(share, worker) => {
            let negotiated = negotiated.contains(&WORKER_SPECIFIC_HASHRATE_TRACKING);
            ClientMessage::SubmitSharesExtended(share, if negotiated { worker } else { Ok(None) })
        }
        other => other,
    }
}
