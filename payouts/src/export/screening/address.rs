//! Which scripts a listed address stands for: its own, and those that the same key can spend.
//!
//! Owns the reading of addresses and their labels. Which list has them is not its business.

use bitcoin::address::NetworkUnchecked;
use bitcoin::hashes::Hash;
use bitcoin::{Address, Network, PubkeyHash, PublicKey, Script, ScriptBuf, WPubkeyHash};

/// What the names of OFAC's features and identifiers begin with when they are addresses; the currency follows.
pub const ADDRESS_PREFIX: &str = "Digital Currency Address";

/// Returns the currency of which `feature` says that it is an address, as in `Digital Currency Address - XBT`.
///
/// Any case and any dashes and spaces in between are accepted, so that no address is missed for a slip of the publisher.
pub fn label_of(feature: &str) -> Option<&str> {
    let feature = feature.trim();
    let prefix = feature.get(..ADDRESS_PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(ADDRESS_PREFIX) {
        return None;
    }
    Some(feature[ADDRESS_PREFIX.len()..].trim_matches(|c: char| c.is_whitespace() || "-\u{2013}\u{2014}:".contains(c)))
}

/// Returns whether a label says Bitcoin: `XBT`, which OFAC writes, or `BTC`.
pub fn is_bitcoin_label(label: &str) -> bool {
    label.eq_ignore_ascii_case("XBT") || label.eq_ignore_ascii_case("BTC")
}

/// Returns the script of a mainnet address (base58 P2PKH or P2SH, bech32, bech32m), or none if `text` is no such address.
///
/// White space and invisible characters around it are ignored. The result says nothing of a network: what is compared
/// with it is a script, which is the same on all of them.
pub fn parse_listed(text: &str) -> Option<ScriptBuf> {
    let invisible = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}');
    let address: Address<NetworkUnchecked> = text.trim_matches(invisible).parse().ok()?;
    Some(address.require_network(Network::Bitcoin).ok()?.script_pubkey())
}

/// Returns the scripts other than `script` that the key behind it can spend, if the script tells the key's hash.
///
/// For P2PKH those are P2WPKH and P2WPKH in P2SH (BIP 141), for P2WPKH they are P2PKH and P2WPKH in P2SH. Others have
/// none: a P2SH does not tell what it hashes, and a taproot output hides whose key it is.
pub fn same_key_scripts(script: &Script) -> Vec<ScriptBuf> {
    let bytes = script.as_bytes();
    let hash = if script.is_p2pkh() {
        &bytes[3..23]
    } else if script.is_p2wpkh() {
        &bytes[2..22]
    } else {
        return Vec::new();
    };
    let hash: [u8; 20] = hash.try_into().expect("both scripts hold 20 bytes of hash there");
    let scripts = scripts_of_key_hash(hash);
    scripts.into_iter().filter(|other| other.as_script() != script).collect()
}

/// Returns the P2PKH script of the key of a script that pays to a bare key, which no address can.
pub fn hashed_form_of_bare_key(script: &Script) -> Option<ScriptBuf> {
    if !script.is_p2pk() {
        return None;
    }
    // A key, its length before it and one operation after it.
    let key = PublicKey::from_slice(&script.as_bytes()[1..script.len() - 1]).ok()?;
    Some(ScriptBuf::new_p2pkh(&key.pubkey_hash()))
}

fn scripts_of_key_hash(hash: [u8; 20]) -> [ScriptBuf; 3] {
    let p2wpkh = ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array(hash));
    let nested = ScriptBuf::new_p2sh(&p2wpkh.script_hash());
    [ScriptBuf::new_p2pkh(&PubkeyHash::from_byte_array(hash)), p2wpkh, nested]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn script(address: &str) -> ScriptBuf {
        parse_listed(address).unwrap()
    }

    #[test]
    fn a_listed_address_is_its_script() {
        let script = script("12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h");
        assert_eq!(script.to_hex_string(), "76a9140f7c70765b8d48105b5c9b9d32ad061e0b96772288ac");
    }

    #[test]
    fn all_mainnet_forms_are_read() {
        assert!(script("3E6ZCKRrsdPc35chA9Eftp1h3DLW18NFNV").is_p2sh());
        assert!(script("bc1qpa78qajm34ypqk6unwwn9tgxrc9evaez76c64s").is_p2wpkh());
        // BIP 173 and BIP 350 have these.
        assert!(script("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4").is_p2wpkh());
        assert!(script("bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3").is_p2wsh());
        assert!(script("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0").is_p2tr());
    }

    #[test]
    fn other_currencies_and_other_networks_are_no_addresses() {
        for text in [
            "TUCsTq7TofTCJRRoHk6RvhMoS2mJLm5Yzq",
            "0x098B716B8Aaf21512996dC57EB0615e2383E2f96",
            "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
            "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
            "12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9H",
            "12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h 3E6ZCKRrsdPc35chA9Eftp1h3DLW18NFNV",
            "",
        ] {
            assert_eq!(parse_listed(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_invisible_around_an_address_is_ignored() {
        let plain = script("12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h");
        assert_eq!(script("\u{feff} 12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h\u{200b}\n"), plain);
    }

    #[test]
    fn the_key_of_a_listed_p2pkh_has_two_more_scripts() {
        let others = same_key_scripts(&script("12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h"));
        let wanted =
            [script("bc1qpa78qajm34ypqk6unwwn9tgxrc9evaez76c64s"), script("3BN2W2uaBtmjogy53Bd641ssnyS4g93uWg")];
        assert_eq!(others, wanted);
        let of_p2wpkh = same_key_scripts(&wanted[0]);
        assert_eq!(of_p2wpkh, [script("12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h"), wanted[1].clone()]);
        assert_eq!(same_key_scripts(&wanted[1]), [] as [ScriptBuf; 0]);
    }

    #[test]
    fn a_bare_key_is_known_by_its_hash() {
        // The key of BIP 173's P2WPKH example.
        let key: PublicKey = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
        let hashed = hashed_form_of_bare_key(&ScriptBuf::new_p2pk(&key)).unwrap();
        assert!(same_key_scripts(&hashed).contains(&script("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")));
        assert_eq!(hashed_form_of_bare_key(&hashed), None);
    }

    #[test]
    fn labels_are_read_past_slips() {
        assert_eq!(label_of("Digital Currency Address - XBT"), Some("XBT"));
        assert_eq!(label_of(" digital currency address \u{2013} usdt "), Some("usdt"));
        assert_eq!(label_of("Digital Currency"), None);
        assert_eq!(label_of("Website"), None);
        assert!(is_bitcoin_label("XBT") && is_bitcoin_label("btc") && !is_bitcoin_label("BCH"));
    }

    proptest! {
        #[test]
        fn the_scripts_of_a_key_know_each_other(hash: [u8; 20]) {
            let [p2pkh, p2wpkh, nested] = scripts_of_key_hash(hash);
            prop_assert_eq!(same_key_scripts(&p2pkh), [p2wpkh.clone(), nested.clone()]);
            prop_assert_eq!(same_key_scripts(&p2wpkh), [p2pkh, nested]);
        }

        #[test]
        fn any_text_is_read_without_panic(text: String) {
            parse_listed(&text);
            label_of(&text);
        }
    }
}
