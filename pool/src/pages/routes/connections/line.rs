//! A connection in a line, as all these pages show it.

use std::{sync::Arc, time::Instant};

use crate::{
    mining::difficulty::Difficulty,
    pages::show::{Ago, Ends, HashRate},
    stratum::roster::{
        ConnectionId, Seat, Stage,
        channel::{LiveChannel, Together},
    },
};

/// A connection in a line.
pub(super) struct Line {
    pub(super) id: ConnectionId,
    pub(super) peer: String,
    pub(super) device: String,
    pub(super) stage: &'static str,
    pub(super) channels: usize,
    /// Whom it mines for, if that is one; else how many they are.
    pub(super) account: Option<Ends>,
    pub(super) accounts: usize,
    pub(super) declared: HashRate,
    pub(super) measured: HashRate,
    pub(super) difficulty: String,
    pub(super) shares_a_minute: String,
    pub(super) last_frame: Option<Ago>,
    pub(super) last_error: Option<&'static str>,
}

/// How a connection ended.
pub(super) struct EndView {
    pub(super) at: Ago,
    pub(super) reason: String,
    pub(super) code: &'static str,
}

impl Line {
    /// Shows a connection.
    pub(super) fn new(seat: &Seat, now: Instant, now_ms: i64) -> Line {
        let channels = seat.channels();
        let mut addresses: Vec<&str> = channels.iter().map(|channel| channel.address()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let Together { recent, nominal_hash_rate, .. } = Together::of(&channels, now);
        Line {
            id: seat.id(),
            peer: seat.peer().to_string(),
            device: seat.set_up().map_or_else(String::new, |it| format!("{} {}", it.vendor, it.firmware)),
            stage: stage(seat),
            channels: seat.ending().map_or(channels.len(), |ending| ending.channels),
            account: match addresses.as_slice() {
                [one] => Some(Ends((*one).to_owned())),
                _ => None,
            },
            accounts: addresses.len(),
            declared: HashRate(nominal_hash_rate),
            measured: HashRate(recent.hash_rate),
            difficulty: difficulties(&channels),
            shares_a_minute: format!("{:.1}", recent.shares_per_minute),
            last_frame: seat.last_frame_at_ms().map(|at_ms| Ago { at_ms, now_ms }),
            last_error: seat.last_error().map(|error| error.code),
        }
    }
}

fn stage(seat: &Seat) -> &'static str {
    match (seat.ending().is_some(), seat.stage()) {
        (true, _) => "ended",
        (false, Stage::Connected) => "connected",
        (false, Stage::Answered) => "shook hands",
        (false, Stage::SetUp) => "set up",
    }
}

/// The difficulty of the channels; the least and the greatest, if they differ.
fn difficulties(channels: &[Arc<LiveChannel>]) -> String {
    let all = channels.iter().map(|channel| channel.target().difficulty);
    match (all.clone().min(), all.max()) {
        (Some(least), Some(greatest)) if least != greatest => format!("{} \u{2013} {}", power(least), power(greatest)),
        (Some(least), _) => power(least),
        _ => String::new(),
    }
}

impl EndView {
    /// Shows how a connection ended; nothing of one that is open.
    pub(super) fn of(seat: &Seat, now_ms: i64) -> Option<EndView> {
        let ending = seat.ending()?;
        let at = Ago { at_ms: ending.at_ms, now_ms };
        Some(EndView { at, reason: ending.reason.words.clone(), code: ending.reason.code })
    }
}

/// A share difficulty, which is a power of two: whole where it can be.
pub(super) fn power(difficulty: Difficulty) -> String {
    if difficulty.log2() >= 0 { difficulty.to_string() } else { compact(difficulty.number()) }
}

/// A difficulty with three figures and a unit.
pub(super) fn compact(difficulty: f64) -> String {
    const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let (mut number, mut unit) = (difficulty, 0);
    while number >= 999.5 && unit + 1 < UNITS.len() {
        (number, unit) = (number / 1_000.0, unit + 1);
    }
    match number {
        0.0 => "0".to_owned(),
        ..0.01 => format!("{number:.1e}"),
        ..9.995 => format!("{number:.2}{}", UNITS[unit]),
        ..99.95 => format!("{number:.1}{}", UNITS[unit]),
        _ => format!("{number:.0}{}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulties_are_short() {
        for (number, text) in [(0.0, "0"), (0.5, "0.50"), (4096.0, "4.10k"), (1.2e13, "12.0T"), (3e-5, "3.0e-5")] {
            assert_eq!(compact(number), text);
        }
    }
}
