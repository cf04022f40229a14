//! "Test my device": waits for a connection of the miner's and shows how far it comes, as it happens.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use askama::Template;
use axum::{
    extract::ConnectInfo,
    http::StatusCode,
    response::{
        IntoResponse, Redirect,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    super::now_ms,
    Nav,
    connect::Connect,
    progress::{Progress, Waiting},
};
use crate::{
    events::Place,
    operations::{Refusal, RefusalCode},
    pages::{
        asked::{Shown, page},
        fields::Fields,
        frame::Frame,
        miners::{Miner, Visit},
    },
    stratum::roster::{ConnectionId, Roster},
};

/// For so long a test waits.
const LONGEST_MS: i64 = 600_000;
/// What happens together is told together.
const PAUSE: Duration = Duration::from_millis(200);
/// A stream looks again after so long in any case, and says that it is there.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

#[derive(Template)]
#[template(path = "miner_test.html")]
struct TestPage {
    frame: Frame,
    nav: Nav,
    events: String,
    again: String,
    is_over: bool,
    progress: Progress,
    connect: Connect,
}

#[derive(Template)]
#[template(path = "miner_steps.html")]
struct Steps {
    progress: Progress,
}

/// Begins a test, or shows how one stands.
pub(super) async fn show(visit: Visit, ConnectInfo(browser): ConnectInfo<SocketAddr>) -> Shown {
    let Visit { pages, miner, fields } = &visit;
    let roster = &pages.live.roster;
    let base = format!("{}/test", miner.path());
    let Some(begun) = Begun::read(fields, roster) else {
        // What has begun stands in the address, so that it goes on when the page is loaded again.
        return Ok(Redirect::to(&format!("{base}?{}", Begun::now(roster).query())).into_response());
    };
    let waiting = begun.waiting(miner, browser);
    let query = begun.query();
    let user = miner.account.as_ref().and_then(|account| account.name.as_ref()).map(ToString::to_string);
    let user = user.unwrap_or_else(|| miner.address.clone());
    page(&TestPage {
        frame: visit.frame("Test my device"),
        nav: Nav::new(miner, "test"),
        events: format!("{base}/events?{query}"),
        is_over: begun.left().is_none(),
        again: base,
        progress: waiting.look(roster),
        connect: Connect::new(&pages.about.miner_url, Some(&user), ""),
    })
}

/// When a test began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begun {
    since: ConnectionId,
    at_ms: i64,
}

impl Begun {
    fn now(roster: &Roster) -> Begun {
        Begun { since: roster.newest(), at_ms: now_ms() }
    }

    /// Reads it as it stands in the address; none if there is nothing, or it is of another run of the pool.
    fn read(fields: &Fields, roster: &Roster) -> Option<Begun> {
        let since = fields.optional("since").ok()??;
        let at_ms = fields.optional("at").ok()??;
        (since <= roster.newest() && at_ms <= now_ms()).then_some(Begun { since, at_ms })
    }

    fn query(self) -> String {
        format!("since={}&at={}", self.since, self.at_ms)
    }

    /// Returns how long the test goes on; nothing if it is over.
    fn left(self) -> Option<Duration> {
        let left_ms = self.at_ms.saturating_add(LONGEST_MS) - now_ms();
        u64::try_from(left_ms).ok().filter(|left| *left > 0).map(Duration::from_millis)
    }

    fn waiting(self, miner: &Miner, browser: SocketAddr) -> Waiting {
        let begun = (self.since, self.at_ms);
        Waiting::new(&miner.user, &miner.address, miner.account.as_ref(), browser.ip(), begun)
    }
}

/// How a test stands, whenever that changes, until it is over.
pub(super) async fn events(
    Visit { pages, miner, fields }: Visit,
    ConnectInfo(browser): ConnectInfo<SocketAddr>,
) -> Shown {
    let roster = Arc::clone(&pages.live.roster);
    let Some((begun, left)) = Begun::read(&fields, &roster).and_then(|begun| Some((begun, begun.left()?))) else {
        // Browsers do not ask again after this (HTML, server-sent events).
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let Some(place) = pages.tests.take() else {
        let why = "too many devices are being tested: load the page again";
        return Err(Refusal::new(RefusalCode::Unavailable, why).into());
    };
    let follower = Follower {
        waiting: begun.waiting(&miner, browser),
        changes: roster.changes(),
        is_open: pages.live.events.watch_open(),
        roster,
        ends: Instant::now() + left,
        told: None,
        _place: place,
    };
    let events = stream::unfold(Some(follower), |follower| async { Some(follower?.next().await) });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(LOOK_AGAIN)).into_response())
}

/// Somebody who follows a test.
struct Follower {
    waiting: Waiting,
    roster: Arc<Roster>,
    changes: watch::Receiver<u64>,
    is_open: watch::Receiver<bool>,
    ends: Instant,
    told: Option<Progress>,
    _place: Place,
}

impl Follower {
    /// Waits until there is something else to tell; without a follower afterwards if the test is over.
    async fn next(mut self) -> (Result<Event, Infallible>, Option<Follower>) {
        loop {
            self.changes.mark_unchanged();
            let progress = self.waiting.look(&self.roster);
            let is_over = Instant::now() >= self.ends || !*self.is_open.borrow();
            if is_over || self.told.as_ref() != Some(&progress) {
                self.told = Some(progress.clone());
                let html = Steps { progress }.render().unwrap_or_default();
                let event = Event::default().event(if is_over { "over" } else { "progress" }).data(html);
                return (Ok(event), (!is_over).then_some(self));
            }
            let wait = LOOK_AGAIN.min(self.ends.saturating_duration_since(Instant::now()));
            // Whatever the wait ends with: it is looked again.
            let Follower { changes, is_open, .. } = &mut self;
            let _ = timeout(wait, async {
                tokio::select! { _ = changes.changed() => {}, _ = is_open.changed() => {} }
            })
            .await;
            sleep(PAUSE).await;
        }
    }
}
