//! Payouts: balances that are due become a batch, a signed transaction, and in the end export records.
//!
//! Owns what a batch is and the entries of its life. The [`Payer`] drives batches over store, wallet and node.

use bitcoin::{Amount, BlockHash, FeeRate, OutPoint, ScriptBuf, Transaction, Txid};

use crate::{
    account::AccountId,
    export::{Lot, register::ExportRecord},
    id::row_id,
    ledger::{Draft, DraftLines, EntryKind, EntrySeq, LedgerAccount},
};

mod node;
mod payer;

pub use payer::{Payer, PayoutError};

row_id! {
    /// Identifies a payout batch: 1, 2, 3 and so on.
    BatchId
}

/// What is paid when, and at what price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutPolicy {
    /// The least balance that is paid.
    pub threshold: Amount,
    /// In how many blocks a payout should confirm; what the node is asked an estimate for.
    pub confirm_within_blocks: u16,
    /// The fee rate when the node has no estimate.
    pub fallback_fee_rate: FeeRate,
    /// The fee rate that is never exceeded.
    pub max_fee_rate: FeeRate,
    /// The most outputs, change aside, of one transaction.
    pub max_outputs: usize,
}

impl Default for PayoutPolicy {
    fn default() -> Self {
        Self {
            threshold: Amount::from_sat(100_000),
            confirm_within_blocks: 6,
            fallback_fee_rate: FeeRate::from_sat_per_vb_u32(5),
            max_fee_rate: FeeRate::from_sat_per_vb_u32(200),
            max_outputs: 500,
        }
    }
}

/// A balance that can be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whose it is.
    pub account: AccountId,
    /// Where it is paid to.
    pub address: String,
    /// The script of that address.
    pub script_pubkey: ScriptBuf,
    /// How much is due.
    pub amount: Amount,
}

/// One output of a batch that pays an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidOutput {
    /// Its place in the transaction.
    pub vout: u32,
    /// Who is paid, where, and how much.
    pub due: Due,
    /// The coinbases it is paid from; they sum to the amount.
    pub lots: Vec<Lot>,
}

/// The block that holds a batch's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmationBlock {
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// Its time, in seconds since 1970 UTC.
    pub time: i64,
}

/// How far a batch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// Balances and coins are reserved; nothing is signed.
    Created,
    /// The signed transaction is stored; the node may or may not have it.
    Signed(Transaction),
    /// The node has it.
    Broadcast(Transaction),
    /// It is in a block.
    Confirmed(Transaction, ConfirmationBlock),
}

/// Payments that one transaction makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its number.
    pub id: BatchId,
    /// Its transaction. Signing does not change it, for all inputs are segwit.
    pub txid: Txid,
    /// The unsigned transaction with what is needed to sign it (BIP 174).
    pub psbt: Vec<u8>,
    /// What the accounts are paid.
    pub outputs: Vec<PaidOutput>,
    /// What the miners of the network are paid.
    pub network_fee: Amount,
    /// How far it is.
    pub state: BatchState,
    /// How many confirmations were undone.
    pub epoch: u32,
    /// When it was created, in milliseconds since 1970 UTC.
    pub created_at_ms: i64,
}

impl Batch {
    /// Returns what the accounts are paid in sum.
    pub fn paid(&self) -> Amount {
        self.outputs.iter().map(|output| output.due.amount).sum()
    }

    /// Returns the coins that leave the pool: what is paid, and the network's fee. Change does not leave.
    pub fn leaving(&self) -> Amount {
        self.paid() + self.network_fee
    }

    /// Reserves what is due.
    fn creation(&self) -> DraftLines {
        let lines = Draft::begin(EntryKind::PayoutCreated, self.id);
        let lines = self.outputs.iter().fold(lines, |lines, output| {
            lines.debit(LedgerAccount::MinerPayable(output.due.account), output.due.amount)
        });
        lines.credit(LedgerAccount::Reserved(self.id), self.paid())
    }

    /// Lets the coins go.
    fn broadcast(&self) -> DraftLines {
        Draft::begin(EntryKind::Broadcast, self.txid)
            .debit(LedgerAccount::InFlight(self.id), self.leaving())
            .credit(LedgerAccount::Spendable, self.leaving())
    }

    /// The key of the entry for a confirmation in `block`. The same block can confirm twice, with a reorganisation
    /// between, so the key counts those.
    fn confirmation_key(&self, block: &ConfirmationBlock) -> String {
        format!("{}:{}:{}", self.txid, block.hash, self.epoch)
    }

    /// The coins are gone and the reservation is fulfilled.
    fn confirmation(&self, block: &ConfirmationBlock) -> DraftLines {
        self.settling(Draft::begin(EntryKind::Confirmed, self.confirmation_key(block)))
    }

    /// Undoes the confirmation in `block`, which was `confirmed`.
    fn reversal(&self, block: &ConfirmationBlock, confirmed: EntrySeq) -> DraftLines {
        let key = format!("{}:reorganised:{}:{}", self.id, block.hash, self.epoch);
        self.settling(Draft::begin(EntryKind::Reversed, key)).reversed().corrects(confirmed)
    }

    fn settling(&self, lines: DraftLines) -> DraftLines {
        lines
            .debit(LedgerAccount::Reserved(self.id), self.paid())
            .debit(LedgerAccount::NetworkFee, self.network_fee)
            .credit(LedgerAccount::InFlight(self.id), self.leaving())
    }

    fn export_records(&self) -> impl Iterator<Item = ExportRecord> + '_ {
        self.outputs.iter().map(|output| ExportRecord {
            delivery: OutPoint::new(self.txid, output.vout),
            amount: output.due.amount,
            account: output.due.account,
            address: output.due.address.clone(),
            script_pubkey: output.due.script_pubkey.clone(),
            lots: output.lots.clone(),
        })
    }
}

/// What a [`Payer`] did, or why it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayoutEvent {
    /// A batch was created, and its transaction stored.
    Created {
        /// The batch.
        batch: BatchId,
        /// Its transaction.
        txid: Txid,
        /// How many accounts it pays.
        outputs: usize,
        /// What it pays them.
        paid: Amount,
        /// What it pays the network.
        network_fee: Amount,
    },
    /// A batch's transaction was given to the node.
    Broadcast {
        /// The batch.
        batch: BatchId,
        /// Its transaction.
        txid: Txid,
    },
    /// A batch's transaction is in a block; its export records are written.
    Confirmed {
        /// The batch.
        batch: BatchId,
        /// Its transaction.
        txid: Txid,
        /// The block.
        block: ConfirmationBlock,
        /// How many outputs were recorded.
        records: usize,
    },
    /// The block with a batch's transaction left the chain; the same bytes are sent again.
    Reversed {
        /// The batch.
        batch: BatchId,
        /// Its transaction.
        txid: Txid,
        /// The block that left.
        block: ConfirmationBlock,
    },
    /// The node does not take a batch's transaction now, or gave no usable answer, so that it may have taken it; the
    /// same bytes are sent again with the next step.
    Refused {
        /// The batch.
        batch: BatchId,
        /// Its transaction.
        txid: Txid,
        /// What the node says.
        reason: String,
    },
    /// Balances are due, but the pool has no coins free to pay any of them.
    Waiting {
        /// How many accounts wait.
        accounts: usize,
        /// What they are due.
        due: Amount,
    },
}
