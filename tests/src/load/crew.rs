//! The threads of a load and the stages that they go through together. Owns when a load begins, is measured and ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};

use super::{
    connection::Plan,
    crowd::{Crowd, Stay},
    pace::{LONGEST_WAIT, Pace, Pacer},
    tally::{Live, Tally, Told},
};

/// Pause between two looks at what the threads do.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How long answers that are still to come are waited for at the end, while none comes.
const DRAIN_SILENCE: Duration = Duration::from_millis(1_500);
/// How long they are waited for at most.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// What all threads do at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// Connections are opened and kept; no shares.
    Hold = 0,
    /// Shares are sent and not measured.
    WarmUp = 1,
    /// What happens is measured. Shares are sent.
    Measure = 2,
    /// Answers are waited for; no shares.
    Drain = 3,
    /// Everything is closed.
    Close = 4,
}

impl Stage {
    fn of(number: u8) -> Self {
        [Self::Hold, Self::WarmUp, Self::Measure, Self::Drain].get(usize::from(number)).copied().unwrap_or(Self::Close)
    }

    fn sends(self) -> bool {
        matches!(self, Self::WarmUp | Self::Measure)
    }
}

/// What the threads share.
pub(super) struct Shared {
    stage: AtomicU8,
    pub(super) live: Live,
    pub(super) origin: Instant,
}

/// How a crew works.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orders {
    pub(super) connections: usize,
    pub(super) threads: usize,
    /// Connections that are being opened at one time, of all threads.
    pub(super) in_flight: usize,
    pub(super) stay: Stay,
    /// The pace of the whole load.
    pub(super) pace: Pace,
}

/// What a load has counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    /// While it was measured.
    pub(super) measured: Tally,
    /// From its beginning to its end.
    pub(super) total: Tally,
    /// Shares that were still without an answer at the end, on connections that lived.
    pub(super) unanswered: u64,
}

/// Running threads.
pub(super) struct Crew {
    pub(super) shared: Arc<Shared>,
    connections: usize,
    threads: Vec<JoinHandle<()>>,
    outcomes: mpsc::Receiver<anyhow::Result<Sums>>,
}

impl Crew {
    /// Starts the threads, which begin to open connections.
    pub(super) fn start(plan: &Arc<Plan>, orders: Orders) -> Self {
        let origin = Instant::now();
        let shared = Arc::new(Shared { stage: AtomicU8::new(Stage::Hold as u8), live: Live::default(), origin });
        let (sender, outcomes) = mpsc::channel();
        let count = orders.threads.clamp(1, orders.connections.max(1));
        let threads = (0..count).map(|number| {
            let (plan, shared, sender) = (Arc::clone(plan), Arc::clone(&shared), sender.clone());
            thread::spawn(move || {
                let outcome = work(plan, &shared, orders, number, count);
                // Nobody is left to hear of it if the crew was dropped.
                let _ = sender.send(outcome);
            })
        });
        Self { threads: threads.collect(), connections: orders.connections, shared, outcomes }
    }

    /// Waits until all connections are open. Fails if they are not in time, or a thread has ended.
    pub(super) fn wait_until_open(&self, timeout: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.open_count() < self.connections as u64 {
            if let Ok(Err(error)) = self.outcomes.try_recv() {
                return Err(error);
            }
            if begun.elapsed() > timeout {
                bail!("only {} of {} connections are open after {timeout:?}", self.open_count(), self.connections);
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Returns how many connections are open.
    pub(super) fn open_count(&self) -> u64 {
        self.shared.live.open.load(Ordering::Relaxed)
    }

    /// Goes on to another stage. The threads see it within milliseconds.
    pub(super) fn enter(&self, stage: Stage) {
        self.shared.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Ends the load: waits for outstanding answers, closes everything, and adds up.
    pub(super) fn finish(mut self) -> anyhow::Result<Sums> {
        self.enter(Stage::Drain);
        let mut sums = Sums::default();
        for thread in std::mem::take(&mut self.threads) {
            let outcome = self.outcomes.recv().context("a thread of the load has ended without a result")??;
            sums.measured.add(&outcome.measured);
            sums.total.add(&outcome.total);
            sums.unanswered += outcome.unanswered;
            thread.join().map_err(|_| anyhow!("a thread of the load has panicked"))?;
        }
        Ok(sums)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.enter(Stage::Close);
    }
}

/// The share of one thread in the pace of all.
fn part_of(pace: Pace, seats: usize, connections: usize) -> Pace {
    match pace {
        Pace::Rate { shares_per_second, window } => {
            Pace::Rate { shares_per_second: shares_per_second * seats as f64 / connections.max(1) as f64, window }
        }
        pace => pace,
    }
}

/// One thread: connections of its own, through all stages.
fn work(plan: Arc<Plan>, shared: &Shared, orders: Orders, number: usize, threads: usize) -> anyhow::Result<Sums> {
    let Orders { connections, in_flight, stay, pace, .. } = orders;
    let numbers = (number..connections).step_by(threads);
    let in_flight = in_flight.div_ceil(threads);
    let mut crowd = Crowd::new(plan, numbers, stay, in_flight, connections, shared.origin)?;
    let mut pacer = Pacer::new(part_of(pace, crowd.seat_count(), connections));
    let (mut sums, mut told, mut stage, mut told_open) = (Sums::default(), Told::default(), Stage::Hold, 0);
    let mut wait = Duration::ZERO;
    let mut drain = Drain::default();
    loop {
        crowd.turn(wait)?;
        let now = Stage::of(shared.stage.load(Ordering::Relaxed));
        if now != stage {
            if stage.sends() {
                crowd.note_silence();
            }
            shared.live.tell(&crowd.tally, &mut told);
            let tally = std::mem::take(&mut crowd.tally);
            told = Told::default();
            sums.total.add(&tally);
            if stage == Stage::Measure {
                sums.measured.add(&tally);
            }
            if now.sends() {
                crowd.expect_answers();
            } else {
                pacer.rest();
                crowd.expect_nothing();
            }
            stage = now;
        }
        wait = if stage.sends() { pacer.submit_due(&mut crowd) } else { LONGEST_WAIT };
        shared.live.tell(&crowd.tally, &mut told);
        // The count of open connections also falls.
        let open = crowd.open_count() as u64;
        shared.live.open.fetch_add(open.wrapping_sub(told_open), Ordering::Relaxed);
        told_open = open;
        if stage == Stage::Close || stage == Stage::Drain && drain.is_over(crowd.unanswered()) {
            sums.total.add(&crowd.tally);
            sums.unanswered = crowd.unanswered() as u64;
            return Ok(sums);
        }
    }
}

/// The wait for the last answers.
#[derive(Default)]
struct Drain {
    begun: Option<Instant>,
    /// How many were outstanding when that last changed, and when that was.
    last: Option<(usize, Instant)>,
}

impl Drain {
    fn is_over(&mut self, unanswered: usize) -> bool {
        let now = Instant::now();
        let begun = *self.begun.get_or_insert(now);
        let (count, since) = *self.last.get_or_insert((unanswered, now));
        if count != unanswered {
            self.last = Some((unanswered, now));
        }
        unanswered == 0
            || now.duration_since(begun) > DRAIN_TIMEOUT
            || count == unanswered && now.duration_since(since) > DRAIN_SILENCE
    }
}
