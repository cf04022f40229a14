//! One miner's connection: a task that owns the socket, the protocol's state machine and the session.
//!
//! It waits for one thing at a time and works after the waiting, so that nothing is lost when a wait is given up. A
//! connection that cannot get rid of what it has to say stops reading; one that cannot pass its shares on does so only
//! for a moment.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use payouts::store::StoreError;
use protocol::connection::{ConnectionError, ServerConfig, ServerConnection, ServerEvent};
use thiserror::Error;
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::TcpStream,
    sync::mpsc,
    time::{sleep_until, timeout},
};
use tracing::{debug, info};

use super::{
    channels::{Channels, Upstream},
    earner::Earner,
};
use crate::{
    accounting::share_log::{ConnectionId, Durable, Entry, MAX_UNACKNOWLEDGED},
    mining::session::{Session, SessionKind},
};

/// How long a connection may stay without a channel: devices measure their hash rate first, probes leave on their own.
const OPEN_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a peer may take nothing of what waits for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a last message, such as the reason of a refusal, may take to arrive.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// Unsent bytes above which no more is read and no newer job is taken.
const MAX_UNSENT_SIZE: usize = 256 * 1024;
/// Bytes that one read takes at most.
const READ_SIZE: usize = 16 * 1024;

/// Why a connection ended.
#[derive(Debug, Error)]
pub enum End {
    /// The peer closed it.
    #[error("closed by the peer")]
    Closed,
    /// The pool shuts down.
    #[error("the pool shuts down")]
    Drained,
    /// The socket failed.
    #[error("socket failed: {0}")]
    Socket(#[from] io::Error),
    /// The peer broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ConnectionError),
    /// The peer opened no channel in time.
    #[error("no channel opened within {} s", OPEN_TIMEOUT.as_secs())]
    NoChannel,
    /// The peer does not read.
    #[error("nothing could be written for {} s", WRITE_TIMEOUT.as_secs())]
    Stalled,
    /// Accounts cannot be looked up.
    #[error("account could not be looked up: {0}")]
    Store(#[from] StoreError),
    /// The tasks behind the connection are gone.
    #[error("the pool's inner tasks have ended")]
    Orphaned,
}

/// Serves one connection until it ends.
pub async fn serve(socket: TcpStream, id: ConnectionId, config: Arc<ServerConfig>, upstream: Upstream) {
    let mut connection = Connection::new(socket, id, config, upstream);
    let end = connection.run().await;
    connection.hang_up().await;
    match &connection.channels {
        None if matches!(end, End::Closed) => debug!("probe ended"),
        channels => info!(channels = channels.as_ref().map_or(0, Channels::count), reason = %end, "connection ended"),
    }
}

struct Connection {
    socket: TcpStream,
    id: ConnectionId,
    protocol: ServerConnection,
    opened_at: Instant,
    /// From the end of the setup on.
    channels: Option<Channels>,
    upstream: Upstream,
    receipt_sender: mpsc::Sender<Vec<Durable>>,
    receipts: mpsc::Receiver<Vec<Durable>>,
    /// When the connection got something to say that it has not got rid of.
    unsent_since: Option<Instant>,
    draining: bool,
}

/// What ended a wait.
enum Wake {
    Readable,
    Writable,
    Job,
    Receipts(Vec<Durable>),
    Room(mpsc::OwnedPermit<Entry>),
    Earner { channel_id: u32, earner: Earner },
    Deadline,
    Drain,
}

impl Connection {
    fn new(socket: TcpStream, id: ConnectionId, config: Arc<ServerConfig>, upstream: Upstream) -> Self {
        let now = Instant::now();
        let (receipt_sender, receipts) = mpsc::channel(MAX_UNACKNOWLEDGED);
        Self {
            socket,
            id,
            protocol: ServerConnection::new(config, now),
            opened_at: now,
            channels: None,
            upstream,
            receipt_sender,
            receipts,
            unsent_since: None,
            draining: false,
        }
    }

    async fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    /// Does what can be done, then waits for one thing and takes it in.
    async fn turn(&mut self) -> Result<(), End> {
        self.process().await?;
        self.flush()?;
        self.check_deadlines()?;
        if self.draining && self.unacknowledged() == 0 {
            return Err(End::Drained);
        }
        match self.wait().await? {
            Wake::Readable => self.read()?,
            Wake::Writable | Wake::Deadline => {}
            Wake::Job => {
                if let Some(channels) = &mut self.channels {
                    channels.pass_on_job(&mut self.upstream, &mut self.protocol);
                }
            }
            Wake::Receipts(receipts) => {
                if let Some(channels) = &mut self.channels {
                    channels.acknowledge(&receipts, &mut self.protocol);
                }
            }
            Wake::Room(place) => {
                if let Some(channels) = &mut self.channels {
                    channels.fill(place);
                }
            }
            Wake::Earner { channel_id, earner } => {
                if let Some(channels) = &mut self.channels {
                    channels.pass_on_owned(channel_id, earner, &self.upstream.share_log)?;
                }
            }
            Wake::Drain => self.draining = true,
        }
        Ok(())
    }

    /// Waits for the next thing to do.
    async fn wait(&mut self) -> Result<Wake, End> {
        let has_output = !self.protocol.output().is_empty();
        let may_read = !self.draining && self.may_process();
        let interest = match (may_read, has_output) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        };
        let ready = async {
            match interest {
                Some(interest) => self.socket.ready(interest).await,
                None => std::future::pending().await,
            }
        };
        let waits_for_room = self.channels.as_ref().is_some_and(Channels::waits_for_room);
        let room = async {
            match waits_for_room {
                true => self.upstream.share_log.queue().clone().reserve_owned().await,
                false => std::future::pending().await,
            }
        };
        let takes_jobs = self.channels.is_some() && self.protocol.output().len() < MAX_UNSENT_SIZE;
        let deadline = self.deadline();
        let earner = async {
            match &mut self.channels {
                Some(channels) => channels.earner().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = ready => Ok(if ready?.is_readable() && may_read { Wake::Readable } else { Wake::Writable }),
            changed = self.upstream.jobs.changed(), if takes_jobs => changed.map(|()| Wake::Job).map_err(|_| End::Orphaned),
            receipts = self.receipts.recv() => receipts.map(Wake::Receipts).ok_or(End::Orphaned),
            earner = earner => earner.map(|(channel_id, earner)| Wake::Earner { channel_id, earner }),
            permit = room => permit.map(Wake::Room).map_err(|_| End::Orphaned),
            () = sleep_until(deadline.into()) => Ok(Wake::Deadline),
            drained = self.upstream.draining.wait_for(|draining| *draining), if !self.draining => {
                drained.map(|_| Wake::Drain).map_err(|_| End::Orphaned)
            }
        }
    }

    /// Reads what is there, without waiting.
    fn read(&mut self) -> Result<(), End> {
        let mut buffer = [0; READ_SIZE];
        match self.socket.try_read(&mut buffer) {
            Ok(0) => Err(End::Closed),
            Ok(size) => {
                self.protocol.receive(&buffer[..size]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what the socket takes, all ready frames at once, without waiting.
    fn flush(&mut self) -> Result<(), End> {
        while !self.protocol.output().is_empty() {
            match self.socket.try_write(self.protocol.output()) {
                Ok(size) => {
                    self.protocol.consume_output(size);
                    self.unsent_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent_since.get_or_insert_with(Instant::now);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives the last words some time to arrive: they leave, the peer hears that no more follow, and what it still sends
    /// is read away. A socket that is closed over unread bytes resets the connection, and the peer would lose what it has
    /// not read, acknowledgements too.
    async fn hang_up(&mut self) {
        let farewell = async {
            while self.flush().is_ok() && !self.protocol.output().is_empty() {
                self.socket.writable().await?;
            }
            self.socket.shutdown().await?;
            while self.discard()? {
                self.socket.readable().await?;
            }
            io::Result::Ok(())
        };
        // Whoever does not take them has to do without.
        let _ = timeout(FAREWELL_TIMEOUT, farewell).await;
    }

    /// Reads away what is there. Tells whether more can come. The buffer must not outlive the call: as a part of the
    /// task it would cost every connection its size.
    fn discard(&self) -> io::Result<bool> {
        let mut rest = [0; READ_SIZE];
        match self.socket.try_read(&mut rest) {
            Ok(size) => Ok(size > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn deadline(&self) -> Instant {
        let open = self.channelless_since().map(|since| since + OPEN_TIMEOUT);
        let write = self.unsent_since.map(|since| since + WRITE_TIMEOUT);
        let now = Instant::now();
        let read_on = self.catches_up_until().filter(|until| *until > now);
        [self.protocol.deadline(), open, write, read_on].into_iter().flatten().fold(now + OPEN_TIMEOUT, Instant::min)
    }

    fn check_deadlines(&self) -> Result<(), End> {
        if self.unsent_since.is_some_and(|since| since.elapsed() >= WRITE_TIMEOUT) {
            return Err(End::Stalled);
        }
        if self.channelless_since().is_some_and(|since| since.elapsed() >= OPEN_TIMEOUT) {
            return Err(End::NoChannel);
        }
        Ok(())
    }

    /// Returns since when no channel is open, if none is.
    fn channelless_since(&self) -> Option<Instant> {
        self.channels.as_ref().map_or(Some(self.opened_at), Channels::empty_since)
    }

    fn unacknowledged(&self) -> usize {
        self.channels.as_ref().map_or(0, Channels::unacknowledged)
    }

    /// Returns until when the log is given time to catch up with this connection's shares, if it is.
    fn catches_up_until(&self) -> Option<Instant> {
        self.channels.as_ref().and_then(Channels::catches_up_until)
    }

    /// Tells whether another message of the peer could be dealt with now. A peer that does not read can prevent that, and
    /// for a moment a log that is slow; one that is stuck does not, for the next share may be a block.
    fn may_process(&self) -> bool {
        self.protocol.output().len() < MAX_UNSENT_SIZE
            && self.catches_up_until().is_none_or(|until| until <= Instant::now())
    }

    /// Deals with all messages that have arrived whole.
    async fn process(&mut self) -> Result<(), End> {
        while self.may_process() {
            match self.protocol.poll(Instant::now())? {
                Some(event) => self.react(event).await?,
                None => break,
            }
        }
        Ok(())
    }

    async fn react(&mut self, event: ServerEvent) -> Result<(), End> {
        match event {
            ServerEvent::Connected { setup, .. } => {
                debug!(vendor = %setup.vendor, firmware = %setup.firmware, flags = setup.flags, "connection set up");
                let (policy, space) = (Arc::clone(&self.upstream.policy), Arc::clone(&self.upstream.space));
                let session = Session::new(policy, space, SessionKind::of_flags(setup.flags));
                let (share_log, receipts) = (&self.upstream.share_log, self.receipt_sender.clone());
                self.channels = Some(Channels::new(session, self.id, share_log, receipts, self.opened_at));
                Ok(())
            }
            ServerEvent::ExtensionsNegotiated(_) => Ok(()),
            ServerEvent::Message(message) => {
                let channels = self.channels.as_mut().expect("messages come only after the setup");
                channels.react(message, &mut self.upstream, &mut self.protocol).await
            }
        }
    }
}
