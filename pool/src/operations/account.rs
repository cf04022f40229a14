//! Which accounts there are and what they are called; whom they mine for, what becomes of what they earn, and who may see
//! their pages.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    num::NonZeroU32,
};

use bitcoin::{Address, Network, address::NetworkUnchecked};
use clap::ValueEnum;
use jiff::Timestamp;
use payouts::{
    access::Audience,
    account::{Account, AccountId, AccountName, AccountSettings, Naming, User},
    ledger::LedgerAccount,
    payout::Restraint,
    scheme::{PoolFee, beneficiary},
    share::{Reward, ShareSeq},
    store::{Store, StoreError},
};
use serde::{Deserialize, Serialize};

use super::{Refusal, RefusalCode};
use crate::config::network_name;

/// Accounts that are read from the store at a time.
const PAGE: u32 = 1_000;

/// Whom an account mines for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MinesFor {
    /// With all others, by the pool's scheme
    Pool,
    /// For itself alone: it gets the blocks that it finds, less the pool's fee
    Solo,
}

/// Who may see an account's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PageFor {
    /// Everybody who has its address
    Public,
    /// Those with a watcher's token of the account, and operators
    Watchers,
}

/// A part of what an account earns that becomes somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Donation {
    /// Hundredths of a percent; 0 is none.
    pub basis_points: u16,
    /// Whose it becomes.
    #[schema(value_type = String)]
    pub address: Address<NetworkUnchecked>,
}

/// An address among which the rest is divided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Whose it becomes.
    #[schema(value_type = String)]
    pub address: Address<NetworkUnchecked>,
    /// How much, measured by all weights together.
    #[schema(value_type = u32)]
    pub weight: NonZeroU32,
}

/// What is to change of what an account asked for. What is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountChanges {
    /// Whom it mines for.
    #[serde(default)]
    pub mines_for: Option<MinesFor>,
    /// What it gives away of what it earns; 0 basis points end that.
    #[serde(default)]
    pub donation: Option<Donation>,
    /// Over whom the rest is divided; a single part that is its own ends that.
    #[serde(default)]
    pub division: Option<Vec<Part>>,
    /// Who may see its page.
    #[serde(default)]
    pub page: Option<PageFor>,
}

impl fmt::Display for AccountChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AccountChanges { mines_for, donation, division, page } = self;
        let mut said = Vec::new();
        said.extend(mines_for.map(|mines_for| match mines_for {
            MinesFor::Pool => "mines for the pool".to_owned(),
            MinesFor::Solo => "mines solo".to_owned(),
        }));
        said.extend(donation.as_ref().map(|Donation { basis_points, address }| {
            format!("gives {basis_points} / 10000 to {}", address.assume_checked_ref())
        }));
        said.extend(
            division
                .iter()
                .flatten()
                .map(|Part { address, weight }| format!("divides {weight} to {}", address.assume_checked_ref())),
        );
        said.extend(page.map(|page| format!("shows its page to {}", Audience::from(page))));
        f.write_str(&said.join(", "))
    }
}

/// An account in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccountSummary {
    /// Its number.
    #[schema(value_type = i64)]
    pub account: AccountId,
    /// What it is called.
    #[schema(value_type = Option<String>)]
    pub name: Option<AccountName>,
    /// Its address.
    pub address: String,
}

/// An account, and whether the request made or named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccountAdded {
    /// The account as it is now.
    pub account: AccountSummary,
    /// Whether it was so already.
    pub already: bool,
}

/// An account without the name that it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NameRemoved {
    /// The name.
    #[schema(value_type = String)]
    pub name: AccountName,
    /// The account as it is now.
    pub account: AccountSummary,
    /// Whether it was not called so before.
    pub already: bool,
}

/// What an account asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccountReport {
    /// Its number.
    #[schema(value_type = i64)]
    pub account: AccountId,
    /// What it is called.
    #[schema(value_type = Option<String>)]
    pub name: Option<AccountName>,
    /// Its address.
    pub address: String,
    /// Whom it mines for.
    pub mines_for: MinesFor,
    /// What it gives away.
    pub donation: Option<DonationReport>,
    /// Over whom the rest is divided; all is its own if nobody is named.
    pub division: Vec<PartReport>,
    /// Who may see its page.
    pub page: PageFor,
}

/// What an account gives away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DonationReport {
    /// Hundredths of a percent.
    pub basis_points: u16,
    /// Whose it becomes.
    pub address: String,
}

/// A part of what an account divides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PartReport {
    /// Whose it becomes.
    pub address: String,
    /// How much, measured by all weights together.
    pub weight: u32,
}

/// What an account is due, and what is kept back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Balance {
    /// The account.
    #[schema(value_type = i64)]
    pub account: AccountId,
    /// Its address.
    pub address: String,
    /// What is credited to it of blocks that are not mature.
    pub immature_sat: i64,
    /// What it is due.
    pub payable_sat: i64,
    /// What operators keep back.
    pub held_sat: i64,
    /// What may not be paid.
    pub blocked_sat: i64,
    /// What it was paid beyond its credits.
    pub debt_sat: i64,
    /// From which balance it is paid; the pool's threshold if nothing.
    pub threshold_sat: Option<u64>,
    /// `held` or `blocked`, if it is not paid.
    pub restraint: Option<String>,
}

/// An account, and whether the request changed what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccountChange {
    /// The account as it is now.
    pub account: AccountReport,
    /// Whether it was so already.
    pub already: bool,
}

impl From<MinesFor> for Reward {
    fn from(mines_for: MinesFor) -> Reward {
        match mines_for {
            MinesFor::Pool => Reward::Shared,
            MinesFor::Solo => Reward::Solo,
        }
    }
}

impl From<Reward> for MinesFor {
    fn from(reward: Reward) -> MinesFor {
        match reward {
            Reward::Shared => MinesFor::Pool,
            Reward::Solo => MinesFor::Solo,
        }
    }
}

impl From<PageFor> for Audience {
    fn from(page: PageFor) -> Audience {
        match page {
            PageFor::Public => Audience::Public,
            PageFor::Watchers => Audience::Watchers,
        }
    }
}

impl From<Audience> for PageFor {
    fn from(audience: Audience) -> PageFor {
        match audience {
            Audience::Public => PageFor::Public,
            Audience::Watchers => PageFor::Watchers,
        }
    }
}

impl From<Account> for AccountSummary {
    fn from(account: Account) -> AccountSummary {
        let Account { id, address, name, script_pubkey: _ } = account;
        AccountSummary { account: id, name, address }
    }
}

/// Finds an account by its address or by a name that it has or had.
///
/// # Errors
///
/// When the store cannot be read, or does not know it.
pub async fn find_account(store: &dyn Store, user: &User) -> Result<Account, Refusal> {
    let (found, unknown) = match user {
        // The books know addresses of the pool's network alone, in their canonical text.
        User::Address(_) => (store.find_account(&user.to_string()).await?, "no account has address"),
        User::Name(name) => (store.find_named(name).await?, "no account is called"),
    };
    found.ok_or_else(|| Refusal::new(RefusalCode::NotFound, format!("{unknown} {user}")))
}

/// Lists all accounts in the order of their numbers.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn list_accounts(store: &dyn Store) -> Result<Vec<AccountSummary>, Refusal> {
    let mut listed: Vec<AccountSummary> = Vec::new();
    loop {
        let after = listed.last().map_or(AccountId::new(0), |last| last.account);
        let page = store.accounts(after, PAGE).await?;
        if page.is_empty() {
            return Ok(listed);
        }
        listed.extend(page.into_iter().map(AccountSummary::from));
    }
}

/// Makes an address an account, and names it if a name is given.
pub(super) async fn add_account(
    store: &dyn Store,
    address: &Address,
    name: Option<&AccountName>,
) -> Result<AccountAdded, Refusal> {
    let known = store.find_account(&address.to_string()).await?;
    if let Some(name) = name {
        // Looked at first, so that nothing is stored of a request that is refused.
        let owner = store.find_named(name).await?.filter(|owner| owner.address != address.to_string());
        if let Some(owner) = owner {
            return Err(belongs_to(name, &owner.address));
        }
        if let Some(other) = known.as_ref().and_then(|known| known.name.as_ref()).filter(|other| *other != name) {
            let cure = format!("adit account remove {other}");
            let reason = format!("{address} is called {other}: take that name away first, with {cure}");
            return Err(Refusal::new(RefusalCode::Conflict, reason));
        }
    }
    let account = store.account(address).await?;
    let naming = match name {
        Some(_) => store.name_account(account, name).await?,
        None => Naming::Already,
    };
    if let (Naming::Reserved(owner), Some(name)) = (naming, name) {
        return Err(belongs_to(name, &address_of(store, owner).await?));
    }
    let already = known.is_some() && naming == Naming::Already;
    let account = find_account(store, &User::Address(address.as_unchecked().clone())).await?;
    Ok(AccountAdded { account: account.into(), already })
}

/// Takes an account's name away. It stays reserved for that account.
pub(super) async fn remove_name(store: &dyn Store, name: &AccountName) -> Result<NameRemoved, Refusal> {
    let user = User::Name(name.clone());
    let owner = find_account(store, &user).await?;
    let already = owner.name.as_ref() != Some(name);
    if !already {
        store.name_account(owner.id, None).await?;
    }
    Ok(NameRemoved { name: name.clone(), account: find_account(store, &user).await?.into(), already })
}

fn belongs_to(name: &AccountName, address: &str) -> Refusal {
    let reason = format!("the name {name} belongs to {address}, which has or had it: choose another");
    Refusal::new(RefusalCode::Conflict, reason)
}

/// Tells what an account asked for.
///
/// # Errors
///
/// When the store cannot be read, or does not know the account.
pub async fn show_account(store: &dyn Store, user: &User) -> Result<AccountReport, Refusal> {
    let account = find_account(store, user).await?;
    let settings = store.settings(account.id).await?.unwrap_or_default();
    let donation = match settings.wishes.donation {
        Some(donation) => Some(DonationReport {
            basis_points: donation.basis_points(),
            address: address_of(store, donation.to()).await?,
        }),
        None => None,
    };
    let mut division = Vec::new();
    for (beneficiary, weight) in &settings.wishes.division {
        division.push(PartReport { address: address_of(store, *beneficiary).await?, weight: weight.get() });
    }
    let page = store.page_audience(account.id).await?.into();
    let (Account { id: account, name, address, .. }, mines_for) = (account, settings.reward.into());
    Ok(AccountReport { account, name, address, mines_for, donation, division, page })
}

/// Tells what an account is due, and what is kept back.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn balance_of(store: &dyn Store, account: &Account) -> Result<Balance, Refusal> {
    let Account { id, ref address, .. } = *account;
    // The ledger counts what is owed as negative.
    let owed = async |account| Ok::<_, Refusal>(-store.balance(account).await?.to_sat());
    let mut restraint = None;
    for kind in Restraint::ALL {
        if store.restraint(id, kind).await?.is_some_and(|row| row.is_in_force()) {
            restraint = Some(kind.as_str().to_owned());
        }
    }
    Ok(Balance {
        account: id,
        address: address.clone(),
        immature_sat: owed(LedgerAccount::MinerImmature(id)).await?,
        payable_sat: owed(LedgerAccount::MinerPayable(id)).await?,
        held_sat: owed(LedgerAccount::Held(id)).await?,
        blocked_sat: owed(LedgerAccount::Blocked(id)).await?,
        debt_sat: store.balance(LedgerAccount::MinerDebt(id)).await?.to_sat(),
        threshold_sat: store.threshold(id).await?.map(|threshold| threshold.to_sat()),
        restraint,
    })
}

/// Stores what an account asks for from now on. An address that was not known becomes an account.
///
/// Whom it mines for holds from its next channel on, the rest for what is paid for shares behind `newest_cut`.
pub(super) async fn set_account(
    store: &dyn Store,
    network: Network,
    user: &User,
    changes: &AccountChanges,
    newest_cut: ShareSeq,
) -> Result<AccountChange, Refusal> {
    let wanted = Wanted::check(network, changes)?;
    let account = match user {
        User::Address(address) => store.account(&of_network(address, network)?).await?,
        User::Name(_) => find_account(store, user).await?.id,
    };
    let before = store.settings(account).await?.unwrap_or_default();
    let mut after = AccountSettings { reward: wanted.reward.unwrap_or(before.reward), ..before.clone() };
    if let Some((address, bp)) = wanted.donation {
        let to = store.account(&address).await?;
        after.wishes.donation = beneficiary::Donation::new(to, bp).filter(|donation| donation.basis_points() > 0);
    }
    if let Some(parts) = wanted.division {
        let mut weights = BTreeMap::new();
        for (address, weight) in parts {
            weights.insert(store.account(&address).await?, weight);
        }
        // All to itself is no division.
        after.wishes.division = if weights.keys().eq([&account]) { BTreeMap::new() } else { weights };
    }
    let was_so = after == before;
    if !was_so {
        store.append_settings(account, ShareSeq::new(newest_cut.get() + 1), &after).await?;
    }
    let page_changed = show_page_to(store, account, changes.page).await?;
    let already = was_so && !page_changed;
    Ok(AccountChange { account: show_account(store, user).await?, already })
}

/// Says who may see an account's page, if that is to change. Returns whether it did.
async fn show_page_to(store: &dyn Store, account: AccountId, page: Option<PageFor>) -> Result<bool, Refusal> {
    let Some(wanted) = page.map(Audience::from) else { return Ok(false) };
    if store.page_audience(account).await? == wanted {
        return Ok(false);
    }
    store.set_page_audience(account, wanted, Timestamp::now().as_millisecond()).await?;
    Ok(true)
}

/// Changes of which every address and number was looked at, so that nothing is stored of a request with a wrong one.
struct Wanted {
    reward: Option<Reward>,
    donation: Option<(Address, u16)>,
    division: Option<Vec<(Address, NonZeroU32)>>,
}

impl Wanted {
    fn check(network: Network, changes: &AccountChanges) -> Result<Wanted, Refusal> {
        let AccountChanges { mines_for, donation, division, page: _ } = changes;
        let donation = match donation {
            Some(Donation { basis_points, .. }) if *basis_points > PoolFee::WHOLE_BP => {
                let whole = PoolFee::WHOLE_BP;
                return Err(invalid(format!("{basis_points} basis points are more than the whole, {whole}")));
            }
            Some(Donation { basis_points, address }) => Some((of_network(address, network)?, *basis_points)),
            None => None,
        };
        let division = match division {
            Some(parts) if parts.is_empty() => return Err(invalid("a division among nobody".to_owned())),
            Some(parts) => Some(Self::parts(network, parts)?),
            None => None,
        };
        Ok(Wanted { reward: mines_for.map(Reward::from), donation, division })
    }

    fn parts(network: Network, parts: &[Part]) -> Result<Vec<(Address, NonZeroU32)>, Refusal> {
        let mut named = HashSet::new();
        let mut checked = Vec::with_capacity(parts.len());
        for Part { address, weight } in parts {
            let address = of_network(address, network)?;
            if !named.insert(address.clone()) {
                return Err(invalid(format!("{address} stands there twice")));
            }
            checked.push((address, *weight));
        }
        Ok(checked)
    }
}

/// Checks that an address as an operator writes it is one of the pool's network.
pub(super) fn of_network(address: &Address<NetworkUnchecked>, network: Network) -> Result<Address, Refusal> {
    let checked = address.clone().require_network(network);
    checked.map_err(|_| {
        invalid(format!("{} is not an address of {}", address.assume_checked_ref(), network_name(network)))
    })
}

fn invalid(reason: String) -> Refusal {
    Refusal::new(RefusalCode::Invalid, reason)
}

/// Returns the addresses of accounts.
///
/// # Errors
///
/// If the store fails.
pub async fn addresses_of(
    store: &dyn Store,
    accounts: impl IntoIterator<Item = AccountId>,
) -> Result<HashMap<AccountId, String>, StoreError> {
    let ids: Vec<AccountId> = accounts.into_iter().collect();
    let found = store.accounts_among(&ids).await?;
    Ok(found.into_iter().map(|account| (account.id, account.address)).collect())
}

/// Returns the address of an account that is known by its number.
///
/// # Errors
///
/// If the store fails, or has no such account.
pub async fn address_of(store: &dyn Store, account: AccountId) -> Result<String, Refusal> {
    let found = store.accounts_among(&[account]).await?.pop();
    let found = found.ok_or_else(|| Refusal::new(RefusalCode::Failed, format!("account {account} has no address")))?;
    Ok(found.address)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payouts::store::sqlite::SqliteStore;

    use super::*;

    const ONE: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const OTHER: &str = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";
    const ELSEWHERE: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

    fn part(address: &str, weight: u32) -> Part {
        Part { address: address.parse().unwrap(), weight: weight.try_into().unwrap() }
    }

    fn donation(address: &str, basis_points: u16) -> Option<Donation> {
        Some(Donation { basis_points, address: address.parse().unwrap() })
    }

    #[tokio::test]
    async fn what_is_not_given_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let address = ONE.parse().unwrap();
        let set = async |changes: AccountChanges| {
            set_account(&store, Network::Regtest, &address, &changes, ShareSeq::new(0)).await
        };
        assert_eq!(show_account(&store, &address).await.unwrap_err().code, RefusalCode::NotFound);
        let solo = AccountChanges { mines_for: Some(MinesFor::Solo), ..AccountChanges::default() };
        let done = set(solo.clone()).await.unwrap();
        assert_eq!((done.account.mines_for, done.already), (MinesFor::Solo, false));
        assert!(set(solo).await.unwrap().already, "it was said twice");

        let division = Some(vec![part(ONE, 1), part(OTHER, 1)]);
        set(AccountChanges { division, ..AccountChanges::default() }).await.unwrap();
        let all = set(AccountChanges { donation: donation(OTHER, 25), ..AccountChanges::default() }).await.unwrap();
        let [one, other] = [ONE, OTHER].map(|address| PartReport { address: address.to_owned(), weight: 1 });
        assert_eq!(
            all.account,
            AccountReport {
                account: AccountId::new(1),
                name: None,
                address: ONE.to_owned(),
                mines_for: MinesFor::Solo,
                donation: Some(DonationReport { basis_points: 25, address: OTHER.to_owned() }),
                division: vec![one, other],
                page: PageFor::Public,
            }
        );
        let (mines_for, division) = (Some(MinesFor::Pool), Some(vec![part(ONE, 7)]));
        let nothing = AccountChanges { mines_for, donation: donation(OTHER, 0), division, page: None };
        let nothing = set(nothing).await.unwrap().account;
        assert_eq!((nothing.mines_for, nothing.donation, nothing.division), (MinesFor::Pool, None, Vec::new()));
    }

    #[tokio::test]
    async fn page_is_shown_to_whom_it_was_said_last() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let address = ONE.parse().unwrap();
        let hide = |page| AccountChanges { page: Some(page), ..AccountChanges::default() };
        for (page, already) in
            [(PageFor::Public, true), (PageFor::Watchers, false), (PageFor::Watchers, true), (PageFor::Public, false)]
        {
            let done = set_account(&store, Network::Regtest, &address, &hide(page), ShareSeq::new(0)).await.unwrap();
            assert_eq!((done.account.page, done.already), (page, already));
        }
        assert_eq!(hide(PageFor::Watchers).to_string(), "shows its page to watchers");
    }

    #[tokio::test]
    async fn of_a_request_with_something_wrong_in_it_nothing_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let changes = AccountChanges::default();
        for (address, wrong, words) in [
            (ONE, AccountChanges { division: Some(vec![part(OTHER, 1); 2]), ..changes.clone() }, "stands there twice"),
            (ONE, AccountChanges { division: Some(Vec::new()), ..changes.clone() }, "among nobody"),
            (ONE, AccountChanges { donation: donation(ELSEWHERE, 1), ..changes.clone() }, "not an address of regtest"),
            (ONE, AccountChanges { donation: donation(OTHER, 10_001), ..changes.clone() }, "more than the whole"),
            (ELSEWHERE, changes, "not an address of regtest"),
        ] {
            let address = address.parse().unwrap();
            let refusal = set_account(&store, Network::Regtest, &address, &wrong, ShareSeq::new(0)).await.unwrap_err();
            assert!(refusal.code == RefusalCode::Invalid && refusal.reason.contains(words), "{refusal}");
        }
        assert_eq!(store.accounts(AccountId::new(0), 10).await.unwrap(), [], "an account was made");
    }

    #[tokio::test]
    async fn account_is_added_and_named_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let [one, other] = [ONE, OTHER].map(|address| of_network(&address.parse().unwrap(), Network::Regtest).unwrap());
        let [farm, shed]: [AccountName; 2] = ["farm", "shed"].map(|name| name.parse().unwrap());
        let add = async |address, name| {
            let added = add_account(&store, address, name).await?;
            Ok::<_, Refusal>((added.account.name, added.already))
        };
        assert_eq!(add(&one, None).await, Ok((None, false)));
        assert_eq!(add(&one, None).await, Ok((None, true)));
        assert_eq!(add(&one, Some(&farm)).await, Ok((Some(farm.clone()), false)));
        assert_eq!(add(&one, Some(&farm)).await, Ok((Some(farm.clone()), true)));
        assert_eq!(add(&one, None).await, Ok((Some(farm.clone()), true)));

        let taken = add(&other, Some(&farm)).await.unwrap_err();
        assert!(taken.code == RefusalCode::Conflict && taken.reason.contains(ONE), "{taken}");
        let second = add(&one, Some(&shed)).await.unwrap_err();
        assert!(second.code == RefusalCode::Conflict && second.reason.contains("adit account remove farm"), "{second}");
        assert_eq!(list_accounts(&store).await.unwrap().len(), 1, "something was stored of what was refused");

        // Its name is gone, and remains its own: it is found by it, and nobody else gets it.
        assert_eq!(remove_name(&store, &shed).await.unwrap_err().code, RefusalCode::NotFound);
        for already in [false, true] {
            let removed = remove_name(&store, &farm).await.unwrap();
            assert_eq!((removed.account.address.as_str(), removed.account.name, removed.already), (ONE, None, already));
        }
        assert_eq!(find_account(&store, &User::Name(farm.clone())).await.unwrap().address, ONE);
        assert_eq!(add(&other, Some(&farm)).await.unwrap_err().code, RefusalCode::Conflict);
        assert_eq!(add(&other, Some(&shed)).await, Ok((Some(shed.clone()), false)));
        assert_eq!(add(&one, Some(&farm)).await, Ok((Some(farm.clone()), false)));
        let listed = list_accounts(&store).await.unwrap();
        assert_eq!(listed.iter().map(|account| account.address.as_str()).collect::<Vec<_>>(), [ONE, OTHER]);
    }

    #[tokio::test]
    async fn named_account_is_changed_by_its_name_and_an_unknown_name_makes_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let changes = AccountChanges { mines_for: Some(MinesFor::Solo), ..AccountChanges::default() };
        let set =
            async || set_account(&store, Network::Regtest, &"farm".parse().unwrap(), &changes, ShareSeq::new(0)).await;
        assert_eq!(set().await.unwrap_err().code, RefusalCode::NotFound);
        let address = of_network(&ONE.parse().unwrap(), Network::Regtest).unwrap();
        add_account(&store, &address, "farm".parse().ok().as_ref()).await.unwrap();
        let AccountChange { account, already } = set().await.unwrap();
        assert_eq!((account.address.as_str(), account.mines_for, already), (ONE, MinesFor::Solo, false));
    }

    #[tokio::test]
    async fn wishes_hold_behind_the_newest_cut() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let changes = AccountChanges { donation: donation(OTHER, 25), ..AccountChanges::default() };
        let (address, cut) = (ONE.parse().unwrap(), ShareSeq::of_session(1, 6).unwrap());
        set_account(&store, Network::Regtest, &address, &changes, cut).await.unwrap();
        assert!(store.wishes(cut).await.unwrap().is_empty(), "jobs that were made before split as they did");
        assert_eq!(store.wishes(ShareSeq::new(cut.get() + 1)).await.unwrap().len(), 1);
    }
}
