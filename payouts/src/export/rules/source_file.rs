//! Files that an operator gives: read up to a bound, and named by the SHA-256 of their bytes.
//!
//! Owns neither where a file is nor what stands in it.

use std::{
    fmt,
    io::{self, Read},
    str::FromStr,
};

use sha2::{Digest, Sha256};

/// The SHA-256 of all bytes of a file. Its text form is 64 lower-case hexadecimal digits, in the order of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileHash([u8; 32]);

impl FileHash {
    /// Hashes the bytes of a file.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no hash of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no SHA-256: 64 lower-case hexadecimal digits are expected")]
pub struct BadHash(String);

impl FromStr for FileHash {
    type Err = BadHash;

    fn from_str(text: &str) -> Result<Self, BadHash> {
        let mut bytes = [0; 32];
        let decoded = hex::decode_to_slice(text, &mut bytes).is_ok();
        // The text stands in journals whose bytes are hashed: only one spelling is taken.
        let hash = Self(bytes);
        if decoded && hash.to_string() == text { Ok(hash) } else { Err(BadHash(text.chars().take(80).collect())) }
    }
}

impl TryFrom<String> for FileHash {
    type Error = BadHash;

    fn try_from(text: String) -> Result<Self, BadHash> {
        text.parse()
    }
}

impl From<FileHash> for String {
    fn from(hash: FileHash) -> Self {
        hash.to_string()
    }
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading failed.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
    /// It is longer than a file of its kind may be.
    #[error("the file is longer than {0} bytes")]
    TooLong(u64),
}

/// Reads a whole file of at most `max_bytes`.
///
/// # Errors
///
/// If it is longer, or cannot be read.
pub fn read(file: impl Read, max_bytes: u64) -> Result<(Vec<u8>, FileHash), ReadError> {
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(ReadError::TooLong(max_bytes));
    }
    let hash = FileHash::of(&bytes);
    Ok((bytes, hash))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_is_named_by_all_its_bytes() {
        let (bytes, hash) = read(&b"abc"[..], 3).unwrap();
        assert_eq!(bytes, b"abc");
        // FIPS 180-2, appendix B.1.
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hash.to_string().parse(), Ok(hash));
    }

    #[test]
    fn a_longer_file_is_refused_and_not_read_on() {
        assert!(matches!(read(&b"abcd"[..], 3), Err(ReadError::TooLong(3))));
        assert!(matches!(read(io::repeat(0), 1_000), Err(ReadError::TooLong(1_000))));
    }

    #[test]
    fn other_spellings_of_a_hash_are_refused() {
        let hash = FileHash::of(b"").to_string();
        for text in [hash.to_uppercase(), hash[1..].to_owned(), format!("{hash}0"), String::new()] {
            assert_eq!(text.parse::<FileHash>(), Err(BadHash(text)));
        }
    }
}
