//! What one connection may ask of the pool: messages and bytes a second, invalid shares, time without a channel.
//!
//! Pure: the connection passes in what it has read, and when. It does so once for each time that it has read, not for
//! each share, and needs no timer of its own: a connection that is slowed has one more deadline.

use std::time::{Duration, Instant};

use protocol::messages::mining::ClientMessage;

/// How long a connection may use more than its rate, at twice the rate, before it is slowed.
const BURST: Duration = Duration::from_secs(4);
/// How long a connection may go on asking for more than its rate, although it is slowed.
pub(super) const MAX_SLOWED: Duration = Duration::from_secs(60);
/// The time over which invalid shares are counted: so long it takes until all that are allowed are forgotten.
const INVALID_SHARES_PERIOD: Duration = Duration::from_secs(600);
/// What it costs to open or change a channel, in messages: a merkle root, a job and its answer instead of two hashes.
const CHANNEL_COST: u32 = 10;

/// What one connection may ask of the pool.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Messages a second; to open or change a channel counts as ten.
    pub messages_per_second: u32,
    /// Bytes a second, as they come from the socket.
    pub bytes_per_second: u32,
    /// Invalid shares, less the valid ones, within ten minutes.
    pub invalid_shares: u32,
    /// How long it may stay without a channel.
    pub idle: Duration,
}

impl Default for ConnectionLimits {
    /// Room for a proxy with a thousand miners, each of which hands in four shares a second.
    fn default() -> Self {
        Self {
            messages_per_second: 4_000,
            bytes_per_second: 1 << 20,
            invalid_shares: 1_000,
            idle: Duration::from_secs(120),
        }
    }
}

/// Returns what a message costs the pool, counted in shares.
pub(super) fn cost(message: &ClientMessage) -> u32 {
    match message {
        ClientMessage::OpenStandardMiningChannel(_)
        | ClientMessage::OpenExtendedMiningChannel(_)
        | ClientMessage::UpdateChannel(_) => CHANNEL_COST,
        _ => 1,
    }
}

/// A bucket that leaks at a steady rate and holds a bounded amount. Kept as the time at which it will be empty.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    empty_at: Instant,
    per_unit: Duration,
    /// How long it takes to empty when full.
    depth: Duration,
}

impl Bucket {
    /// A bucket that loses `units` in each `period`, and needs `depth` to run empty.
    fn new(units: u32, period: Duration, depth: Duration, now: Instant) -> Self {
        Self { empty_at: now, per_unit: period / units.max(1), depth }
    }

    fn pour(&mut self, units: u32, now: Instant) {
        self.empty_at = self.empty_at.max(now) + self.per_unit * units;
    }

    fn take_out(&mut self, units: u32, now: Instant) {
        self.empty_at = self.empty_at.checked_sub(self.per_unit * units).map_or(now, |at| at.max(now));
    }

    /// Returns when it no longer runs over.
    fn holds_at(&self) -> Option<Instant> {
        self.empty_at.checked_sub(self.depth)
    }

    fn runs_over(&self, now: Instant) -> bool {
        self.holds_at().is_some_and(|at| at > now)
    }

    fn is_half_empty(&self, now: Instant) -> bool {
        self.empty_at <= now + self.depth / 2
    }
}

/// How much a connection may still read.
#[derive(Debug)]
pub(super) struct Allowance {
    messages: Bucket,
    bytes: Bucket,
    /// Since when it has asked for more than its rate without a rest.
    slowed_since: Option<Instant>,
}

impl Allowance {
    pub(super) fn new(limits: &ConnectionLimits, now: Instant) -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        Self {
            messages: Bucket::new(limits.messages_per_second, SECOND, BURST, now),
            bytes: Bucket::new(limits.bytes_per_second, SECOND, BURST, now),
            slowed_since: None,
        }
    }

    /// Counts what was read, and tells whether that begins to slow the connection.
    pub(super) fn spend(&mut self, messages: u32, bytes: u32, now: Instant) -> bool {
        self.messages.pour(messages, now);
        self.bytes.pour(bytes, now);
        if self.messages.runs_over(now) || self.bytes.runs_over(now) {
            let begins = self.slowed_since.is_none();
            self.slowed_since.get_or_insert(now);
            return begins;
        }
        if self.messages.is_half_empty(now) && self.bytes.is_half_empty(now) {
            self.slowed_since = None;
        }
        false
    }

    /// Returns until when nothing is to be read, if that lies ahead.
    pub(super) fn slowed_until(&self) -> Option<Instant> {
        // Nearly always nobody is slowed, and this is asked for at each wait: not even the clock is read then.
        self.slowed_since?;
        self.slowed_until_from(Instant::now())
    }

    /// Tells whether nothing is to be read now.
    pub(super) fn is_slowed(&self) -> bool {
        self.slowed_until().is_some()
    }

    fn slowed_until_from(&self, now: Instant) -> Option<Instant> {
        self.slowed_since?;
        self.messages.holds_at().max(self.bytes.holds_at()).filter(|until| *until > now)
    }

    /// Tells whether the connection has asked for more than its rate for so long that it must end.
    pub(super) fn is_exhausted(&self, now: Instant) -> bool {
        self.slowed_since.is_some_and(|since| now.saturating_duration_since(since) >= MAX_SLOWED)
    }
}

/// How many more invalid shares than valid ones a connection has handed in of late.
#[derive(Debug)]
pub(super) struct InvalidShares {
    bucket: Bucket,
}

impl InvalidShares {
    pub(super) fn new(limits: &ConnectionLimits, now: Instant) -> Self {
        let period = INVALID_SHARES_PERIOD;
        Self { bucket: Bucket::new(limits.invalid_shares, period, period, now) }
    }

    /// Counts shares, and tells whether there are too many invalid ones. A valid share makes up for an invalid one: of a
    /// proxy with a thousand miners, a few go wrong all the time.
    pub(super) fn count(&mut self, invalid: u32, valid: u32, now: Instant) -> bool {
        self.bucket.pour(invalid, now);
        self.bucket.take_out(valid, now);
        self.bucket.runs_over(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        messages_per_second: 1_000,
        bytes_per_second: 100_000,
        invalid_shares: 100,
        idle: Duration::from_secs(120),
    };

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn burst_passes_and_what_follows_is_slowed_to_the_rate() {
        let start = Instant::now();
        let mut allowance = Allowance::new(&LIMITS, start);
        assert!(!allowance.spend(4_000, 0, start));
        assert_eq!(allowance.slowed_until_from(start), None);
        assert!(allowance.spend(500, 0, start), "this is beyond the burst");
        assert_eq!(allowance.slowed_until_from(start), Some(after(start, 0.5)));
        assert!(!allowance.spend(100, 0, after(start, 0.5)), "it was slowed before");
        assert_eq!(allowance.slowed_until_from(after(start, 0.5)), Some(after(start, 0.6)));
        assert_eq!(allowance.slowed_until_from(after(start, 0.6)), None);
    }

    #[test]
    fn bytes_count_although_no_message_comes_of_them() {
        let start = Instant::now();
        let mut allowance = Allowance::new(&LIMITS, start);
        assert!(!allowance.spend(0, 400_000, start));
        assert!(allowance.spend(0, 100_000, start));
        assert_eq!(allowance.slowed_until_from(start), Some(after(start, 1.0)));
    }

    #[test]
    fn connection_that_keeps_to_its_rate_is_never_slowed() {
        let start = Instant::now();
        let mut allowance = Allowance::new(&LIMITS, start);
        for second in 0..3_600 {
            assert!(!allowance.spend(1_000, 100_000, after(start, f64::from(second))));
        }
        assert!(!allowance.is_exhausted(after(start, 3_600.0)));
    }

    #[test]
    fn connection_that_asks_for_more_all_the_time_ends_after_a_minute_and_one_that_rests_does_not() {
        let start = Instant::now();
        let flood = |rests: bool| {
            let mut allowance = Allowance::new(&LIMITS, start);
            let mut now = start;
            // As the connection does: it reads as soon as it may.
            while now < after(start, 120.0) && !allowance.is_exhausted(now) {
                allowance.spend(260, 16_000, now);
                now = allowance.slowed_until_from(now).unwrap_or(now);
                if rests && allowance.slowed_since.is_some() {
                    now += BURST;
                }
            }
            now - start
        };
        assert!((59..=61).contains(&flood(false).as_secs()), "{:?}", flood(false));
        assert!(flood(true).as_secs() >= 120);
    }

    #[test]
    fn invalid_shares_end_a_connection_unless_valid_ones_make_up_for_them() {
        let start = Instant::now();
        let mut shares = InvalidShares::new(&LIMITS, start);
        assert!(!shares.count(100, 0, start));
        assert!(shares.count(1, 0, start));

        let mut proxy = InvalidShares::new(&LIMITS, start);
        for second in 0..3_600 {
            assert!(!proxy.count(10, 20, after(start, f64::from(second))), "after {second} s");
        }
        // Nothing is saved up by valid ones.
        assert!(proxy.count(101, 0, after(start, 3_600.0)));
    }

    #[test]
    fn device_that_is_slow_and_always_wrong_stays_and_what_it_did_is_forgotten() {
        let start = Instant::now();
        let mut device = InvalidShares::new(&LIMITS, start);
        for minute in 0..1_000 {
            assert!(!device.count(9, 0, after(start, 60.0 * f64::from(minute))), "after {minute} minutes");
        }
        let mut shares = InvalidShares::new(&LIMITS, start);
        assert!(!shares.count(100, 0, start));
        assert!(!shares.count(50, 0, after(start, 301.0)));
        assert!(shares.count(51, 0, after(start, 301.0)));
    }
}
