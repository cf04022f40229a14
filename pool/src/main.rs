//! `adit`: arguments in, exit status out. The work is done by the library.
//!
//! What the exit statuses mean is said in [`pool::cli::exit`]. Errors are one line on stderr; stdout has only what was
//! asked for.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, ensure};
use clap::FromArgMatches;
use payouts::{crediting::PeriodNumber, store::Store};
use pool::{
    cli::{
        Cli, Command, ExplainArguments, ExplainPeriodArguments, LedgerCommand, StoreCommand, account, books,
        check::{self, Verdict},
        config::{self as config_cli, ConfigCommand},
        connections,
        exit::ExitStatus,
        export, help, payout, port, probe, reload, reserve, sale, screening, store, token,
    },
    config::Config,
    init::init,
    reload::{Loaded, SetLog},
    template::nodes::Nodes,
};
use tracing_subscriber::EnvFilter;

#[allow(clippy::print_stderr)]
fn main() -> ExitCode {
    // Ends the process with its own status when the command line is wrong, or help is asked for.
    let arguments = help::command().get_matches();
    let cli = Cli::from_arg_matches(&arguments).unwrap_or_else(|error| error.exit());
    match perform(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adit: {error:#}");
            ExitCode::from(ExitStatus::of(&error).code())
        }
    }
}

fn perform(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init(arguments) => print(&format!("{}\n", init(&arguments.into())?)),
        Command::Run(arguments) => run(&arguments.config),
        Command::Check(arguments) => {
            let mut verdict = None;
            answer(async {
                let (report, found) = check::perform(&arguments).await?;
                verdict = Some(found);
                Ok(report)
            })?;
            verdict.map_or(Ok(()), Verdict::into_result)
        }
        Command::Config(ConfigCommand::Show(arguments)) => print(&config_cli::show(&arguments)?),
        Command::Ledger(LedgerCommand::Show(arguments)) => {
            read_books(&arguments.config.config, async |store| books::show_ledger(store, arguments.last).await)
        }
        Command::Ledger(LedgerCommand::Verify(arguments)) => {
            let config = Config::load(&arguments.config.config)?;
            let nodes = (!arguments.offline).then(|| Nodes::new(&config.bitcoind, config.network));
            answer(async {
                let store = pool::store::open_read_only(&config.store).await?;
                books::verify(&*store, nodes.as_ref()).await
            })
        }
        Command::Ledger(LedgerCommand::Explain(arguments)) => {
            let ExplainArguments { config, block, account } = arguments;
            read_books(&config.config, async |store| books::explain(store, block, &account).await)
        }
        Command::Payout(command) => answer(payout::perform(command)),
        Command::Export(command) => answer(export::perform(command)),
        Command::Ledger(LedgerCommand::ExplainPeriod(arguments)) => {
            let ExplainPeriodArguments { config, period, account } = arguments;
            let period = PeriodNumber::new(period);
            read_books(&config.config, async |store| books::explain_period(store, period, &account).await)
        }
        Command::Account(command) => answer(account::perform(command)),
        Command::Reserve(command) => answer(reserve::perform(command)),
        Command::Screening(command) => answer(screening::screening(command)),
        Command::Party(command) => answer(screening::party(command)),
        Command::Sale(command) => answer(sale::perform(command)),
        Command::Reload(arguments) => answer(reload::perform(&arguments)),
        Command::Metrics(arguments) => answer(port::metrics(&arguments)),
        Command::Token(command) => answer(token::perform(command)),
        Command::Connections(command) => answer(connections::perform(command)),
        Command::Bans(command) => answer(port::bans(command)),
        Command::Completions(arguments) => write(&help::completions(arguments)),
        Command::Probe(arguments) => {
            let mut violations = 0;
            answer(async {
                let (report, found) = probe::perform(&arguments).await?;
                violations = found;
                Ok(report)
            })?;
            ensure!(violations == 0, "the pool breaks rules of the protocol: {violations}");
            Ok(())
        }
        Command::Store(StoreCommand::Backup(arguments)) => {
            let config = Config::load(&arguments.config.config)?;
            answer(store::backup(&config.store, &arguments.file))
        }
        Command::Store(StoreCommand::Copy(arguments)) => {
            let config = Config::load(&arguments.config.config)?;
            answer(store::copy(&config.store, &arguments.to))
        }
    }
}

fn run(config: &Path) -> anyhow::Result<()> {
    let loaded = Loaded::read(config)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&loaded.config.log)?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter_reloading();
    let filter = log.reload_handle();
    let set_log: SetLog = Box::new(move |text| {
        let filter_wanted = EnvFilter::try_new(text).map_err(|error| error.to_string())?;
        filter.reload(filter_wanted).map_err(|error| error.to_string())
    });
    log.init();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let outcome = runtime.block_on(pool::run(loaded, set_log));
    // A call to a node that does not answer must not keep the process: what it was for is on disk.
    runtime.shutdown_background();
    outcome
}

/// Opens the store of a config, without changing it, for one question.
fn read_books(config: &Path, question: impl AsyncFnOnce(&dyn Store) -> anyhow::Result<String>) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    answer(async {
        let store = pool::store::open_read_only(&config.store).await?;
        question(&*store).await
    })
}

/// Waits for the answer to a question and prints it.
fn answer(question: impl Future<Output = anyhow::Result<String>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    print(&runtime.block_on(question)?)
}

/// Prints to stdout. A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    write(text.as_bytes())
}

fn write(bytes: &[u8]) -> anyhow::Result<()> {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}
