//! The task that owns a miner's connection: it carries bytes, commands and finds between the socket, the miner's owner
//! and the search. What they mean for the channels is decided in `channels`.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::codec::{B0_32, Str0_255, U256};
use protocol::connection::{ClientConfig, ClientConnection, ClientEvent};
use protocol::messages::common::{PROTOCOL_VERSION, Protocol, SetupConnection};
use protocol::messages::extensions::WorkerIdentity;
use protocol::messages::mining::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, REQUIRES_STANDARD_JOBS, ServerMessage,
    SubmitSharesExtended, SubmitSharesStandard, UpdateChannel,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::channels::Channels;
use super::device::{Device, DeviceFailure};
use super::record::{End, Fault, Log, Submission};
use super::search::{self, Desk, FOUND_CAPACITY, Found};
use super::{ChannelConfig, ChannelKind, MinerConfig, MinerError, OpenedChannel};

/// Bytes that wait for the socket; above this, no more shares are taken from the search.
const MAX_UNSENT_BYTES: usize = 64 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;
/// How long a polite end may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the owner of a miner asks of its task.
pub(super) enum Command {
    Open(Box<ChannelConfig>, oneshot::Sender<Result<OpenedChannel, MinerError>>),
    Update { channel_id: u32, nominal_hash_rate: f32, max_target: U256 },
    LimitHashRate { channel_id: u32, hashes_per_second: Option<f64> },
    Submit(Box<Submission>),
    TakeSequenceNumber { channel_id: u32, reply: oneshot::Sender<u32> },
    Send(Box<dyn FnOnce(&mut ClientConnection) + Send>),
    Unsealed(Vec<u8>),
    Close,
    Reset,
}

/// What a wait ended with.
enum Wake {
    Readable,
    Writable,
    Deadline,
    Command(Command),
    Found(Found),
}

/// A request to open a channel that the server has not answered yet.
struct Request {
    config: Box<ChannelConfig>,
    reply: oneshot::Sender<Result<OpenedChannel, MinerError>>,
}

/// How far the miner is with leaving.
#[derive(Clone, Copy)]
enum Farewell {
    None,
    /// What is left is written, then the sending side is closed, and the server's answer is waited for.
    Said {
        until: Instant,
        shut_down: bool,
    },
    /// Nothing is written or read any more.
    Reset,
}

struct Session {
    stream: TcpStream,
    connection: ClientConnection,
    config: MinerConfig,
    commands: mpsc::Receiver<Command>,
    found: mpsc::Receiver<Found>,
    log: Arc<Log>,
    /// Told once the connection and its extensions are set up.
    ready: Option<oneshot::Sender<Result<(), MinerError>>>,
    requests: HashMap<u32, Request>,
    next_request_id: u32,
    channels: Channels,
    device: Device,
    /// Bytes that go to the socket as they are.
    unsealed: Vec<u8>,
    farewell: Farewell,
}

/// Connects and serves until the connection ends; the record then says how.
pub(super) async fn run(
    config: MinerConfig,
    commands: mpsc::Receiver<Command>,
    log: Arc<Log>,
    ready: oneshot::Sender<Result<(), MinerError>>,
) {
    let desk = Arc::new(Desk::default());
    // Also when this task is aborted, the thread must end.
    let _guard = EndOfSearch(desk.clone());
    let mut session = match Session::connect(config, commands, desk, log.clone()).await {
        Ok(session) => session,
        Err(error) => {
            log.end(End::Failed(error.to_string()));
            // Whoever connected may have given up.
            let _ = ready.send(Err(error));
            return;
        }
    };
    session.ready = Some(ready);
    let outcome = session.serve().await;
    log.end(match &outcome {
        Ok(end) => end.clone(),
        Err(MinerError::Device(failure)) => End::Device(failure.clone()),
        Err(error) => End::Failed(error.to_string()),
    });
    if let Some(ready) = session.ready.take() {
        let _ = ready.send(Err(outcome.err().unwrap_or(MinerError::Closed)));
    }
}

struct EndOfSearch(Arc<Desk>);

impl Drop for EndOfSearch {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Session {
    async fn connect(
        config: MinerConfig,
        commands: mpsc::Receiver<Command>,
        desk: Arc<Desk>,
        log: Arc<Log>,
    ) -> Result<Self, MinerError> {
        let stream = TcpStream::connect((config.pool.host.as_str(), config.pool.port)).await?;
        stream.set_nodelay(true)?;
        let setup = SetupConnection {
            protocol: Protocol::Mining as u8,
            min_version: PROTOCOL_VERSION,
            max_version: PROTOCOL_VERSION,
            flags: config.flags,
            endpoint_host: Str0_255::new(&config.pool.host)?,
            endpoint_port: config.pool.port,
            vendor: Str0_255::new(&config.vendor)?,
            hardware_version: Str0_255::new(&config.hardware_version)?,
            firmware: Str0_255::new(&config.firmware)?,
            device_id: Str0_255::new(&config.device_id)?,
        };
        let now = Instant::now();
        let device = Device::new(config.rules.clone(), now);
        let client = ClientConfig {
            authority: config.pool.authority,
            setup,
            extensions: config.extensions.clone(),
            limits: device.limits(),
        };
        let (sender, found) = mpsc::channel(FOUND_CAPACITY);
        search::start(desk.clone(), sender)?;
        Ok(Self {
            stream,
            connection: ClientConnection::new(client, now),
            channels: Channels::new(config.rules.clone(), desk, log.clone()),
            config,
            commands,
            found,
            log,
            ready: None,
            requests: HashMap::new(),
            next_request_id: 1,
            device,
            unsealed: Vec::new(),
            farewell: Farewell::None,
        })
    }

    async fn serve(&mut self) -> Result<End, MinerError> {
        match self.carry().await {
            // After a farewell it does not matter how the server ends the connection.
            Ok(_) | Err(_) if !matches!(self.farewell, Farewell::None) => Ok(End::ByMiner),
            outcome => outcome,
        }
    }

    async fn carry(&mut self) -> Result<End, MinerError> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            while let Some(event) = self.poll()? {
                self.event(event)?;
            }
            self.write()?;
            match &mut self.farewell {
                Farewell::None => {}
                Farewell::Reset => {
                    self.stream.set_zero_linger()?;
                    return Ok(End::ByMiner);
                }
                Farewell::Said { until, .. } if Instant::now() >= *until => return Ok(End::ByMiner),
                Farewell::Said { shut_down, .. } => {
                    if !*shut_down && self.connection.output().is_empty() {
                        *shut_down = true;
                        self.stream.shutdown().await?;
                    }
                }
            }
            match self.wait().await? {
                Wake::Readable | Wake::Deadline => match self.read(&mut buffer)? {
                    None => return Ok(End::ByPool),
                    // Only when nothing waits to be read has patience had its time.
                    Some(0) => self.device.wait(Instant::now())?,
                    Some(_) => {}
                },
                Wake::Writable => {}
                Wake::Command(command) => self.command(command)?,
                Wake::Found(found) => {
                    if let Some((submission, worker)) = self.channels.share(found) {
                        self.submit(submission, worker);
                    }
                }
            }
        }
    }

    fn poll(&mut self) -> Result<Option<ClientEvent>, MinerError> {
        self.connection.poll(Instant::now(), unix_now()).map_err(|error| self.device.blame(error))
    }

    async fn wait(&mut self) -> Result<Wake, MinerError> {
        let unsent = self.connection.output().len() + self.unsealed.len();
        let farewell_until = match self.farewell {
            Farewell::Said { until, .. } => Some(until),
            Farewell::None | Farewell::Reset => None,
        };
        let leaving = farewell_until.is_some();
        let deadlines = [self.connection.deadline(), self.device.deadline(), farewell_until];
        let deadline = deadlines.into_iter().flatten().min();
        let sleep_until = deadline.unwrap_or_else(Instant::now);
        // A closed queue is no event: its owner is about to abort this task.
        tokio::select! {
            ready = self.stream.readable() => ready.map(|()| Wake::Readable).map_err(Into::into),
            ready = self.stream.writable(), if unsent > 0 => ready.map(|()| Wake::Writable).map_err(Into::into),
            Some(command) = self.commands.recv() => Ok(Wake::Command(command)),
            Some(found) = self.found.recv(), if unsent < MAX_UNSENT_BYTES && !leaving => Ok(Wake::Found(found)),
            () = tokio::time::sleep_until(sleep_until.into()), if deadline.is_some() => Ok(Wake::Deadline),
        }
    }

    /// Reads what there is; nothing at the end of the stream.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, MinerError> {
        match self.stream.try_read(buffer) {
            Ok(0) => Ok(None),
            Ok(len) => {
                self.connection.receive(&buffer[..len]);
                Ok(Some(len))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Some(0)),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self) -> Result<(), MinerError> {
        while !self.connection.output().is_empty() {
            match self.stream.try_write(self.connection.output()) {
                Ok(len) => self.connection.consume_output(len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        while !self.unsealed.is_empty() {
            match self.stream.try_write(&self.unsealed) {
                Ok(len) => drop(self.unsealed.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<(), MinerError> {
        match command {
            Command::Open(config, reply) => self.open(config, reply)?,
            Command::Update { channel_id, nominal_hash_rate, max_target } => {
                self.channels.set_max_target(channel_id, max_target);
                let update = UpdateChannel { channel_id, nominal_hash_rate, maximum_target: max_target };
                self.device.update(update).inspect(|update| self.connection.send(update));
            }
            Command::LimitHashRate { channel_id, hashes_per_second } => {
                self.channels.limit_hash_rate(channel_id, hashes_per_second);
            }
            Command::Submit(submission) => self.submit(*submission, None),
            Command::TakeSequenceNumber { channel_id, reply } => {
                let _ = reply.send(self.channels.take_sequence_number(channel_id));
            }
            Command::Send(send) => send(&mut self.connection),
            Command::Unsealed(bytes) => self.unsealed.extend(bytes),
            Command::Close => {
                for channel_id in self.channels.ids() {
                    let reason_code = Str0_255::new("closed-by-miner")?;
                    self.connection.send(&CloseChannel { channel_id, reason_code });
                }
                self.channels.close_all();
                self.farewell = Farewell::Said { until: Instant::now() + CLOSE_TIMEOUT, shut_down: false };
            }
            Command::Reset => self.farewell = Farewell::Reset,
        }
        Ok(())
    }

    fn open(
        &mut self,
        config: Box<ChannelConfig>,
        reply: oneshot::Sender<Result<OpenedChannel, MinerError>>,
    ) -> Result<(), MinerError> {
        let user_identity = match Str0_255::new(&config.user_identity) {
            Ok(user_identity) => user_identity,
            Err(error) => {
                let _ = reply.send(Err(error.into()));
                return Ok(());
            }
        };
        let request_id = self.next_request_id;
        self.next_request_id += 1;
        let ChannelConfig { nominal_hash_rate, max_target, .. } = *config;
        match config.kind {
            ChannelKind::Standard => self.connection.send(&OpenStandardMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
            }),
            ChannelKind::Extended { min_extranonce_size } => self.connection.send(&OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size,
            }),
        }
        self.device.ask(config.kind, Instant::now());
        self.requests.insert(request_id, Request { config, reply });
        Ok(())
    }

    fn event(&mut self, event: ClientEvent) -> Result<(), MinerError> {
        if let ClientEvent::Message(message) = &event {
            // Recorded first, so that whoever is woken by what follows finds it there.
            self.log.receive(message);
        }
        let is_heeded = match self.connection.last_header() {
            Some(header) => self.device.hear(header, Instant::now())?,
            None => true,
        };
        match event {
            ClientEvent::Connected { flags, .. } => {
                self.device.connected(flags)?;
                if self.config.extensions.is_empty() {
                    self.set_up();
                }
            }
            ClientEvent::ExtensionsNegotiated(_) => self.set_up(),
            ClientEvent::SetupRefused { code, flags } => {
                return Err(MinerError::SetupRefused { error_code: code.to_string(), flags });
            }
            ClientEvent::ExtensionsRefused { unsupported, required } => {
                return Err(MinerError::ExtensionsRefused { unsupported, required });
            }
            ClientEvent::Message(message) if is_heeded => self.message(message)?,
            ClientEvent::Message(_) => {}
            // This miner stays where it is, as most devices do.
            ClientEvent::Reconnect(_) | ClientEvent::ChannelEndpointChanged(_) => {}
        }
        Ok(())
    }

    /// Tells whoever connected that channels may be opened.
    fn set_up(&mut self) {
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Ok(()));
        }
    }

    fn message(&mut self, message: ServerMessage) -> Result<(), DeviceFailure> {
        match message {
            ServerMessage::OpenStandardMiningChannelSuccess(opened) => self.opened(
                opened.request_id,
                OpenedChannel {
                    channel_id: opened.channel_id,
                    group_channel_id: opened.group_channel_id,
                    target: opened.target,
                    extranonce_prefix: opened.extranonce_prefix,
                    extranonce_size: None,
                },
            )?,
            ServerMessage::OpenExtendedMiningChannelSuccess(opened) => self.opened(
                opened.request_id,
                OpenedChannel {
                    channel_id: opened.channel_id,
                    group_channel_id: opened.group_channel_id,
                    target: opened.target,
                    extranonce_prefix: opened.extranonce_prefix,
                    extranonce_size: Some(opened.extranonce_size),
                },
            )?,
            ServerMessage::OpenMiningChannelError(error) => {
                if let Some(request) = self.answered(error.request_id) {
                    let _ = request.reply.send(Err(MinerError::OpenRefused(error.error_code.to_string())));
                }
            }
            ServerMessage::NewExtendedMiningJob(job) if self.config.flags & REQUIRES_STANDARD_JOBS != 0 => {
                self.fault(job.channel_id, "extended job, though only standard jobs can be worked on".into());
            }
            ServerMessage::SetTarget(target) => {
                self.device.check_target(target.maximum_target)?;
                self.channels.follow(&message)?;
                self.device.updated(target.channel_id).inspect(|update| self.connection.send(update));
            }
            ServerMessage::SetCustomMiningJobError(error) => {
                self.device.check_custom_job_error(&error.error_code.to_string())?;
            }
            message => self.channels.follow(&message)?,
        }
        Ok(())
    }

    fn opened(&mut self, request_id: u32, opened: OpenedChannel) -> Result<(), DeviceFailure> {
        if let Some(request) = self.answered(request_id) {
            self.device.check_grant(request.config.kind, opened.extranonce_size)?;
            self.device.check_target(opened.target)?;
            self.channels.open(&opened, *request.config);
            let _ = request.reply.send(Ok(opened));
        }
        Ok(())
    }

    fn answered(&mut self, request_id: u32) -> Option<Request> {
        let request = self.requests.remove(&request_id);
        if request.is_none() {
            self.fault(0, format!("answer to request {request_id}, which was not made"));
        }
        request
    }

    fn submit(&mut self, submission: Submission, worker: Option<WorkerIdentity>) {
        let Submission { channel_id, sequence_number, job_id, nonce, ntime, version, .. } = submission;
        match &submission.extranonce {
            None => self.connection.send(&SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }),
            Some(extranonce) => {
                // Too long only where the server has granted too much, which is noted as its fault.
                let Ok(extranonce) = B0_32::new(extranonce) else { return };
                let share =
                    SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce };
                match worker {
                    Some(worker) => self.connection.send_with_worker(&share, &worker),
                    None => self.connection.send(&share),
                }
            }
        }
        self.log.submit(submission);
    }

    fn fault(&self, channel_id: u32, what: String) {
        self.log.fault(Fault { channel_id, job_id: None, what });
    }
}

fn unix_now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}
