//! A load generator for Stratum V2 pools, Adit and others: many connections and many shares, at so little cost that the
//! pool is what is measured.
//!
//! It measures from outside: it speaks the protocol, and reads what the system tells of the server's process. A few
//! threads poll all sockets; a share costs a hash, two short encryptions and its part of a system call. Shares are right,
//! and never blocks. All functions here block: from async code, call them in a blocking thread.
//!
//! | part | owns |
//! |---|---|
//! | `work`, `channel` | jobs as the server gives them, and the shares that come of them |
//! | `unanswered` | which submissions wait for an answer |
//! | `connection`, `crowd` | one socket; all sockets of a thread |
//! | `pace`, `crew` | when shares are due; the threads, and the stages that they go through |
//! | [`pipelined`], [`paced`], [`connect()`], [`tip()`], [`memory()`], [`restart()`], [`soak()`], [`meanwhile()`] | the modes |
//! | [`sockets_paced`], [`sockets_tip`] | the same messages between bare sockets: the least that any server costs |
//! | [`Report`], `usage` | what was found; what processes used |
//! | [`target`] | a node and a pool to be measured |

mod channel;
mod connect;
mod connection;
mod crew;
mod crowd;
mod meanwhile;
mod memory;
mod pace;
mod report;
mod restart;
mod shares;
mod soak;
mod sockets;
mod tally;
pub mod target;
mod tip;
mod unanswered;
mod usage;
mod work;

use std::{
    net::{IpAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;

use self::connection::Plan;
pub use self::{
    connect::{Connect, connect},
    meanwhile::{Meanwhile, meanwhile},
    memory::{MemoryMode, memory},
    report::{Memory, Opened, Percentiles, Report, Restarted, ServerCost, Shares, Tips},
    restart::{Restart, restart},
    shares::{Paced, Pipelined, paced, pipelined},
    soak::{Soak, SoakCounts, soak},
    sockets::{sockets_paced, sockets_tip},
    tip::{Tip, tip},
    usage::{allow_open_files, cpu_time, own_cpu_time, resident_bytes},
};
use crate::miner::PoolAddress;

/// Files that a load opens beside its sockets.
const OTHER_FILES: u64 = 200;
/// How long opening may take: so much, and so much for each connection and channel.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
const OPEN_TIMEOUT_EACH: Duration = Duration::from_millis(20);

/// What kind of channels a load opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// Standard channels, on connections that take standard jobs only, as devices do.
    Standard,
    /// Extended channels, whose extranonce is rolled with each share, as behind proxies.
    Extended,
}

impl ChannelKind {
    /// Returns the kind's name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Extended => "extended",
        }
    }
}

/// What all modes want to know: whom to load, and with what.
#[derive(Clone, Debug)]
pub struct Load {
    /// The pool. Its certificate is checked if the address has a key, which costs this side some CPU time.
    pub pool: PoolAddress,
    /// Whom to credit. `{}` in it becomes the number of the channel within the load.
    pub user: String,
    /// The server's process, for its CPU time and memory.
    pub server_pid: Option<u32>,
    /// What channels are opened.
    pub kind: ChannelKind,
    /// How many connections.
    pub connections: usize,
    /// How many channels each of them has.
    pub channels: usize,
    /// How many threads share them. One does for most.
    pub threads: usize,
    /// Connections that are being opened at one time.
    pub in_flight: usize,
    /// Local addresses to connect from, in turn; any if there are none.
    pub from: Vec<IpAddr>,
}

impl Load {
    /// One connection with one standard channel.
    pub fn new(pool: PoolAddress, user: impl Into<String>) -> Self {
        Self {
            pool,
            user: user.into(),
            server_pid: None,
            kind: ChannelKind::Standard,
            connections: 1,
            channels: 1,
            threads: 1,
            in_flight: 64,
            from: Vec::new(),
        }
    }

    /// Prepares this process for the load, and returns what all connections have in common.
    fn plan(&self) -> anyhow::Result<Arc<Plan>> {
        allow_open_files(self.connections as u64 + OTHER_FILES)?;
        let PoolAddress { host, port, authority } = &self.pool;
        let pool = (host.as_str(), *port).to_socket_addrs()?.next().context("the pool's host has no address")?;
        Ok(Arc::new(Plan {
            pool,
            host: host.clone(),
            authority: *authority,
            user: self.user.clone(),
            kind: self.kind,
            channels: self.channels,
            from: self.from.clone(),
            notes_tips: false,
        }))
    }

    fn open_timeout(&self) -> Duration {
        let each = u32::try_from(self.connections * self.channels.max(1)).unwrap_or(u32::MAX);
        OPEN_TIMEOUT + OPEN_TIMEOUT_EACH.saturating_mul(each)
    }

    /// Starts a report of a mode.
    fn report(&self, mode: &str) -> Report {
        let (mode, kind) = (mode.to_owned(), self.kind.name().to_owned());
        Report { mode, kind, connections: self.connections, channels: self.channels, ..Report::default() }
    }
}
