//! Who owns which address, as the journal tells it: rows about parties and addresses, and what they come to. Pure.
//!
//! Rows have nothing personal: of a party its kind, residency, whether it is a service provider, and a commitment to the
//! rest, which lies sealed beside the journal ([`super::party`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    journal::{JournalFault, JournalRow, Recorded},
    party::{Commitment, Country, Party, PartyId, PartyKind},
};
use crate::account::AccountId;

/// The kinds of rows about parties and addresses.
pub const KINDS: [&str; 3] = [PartySet::KIND, PartyErased::KIND, AddressOwned::KIND];

/// A party is known, or known better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartySet {
    /// Which.
    pub party: PartyId,
    /// Whether it is a person.
    pub party_kind: PartyKind,
    /// Where it is resident.
    pub residency: Country,
    /// Whether it is a crypto-asset service provider.
    pub is_casp: bool,
    /// What stands for the rest.
    pub commitment: Commitment,
    /// Who gave it.
    pub by: String,
}

/// What was known of a party is erased; that it was, and where it was resident, stays on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartyErased {
    /// Which.
    pub party: PartyId,
    /// Why.
    pub reason: String,
    /// Who did it.
    pub by: String,
}

/// Who has the keys of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hosting {
    /// Its owner.
    SelfHosted,
    /// A service provider.
    Provider,
}

/// How an owner has shown that the address is his.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// By what: a signed message (BIP 322), a small payment, a document.
    pub method: String,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// An account's address belongs to a party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressOwned {
    /// The account that is paid at the address.
    pub account: AccountId,
    /// The address as text.
    pub address: String,
    /// Its script, in hexadecimal.
    pub script_pubkey: String,
    /// The owner.
    pub party: PartyId,
    /// Who has the keys.
    pub hosting: Hosting,
    /// Which provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// How the owner has shown it, if he has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// Who noted it.
    pub by: String,
}

impl PartySet {
    /// The kind of its rows.
    pub const KIND: &'static str = "PARTY_SET";
}

impl PartyErased {
    /// The kind of its rows.
    pub const KIND: &'static str = "PARTY_ERASED";
}

impl AddressOwned {
    /// The kind of its rows.
    pub const KIND: &'static str = "ADDRESS_OWNED";
}

impl Recorded for PartySet {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn subject(&self) -> String {
        format!("party:{}", self.party)
    }
}

impl Recorded for PartyErased {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn subject(&self) -> String {
        format!("party:{}", self.party)
    }
}

impl Recorded for AddressOwned {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn subject(&self) -> String {
        format!("account:{}", self.account)
    }
}

/// What is on record of a party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownParty {
    /// What was said last.
    pub set: PartySet,
    /// Whether its data is erased.
    pub is_erased: bool,
}

/// Parties and addresses as the journal tells of them.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    parties: BTreeMap<PartyId, KnownParty>,
    addresses: BTreeMap<AccountId, AddressOwned>,
}

impl Owners {
    /// Takes in the next row of the journal; rows about other things change nothing.
    ///
    /// # Errors
    ///
    /// If the row cannot be read.
    pub fn note(&mut self, row: &JournalRow) -> Result<(), JournalFault> {
        match row.kind.as_str() {
            PartySet::KIND => {
                let set: PartySet = row.read()?;
                self.parties.insert(set.party, KnownParty { set, is_erased: false });
            }
            PartyErased::KIND => {
                let erased: PartyErased = row.read()?;
                if let Some(known) = self.parties.get_mut(&erased.party) {
                    known.is_erased = true;
                }
            }
            AddressOwned::KIND => {
                let owned: AddressOwned = row.read()?;
                self.addresses.insert(owned.account, owned);
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns what is on record of a party.
    pub fn party(&self, id: PartyId) -> Option<&KnownParty> {
        self.parties.get(&id)
    }

    /// Returns all parties, in the order of their numbers.
    pub fn parties(&self) -> impl Iterator<Item = (PartyId, &KnownParty)> {
        self.parties.iter().map(|(&id, known)| (id, known))
    }

    /// Returns who owns an account's address.
    pub fn owner(&self, account: AccountId) -> Option<&AddressOwned> {
        self.addresses.get(&account)
    }

    /// Returns the accounts whose addresses a party owns.
    pub fn accounts_of(&self, party: PartyId) -> impl Iterator<Item = AccountId> {
        self.addresses.values().filter(move |owned| owned.party == party).map(|owned| owned.account)
    }

    /// Returns the number for a new party.
    pub fn next(&self) -> PartyId {
        PartyId::new(self.parties.keys().next_back().map_or(0, |last| last.get()) + 1)
    }
}

impl PartySet {
    /// Says of a party what is not personal.
    pub fn new(id: PartyId, party: &Party, commitment: Commitment, by: &str) -> Self {
        let &Party { kind: party_kind, residency, is_casp, .. } = party;
        Self { party: id, party_kind, residency, is_casp, commitment, by: by.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        export::{
            journal::JournalHead,
            party::{KEY_SIZE, Vault},
        },
        ledger::Head,
    };

    #[test]
    fn owners_are_what_was_said_last() {
        let party: Party = toml::from_str("kind = 'legal'\nlegal_name = 'Example LLC'\nresidency = 'NO'").unwrap();
        let id = PartyId::new(1);
        let (_, commitment) = Vault::new(&[1; KEY_SIZE]).seal(id, &party).unwrap();
        let set = PartySet::new(id, &party, commitment.clone(), "alice");
        let moved = PartySet { residency: "SE".parse().unwrap(), ..set.clone() };
        let account = AccountId::new(7);
        let owned = AddressOwned {
            account,
            address: "bcrt1q".to_owned(),
            script_pubkey: "00".to_owned(),
            party: id,
            hosting: Hosting::SelfHosted,
            provider: None,
            proof: Some(Proof { method: "BIP 322".to_owned(), at_ms: 5 }),
            by: "alice".to_owned(),
        };
        let erased = PartyErased { party: id, reason: "asked for".to_owned(), by: "bob".to_owned() };

        let mut head = JournalHead::EMPTY;
        let mut owners = Owners::default();
        let mut note = |row: JournalRow| {
            owners.note(&row).unwrap();
            head = row.head();
            (owners.clone(), head)
        };
        let (_, head) = note(JournalRow::seal(JournalHead::EMPTY, 1, Head::EMPTY, &set));
        let (_, head) = note(JournalRow::seal(head, 2, Head::EMPTY, &moved));
        let (_, head) = note(JournalRow::seal(head, 3, Head::EMPTY, &owned));
        let (owners, _) = note(JournalRow::seal(head, 4, Head::EMPTY, &erased));
        assert_eq!(owners.party(id), Some(&KnownParty { set: moved, is_erased: true }));
        assert_eq!(owners.owner(account), Some(&owned));
        assert_eq!(owners.accounts_of(id).collect::<Vec<_>>(), [account]);
        assert_eq!(owners.next(), PartyId::new(2));
    }

    #[test]
    fn rows_have_nothing_personal() {
        let party: Party = toml::from_str("kind = 'natural'\nlegal_name = 'EXAMPLE PERSON'\nresidency = 'NO'").unwrap();
        let id = PartyId::new(1);
        let (_, commitment) = Vault::new(&[1; KEY_SIZE]).seal(id, &party).unwrap();
        let set = PartySet::new(id, &party, commitment, "alice");
        let row = JournalRow::seal(JournalHead::EMPTY, 1, Head::EMPTY, &set);
        assert!(!row.body.contains("EXAMPLE"), "{}", row.body);
    }
}
