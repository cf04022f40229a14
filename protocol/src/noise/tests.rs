//! The handshake and what follows it, against ourselves and against another implementation, in either role.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use secp256k1::rand::thread_rng;

use super::*;

const NOW: u32 = 1_750_000_000;

fn identity(authority: &AuthoritySecretKey) -> ServerIdentity {
    ServerIdentity::new(authority, NOW - 60, NOW + 3600)
}

fn handshake() -> (Transport, Transport) {
    let authority = AuthoritySecretKey::generate();
    let (initiator, act_1) = Initiator::start();
    let (act_2, server) = respond(&identity(&authority), &act_1).unwrap();
    let client = initiator.finish(&act_2, Some(&authority.public_key()), NOW).unwrap();
    (client, server)
}

fn seal(sealer: &mut Sealer, plaintext: &[u8]) -> Vec<u8> {
    let mut block = plaintext.to_vec();
    let mac = sealer.seal(&mut block);
    block.extend_from_slice(&mac);
    block
}

fn open(opener: &mut Opener, mut block: Vec<u8>) -> Result<Vec<u8>, NoiseError> {
    let len = opener.open(&mut block)?;
    block.truncate(len);
    Ok(block)
}

/// Sends blocks of several lengths from one of our ends to the other.
fn passes(sealer: &mut Sealer, opener: &mut Opener) {
    for len in [0, 1, 6, 24, 65_519] {
        let plaintext = vec![0xa5; len];
        assert_eq!(open(opener, seal(sealer, &plaintext)).unwrap(), plaintext);
    }
}

/// Sends blocks between one of ours and the other implementation, both ways.
fn talks_to(ours: &mut Transport, theirs: &mut noise_sv2::NoiseEngine) {
    for len in [1, 6, 24, 65_519] {
        let plaintext = vec![0x3c; len];
        let mut block = seal(&mut ours.sealer, &plaintext);
        theirs.decrypt(&mut block).unwrap();
        assert_eq!(block, plaintext);
        theirs.encrypt(&mut block).unwrap();
        assert_eq!(open(&mut ours.opener, block).unwrap(), plaintext);
    }
}

#[test]
fn both_roles_agree_on_both_directions() {
    let (mut client, mut server) = handshake();
    passes(&mut client.sealer, &mut server.opener);
    passes(&mut server.sealer, &mut client.opener);
}

#[test]
fn our_client_understands_another_server() {
    let authority = AuthoritySecretKey::generate();
    let (public, secret) = (authority.public_key().to_bytes(), authority.to_secret_bytes());
    let validity = std::time::Duration::from_secs(3600);
    let mut server = noise_sv2::Responder::from_authority_kp(&public, &secret, validity).unwrap();
    let (initiator, act_1) = Initiator::start();
    let (act_2, mut theirs) = server.step_1_with_now_rng(act_1, NOW, &mut thread_rng()).unwrap();
    let mut ours = initiator.finish(&act_2, Some(&authority.public_key()), NOW).unwrap();
    talks_to(&mut ours, &mut theirs);
}

#[test]
fn our_server_is_understood_by_another_client() {
    let authority = AuthoritySecretKey::generate();
    let mut client = noise_sv2::Initiator::from_raw_k(authority.public_key().to_bytes()).unwrap();
    let act_1 = client.step_0().unwrap();
    let (act_2, mut ours) = respond(&identity(&authority), &act_1).unwrap();
    let mut theirs = client.step_2_with_now(act_2, NOW).unwrap();
    talks_to(&mut ours, &mut theirs);
}

#[test]
fn another_client_refuses_our_server_under_another_authority() {
    let stranger = AuthoritySecretKey::generate().public_key();
    let mut client = noise_sv2::Initiator::from_raw_k(stranger.to_bytes()).unwrap();
    let act_1 = client.step_0().unwrap();
    let (act_2, _) = respond(&identity(&AuthoritySecretKey::generate()), &act_1).unwrap();
    assert!(client.step_2_with_now(act_2, NOW).is_err());
}

#[test]
fn a_client_accepts_its_authority_within_the_dates_only() {
    let authority = AuthoritySecretKey::generate();
    let identity = identity(&authority);
    let finish = |authority: Option<AuthorityPublicKey>, now_unix| {
        let (initiator, act_1) = Initiator::start();
        let (act_2, _) = respond(&identity, &act_1).unwrap();
        initiator.finish(&act_2, authority.as_ref(), now_unix).map(drop)
    };
    let refused = |error| Err(NoiseError::Certificate(error));
    let pinned = Some(authority.public_key());
    assert_eq!(finish(pinned, NOW), Ok(()));
    let early = CertificateError::NotYetValid { valid_from: NOW - 60, now_unix: NOW - 61 };
    assert_eq!(finish(pinned, NOW - 61), refused(early));
    let late = CertificateError::Expired { not_valid_after: NOW + 3600, now_unix: NOW + 3601 };
    assert_eq!(finish(pinned, NOW + 3601), refused(late));
    let stranger = Some(AuthoritySecretKey::generate().public_key());
    assert_eq!(finish(stranger, NOW), refused(CertificateError::WrongSignature));
    assert_eq!(finish(None, 0), Ok(()));
}

#[test]
fn no_byte_of_the_servers_answer_can_be_changed() {
    let authority = AuthoritySecretKey::generate();
    let identity = identity(&authority);
    for i in 0..ACT_2_LEN {
        let (initiator, act_1) = Initiator::start();
        let (mut act_2, _) = respond(&identity, &act_1).unwrap();
        act_2[i] ^= 1;
        let error = initiator.finish(&act_2, Some(&authority.public_key()), NOW).unwrap_err();
        assert_eq!(error, NoiseError::Decryption, "byte {i}");
    }
}

#[test]
fn a_block_repeated_or_left_out_or_damaged_does_not_decrypt() {
    let (mut client, mut server) = handshake();
    let first = seal(&mut client.sealer, b"first");
    assert_eq!(open(&mut server.opener, first.clone()).unwrap(), b"first");
    assert_eq!(open(&mut server.opener, first), Err(NoiseError::Decryption));

    let (mut client, mut server) = handshake();
    let _first = seal(&mut client.sealer, b"first");
    let second = seal(&mut client.sealer, b"second");
    assert_eq!(open(&mut server.opener, second), Err(NoiseError::Decryption));

    let (mut client, mut server) = handshake();
    let mut first = seal(&mut client.sealer, b"first");
    first[0] ^= 1;
    assert_eq!(open(&mut server.opener, first), Err(NoiseError::Decryption));
    assert_eq!(open(&mut server.opener, vec![0; 3]), Err(NoiseError::Decryption));
}

#[test]
fn debug_output_holds_no_key() {
    let authority = AuthoritySecretKey::generate();
    let identity = identity(&authority);
    let secret = format!("{:?}", &identity.static_key().as_slice()[..4]);
    let secret = secret.trim_matches(['[', ']']);
    let (initiator, act_1) = Initiator::start();
    let (_, transport) = respond(&identity, &act_1).unwrap();
    let shown = format!("{identity:?} {initiator:?} {transport:?}");
    assert!(!shown.contains(secret), "{shown}");
    // Three names and the certificate's fields: were whole keys shown, this would be longer.
    assert!(shown.len() < 300, "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn random_handshakes_never_panic_nor_succeed(act_1 in any::<[u8; 64]>(), noise in proptest::collection::vec(any::<u8>(), ACT_2_LEN)) {
        // Any 64 bytes encode a key, so the server answers; only who knows its secret can read the answer.
        let authority = AuthoritySecretKey::generate();
        prop_assert!(respond(&identity(&authority), &act_1).is_ok());
        let (initiator, _) = Initiator::start();
        let act_2 = noise.try_into().unwrap();
        prop_assert_eq!(initiator.finish(&act_2, None, NOW).unwrap_err(), NoiseError::Decryption);
    }
}
