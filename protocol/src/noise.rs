//! Encryption and server authentication (SV2 4): the NX handshake, and the ciphers that it leaves behind.
//!
//! The handshake's rules come from the `noise-protocol` crate; this module gives it the curve, cipher and hash that
//! Stratum V2 asks for, and adds the server's certificate. Which bytes belong to which frame is not known here.

mod certificate;
mod primitives;

use std::fmt;

use noise_protocol::patterns::noise_nx;
use noise_protocol::{HandshakeState, U8Array};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

pub use self::certificate::{
    AuthorityPublicKey, AuthoritySecretKey, Certificate, CertificateError, InvalidKey, ServerIdentity,
};
use self::primitives::{ChaChaPoly, EllSwift, Sha256};
use crate::framing::MAC_LEN;

/// The length of the client's one handshake message.
pub const ACT_1_LEN: usize = 64;
/// The length of the server's answer: its ephemeral key, its static key and its certificate.
// 64, 64 + 16 and 74 + 16 bytes. SV2 4.5.2 says 170 in one place; its own table adds up to this.
pub const ACT_2_LEN: usize = 234;

type Handshake<const INITIATOR: bool> = HandshakeState<EllSwift<INITIATOR>, ChaChaPoly, Sha256>;

/// Reports why an encrypted connection cannot start or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// Bytes do not decrypt: damaged, forged, or not for this connection.
    #[error("decryption failed")]
    Decryption,
    /// The server does not prove that it belongs to the authority.
    #[error("the server's certificate is refused: {0}")]
    Certificate(#[from] CertificateError),
}

/// The two directions of an encrypted connection.
#[derive(Debug)]
pub struct Transport {
    /// Encrypts what this side sends.
    pub sealer: Sealer,
    /// Decrypts what this side receives.
    pub opener: Opener,
}

/// Answers a client's first message: returns what to send, and the ciphers to use from then on.
///
/// # Errors
///
/// None is known, since every 64 bytes encode a key; yet no failure of the cryptography would be a panic here.
pub fn respond(identity: &ServerIdentity, act_1: &[u8; ACT_1_LEN]) -> Result<([u8; ACT_2_LEN], Transport), NoiseError> {
    let static_key = Some(U8Array::clone(identity.static_key()));
    let mut state = Handshake::<false>::new(noise_nx(), false, [], static_key, None, None, None);
    state.read_message(act_1, &mut []).map_err(|_| NoiseError::Decryption)?;
    let mut act_2 = [0; ACT_2_LEN];
    state.write_message(&identity.certificate().to_bytes(), &mut act_2).map_err(|_| NoiseError::Decryption)?;
    let (to_server, to_client) = state.get_ciphers();
    Ok((act_2, Transport { sealer: Sealer(Cipher::new(to_client)), opener: Opener(Cipher::new(to_server)) }))
}

/// A client between its message and the server's answer.
pub struct Initiator {
    state: Box<Handshake<true>>,
}

impl Initiator {
    /// Starts a handshake with a fresh key; the second value is what to send.
    pub fn start() -> (Self, [u8; ACT_1_LEN]) {
        let mut state = Box::new(Handshake::<true>::new(noise_nx(), true, [], None, None, None, None));
        let mut act_1 = [0; ACT_1_LEN];
        state.write_message(&[], &mut act_1).expect("the first message needs no key but the one it makes");
        (Self { state }, act_1)
    }

    /// Takes the server's answer, and checks its certificate against `authority` at the Unix time `now_unix`. Without
    /// an authority, anybody may be at the other end.
    ///
    /// # Errors
    ///
    /// If the answer does not decrypt or the certificate is not the authority's, or not at this time.
    pub fn finish(
        mut self,
        act_2: &[u8; ACT_2_LEN],
        authority: Option<&AuthorityPublicKey>,
        now_unix: u32,
    ) -> Result<Transport, NoiseError> {
        let mut certificate = [0; Certificate::LEN];
        self.state.read_message(act_2, &mut certificate).map_err(|_| NoiseError::Decryption)?;
        let static_key = self.state.get_rs().ok_or(NoiseError::Decryption)?;
        if let Some(authority) = authority {
            Certificate::from_bytes(certificate).verify(&static_key, authority, now_unix)?;
        }
        let (to_server, to_client) = self.state.get_ciphers();
        Ok(Transport { sealer: Sealer(Cipher::new(to_server)), opener: Opener(Cipher::new(to_client)) })
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator").finish_non_exhaustive()
    }
}

/// Encrypts one direction, block after block.
#[derive(Debug)]
pub struct Sealer(Cipher);

impl Sealer {
    /// Encrypts `block` in place and returns its authentication code, which goes behind it.
    ///
    /// `block` is at most [`MAX_CHUNK_LEN`](crate::framing::MAX_CHUNK_LEN) bytes long.
    pub fn seal(&mut self, block: &mut [u8]) -> [u8; MAC_LEN] {
        let nonce = self.0.next_nonce();
        let tag = self.0.expanded().seal_in_place_separate_tag(nonce, Aad::empty(), block);
        let tag = tag.expect("a block is far below the cipher's limit of 256 GiB");
        let mut mac = [0; MAC_LEN];
        mac.copy_from_slice(tag.as_ref());
        mac
    }
}

/// Decrypts one direction, block after block.
#[derive(Debug)]
pub struct Opener(Cipher);

impl Opener {
    /// Decrypts `block`, which ends with its authentication code, in place, and returns the plaintext's length.
    ///
    /// # Errors
    ///
    /// If the block is not the next one that the peer encrypted. The direction is of no use afterwards.
    pub fn open(&mut self, block: &mut [u8]) -> Result<usize, NoiseError> {
        let nonce = self.0.next_nonce();
        let key = self.0.expanded();
        let plaintext = key.open_in_place(nonce, Aad::empty(), block);
        plaintext.map(|plaintext| plaintext.len()).map_err(|_| NoiseError::Decryption)
    }
}

/// A key with its counter.
///
/// The cipher's own form of the key has room for any cipher's: 544 bytes, of which this one uses 32. Two of them would be
/// a quarter of what an idle connection costs, while to make one anew takes 30 ns a block.
struct Cipher {
    key: [u8; 32],
    nonce: u64,
}

impl Cipher {
    fn new(state: noise_protocol::CipherState<ChaChaPoly>) -> Self {
        let (key, nonce) = state.extract();
        Self { key, nonce }
    }

    fn expanded(&self) -> LessSafeKey {
        expand(&self.key)
    }

    fn next_nonce(&mut self) -> Nonce {
        let nonce = chacha_nonce(self.nonce);
        // 2^64 blocks take longer than any connection lasts.
        self.nonce += 1;
        nonce
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").field("nonce", &self.nonce).finish_non_exhaustive()
    }
}

#[inline]
fn expand(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has the cipher's length"))
}

/// Returns the nonce as SV2 4.4.1 has it: 32 zero bits, then the counter, little-endian.
fn chacha_nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests;
