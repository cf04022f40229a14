//! One connection of the load, from its socket to its channels: handshake, setup, opens, then jobs in and shares out.
//!
//! It is built on the protocol's `Link` and not on its client connection, whose checks and copies would be most of what a
//! load client costs. Which shares are due, and what becomes of a lost connection, is not decided here.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use mio::net::TcpStream;
use protocol::{
    codec::{Str0_255, U256},
    connection::{Limits, Link},
    framing::Header,
    messages::{
        Message, MessageSet,
        common::{PROTOCOL_VERSION, Protocol, SetupConnection, SetupConnectionSuccess},
        mining::{
            NewExtendedMiningJob, OpenExtendedMiningChannel, OpenStandardMiningChannel, REQUIRES_STANDARD_JOBS,
            REQUIRES_VERSION_ROLLING, ServerMessage, SubmitSharesError, SubmitSharesSuccess,
        },
    },
    noise::{ACT_2_LEN, AuthorityPublicKey, Initiator},
};
use socket2::{Domain, Socket, Type};

use super::{
    ChannelKind,
    channel::{Change, Channel},
    tally::{OnTip, Tally},
    work::{Coinbase, Job, Root},
};

/// Output is written when it has grown to so much: a few dozen shares in one call, without the link's buffer growing.
const WRITE_AT_BYTES: usize = 7 * 1024;
/// With so much unwritten, no further share is taken: the pool reads nothing at present.
const MAX_UNWRITTEN_BYTES: usize = 256 * 1024;
/// What the client says of its hash rate, in hashes a second: so little that the pool gives it its easiest target.
const NOMINAL_HASH_RATE: f32 = 1.0;
/// The extranonce that an extended channel asks for, in bytes; as translators do.
const EXTRANONCE_SIZE: u16 = 4;

/// What all connections of a load have in common.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) pool: SocketAddr,
    pub(super) host: String,
    /// Whose certificate is demanded; with none, nothing is checked.
    pub(super) authority: Option<AuthorityPublicKey>,
    pub(super) user: String,
    pub(super) kind: ChannelKind,
    pub(super) channels: usize,
    /// Local addresses to connect from, in turn; any if there are none.
    pub(super) from: Vec<IpAddr>,
    /// Whether it is noted when each channel hears of a tip.
    pub(super) notes_tips: bool,
}

/// Why a connection has ended.
pub(super) type Loss = String;

/// How far a connection is.
enum State {
    Connecting,
    Handshake(Initiator),
    Setup,
    /// Not all channels have been opened, or have their first job.
    Opening,
    Open,
}

/// A connection with its channels.
pub(super) struct Connection {
    plan: Arc<Plan>,
    socket: TcpStream,
    link: Link,
    state: State,
    /// The connection's number within the load, for the names of its workers.
    number: usize,
    pub(super) channels: Vec<Channel>,
    /// Shares that wait for an answer, of all channels.
    pub(super) unanswered: usize,
    /// The channel whose turn it is to submit.
    pub(super) turn: usize,
    pub(super) started_us: u64,
}

impl Connection {
    /// Starts to connect. The socket is to be registered with the poll.
    pub(super) fn start(plan: Arc<Plan>, number: usize, now_us: u64) -> std::io::Result<Self> {
        let socket = match plan.from.as_slice() {
            [] => TcpStream::connect(plan.pool)?,
            from => connect_from(from[number % from.len()], plan.pool)?,
        };
        let (link, channels) = (Link::new(Limits::default()), Vec::with_capacity(plan.channels));
        let (state, started_us) = (State::Connecting, now_us);
        Ok(Self { plan, socket, link, state, number, channels, unanswered: 0, turn: 0, started_us })
    }

    /// Returns the socket, to be registered.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Tells whether every channel has got its first job.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Goes on when the socket can be written to.
    pub(super) fn on_writable(&mut self) -> Result<(), Loss> {
        if matches!(self.state, State::Connecting) {
            if let Some(error) = self.socket.take_error().map_err(describe)? {
                return Err(describe(error));
            }
            match self.socket.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                connected => connected.map_err(describe)?,
            };
            self.socket.set_nodelay(true).map_err(describe)?;
            let (initiator, act_1) = Initiator::start();
            self.link.send_plain(&act_1);
            self.state = State::Handshake(initiator);
        }
        self.flush()
    }

    /// Reads and takes in all that has come. Tells whether shares were answered.
    pub(super) fn on_readable(&mut self, buffer: &mut [u8], clock: Clock, tally: &mut Tally) -> Result<bool, Loss> {
        let before = self.unanswered;
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return Err("closed by the pool".into()),
                Ok(count) => {
                    self.link.receive(&buffer[..count]);
                    self.take_in(clock, tally)?;
                    // Less than there was room for: there is no more, and no need to ask.
                    if count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(describe(error)),
            }
        }
        self.flush()?;
        Ok(self.unanswered < before)
    }

    /// Submits the next share of the channel whose turn it is. Tells whether there was one and there was room for it.
    pub(super) fn submit_next(&mut self, now_us: u64, tally: &mut Tally) -> Result<bool, Loss> {
        let channel = self.turn % self.channels.len().max(1);
        self.turn = channel + 1;
        self.submit(channel, now_us, tally)
    }

    /// Submits the next share of a channel, by its place. Tells whether there was one and there was room for it.
    pub(super) fn submit(&mut self, place: usize, now_us: u64, tally: &mut Tally) -> Result<bool, Loss> {
        if !self.is_open() || self.link.output().len() > MAX_UNWRITTEN_BYTES {
            return Ok(false);
        }
        let Some(channel) = self.channels.get_mut(place) else { return Ok(false) };
        let Some(submission) = channel.next_submission(now_us, &mut tally.spoiled) else { return Ok(false) };
        match self.plan.kind {
            ChannelKind::Standard => self.link.send(&submission.standard()),
            ChannelKind::Extended => self.link.send(&submission.extended()),
        }
        self.unanswered += 1;
        tally.submitted += 1;
        if self.link.output().len() >= WRITE_AT_BYTES {
            self.flush()?;
        }
        Ok(true)
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), Loss> {
        while !self.link.output().is_empty() {
            match self.socket.write(self.link.output()) {
                Ok(written) => self.link.consume_output(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(describe(error)),
            }
        }
        Ok(())
    }

    /// Takes in all whole frames that have been received.
    fn take_in(&mut self, clock: Clock, tally: &mut Tally) -> Result<(), Loss> {
        if matches!(self.state, State::Handshake(_)) {
            let Some(act_2) = self.link.take_plain::<ACT_2_LEN>() else { return Ok(()) };
            self.finish_handshake(&act_2)?;
        }
        while let Some((header, payload)) = self.link.next_frame().map_err(describe)? {
            if header.extension_type != 0 {
                continue;
            }
            if matches!(self.state, State::Setup) {
                if !header.is::<SetupConnectionSuccess>() {
                    return Err("setup refused".into());
                }
                self.open_channels();
                continue;
            }
            let message = read(header, payload)?;
            self.take(message, clock, tally)?;
        }
        if matches!(self.state, State::Opening)
            && self.channels.len() == self.plan.channels
            && self.channels.iter().all(Channel::has_work)
        {
            self.state = State::Open;
        }
        Ok(())
    }

    fn finish_handshake(&mut self, act_2: &[u8; ACT_2_LEN]) -> Result<(), Loss> {
        let State::Handshake(initiator) = std::mem::replace(&mut self.state, State::Setup) else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now_unix = u32::try_from(now).unwrap_or(u32::MAX);
        let transport = initiator.finish(act_2, self.plan.authority.as_ref(), now_unix).map_err(describe)?;
        self.link.encrypt_with(transport);
        let standard_jobs = if self.plan.kind == ChannelKind::Standard { REQUIRES_STANDARD_JOBS } else { 0 };
        self.link.send(&SetupConnection {
            protocol: Protocol::Mining as u8,
            min_version: PROTOCOL_VERSION,
            max_version: PROTOCOL_VERSION,
            flags: REQUIRES_VERSION_ROLLING | standard_jobs,
            endpoint_host: text(&self.plan.host),
            endpoint_port: self.plan.pool.port(),
            vendor: text("load"),
            hardware_version: text(""),
            firmware: text(""),
            device_id: text(""),
        });
        Ok(())
    }

    fn open_channels(&mut self) {
        self.state = State::Opening;
        for place in 0..self.plan.channels {
            let request_id = place as u32 + 1;
            let number = self.number * self.plan.channels + place;
            let user_identity = text(&self.plan.user.replace("{}", &number.to_string()));
            let (nominal_hash_rate, max_target) = (NOMINAL_HASH_RATE, U256::MAX);
            match self.plan.kind {
                ChannelKind::Standard => self.link.send(&OpenStandardMiningChannel {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                }),
                ChannelKind::Extended => self.link.send(&OpenExtendedMiningChannel {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                    min_extranonce_size: EXTRANONCE_SIZE,
                }),
            }
        }
    }

    fn take(&mut self, message: Option<ServerMessage>, clock: Clock, tally: &mut Tally) -> Result<(), Loss> {
        let Some(message) = message else { return Ok(()) };
        match message {
            ServerMessage::SubmitSharesSuccess(success) => self.acknowledge(&success, clock, tally),
            ServerMessage::SubmitSharesError(error) => self.refuse(&error, tally),
            ServerMessage::NewMiningJob(job) => {
                let given = Job { job_id: job.job_id, version: job.version, root: Root::Given(job.merkle_root.0) };
                self.for_each(job.channel_id, clock, tally, |channel| channel.give(given.clone(), job.min_ntime));
            }
            ServerMessage::NewExtendedMiningJob(job) => self.give_extended(job, clock, tally),
            ServerMessage::SetNewPrevHash(tip) => {
                self.for_each(tip.channel_id, clock, tally, |channel| channel.activate(&tip));
            }
            ServerMessage::SetTarget(target) => {
                self.for_each(target.channel_id, clock, tally, |channel| {
                    channel.set_target(target.maximum_target);
                    Ok(Change::None)
                });
            }
            ServerMessage::SetExtranoncePrefix(set) => {
                self.for_each(set.channel_id, clock, tally, |channel| {
                    channel.set_prefix(set.extranonce_prefix.as_slice());
                    Ok(Change::None)
                });
            }
            ServerMessage::OpenStandardMiningChannelSuccess(open) => {
                let prefix = open.extranonce_prefix.as_slice();
                self.channels.push(Channel::new(open.channel_id, open.group_channel_id, open.target, prefix, 0));
            }
            ServerMessage::OpenExtendedMiningChannelSuccess(open) => {
                let (prefix, size) = (open.extranonce_prefix.as_slice(), usize::from(open.extranonce_size));
                self.channels.push(Channel::new(open.channel_id, open.group_channel_id, open.target, prefix, size));
            }
            ServerMessage::OpenMiningChannelError(error) => {
                return Err(format!("open refused: {}", error.error_code));
            }
            ServerMessage::CloseChannel(close) => {
                return Err(format!("channel closed by the pool: {}", close.reason_code));
            }
            _ => {}
        }
        Ok(())
    }

    fn acknowledge(&mut self, success: &SubmitSharesSuccess, clock: Clock, tally: &mut Tally) {
        let Some(channel) = self.channel(success.channel_id) else {
            return tally.fault("an acknowledgement for an unknown channel");
        };
        let histogram = &mut tally.acknowledgement_us;
        let settled = channel.unanswered.acknowledge(success.last_sequence_number, |at_us| {
            // Below the least time that is told apart, it counts as that.
            histogram.saturating_record(clock.now_us.saturating_sub(at_us).max(1));
        });
        let accepted = u64::from(success.new_submits_accepted_count);
        tally.acknowledged += accepted;
        tally.work_sum = tally.work_sum.saturating_add(success.new_shares_sum);
        tally.miscounted += u64::from(settled != accepted);
        self.unanswered -= settled as usize;
    }

    fn refuse(&mut self, error: &SubmitSharesError, tally: &mut Tally) {
        let known =
            self.channel(error.channel_id).is_some_and(|channel| channel.unanswered.refuse(error.sequence_number));
        if !known {
            return tally.fault("a refusal of a share that was not waiting");
        }
        self.unanswered -= 1;
        *tally.refused.entry(error.error_code.to_string()).or_default() += 1;
    }

    fn give_extended(&mut self, job: NewExtendedMiningJob, clock: Clock, tally: &mut Tally) {
        let coinbase = Coinbase {
            prefix: job.coinbase_tx_prefix.into_vec(),
            suffix: job.coinbase_tx_suffix.into_vec(),
            path: job.merkle_path.into_vec().into_iter().map(|hash| hash.0).collect(),
        };
        let given = Job { job_id: job.job_id, version: job.version, root: Root::Coinbase(Arc::new(coinbase)) };
        self.for_each(job.channel_id, clock, tally, |channel| channel.give(given.clone(), job.min_ntime));
    }

    /// Changes the channel with an id, or all channels of a group, and notes what is to be noted.
    fn for_each(
        &mut self,
        id: u32,
        clock: Clock,
        tally: &mut Tally,
        mut change: impl FnMut(&mut Channel) -> Result<Change, &'static str>,
    ) {
        let notes_tips = self.plan.notes_tips;
        let mut note = |channel: &Channel, change: Result<Change, &'static str>| match (change, channel.prev_hash()) {
            (Err(fault), _) => tally.fault(fault),
            (Ok(change), Some(tip)) if notes_tips => note_on_tip(change, tip, clock, tally),
            (Ok(_), _) => {}
        };
        if let Some(channel) = self.channel(id) {
            let changed = change(channel);
            return note(channel, changed);
        }
        let mut is_known = false;
        for channel in self.channels.iter_mut().filter(|channel| channel.group_id == id) {
            is_known = true;
            let changed = change(channel);
            note(channel, changed);
        }
        // A group exists before its first channel, and a pool may speak to it.
        if !is_known && !self.channels.is_empty() {
            tally.fault("a message for an unknown channel");
        }
    }

    /// Finds a channel. Pools count their ids up, so that the place follows from the id as a rule.
    fn channel(&mut self, id: u32) -> Option<&mut Channel> {
        let guess = id.wrapping_sub(self.channels.first()?.id) as usize;
        let place = match self.channels.get(guess) {
            Some(channel) if channel.id == id => guess,
            _ => self.channels.iter().position(|channel| channel.id == id)?,
        };
        self.channels.get_mut(place)
    }
}

/// The time of an event, in microseconds since the load began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now_us: u64,
}

fn note_on_tip(change: Change, tip: [u8; 32], clock: Clock, tally: &mut Tally) {
    match change {
        Change::None => {}
        Change::Activated { is_full } => {
            tally.see_tip(tip, OnTip::Activated, clock.now_us);
            if is_full == Some(true) {
                tally.see_tip(tip, OnTip::Full, clock.now_us);
            }
        }
        Change::Started { is_second, is_first_full } => {
            if is_second {
                tally.see_tip(tip, OnTip::Second, clock.now_us);
            }
            if is_first_full {
                tally.see_tip(tip, OnTip::Full, clock.now_us);
            }
        }
    }
}

/// Reads a message of the Mining Protocol. Of the common messages, which ask for nothing that a load would do, there is none.
fn read(header: Header, payload: &[u8]) -> Result<Option<ServerMessage>, Loss> {
    if header.message_type < OpenStandardMiningChannel::MESSAGE_TYPE {
        return Ok(None);
    }
    ServerMessage::decode(header, payload, &[]).map(Some).map_err(|error| format!("not understood: {error}"))
}

fn connect_from(from: IpAddr, pool: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(pool), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    match socket.connect(&pool.into()) {
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
        connected => connected?,
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn describe(error: impl std::fmt::Display) -> Loss {
    error.to_string()
}

/// Makes a field of a text; one that is too long is left out.
fn text(text: &str) -> Str0_255 {
    Str0_255::new(text).unwrap_or_default()
}
