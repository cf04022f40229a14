//! `BENCHMARKS.md`: the figures for a reader.

use std::fmt::{self, Write};

use ::tests::load::Report;
use serde::{Deserialize, Serialize};

use super::{
    chart::Point,
    compare::COMPARISONS,
    machine::Machine,
    micro::Figure,
    pages::{self, PageResults},
    suite::{FULL_WEIGHT, Run, STEPS, Scenario},
};

/// What one call of the program has measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Results {
    /// Where and when.
    pub(crate) machine: Machine,
    /// Pieces alone; none in a comparison.
    pub(crate) figures: Vec<Figure>,
    /// Whole pools under load.
    pub(crate) runs: Vec<Run>,
}

impl Results {
    /// Returns what was measured of Adit under a load.
    fn adit(&self, scenario: Scenario) -> Option<&Report> {
        self.runs.iter().find(|run| run.pool == "adit" && run.scenario == scenario).map(|run| &run.report)
    }

    /// Returns the chart's points.
    pub(crate) fn points(&self) -> Vec<Point> {
        let point = |connections| {
            let report = self.adit(Scenario::Pipelined { connections })?;
            let (times, shares) = (report.acknowledgement_us?, report.shares.as_ref()?);
            Some(Point {
                connections: u32::try_from(connections).ok()?,
                rate: shares.acknowledged_per_second,
                median_ms: times.p50 as f64 / 1e3,
                p99_ms: times.p99 as f64 / 1e3,
            })
        };
        STEPS.into_iter().filter_map(point).collect()
    }
}

const BEGINNING: &str = "# Benchmarks

What Adit costs, measured by `make bench` and `make bench-vs-reference`, which write this page. Both use a bitcoind of
their own, the release build, SQLite on the disk, and durable acknowledgements: a share is answered when it is on disk
with `fsync`. The load comes from the same machine, from one thread of a client that is made for it
(`cargo run --release -p tests --bin load -- --help`), so pool and client share the cores. CPU time is that of the
pool's process as Linux counts it, memory its resident size. Figures of one run vary by some percent, and more on a
machine that does other things; ratios are of one run.

Both pools are told to take shares of any speed: the easiest difficulty, never raised, and no bound that such a load would
reach. For Adit these are `stratum.shares_per_minute`, `initial_difficulty` and `min_difficulty`, `limits.messages_per_second`,
`bytes_per_second` and `shares_per_job` (`tests/src/load/target.rs`).
";

/// Writes the page.
pub(crate) fn render(
    alone: Option<&Results>,
    compared: Option<&Results>,
    of_pages: Option<&PageResults>,
) -> Result<String, fmt::Error> {
    let mut page = BEGINNING.to_owned();
    if let Some(results) = compared {
        comparison(&mut page, results)?;
    }
    if let Some(results) = alone {
        under_load(&mut page, results)?;
        targets(&mut page, results)?;
    }
    if let Some(results) = of_pages {
        pages::section(&mut page, results)?;
    }
    if let Some(results) = alone {
        pieces(&mut page, results)?;
    }
    Ok(page)
}

pub(super) fn measured_on(page: &mut String, machine: &Machine) -> fmt::Result {
    let Machine { day, processor, cores, memory_gib, kernel, rustc, load_before } = machine;
    writeln!(
        page,
        "{day}, {processor}, {cores} cores, {memory_gib} GiB, Linux {kernel}, {rustc}; load average before: \
         {load_before:.2}.\n"
    )
}

fn comparison(page: &mut String, results: &Results) -> fmt::Result {
    writeln!(page, "\n## Beside the reference pool\n")?;
    writeln!(page, "`pool_sv2` 0.7.0, built by `cargo install`, on the same node and under the same load, in turn.")?;
    measured_on(page, &results.machine)?;
    writeln!(
        page,
        "Sockets alone: a server that reads and writes as many bytes as often, on as many connections, from one thread, and \
         does nothing else. What is due at certain times cannot cost less: where a target lies below it, no pool that \
         acknowledges each share within a tenth of a second meets it on this machine. (The reference pool acknowledges every \
         tenth share.)\n"
    )?;
    writeln!(page, "| | unit | reference | Adit | ratio | target | sockets alone |\n|---|---|--:|--:|--:|--:|--:|")?;
    for row in &COMPARISONS {
        let (name, unit, target) = (row.name, row.unit, 1.0 / row.target);
        let sockets = row.of_sockets(&results.runs).map(short).unwrap_or_default();
        match row.of(&results.runs) {
            Some((reference, adit)) => {
                let ratio = reference / adit;
                let met = if ratio >= target { "met" } else { "missed" };
                let (reference, adit) = (short(reference), short(adit));
                writeln!(
                    page,
                    "| {name} | {unit} | {reference} | {adit} | 1/{ratio:.1} | 1/{target:.0}, {met} | {sockets} |"
                )?;
            }
            None => writeln!(page, "| {name} | {unit} | | | not measured | 1/{target:.0} | {sockets} |")?,
        }
    }
    Ok(())
}

fn under_load(page: &mut String, results: &Results) -> fmt::Result {
    writeln!(page, "\n## Under load\n")?;
    measured_on(page, &results.machine)?;
    writeln!(page, "![Rate and latency against connections](benchmarks/chart.svg)\n")?;
    writeln!(page, "| load | connections | shares/s | CPU a share | client's CPU | median | p99 | p99.9 |")?;
    writeln!(page, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
    for Run { scenario, report, .. } in &results.runs {
        let load = match scenario {
            Scenario::Pipelined { .. } => "as fast as they are taken".to_owned(),
            Scenario::Rate { per_second, .. } => format!("{} a second in all", thousands(u64::from(*per_second))),
            Scenario::Paced { per_second, .. } => format!("{per_second} a second on each"),
            Scenario::Connect | Scenario::Tip { .. } | Scenario::Memory { .. } | Scenario::Restart { .. } => continue,
        };
        let (Some(shares), Some(server), Some(times)) = (&report.shares, &report.server, report.acknowledgement_us)
        else {
            continue;
        };
        let (connections, rate) = (thousands(report.connections as u64), shares.acknowledged_per_second);
        let client_us = report.client_cpu_seconds * 1e6 / shares.acknowledged.max(1) as f64;
        let ms = |us: u64| format!("{} ms", short(us as f64 / 1e3));
        let (cpu_us, rate) = (short(server.cpu_us_per_unit), thousands(rate.round() as u64));
        let (p50, p99, p99_9) = (ms(times.p50), ms(times.p99), ms(times.p99_9));
        let client_us = short(client_us);
        writeln!(page, "| {load} | {connections} | {rate} | {cpu_us} µs | {client_us} µs | {p50} | {p99} | {p99_9} |")?;
    }
    Ok(())
}

/// Targets that are not ratios to the reference.
fn targets(page: &mut String, results: &Results) -> fmt::Result {
    let p99_ms = |report: &Report| report.acknowledgement_us.map(|times| times.p99 as f64 / 1e3);
    let cpu_us = |report: &Report| report.server.as_ref().map(|server| server.cpu_us_per_unit);
    let rate = |connections| results.adit(Scenario::Rate { connections, per_second: 10_000 }).and_then(cpu_us);
    let tips =
        results.adit(Scenario::Tip { connections: 100, weight: FULL_WEIGHT }).and_then(|report| report.tips.as_ref());
    let many = results.adit(Scenario::Memory { connections: 10_000 }).and_then(|report| report.memory.as_ref());
    let burst = results.adit(Scenario::Rate { connections: 1_000, per_second: 20_000 });
    let restarted = results.adit(Scenario::Restart { connections: 5_000 }).and_then(|report| report.restarted.as_ref());
    let growth = rate(10_000).zip(rate(100)).map(|(many, few)| many / few);
    let rows = [
        ("acknowledgement at 20,000 shares/s, p99", "ms", 250.0, burst.and_then(p99_ms)),
        (
            "from the node's new tip to the first `SetNewPrevHash`, full templates, median",
            "ms",
            5.0,
            tips.map(|tips| tips.node_to_first_us.p50 as f64 / 1e3),
        ),
        (
            "10,000 idle connections with a channel each, all memory",
            "MB",
            250.0,
            many.map(|memory| memory.idle_bytes as f64 / 1e6),
        ),
        ("CPU a share with 10,000 connections, compared with 100", "times", 4.0 / 3.0, growth),
        ("restart under load, until it listens", "s", 2.0, restarted.map(|restarted| restarted.start_seconds)),
        (
            "SIGTERM under load, until 5,000 channels have a job again",
            "s",
            10.0,
            restarted.map(|restarted| restarted.all_back_seconds),
        ),
    ];
    writeln!(page, "\n| target | unit | at most | measured | |\n|---|---|--:|--:|---|")?;
    for (name, unit, most, measured) in rows {
        let verdict = measured.map_or("not measured", |measured| if measured <= most { "met" } else { "missed" });
        let measured = measured.map(short).unwrap_or_default();
        writeln!(page, "| {name} | {unit} | {} | {measured} | {verdict} |", short(most))?;
    }
    if let Some(full) = tips.and_then(|tips| tips.node_to_first_full_us) {
        writeln!(page, "\nThe first job with transactions follows the tip after {} ms.", short(full.p50 as f64 / 1e3))?;
    }
    Ok(())
}

fn pieces(page: &mut String, results: &Results) -> fmt::Result {
    writeln!(page, "\n## Pieces\n")?;
    writeln!(
        page,
        "Medians of microbenchmarks. A floor is the least that any program would do for the same, such as the \
         cryptography and the hashes alone, measured in the same run.\n"
    )?;
    writeln!(page, "| piece | median | floor | ratio |\n|---|--:|--:|--:|")?;
    for Figure { name, median_ns, floor_ns } in &results.figures {
        let floor = floor_ns.map(time).unwrap_or_default();
        let ratio = floor_ns.map(|floor_ns| format!("{:.1}", median_ns / floor_ns)).unwrap_or_default();
        writeln!(page, "| {name} | {} | {floor} | {ratio} |", time(*median_ns))?;
    }
    Ok(())
}

/// Writes a time with the unit that suits it.
pub(super) fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{} ns", short(ns)),
        ns if ns < 1e6 => format!("{} µs", short(ns / 1e3)),
        ns if ns < 1e9 => format!("{} ms", short(ns / 1e6)),
        ns => format!("{} s", short(ns / 1e9)),
    }
}

/// Writes a figure with about three digits.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1_000.0 => thousands(figure.round() as u64),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// Writes a whole number with its thousands apart.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_their_unit() {
        let times = [512.3, 2_512.3, 51_000_000.0, 3.7e9].map(time);
        assert_eq!(times, ["512 ns", "2.51 µs", "51.0 ms", "3.70 s"]);
        assert_eq!([0, 999, 1_000, 12_345_678].map(thousands), ["0", "999", "1,000", "12,345,678"]);
    }
}
