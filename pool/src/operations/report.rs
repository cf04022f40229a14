//! What comes of a request, in a form that can be sent and shown. Amounts are satoshis, times are milliseconds since
//! 1970 UTC.

use bitcoin::{BlockHash, Txid};
use payouts::{
    account::AccountId,
    export::{
        party::{Party, PartyId},
        valued::Kept,
    },
    payout::{
        AttemptStage, Batch, BatchApproval, BatchEvent, BatchId, BatchState, ConfirmationBlock, LedgerTotals,
        OpenBatch, PaidOutput, PayoutStatus, Preview, PreviewOutput, RestraintRow, WaitsFor,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    account::{AccountAdded, AccountChange, NameRemoved},
    connection::Ordered,
    party::PartyReport,
    period::PeriodChange,
    port::{BanLifted, BanReport, Banned},
    reserve::Given,
    sale::SaleReport,
    screening::{AcceptReport, ReviewReport, ScreenedText, ScreeningReport},
    token::{TokenAdded, TokenRevoked},
};

use crate::{config::shown::ShownSettings, reload::ReloadReport};

/// What was done or found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// How payouts stand.
    Status(Status),
    /// The newest batches, newest first.
    Batches(Vec<BatchSummary>),
    /// One batch.
    Batch(BatchReport),
    /// What a run would pay.
    Preview(PreviewReport),
    /// What a run has made.
    Ran(Ran),
    /// The batch is approved.
    Approved(BatchChange),
    /// The batch is given up.
    Cancelled(BatchChange),
    /// The address is not paid.
    Held(AddressChange),
    /// The address is paid again.
    Released(AddressChange),
    /// The address has this threshold.
    Threshold(ThresholdSet),
    /// The batch has another transaction.
    Bumped(BatchSummary),
    /// A transaction to be signed.
    Psbt(ExportedPsbt),
    /// The batch is signed.
    Imported(BatchChange),
    /// The account asks for this.
    Account(AccountChange),
    /// The address is an account.
    Added(AccountAdded),
    /// The name is nobody's.
    NameRemoved(NameRemoved),
    /// The reserve or the fee has got money.
    Given(Given),
    /// How screening stands.
    Screening(ScreeningReport),
    /// What lists have about an address or a name.
    Screened(ScreenedText),
    /// What became of a word for a release.
    Reviewed(ReviewReport),
    /// What became of a word for a list.
    ListAccepted(AcceptReport),
    /// The parties that are known.
    Parties(Vec<PartyReport>),
    /// What is known of a party.
    Party(Box<Party>),
    /// The party is known.
    PartySet(PartyId),
    /// What was known of the party is erased.
    PartyErased(PartyId),
    /// The address has an owner.
    AddressOwned(String),
    /// The sales of the pool's own coin.
    Sales(Vec<SaleReport>),
    /// How a sale stands.
    Sale(Box<SaleReport>),
    /// What receipts were worth is on record.
    ValuesKept(Kept),
    /// The period was declared.
    PeriodDeclared(PeriodChange),
    /// The period is closed.
    PeriodClosed(PeriodChange),
    /// The token, this once.
    TokenAdded(Box<TokenAdded>),
    /// The token is not in force.
    TokenRevoked(TokenRevoked),
    /// What the pool has counted, in OpenMetrics text.
    Metrics(String),
    /// The addresses that are banned.
    Bans(Vec<BanReport>),
    /// The connection was told.
    Ordered(Ordered),
    /// The address is banned.
    Banned(Banned),
    /// The address may connect again.
    BanLifted(BanLifted),
    /// The settings in force.
    Settings(ShownSettings),
    /// What a reload came to.
    Reloaded(ReloadReport),
}

/// How payouts stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Status {
    /// When new batches are made.
    pub schedule: String,
    /// The next time that the schedule names.
    pub next_slot_at_ms: Option<i64>,
    /// The time that came and whose run is not complete.
    pub open_slot_at_ms: Option<i64>,
    /// How many accounts a run would pay now.
    pub due_accounts: usize,
    /// What they are due.
    pub due_sat: u64,
    /// What the ledger has in sum.
    pub ledger: Totals,
    /// Coins in the chain that can be spent.
    pub mature_coins_sat: u64,
    /// Coinbases in the chain that cannot be spent yet.
    pub immature_coins_sat: u64,
    /// Whether transactions are signed by the pool.
    pub signs_here: bool,
    /// The addresses that are not paid.
    pub restraints: Vec<RestraintReport>,
    /// The batches that have not come to their end, oldest first.
    pub open: Vec<OpenBatchReport>,
}

/// What the ledger has in sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Totals {
    /// What miners are due.
    pub payable_sat: i64,
    /// What operators keep back.
    pub held_sat: i64,
    /// What may not be paid.
    pub blocked_sat: i64,
    /// What batches are about to pay.
    pub reserved_sat: i64,
    /// Coins on their way.
    pub in_flight_sat: i64,
    /// Coins that can be spent.
    pub spendable_sat: i64,
    /// Coinbases that are not mature.
    pub immature_sat: i64,
    /// The pool's own part.
    pub fee_sat: i64,
    /// What payouts have cost the pool.
    pub network_fee_sat: i64,
    /// What pays for work whatever is found.
    pub pps_reserve_sat: i64,
}

/// An address that is not paid, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RestraintReport {
    /// The address.
    pub address: String,
    /// `held` or `blocked`.
    pub restraint: String,
    /// Why, in the words of whoever did it.
    pub reason: String,
    /// The last time that something was kept back by it.
    pub at_ms: i64,
}

/// A batch that has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OpenBatchReport {
    /// The batch.
    pub batch: BatchSummary,
    /// What it waits for.
    pub waits_for: Wait,
}

/// What a batch waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Somebody's approval.
    Approval,
    /// A signature from elsewhere.
    Signature,
    /// That the node takes its transaction.
    Node,
    /// A block.
    Block,
    /// That a transaction which has spent its coins is deep enough to be believed.
    Conflict {
        /// That transaction.
        #[schema(value_type = String)]
        by: Txid,
        /// Its confirmations.
        depth: u32,
    },
}

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
    pub block: Option<BlockReport>,
}

/// A block with a batch's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BlockReport {
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

/// What a run would pay now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PreviewReport {
    /// Whom the next transaction would pay, smallest first.
    pub outputs: Vec<PreviewOutputReport>,
    /// What it would pay them, the network's fee taken off.
    pub paid_sat: u64,
    /// What it would pay the network, about.
    pub network_fee_sat: u64,
    /// Its fee rate, satoshis for a thousand weight units.
    pub fee_rate_sat_per_kwu: u64,
    /// How many accounts are due and not in it: they need a further transaction, or more coins.
    pub left_accounts: usize,
    /// What these are due.
    pub left_sat: u64,
    /// Why nothing is paid now whatever is due; nothing if that is not so.
    pub obstacle: Option<String>,
}

/// An output that a run would make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PreviewOutputReport {
    /// The account.
    #[schema(value_type = i64)]
    pub account: AccountId,
    /// Its address.
    pub address: String,
    /// What is taken from its balance.
    pub taken_sat: u64,
    /// What of it goes to the network.
    pub fee_part_sat: u64,
}

impl From<Preview> for PreviewReport {
    fn from(preview: Preview) -> PreviewReport {
        let output = |PreviewOutput { due, fee }| PreviewOutputReport {
            account: due.account,
            address: due.address,
            taken_sat: due.amount.to_sat(),
            fee_part_sat: fee.to_sat(),
        };
        let outputs: Vec<_> = preview.outputs.into_iter().map(output).collect();
        PreviewReport {
            paid_sat: outputs.iter().map(|output| output.taken_sat.saturating_sub(output.fee_part_sat)).sum(),
            outputs,
            network_fee_sat: preview.network_fee.to_sat(),
            fee_rate_sat_per_kwu: preview.fee_rate.to_sat_per_kwu(),
            left_accounts: preview.left.len(),
            left_sat: preview.left.iter().map(|due| due.amount.to_sat()).sum(),
            obstacle: preview.obstacle,
        }
    }
}

/// What a run has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Ran {
    /// The batches that it made.
    pub batches: Vec<BatchSummary>,
    /// Accounts that are due and wait for coins.
    pub waiting_accounts: usize,
    /// What these are due.
    pub waiting_sat: u64,
}

/// A batch, and whether the request changed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BatchChange {
    /// The batch as it is now.
    pub batch: BatchSummary,
    /// Whether it was so already.
    pub already: bool,
}

/// An address, and whether the request changed anything about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AddressChange {
    /// The address.
    pub address: String,
    /// Whether it was so already.
    pub already: bool,
    /// What is kept back for it now.
    pub held_sat: i64,
    /// What it is due now.
    pub payable_sat: i64,
}

/// From which balance on an address is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ThresholdSet {
    /// The address.
    pub address: String,
    /// Its own threshold; the pool's if there is none.
    pub threshold_sat: Option<u64>,
    /// Whether it was so already.
    pub already: bool,
}

/// A transaction to be signed elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ExportedPsbt {
    /// Whose transaction it is.
    pub batch: BatchSummary,
    /// The transaction.
    #[schema(value_type = String)]
    pub psbt: PsbtBytes,
}

/// A partially signed transaction in BIP 174's binary form; in JSON, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PsbtBytes(#[serde(with = "hex::serde")] pub Vec<u8>);

impl Stage {
    fn of(batch: &Batch) -> Stage {
        match batch.state {
            BatchState::Open if batch.approval == BatchApproval::Awaited => Stage::Unapproved,
            BatchState::Open => Stage::of_attempt(&batch.newest().stage),
            BatchState::Confirmed(..) => Stage::Confirmed,
            BatchState::Cancelled => Stage::Cancelled,
            BatchState::Replaced(_) => Stage::Replaced,
        }
    }

    fn of_attempt(stage: &AttemptStage) -> Stage {
        match stage {
            AttemptStage::Created => Stage::Unsigned,
            AttemptStage::Signed(_) => Stage::Signed,
            AttemptStage::Broadcast(_) => Stage::Broadcast,
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
        BatchSummary {
            batch: batch.id,
            stage: Stage::of(batch),
            txid: batch.txid(),
            attempts: batch.attempts.len(),
            accounts: batch.outputs.len(),
            paid_sat: batch.paid().to_sat(),
            network_fee_sat: batch.network_fee().to_sat(),
            created_at_ms: batch.created_at_ms,
            block: match batch.state {
                BatchState::Confirmed(_, ConfirmationBlock { hash, height, .. }) => Some(BlockReport { hash, height }),
                _ => None,
            },
        }
    }
}

impl BatchReport {
    /// All that is known of a batch.
    pub fn new(batch: &Batch, events: Vec<BatchEvent>) -> BatchReport {
        let transactions = batch.attempts.iter().map(|attempt| AttemptReport {
            txid: attempt.txid,
            stage: match batch.state {
                BatchState::Confirmed(number, _) if number == attempt.number => Stage::Confirmed,
                _ => Stage::of_attempt(&attempt.stage),
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
            outputs: batch.outputs.iter().map(OutputReport::from).collect(),
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

impl Status {
    /// How payouts stand; `address_of` knows the address of each restrained account.
    pub fn new(status: PayoutStatus, address_of: impl Fn(&RestraintRow) -> String) -> Status {
        let restraints = status.restraints.iter().map(|row| RestraintReport {
            address: address_of(row),
            restraint: row.restraint.as_str().to_owned(),
            reason: row.reason.clone(),
            at_ms: row.at_ms,
        });
        Status {
            schedule: status.schedule.to_string(),
            next_slot_at_ms: status.next_slot.map(|slot| slot.at_ms),
            open_slot_at_ms: status.open_slot.map(|slot| slot.at_ms),
            due_accounts: status.due_accounts,
            due_sat: status.due.to_sat(),
            ledger: status.totals.into(),
            mature_coins_sat: status.coins.mature.to_sat(),
            immature_coins_sat: status.coins.immature.to_sat(),
            signs_here: status.signs_here,
            restraints: restraints.collect(),
            open: status.open.into_iter().map(OpenBatchReport::from).collect(),
        }
    }
}

impl From<OpenBatch> for OpenBatchReport {
    fn from(open: OpenBatch) -> OpenBatchReport {
        let waits_for = match open.waits_for {
            WaitsFor::Approval => Wait::Approval,
            WaitsFor::Signature => Wait::Signature,
            WaitsFor::Node => Wait::Node,
            WaitsFor::Block => Wait::Block,
            WaitsFor::Conflict { by, depth } => Wait::Conflict { by, depth },
        };
        OpenBatchReport { batch: (&open.batch).into(), waits_for }
    }
}

impl From<LedgerTotals> for Totals {
    fn from(totals: LedgerTotals) -> Totals {
        let LedgerTotals {
            payable_sat,
            held_sat,
            blocked_sat,
            reserved_sat,
            in_flight_sat,
            spendable_sat,
            immature_sat,
            fee_sat,
            network_fee_sat,
            pps_reserve_sat,
        } = totals;
        Totals {
            payable_sat,
            held_sat,
            blocked_sat,
            reserved_sat,
            in_flight_sat,
            spendable_sat,
            immature_sat,
            fee_sat,
            network_fee_sat,
            pps_reserve_sat,
        }
    }
}
