//! Programs of others that the tests run beside Adit: the clients and the pool of the Stratum V2 reference
//! implementation, in the versions that the tests were written for.
//!
//! Owns where they come from: one that the environment names, or a build in the user's cache folder, laid out as `cargo
//! install --root` does it. How each is run is in its own file below.

mod install;
mod mining_device;
mod process;
mod reference_pool;
mod translator;

use std::{env, path::PathBuf};

use anyhow::{Context, ensure};

pub use self::{
    install::{install_missing, is_installed},
    mining_device::{MiningDevice, MiningDeviceOptions},
    process::Process,
    reference_pool::{ReferencePool, ReferencePoolOptions},
    translator::{Translator, TranslatorOptions},
};

/// A program of a published crate, at one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The crate.
    pub package: &'static str,
    /// Its exact version. Another one is another program: it is built anew, and the tests have to be looked at.
    pub version: &'static str,
    /// The name of the executable.
    pub binary: &'static str,
    /// The environment variable that names an executable to use instead.
    pub variable: &'static str,
    /// Whether its speed is measured, so that it is built as users build it, however long that takes.
    pub is_measured: bool,
}

/// A Stratum V2 miner on the CPU, of the reference implementation's own tests. It opens a standard channel.
pub const MINING_DEVICE: Program = Program {
    package: "integration_tests_sv2",
    version: "0.6.0",
    binary: "mining_device",
    variable: "MINING_DEVICE_EXE",
    is_measured: false,
};

/// The proxy between Stratum V1 miners and a Stratum V2 pool.
pub const TRANSLATOR: Program = Program {
    package: "translator_sv2",
    version: "0.6.0",
    binary: "translator_sv2",
    variable: "TRANSLATOR_EXE",
    is_measured: false,
};

/// The pool.
pub const REFERENCE_POOL: Program =
    Program { package: "pool_sv2", version: "0.7.0", binary: "pool_sv2", variable: "POOL_SV2_EXE", is_measured: true };

/// All programs that the tests need.
pub const CLIENTS: [Program; 3] = [MINING_DEVICE, TRANSLATOR, REFERENCE_POOL];

impl Program {
    /// Finds the executable: the one that the environment names, else the one in the cache folder.
    ///
    /// # Errors
    ///
    /// If there is none in the pinned version.
    pub fn executable(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = self.named() {
            ensure!(path.is_file(), "{} names {}, which is no file", self.variable, path.display());
            return Ok(path);
        }
        let Program { package, version, binary, .. } = self;
        ensure!(is_installed(self)?, "there is no {binary} of {package} {version}: `make test-interop` builds it");
        Ok(self.root()?.join("bin").join(binary))
    }

    /// Returns the folder that it is installed to. Builds that are measured have one of their own, so that none that was
    /// made in a hurry is taken for one.
    fn root(&self) -> anyhow::Result<PathBuf> {
        Ok(if self.is_measured { cache_folder()?.join("measured") } else { cache_folder()? })
    }

    fn named(&self) -> Option<PathBuf> {
        env::var_os(self.variable).filter(|path| !path.is_empty()).map(PathBuf::from)
    }
}

/// Returns the folder of all builds: `adit/interop` in `XDG_CACHE_HOME` or `~/.cache`.
///
/// # Errors
///
/// If the environment names neither.
pub fn cache_folder() -> anyhow::Result<PathBuf> {
    Ok(cache_root()?.join("interop"))
}

/// Returns the folder of all that the tests keep from run to run: `adit` in `XDG_CACHE_HOME` or `~/.cache`.
///
/// # Errors
///
/// If the environment names neither.
pub fn cache_root() -> anyhow::Result<PathBuf> {
    let named = |variable| env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    let cache = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("adit"))
}
