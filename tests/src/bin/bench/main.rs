//! The benchmarks: the pieces with criterion, the whole pool under load, and beside the reference pool. Writes what was
//! measured to `benchmarks/` and, for readers, `BENCHMARKS.md`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)]

mod chart;
mod compare;
mod machine;
mod micro;
mod page;
mod pages;
mod suite;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Parser;
use serde::{Serialize, de::DeserializeOwned};
use tests::{
    foreign::{REFERENCE_POOL, install_missing},
    load::target::Program,
};

use crate::{
    machine::Machine,
    page::{Results, render},
    suite::{COMPARED, alone},
};

/// Measures Adit, and writes BENCHMARKS.md.
#[derive(Parser)]
struct Arguments {
    /// Measures it beside the reference pool instead, which is built first: 10 to 30 minutes, once
    #[arg(long)]
    reference: bool,
    /// Leaves out the microbenchmarks, and keeps the figures of the last run
    #[arg(long, conflicts_with = "reference")]
    no_pieces: bool,
    /// Measures only how soon pages and the API answer, and keeps all other figures of the last runs
    #[arg(long, conflicts_with_all = ["reference", "no_pieces"])]
    pages: bool,
    /// How long each load is measured
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// The project's folder
    #[arg(long, default_value = ".")]
    project: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    bitcoind_regtest::find_or_build()?;
    let folder = arguments.project.join("benchmarks");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let [alone_file, compared_file, pages_file] =
        ["alone", "reference", "pages"].map(|name| folder.join(name.to_owned() + ".json"));
    if arguments.reference {
        write(&compared_file, &compared(&arguments)?)?;
    } else {
        if !arguments.pages {
            let before = read(&alone_file)?;
            write(&alone_file, &measure_alone(&arguments, before)?)?;
        }
        write(&pages_file, &pages::measure()?)?;
    }
    let (alone, compared): (Option<Results>, Option<Results>) = (read(&alone_file)?, read(&compared_file)?);
    let of_pages = read(&pages_file)?;
    if let Some(results) = &alone {
        chart::draw(&results.points(), &folder.join("chart.svg"))?;
    }
    let page = render(alone.as_ref(), compared.as_ref(), of_pages.as_ref())?;
    let path = arguments.project.join("BENCHMARKS.md");
    fs::write(&path, &page).with_context(|| format!("write {}", path.display()))?;
    println!("{page}");
    Ok(())
}

/// Measures the pieces, then Adit under load.
fn measure_alone(arguments: &Arguments, before: Option<Results>) -> anyhow::Result<Results> {
    let machine = Machine::describe()?;
    let figures = match (arguments.no_pieces, before) {
        (true, Some(before)) => before.figures,
        _ => micro::run(&target_folder()?)?,
    };
    let runs = alone().into_iter().map(|scenario| suite::run(Program::Adit, scenario, arguments.seconds));
    Ok(Results { machine, figures, runs: runs.collect::<Result<_, _>>()? })
}

/// Measures both pools under each load, in turn.
fn compared(arguments: &Arguments) -> anyhow::Result<Results> {
    install_missing(&[REFERENCE_POOL])?;
    let machine = Machine::describe()?;
    let mut runs = Vec::new();
    for scenario in COMPARED {
        for program in [Program::Reference, Program::Adit] {
            runs.push(suite::run(program, scenario, arguments.seconds)?);
        }
        runs.extend(suite::run_sockets(scenario, arguments.seconds)?);
    }
    Ok(Results { machine, figures: Vec::new(), runs })
}

/// Returns the folder that cargo builds in: this program lies in a folder of it.
fn target_folder() -> anyhow::Result<PathBuf> {
    let executable = std::env::current_exe().context("this program has a place")?;
    Ok(executable.ancestors().nth(2).context("it lies in a folder of builds")?.to_owned())
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(Some(serde_json::from_slice(&text).with_context(|| format!("{} is of another version", path.display()))?))
}

fn write(path: &Path, results: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(results)?;
    fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
}
