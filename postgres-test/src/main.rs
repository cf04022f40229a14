//! Runs a command with a PostgreSQL server beside it: `postgres-test COMMAND ARGUMENT...`.
//!
//! The command finds the server's URL in `ADIT_TEST_POSTGRES`. One that was started for it is stopped after it.

use std::{
    env,
    process::{Command, ExitCode},
};

use anyhow::Context;
use postgres_test::{SERVER_VARIABLE, Server};

/// Runs the command and passes its exit status on.
fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let command = arguments.next().context("what is to be run with a server?")?;
    let server = Server::find_or_start()?;
    let status = Command::new(&command).args(arguments).env(SERVER_VARIABLE, server.url()).status();
    let status = status.with_context(|| format!("cannot run {}", command.display()))?;
    // A command that was ended by a signal has no status of its own.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
