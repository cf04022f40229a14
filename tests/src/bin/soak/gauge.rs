//! What a process holds: memory, files, threads; and whether that stays level over its life.

use std::{fs, time::Instant};

use anyhow::Context;
use serde::Serialize;

/// Samples at the beginning of a life that are not looked at: caches fill.
const WARM_UP_PARTS: usize = 3;
/// Fewer samples than this say nothing.
const FEWEST: usize = 9;
/// By how much memory may grow between the first and the last third of what is looked at: noise of an allocator, and a
/// part of what there was.
const MEMORY_NOISE_BYTES: f64 = 16.0 * 1024.0 * 1024.0;
const MEMORY_PART: f64 = 0.10;
/// By how many files and threads: reading connections and blocking calls come and go.
const COUNT_NOISE: f64 = 12.0;

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    /// Since the process began, in seconds.
    pub(crate) at_s: f64,
    /// Resident memory.
    pub(crate) resident_bytes: u64,
    /// Open files.
    pub(crate) files: usize,
    /// Threads.
    pub(crate) threads: usize,
}

impl Sample {
    /// Looks at a process that began at `begun`.
    pub(crate) fn of(pid: u32, begun: Instant) -> anyhow::Result<Self> {
        let count =
            |folder: &str| -> anyhow::Result<usize> { Ok(fs::read_dir(format!("/proc/{pid}/{folder}"))?.count()) };
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|line| line.trim().strip_suffix("kB")).context("no VmRSS")?;
        Ok(Self {
            at_s: begun.elapsed().as_secs_f64(),
            resident_bytes: kilobytes.trim().parse::<u64>()? * 1024,
            files: count("fd")?,
            threads: count("task")?,
        })
    }
}

/// How what a process holds has changed over its life.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Level {
    /// What grew more than it may; nothing if all is well.
    pub(crate) grown: Vec<String>,
    /// The fitted growth of memory, in bytes a minute.
    pub(crate) memory_bytes_per_minute: f64,
    /// The samples it follows from.
    pub(crate) samples: usize,
}

/// Compares the first and the last third of a life's samples, without its beginning. None if there are too few.
pub(crate) fn level(samples: &[Sample]) -> Option<Level> {
    let samples = &samples[samples.len() / WARM_UP_PARTS..];
    if samples.len() < FEWEST {
        return None;
    }
    let third = samples.len() / 3;
    let (first, last) = (&samples[..third], &samples[samples.len() - third..]);
    let mut grown = Vec::new();
    let mut compare = |name: &str, value: fn(&Sample) -> f64, noise: f64, part: f64| {
        // The middle one of each: a moment's peak is no leak.
        let (before, after) = (median(first, value), median(last, value));
        let most = before * (1.0 + part) + noise;
        if after > most {
            grown.push(format!("{name} grew from {before:.0} to {after:.0}, and {most:.0} is the most"));
        }
    };
    compare("resident memory", |sample| sample.resident_bytes as f64, MEMORY_NOISE_BYTES, MEMORY_PART);
    compare("open files", |sample| sample.files as f64, COUNT_NOISE, 0.0);
    compare("threads", |sample| sample.threads as f64, COUNT_NOISE, 0.0);
    Some(Level { grown, memory_bytes_per_minute: slope(samples) * 60.0, samples: samples.len() })
}

fn median(samples: &[Sample], value: fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Memory over time by least squares, in bytes a second.
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let mean_at = samples.iter().map(|sample| sample.at_s).sum::<f64>() / count;
    let mean = samples.iter().map(|sample| sample.resident_bytes as f64).sum::<f64>() / count;
    let spread: f64 = samples.iter().map(|sample| (sample.at_s - mean_at).powi(2)).sum();
    let shared: f64 =
        samples.iter().map(|sample| (sample.at_s - mean_at) * (sample.resident_bytes as f64 - mean)).sum();
    if spread > 0.0 { shared / spread } else { 0.0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MIB: u64 = 1 << 20;

    fn life(memory_mib: impl Fn(u64) -> u64, files: impl Fn(u64) -> usize) -> Vec<Sample> {
        let sample = |number: u64| Sample {
            at_s: number as f64 * 30.0,
            resident_bytes: memory_mib(number) * MIB,
            files: files(number),
            threads: 10,
        };
        (0..40).map(sample).collect()
    }

    #[test]
    fn steady_growth_is_told_from_a_start_and_from_noise() {
        let warm = level(&life(|number| 40 + number.min(8) + number % 3, |number| 60 + number as usize % 7)).unwrap();
        assert_eq!(warm.grown, Vec::<String>::new());
        let leaky = level(&life(|number| 40 + 2 * number, |_| 60)).unwrap();
        assert!(leaky.grown.len() == 1 && leaky.grown[0].contains("resident memory"), "{leaky:?}");
        assert!((leaky.memory_bytes_per_minute / MIB as f64 - 4.0).abs() < 0.01, "{leaky:?}");
        let open = level(&life(|_| 40, |number| 60 + number as usize)).unwrap();
        assert!(open.grown.len() == 1 && open.grown[0].contains("open files"), "{open:?}");
        assert!(level(&life(|_| 40, |_| 60)[..10]).is_none());
    }
}
