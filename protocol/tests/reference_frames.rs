//! Whole connections with the reference implementation's codec at the other end: its handshake, frames and ciphers.
//!
//! Which fields make up which message is compared beside the messages; here it is how their frames are encrypted and cut.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use codec_sv2::{
    Decrypted, Handshake, MessageFrame, NoiseDecoder, NoiseEncoder, Transport, TransportDecryptState,
    TransportEncryptState,
};
use common_messages_sv2 as reference;
use noise_sv2::{Initiator, Responder};
use protocol::codec::{B0_64K, Seq0_255, Str0_255, U256};
use protocol::connection::*;
use protocol::framing::MAX_CHUNK_LEN;
use protocol::messages::common::{Protocol, SetupConnection};
use protocol::messages::mining::{
    ClientMessage, NewExtendedMiningJob, SetCustomMiningJob, SubmitSharesStandard, SubmitSharesSuccess,
};
use protocol::messages::{Message, mining};
use protocol::noise::{ACT_1_LEN, ACT_2_LEN, AuthoritySecretKey, ServerIdentity};
use secp256k1::rand::thread_rng;

const NOW_UNIX: u32 = 1_750_000_000;

/// Lengths of coinbase fields that make payloads of one block, of just one and just two, and of two and a bit.
const LENGTHS: [usize; 6] = [0, 1, 300, MAX_CHUNK_LEN - 104, MAX_CHUNK_LEN - 103, 65_535];

/// The reference's end, after the handshake.
struct Theirs {
    encoder: NoiseEncoder,
    decoder: NoiseDecoder,
    encrypt: TransportEncryptState,
    decrypt: Option<TransportDecryptState>,
}

impl Theirs {
    fn new(transport: Transport) -> Self {
        let (encrypt, decrypt) = transport.split();
        Self { encoder: NoiseEncoder::new(), decoder: NoiseDecoder::new(), encrypt, decrypt: Some(decrypt) }
    }

    fn encode<T: binary_sv2::Serialize + binary_sv2::GetSize>(&mut self, message: T, of: Kind) -> Vec<u8> {
        let (message_type, extension_type, channel_msg) = of;
        let frame = MessageFrame::from_message(message, message_type, extension_type, channel_msg).unwrap();
        self.encoder.encode_transport(frame, &mut self.encrypt).unwrap().to_vec()
    }

    /// Decodes one frame, which is all of `bytes`.
    fn decode(&mut self, mut bytes: &[u8]) -> (Kind, Vec<u8>) {
        loop {
            let writable = self.decoder.writable();
            let (next, rest) = bytes.split_at(writable.len());
            writable.copy_from_slice(next);
            bytes = rest;
            match self.decoder.next_transport_frame(self.decrypt.take().unwrap()).unwrap() {
                Decrypted::Incomplete(_, state) => self.decrypt = Some(state),
                Decrypted::Frame(mut frame, state) => {
                    assert!(bytes.is_empty(), "{} bytes more than a frame", bytes.len());
                    self.decrypt = Some(state);
                    let header = frame.header();
                    let kind = (header.msg_type(), header.ext_type_without_channel_msg(), header.channel_msg());
                    return (kind, frame.payload().to_vec());
                }
            }
        }
    }
}

/// Type, extension, channel bit.
type Kind = (u8, u16, bool);

fn kind_of<M: Message>() -> Kind {
    (M::MESSAGE_TYPE, M::EXTENSION_TYPE, M::CHANNEL_MSG)
}

fn payload_of(message: &impl Message) -> Vec<u8> {
    let mut payload = vec![];
    message.encode(&mut payload);
    payload
}

fn setup_connection() -> SetupConnection {
    let text = Str0_255::from_static;
    SetupConnection {
        protocol: Protocol::Mining as u8,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: text("pool.example"),
        endpoint_port: 34254,
        vendor: text("v"),
        hardware_version: text(""),
        firmware: text(""),
        device_id: text(""),
    }
}

#[test]
fn our_client_speaks_with_a_reference_server() {
    let authority = AuthoritySecretKey::generate();
    let (public, secret) = (authority.public_key().to_bytes(), authority.to_secret_bytes());
    let config = ClientConfig {
        authority: Some(authority.public_key()),
        setup: setup_connection(),
        extensions: vec![],
        limits: Limits::default(),
    };
    let now = Instant::now();
    let mut client: ClientConnection = ClientConnection::new(config, now);
    let act_1: [u8; ACT_1_LEN] = flush(&mut client).try_into().unwrap();
    let responder = Responder::from_authority_kp(&public, &secret, Duration::from_secs(3600)).unwrap();
    let handshake = Handshake::responder(responder);
    let (act_2, transport) = handshake.step_1_with_now_rng(act_1, NOW_UNIX, &mut thread_rng()).unwrap();
    let mut server = Theirs::new(transport);
    client.receive(act_2.payload());
    assert_eq!(client.poll(now, NOW_UNIX), Ok(None));

    let (kind, mut setup) = server.decode(&flush(&mut client));
    assert_eq!(kind, kind_of::<SetupConnection>());
    let setup: reference::SetupConnection = binary_sv2::from_bytes(&mut setup).unwrap();
    assert_eq!(setup.endpoint_host.as_bytes(), b"pool.example");
    let accepted = reference::SetupConnectionSuccess { used_version: 2, flags: 0 };
    client.receive(&server.encode(accepted, (0x01, 0, false)));
    assert_eq!(client.poll(now, NOW_UNIX), Ok(Some(ClientEvent::Connected { flags: 0, used_version: 2 })));

    for len in LENGTHS {
        let declared = custom_job(len);
        client.send(&declared);
        assert_eq!(server.decode(&flush(&mut client)), (kind_of::<SetCustomMiningJob>(), payload_of(&declared)));

        let (prefix, suffix) = (vec![1; len], vec![2; len]);
        let job = mining_sv2::NewExtendedMiningJob {
            channel_id: 1,
            job_id: 2,
            min_ntime: binary_sv2::Sv2Option::new(None),
            version: 3,
            version_rolling_allowed: true,
            merkle_path: binary_sv2::Seq0255::new(vec![]).unwrap(),
            coinbase_tx_prefix: binary_sv2::B064K::new(&prefix).unwrap(),
            coinbase_tx_suffix: binary_sv2::B064K::new(&suffix).unwrap(),
        };
        let frame = server.encode(job, (0x1f, 0, true));
        for piece in frame.chunks(60_000) {
            client.receive(piece);
        }
        let event = client.poll(now, NOW_UNIX).unwrap().unwrap();
        assert_eq!(event, ClientEvent::Message(mining::ServerMessage::NewExtendedMiningJob(extended_job(len))));
        assert_eq!(client.poll(now, NOW_UNIX), Ok(None));
    }
}

#[test]
fn our_server_speaks_with_a_reference_client() {
    let authority = AuthoritySecretKey::generate();
    let config = ServerConfig {
        identity: ServerIdentity::new(&authority, NOW_UNIX - 60, NOW_UNIX + 3600),
        supported_flags: 0,
        success_flags: 0,
        supported_extensions: vec![],
        required_extensions: vec![],
        limits: Limits::default(),
    };
    let now = Instant::now();
    let mut server: ServerConnection = ServerConnection::new(Arc::new(config), now);
    let initiator = Initiator::from_raw_k(authority.public_key().to_bytes()).unwrap();
    let (act_1, sent) = Handshake::initiator(initiator).step_0().unwrap();
    server.receive(act_1.payload());
    assert_eq!(server.poll(now), Ok(None));
    let act_2: [u8; ACT_2_LEN] = flush_server(&mut server).try_into().unwrap();
    let mut client = Theirs::new(sent.step_2_with_now(act_2, NOW_UNIX).unwrap());

    let (ours, mut setup) = (setup_connection(), payload_of(&setup_connection()));
    let setup: reference::SetupConnection = binary_sv2::from_bytes(&mut setup).unwrap();
    server.receive(&client.encode(setup, (0x00, 0, false)));
    assert_eq!(server.poll(now), Ok(Some(ServerEvent::Connected { setup: ours, used_version: 2 })));
    let (kind, mut accepted) = client.decode(&flush_server(&mut server));
    assert_eq!(kind.0, 0x01);
    let accepted: reference::SetupConnectionSuccess = binary_sv2::from_bytes(&mut accepted).unwrap();
    assert_eq!((accepted.used_version, accepted.flags), (2, 0));

    let share = SubmitSharesStandard { channel_id: 1, sequence_number: 2, job_id: 3, nonce: 4, ntime: 5, version: 6 };
    let theirs = mining_sv2::SubmitSharesStandard {
        channel_id: 1,
        sequence_number: 2,
        job_id: 3,
        nonce: 4,
        ntime: 5,
        version: 6,
    };
    server.receive(&client.encode(theirs, (0x1a, 0, true)));
    let event = server.poll(now).unwrap().unwrap();
    assert_eq!(event, ServerEvent::Message(ClientMessage::SubmitSharesStandard(share)));
    let success = SubmitSharesSuccess {
        channel_id: 1,
        last_sequence_number: 2,
        new_submits_accepted_count: 1,
        new_shares_sum: 8,
    };
    server.send(&success);
    assert_eq!(client.decode(&flush_server(&mut server)), (kind_of::<SubmitSharesSuccess>(), payload_of(&success)));
    for len in LENGTHS {
        let job = extended_job(len);
        server.send(&job);
        assert_eq!(client.decode(&flush_server(&mut server)), (kind_of::<NewExtendedMiningJob>(), payload_of(&job)));
    }
}

fn extended_job(len: usize) -> NewExtendedMiningJob {
    NewExtendedMiningJob {
        channel_id: 1,
        job_id: 2,
        min_ntime: None,
        version: 3,
        version_rolling_allowed: true,
        merkle_path: Seq0_255::default(),
        coinbase_tx_prefix: B0_64K::new(vec![1; len]).unwrap(),
        coinbase_tx_suffix: B0_64K::new(vec![2; len]).unwrap(),
    }
}

fn custom_job(len: usize) -> SetCustomMiningJob {
    SetCustomMiningJob {
        channel_id: 1,
        request_id: 2,
        mining_job_token: Default::default(),
        version: 3,
        prev_hash: U256::MAX,
        min_ntime: 4,
        nbits: 5,
        coinbase_tx_version: 2,
        coinbase_prefix: Default::default(),
        coinbase_tx_input_nsequence: 6,
        coinbase_tx_outputs: B0_64K::new(vec![7; len]).unwrap(),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0_255::new([U256::ZERO]).unwrap(),
    }
}

fn flush(client: &mut ClientConnection) -> Vec<u8> {
    let output = client.output().to_vec();
    client.consume_output(output.len());
    output
}

fn flush_server(server: &mut ServerConnection) -> Vec<u8> {
    let output = server.output().to_vec();
    server.consume_output(output.len());
    output
}
