//! `adit account`: its arguments, and what it prints of what accounts asked for.

mod workers;

use std::{fmt::Write, num::NonZeroU32, str::FromStr};

use anyhow::bail;
use bitcoin::{Address, address::NetworkUnchecked};
use clap::{Args, Subcommand};

use super::request::{CommonArguments, ask, example, json, printed};
use crate::{
    config::Config,
    operations::{
        Request,
        account::{
            AccountChange, AccountChanges, AccountReport, Donation, DonationReport, MinesFor, Part, PartReport,
            show_account,
        },
    },
    store,
};

/// What to do with an account.
#[derive(Clone, Debug, Subcommand)]
pub enum AccountCommand {
    /// Print whom an address mines for, and what becomes of what it earns; the pool may be running
    Show(AccountArguments),
    /// Print what the workers of an address have done lately; the pool may be running
    #[command(after_help = workers::EXAMPLE)]
    Workers(workers::WorkersArguments),
    /// Change that
    #[command(after_help = example("adit account set bc1q... --donate 150:bc1q..."))]
    Set(AccountSetArguments),
}

/// Whose account.
#[derive(Clone, Debug, Args)]
pub struct AccountArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The payout address
    #[arg(value_name = "ADDRESS")]
    pub address: Address<NetworkUnchecked>,
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
}

/// Does what a command says and returns what is to be printed.
///
/// # Errors
///
/// When it was refused or could not be done, with the reason and the cure.
pub async fn perform(command: AccountCommand) -> anyhow::Result<String> {
    match command {
        AccountCommand::Show(AccountArguments { common, address }) => {
            let config = Config::load(&common.config.config)?;
            let store = store::open_read_only(&config.store).await?;
            let report = show_account(&*store, &address).await?;
            if common.json { json(&report) } else { Ok(account(&report)) }
        }
        AccountCommand::Workers(arguments) => workers::print(arguments).await,
        AccountCommand::Set(AccountSetArguments { account, scheme, donate, split }) => {
            let AccountArguments { common, address } = account;
            let changes = AccountChanges { mines_for: scheme, donation: donate, division: split };
            if changes == AccountChanges::default() {
                bail!("nothing is to change: give --scheme, --donate or --split");
            }
            let config = Config::load(&common.config.config)?;
            let outcome = ask(&config, Request::SetAccount { address, changes }).await?;
            printed(&outcome, &common)
        }
    }
}

/// What came of a change as text.
pub(super) fn changed(AccountChange { account: report, already }: &AccountChange) -> String {
    let said = if *already { "It was so already.\n" } else { "" };
    format!("{}{said}", account(report))
}

fn account(report: &AccountReport) -> String {
    let AccountReport { account, address, mines_for, donation, division } = report;
    let mines = match mines_for {
        MinesFor::Pool => "with all others, by the pool's scheme",
        MinesFor::Solo => "for itself alone",
    };
    let mut text = format!("Account   {account} {address}\nMines     {mines}\n");
    if let Some(DonationReport { basis_points, address }) = donation {
        let _ = writeln!(text, "Gives     {basis_points} / 10000 to {address}");
    }
    let whole: u64 = division.iter().map(|part| u64::from(part.weight)).sum();
    for PartReport { address, weight } in division {
        let _ = writeln!(text, "Divides   {weight} / {whole} of the rest to {address}");
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
            address: ONE.to_owned(),
            mines_for: MinesFor::Solo,
            donation: Some(DonationReport { basis_points: 25, address: OTHER.to_owned() }),
            division: vec![to(ONE, 1), to(OTHER, 2)],
        };
        let told = changed(&AccountChange { account: report, already: true });
        let expected = format!(
            "Account   1 {ONE}\nMines     for itself alone\nGives     25 / 10000 to {OTHER}\n\
             Divides   1 / 3 of the rest to {ONE}\nDivides   2 / 3 of the rest to {OTHER}\nIt was so already.\n"
        );
        assert_eq!(told, expected);
    }
}
