//! Both roles in memory, on simulated time; and a bare peer that can send whatever it likes.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::codec::{B0_16M, B0_32, B0_64K, Reader, Seq0_64K, Seq0_255, Str0_255, TooLong, U256};
use crate::framing::{ENCRYPTED_HEADER_LEN, HEADER_LEN, MAC_LEN, MAX_CHUNK_LEN};
use crate::messages::common::*;
use crate::messages::extensions::*;
use crate::messages::mining::*;
use crate::messages::template_distribution::RequestTransactionDataSuccess;
use crate::noise::{ACT_2_LEN, AuthoritySecretKey, CertificateError, Initiator, ServerIdentity, Transport};

const NOW_UNIX: u32 = 1_750_000_000;
const WORKERS: u16 = WORKER_SPECIFIC_HASHRATE_TRACKING;

fn authority() -> AuthoritySecretKey {
    AuthoritySecretKey::from_bytes(&[0x42; 32]).unwrap()
}

fn server_config() -> ServerConfig {
    ServerConfig {
        identity: ServerIdentity::new(&authority(), NOW_UNIX - 60, NOW_UNIX + 3600),
        supported_flags: REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING,
        success_flags: 0,
        supported_extensions: vec![WORKERS],
        required_extensions: vec![],
        limits: Limits::default(),
    }
}

fn setup(flags: u32) -> SetupConnection {
    SetupConnection {
        protocol: Protocol::Mining as u8,
        min_version: 2,
        max_version: 2,
        flags,
        endpoint_host: Str0_255::new("pool.example").unwrap(),
        endpoint_port: 34254,
        vendor: Str0_255::new("test").unwrap(),
        hardware_version: Str0_255::default(),
        firmware: Str0_255::default(),
        device_id: Str0_255::default(),
    }
}

fn client_config() -> ClientConfig {
    ClientConfig {
        authority: Some(authority().public_key()),
        setup: setup(REQUIRES_STANDARD_JOBS),
        extensions: vec![],
        limits: Limits::default(),
    }
}

fn standard_share(sequence_number: u32) -> SubmitSharesStandard {
    SubmitSharesStandard { channel_id: 2, sequence_number, job_id: 7, nonce: 8, ntime: 9, version: 10 }
}

fn extended_share() -> SubmitSharesExtended {
    let extranonce = B0_32::new(&[1, 2, 3, 4]).unwrap();
    SubmitSharesExtended { channel_id: 2, sequence_number: 1, job_id: 7, nonce: 8, ntime: 9, version: 10, extranonce }
}

/// A client and a server with a wire between them that delivers `step` bytes at a time.
struct Pair<P: Subprotocol = Mining> {
    client: ClientConnection<P>,
    server: ServerConnection<P>,
    client_events: Vec<ClientEvent<P::ServerMessage>>,
    server_events: Vec<ServerEvent<P::ClientMessage>>,
    client_error: Option<ConnectionError>,
    server_error: Option<ConnectionError>,
    now: Instant,
    step: usize,
}

impl Pair {
    fn new(client: ClientConfig, server: ServerConfig) -> Self {
        Self::speaking(client, server)
    }
}

impl<P: Subprotocol> Pair<P> {
    fn speaking(client: ClientConfig, server: ServerConfig) -> Self {
        let now = Instant::now();
        Self {
            client: ClientConnection::speaking(client, now),
            server: ServerConnection::serving(Arc::new(server), now),
            client_events: vec![],
            server_events: vec![],
            client_error: None,
            server_error: None,
            now,
            step: usize::MAX,
        }
    }

    /// Delivers what both sides send until neither has anything more to say.
    fn run(mut self) -> Self {
        self.deliver();
        self
    }

    fn deliver(&mut self) {
        loop {
            let to_server = take_output(self.client.output(), self.step);
            self.client.consume_output(to_server.len());
            self.server.receive(&to_server);
            poll_all(|| self.server.poll(self.now), &mut self.server_events, &mut self.server_error);
            let to_client = take_output(self.server.output(), self.step);
            self.server.consume_output(to_client.len());
            self.client.receive(&to_client);
            poll_all(|| self.client.poll(self.now, NOW_UNIX), &mut self.client_events, &mut self.client_error);
            if to_server.is_empty() && to_client.is_empty() {
                return;
            }
        }
    }
}

fn take_output(output: &[u8], step: usize) -> Vec<u8> {
    output[..output.len().min(step).min(64 * 1024)].to_vec()
}

fn poll_all<E>(
    mut poll: impl FnMut() -> Result<Option<E>, ConnectionError>,
    events: &mut Vec<E>,
    first_error: &mut Option<ConnectionError>,
) {
    loop {
        match poll() {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return,
            Err(error) => {
                first_error.get_or_insert(error);
                return;
            }
        }
    }
}

/// A client that shares no code with [`Link`](super::link::Link): it builds its frames by hand.
struct BareClient {
    transport: Transport,
    server: ServerConnection,
    now: Instant,
}

impl BareClient {
    fn new(config: ServerConfig) -> Self {
        let now = Instant::now();
        let mut server = ServerConnection::new(Arc::new(config), now);
        let (initiator, act_1) = Initiator::start();
        server.receive(&act_1);
        assert_eq!(server.poll(now), Ok(None));
        let act_2: [u8; ACT_2_LEN] = server.output().try_into().unwrap();
        server.consume_output(ACT_2_LEN);
        let transport = initiator.finish(&act_2, Some(&authority().public_key()), NOW_UNIX).unwrap();
        Self { transport, server, now }
    }

    /// A client whose setup the server has accepted.
    fn set_up(config: ServerConfig) -> Self {
        let mut client = Self::new(config);
        client.send(&setup(0));
        assert!(matches!(client.poll(), Ok(Some(ServerEvent::Connected { .. }))));
        assert_eq!(client.next_frame().0, [0, 0, 1, 6, 0, 0]);
        client
    }

    fn frame(&mut self, header: [u8; 6], payload: &[u8]) -> Vec<u8> {
        let mut frame = header.to_vec();
        let mac = self.transport.sealer.seal(&mut frame);
        frame.extend(mac);
        for chunk in payload.chunks(MAX_CHUNK_LEN) {
            let mut chunk = chunk.to_vec();
            let mac = self.transport.sealer.seal(&mut chunk);
            frame.extend(chunk);
            frame.extend(mac);
        }
        frame
    }

    fn send_raw(&mut self, extension_type: u16, message_type: u8, payload: &[u8]) {
        let [low, high] = extension_type.to_le_bytes();
        let len = payload.len().to_le_bytes();
        let frame = self.frame([low, high, message_type, len[0], len[1], len[2]], payload);
        self.server.receive(&frame);
    }

    fn send<M: Message>(&mut self, message: &M) {
        let mut payload = Vec::new();
        message.encode(&mut payload);
        let channel_bit = if M::CHANNEL_MSG { 0x8000 } else { 0 };
        self.send_raw(M::EXTENSION_TYPE | channel_bit, M::MESSAGE_TYPE, &payload);
    }

    fn poll(&mut self) -> Result<Option<ServerEvent>, ConnectionError> {
        self.server.poll(self.now)
    }

    /// Decrypts the next frame of the server's output.
    fn next_frame(&mut self) -> ([u8; HEADER_LEN], Vec<u8>) {
        let mut output = self.server.output().to_vec();
        let (header, rest) = output.split_at_mut(ENCRYPTED_HEADER_LEN);
        self.transport.opener.open(header).unwrap();
        let header: [u8; HEADER_LEN] = header[..HEADER_LEN].try_into().unwrap();
        let len = usize::from(header[3]) + (usize::from(header[4]) << 8);
        let payload = &mut rest[..len + MAC_LEN];
        self.transport.opener.open(payload).unwrap();
        self.server.consume_output(ENCRYPTED_HEADER_LEN + len + MAC_LEN);
        (header, payload[..len].to_vec())
    }
}

#[test]
fn a_client_connects_and_messages_pass_both_ways() {
    let mut pair = Pair::new(client_config(), server_config()).run();
    let setup = setup(REQUIRES_STANDARD_JOBS);
    assert_eq!(pair.server_events, [ServerEvent::Connected { setup, used_version: 2 }]);
    assert_eq!(pair.client_events, [ClientEvent::Connected { flags: 0, used_version: 2 }]);
    assert_eq!((pair.client.deadline(), pair.server.deadline()), (None, None));

    pair.client.send(&standard_share(1));
    pair.client.send(&standard_share(2));
    let success = SubmitSharesSuccess {
        channel_id: 2,
        last_sequence_number: 2,
        new_submits_accepted_count: 2,
        new_shares_sum: 3,
    };
    pair.server.send(&success);
    pair.deliver();
    let shares = [1, 2].map(|number| ServerEvent::Message(ClientMessage::SubmitSharesStandard(standard_share(number))));
    assert_eq!(pair.server_events[1..], shares);
    assert_eq!(pair.client_events[1..], [ClientEvent::Message(ServerMessage::SubmitSharesSuccess(success))]);
    assert_eq!((pair.client_error, pair.server_error), (None, None));
}

#[test]
fn connection_with_nothing_to_say_keeps_no_buffer() {
    let mut pair = Pair::new(client_config(), server_config()).run();
    assert_eq!((pair.server.link.capacity(), pair.client.link.capacity()), (0, 0));
    for sequence_number in 0..1_000 {
        pair.client.send(&standard_share(sequence_number));
        pair.server.send(&SetTarget { channel_id: sequence_number, maximum_target: U256::MAX });
    }
    pair.deliver();
    assert_eq!((pair.server_events.len(), pair.client_events.len()), (1_001, 1_001));
    assert_eq!((pair.server.link.capacity(), pair.client.link.capacity()), (0, 0));
}

#[test]
fn bytes_may_arrive_one_by_one() {
    let mut pair = Pair::new(ClientConfig { extensions: vec![WORKERS], ..client_config() }, server_config());
    pair.step = 1;
    pair.deliver();
    pair.client.send(&standard_share(1));
    pair.deliver();
    assert_eq!(pair.server_events.len(), 3, "{:?}", pair.server_events);
    assert_eq!(pair.client_events[1], ClientEvent::ExtensionsNegotiated(vec![WORKERS]));
    assert_eq!((pair.client_error, pair.server_error), (None, None));
}

#[test]
fn a_handshake_that_stalls_ends_after_ten_seconds() {
    let start = Instant::now();
    let late = start + Duration::from_secs(10);
    let mut server: ServerConnection = ServerConnection::new(Arc::new(server_config()), start);
    server.receive(&[0; 63]);
    assert_eq!(server.deadline(), Some(late));
    assert_eq!(server.poll(late - Duration::from_millis(1)), Ok(None));
    assert_eq!(server.poll(late), Err(ConnectionError::HandshakeTimeout));
    assert_eq!(server.poll(late), Err(ConnectionError::Ended));
    assert_eq!(server.deadline(), None);

    let mut client = ClientConnection::new(client_config(), start);
    assert_eq!(client.deadline(), Some(late));
    assert_eq!(client.poll(start, NOW_UNIX), Ok(None));
    assert_eq!(client.poll(late, NOW_UNIX), Err(ConnectionError::HandshakeTimeout));
}

#[test]
fn setup_that_stalls_ends_after_its_own_time() {
    let mut client = BareClient::new(server_config());
    client.now += Duration::from_secs(10);
    assert_eq!(client.server.deadline(), Some(client.now));
    assert_eq!(client.poll(), Err(ConnectionError::SetupTimeout));
}

#[test]
fn what_arrived_in_time_counts_even_if_polled_late() {
    let mut client = BareClient::new(server_config());
    client.send(&setup(0));
    client.now += Duration::from_secs(60);
    assert!(matches!(client.poll(), Ok(Some(ServerEvent::Connected { .. }))));
    client.now += Duration::from_secs(3600);
    assert_eq!(client.poll(), Ok(None));
}

fn refusal(setup: SetupConnection) -> (u32, &'static str) {
    let mut client = BareClient::new(server_config());
    client.send(&setup);
    let Err(ConnectionError::SetupRefused { code }) = client.poll() else { panic!("{setup:?} was not refused") };
    // The reason is in the output for whoever writes it before closing.
    let (header, payload) = client.next_frame();
    assert_eq!(header[..3], [0, 0, 2]);
    let error = SetupConnectionError::decode(&payload).unwrap();
    assert_eq!(error.error_code.to_str(), Some(code));
    assert_eq!(client.poll(), Err(ConnectionError::Ended));
    (error.flags, code)
}

#[test]
fn setup_is_refused_with_the_reason() {
    let work_selection = REQUIRES_WORK_SELECTION | 1 << 31;
    let flags = work_selection | REQUIRES_VERSION_ROLLING;
    assert_eq!(refusal(setup(flags)), (work_selection, "unsupported-feature-flags"));
    let protocol = Protocol::JobDeclaration as u8;
    assert_eq!(refusal(SetupConnection { protocol, ..setup(0) }), (0, "unsupported-protocol"));
    assert_eq!(refusal(SetupConnection { protocol: 77, ..setup(flags) }), (0, "unsupported-protocol"));
    for (min_version, max_version) in [(1, 1), (3, 9), (9, 0)] {
        let setup = SetupConnection { min_version, max_version, ..setup(0) };
        assert_eq!(refusal(setup), (0, "protocol-version-mismatch"));
    }
}

#[test]
fn a_refused_client_is_told_and_both_sides_end() {
    let config = ClientConfig { setup: setup(REQUIRES_WORK_SELECTION), ..client_config() };
    let mut pair = Pair::new(config, server_config()).run();
    let code = Str0_255::from_static(UNSUPPORTED_FEATURE_FLAGS);
    assert_eq!(pair.client_events, [ClientEvent::SetupRefused { code, flags: REQUIRES_WORK_SELECTION }]);
    assert_eq!(pair.server_error, Some(ConnectionError::SetupRefused { code: UNSUPPORTED_FEATURE_FLAGS }));
    assert_eq!(pair.client.poll(pair.now, NOW_UNIX), Err(ConnectionError::Ended));
    pair.client.send(&standard_share(1));
    assert!(pair.client.output().is_empty());
}

#[test]
fn the_clients_flags_are_not_echoed() {
    let config = ClientConfig { setup: setup(REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING), ..client_config() };
    let pair = Pair::new(config.clone(), server_config()).run();
    assert_eq!(pair.client_events, [ClientEvent::Connected { flags: 0, used_version: 2 }]);
    let own = ServerConfig { success_flags: REQUIRES_EXTENDED_CHANNELS, ..server_config() };
    let pair = Pair::new(config, own).run();
    let flags = REQUIRES_EXTENDED_CHANNELS;
    assert_eq!(pair.client_events, [ClientEvent::Connected { flags, used_version: 2 }]);
}

#[test]
fn a_server_under_another_authority_is_left() {
    let stranger = AuthoritySecretKey::from_bytes(&[0x43; 32]).unwrap().public_key();
    let pair = Pair::new(ClientConfig { authority: Some(stranger), ..client_config() }, server_config()).run();
    let error = NoiseError::Certificate(CertificateError::WrongSignature);
    assert_eq!(pair.client_error, Some(error.into()));
    assert!(pair.server_events.is_empty());
}

#[test]
fn messages_in_the_wrong_state_or_direction_end_the_connection() {
    let unexpected = |result: Result<Option<ServerEvent>, ConnectionError>| match result {
        Err(ConnectionError::UnexpectedMessage { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    let mut client = BareClient::new(server_config());
    client.send(&standard_share(1));
    assert_eq!(unexpected(client.poll()), "SubmitSharesStandard");

    let mut client = BareClient::new(server_config());
    client.send(&RequestExtensions { request_id: 0, requested_extensions: Seq0_64K::default() });
    assert_eq!(unexpected(client.poll()), "RequestExtensions");

    let mut client = BareClient::set_up(server_config());
    client.send(&setup(0));
    assert_eq!(unexpected(client.poll()), "SetupConnection");

    let mut client = BareClient::set_up(server_config());
    client.send(&SetTarget { channel_id: 2, maximum_target: U256::MAX });
    assert_eq!(unexpected(client.poll()), "SetTarget");

    let mut client = BareClient::set_up(server_config());
    client.send(&RequestExtensionsSuccess { request_id: 1, supported_extensions: Seq0_64K::default() });
    assert_eq!(unexpected(client.poll()), "RequestExtensions.Success");
}

#[test]
fn unknown_messages_of_known_extensions_end_the_connection() {
    for (extension_type, message_type) in [(0, 0x1e), (0, 0xff), (1, 0x03)] {
        let mut client = BareClient::set_up(server_config());
        client.send_raw(extension_type | 0x8000, message_type, &[0; 40]);
        assert_eq!(client.poll(), Err(ConnectionError::UnknownMessage { extension_type, message_type }));
    }
}

#[test]
fn messages_of_unknown_extensions_are_ignored() {
    let mut client = BareClient::new(server_config());
    client.send_raw(0x4001, 0, b"before setup");
    assert_eq!(client.poll(), Ok(None));
    client.send(&setup(0));
    assert!(matches!(client.poll(), Ok(Some(ServerEvent::Connected { .. }))));
    client.send_raw(0x4001, 7, b"anything");
    client.send_raw(0xc001, 7, b"");
    client.send(&standard_share(1));
    let share = ClientMessage::SubmitSharesStandard(standard_share(1));
    assert_eq!(client.poll(), Ok(Some(ServerEvent::Message(share))));
    assert_eq!(client.poll(), Ok(None));
}

#[test]
fn the_channel_bit_is_optional_from_the_peer_and_always_sent() {
    let mut client = BareClient::set_up(server_config());
    let mut payload = Vec::new();
    standard_share(1).encode(&mut payload);
    for extension_type in [0x0000, 0x8000] {
        client.send_raw(extension_type, SubmitSharesStandard::MESSAGE_TYPE, &payload);
        let share = ClientMessage::SubmitSharesStandard(standard_share(1));
        assert_eq!(client.poll(), Ok(Some(ServerEvent::Message(share))));
    }
    client.server.send(&SetTarget { channel_id: 2, maximum_target: U256::MAX });
    assert_eq!(client.next_frame().0, [0x00, 0x80, 0x21, 36, 0, 0]);
}

/// A [`SetTarget`] from a server that forgets the channel bit.
struct WithoutChannelBit(SetTarget);

impl Message for WithoutChannelBit {
    const NAME: &'static str = SetTarget::NAME;
    const EXTENSION_TYPE: u16 = SetTarget::EXTENSION_TYPE;
    const MESSAGE_TYPE: u8 = SetTarget::MESSAGE_TYPE;
    const CHANNEL_MSG: bool = false;

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        SetTarget::decode_fields(reader).map(Self)
    }
}

#[test]
fn a_client_can_see_the_header_of_each_frame_as_it_was_sent() {
    let mut pair = Pair::new(client_config(), server_config());
    assert_eq!(pair.client.last_header(), None);
    pair.deliver();
    assert!(pair.client.last_header().unwrap().is::<SetupConnectionSuccess>());
    let message = SetTarget { channel_id: 2, maximum_target: U256::MAX };
    pair.server.send(&message);
    pair.deliver();
    assert_eq!(pair.client.last_header(), Header::of::<SetTarget>(36));
    pair.server.send(&WithoutChannelBit(message));
    pair.deliver();
    let header = pair.client.last_header().unwrap();
    assert!(header.is::<SetTarget>() && !header.channel_msg);
    assert_eq!(pair.client_events.len(), 3);
}

#[test]
fn unknown_fields_behind_a_message_are_ignored() {
    let mut client = BareClient::set_up(server_config());
    let mut payload = Vec::new();
    standard_share(1).encode(&mut payload);
    payload.extend_from_slice(&[0x40, 0x00, 0x01, 0x00, 0x01, 0xff]);
    client.send_raw(0x8000, SubmitSharesStandard::MESSAGE_TYPE, &payload);
    let share = ClientMessage::SubmitSharesStandard(standard_share(1));
    assert_eq!(client.poll(), Ok(Some(ServerEvent::Message(share))));
}

#[test]
fn a_payload_that_does_not_decode_ends_the_connection() {
    let mut client = BareClient::set_up(server_config());
    client.send_raw(0x8000, SubmitSharesStandard::MESSAGE_TYPE, &[0; 23]);
    let source = DecodeError::Truncated { field_type: "U32", needed: 4, left: 3 };
    let error = ConnectionError::Decode { message: "SubmitSharesStandard", source };
    assert_eq!(client.poll(), Err(error));
}

#[test]
fn garbage_after_the_handshake_does_not_decrypt() {
    let mut client = BareClient::set_up(server_config());
    client.server.receive(&[0x55; ENCRYPTED_HEADER_LEN]);
    assert_eq!(client.poll(), Err(NoiseError::Decryption.into()));
    assert_eq!(client.poll(), Err(ConnectionError::Ended));
    client.server.send(&standard_share(1));
    assert!(client.server.output().is_empty());
}

#[test]
fn a_header_over_the_limit_ends_the_connection_before_its_payload() {
    let limits = Limits { max_frame_payload: 1000, ..Limits::default() };
    let mut client = BareClient::set_up(ServerConfig { limits, ..server_config() });
    let header = client.frame([0, 0, 0x10, 0xe9, 0x03, 0], &[]);
    client.server.receive(&header);
    assert_eq!(client.poll(), Err(ConnectionError::FrameTooLarge { payload_len: 1001, max: 1000 }));
}

#[test]
fn payloads_of_several_chunks_pass_both_ways() {
    let config = ClientConfig { setup: setup(REQUIRES_WORK_SELECTION), ..client_config() };
    let server = ServerConfig { supported_flags: REQUIRES_WORK_SELECTION, ..server_config() };
    let mut pair = Pair::new(config, server).run();
    let numbered = |len: usize| B0_64K::new((0..len).map(|i| (i % 251) as u8).collect::<Vec<_>>()).unwrap();
    let job = NewExtendedMiningJob {
        channel_id: 1,
        job_id: 2,
        min_ntime: None,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: Seq0_255::new(vec![U256([9; 32]); 12]).unwrap(),
        coinbase_tx_prefix: numbered(65_535),
        coinbase_tx_suffix: numbered(65_535),
    };
    let custom = SetCustomMiningJob {
        channel_id: 1,
        request_id: 2,
        mining_job_token: Default::default(),
        version: 0x2000_0000,
        prev_hash: U256([3; 32]),
        min_ntime: 4,
        nbits: 5,
        coinbase_tx_version: 2,
        coinbase_prefix: Default::default(),
        coinbase_tx_input_nsequence: 6,
        coinbase_tx_outputs: numbered(65_535),
        coinbase_tx_locktime: 7,
        merkle_path: Seq0_255::default(),
    };
    pair.server.send(&job);
    pair.client.send(&custom);
    pair.deliver();
    assert_eq!(pair.client_events[1..], [ClientEvent::Message(ServerMessage::NewExtendedMiningJob(job))]);
    assert_eq!(pair.server_events[1..], [ServerEvent::Message(ClientMessage::SetCustomMiningJob(custom))]);
}

#[test]
fn payloads_around_the_chunk_limit_pass() {
    let limits = Limits { max_frame_payload: 1 << 20, ..Limits::default() };
    let mut config = ClientConfig { limits, ..client_config() };
    config.setup.flags = 0;
    let mut pair: Pair<TemplateDistribution> = Pair::speaking(config, server_config()).run();
    // The rest of the message takes 8 + 2 + 2 + 3 bytes.
    for payload_len in [65_518, 65_519, 65_520, 131_037, 131_038, 131_039, 200_000] {
        let transaction = B0_16M::new((0..payload_len - 15).map(|i| (i % 253) as u8).collect::<Vec<_>>()).unwrap();
        let message = RequestTransactionDataSuccess {
            template_id: payload_len as u64,
            excess_data: B0_64K::default(),
            transaction_list: Seq0_64K::new([transaction]).unwrap(),
        };
        pair.server.send(&message);
        pair.deliver();
        let message = template_distribution::ServerMessage::RequestTransactionDataSuccess(message);
        assert_eq!(pair.client_events.pop(), Some(ClientEvent::Message(message)), "{payload_len}");
    }
}

fn request(request_id: u16, requested: &[u16]) -> RequestExtensions {
    RequestExtensions { request_id, requested_extensions: Seq0_64K::new(requested).unwrap() }
}

#[test]
fn extensions_that_are_partly_supported_are_granted_in_part() {
    let mut client = BareClient::set_up(server_config());
    client.send(&request(5, &[0x4444, WORKERS, WORKERS]));
    assert_eq!(client.poll(), Ok(Some(ServerEvent::ExtensionsNegotiated(vec![WORKERS]))));
    let (header, payload) = client.next_frame();
    assert_eq!(header, [1, 0, 1, 6, 0, 0]);
    assert_eq!(payload, [5, 0, 1, 0, 2, 0]);
}

#[test]
fn a_refused_request_for_extensions_may_be_made_again() {
    let mut client = BareClient::set_up(server_config());
    client.send(&request(1, &[0x4444]));
    assert_eq!(client.poll(), Ok(None));
    let (header, payload) = client.next_frame();
    assert_eq!(header[..3], [1, 0, 2]);
    let error = RequestExtensionsError::decode(&payload).unwrap();
    assert_eq!((error.request_id, error.unsupported_extensions.as_slice()), (1, &[0x4444][..]));
    assert!(error.required_extensions.as_slice().is_empty());
    client.send(&request(2, &[WORKERS]));
    assert_eq!(client.poll(), Ok(Some(ServerEvent::ExtensionsNegotiated(vec![WORKERS]))));
}

#[test]
fn a_client_without_the_required_extension_is_told_and_then_left() {
    let config = || ServerConfig { required_extensions: vec![0x0005], ..server_config() };
    let mut client = BareClient::set_up(config());
    client.send(&request(1, &[WORKERS, 0x0003]));
    assert_eq!(client.poll(), Ok(None));
    let error = RequestExtensionsError::decode(&client.next_frame().1).unwrap();
    assert_eq!(error.unsupported_extensions.as_slice(), [0x0003]);
    assert_eq!(error.required_extensions.as_slice(), [0x0005]);
    client.send(&standard_share(1));
    assert_eq!(client.poll(), Err(ConnectionError::RequiredExtensionsMissing));

    let mut client = BareClient::set_up(config());
    client.send(&request(1, &[0x0005]));
    assert_eq!(client.poll(), Ok(Some(ServerEvent::ExtensionsNegotiated(vec![0x0005]))));
    client.send(&standard_share(1));
    assert!(matches!(client.poll(), Ok(Some(ServerEvent::Message(_)))));
}

#[test]
fn extensions_cannot_be_negotiated_after_the_first_message() {
    let mut client = BareClient::set_up(server_config());
    client.send(&standard_share(1));
    assert!(matches!(client.poll(), Ok(Some(ServerEvent::Message(_)))));
    client.send(&request(1, &[WORKERS]));
    assert!(matches!(client.poll(), Err(ConnectionError::UnexpectedMessage { message: "RequestExtensions", .. })));
}

#[test]
fn a_client_hears_of_the_refusal_and_retries() {
    let server = ServerConfig { required_extensions: vec![WORKERS], ..server_config() };
    let mut pair = Pair::new(ClientConfig { extensions: vec![0x4444], ..client_config() }, server).run();
    let refused = ClientEvent::ExtensionsRefused { unsupported: vec![0x4444], required: vec![WORKERS] };
    assert_eq!(pair.client_events[1..], [refused]);
    pair.client.request_extensions(&[WORKERS]);
    pair.deliver();
    assert_eq!(pair.client_events[2..], [ClientEvent::ExtensionsNegotiated(vec![WORKERS])]);
    assert_eq!((pair.client_error, pair.server_error), (None, None));
}

#[test]
fn an_answer_about_extensions_that_nobody_asked_for_ends_the_connection() {
    let mut pair = Pair::new(client_config(), server_config()).run();
    pair.server.send(&RequestExtensionsSuccess { request_id: 0, supported_extensions: Seq0_64K::default() });
    pair.deliver();
    assert_eq!(pair.client_error, Some(ConnectionError::UnaskedAnswer { request_id: 0 }));
}

#[test]
fn workers_names_come_with_shares_once_negotiated() {
    let worker = WorkerIdentity::new("Worker_001").unwrap();
    for (extensions, seen) in [(vec![WORKERS], Some(worker)), (vec![], None)] {
        let mut pair = Pair::new(ClientConfig { extensions, ..client_config() }, server_config()).run();
        pair.client.send_with_worker(&extended_share(), &worker);
        pair.deliver();
        let share = ClientMessage::SubmitSharesExtended(extended_share(), Ok(seen));
        assert_eq!(pair.server_events.last(), Some(&ServerEvent::Message(share)));
    }
}

#[test]
fn a_workers_name_over_32_bytes_is_at_fault_and_not_its_share() {
    let mut client = BareClient::set_up(server_config());
    client.send(&request(1, &[WORKERS]));
    assert!(matches!(client.poll(), Ok(Some(ServerEvent::ExtensionsNegotiated(_)))));
    let mut payload = Vec::new();
    extended_share().encode(&mut payload);
    payload.extend_from_slice(&[0x00, 0x02, 0x01, 0x00, 33]);
    payload.extend_from_slice(&[b'w'; 33]);
    client.send_raw(0x8000, SubmitSharesExtended::MESSAGE_TYPE, &payload);
    let error = TooLong { field_type: "B0_32", len: 33, max: 32 }.into();
    let share = ClientMessage::SubmitSharesExtended(extended_share(), Err(error));
    assert_eq!(client.poll(), Ok(Some(ServerEvent::Message(share))));
}

#[test]
fn common_messages_reach_the_client() {
    let mut pair = Pair::new(client_config(), server_config()).run();
    let reconnect = Reconnect { new_host: Str0_255::new("b.example").unwrap(), new_port: 1 };
    pair.server.send(&reconnect);
    pair.server.send(&ChannelEndpointChanged { channel_id: 4 });
    pair.deliver();
    let changed = ClientEvent::ChannelEndpointChanged(ChannelEndpointChanged { channel_id: 4 });
    assert_eq!(pair.client_events[1..], [ClientEvent::Reconnect(reconnect), changed]);
}

#[test]
fn a_peer_that_does_not_read_is_left_at_once() {
    let limits = Limits { max_unsent_bytes: 200, ..Limits::default() };
    let mut client = BareClient::set_up(ServerConfig { limits, ..server_config() });
    let target = SetTarget { channel_id: 2, maximum_target: U256::MAX };
    // A frame of 22 + 36 + 16 bytes: the third does not fit.
    for _ in 0..2 {
        client.server.send(&target);
        assert_eq!(client.server.deadline(), None);
    }
    let before = client.server.output().to_vec();
    client.server.send(&target);
    assert!(client.server.deadline().is_some_and(|deadline| deadline <= client.now));
    assert_eq!(client.server.output(), before, "only whole frames are ever in the output");
    assert_eq!(client.poll(), Err(ConnectionError::OutputFull { max: 200 }));
}

#[test]
fn input_that_nobody_polls_is_bounded() {
    let limits = Limits { max_frame_payload: 1000, ..Limits::default() };
    let mut client = BareClient::set_up(ServerConfig { limits, ..server_config() });
    let max = ENCRYPTED_HEADER_LEN + 1016 + 64 * 1024;
    client.server.receive(&vec![0; max]);
    assert_eq!(client.server.deadline(), None);
    client.server.receive(&[0]);
    assert_eq!(client.poll(), Err(ConnectionError::InputFull { max }));
}

#[test]
fn sending_before_setup_is_the_callers_fault() {
    let now = Instant::now();
    let mut server: ServerConnection = ServerConnection::new(Arc::new(server_config()), now);
    server.send(&SetTarget { channel_id: 2, maximum_target: U256::MAX });
    assert_eq!(server.poll(now), Err(ConnectionError::SentBeforeSetup { message: "SetTarget" }));
    assert!(server.output().is_empty());
}

#[test]
fn output_may_be_written_in_any_pieces() {
    let mut pair = Pair::new(client_config(), server_config()).run();
    for number in 0..100 {
        pair.client.send(&standard_share(number));
        pair.step = number as usize % 67 + 1;
        let part = take_output(pair.client.output(), pair.step);
        pair.client.consume_output(part.len());
        pair.server.receive(&part);
    }
    pair.deliver();
    assert_eq!(pair.server_events.len(), 101);
}

#[test]
fn frames_of_another_implementation_are_understood() {
    let now = Instant::now();
    let mut server: ServerConnection = ServerConnection::new(Arc::new(server_config()), now);
    let mut client = noise_sv2::Initiator::from_raw_k(authority().public_key().to_bytes()).unwrap();
    server.receive(&client.step_0().unwrap());
    assert_eq!(server.poll(now), Ok(None));
    let mut engine = client.step_2_with_now(server.output().try_into().unwrap(), NOW_UNIX).unwrap();
    server.consume_output(ACT_2_LEN);
    let mut payload = Vec::new();
    setup(0).encode(&mut payload);
    let mut header = vec![0, 0, 0, payload.len() as u8, 0, 0];
    engine.encrypt(&mut header).unwrap();
    engine.encrypt(&mut payload).unwrap();
    server.receive(&header);
    assert_eq!(server.poll(now), Ok(None));
    server.receive(&payload);
    assert_eq!(server.poll(now), Ok(Some(ServerEvent::Connected { setup: setup(0), used_version: 2 })));
    let (mut header, mut payload) = (server.output()[..22].to_vec(), server.output()[22..].to_vec());
    engine.decrypt(&mut header).unwrap();
    engine.decrypt(&mut payload).unwrap();
    assert_eq!((header, payload), (vec![0, 0, 1, 6, 0, 0], vec![2, 0, 0, 0, 0, 0]));
}

#[test]
fn frame_of_a_link_arrives_as_it_was_sent_whatever_the_rules_say() {
    let (initiator, act_1) = Initiator::start();
    let (act_2, transport) = crate::noise::respond(&server_config().identity, &act_1).unwrap();
    let (mut client, mut server) = (Link::new(Limits::default()), Link::new(Limits::default()));
    client.encrypt_with(initiator.finish(&act_2, None, NOW_UNIX).unwrap());
    server.encrypt_with(transport);

    // A message to a channel without the channel bit, one of nobody's extension, and one as it should be.
    let mut bare = Header::of::<SubmitSharesStandard>(3).unwrap();
    bare.channel_msg = false;
    let unknown = Header::new(0x7abc, 0x42, 0).unwrap();
    client.send_frame(bare, &[1, 2, 3]);
    client.send_frame(unknown, &[]);
    client.send(&standard_share(1));
    server.receive(client.output());
    assert_eq!(server.next_frame().unwrap(), Some((bare, &[1, 2, 3][..])));
    assert_eq!(server.next_frame().unwrap(), Some((unknown, &[][..])));
    let (header, payload) = server.next_frame().unwrap().unwrap();
    assert!(header.channel_msg && header.is::<SubmitSharesStandard>());
    assert_eq!(SubmitSharesStandard::decode(payload).unwrap(), standard_share(1));
    assert_eq!(server.next_frame().unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_instead_of_a_handshake_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let now = Instant::now();
        let mut server: ServerConnection = ServerConnection::new(Arc::new(server_config()), now);
        server.receive(&bytes);
        let outcome = server.poll(now);
        // Past the handshake, at least a header must be there to be found wrong.
        prop_assert_eq!(outcome.is_err(), bytes.len() >= 64 + ENCRYPTED_HEADER_LEN);
        let mut client = ClientConnection::new(client_config(), now);
        client.receive(&bytes);
        prop_assert_eq!(client.poll(now, NOW_UNIX).is_err(), bytes.len() >= ACT_2_LEN);
    }

    #[test]
    fn random_frames_never_panic(
        frames in proptest::collection::vec(
            (0_u16..3, any::<bool>(), 0_u8..0x30, proptest::collection::vec(any::<u8>(), 0..100)),
            1..8,
        ),
    ) {
        let mut client = BareClient::set_up(server_config());
        for (extension_type, channel_msg, message_type, payload) in frames {
            client.send_raw(extension_type | u16::from(channel_msg) << 15, message_type, &payload);
        }
        while let Ok(Some(_)) = client.poll() {}
    }

    #[test]
    fn any_changed_bit_of_a_frame_ends_the_connection(at in 0_usize..22 + 24 + 16, bit in 0_u8..8) {
        let mut client = BareClient::set_up(server_config());
        let mut payload = Vec::new();
        standard_share(1).encode(&mut payload);
        let mut frame = client.frame([0x00, 0x80, 0x1a, 24, 0, 0], &payload);
        frame[at] ^= 1 << bit;
        client.server.receive(&frame);
        prop_assert_eq!(client.poll(), Err(NoiseError::Decryption.into()));
    }

    #[test]
    fn shares_survive_any_cutting_of_the_stream(cuts in proptest::collection::vec(1_usize..100, 1..40)) {
        let mut client = BareClient::set_up(server_config());
        let mut stream = Vec::new();
        for number in 0..20 {
            let mut payload = Vec::new();
            standard_share(number).encode(&mut payload);
            stream.extend(client.frame([0x00, 0x80, 0x1a, 24, 0, 0], &payload));
        }
        let mut numbers = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.into_iter().chain([stream.len()]) {
            let (piece, later) = rest.split_at(cut.min(rest.len()));
            rest = later;
            client.server.receive(piece);
            while let Some(event) = client.poll().unwrap() {
                let ServerEvent::Message(ClientMessage::SubmitSharesStandard(share)) = event else { panic!() };
                numbers.push(share.sequence_number);
            }
        }
        prop_assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    }
}
