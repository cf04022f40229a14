//! `adit reserve`: its arguments, and what it prints of the reserve of PPS.

use clap::{Args, Subcommand};
use payouts::reserve::PoolMoney;

use super::{
    request::{CommonArguments, ask, example, json, printed},
    table::{Align, Table},
};
use crate::{
    config::Config,
    operations::{
        Request, Words,
        reserve::{GiftSource, Given, ReserveReport, show_reserve},
    },
    store,
};

/// What to do with the reserve.
#[derive(Clone, Debug, Subcommand)]
pub enum ReserveCommand {
    /// Print what is in the reserve and which work waits for it; the pool may be running
    #[command(after_help = example("adit reserve show"))]
    Show(ReserveShowArguments),
    /// Give fees or deposits to the reserve
    #[command(after_help = example("adit reserve fund 5000000000 --from deposits --reference 2026-11-loan"))]
    Fund(FundArguments),
    /// Give deposits to the fee
    #[command(after_help = example("adit reserve assign 1000000 --reference 2026-11-change"))]
    Assign(AssignArguments),
}

/// How the reserve is printed.
#[derive(Clone, Debug, Args)]
pub struct ReserveShowArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
}

/// What to give to the reserve.
#[derive(Clone, Debug, Args)]
pub struct FundArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// How much
    #[arg(value_name = "SATOSHIS")]
    pub amount_sat: u64,
    /// Out of what
    #[arg(long, value_enum, default_value = "fee")]
    pub from: GiftSource,
    /// A name for it: the same again gives nothing twice
    #[arg(long, value_name = "TEXT")]
    pub reference: Words,
}

/// What to give to the fee.
#[derive(Clone, Debug, Args)]
pub struct AssignArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// How much
    #[arg(value_name = "SATOSHIS")]
    pub amount_sat: u64,
    /// A name for it: the same again gives nothing twice
    #[arg(long, value_name = "TEXT")]
    pub reference: Words,
}

/// Does what a command says and returns what is to be printed.
///
/// # Errors
///
/// When it was refused or could not be done, with the reason and the cure.
pub async fn perform(command: ReserveCommand) -> anyhow::Result<String> {
    let (common, request) = match command {
        ReserveCommand::Show(ReserveShowArguments { common }) => {
            let config = Config::load(&common.config.config)?;
            let store = store::open_read_only(&config.store).await?;
            let report = show_reserve(&*store).await?;
            return if common.json { json(&report) } else { Ok(reserve(&report)) };
        }
        ReserveCommand::Fund(FundArguments { common, amount_sat: sat, from, reference }) => {
            (common, Request::FundReserve { sat, from, reference })
        }
        ReserveCommand::Assign(AssignArguments { common, amount_sat: sat, reference }) => {
            (common, Request::AssignDeposits { sat, reference })
        }
    };
    let config = Config::load(&common.config.config)?;
    printed(&ask(&config, request).await?, &common)
}

/// What was given as text.
pub(super) fn given(Given { sat, from, reference, entry }: &Given) -> String {
    let from = PoolMoney::from(*from);
    format!("{sat} sat of {from} were given: ledger entry {entry}, reference {reference}.\n")
}

fn reserve(report: &ReserveReport) -> String {
    let mut table = Table::new([("", Align::Left), ("SAT", Align::Right)]);
    table.push(["in the reserve".to_owned(), report.reserve_sat.to_string()]);
    table.push(["to come with blocks that mature".to_owned(), report.immature_sat.to_string()]);
    table.push(["fees that could be given".to_owned(), report.fee_sat.to_string()]);
    table.push(["deposits that could be given".to_owned(), report.deposits_sat.to_string()]);
    let mut periods = Table::new([
        ("PERIOD", Align::Right),
        ("SCHEME", Align::Left),
        ("BEHIND", Align::Right),
        ("UP TO", Align::Right),
        ("LACKS SAT", Align::Right),
    ]);
    for period in &report.periods {
        periods.push([
            period.period.to_string(),
            period.scheme.clone(),
            period.after.to_string(),
            period.upto.map_or("open".to_owned(), |upto| upto.to_string()),
            period.missing_sat.map_or("?".to_owned(), |sat| sat.to_string()),
        ]);
    }
    format!("{table}\nPeriods of work that are not paid\n{periods}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payouts::{crediting::PeriodNumber, share::ShareSeq};

    use super::*;
    use crate::operations::reserve::PeriodReport;

    #[test]
    fn period_says_what_it_lacks_if_that_is_known() {
        let period = |number, upto, missing_sat| PeriodReport {
            period: PeriodNumber::new(number),
            scheme: "fpps fee_bp=100".to_owned(),
            after: ShareSeq::new(7),
            upto,
            missing_sat,
        };
        let periods = vec![period(3, Some(ShareSeq::new(9)), Some(1_234)), period(4, None, None)];
        let report = ReserveReport { reserve_sat: -5, immature_sat: 50, fee_sat: 6, deposits_sat: 0, periods };
        let told = reserve(&report);
        let cells: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
        for line in [
            &["in", "the", "reserve", "-5"][..],
            &["3", "fpps", "fee_bp=100", "7", "9", "1234"],
            &["4", "fpps", "fee_bp=100", "7", "open", "?"],
        ] {
            assert!(cells.iter().any(|cells| cells == line), "{told}");
        }
    }
}
