//! Share difficulty: always a power of two, so that no client rounds it and every sum of work is exact.

use std::{fmt, num::NonZeroU128};

use bitcoin::Target;

/// The difficulty of a share: how many times harder than difficulty 1 it is to find, as a power of two.
///
/// Difficulty 1 is the target `0x00000000ffff0000…00`, about 2^32 hashes. Devices that cut off fractions of a
/// difficulty, and proxies that round it, agree with the pool on powers of two only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Difficulty {
    log2: i8,
}

impl Difficulty {
    /// The easiest: one share for every hash or so.
    pub const MIN: Self = Self { log2: -32 };
    /// The hardest, far beyond any network.
    pub const MAX: Self = Self { log2: 95 };

    /// Returns the difficulty 2^`log2`, brought into the range of [`Self::MIN`] to [`Self::MAX`].
    pub fn from_log2(log2: i32) -> Self {
        let clamped = log2.clamp(i32::from(Self::MIN.log2), i32::from(Self::MAX.log2));
        Self { log2: i8::try_from(clamped).expect("MIN and MAX are i8") }
    }

    /// Returns the easiest difficulty whose target is no easier than `max_target`: what a client with this
    /// `max_target` may be given. None if even [`Self::MAX`] is too easy.
    pub fn easiest_within(max_target: Target) -> Option<Self> {
        let near = log2_near(max_target).max(Self::MIN.log2.into());
        let candidates = (near..=near + 1).filter(|log2| *log2 <= Self::MAX.log2.into()).map(Self::from_log2);
        candidates.into_iter().find(|difficulty| difficulty.target() <= max_target)
    }

    /// Returns the hardest difficulty whose target is no harder than `target`, or [`Self::MIN`].
    pub fn hardest_within(target: Target) -> Self {
        let near = Self::from_log2(log2_near(target));
        if near.target() >= target { near } else { Self::from_log2(i32::from(near.log2) - 1) }
    }

    /// Returns the difficulty at which `hash_rate` (hashes per second) finds at most one share in `interval_s`
    /// seconds: rounded up to a power of two. Anything that is not a positive number gives [`Self::MIN`].
    pub fn for_hash_rate(hash_rate: f64, interval_s: f64) -> Self {
        let difficulty = hash_rate * interval_s / (1u64 << 32) as f64;
        if difficulty.is_nan() || difficulty <= 0.0 {
            return Self::MIN;
        }
        // The cast saturates, so an infinite rate is only very hard.
        Self::from_log2(difficulty.log2().ceil() as i32)
    }

    /// Returns the easiest difficulty that is at least `number` times difficulty 1, or [`Self::MAX`].
    pub fn at_least(number: NonZeroU128) -> Self {
        let rounded_up = 128 - (number.get() - 1).leading_zeros();
        Self::from_log2(i32::try_from(rounded_up).expect("it is at most 128"))
    }

    /// Returns the binary logarithm.
    pub fn log2(self) -> i8 {
        self.log2
    }

    /// Returns the difficulty as a number.
    pub fn number(self) -> f64 {
        2f64.powi(self.log2.into())
    }

    /// Returns the target: the largest hash that counts as a share.
    pub fn target(self) -> Target {
        // 0xffff << 208 is difficulty 1; the shift stays within 256 bits for every value of the type.
        let bit = (208 - i32::from(self.log2)) as usize;
        let mut le_bytes = [0u8; 32];
        let mantissa = 0xffff_u32 << (bit % 8);
        for (offset, byte) in mantissa.to_le_bytes().into_iter().enumerate().take(3) {
            if let Some(place) = le_bytes.get_mut(bit / 8 + offset) {
                *place = byte;
            }
        }
        Target::from_le_bytes(le_bytes)
    }

    /// Returns the difficulty in units of 2^-32, that is in expected hashes, for sums over shares.
    pub fn in_hashes(self) -> u128 {
        1 << (i32::from(self.log2) + 32)
    }
}

/// Returns the binary logarithm of the difficulty whose target has as many bits as this one. Any easier difficulty has a
/// larger target, any harder one a smaller.
fn log2_near(target: Target) -> i32 {
    let [high, low] = [0, 16].map(|start| {
        let bytes = target.to_be_bytes();
        u128::from_be_bytes(bytes[start..start + 16].try_into().expect("a half has 16 bytes"))
    });
    let zeros = if high == 0 { 128 + low.leading_zeros() } else { high.leading_zeros() };
    // Difficulty 1 has 224 bits.
    zeros as i32 - 32
}

impl fmt::Display for Difficulty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.number())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::{BlockHash, hashes::Hash};

    use super::*;

    #[test]
    fn difficulty_one_is_bitcoins() {
        assert_eq!(Difficulty::from_log2(0).target(), Target::MAX);
    }

    #[test]
    fn each_step_halves_the_target() {
        for log2 in -32..=95 {
            let difficulty = Difficulty::from_log2(log2);
            let expected = 2f64.powi(log2);
            // Target::difficulty_float divides difficulty 1 by the target.
            let seen = difficulty.target().difficulty_float();
            assert!((seen / expected - 1.0).abs() < 1e-12, "{log2}: {seen} is not {expected}");
        }
    }

    #[test]
    fn hash_equal_to_the_target_meets_it() {
        for log2 in [-32, 0, 12, 95] {
            let target = Difficulty::from_log2(log2).target();
            let mut hash = target.to_le_bytes();
            assert!(target.is_met_by(BlockHash::from_byte_array(hash)), "2^{log2}");
            // One more, counted from the lowest byte.
            hash[0] += 1;
            assert!(!target.is_met_by(BlockHash::from_byte_array(hash)), "2^{log2}");
        }
    }

    #[test]
    fn a_target_above_max_target_is_never_assigned() {
        let max_target = Difficulty::from_log2(10).target();
        assert_eq!(Difficulty::easiest_within(max_target), Some(Difficulty::from_log2(10)));
        let mut harder = max_target.to_le_bytes();
        harder[24] -= 1; // The lowest byte that is not zero: slightly harder than 2^10.
        let harder = Target::from_le_bytes(harder);
        let given = Difficulty::easiest_within(harder).unwrap();
        assert!(given.target() <= harder);
        assert_eq!(Difficulty::easiest_within(Target::from_le_bytes([0; 32])), None);
        assert_eq!(Difficulty::easiest_within(Target::from_le_bytes([0xff; 32])), Some(Difficulty::MIN));
    }

    #[test]
    fn hardest_within_never_hides_a_block() {
        let network = bitcoin::CompactTarget::from_consensus(0x1702_1369);
        let target = Target::from_compact(network);
        let hardest = Difficulty::hardest_within(target);
        assert!(hardest.target() >= target);
        assert!(Difficulty::from_log2(i32::from(hardest.log2()) + 1).target() < target);
    }

    #[test]
    fn what_is_within_a_target_is_what_a_search_finds() {
        let all = || (-32..=95).map(Difficulty::from_log2);
        let ends = [Target::from_le_bytes([0; 32]), Target::from_le_bytes([0xff; 32])];
        let around = all().flat_map(|difficulty| {
            [-1, 0, 1].map(|step: i8| {
                let mut bytes = difficulty.target().to_le_bytes();
                let place = bytes.iter().position(|byte| *byte != 0).unwrap();
                bytes[place] = bytes[place].wrapping_add_signed(step);
                Target::from_le_bytes(bytes)
            })
        });
        for target in around.chain(ends) {
            let easiest = all().find(|difficulty| difficulty.target() <= target);
            assert_eq!(Difficulty::easiest_within(target), easiest, "{target:x}");
            let hardest = all().rev().find(|difficulty| difficulty.target() >= target);
            assert_eq!(Difficulty::hardest_within(target), hardest.unwrap_or(Difficulty::MIN), "{target:x}");
        }
    }

    #[test]
    fn number_rounds_up() {
        for (number, log2) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), ((1 << 60) + 1, 61), (u128::MAX, 95)] {
            assert_eq!(Difficulty::at_least(number.try_into().unwrap()), Difficulty::from_log2(log2), "{number}");
        }
    }

    #[test]
    fn hash_rate_rounds_up() {
        // 1 TH/s for 10 s is 2328.3 times 2^32 hashes: the next power of two is 4096.
        assert_eq!(Difficulty::for_hash_rate(1e12, 10.0), Difficulty::from_log2(12));
        assert_eq!(Difficulty::for_hash_rate(0.0, 10.0), Difficulty::MIN);
        assert_eq!(Difficulty::for_hash_rate(f64::NAN, 10.0), Difficulty::MIN);
        assert_eq!(Difficulty::for_hash_rate(f64::INFINITY, 10.0), Difficulty::MAX);
    }
}
