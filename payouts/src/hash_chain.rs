//! Hash chains: each record's hash covers the one before it, so that a change anywhere shows at the end.
//!
//! Owns the byte form that is hashed. What is chained, and under which domain, is said by the ledger and the register.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

/// A SHA-256 hash of a chained record, in the order of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    /// What the first record of a chain names as the hash before it.
    pub const ORIGIN: Self = Self([0; 32]);

    /// Takes a hash that was computed elsewhere.
    pub(crate) const fn of(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Hashes `domain`, the hash before and the record's canonical bytes.
    ///
    /// The domain ends at its first zero byte, which no domain contains, so that no two domains share a preimage.
    pub(crate) fn link(domain: &str, previous: Self, canonical: &Canonical) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(domain.as_bytes());
        hasher.update([0]);
        hasher.update(previous.0);
        hasher.update(&canonical.0);
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ChainHash {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// The bytes of a record that its hash covers: each text with its length before it, each number in 8 bytes,
/// big-endian. Two different records never have the same bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Canonical(Vec<u8>);

impl Canonical {
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.extend((text.len() as u64).to_be_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    pub(crate) fn number(mut self, number: i64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(crate) fn display(self, value: impl fmt::Display) -> Self {
        self.text(&value.to_string())
    }

    pub(crate) fn list<T>(self, items: &[T], mut each: impl FnMut(Self, &T) -> Self) -> Self {
        let count = i64::try_from(items.len()).expect("no slice has more than i64::MAX items");
        items.iter().fold(self.number(count), &mut each)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn texts_that_share_a_boundary_differ() {
        let one = Canonical::default().text("ab").text("c");
        let other = Canonical::default().text("a").text("bc");
        assert_ne!(one.0, other.0);
    }

    #[test]
    fn the_hash_is_sha256_of_domain_previous_and_bytes() {
        // printf 'test\0' ; 32 zero bytes ; 00 00 00 00 00 00 00 07
        let hash = ChainHash::link("test", ChainHash::ORIGIN, &Canonical::default().number(7));
        let mut bytes = b"test\0".to_vec();
        bytes.extend([0; 32]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(hash.0, <[u8; 32]>::from(Sha256::digest(&bytes)));
        assert_eq!(hash.to_string().parse::<ChainHash>().unwrap(), hash);
    }
}
