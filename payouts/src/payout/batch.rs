//! A payout batch: the accounts that it pays, the transactions that try to, and the entries of its life.
//!
//! Pure. A batch ends with one of its attempts in the chain for good, or cancelled before any was signed, or replaced
//! when its coins were spent by a transaction that is not its own.

use bitcoin::{Amount, BlockHash, OutPoint, Psbt, ScriptBuf, Transaction, Txid};

use crate::{
    account::AccountId,
    export::{self, Lot, LotCredit, register::ExportRecord},
    id::row_id,
    ledger::{Draft, DraftLines, EntryKind, EntrySeq, LedgerAccount},
};

row_id! {
    /// Identifies a payout batch: 1, 2, 3 and so on.
    BatchId
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

impl Due {
    /// Returns the least amount that an output to the address can carry.
    pub fn dust_limit(&self) -> Amount {
        self.script_pubkey.minimal_non_dust()
    }
}

/// One output of a batch that pays an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidOutput {
    /// Its place in the transaction.
    pub vout: u32,
    /// Who is paid, where, and how much is taken from the balance.
    pub due: Due,
    /// The part of that which goes to the network instead.
    pub fee: Amount,
    /// The coinbases it is taken from; they sum to what is taken from the balance.
    pub lots: Vec<Lot>,
}

impl PaidOutput {
    /// Returns what the output pays.
    pub fn pays(&self) -> Amount {
        self.due.amount - self.fee
    }

    /// Tells whether it delivers coin of the pool's own that was sold, instead of paying an account's balance.
    pub fn is_sold(&self) -> bool {
        self.lots.iter().any(|lot| lot.credit == LotCredit::Fee)
    }

    /// Returns the coinbases that the output comes from, to the satoshi: the oldest lots. What remains of them, the
    /// newest, is the account's part of the network's fee.
    pub fn delivered_lots(&self) -> Vec<Lot> {
        export::allocate(self.lots.iter().cloned(), self.pays()).unwrap_or_else(|_| self.lots.clone())
    }
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

/// One transaction for a batch. All of a batch have the same paid outputs at the same places, and every later one
/// spends an input of each earlier one, so that only one of them can confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number: 0 for the first, then one more for each replacement.
    pub number: u32,
    /// Its transaction. Signing does not change it, for all inputs are segwit.
    pub txid: Txid,
    /// The unsigned transaction with what is needed to sign it (BIP 174).
    pub psbt: Vec<u8>,
    /// What the miners of the network are paid.
    pub network_fee: Amount,
    /// How far it is.
    pub stage: AttemptStage,
    /// When it was made, in milliseconds since 1970 UTC.
    pub created_at_ms: i64,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptStage {
    /// Its coins are reserved; it is not signed.
    Created,
    /// The signed transaction is stored; the node may or may not have it.
    Signed(Transaction),
    /// The node has had it.
    Broadcast(Transaction),
}

/// How far an attempt is, without its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptProgress {
    /// It is not signed.
    Created,
    /// It is signed.
    Signed,
    /// The node has had it.
    Broadcast,
}

/// An attempt without what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptHead {
    /// Its number, as an [`Attempt`]'s.
    pub number: u32,
    /// Its transaction.
    pub txid: Txid,
    /// What the miners of the network are paid.
    pub network_fee: Amount,
    /// How far it is.
    pub progress: AttemptProgress,
    /// When it was made, in milliseconds since 1970 UTC.
    pub created_at_ms: i64,
}

impl Attempt {
    /// Returns it without what is signed.
    pub fn head(&self) -> AttemptHead {
        let progress = match self.stage {
            AttemptStage::Created => AttemptProgress::Created,
            AttemptStage::Signed(_) => AttemptProgress::Signed,
            AttemptStage::Broadcast(_) => AttemptProgress::Broadcast,
        };
        let Attempt { number, txid, network_fee, created_at_ms, .. } = *self;
        AttemptHead { number, txid, network_fee, progress, created_at_ms }
    }

    /// Returns the signed transaction.
    pub fn transaction(&self) -> Option<&Transaction> {
        match &self.stage {
            AttemptStage::Created => None,
            AttemptStage::Signed(transaction) | AttemptStage::Broadcast(transaction) => Some(transaction),
        }
    }

    /// Reads the unsigned transaction.
    pub(crate) fn unsigned(&self) -> Option<Psbt> {
        Psbt::deserialize(&self.psbt).ok()
    }

    fn is_broadcast(&self) -> bool {
        matches!(self.stage, AttemptStage::Broadcast(_))
    }
}

/// Where a batch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// It is on its way.
    Open,
    /// The attempt of this number is in this block.
    Confirmed(u32, ConfirmationBlock),
    /// It was given up before it was signed. What it took was given back.
    Cancelled,
    /// This transaction, which is not its own, has its coins for good. What it took from accounts was given back.
    Replaced(Txid),
}

/// Whether somebody must agree to a batch before it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchApproval {
    /// Nobody.
    NotNeeded,
    /// Somebody, and nobody has.
    Awaited,
    /// Somebody has; the batch's events say who.
    Given,
}

/// Something that people did with a batch, or that befell it, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchEvent {
    /// What.
    pub kind: BatchEventKind,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who approved; why it was cancelled; which transaction replaced it. Empty for an export.
    pub note: String,
}

/// What can be on record about a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchEventKind {
    /// Somebody approved it.
    Approved,
    /// It was handed out to be signed elsewhere.
    Exported,
    /// It was given up.
    Cancelled,
    /// Its coins were spent by another transaction.
    Replaced,
}

impl BatchEventKind {
    pub(crate) const ALL: [Self; 4] = [Self::Approved, Self::Exported, Self::Cancelled, Self::Replaced];

    /// Returns the text form that stores keep.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Exported => "exported",
            Self::Cancelled => "cancelled",
            Self::Replaced => "replaced",
        }
    }
}

/// Payments that one transaction makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its number.
    pub id: BatchId,
    /// What the accounts are paid.
    pub outputs: Vec<PaidOutput>,
    /// The transactions that try to pay it, in the order of their numbers; at least one.
    pub attempts: Vec<Attempt>,
    /// Whether it must be approved.
    pub approval: BatchApproval,
    /// Where it stands.
    pub state: BatchState,
    /// How many confirmations were undone.
    pub epoch: u32,
    /// When it was created, in milliseconds since 1970 UTC.
    pub created_at_ms: i64,
}

/// A batch without whom it pays and what is signed: of many outputs, and their lots, that is a small part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHead {
    /// Its number.
    pub id: BatchId,
    /// How many outputs pay somebody.
    pub outputs: u32,
    /// What they pay in sum.
    pub paid: Amount,
    /// The transactions that try to pay it, in the order of their numbers; at least one.
    pub attempts: Vec<AttemptHead>,
    /// Whether it must be approved.
    pub approval: BatchApproval,
    /// Where it stands.
    pub state: BatchState,
    /// How many confirmations were undone.
    pub epoch: u32,
    /// When it was created, in milliseconds since 1970 UTC.
    pub created_at_ms: i64,
}

impl BatchHead {
    /// Returns the attempt that is confirmed, or else the newest.
    pub fn attempt(&self) -> &AttemptHead {
        let confirmed = match self.state {
            BatchState::Confirmed(number, _) => self.attempts.iter().find(|attempt| attempt.number == number),
            _ => None,
        };
        confirmed.unwrap_or_else(|| self.newest())
    }

    /// Returns the newest attempt.
    pub fn newest(&self) -> &AttemptHead {
        self.attempts.last().expect("a batch has at least one attempt")
    }

    /// Returns the transaction of [`BatchHead::attempt`].
    pub fn txid(&self) -> Txid {
        self.attempt().txid
    }
}

impl Batch {
    /// Returns it without whom it pays and what is signed.
    pub fn head(&self) -> BatchHead {
        BatchHead {
            id: self.id,
            outputs: u32::try_from(self.outputs.len()).expect("a transaction has no more outputs"),
            paid: self.paid(),
            attempts: self.attempts.iter().map(Attempt::head).collect(),
            approval: self.approval,
            state: self.state.clone(),
            epoch: self.epoch,
            created_at_ms: self.created_at_ms,
        }
    }

    /// Returns the attempt that is confirmed, or else the newest.
    pub fn attempt(&self) -> &Attempt {
        let confirmed = match self.state {
            BatchState::Confirmed(number, _) => self.attempts.iter().find(|attempt| attempt.number == number),
            _ => None,
        };
        confirmed.unwrap_or_else(|| self.newest())
    }

    /// Returns the newest attempt.
    pub fn newest(&self) -> &Attempt {
        self.attempts.last().expect("a batch has at least one attempt")
    }

    /// Returns the transaction of [`Batch::attempt`].
    pub fn txid(&self) -> Txid {
        self.attempt().txid
    }

    /// Returns what [`Batch::attempt`] pays the miners of the network.
    pub fn network_fee(&self) -> Amount {
        self.attempt().network_fee
    }

    /// Returns what is taken from the accounts' balances in sum.
    pub fn taken(&self) -> Amount {
        self.outputs.iter().map(|output| output.due.amount).sum()
    }

    /// Returns what the accounts are paid in sum.
    pub fn paid(&self) -> Amount {
        self.outputs.iter().map(PaidOutput::pays).sum()
    }

    /// Returns what the accounts give to the network's fee in sum.
    pub fn fee_of_accounts(&self) -> Amount {
        self.outputs.iter().map(|output| output.fee).sum()
    }

    /// Returns the coins that leave the pool with an attempt: what is paid, and the network's fee. Change does not leave.
    pub fn leaving(&self, attempt: &Attempt) -> Amount {
        self.paid() + attempt.network_fee
    }

    /// Returns the coins that were booked as on their way: those of the newest attempt that the node has had.
    pub fn in_flight(&self) -> Amount {
        let sent = self.attempts.iter().rfind(|attempt| attempt.is_broadcast());
        sent.map_or(Amount::ZERO, |attempt| self.leaving(attempt))
    }

    /// Tells whether no attempt was ever signed.
    pub fn is_unsigned(&self) -> bool {
        self.attempts.iter().all(|attempt| attempt.transaction().is_none())
    }

    /// Returns all coins that attempts spend.
    pub(crate) fn inputs(&self) -> Vec<OutPoint> {
        let unsigned = self.attempts.iter().filter_map(Attempt::unsigned);
        let mut inputs: Vec<_> = unsigned.flat_map(|psbt| psbt.unsigned_tx.input).map(|i| i.previous_output).collect();
        inputs.sort_unstable();
        inputs.dedup();
        inputs
    }

    /// Reserves what is due, and of the pool's fee what is sold. The accounts' part of the network's fee is taken off
    /// that expense at once: what is reserved is what the outputs pay, and the register has every satoshi of it.
    pub(super) fn creation(&self) -> DraftLines {
        let lines = Draft::begin(EntryKind::PayoutCreated, self.id);
        let lines = self.outputs.iter().fold(lines, |lines, output| {
            let from = match output.is_sold() {
                true => LedgerAccount::Fee,
                false => LedgerAccount::MinerPayable(output.due.account),
            };
            lines.debit(from, output.due.amount)
        });
        lines
            .credit(LedgerAccount::Reserved(self.id), self.paid())
            .credit(LedgerAccount::NetworkFee, self.fee_of_accounts())
    }

    /// Lets the coins of an attempt go; those of the attempt before it are among them.
    pub(super) fn broadcast(&self, attempt: &Attempt) -> DraftLines {
        let (leaving, before) = (self.leaving(attempt), self.in_flight());
        Draft::begin(EntryKind::Broadcast, attempt.txid)
            .debit(LedgerAccount::InFlight(self.id), leaving)
            .credit(LedgerAccount::InFlight(self.id), before)
            .debit(LedgerAccount::Spendable, before)
            .credit(LedgerAccount::Spendable, leaving)
    }

    /// The key of the entry for a confirmation in `block`. The same block can confirm twice, with a reorganisation
    /// between, so the key counts those.
    pub(super) fn confirmation_key(&self, attempt: &Attempt, block: &ConfirmationBlock) -> String {
        format!("{}:{}:{}", attempt.txid, block.hash, self.epoch)
    }

    /// The coins are gone and the reservation is fulfilled.
    pub(super) fn confirmation(&self, attempt: &Attempt, block: &ConfirmationBlock) -> DraftLines {
        self.settling(attempt, Draft::begin(EntryKind::Confirmed, self.confirmation_key(attempt, block)))
    }

    /// Undoes the confirmation of an attempt in `block`, which was `confirmed`.
    pub(super) fn reversal(&self, attempt: &Attempt, block: &ConfirmationBlock, confirmed: EntrySeq) -> DraftLines {
        let key = format!("{}:reorganised:{}:{}", self.id, block.hash, self.epoch);
        self.settling(attempt, Draft::begin(EntryKind::Reversed, key)).reversed().corrects(confirmed)
    }

    /// What was in flight is settled by the attempt that confirmed; the difference, if another was sent last, was never
    /// spent.
    fn settling(&self, attempt: &Attempt, lines: DraftLines) -> DraftLines {
        lines
            .debit(LedgerAccount::Reserved(self.id), self.paid())
            .debit(LedgerAccount::NetworkFee, attempt.network_fee)
            .credit(LedgerAccount::InFlight(self.id), self.in_flight())
            .debit(LedgerAccount::Spendable, self.in_flight())
            .credit(LedgerAccount::Spendable, self.leaving(attempt))
    }

    /// Gives back what the batch took, undoing its creation, which was `created`. Of a block that is not mature now,
    /// what was taken stands as the account's debt: that is what is given back then. A credit for work stands whatever
    /// becomes of the coin that paid it. What was sold is the pool's own again.
    pub(super) fn giving_back(
        &self,
        key: String,
        created: EntrySeq,
        is_mature: impl Fn(BlockHash) -> bool,
    ) -> DraftLines {
        let lines = Draft::begin(EntryKind::Reversed, key)
            .corrects(created)
            .debit(LedgerAccount::Reserved(self.id), self.paid())
            .debit(LedgerAccount::NetworkFee, self.fee_of_accounts())
            .credit(LedgerAccount::InFlight(self.id), self.in_flight())
            .debit(LedgerAccount::Spendable, self.in_flight());
        self.outputs.iter().fold(lines, |lines, output| {
            let account = output.due.account;
            output.lots.iter().fold(lines, |lines, lot| {
                let to = match lot.credit {
                    LotCredit::Fee => LedgerAccount::Fee,
                    LotCredit::Block if !is_mature(lot.block) => LedgerAccount::MinerDebt(account),
                    LotCredit::Block | LotCredit::Period { .. } => LedgerAccount::MinerPayable(account),
                };
                lines.credit(to, lot.amount)
            })
        })
    }

    /// The records of the outputs that an attempt pays.
    pub(super) fn export_records<'a>(&'a self, attempt: &'a Attempt) -> impl Iterator<Item = ExportRecord> + 'a {
        self.outputs.iter().map(|output| ExportRecord {
            delivery: OutPoint::new(attempt.txid, output.vout),
            amount: output.pays(),
            account: output.due.account,
            address: output.due.address.clone(),
            script_pubkey: output.due.script_pubkey.clone(),
            lots: output.delivered_lots(),
        })
    }
}
