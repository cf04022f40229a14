//! Who a server is (SV2 4.5.3, 4.7): the authority's key, the certificate it signs, and the server's static key.

use std::fmt;
use std::str::FromStr;

use secp256k1::ellswift::ElligatorSwift;
use secp256k1::rand::thread_rng;
use secp256k1::schnorr::Signature;
use secp256k1::{Keypair, Message, PublicKey, SECP256K1, SecretKey, XOnlyPublicKey};
use sha2::{Digest, Sha256};

use super::primitives::EllSwiftKey;

/// The one certificate version that exists.
const CERTIFICATE_VERSION: u16 = 0;
/// What precedes a public key in base58check: version 1, little-endian.
const PUBLIC_KEY_PREFIX: [u8; 2] = [1, 0];

/// Reports that text or bytes are no key of the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The text is not base58check with the right checksum, nor, for a secret key, 64 hex digits.
    #[error("the key is mistyped: not hex, or not base58check with the right checksum")]
    Encoding,
    /// The text holds something else than a key of this kind.
    #[error("the key has the wrong length or prefix")]
    Kind,
    /// The number is not on the curve or out of its range.
    #[error("the key is not a valid secp256k1 key")]
    Curve,
}

/// Reports why a certificate does not vouch for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A version that this crate does not know.
    #[error("unknown version {0}")]
    UnknownVersion(u16),
    /// It is for a later time.
    #[error("valid from Unix time {valid_from}, it is {now_unix}")]
    NotYetValid {
        /// When it starts.
        valid_from: u32,
        /// The time it was checked at.
        now_unix: u32,
    },
    /// It was for an earlier time.
    #[error("valid until Unix time {not_valid_after}, it is {now_unix}")]
    Expired {
        /// When it ended.
        not_valid_after: u32,
        /// The time it was checked at.
        now_unix: u32,
    },
    /// Another authority signed it, or it is for another server's key.
    #[error("not signed by the authority for this server")]
    WrongSignature,
}

/// A pool's public authority key, which miners pin. `Display` and `FromStr` use base58check, as in a miner's URL (SV2 4.7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuthorityPublicKey(XOnlyPublicKey);

impl AuthorityPublicKey {
    /// Reads the key's X coordinate, big-endian.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::Curve`] if no point has it.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        XOnlyPublicKey::from_slice(bytes).map(Self).map_err(|_| InvalidKey::Curve)
    }

    /// Returns the key's X coordinate, big-endian.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.serialize()
    }
}

impl fmt::Display for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&PUBLIC_KEY_PREFIX);
        bytes[2..].copy_from_slice(&self.to_bytes());
        f.pad(&bs58::encode(bytes).with_check().into_string())
    }
}

impl fmt::Debug for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorityPublicKey({self})")
    }
}

impl FromStr for AuthorityPublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = bs58::decode(text).with_check(None).into_vec().map_err(|_| InvalidKey::Encoding)?;
        let key = bytes.strip_prefix(&PUBLIC_KEY_PREFIX).ok_or(InvalidKey::Kind)?;
        Self::from_bytes(key.try_into().map_err(|_| InvalidKey::Kind)?)
    }
}

/// A pool's secret authority key, which signs certificates. Never shown: `Debug` gives the public key.
#[derive(Clone)]
pub struct AuthoritySecretKey(Keypair);

impl AuthoritySecretKey {
    /// Makes a key from the system's randomness.
    pub fn generate() -> Self {
        Self(Keypair::new(SECP256K1, &mut thread_rng()))
    }

    /// Reads a key, big-endian.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::Curve`] if it is zero or beyond the group's order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        Keypair::from_seckey_slice(SECP256K1, bytes).map(Self).map_err(|_| InvalidKey::Curve)
    }

    /// Returns the key itself, big-endian, for whoever stores it.
    pub fn to_secret_bytes(&self) -> [u8; 32] {
        self.0.secret_bytes()
    }

    /// Returns the public key, for miners.
    pub fn public_key(&self) -> AuthorityPublicKey {
        AuthorityPublicKey(self.0.x_only_public_key().0)
    }
}

impl fmt::Debug for AuthoritySecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthoritySecretKey(of {})", self.public_key())
    }
}

impl FromStr for AuthoritySecretKey {
    type Err = InvalidKey;

    /// Reads 64 hex digits, or the base58check of the 32 bytes, in which existing pools keep their keys.
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        // Base58check of 32 bytes is never as long as 64 digits.
        if text.len() == 64 {
            if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(InvalidKey::Encoding);
            }
            let secret = SecretKey::from_str(text).map_err(|_| InvalidKey::Curve)?;
            return Ok(Self(Keypair::from_secret_key(SECP256K1, &secret)));
        }
        let bytes = bs58::decode(text).with_check(None).into_vec().map_err(|_| InvalidKey::Encoding)?;
        Self::from_bytes(bytes.as_slice().try_into().map_err(|_| InvalidKey::Kind)?)
    }
}

/// An authority's word that a static key is its server's, for a span of time (SV2 4.5.3).
///
/// The key itself is not part of it: it comes with the handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// The version of this format.
    pub version: u16,
    /// The first second at which it is valid, in Unix time.
    pub valid_from: u32,
    /// The last second at which it is valid, in Unix time.
    pub not_valid_after: u32,
    /// The authority's BIP 340 signature.
    pub signature: [u8; 64],
}

impl Certificate {
    /// The length on the wire.
    pub const LEN: usize = 74;

    /// Signs for the server whose static key has the ElligatorSwift encoding `static_key`.
    fn sign(authority: &AuthoritySecretKey, static_key: &[u8; 64], valid_from: u32, not_valid_after: u32) -> Self {
        let version = CERTIFICATE_VERSION;
        let mut certificate = Self { version, valid_from, not_valid_after, signature: [0; 64] };
        let digest = certificate.digest(static_key);
        certificate.signature = SECP256K1.sign_schnorr(&digest, &authority.0).serialize();
        certificate
    }

    /// Checks that `authority` vouches, at the Unix time `now_unix`, for the server whose static key has the
    /// ElligatorSwift encoding `static_key`.
    ///
    /// # Errors
    ///
    /// If the version is unknown, the time outside the span, or the signature not the authority's.
    pub fn verify(
        &self,
        static_key: &[u8; 64],
        authority: &AuthorityPublicKey,
        now_unix: u32,
    ) -> Result<(), CertificateError> {
        let Self { version, valid_from, not_valid_after, signature } = *self;
        if version != CERTIFICATE_VERSION {
            return Err(CertificateError::UnknownVersion(version));
        }
        let signature = Signature::from_slice(&signature).map_err(|_| CertificateError::WrongSignature)?;
        SECP256K1
            .verify_schnorr(&signature, &self.digest(static_key), &authority.0)
            .map_err(|_| CertificateError::WrongSignature)?;
        // The dates come last, so that a wrong clock is only blamed where the authority is the right one.
        if now_unix < valid_from {
            return Err(CertificateError::NotYetValid { valid_from, now_unix });
        }
        if now_unix > not_valid_after {
            return Err(CertificateError::Expired { not_valid_after, now_unix });
        }
        Ok(())
    }

    /// Lays the certificate out as the handshake's payload (SV2 4.5.2).
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..2].copy_from_slice(&self.version.to_le_bytes());
        bytes[2..6].copy_from_slice(&self.valid_from.to_le_bytes());
        bytes[6..10].copy_from_slice(&self.not_valid_after.to_le_bytes());
        bytes[10..].copy_from_slice(&self.signature);
        bytes
    }

    /// Reads a handshake's payload, without judging it.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let (fields, signature) = bytes.split_at(10);
        let word = |at: usize| u32::from_le_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]);
        Self {
            version: u16::from_le_bytes([fields[0], fields[1]]),
            valid_from: word(2),
            not_valid_after: word(6),
            signature: signature.try_into().expect("74 bytes less 10 are 64"),
        }
    }

    /// Hashes what is signed: the dates, and the static key as a plain X coordinate.
    fn digest(&self, static_key: &[u8; 64]) -> Message {
        let point = PublicKey::from_ellswift(ElligatorSwift::from_array(*static_key));
        let hash = Sha256::new()
            .chain_update(&self.to_bytes()[..10])
            .chain_update(point.x_only_public_key().0.serialize())
            .finalize();
        Message::from_digest(hash.into())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("version", &self.version)
            .field("valid_from", &self.valid_from)
            .field("not_valid_after", &self.not_valid_after)
            .finish_non_exhaustive()
    }
}

/// What a server proves itself with: a static key and the authority's certificate for it.
pub struct ServerIdentity {
    static_key: EllSwiftKey,
    certificate: Certificate,
}

impl ServerIdentity {
    /// Makes a fresh static key and its certificate, valid between two Unix times, both included.
    pub fn new(authority: &AuthoritySecretKey, valid_from: u32, not_valid_after: u32) -> Self {
        let static_key = EllSwiftKey::generate();
        let certificate = Certificate::sign(authority, &static_key.public(), valid_from, not_valid_after);
        Self { static_key, certificate }
    }

    /// Returns the certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(super) fn static_key(&self) -> &EllSwiftKey {
        &self.static_key
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The vector of SV2 4.7.1.
    const RAW_KEY: [u8; 32] = [
        118, 99, 112, 0, 151, 156, 28, 17, 175, 12, 48, 11, 205, 140, 127, 228, 134, 16, 252, 233, 185, 193, 30, 61,
        174, 227, 90, 224, 176, 138, 116, 85,
    ];
    const KEY_TEXT: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

    #[test]
    fn public_key_reads_and_writes_as_specified() {
        let key = AuthorityPublicKey::from_bytes(&RAW_KEY).unwrap();
        assert_eq!(key.to_string(), KEY_TEXT);
        assert_eq!(KEY_TEXT.parse(), Ok(key));
        assert_eq!(key.to_bytes(), RAW_KEY);
    }

    #[test]
    fn public_key_with_a_typing_error_or_another_prefix_is_refused() {
        let parse = |text: &str| text.parse::<AuthorityPublicKey>();
        assert_eq!(parse(&KEY_TEXT.replace("boQ", "boR")), Err(InvalidKey::Encoding));
        assert_eq!(parse(""), Err(InvalidKey::Encoding));
        let other = |prefix: &[u8], key: &[u8]| bs58::encode([prefix, key].concat()).with_check().into_string();
        assert_eq!(parse(&other(&[0, 1], &RAW_KEY)), Err(InvalidKey::Kind));
        assert_eq!(parse(&other(&[1, 0], &RAW_KEY[1..])), Err(InvalidKey::Kind));
        assert_eq!(parse(&other(&[1, 0], &[0xff; 32])), Err(InvalidKey::Curve));
    }

    #[test]
    fn secret_key_reads_hex_and_base58check_and_is_never_shown() {
        let secret = AuthoritySecretKey::from_bytes(&[0x5a; 32]).unwrap();
        let from_hex: AuthoritySecretKey = "5a".repeat(32).parse().unwrap();
        let text = bs58::encode([0x5a; 32]).with_check().into_string();
        let from_base58: AuthoritySecretKey = text.parse().unwrap();
        for key in [&from_hex, &from_base58] {
            assert_eq!(key.to_secret_bytes(), secret.to_secret_bytes());
            assert_eq!(key.public_key(), secret.public_key());
        }
        let shown = format!("{secret:?}");
        assert!(!shown.contains("5a5a") && !shown.contains("90, 90") && !shown.contains(&text), "{shown}");
        assert_eq!("00".repeat(32).parse::<AuthoritySecretKey>().unwrap_err(), InvalidKey::Curve);
        assert_eq!("zz".repeat(32).parse::<AuthoritySecretKey>().unwrap_err(), InvalidKey::Encoding);
        assert_eq!(KEY_TEXT.parse::<AuthoritySecretKey>().unwrap_err(), InvalidKey::Kind);
    }

    #[test]
    fn certificate_holds_for_its_authority_key_and_dates_only() {
        let authority = AuthoritySecretKey::generate();
        let public_key = authority.public_key();
        let identity = ServerIdentity::new(&authority, 1_000, 2_000);
        let certificate = *identity.certificate();
        let static_key = identity.static_key().public();
        for now_unix in [1_000, 1_500, 2_000] {
            assert_eq!(certificate.verify(&static_key, &public_key, now_unix), Ok(()));
        }
        let early = CertificateError::NotYetValid { valid_from: 1_000, now_unix: 999 };
        assert_eq!(certificate.verify(&static_key, &public_key, 999), Err(early));
        let late = CertificateError::Expired { not_valid_after: 2_000, now_unix: 2_001 };
        assert_eq!(certificate.verify(&static_key, &public_key, 2_001), Err(late));
        let stranger = AuthoritySecretKey::generate().public_key();
        let wrong = Err(CertificateError::WrongSignature);
        assert_eq!(certificate.verify(&static_key, &stranger, 1_500), wrong);
        assert_eq!(certificate.verify(&EllSwiftKey::generate().public(), &public_key, 1_500), wrong);
        let longer = Certificate { not_valid_after: 3_000, ..certificate };
        assert_eq!(longer.verify(&static_key, &public_key, 2_500), wrong);
        let newer = Certificate { version: 1, ..certificate };
        assert_eq!(newer.verify(&static_key, &public_key, 1_500), Err(CertificateError::UnknownVersion(1)));
    }

    #[test]
    fn another_encoding_of_the_same_static_key_is_still_certified() {
        let authority = AuthoritySecretKey::generate();
        let secret = SecretKey::new(&mut thread_rng());
        let first = EllSwiftKey::encode(secret, [1; 32]).public();
        let second = EllSwiftKey::encode(secret, [2; 32]).public();
        assert_ne!(first, second);
        let certificate = Certificate::sign(&authority, &first, 0, u32::MAX);
        assert_eq!(certificate.verify(&second, &authority.public_key(), 1), Ok(()));
    }

    #[test]
    fn certificate_survives_its_bytes() {
        let identity = ServerIdentity::new(&AuthoritySecretKey::generate(), 0x0102_0304, 0x0506_0708);
        let bytes = identity.certificate().to_bytes();
        assert_eq!(bytes[..10], [0, 0, 4, 3, 2, 1, 8, 7, 6, 5]);
        assert_eq!(Certificate::from_bytes(bytes), *identity.certificate());
    }
}
