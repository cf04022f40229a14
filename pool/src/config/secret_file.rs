//! Files that hold a secret: written for their owner alone, and refused when others could read them.
//!
//! What is in them belongs to whoever reads them.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use secrecy::SecretString;

use super::ConfigError;

/// Permission bits of everyone but the owner.
const OTHERS: u32 = 0o077;

/// A secret of more bytes is somebody's wrong file.
const MAX_SECRET_BYTES: u64 = 4096;
/// The same of a key in PEM: those of RSA are long.
const MAX_PEM_BYTES: u64 = 64 * 1024;

/// Reads the secret in `path`, without the white space around it. `key` is the setting that names the file.
///
/// # Errors
///
/// When the file cannot be read, is not text, or when others than its owner may read or write it.
pub fn read(key: &'static str, path: &Path) -> Result<SecretString, ConfigError> {
    read_up_to(MAX_SECRET_BYTES, key, path)
}

/// As [`read`], of a key in PEM.
///
/// # Errors
///
/// As [`read`].
pub fn read_long(key: &'static str, path: &Path) -> Result<SecretString, ConfigError> {
    read_up_to(MAX_PEM_BYTES, key, path)
}

fn read_up_to(max_bytes: u64, key: &'static str, path: &Path) -> Result<SecretString, ConfigError> {
    let unreadable = |source| ConfigError::UnreadableFile { key, path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    // The open file is asked, not the path: nobody can put another file in its place in between.
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(ConfigError::SecretExposed { key, path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(max_bytes).read_to_string(&mut text).map_err(unreadable)?;
    Ok(SecretString::from(text.trim()))
}

/// Writes a secret and a line end to a new file of mode 0600.
///
/// # Errors
///
/// When the file exists already, or cannot be written.
pub fn create(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}
