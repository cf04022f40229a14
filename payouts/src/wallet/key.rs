//! The pool's key: one file, readable by its owner alone.

use std::{
    fmt,
    fs::{File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use bdk_wallet::{
    KeychainKind,
    descriptor::{DescriptorError, ExtendedDescriptor, IntoWalletDescriptor},
    keys::KeyMap,
    template::Bip84,
};
use bitcoin::{
    Network, NetworkKind, Psbt,
    bip32::Xpriv,
    secp256k1::{
        Secp256k1,
        rand::{RngCore, rngs::OsRng},
    },
};
use serde::{Deserialize, Serialize};

use super::WatchOnly;

/// The file's permissions: read and write for its owner, nothing for others.
const KEY_FILE_MODE: u32 = 0o600;
/// The most bytes that a key file can have.
const KEY_FILE_LIMIT_BYTES: u64 = 4_096;

/// Why a key file could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read or written.
    #[error("key file: {0}")]
    Io(#[from] io::Error),
    /// Others than the owner may use the file.
    #[error("the key file has mode {mode:o}; it must be 600, readable by its owner alone")]
    Permissions {
        /// The mode found.
        mode: u32,
    },
    /// The file does not hold a key of ours.
    #[error("the key file cannot be read: {0}")]
    Format(String),
    /// A transaction cannot be signed.
    #[error("the transaction cannot be signed: {0}")]
    Sign(String),
    /// The key belongs to another network.
    #[error("the key is for {found}, the pool runs on {expected}")]
    Network {
        /// The network in the file.
        found: Network,
        /// The network of the pool.
        expected: Network,
    },
}

/// The private key from which all of the pool's addresses derive (BIP 84).
#[derive(Clone)]
pub struct WalletKey {
    network: Network,
    xpriv: Xpriv,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    network: Network,
    xpriv: String,
}

impl WalletKey {
    /// Makes a new key and writes it to a new file.
    ///
    /// # Errors
    ///
    /// If the file exists, for a key is never overwritten, or cannot be written.
    pub fn create(path: &Path, network: Network) -> Result<Self, KeyError> {
        let mut seed = [0; 64];
        OsRng.fill_bytes(&mut seed);
        let xpriv = Xpriv::new_master(network, &seed).map_err(|error| KeyError::Format(error.to_string()))?;
        let content = KeyFile { network, xpriv: xpriv.to_string() };
        let content = serde_json::to_string(&content).map_err(|error| KeyError::Format(error.to_string()))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(KEY_FILE_MODE).open(path)?;
        // The process's umask can only have taken permissions away; what is left must be exactly ours.
        file.set_permissions(Permissions::from_mode(KEY_FILE_MODE))?;
        file.write_all(content.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        Ok(Self { network, xpriv })
    }

    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// If the file is not ours, is open to others, or its key is for another network.
    pub fn read(path: &Path, expected: Network) -> Result<Self, KeyError> {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        if mode & !KEY_FILE_MODE != 0 {
            return Err(KeyError::Permissions { mode });
        }
        let mut content = String::new();
        file.take(KEY_FILE_LIMIT_BYTES).read_to_string(&mut content)?;
        // The parser's own message could quote the key.
        let KeyFile { network, xpriv } =
            serde_json::from_str(&content).map_err(|_| KeyError::Format("it is not a key file".to_owned()))?;
        if network != expected {
            return Err(KeyError::Network { found: network, expected });
        }
        let xpriv: Xpriv = xpriv.parse().map_err(|_| KeyError::Format("it holds no valid key".to_owned()))?;
        Ok(Self { network, xpriv })
    }

    /// Returns the network whose coins it holds.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Returns the public descriptors of its coins, for a pool on another machine that watches them.
    ///
    /// # Errors
    ///
    /// If the key gives no usable descriptors.
    pub fn watch_only(&self) -> Result<WatchOnly, DescriptorError> {
        let [(external, _), (internal, _)] = self.descriptors()?;
        Ok(WatchOnly::from_public(self.network, external, internal))
    }

    /// Adds this key's signatures to a partially signed transaction (BIP 174), as another machine does for a pool that
    /// only watches.
    ///
    /// # Errors
    ///
    /// If the bytes are no such transaction, or an input of it cannot be signed by this key.
    pub fn sign(&self, psbt: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut psbt = Psbt::deserialize(psbt).map_err(|error| KeyError::Sign(error.to_string()))?;
        self.add_signatures(&mut psbt).map_err(KeyError::Sign)?;
        Ok(psbt.serialize())
    }

    pub(super) fn add_signatures(&self, psbt: &mut Psbt) -> Result<(), String> {
        let signed = psbt.sign(&self.xpriv, &Secp256k1::new());
        signed.map(drop).map_err(|(_, errors)| format!("{errors:?}"))
    }

    /// Returns the descriptors for coinbases and for change, with the keys that they need.
    pub(super) fn descriptors(&self) -> Result<[(ExtendedDescriptor, KeyMap); 2], DescriptorError> {
        let (secp, network) = (Secp256k1::new(), NetworkKind::from(self.network));
        let descriptor = |keychain| Bip84(self.xpriv, keychain).into_wallet_descriptor(&secp, network);
        Ok([descriptor(KeychainKind::External)?, descriptor(KeychainKind::Internal)?])
    }

    #[cfg(test)]
    pub(crate) fn xpriv(&self) -> Xpriv {
        self.xpriv
    }
}

impl fmt::Debug for WalletKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalletKey").field("network", &self.network).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet.key");
        let created = WalletKey::create(&path, Network::Regtest).unwrap();
        let read = WalletKey::read(&path, Network::Regtest).unwrap();
        assert_eq!(created.xpriv, read.xpriv);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, KEY_FILE_MODE);
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet.key");
        WalletKey::create(&path, Network::Regtest).unwrap();
        assert!(matches!(WalletKey::create(&path, Network::Regtest), Err(KeyError::Io(_))));
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet.key");
        WalletKey::create(&path, Network::Regtest).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = WalletKey::read(&path, Network::Regtest).unwrap_err();
        assert!(matches!(error, KeyError::Permissions { mode: 0o640 }), "{error}");
    }

    #[test]
    fn a_key_of_another_network_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet.key");
        WalletKey::create(&path, Network::Regtest).unwrap();
        let error = WalletKey::read(&path, Network::Bitcoin).unwrap_err();
        assert!(matches!(error, KeyError::Network { .. }), "{error}");
    }

    #[test]
    fn errors_and_debug_output_do_not_show_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet.key");
        let key = WalletKey::create(&path, Network::Regtest).unwrap();
        assert!(!format!("{key:?}").contains("tprv"));
        let content = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, content.replace("\"xpriv\":\"tprv", "\"xpriv\":\"xxxtprv")).unwrap();
        let error = WalletKey::read(&path, Network::Regtest).unwrap_err();
        assert!(!error.to_string().contains("tprv"), "{error}");
    }
}
