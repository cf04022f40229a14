//! What happens in the pool, for whoever follows: shares each second, blocks, payouts, connections.
//!
//! Owns the stream of events as it goes to API and pages, and its bounds. Where events come from is `source`'s. Each is
//! written once, whoever follows; whoever is slow loses the oldest and is told how many.

mod places;
mod source;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::sse;
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    time::{Instant, sleep_until},
};

pub use self::{
    places::{Place, Places},
    source::Source,
};

/// Events that wait for a reader. Of whoever has more of them before him, the oldest are dropped.
const QUEUE: usize = 128;
/// Streams at a time.
const MAX_STREAMS: usize = 64;
/// How long a stream goes on. Browsers begin anew by themselves; whoever may follow no longer is found out then.
const LONGEST: Duration = Duration::from_secs(600);
/// After what silence a comment is sent, so that nothing in between takes the stream for dead.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Of which kind: `shares`, `block`, `payout` or `connection`.
    pub kind: &'static str,
    /// What, in JSON.
    pub data: Arc<str>,
}

impl Event {
    fn new(kind: &'static str, data: &impl Serialize) -> Event {
        let data = serde_json::to_string(data).expect("an event is plain data").into();
        Event { kind, data }
    }
}

/// The events of the running pool.
#[derive(Debug)]
pub struct Events {
    queue: broadcast::Sender<Event>,
    places: Places,
    is_open: watch::Sender<bool>,
}

impl Default for Events {
    /// Nothing happens yet: who follows is told at once that this is the end.
    fn default() -> Self {
        let (queue, places) = (broadcast::Sender::new(QUEUE), Places::new(MAX_STREAMS));
        Self { queue, places, is_open: watch::Sender::new(false) }
    }
}

impl Events {
    /// Follows what happens from now on, until the pool shuts down; none if as many follow as may.
    pub fn follow(&self) -> Option<Followed> {
        Some(self.follow_in(self.places.take()?))
    }

    /// Follows what happens in a place of which somebody else keeps count.
    pub fn follow_in(&self, place: Place) -> Followed {
        self.follow_for(LONGEST, place)
    }

    /// Returns what is true while the pool tells of what happens: from its start until it shuts down.
    pub fn watch_open(&self) -> watch::Receiver<bool> {
        self.is_open.subscribe()
    }

    fn follow_for(&self, longest: Duration, place: Place) -> Followed {
        let (queue, is_open) = (self.queue.subscribe(), self.is_open.subscribe());
        Followed { queue, is_open, until: Instant::now() + longest, _place: place }
    }

    fn is_followed(&self) -> bool {
        self.queue.receiver_count() > 0
    }

    fn tell(&self, event: Event) {
        // Nobody may listen.
        let _ = self.queue.send(event);
    }
}

/// A stream of events.
#[derive(Debug)]
pub struct Followed {
    queue: broadcast::Receiver<Event>,
    is_open: watch::Receiver<bool>,
    until: Instant,
    _place: Place,
}

impl Followed {
    /// Waits for the next event; how many were missed if the reader was too slow. None at the end.
    pub async fn next(&mut self) -> Option<Result<Event, u64>> {
        let Self { queue, is_open, until, .. } = self;
        tokio::select! {
            biased;
            _ = is_open.wait_for(|is_open| !is_open) => None,
            () = sleep_until(*until) => None,
            event = queue.recv() => match event {
                Ok(event) => Some(Ok(event)),
                Err(RecvError::Lagged(missed)) => Some(Err(missed)),
                Err(RecvError::Closed) => None,
            },
        }
    }

    /// Makes the answer of it that goes to browsers and programs.
    pub fn into_answer(self) -> sse::Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
        let events = stream::unfold(self, |mut followed| async {
            let event = match followed.next().await? {
                Ok(event) => sse::Event::default().event(event.kind).data(&*event.data),
                Err(missed) => sse::Event::default().event("lagged").data(format!("{{\"missed\":{missed}}}")),
            };
            Some((Ok(event), followed))
        });
        sse::Sse::new(events).keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn opened() -> Events {
        let events = Events::default();
        events.is_open.send_replace(true);
        events
    }

    #[tokio::test]
    async fn whoever_follows_hears_what_happens_from_then_on() {
        let events = opened();
        events.tell(Event::new("shares", &1));
        let mut followed = events.follow().unwrap();
        events.tell(Event::new("block", &2));
        assert_eq!(followed.next().await, Some(Ok(Event { kind: "block", data: "2".into() })));
    }

    #[tokio::test]
    async fn slow_reader_is_told_how_many_he_has_missed_and_goes_on() {
        let events = opened();
        let mut followed = events.follow().unwrap();
        for number in 0..QUEUE + 7 {
            events.tell(Event::new("shares", &number));
        }
        assert_eq!(followed.next().await, Some(Err(7)));
        assert_eq!(followed.next().await.unwrap().unwrap().data, "7".into());
    }

    #[tokio::test]
    async fn streams_are_bounded_and_those_that_end_make_room() {
        let events = opened();
        let mut all: Vec<_> = (0..MAX_STREAMS).map(|_| events.follow().unwrap()).collect();
        assert!(events.follow().is_none());
        all.pop();
        assert!(events.follow().is_some());
    }

    #[tokio::test]
    async fn stream_ends_with_the_pool() {
        let events = opened();
        let mut followed = events.follow().unwrap();
        events.is_open.send_replace(false);
        events.tell(Event::new("shares", &1));
        assert_eq!(followed.next().await, None);
        assert_eq!(Events::default().follow().unwrap().next().await, None, "where nothing happens yet");
    }

    #[tokio::test]
    async fn stream_ends_after_a_while_so_that_a_token_is_asked_for_again() {
        let events = opened();
        let place = events.places.take().unwrap();
        let mut followed = events.follow_for(Duration::from_millis(20), place);
        assert_eq!(followed.next().await, None);
    }
}
