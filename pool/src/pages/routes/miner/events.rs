//! What a miner's page hears of while somebody looks at it: what his own devices do, and that something has become of the
//! pool's blocks or payouts, which may be his.

use std::{convert::Infallible, mem, sync::Arc};

use axum::{
    http::StatusCode,
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use serde::Serialize;

use crate::{
    events::{Followed, KEEP_ALIVE},
    pages::{asked::Shown, miners::Visit, routes::now_ms},
    stratum::roster::{Roster, channel::Counts},
};

/// A miner's devices, when something has changed with them: at most once a second.
#[derive(Debug, Serialize)]
struct OwnEvent {
    at_ms: i64,
    #[serde(flatten)]
    own: Own,
}

/// What a miner's open channels come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Own {
    channels: usize,
    /// Since they were opened.
    accepted: u64,
    /// Since they were opened.
    refused: u64,
}

/// Somebody who looks at a miner's page.
struct Onlooker {
    followed: Followed,
    roster: Arc<Roster>,
    address: String,
    told: Own,
}

/// A stream of `own`, `block` and `payout`. Of the latter two it is only told that there is one: the page says what it is
/// to the miner. A browser that finds no place asks for the page now and then instead.
pub(super) async fn follow(Visit { pages, miner, .. }: Visit) -> Shown {
    let Some(place) = pages.onlookers.take() else {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    };
    let (followed, roster) = (pages.live.events.follow_in(place), Arc::clone(&pages.live.roster));
    let told = Own::of(&roster, &miner.address);
    let onlooker = Onlooker { followed, roster, address: miner.address, told };
    let events = stream::unfold(onlooker, |mut onlooker| async {
        let event = onlooker.next().await?;
        Some((Ok::<_, Infallible>(event), onlooker))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

impl Onlooker {
    /// Waits until there is something to tell; nothing at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            match self.followed.next().await? {
                // Told each second, whether there were shares or not.
                Ok(event) if event.kind == "shares" => {
                    let own = Own::of(&self.roster, &self.address);
                    if own != mem::replace(&mut self.told, own) {
                        return Event::default().event("own").json_data(OwnEvent { at_ms: now_ms(), own }).ok();
                    }
                }
                Ok(event) if matches!(event.kind, "block" | "payout") => return Some(bare(event.kind)),
                Ok(_) => {}
                Err(_missed) => return Some(bare("lagged")),
            }
        }
    }
}

/// An event without a word more. Browsers pass over one without data.
fn bare(kind: &'static str) -> Event {
    Event::default().event(kind).data("{}")
}

impl Own {
    fn of(roster: &Roster, address: &str) -> Own {
        let channels = roster.channels_of(address);
        let mut counts = Counts::default();
        channels.iter().for_each(|channel| counts.add(&channel.counts()));
        Own { channels: channels.len(), accepted: counts.accepted, refused: counts.refused() }
    }
}
