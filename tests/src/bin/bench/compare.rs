//! Adit beside the reference pool: what is compared, and what it is to come to.

use tests::load::Report;

use super::suite::{Run, SOCKETS, Scenario};

/// A figure of both pools, and the part of the reference's that Adit's is to be at most.
pub(crate) struct Comparison {
    /// What it is.
    pub(crate) name: &'static str,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// At most this part.
    pub(crate) target: f64,
    /// The load that it is taken from.
    scenario: Scenario,
    /// Takes it.
    value: fn(&Report) -> Option<f64>,
}

/// All comparisons.
pub(crate) const COMPARISONS: [Comparison; 8] = [
    Comparison {
        name: "CPU a share, as fast as they are taken, 100 connections",
        unit: "µs",
        target: 1.0 / 10.0,
        scenario: Scenario::Pipelined { connections: 100 },
        value: cpu_us,
    },
    Comparison {
        name: "CPU a share, as fast as they are taken, 1 connection",
        unit: "µs",
        target: 1.0 / 10.0,
        scenario: Scenario::Pipelined { connections: 1 },
        value: cpu_us,
    },
    Comparison {
        name: "CPU a share, 1,000 connections with 2 shares a second each",
        unit: "µs",
        target: 1.0 / 6.0,
        scenario: Scenario::Paced { connections: 1_000, per_second: 2.0 },
        value: cpu_us,
    },
    Comparison {
        name: "the same: acknowledged after, at the median",
        unit: "ms",
        target: 1.0,
        scenario: Scenario::Paced { connections: 1_000, per_second: 2.0 },
        value: |report| report.acknowledgement_us.map(|times| times.p50 as f64 / 1e3),
    },
    Comparison {
        name: "CPU a new connection",
        unit: "µs",
        target: 1.0 / 3.0,
        scenario: Scenario::Connect,
        value: cpu_us,
    },
    Comparison {
        name: "new tip, from the first of 5,000 channels to the last",
        unit: "ms",
        target: 1.0 / 5.0,
        scenario: Scenario::Tip { connections: 5_000, weight: 0 },
        value: |report| report.tips.as_ref().map(|tips| tips.first_to_last_us.p50 as f64 / 1e3),
    },
    Comparison {
        name: "memory an idle connection",
        unit: "kB",
        target: 1.0 / 8.0,
        scenario: Scenario::Memory { connections: 4_000 },
        value: |report| report.memory.as_ref().map(|memory| memory.idle_bytes_per_connection / 1e3),
    },
    Comparison {
        name: "memory a connection with a share a second",
        unit: "kB",
        target: 1.0 / 4.0,
        scenario: Scenario::Memory { connections: 4_000 },
        value: |report| report.memory.as_ref().map(|memory| memory.busy_bytes_per_connection / 1e3),
    },
];

fn cpu_us(report: &Report) -> Option<f64> {
    report.server.as_ref().map(|server| server.cpu_us_per_unit)
}

impl Comparison {
    /// Returns the reference's figure and Adit's, if both were measured.
    pub(crate) fn of(&self, runs: &[Run]) -> Option<(f64, f64)> {
        Some((self.figure(runs, "reference")?, self.figure(runs, "adit")?))
    }

    /// Returns what the same messages cost between sockets alone, if that was measured.
    pub(crate) fn of_sockets(&self, runs: &[Run]) -> Option<f64> {
        self.figure(runs, SOCKETS)
    }

    fn figure(&self, runs: &[Run], pool: &str) -> Option<f64> {
        let run = runs.iter().find(|run| run.pool == pool && run.scenario == self.scenario)?;
        (self.value)(&run.report)
    }
}
