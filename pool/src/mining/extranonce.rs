//! Extranonce prefixes: the part of the coinbase that makes each channel's search space its own.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

/// Bytes of the whole extranonce in every coinbase of the pool: a channel's prefix and what it rolls itself.
///
/// One size for all channels, so that one coinbase serves them all and any of them may share a group
/// (SV2 5.2.3: members of a group have the same full extranonce size).
pub const FULL_EXTRANONCE_SIZE: usize = 24;

/// Bytes at the start of a prefix that no other channel has.
const UNIQUE_SIZE: usize = 8;

/// Most bytes that an extended channel can have to roll for itself.
pub const MAX_ROLLABLE_SIZE: usize = FULL_EXTRANONCE_SIZE - UNIQUE_SIZE;

/// What an extended channel gets that asks for no particular size.
pub const DEFAULT_ROLLABLE_SIZE: usize = 4;

/// Gives out prefixes: server id, session number of the process, number of the channel, then zeros.
///
/// A number is never given twice in a session and a session never repeats while its jobs live, so a channel that
/// closes and comes back cannot be credited again for work that it handed in before. What a closing channel releases
/// is its place among the live ones.
#[derive(Debug)]
pub struct ExtranonceSpace {
    server_id: u16,
    session: u16,
    next: AtomicU32,
    live: Arc<AtomicUsize>,
    capacity: usize,
}

impl ExtranonceSpace {
    /// Opens the space of one run of a server, for at most `capacity` channels at a time.
    ///
    /// `server_id` differs between servers of one pool, `session` between two runs of one server.
    pub fn new(server_id: u16, session: u16, capacity: usize) -> Self {
        Self { server_id, session, next: AtomicU32::new(0), live: Arc::default(), capacity }
    }

    /// Takes a prefix that leaves `rollable_size` bytes for the channel to roll. None if the space is full.
    ///
    /// # Panics
    ///
    /// If `rollable_size` is over [`MAX_ROLLABLE_SIZE`]; the caller has refused that.
    pub fn allocate(&self, rollable_size: usize) -> Option<ExtranoncePrefix> {
        assert!(rollable_size <= MAX_ROLLABLE_SIZE, "rollable size {rollable_size} leaves no unique prefix");
        self.live
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |live| (live < self.capacity).then_some(live + 1))
            .ok()?;
        let place = Place { live: Arc::clone(&self.live) };
        let number =
            self.next.fetch_update(Ordering::AcqRel, Ordering::Acquire, |number| number.checked_add(1)).ok()?;

        let mut bytes = [0; FULL_EXTRANONCE_SIZE];
        bytes[..2].copy_from_slice(&self.server_id.to_be_bytes());
        bytes[2..4].copy_from_slice(&self.session.to_be_bytes());
        bytes[4..UNIQUE_SIZE].copy_from_slice(&number.to_be_bytes());
        Some(ExtranoncePrefix { bytes, size: FULL_EXTRANONCE_SIZE - rollable_size, _place: place })
    }

    /// Returns how many channels hold a prefix now.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }
}

/// A place among the live channels, given back when dropped.
#[derive(Debug)]
struct Place {
    live: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The prefix of one live channel. Dropping it releases its place.
pub struct ExtranoncePrefix {
    bytes: [u8; FULL_EXTRANONCE_SIZE],
    size: usize,
    _place: Place,
}

impl ExtranoncePrefix {
    /// Returns the prefix, 8 to 24 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.size]
    }

    /// Returns how many bytes the channel rolls itself.
    pub fn rollable_size(&self) -> usize {
        FULL_EXTRANONCE_SIZE - self.size
    }

    /// Joins the prefix and what the channel rolled. None if `rolled` has not the granted size.
    pub fn full(&self, rolled: &[u8]) -> Option<[u8; FULL_EXTRANONCE_SIZE]> {
        if rolled.len() != self.rollable_size() {
            return None;
        }
        let mut full = self.bytes;
        full[self.size..].copy_from_slice(rolled);
        Some(full)
    }
}

impl fmt::Debug for ExtranoncePrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ExtranoncePrefix({})", hex::encode(self.as_bytes()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_closed_channel_gives_its_place_back_but_never_its_number() {
        let space = ExtranonceSpace::new(1, 2, 1);
        let first = space.allocate(4).unwrap();
        let first_bytes = first.as_bytes().to_vec();
        assert!(space.allocate(4).is_none(), "the space has one place");
        drop(first);
        assert_eq!(space.live(), 0);
        assert_ne!(space.allocate(4).unwrap().as_bytes(), first_bytes);
    }

    #[test]
    fn the_server_id_comes_first() {
        let space = ExtranonceSpace::new(0xabcd, 7, 10);
        let prefix = space.allocate(16).unwrap();
        assert_eq!(prefix.as_bytes(), [0xab, 0xcd, 0, 7, 0, 0, 0, 0]);
        assert!(prefix.full(&[0; 15]).is_none());
        assert_eq!(prefix.full(&[9; 16]).unwrap()[8..], [9; 16]);
    }

    proptest! {
        /// Whatever sizes live channels roll, no two of them can build the same full extranonce.
        #[test]
        fn search_spaces_never_overlap(sizes in prop::collection::vec(0..=MAX_ROLLABLE_SIZE, 1..50), close in any::<u64>()) {
            let space = ExtranonceSpace::new(3, 4, 100);
            let mut live = Vec::new();
            for (index, size) in sizes.into_iter().enumerate() {
                live.push(space.allocate(size).unwrap());
                if close >> (index % 64) & 1 == 1 {
                    live.remove(0);
                }
            }
            let mut seen = HashSet::new();
            for prefix in &live {
                prop_assert_eq!(prefix.full(&vec![0; prefix.rollable_size()]).unwrap().len(), FULL_EXTRANONCE_SIZE);
                // The first bytes differ, so nothing that is rolled behind them can collide.
                prop_assert!(seen.insert(prefix.as_bytes()[..UNIQUE_SIZE].to_vec()));
            }
            prop_assert_eq!(space.live(), live.len());
        }
    }
}
