//! The test miner against a scripted server: what it submits must be what a careful pool would accept, judged here
//! by rust-bitcoin alone.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{BlockHash, CompactTarget, Target, TxMerkleNode, block};
use protocol::codec::{B0_32, B0_64K, Seq0_255, Str0_255, U256};
use protocol::connection::{ConnectionError, Limits, ServerConfig, ServerConnection, ServerEvent};
use protocol::messages::Message;
use protocol::messages::extensions::{WORKER_SPECIFIC_HASHRATE_TRACKING, WorkerIdentity};
use protocol::messages::mining::{
    ClientMessage, CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError, OpenStandardMiningChannelSuccess, REQUIRES_STANDARD_JOBS, SetNewPrevHash, SetTarget,
    SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess, UpdateChannel,
};
use protocol::noise::{AuthorityPublicKey, AuthoritySecretKey, ServerIdentity};
use tests::miner::{ChannelConfig, End, Miner, MinerConfig, MinerError, PoolAddress, Profile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(20);
const VERSION: u32 = 0x2000_0000;
const NBITS: u32 = 0x207f_ffff;
/// One hash in 16 meets it.
const TARGET: U256 = target(0x0f);

const fn target(most_significant: u8) -> U256 {
    let mut bytes = [0xff; 32];
    bytes[31] = most_significant;
    U256(bytes)
}

fn unix_now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32
}

/// A listening server that does nothing by itself.
struct Listener {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    authority: AuthorityPublicKey,
}

impl Listener {
    async fn new() -> Self {
        let authority = AuthoritySecretKey::generate();
        let config = ServerConfig {
            identity: ServerIdentity::new(&authority, unix_now() - 60, unix_now() + 3600),
            supported_flags: REQUIRES_STANDARD_JOBS,
            success_flags: 0,
            supported_extensions: vec![WORKER_SPECIFIC_HASHRATE_TRACKING],
            required_extensions: vec![],
            limits: Limits::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, config: Arc::new(config), authority: authority.public_key() }
    }

    fn miner(&self) -> MinerConfig {
        let address = format!("stratum2+tcp://{}/{}", self.listener.local_addr().unwrap(), self.authority);
        MinerConfig::new(address.parse::<PoolAddress>().unwrap())
    }

    /// A miner and the server's end of its connection, both set up.
    async fn connect(&self, miner: MinerConfig) -> (Miner, Peer) {
        let (miner, peer) = tokio::join!(Miner::connect(miner), async {
            let mut peer = self.accept().await;
            let event = peer.event().await;
            assert!(matches!(event, Some(ServerEvent::Connected { .. })), "{event:?}");
            peer
        });
        (miner.unwrap(), peer)
    }

    async fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.unwrap();
        Peer { stream, connection: ServerConnection::new(self.config.clone(), Instant::now()) }
    }
}

/// The server's end of one connection.
struct Peer {
    stream: TcpStream,
    connection: ServerConnection,
}

impl Peer {
    /// The next event; nothing at the end of the stream.
    async fn event(&mut self) -> Option<ServerEvent> {
        loop {
            let event = self.connection.poll(Instant::now()).unwrap();
            self.flush().await;
            if event.is_some() {
                return event;
            }
            if self.read().await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// Reads what there is; 0 at the end of the stream.
    async fn read(&mut self) -> std::io::Result<usize> {
        let mut buffer = [0; 4096];
        let read = self.stream.read(&mut buffer);
        let len = tokio::time::timeout(PATIENCE, read).await.expect("the miner says something")?;
        self.connection.receive(&buffer[..len]);
        Ok(len)
    }

    /// Reads until the connection ends with an error, and writes what it has to say about that.
    async fn error(&mut self) -> ConnectionError {
        loop {
            let event = self.connection.poll(Instant::now());
            self.flush().await;
            match event {
                Ok(None) => assert_ne!(self.read().await.unwrap(), 0, "the end in place of an error"),
                Ok(Some(event)) => panic!("{event:?} in place of an error"),
                Err(error) => return error,
            }
        }
    }

    async fn message(&mut self) -> ClientMessage {
        match self.event().await {
            Some(ServerEvent::Message(message)) => message,
            other => panic!("{other:?} instead of a message"),
        }
    }

    async fn send(&mut self, message: &impl Message) {
        self.connection.send(message);
        self.flush().await;
    }

    async fn flush(&mut self) {
        while !self.connection.output().is_empty() {
            let len = self.stream.write(self.connection.output()).await.unwrap();
            self.connection.consume_output(len);
        }
    }

    /// Grants the open that comes next: standard channels a prefix of four bytes, extended ones one of two.
    async fn grant(&mut self, channel_id: u32) {
        match self.message().await {
            ClientMessage::OpenStandardMiningChannel(open) => {
                let extranonce_prefix = B0_32::new(&[channel_id as u8; 4]).unwrap();
                self.send(&OpenStandardMiningChannelSuccess {
                    request_id: open.request_id,
                    channel_id,
                    target: TARGET,
                    extranonce_prefix,
                    group_channel_id: 1,
                })
                .await;
            }
            ClientMessage::OpenExtendedMiningChannel(open) => {
                let extranonce_prefix = B0_32::new(&[channel_id as u8; 2]).unwrap();
                self.send(&OpenExtendedMiningChannelSuccess {
                    request_id: open.request_id,
                    channel_id,
                    target: TARGET,
                    extranonce_size: 2,
                    extranonce_prefix,
                    group_channel_id: 1,
                })
                .await;
            }
            other => panic!("{other:?} instead of an open"),
        }
    }

    async fn standard_share(&mut self) -> SubmitSharesStandard {
        match self.message().await {
            ClientMessage::SubmitSharesStandard(share) => share,
            other => panic!("{other:?} instead of a standard share"),
        }
    }

    async fn acknowledge(&mut self, channel_id: u32, last_sequence_number: u32, count: u32) {
        self.send(&SubmitSharesSuccess {
            channel_id,
            last_sequence_number,
            new_submits_accepted_count: count,
            new_shares_sum: u64::from(count),
        })
        .await;
    }
}

async fn open(miner: &Miner, peer: &mut Peer, config: ChannelConfig, channel_id: u32) {
    let (opened, ()) = tokio::join!(miner.open(config), peer.grant(channel_id));
    assert_eq!(opened.unwrap().channel_id, channel_id);
}

fn job(channel_id: u32, job_id: u32, min_ntime: Option<u32>) -> NewMiningJob {
    NewMiningJob { channel_id, job_id, min_ntime, version: VERSION, merkle_root: U256([job_id as u8; 32]) }
}

fn tip(channel_id: u32, job_id: u32, prev_hash: u8, min_ntime: u32) -> SetNewPrevHash {
    SetNewPrevHash { channel_id, job_id, prev_hash: U256([prev_hash; 32]), min_ntime, nbits: NBITS }
}

fn extended_job(channel_id: u32, job_id: u32) -> NewExtendedMiningJob {
    // Four bytes of script, then the extranonce of four bytes.
    let prefix = "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff0803510101";
    let suffix = "ffffffff0100f2052a01000000015100000000";
    NewExtendedMiningJob {
        channel_id,
        job_id,
        min_ntime: None,
        version: VERSION,
        version_rolling_allowed: true,
        merkle_path: Seq0_255::new(vec![U256([5; 32]), U256([6; 32])]).unwrap(),
        coinbase_tx_prefix: B0_64K::new(hex::decode(prefix).unwrap()).unwrap(),
        coinbase_tx_suffix: B0_64K::new(hex::decode(suffix).unwrap()).unwrap(),
    }
}

fn hash(share: &SubmitSharesStandard, prev_hash: u8, merkle_root: [u8; 32]) -> BlockHash {
    let header = block::Header {
        version: block::Version::from_consensus(share.version as i32),
        prev_blockhash: BlockHash::from_byte_array([prev_hash; 32]),
        merkle_root: TxMerkleNode::from_byte_array(merkle_root),
        time: share.ntime,
        bits: CompactTarget::from_consensus(NBITS),
        nonce: share.nonce,
    };
    header.block_hash()
}

fn meets(hash: BlockHash, target: U256) -> bool {
    Target::from_le_bytes(target.0).is_met_by(hash)
}

/// The root of an extended job's tree, by rust-bitcoin.
fn root(job: &NewExtendedMiningJob, extranonce: &[u8]) -> [u8; 32] {
    let coinbase = [job.coinbase_tx_prefix.as_slice(), extranonce, job.coinbase_tx_suffix.as_slice()].concat();
    let coinbase: bitcoin::Transaction = bitcoin::consensus::deserialize(&coinbase).unwrap();
    job.merkle_path.as_slice().iter().fold(coinbase.compute_txid().to_byte_array(), |root, step| {
        sha256d::Hash::hash(&[root, step.0].concat()).to_byte_array()
    })
}

#[tokio::test]
async fn standard_channel_submits_valid_shares_up_to_its_limit() {
    let listener = Listener::new().await;
    let (miner, mut peer) = listener.connect(listener.miner().flags(REQUIRES_STANDARD_JOBS)).await;
    open(&miner, &mut peer, ChannelConfig::standard("miner").max_shares(5), 2).await;
    let ntime = unix_now();
    peer.send(&job(2, 7, None)).await;
    peer.send(&tip(2, 7, 0xaa, ntime)).await;

    let mut hashes = BTreeSet::new();
    for sequence_number in 1..=5 {
        let share = peer.standard_share().await;
        assert_eq!((share.channel_id, share.sequence_number, share.job_id), (2, sequence_number, 7));
        assert!(share.ntime >= ntime);
        let hash = hash(&share, 0xaa, [7; 32]);
        assert!(meets(hash, TARGET), "{hash}");
        assert!(hashes.insert(hash), "the same share twice");
    }
    peer.send(&SubmitSharesError {
        channel_id: 2,
        sequence_number: 2,
        error_code: Str0_255::from_static("duplicate-share"),
    })
    .await;
    peer.acknowledge(2, 4, 3).await;
    peer.acknowledge(2, 5, 1).await;

    miner.wait_for_accepted(4, PATIENCE).await.unwrap();
    miner.wait_for_answers(PATIENCE).await.unwrap();
    assert_eq!(miner.wait_for_rejected(1, PATIENCE).await.unwrap(), "duplicate-share");
    assert_eq!(miner.acknowledged(), [(2, 1), (2, 3), (2, 4), (2, 5)].into());
    let record = miner.record();
    assert_eq!(record.faults, []);
    assert_eq!(record.submitted.len(), 5);
    for submission in &record.submitted {
        let found = BlockHash::from_byte_array(submission.hash.unwrap().0);
        assert!(hashes.contains(&found));
        assert_eq!(submission.is_block, meets(found, target(0x7f)));
    }
}

#[tokio::test]
async fn two_channels_of_a_group_work_on_one_job() {
    let listener = Listener::new().await;
    let (miner, mut peer) = listener.connect(listener.miner()).await;
    let config = ChannelConfig::extended("miner", 2).max_shares(3);
    open(&miner, &mut peer, ChannelConfig { nonces_per_roll: 1, version_rolling: false, ..config }, 2).await;
    open(&miner, &mut peer, ChannelConfig::standard("miner").max_shares(3), 3).await;
    let job = extended_job(1, 9);
    peer.send(&job).await;
    peer.send(&tip(1, 9, 0xaa, unix_now())).await;

    let (mut standard, mut extended) = (0, BTreeSet::new());
    while standard < 3 || extended.len() < 3 {
        match peer.message().await {
            ClientMessage::SubmitSharesStandard(share) => {
                assert!(meets(hash(&share, 0xaa, root(&job, &[3; 4])), TARGET));
                standard += 1;
            }
            ClientMessage::SubmitSharesExtended(share, Ok(None)) => {
                let SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce } =
                    share;
                // With one nonce a roll and a fixed version, every hash has an extranonce of its own.
                assert_eq!((extranonce.as_slice().len(), nonce, version), (2, 0, VERSION));
                assert!(extended.insert(extranonce.as_slice().to_vec()));
                let share = SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version };
                let whole = [&[2; 2], extranonce.as_slice()].concat();
                assert!(meets(hash(&share, 0xaa, root(&job, &whole)), TARGET));
            }
            other => panic!("{other:?} instead of a share"),
        }
    }
    assert_eq!(miner.read(|record| record.faults.clone()), []);
}

#[tokio::test]
async fn new_tip_and_new_target_are_followed() {
    let listener = Listener::new().await;
    let (miner, mut peer) = listener.connect(listener.miner()).await;
    open(&miner, &mut peer, ChannelConfig::standard("miner").hash_rate(2_000.0), 2).await;
    peer.send(&job(2, 1, None)).await;
    peer.send(&tip(2, 1, 0xaa, unix_now())).await;
    assert!(meets(hash(&peer.standard_share().await, 0xaa, [1; 32]), TARGET));

    peer.send(&SetTarget { channel_id: 2, maximum_target: target(0x03) }).await;
    peer.send(&job(2, 2, None)).await;
    peer.send(&tip(2, 2, 0xbb, unix_now())).await;
    // Shares of the old tip may be on their way; after the first of the new one there are no more of them.
    let mut share = peer.standard_share().await;
    while share.job_id == 1 {
        share = peer.standard_share().await;
    }
    for _ in 0..3 {
        assert_eq!(share.job_id, 2);
        assert!(meets(hash(&share, 0xbb, [2; 32]), target(0x03)));
        share = peer.standard_share().await;
    }
    miner.limit_hash_rate(2, Some(0.0)).await.unwrap();
    let faults = miner.read(|record| record.faults.clone());
    assert_eq!(faults, []);
}

#[tokio::test]
async fn server_that_breaks_rules_is_noticed() {
    let listener = Listener::new().await;
    let (miner, mut peer) = listener.connect(listener.miner().flags(REQUIRES_STANDARD_JOBS)).await;
    open(&miner, &mut peer, ChannelConfig { max_target: TARGET, ..ChannelConfig::standard("miner") }, 2).await;
    peer.send(&job(2, 1, Some(unix_now()))).await;
    peer.send(&job(5, 1, None)).await;
    peer.send(&extended_job(1, 2)).await;
    peer.send(&SetTarget { channel_id: 2, maximum_target: target(0x7f) }).await;
    peer.acknowledge(2, 1, 1).await;
    let expected = ["before the first", "not open", "only standard", "easier", "1 shares acknowledged"];
    let faults = miner
        .wait_for(PATIENCE, "faults", |record| (record.faults.len() >= expected.len()).then(|| record.faults.clone()))
        .await
        .unwrap();
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.what.contains(expected), "{fault}");
    }
}

#[tokio::test]
async fn refusals_are_told_to_the_caller() {
    let listener = Listener::new().await;
    let (refused, ()) = tokio::join!(Miner::connect(listener.miner().flags(1 << 1)), async {
        let mut peer = listener.accept().await;
        assert_eq!(peer.error().await, ConnectionError::SetupRefused { code: "unsupported-feature-flags" });
    });
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, MinerError::SetupRefused { error_code, flags: 2 } if error_code == "unsupported-feature-flags"),
        "{refused}"
    );

    let (miner, mut peer) = listener.connect(listener.miner()).await;
    let (refused, ()) = tokio::join!(miner.open(ChannelConfig::standard("nobody")), async {
        let ClientMessage::OpenStandardMiningChannel(open) = peer.message().await else { panic!("no open") };
        let error_code = Str0_255::from_static("unknown-user");
        peer.send(&OpenMiningChannelError { request_id: open.request_id, error_code }).await;
    });
    assert!(matches!(refused.unwrap_err(), MinerError::OpenRefused(code) if code == "unknown-user"));
}

#[tokio::test]
async fn server_with_another_key_is_not_believed() {
    let listener = Listener::new().await;
    let mut config = listener.miner();
    config.pool.authority = Some(AuthoritySecretKey::generate().public_key());
    let (refused, peer) = tokio::join!(Miner::connect(config), async {
        let mut peer = listener.accept().await;
        peer.event().await
    });
    assert!(matches!(refused.unwrap_err(), MinerError::Protocol(_)));
    assert_eq!(peer, None);
}

#[tokio::test]
async fn worker_is_named_on_each_share_once_the_extension_is_negotiated() {
    let listener = Listener::new().await;
    let mut config = listener.miner();
    config.extensions = vec![WORKER_SPECIFIC_HASHRATE_TRACKING];
    let (miner, mut peer) = tokio::join!(Miner::connect(config), async {
        let mut peer = listener.accept().await;
        peer.event().await.unwrap();
        assert!(matches!(peer.event().await, Some(ServerEvent::ExtensionsNegotiated(_))));
        peer
    });
    let (miner, worker) = (miner.unwrap(), WorkerIdentity::new("rig-7").unwrap());
    let channel = ChannelConfig { worker: Some(worker), ..ChannelConfig::extended("miner", 2).max_shares(1) };
    open(&miner, &mut peer, channel, 2).await;
    peer.send(&extended_job(2, 1)).await;
    peer.send(&tip(2, 1, 0xaa, unix_now())).await;
    let share = peer.message().await;
    assert!(matches!(share, ClientMessage::SubmitSharesExtended(_, Ok(Some(named))) if named == worker), "{share:?}");
}

#[tokio::test]
async fn share_of_the_callers_own_making_goes_out_as_it_is() {
    let listener = Listener::new().await;
    let (miner, mut peer) = listener.connect(listener.miner()).await;
    open(&miner, &mut peer, ChannelConfig::standard("miner").max_shares(1), 2).await;
    peer.send(&job(2, 1, None)).await;
    peer.send(&tip(2, 1, 0xaa, unix_now())).await;
    let share = peer.standard_share().await;

    let mut again = miner.record().submitted[0].clone();
    again.sequence_number = miner.next_sequence_number(2).await.unwrap();
    miner.submit(again).await.unwrap();
    assert_eq!(peer.standard_share().await, SubmitSharesStandard { sequence_number: 2, ..share });
    assert_eq!(miner.read(|record| record.unanswered()), [(2, 1), (2, 2)].into());

    miner.send(CloseChannel { channel_id: 77, reason_code: Str0_255::from_static("why not") }).await.unwrap();
    assert!(matches!(peer.message().await, ClientMessage::CloseChannel(close) if close.channel_id == 77));
    miner.send_unsealed([0; 64]).await.unwrap();
    assert!(matches!(peer.error().await, ConnectionError::Noise(_)));
}

#[tokio::test]
async fn translator_holds_its_updates_back_until_the_one_before_is_answered() {
    let listener = Listener::new().await;
    let address = listener.miner().pool;
    let profile = Profile { flags: 0, ..Profile::translator() };
    let (miner, mut peer) = listener.connect(MinerConfig::device(&profile, address)).await;
    let channel = ChannelConfig::extended("proxy", 2);
    open(&miner, &mut peer, channel, 2).await;
    for hash_rate in [1e12, 2e12, 3e12] {
        miner.update_channel(2, hash_rate, U256::MAX).await.unwrap();
    }
    // What comes through the connection after the updates shows that they were dealt with.
    miner.send(CloseChannel { channel_id: 77, reason_code: Str0_255::from_static("a mark") }).await.unwrap();
    let update = |hash_rate| {
        ClientMessage::UpdateChannel(UpdateChannel {
            channel_id: 2,
            nominal_hash_rate: hash_rate,
            maximum_target: U256::MAX,
        })
    };
    assert_eq!(peer.message().await, update(1e12));
    assert!(matches!(peer.message().await, ClientMessage::CloseChannel(_)));
    peer.send(&SetTarget { channel_id: 2, maximum_target: TARGET }).await;
    assert_eq!(peer.message().await, update(3e12));
    // Once all is answered, the next goes out at once.
    peer.send(&SetTarget { channel_id: 2, maximum_target: TARGET }).await;
    miner.wait_for(PATIENCE, "the answer", |record| (record.received.len() >= 3).then_some(())).await.unwrap();
    miner.update_channel(2, 4e12, U256::MAX).await.unwrap();
    assert_eq!(peer.message().await, update(4e12));
}

#[tokio::test]
async fn polite_end_closes_the_channels_and_then_the_stream() {
    let listener = Listener::new().await;
    let (miner, mut peer) = listener.connect(listener.miner()).await;
    open(&miner, &mut peer, ChannelConfig::standard("miner"), 2).await;
    let (record, ()) = tokio::join!(miner.close(), async {
        assert!(matches!(peer.message().await, ClientMessage::CloseChannel(close) if close.channel_id == 2));
        assert_eq!(peer.event().await, None);
        drop(peer);
    });
    assert_eq!(record.end, Some(End::ByMiner));
}

#[tokio::test]
async fn reset_and_drop_end_without_a_word() {
    let listener = Listener::new().await;
    for reset in [true, false] {
        let (miner, mut peer) = listener.connect(listener.miner()).await;
        open(&miner, &mut peer, ChannelConfig::standard("miner"), 2).await;
        if reset {
            assert_eq!(miner.reset().await.end, Some(End::ByMiner));
        } else {
            drop(miner);
        }
        match peer.read().await {
            Err(error) => assert_eq!((error.kind(), reset), (ErrorKind::ConnectionReset, true)),
            Ok(len) => assert_eq!((len, reset), (0, false)),
        }
    }
}

#[tokio::test]
async fn end_by_the_pool_is_seen() {
    let listener = Listener::new().await;
    let (miner, peer) = listener.connect(listener.miner()).await;
    drop(peer);
    assert_eq!(miner.wait_for_end(PATIENCE).await.unwrap(), End::ByPool);
    let refused = miner.open(ChannelConfig::standard("miner")).await.unwrap_err();
    assert!(matches!(refused, MinerError::Ended(Some(End::ByPool))), "{refused}");
}
