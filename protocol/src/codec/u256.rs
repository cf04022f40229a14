//! The 256-bit number: targets and hashes.

use std::cmp::Ordering;
use std::fmt;

use super::{DecodeError, Field, Reader, write_hex};

/// A 256-bit number, such as a target or a block hash.
///
/// The bytes are little-endian, as on the wire and as SHA-256 gives them. Order is numeric; `Debug` and `Display`
/// show big-endian hex, the way block hashes are written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct U256(pub [u8; 32]);

impl U256 {
    /// Zero.
    pub const ZERO: Self = Self([0; 32]);
    /// The greatest value, 2^256 - 1.
    pub const MAX: Self = Self([0xff; 32]);
}

impl Ord for U256 {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl PartialOrd for U256 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.0.iter().rev(), f)
    }
}

impl fmt::Debug for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Field for U256 {
    const TYPE: &'static str = "U256";
    const MIN_LEN: usize = 32;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.take_array(Self::TYPE).map(Self)
    }
}
