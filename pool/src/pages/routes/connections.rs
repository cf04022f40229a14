//! Who is connected: the connections with what they do, who came to nothing and why, and who is banned.

use std::{net::IpAddr, sync::Arc, time::Instant};

use askama::Template;
use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    response::Response,
};
use payouts::{account::User, store::Store};

use super::now_ms;
use crate::{
    mining::{channel::ChannelKind, difficulty::Difficulty, session::RetargetCause},
    operations::{Outcome, Refusal, RefusalCode, Request, account::find_account, port::BanReport},
    pages::{
        Pages,
        fields::Fields,
        frame::{Frame, shown, told},
        guard::Viewer,
        show::{Ago, Ends, HashRate, Number, Span, When},
    },
    stratum::{
        metrics::RefusedShare,
        roster::{
            ConnectionId, Failure, RefusedOpen, Seat, Stage,
            channel::{Counts, LiveChannel, Together},
        },
        trace::{LENGTH, Trace, TracedMessage},
    },
};

/// The way to these pages.
const WAY: &str = "/connections";
/// Connections of a page.
const PAGE: usize = 50;
/// Connections that are looked at together when some are searched for.
const STEP: usize = 256;
/// Channels of a connection that are shown: a proxy can have thousands.
const MAX_CHANNELS: usize = 200;

#[derive(Template)]
#[template(path = "connections.html")]
struct Connections {
    frame: Frame,
    account: String,
    vendor: String,
    open: usize,
    lines: Vec<Line>,
    is_first: bool,
    next: Option<String>,
}

/// A connection in a line.
struct Line {
    id: ConnectionId,
    peer: String,
    device: String,
    stage: &'static str,
    channels: usize,
    /// Whom it mines for, if that is one; else how many they are.
    account: Option<Ends>,
    accounts: usize,
    declared: HashRate,
    measured: HashRate,
    difficulty: String,
    shares_a_minute: String,
    last_frame: Option<Ago>,
    last_error: Option<&'static str>,
}

/// The connections that are open, oldest first.
pub(in crate::pages) async fn list(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::read(query.unwrap_or_default().as_bytes());
    let contents = connections(&pages, &viewer, &fields).await;
    shown(&pages, &viewer, contents)
}

async fn connections(pages: &Pages, viewer: &Viewer, fields: &Fields) -> Result<Connections, Refusal> {
    let after = fields.optional::<ConnectionId>("after")?;
    let (account, vendor) = (fields.text("account").to_owned(), fields.text("vendor").to_owned());
    let address = match fields.optional::<User>("account")? {
        Some(user) => Some(address_of(&*pages.store, &user).await?),
        None => None,
    };
    let mut found = matching(pages, after, address.as_deref(), &vendor.to_lowercase());
    let last = (found.len() > PAGE).then(|| found[PAGE - 1].id());
    found.truncate(PAGE);
    let next = last.map(|last| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, text) in [("account", &account), ("vendor", &vendor)].iter().filter(|(_, text)| !text.is_empty()) {
            query.append_pair(name, text);
        }
        format!("{WAY}?{}", query.append_pair("after", &last.to_string()).finish())
    });
    let (now, now_ms) = (Instant::now(), now_ms());
    let mut frame = Frame::new(pages, viewer, WAY, "Connections");
    frame.is_live = after.is_none();
    Ok(Connections {
        frame,
        account,
        vendor,
        open: pages.live.roster.count(),
        lines: found.iter().map(|seat| Line::new(seat, now, now_ms)).collect(),
        is_first: after.is_none(),
        next,
    })
}

/// Finds the connections of a page and one more, if there is one.
fn matching(pages: &Pages, mut after: Option<ConnectionId>, address: Option<&str>, vendor: &str) -> Vec<Arc<Seat>> {
    let is_of_vendor = |seat: &Seat| {
        vendor.is_empty()
            || seat.set_up().is_some_and(|set_up| device(&set_up.vendor, &set_up.firmware).contains(vendor))
    };
    let is_for = |seat: &Seat| address.is_none_or(|address| seat.channels().iter().any(|it| it.address() == address));
    let mut found = Vec::new();
    loop {
        let step = pages.live.roster.after(after, STEP);
        let Some(last) = step.last() else { return found };
        after = Some(last.id());
        for seat in step {
            if is_of_vendor(&seat) && is_for(&seat) {
                found.push(seat);
                if found.len() > PAGE {
                    return found;
                }
            }
        }
    }
}

/// What a search for a vendor looks at, in small letters.
fn device(vendor: &str, firmware: &str) -> String {
    format!("{vendor} {firmware}").to_lowercase()
}

/// An address may mine before it is an account.
async fn address_of(store: &dyn Store, user: &User) -> Result<String, Refusal> {
    match user {
        User::Address(address) => Ok(address.assume_checked_ref().to_string()),
        User::Name(_) => Ok(find_account(store, user).await?.address),
    }
}

impl Line {
    fn new(seat: &Seat, now: Instant, now_ms: i64) -> Line {
        let channels = seat.channels();
        let mut addresses: Vec<&str> = channels.iter().map(|channel| channel.address()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let Together { recent, nominal_hash_rate, .. } = Together::of(&channels, now);
        Line {
            id: seat.id(),
            peer: seat.peer().to_string(),
            device: seat.set_up().map_or_else(String::new, |it| format!("{} {}", it.vendor, it.firmware)),
            stage: stage(seat),
            channels: seat.ending().map_or(channels.len(), |ending| ending.channels),
            account: match addresses.as_slice() {
                [one] => Some(Ends((*one).to_owned())),
                _ => None,
            },
            accounts: addresses.len(),
            declared: HashRate(nominal_hash_rate),
            measured: HashRate(recent.hash_rate),
            difficulty: difficulties(&channels),
            shares_a_minute: format!("{:.1}", recent.shares_per_minute),
            last_frame: seat.last_frame_at_ms().map(|at_ms| Ago { at_ms, now_ms }),
            last_error: seat.last_error().map(|error| error.code),
        }
    }
}

fn stage(seat: &Seat) -> &'static str {
    match (seat.ending().is_some(), seat.stage()) {
        (true, _) => "ended",
        (false, Stage::Connected) => "connected",
        (false, Stage::Answered) => "shook hands",
        (false, Stage::SetUp) => "set up",
    }
}

/// The difficulty of the channels; the least and the greatest, if they differ.
fn difficulties(channels: &[Arc<LiveChannel>]) -> String {
    let all = channels.iter().map(|channel| channel.target().difficulty);
    match (all.clone().min(), all.max()) {
        (Some(least), Some(greatest)) if least != greatest => format!("{} \u{2013} {}", power(least), power(greatest)),
        (Some(least), _) => power(least),
        _ => String::new(),
    }
}

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

struct EndView {
    at: Ago,
    reason: String,
    code: &'static str,
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
pub(in crate::pages) async fn show(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<String>,
) -> Response {
    let contents = connection(&pages, &viewer, &id);
    shown(&pages, &viewer, contents)
}

fn connection(pages: &Pages, viewer: &Viewer, id: &str) -> Result<Connection, Refusal> {
    let seat = pages.live.roster.find(connection_id(id)?).ok_or_else(|| unknown(id))?;
    let (now, now_ms) = (Instant::now(), now_ms());
    let channels = seat.channels();
    let may_kick = seat.ending().is_none() && viewer.may_post("/connections/{connection}/kick");
    // What was said holds more than a viewer of the API sees.
    let trace = pages.live.roster.trace(seat.id()).filter(|_| viewer.may_post("/connections/{connection}/trace"));
    let refused_open = |RefusedOpen { user, code, at_ms }| RefusedOpenLine { user, code, at: Ago { at_ms, now_ms } };
    Ok(Connection {
        frame: Frame::new(pages, viewer, WAY, format!("Connection {}", seat.id())),
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
        ended: seat.ending().map(|ending| EndView {
            at: Ago { at_ms: ending.at_ms, now_ms },
            reason: ending.reason.words.clone(),
            code: ending.reason.code,
        }),
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

/// A share difficulty, which is a power of two: whole where it can be.
fn power(difficulty: Difficulty) -> String {
    if difficulty.log2() >= 0 { difficulty.to_string() } else { compact(difficulty.number()) }
}

/// A difficulty with three figures and a unit.
fn compact(difficulty: f64) -> String {
    const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let (mut number, mut unit) = (difficulty, 0);
    while number >= 999.5 && unit + 1 < UNITS.len() {
        (number, unit) = (number / 1_000.0, unit + 1);
    }
    match number {
        0.0 => "0".to_owned(),
        ..0.01 => format!("{number:.1e}"),
        ..9.995 => format!("{number:.2}{}", UNITS[unit]),
        ..99.95 => format!("{number:.1}{}", UNITS[unit]),
        _ => format!("{number:.0}{}", UNITS[unit]),
    }
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

#[derive(Template)]
#[template(path = "connections_ended.html")]
struct Ended {
    frame: Frame,
    failures: Vec<FailureLine>,
    ended: Vec<EndedLine>,
    count: Number,
    may_ban: bool,
}

struct FailureLine {
    peer: IpAddr,
    reason: String,
    code: &'static str,
    count: Number,
    last: Ago,
}

struct EndedLine {
    line: Line,
    lasted: Span,
    end: EndView,
}

/// Those that ended lately, and those that came to nothing.
pub(in crate::pages) async fn ended(State(pages): State<Pages>, Extension(viewer): Extension<Viewer>) -> Response {
    let (now, now_ms) = (Instant::now(), now_ms());
    let (seats, count) = pages.live.roster.ended();
    let failure = |Failure { peer, reason, count, last_at_ms, .. }| FailureLine {
        peer,
        reason: reason.words,
        code: reason.code,
        count: Number(i128::from(count)),
        last: Ago { at_ms: last_at_ms, now_ms },
    };
    let ended = seats.iter().filter_map(|seat| {
        let ending = seat.ending()?;
        let end = EndView {
            at: Ago { at_ms: ending.at_ms, now_ms },
            reason: ending.reason.words.clone(),
            code: ending.reason.code,
        };
        let lasted = Span((ending.at_ms - seat.arrived_at_ms()).max(0) / 1_000);
        Some(EndedLine { line: Line::new(seat, now, now_ms), lasted, end })
    });
    let contents = Ended {
        frame: Frame::new(&pages, &viewer, WAY, "Ended connections"),
        failures: pages.live.roster.failures().into_iter().map(failure).collect(),
        ended: ended.collect(),
        count: Number(count.into()),
        may_ban: viewer.may_post("/bans"),
    };
    shown(&pages, &viewer, Ok(contents))
}

#[derive(Template)]
#[template(path = "bans.html")]
struct Bans {
    frame: Frame,
    bans: Vec<BanLine>,
    may_ban: bool,
    may_lift: bool,
}

struct BanLine {
    origin: String,
    /// The address by which the ban is lifted.
    address: String,
    left: Span,
}

/// The addresses that are banned.
pub(in crate::pages) async fn bans(State(pages): State<Pages>, Extension(viewer): Extension<Viewer>) -> Response {
    let contents = listed_bans(&pages, &viewer).await;
    shown(&pages, &viewer, contents)
}

async fn listed_bans(pages: &Pages, viewer: &Viewer) -> Result<Bans, Refusal> {
    let bans = match pages.desk.ask(&viewer.actor(), Request::Bans).await? {
        Outcome::Bans(bans) => bans,
        _ => Vec::new(),
    };
    let line = |BanReport { origin, left_s }| BanLine {
        address: origin.split('/').next().unwrap_or_default().to_owned(),
        origin,
        left: Span(left_s as i64),
    };
    Ok(Bans {
        frame: Frame::new(pages, viewer, WAY, "Bans"),
        bans: bans.into_iter().map(line).collect(),
        may_ban: viewer.may_post("/bans"),
        may_lift: viewer.may_post("/bans/lift"),
    })
}

/// Ends a connection.
pub(in crate::pages) async fn kick(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<String>,
) -> Response {
    let request = connection_id(&id).map(|id| Request::Kick { connection: id.0 });
    act(&pages, &viewer, &id, request, "The connection is ended.").await
}

/// Has a client connect again.
pub(in crate::pages) async fn drain(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<String>,
) -> Response {
    let request = connection_id(&id).map(|id| Request::Drain { connection: id.0 });
    let said = "The client is asked to connect again, and the connection ends when its shares are acknowledged.";
    act(&pages, &viewer, &id, request, said).await
}

/// Gives the channels another difficulty.
pub(in crate::pages) async fn set_difficulty(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
    Path(id): Path<String>,
) -> Response {
    let request = || {
        let (connection, channel) = (connection_id(&id)?.0, fields.optional("channel")?);
        Ok(Request::SetDifficulty { connection, channel, difficulty: fields.required("difficulty")? })
    };
    let request = request();
    let said = "The difficulty is set, within what network and client allow. From there it follows the shares again.";
    act(&pages, &viewer, &id, request, said).await
}

/// Begins to write down what is said.
pub(in crate::pages) async fn trace(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<String>,
) -> Response {
    let request = connection_id(&id).map(|id| Request::Trace { connection: id.0 });
    let said = format!("What is said is written down for {} seconds.", LENGTH.as_secs());
    act(&pages, &viewer, &id, request, &said).await
}

async fn act(pages: &Pages, viewer: &Viewer, id: &str, request: Result<Request, Refusal>, said: &str) -> Response {
    let outcome = match request {
        Ok(request) => pages.desk.ask(&viewer.actor(), request).await,
        Err(refusal) => Err(refusal),
    };
    // What cannot be a number is led back to all of them.
    let to = connection_id(id).map_or_else(|_| WAY.to_owned(), |id| format!("{WAY}/{id}"));
    told(pages, viewer, &to, outcome, |_| said.to_owned())
}

/// Bans an address.
pub(in crate::pages) async fn ban(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let request = async {
        let minutes = fields.optional::<u32>("minutes")?;
        let request =
            Request::Ban { address: fields.required("address")?, seconds: minutes.map(|it| u64::from(it) * 60) };
        pages.desk.ask(&viewer.actor(), request).await
    };
    let outcome = request.await;
    told(&pages, &viewer, "/bans", outcome, |_| format!("{} is banned.", fields.text("address")))
}

/// Lets a banned address connect again.
pub(in crate::pages) async fn lift(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let request =
        async { pages.desk.ask(&viewer.actor(), Request::LiftBan { address: fields.required("address")? }).await };
    let outcome = request.await;
    told(&pages, &viewer, "/bans", outcome, |_| format!("{} may connect again.", fields.text("address")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::Method;
    use payouts::access::Grant;

    use super::*;
    use crate::{
        pages::tests::{Fixture, form_key},
        stratum::{
            addresses::Refused,
            end::End,
            roster::{
                Opening,
                tests::{ONE, OTHER, open, peer, setup, work},
            },
        },
    };

    async fn logged_in(fixture: &Fixture, grant: Grant) -> String {
        let (_, token) = fixture.token("alice", grant).await;
        fixture.log_in(&token, "/").await.1
    }

    #[tokio::test]
    async fn connections_are_shown_and_found_by_account_and_vendor() {
        let fixture = Fixture::new(false).await;
        let session = logged_in(&fixture, Grant::View).await;
        let (roster, now) = (Arc::clone(&fixture.pages.live.roster), Instant::now());
        assert!(fixture.get("/connections", &session).await.html.contains("No connection is like this."));
        let all: Vec<_> = (1..=3).map(|host| roster.begin(peer(host), now)).collect();
        all[0].set_up(&setup(), 2, now);
        all[1].set_up(&setup(), 2, now);
        let mut meter = open(&all[0], 2, ONE, "rack", now);
        work(&mut meter, 5, now);
        open(&all[1], 2, OTHER, "shed", now);
        let shown = async |path: &str| {
            let html = fixture.get(path, &session).await.html;
            (1..=3).filter(|id| html.contains(&format!("href=\"/connections/{id}\""))).collect::<Vec<_>>()
        };
        assert_eq!(shown("/connections").await, [1, 2, 3]);
        assert_eq!(shown(&format!("/connections?account={ONE}")).await, [1]);
        assert_eq!(shown("/connections?vendor=bitaxe").await, [1, 2]);
        assert_eq!(shown("/connections?vendor=Bitaxe&after=1").await, [2]);
        assert_eq!(shown("/connections?vendor=antminer").await, Vec::<i32>::new());
        assert_eq!(fixture.get("/connections?account=nobody", &session).await.status, 404);
        let detail = fixture.get("/connections/1", &session).await.html;
        assert!(detail.contains("rack") && detail.contains("from its opening") && detail.contains("2.9"), "{detail}");
        assert!(!detail.contains("/connections/1/kick"), "a viewer may not");
        assert_eq!(fixture.get("/connections/7", &session).await.status, 404);
    }

    #[tokio::test]
    async fn connections_are_paged() {
        let fixture = Fixture::new(false).await;
        let session = logged_in(&fixture, Grant::View).await;
        let roster = Arc::clone(&fixture.pages.live.roster);
        let _all: Vec<_> = (0..=PAGE).map(|_| roster.begin(peer(1), Instant::now())).collect();
        let first = fixture.get("/connections", &session).await.html;
        assert!(first.contains(&format!("/connections?after={PAGE}\"")), "{first}");
        let second = fixture.get(&format!("/connections?after={PAGE}"), &session).await.html;
        assert!(
            second.contains(&format!("href=\"/connections/{}\"", PAGE + 1)) && !second.contains("Next connections")
        );
    }

    #[tokio::test]
    async fn operator_acts_on_a_connection_by_its_page() {
        let fixture = Fixture::new(false).await;
        let session = logged_in(&fixture, Grant::Operate).await;
        let (roster, now) = (Arc::clone(&fixture.pages.live.roster), Instant::now());
        let seated = roster.begin(peer(1), now);
        seated.set_up(&setup(), 2, now);
        open(&seated, 2, ONE, "rack", now);
        let page = fixture.get("/connections/1", &session).await.html;
        let key = form_key(&page);
        for (action, field, said) in [
            ("difficulty", ("difficulty", "1000"), "The difficulty is set"),
            ("trace", ("", ""), "written down for 60 seconds"),
            ("drain", ("", ""), "asked to connect again"),
            ("kick", ("", ""), "The connection is ended"),
        ] {
            assert!(page.contains(&format!("action=\"/connections/1/{action}\"")), "{page}");
            let path = format!("/connections/1/{action}");
            let got = fixture.ask(Method::POST, &path, &session, &[("form_key", &key), field]).await;
            assert_eq!((got.status.as_u16(), got.location.as_str()), (303, "/connections/1"));
            let html = fixture.get("/connections/1", &session).await.html;
            assert!(html.contains(said), "{action}: {html}");
        }
        assert!(fixture.get("/connections/1", &session).await.html.contains("Nothing was said yet"));
        let fields = [("form_key", key.as_str()), ("difficulty", "-1")];
        fixture.ask(Method::POST, "/connections/1/difficulty", &session, &fields).await;
        assert!(fixture.get("/bans", &session).await.html.contains("should be a number above 0"));
    }

    #[tokio::test]
    async fn failures_and_bans_are_told_and_a_ban_is_lifted() {
        let fixture = Fixture::new(false).await;
        let session = logged_in(&fixture, Grant::Operate).await;
        let (roster, now) = (Arc::clone(&fixture.pages.live.roster), Instant::now());
        let seated = roster.begin(peer(1), now);
        seated.set_up(&setup(), 2, now);
        seated.end(&Opening::default(), &End::TooFast, now);
        roster.refuse(peer(2), Refused::Full);
        let html = fixture.get("/connections/ended", &session).await.html;
        assert!(html.contains("over its rate") && html.contains("all connections are taken"), "{html}");
        let key = form_key(&html);
        let fields = [("form_key", key.as_str()), ("address", "192.0.2.2"), ("minutes", "5")];
        fixture.ask(Method::POST, "/bans", &session, &fields).await;
        let html = fixture.get("/bans", &session).await.html;
        assert!(html.contains("192.0.2.2 is banned.") && html.contains("5\u{a0}min more"), "{html}");
        fixture.ask(Method::POST, "/bans/lift", &session, &fields[..2]).await;
        assert!(fixture.get("/bans", &session).await.html.contains("No address is banned."));
    }

    #[test]
    fn difficulties_are_short() {
        for (number, text) in [(0.0, "0"), (0.5, "0.50"), (4096.0, "4.10k"), (1.2e13, "12.0T"), (3e-5, "3.0e-5")] {
            assert_eq!(compact(number), text);
        }
    }
}
