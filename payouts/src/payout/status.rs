//! How payouts stand, for the people who watch over them.

use bitcoin::{Amount, Txid};

use crate::{
    payout::{BatchHead, RestraintRow, Schedule, Slot},
    wallet::WalletBalance,
};

/// How payouts stand at a moment.
#[derive(Clone, Debug)]
pub struct PayoutStatus {
    /// When new batches are made.
    pub schedule: Schedule,
    /// The next slot of the schedule, if it has slots.
    pub next_slot: Option<Slot>,
    /// The slot whose run is not complete, because coins or confirmations are missing.
    pub open_slot: Option<Slot>,
    /// How many accounts would be paid by a run now.
    pub due_accounts: usize,
    /// What they are due.
    pub due: Amount,
    /// What the ledger says.
    pub totals: LedgerTotals,
    /// The coins in the chain, as of the wallet's last look.
    pub coins: WalletBalance,
    /// Whether transactions are signed here; otherwise elsewhere, by file.
    pub signs_here: bool,
    /// The restraints in force.
    pub restraints: Vec<RestraintRow>,
    /// The batches that are not at their end, oldest first, with what each waits for.
    pub open: Vec<OpenBatch>,
}

/// What the ledger has in sum, each as a positive amount of satoshis where that is the usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerTotals {
    /// What miners are due.
    pub payable_sat: i64,
    /// What is kept back by operators.
    pub held_sat: i64,
    /// What may not be paid.
    pub blocked_sat: i64,
    /// What batches are about to pay.
    pub reserved_sat: i64,
    /// Coins that left with batches and are not confirmed as gone.
    pub in_flight_sat: i64,
    /// Coins that can be spent.
    pub spendable_sat: i64,
    /// Coinbases that are not mature.
    pub immature_sat: i64,
    /// The pool's own part.
    pub fee_sat: i64,
    /// What payouts have cost.
    pub network_fee_sat: i64,
    /// What pays for work whatever is found.
    pub pps_reserve_sat: i64,
}

/// A batch that is not at its end.
#[derive(Clone, Debug)]
pub struct OpenBatch {
    /// The batch.
    pub batch: BatchHead,
    /// What it waits for.
    pub waits_for: WaitsFor,
}

/// What a batch waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// Somebody's approval.
    Approval,
    /// A signature from elsewhere.
    Signature,
    /// That the node takes its transaction; the next step gives it again.
    Node,
    /// A block.
    Block,
    /// That the transaction which spent its coins elsewhere is deep enough to be believed.
    Conflict {
        /// That transaction.
        by: Txid,
        /// How many confirmations it has.
        depth: u32,
    },
}
