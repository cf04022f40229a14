//! Who is connected: connections, their channels, the workers behind them, and who came to nothing.

use std::{fmt, str::FromStr, sync::Arc, time::Instant};

use axum::extract::State;
use payouts::{account::User, store::Store};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::user;
use crate::{
    api::{
        Live,
        extract::{Path, Query},
        paging::{Listed, Page},
        problem::Problem,
    },
    mining::{channel::ChannelKind, session::RetargetCause},
    operations::{
        account::find_account,
        connection::{ConnectionReport, ErrorReport},
    },
    stratum::{
        metrics::RefusedShare,
        roster::{
            ConnectionId, Failure, RefusedOpen, Seat,
            channel::{LiveChannel, Together},
        },
    },
};

/// Connections that are looked at together.
const STEP: usize = 256;

/// A request for a channel that was refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct RefusedOpenReport {
    /// For whom it was, as the client wrote it.
    user: String,
    /// What it was told.
    code: &'static str,
    /// When, in milliseconds since 1970 UTC.
    at_ms: i64,
}

/// A connection with its channels.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ConnectionDetail {
    /// The connection.
    connection: ConnectionReport,
    /// Its channels; if it has ended, some of those that it had.
    channels: Vec<ChannelReport>,
    /// The last requests for a channel that were refused, oldest first.
    refused_opens: Vec<RefusedOpenReport>,
}

/// A channel.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ChannelReport {
    /// The connection.
    connection: u64,
    /// The channel's number within it.
    channel: u32,
    /// `standard` or `extended`.
    kind: &'static str,
    /// The address that it mines for.
    address: String,
    /// The account of the address, known from the first accepted share on.
    account: Option<i64>,
    /// The worker that it was opened for; may be empty.
    worker: String,
    /// Hashes a second, as the client claims.
    nominal_hash_rate: f64,
    /// Hashes a second that accepted shares come to, over some minutes.
    hash_rate: f64,
    /// Accepted shares a minute, over some minutes.
    shares_per_minute: f64,
    /// The difficulty that its jobs are given with.
    difficulty: f64,
    /// Since when, in milliseconds since 1970 UTC.
    difficulty_since_ms: i64,
    /// Why it is another than before: `faster` or `slower` shares than wished, `claimed` by the client, `bounds` of network
    /// or client, `operator`; nothing if the channel began with it.
    difficulty_cause: Option<&'static str>,
    /// Shares that were accepted.
    accepted: u64,
    /// Hashes that they stand for.
    hashes: f64,
    /// Shares that were refused, by what the client was told.
    refused: Vec<RefusedReport>,
    /// The difficulty of the best share.
    best_difficulty: f64,
    /// When it was opened, in milliseconds since 1970 UTC.
    opened_at_ms: i64,
    /// When the first share was accepted.
    first_share_at_ms: Option<i64>,
    /// When the last share was accepted.
    last_share_at_ms: Option<i64>,
    /// The last refusal of a share.
    last_refused: Option<ErrorReport>,
}

/// Shares that were refused for one reason.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct RefusedReport {
    /// What the client was told.
    code: &'static str,
    /// How many.
    count: u64,
}

/// A worker that mines now, with all its channels.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct LiveWorkerReport {
    /// The address that it mines for.
    address: String,
    /// Its name; may be empty.
    worker: String,
    /// How many channels it has.
    channels: usize,
    /// Hashes a second, as its clients claim.
    nominal_hash_rate: f64,
    /// Hashes a second that accepted shares come to, over some minutes.
    hash_rate: f64,
    /// Accepted shares a minute, over some minutes.
    shares_per_minute: f64,
    /// Shares of the open channels that were accepted.
    accepted: u64,
    /// Shares of the open channels that were refused.
    refused: u64,
    /// When the last share was accepted, in milliseconds since 1970 UTC.
    last_share_at_ms: Option<i64>,
}

/// Connections of one address that came to nothing for the same reason.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct FailureReport {
    /// The address.
    peer: String,
    /// A name for the reason that stays.
    code: &'static str,
    /// The reason in words.
    reason: String,
    /// How often.
    count: u64,
    /// When it happened first, in milliseconds since 1970 UTC.
    first_at_ms: i64,
    /// When it happened last.
    last_at_ms: i64,
    /// The last of these connections; nothing if it was closed before it became one.
    connection: Option<u64>,
}

/// Connections that have ended, the newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct EndedReport {
    /// Those that were set up.
    connections: Vec<ConnectionReport>,
    /// How many of these there were since the pool was started.
    count: u64,
    /// Those that came to nothing.
    failures: Vec<FailureReport>,
}

/// Where a channel stands among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64, u32);

impl Place {
    fn of(channel: &LiveChannel) -> Place {
        Place(channel.connection().0, channel.id())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Place, ()> {
        let (connection, channel) = text.split_once('.').ok_or(())?;
        Ok(Place(connection.parse().map_err(drop)?, channel.parse().map_err(drop)?))
    }
}

/// Which channels.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChannelQuery {
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before.
    after: Option<String>,
    /// Only those that mine for this address or name.
    account: Option<String>,
    /// Only those of this worker.
    worker: Option<String>,
}

/// The connections that are open, in the order of their arrival.
#[utoipa::path(
    get,
    path = "/api/v1/connections",
    operation_id = "list_connections",
    tag = "connections",
    params(Page),
    responses((status = OK, description = "The connections", body = Listed<ConnectionReport>))
)]
pub(super) async fn list(
    State(live): State<Arc<Live>>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Listed<ConnectionReport>>, Problem> {
    let (limit, after, now) = (page.limit()?, page.after()?, Instant::now());
    let seats = live.roster.after(after, limit as usize + 1);
    let listed = Listed::new(seats, limit, |seat| seat.id().to_string());
    Ok(axum::Json(listed.map(|seat| ConnectionReport::new(&seat, now))))
}

/// A connection with its channels, also one that has ended lately.
#[utoipa::path(
    get,
    path = "/api/v1/connections/{connection}",
    operation_id = "show_connection",
    tag = "connections",
    params(("connection" = u64, Path, description = "Its number")),
    responses((status = OK, description = "The connection", body = ConnectionDetail))
)]
pub(super) async fn show(
    State(live): State<Arc<Live>>,
    Path(connection): Path<u64>,
) -> Result<axum::Json<ConnectionDetail>, Problem> {
    let (found, now) = (live.roster.find(ConnectionId(connection)), Instant::now());
    let seat = found.ok_or_else(|| Problem::not_found(format!("there is no connection {connection}")))?;
    Ok(axum::Json(ConnectionDetail {
        connection: ConnectionReport::new(&seat, now),
        channels: seat.channels().iter().map(|channel| ChannelReport::new(channel, now)).collect(),
        refused_opens: seat.refused_opens().into_iter().map(RefusedOpenReport::from).collect(),
    }))
}

/// The connections that ended lately, and who came to nothing, with the reasons in words.
#[utoipa::path(
    get,
    path = "/api/v1/connections/ended",
    operation_id = "list_ended_connections",
    tag = "connections",
    responses((status = OK, description = "The newest of both", body = EndedReport))
)]
pub(super) async fn ended(State(live): State<Arc<Live>>) -> axum::Json<EndedReport> {
    let ((seats, count), now) = (live.roster.ended(), Instant::now());
    let connections = seats.iter().map(|seat| ConnectionReport::new(seat, now)).collect();
    let failures = live.roster.failures().into_iter().map(FailureReport::from).collect();
    axum::Json(EndedReport { connections, count, failures })
}

/// The channels that are open, in the order of their connections.
#[utoipa::path(
    get,
    path = "/api/v1/channels",
    operation_id = "list_channels",
    tag = "connections",
    params(ChannelQuery),
    responses((status = OK, description = "The channels", body = Listed<ChannelReport>))
)]
pub(super) async fn channels(
    State(live): State<Arc<Live>>,
    State(store): State<Arc<dyn Store>>,
    Query(ChannelQuery { limit, after, account, worker }): Query<ChannelQuery>,
) -> Result<axum::Json<Listed<ChannelReport>>, Problem> {
    let (page, now) = (Page::new(limit, after), Instant::now());
    let (limit, after) = (page.limit()?, page.after::<Place>()?);
    let is_wanted = |channel: &Arc<LiveChannel>| {
        worker.as_ref().is_none_or(|worker| **worker == **channel.worker())
            && after.is_none_or(|after| Place::of(channel) > after)
    };
    let wanted = limit as usize + 1;
    let found: Vec<_> = match account {
        Some(account) => {
            let address = address_of(&*store, &user(&account)?).await?;
            live.roster.channels_of(&address).into_iter().filter(is_wanted).take(wanted).collect()
        }
        None => {
            // Also those of the connection that the last page ended with.
            let before = after.and_then(|after| after.0.checked_sub(1)).map(ConnectionId);
            let channels = seats(&live, before).flat_map(|seat| seat.channels());
            channels.filter(is_wanted).take(wanted).collect()
        }
    };
    let listed = Listed::new(found, limit, |channel| Place::of(channel).to_string());
    Ok(axum::Json(listed.map(|channel| ChannelReport::new(&channel, now))))
}

/// The workers that mine now, in the order of addresses and names. A proxy that names workers with their shares is one.
#[utoipa::path(
    get,
    path = "/api/v1/workers",
    operation_id = "list_workers",
    tag = "connections",
    params(Page),
    responses((status = OK, description = "The workers", body = Listed<LiveWorkerReport>))
)]
pub(super) async fn workers(
    State(live): State<Arc<Live>>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Listed<LiveWorkerReport>>, Problem> {
    let (limit, after, now) = (page.limit()?, page.after::<String>()?, Instant::now());
    let mut channels: Vec<(String, Arc<LiveChannel>)> = seats(&live, None)
        .flat_map(|seat| seat.channels())
        .map(|channel| (format!("{} {}", channel.address(), channel.worker()), channel))
        .filter(|(name, _)| after.as_ref().is_none_or(|after| name > after))
        .collect();
    channels.sort_by(|(one, _), (other, _)| one.cmp(other));
    let same = channels.chunk_by(|(one, _), (other, _)| one == other);
    let workers = same.take(limit as usize + 1).map(|channels| LiveWorkerReport::new(channels, now)).collect();
    Ok(axum::Json(Listed::new(workers, limit, |worker: &LiveWorkerReport| {
        format!("{} {}", worker.address, worker.worker)
    })))
}

/// Goes through the connections behind one, some at a time.
fn seats(live: &Live, after: Option<ConnectionId>) -> impl Iterator<Item = Arc<Seat>> {
    let first = live.roster.after(after, STEP);
    let steps = std::iter::successors(Some(first), |step| {
        let last = step.last().filter(|_| step.len() == STEP)?;
        Some(live.roster.after(Some(last.id()), STEP))
    });
    steps.flatten()
}

/// An address may mine before it is an account.
async fn address_of(store: &dyn Store, user: &User) -> Result<String, Problem> {
    match user {
        User::Address(address) => Ok(address.assume_checked_ref().to_string()),
        User::Name(_) => Ok(find_account(store, user).await?.address),
    }
}

impl From<RefusedOpen> for RefusedOpenReport {
    fn from(RefusedOpen { user, code, at_ms }: RefusedOpen) -> RefusedOpenReport {
        RefusedOpenReport { user, code, at_ms }
    }
}

impl From<Failure> for FailureReport {
    fn from(failure: Failure) -> FailureReport {
        FailureReport {
            peer: failure.peer.to_string(),
            code: failure.reason.code,
            reason: failure.reason.words,
            count: failure.count,
            first_at_ms: failure.first_at_ms,
            last_at_ms: failure.last_at_ms,
            connection: failure.connection.map(|connection| connection.0),
        }
    }
}

impl ChannelReport {
    fn new(channel: &LiveChannel, now: Instant) -> ChannelReport {
        let (target, counts, recent) = (channel.target(), channel.counts(), channel.recent(now));
        let refused = RefusedShare::ALL.iter().zip(counts.refused).filter(|(_, count)| *count > 0);
        ChannelReport {
            connection: channel.connection().0,
            channel: channel.id(),
            kind: match channel.kind() {
                ChannelKind::Standard => "standard",
                ChannelKind::Extended => "extended",
            },
            address: channel.address().to_owned(),
            account: channel.account().map(|account| account.get()),
            worker: channel.worker().to_string(),
            nominal_hash_rate: target.nominal_hash_rate.into(),
            hash_rate: recent.hash_rate,
            shares_per_minute: recent.shares_per_minute,
            difficulty: target.difficulty.number(),
            difficulty_since_ms: target.since_ms,
            difficulty_cause: target.cause.map(RetargetCause::name),
            accepted: counts.accepted,
            hashes: counts.hashes,
            refused: refused.map(|(why, count)| RefusedReport { code: why.name(), count }).collect(),
            best_difficulty: channel.best_difficulty(),
            opened_at_ms: channel.opened_at_ms(),
            first_share_at_ms: channel.first_share_at_ms(),
            last_share_at_ms: channel.last_share_at_ms(),
            last_refused: channel.last_refused().map(|(why, at_ms)| ErrorReport { code: why.name().to_owned(), at_ms }),
        }
    }
}

impl LiveWorkerReport {
    /// Sums up the channels of one worker, of which there is one at least.
    fn new(channels: &[(String, Arc<LiveChannel>)], now: Instant) -> LiveWorkerReport {
        let channels = channels.iter().map(|(_, channel)| channel);
        let first = channels.clone().next().expect("a worker has a channel");
        let Together { counts, recent, nominal_hash_rate } = Together::of(channels.clone(), now);
        LiveWorkerReport {
            address: first.address().to_owned(),
            worker: first.worker().to_string(),
            channels: channels.len(),
            nominal_hash_rate,
            hash_rate: recent.hash_rate,
            shares_per_minute: recent.shares_per_minute,
            accepted: counts.accepted,
            refused: counts.refused(),
            last_share_at_ms: channels.filter_map(|channel| channel.last_share_at_ms()).max(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payouts::access::Grant;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::tests::Fixture,
        stratum::{
            addresses::Refused,
            end::End,
            roster::{
                Opening, Roster, Seated,
                tests::{ONE, OTHER, open, peer, setup, work},
            },
        },
    };

    fn set_up(roster: &Arc<Roster>, host: u8, now: Instant) -> Seated {
        let seated = roster.begin(peer(host), now);
        seated.answer(now);
        seated.set_up(&setup(), 2, now);
        seated
    }

    async fn read(fixture: &Fixture, token: &str, path: &str) -> Value {
        let (status, body) = fixture.get(path, Some(token)).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn values<'a>(list: &'a Value, name: &str) -> Vec<&'a Value> {
        list["items"].as_array().unwrap().iter().map(|item| &item[name]).collect()
    }

    #[tokio::test]
    async fn connections_and_channels_come_in_pages_and_by_whom_they_mine_for() {
        let fixture = Fixture::new().await;
        let (token, now) = (fixture.token("viewer", Grant::View).await.1, Instant::now());
        let roster = &fixture.live.roster;
        let seated: Vec<_> = (1..=3).map(|host| set_up(roster, host, now)).collect();
        let mut first = open(&seated[0], 2, ONE, "rack", now);
        work(&mut first, 3, now);
        for (channel, worker) in [(2, "rack"), (3, "shed"), (4, "")] {
            open(&seated[1], channel, OTHER, worker, now);
        }
        open(&seated[2], 2, ONE, "rack", now);

        let page = read(&fixture, &token, "/api/v1/connections?limit=2").await;
        assert_eq!(values(&page, "connection"), [1, 2]);
        assert_eq!((&page["items"][1]["channels"], &page["items"][0]["accepted"]), (&json!(3), &json!(3)));
        let next = page["next"].as_str().unwrap();
        let page = read(&fixture, &token, &format!("/api/v1/connections?limit=2&after={next}")).await;
        assert_eq!((values(&page, "connection"), &page["next"]), (vec![&json!(3)], &Value::Null));

        let (mut after, mut seen) = (String::new(), Vec::new());
        loop {
            let page = read(&fixture, &token, &format!("/api/v1/channels?limit=2{after}")).await;
            let items = page["items"].as_array().unwrap().clone();
            seen.extend(items.iter().map(|it| (it["connection"].as_u64().unwrap(), it["channel"].as_u64().unwrap())));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(seen, [(1, 2), (2, 2), (2, 3), (2, 4), (3, 2)]);
        let of_one = read(&fixture, &token, &format!("/api/v1/channels?account={ONE}")).await;
        assert_eq!(values(&of_one, "connection"), [1, 3]);
        let of_rack = read(&fixture, &token, "/api/v1/channels?worker=rack").await;
        assert_eq!(values(&of_rack, "connection"), [1, 2, 3]);
        let both = read(&fixture, &token, &format!("/api/v1/channels?worker=rack&account={OTHER}")).await;
        assert_eq!(values(&both, "connection"), [2]);

        let workers = read(&fixture, &token, "/api/v1/workers?limit=3").await;
        assert_eq!(values(&workers, "worker"), ["", "rack", "shed"]);
        let after = workers["next"].as_str().unwrap().replace(' ', "%20");
        let workers = read(&fixture, &token, &format!("/api/v1/workers?after={after}")).await;
        assert_eq!((values(&workers, "channels"), values(&workers, "accepted")), (vec![&json!(2)], vec![&json!(3)]));
    }

    #[tokio::test]
    async fn name_of_an_account_finds_its_channels() {
        let fixture = Fixture::new().await;
        let token = fixture.token("viewer", Grant::View).await.1;
        let account = fixture.store.find_account(ONE).await.unwrap().unwrap().id;
        fixture.store.name_account(account, Some(&"farm".parse().unwrap())).await.unwrap();
        let seated = set_up(&fixture.live.roster, 1, Instant::now());
        open(&seated, 2, ONE, "rack", Instant::now());
        let found = read(&fixture, &token, "/api/v1/channels?account=Farm").await;
        assert_eq!(values(&found, "worker"), ["rack"]);
        assert_eq!(fixture.get("/api/v1/channels?account=shed", Some(&token)).await.0, 404);
    }

    #[tokio::test]
    async fn connection_that_has_ended_is_told_with_the_reason() {
        let fixture = Fixture::new().await;
        let (token, now) = (fixture.token("viewer", Grant::View).await.1, Instant::now());
        let roster = &fixture.live.roster;
        let seated = set_up(roster, 1, now);
        seated.refuse_open("nobody", "unknown-user", now);
        open(&seated, 2, ONE, "rack", now);
        seated.end(&Opening::default(), &End::TooFast, now);
        roster.refuse(peer(2), Refused::Banned);

        let detail = read(&fixture, &token, "/api/v1/connections/1").await;
        assert_eq!(detail["connection"]["ended"]["code"], "too_fast");
        assert_eq!(detail["connection"]["set_up"]["firmware"], "2.9");
        assert_eq!(detail["refused_opens"][0]["user"], "nobody");
        assert_eq!(detail["channels"][0]["worker"], "rack");
        let ended = read(&fixture, &token, "/api/v1/connections/ended").await;
        assert_eq!((&ended["connections"][0]["connection"], &ended["count"]), (&json!(1), &json!(1)));
        assert_eq!(
            (&ended["failures"][0]["code"], &ended["failures"][0]["peer"]),
            (&json!("banned"), &json!("192.0.2.2"))
        );
        assert_eq!(read(&fixture, &token, "/api/v1/connections").await["items"], json!([]));
        assert_eq!(fixture.get("/api/v1/connections/2", Some(&token)).await.0, 404);
    }
}
