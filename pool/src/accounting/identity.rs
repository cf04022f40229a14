//! Who a channel mines for: `address[.worker]`, as the client writes it when it opens the channel.

use std::str::FromStr;

use bitcoin::{Address, Network, address::NetworkUnchecked};
use thiserror::Error;

/// Longest identity that is taken: firmware overflows above this.
const MAX_IDENTITY_SIZE: usize = 127;
/// Longest worker name, in bytes: what the worker TLV holds.
pub const MAX_WORKER_SIZE: usize = 32;

/// A payout address and the worker that mines for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The payout address.
    pub address: Address,
    /// Name of the worker; may be empty.
    pub worker: String,
}

/// Why an identity is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Not printable ASCII, or too long.
    #[error(
        "user identity must be printable ASCII of at most {MAX_IDENTITY_SIZE} characters, the worker of at most {MAX_WORKER_SIZE}"
    )]
    Malformed,
    /// Not an address of the network that the pool mines on.
    #[error("{address:?} is no address on {network}")]
    UnknownUser {
        /// What stands before the first dot.
        address: String,
        /// The pool's network.
        network: Network,
    },
}

impl IdentityError {
    /// Returns the code for `OpenMiningChannel.Error`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "invalid-user-identity",
            Self::UnknownUser { .. } => "unknown-user",
        }
    }
}

impl Identity {
    /// Reads `address[.worker]`.
    ///
    /// # Errors
    ///
    /// If it is malformed or the address is not one of `network`.
    pub fn parse(bytes: &[u8], network: Network) -> Result<Self, IdentityError> {
        if bytes.len() > MAX_IDENTITY_SIZE || !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(IdentityError::Malformed);
        }
        let text = str::from_utf8(bytes).map_err(|_| IdentityError::Malformed)?;
        let (address, worker) = text.split_once('.').unwrap_or((text, ""));
        if worker.len() > MAX_WORKER_SIZE {
            return Err(IdentityError::Malformed);
        }
        let checked = Address::<NetworkUnchecked>::from_str(address)
            .ok()
            .and_then(|unchecked| unchecked.require_network(network).ok())
            .ok_or_else(|| IdentityError::UnknownUser { address: address.to_owned(), network })?;
        Ok(Self { address: checked, worker: worker.to_owned() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MAINNET: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    const REGTEST: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    fn code(identity: &str) -> &'static str {
        Identity::parse(identity.as_bytes(), Network::Regtest).unwrap_err().code()
    }

    #[test]
    fn worker_follows_the_first_dot() {
        let identity = Identity::parse(format!("{REGTEST}.rack.7").as_bytes(), Network::Regtest).unwrap();
        assert_eq!((identity.address.to_string().as_str(), identity.worker.as_str()), (REGTEST, "rack.7"));
        assert_eq!(Identity::parse(REGTEST.as_bytes(), Network::Regtest).unwrap().worker, "");
    }

    /// The longest address of the main network has 62 characters, so such firmware cuts off workers and no more.
    #[test]
    fn identity_that_firmware_has_cut_at_63_characters_names_the_same_address() {
        const TAPROOT: &str = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr";
        let cut = &format!("{TAPROOT}.rack7")[..63];
        let identity = Identity::parse(cut.as_bytes(), Network::Bitcoin).unwrap();
        assert_eq!((identity.address.to_string().as_str(), identity.worker.as_str()), (TAPROOT, ""));
    }

    #[test]
    fn one_address_in_capitals_is_the_same_account() {
        let capitals = REGTEST.to_ascii_uppercase();
        assert_eq!(Identity::parse(capitals.as_bytes(), Network::Regtest).unwrap().address.to_string(), REGTEST);
    }

    #[test]
    fn address_of_another_network_is_an_unknown_user() {
        assert_eq!(code(MAINNET), "unknown-user");
        assert_eq!(code("satoshi.worker"), "unknown-user");
        assert_eq!(code(""), "unknown-user");
    }

    #[test]
    fn malformed_identity_is_invalid() {
        assert_eq!(code(&format!("{REGTEST}.{}", "w".repeat(33))), "invalid-user-identity");
        assert_eq!(code(&"x".repeat(128)), "invalid-user-identity");
        assert_eq!(code(&format!("{REGTEST}.a b")), "invalid-user-identity");
        assert_eq!(code(&format!("{REGTEST}.\u{e9}")), "invalid-user-identity");
    }
}
