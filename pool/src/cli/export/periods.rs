//! `adit export declare`, `close` and `periods`: their arguments, and what is printed.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use jiff::Timestamp;
use payouts::{
    export::{
        bookkeeping,
        closing::{KnownPeriod, PeriodDeclared},
        report::reconciliation::RECONCILIATION_FILE,
        rules::{period::Period, profile::CountryProfile, source_file::FileHash},
    },
    ledger::EntrySeq,
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

/// Returns all periods of a profile, from the first that something was booked in to that of now.
async fn table(store: &dyn Store, profile: &CountryProfile, now_ms: i64) -> anyhow::Result<Table> {
    let head = store.journal_head().await?;
    let known = bookkeeping::periods(store, head.seq).await?;
    let mut all: BTreeSet<Period> = known.of_profile(profile.name()).map(|known| known.declared.period).collect();
    let current = profile.period_at(now_ms)?;
    let first = store.entries(EntrySeq::new(0), 1).await?;
    let first = first.first().map_or(Ok(current), |entry| profile.period_at(entry.at_ms.min(now_ms)))?;
    all.extend(std::iter::successors(Some(first), |period| period.next()).take_while(|period| *period <= current));
    let mut table = Table::new([
        ("PERIOD", Align::Left),
        ("STATE", Align::Left),
        ("DUE", Align::Left),
        ("DECLARATION", Align::Left),
        ("AUTHORITY", Align::Left),
        ("DECLARED", Align::Left),
        ("CLOSED", Align::Left),
    ]);
    for period in all {
        let declared = known.of(profile.name(), period);
        let due = profile.due(period);
        let state = match declared {
            Some(KnownPeriod { closed_at: Some(_), .. }) => "CLOSED",
            Some(_) => "DECLARED",
            None if now_ms < period.end_ms(profile.zone()) => "OPEN",
            None if profile.zone().day(now_ms)? > due => "OVERDUE",
            None => "OVER",
        };
        let time = |at_ms: Option<i64>| at_ms.map_or_else(|| Ok(String::new()), utc);
        table.push([
            period.to_string(),
            state.to_owned(),
            due.to_string(),
            declared.map(|known| known.declared.declaration.clone()).unwrap_or_default(),
            declared.map(|known| known.declared.authority.clone()).unwrap_or_default(),
            time(declared.map(|known| known.declared_at.at_ms))?,
            time(declared.and_then(|known| known.closed_at).map(|place| place.at_ms))?,
        ]);
    }
    Ok(table)
}

/// Returns what a reader of reports should know of the period's declaration. `manifest` is that of the reports, as it was
/// written.
pub(super) fn note(known: &KnownPeriod, manifest: &[u8]) -> anyhow::Result<String> {
    let PeriodDeclared { period, declaration, authority, manifest_sha256, .. } = &known.declared;
    let at = utc(known.declared_at.at_ms)?;
    let declared = format!("declared as {declaration} to {authority} on {at}");
    Ok(match known.closed_at {
        None => format!(
            "{period} was {declared}: what came on record since then is in these files, which can be declared again until the \
             period is closed"
        ),
        Some(_) if FileHash::of(manifest) == *manifest_sha256 => format!(
            "{period} is closed: these are the files that were {declared}, byte by byte, made again from the records of then; \
             what is corrected since is in the reports of the open period"
        ),
        Some(_) => format!(
            "{period} is closed: these files are made from the records that were {declared}, but are not the same, because the \
             software is of another version or what is known of parties is not what it was; the declared ones count"
        ),
    })
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
