//! Who can be credited and paid: an account is a payout address. It can have a name, by which people and devices may call
//! it.
//!
//! Whether an address belongs to the pool's network is checked by whoever parses it; here it is taken as given.

use std::{fmt, str::FromStr};

use bitcoin::{Address, ScriptBuf, address::NetworkUnchecked};
use serde::{Deserialize, Serialize};

use crate::{id::row_id, scheme::beneficiary::Wishes, share::Reward};

row_id! {
    /// Identifies an account within one store.
    AccountId
}

/// An account: a payout address and the script that pays it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number in the store.
    pub id: AccountId,
    /// The address in its canonical text (bech32 in lower case).
    pub address: String,
    /// The script that an output pays to.
    pub script_pubkey: ScriptBuf,
    /// What it is called; most accounts have no name.
    pub name: Option<AccountName>,
}

/// What an account asked the pool for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    /// Whom its shares are paid for by, from the next opened channel on.
    pub reward: Reward,
    /// What becomes of what it earns.
    pub wishes: Wishes,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self { reward: Reward::Shared, wishes: Wishes::default() }
    }
}

/// The name of an account: 1 to [`AccountName::MAX_SIZE`] lower-case letters, digits, `-` and `_`, a letter first.
///
/// Capitals are read as small letters, since devices write them on their own. Nothing that is an address, or begins like
/// one, is a name: a name can never be taken for an address or hide one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(String);

/// A text that names no account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAccountName {
    /// Too long, or of other characters.
    #[error(
        "{0:?} is not 1 to {max} letters, digits, - and _ with a letter first",
        max = AccountName::MAX_SIZE
    )]
    Spelling(String),
    /// An address, or what one begins with.
    #[error("{0:?} could be taken for an address")]
    LikeAddress(String),
}

impl AccountName {
    /// The most characters.
    pub const MAX_SIZE: usize = 32;
    /// What the addresses of all networks begin with that have a prefix (BIP 173).
    const ADDRESS_PREFIXES: [&str; 3] = ["bc1", "tb1", "bcrt1"];

    /// Returns the name in small letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = NoAccountName;

    fn from_str(text: &str) -> Result<Self, NoAccountName> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_spelled = text.len() <= Self::MAX_SIZE
            && text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
            && text.bytes().all(is_part);
        if !is_spelled {
            return Err(NoAccountName::Spelling(text.to_owned()));
        }
        let name = text.to_ascii_lowercase();
        let is_address = [text, &name].iter().any(|text| Address::<NetworkUnchecked>::from_str(text).is_ok());
        if is_address || Self::ADDRESS_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(NoAccountName::LikeAddress(text.to_owned()));
        }
        Ok(Self(name))
    }
}

impl TryFrom<String> for AccountName {
    type Error = NoAccountName;

    fn try_from(text: String) -> Result<Self, NoAccountName> {
        text.parse()
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> Self {
        name.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An account as people call it: by its address, of whatever network, or by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum User {
    /// Its payout address.
    Address(Address<NetworkUnchecked>),
    /// Its name.
    Name(AccountName),
}

/// A text that can call no account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address nor the name of an account")]
pub struct NoUser(String);

impl FromStr for User {
    type Err = NoUser;

    fn from_str(text: &str) -> Result<Self, NoUser> {
        match text.parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(_) => text.parse().map(Self::Name).map_err(|_| NoUser(text.to_owned())),
        }
    }
}

impl TryFrom<String> for User {
    type Error = NoUser;

    fn try_from(text: String) -> Result<Self, NoUser> {
        text.parse()
    }
}

impl From<User> for String {
    fn from(user: User) -> Self {
        user.to_string()
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.assume_checked_ref().fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// What became of naming an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// It is called so now.
    Done,
    /// It was called so already; nothing was changed.
    Already,
    /// The name is another account's, or was: nothing was changed.
    Reserved(AccountId),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<AccountName, NoAccountName> {
        text.parse()
    }

    #[test]
    fn name_is_the_same_however_a_device_writes_its_letters() {
        assert_eq!(name("Farm_North-2").unwrap(), name("farm_north-2").unwrap());
        assert_eq!(name("Farm_North-2").unwrap().as_str(), "farm_north-2");
        assert_eq!(name(&"a".repeat(32)).unwrap().as_str().len(), 32);
    }

    #[test]
    fn what_is_spelled_otherwise_is_no_name() {
        for wrong in ["", "7up", "-a", "_a", "a.b", "a b", "a;b", "a%b", "\u{e9}t\u{e9}", &"a".repeat(33)] {
            assert!(matches!(name(wrong), Err(NoAccountName::Spelling(_))), "{wrong:?}");
        }
    }

    #[test]
    fn no_name_can_be_taken_for_an_address_of_any_network() {
        // The first two are addresses: one pays to anchors, the other to a key's hash on testnets.
        let addresses = ["bc1pfeessrawgf", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"];
        for address in addresses {
            assert!(matches!(address.parse(), Ok(User::Address(_))), "{address}");
        }
        // The second is too long for a name.
        for like in ["bc1pfeessrawgf", "BC1PFEESSRAWGF", "bc1qfarm", "tb1", "Bcrt1_x"] {
            assert_eq!(name(like), Err(NoAccountName::LikeAddress(like.to_owned())));
        }
        assert!(name(addresses[1]).is_err());
        assert_eq!(name("bc").unwrap().as_str(), "bc");
    }

    #[test]
    fn user_is_an_address_or_a_name_in_every_form() {
        let address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
        for (text, written) in [(address, address), (&address.to_ascii_uppercase(), address), ("Farm", "farm")] {
            let user: User = text.parse().unwrap();
            assert_eq!(user.to_string(), written);
            assert_eq!(serde_json::to_string(&user).unwrap(), format!("\"{written}\""));
            assert_eq!(serde_json::from_str::<User>(&format!("\"{text}\"")).unwrap(), user);
        }
        // One letter of the address is wrong.
        for wrong in ["", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt081", "a b"] {
            assert_eq!(wrong.parse::<User>(), Err(NoUser(wrong.to_owned())));
        }
    }
}
