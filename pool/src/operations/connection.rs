//! Requests about single connections of the miners' port, and about the addresses that they come from.
//!
//! A connection is its own task's: what is asked is handed on as an order, which the task follows at its next turn.

mod report;

use std::{
    fmt,
    net::IpAddr,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tracing::info;

pub use self::report::{ConnectionReport, EndReport, ErrorReport, SetUpReport};
use super::{Outcome, Port, Refusal, RefusalCode, Request, port::Banned};
use crate::{
    accounting::share_log::unix_time_ms,
    mining::difficulty::Difficulty,
    stratum::{
        orders::Order,
        roster::{ConnectionId, Stage},
        trace::Trace,
    },
};

/// The longest ban: a year.
const MAX_BAN_S: u64 = 366 * 86_400;
/// Most connections that are told at a time.
pub const MAX_LISTED: u32 = 10_000;

/// The connections that are open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// The first of them, in the order of their arrival.
    pub connections: Vec<ConnectionReport>,
    /// How many there are.
    pub open: usize,
}

/// A connection was told what it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Ordered {
    /// The connection.
    pub connection: u64,
}

/// A difficulty that an operator wants: a power of two, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct WantedDifficulty(Difficulty);

/// A number that is no difficulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("should be a number above 0")]
pub struct NoDifficulty;

impl TryFrom<f64> for WantedDifficulty {
    type Error = NoDifficulty;

    fn try_from(number: f64) -> Result<Self, NoDifficulty> {
        if !number.is_finite() || number <= 0.0 {
            return Err(NoDifficulty);
        }
        Ok(Self(Difficulty::from_log2(number.log2().ceil() as i32)))
    }
}

impl From<WantedDifficulty> for f64 {
    fn from(WantedDifficulty(difficulty): WantedDifficulty) -> f64 {
        difficulty.number()
    }
}

impl FromStr for WantedDifficulty {
    type Err = NoDifficulty;

    fn from_str(text: &str) -> Result<Self, NoDifficulty> {
        text.parse::<f64>().map_err(|_| NoDifficulty)?.try_into()
    }
}

impl fmt::Display for WantedDifficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Does a request that is about a connection or an address; none if it is about something else.
pub(super) fn perform(port: &Port, request: &Request) -> Option<Result<Outcome, Refusal>> {
    let outcome = match request {
        Request::Connections { after, limit } => return Some(Ok(list(port, *after, *limit))),
        Request::Kick { connection } => order(port, *connection, Order::Kick),
        Request::Drain { connection } => order(port, *connection, Order::Drain),
        Request::SetDifficulty { connection, channel, difficulty } => {
            set_difficulty(port, *connection, *channel, difficulty.0)
        }
        Request::Trace { connection } => trace(port, *connection),
        Request::Ban { address, seconds } => ban(port, *address, *seconds),
        _ => return None,
    };
    match &outcome {
        Ok(_) => info!(%request, "done for the operator"),
        Err(refusal) => info!(%request, %refusal, "refused to the operator"),
    }
    Some(outcome)
}

fn list(port: &Port, after: Option<u64>, limit: u32) -> Outcome {
    let (now, limit) = (Instant::now(), limit.min(MAX_LISTED) as usize);
    let seats = port.roster.after(after.map(ConnectionId), limit);
    let connections = seats.iter().map(|seat| ConnectionReport::new(seat, now)).collect();
    Outcome::Connections(Connections { connections, open: port.roster.count() })
}

fn order(port: &Port, connection: u64, order: Order) -> Result<Outcome, Refusal> {
    let seat = port.roster.find(ConnectionId(connection)).filter(|seat| seat.ending().is_none());
    let seat =
        seat.ok_or_else(|| Refusal::new(RefusalCode::NotFound, format!("no connection {connection} is open")))?;
    if seat.orders().give(order) {
        return Ok(Outcome::Ordered(Ordered { connection }));
    }
    let reason = format!("connection {connection} does not come to what it is told: it ends, or is stuck");
    Err(Refusal::new(RefusalCode::Conflict, reason))
}

fn set_difficulty(
    port: &Port,
    connection: u64,
    channel: Option<u32>,
    difficulty: Difficulty,
) -> Result<Outcome, Refusal> {
    let channels = port.roster.find(ConnectionId(connection)).map(|seat| seat.channels()).unwrap_or_default();
    if let Some(channel) = channel
        && !channels.iter().any(|open| open.id() == channel)
    {
        return Err(Refusal::new(RefusalCode::NotFound, format!("connection {connection} has no channel {channel}")));
    }
    order(port, connection, Order::SetDifficulty { channel, difficulty })
}

fn trace(port: &Port, connection: u64) -> Result<Outcome, Refusal> {
    let (id, now) = (ConnectionId(connection), Instant::now());
    if port.roster.find(id).is_some_and(|seat| seat.stage() != Stage::SetUp) {
        return Err(Refusal::new(RefusalCode::Conflict, format!("connection {connection} is not set up yet")));
    }
    if port.roster.trace(id).is_some_and(|trace| !trace.is_over(now)) {
        return Ok(Outcome::Ordered(Ordered { connection }));
    }
    let trace = Arc::new(Trace::new(now, unix_time_ms()));
    let ordered = order(port, connection, Order::Trace(Arc::clone(&trace)))?;
    port.roster.keep_trace(id, trace);
    Ok(ordered)
}

fn ban(port: &Port, address: IpAddr, seconds: Option<u64>) -> Result<Outcome, Refusal> {
    if seconds.is_some_and(|seconds| !(1..=MAX_BAN_S).contains(&seconds)) {
        return Err(Refusal::new(RefusalCode::Invalid, format!("seconds: should be from 1 to {MAX_BAN_S}")));
    }
    let length = seconds.map(Duration::from_secs);
    let Some((origin, length)) = port.addresses.ban(address, length, Instant::now()) else {
        let reason = format!("{address} is of limits.unlimited_addresses, which are never banned");
        return Err(Refusal::new(RefusalCode::Conflict, reason));
    };
    let ended = port.roster.kick_all(origin);
    Ok(Outcome::Banned(Banned { origin: origin.to_string(), seconds: length.as_secs(), ended }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stratum::roster::tests::{peer, setup};

    fn ask(port: &Port, request: Request) -> Result<Outcome, RefusalCode> {
        perform(port, &request).unwrap().map_err(|refusal| refusal.code)
    }

    #[test]
    fn orders_go_to_connections_that_are_open_alone() {
        let (port, now) = (Port::closed(), Instant::now());
        let seated = port.roster.begin(peer(1), now);
        let connection = seated.seat().id().0;
        assert_eq!(ask(&port, Request::Kick { connection }), Ok(Outcome::Ordered(Ordered { connection })));
        assert_eq!(ask(&port, Request::Kick { connection: 99 }), Err(RefusalCode::NotFound));
        let difficulty = "3".parse().unwrap();
        let other = Request::SetDifficulty { connection, channel: Some(9), difficulty };
        assert_eq!(ask(&port, other), Err(RefusalCode::NotFound));
        assert_eq!(ask(&port, Request::Trace { connection }), Err(RefusalCode::Conflict));
        drop(seated);
        assert_eq!(ask(&port, Request::Drain { connection }), Err(RefusalCode::NotFound));
    }

    #[test]
    fn connections_are_listed_in_the_order_of_their_arrival() {
        let (port, now) = (Port::closed(), Instant::now());
        let seated = [1, 2, 3].map(|number| port.roster.begin(peer(number), now));
        let numbers = |after, limit| {
            let Ok(Outcome::Connections(listed)) = ask(&port, Request::Connections { after, limit }) else {
                panic!("no connections")
            };
            let line = serde_json::to_string(&listed).unwrap();
            assert_eq!(serde_json::from_str::<Connections>(&line).unwrap(), listed);
            (listed.connections.iter().map(|it| it.connection).collect::<Vec<_>>(), listed.open)
        };
        let all: Vec<u64> = seated.iter().map(|seated| seated.seat().id().0).collect();
        assert_eq!(numbers(None, 10), (all.clone(), 3));
        assert_eq!(numbers(None, 2), (all[..2].to_vec(), 3));
        assert_eq!(numbers(Some(all[1]), 10), (all[2..].to_vec(), 3));
    }

    #[test]
    fn trace_that_goes_on_is_not_begun_again() {
        let (port, now) = (Port::closed(), Instant::now());
        let seated = port.roster.begin(peer(1), now);
        seated.set_up(&setup(), 2, now);
        let connection = seated.seat().id().0;
        ask(&port, Request::Trace { connection }).unwrap();
        let first = port.roster.trace(seated.seat().id()).unwrap();
        ask(&port, Request::Trace { connection }).unwrap();
        assert!(Arc::ptr_eq(&first, &port.roster.trace(seated.seat().id()).unwrap()));
    }

    #[test]
    fn ban_ends_what_comes_from_there_and_lets_nothing_in() {
        let (port, now) = (Port::closed(), Instant::now());
        let _seated = port.roster.begin(peer(1), now);
        let _other = port.roster.begin(peer(2), now);
        let banned = ask(&port, Request::Ban { address: peer(1).ip(), seconds: Some(60) });
        let expected = Banned { origin: "192.0.2.1".to_owned(), seconds: 60, ended: 1 };
        assert_eq!(banned, Ok(Outcome::Banned(expected)));
        assert!(port.addresses.admit(peer(1).ip(), now).is_err());
        assert!(port.addresses.admit(peer(2).ip(), now).is_ok());
        assert_eq!(ask(&port, Request::Ban { address: peer(3).ip(), seconds: Some(0) }), Err(RefusalCode::Invalid));
    }

    #[test]
    fn wanted_difficulty_is_rounded_up_to_a_power_of_two() {
        for (text, shown) in [("3", "4"), ("4096", "4096"), ("0.3", "0.5")] {
            assert_eq!(text.parse::<WantedDifficulty>().unwrap().to_string(), shown);
        }
        for text in ["0", "-1", "NaN", "inf", "x", ""] {
            assert_eq!(text.parse::<WantedDifficulty>(), Err(NoDifficulty), "{text}");
        }
    }
}
