//! Parties: who owns addresses, as far as the operator knows. Personal data, kept apart from the ledger.
//!
//! Owns what is known of a party and how it is sealed: with ChaCha20-Poly1305 (RFC 8439) under a key that is not in the
//! database, and a random nonce for each sealing. The journal has of a party only what is not personal, and a commitment:
//! SHA-256 over a random salt and the data. The salt is sealed with the data, so that once that is erased the commitment
//! tells nothing, and the chain of the journal holds as before.

use std::fmt;

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use super::rules::residency::Country;
use crate::id::row_id;

row_id! {
    /// A party: 1, 2, 3 and so on.
    PartyId
}

/// The size of a vault's key, in bytes.
pub const KEY_SIZE: usize = 32;
/// The size of the salt of a commitment, in bytes.
const SALT_SIZE: usize = 32;
/// The first byte of what is sealed: the form of the rest.
const FORM: u8 = 1;
/// The most characters of a text.
const MAX_TEXT: usize = 300;
/// The most tax ids, and the most registrations.
const MAX_IDS: usize = 20;

/// Whether a party is a person or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartyKind {
    /// A natural person.
    Natural,
    /// A legal person, or any other arrangement.
    Legal,
}

impl PartyKind {
    /// Returns the text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Natural => "natural",
            Self::Legal => "legal",
        }
    }
}

/// A number by which a tax authority knows a party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaxId {
    /// The number.
    pub value: String,
    /// Whose authority gave it.
    pub issued_by: Country,
}

/// An entry in an official register, such as a licence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Who keeps the register.
    pub authority: String,
    /// The number in it.
    pub number: String,
    /// Since when, `YYYY-MM-DD`.
    pub date: String,
}

/// What is known of a party. Also the form of the file by which an operator gives it, in TOML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// A person or not.
    pub kind: PartyKind,
    /// The name by law. Of a natural person: given names, then the family name.
    pub legal_name: String,
    /// Further names under which it is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_names: Vec<String>,
    /// Where it is resident for tax.
    pub residency: Country,
    /// The postal address, on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Of a natural person, the date of birth, `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<String>,
    /// Its tax ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tax_ids: Vec<TaxId>,
    /// Its registrations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registrations: Vec<Registration>,
    /// The Legal Entity Identifier (ISO 17442).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lei: Option<String>,
    /// The Business Identifier Code (ISO 9362).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bic: Option<String>,
    /// Whether it is a crypto-asset service provider.
    #[serde(default)]
    pub is_casp: bool,
}

/// What is wrong with a party.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct NoParty {
    what: String,
}

impl Party {
    /// Returns all its names, the one by law first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.legal_name.as_str()).chain(self.other_names.iter().map(String::as_str))
    }

    /// Makes sure that what is given can be used: nothing is empty or without end, and dates are dates.
    ///
    /// # Errors
    ///
    /// Names the first thing that is wrong.
    pub fn check(&self) -> Result<(), NoParty> {
        let no = |what: String| Err(NoParty { what });
        let ids = self.tax_ids.iter().map(|id| ("tax_ids.value", id.value.as_str()));
        let registrations = self.registrations.iter().flat_map(|registration| {
            [
                ("registrations.authority", registration.authority.as_str()),
                ("registrations.number", &registration.number),
            ]
        });
        let texts = self.names().map(|name| ("legal_name", name)).chain(ids).chain(registrations);
        let optional = [("address", &self.address), ("lei", &self.lei), ("bic", &self.bic)];
        let optional = optional.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)));
        for (name, text) in texts.chain(optional) {
            if text.trim().is_empty() || text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
                return no(format!("{name} {text:?} is not one line of 1 to {MAX_TEXT} characters"));
            }
        }
        if self.tax_ids.len() > MAX_IDS || self.registrations.len() > MAX_IDS || self.other_names.len() > MAX_IDS {
            return no(format!("more than {MAX_IDS} names, tax ids or registrations"));
        }
        let dates =
            self.registrations.iter().map(|registration| registration.date.as_str()).chain(self.birth_date.as_deref());
        for date in dates {
            if date.parse::<jiff::civil::Date>().is_err() || date.len() != "2026-01-31".len() {
                return no(format!("{date:?} is not a date such as 2026-01-31"));
            }
        }
        if self.kind == PartyKind::Legal && self.birth_date.is_some() {
            return no("a legal person has no date of birth".to_owned());
        }
        Ok(())
    }
}

/// What is sealed: a party, and the salt of its commitment.
#[derive(Serialize, Deserialize)]
struct Sealed {
    party: Party,
    salt: String,
}

/// A commitment to what is known of a party, by SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commitment(String);

/// Seals and opens what is known of parties.
pub struct Vault {
    key: LessSafeKey,
    random: SystemRandom,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(..)")
    }
}

/// Why a party's data cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The key is another, or the data was changed, or is another party's.
    #[error("the data of party {0} cannot be opened with this key")]
    Sealed(PartyId),
    /// The data is of a form that is not known here.
    #[error("the data of party {0} was written by a later version of this program")]
    Form(PartyId),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

impl Vault {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// If the system gives no random bytes.
    pub fn new_key() -> Result<[u8; KEY_SIZE], VaultError> {
        let mut key = [0; KEY_SIZE];
        SystemRandom::new().fill(&mut key).map_err(|_| VaultError::Random)?;
        Ok(key)
    }

    /// Opens the vault with its key.
    pub fn new(key: &[u8; KEY_SIZE]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has the algorithm's size");
        Self { key: LessSafeKey::new(key), random: SystemRandom::new() }
    }

    /// Seals a party's data, and commits to it.
    ///
    /// # Errors
    ///
    /// If the system gives no random bytes.
    pub fn seal(&self, id: PartyId, party: &Party) -> Result<(Vec<u8>, Commitment), VaultError> {
        let (mut salt, mut nonce) = ([0; SALT_SIZE], [0; NONCE_LEN]);
        self.random.fill(&mut salt).map_err(|_| VaultError::Random)?;
        self.random.fill(&mut nonce).map_err(|_| VaultError::Random)?;
        let sealed = Sealed { party: party.clone(), salt: hex::encode(salt) };
        let commitment = commit(&sealed);
        let mut bytes = serde_json::to_vec(&sealed).expect("parties have text keys only");
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce_used, Aad::from(bound_to(id)), &mut bytes);
        let tag = tag.expect("a party is far below the limit of 256 GiB");
        let sealed = [&[FORM], nonce.as_slice(), &bytes, tag.as_ref()].concat();
        Ok((sealed, commitment))
    }

    /// Opens what was sealed.
    ///
    /// # Errors
    ///
    /// If the key is another, or the bytes are not those that were sealed for this party.
    pub fn open(&self, id: PartyId, sealed: &[u8]) -> Result<(Party, Commitment), VaultError> {
        let wrong = || VaultError::Sealed(id);
        let (&form, rest) = sealed.split_first().ok_or_else(wrong)?;
        if form != FORM {
            return Err(VaultError::Form(id));
        }
        let (nonce, bytes) = rest.split_at_checked(NONCE_LEN).ok_or_else(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let mut bytes = bytes.to_vec();
        let plain = self.key.open_in_place(nonce, Aad::from(bound_to(id)), &mut bytes).map_err(|_| wrong())?;
        let sealed: Sealed = serde_json::from_slice(plain).map_err(|_| VaultError::Form(id))?;
        let commitment = commit(&sealed);
        Ok((sealed.party, commitment))
    }
}

/// What the seal covers beside the data: so the data of one party cannot stand for another's.
fn bound_to(id: PartyId) -> Vec<u8> {
    format!("adit party {id}").into_bytes()
}

fn commit(sealed: &Sealed) -> Commitment {
    let party = serde_json::to_value(&sealed.party).expect("parties have text keys only");
    let mut hasher = Sha256::new();
    hasher.update(sealed.salt.as_bytes());
    hasher.update(super::journal::canonical(&party).as_bytes());
    Commitment(hex::encode(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn party() -> Party {
        Party {
            kind: PartyKind::Legal,
            legal_name: "Example Mining LLC".to_owned(),
            other_names: Vec::new(),
            residency: "NO".parse().unwrap(),
            address: None,
            birth_date: None,
            tax_ids: vec![TaxId { value: "123".to_owned(), issued_by: "NO".parse().unwrap() }],
            registrations: Vec::new(),
            lei: None,
            bic: None,
            is_casp: false,
        }
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_key_for_its_party_alone() {
        let (vault, other) = (Vault::new(&[7; KEY_SIZE]), Vault::new(&[8; KEY_SIZE]));
        let (sealed, commitment) = vault.seal(PartyId::new(1), &party()).unwrap();
        assert_eq!(vault.open(PartyId::new(1), &sealed), Ok((party(), commitment)));
        assert_eq!(vault.open(PartyId::new(2), &sealed), Err(VaultError::Sealed(PartyId::new(2))));
        assert_eq!(other.open(PartyId::new(1), &sealed), Err(VaultError::Sealed(PartyId::new(1))));
        for index in 1..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(vault.open(PartyId::new(1), &changed).is_err(), "byte {index}");
        }
        for size in 0..sealed.len() {
            assert!(vault.open(PartyId::new(1), &sealed[..size]).is_err(), "{size} bytes");
        }
    }

    #[test]
    fn sealed_data_and_commitments_tell_nothing_of_what_is_equal() {
        let vault = Vault::new(&[7; KEY_SIZE]);
        let (one, first) = vault.seal(PartyId::new(1), &party()).unwrap();
        let (two, second) = vault.seal(PartyId::new(1), &party()).unwrap();
        assert_ne!(one, two);
        assert_ne!(first, second);
        let text = b"Example Mining";
        assert!(!one.windows(text.len()).any(|window| window == text));
    }

    #[test]
    fn party_is_read_from_a_file_and_checked() {
        let text = r#"
            kind = "natural"
            legal_name = "EXAMPLE PERSON"
            residency = "KZ"
            birth_date = "1980-01-31"
            tax_ids = [{ value = "000000000000", issued_by = "KZ" }]
        "#;
        let read: Party = toml::from_str(text).unwrap();
        assert_eq!(read.check(), Ok(()));
        for (from, to) in
            [("EXAMPLE PERSON", " "), ("1980-01-31", "1980-02-30"), ("000000000000", ""), ("\"natural\"", "\"legal\"")]
        {
            let wrong: Party = toml::from_str(&text.replace(from, to)).unwrap();
            assert!(wrong.check().is_err(), "{to:?}");
        }
        assert!(toml::from_str::<Party>(&text.replace("\"KZ\"", "\"Kazakhstan\"")).is_err());
        assert!(toml::from_str::<Party>(&format!("{text}\nage = 46")).is_err());
    }
}
