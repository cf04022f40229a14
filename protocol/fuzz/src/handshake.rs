//! The handshake of both roles: arbitrary bytes in arbitrary pieces, and genuine acts that were changed on their way.
//!
//! An input is the kind of attack, then four lengths of pieces that are taken in turn, then the attack's bytes.

use protocol::connection::ConnectionError;
use protocol::framing::ENCRYPTED_HEADER_LEN;
use protocol::noise::{ACT_1_LEN, ACT_2_LEN, AuthorityPublicKey, Certificate, NoiseError};

use super::ends::{Client, START, Server, Setting};

/// Runs the target.
pub fn run(data: &[u8]) {
    let [attack, a, b, c, d, bytes @ ..] = data else { return };
    let pieces = [*a, *b, *c, *d];
    match attack % 5 {
        0 => against_server(bytes, pieces),
        1 => against_client(bytes, pieces),
        2 => between(bytes, &[], pieces),
        3 => between(&[], bytes, pieces),
        _ => keys(bytes),
    }
}

/// Cuts bytes into pieces of these lengths, in turn; a length of zero counts as one.
pub fn cut(mut bytes: &[u8], lengths: impl IntoIterator<Item = u8, IntoIter: Clone>) -> impl Iterator<Item = &[u8]> {
    let mut lengths = lengths.into_iter().cycle();
    std::iter::from_fn(move || {
        let len = usize::from(lengths.next()?).clamp(1, bytes.len().max(1)).min(bytes.len());
        let (piece, rest) = bytes.split_at(len);
        bytes = rest;
        (len > 0).then_some(piece)
    })
}

/// Any 64 bytes are a key and get an answer. What follows cannot be encrypted for it.
fn against_server(bytes: &[u8], pieces: [u8; 4]) {
    let mut server = Server::new(Setting(0));
    for piece in cut(bytes, pieces) {
        server.receive(piece);
        assert!(server.poll(*START).is_empty(), "an event of noise");
    }
    let answer = server.take_output(usize::MAX);
    assert_eq!(answer.len(), if bytes.len() < ACT_1_LEN { 0 } else { ACT_2_LEN });
    let decryption = ConnectionError::Noise(NoiseError::Decryption);
    let error = (bytes.len() >= ACT_1_LEN + ENCRYPTED_HEADER_LEN).then_some(&decryption);
    assert_eq!(server.error(), error);
}

/// No bytes are an answer to a fresh key.
fn against_client(bytes: &[u8], pieces: [u8; 4]) {
    let mut client = Client::new(Setting(0));
    assert_eq!(client.take_output(usize::MAX).len(), ACT_1_LEN);
    for piece in cut(bytes, pieces) {
        client.receive(piece);
        assert!(client.poll(*START).is_empty(), "an event of noise");
    }
    assert!(client.take_output(usize::MAX).is_empty(), "a client goes on after noise");
    let decryption = ConnectionError::Noise(NoiseError::Decryption);
    assert_eq!(client.error(), (bytes.len() >= ACT_2_LEN).then_some(&decryption));
}

/// Both roles, with masks laid over what they send. The client notices if, and only if, a bit of either act changes.
fn between(to_server: &[u8], to_client: &[u8], pieces: [u8; 4]) {
    let (mut client, mut server) = (Client::new(Setting(0)), Server::new(Setting(0)));
    let mut act_1 = client.take_output(usize::MAX);
    let mut changed = mask(&mut act_1, to_server);
    for piece in cut(&act_1, pieces) {
        server.receive(piece);
        assert!(server.poll(*START).is_empty());
    }
    let mut act_2 = server.take_output(usize::MAX);
    assert_eq!(act_2.len(), ACT_2_LEN);
    changed |= mask(&mut act_2, to_client);
    for piece in cut(&act_2, pieces) {
        client.receive(piece);
        assert!(client.poll(*START).is_empty());
    }
    let decryption = ConnectionError::Noise(NoiseError::Decryption);
    assert_eq!(client.error(), changed.then_some(&decryption));
    server.receive(&client.take_output(usize::MAX));
    assert_eq!(server.poll(*START).len(), usize::from(!changed));
}

/// Flips the bits of `bytes` that are set in `mask`; returns true if there were any.
fn mask(bytes: &mut [u8], mask: &[u8]) -> bool {
    let mut changed = false;
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        *byte ^= mask;
        changed |= *mask != 0;
    }
    changed
}

/// Authority keys as text, and certificates as bytes.
fn keys(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(key) = text.parse::<AuthorityPublicKey>() {
        assert_eq!(key.to_string(), text);
    }
    let Some((key, rest)) = bytes.split_first_chunk() else { return };
    let Ok(key) = AuthorityPublicKey::from_bytes(key) else { return };
    assert_eq!(key.to_string().parse(), Ok(key));
    let Some((certificate, rest)) = rest.split_first_chunk::<{ Certificate::LEN }>() else { return };
    assert_eq!(Certificate::from_bytes(*certificate).to_bytes(), *certificate);
    let Some(static_key) = rest.first_chunk::<64>() else { return };
    let certificate = Certificate::from_bytes(*certificate);
    assert!(certificate.verify(static_key, &key, certificate.valid_from).is_err(), "a forgery");
}
