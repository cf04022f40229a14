//! What sockets alone cost: a server that does nothing but take and send as many bytes as a pool does. No server of this
//! kind, with a read for what arrives and a write for what is said, can do with less.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use protocol::framing::{ENCRYPTED_HEADER_LEN, MAC_LEN};

use super::{
    Percentiles, Report, ServerCost, Tips,
    tally::histogram,
    usage::{allow_open_files, own_cpu_time, thread_cpu_time},
};

/// A share of a standard channel, its answer, and a new tip, as they are on the wire (SV2 5.3.11, 5.3.13, 5.3.17).
const SHARE_LEN: usize = frame_len(24);
const ANSWER_LEN: usize = frame_len(20);
const TIP_LEN: usize = frame_len(48);
/// How often the server answers what has come.
const ANSWER_INTERVAL: Duration = Duration::from_millis(100);
/// How long the client waits for the next thing to do.
const TURN: Duration = Duration::from_millis(1);
/// Sockets that are looked at in one turn.
const MAX_EVENTS: usize = 1_024;
/// Pause before each tip.
const TIP_INTERVAL: Duration = Duration::from_millis(500);
/// Files that are open beside the sockets.
const OTHER_FILES: u64 = 200;

/// Returns how long an encrypted frame is.
const fn frame_len(payload_len: usize) -> usize {
    ENCRYPTED_HEADER_LEN + payload_len + MAC_LEN
}

/// Sends messages of a share's size evenly over connections and time, each answered within a tenth of a second.
///
/// # Errors
///
/// If the system refuses a socket, or a message has no answer.
pub fn sockets_paced(connections: usize, per_second: f64, time: Duration) -> anyhow::Result<Report> {
    let (mut client, server) = Client::connect(connections, Role::Answers)?;
    let (begun, own_before) = (Instant::now(), own_cpu_time()?);
    let all_per_second = per_second * connections as f64;
    let mut sent = 0;
    while begun.elapsed() < time {
        let due = (begun.elapsed().as_secs_f64() * all_per_second) as usize;
        for number in sent..due {
            client.sockets[number % connections].write_all(&[0; SHARE_LEN])?;
        }
        sent = due;
        client.take(TURN, |_| ())?;
    }
    let (all_cpu, seconds) = (own_cpu_time()? - own_before, begun.elapsed().as_secs_f64());
    let server_cpu = server.stop()?;
    Ok(report("sockets, paced", connections, seconds, all_cpu, server_cpu, sent as u64, "message"))
}

/// Sends a message of a tip's size to all connections, again and again.
///
/// # Errors
///
/// If the system refuses a socket, or a message is lost.
pub fn sockets_tip(connections: usize, repeat: u32) -> anyhow::Result<Report> {
    let (mut client, server) = Client::connect(connections, Role::Tells { repeat })?;
    let (begun, own_before) = (Instant::now(), own_cpu_time()?);
    let mut across = histogram();
    for _ in 0..repeat {
        let (mut told, mut first) = (0, None);
        while told < connections {
            client.take(TIP_INTERVAL, |_| {
                first.get_or_insert_with(Instant::now);
                told += 1;
            })?;
            anyhow::ensure!(begun.elapsed() < TIP_INTERVAL * 20 * repeat, "a message was lost");
        }
        across.saturating_record(first.map_or(0, |first| first.elapsed().as_micros() as u64).max(1));
    }
    let (all_cpu, seconds) = (own_cpu_time()? - own_before, begun.elapsed().as_secs_f64());
    let server_cpu = server.stop()?;
    let units = connections as u64 * u64::from(repeat);
    let tips = Tips {
        count: repeat.into(),
        channels_least: connections,
        first_to_last_us: Percentiles::of(&across),
        ..Tips::default()
    };
    let report = report("sockets, tip", connections, seconds, all_cpu, server_cpu, units, "message");
    Ok(Report { tips: Some(tips), ..report })
}

fn report(
    mode: &str,
    connections: usize,
    seconds: f64,
    all_cpu: Duration,
    server_cpu: Duration,
    units: u64,
    unit: &str,
) -> Report {
    let cpu_seconds = server_cpu.as_secs_f64();
    let cpu_us_per_unit = cpu_seconds * 1e6 / units.max(1) as f64;
    Report {
        mode: mode.to_owned(),
        kind: "protocol".to_owned(),
        connections,
        seconds,
        client_cpu_seconds: all_cpu.saturating_sub(server_cpu).as_secs_f64(),
        server: Some(ServerCost { cpu_seconds, cpu_us_per_unit, unit: unit.to_owned() }),
        ..Report::default()
    }
}

/// What the server does.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// Answers each connection that has sent something.
    Answers,
    /// Sends something to all connections, so many times.
    Tells { repeat: u32 },
}

/// The client's ends of all connections.
struct Client {
    poll: Poll,
    events: Events,
    sockets: Vec<TcpStream>,
}

impl Client {
    /// Starts a server in a thread of its own, and connects to it.
    fn connect(connections: usize, role: Role) -> anyhow::Result<(Self, Server)> {
        allow_open_files(2 * connections as u64 + OTHER_FILES)?;
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let mut crowd = Crowd::new()?;
        let mut client = Self { poll: Poll::new()?, events: Events::with_capacity(MAX_EVENTS), sockets: Vec::new() };
        for number in 0..connections {
            let mut socket = TcpStream::from_std(std::net::TcpStream::connect(address)?);
            client.poll.registry().register(&mut socket, Token(number), Interest::READABLE)?;
            client.sockets.push(socket);
            crowd.accept(&listener)?;
        }
        client.sockets.iter().try_for_each(|socket| socket.set_nodelay(true))?;
        Ok((client, Server::start(crowd, role)))
    }

    /// Waits for messages, and reads what has come.
    fn take(&mut self, longest: Duration, mut on_message: impl FnMut(usize)) -> io::Result<()> {
        wait(&mut self.poll, &mut self.events, longest)?;
        for event in &self.events {
            let Token(number) = event.token();
            if read_away(&mut self.sockets[number])? {
                on_message(number);
            }
        }
        Ok(())
    }
}

/// The server's thread.
struct Server {
    wanted: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Duration>>,
}

impl Server {
    fn start(mut crowd: Crowd, role: Role) -> Self {
        let wanted = Arc::new(AtomicBool::new(true));
        let thread = thread::spawn({
            let wanted = Arc::clone(&wanted);
            move || {
                let before = thread_cpu_time()?;
                match role {
                    Role::Answers => crowd.answer(&wanted)?,
                    Role::Tells { repeat } => (0..repeat).try_for_each(|_| crowd.tell())?,
                }
                Ok(thread_cpu_time()?.saturating_sub(before))
            }
        });
        Self { wanted, thread }
    }

    /// Ends it, and returns the CPU time that it has used.
    fn stop(self) -> anyhow::Result<Duration> {
        self.wanted.store(false, Ordering::Relaxed);
        let ended = self.thread.join().map_err(|_| anyhow::anyhow!("the server's thread has panicked"))?;
        Ok(ended?)
    }
}

/// The server's ends of all connections.
struct Crowd {
    poll: Poll,
    events: Events,
    sockets: Vec<TcpStream>,
    /// Connections that have sent something since the last answers.
    unanswered: Vec<usize>,
}

impl Crowd {
    fn new() -> io::Result<Self> {
        let events = Events::with_capacity(MAX_EVENTS);
        Ok(Self { poll: Poll::new()?, events, sockets: Vec::new(), unanswered: Vec::new() })
    }

    /// Takes in a connection that is there, or nearly so.
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        let (mut socket, _) = loop {
            match listener.accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                accepted => break accepted?,
            }
        };
        socket.set_nodelay(true)?;
        self.poll.registry().register(&mut socket, Token(self.sockets.len()), Interest::READABLE)?;
        self.sockets.push(socket);
        Ok(())
    }

    fn answer(&mut self, wanted: &AtomicBool) -> io::Result<()> {
        let mut due = Instant::now() + ANSWER_INTERVAL;
        while wanted.load(Ordering::Relaxed) {
            wait(&mut self.poll, &mut self.events, due.saturating_duration_since(Instant::now()))?;
            for event in &self.events {
                let Token(number) = event.token();
                if read_away(&mut self.sockets[number])? {
                    self.unanswered.push(number);
                }
            }
            if Instant::now() >= due {
                due += ANSWER_INTERVAL;
                self.unanswered.sort_unstable();
                self.unanswered.dedup();
                for number in self.unanswered.drain(..) {
                    self.sockets[number].write_all(&[0; ANSWER_LEN])?;
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self) -> io::Result<()> {
        thread::sleep(TIP_INTERVAL);
        self.sockets.iter_mut().try_for_each(|socket| socket.write_all(&[0; TIP_LEN]))
    }
}

fn wait(poll: &mut Poll, events: &mut Events, longest: Duration) -> io::Result<()> {
    match poll.poll(events, Some(longest)) {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        waited => waited,
    }
}

/// Reads what is there, and tells whether there was something.
fn read_away(socket: &mut TcpStream) -> io::Result<bool> {
    match socket.read(&mut [0; 4_096]) {
        Ok(size) => Ok(size > 0),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn all_messages_are_counted_and_cost_something() {
        let report = sockets_paced(20, 100.0, Duration::from_secs(1)).unwrap();
        let server = report.server.unwrap();
        assert!(server.cpu_us_per_unit > 0.0 && server.cpu_seconds < report.seconds, "{server:?}");
        let report = sockets_tip(50, 3).unwrap();
        let tips = report.tips.unwrap();
        assert_eq!((tips.count, tips.channels_least, tips.first_to_last_us.count), (3, 50, 3));
        assert!(report.server.unwrap().cpu_us_per_unit > 0.0);
    }
}
