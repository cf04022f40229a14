//! When shares are due: as fast as the pool takes them, or evenly in time.

use std::time::Duration;

use super::crowd::Crowd;

/// The longest that a turn waits, so that a change of the stage is seen.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// The shortest wait: below a millisecond, this side would do little else than look.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// How far a pace that counts on time may fall behind before what was due is given up, in seconds.
const MOST_BEHIND_S: f64 = 1.0;
/// Shares of one connection that may wait for an answer at an even pace; the pool keeps 4,096.
const EVEN_WINDOW: usize = 4_000;

/// When shares are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// Never.
    Idle,
    /// So many of each connection always wait for an answer.
    Window { shares: usize },
    /// So many a second of all connections of this thread, and at most so many of each wait for an answer.
    Rate { shares_per_second: f64, window: usize },
    /// So many a second of each channel, evenly spread over time and channels.
    Even { shares_per_second: f64, channels: usize },
}

/// Keeps a pace.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Pace,
    /// Since when, in microseconds of the load's clock; none while it is not kept.
    since_us: Option<u64>,
    /// How many shares have become due since then.
    due: u64,
    /// Connections that were submitted to in the present turn.
    unflushed: Vec<usize>,
}

impl Pacer {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, since_us: None, due: 0, unflushed: Vec::new() }
    }

    /// Sends nothing until the next time that shares are due.
    pub(super) fn rest(&mut self) {
        self.since_us = None;
    }

    /// Submits what is due now, and returns how long to wait for the next.
    pub(super) fn submit_due(&mut self, crowd: &mut Crowd) -> Duration {
        let now_us = crowd.now_us();
        match self.pace {
            Pace::Idle => LONGEST_WAIT,
            Pace::Window { shares } => {
                match self.since_us {
                    Some(_) => {
                        let stirred = std::mem::take(&mut crowd.stirred);
                        stirred.iter().for_each(|&seat| fill(crowd, seat, shares, now_us));
                        crowd.stirred = stirred;
                    }
                    None => (0..crowd.seat_count()).for_each(|seat| fill(crowd, seat, shares, now_us)),
                }
                self.since_us = Some(now_us);
                LONGEST_WAIT
            }
            Pace::Rate { shares_per_second, window } => {
                let seats = crowd.seat_count();
                self.submit_slots(crowd, shares_per_second, now_us, |crowd, slot| {
                    let seat = slot as usize % seats;
                    let has_room = crowd.connection(seat).is_some_and(|connection| connection.unanswered < window);
                    (seat, has_room && crowd.submit_next(seat, now_us))
                })
            }
            Pace::Even { shares_per_second, channels } => {
                let seats = crowd.seat_count();
                let all_per_second = shares_per_second * (seats * channels) as f64;
                self.submit_slots(crowd, all_per_second, now_us, |crowd, slot| {
                    let (seat, channel) = place_of(slot, seats, channels);
                    let has_room = crowd.connection(seat).is_some_and(|connection| connection.unanswered < EVEN_WINDOW);
                    (seat, has_room && crowd.submit(seat, channel, now_us))
                })
            }
        }
    }

    /// Submits a share for each slot that has become due, by `submit`, which tells its connection and whether it could.
    fn submit_slots(
        &mut self,
        crowd: &mut Crowd,
        shares_per_second: f64,
        now_us: u64,
        mut submit: impl FnMut(&mut Crowd, u64) -> (usize, bool),
    ) -> Duration {
        if shares_per_second <= 0.0 {
            return LONGEST_WAIT;
        }
        let since_us = *self.since_us.get_or_insert_with(|| {
            self.due = 0;
            now_us
        });
        let due = (now_us.saturating_sub(since_us) as f64 / 1e6 * shares_per_second) as u64;
        let given_up = due.saturating_sub(self.due).saturating_sub((MOST_BEHIND_S * shares_per_second) as u64 + 1);
        crowd.tally.held_back += given_up;
        for slot in self.due + given_up..due {
            let (seat, was_sent) = submit(crowd, slot);
            match was_sent {
                true if self.unflushed.last() != Some(&seat) => self.unflushed.push(seat),
                true => {}
                false => crowd.tally.held_back += 1,
            }
        }
        self.due = due;
        self.unflushed.drain(..).for_each(|seat| crowd.flush(seat));
        let next_us = since_us as f64 + (due + 1) as f64 / shares_per_second * 1e6;
        let wait = Duration::from_micros((next_us - now_us as f64).max(0.0) as u64);
        wait.clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }
}

/// Submits to a connection until so many shares wait for an answer.
fn fill(crowd: &mut Crowd, seat: usize, window: usize, now_us: u64) {
    let waiting = crowd.connection(seat).map_or(window, |connection| connection.unanswered);
    for _ in waiting..window {
        if !crowd.submit_next(seat, now_us) {
            break;
        }
    }
    crowd.flush(seat);
}

/// Returns the connection and the channel whose turn a slot is: all connections' first channels, then their second ones.
fn place_of(slot: u64, seats: usize, channels: usize) -> (usize, usize) {
    let slot = slot as usize;
    (slot % seats, slot / seats % channels)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn slots_come_to_each_channel_in_turn() {
        let mut counts = BTreeMap::new();
        (0..600).for_each(|slot| *counts.entry(place_of(slot, 5, 4)).or_insert(0) += 1);
        assert_eq!(counts.len(), 20);
        assert!(counts.values().all(|&count| count == 30), "{counts:?}");
        let first: Vec<_> = (0..7).map(|slot| place_of(slot, 5, 4)).collect();
        assert_eq!(first, [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (0, 1), (1, 1)]);
    }
}
