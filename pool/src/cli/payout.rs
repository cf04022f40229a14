//! `adit payout`: its arguments, and which request each command stands for.
//!
//! Owns what is typed and what is printed. What is done belongs to [`crate::operations`].

mod psbt_file;

use std::path::PathBuf;

use anyhow::bail;
use bitcoin::Amount;
use clap::{Args, Subcommand};
use payouts::{account::User, payout::BatchId};

use super::request::{CommonArguments, ask, example, printed};
use crate::{
    config::Config,
    operations::{Outcome, PsbtBytes, Request, Words},
};

/// The largest threshold that can be typed: all the satoshis there are.
const MAX_THRESHOLD_SAT: u64 = 21_000_000 * 100_000_000;

/// What to do with payouts.
#[derive(Clone, Debug, Subcommand)]
pub enum PayoutCommand {
    /// Tell what is due, what is under way and what it waits for
    #[command(after_help = example("adit payout status"))]
    Status(StatusArguments),
    /// List the latest batches
    #[command(after_help = example("adit payout list --last 20"))]
    List(ListBatchesArguments),
    /// Show one batch: its outputs, its transactions and its history
    #[command(after_help = example("adit payout show 7 --json"))]
    Show(ShowArguments),
    /// Pay what is due now, whatever the schedule says
    #[command(after_help = example("adit payout run --account bc1q..."))]
    Run(RunArguments),
    /// Let a batch that waits for approval be signed
    #[command(after_help = example("adit payout approve 7 --by alice"))]
    Approve(ApproveArguments),
    /// Give up a batch that was never signed; the balances are due again
    #[command(after_help = example("adit payout cancel 7 --reason \"wrong fee rate\""))]
    Cancel(CancelArguments),
    /// Stop paying an address; what it earns is kept for it
    #[command(after_help = example("adit payout hold bc1q... --reason \"owner reports a lost key\""))]
    Hold(ReasonArguments),
    /// Pay a held address again
    #[command(after_help = example("adit payout release bc1q... --reason \"owner confirmed\""))]
    Release(ReasonArguments),
    /// Set the balance from which an address is paid
    #[command(after_help = example("adit payout threshold bc1q... 1000000"))]
    Threshold(ThresholdArguments),
    /// Replace a batch's transaction by one that pays the network more
    #[command(after_help = example("adit payout bump 7 --fee-rate 25"))]
    Bump(BumpArguments),
    /// Write a batch's transaction to a file, to be signed elsewhere (BIP 174)
    #[command(after_help = example("adit payout export-psbt 7 --out batch-7.psbt"))]
    ExportPsbt(ExportPsbtArguments),
    /// Take in a batch's transaction that was signed elsewhere, and send it
    #[command(after_help = example("adit payout import-psbt 7 batch-7-signed.psbt"))]
    ImportPsbt(ImportPsbtArguments),
}

/// How the status is printed.
#[derive(Clone, Debug, Args)]
pub struct StatusArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
}

/// Which batches are listed.
#[derive(Clone, Debug, Args)]
pub struct ListBatchesArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// How many, counted from the newest
    #[arg(long, default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub last: u32,
}

/// Which batch is shown.
#[derive(Clone, Debug, Args)]
pub struct ShowArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The number of the batch
    #[arg(value_name = "BATCH", value_parser = batch_id)]
    pub batch: BatchId,
}

/// Who is paid.
#[derive(Clone, Debug, Args)]
pub struct RunArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// Pay this address, or account by its name, alone, also below its threshold [default: all that are due]
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<User>,
    /// Tell what would be paid, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What is approved, and by whom.
#[derive(Clone, Debug, Args)]
pub struct ApproveArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The number of the batch
    #[arg(value_name = "BATCH", value_parser = batch_id)]
    pub batch: BatchId,
    /// Who approves, for the record
    #[arg(long, value_name = "NAME")]
    pub by: Words,
}

/// What is given up, and why.
#[derive(Clone, Debug, Args)]
pub struct CancelArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The number of the batch
    #[arg(value_name = "BATCH", value_parser = batch_id)]
    pub batch: BatchId,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Words,
    /// Also if it was exported: you are sure that nobody signs that file
    #[arg(long)]
    pub even_if_exported: bool,
}

/// Whom it concerns, and why.
#[derive(Clone, Debug, Args)]
pub struct ReasonArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The miner's payout address, or the account's name
    #[arg(value_name = "ACCOUNT")]
    pub account: User,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Words,
}

/// From which balance on an address is paid.
#[derive(Clone, Debug, Args)]
pub struct ThresholdArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The miner's payout address, or the account's name
    #[arg(value_name = "ACCOUNT")]
    pub account: User,
    /// The balance, or `default` for the pool's
    #[arg(value_name = "SATOSHIS|default", value_parser = threshold)]
    pub threshold: Threshold,
}

/// A threshold as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// The pool's own.
    Default,
    /// One for this address.
    Own(Amount),
}

/// What is replaced, and at what price.
#[derive(Clone, Debug, Args)]
pub struct BumpArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The number of the batch
    #[arg(value_name = "BATCH", value_parser = batch_id)]
    pub batch: BatchId,
    /// The fee rate of the replacement
    #[arg(long, value_name = "SAT_PER_VB", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub fee_rate: u32,
}

/// What is written where.
#[derive(Clone, Debug, Args)]
pub struct ExportPsbtArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The number of the batch
    #[arg(value_name = "BATCH", value_parser = batch_id)]
    pub batch: BatchId,
    /// The new file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// What is taken in.
#[derive(Clone, Debug, Args)]
pub struct ImportPsbtArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The number of the batch
    #[arg(value_name = "BATCH", value_parser = batch_id)]
    pub batch: BatchId,
    /// The file, binary or base64; several if each of several keys has signed a copy
    #[arg(value_name = "FILE", required = true, num_args = 1..=16)]
    pub files: Vec<PathBuf>,
}

impl PayoutCommand {
    fn common(&self) -> &CommonArguments {
        match self {
            PayoutCommand::Status(StatusArguments { common })
            | PayoutCommand::List(ListBatchesArguments { common, .. })
            | PayoutCommand::Show(ShowArguments { common, .. })
            | PayoutCommand::Run(RunArguments { common, .. })
            | PayoutCommand::Approve(ApproveArguments { common, .. })
            | PayoutCommand::Cancel(CancelArguments { common, .. })
            | PayoutCommand::Hold(ReasonArguments { common, .. })
            | PayoutCommand::Release(ReasonArguments { common, .. })
            | PayoutCommand::Threshold(ThresholdArguments { common, .. })
            | PayoutCommand::Bump(BumpArguments { common, .. })
            | PayoutCommand::ExportPsbt(ExportPsbtArguments { common, .. })
            | PayoutCommand::ImportPsbt(ImportPsbtArguments { common, .. }) => common,
        }
    }

    /// The request that the command stands for. A file that it names is read.
    fn request(&self) -> anyhow::Result<Request> {
        Ok(match self.clone() {
            PayoutCommand::Status(_) => Request::Status,
            PayoutCommand::List(ListBatchesArguments { last, .. }) => Request::List { last },
            PayoutCommand::Show(ShowArguments { batch, .. }) => Request::Show { batch },
            PayoutCommand::Run(RunArguments { account, dry_run: true, .. }) => Request::Preview { account },
            PayoutCommand::Run(RunArguments { account, .. }) => Request::Run { account },
            PayoutCommand::Approve(ApproveArguments { batch, by, .. }) => Request::Approve { batch, by },
            PayoutCommand::Cancel(CancelArguments { batch, reason, even_if_exported, .. }) => {
                Request::Cancel { batch, reason, even_if_exported }
            }
            PayoutCommand::Hold(ReasonArguments { account, reason, .. }) => Request::Hold { account, reason },
            PayoutCommand::Release(ReasonArguments { account, reason, .. }) => Request::Release { account, reason },
            PayoutCommand::Threshold(ThresholdArguments { account, threshold, .. }) => Request::Threshold {
                account,
                threshold_sat: match threshold {
                    Threshold::Default => None,
                    Threshold::Own(amount) => Some(amount.to_sat()),
                },
            },
            PayoutCommand::Bump(BumpArguments { batch, fee_rate, .. }) => {
                Request::Bump { batch, fee_rate_sat_per_vb: fee_rate }
            }
            PayoutCommand::ExportPsbt(ExportPsbtArguments { batch, .. }) => Request::ExportPsbt { batch },
            PayoutCommand::ImportPsbt(ImportPsbtArguments { batch, files, .. }) => {
                let psbts = files.iter().map(|file| psbt_file::read(file).map(PsbtBytes));
                Request::ImportPsbt { batch, psbts: psbts.collect::<Result<_, _>>()? }
            }
        })
    }
}

/// Does what a command says, in the running pool or else here, and returns what is to be printed.
///
/// # Errors
///
/// When it was refused or could not be done, with the reason and the cure.
pub async fn perform(command: PayoutCommand) -> anyhow::Result<String> {
    let common = command.common();
    let config = Config::load(&common.config.config)?;
    if let PayoutCommand::ExportPsbt(ExportPsbtArguments { out, .. }) = &command
        && out.exists()
    {
        bail!("{} exists already: name a new file", out.display());
    }
    let outcome = ask(&config, command.request()?).await?;
    if let (Outcome::Psbt(exported), PayoutCommand::ExportPsbt(ExportPsbtArguments { out, .. })) = (&outcome, &command)
    {
        psbt_file::write(out, &exported.psbt.0)?;
    }
    printed(&outcome, common)
}

fn batch_id(text: &str) -> Result<BatchId, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(BatchId::new(number)),
        _ => Err("not the number of a batch: 1, 2, 3 and so on".to_owned()),
    }
}

fn threshold(text: &str) -> Result<Threshold, String> {
    match text.parse() {
        _ if text == "default" => Ok(Threshold::Default),
        Ok(sat @ 1..=MAX_THRESHOLD_SAT) => Ok(Threshold::Own(Amount::from_sat(sat))),
        _ => Err(format!("neither `default` nor an amount of 1 to {MAX_THRESHOLD_SAT} satoshis")),
    }
}
