//! `adit screening` and `adit party`: their arguments, which request each command stands for, and what is printed.

use std::{fmt::Write, fs, path::PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use payouts::{
    account::User,
    export::{
        party::{Party, PartyId},
        screened::{Evidence, ReviewReason},
    },
};

use super::{
    books::utc,
    request::{CommonArguments, ask, example, printed},
    table::{Align, Table},
};
use crate::{
    config::Config,
    operations::{
        Request, Words,
        party::{OwnRequest, PartyReport},
        screening::{AcceptReport, FindingReport, ReviewReport, ReviewRequest, ScreenedText, ScreeningReport},
    },
};

/// What to do about screening.
#[derive(Clone, Debug, Subcommand)]
pub enum ScreeningCommand {
    /// Tell whether the lists are in order, and whom they name
    #[command(after_help = example("adit screening status"))]
    Status(CommonArguments),
    /// Compare an address or a name with the lists
    #[command(after_help = example("adit screening check \"Example Trading LLC\""))]
    Check(CheckArguments),
    /// Say that an account that screening found may be released; the second operator's word releases it
    #[command(after_help = example(
        "adit screening release bc1q... --by alice --reason false-positive --text \"born 1990, listed party 1961\""
    ))]
    Release(ReleaseArguments),
    /// Say that a list is right although it has lost more than a tenth of its entries; the second operator's word lets
    /// payments go on
    #[command(after_help = example("adit screening accept-list ofac-sdn --by alice --text \"programme ended, see notice\""))]
    AcceptList(AcceptArguments),
}

/// What to do about parties, who own the addresses that are paid.
#[derive(Clone, Debug, Subcommand)]
pub enum PartyCommand {
    /// List the parties that are known
    #[command(after_help = example("adit party list"))]
    List(CommonArguments),
    /// Print what is known of a party, as the TOML file by which it is set
    #[command(after_help = example("adit party show 3"))]
    Show(ShowArguments),
    /// Make a party known, or known better, from a TOML file
    #[command(after_help = example("adit party set example.toml --by alice"))]
    Set(SetArguments),
    /// Erase what is known of a party; what was paid to it stays on record
    #[command(after_help = example("adit party erase 3 --by alice --reason \"asked to be forgotten\""))]
    Erase(EraseArguments),
    /// Say whose an account's address is
    #[command(after_help = example("adit party own bc1q... 3 --proof \"BIP 322 signature\" --by alice"))]
    Own(OwnArguments),
}

/// What is compared.
#[derive(Clone, Debug, Args)]
pub struct CheckArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The address, or else the name
    #[arg(value_name = "TEXT")]
    pub text: Words,
}

/// Who is released, by whom and why.
#[derive(Clone, Debug, Args)]
pub struct ReleaseArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The miner's payout address, or the account's name
    #[arg(value_name = "ACCOUNT")]
    pub account: User,
    /// Who says so, for the record
    #[arg(long, value_name = "NAME")]
    pub by: Words,
    /// Why
    #[arg(long, value_name = "REASON")]
    pub reason: Reason,
    /// In words, for the record
    #[arg(long, value_name = "TEXT")]
    pub text: Words,
    /// Under which reference an authority allows it: needed for an account that is still listed
    #[arg(long, value_name = "REFERENCE")]
    pub authorisation: Option<Words>,
}

/// Which list is accepted, by whom and why.
#[derive(Clone, Debug, Args)]
pub struct AcceptArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The list, as adit screening status names it
    #[arg(value_name = "LIST")]
    pub list: String,
    /// Who says so, for the record
    #[arg(long, value_name = "NAME")]
    pub by: Words,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub text: Words,
}

/// Why an account is released.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Reason {
    /// It is somebody else than the one who is listed
    FalsePositive,
    /// The list has it no more
    Delisted,
    /// An authority allows it
    Authorised,
    /// What was missing of the owner is known now
    DataComplete,
}

/// Which party.
#[derive(Clone, Debug, Args)]
pub struct ShowArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The number of the party
    #[arg(value_name = "PARTY", value_parser = party_id)]
    pub party: PartyId,
}

/// Which party, and what is known of it.
#[derive(Clone, Debug, Args)]
pub struct SetArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// A TOML file: kind ("natural" or "legal"), legal_name, residency, tax_ids and so on
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The party that is known better now [default: a new one]
    #[arg(long, value_name = "PARTY", value_parser = party_id)]
    pub party: Option<PartyId>,
    /// Who says so, for the record
    #[arg(long, value_name = "NAME")]
    pub by: Words,
}

/// What is erased, and why.
#[derive(Clone, Debug, Args)]
pub struct EraseArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The number of the party
    #[arg(value_name = "PARTY", value_parser = party_id)]
    pub party: PartyId,
    /// Who does it, for the record
    #[arg(long, value_name = "NAME")]
    pub by: Words,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Words,
}

/// Which address is whose.
#[derive(Clone, Debug, Args)]
pub struct OwnArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The miner's payout address, or the account's name
    #[arg(value_name = "ACCOUNT")]
    pub account: User,
    /// The number of the party that owns it
    #[arg(value_name = "PARTY", value_parser = party_id)]
    pub party: PartyId,
    /// The service provider that has its keys [default: the owner has them]
    #[arg(long, value_name = "NAME")]
    pub provider: Option<Words>,
    /// How the owner has shown that it is his
    #[arg(long, value_name = "METHOD")]
    pub proof: Option<Words>,
    /// When, such as 2026-10-01T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME", requires = "proof")]
    pub proof_at: Option<Timestamp>,
    /// Who says so, for the record
    #[arg(long, value_name = "NAME")]
    pub by: Words,
}

impl From<Reason> for ReviewReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::FalsePositive => Self::FalsePositive,
            Reason::Delisted => Self::Delisted,
            Reason::Authorised => Self::Authorised,
            Reason::DataComplete => Self::DataComplete,
        }
    }
}

/// Does what a command says and returns what is to be printed.
///
/// # Errors
///
/// When it was refused or could not be done, with the reason and the cure.
pub async fn screening(command: ScreeningCommand) -> anyhow::Result<String> {
    let (common, request) = match command {
        ScreeningCommand::Status(common) => (common, Request::Screening),
        ScreeningCommand::Check(CheckArguments { common, text }) => (common, Request::Screen { text }),
        ScreeningCommand::Release(ReleaseArguments { common, account, by, reason, text, authorisation }) => {
            let reason = reason.into();
            (common, Request::Review(ReviewRequest { account, by, reason, text, authorisation }))
        }
        ScreeningCommand::AcceptList(AcceptArguments { common, list, by, text }) => {
            (common, Request::AcceptList { list, by, text })
        }
    };
    let config = Config::load(&common.config.config)?;
    printed(&ask(&config, request).await?, &common)
}

/// Does what a command says and returns what is to be printed.
///
/// # Errors
///
/// When it was refused or could not be done, with the reason and the cure.
pub async fn party(command: PartyCommand) -> anyhow::Result<String> {
    let (common, request) = match command {
        PartyCommand::List(common) => (common, Request::Parties),
        PartyCommand::Show(ShowArguments { common, party }) => (common, Request::Party { party }),
        PartyCommand::Set(SetArguments { common, file, party, by }) => {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let data: Party = toml::from_str(&text).with_context(|| format!("{} is no party", file.display()))?;
            (common, Request::SetParty { party, data: Box::new(data), by })
        }
        PartyCommand::Erase(EraseArguments { common, party, by, reason }) => {
            (common, Request::EraseParty { party, reason, by })
        }
        PartyCommand::Own(OwnArguments { common, account, party, provider, proof, proof_at, by }) => {
            let proof_at_ms = proof_at.map(Timestamp::as_millisecond);
            (common, Request::OwnAddress(OwnRequest { account, party, provider, proof, proof_at_ms, by }))
        }
    };
    let config = Config::load(&common.config.config)?;
    printed(&ask(&config, request).await?, &common)
}

fn party_id(text: &str) -> anyhow::Result<PartyId> {
    match text.parse::<i64>() {
        Ok(number) if number > 0 => Ok(PartyId::new(number)),
        _ => bail!("{text} is not the number of a party"),
    }
}

/// The text for how screening stands.
pub(super) fn stands(report: &ScreeningReport) -> anyhow::Result<String> {
    let mut lists = Table::new([
        ("LIST", Align::Left),
        ("PUBLISHED", Align::Left),
        ("FETCHED", Align::Left),
        ("ENTRIES", Align::Right),
        ("ADDRESSES", Align::Right),
        ("WARNINGS", Align::Right),
        ("STANDING", Align::Left),
    ]);
    for list in &report.lists {
        lists.push([
            list.source.clone(),
            list.publication_date.clone().unwrap_or_default(),
            list.fetched_at_ms.map(utc).transpose()?.unwrap_or_default(),
            list.entry_count.to_string(),
            list.address_count.to_string(),
            list.warning_count.to_string(),
            list.standing.clone(),
        ]);
    }
    let mut text = match &report.nothing_is_paid {
        Some(reason) => format!("Nothing is paid: {reason}\n\n{lists}"),
        None => lists.to_string(),
    };
    if report.findings.is_empty() {
        text.push_str("\nNo account is restrained by screening.\n");
    }
    for finding in &report.findings {
        let FindingReport { address, outcome, missing, row, first_review_by, .. } = finding;
        let _ = writeln!(text, "\n{address} is {outcome} (journal row {row})");
        for evidence in &finding.evidence {
            let _ = writeln!(text, "  {}", told(evidence));
        }
        for field in missing {
            let _ = writeln!(text, "  missing: {field}");
        }
        if let Some(by) = first_review_by {
            let _ = writeln!(text, "  {by} would release it; another operator must agree");
        }
    }
    Ok(text)
}

fn told(evidence: &Evidence) -> String {
    let Evidence { reason, score_bp, source, uid, party, programmes, label, listed, .. } = evidence;
    let score = score_bp.map_or_else(String::new, |bp| format!(" ({}.{:02} %)", bp / 100, bp % 100));
    let label = label.as_ref().map_or_else(String::new, |label| format!(" as {label}"));
    format!("{reason}{score}: {listed}{label}, list {source}, entry {uid}, {party} [{}]", programmes.join(", "))
}

/// The text for what lists have about an address or a name.
pub(super) fn checked(screened: &ScreenedText) -> String {
    let kind = if screened.is_address { "address" } else { "name" };
    let mut text = format!("{kind} {}: {}\n", screened.text, screened.outcome);
    for evidence in &screened.evidence {
        let _ = writeln!(text, "  {}", told(evidence));
    }
    if let Some(unusable) = &screened.unusable {
        let _ = writeln!(text, "The lists may not be relied upon: {unusable}");
    }
    text
}

/// The text for what became of a word for a release.
pub(super) fn reviewed(report: &ReviewReport) -> String {
    match report.released {
        true => format!("{} is released.\n", report.address),
        false => format!("On record. Another operator must agree before {} is released.\n", report.address),
    }
}

/// The text for what became of a word for a list.
pub(super) fn accepted(report: &AcceptReport) -> String {
    match report.accepted {
        true => format!("List {} is accepted.\n", report.source),
        false => format!("On record. Another operator must agree before list {} is accepted.\n", report.source),
    }
}

/// The text for the parties that are known.
pub(super) fn parties(parties: &[PartyReport]) -> String {
    if parties.is_empty() {
        return "No party is known.\n".to_owned();
    }
    let mut table = Table::new([
        ("PARTY", Align::Right),
        ("KIND", Align::Left),
        ("RESIDENT", Align::Left),
        ("ACCOUNTS", Align::Right),
        ("NAME", Align::Left),
    ]);
    for party in parties {
        let name = match (&party.legal_name, party.is_erased) {
            (_, true) => "(erased)".to_owned(),
            (Some(name), false) => name.clone(),
            (None, false) => "(sealed: export.party_key_file is not set)".to_owned(),
        };
        let (number, accounts) = (party.party.to_string(), party.accounts.to_string());
        table.push([number, party.kind.clone(), party.residency.clone(), accounts, name]);
    }
    table.to_string()
}
