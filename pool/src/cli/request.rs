//! What commands have in common that ask for something: the running pool does it, or else the command itself.

use clap::Args;
use serde::Serialize;

use super::{ConfigArguments, alone, exit, report};
use crate::{
    config::Config,
    control,
    operations::{Outcome, Request},
};

/// The two ways a command is done, for the help of each.
const NOTES: &str = "\
A running pool does it itself, over the socket in its data folder; if none runs, the command does.";

/// Where the settings are, and how the outcome is printed.
#[derive(Clone, Debug, Args)]
pub struct CommonArguments {
    /// Where the settings are.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// The end of a command's help.
pub(super) fn example(command: &str) -> String {
    format!("Example:\n  {command}\n\n{NOTES}\n\n{}", exit::line())
}

/// Has a request done, by the running pool or else here.
///
/// # Errors
///
/// When it was refused or could not be done, with the reason and the cure.
pub(super) async fn ask(config: &Config, request: Request) -> anyhow::Result<Outcome> {
    match control::ask(&config.data_dir, &request).await? {
        Some(reply) => Ok(reply?),
        None => alone::perform(config, request).await,
    }
}

/// Returns what is printed of an outcome.
///
/// # Errors
///
/// When a time in it is none.
pub(super) fn printed(outcome: &Outcome, common: &CommonArguments) -> anyhow::Result<String> {
    if common.json { json(outcome) } else { report::text(outcome) }
}

/// Returns a report as it is printed for programs.
///
/// # Errors
///
/// When it cannot be written as JSON.
pub(super) fn json(report: &impl Serialize) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(report)?))
}
