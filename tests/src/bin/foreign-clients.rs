//! Installs the clients of others that `make test-interop` runs against Adit: minutes, once for each version.
//!
//! With `--check` it only tells whether all are there: by its exit status, and by the names of those that are not.

use std::process::ExitCode;

use clap::Parser;
use tests::foreign::{CLIENTS, Program, install_missing, is_installed};

#[derive(Parser)]
#[command(about = "Installs the foreign clients that Adit is tested with")]
struct Arguments {
    /// Only tells whether all are there
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    if !Arguments::parse().check {
        install_missing(&CLIENTS)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut all = ExitCode::SUCCESS;
    for program in &CLIENTS {
        if !is_installed(program)? {
            let Program { package, version, binary, .. } = program;
            println!("{binary} of {package} {version} is not there");
            all = ExitCode::FAILURE;
        }
    }
    Ok(all)
}
