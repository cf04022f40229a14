//! One connection with its channels, and what an operator can do about it.

use std::{net::IpAddr, time::Instant};

use askama::Template;
use axum::{extract::Path, response::Response};

use super::{
    super::now_ms,
    WAY,
    line::{EndView, Line, compact, power},
};
use crate::{
    mining::{channel::ChannelKind, session::RetargetCause},
    operations::{Refusal, RefusalCode, Request},
    pages::{
        asked::{Asked, Shown, page},
        frame::Frame,
        show::{Ago, Ends, HashRate, Number, When},
    },
    stratum::{
        metrics::RefusedShare,
        roster::{
            ConnectionId, RefusedOpen,
            channel::{Counts, LiveChannel},
        },
        trace::{LENGTH, Trace, TracedMessage},
    },
};

/// Channels of a connection that are shown: a proxy can have thousands.
const MAX_CHANNELS: usize = 200;

#[derive(Template)]
#[template(path = "connection.html")]
struct Connection {
    frame: Frame,
    id: ConnectionId,
    line: Line,
    arrived: When,
    answered: Option<When>,
    setup: Option<SetupView>,
    ended: Option<EndView>,
    channels: Vec<ChannelLine>,
    more_channels: usize,
    refused_opens: Vec<RefusedOpenLine>,
    trace: Option<TraceView>,
    may_kick: bool,
    may_ban: bool,
    host: IpAddr,
}

struct SetupView {
    vendor: String,
    hardware: String,
    firmware: String,
    device: String,
    flags: String,
    version: u16,
    extensions: String,
}

struct ChannelLine {
    id: u32,
    kind: &'static str,
    account: Ends,
    worker: String,
    declared: HashRate,
    measured: HashRate,
    difficulty: String,
    since: Ago,
    cause: &'static str,
    shares_a_minute: String,
    accepted: Number,
    refused: String,
    best: String,
    last_share: Option<Ago>,
}

struct RefusedOpenLine {
    user: String,
    code: &'static str,
    at: Ago,
}

struct TraceView {
    begun: Ago,
    is_over: bool,
    messages: Vec<MessageLine>,
    left_out: u64,
}

struct MessageLine {
    at: String,
    who: &'static str,
    text: String,
}

/// A connection with its channels, and what an operator can do about it.
pub(super) async fn show(asked: Asked, Path(id): Path<String>) -> Shown {
    let Asked { pages, viewer, .. } = &asked;
    let seat = pages.live.roster.find(connection_id(&id)?).ok_or_else(|| unknown(&id))?;
    let (now, now_ms) = (Instant::now(), now_ms());
    let channels = seat.channels();
    let may_kick = seat.ending().is_none() && viewer.may_post("/connections/{connection}/kick");
    // What was said holds more than a viewer of the API sees.
    let trace = pages.live.roster.trace(seat.id()).filter(|_| viewer.may_post("/connections/{connection}/trace"));
    let refused_open = |RefusedOpen { user, code, at_ms }| RefusedOpenLine { user, code, at: Ago { at_ms, now_ms } };
    page(&Connection {
        frame: asked.frame(WAY, format!("Connection {}", seat.id())),
        id: seat.id(),
        line: Line::new(&seat, now, now_ms),
        arrived: When(seat.arrived_at_ms()),
        answered: seat.answered_at_ms().map(When),
        setup: seat.set_up().map(|setup| SetupView {
            vendor: setup.vendor.clone(),
            hardware: setup.hardware.clone(),
            firmware: setup.firmware.clone(),
            device: setup.device.clone(),
            flags: format!("{:#05b}", setup.flags),
            version: setup.version,
            extensions: listed(seat.extensions().iter().map(|extension| format!("{extension:#06x}"))),
        }),
        ended: EndView::of(&seat, now_ms),
        channels: channels.iter().take(MAX_CHANNELS).map(|it| ChannelLine::new(it, now, now_ms)).collect(),
        more_channels: channels.len().saturating_sub(MAX_CHANNELS),
        refused_opens: seat.refused_opens().into_iter().map(refused_open).collect(),
        trace: trace.map(|trace| TraceView::new(&trace, now, now_ms)),
        may_kick,
        may_ban: viewer.may_post("/bans"),
        host: seat.peer().ip().to_canonical(),
    })
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

fn connection_id(text: &str) -> Result<ConnectionId, Refusal> {
    text.parse().map_err(|_| unknown(text))
}

fn unknown(id: &str) -> Refusal {
    Refusal::new(RefusalCode::NotFound, format!("there is no connection {id}, or it ended long ago"))
}

impl ChannelLine {
    fn new(channel: &LiveChannel, now: Instant, now_ms: i64) -> ChannelLine {
        let (target, counts, recent) = (channel.target(), channel.counts(), channel.recent(now));
        ChannelLine {
            id: channel.id(),
            kind: match channel.kind() {
                ChannelKind::Standard => "standard",
                ChannelKind::Extended => "extended",
            },
            account: Ends(channel.address().to_owned()),
            worker: channel.worker().to_string(),
            declared: HashRate(target.nominal_hash_rate.into()),
            measured: HashRate(recent.hash_rate),
            difficulty: power(target.difficulty),
            since: Ago { at_ms: target.since_ms, now_ms },
            cause: target.cause.map_or("from its opening", cause),
            shares_a_minute: format!("{:.1}", recent.shares_per_minute),
            accepted: Number(counts.accepted.into()),
            refused: refused(&counts),
            best: compact(channel.best_difficulty()),
            last_share: channel.last_share_at_ms().map(|at_ms| Ago { at_ms, now_ms }),
        }
    }
}

/// Why a channel has another difficulty than before.
fn cause(cause: RetargetCause) -> &'static str {
    match cause {
        RetargetCause::Faster => "shares came faster than wished",
        RetargetCause::Slower => "shares came slower than wished",
        RetargetCause::Claimed => "the client claims another hash rate",
        RetargetCause::Bounds => "network or client allow another",
        RetargetCause::Operator => "set by an operator",
    }
}

/// Refused shares by their codes.
fn refused(counts: &Counts) -> String {
    let refused = RefusedShare::ALL.iter().zip(counts.refused).filter(|(_, count)| *count > 0);
    listed(refused.map(|(why, count)| format!("{count} {}", why.name())))
}

impl TraceView {
    fn new(trace: &Trace, now: Instant, now_ms: i64) -> TraceView {
        let written = trace.written();
        let line = |TracedMessage { at_ms, of_client, text }| {
            let after_ms = (at_ms - trace.begun_at_ms()).max(0);
            let who = if of_client { "client" } else { "pool" };
            MessageLine { at: format!("{}.{:03} s", after_ms / 1_000, after_ms % 1_000), who, text }
        };
        TraceView {
            begun: Ago { at_ms: trace.begun_at_ms(), now_ms },
            is_over: trace.is_over(now),
            messages: written.messages.into_iter().map(line).collect(),
            left_out: written.left_out,
        }
    }
}

/// Ends a connection.
pub(super) async fn kick(asked: Asked, Path(id): Path<String>) -> Response {
    let request = |connection| Ok(Request::Kick { connection });
    act(&asked, &id, request, "The connection is ended.").await
}

/// Has a client connect again.
pub(super) async fn drain(asked: Asked, Path(id): Path<String>) -> Response {
    let request = |connection| Ok(Request::Drain { connection });
    let done = "The client is asked to connect again, and the connection ends when its shares are acknowledged.";
    act(&asked, &id, request, done).await
}

/// Gives the channels another difficulty.
pub(super) async fn set_difficulty(asked: Asked, Path(id): Path<String>) -> Response {
    let request = |connection| {
        let (channel, difficulty) = (asked.fields.optional("channel")?, asked.fields.required("difficulty")?);
        Ok(Request::SetDifficulty { connection, channel, difficulty })
    };
    let done = "The difficulty is set, within what network and client allow. From there it follows the shares again.";
    act(&asked, &id, request, done).await
}

/// Begins to write down what is said.
pub(super) async fn trace(asked: Asked, Path(id): Path<String>) -> Response {
    let request = |connection| Ok(Request::Trace { connection });
    let done = format!("What is said is written down for {} seconds.", LENGTH.as_secs());
    act(&asked, &id, request, &done).await
}

/// Hands in a request about a connection, and goes back to it.
async fn act(asked: &Asked, id: &str, request: impl FnOnce(u64) -> Result<Request, Refusal>, done: &str) -> Response {
    let id = connection_id(id);
    // What cannot be a number is led back to all of them.
    let to = id.as_ref().map_or_else(|_| WAY.to_owned(), |id| format!("{WAY}/{id}"));
    let acted = async {
        asked.ask(request(id?.0)?).await?;
        Ok(done.to_owned())
    };
    asked.told(&to, acted).await
}
