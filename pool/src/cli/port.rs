//! `adit metrics` and `adit bans`: what the running pool says of its miners' port.

use std::net::IpAddr;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::{
    ConfigArguments, exit,
    request::{CommonArguments, printed},
    table::{Align, Table},
};
use crate::{
    config::Config,
    control,
    operations::{
        Outcome, Request,
        port::{BanLifted, BanReport, Banned},
    },
};

/// What to do about bans.
#[derive(Clone, Debug, Subcommand)]
pub enum BansCommand {
    /// Print the addresses that are banned
    #[command(after_help = exit::example_for_running("adit bans list"))]
    List(CommonArguments),
    /// Ban an address, and end its connections
    #[command(after_help = exit::example_for_running("adit bans add 192.0.2.7 --minutes 60"))]
    Add(AddArguments),
    /// Let a banned address connect again
    #[command(after_help = exit::example_for_running("adit bans lift 192.0.2.7"))]
    Lift(LiftArguments),
}

/// Whom to ban.
#[derive(Clone, Debug, Args)]
pub struct AddArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The address; of IPv6, any of its network
    #[arg(value_name = "ADDRESS")]
    pub address: IpAddr,
    /// For how long; as configured unless something is said
    #[arg(long, value_name = "MINUTES")]
    pub minutes: Option<u32>,
}

/// Whose ban to lift.
#[derive(Clone, Debug, Args)]
pub struct LiftArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The address; of IPv6, any of its network
    #[arg(value_name = "ADDRESS")]
    pub address: IpAddr,
}

/// Asks the running pool for what it has counted.
///
/// # Errors
///
/// When no pool runs, or it does not answer.
pub async fn metrics(arguments: &ConfigArguments) -> anyhow::Result<String> {
    match ask(arguments, Request::Metrics).await? {
        Outcome::Metrics(text) => Ok(text),
        other => bail!("the running pool answers with something else: {other:?}"),
    }
}

/// Does what a command about bans says and returns what is to be printed.
///
/// # Errors
///
/// When no pool runs, or it does not answer.
pub async fn bans(command: BansCommand) -> anyhow::Result<String> {
    let (common, request) = match command {
        BansCommand::List(common) => (common, Request::Bans),
        BansCommand::Add(AddArguments { common, address, minutes }) => {
            (common, Request::Ban { address, seconds: minutes.map(|minutes| u64::from(minutes) * 60) })
        }
        BansCommand::Lift(LiftArguments { common, address }) => (common, Request::LiftBan { address }),
    };
    printed(&ask(&common.config, request).await?, &common)
}

/// Asks the running pool.
pub(super) async fn ask(arguments: &ConfigArguments, request: Request) -> anyhow::Result<Outcome> {
    let config = Config::load(&arguments.config)?;
    control::ask_running(&config.data_dir, &request).await
}

/// The text for the addresses that are banned.
pub(super) fn listed(bans: &[BanReport]) -> String {
    if bans.is_empty() {
        return "No address is banned.\n".to_owned();
    }
    let mut table = Table::new([("address", Align::Left), ("seconds left", Align::Right)]);
    for ban in bans {
        table.push([ban.origin.clone(), ban.left_s.to_string()]);
    }
    table.to_string()
}

/// The text for an address that was banned.
pub(super) fn banned(banned: &Banned) -> String {
    let Banned { origin, seconds, ended } = banned;
    format!("{origin} is banned for {seconds} s; connections that end: {ended}.\n")
}

/// The text for a ban that was lifted.
pub(super) fn lifted(lifted: &BanLifted) -> String {
    match lifted.already {
        false => format!("{} may connect again.\n", lifted.address),
        true => format!("{} was not banned.\n", lifted.address),
    }
}
