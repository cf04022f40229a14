//! The connections of one thread, and the one poll that waits for all of them. Owns their opening, their loss and their
//! return; when shares are due is `pace`'s business.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};

use super::{
    connection::{Clock, Connection, Loss, Plan},
    tally::Tally,
};

/// Sockets that are looked at in one turn. The others wait for the next.
const MAX_EVENTS: usize = 1_024;
/// What one read may bring: as much as the link always takes.
const READ_BYTES: usize = 64 * 1024;
/// Pause before a lost connection is made anew.
const RETRY_PAUSE_US: u64 = 200_000;
/// Pause between two looks for connections that are to be opened again.
const RETRY_LOOK_US: u64 = 20_000;

/// What becomes of a connection that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// It stays; if it is lost, it is missed.
    Once,
    /// It stays; if it is lost, it is made anew.
    Reconnect,
    /// It is closed, and the next one takes its place.
    Pass,
}

/// The place of one connection.
struct Seat {
    number: usize,
    connection: Option<Connection>,
    /// When the connection is made again, if it is.
    retry_at_us: Option<u64>,
}

/// All connections of a thread.
pub(super) struct Crowd {
    poll: Poll,
    events: Events,
    plan: Arc<Plan>,
    stay: Stay,
    seats: Vec<Seat>,
    /// Seats that have never been taken, from this one on.
    next_seat: usize,
    /// Connections that are being opened, and the most of them.
    opening: usize,
    max_opening: usize,
    open: usize,
    next_retry_look_us: u64,
    /// How much the number of a connection grows when the next one takes its place.
    stride: usize,
    read_buffer: Vec<u8>,
    origin: Instant,
    last_answer_us: Option<u64>,
    pub(super) tally: Tally,
    /// Seats to whose connections something happened in the last turn, so that there may be room for shares.
    pub(super) stirred: Vec<usize>,
}

impl Crowd {
    /// Makes places for connections with these numbers, none of them taken. Times count from `origin`. `stride` is the
    /// count of numbers in use, so that passing connections never repeat one.
    pub(super) fn new(
        plan: Arc<Plan>,
        numbers: impl Iterator<Item = usize>,
        stay: Stay,
        max_opening: usize,
        stride: usize,
        origin: Instant,
    ) -> io::Result<Self> {
        let seats = numbers.map(|number| Seat { number, connection: None, retry_at_us: None }).collect();
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(MAX_EVENTS),
            plan,
            stay,
            seats,
            next_seat: 0,
            opening: 0,
            max_opening,
            open: 0,
            next_retry_look_us: 0,
            stride,
            read_buffer: vec![0; READ_BYTES],
            origin,
            last_answer_us: None,
            tally: Tally::default(),
            stirred: Vec::new(),
        })
    }

    /// Returns the time since the load began, in microseconds.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Returns how many places there are.
    pub(super) fn seat_count(&self) -> usize {
        self.seats.len()
    }

    /// Returns how many connections are open.
    pub(super) fn open_count(&self) -> usize {
        self.open
    }

    /// Returns how many shares wait for an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.seats.iter().filter_map(|seat| seat.connection.as_ref()).map(|connection| connection.unanswered).sum()
    }

    /// Returns an open connection.
    pub(super) fn connection(&self, seat: usize) -> Option<&Connection> {
        self.seats.get(seat)?.connection.as_ref().filter(|connection| connection.is_open())
    }

    /// Begins to measure silence anew, after a time without shares.
    pub(super) fn expect_answers(&mut self) {
        self.last_answer_us = Some(self.now_us());
    }

    /// Measures silence no more until answers are expected again.
    pub(super) fn expect_nothing(&mut self) {
        self.last_answer_us = None;
    }

    /// Notes how long nothing has been answered, at the end of a time in which something should have been.
    pub(super) fn note_silence(&mut self) {
        if let Some(last) = self.last_answer_us {
            let silence_us = self.now_us().saturating_sub(last);
            self.tally.longest_silence_us = self.tally.longest_silence_us.max(silence_us);
        }
    }

    /// Starts connections, waits at most so long for something to happen, and takes in what has.
    pub(super) fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        self.fill_seats();
        self.stirred.clear();
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        let clock = Clock { now_us: self.now_us() };
        let mut ended = Vec::new();
        let (mut opened, mut answered) = (0, false);
        for event in &self.events {
            let Token(place) = event.token();
            let Some(connection) = self.seats.get_mut(place).and_then(|seat| seat.connection.as_mut()) else {
                continue;
            };
            let was_open = connection.is_open();
            let mut outcome = if event.is_writable() { connection.on_writable() } else { Ok(()) }.map(|()| false);
            if outcome.is_ok() && (event.is_readable() || event.is_read_closed() || event.is_error()) {
                outcome = connection.on_readable(&mut self.read_buffer, clock, &mut self.tally);
            }
            match outcome {
                Err(loss) => ended.push((place, was_open, Some(loss))),
                Ok(has_answers) => {
                    answered |= has_answers;
                    if connection.is_open() && !was_open {
                        self.tally.opened += 1;
                        self.tally.opening_us.saturating_record((clock.now_us - connection.started_us).max(1));
                        opened += 1;
                        if self.stay == Stay::Pass {
                            ended.push((place, true, None));
                        }
                    }
                    self.stirred.push(place);
                }
            }
        }
        self.opening -= opened;
        self.open += opened;
        if answered && self.last_answer_us.is_some() {
            self.note_silence();
            self.last_answer_us = Some(clock.now_us);
        }
        ended.into_iter().for_each(|(place, was_open, loss)| self.end(place, was_open, loss));
        Ok(())
    }

    /// Submits the next share of a connection's next channel. Tells whether there was one and there was room for it.
    pub(super) fn submit_next(&mut self, place: usize, now_us: u64) -> bool {
        self.with_open(place, |connection, tally| connection.submit_next(now_us, tally)).unwrap_or(false)
    }

    /// Submits the next share of one channel of a connection.
    pub(super) fn submit(&mut self, place: usize, channel: usize, now_us: u64) -> bool {
        self.with_open(place, |connection, tally| connection.submit(channel, now_us, tally)).unwrap_or(false)
    }

    /// Writes what a connection's socket takes.
    pub(super) fn flush(&mut self, place: usize) {
        self.with_open(place, |connection, _| connection.flush());
    }

    /// Does something with an open connection; if that fails, it is lost.
    fn with_open<T>(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut Connection, &mut Tally) -> Result<T, Loss>,
    ) -> Option<T> {
        let connection = self.seats.get_mut(place)?.connection.as_mut().filter(|connection| connection.is_open())?;
        match act(connection, &mut self.tally) {
            Ok(done) => Some(done),
            Err(loss) => {
                self.end(place, true, Some(loss));
                None
            }
        }
    }

    /// Takes the connections that may be opened now: those that never were, then those that were lost.
    fn fill_seats(&mut self) {
        while self.opening < self.max_opening && self.next_seat < self.seats.len() {
            self.start(self.next_seat);
            self.next_seat += 1;
        }
        let now_us = self.now_us();
        // Each look goes through all seats: not at every turn.
        if now_us < self.next_retry_look_us && self.stay != Stay::Pass {
            return;
        }
        self.next_retry_look_us = now_us + RETRY_LOOK_US;
        for place in 0..self.next_seat {
            if self.opening >= self.max_opening {
                break;
            }
            if self.seats[place].retry_at_us.is_some_and(|at_us| at_us <= now_us) {
                self.start(place);
            }
        }
    }

    fn start(&mut self, place: usize) {
        let now_us = self.now_us();
        let seat = &mut self.seats[place];
        seat.retry_at_us = None;
        let started = Connection::start(Arc::clone(&self.plan), seat.number, now_us).and_then(|mut connection| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(connection.socket(), Token(place), interest)?;
            Ok(connection)
        });
        match started {
            Ok(connection) => {
                seat.connection = Some(connection);
                self.opening += 1;
            }
            Err(error) => {
                self.tally.lose(&format!("not started: {error}"));
                self.plan_return(place);
            }
        }
    }

    /// Ends a connection: of itself, or by a loss.
    fn end(&mut self, place: usize, was_open: bool, loss: Option<Loss>) {
        let Some(mut connection) = self.seats[place].connection.take() else { return };
        // Closing takes it out of the poll anyway; this fails only if it never was in it.
        let _ = self.poll.registry().deregister(connection.socket());
        self.tally.unknown += connection.unanswered as u64;
        match was_open {
            true => self.open -= 1,
            false => self.opening -= 1,
        }
        match loss {
            Some(loss) => {
                self.tally.lose(&loss);
                self.plan_return(place);
            }
            None => {
                let now_us = self.now_us();
                let seat = &mut self.seats[place];
                seat.number += self.stride;
                seat.retry_at_us = Some(now_us);
            }
        }
    }

    fn plan_return(&mut self, place: usize) {
        if self.stay != Stay::Once {
            self.seats[place].retry_at_us = Some(self.now_us() + RETRY_PAUSE_US);
        }
    }
}
