//! Builds of foreign programs in the user's cache folder. Owns how they are built and how it is known that they are.

use std::{
    env,
    fs::{self, File},
    path::Path,
    process::Command,
};

use anyhow::{Context, ensure};

use super::{Program, cache_folder};

/// How those are built whose speed does not matter: to be ready soon on a small machine.
const QUICK_PROFILE: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
];

/// Tells whether a program is there, in its pinned version or by the environment.
///
/// # Errors
///
/// If there is no cache folder, or cargo cannot be asked.
pub fn is_installed(program: &Program) -> anyhow::Result<bool> {
    if program.named().is_some() {
        return Ok(true);
    }
    let root = program.root()?;
    // Without this, cargo would make the folder only to say that it is empty.
    if !root.join("bin").join(program.binary).is_file() {
        return Ok(false);
    }
    let output = cargo().args(["install", "--list", "--root"]).arg(&root).output().context("run cargo")?;
    ensure!(output.status.success(), "cargo install --list failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(lists(&String::from_utf8_lossy(&output.stdout), program))
}

/// Builds those that are not there, one after the other: minutes for each. Cargo tells its progress on standard error.
///
/// What they have in common is built once. Two processes that want the same wait for each other.
///
/// # Errors
///
/// If a build fails, or the cache folder cannot be written to.
pub fn install_missing(programs: &[Program]) -> anyhow::Result<()> {
    let root = cache_folder()?;
    fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
    let lock = File::create(root.join("install.lock"))?;
    lock.lock().context("lock the folder of the foreign programs")?;
    let target = root.join("target");
    for program in programs {
        if !is_installed(program)? {
            install(program, &program.root()?, &target)?;
        }
    }
    if target.exists() {
        fs::remove_dir_all(&target).with_context(|| format!("delete {}", target.display()))?;
    }
    Ok(())
}

fn install(program: &Program, root: &Path, target: &Path) -> anyhow::Result<()> {
    let Program { package, version, binary, is_measured, .. } = program;
    let profile: &[_] = if *is_measured { &[] } else { &QUICK_PROFILE };
    let status = cargo()
        .args(["install", "--locked", "--bin", binary, "--root"])
        .arg(root)
        .arg(format!("{package}@{version}"))
        .envs(profile.iter().copied())
        .env("CARGO_TARGET_DIR", target)
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "cargo install {package}@{version} failed: {status}");
    Ok(())
}

/// The cargo that runs this program, or that of the path.
fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Reads what `cargo install --list` prints: a line `package vVERSION:` for each crate, and below it the executables.
fn lists(output: &str, program: &Program) -> bool {
    let title = format!("{} v{}:", program.package, program.version);
    let below = output.lines().skip_while(|line| *line != title).skip(1);
    below.take_while(|line| line.starts_with(' ')).any(|line| line.trim() == program.binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str =
        "integration_tests_sv2 v0.6.0:\n    mining_device\n    other\ntranslator_sv2 v0.6.0:\n    translator_sv2\n";
    const PROGRAM: Program = Program {
        package: "integration_tests_sv2",
        version: "0.6.0",
        binary: "mining_device",
        variable: "NONE",
        is_measured: false,
    };

    #[test]
    fn program_is_there_only_in_its_version() {
        assert!(lists(LIST, &PROGRAM));
        assert!(lists(LIST, &Program { binary: "other", ..PROGRAM }));
        assert!(!lists(LIST, &Program { version: "0.6.1", ..PROGRAM }));
        assert!(!lists(LIST, &Program { version: "0.6", ..PROGRAM }));
        assert!(!lists("", &PROGRAM));
    }

    #[test]
    fn program_of_another_crate_does_not_count() {
        assert!(!lists(LIST, &Program { binary: "translator_sv2", ..PROGRAM }));
        assert!(!lists(LIST, &Program { package: "translator_sv2", ..PROGRAM }));
    }
}
