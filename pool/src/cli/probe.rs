//! `adit probe`: its arguments, and its report as text.

use std::{fmt::Write, time::Duration};

use clap::Args;

use crate::probe::{
    self, DEFAULT_USER, ProbeConfig,
    check::Severity,
    report::{Line, Outcome, Report},
    url::PoolUrl,
};

/// What follows the help of the command.
const AFTER_HELP: &str = "\
Exit status:
  0  no violation was found (advice may have been given)
  1  violations were found
  2  the command line is wrong
  4  the pool cannot be reached

It makes ten connections at most, three at a time, submits up to fifty shares, and closes its channels.

Example:
  adit probe --user bc1q... stratum2+tcp://pool.example.com:34254/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

/// Which pool to check, and how.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ProbeArguments {
    /// The pool: stratum2+tcp://HOST:PORT/AUTHORITY_KEY. Without the key, its certificate is not checked
    #[arg(value_name = "URL")]
    pub url: PoolUrl,
    /// The user whose channels are opened, as the pool knows users
    #[arg(long, value_name = "IDENTITY", default_value = DEFAULT_USER)]
    pub user: String,
    /// How long an answer may take
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub timeout: u64,
    /// How long to wait for new jobs and tips; with less than a minute, silence is not checked
    #[arg(long, value_name = "SECONDS", default_value_t = 65, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub patience: u64,
    /// How long one search for a share may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub search: u64,
    /// The hash rate to claim, in hashes a second: the lower, the easier the shares
    #[arg(long, value_name = "RATE", default_value_t = 100_000.0)]
    pub hash_rate: f32,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Probes and returns the report as text, and how many violations there are.
///
/// # Errors
///
/// If the pool cannot be reached: [`probe::Unreachable`].
pub async fn perform(arguments: &ProbeArguments) -> anyhow::Result<(String, usize)> {
    let ProbeArguments { url, user, timeout, patience, search, hash_rate, json } = arguments.clone();
    let config = ProbeConfig {
        url,
        user,
        timeout: Duration::from_secs(timeout),
        patience: Duration::from_secs(patience),
        search_time: Duration::from_secs(search),
        hash_rate,
    };
    let report = probe::probe(&config).await?;
    let violations = report.broken(Severity::Violation);
    let text = if json { serde_json::to_string_pretty(&report)? + "\n" } else { text(&report) };
    Ok((text, violations))
}

/// Lists every check below its area, and counts.
fn text(report: &Report) -> String {
    let mut text = format!("{}\n", report.pool);
    let mut area = None;
    let width = report.checks.iter().map(|line| line.id.len()).max().unwrap_or(0);
    for line in &report.checks {
        if area.replace(line.area) != Some(line.area) {
            writeln!(text, "\n{}", line.area.heading()).expect("a String takes everything");
        }
        list(&mut text, line, width).expect("a String takes everything");
    }
    let (violations, advice) = (report.broken(Severity::Violation), report.broken(Severity::Advice));
    let (held, not_checked) = (report.held(), report.not_checked());
    let seconds = report.duration_ms.div_ceil(1000);
    let counts = format!("violations: {violations}, advice: {advice}, held: {held}, not checked: {not_checked}");
    text + &format!("\n{counts} ({seconds} s)\n")
}

fn list(text: &mut String, line: &Line, width: usize) -> std::fmt::Result {
    let Line { id, severity, source, must_hold, outcome, .. } = line;
    match outcome {
        Outcome::Held => writeln!(text, "  ok           {id:<width$}  {source}"),
        Outcome::NotChecked { reason } => {
            writeln!(text, "  not checked  {id:<width$}  {source}")?;
            writeln!(text, "                 {reason}")
        }
        Outcome::Broken { expected, seen } => {
            let mark = if *severity == Severity::Violation { "VIOLATION" } else { "advice" };
            writeln!(text, "  {mark:<11}  {id:<width$}  {source}")?;
            writeln!(text, "                 {must_hold}")?;
            writeln!(text, "                 expected: {expected}")?;
            writeln!(text, "                 seen:     {seen}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{check::Check, report::Findings};

    #[test]
    fn report_names_what_is_broken_and_why_something_was_not_checked() {
        let mut findings = Findings::default();
        findings.broken(Check::LowShare, "SubmitShares.Error", "SubmitShares.Success");
        findings.broken(Check::JobDiffers, "another time", "job 2 is job 1 again");
        findings.held(Check::UsedVersion);
        let text = text(&findings.into_report("stratum2+tcp://pool.example:1".into(), 1_200, "the door was shut"));
        for expected in [
            "\nSHARES\n",
            "  VIOLATION    low-share ",
            "                 seen:     SubmitShares.Success\n",
            "  advice       job-differs ",
            "  ok           used-version ",
            "                 the door was shut\n",
            "violations: 1, advice: 1, held: 1, ",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }
}
