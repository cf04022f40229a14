//! The bytes of one connection: bounded buffers, in which frames are encrypted and decrypted where they lie.
//!
//! Knows frames but no message, and no state of a connection beyond "not yet encrypted" and "encrypted".

use std::fmt;

use super::{ConnectionError, Limits};
use crate::framing::{
    ENCRYPTED_HEADER_LEN, HEADER_LEN, Header, MAC_LEN, MAX_BLOCK_LEN, MAX_CHUNK_LEN, encrypted_payload_len,
};
use crate::messages::Message;
use crate::noise::{Opener, Sealer, Transport};

/// How much more than one frame the input buffer holds: what a single read may bring.
const READ_AHEAD: usize = 64 * 1024;
/// What an empty output buffer begins with: any message but a long job fits.
const FIRST_OUTPUT_CAPACITY: usize = 256;

/// Both directions of a connection: frames, whatever they carry and whenever they come.
///
/// The connections of this crate are rules on top of a link. By itself it is for tools that examine a peer, and so must
/// see headers as they are and be able to send what no rule allows. After each [`receive`](Self::receive), take frames
/// until there is none; write [`output`](Self::output) and consume what was written.
///
/// A link keeps no empty buffer: of thousands of connections nearly all have nothing to say at any time, and to ask the
/// allocator for each read and each write costs far less than the system call beside it.
pub struct Link {
    input: Input,
    output: Output,
    transport: Option<Transport>,
    /// A header that has been decrypted and whose payload is not whole yet.
    header: Option<Header>,
    /// The header of the last whole frame.
    last_header: Option<Header>,
    limits: Limits,
    /// What went wrong in a call that returns nothing; the next poll reports it.
    fault: Option<ConnectionError>,
}

impl Link {
    /// Starts a link that does not encrypt yet.
    pub fn new(limits: Limits) -> Self {
        let (input, output) = (Input::default(), Output::default());
        Self { input, output, transport: None, header: None, last_header: None, limits, fault: None }
    }

    /// Appends what was read from the socket. Once the link has failed, it takes nothing more.
    pub fn receive(&mut self, bytes: &[u8]) {
        let max = ENCRYPTED_HEADER_LEN + encrypted_payload_len(self.limits.max_frame_payload) + READ_AHEAD;
        if self.input.unread().len() + bytes.len() > max {
            self.fail(ConnectionError::InputFull { max });
        }
        if self.fault.is_none() {
            self.input.append(bytes);
        }
    }

    /// Records a failure, unless there is one already.
    pub(super) fn fail(&mut self, error: ConnectionError) {
        self.fault.get_or_insert(error);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.fault.is_some()
    }

    /// Returns the failure recorded, if any.
    pub(super) fn check(&self) -> Result<(), ConnectionError> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    /// Takes the next `N` bytes as they are, once they are there: the peer's part of the handshake.
    pub fn take_plain<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.input.unread().first_chunk()?;
        self.input.consume(N);
        Some(bytes)
    }

    /// Sends `bytes` as they are: this side's part of the handshake.
    pub fn send_plain(&mut self, bytes: &[u8]) {
        self.output.buffer.extend_from_slice(bytes);
    }

    /// Encrypts and decrypts from here on.
    pub fn encrypt_with(&mut self, transport: Transport) {
        self.transport = Some(transport);
    }

    /// Takes the next frame, once it is whole and the link encrypted. The payload is plaintext.
    ///
    /// # Errors
    ///
    /// If the frame is over the limit or does not decrypt, or the link has failed before.
    pub fn next_frame(&mut self) -> Result<Option<(Header, &[u8])>, ConnectionError> {
        self.check()?;
        let Some(Transport { opener, .. }) = &mut self.transport else { return Ok(None) };
        let header = match self.header {
            Some(header) => header,
            None => {
                let Some(header) = self.input.open_header(opener)? else {
                    self.input.release_if_empty();
                    return Ok(None);
                };
                let (payload_len, max) = (header.payload_len(), self.limits.max_frame_payload);
                if payload_len > max {
                    return Err(ConnectionError::FrameTooLarge { payload_len, max });
                }
                self.header = Some(header);
                header
            }
        };
        let payload = self.input.open_payload(header.payload_len(), opener)?;
        if payload.is_some() {
            self.last_header = self.header.take();
        }
        Ok(payload.map(|payload| (header, payload)))
    }

    /// Returns how many bytes were received and not taken, a header that waits for its payload included.
    pub(super) fn partial_len(&self) -> usize {
        self.input.unread().len() + self.header.map_or(0, |_| ENCRYPTED_HEADER_LEN)
    }

    /// Returns the header of the last frame that was taken.
    pub(super) fn last_header(&self) -> Option<Header> {
        self.last_header
    }

    /// Encrypts a message into the output. One that cannot be sent makes the link fail and leaves no part behind.
    pub fn send<M: Message>(&mut self, message: &M) {
        self.send_with(message, |_| {});
    }

    /// Encrypts a frame into the output, with the header as it is: a length in it that is not the payload's leaves the
    /// peer with blocks that it cannot decrypt. A frame that cannot be sent makes the link fail.
    pub fn send_frame(&mut self, header: Header, payload: &[u8]) {
        self.send_payload("a frame", |out| out.extend_from_slice(payload), |_| Some(header));
    }

    /// Encrypts a message whose payload `encode` appends.
    pub(super) fn send_encoded<M: Message>(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.send_payload(M::NAME, encode, Header::of::<M>);
    }

    /// Like [`send`](Self::send), with what `append` adds to the payload.
    pub(super) fn send_with<M: Message>(&mut self, message: &M, append: impl FnOnce(&mut Vec<u8>)) {
        self.send_encoded::<M>(|out| {
            message.encode(out);
            append(out);
        });
    }

    /// Encrypts what `encode` appends, behind the header that `header` makes for its length.
    fn send_payload(
        &mut self,
        message: &'static str,
        encode: impl FnOnce(&mut Vec<u8>),
        header: impl FnOnce(usize) -> Option<Header>,
    ) {
        if self.fault.is_some() {
            return;
        }
        let Some(Transport { sealer, .. }) = &mut self.transport else {
            return self.fail(ConnectionError::SentBeforeSetup { message });
        };
        let buffer = &mut self.output.buffer;
        let frame = buffer.len();
        let payload = frame + ENCRYPTED_HEADER_LEN;
        if frame == 0 {
            buffer.reserve(FIRST_OUTPUT_CAPACITY);
        }
        buffer.resize(payload, 0);
        encode(buffer);
        let payload_len = buffer.len() - payload;
        let Some(header) = header(payload_len) else {
            buffer.truncate(frame);
            return self.fail(ConnectionError::MessageTooLarge { message });
        };
        let max = self.limits.max_unsent_bytes;
        if payload + encrypted_payload_len(payload_len) - self.output.written > max {
            buffer.truncate(frame);
            return self.fail(ConnectionError::OutputFull { max });
        }
        buffer[frame..frame + HEADER_LEN].copy_from_slice(&header.to_bytes());
        let mac = sealer.seal(&mut buffer[frame..frame + HEADER_LEN]);
        buffer[frame + HEADER_LEN..payload].copy_from_slice(&mac);
        seal_payload(buffer, payload, sealer);
    }

    /// Returns what is to be written to the socket.
    pub fn output(&self) -> &[u8] {
        &self.output.buffer[self.output.written..]
    }

    /// Forgets the first `n` bytes of the output, which have been written.
    pub fn consume_output(&mut self, n: usize) {
        self.output.consume(n);
    }

    /// Returns how many bytes its buffers could hold without more memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.input.buffer.capacity() + self.output.buffer.capacity()
    }
}

impl fmt::Debug for Link {
    /// Shows no contents: they are what encryption is for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("unread", &self.input.unread().len())
            .field("unsent", &self.output().len())
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

/// What has been received. Whole frames are decrypted where they lie.
#[derive(Default)]
struct Input {
    buffer: Vec<u8>,
    /// How much of the buffer has been taken.
    read: usize,
}

impl Input {
    fn unread(&self) -> &[u8] {
        &self.buffer[self.read..]
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.read == self.buffer.len() {
            self.buffer.clear();
        } else {
            // At most part of one frame, since the caller polls until nothing whole is left.
            self.buffer.drain(..self.read);
        }
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Gives the memory back if all was taken.
    fn release_if_empty(&mut self) {
        if self.read == self.buffer.len() {
            *self = Self::default();
        }
    }

    /// Marks bytes as taken. They stay in place until the next `append`, for whoever borrows them.
    fn consume(&mut self, len: usize) {
        self.read += len;
    }

    fn open_header(&mut self, opener: &mut Opener) -> Result<Option<Header>, ConnectionError> {
        let Some(block) = self.buffer[self.read..].first_chunk_mut::<ENCRYPTED_HEADER_LEN>() else { return Ok(None) };
        opener.open(block)?;
        let mut header = [0; HEADER_LEN];
        header.copy_from_slice(&block[..HEADER_LEN]);
        self.consume(ENCRYPTED_HEADER_LEN);
        Ok(Some(Header::from_bytes(header)))
    }

    fn open_payload(&mut self, payload_len: usize, opener: &mut Opener) -> Result<Option<&[u8]>, ConnectionError> {
        let len = encrypted_payload_len(payload_len);
        let start = self.read;
        let Some(payload) = self.buffer.get_mut(start..start + len) else { return Ok(None) };
        let mut plain = 0;
        for encrypted in (0..len).step_by(MAX_BLOCK_LEN) {
            let end = len.min(encrypted + MAX_BLOCK_LEN);
            let chunk_len = opener.open(&mut payload[encrypted..end])?;
            if plain != encrypted {
                // Chunks after the first close the gaps that the authentication codes leave.
                payload.copy_within(encrypted..encrypted + chunk_len, plain);
            }
            plain += chunk_len;
        }
        self.consume(len);
        Ok(Some(&self.buffer[start..start + payload_len]))
    }
}

/// What is to be written.
#[derive(Default)]
struct Output {
    buffer: Vec<u8>,
    /// How much of the buffer has been written.
    written: usize,
}

impl Output {
    fn consume(&mut self, len: usize) {
        self.written = self.buffer.len().min(self.written + len);
        if self.written == self.buffer.len() {
            *self = Self::default();
        } else if self.written > self.buffer.len() / 2 {
            // Moves fewer bytes than have been written, so that a slow reader costs no more than a quick one.
            self.buffer.drain(..self.written);
            self.written = 0;
        }
    }
}

/// Encrypts everything from `start` on, in chunks, each with its authentication code behind it.
fn seal_payload(buffer: &mut Vec<u8>, start: usize, sealer: &mut Sealer) {
    let payload_len = buffer.len() - start;
    if payload_len == 0 {
        return;
    }
    buffer.resize(start + encrypted_payload_len(payload_len), 0);
    let payload = &mut buffer[start..];
    let chunks = payload_len.div_ceil(MAX_CHUNK_LEN);
    // Last to first, the chunks make room for the codes of those before them.
    for chunk in (1..chunks).rev() {
        let plain = chunk * MAX_CHUNK_LEN..payload_len.min((chunk + 1) * MAX_CHUNK_LEN);
        payload.copy_within(plain, chunk * MAX_BLOCK_LEN);
    }
    for block in payload.chunks_mut(MAX_BLOCK_LEN) {
        let (chunk, mac) = block.split_at_mut(block.len() - MAC_LEN);
        mac.copy_from_slice(&sealer.seal(chunk));
    }
}
