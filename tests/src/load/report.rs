//! What a load has found: as values with documented names and units, as JSON, and as a table.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{crew::Sums, tally::Tally};

/// The result of one run. Parts that the mode does not measure are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The mode: `pipelined`, `paced`, `connect`, `tip`, `memory`, `restart`, `soak`, or one of bare sockets.
    pub mode: String,
    /// `standard` or `extended`.
    pub kind: String,
    /// Connections at one time.
    pub connections: usize,
    /// Channels of each connection.
    pub channels: usize,
    /// How long was measured, in seconds.
    pub seconds: f64,
    /// CPU time that this client used meanwhile, in seconds; of all its threads.
    pub client_cpu_seconds: f64,
    /// What the server used meanwhile, if its process is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerCost>,
    /// Shares while it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<Shares>,
    /// Shares from the first to the last, with those before and after what was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares_in_all: Option<Shares>,
    /// From a share's submission to its acknowledgement, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledgement_us: Option<Percentiles>,
    /// Connections that were opened while it was measured; those of the other modes are opened before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
    /// What new tips did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tips: Option<Tips>,
    /// How a restart went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarted: Option<Restarted>,
    /// What the server held in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Connections that ended by themselves in the whole run, by the reason.
    pub lost_connections: BTreeMap<String, u64>,
    /// Messages of the server that made no sense in the whole run, by what was wrong with them.
    pub faults: BTreeMap<String, u64>,
}

/// CPU time of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerCost {
    /// User and system time of all threads while it was measured, in seconds.
    pub cpu_seconds: f64,
    /// What one unit cost, in microseconds.
    pub cpu_us_per_unit: f64,
    /// The unit: `acknowledged share`, `connection`, `channel and tip` or `message`.
    pub unit: String,
}

/// Counts of shares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Sent to the server.
    pub submitted: u64,
    /// Accepted, as the server's acknowledgements count them.
    pub acknowledged: u64,
    /// Acknowledged a second.
    pub acknowledged_per_second: f64,
    /// Acknowledgements whose count is not that of the submissions up to their sequence number.
    pub miscounted_acknowledgements: u64,
    /// The sum of the difficulties that the server's acknowledgements name.
    pub work_sum: u64,
    /// Refused, by the server's code.
    pub refused: BTreeMap<String, u64>,
    /// In flight when their connection was lost: stored or not, nobody knows.
    pub unknown: u64,
    /// Without an answer at the end, on connections that lived.
    pub unanswered: u64,
    /// Due and not sent: too many waited for an answer, or their connection was away.
    pub held_back: u64,
    /// Headers hashed here whose hash was above the target, and which were not sent.
    pub misses: u64,
    /// Headers hashed here that were blocks, and which were not sent.
    pub blocks: u64,
    /// The longest time without any acknowledgement, on all connections of one thread, in seconds.
    pub longest_silence_seconds: f64,
}

/// Times, by the part of all that took no longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many there are.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// Half took no longer.
    pub p50: u64,
    /// 90 % took no longer.
    pub p90: u64,
    /// 99 % took no longer.
    pub p99: u64,
    /// 99.9 % took no longer.
    pub p99_9: u64,
    /// The longest.
    pub max: u64,
}

/// New connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// Those on which every channel has got its first job.
    pub count: u64,
    /// Such connections a second.
    pub per_second: f64,
    /// From the start of a connection to the first jobs of all its channels, in microseconds.
    pub opening_us: Percentiles,
}

/// New tips: all times are over all tips of the run, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tips {
    /// How many there were.
    pub count: u64,
    /// The fewest channels that turned to one of them; with the observer's own.
    pub channels_least: usize,
    /// From the node's notice of the tip, as `waitfornewblock` gives it to this client, to the first `SetNewPrevHash`.
    pub node_to_first_us: Percentiles,
    /// From the node's notice to the last channel's `SetNewPrevHash`.
    pub node_to_last_us: Percentiles,
    /// From the first channel's `SetNewPrevHash` to the last one's.
    pub first_to_last_us: Percentiles,
    /// From the first channel's `SetNewPrevHash` to each channel's.
    pub spread_us: Percentiles,
    /// From the node's notice to the first job with transactions. Absent if there was none in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_to_first_full_us: Option<Percentiles>,
    /// From the node's notice to the last channel's job with transactions. Absent if a channel got none in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_to_last_full_us: Option<Percentiles>,
}

/// A restart of the server under load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restarted {
    /// From SIGTERM to the end of the process, in seconds.
    pub stop_seconds: f64,
    /// From the start of the next process until it listens, in seconds.
    pub start_seconds: f64,
    /// From SIGTERM until all channels have a job again, in seconds.
    pub all_back_seconds: f64,
}

/// The server's resident memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Before the first connection, in bytes.
    pub before_bytes: u64,
    /// With all connections open and idle, after a moment, in bytes.
    pub idle_bytes: u64,
    /// At the end of the load, in bytes.
    pub busy_bytes: u64,
    /// When all connections have been closed for a moment, in bytes.
    pub after_bytes: u64,
    /// What an idle connection added, in bytes.
    pub idle_bytes_per_connection: f64,
    /// What a busy connection added, in bytes.
    pub busy_bytes_per_connection: f64,
}

impl Percentiles {
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: histogram.max(),
        }
    }
}

impl Shares {
    pub(super) fn of(tally: &Tally, unanswered: u64, time: Duration) -> Self {
        Self {
            submitted: tally.submitted,
            acknowledged: tally.acknowledged,
            acknowledged_per_second: tally.acknowledged as f64 / time.as_secs_f64(),
            miscounted_acknowledgements: tally.miscounted,
            work_sum: tally.work_sum,
            refused: tally.refused.clone(),
            unknown: tally.unknown,
            unanswered,
            held_back: tally.held_back,
            misses: tally.spoiled.misses,
            blocks: tally.spoiled.blocks,
            longest_silence_seconds: tally.longest_silence_us as f64 / 1e6,
        }
    }

    /// Returns how many shares were refused.
    pub fn refused_count(&self) -> u64 {
        self.refused.values().sum()
    }
}

impl Report {
    /// Notes what went wrong on connections in the whole run.
    pub(super) fn with_troubles(mut self, sums: &Sums) -> Self {
        self.lost_connections = sums.total.lost.clone();
        self.faults = sums.total.faults.iter().map(|(&what, &count)| (what.to_owned(), count)).collect();
        self
    }
}

/// A table: a line for each figure.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, kind, connections, channels, seconds, .. } = self;
        writeln!(f, "{mode}: {connections} connections with {channels} {kind} channels each, {seconds:.1} s")?;
        let mut line = |name: &str, value: String| writeln!(f, "  {name:<28} {value}");
        line("client CPU", format!("{:.2} s", self.client_cpu_seconds))?;
        if let Some(server) = &self.server {
            let ServerCost { cpu_seconds, cpu_us_per_unit, unit } = server;
            line("server CPU", format!("{cpu_seconds:.2} s, {cpu_us_per_unit:.2} us a {unit}"))?;
        }
        for (name, shares) in [("shares", &self.shares), ("shares in all", &self.shares_in_all)] {
            let Some(shares) = shares else { continue };
            let Shares { submitted, acknowledged, acknowledged_per_second: rate, unknown, unanswered, .. } = shares;
            let more = format!("{} refused, {unknown} unknown, {unanswered} unanswered", shares.refused_count());
            line(name, format!("{submitted} sent, {acknowledged} acknowledged ({rate:.0}/s), {more}"))?;
            for (code, count) in &shares.refused {
                line("", format!("{count} refused: {code}"))?;
            }
            let Shares { held_back, misses, blocks, miscounted_acknowledgements: miscounted, .. } = shares;
            line(
                "",
                format!("{held_back} held back, {misses} misses, {blocks} blocks, {miscounted} miscounted answers"),
            )?;
            line("longest silence", format!("{:.3} s", shares.longest_silence_seconds))?;
        }
        if let Some(times) = &self.acknowledgement_us {
            line("acknowledgement", times.to_string())?;
        }
        if let Some(opened) = &self.opened {
            line("opened", format!("{} ({:.0}/s)", opened.count, opened.per_second))?;
            line("opening", opened.opening_us.to_string())?;
        }
        if let Some(tips) = &self.tips {
            line("tips", format!("{}, to {} channels at least", tips.count, tips.channels_least))?;
            let times = [
                ("node to first channel", Some(&tips.node_to_first_us)),
                ("node to last channel", Some(&tips.node_to_last_us)),
                ("first to last channel", Some(&tips.first_to_last_us)),
                ("first to each channel", Some(&tips.spread_us)),
                ("node to first full job", tips.node_to_first_full_us.as_ref()),
                ("node to last full job", tips.node_to_last_full_us.as_ref()),
            ];
            // Where there was nothing to take a time of, none is shown.
            for (name, times) in times.into_iter().filter(|(_, times)| times.is_none_or(|times| times.count > 0)) {
                line(name, times.map_or_else(|| "none in time".into(), Percentiles::to_string))?;
            }
        }
        if let Some(Restarted { stop_seconds, start_seconds, all_back_seconds }) = self.restarted {
            line("restart", format!("ends in {stop_seconds:.2} s, listens {start_seconds:.2} s later"))?;
            line("all channels are back", format!("{all_back_seconds:.2} s after the end was asked for"))?;
        }
        if let Some(memory) = &self.memory {
            let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
            let each = |bytes: f64| format!("{:.1} kB a connection", bytes / 1e3);
            line("memory before", mb(memory.before_bytes))?;
            line("memory idle", format!("{}, {}", mb(memory.idle_bytes), each(memory.idle_bytes_per_connection)))?;
            line("memory busy", format!("{}, {}", mb(memory.busy_bytes), each(memory.busy_bytes_per_connection)))?;
            line("memory after", mb(memory.after_bytes))?;
        }
        for (reason, count) in &self.lost_connections {
            line("lost connections", format!("{count}: {reason}"))?;
        }
        for (what, count) in &self.faults {
            line("faults of the pool", format!("{count}: {what}"))?;
        }
        Ok(())
    }
}

/// Times in milliseconds.
impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u64| us as f64 / 1e3;
        let Self { p50, p90, p99, p99_9, max, .. } = *self;
        write!(
            f,
            "p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2} ms",
            ms(p50),
            ms(p90),
            ms(p99),
            ms(p99_9),
            ms(max)
        )
    }
}
