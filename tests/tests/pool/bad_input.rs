//! Peers that are broken, rude or lost: each loses its own connection at most.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use bitcoin::secp256k1::rand::{RngCore, thread_rng};
use protocol::{
    codec::{DecodeError, Reader, Str0_255, U256},
    connection::{ClientConfig, ClientConnection, ClientEvent, JobDeclaration, Limits, Mining, Subprotocol},
    framing::Header,
    messages::{
        Message,
        common::{Protocol, SetupConnection},
        mining::OpenStandardMiningChannel,
    },
    noise::{ACT_2_LEN, Initiator, Transport},
};
use tests::miner::{End, Miner, MinerConfig, PoolAddress, Submission};

use crate::{
    site::{PATIENCE, Site, idle, standard},
    tally::Tally,
};

/// How long a peer may take to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

fn connect(pool: &PoolAddress) -> TcpStream {
    let stream = TcpStream::connect((pool.host.as_str(), pool.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads until the pool closes the connection.
fn assert_closed(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("the pool does not close the connection: {error}"),
        }
    }
}

fn unix_now() -> u32 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as u32
}

fn setup(pool: &PoolAddress) -> SetupConnection {
    SetupConnection {
        protocol: Protocol::Mining as u8,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: Str0_255::new(&pool.host).unwrap(),
        endpoint_port: pool.port,
        vendor: Str0_255::from_static("nobody"),
        hardware_version: Str0_255::from_static(""),
        firmware: Str0_255::from_static(""),
        device_id: Str0_255::from_static(""),
    }
}

/// Says these words of setup in the protocol `P`, and returns the answer. After a refusal the pool must close.
fn answer_to_setup<P: Subprotocol>(pool: &PoolAddress, setup: SetupConnection) -> ClientEvent<P::ServerMessage> {
    let config = ClientConfig { authority: pool.authority, setup, extensions: vec![], limits: Limits::default() };
    let mut connection = ClientConnection::<P>::speaking(config, Instant::now());
    let mut stream = connect(pool);
    let mut buffer = [0; 4096];
    loop {
        let event = connection.poll(Instant::now(), unix_now()).unwrap();
        stream.write_all(connection.output()).unwrap();
        connection.consume_output(connection.output().len());
        if let Some(event) = event {
            if matches!(event, ClientEvent::SetupRefused { .. }) {
                assert_closed(stream);
            }
            return event;
        }
        let len = stream.read(&mut buffer).unwrap();
        assert_ne!(len, 0, "closed without an answer");
        connection.receive(&buffer[..len]);
    }
}

/// A connection whose handshake is done, and that is free to send what it likes.
struct Encrypted {
    stream: TcpStream,
    transport: Transport,
}

impl Encrypted {
    fn new(pool: &PoolAddress) -> Self {
        let mut stream = connect(pool);
        let (initiator, act_1) = Initiator::start();
        stream.write_all(&act_1).unwrap();
        let mut act_2 = [0; ACT_2_LEN];
        stream.read_exact(&mut act_2).unwrap();
        let transport = initiator.finish(&act_2, pool.authority.as_ref(), unix_now()).unwrap();
        Self { stream, transport }
    }

    fn send<M: Message>(&mut self, payload: &[u8]) {
        for part in [&Header::of::<M>(payload.len()).unwrap().to_bytes()[..], payload] {
            let mut block = part.to_vec();
            let mac = self.transport.sealer.seal(&mut block);
            block.extend(mac);
            self.stream.write_all(&block).unwrap();
        }
    }
}

/// A request to open a channel that ends in the middle.
struct CutOpen;

impl Message for CutOpen {
    const NAME: &'static str = OpenStandardMiningChannel::NAME;
    const EXTENSION_TYPE: u16 = OpenStandardMiningChannel::EXTENSION_TYPE;
    const MESSAGE_TYPE: u8 = OpenStandardMiningChannel::MESSAGE_TYPE;
    const CHANNEL_MSG: bool = OpenStandardMiningChannel::CHANNEL_MSG;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([1, 0, 0, 0, 200, b'a']);
    }

    fn decode_fields(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

fn made_up_share(channel_id: u32) -> Submission {
    Submission {
        channel_id,
        sequence_number: 1,
        job_id: 1,
        nonce: 0,
        ntime: unix_now(),
        version: 0x2000_0000,
        extranonce: None,
        hash: None,
        target: None,
        is_block: false,
        at: Instant::now(),
    }
}

/// A pool, where it is, and a miner that notices if anything disturbs it.
async fn site_with_witness() -> (Site, PoolAddress, Miner) {
    let mut site = Site::signet();
    let pool = site.pool.start().unwrap();
    let witness = site.miner_with(standard(&site.new_address(), 20_000.0)).await;
    witness.wait_for_accepted(3, PATIENCE).await.unwrap();
    (site, pool, witness)
}

/// Asserts that the witness goes on, and that nothing of its work is lost.
async fn assert_undisturbed(site: &Site, witness: Miner) {
    let before = witness.read(|record| record.accepted_count());
    witness.wait_for_accepted(before + 5, PATIENCE).await.unwrap();
    let record = witness.close().await;
    assert_eq!((record.faults.as_slice(), record.rejections.as_slice()), (&[][..], &[][..]));
    site.books().await.tally().await.assert_covers(&Tally::acknowledged(&record), "an acknowledged share is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_silence_instead_of_a_handshake_end_their_own_connection_only() {
    let (site, pool, witness) = site_with_witness().await;
    let silent = connect(&pool);
    let mut halfway = connect(&pool);
    halfway.write_all(&[7; 40]).unwrap();

    let talkers = [64, 65, 300, 5_000].map(|len| {
        let mut garbage = vec![0; len];
        thread_rng().fill_bytes(&mut garbage);
        let mut stream = connect(&pool);
        stream.write_all(&garbage).unwrap();
        stream
    });
    // A plain HTTP client, such as a browser that was given the wrong port.
    let mut http = connect(&pool);
    http.write_all(format!("GET / HTTP/1.1\r\nHost: {}\r\nUser-Agent: lost\r\n\r\n", "x".repeat(200)).as_bytes())
        .unwrap();
    // One that has said nothing, and one that is gone before it is answered.
    drop(connect(&pool));

    for stream in [silent, halfway, http].into_iter().chain(talkers) {
        assert_closed(stream);
    }
    assert_undisturbed(&site, witness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_stalls_in_the_handshake_is_closed_after_ten_seconds() {
    let (site, pool, witness) = site_with_witness().await;
    let since = Instant::now();
    let mut halfway = connect(&pool);
    halfway.write_all(&[7; 63]).unwrap();
    let unset = Encrypted::new(&pool);
    assert_closed(halfway);
    let waited = since.elapsed();
    assert!((HANDSHAKE_TIMEOUT - Duration::from_secs(1)..HANDSHAKE_TIMEOUT * 2).contains(&waited), "{waited:?}");
    // After the handshake, setup has a limit of its own.
    unset.stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_closed(unset.stream);
    assert_undisturbed(&site, witness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn message_that_does_not_decode_or_comes_too_early_ends_its_own_connection_only() {
    let (site, pool, witness) = site_with_witness().await;

    let mut cut_setup = Encrypted::new(&pool);
    cut_setup.send::<SetupConnection>(&[0, 2, 0]);
    assert_closed(cut_setup.stream);

    let mut too_early = Encrypted::new(&pool);
    let open = OpenStandardMiningChannel {
        request_id: 1,
        user_identity: Str0_255::new(&site.new_address().to_string()).unwrap(),
        nominal_hash_rate: 1e6,
        max_target: U256::MAX,
    };
    let mut payload = Vec::new();
    open.encode(&mut payload);
    too_early.send::<OpenStandardMiningChannel>(&payload);
    assert_closed(too_early.stream);

    let forged = Encrypted::new(&pool);
    let mut stream = forged.stream;
    stream.write_all(&[0x55; 200]).unwrap();
    assert_closed(stream);

    let miner = site.miner().await;
    miner.send(CutOpen).await.unwrap();
    assert_eq!(miner.wait_for_end(PATIENCE).await.unwrap(), End::ByPool);
    let miner = site.miner_with(idle(standard(&site.new_address(), 1e6))).await;
    miner.send_unsealed([0x55; 100]).await.unwrap();
    assert_eq!(miner.wait_for_end(PATIENCE).await.unwrap(), End::ByPool);

    assert_undisturbed(&site, witness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn share_for_a_channel_that_is_not_open_is_refused_and_the_connection_goes_on() {
    let (site, _, witness) = site_with_witness().await;
    let miner = site.miner().await;
    miner.submit(made_up_share(2)).await.unwrap();
    assert_eq!(miner.wait_for_rejected(1, PATIENCE).await.unwrap(), "invalid-channel-id");

    // The same connection can be used as if nothing had been.
    miner.open(standard(&site.new_address(), 20_000.0)).await.unwrap();
    miner.wait_for_accepted(2, PATIENCE).await.unwrap();
    miner.submit(made_up_share(9)).await.unwrap();
    assert_eq!(miner.wait_for_rejected(2, PATIENCE).await.unwrap(), "invalid-channel-id");
    let accepted = miner.read(|record| record.accepted_count());
    miner.wait_for_accepted(accepted + 2, PATIENCE).await.unwrap();

    for (identity, code) in [
        ("satoshi", "unknown-user"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "unknown-user"),
        ("spaces are wrong", "invalid-user-identity"),
    ] {
        let refused = miner.open(tests::miner::ChannelConfig::standard(identity)).await.unwrap_err().to_string();
        assert!(refused.contains(code), "{identity}: {refused}");
    }
    assert_undisturbed(&site, witness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_for_another_protocol_or_version_is_refused_by_name() {
    let (site, pool, witness) = site_with_witness().await;
    let refusal = |event: String, code: &str| assert!(event.contains(code), "{event} is no {code}");

    let answer = answer_to_setup::<JobDeclaration>(&pool, setup(&pool));
    refusal(format!("{answer:?}"), "unsupported-protocol");
    let future = SetupConnection { min_version: 3, max_version: 9, ..setup(&pool) };
    refusal(format!("{:?}", answer_to_setup::<Mining>(&pool, future)), "protocol-version-mismatch");
    let unheard_of = SetupConnection { flags: 0b1110, ..setup(&pool) };
    refusal(format!("{:?}", answer_to_setup::<Mining>(&pool, unheard_of)), "unsupported-feature-flags");
    let answer = answer_to_setup::<Mining>(&pool, setup(&pool));
    assert!(matches!(answer, ClientEvent::Connected { used_version: 2, flags: 0 }), "{answer:?}");

    // Whoever expects another authority is told that this is not it, and gives nothing away.
    let other = protocol::noise::AuthoritySecretKey::generate().public_key();
    let wrong = Miner::connect(MinerConfig::new(PoolAddress { authority: Some(other), ..pool })).await;
    assert!(wrong.unwrap_err().to_string().contains("certificate"));
    assert_undisturbed(&site, witness).await;
}
