//! A channel as it can be watched while its connection works: what it is, what it was given, what was judged of it.
//!
//! What is counted lies in atomics that one task writes, that of the channel's connection, and anybody may read. So a share
//! costs plain loads and stores on memory that no other connection writes to: no lock, no allocation, no locked
//! instruction, no line of cache that cores fight for, and no look at a clock. Readers may catch a share half counted,
//! which the next look makes good.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bitcoin::{Address, BlockHash, hashes::Hash};
use payouts::account::AccountId;

use super::ConnectionId;
use crate::{
    mining::{channel::ChannelKind, difficulty::Difficulty, session::RetargetCause},
    stratum::metrics::RefusedShare,
};

/// How many refusals there are to count.
const CODES: usize = RefusedShare::ALL.len();
/// The time after which a share has lost two thirds of its weight in the measured rates. A mean that fades like this is as
/// steady as one over twice the time: the last five minutes.
const FADE_S: f64 = 150.0;

/// What a channel has asked for.
#[derive(Clone, Debug)]
pub struct ChannelWishes {
    /// The connection.
    pub connection: ConnectionId,
    /// The channel's number within the connection.
    pub id: u32,
    /// Standard or extended.
    pub kind: ChannelKind,
    /// Whom it mines for.
    pub address: Address,
    /// The worker that it is opened for.
    pub worker: Arc<str>,
    /// Hashes a second, as the client claims.
    pub nominal_hash_rate: f32,
}

/// A channel that is open, or was.
#[derive(Debug)]
pub struct LiveChannel {
    wishes: ChannelWishes,
    address: String,
    opened: Instant,
    opened_at_ms: i64,
    account: OnceLock<AccountId>,
    target: Mutex<GivenTarget>,
    tally: Tally,
    taken: Mutex<Counts>,
}

/// The difficulty that a channel is given, and the hash rate that it claims.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GivenTarget {
    /// What the next job is given with.
    pub difficulty: Difficulty,
    /// Since when, in milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// Why it is not what it was before; nothing if it is what the channel began with.
    pub cause: Option<RetargetCause>,
    /// Hashes a second, as the client claims.
    pub nominal_hash_rate: f32,
}

/// What was judged. On lines of cache of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Tally {
    accepted: AtomicU64,
    /// All these are `f64` by their bits: hashes, of which sums of powers of two are exact up to 2^53 of the least.
    hashes: AtomicU64,
    best_difficulty: AtomicU64,
    /// The least hash since this was last taken, by its higher half; 0 for none. Whoever takes it writes to it too: a share
    /// that comes just then may be told again, which changes no best.
    least_lately: AtomicU64,
    recent_hashes: AtomicU64,
    recent_shares: AtomicU64,
    /// For when the two before hold, in milliseconds after the channel was opened.
    recent_at_ms: AtomicU64,
    /// In milliseconds after the channel was opened, and one more, so that none is zero.
    first_share_ms: AtomicU64,
    last_share_ms: AtomicU64,
    refused: [AtomicU64; CODES],
    /// The same for the last refusal, above the place of its code in the lowest eight bits.
    last_refused: AtomicU64,
}

/// What was judged of shares, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Right ones.
    pub accepted: u64,
    /// The hashes that they stand for.
    pub hashes: f64,
    /// Refused ones, in the order of [`RefusedShare::ALL`].
    pub refused: [u64; CODES],
    /// The difficulty of the best one; 0 for none.
    pub best_difficulty: f64,
}

impl Counts {
    /// Tells whether nothing was judged.
    pub fn is_empty(&self) -> bool {
        *self == Counts::default()
    }

    /// Returns how many were refused.
    pub fn refused(&self) -> u64 {
        self.refused.iter().sum()
    }

    /// Adds others.
    pub fn add(&mut self, more: &Counts) {
        self.accepted += more.accepted;
        self.hashes += more.hashes;
        self.refused.iter_mut().zip(more.refused).for_each(|(sum, more)| *sum += more);
        self.best_difficulty = self.best_difficulty.max(more.best_difficulty);
    }

    /// Returns what came since, but for the best.
    fn since(&self, before: &Counts) -> Counts {
        Counts {
            accepted: self.accepted - before.accepted,
            hashes: self.hashes - before.hashes,
            refused: std::array::from_fn(|code| self.refused[code] - before.refused[code]),
            best_difficulty: 0.0,
        }
    }
}

/// What a channel has done of late.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RecentRate {
    /// Hashes a second that its accepted shares come to.
    pub hash_rate: f64,
    /// Accepted shares a minute.
    pub shares_per_minute: f64,
}

/// What some channels do together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Together {
    /// What was judged.
    pub counts: Counts,
    /// What they have done of late.
    pub recent: RecentRate,
    /// Hashes a second, as their clients claim.
    pub nominal_hash_rate: f64,
}

impl Together {
    /// Adds up channels as they are now. Not by sums of iterators: without any, those are minus zero.
    pub fn of<'a>(channels: impl IntoIterator<Item = &'a Arc<LiveChannel>>, now: Instant) -> Together {
        let mut sum = Together::default();
        for channel in channels {
            let RecentRate { hash_rate, shares_per_minute } = channel.recent(now);
            sum.counts.add(&channel.counts());
            sum.recent.hash_rate += hash_rate;
            sum.recent.shares_per_minute += shares_per_minute;
            sum.nominal_hash_rate += f64::from(channel.target().nominal_hash_rate);
        }
        sum
    }
}

impl LiveChannel {
    /// Returns the connection.
    pub fn connection(&self) -> ConnectionId {
        self.wishes.connection
    }

    /// Returns the channel's number within the connection.
    pub fn id(&self) -> u32 {
        self.wishes.id
    }

    /// Returns the kind.
    pub fn kind(&self) -> ChannelKind {
        self.wishes.kind
    }

    /// Returns the address that it mines for.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the worker that it was opened for; empty if none was named. Proxies name others with their shares, which
    /// count here as this one's; the share log has them apart.
    pub fn worker(&self) -> &Arc<str> {
        &self.wishes.worker
    }

    /// Returns the account of its address, which is known from the first share on.
    pub fn account(&self) -> Option<AccountId> {
        self.account.get().copied()
    }

    /// Returns when it was opened, in milliseconds since 1970 UTC.
    pub fn opened_at_ms(&self) -> i64 {
        self.opened_at_ms
    }

    /// Returns the difficulty that it is given, and what it claims.
    pub fn target(&self) -> GivenTarget {
        *self.locked_target()
    }

    /// Returns all that was judged since it was opened.
    pub fn counts(&self) -> Counts {
        Counts {
            accepted: self.tally.accepted.load(Relaxed),
            hashes: float(&self.tally.hashes),
            refused: std::array::from_fn(|code| self.tally.refused[code].load(Relaxed)),
            best_difficulty: self.best_difficulty(),
        }
    }

    /// Returns the difficulty of its best share.
    pub fn best_difficulty(&self) -> f64 {
        float(&self.tally.best_difficulty)
    }

    /// Returns when the first share was accepted, in milliseconds since 1970 UTC.
    pub fn first_share_at_ms(&self) -> Option<i64> {
        self.at_ms(self.tally.first_share_ms.load(Relaxed))
    }

    /// Returns when the last share was accepted, in milliseconds since 1970 UTC.
    pub fn last_share_at_ms(&self) -> Option<i64> {
        self.at_ms(self.tally.last_share_ms.load(Relaxed))
    }

    /// Returns why the last share was refused that was, and when, in milliseconds since 1970 UTC.
    pub fn last_refused(&self) -> Option<(RefusedShare, i64)> {
        let packed = self.tally.last_refused.load(Relaxed);
        let at_ms = self.at_ms(packed >> 8)?;
        Some((*RefusedShare::ALL.get((packed & 0xff) as usize)?, at_ms))
    }

    /// Returns what it has done of late. Young channels are measured over their whole life.
    pub fn recent(&self, now: Instant) -> RecentRate {
        let life_s = now.saturating_duration_since(self.opened).as_secs_f64();
        let at_s = self.tally.recent_at_ms.load(Relaxed) as f64 / 1e3;
        let fade = (-(life_s - at_s).max(0.0) / FADE_S).exp();
        // What a steady rate of one a second would have come to by now. Of less than a second nothing can be told.
        let steady = FADE_S * (1.0 - (-life_s.max(1.0) / FADE_S).exp());
        let rate = |sum: &AtomicU64| float(sum) * fade / steady;
        RecentRate {
            hash_rate: rate(&self.tally.recent_hashes),
            shares_per_minute: rate(&self.tally.recent_shares) * 60.0,
        }
    }

    /// Returns what was judged since this was last asked for, by whoever keeps a history: each share once.
    pub(super) fn take(&self) -> Counts {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = self.counts();
        let news = counts.since(&taken);
        *taken = counts;
        let least = f64::from_bits(self.tally.least_lately.swap(0, Relaxed));
        let best_difficulty = if least > 0.0 { difficulty_of(least) } else { 0.0 };
        Counts { best_difficulty, ..news }
    }

    fn locked_target(&self) -> MutexGuard<'_, GivenTarget> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_ms(&self, after_ms: u64) -> Option<i64> {
        Some(self.opened_at_ms.saturating_add(i64::try_from(after_ms.checked_sub(1)?).ok()?))
    }
}

/// The hand that counts a channel's shares: its connection's alone.
#[derive(Debug)]
pub struct Meter {
    channel: Arc<LiveChannel>,
    /// The higher half of the least hash so far.
    least: u128,
}

impl Meter {
    /// Begins with a channel that is opened `now`, which is `now_ms` by the clock.
    pub(super) fn new(wishes: ChannelWishes, difficulty: Difficulty, now: Instant, now_ms: i64) -> Meter {
        let nominal_hash_rate = wishes.nominal_hash_rate;
        let target = GivenTarget { difficulty, since_ms: now_ms, cause: None, nominal_hash_rate };
        let channel = LiveChannel {
            address: wishes.address.to_string(),
            wishes,
            opened: now,
            opened_at_ms: now_ms,
            account: OnceLock::new(),
            target: Mutex::new(target),
            tally: Tally::default(),
            taken: Mutex::default(),
        };
        Meter { channel: Arc::new(channel), least: u128::MAX }
    }

    /// Returns the channel.
    pub fn channel(&self) -> &Arc<LiveChannel> {
        &self.channel
    }

    /// Counts a right share. Tells whether it is the first.
    pub fn accept(&mut self, difficulty: Difficulty, hash: BlockHash, now: Instant) -> bool {
        let tally = &self.channel.tally;
        let (hashes, at_ms) = (difficulty.in_hashes() as f64, self.elapsed_ms(now));
        let fade = match at_ms.saturating_sub(tally.recent_at_ms.load(Relaxed)) {
            // Those of one read come together.
            0 => 1.0,
            elapsed_ms => (elapsed_ms as f64 / (-1e3 * FADE_S)).exp(),
        };
        set(&tally.recent_hashes, float(&tally.recent_hashes) * fade + hashes);
        set(&tally.recent_shares, float(&tally.recent_shares) * fade + 1.0);
        tally.recent_at_ms.store(at_ms, Relaxed);
        set(&tally.hashes, float(&tally.hashes) + hashes);
        tally.last_share_ms.store(at_ms + 1, Relaxed);
        let half = higher_half(hash);
        if half < self.least {
            self.least = half;
            set(&tally.best_difficulty, difficulty_of(half as f64));
        }
        let lately = float(&tally.least_lately);
        if lately == 0.0 || (half as f64) < lately {
            set(&tally.least_lately, half.max(1) as f64);
        }
        let is_first = count(&tally.accepted) == 0;
        if is_first {
            tally.first_share_ms.store(at_ms + 1, Relaxed);
        }
        is_first
    }

    /// Counts a refused share. Tells whether it is the first.
    pub fn refuse(&mut self, why: RefusedShare, now: Instant) -> bool {
        let tally = &self.channel.tally;
        count(&tally.refused[why as usize]);
        let is_first = tally.last_refused.load(Relaxed) == 0;
        tally.last_refused.store((self.elapsed_ms(now) + 1) << 8 | why as u64, Relaxed);
        is_first
    }

    /// Notes whose the channel's work is.
    pub fn note_account(&self, account: AccountId) {
        // It does not change as long as the channel is open.
        let _ = self.channel.account.set(account);
    }

    /// Notes another difficulty.
    pub fn note_difficulty(&self, difficulty: Difficulty, cause: RetargetCause, now: Instant) {
        let since_ms = self.channel.opened_at_ms + self.elapsed_ms(now) as i64;
        let mut target = self.channel.locked_target();
        *target = GivenTarget { difficulty, since_ms, cause: Some(cause), ..*target };
    }

    /// Notes what the client claims now.
    pub fn note_claim(&self, nominal_hash_rate: f32) {
        if nominal_hash_rate.is_finite() && nominal_hash_rate >= 0.0 {
            self.channel.locked_target().nominal_hash_rate = nominal_hash_rate;
        }
    }

    fn elapsed_ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.channel.opened).as_millis() as u64
    }
}

/// Counts one more, and returns how many there were. There is one hand that writes, so nothing comes between.
fn count(counter: &AtomicU64) -> u64 {
    let before = counter.load(Relaxed);
    counter.store(before + 1, Relaxed);
    before
}

fn float(cell: &AtomicU64) -> f64 {
    f64::from_bits(cell.load(Relaxed))
}

fn set(cell: &AtomicU64, value: f64) {
    cell.store(value.to_bits(), Relaxed);
}

/// Returns the bits of a hash that tell how hard it was to find.
fn higher_half(hash: BlockHash) -> u128 {
    let bytes = hash.to_byte_array();
    u128::from_le_bytes(bytes[16..].try_into().expect("a half has 16 bytes"))
}

/// Returns the difficulty of the target that a hash with this higher half just meets; difficulty 1 is `0xffff` << 208.
fn difficulty_of(higher_half: f64) -> f64 {
    65_535.0 * 2f64.powi(208 - 128) / higher_half.max(1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    fn meter(now: Instant) -> Meter {
        let address: Address<bitcoin::address::NetworkUnchecked> = ADDRESS.parse().unwrap();
        let wishes = ChannelWishes {
            connection: ConnectionId(7),
            id: 2,
            kind: ChannelKind::Standard,
            address: address.assume_checked(),
            worker: "rig".into(),
            nominal_hash_rate: 1e12,
        };
        Meter::new(wishes, Difficulty::from_log2(0), now, 1_000_000)
    }

    fn hash(difficulty: Difficulty) -> BlockHash {
        BlockHash::from_byte_array(difficulty.target().to_le_bytes())
    }

    fn after(now: Instant, seconds: f64) -> Instant {
        now + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn shares_are_counted_with_their_work_and_their_times() {
        let now = Instant::now();
        let mut meter = meter(now);
        let channel = Arc::clone(meter.channel());
        assert_eq!((channel.last_share_at_ms(), channel.last_refused()), (None, None));
        let difficulty = Difficulty::from_log2(4);
        assert!(meter.accept(difficulty, hash(Difficulty::from_log2(9)), after(now, 0.0)));
        assert!(!meter.accept(difficulty, hash(Difficulty::from_log2(5)), after(now, 3.0)));
        assert!(meter.refuse(RefusedShare::Stale, after(now, 4.0)));
        assert!(!meter.refuse(RefusedShare::NotStored, after(now, 5.0)));
        let counts = channel.counts();
        assert_eq!((counts.accepted, counts.hashes, counts.refused()), (2, 2.0 * difficulty.in_hashes() as f64, 2));
        assert_eq!(counts.refused[RefusedShare::Stale as usize], 1);
        assert_eq!(channel.best_difficulty(), 512.0);
        assert_eq!((channel.first_share_at_ms(), channel.last_share_at_ms()), (Some(1_000_000), Some(1_003_000)));
        assert_eq!(channel.last_refused(), Some((RefusedShare::NotStored, 1_005_000)));
    }

    #[test]
    fn steady_miner_is_measured_at_his_rate_from_the_first_minute_to_the_last() {
        let now = Instant::now();
        let mut meter = meter(now);
        let difficulty = Difficulty::from_log2(8);
        let rate = difficulty.in_hashes() as f64 / 5.0;
        let mut worst = 0.0_f64;
        for share in 1..=720 {
            let at = after(now, f64::from(share) * 5.0);
            meter.accept(difficulty, hash(difficulty), at);
            let recent = meter.channel().recent(after(at, 2.5));
            if share >= 12 {
                worst = worst.max((recent.hash_rate / rate - 1.0).abs());
                assert!((recent.shares_per_minute / 12.0 - 1.0).abs() < 0.1, "{recent:?} after {share} shares");
            }
        }
        assert!(worst < 0.1, "{worst}");
        // And who stops is soon seen to have stopped.
        let stopped = meter.channel().recent(after(now, 3_600.0 + 600.0));
        assert!(stopped.hash_rate < 0.03 * rate, "{stopped:?}");
    }

    #[test]
    fn channels_add_up_and_none_are_zero() {
        let now = Instant::now();
        let none = Together::of([], now);
        assert!(none.recent.hash_rate.is_sign_positive() && none.nominal_hash_rate.is_sign_positive(), "{none:?}");
        let mut meters = [meter(now), meter(now)];
        meters.iter_mut().for_each(|meter| {
            meter.accept(Difficulty::from_log2(0), hash(Difficulty::from_log2(0)), now);
        });
        let both = Together::of(meters.iter().map(Meter::channel), after(now, 10.0));
        let one = meters[0].channel().recent(after(now, 10.0));
        assert_eq!((both.counts.accepted, both.nominal_hash_rate), (2, 2.0 * f64::from(1e12_f32)));
        assert_eq!(both.recent.hash_rate, 2.0 * one.hash_rate);
    }

    #[test]
    fn what_is_taken_is_taken_once() {
        let now = Instant::now();
        let mut meter = meter(now);
        let difficulty = Difficulty::from_log2(0);
        for round in 1..=3 {
            for _ in 0..round {
                meter.accept(difficulty, hash(difficulty), now);
                meter.refuse(RefusedShare::Duplicate, now);
            }
            let taken = meter.channel().take();
            assert_eq!((taken.accepted, taken.refused(), taken.best_difficulty), (round, round, 1.0));
            assert_eq!(taken.hashes, round as f64 * difficulty.in_hashes() as f64);
            assert!(meter.channel().take().is_empty());
        }
        assert_eq!(meter.channel().counts().accepted, 6);
    }

    #[test]
    fn difficulty_is_told_with_its_reason() {
        let now = Instant::now();
        let meter = meter(now);
        assert_eq!(meter.channel().target().cause, None);
        meter.note_difficulty(Difficulty::from_log2(3), RetargetCause::Faster, after(now, 60.0));
        meter.note_claim(5e12);
        let expected = GivenTarget {
            difficulty: Difficulty::from_log2(3),
            since_ms: 1_060_000,
            cause: Some(RetargetCause::Faster),
            nominal_hash_rate: 5e12,
        };
        assert_eq!(meter.channel().target(), expected);
    }
}
