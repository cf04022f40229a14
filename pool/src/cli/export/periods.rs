//! `adit export declare`, `close` and `periods`: their arguments, and what is printed.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use jiff::Timestamp;
use payouts::{
    export::{
        bookkeeping,
        report::reconciliation::RECONCILIATION_FILE,
        rules::{period::Period, profile::CountryProfile},
    },
    store::Store,
};

use super::{VerifiedDir, profile_of, verify_dir};
use crate::{
    cli::{
        ConfigArguments,
        books::utc,
        request::{CommonArguments, ask, printed},
        table::{Align, Table},
    },
    config::Config,
    operations::{Request, Words, period::PeriodChange},
    register::{self, PeriodStanding},
    store,
};

/// What is declared, to whom, and by whom.
#[derive(Clone, Debug, Args)]
pub struct DeclareArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The folder with the reports that were handed in
    #[arg(long, value_name = "FOLDER")]
    pub dir: PathBuf,
    /// The declaration's number or name, by whoever received it
    #[arg(long, value_name = "ID")]
    pub declaration: Words,
    /// Who received it
    #[arg(long, value_name = "NAME")]
    pub authority: Words,
    /// Who says so, for the record
    #[arg(long, value_name = "NAME")]
    pub by: Words,
    /// The country profile of those reports, if it is neither shipped nor that of the settings
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
}

/// Which period is closed, and by whom.
#[derive(Clone, Debug, Args)]
pub struct CloseArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The period: a month, quarter or year, as it was declared
    #[arg(long, value_name = "2026-10|2026-Q3|2026")]
    pub period: Period,
    /// The country profile, a shipped name or a TOML file [default: that of the settings]
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Who says so, for the record
    #[arg(long, value_name = "NAME")]
    pub by: Words,
}

/// Whose periods are printed.
#[derive(Clone, Debug, Args)]
pub struct PeriodsArguments {
    /// Where the settings are.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The country profile, a shipped name or a TOML file [default: that of the settings]
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
}

pub(super) async fn declare(arguments: DeclareArguments) -> anyhow::Result<String> {
    let DeclareArguments { common, dir, declaration, authority, by, profile } = arguments;
    let config = Config::load(&common.config.config)?;
    let declared = {
        let store = store::open_read_only(&config.store).await?;
        let VerifiedDir { manifest, profile, not_made_again, .. } =
            verify_dir(&config, &*store, &dir, profile.as_deref()).await?;
        ensure!(
            not_made_again.is_empty(),
            "these files could not be made again, because what is known of parties is not what it was, or sealed: {}; \
             make the reports anew, with export.party_key_file set",
            not_made_again.join(", ")
        );
        let reconciliation = dir.join(RECONCILIATION_FILE);
        let bytes = reconciliation.exists().then(|| fs::read(&reconciliation)).transpose();
        let bytes = bytes.with_context(|| format!("cannot read {}", reconciliation.display()))?;
        let declarable = bookkeeping::check_declarable(&*store, &profile, &manifest, bytes.as_deref()).await?;
        declarable.declared(declaration.as_str(), authority.as_str(), by.as_str())
    };
    printed(&ask(&config, Request::DeclarePeriod(Box::new(declared))).await?, &common)
}

pub(super) async fn close(arguments: CloseArguments) -> anyhow::Result<String> {
    let CloseArguments { common, period, profile, by } = arguments;
    let config = Config::load(&common.config.config)?;
    let profile = profile_of(&config, profile.as_deref())?.name().parse()?;
    printed(&ask(&config, Request::ClosePeriod { profile, period, by }).await?, &common)
}

pub(super) async fn periods(arguments: PeriodsArguments) -> anyhow::Result<String> {
    let PeriodsArguments { config, profile } = arguments;
    let config = Config::load(&config.config)?;
    let profile = profile_of(&config, profile.as_deref())?;
    let store = store::open_read_only(&config.store).await?;
    Ok(table(&*store, &profile, Timestamp::now().as_millisecond()).await?.to_string())
}

/// Returns all periods of a profile.
async fn table(store: &dyn Store, profile: &CountryProfile, now_ms: i64) -> anyhow::Result<Table> {
    let mut table = Table::new([
        ("PERIOD", Align::Left),
        ("STATE", Align::Left),
        ("DUE", Align::Left),
        ("DECLARATION", Align::Left),
        ("AUTHORITY", Align::Left),
        ("DECLARED", Align::Left),
        ("CLOSED", Align::Left),
    ]);
    for PeriodStanding { period, state, due, declaration, closed_at_ms, .. } in
        register::of_profile(store, profile, now_ms).await?
    {
        let time = |at_ms: Option<i64>| at_ms.map_or_else(|| Ok(String::new()), utc);
        let declared = declaration.as_ref();
        table.push([
            period.to_string(),
            state.as_str().to_owned(),
            due.unwrap_or_default(),
            declared.map(|it| it.declaration.clone()).unwrap_or_default(),
            declared.map(|it| it.authority.clone()).unwrap_or_default(),
            time(declared.map(|it| it.at_ms))?,
            time(closed_at_ms)?,
        ]);
    }
    Ok(table)
}

/// The text for a period that was declared.
pub fn declared(change: &PeriodChange) -> String {
    let PeriodChange { profile, period, declaration, authority, already } = change;
    match already {
        false => format!("{period} by profile {profile} is declared as {declaration} to {authority}.\n"),
        true => format!("{period} by profile {profile} was declared as {declaration} to {authority} already.\n"),
    }
}

/// The text for a period that is closed.
pub fn closed(change: &PeriodChange) -> String {
    let PeriodChange { profile, period, declaration, authority, already } = change;
    let how = if *already { "was closed already" } else { "is closed" };
    format!("{period} by profile {profile} {how}: what was declared as {declaration} to {authority} stands.\n")
}
