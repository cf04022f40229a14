//! `adit account`: its arguments, and what it prints of accounts and of what they asked for.

mod workers;

pub(super) use self::workers::hash_rate;

use std::{fmt::Write, num::NonZeroU32, str::FromStr};

use anyhow::bail;
use bitcoin::{Address, address::NetworkUnchecked};
use clap::{Args, Subcommand};
use payouts::account::{AccountName, User};

use super::{
    request::{CommonArguments, ask, example, json, printed},
    table::{Align, Table},
};
use crate::{
    config::Config,
    operations::{
        Request,
        account::{
            AccountAdded, AccountChange, AccountChanges, AccountReport, AccountSummary, Donation, DonationReport,
            MinesFor, NameRemoved, PageFor, Part, PartReport, list_accounts, show_account,
        },
    },
    store,
};

/// What to do with an account.
#[derive(Clone, Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an address an account, and name it: its miners may use the name in the place of the address
    #[command(after_help = example("adit account add farm bc1q..."))]
    Add(AddArguments),
    /// Take an account's name away: its miners are refused until they use the address. No other account can get the name
    #[command(after_help = example("adit account remove farm"))]
    Remove(RemoveArguments),
    /// Print all accounts with their names; the pool may be running
    #[command(after_help = example("adit account list --json"))]
    List(ListAccountsArguments),
    /// Print whom an account mines for, and what becomes of what it earns; the pool may be running
    #[command(after_help = example("adit account show bc1q..."))]
    Show(AccountArguments),
    /// Print what the workers of an address have done lately; the pool may be running
    #[command(after_help = workers::EXAMPLE)]
    Workers(workers::WorkersArguments),
    /// Change that
    #[command(after_help = example("adit account set bc1q... --donate 150:bc1q..."))]
    Set(AccountSetArguments),
}

/// Which account, and how it is called.
#[derive(Clone, Debug, Args)]
#[command(allow_missing_positional = true)]
pub struct AddArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The name: up to 32 letters, digits, - and _, a letter first. Capitals do not matter
    #[arg(value_name = "NAME")]
    pub name: Option<AccountName>,
    /// The payout address
    #[arg(value_name = "ADDRESS", required = true)]
    pub address: Address<NetworkUnchecked>,
}

/// Which name.
#[derive(Clone, Debug, Args)]
pub struct RemoveArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The name
    #[arg(value_name = "NAME")]
    pub name: AccountName,
}

/// How accounts are listed.
#[derive(Clone, Debug, Args)]
pub struct ListAccountsArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
}

/// Whose account.
#[derive(Clone, Debug, Args)]
pub struct AccountArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The payout address, or the account's name
    #[arg(value_name = "ACCOUNT")]
    pub account: User,
}

/// What an account asks for.
#[derive(Clone, Debug, Args)]
pub struct AccountSetArguments {
    /// Whose account.
    #[command(flatten)]
    pub account: AccountArguments,
    /// Whom it mines for, from its next channel on
    #[arg(long, value_enum)]
    pub scheme: Option<MinesFor>,
    /// Give so many hundredths of a percent of what it earns to an address; 0 ends that
    #[arg(long, value_name = "BP:ADDRESS", value_parser = donation)]
    pub donate: Option<Donation>,
    /// Divide the rest over addresses by weight; all to itself ends that
    #[arg(long, value_name = "ADDRESS=WEIGHT,...", value_delimiter = ',', value_parser = part)]
    pub split: Option<Vec<Part>>,
    /// Who may see its page
    #[arg(long, value_enum)]
    pub page: Option<PageFor>,
}

/// Does what a command says and returns what is to be printed.
///
/// # Errors
///
/// When it was refused or could not be done, with the reason and the cure.
pub async fn perform(command: AccountCommand) -> anyhow::Result<String> {
    match command {
        AccountCommand::Add(AddArguments { common, name, address }) => {
            let config = Config::load(&common.config.config)?;
            printed(&ask(&config, Request::AddAccount { address, name }).await?, &common)
        }
        AccountCommand::Remove(RemoveArguments { common, name }) => {
            let config = Config::load(&common.config.config)?;
            printed(&ask(&config, Request::RemoveName { name }).await?, &common)
        }
        AccountCommand::List(ListAccountsArguments { common }) => {
            let config = Config::load(&common.config.config)?;
            let store = store::open_read_only(&config.store).await?;
            let accounts = list_accounts(&*store).await?;
            if common.json { json(&accounts) } else { Ok(accounts_table(&accounts).to_string()) }
        }
        AccountCommand::Show(AccountArguments { common, account }) => {
            let config = Config::load(&common.config.config)?;
            let store = store::open_read_only(&config.store).await?;
            let report = show_account(&*store, &account).await?;
            if common.json { json(&report) } else { Ok(told(&report)) }
        }
        AccountCommand::Workers(arguments) => workers::print(arguments).await,
        AccountCommand::Set(AccountSetArguments { account, scheme, donate, split, page }) => {
            let AccountArguments { common, account } = account;
            let changes = AccountChanges { mines_for: scheme, donation: donate, division: split, page };
            if changes == AccountChanges::default() {
                bail!("nothing is to change: give --scheme, --donate, --split or --page");
            }
            let config = Config::load(&common.config.config)?;
            let outcome = ask(&config, Request::SetAccount { account, changes }).await?;
            printed(&outcome, &common)
        }
    }
}

/// What came of a change as text.
pub(super) fn changed(AccountChange { account: report, already }: &AccountChange) -> String {
    let said = if *already { "It was so already.\n" } else { "" };
    format!("{}{said}", told(report))
}

/// What came of adding an account as text.
pub(super) fn added(AccountAdded { account, already }: &AccountAdded) -> String {
    let AccountSummary { account, name, address } = account;
    let was = if *already { "was already" } else { "is" };
    match name {
        Some(name) => format!("{address} {was} account {account}, called {name}.\n"),
        None => format!("{address} {was} account {account}.\n"),
    }
}

/// What came of taking a name away as text.
pub(super) fn name_removed(NameRemoved { name, account, already }: &NameRemoved) -> String {
    let address = &account.address;
    match already {
        false => format!("{address} is not called {name} any more. No other account can get that name.\n"),
        true => format!("{address} was not called {name}.\n"),
    }
}

fn accounts_table(accounts: &[AccountSummary]) -> Table {
    let mut table = Table::new([("ACCOUNT", Align::Right), ("NAME", Align::Left), ("ADDRESS", Align::Left)]);
    for AccountSummary { account, name, address } in accounts {
        let name = name.as_ref().map_or_else(String::new, ToString::to_string);
        table.push([account.to_string(), name, address.clone()]);
    }
    table
}

fn told(report: &AccountReport) -> String {
    let AccountReport { account, name, address, mines_for, donation, division, page } = report;
    let mines = match mines_for {
        MinesFor::Pool => "with all others, by the pool's scheme",
        MinesFor::Solo => "for itself alone",
    };
    let mut text = format!("Account   {account} {address}\n");
    if let Some(name) = name {
        let _ = writeln!(text, "Name      {name}");
    }
    let _ = writeln!(text, "Mines     {mines}");
    if let Some(DonationReport { basis_points, address }) = donation {
        let _ = writeln!(text, "Gives     {basis_points} / 10000 to {address}");
    }
    let whole: u64 = division.iter().map(|part| u64::from(part.weight)).sum();
    for PartReport { address, weight } in division {
        let _ = writeln!(text, "Divides   {weight} / {whole} of the rest to {address}");
    }
    if *page == PageFor::Watchers {
        text.push_str("Page      hidden: it takes a watcher's token (adit token add)\n");
    }
    text
}

/// Reads `BP:ADDRESS`.
fn donation(text: &str) -> Result<Donation, String> {
    let (bp, address) = text.split_once(':').ok_or("write BP:ADDRESS, such as 150:bc1q...")?;
    let basis_points = bp.parse().map_err(|_| format!("{bp} is not a number of basis points, 0 to 10000"))?;
    Ok(Donation { basis_points, address: parse_address(address)? })
}

/// Reads `ADDRESS=WEIGHT`.
fn part(text: &str) -> Result<Part, String> {
    let (address, weight) = text.split_once('=').ok_or("write ADDRESS=WEIGHT, such as bc1q...=2")?;
    let weight: u32 = weight.parse().map_err(|_| format!("{weight} is no whole number"))?;
    let weight = NonZeroU32::new(weight).ok_or("a weight of 0 gives nothing: leave that address out")?;
    Ok(Part { address: parse_address(address)?, weight })
}

fn parse_address(text: &str) -> Result<Address<NetworkUnchecked>, String> {
    Address::from_str(text).map_err(|error| format!("{text}: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payouts::account::AccountId;

    use super::*;

    const ONE: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const OTHER: &str = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";

    #[test]
    fn parts_are_read_and_what_is_none_is_told_in_words() {
        let read = donation(&format!("150:{ONE}")).unwrap();
        assert_eq!((read.basis_points, read.address), (150, ONE.parse().unwrap()));
        assert_eq!(part(&format!("{ONE}=2")).unwrap().weight.get(), 2);
        assert!(donation(ONE).unwrap_err().contains("BP:ADDRESS"));
        assert!(donation(&format!("70000:{ONE}")).unwrap_err().contains("70000 is not a number of basis points"));
        assert!(part(&format!("{ONE}=x")).unwrap_err().contains("x is no whole number"));
        assert!(part(&format!("{ONE}=0")).unwrap_err().contains("leave that address out"));
        assert!(part("nobody=2").is_err());
    }

    #[test]
    fn account_is_told_with_the_addresses_of_its_beneficiaries() {
        let to = |address: &str, weight| PartReport { address: address.to_owned(), weight };
        let report = AccountReport {
            account: AccountId::new(1),
            name: "farm".parse().ok(),
            address: ONE.to_owned(),
            mines_for: MinesFor::Solo,
            donation: Some(DonationReport { basis_points: 25, address: OTHER.to_owned() }),
            division: vec![to(ONE, 1), to(OTHER, 2)],
            page: PageFor::Watchers,
        };
        let told = changed(&AccountChange { account: report, already: true });
        let expected = format!(
            "Account   1 {ONE}\nName      farm\nMines     for itself alone\nGives     25 / 10000 to {OTHER}\n\
             Divides   1 / 3 of the rest to {ONE}\nDivides   2 / 3 of the rest to {OTHER}\n\
             Page      hidden: it takes a watcher's token (adit token add)\nIt was so already.\n"
        );
        assert_eq!(told, expected);
    }

    #[test]
    fn accounts_are_listed_with_their_names_and_what_became_of_one_is_said() {
        let summary = |account, name: &str, address: &str| AccountSummary {
            account: AccountId::new(account),
            name: name.parse().ok(),
            address: address.to_owned(),
        };
        let accounts = [summary(1, "farm", ONE), summary(2, "", OTHER)];
        let listed = accounts_table(&accounts).to_string();
        assert_eq!(listed, format!("ACCOUNT  NAME  ADDRESS\n      1  farm  {ONE}\n      2        {OTHER}\n"));
        let [named, unnamed] = accounts.map(|account| AccountAdded { account, already: false });
        assert_eq!(added(&named), format!("{ONE} is account 1, called farm.\n"));
        assert_eq!(added(&AccountAdded { already: true, ..unnamed }), format!("{OTHER} was already account 2.\n"));
        let removed = NameRemoved { name: "farm".parse().unwrap(), account: named.account, already: true };
        assert_eq!(name_removed(&removed), format!("{ONE} was not called farm.\n"));
    }
}
