//! One miner's connection: a task that owns the socket, the protocol's state machine and the session.
//!
//! It waits for one thing at a time and works after the waiting, so that nothing is lost when a wait is given up. A
//! connection that cannot get rid of what it has to say stops reading; one that cannot pass its shares on does so only
//! for a moment.

mod deadlines;
mod wait;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use protocol::{
    codec::Str0_255,
    connection::{ConnectionError, ServerConfig, ServerConnection, ServerEvent},
    messages::common::Reconnect,
    noise::ACT_1_LEN,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::watch,
    time::{Sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use self::wait::{Wake, changed, drained};
use super::{
    addresses::Place,
    channels::Channels,
    end::End,
    limits::{Allowance, InvalidShares, cost},
    metrics::OpenConnection,
    orders::Order,
    reading::discard,
    roster::{Opening, Seated},
    trace::{Outgoing, Trace},
    upstream::{Terms, Upstream},
};
use crate::{
    accounting::receipts::{ReceiptSlot, Receipts, mailbox},
    mining::{
        ahead::Work,
        session::{Outbox, Session, SessionKind},
    },
};

/// How long a last message, such as the reason of a refusal, may take to arrive.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// Unsent bytes above which no more is read and no newer job is taken.
const MAX_UNSENT_SIZE: usize = 256 * 1024;
/// Bytes of a peer that are read away after the end.
const MAX_DISCARDED: usize = 1024 * 1024;

/// Serves one connection until it ends.
pub async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    place: Place,
    config: Arc<ServerConfig>,
    upstream: Arc<Upstream>,
) {
    let mut connection = Box::new(Connection::new(socket, peer, place, config, upstream));
    let end = connection.run().await;
    connection.upstream.metrics.end(&end);
    connection.seated.end(&connection.opening, &end, Instant::now());
    if matches!(end, End::InvalidShares)
        && let Some(ban) = connection.place.strike(Instant::now())
    {
        connection.upstream.metrics.bans.inc();
        warn!(origin = %connection.place.origin(), seconds = ban.as_secs(), "address is banned for its invalid shares");
    }
    // Whoever was not set up has nothing to hear but why, and shall not keep a place meanwhile.
    let is_known = connection.channels.is_some();
    let has_words = is_known || matches!(end, End::Protocol(ConnectionError::SetupRefused { .. }));
    if has_words && !end.is_abrupt() {
        connection.place.end();
        connection.hang_up().await;
    }
    match &connection.channels {
        None if matches!(end, End::Closed) => debug!("probe ended"),
        // Whoever floods the port shall not flood the log.
        None if !has_words => debug!(reason = %end, "connection ended"),
        channels => info!(channels = channels.as_ref().map_or(0, Channels::count), reason = %end, "connection ended"),
    }
}

struct Connection {
    socket: TcpStream,
    place: Place,
    seated: Arc<Seated>,
    opening: Opening,
    open: OpenConnection,
    protocol: ServerConnection,
    opened_at: Instant,
    /// From the end of the setup on.
    channels: Option<Channels>,
    /// What held when it began.
    terms: Arc<Terms>,
    upstream: Arc<Upstream>,
    receipt_slot: ReceiptSlot,
    receipts: Receipts,
    /// When the connection got something to say that it has not got rid of.
    unsent_since: Option<Instant>,
    /// Since when something has always been left to be written.
    backlogged_since: Option<Instant>,
    /// Since when a long frame is not whole, and how much of it is here.
    partial_since: Option<(Instant, usize)>,
    asked: Asked,
    allowance: Allowance,
    invalid_shares: InvalidShares,
    draining: bool,
    /// Whether it is drained alone, because an operator wants it.
    is_moved: bool,
    /// What an operator has written down for a while.
    trace: Option<Arc<Trace>>,
    /// What wakes the task, as it was left with its orders.
    waker: Option<Waker>,
    /// Goes off at the deadline or before it; none where there is no deadline, as for nearly all connections nearly
    /// always. Kept from turn to turn: to leave the timer's wheel and enter it again takes a lock each time.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// What a peer has asked for since it was last added up.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    bytes: u32,
    messages: u32,
    /// The messages by what they cost.
    cost: u32,
}

impl Connection {
    fn new(
        socket: TcpStream,
        peer: SocketAddr,
        place: Place,
        config: Arc<ServerConfig>,
        upstream: Arc<Upstream>,
    ) -> Self {
        let now = Instant::now();
        let (receipt_slot, receipts) = mailbox();
        let terms = Arc::clone(&upstream.terms.borrow());
        Self {
            socket,
            place,
            seated: Arc::new(upstream.roster.begin(peer, now)),
            opening: Opening::default(),
            open: OpenConnection::new(Arc::clone(&upstream.metrics)),
            allowance: Allowance::new(&terms.limits, now),
            invalid_shares: InvalidShares::new(&terms.limits, now),
            asked: Asked::default(),
            backlogged_since: None,
            partial_since: None,
            protocol: ServerConnection::new(config, now),
            opened_at: now,
            channels: None,
            terms,
            upstream,
            receipt_slot,
            receipts,
            unsent_since: None,
            draining: false,
            is_moved: false,
            trace: None,
            waker: None,
            alarm: None,
        }
    }

    async fn run(&mut self) -> End {
        match self.take_turns().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    /// Takes turn after turn. The waits for a job and for the shutdown go on from one turn to the next: whoever waits
    /// stands in a list behind a lock, which is left and entered only when what was waited for has come.
    async fn take_turns(&mut self) -> Result<Infallible, End> {
        let mut job = pin!(changed(self.upstream.jobs.clone()));
        let mut drain = pin!(drained(self.upstream.draining.clone()));
        self.shake_hands(job.as_mut(), drain.as_mut()).await?;
        loop {
            self.work().await?;
            let wake = self.wait(job.as_mut(), drain.as_mut()).await?;
            match wake {
                Wake::Job(jobs) => {
                    job.set(changed(jobs));
                    self.pass_on_job();
                }
                wake => self.take_in(wake)?,
            }
        }
    }

    /// Waits for the peer's part of the handshake, then for a turn to answer it: the answer takes the pool a tenth of a
    /// millisecond, and shares of others come first.
    async fn shake_hands(
        &mut self,
        mut job: Pin<&mut impl Future<Output = Result<watch::Receiver<Work>, End>>>,
        mut drain: Pin<&mut impl Future<Output = Result<(), End>>>,
    ) -> Result<(), End> {
        while (self.asked.bytes as usize) < ACT_1_LEN {
            // Finds nothing whole, but the end of the time for it.
            self.protocol.poll(Instant::now())?;
            match self.wait(job.as_mut(), drain.as_mut()).await? {
                Wake::Drain => return Err(End::Drained),
                Wake::Displaced => return Err(End::Displaced),
                Wake::Order(Order::Kick | Order::Drain) => return Err(End::Kicked),
                _ => {}
            }
            if self.asked.bytes > 0 {
                self.place.speak();
            }
        }
        let arrived = Instant::now();
        let deadline = self.protocol.deadline().unwrap_or(arrived);
        let _turn = tokio::select! {
            turn = self.upstream.turns.take(self.place.origin()) => turn,
            () = self.place.displaced() => return Err(End::Displaced),
            () = sleep_until(deadline.into()) => return Err(ConnectionError::HandshakeTimeout.into()),
            _ = drain => return Err(End::Drained),
        };
        self.process().await?;
        let took = arrived.elapsed();
        self.seated.answer(arrived + took);
        self.upstream.metrics.shake_hands(took);
        Ok(())
    }

    /// Does what can be done.
    async fn work(&mut self) -> Result<(), End> {
        let processed = self.process().await;
        // Also if the peer broke the protocol: what it had handed in before was right.
        if let Some(channels) = &mut self.channels {
            channels.hand_over(&self.upstream.share_log)?;
        }
        processed?;
        self.flush()?;
        self.take_stock()?;
        self.check_deadlines()?;
        match self.draining && self.unacknowledged() == 0 {
            true => Err(if self.is_moved { End::Moved } else { End::Drained }),
            false => Ok(()),
        }
    }

    /// Takes in what has ended a wait.
    fn take_in(&mut self, wake: Wake) -> Result<(), End> {
        match wake {
            Wake::Socket | Wake::Deadline => {}
            Wake::Job(_) => self.pass_on_job(),
            Wake::Receipts(receipts) => {
                if let Some(channels) = &mut self.channels {
                    let mut out = Outgoing { protocol: &mut self.protocol, trace: self.trace.as_deref() };
                    channels.acknowledge(&receipts, &mut out);
                }
            }
            Wake::Room(place) => {
                if let Some(channels) = &mut self.channels {
                    channels.fill(place, &self.upstream.share_log);
                }
            }
            Wake::Earner { channel_id, earner } => {
                if let Some(channels) = &mut self.channels {
                    channels.pass_on_owned(channel_id, earner, &self.upstream.share_log)?;
                }
            }
            Wake::Displaced => return Err(End::Displaced),
            Wake::Drain => self.draining = true,
            Wake::Order(order) => return self.obey(order),
        }
        Ok(())
    }

    /// Does what an operator wants.
    fn obey(&mut self, order: Order) -> Result<(), End> {
        match order {
            Order::Kick => return Err(End::Kicked),
            Order::Drain => {
                if self.channels.is_some() {
                    // To where it is connected now.
                    let mut out = Outgoing { protocol: &mut self.protocol, trace: self.trace.as_deref() };
                    out.send(&Reconnect { new_host: Str0_255::default(), new_port: 0 });
                }
                (self.draining, self.is_moved) = (true, true);
            }
            Order::SetDifficulty { channel, difficulty } => {
                if let Some(channels) = &mut self.channels {
                    let mut out = Outgoing { protocol: &mut self.protocol, trace: self.trace.as_deref() };
                    channels.set_difficulty(channel, difficulty, Instant::now(), &mut out);
                }
            }
            Order::Trace(trace) => self.trace = Some(trace),
        }
        Ok(())
    }

    fn pass_on_job(&mut self) {
        if let Some(channels) = &mut self.channels {
            let mut out = Outgoing { protocol: &mut self.protocol, trace: self.trace.as_deref() };
            channels.pass_on_job(&self.upstream, &mut out);
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
                    let since = *self.unsent_since.get_or_insert_with(Instant::now);
                    self.backlogged_since.get_or_insert(since);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.backlogged_since = None;
        if let Some(channels) = &mut self.channels {
            channels.note_written(&self.upstream.metrics);
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
            let mut left = MAX_DISCARDED;
            while let Some(size) = discard(&self.socket)?
                && size < left
            {
                left -= size;
                self.socket.readable().await?;
            }
            io::Result::Ok(())
        };
        // Whoever does not take them has to do without.
        let _ = timeout(FAREWELL_TIMEOUT, farewell).await;
    }

    /// Adds up what was asked for since the last time, and ends the connection if that is too much.
    fn take_stock(&mut self) -> Result<(), End> {
        let Asked { bytes, messages, cost } = std::mem::take(&mut self.asked);
        if bytes == 0 && messages == 0 {
            return Ok(());
        }
        let now = Instant::now();
        self.seated.seat().hear(now);
        let metrics = &self.upstream.metrics;
        metrics.messages.inc_by(messages.into());
        if self.allowance.spend(cost, bytes, now) {
            metrics.slowed.inc();
            debug!("connection is slowed: it asks for more than its rate");
        }
        if self.allowance.is_exhausted(now) {
            return Err(End::TooFast);
        }
        self.watch_frame(messages, now);
        let Some(channels) = &mut self.channels else { return Ok(()) };
        self.place.set_up(channels.count() > 0);
        self.open.note_channels(channels.counts());
        let tally = channels.take_tally();
        self.upstream.metrics.add_shares(&tally);
        match self.invalid_shares.count(tally.invalid(), tally.accepted(), now) {
            true => Err(End::InvalidShares),
            false => Ok(()),
        }
    }

    fn unacknowledged(&self) -> usize {
        self.channels.as_ref().map_or(0, Channels::unacknowledged)
    }

    /// Tells whether another message of the peer could be dealt with now. A peer that does not read can prevent that, and
    /// for a moment a log that is slow; one that is stuck does not, for the next share may be a block.
    fn may_process(&self) -> bool {
        self.protocol.output().len() < MAX_UNSENT_SIZE
            && self.catches_up_until().is_none_or(|until| until <= Instant::now())
    }

    /// Deals with all messages that have arrived whole.
    async fn process(&mut self) -> Result<(), End> {
        let (now, before) = (Instant::now(), self.judged());
        while self.may_process() {
            match self.protocol.poll(now)? {
                Some(event) => self.react(event, now).await?,
                None => break,
            }
        }
        match self.judged() - before {
            0 => {}
            shares => self.upstream.metrics.validate(shares, now.elapsed()),
        }
        Ok(())
    }

    /// Returns how many shares were judged since they were last added up.
    fn judged(&self) -> u32 {
        self.channels.as_ref().map_or(0, Channels::judged)
    }

    async fn react(&mut self, event: ServerEvent, now: Instant) -> Result<(), End> {
        match event {
            ServerEvent::Connected { setup, used_version } => {
                self.seated.set_up(&setup, used_version, now);
                debug!(vendor = %setup.vendor, firmware = %setup.firmware, flags = setup.flags, "connection set up");
                let (policy, space) = (Arc::clone(&self.terms.policy), Arc::clone(&self.upstream.space));
                let session = Session::new(policy, space, SessionKind::of_flags(setup.flags));
                let (share_log, receipts) = (&self.upstream.share_log, self.receipt_slot.clone());
                let seated = Arc::clone(&self.seated);
                self.channels = Some(Channels::new(session, seated, share_log, receipts, self.opened_at));
                Ok(())
            }
            ServerEvent::ExtensionsNegotiated(extensions) => {
                self.seated.seat().note_extensions(&extensions);
                Ok(())
            }
            ServerEvent::Message(message) => {
                self.asked.messages += 1;
                self.asked.cost += cost(&message);
                if let Some(trace) = &self.trace {
                    trace.write(true, &message, now);
                }
                let channels = self.channels.as_mut().expect("messages come only after the setup");
                let mut out = Outgoing { protocol: &mut self.protocol, trace: self.trace.as_deref() };
                channels.react(message, now, &self.upstream, &mut out).await
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use protocol::{
        connection::Limits,
        noise::{ACT_2_LEN, AuthoritySecretKey, Initiator, ServerIdentity},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        task::JoinHandle,
    };

    use super::*;
    use crate::stratum::{
        addresses::{AddressLimits, Addresses},
        channels::tests::Outage,
    };

    /// Far more than anything here takes.
    const LONG: Duration = Duration::from_secs(60);

    /// A connection that is served, from the client's end.
    async fn served(outage: &Outage, limits: Limits) -> (TcpStream, JoinHandle<()>) {
        let config = Arc::new(ServerConfig {
            identity: ServerIdentity::new(&AuthoritySecretKey::generate(), 0, u32::MAX),
            supported_flags: 0,
            success_flags: 0,
            supported_extensions: Vec::new(),
            required_extensions: Vec::new(),
            limits,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let limits = AddressLimits {
            max_connections: 1,
            max_connections_per_address: 1,
            max_handshakes: 1,
            max_handshakes_per_address: 1,
            unlimited: Vec::new(),
            ban: LONG,
        };
        let peer = client.local_addr().unwrap();
        let place = Arc::new(Addresses::new(limits)).admit(peer.ip(), Instant::now()).unwrap();
        (client, tokio::spawn(serve(socket, peer, place, config, Arc::clone(&outage.upstream))))
    }

    async fn shake_hands(client: &mut TcpStream) {
        let (_, act_1) = Initiator::start();
        client.write_all(&act_1).await.unwrap();
        client.read_exact(&mut [0; ACT_2_LEN]).await.unwrap();
    }

    async fn assert_left(client: &mut TcpStream) {
        assert_eq!(timeout(LONG, client.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn peer_that_says_nothing_is_left_when_its_time_is_over() {
        let outage = Outage::new().await;
        let limits = Limits { handshake_timeout: Duration::from_millis(50), ..Limits::default() };
        let (mut client, task) = served(&outage, limits).await;
        assert_left(&mut client).await;
        drop(client);
        timeout(LONG, task).await.unwrap().unwrap();
    }

    /// The second deadline comes before the first one would have, and the alarm is set for that already.
    #[tokio::test]
    async fn peer_that_falls_silent_after_the_handshake_is_left_when_the_time_for_setup_is_over() {
        let outage = Outage::new().await;
        let setup_timeout = Duration::from_millis(200);
        let limits = Limits { handshake_timeout: LONG, setup_timeout, ..Limits::default() };
        let (mut client, task) = served(&outage, limits).await;
        shake_hands(&mut client).await;
        let begun = Instant::now();
        assert_left(&mut client).await;
        assert!(begun.elapsed() >= setup_timeout / 2, "{:?}", begun.elapsed());
        drop(client);
        timeout(LONG, task).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn connection_that_waits_for_its_peer_hears_what_an_operator_wants() {
        let outage = Outage::new().await;
        let limits = Limits { handshake_timeout: 10 * LONG, setup_timeout: 10 * LONG, ..Limits::default() };
        for order in [Order::Kick, Order::Drain] {
            for shakes_hands in [false, true] {
                let (mut client, task) = served(&outage, limits).await;
                if shakes_hands {
                    shake_hands(&mut client).await;
                }
                // The outage has a seat of its own.
                while outage.upstream.roster.count() < 2 {
                    tokio::task::yield_now().await;
                }
                let newest = outage.upstream.roster.find(outage.upstream.roster.newest()).unwrap();
                assert!(newest.orders().give(order.clone()));
                assert_left(&mut client).await;
                drop(client);
                timeout(LONG, task).await.unwrap().unwrap();
                assert!(!newest.orders().give(Order::Kick), "it has ended");
            }
        }
    }

    #[tokio::test]
    async fn client_that_leaves_at_the_pools_certificate_has_probably_pinned_another_key() {
        let outage = Outage::new().await;
        let (mut client, task) = served(&outage, Limits::default()).await;
        shake_hands(&mut client).await;
        drop(client);
        timeout(LONG, task).await.unwrap().unwrap();
        let failures = outage.upstream.roster.failures();
        assert_eq!(failures[0].reason.code, "another_key", "{failures:?}");
    }

    #[tokio::test]
    async fn connection_that_waits_for_its_peer_hears_of_the_shutdown() {
        let outage = Outage::new().await;
        let limits = Limits { handshake_timeout: 10 * LONG, setup_timeout: 10 * LONG, ..Limits::default() };
        let (mut client, task) = served(&outage, limits).await;
        shake_hands(&mut client).await;
        outage.draining.send_replace(true);
        assert_left(&mut client).await;
        drop(client);
        timeout(LONG, task).await.unwrap().unwrap();
    }
}
