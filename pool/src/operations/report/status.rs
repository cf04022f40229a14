//! How payouts stand: what is due, what coins there are, and which batches have not come to their end.

use bitcoin::Txid;
use payouts::payout::{LedgerTotals, OpenBatch, PayoutStatus, RestraintRow, WaitsFor};
use serde::{Deserialize, Serialize};

use super::batch::BatchSummary;

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
