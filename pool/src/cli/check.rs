//! `adit check`: what could keep the pool from working, each with its cure.

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use super::{
    exit,
    request::{CommonArguments, json},
    table::{Align, Table},
};
use crate::{
    check::{self, Finding, Severity},
    config::Config,
};

/// How to look.
#[derive(Clone, Debug, Args)]
pub struct CheckArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// Fail on warnings as well
    #[arg(long)]
    pub strict: bool,
}

/// What was found, for programs.
#[derive(Clone, Debug, Serialize)]
struct Report<'a> {
    errors: usize,
    warnings: usize,
    findings: &'a [Finding],
}

/// Looks at everything. Returns what to print, and whether the command fails by it.
///
/// # Errors
///
/// When the configuration is wrong.
pub async fn perform(arguments: &CheckArguments) -> anyhow::Result<(String, Verdict)> {
    let config = Config::load(&arguments.common.config.config)?;
    let findings = check::check(&config).await;
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let verdict = Verdict { errors, warnings, strict: arguments.strict };
    let report = Report { errors, warnings, findings: &findings };
    Ok((if arguments.common.json { json(&report)? } else { text(&report) }, verdict))
}

/// Whether the pool may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    errors: usize,
    warnings: usize,
    strict: bool,
}

impl Verdict {
    /// Fails if something is wrong.
    ///
    /// # Errors
    ///
    /// When there are errors, or warnings where those count too.
    pub fn into_result(self) -> anyhow::Result<()> {
        let Self { errors, warnings, strict } = self;
        ensure!(errors == 0, "something is not as it must be: {errors} errors, {warnings} warnings");
        ensure!(!strict || warnings == 0, "something could be better: {warnings} warnings");
        Ok(())
    }
}

/// The end of the help.
pub(super) fn example() -> String {
    let statuses = exit::line();
    format!(
        "Each finding names its cure; docs/runbook.md has a section for each by its name. Errors keep the pool from \
         starting, mining\nor paying; with warnings it works.\n\nExample:\n  adit check --config pool/adit.toml\n\n{statuses}"
    )
}

fn text(report: &Report<'_>) -> String {
    let mut table = Table::new([("", Align::Left), ("CHECK", Align::Left), ("FOUND", Align::Left)]);
    for Finding { check, severity, message, cure } in report.findings {
        let mark = match severity {
            Severity::Ok => "ok",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
        };
        table.push([mark.to_owned(), check.as_str().to_owned(), message.replace('\n', ", ")]);
        if let Some(cure) = cure {
            table.push([String::new(), String::new(), format!("-> {cure}")]);
        }
    }
    format!("{table}\nerrors: {}, warnings: {}\n", report.errors, report.warnings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckId;

    #[test]
    fn findings_are_listed_with_their_cures() {
        let finding = |severity, cure| Finding { check: CheckId::Port, severity, message: "it\nis".to_owned(), cure };
        let findings = [finding(Severity::Ok, None), finding(Severity::Error, Some("do this"))];
        let text = text(&Report { errors: 1, warnings: 0, findings: &findings });
        assert!(text.contains("ok     port   it, is\nERROR  port   it, is\n              -> do this\n"), "{text}");
        assert!(text.ends_with("\nerrors: 1, warnings: 0\n"), "{text}");
    }

    #[test]
    fn warnings_fail_only_where_they_are_to() {
        let verdict = |errors, warnings, strict| Verdict { errors, warnings, strict }.into_result().is_ok();
        assert!(verdict(0, 0, true) && verdict(0, 3, false));
        assert!(!verdict(0, 3, true) && !verdict(1, 0, false));
    }
}
