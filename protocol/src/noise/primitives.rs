//! The curve, cipher and hash of `Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256`, for the `noise-protocol` crate.

use noise_protocol::{Cipher, DH, Hash, U8Array};
use ring::aead::Aad;
use secp256k1::ellswift::{ElligatorSwift, ElligatorSwiftParty};
use secp256k1::rand::{Rng, thread_rng};
use secp256k1::{SECP256K1, SecretKey};
use sha2::Digest;

use super::{chacha_nonce, expand};
use crate::framing::MAC_LEN;

const SECRET_LEN: usize = 32;
const PUBLIC_LEN: usize = 64;

/// A secret key together with its ElligatorSwift encoding.
///
/// A key has many encodings, and both the wire and the shared secret must use the same one: hence they stay together.
pub(crate) struct EllSwiftKey([u8; SECRET_LEN + PUBLIC_LEN]);

impl EllSwiftKey {
    /// Makes a key from the system's randomness.
    pub(crate) fn generate() -> Self {
        let mut rng = thread_rng();
        let secret = SecretKey::new(&mut rng);
        Self::encode(secret, rng.r#gen())
    }

    /// Gives `secret` one of its encodings, which `randomness` chooses.
    pub(crate) fn encode(secret: SecretKey, randomness: [u8; 32]) -> Self {
        let public = ElligatorSwift::from_seckey(SECP256K1, secret, Some(randomness));
        let mut key = [0; SECRET_LEN + PUBLIC_LEN];
        key[..SECRET_LEN].copy_from_slice(&secret.secret_bytes());
        key[SECRET_LEN..].copy_from_slice(&public.to_array());
        Self(key)
    }

    pub(crate) fn public(&self) -> [u8; PUBLIC_LEN] {
        <[u8; PUBLIC_LEN]>::from_slice(&self.0[SECRET_LEN..])
    }
}

impl U8Array for EllSwiftKey {
    fn new() -> Self {
        Self::new_with(0)
    }

    fn new_with(byte: u8) -> Self {
        Self([byte; SECRET_LEN + PUBLIC_LEN])
    }

    fn from_slice(bytes: &[u8]) -> Self {
        let mut key = Self::new();
        key.0.copy_from_slice(bytes);
        key
    }

    fn len() -> usize {
        SECRET_LEN + PUBLIC_LEN
    }

    fn as_slice(&self) -> &[u8] {
        &self.0
    }

    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Key agreement as in BIP 324: over X coordinates, hashed together with both encodings, the initiator's first.
///
/// That order is why the role is part of the type.
pub(crate) struct EllSwift<const INITIATOR: bool>;

impl<const INITIATOR: bool> DH for EllSwift<INITIATOR> {
    type Key = EllSwiftKey;
    type Pubkey = [u8; PUBLIC_LEN];
    type Output = [u8; 32];

    fn name() -> &'static str {
        "Secp256k1+EllSwift"
    }

    fn genkey() -> EllSwiftKey {
        EllSwiftKey::generate()
    }

    fn pubkey(key: &EllSwiftKey) -> [u8; PUBLIC_LEN] {
        key.public()
    }

    fn dh(key: &EllSwiftKey, theirs: &[u8; PUBLIC_LEN]) -> Result<[u8; 32], ()> {
        let secret = SecretKey::from_slice(&key.0[..SECRET_LEN]).map_err(|_| ())?;
        let ours = ElligatorSwift::from_array(key.public());
        let theirs = ElligatorSwift::from_array(*theirs);
        let shared = if INITIATOR {
            ElligatorSwift::shared_secret(ours, theirs, secret, ElligatorSwiftParty::A, None)
        } else {
            ElligatorSwift::shared_secret(theirs, ours, secret, ElligatorSwiftParty::B, None)
        };
        Ok(shared.to_secret_bytes())
    }
}

/// ChaCha20-Poly1305 of RFC 8439, for the handshake's few blocks.
pub(crate) struct ChaChaPoly;

impl Cipher for ChaChaPoly {
    type Key = [u8; 32];

    fn name() -> &'static str {
        "ChaChaPoly"
    }

    fn encrypt(key: &[u8; 32], nonce: u64, ad: &[u8], plaintext: &[u8], out: &mut [u8]) {
        out[..plaintext.len()].copy_from_slice(plaintext);
        Self::encrypt_in_place(key, nonce, ad, out, plaintext.len());
    }

    fn encrypt_in_place(key: &[u8; 32], nonce: u64, ad: &[u8], in_out: &mut [u8], plaintext_len: usize) -> usize {
        let (plaintext, rest) = in_out.split_at_mut(plaintext_len);
        let tag = expand(key).seal_in_place_separate_tag(chacha_nonce(nonce), Aad::from(ad), plaintext);
        rest[..MAC_LEN].copy_from_slice(tag.expect("a handshake's block is short").as_ref());
        plaintext_len + MAC_LEN
    }

    fn decrypt(key: &[u8; 32], nonce: u64, ad: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<(), ()> {
        let mut block = ciphertext.to_vec();
        let len = Self::decrypt_in_place(key, nonce, ad, &mut block, ciphertext.len())?;
        out.copy_from_slice(&block[..len]);
        Ok(())
    }

    fn decrypt_in_place(
        key: &[u8; 32],
        nonce: u64,
        ad: &[u8],
        in_out: &mut [u8],
        ciphertext_len: usize,
    ) -> Result<usize, ()> {
        let block = &mut in_out[..ciphertext_len];
        let plaintext = expand(key).open_in_place(chacha_nonce(nonce), Aad::from(ad), block);
        plaintext.map(|plaintext| plaintext.len()).map_err(|_| ())
    }
}

/// SHA-256.
#[derive(Default)]
pub(crate) struct Sha256(sha2::Sha256);

impl Hash for Sha256 {
    type Block = [u8; 64];
    type Output = [u8; 32];

    fn name() -> &'static str {
        "SHA256"
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self) -> [u8; 32] {
        self.0.finalize_reset().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Vectors of BIP 324: whether we are the initiator, our secret, our encoding, their encoding, the shared secret.
    const BIP_324: [(bool, &str, &str, &str, &str); 4] = [
        (
            true,
            "61062ea5071d800bbfd59e2e8b53d47d194b095ae5a4df04936b49772ef0d4d7",
            "ec0adff257bbfe500c188c80b4fdd640f6b45a482bbc15fc7cef5931deff0aa1\
             86f6eb9bba7b85dc4dcc28b28722de1e3d9108b985e2967045668f66098e475b",
            "a4a94dfce69b4a2a0a099313d10f9f7e7d649d60501c9e1d274c300e0d89aafa\
             ffffffffffffffffffffffffffffffffffffffffffffffffffffffff8faf88d5",
            "c6992a117f5edbea70c3f511d32d26b9798be4b81a62eaee1a5acaa8459a3592",
        ),
        (
            false,
            "1f9c581b35231838f0f17cf0c979835baccb7f3abbbb96ffcc318ab71e6e126f",
            "a1855e10e94e00baa23041d916e259f7044e491da6171269694763f018c7e636\
             93d29575dcb464ac816baa1be353ba12e3876cba7628bd0bd8e755e721eb0140",
            "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f\
             0000000000000000000000000000000000000000000000000000000000000000",
            "a0138f564f74d0ad70bc337dacc9d0bf1d2349364caf1188a1e6e8ddb3b7b184",
        ),
        (
            true,
            "0286c41cd30913db0fdff7a64ebda5c8e3e7cef10f2aebc00a7650443cf4c60d",
            "d1ee8a93a01130cbf299249a258f94feb5f469e7d0f2f28f69ee5e9aa8f9b54a\
             60f2c3ff2d023634ec7f4127a96cc11662e402894cf1f694fb9a7eaa5f1d9244",
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffff22d5e441\
             524d571a52b3def126189d3f416890a99d4da6ede2b0cde1760ce2c3f98457ae",
            "250b93570d411149105ab8cb0bc5079914906306368c23e9d77c2a33265b994c",
        ),
        (
            false,
            "6c77432d1fda31e9f942f8af44607e10f3ad38a65f8a4bddae823e5eff90dc38",
            "d2685070c1e6376e633e825296634fd461fa9e5bdf2109bcebd735e5a91f3e58\
             7c5cb782abb797fbf6bb5074fd1542a474f2a45b673763ec2db7fb99b737bbb9",
            "56bd0c06f10352c3a1a9f4b4c92f6fa2b26df124b57878353c1fc691c51abea7\
             7c8817daeeb9fa546b77c8daf79d89b22b0e1b87574ece42371f00237aa9d83a",
            "1918b741ef5f9d1d7670b050c152b4a4ead2c31be9aecb0681c0cd4324150853",
        ),
    ];

    #[test]
    fn shared_secrets_are_those_of_bip_324() {
        for (initiator, secret, ours, theirs, shared) in BIP_324 {
            let key = EllSwiftKey::from_slice(&hex::decode([secret, ours].concat()).unwrap());
            let theirs = <[u8; 64]>::from_slice(&hex::decode(theirs).unwrap());
            let secret =
                if initiator { EllSwift::<true>::dh(&key, &theirs) } else { EllSwift::<false>::dh(&key, &theirs) };
            assert_eq!(hex::encode(secret.unwrap()), shared);
        }
    }

    #[test]
    fn two_equal_roles_do_not_agree() {
        let (ours, theirs) = (EllSwiftKey::generate(), EllSwiftKey::generate());
        let initiator = EllSwift::<true>::dh(&ours, &theirs.public()).unwrap();
        assert_eq!(EllSwift::<false>::dh(&theirs, &ours.public()), Ok(initiator));
        assert_ne!(EllSwift::<true>::dh(&theirs, &ours.public()), Ok(initiator));
    }

    #[test]
    fn a_changed_byte_nonce_or_associated_data_does_not_decrypt() {
        let mut block = [0; 5 + MAC_LEN];
        ChaChaPoly::encrypt(&[7; 32], 9, b"ad", b"hello", &mut block);
        let mut plaintext = [0; 5];
        assert_eq!(ChaChaPoly::decrypt(&[7; 32], 9, b"ad", &block, &mut plaintext), Ok(()));
        assert_eq!(&plaintext, b"hello");
        for i in 0..block.len() {
            block[i] ^= 1;
            assert_eq!(ChaChaPoly::decrypt(&[7; 32], 9, b"ad", &block, &mut plaintext), Err(()));
            block[i] ^= 1;
        }
        assert_eq!(ChaChaPoly::decrypt(&[7; 32], 8, b"ad", &block, &mut plaintext), Err(()));
        assert_eq!(ChaChaPoly::decrypt(&[7; 32], 9, b"", &block, &mut plaintext), Err(()));
    }

    #[test]
    fn hash_is_sha_256() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(Sha256::hash(b"abc")), abc);
    }
}
