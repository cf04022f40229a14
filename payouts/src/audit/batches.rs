//! What a payout batch must look like, told by its entries alone.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Amount, BlockHash, OutPoint, SignedAmount, Txid};

use super::{
    reserve::TakenOfPeriods,
    rows::{RowFault, missing, same, unknown},
};
use crate::{
    account::AccountId,
    export::{Lot, LotCredit},
    ledger::{Entry, EntrySeq, LedgerAccount},
    payout::{AttemptStage, Batch, BatchId, BatchState},
};

/// What batches took of each credit of a block.
pub(super) type TakenOfBlocks = BTreeMap<(BlockHash, AccountId), Amount>;

/// What batches took of the pool's part of each coin, which is an output in a block.
pub(super) type TakenOfFee = BTreeMap<(OutPoint, BlockHash), Amount>;

/// What batches took of each credit, and of the fee.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) of_blocks: TakenOfBlocks,
    pub(super) of_periods: TakenOfPeriods,
    pub(super) of_fee: TakenOfFee,
}

/// A batch as its entries tell it.
#[derive(Debug)]
pub(super) struct PostedBatch {
    pub(super) created: EntrySeq,
    taken: BTreeMap<AccountId, Amount>,
    taken_of_fee: Amount,
    paid: Amount,
    fee_of_accounts: Amount,
    /// The transactions that were broadcast, each with the coins that leave with it.
    sent: Vec<(Txid, Amount)>,
    /// The transactions that ever were confirmed.
    pub(super) delivered: BTreeSet<Txid>,
    standing: Standing,
    epoch: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    /// By this transaction, in this block, with so many coins.
    Confirmed(Txid, BlockHash, Amount),
    Cancelled,
    Replaced(Txid),
}

impl PostedBatch {
    /// Follows the entry that reserves balances.
    pub(super) fn created(id: BatchId, entry: &Entry) -> Option<Self> {
        let mut taken = BTreeMap::new();
        for posting in &entry.postings {
            if let LedgerAccount::MinerPayable(account) = posting.account {
                taken.insert(account, posting.amount.to_unsigned().ok()?);
            }
        }
        Some(Self {
            created: entry.seq,
            taken,
            taken_of_fee: entry.amount(LedgerAccount::Fee).to_unsigned().ok()?,
            paid: (-entry.amount(LedgerAccount::Reserved(id))).to_unsigned().ok()?,
            fee_of_accounts: (-entry.amount(LedgerAccount::NetworkFee)).to_unsigned().ok()?,
            sent: Vec::new(),
            delivered: BTreeSet::new(),
            standing: Standing::Open,
            epoch: 0,
        })
    }

    fn in_flight(&self) -> SignedAmount {
        let sat = self.sent.last().map_or(Amount::ZERO, |(_, leaving)| *leaving);
        sat.to_signed().unwrap_or(SignedAmount::MAX)
    }

    pub(super) fn broadcast(&mut self, id: BatchId, entry: &Entry) -> Option<()> {
        let leaving = self.in_flight().checked_add(entry.amount(LedgerAccount::InFlight(id)))?.to_unsigned().ok()?;
        let txid: Txid = entry.key.parse().ok()?;
        let is_new = self.sent.iter().all(|(sent, _)| *sent != txid);
        self.sent.push((txid, leaving));
        (is_new && self.standing == Standing::Open).then_some(())
    }

    pub(super) fn confirmed(&mut self, id: BatchId, entry: &Entry) -> Option<()> {
        let mut key = entry.key.split(':');
        let (txid, block, epoch) = (key.next()?.parse().ok()?, key.next()?.parse().ok()?, key.next()?);
        // What was in flight and is not spent by this transaction is spendable again.
        let returned = entry.amount(LedgerAccount::Spendable);
        let leaving = self.in_flight().checked_sub(returned)?.to_unsigned().ok()?;
        let follows = self.standing == Standing::Open
            && !self.sent.is_empty()
            && entry.amount(LedgerAccount::InFlight(id)) == -self.in_flight()
            && Ok(self.epoch) == epoch.parse();
        self.standing = Standing::Confirmed(txid, block, leaving);
        self.delivered.insert(txid);
        follows.then_some(())
    }

    pub(super) fn reversed(&mut self, id: BatchId, entry: &Entry) -> Option<()> {
        let mut key = entry.key.split(':').skip(1);
        let follows = match (key.next()?, self.standing) {
            ("reorganised", Standing::Confirmed(_, block, _)) => {
                let named = (key.next()?.parse(), key.next()?.parse());
                let follows = named == (Ok(block), Ok(self.epoch));
                self.epoch += 1;
                self.standing = Standing::Open;
                follows && entry.amount(LedgerAccount::InFlight(id)) == self.in_flight()
            }
            ("cancelled", Standing::Open) => {
                self.standing = Standing::Cancelled;
                self.sent.is_empty() && self.is_given_back(id, entry)
            }
            ("conflict", Standing::Open) => {
                self.standing = Standing::Replaced(key.next()?.parse().ok()?);
                self.is_given_back(id, entry)
            }
            _ => false,
        };
        follows.then_some(())
    }

    /// Tells whether an entry gives back all that the batch took.
    fn is_given_back(&self, id: BatchId, entry: &Entry) -> bool {
        let mut given: BTreeMap<AccountId, SignedAmount> = BTreeMap::new();
        for posting in &entry.postings {
            if let LedgerAccount::MinerPayable(account) | LedgerAccount::MinerDebt(account) = posting.account {
                *given.entry(account).or_insert(SignedAmount::ZERO) -= posting.amount;
            }
        }
        let signed = |amount: Amount| amount.to_signed().unwrap_or(SignedAmount::MAX);
        // A transaction that took the coins instead is a loss that leaves the fee and what can be spent alike.
        let free = entry.amount(LedgerAccount::Fee).checked_add(entry.amount(LedgerAccount::Spendable));
        entry.corrects == Some(self.created)
            && entry.amount(LedgerAccount::Reserved(id)) == signed(self.paid)
            && entry.amount(LedgerAccount::NetworkFee) == signed(self.fee_of_accounts)
            && entry.amount(LedgerAccount::InFlight(id)) == -self.in_flight()
            && free == self.in_flight().checked_sub(signed(self.taken_of_fee))
            && given == self.taken.iter().map(|(&account, &amount)| (account, signed(amount))).collect()
    }

    /// Compares a batch, and adds up what it took of credits.
    pub(super) fn check(&self, batch: &Batch, taken: &mut Taken) -> Result<(), RowFault> {
        let id = batch.id;
        let posted_state = match self.standing {
            Standing::Open => "open".to_owned(),
            Standing::Confirmed(txid, block, _) => format!("confirmed in {block} by {txid}"),
            Standing::Cancelled => "cancelled".to_owned(),
            Standing::Replaced(by) => format!("replaced by {by}"),
        };
        let state = match batch.state {
            BatchState::Open => "open".to_owned(),
            BatchState::Confirmed(_, block) => format!("confirmed in {} by {}", block.hash, batch.txid()),
            BatchState::Cancelled => "cancelled".to_owned(),
            BatchState::Replaced(by) => format!("replaced by {by}"),
        };
        same("batches", id, "state", state, posted_state)?;
        same("batches", id, "epoch", batch.epoch, self.epoch)?;
        self.check_outputs(batch, taken)?;
        self.check_attempts(batch)
    }

    fn check_outputs(&self, batch: &Batch, taken: &mut Taken) -> Result<(), RowFault> {
        let id = batch.id;
        let is_given_back = matches!(batch.state, BatchState::Cancelled | BatchState::Replaced(_));
        let (sold, paid): (Vec<_>, Vec<_>) = batch.outputs.iter().partition(|output| output.is_sold());
        let of_fee: Amount = sold.iter().map(|output| output.due.amount).sum();
        same("batch_outputs", id, "sum of what was sold", of_fee, self.taken_of_fee)?;
        for output in &batch.outputs {
            let (account, amount) = (output.due.account, output.due.amount);
            let row = format!("{id}:{}", output.vout);
            let posted = if output.is_sold() { Some(&amount) } else { self.taken.get(&account) };
            let Some(&posted) = posted else { return Err(unknown("batch_outputs", row)) };
            same("batch_outputs", &row, "amount", amount, posted)?;
            let lots: Amount = output.lots.iter().map(|lot| lot.amount).sum();
            same("batch_lots", &row, "sum", lots, posted)?;
            for &Lot { coinbase, block, amount, credit } in output.lots.iter().filter(|_| !is_given_back) {
                let sum = match credit {
                    LotCredit::Block => taken.of_blocks.entry((block, account)).or_default(),
                    LotCredit::Period { number, line } => taken.of_periods.entry((number, account, line)).or_default(),
                    LotCredit::Fee => taken.of_fee.entry((coinbase, block)).or_default(),
                };
                *sum += amount;
            }
        }
        if paid.len() < self.taken.len() {
            let gone = self.taken.keys().find(|account| paid.iter().all(|out| out.due.account != **account));
            let account = gone.map(ToString::to_string).unwrap_or_default();
            return Err(missing("batch_outputs", format!("of batch {id} for account {account}"), self.created));
        }
        same("batch_outputs", id, "fee of all outputs", batch.fee_of_accounts(), self.fee_of_accounts)
    }

    fn check_attempts(&self, batch: &Batch) -> Result<(), RowFault> {
        let table = "batch_attempts";
        for (index, attempt) in batch.attempts.iter().enumerate() {
            let row = format!("{}:{}", batch.id, attempt.number);
            same(table, &row, "number", attempt.number as usize, index)?;
            let posted = self.sent.iter().find(|(txid, _)| *txid == attempt.txid);
            let is_broadcast = matches!(attempt.stage, AttemptStage::Broadcast(_));
            if let Some(transaction) = attempt.transaction() {
                same(table, &row, "transaction", transaction.compute_txid(), attempt.txid)?;
                for output in &batch.outputs {
                    let paid = transaction.output.get(output.vout as usize);
                    let pays = paid.is_some_and(|paid| {
                        paid.value == output.pays() && paid.script_pubkey == output.due.script_pubkey
                    });
                    same(table, &row, "payment of each output by the signed transaction", pays, true)?;
                }
                for earlier in batch.attempts[..index].iter().filter_map(|attempt| attempt.transaction()) {
                    let shares = transaction.input.iter().any(|input| {
                        earlier.input.iter().any(|earlier| earlier.previous_output == input.previous_output)
                    });
                    same(table, &row, "sharing of an input with each earlier transaction", shares, true)?;
                }
            }
            same(table, &row, "broadcast", is_broadcast, posted.is_some())?;
            if let Some(&(_, leaving)) = posted {
                same(table, &row, "coins that leave", batch.leaving(attempt), leaving)?;
            }
            if let Standing::Confirmed(txid, _, leaving) = self.standing
                && txid == attempt.txid
            {
                same(table, &row, "coins that left", batch.leaving(attempt), leaving)?;
            }
        }
        match self.sent.iter().find(|(txid, _)| batch.attempts.iter().all(|attempt| attempt.txid != *txid)) {
            Some((txid, _)) => Err(missing(table, format!("of batch {} with {txid}", batch.id), self.created)),
            None => Ok(()),
        }
    }
}
