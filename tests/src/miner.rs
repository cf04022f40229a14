//! A Stratum V2 miner on the CPU: it connects, opens channels, hashes what it is told to, and keeps a record of
//! all that happens.
//!
//! It is a client like those in the field, only more attentive: it notes every rule that the server breaks
//! ([`Record::faults`]). It owns no policy of a pool, and it can also misbehave on request ([`Miner::send`],
//! [`Miner::submit`], [`Miner::reset`]).
//!
//! It follows the specification, or plays a device of the field with its demands and weaknesses ([`Profile`]): then it
//! fails as that device does ([`DeviceFailure`]).
//!
//! One task owns the connection (`session`), one thread hashes for all of its channels (`search`), and the rules
//! for frames and jobs are pure (`device`, `channels`, `channel`).

mod address;
mod channel;
mod channels;
mod device;
mod header;
mod profile;
mod record;
mod search;
mod session;

use std::sync::Arc;
use std::time::Duration;

use protocol::codec::{B0_32, U256};
use protocol::connection::ClientConnection;
use protocol::messages::Message;
use protocol::messages::extensions::WorkerIdentity;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use self::address::PoolAddress;
pub use self::device::DeviceFailure;
pub use self::header::{Header, Midstate, double_sha256, meets_target, merkle_root};
pub use self::profile::{FixedVersion, LostTip, Profile, Rules};
pub use self::record::{End, Fault, Record, Rejection, Submission};

use self::record::Log;
use self::session::Command;

/// Commands that wait for the connection's task.
const COMMAND_CAPACITY: usize = 64;
/// How long the server may take to answer a connection, a setup or an open.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How a miner connects and what it says of itself.
#[derive(Clone, Debug)]
pub struct MinerConfig {
    /// Where to.
    pub pool: PoolAddress,
    /// Flags of `SetupConnection` (SV2 5.3.1), such as `REQUIRES_STANDARD_JOBS`.
    pub flags: u32,
    /// Extensions to ask for; none are asked for when empty.
    pub extensions: Vec<u16>,
    /// The vendor's name.
    pub vendor: String,
    /// The device.
    pub hardware_version: String,
    /// Its firmware.
    pub firmware: String,
    /// Its serial number.
    pub device_id: String,
    /// What it demands of the pool.
    pub rules: Rules,
}

impl MinerConfig {
    /// A miner without flags and extensions that follows the specification.
    pub fn new(pool: PoolAddress) -> Self {
        Self {
            pool,
            flags: 0,
            extensions: Vec::new(),
            vendor: "adit".into(),
            hardware_version: "cpu".into(),
            firmware: concat!("test-miner ", env!("CARGO_PKG_VERSION")).into(),
            device_id: String::new(),
            rules: Rules::SPECIFICATION,
        }
    }

    /// A device of the field. It opens the channel of [`Profile::channel`].
    pub fn device(profile: &Profile, pool: PoolAddress) -> Self {
        Self {
            flags: profile.flags,
            vendor: profile.vendor.into(),
            hardware_version: profile.hardware_version.into(),
            firmware: profile.firmware.into(),
            rules: profile.rules.clone(),
            ..Self::new(pool)
        }
    }

    /// Sets these flags too.
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.flags |= flags;
        self
    }
}

/// The kind of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// Hashes headers only.
    Standard,
    /// Rolls an extranonce too.
    Extended {
        /// How many bytes of it the miner asks for.
        min_extranonce_size: u16,
    },
}

/// What a channel asks for, and how the miner works on it.
#[derive(Clone, Debug)]
pub struct ChannelConfig {
    /// Standard or extended.
    pub kind: ChannelKind,
    /// Whom to credit, such as `address.worker`.
    pub user_identity: String,
    /// What the miner says of its speed, in hashes a second.
    pub nominal_hash_rate: f32,
    /// The easiest target that the miner takes.
    pub max_target: U256,
    /// How fast it really hashes, in hashes a second; as fast as it can when absent. The first block of regtest
    /// is two hashes away: without a limit, shares come as fast as they can be sent there.
    pub hash_rate_limit: Option<f64>,
    /// After how many shares it stops hashing.
    pub max_shares: Option<u64>,
    /// Whether it rolls version bits (0x1fffe000) where the job allows that.
    pub version_rolling: bool,
    /// After how many nonces it rolls something else; all 2^32 by default, which a CPU never gets through.
    pub nonces_per_roll: u64,
    /// Who found the shares, for extension 0x0002; on extended channels only.
    pub worker: Option<WorkerIdentity>,
}

impl ChannelConfig {
    /// A standard channel without limits.
    pub fn standard(user_identity: impl Into<String>) -> Self {
        Self {
            kind: ChannelKind::Standard,
            user_identity: user_identity.into(),
            nominal_hash_rate: 1_000_000.0,
            max_target: U256::MAX,
            hash_rate_limit: None,
            max_shares: None,
            version_rolling: true,
            nonces_per_roll: 1 << 32,
            worker: None,
        }
    }

    /// An extended channel without limits.
    pub fn extended(user_identity: impl Into<String>, min_extranonce_size: u16) -> Self {
        Self { kind: ChannelKind::Extended { min_extranonce_size }, ..Self::standard(user_identity) }
    }

    /// Limits the speed, and says so to the server.
    #[must_use]
    pub fn hash_rate(mut self, hashes_per_second: f64) -> Self {
        self.nominal_hash_rate = hashes_per_second as f32;
        self.hash_rate_limit = Some(hashes_per_second);
        self
    }

    /// Stops after so many shares.
    #[must_use]
    pub fn max_shares(mut self, shares: u64) -> Self {
        self.max_shares = Some(shares);
        self
    }
}

/// A channel that the server has opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedChannel {
    /// Its id.
    pub channel_id: u32,
    /// The id of its group.
    pub group_channel_id: u32,
    /// The target of its first shares.
    pub target: U256,
    /// What its extranonce begins with.
    pub extranonce_prefix: B0_32,
    /// How many bytes of extranonce follow; nothing for a standard channel.
    pub extranonce_size: Option<u16>,
}

/// Why a miner cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MinerError {
    /// The address of the pool cannot be understood.
    #[error("address {0}")]
    Address(String),

    /// The connection failed.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),

    /// A side broke the protocol, or the handshake failed.
    #[error("protocol: {0}")]
    Protocol(#[from] protocol::connection::ConnectionError),

    /// The server refused the connection's setup.
    #[error("setup refused: {error_code}, flags {flags:#x}")]
    SetupRefused {
        /// The code.
        error_code: String,
        /// The flags that the server does not support.
        flags: u32,
    },

    /// The server knows none of the extensions that were asked for, or demands others.
    #[error("extensions refused: {unsupported:?} unsupported, {required:?} required")]
    ExtensionsRefused {
        /// Those that it does not know.
        unsupported: Vec<u16>,
        /// Those that it demands and was not asked for.
        required: Vec<u16>,
    },

    /// The server refused to open a channel.
    #[error("channel refused: {0}")]
    OpenRefused(String),

    /// The device that the miner plays gives the pool up.
    #[error("the device gives up: {0}")]
    Device(#[from] DeviceFailure),

    /// There is no profile of this name.
    #[error("no device is called {name}; there are {known}")]
    UnknownDevice {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },

    /// Text does not fit the protocol's field.
    #[error(transparent)]
    TooLong(#[from] protocol::codec::TooLong),

    /// The server closed the connection.
    #[error("closed by the pool")]
    Closed,

    /// The connection has ended, so nothing can be sent.
    #[error("the connection has ended: {0:?}")]
    Ended(Option<End>),

    /// What was waited for did not come.
    #[error("waited in vain for {what}: {record}")]
    Waited {
        /// What was waited for.
        what: String,
        /// What came instead.
        record: String,
    },
}

/// A connected miner. Dropping it closes the connection without a word, as when its power fails.
#[derive(Debug)]
pub struct Miner {
    commands: mpsc::Sender<Command>,
    log: Arc<Log>,
    task: JoinHandle<()>,
}

impl Miner {
    /// Connects, and sets the connection and its extensions up. Opens no channel yet.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, fails the handshake, or stays silent.
    pub async fn connect(config: MinerConfig) -> Result<Self, MinerError> {
        let (commands, received) = mpsc::channel(COMMAND_CAPACITY);
        let log = Arc::new(Log::new());
        let (ready, answer) = oneshot::channel();
        let task = tokio::spawn(session::run(config, received, log.clone(), ready));
        let miner = Self { commands, log, task };
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(outcome)) => outcome.map(|()| miner),
            Ok(Err(_)) => Err(miner.ended()),
            Err(_) => Err(MinerError::Waited { what: "setup".into(), record: String::new() }),
        }
    }

    /// Opens a channel and starts to hash as soon as it has a job.
    ///
    /// # Errors
    /// When the server refuses ([`MinerError::OpenRefused`]) or stays silent, or the connection has ended.
    pub async fn open(&self, config: ChannelConfig) -> Result<OpenedChannel, MinerError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Open(Box::new(config), reply)).await?;
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(self.ended()),
            Err(_) => self.log.wait_for(Duration::ZERO, "the channel to open", |_| None).await,
        }
    }

    /// Tells the server of another speed and another easiest target (`UpdateChannel`). Some devices do so only once the
    /// update before is answered ([`Rules::parks_updates`]).
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn update_channel(
        &self,
        channel_id: u32,
        nominal_hash_rate: f32,
        max_target: U256,
    ) -> Result<(), MinerError> {
        self.command(Command::Update { channel_id, nominal_hash_rate, max_target }).await
    }

    /// Hashes at another speed from now on; not at all at 0.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn limit_hash_rate(&self, channel_id: u32, hashes_per_second: Option<f64>) -> Result<(), MinerError> {
        self.command(Command::LimitHashRate { channel_id, hashes_per_second }).await
    }

    /// Submits a share as it is, right or wrong, and records it.
    ///
    /// With an extranonce it goes out as `SubmitSharesExtended`, without one as `SubmitSharesStandard`. To keep the
    /// record's account right, take the number from [`next_sequence_number`](Self::next_sequence_number).
    ///
    /// # Errors
    /// When the extranonce is longer than 32 bytes, or the connection has ended.
    pub async fn submit(&self, submission: Submission) -> Result<(), MinerError> {
        // Checked here, where the caller can still be told.
        B0_32::new(submission.extranonce.as_deref().unwrap_or_default())?;
        self.command(Command::Submit(Box::new(submission))).await
    }

    /// Takes a number that no share of the channel has. For an unknown channel, numbers start as for any other.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn next_sequence_number(&self, channel_id: u32) -> Result<u32, MinerError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::TakeSequenceNumber { channel_id, reply }).await?;
        answer.await.map_err(|_| self.ended())
    }

    /// Sends any message, whether or not it makes sense. It is not recorded.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send<M: Message + Send + 'static>(&self, message: M) -> Result<(), MinerError> {
        let send = move |connection: &mut ClientConnection| connection.send(&message);
        self.command(Command::Send(Box::new(send))).await
    }

    /// Writes bytes to the socket that no key has sealed.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send_unsealed(&self, bytes: impl Into<Vec<u8>>) -> Result<(), MinerError> {
        self.command(Command::Unsealed(bytes.into())).await
    }

    /// Looks at the record.
    pub fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        self.log.read(look)
    }

    /// A copy of the record as it is now.
    pub fn record(&self) -> Record {
        self.log.read(Clone::clone)
    }

    /// The acknowledged shares, by channel and sequence number.
    pub fn acknowledged(&self) -> std::collections::BTreeSet<(u32, u32)> {
        self.read(Record::acknowledged)
    }

    /// Waits until `look` finds something in the record. `what` is for the error's message.
    ///
    /// # Errors
    /// When the time is over or the connection ends before that.
    pub async fn wait_for<T>(
        &self,
        timeout: Duration,
        what: &str,
        look: impl FnMut(&Record) -> Option<T>,
    ) -> Result<T, MinerError> {
        self.log.wait_for(timeout, what, look).await
    }

    /// Waits until so many shares in all are acknowledged.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub async fn wait_for_accepted(&self, count: usize, timeout: Duration) -> Result<(), MinerError> {
        let what = format!("{count} accepted shares");
        self.wait_for(timeout, &what, |record| (record.accepted_count() >= count).then_some(())).await
    }

    /// Waits until so many shares in all are rejected, and returns the last one's error code.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub async fn wait_for_rejected(&self, count: usize, timeout: Duration) -> Result<String, MinerError> {
        let last = |record: &Record| {
            let at = count.checked_sub(1)?;
            record.rejections.get(at).map(|rejection| rejection.error_code.clone())
        };
        self.wait_for(timeout, &format!("{count} rejected shares"), last).await
    }

    /// Waits until so many shares in all are submitted, and each has its answer, whichever: where each share is a block, one may
    /// be stale. Only useful where [`ChannelConfig::max_shares`] is as many.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub async fn wait_for_judged(&self, count: u64, timeout: Duration) -> Result<(), MinerError> {
        let is_done = |record: &Record| record.submitted.len() as u64 == count && record.unanswered().is_empty();
        self.wait_for(timeout, &format!("answers to {count} shares"), |record| is_done(record).then_some(())).await
    }

    /// Waits until every submitted share is answered. Only useful when no more are found: see
    /// [`limit_hash_rate`](Self::limit_hash_rate) and [`ChannelConfig::max_shares`].
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub async fn wait_for_answers(&self, timeout: Duration) -> Result<(), MinerError> {
        self.wait_for(timeout, "answers", |record| record.unanswered().is_empty().then_some(())).await
    }

    /// Waits until the connection has ended, and returns how.
    ///
    /// # Errors
    /// When the time is over before that.
    pub async fn wait_for_end(&self, timeout: Duration) -> Result<End, MinerError> {
        self.wait_for(timeout, "the end", |record| record.end.clone()).await
    }

    /// Closes every channel and then the connection, and returns the record. What was submitted is not waited for.
    pub async fn close(self) -> Record {
        self.finish(Command::Close).await
    }

    /// Resets the connection: the server sees an error in place of an end.
    pub async fn reset(self) -> Record {
        self.finish(Command::Reset).await
    }

    async fn finish(mut self, command: Command) -> Record {
        // Either may fail only because the connection has already ended.
        let _ = self.command(command).await;
        let _ = (&mut self.task).await;
        self.record()
    }

    async fn command(&self, command: Command) -> Result<(), MinerError> {
        self.commands.send(command).await.map_err(|_| self.ended())
    }

    fn ended(&self) -> MinerError {
        MinerError::Ended(self.read(|record| record.end.clone()))
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.task.abort();
    }
}
