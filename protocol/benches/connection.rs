//! What a connection costs without its socket: the server's part of a handshake, a share's frame, an acknowledgement.
//!
//! Beside each figure stands a floor: the cryptography alone, with the keys at hand and no frame around it.
#![allow(clippy::disallowed_methods)]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use protocol::{
    codec::{B0_32, Str0_255},
    connection::{ClientConfig, ClientConnection, ClientEvent, Limits, ServerConfig, ServerConnection, ServerEvent},
    framing::{HEADER_LEN, MAC_LEN},
    messages::{
        Message,
        common::{PROTOCOL_VERSION, Protocol, SetupConnection},
        mining::{SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess},
    },
    noise::{AuthoritySecretKey, ServerIdentity},
};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use secp256k1::{
    SECP256K1, SecretKey,
    ellswift::{ElligatorSwift, ElligatorSwiftParty},
    rand::{Rng, thread_rng},
};

/// Frames that are made before the clock runs: one client sends them, and the server must take them in their order.
const FRAMES_AT_A_TIME: u64 = 1_024;
/// What an extended channel rolls, in bytes.
const EXTRANONCE_SIZE: usize = 4;

fn server_config() -> Arc<ServerConfig> {
    Arc::new(ServerConfig {
        identity: ServerIdentity::new(&AuthoritySecretKey::generate(), 0, u32::MAX),
        supported_flags: 0,
        success_flags: 0,
        supported_extensions: Vec::new(),
        required_extensions: Vec::new(),
        limits: Limits::default(),
    })
}

fn client() -> ClientConnection {
    let setup = SetupConnection {
        protocol: Protocol::Mining as u8,
        min_version: PROTOCOL_VERSION,
        max_version: PROTOCOL_VERSION,
        flags: 0,
        endpoint_host: Str0_255::from_static("pool.example"),
        endpoint_port: 3333,
        vendor: Str0_255::default(),
        hardware_version: Str0_255::default(),
        firmware: Str0_255::default(),
        device_id: Str0_255::default(),
    };
    let config = ClientConfig { authority: None, setup, extensions: Vec::new(), limits: Limits::default() };
    ClientConnection::new(config, Instant::now())
}

/// Both ends of a connection that is set up.
fn connected() -> (ClientConnection, ServerConnection) {
    let now = Instant::now();
    let (mut client, mut server) = (client(), ServerConnection::new(server_config(), now));
    loop {
        let bytes = take(&mut client);
        server.receive(&bytes);
        while server.poll(now).expect("the client keeps to the protocol").is_some() {}
        let answer = server.output().to_vec();
        server.consume_output(answer.len());
        client.receive(&answer);
        if let Some(ClientEvent::Connected { .. }) = client.poll(now, 0).expect("the server keeps to it too") {
            return (client, server);
        }
    }
}

fn take(client: &mut ClientConnection) -> Vec<u8> {
    let bytes = client.output().to_vec();
    client.consume_output(bytes.len());
    bytes
}

fn handshake(c: &mut Criterion) {
    let config = server_config();
    let act_1 = take(&mut client());
    c.bench_function("handshake", |b| {
        b.iter(|| {
            let now = Instant::now();
            let mut server = ServerConnection::new(Arc::clone(&config), now);
            server.receive(&act_1);
            let event = server.poll(now).expect("every 64 bytes are a key");
            assert!(event.is_none() && !server.output().is_empty());
            server
        });
    });
    let theirs = ElligatorSwift::from_array(act_1.try_into().expect("a client begins with its key"));
    let static_secret = SecretKey::new(&mut thread_rng());
    let static_key = ElligatorSwift::from_seckey(SECP256K1, static_secret, None);
    c.bench_function("handshake/floor", |b| {
        b.iter(|| {
            let mut rng = thread_rng();
            let secret = SecretKey::new(&mut rng);
            let ephemeral = ElligatorSwift::from_seckey(SECP256K1, secret, Some(rng.r#gen()));
            let agree =
                |ours, secret| ElligatorSwift::shared_secret(theirs, ours, secret, ElligatorSwiftParty::B, None);
            (agree(ephemeral, secret), agree(static_key, static_secret))
        });
    });
}

/// Measures how long a server takes for frames with `message`, one at a time as a device sends them.
fn open<M: Message>(c: &mut Criterion, id: &str, message: &M, payload_len: usize) {
    let (mut client, mut server) = connected();
    c.bench_function(id, |b| {
        b.iter_custom(|iterations| {
            in_portions(iterations, |count| {
                let frames: Vec<Vec<u8>> = (0..count)
                    .map(|_| {
                        client.send(message);
                        take(&mut client)
                    })
                    .collect();
                let (now, begun) = (Instant::now(), Instant::now());
                for frame in &frames {
                    server.receive(frame);
                    let event = server.poll(now).expect("the frame is the next");
                    assert!(matches!(black_box(event), Some(ServerEvent::Message(_))));
                    assert!(server.poll(now).expect("it was the last").is_none());
                }
                begun.elapsed()
            })
        });
    });
    let mut cipher = Cipher::new();
    c.bench_function(&format!("{id}/floor"), |b| {
        b.iter_custom(|iterations| {
            in_portions(iterations, |count| {
                let mut blocks: Vec<_> =
                    (0..count).map(|_| (cipher.sealed(HEADER_LEN), cipher.sealed(payload_len))).collect();
                cipher.nonce -= 2 * count;
                let begun = Instant::now();
                for (header, payload) in &mut blocks {
                    cipher.open(header);
                    cipher.open(payload);
                }
                begun.elapsed()
            })
        });
    });
}

/// Splits a number of iterations, so that what they need can be made before each part of them.
fn in_portions(mut iterations: u64, mut run: impl FnMut(u64) -> Duration) -> Duration {
    let mut elapsed = Duration::ZERO;
    while iterations > 0 {
        let portion = iterations.min(FRAMES_AT_A_TIME);
        elapsed += run(portion);
        iterations -= portion;
    }
    elapsed
}

fn shares(c: &mut Criterion) {
    let standard =
        SubmitSharesStandard { channel_id: 2, sequence_number: 3, job_id: 4, nonce: 5, ntime: 6, version: 7 };
    open(c, "open/standard", &standard, 24);
    let SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version } = standard;
    let extranonce = B0_32::new(&[8; EXTRANONCE_SIZE]).expect("it is short");
    let extended = SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce };
    open(c, "open/extended", &extended, 24 + 1 + EXTRANONCE_SIZE);
}

fn acknowledgement(c: &mut Criterion) {
    let (_client, mut server) = connected();
    let success = SubmitSharesSuccess {
        channel_id: 2,
        last_sequence_number: 3,
        new_submits_accepted_count: 1,
        new_shares_sum: 1 << 20,
    };
    c.bench_function("seal/acknowledgement", |b| {
        b.iter(|| {
            server.send(&success);
            let len = black_box(server.output()).len();
            server.consume_output(len);
        });
    });
    let mut cipher = Cipher::new();
    let (mut header, mut payload) = ([0; HEADER_LEN], [0; 20]);
    c.bench_function("seal/acknowledgement/floor", |b| {
        b.iter(|| black_box((cipher.seal(&mut header), cipher.seal(&mut payload))));
    });
}

/// The cipher by itself.
struct Cipher {
    key: LessSafeKey,
    nonce: u64,
}

impl Cipher {
    fn new() -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("the key has the cipher's length");
        Self { key: LessSafeKey::new(key), nonce: 0 }
    }

    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.nonce.to_le_bytes());
        self.nonce += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&mut self, block: &mut [u8]) -> [u8; MAC_LEN] {
        let nonce = self.next_nonce();
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), block).expect("the block is short");
        tag.as_ref().try_into().expect("that is how long a code is")
    }

    fn sealed(&mut self, len: usize) -> Vec<u8> {
        let mut block = vec![9; len];
        let mac = self.seal(&mut block);
        block.extend_from_slice(&mac);
        block
    }

    fn open(&mut self, block: &mut [u8]) {
        let nonce = self.next_nonce();
        black_box(self.key.open_in_place(nonce, Aad::empty(), block).expect("it was sealed with this nonce"));
    }
}

criterion_group!(benches, handshake, shares, acknowledgement);
criterion_main!(benches);
