//! Peers that do as they like, each from an address of its own of this machine: what limits and floods are tested with.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use protocol::{
    connection::{Limits, Link},
    framing::Header,
    messages::{Message, common::SetupConnection, common::SetupConnectionSuccess},
    noise::{ACT_2_LEN, Initiator},
};
use socket2::{Domain, Socket, Type};
use tests::{adit::Pool, miner::PoolAddress};

use crate::wire::{setup, unix_now};

/// How long a rude peer waits for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects from an address of this machine, 127.0.0.1 to 127.255.255.254, and says nothing yet.
pub(crate) fn connect_from(source: Ipv4Addr, pool: &PoolAddress) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    let host: Ipv4Addr = pool.host.parse().map_err(io::Error::other)?;
    socket.connect_timeout(&SocketAddr::from((host, pool.port)).into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A connection that was encrypted and can send any frame.
pub(crate) struct Rude {
    pub(crate) stream: TcpStream,
    link: Link,
}

impl Rude {
    /// Shakes hands, without a look at the certificate.
    pub(crate) fn shake_hands(source: Ipv4Addr, pool: &PoolAddress) -> io::Result<Self> {
        let mut stream = connect_from(source, pool)?;
        let (initiator, act_1) = Initiator::start();
        stream.write_all(&act_1)?;
        let mut act_2 = [0; ACT_2_LEN];
        stream.read_exact(&mut act_2)?;
        let transport = initiator.finish(&act_2, None, unix_now()).map_err(io::Error::other)?;
        let mut link = Link::new(Limits { max_unsent_bytes: 64 << 20, ..Limits::default() });
        link.encrypt_with(transport);
        Ok(Self { stream, link })
    }

    /// Shakes hands and sets the connection up.
    pub(crate) fn set_up(source: Ipv4Addr, pool: &PoolAddress, flags: u32) -> io::Result<Self> {
        let mut rude = Self::shake_hands(source, pool)?;
        rude.send(&SetupConnection { flags, ..setup(pool) })?;
        rude.read_until::<SetupConnectionSuccess>()?;
        Ok(rude)
    }

    /// Puts a message behind those that are to be sent.
    pub(crate) fn prepare(&mut self, message: &impl Message) {
        self.link.send(message);
    }

    /// Puts any frame behind what is to be sent.
    pub(crate) fn prepare_frame(&mut self, header: Header, payload: &[u8]) {
        self.link.send_frame(header, payload);
    }

    /// Sends a message, and whatever was to be sent before it.
    pub(crate) fn send(&mut self, message: &impl Message) -> io::Result<()> {
        self.prepare(message);
        self.flush()
    }

    /// Sends what is to be sent.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let sent = self.stream.write_all(self.link.output());
        self.link.consume_output(self.link.output().len());
        sent
    }

    /// Reads until a message of this kind has come.
    pub(crate) fn read_until<M: Message>(&mut self) -> io::Result<M> {
        let mut buffer = [0; 64 * 1024];
        loop {
            while let Some((header, payload)) = self.link.next_frame().map_err(io::Error::other)? {
                if header.is::<M>() {
                    return M::decode(payload).map_err(io::Error::other);
                }
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.link.receive(&buffer[..len]),
            }
        }
    }

    /// Reads away what has come, without a wait.
    pub(crate) fn read_away(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64 * 1024];
        self.stream.set_nonblocking(true)?;
        let ended = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.stream.set_nonblocking(false)?;
        ended
    }
}

/// Tells whether the pool has closed a connection, within a time.
pub(crate) fn is_closed_within(mut stream: &TcpStream, time: Duration) -> bool {
    stream.set_read_timeout(Some(time)).unwrap();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// Returns what the running pool has counted under a name, with labels as they are shown.
pub(crate) fn counted(pool: &Pool, series: &str) -> u64 {
    let text = pool.ask(&["metrics"]).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().unwrap()
}
