//! What can be wrong with the configuration, in the operator's words.

use std::{io, path::PathBuf};

use super::settings::variable_of;

/// What is wrong with the configuration. Each message names the key as the operator wrote it, and the cure.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The config file cannot be read.
    #[error("cannot read the config file {}", path.display())]
    Unreadable {
        /// The config file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The config file is not TOML.
    #[error("{} is not valid TOML: line {line}: {reason}", path.display())]
    Syntax {
        /// The config file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{key} is not a setting; the nearest one is {nearest}")]
    UnknownKey {
        /// The key as written, with where.
        key: String,
        /// The known key that looks most like it, as it would be written in the same place.
        nearest: String,
    },
    /// A setting that has no default is absent.
    #[error("{key} is not set: give it in {} or as {}", path.display(), variable_of(key))]
    Missing {
        /// The key.
        key: &'static str,
        /// The config file.
        path: PathBuf,
    },
    /// A value of the wrong type, out of its range, or in conflict with another.
    #[error("{key}: {reason}")]
    Invalid {
        /// The key as written, with where.
        key: String,
        /// What is wrong, with the value unless it is a secret.
        reason: String,
    },
    /// A secret stands in the config file.
    #[error(
        "{key} is a secret and may not stand in {}, line {line}: use a file of mode 0600, or {}",
        path.display(),
        variable_of(key)
    )]
    SecretInFile {
        /// The key.
        key: &'static str,
        /// The config file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A file that a setting names cannot be read.
    #[error("{key}: cannot read {}", path.display())]
    UnreadableFile {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner could read a secret.
    #[error("{key}: {} has mode {mode:04o}, so that others may read it: run `chmod 600 {}`", path.display(), path.display())]
    SecretExposed {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}
