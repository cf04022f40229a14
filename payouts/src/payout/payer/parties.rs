//! Who owns addresses: what operators know of parties, sealed, and which address is whose.

use std::collections::BTreeMap;

use super::{COMMIT_ATTEMPTS, Payer, PayoutError, orders};
use crate::{
    account::AccountId,
    clock::now_ms,
    export::{
        journal::{JournalRow, Recorded},
        owner::{AddressOwned, Hosting, PartyErased, PartySet, Proof},
        party::{Party, PartyId, Vault},
    },
    payout::Refusal,
    store::{Commit, StoreError},
};

/// Whose an account's address is, as an operator says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The owner.
    pub party: PartyId,
    /// Who has the keys.
    pub hosting: Hosting,
    /// Which provider.
    pub provider: Option<String>,
    /// How the owner has shown that it is his.
    pub proof: Option<Proof>,
}

impl Payer {
    /// Opens what is known of parties, by the key of `vault`, which seals what comes to be known.
    ///
    /// # Errors
    ///
    /// If the store fails, or the key is not the one that the data was sealed with.
    pub async fn open_vault(&mut self, vault: Vault) -> Result<(), PayoutError> {
        let mut parties = BTreeMap::new();
        for (id, sealed) in self.store.parties().await? {
            parties.insert(id, vault.open(id, &sealed)?.0);
        }
        self.screening_mut().use_vault(vault, parties);
        Ok(())
    }

    /// Returns what is known of a party, if it can be opened.
    pub fn party(&self, id: PartyId) -> Option<&Party> {
        self.screening().parties().get(&id)
    }

    /// Makes a party known, or known better, and returns its number. The next step screens its names.
    ///
    /// # Errors
    ///
    /// If the store fails, the data cannot be used, there is no such party, or no key to seal it with.
    pub async fn set_party(&mut self, id: Option<PartyId>, party: &Party, by: &str) -> Result<PartyId, PayoutError> {
        orders::check_words(by)?;
        party.check().map_err(|error| Refusal::Party(error.to_string()))?;
        for _ in 0..COMMIT_ATTEMPTS {
            self.read_journal().await?;
            let owners = self.screening().owners();
            let id = match id {
                None => owners.next(),
                Some(id) => owners.party(id).map(|_| id).ok_or(Refusal::UnknownParty(id))?,
            };
            let (sealed, commitment) = self.screening().vault().ok_or(Refusal::NoVault)?.seal(id, party)?;
            let row = self.journal_row(&PartySet::new(id, party, commitment, by)).await?;
            if self.store.save_party(id, &sealed, &[row]).await? == Commit::Done {
                self.screening_mut().know(id, Some(party.clone()));
                self.read_journal().await?;
                return Ok(id);
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Erases what is known of a party. That there was one, and where it was resident, stays on record.
    ///
    /// # Errors
    ///
    /// If the store fails, or there is no such party.
    pub async fn erase_party(&mut self, id: PartyId, reason: &str, by: &str) -> Result<(), PayoutError> {
        orders::check_words(by)?;
        orders::check_words(reason)?;
        for _ in 0..COMMIT_ATTEMPTS {
            self.read_journal().await?;
            let known = self.screening().owners().party(id).ok_or(Refusal::UnknownParty(id))?;
            if known.is_erased {
                return Ok(());
            }
            let erased = PartyErased { party: id, reason: reason.to_owned(), by: by.to_owned() };
            let row = self.journal_row(&erased).await?;
            if self.store.erase_party(id, &[row]).await? == Commit::Done {
                self.screening_mut().know(id, None);
                self.read_journal().await?;
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Notes whose an account's address is. The next step screens the account by its owner's names.
    ///
    /// # Errors
    ///
    /// If the store fails, or there is no such account or party.
    pub async fn own_address(&mut self, account: AccountId, owned: Ownership, by: &str) -> Result<(), PayoutError> {
        orders::check_words(by)?;
        self.read_journal().await?;
        let Ownership { party, hosting, provider, proof } = owned;
        let known = self.screening().owners().party(party).ok_or(Refusal::UnknownParty(party))?;
        if known.is_erased {
            return Err(Refusal::UnknownParty(party).into());
        }
        let due = self.store.due_of(account).await?.ok_or(Refusal::UnknownAccount(account))?;
        let (address, script_pubkey) = (due.address, due.script_pubkey.to_hex_string());
        let by = by.to_owned();
        self.record(&AddressOwned { account, address, script_pubkey, party, hosting, provider, proof, by }).await?;
        self.read_journal().await
    }

    /// Makes the next row of the journal.
    pub(super) async fn journal_row(&self, record: &impl Recorded) -> Result<JournalRow, PayoutError> {
        let (head, ledger) = (self.store.journal_head().await?, self.store.head().await?);
        Ok(JournalRow::seal(head, now_ms(), ledger, record))
    }
}
