//! What shares and jobs cost without sockets and disks: from the bytes of a submission to the judgement, from a job to
//! the bytes for a miner, from a template to a job.
//!
//! Beside each figure stands a floor: the hashes and the encryption alone that no pool can do without.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use bitcoin::{Amount, BlockHash, CompactTarget, ScriptBuf, Target, TxMerkleNode, Txid, hashes::Hash};
use criterion::{Criterion, criterion_group, criterion_main};
use pool::{
    mining::{
        coinbase::{Coinbase, PoolTag},
        difficulty::Difficulty,
        extranonce::{ExtranonceSpace, FULL_EXTRANONCE_SIZE},
        job::{HEADER_SIZE, Job, JobNumber, JobOrigin, SharePosition, sha256d},
        session::{ChannelWish, OpenRequest, Session, SessionKind, SessionPolicy},
        share::Submission,
    },
    template::{Template, TemplateTransaction, merkle::coinbase_path},
};
use protocol::{
    codec::{B0_32, Str0_255, U256},
    connection::{ClientConfig, ClientConnection, ClientEvent, Limits, ServerConfig, ServerConnection, ServerEvent},
    framing::{HEADER_LEN, MAC_LEN, encrypted_payload_len},
    messages::{
        common::{PROTOCOL_VERSION, Protocol, SetupConnection},
        mining::{
            ClientMessage, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, SubmitSharesExtended, SubmitSharesStandard,
        },
    },
    noise::{AuthoritySecretKey, ServerIdentity},
};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sha2::{Digest, Sha256};

/// Frames that are made before the clock runs: one client sends them, and the server must take them in their order.
const FRAMES_AT_A_TIME: u64 = 1_024;
/// Shares after which a channel gets the next job: as many as a busy proxy hands in for one.
const SHARES_PER_JOB: u64 = 16 * FRAMES_AT_A_TIME;
/// Transactions of a template that fills a block: 4 million weight units.
const TRANSACTIONS: u32 = 5_000;
/// Bytes of each of them, all of which count four times.
const TRANSACTION_SIZE: usize = 200;
/// Merkle steps of a block with some thousand transactions.
const MERKLE_STEPS: usize = 12;
/// What an extended channel rolls, in bytes.
const EXTRANONCE_SIZE: usize = 4;
const FIRST_TIME: u32 = 1_700_000_000;
/// About the network of 2026: nothing here is a block.
const NBITS: u32 = 0x1702_1369;
/// The first channel of a connection.
const CHANNEL: u32 = 2;

fn transactions(count: u32) -> Vec<TemplateTransaction> {
    let transaction = |number: u32| TemplateTransaction {
        data: vec![number as u8; TRANSACTION_SIZE],
        txid: Txid::from_byte_array(sha256d(&number.to_le_bytes())),
        weight: 4 * TRANSACTION_SIZE as u64,
        sigops: 1,
        fee: Amount::from_sat(1_000),
    };
    (0..count).map(transaction).collect()
}

fn template(transactions: Vec<TemplateTransaction>, merkle_path: Vec<TxMerkleNode>) -> Arc<Template> {
    let nbits = CompactTarget::from_consensus(NBITS);
    Arc::new(Template {
        height: 900_000,
        prev_hash: BlockHash::from_byte_array([1; 32]),
        version: 0x2000_0000,
        nbits,
        target: Target::from_compact(nbits),
        curtime: FIRST_TIME,
        min_time: FIRST_TIME - 600,
        coinbase_value: Amount::from_sat(317_500_000),
        witness_commitment: ScriptBuf::from_bytes([&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &[1; 32]].concat()),
        transactions,
        merkle_path,
    })
}

fn coinbase(template: &Template, number: u32) -> Coinbase {
    let script = ScriptBuf::from_bytes([&[0, 20][..], &[2; 20]].concat());
    let tag = PoolTag::new("/Adit/").expect("it is short");
    Coinbase::new(template.height, template.coinbase_value, &script, &template.witness_commitment, &tag, number)
}

fn job(template: &Arc<Template>, number: u32) -> Arc<Job> {
    let origin = JobOrigin {
        number: JobNumber(number.into()),
        share_position: SharePosition(1),
        made_at: Instant::now(),
        made_at_ms: i64::from(FIRST_TIME) * 1_000,
    };
    Arc::new(Job::new(Arc::clone(template), coinbase(template, number), origin))
}

/// A miner with one channel and its connection, from both ends.
struct Miner {
    client: ClientConnection,
    server: ServerConnection,
    session: Session,
    template: Arc<Template>,
    jobs: u32,
    shares: u64,
}

impl Miner {
    fn new(wish: ChannelWish) -> Self {
        let (client, server) = connected();
        let policy = SessionPolicy {
            // So many that the difficulty stays where it is, at which nearly every hash is a share.
            shares_per_minute: 1e12,
            initial_difficulty: Difficulty::MIN,
            min_difficulty: Difficulty::MIN,
            max_channels: 1,
            max_shares_per_job: usize::MAX,
            harder_than_network: true,
        };
        let kind = if wish == ChannelWish::Standard { SessionKind::StandardJobs } else { SessionKind::Any };
        let session = Session::new(Arc::new(policy), Arc::new(ExtranonceSpace::new(1, 1, 1)), kind);
        let path = (0..MERKLE_STEPS as u8).map(|step| TxMerkleNode::from_byte_array([step; 32])).collect();
        let template = template(transactions(2), path);
        let mut miner = Self { client, server, session, template, jobs: 0, shares: 0 };
        let (max_target, least_difficulty) = (U256::MAX, None);
        let request = OpenRequest { request_id: 1, wish, nominal_hash_rate: 0.0, max_target, least_difficulty };
        let job = miner.next_job();
        miner.session.open(request, &job, Instant::now(), &mut miner.server).expect("the channel is the first");
        miner.discard();
        miner
    }

    fn next_job(&mut self) -> Arc<Job> {
        self.jobs += 1;
        job(&self.template, self.jobs)
    }

    fn discard(&mut self) -> usize {
        let len = self.server.output().len();
        self.server.consume_output(len);
        len
    }

    /// Makes the frames with the miner's next shares, for a new job if it has enough for the last one.
    fn frames(&mut self, count: u64, send: impl Fn(&mut ClientConnection, SubmitSharesStandard)) -> Vec<Vec<u8>> {
        if self.shares / SHARES_PER_JOB != (self.shares + count) / SHARES_PER_JOB {
            let job = self.next_job();
            self.session.new_job(&job, Instant::now(), &mut self.server);
            self.discard();
        }
        let first = self.shares;
        self.shares += count;
        (first..self.shares)
            .map(|number| {
                let (sequence_number, nonce) = (number as u32, number as u32);
                let share = SubmitSharesStandard {
                    channel_id: CHANNEL,
                    sequence_number,
                    // One id is taken for each job.
                    job_id: self.jobs,
                    nonce,
                    ntime: FIRST_TIME,
                    version: 0x2000_0000,
                };
                send(&mut self.client, share);
                take(&mut self.client)
            })
            .collect()
    }

    /// Takes one share from its bytes to the judgement. Tells whether it was right.
    fn take_in(&mut self, frame: &[u8], now: Instant) -> bool {
        self.server.receive(frame);
        let event = self.server.poll(now).expect("the frame is the next");
        let Some(ServerEvent::Message(message)) = event else { panic!("no message") };
        let judged = match &message {
            ClientMessage::SubmitSharesStandard(share) => {
                self.session.submit(share.channel_id, &Submission::from(share), now, &mut self.server)
            }
            ClientMessage::SubmitSharesExtended(share, _) => {
                self.session.submit(share.channel_id, &Submission::from(share), now, &mut self.server)
            }
            other => panic!("no share: {other:?}"),
        };
        assert!(self.server.poll(now).expect("it was the last").is_none());
        black_box(judged).is_ok()
    }
}

/// Both ends of a connection that is set up.
fn connected() -> (ClientConnection, ServerConnection) {
    let now = Instant::now();
    let config = ServerConfig {
        identity: ServerIdentity::new(&AuthoritySecretKey::generate(), 0, u32::MAX),
        supported_flags: REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING,
        success_flags: 0,
        supported_extensions: Vec::new(),
        required_extensions: Vec::new(),
        limits: Limits::default(),
    };
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
    let client_config = ClientConfig { authority: None, setup, extensions: Vec::new(), limits: Limits::default() };
    let mut client = ClientConnection::new(client_config, now);
    let mut server = ServerConnection::new(Arc::new(config), now);
    loop {
        server.receive(&take(&mut client));
        while server.poll(now).expect("the client keeps to the protocol").is_some() {}
        client.receive(server.output());
        server.consume_output(server.output().len());
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

fn share(c: &mut Criterion, id: &str, wish: ChannelWish, send: impl Fn(&mut ClientConnection, SubmitSharesStandard)) {
    let mut miner = Miner::new(wish);
    let (mut taken, mut right) = (0, 0);
    c.bench_function(id, |b| {
        b.iter_custom(|iterations| {
            in_portions(iterations, |count| {
                let frames = miner.frames(count, &send);
                let (now, begun) = (Instant::now(), Instant::now());
                right += frames.iter().filter(|frame| miner.take_in(frame, now)).count();
                let elapsed = begun.elapsed();
                taken += frames.len();
                miner.discard();
                elapsed
            })
        });
    });
    // One hash in 65,536 is above every target. A benchmark of refusals would say nothing.
    assert!(right * 1_000 >= taken * 999, "{right} of {taken} shares were right");
}

fn standard_share(c: &mut Criterion) {
    share(c, "share/standard", ChannelWish::Standard, |client, share| client.send(&share));
    let (mut cipher, header) = (Cipher::new(), [7; HEADER_SIZE]);
    c.bench_function("share/standard/floor", |b| {
        b.iter_custom(|iterations| {
            in_portions(iterations, |count| {
                cipher.time_opened(count, [HEADER_LEN, 24], || {
                    black_box(sha256d(black_box(&header)));
                })
            })
        });
    });
}

fn extended_share(c: &mut Criterion) {
    let extranonce = B0_32::new(&[9; EXTRANONCE_SIZE]).expect("it is short");
    share(c, "share/extended", ChannelWish::Extended(EXTRANONCE_SIZE as u16), |client, share| {
        let SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version } = share;
        client.send(&SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce });
    });
    let (mut cipher, root, header) = (Cipher::new(), RootFloor::new(), [7; HEADER_SIZE]);
    c.bench_function("share/extended/floor", |b| {
        b.iter_custom(|iterations| {
            in_portions(iterations, |count| {
                cipher.time_opened(count, [HEADER_LEN, 24 + 1 + EXTRANONCE_SIZE], || {
                    black_box((root.compute(), sha256d(black_box(&header))));
                })
            })
        });
    });
}

/// The hashes between a channel's extranonce and the merkle root, and nothing else.
struct RootFloor {
    coinbase: Coinbase,
    start: Sha256,
}

impl RootFloor {
    fn new() -> Self {
        let coinbase = coinbase(&template(Vec::new(), Vec::new()), 1);
        let start = Sha256::new().chain_update(coinbase.prefix());
        Self { coinbase, start }
    }

    fn compute(&self) -> [u8; 32] {
        let extranonce = black_box([9; FULL_EXTRANONCE_SIZE]);
        let whole = self.start.clone().chain_update(extranonce).chain_update(self.coinbase.suffix());
        let txid: [u8; 32] = Sha256::digest(whole.finalize()).into();
        (0..MERKLE_STEPS).fold(txid, |node, _| {
            let mut pair = [8; 64];
            pair[..32].copy_from_slice(&node);
            sha256d(&pair)
        })
    }
}

/// What it takes to tell one miner of a job on the same tip. A standard channel's has its merkle root.
fn seal_job(c: &mut Criterion) {
    for (id, wish) in [
        ("seal/standard-job", ChannelWish::Standard),
        ("seal/extended-job", ChannelWish::Extended(EXTRANONCE_SIZE as u16)),
    ] {
        let mut miner = Miner::new(wish);
        let mut frame_len = 0;
        c.bench_function(id, |b| {
            b.iter_custom(|iterations| {
                in_portions(iterations, |count| {
                    let jobs: Vec<_> = (0..count).map(|_| miner.next_job()).collect();
                    let (now, begun) = (Instant::now(), Instant::now());
                    for job in &jobs {
                        miner.session.new_job(job, now, &mut miner.server);
                        frame_len = black_box(miner.server.output()).len();
                        miner.discard();
                    }
                    begun.elapsed()
                })
            });
        });
        let payload_len = frame_len - (HEADER_LEN + MAC_LEN) - MAC_LEN;
        assert_eq!(encrypted_payload_len(payload_len), payload_len + MAC_LEN, "a job fits into one block");
        let (mut cipher, mut header, mut payload) = (Cipher::new(), [0; HEADER_LEN], vec![0; payload_len]);
        let root = RootFloor::new();
        c.bench_function(&format!("{id}/floor"), |b| {
            b.iter(|| {
                if wish == ChannelWish::Standard {
                    black_box(root.compute());
                }
                black_box((cipher.seal(&mut header), cipher.seal(&mut payload)))
            });
        });
    }
}

/// What it takes to make a job of a whole block's template: the merkle path, the coinbase and the sum of the fees.
fn build_job(c: &mut Criterion) {
    let template = template(transactions(TRANSACTIONS), Vec::new());
    c.bench_function("build/job", |b| {
        b.iter(|| {
            let txids: Vec<Txid> = template.transactions.iter().map(|transaction| transaction.txid).collect();
            black_box((coinbase_path(&txids), job(&template, 1)))
        });
    });
    // The nodes above the transactions but for those on the coinbase's own branch: what the path is made of.
    let pairs = TRANSACTIONS - MERKLE_STEPS as u32;
    c.bench_function("build/job/floor", |b| {
        let pair = [7; 64];
        b.iter(|| {
            for _ in 0..pairs {
                black_box(sha256d(black_box(&pair)));
            }
        });
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

    /// Measures how long it takes to open pairs of blocks and do what is to be `done` with each.
    fn time_opened(&mut self, count: u64, lens: [usize; 2], done: impl Fn()) -> Duration {
        let first = self.nonce;
        let mut blocks: Vec<[Vec<u8>; 2]> = (0..count)
            .map(|_| {
                lens.map(|len| {
                    let mut block = vec![9; len];
                    let mac = self.seal(&mut block);
                    block.extend_from_slice(&mac);
                    block
                })
            })
            .collect();
        self.nonce = first;
        let begun = Instant::now();
        for pair in &mut blocks {
            for block in pair {
                let nonce = self.next_nonce();
                black_box(self.key.open_in_place(nonce, Aad::empty(), block).expect("it was sealed with this nonce"));
            }
            done();
        }
        begun.elapsed()
    }
}

criterion_group!(benches, standard_share, extended_share, seal_job, build_job);
criterion_main!(benches);
