//! The command line: what `adit` can be asked to do.
//!
//! Owns the arguments and their help. What the commands print about the books is in [`books`]; the work itself belongs
//! to the modules that the commands are named after.

pub mod account;
mod alone;
pub mod books;
pub mod check;
pub mod config;
pub mod connections;
pub mod exit;
pub mod export;
pub mod help;
pub mod payout;
pub mod port;
pub mod probe;
pub mod reload;
mod report;
pub mod request;
pub mod reserve;
pub mod sale;
pub mod screening;
pub mod store;
pub mod table;
pub mod token;
mod value;

use std::{net::SocketAddr, path::PathBuf};

use bitcoin::{BlockHash, Network};
use clap::{
    Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use payouts::account::User;

use crate::{
    config::NETWORKS,
    init::{CONFIG_FILE, Descriptors, NewPool},
};

/// A Stratum V2 Bitcoin mining pool.
#[derive(Debug, Parser)]
#[command(name = "adit", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new pool's config file and keys
    #[command(after_help = exit::example("adit init --network mainnet --dir pool --public-host pool.example.org"))]
    Init(InitArguments),
    /// Run the pool until SIGINT or SIGTERM
    #[command(after_help = exit::example("adit run --config pool/adit.toml"))]
    Run(ConfigArguments),
    /// Have the running pool read its config file again, and say what changed and what needs a restart
    #[command(after_help = exit::example_for_running("adit reload --dry-run"))]
    Reload(reload::ReloadArguments),
    /// Look for what could keep the pool from working, before it does: nodes, keys, port, database, lists, clock, disk
    #[command(after_help = check::example())]
    Check(check::CheckArguments),
    /// Look at the settings and where each came from
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Look at the books; the pool may be running
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Look at payouts and decide about them; the pool may be running
    #[command(subcommand)]
    Payout(payout::PayoutCommand),
    /// Look at the register of coins that left the pool, value them, write and check reports
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Look at what screening by sanctions lists found, and release whom operators clear; the pool may be running
    #[command(subcommand)]
    Screening(screening::ScreeningCommand),
    /// Say who owns the addresses that are paid; the pool may be running
    #[command(subcommand)]
    Party(screening::PartyCommand),
    /// Sell coin that the pool has earned itself to a desk, step by step; the pool may be running
    #[command(subcommand)]
    Sale(sale::SaleCommand),
    /// Make a backup of the books, or move them
    #[command(subcommand)]
    Store(StoreCommand),
    /// Add, name and list accounts, look at or change what one asks for; the pool may be running
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Look at or fill the reserve out of which PPS, FPPS and PPS+ pay work; the pool may be running
    #[command(subcommand)]
    Reserve(reserve::ReserveCommand),
    /// Print what the running pool has counted, in the OpenMetrics text format
    #[command(after_help = exit::example_for_running("adit metrics"))]
    Metrics(ConfigArguments),
    /// Give and take tokens of the admin API; the pool may be running
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Look at the connections of miners, end one or have its client connect again; the pool must be running
    #[command(subcommand)]
    Connections(connections::ConnectionsCommand),
    /// Look at or lift bans of addresses; the pool must be running
    #[command(subcommand)]
    Bans(port::BansCommand),
    /// Check whether a Stratum V2 pool, this or another, keeps the rules that miners depend on
    Probe(probe::ProbeArguments),
    /// Print the script by which a shell completes commands and options
    #[command(after_help = help::completions_example())]
    Completions(help::CompletionsArguments),
}

/// What to do with the ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Print the balances and the latest entries
    #[command(after_help = exit::example("adit ledger show --last 20"))]
    Show(ListArguments),
    /// Recompute all of the books from their first entry, compare them with the node's chain, and name the first record
    /// that is wrong
    #[command(after_help = exit::example("adit ledger verify"))]
    Verify(VerifyArguments),
    /// Tell how a miner's credit of a block came about, from its shares to the satoshi, and check that against the ledger
    #[command(after_help = exit::example("adit ledger explain 00000000000000000001... bc1q..."))]
    Explain(ExplainArguments),
    /// The same of a miner's credit for the work of a period
    #[command(after_help = exit::example("adit ledger explain-period 12 bc1q..."))]
    ExplainPeriod(ExplainPeriodArguments),
}

/// What to do with the database.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Copy an SQLite database to a new file and check the copy; the pool may be running
    #[command(after_help = exit::example("adit store backup /backup/adit-2026-11-01.sqlite"))]
    Backup(BackupArguments),
    /// Copy the books from SQLite to an empty PostgreSQL database and check that all arrived; the pool must be stopped
    #[command(after_help = exit::example("adit store copy --to store.url"))]
    Copy(CopyArguments),
}

/// Where the settings are.
#[derive(Clone, Debug, Args)]
pub struct ConfigArguments {
    /// The config file
    #[arg(long, env = "ADIT_CONFIG", default_value = CONFIG_FILE, value_name = "FILE")]
    pub config: PathBuf,
}

/// What to print.
#[derive(Clone, Debug, Args)]
pub struct ListArguments {
    /// Where the settings are.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// How many, counted from the newest
    #[arg(long, default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub last: u32,
}

/// What to compare the books with.
#[derive(Clone, Debug, Args)]
pub struct VerifyArguments {
    /// Where the settings are.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Do not ask the node: check only that the books agree with themselves
    #[arg(long)]
    pub offline: bool,
}

/// What to explain.
#[derive(Clone, Debug, Args)]
pub struct ExplainArguments {
    /// Where the settings are.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The hash of the block
    #[arg(value_name = "BLOCK")]
    pub block: BlockHash,
    /// The miner's payout address, or the account's name
    #[arg(value_name = "ACCOUNT")]
    pub account: User,
}

/// What to explain.
#[derive(Clone, Debug, Args)]
pub struct ExplainPeriodArguments {
    /// Where the settings are.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The number of the period: the key of its entry
    #[arg(value_name = "PERIOD")]
    pub period: i64,
    /// The miner's payout address, or the account's name
    #[arg(value_name = "ACCOUNT")]
    pub account: User,
}

/// Where a backup goes.
#[derive(Clone, Debug, Args)]
pub struct BackupArguments {
    /// Where the settings are.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The new file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Where the books go.
#[derive(Clone, Debug, Args)]
pub struct CopyArguments {
    /// Where the settings are.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// A file of mode 0600 with the URL of the database, postgres://user:password@host/database
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
}

/// What a new pool starts with.
#[derive(Clone, Debug, Args)]
pub struct InitArguments {
    /// The network whose blocks are mined
    #[arg(long, default_value = "mainnet", value_parser = network_parser())]
    pub network: Network,
    /// The folder of the new pool
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub dir: PathBuf,
    /// bitcoind's RPC address [default: this machine, the network's port]
    #[arg(long, value_name = "URL")]
    pub bitcoind_url: Option<String>,
    /// bitcoind's cookie file [default: the one in ~/.bitcoin]
    #[arg(long, value_name = "FILE")]
    pub cookie_file: Option<PathBuf>,
    /// Where to listen for miners [default: port 34254 of all addresses]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// The host, or host:port, by which miners reach this machine
    #[arg(long, value_name = "HOST")]
    pub public_host: Option<String>,
    /// Make no wallet key: the keys are elsewhere, and this is their public descriptor for coinbases (BIP 380)
    #[arg(long, value_name = "DESCRIPTOR", requires = "change")]
    pub watch_only: Option<String>,
    /// With --watch-only, the public descriptor for change
    #[arg(long, value_name = "DESCRIPTOR", requires = "watch_only")]
    pub change: Option<String>,
}

impl From<InitArguments> for NewPool {
    fn from(arguments: InitArguments) -> NewPool {
        let InitArguments { network, dir, bitcoind_url, cookie_file, listen, public_host, watch_only, change } =
            arguments;
        let watch_only = watch_only.zip(change).map(|(external, change)| Descriptors { external, change });
        NewPool { network, dir, bitcoind_url, cookie_file, listen, public_host, watch_only }
    }
}

fn network_parser() -> impl TypedValueParser<Value = Network> {
    PossibleValuesParser::new(NETWORKS.map(|(name, _)| name)).map(|given| {
        let known = NETWORKS.iter().find(|(name, _)| *name == given);
        known.map(|(_, network)| *network).expect("only the names of networks are taken")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_network_can_be_chosen() {
        for (name, network) in NETWORKS {
            let cli = Cli::try_parse_from(["adit", "init", "--network", name]).unwrap();
            let Command::Init(arguments) = cli.command else { panic!("not init") };
            assert_eq!(arguments.network, network);
        }
        let said = Cli::try_parse_from(["adit", "init", "--network", "testnet3"]).unwrap_err().to_string();
        assert!(said.contains("mainnet, testnet4, signet, regtest"), "{said}");
    }

    #[test]
    fn config_file_stands_in_the_present_folder_by_default() {
        let cli = Cli::try_parse_from(["adit", "run"]).unwrap();
        let Command::Run(arguments) = cli.command else { panic!("not run") };
        assert_eq!(arguments.config, PathBuf::from("adit.toml"));
    }
}
