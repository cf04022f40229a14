//! `adit reload`: has the running pool read its config file again.

use anyhow::{Context, bail};
use clap::Args;

use super::{
    request::{CommonArguments, printed},
    table::{Align, Table},
};
use crate::{
    config::Config,
    control,
    operations::{Outcome, Request},
    reload::{Change, ReloadReport},
};

/// What to do.
#[derive(Clone, Debug, Args)]
pub struct ReloadArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Asks the running pool, and returns what is to be printed.
///
/// # Errors
///
/// When the file is wrong, no pool runs, or it does not answer. Then the old settings stay in force.
pub async fn perform(arguments: &ReloadArguments) -> anyhow::Result<String> {
    let config = Config::load(&arguments.common.config.config)
        .context("nothing was changed, the settings of a running pool stay in force")?;
    let outcome = control::ask_running(&config.data_dir, &Request::Reload { dry_run: arguments.dry_run }).await?;
    let Outcome::Reloaded(_) = &outcome else { bail!("the running pool answers with something else: {outcome:?}") };
    printed(&outcome, &arguments.common)
}

/// The text for what a reload came to.
pub(super) fn text(report: &ReloadReport) -> String {
    let ReloadReport { dry_run, applied, needs_restart } = report;
    if applied.is_empty() && needs_restart.is_empty() {
        return "No setting differs from what is in force.\n".to_owned();
    }
    let mut table = Table::new(["SETTING", "FROM", "TO", "EFFECT"].map(|column| (column, Align::Left)));
    for Change { key, from, to, effect } in applied.iter().chain(needs_restart) {
        table.push([key.clone(), from.clone(), to.clone(), effect.clone()]);
    }
    let done = if *dry_run { "Would change" } else { "Changed" };
    format!("{table}\n{done}: {}. Need a restart: {}.\n", applied.len(), needs_restart.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_tells_what_changed_and_what_waits_for_a_restart() {
        let change = |key: &str, effect: &str| Change {
            key: key.to_owned(),
            from: "1".to_owned(),
            to: "2".to_owned(),
            effect: effect.to_owned(),
        };
        let mut report = ReloadReport::default();
        assert_eq!(text(&report), "No setting differs from what is in force.\n");
        report.applied.push(change("limits.handshakes", "reload"));
        report.needs_restart.push(change("payout.fee_bp", "restart"));
        let shown = text(&report);
        assert!(shown.contains("limits.handshakes  1     2   reload\n"), "{shown}");
        assert!(shown.ends_with("\nChanged: 1. Need a restart: 1.\n"), "{shown}");
        assert!(text(&ReloadReport { dry_run: true, ..report }).contains("Would change: 1."));
    }
}
