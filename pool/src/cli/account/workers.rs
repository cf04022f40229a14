//! `adit account workers`: its arguments, and what it prints.

use clap::Args;
use jiff::Timestamp;

use super::{AccountArguments, json};
use crate::{
    cli::{
        books::utc,
        table::{Align, Table},
    },
    config::Config,
    operations::workers::{WorkersReport, show_workers},
    store,
};

/// What each unit of a period has, in milliseconds.
const UNITS: [(char, i64); 3] = [('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)];
/// Names of a thousand hashes a second and their like.
const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// The end of the help.
pub(super) const EXAMPLE: &str = "\
Work is the sum of the shares' difficulties, and the hash rate what it comes to over the whole time. Shares of more than
two hours ago are kept as sums of up to an hour, and in the end not at all: the table says which time it covers.

Example:
  adit account workers bc1q... --since 7d";

/// Whose workers, and since when.
#[derive(Clone, Debug, Args)]
pub struct WorkersArguments {
    /// Whose.
    #[command(flatten)]
    pub account: AccountArguments,
    /// How long ago to begin: 90m, 24h, 7d
    #[arg(long, value_name = "PERIOD", default_value = "24h", value_parser = period_ms)]
    pub since: i64,
}

/// Reads the share log and returns what is to be printed.
///
/// # Errors
///
/// When the store cannot be read, or does not know the account.
pub(super) async fn print(arguments: WorkersArguments) -> anyhow::Result<String> {
    let WorkersArguments { account: AccountArguments { common, account }, since } = arguments;
    let config = Config::load(&common.config.config)?;
    let store = store::open_read_only(&config.store).await?;
    let report = show_workers(&*store, &account, since, Timestamp::now().as_millisecond()).await?;
    if common.json { json(&report) } else { text(&report) }
}

fn text(report: &WorkersReport) -> anyhow::Result<String> {
    let WorkersReport { account, address, from_ms, to_ms, workers } = report;
    let head = format!("Account   {account} {address}\nCovers    {} to {}\n", utc(*from_ms)?, utc(*to_ms)?);
    if workers.is_empty() {
        return Ok(format!("{head}No share was accepted.\n"));
    }
    let mut table = Table::new([
        ("WORKER", Align::Left),
        ("WORK", Align::Right),
        ("SHARES", Align::Right),
        ("LAST SHARE", Align::Left),
        ("HASH RATE", Align::Right),
    ]);
    for worker in workers {
        let name = if worker.worker.is_empty() { "-" } else { &worker.worker };
        table.push([
            name.to_owned(),
            figures(worker.work),
            worker.shares.to_string(),
            utc(worker.last_share_at_ms)?,
            hash_rate(worker.hash_rate),
        ]);
    }
    Ok(format!("{head}\n{table}"))
}

/// Reads a period, such as `24h`.
fn period_ms(text: &str) -> Result<i64, String> {
    let unit = UNITS.iter().find_map(|(unit, ms)| Some((text.strip_suffix(*unit)?, ms)));
    let period = unit.and_then(|(number, ms)| Some(i64::from(number.parse::<u32>().ok()?) * ms));
    period.filter(|period| *period > 0).ok_or_else(|| format!("{text} is no period such as 90m, 24h or 7d"))
}

/// Writes a rate with three figures or more.
pub(in crate::cli) fn hash_rate(mut per_second: f64) -> String {
    let mut prefix = 0;
    while per_second >= 1_000.0 && prefix + 1 < PREFIXES.len() {
        per_second /= 1_000.0;
        prefix += 1;
    }
    format!("{} {}H/s", figures(per_second), PREFIXES[prefix])
}

/// Writes a number with three figures, or all of them before the point.
fn figures(number: f64) -> String {
    let before_point = if number >= 1.0 { number.log10().floor() } else { 0.0 };
    let decimals = if number > 0.0 && number < 0.01 { 8 } else { (2.0 - before_point).max(0.0) as usize };
    format!("{number:.decimals$}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payouts::account::AccountId;

    use super::*;
    use crate::operations::workers::WorkerReport;

    #[test]
    fn period_is_a_number_of_minutes_hours_or_days() {
        assert_eq!(["90m", "24h", "7d"].map(|text| period_ms(text).unwrap()), [5_400_000, 86_400_000, 604_800_000]);
        for wrong in ["", "h", "24", "24 h", "-1h", "0h", "1.5h", "24H", "1w"] {
            assert_eq!(period_ms(wrong).unwrap_err(), format!("{wrong} is no period such as 90m, 24h or 7d"));
        }
    }

    #[test]
    fn numbers_have_three_figures() {
        for (number, written) in [(0.0, "0.00"), (0.5, "0.50"), (1.0, "1.00"), (12.345, "12.3"), (1_024.0, "1024")] {
            assert_eq!(figures(number), written);
        }
        assert_eq!(figures(0.000_244_14), "0.00024414");
        for (rate, written) in [(999.0, "999 H/s"), (1e3, "1.00 kH/s"), (1.23e14, "123 TH/s"), (1e22, "10000 EH/s")] {
            assert_eq!(hash_rate(rate), written);
        }
    }

    #[test]
    fn workers_are_told_with_the_time_that_is_covered() {
        let worker = |worker: &str, shares| WorkerReport {
            worker: worker.to_owned(),
            work: 2048.0,
            shares,
            last_share_at_ms: 1_700_000_000_999,
            hash_rate: 2.5e12,
        };
        let report = WorkersReport {
            account: AccountId::new(3),
            address: "bc1q".to_owned(),
            from_ms: 1_699_990_000_000,
            to_ms: 1_700_000_001_000,
            workers: vec![worker("", 7), worker("rig-1", 12)],
        };
        let expected = "Account   3 bc1q\n\
                        Covers    2023-11-14T19:26:40Z to 2023-11-14T22:13:21Z\n\n\
                        WORKER  WORK  SHARES  LAST SHARE            HASH RATE\n\
                        -       2048       7  2023-11-14T22:13:20Z  2.50 TH/s\n\
                        rig-1   2048      12  2023-11-14T22:13:20Z  2.50 TH/s\n";
        assert_eq!(text(&report).unwrap(), expected);
        let nobody = WorkersReport { workers: vec![], ..report };
        assert!(text(&nobody).unwrap().ends_with("22:13:21Z\nNo share was accepted.\n"));
    }
}
