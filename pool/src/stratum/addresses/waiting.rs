//! Connections that may be sent away for others, and which of them is.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::Origin;

/// How long a connection may be silent before it makes room for others of its own address.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// Connections that may be sent away for others.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) count: usize,
    /// By address, in the order in which they came.
    by_origin: HashMap<Origin, BTreeMap<u64, Arc<Ticket>>>,
}

/// What the table knows of one connection.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) since: Instant,
    /// Whether it has sent anything.
    pub(super) spoke: AtomicBool,
    pub(super) displaced: AtomicBool,
    pub(super) told: Notify,
}

impl Waiting {
    pub(super) fn count_of(&self, origin: Origin) -> usize {
        self.by_origin.get(&origin).map_or(0, BTreeMap::len)
    }

    pub(super) fn add(&mut self, origin: Origin, number: u64, ticket: Arc<Ticket>) {
        self.by_origin.entry(origin).or_default().insert(number, ticket);
        self.count += 1;
    }

    pub(super) fn remove(&mut self, origin: Origin, number: u64) -> Option<Arc<Ticket>> {
        let of_origin = self.by_origin.get_mut(&origin)?;
        let ticket = of_origin.remove(&number)?;
        if of_origin.is_empty() {
            self.by_origin.remove(&origin);
        }
        self.count -= 1;
        Some(ticket)
    }

    /// Returns the connection of an address that has been silent for longest, and for long enough.
    pub(super) fn silent(&self, origin: Origin, now: Instant) -> Option<u64> {
        let mut of_origin = self.by_origin.get(&origin)?.iter();
        // The oldest first: none behind a young one is older.
        let silent = |ticket: &Ticket| !ticket.spoke.load(Ordering::Relaxed);
        of_origin
            .by_ref()
            .take_while(|(_, ticket)| now.saturating_duration_since(ticket.since) >= SILENCE)
            .find(|(_, ticket)| silent(ticket))
            .map(|(number, _)| *number)
    }

    /// Returns who gives way to another connection of `newcomer`, if anybody does.
    pub(super) fn displaceable(&self, newcomer: Origin, now: Instant) -> Option<(Origin, u64)> {
        // Looked for only where a bound is reached, among no more addresses than that bound.
        let oldest = |tickets: &BTreeMap<u64, _>| tickets.keys().next().copied().unwrap_or(u64::MAX);
        let (&greediest, tickets) =
            self.by_origin.iter().max_by_key(|(_, tickets)| (tickets.len(), std::cmp::Reverse(oldest(tickets))))?;
        if self.count_of(newcomer) >= tickets.len() {
            return Some((newcomer, self.silent(newcomer, now)?));
        }
        Some((greediest, self.silent(greediest, now).unwrap_or_else(|| oldest(tickets))))
    }
}
