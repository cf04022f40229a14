//! Who may open a channel: the users that the pool knows, in memory, so that a database that is away refuses nobody.
//!
//! Names are given by the operator. Addresses are admitted as they come, or, where registration is closed, only if they
//! are accounts already: of work done before, or by the operator's command. Both are as many as the store has rows of
//! them, some hundred bytes each, and no client can add any.

use std::{
    collections::{HashMap, HashSet},
    sync::RwLock,
};

use bitcoin::{Address, Network, address::NetworkUnchecked};
use payouts::{
    account::{Account, AccountId, AccountName, User},
    store::{Store, StoreError},
};
use thiserror::Error;

use super::identity::{Identity, IdentityError};
use crate::config::network_name;

/// Accounts that are read from the store at a time.
const PAGE: u32 = 10_000;

/// The users that the pool knows.
#[derive(Debug)]
pub struct Registry {
    network: Network,
    registration: Registration,
    known: RwLock<Known>,
}

/// Whether an address becomes an account by mining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Any address of the network does.
    Open,
    /// None does: the operator adds them.
    Closed,
}

/// What is in the store, as far as it matters for who may mine.
#[derive(Debug)]
struct Known {
    names: HashMap<AccountName, Address>,
    /// The addresses of all accounts, where registration is closed.
    accounts: HashSet<Address>,
    /// The last of them. Accounts are never deleted, so that only those behind it have to be read.
    newest: AccountId,
}

/// A user who may mine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// What the client has written.
    pub identity: Identity,
    /// The payout address of the user.
    pub address: Address,
}

/// Why somebody may not mine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotAdmitted {
    /// He has written no identity.
    #[error(transparent)]
    Malformed(#[from] IdentityError),
    /// His address is one of another network.
    #[error("{user} is not an address of {}", network_name(*network))]
    OtherNetwork {
        /// The address.
        user: User,
        /// The pool's network.
        network: Network,
    },
    /// No account has this name now.
    #[error("no account is called {0}")]
    UnknownName(AccountName),
    /// Registration is closed, and this is no account.
    #[error("registration is closed, and {0} is no account: the operator can `adit account add` it")]
    UnknownAddress(Address),
}

impl NotAdmitted {
    /// Returns the code for `OpenMiningChannel.Error`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => IdentityError::CODE,
            Self::OtherNetwork { .. } | Self::UnknownName(_) | Self::UnknownAddress(_) => "unknown-user",
        }
    }
}

impl Registry {
    /// Reads who is known from the store.
    ///
    /// # Errors
    ///
    /// If the store fails, or holds an address that is none.
    pub async fn load(store: &dyn Store, network: Network, registration: Registration) -> Result<Self, StoreError> {
        let known = Known { names: HashMap::new(), accounts: HashSet::new(), newest: AccountId::new(0) };
        let registry = Self { network, registration, known: RwLock::new(known) };
        registry.refresh(store).await?;
        Ok(registry)
    }

    /// Reads the store anew, after an operator's command has changed who is known. If it fails, all is as it was.
    ///
    /// # Errors
    ///
    /// If the store fails, or holds an address that is none.
    pub async fn refresh(&self, store: &dyn Store) -> Result<(), StoreError> {
        let names = names(store).await?;
        let newest = self.known.read().expect(UNPOISONED).newest;
        let added = match self.registration {
            Registration::Open => Vec::new(),
            Registration::Closed => accounts_after(store, newest).await?,
        };
        let mut known = self.known.write().expect(UNPOISONED);
        known.names = names;
        for (account, address) in added {
            known.accounts.insert(address);
            known.newest = account;
        }
        Ok(())
    }

    /// Finds whom a client mines for. Asks no database.
    ///
    /// # Errors
    ///
    /// If what he has written is malformed, or he may not mine here.
    pub fn admit(&self, user_identity: &[u8]) -> Result<Admitted, NotAdmitted> {
        let identity = Identity::parse(user_identity)?;
        let known = self.known.read().expect(UNPOISONED);
        let address = match &identity.user {
            User::Address(address) => {
                let checked = address.clone().require_network(self.network);
                let other = |_| NotAdmitted::OtherNetwork { user: identity.user.clone(), network: self.network };
                checked.map_err(other)?
            }
            User::Name(name) => known.names.get(name).cloned().ok_or_else(|| NotAdmitted::UnknownName(name.clone()))?,
        };
        if self.registration == Registration::Closed && !known.accounts.contains(&address) {
            return Err(NotAdmitted::UnknownAddress(address));
        }
        Ok(Admitted { identity, address })
    }
}

/// Nothing that is done under the lock can panic.
const UNPOISONED: &str = "nobody panics while he has the lock";

async fn names(store: &dyn Store) -> Result<HashMap<AccountName, Address>, StoreError> {
    let mut names = HashMap::new();
    let mut after = AccountId::new(0);
    loop {
        let page = store.named_accounts(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(names) };
        after = last.id;
        for account in page {
            let address = address_of(&account)?;
            names.extend(account.name.map(|name| (name, address)));
        }
    }
}

async fn accounts_after(store: &dyn Store, mut after: AccountId) -> Result<Vec<(AccountId, Address)>, StoreError> {
    let mut accounts = Vec::new();
    loop {
        let page = store.accounts(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(accounts) };
        after = last.id;
        for account in &page {
            accounts.push((account.id, address_of(account)?));
        }
    }
}

/// What the books have was checked for the network when it came to them.
fn address_of(account: &Account) -> Result<Address, StoreError> {
    let address: Result<Address<NetworkUnchecked>, _> = account.address.parse();
    let corrupt = |_| StoreError::Corrupt { table: "accounts", value: account.address.clone() };
    Ok(address.map_err(corrupt)?.assume_checked())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payouts::store::sqlite::SqliteStore;
    use tempfile::TempDir;

    use super::*;

    const ONE: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const OTHER: &str = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";
    const MAINNET: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

    async fn store() -> (TempDir, SqliteStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        (folder, store)
    }

    async fn add(store: &SqliteStore, address: &str, name: Option<&str>) -> AccountId {
        let address: Address<NetworkUnchecked> = address.parse().unwrap();
        let account = store.account(&address.assume_checked()).await.unwrap();
        let name = name.map(|name| name.parse().unwrap());
        store.name_account(account, name.as_ref()).await.unwrap();
        account
    }

    /// Address and worker that are admitted, or the code of the refusal.
    fn admitted(registry: &Registry, identity: &str) -> Result<(String, String), &'static str> {
        let admitted = registry.admit(identity.as_bytes()).map_err(|error| error.code())?;
        Ok((admitted.address.to_string(), admitted.identity.worker))
    }

    fn of(address: &str, worker: &str) -> Result<(String, String), &'static str> {
        Ok((address.to_owned(), worker.to_owned()))
    }

    #[tokio::test]
    async fn any_address_of_the_network_is_admitted_where_registration_is_open() {
        let (_folder, store) = store().await;
        let registry = Registry::load(&store, Network::Regtest, Registration::Open).await.unwrap();
        assert_eq!(admitted(&registry, &format!("{ONE}.rack.7")), of(ONE, "rack.7"));
        assert_eq!(admitted(&registry, MAINNET), Err("unknown-user"));
        assert_eq!(admitted(&registry, "farm.rig"), Err("unknown-user"));
        for malformed in ["", "a b", "7up", &format!("{ONE};x=1")] {
            assert_eq!(admitted(&registry, malformed), Err("invalid-user-identity"), "{malformed}");
        }
    }

    #[tokio::test]
    async fn name_is_its_accounts_address_until_it_is_removed() {
        let (_folder, store) = store().await;
        let account = add(&store, ONE, Some("farm")).await;
        let registry = Registry::load(&store, Network::Regtest, Registration::Open).await.unwrap();
        assert_eq!(admitted(&registry, "Farm;d=4K.rig"), of(ONE, "rig"));
        let wish = registry.admit(b"farm;d=4K").unwrap().identity.least_difficulty;
        assert_eq!(wish.map(|wish| wish.log2()), Some(12));

        store.name_account(account, Some(&"shed".parse().unwrap())).await.unwrap();
        add(&store, OTHER, Some("rack")).await;
        assert_eq!(admitted(&registry, "farm"), of(ONE, ""), "changed before it was told");
        registry.refresh(&store).await.unwrap();
        assert_eq!(admitted(&registry, "farm"), Err("unknown-user"));
        assert_eq!((admitted(&registry, "shed"), admitted(&registry, "rack")), (of(ONE, ""), of(OTHER, "")));
    }

    #[tokio::test]
    async fn only_accounts_are_admitted_where_registration_is_closed() {
        let (_folder, store) = store().await;
        add(&store, ONE, None).await;
        let registry = Registry::load(&store, Network::Regtest, Registration::Closed).await.unwrap();
        assert_eq!(admitted(&registry, ONE), of(ONE, ""));
        assert_eq!(admitted(&registry, OTHER), Err("unknown-user"));
        add(&store, OTHER, Some("rack")).await;
        assert_eq!(admitted(&registry, OTHER), Err("unknown-user"), "changed before it was told");
        for _ in 0..2 {
            registry.refresh(&store).await.unwrap();
            assert_eq!((admitted(&registry, OTHER), admitted(&registry, "rack.1")), (of(OTHER, ""), of(OTHER, "1")));
            assert_eq!(admitted(&registry, ONE), of(ONE, ""));
        }
    }

    #[tokio::test]
    async fn who_is_known_stays_known_while_the_database_is_away() {
        let (_folder, store) = store().await;
        add(&store, ONE, Some("farm")).await;
        let registry = Registry::load(&store, Network::Regtest, Registration::Closed).await.unwrap();
        store.close().await;
        assert!(registry.refresh(&store).await.is_err());
        assert_eq!(admitted(&registry, "farm"), of(ONE, ""));
    }
}
