//! What an operator decides about payouts: when, from which balance on, at what price, and who must agree.

use bitcoin::{Amount, FeeRate};

use crate::{
    export::rules::{residency::Country, sale::LotMethod},
    payout::Schedule,
};

/// What is paid when, and at what price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutPolicy {
    /// When new batches are made.
    pub schedule: Schedule,
    /// The least balance that is paid, unless an account has a threshold of its own.
    pub threshold: Amount,
    /// Which batches wait for somebody's approval.
    pub approval: Approval,
    /// Who pays for the transactions.
    pub fee_payer: FeePayer,
    /// In how many blocks a payout should confirm; what the node is asked an estimate for.
    pub confirm_within_blocks: u16,
    /// The fee rate when the node has no estimate.
    pub fallback_fee_rate: FeeRate,
    /// The fee rate that is always paid, unless it exceeds the greatest.
    pub min_fee_rate: FeeRate,
    /// The fee rate that is never exceeded.
    pub max_fee_rate: FeeRate,
    /// The most outputs, change aside, of one transaction.
    pub max_outputs: usize,
    /// By which rules coin of the pool's own is sold.
    pub sales: SalePolicy,
}

/// By which rules coin of the pool's own is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SalePolicy {
    /// How the coins of a sale are chosen.
    pub lots: LotMethod,
    /// Where the pool is resident, on which it depends whether a sale is an export. Unless it is known, nothing is sold.
    pub residency: Option<Country>,
}

impl Default for PayoutPolicy {
    fn default() -> Self {
        Self {
            schedule: Schedule::Continuous,
            threshold: Amount::from_sat(100_000),
            approval: Approval::None,
            fee_payer: FeePayer::Pool,
            confirm_within_blocks: 6,
            fallback_fee_rate: FeeRate::from_sat_per_vb_u32(5),
            min_fee_rate: FeeRate::BROADCAST_MIN,
            max_fee_rate: FeeRate::from_sat_per_vb_u32(200),
            max_outputs: 200,
            sales: SalePolicy { lots: LotMethod::Fifo, residency: None },
        }
    }
}

/// Which batches must be approved before they are signed. What is decided when a batch is made stays decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// No batch.
    None,
    /// Every batch.
    Always,
    /// Batches that take more than this from their accounts.
    Above(Amount),
}

impl Approval {
    /// Tells whether a batch of this sum must be approved.
    pub fn is_needed(self, sum: Amount) -> bool {
        match self {
            Self::None => false,
            Self::Always => true,
            Self::Above(limit) => sum > limit,
        }
    }
}

/// Who pays the network's fee of a batch. What a replacement costs more is always the pool's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeePayer {
    /// The pool: accounts are paid their whole balances.
    Pool,
    /// The accounts that are paid, each by the weight of its output.
    Miners,
}
