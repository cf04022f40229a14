//! What a number of shares tells of the work behind it, and how far chance may have moved it.
//!
//! Shares come by chance: so many of a difficulty stand for a work that is only known within a band.

use std::collections::BTreeMap;

use crate::share::{Difficulty, Work};

/// The quantile of the normal distribution that leaves one case in forty beyond it, on either side.
const Z: f64 = 1.959_963_984_540_054;

/// Shares of a stretch of time, counted by difficulty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured(BTreeMap<Difficulty, u64>);

/// Between what the work lies in 19 cases of 20, as difficulties. Never for money.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
}

impl Measured {
    /// Adds shares of a difficulty.
    pub fn add(&mut self, difficulty: Difficulty, count: u64) {
        *self.0.entry(difficulty).or_default() += count;
    }

    /// Returns the number of shares.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// Returns the sum of their difficulties.
    pub fn work(&self) -> Work {
        let works = self.0.iter().map(|(difficulty, count)| Work::of(*difficulty, *count));
        works.fold(Work::default(), Work::plus)
    }

    /// Returns between what the work lies that was done for them; nothing without shares, which tell nothing of difficulty.
    ///
    /// The variance of a sum of shares is that of Poisson numbers: the sum over difficulties of count times difficulty
    /// squared. So it has the spread of as many equal shares as are its square over its variance; for their number the
    /// limits are Byar's.
    pub fn band(&self) -> Option<Band> {
        let (mut sum, mut variance) = (0.0, 0.0);
        for (difficulty, count) in &self.0 {
            let (difficulty, count) = (f64::from(difficulty.log2()).exp2(), *count as f64);
            sum += count * difficulty;
            variance += count * difficulty * difficulty;
        }
        if sum <= 0.0 {
            return None;
        }
        let (count, each) = (sum * sum / variance, variance / sum);
        let cube = |count: f64, z: f64| {
            let root = 1.0 - 1.0 / (9.0 * count) + z / (3.0 * count.sqrt());
            count * root.max(0.0).powi(3)
        };
        Some(Band { low: each * cube(count, -Z), high: each * cube(count + 1.0, Z) })
    }
}

impl FromIterator<(Difficulty, u64)> for Measured {
    fn from_iter<T: IntoIterator<Item = (Difficulty, u64)>>(shares: T) -> Self {
        let mut measured = Self::default();
        shares.into_iter().for_each(|(difficulty, count)| measured.add(difficulty, count));
        measured
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn measured(shares: &[(i8, u64)]) -> Measured {
        shares.iter().map(|&(log2, count)| (Difficulty::from_log2(log2).unwrap(), count)).collect()
    }

    /// Exact limits of a Poisson mean: half the chi-squared quantiles.
    #[test]
    fn band_is_that_of_tables_of_the_poisson_distribution() {
        for (count, low, high) in
            [(3, 0.619, 8.767), (5, 1.623, 11.668), (10, 4.795, 18.390), (50, 37.11, 65.92), (1_000, 938.97, 1_063.95)]
        {
            let band = measured(&[(0, count)]).band().unwrap();
            assert!((band.low - low).abs() < 0.05 && (band.high - high).abs() < 0.05, "{count}: {band:?}");
        }
    }

    #[test]
    fn band_scales_with_the_difficulty() {
        let (one, thousandfold) = (measured(&[(0, 7)]).band().unwrap(), measured(&[(10, 7)]).band().unwrap());
        assert_eq!((one.low * 1_024.0, one.high * 1_024.0), (thousandfold.low, thousandfold.high));
    }

    #[test]
    fn few_hard_shares_among_many_easy_ones_widen_the_band() {
        let (equal, mixed) = (measured(&[(4, 64)]), measured(&[(4, 32), (9, 1)]));
        assert_eq!(equal.work(), mixed.work());
        let width = |measured: &Measured| measured.band().map(|band| band.high - band.low).unwrap();
        assert!(width(&mixed) > 2.0 * width(&equal));
    }

    #[test]
    fn no_shares_have_no_band() {
        assert_eq!((measured(&[]).band(), measured(&[]).count()), (None, 0));
    }
}
