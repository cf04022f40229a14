//! What a soak has found, as a table and as JSON.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::ensure;
use serde::Serialize;

use crate::{
    gauge::{Level, Sample},
    recount::Count,
};

/// How long something took, of several times.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Took {
    /// How often it was measured.
    pub(crate) times: u32,
    /// The longest, in seconds.
    pub(crate) longest_s: f64,
    /// All together, in seconds.
    pub(crate) sum_s: f64,
}

impl Took {
    /// Adds one time.
    pub(crate) fn add(&mut self, time: Duration) {
        self.times += 1;
        self.longest_s = self.longest_s.max(time.as_secs_f64());
        self.sum_s += time.as_secs_f64();
    }
}

/// The result of a soak.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// What determined the troubles.
    pub(crate) seed: u64,
    /// How long things happened.
    pub(crate) minutes: f64,
    /// Where the books were.
    pub(crate) store: String,
    /// Connections.
    pub(crate) miners: usize,
    /// Shares a second of all together.
    pub(crate) shares_per_second: f64,
    /// How often what happened.
    pub(crate) troubles: BTreeMap<String, u32>,
    /// From the pool's start until it listened.
    pub(crate) starts: Took,
    /// From SIGTERM to the pool's end.
    pub(crate) ends: Took,
    /// From listening until all miners were connected and served.
    pub(crate) returns: Took,
    /// What was counted.
    pub(crate) count: Count,
    /// Whether the process that lived last held its level; nothing if it did not live long enough to tell.
    pub(crate) level: Option<Level>,
    /// What it held after each trouble.
    pub(crate) samples: Vec<Sample>,
}

impl Summary {
    /// Returns an error that says what is wrong, if anything is.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        let grown = self.level.iter().flat_map(|level| &level.grown);
        let wrong: Vec<&str> = self.count.wrong.iter().chain(grown).map(String::as_str).collect();
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, minutes, store, miners, shares_per_second, count, .. } = self;
        writeln!(
            f,
            "\n{minutes:.1} minutes on {store}, {miners} miners, {shares_per_second:.0} shares a second, seed {seed}"
        )?;
        for (trouble, times) in &self.troubles {
            writeln!(f, "  {times:4}  {trouble}")?;
        }
        let mut took = |what: &str, took: &Took| {
            let mean_s = took.sum_s / f64::from(took.times.max(1));
            writeln!(f, "  {what:<28} {} times, {mean_s:.2} s, at most {:.2} s", took.times, took.longest_s)
        };
        took("started", &self.starts)?;
        took("ended", &self.ends)?;
        took("all miners served again", &self.returns)?;
        let Count { submitted, acknowledged, stored, unknown, counted, lost_connections, blocks, .. } = count;
        writeln!(
            f,
            "  {submitted} shares submitted, {acknowledged} acknowledged, {stored} stored, {counted} counted by a block"
        )?;
        writeln!(f, "  {} stored of {unknown} whose answer was lost", stored.saturating_sub(*acknowledged))?;
        writeln!(f, "  refused {:?}; {lost_connections} connections lost, {blocks} blocks booked", count.refused)?;
        match &self.level {
            Some(level) => {
                let Level { memory_bytes_per_minute, samples, grown } = level;
                let kib = memory_bytes_per_minute / 1024.0;
                writeln!(f, "  memory {kib:+.0} KiB a minute over {samples} calm moments; grown: {grown:?}")?;
            }
            None => writeln!(f, "  the last process did not live long enough to tell whether it held its level")?,
        }
        let wrong = &count.wrong;
        writeln!(f, "  {}", if wrong.is_empty() { "nothing is wrong".to_owned() } else { wrong.join("\n  ") })
    }
}
