//! Public descriptors: a wallet that knows its coins and cannot spend them.

use bdk_wallet::{
    KeychainKind,
    descriptor::{ExtendedDescriptor, IntoWalletDescriptor},
    miniscript::{
        Descriptor, DescriptorPublicKey, ForEachKey,
        descriptor::{DescriptorType, Wildcard},
    },
};
use bitcoin::{Network, NetworkKind, secp256k1::Secp256k1};

/// Why descriptors cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchOnlyError {
    /// It is no descriptor.
    #[error("the {keychain} descriptor cannot be read: {reason}")]
    Format {
        /// Which of the two.
        keychain: &'static str,
        /// What is wrong. Never the descriptor itself, for it could hold a key.
        reason: String,
    },
    /// It has a private key, which must not be on this machine.
    #[error("the {0} descriptor has a private key in it; give the public one (xpub or tpub)")]
    Secret(&'static str),
    /// It is for another network.
    #[error("the {keychain} descriptor is not for {network}")]
    Network {
        /// Which of the two.
        keychain: &'static str,
        /// The pool's network.
        network: Network,
    },
    /// It gives one address only.
    #[error("the {0} descriptor gives only one address; it must end with /*")]
    NoWildcard(&'static str),
    /// It demands a private key for its addresses (BIP 32).
    #[error(
        "the {0} descriptor has a hardened step after its key, which only a private key can take; give the key below it"
    )]
    Hardened(&'static str),
    /// It gives several descriptors.
    #[error("the {0} descriptor stands for several; give each on its own")]
    Multipath(&'static str),
    /// Signatures would change the id of its transactions.
    #[error("the {0} descriptor is not segwit: it must be wpkh(), wsh() or tr()")]
    NotSegwit(&'static str),
    /// Both are the same.
    #[error("the two descriptors are the same; change needs one of its own")]
    Same,
}

/// The public descriptors of a wallet whose keys are elsewhere: one for coinbases, one for change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchOnly {
    network: Network,
    external: ExtendedDescriptor,
    internal: ExtendedDescriptor,
}

impl WatchOnly {
    /// Reads the descriptors for coinbases (`external`) and for change (`internal`), as BIP 380 has them.
    ///
    /// # Errors
    ///
    /// If one is no public, segwit descriptor with a wildcard on this network.
    pub fn new(external: &str, internal: &str, network: Network) -> Result<Self, WatchOnlyError> {
        let external = read("external", external, network)?;
        let internal = read("internal", internal, network)?;
        if external == internal {
            return Err(WatchOnlyError::Same);
        }
        Ok(Self { network, external, internal })
    }

    pub(super) fn from_public(network: Network, external: ExtendedDescriptor, internal: ExtendedDescriptor) -> Self {
        Self { network, external, internal }
    }

    /// Returns the network whose coins it watches.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Returns the descriptor for coinbases, in its text form with a checksum.
    pub fn external(&self) -> String {
        self.external.to_string()
    }

    /// Returns the descriptor for change, in its text form with a checksum.
    pub fn internal(&self) -> String {
        self.internal.to_string()
    }

    pub(super) fn descriptor(&self, keychain: KeychainKind) -> &ExtendedDescriptor {
        match keychain {
            KeychainKind::External => &self.external,
            KeychainKind::Internal => &self.internal,
        }
    }
}

fn read(keychain: &'static str, text: &str, network: Network) -> Result<ExtendedDescriptor, WatchOnlyError> {
    let secp = Secp256k1::new();
    let parsed = Descriptor::parse_descriptor(&secp, text.trim());
    let (descriptor, keys) =
        parsed.map_err(|error| WatchOnlyError::Format { keychain, reason: reason(error, text.trim()) })?;
    if !keys.is_empty() {
        return Err(WatchOnlyError::Secret(keychain));
    }
    if descriptor.is_multipath() {
        return Err(WatchOnlyError::Multipath(keychain));
    }
    if descriptor.for_any_key(needs_private_key) {
        return Err(WatchOnlyError::Hardened(keychain));
    }
    if !descriptor.has_wildcard() {
        return Err(WatchOnlyError::NoWildcard(keychain));
    }
    let is_segwit = matches!(
        descriptor.desc_type(),
        DescriptorType::Wpkh | DescriptorType::Wsh | DescriptorType::WshSortedMulti | DescriptorType::Tr
    );
    if !is_segwit {
        return Err(WatchOnlyError::NotSegwit(keychain));
    }
    let kind = NetworkKind::from(network);
    let is_ours = descriptor.for_each_key(|key| match key {
        DescriptorPublicKey::XPub(xpub) => xpub.xkey.network == kind,
        _ => true,
    });
    if !is_ours {
        return Err(WatchOnlyError::Network { keychain, network });
    }
    let checked = descriptor.into_wallet_descriptor(&secp, kind);
    let (descriptor, _) =
        checked.map_err(|error| WatchOnlyError::Format { keychain, reason: reason(error, text.trim()) })?;
    Ok(descriptor)
}

/// Whether addresses of a key can be derived only with its private half (BIP 32).
fn needs_private_key(key: &DescriptorPublicKey) -> bool {
    let wildcard = match key {
        DescriptorPublicKey::Single(_) => Wildcard::None,
        DescriptorPublicKey::XPub(xpub) => xpub.wildcard,
        DescriptorPublicKey::MultiXPub(xpub) => xpub.wildcard,
    };
    key.has_hardened_step() || wildcard == Wildcard::Hardened
}

/// A parser's message, unless it quotes what could be a key.
fn reason(error: impl ToString, text: &str) -> String {
    let reason = error.to_string();
    let quotes_key = reason.contains("prv") || text.contains("prv") || text.len() > 8 && reason.contains(text);
    if quotes_key { "it is not a public descriptor (BIP 380)".to_owned() } else { reason }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::wallet::WalletKey;

    fn public() -> (WalletKey, WatchOnly) {
        let dir = tempfile::tempdir().unwrap();
        let key = WalletKey::create(&dir.path().join("wallet.key"), Network::Regtest).unwrap();
        let public = key.watch_only().unwrap();
        (key, public)
    }

    #[test]
    fn the_public_descriptors_of_a_key_are_read_back() {
        let (_, public) = public();
        let read = WatchOnly::new(&public.external(), &public.internal(), Network::Regtest).unwrap();
        assert_eq!(read, public);
        assert!(!public.external().contains("prv"));
    }

    #[test]
    fn descriptors_that_cannot_be_watched_are_refused() {
        let (key, public) = public();
        let (external, internal) = (public.external(), public.internal());
        let bare = external.split('#').next().unwrap().to_owned();
        let refused = |external: &str| WatchOnly::new(external, &internal, Network::Regtest).unwrap_err();
        assert_eq!(refused(&internal), WatchOnlyError::Same);
        assert_eq!(refused(&bare.replace("/*", "/7")), WatchOnlyError::NoWildcard("external"));
        assert_eq!(refused(&bare.replace("/*", "/<0;1>/*")), WatchOnlyError::Multipath("external"));
        assert_eq!(refused(&bare.replace("wpkh", "pkh")), WatchOnlyError::NotSegwit("external"));
        for hardened in ["/0'/*", "/0/*'", "/1h/0/*h"] {
            let descriptor = bare.replace("/0/*", hardened);
            assert_eq!(refused(&descriptor), WatchOnlyError::Hardened("external"), "{descriptor}");
        }
        let nested = format!("sh({bare})");
        assert_eq!(refused(&nested), WatchOnlyError::NotSegwit("external"));
        let secret = format!("wpkh({}/0/*)", key.xpriv());
        let error = refused(&secret);
        assert_eq!(error, WatchOnlyError::Secret("external"));
        assert!(!error.to_string().contains("tprv"));
        assert!(matches!(refused("wpkh(rubbish)"), WatchOnlyError::Format { .. }));
        assert!(!refused(&secret.replace("wpkh", "wpkhh")).to_string().contains("tprv"));
        let main = WatchOnly::new(&external, &internal, Network::Bitcoin).unwrap_err();
        assert!(matches!(main, WatchOnlyError::Network { .. }), "{main}");
    }
}
