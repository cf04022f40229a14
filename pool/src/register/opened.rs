//! What is known of parties, as far as the key at hand opens it. Personal data: it goes into reports, and nowhere else.

use std::{collections::BTreeMap, fmt};

use payouts::{
    export::party::{KEY_SIZE, Party, PartyId, Vault, VaultError},
    store::{Store, StoreError},
};

use crate::operations::{Refusal, RefusalCode};

/// What is known of parties, as far as it could be opened.
pub struct Opened {
    /// Those that could.
    pub parties: BTreeMap<PartyId, Party>,
    /// Whether there is a key.
    pub has_key: bool,
    sealed: usize,
}

/// Why parties cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key does not open what is sealed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Opened {
    /// Opens all parties, if there is a key.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the key is another one.
    pub async fn read(store: &dyn Store, key: Option<[u8; KEY_SIZE]>) -> Result<Opened, OpenError> {
        let sealed = store.parties().await?;
        let Some(key) = key else {
            return Ok(Opened { parties: BTreeMap::new(), has_key: false, sealed: sealed.len() });
        };
        let vault = Vault::new(&key);
        let mut parties = BTreeMap::new();
        for (id, bytes) in &sealed {
            parties.insert(*id, vault.open(*id, bytes)?.0);
        }
        Ok(Opened { parties, has_key: true, sealed: sealed.len() })
    }

    /// Returns what a reader of reports should know about it.
    pub fn warning(&self) -> Option<String> {
        let is_sealed = !self.has_key && self.sealed > 0;
        is_sealed.then(|| format!("the data of {} parties stays sealed: export.party_key_file is not set", self.sealed))
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("parties", &self.parties.len()).finish_non_exhaustive()
    }
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Refusal {
        match error {
            OpenError::Store(error) => error.into(),
            OpenError::Vault(error) => Refusal::new(RefusalCode::Failed, error),
        }
    }
}
