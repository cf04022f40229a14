//! A batch of payouts: how far it is, whom it pays, its transactions and what happened to it.

use bitcoin::{BlockHash, Txid};
use payouts::payout::{
    AttemptProgress, Batch, BatchApproval, BatchEvent, BatchHead, BatchId, BatchState, ConfirmationBlock, PaidOutput,
};
use serde::{Deserialize, Serialize};

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nobody has approved it, and somebody must.
    Unapproved,
    /// Its newest transaction is not signed.
    Unsigned,
    /// Its newest transaction is signed; whether the node has it is not known.
    Signed,
    /// The node has had its newest transaction.
    Broadcast,
    /// It is in a block.
    Confirmed,
    /// It was given up.
    Cancelled,
    /// Its coins were spent by a transaction that is not its own.
    Replaced,
}

/// A batch in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BatchSummary {
    /// Its number.
    #[schema(value_type = i64)]
    pub batch: BatchId,
    /// How far it is.
    pub stage: Stage,
    /// Its transaction: the confirmed one, or else the newest.
    #[schema(value_type = String)]
    pub txid: Txid,
    /// How many transactions were made for it.
    pub attempts: usize,
    /// How many accounts it pays.
    pub accounts: usize,
    /// What it pays them.
    pub paid_sat: u64,
    /// What its transaction pays the network.
    pub network_fee_sat: u64,
    /// When it was created.
    pub created_at_ms: i64,
    /// The block that it is in.
    pub block: Option<BatchBlock>,
}

/// A block with a batch's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BatchBlock {
    /// Its hash.
    #[schema(value_type = String)]
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
}

/// All that is known of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BatchReport {
    /// It in a line.
    pub summary: BatchSummary,
    /// Whom it pays.
    pub outputs: Vec<OutputReport>,
    /// The transactions that were made for it, oldest first.
    pub transactions: Vec<AttemptReport>,
    /// What happened to it, oldest first.
    pub events: Vec<EventReport>,
}

/// An output that pays an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OutputReport {
    /// Its place in the transaction.
    pub vout: u32,
    /// Whom it pays.
    pub address: String,
    /// What it pays.
    pub paid_sat: u64,
    /// What the account gave to the network's fee beside it.
    pub fee_part_sat: u64,
    /// The coinbases that it came from.
    pub lots: Vec<LotReport>,
}

/// The part of an output that came from one coinbase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LotReport {
    /// The coinbase output, `txid:vout`.
    #[schema(value_type = String)]
    pub coinbase: bitcoin::OutPoint,
    /// How much.
    pub sat: u64,
}

/// A transaction that was made for a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AttemptReport {
    /// The transaction.
    #[schema(value_type = String)]
    pub txid: Txid,
    /// How far it is.
    pub stage: Stage,
    /// What it pays the network.
    pub network_fee_sat: u64,
    /// When it was made.
    pub created_at_ms: i64,
}

/// Something that people did with a batch, or that befell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventReport {
    /// When.
    pub at_ms: i64,
    /// What: `approved`, `exported`, `cancelled` or `replaced`.
    pub event: String,
    /// Who, why, or by what.
    pub note: String,
}

impl Stage {
    fn of(batch: &BatchHead) -> Stage {
        match batch.state {
            BatchState::Open if batch.approval == BatchApproval::Awaited => Stage::Unapproved,
            BatchState::Open => Stage::of_attempt(batch.newest().progress),
            BatchState::Confirmed(..) => Stage::Confirmed,
            BatchState::Cancelled => Stage::Cancelled,
            BatchState::Replaced(_) => Stage::Replaced,
        }
    }

    fn of_attempt(progress: AttemptProgress) -> Stage {
        match progress {
            AttemptProgress::Created => Stage::Unsigned,
            AttemptProgress::Signed => Stage::Signed,
            AttemptProgress::Broadcast => Stage::Broadcast,
        }
    }

    /// The stage as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Unapproved => "unapproved",
            Stage::Unsigned => "unsigned",
            Stage::Signed => "signed",
            Stage::Broadcast => "broadcast",
            Stage::Confirmed => "confirmed",
            Stage::Cancelled => "cancelled",
            Stage::Replaced => "replaced",
        }
    }
}

impl From<&Batch> for BatchSummary {
    fn from(batch: &Batch) -> BatchSummary {
        (&batch.head()).into()
    }
}

impl From<&BatchHead> for BatchSummary {
    fn from(batch: &BatchHead) -> BatchSummary {
        BatchSummary {
            batch: batch.id,
            stage: Stage::of(batch),
            txid: batch.txid(),
            attempts: batch.attempts.len(),
            accounts: batch.outputs as usize,
            paid_sat: batch.paid.to_sat(),
            network_fee_sat: batch.attempt().network_fee.to_sat(),
            created_at_ms: batch.created_at_ms,
            block: match batch.state {
                BatchState::Confirmed(_, ConfirmationBlock { hash, height, .. }) => Some(BatchBlock { hash, height }),
                _ => None,
            },
        }
    }
}

impl BatchReport {
    /// All that is known of a batch.
    pub fn new(batch: &Batch, events: Vec<BatchEvent>) -> BatchReport {
        BatchReport::with(&batch.head(), &batch.outputs, events)
    }

    /// What is known of a batch, with some of its outputs.
    pub fn with(batch: &BatchHead, outputs: &[PaidOutput], events: Vec<BatchEvent>) -> BatchReport {
        let transactions = batch.attempts.iter().map(|attempt| AttemptReport {
            txid: attempt.txid,
            stage: match batch.state {
                BatchState::Confirmed(number, _) if number == attempt.number => Stage::Confirmed,
                _ => Stage::of_attempt(attempt.progress),
            },
            network_fee_sat: attempt.network_fee.to_sat(),
            created_at_ms: attempt.created_at_ms,
        });
        let events = events.into_iter().map(|event| EventReport {
            at_ms: event.at_ms,
            event: event.kind.as_str().to_owned(),
            note: event.note,
        });
        BatchReport {
            summary: batch.into(),
            outputs: outputs.iter().map(OutputReport::from).collect(),
            transactions: transactions.collect(),
            events: events.collect(),
        }
    }
}

impl From<&PaidOutput> for OutputReport {
    fn from(output: &PaidOutput) -> OutputReport {
        let lots = output.delivered_lots().into_iter();
        OutputReport {
            vout: output.vout,
            address: output.due.address.clone(),
            paid_sat: output.pays().to_sat(),
            fee_part_sat: output.fee.to_sat(),
            lots: lots.map(|lot| LotReport { coinbase: lot.coinbase, sat: lot.amount.to_sat() }).collect(),
        }
    }
}
