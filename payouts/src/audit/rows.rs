//! What blocks, credits and batches must look like, told by the ledger's entries alone.
//!
//! These rows change as blocks and batches move on, so no hash chain covers them. Every change comes with an entry,
//! though, and so the entries say what each row is now.

use std::collections::BTreeMap;

use bitcoin::{Amount, BlockHash, SignedAmount, Txid};

use super::{
    batches::{PostedBatch, Taken, TakenOfBlocks, TakenOfFee},
    reserve::ReserveAudit,
    restraints::PostedRestraints,
};
use crate::{
    account::AccountId,
    books::{BlockCredit, BlockPhase, BlockRecord, BlockState},
    deposits::Deposit,
    export::{
        Lot, LotCredit,
        register::{RecordState, RegisterRow},
    },
    ledger::{Entry, EntryKind, EntrySeq, LedgerAccount},
    payout::{Batch, BatchId, BatchState},
    store::{Store, StoreError},
};

/// A row that does not follow from the entries.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    /// An entry does not follow from those before it.
    #[error("entry {0} does not follow from those before it")]
    Entry(EntrySeq),
    /// A row is gone.
    #[error("row {row} of {table} is missing: entry {entry} tells of it")]
    Missing {
        /// Its table.
        table: &'static str,
        /// What identifies it there.
        row: String,
        /// The entry that it came with.
        entry: EntrySeq,
    },
    /// No entry tells of a row.
    #[error("no entry tells of row {row} of {table}")]
    Unknown {
        /// Its table.
        table: &'static str,
        /// What identifies it there.
        row: String,
    },
    /// A row says something else than the entries do.
    #[error("row {row} of {table}: {column} is {kept}, but the entries say {posted}")]
    Differs {
        /// Its table.
        table: &'static str,
        /// What identifies it there.
        row: String,
        /// What differs.
        column: &'static str,
        /// What the row says.
        kept: String,
        /// What follows from the entries.
        posted: String,
    },
}

/// A block as its entries tell it.
#[derive(Debug)]
struct PostedBlock {
    found: EntrySeq,
    value: Amount,
    fee: Amount,
    reserve: Amount,
    /// Nothing in entries of a time when facts were not stated.
    facts: Option<String>,
    credits: BTreeMap<AccountId, Amount>,
    state: BlockState,
    /// The epoch in which its present stay in the chain began.
    stay: u32,
    /// What its coinbase paid directly in this stay, by output.
    direct: BTreeMap<u32, PostedPayment>,
}

/// A direct payment as its entry tells it.
#[derive(Debug)]
struct PostedPayment {
    entry: EntrySeq,
    account: AccountId,
    amount: Amount,
    /// The part that settles the account's credit.
    settles: Amount,
}

/// Goes through all entries in their order, then compares the rows with them.
#[derive(Debug, Default)]
pub(super) struct RowAudit {
    blocks: BTreeMap<BlockHash, PostedBlock>,
    batches: BTreeMap<BatchId, PostedBatch>,
    restraints: PostedRestraints,
    reserve: ReserveAudit,
}

impl RowAudit {
    /// Takes the next entry in.
    pub(super) fn note(&mut self, entry: &Entry) -> Result<(), RowFault> {
        self.follow(entry).ok_or(RowFault::Entry(entry.seq))
    }

    fn follow(&mut self, entry: &Entry) -> Option<()> {
        let immature = BlockPhase::Immature;
        self.reserve.follow(entry)?;
        match entry.kind {
            EntryKind::BlockFound => {
                let hash = entry.key.parse().ok()?;
                let block = PostedBlock::found(hash, entry)?;
                self.blocks.insert(hash, block).is_none().then_some(())
            }
            EntryKind::Matured => self.move_block(entry, immature, BlockPhase::Matured, 0),
            EntryKind::Unmatured => self.move_block(entry, BlockPhase::Matured, immature, 1),
            EntryKind::Orphaned => self.move_block(entry, immature, BlockPhase::Orphaned, 1),
            EntryKind::Reconnected => self.move_block(entry, BlockPhase::Orphaned, immature, 0),
            EntryKind::PayoutCreated => {
                let id = BatchId::new(entry.key.parse().ok()?);
                let batch = PostedBatch::created(id, entry)?;
                self.batches.insert(id, batch).is_none().then_some(())
            }
            EntryKind::Broadcast => {
                let (id, batch) = self.batch_in_flight(entry)?;
                batch.broadcast(id, entry)
            }
            EntryKind::Confirmed => {
                let (id, batch) = self.batch_in_flight(entry)?;
                batch.confirmed(id, entry)
            }
            EntryKind::Reversed => {
                let id = BatchId::new(entry.key.split(':').next()?.parse().ok()?);
                self.batches.get_mut(&id)?.reversed(id, entry)
            }
            EntryKind::Held | EntryKind::Released | EntryKind::Blocked | EntryKind::Unblocked => {
                self.restraints.follow(entry)
            }
            // The reserve's part, followed before.
            EntryKind::Credited | EntryKind::ReserveFunded | EntryKind::Deposited | EntryKind::Undeposited => Some(()),
            EntryKind::DirectPaid => self.pay_directly(entry),
        }
    }

    fn move_block(&mut self, entry: &Entry, from: BlockPhase, to: BlockPhase, set_back: u32) -> Option<()> {
        let (hash, epoch) = entry.key.split_once(':')?;
        let hash: BlockHash = hash.parse().ok()?;
        let block = self.blocks.get_mut(&hash)?;
        let epoch: u32 = epoch.parse().ok()?;
        let follows = block.state == BlockState { phase: from, epoch };
        block.state = BlockState { phase: to, epoch: epoch.checked_add(set_back)? };
        match entry.kind {
            EntryKind::Orphaned => block.direct.clear(),
            EntryKind::Reconnected => block.stay = epoch,
            _ => {}
        }
        follows.then_some(())
    }

    fn pay_directly(&mut self, entry: &Entry) -> Option<()> {
        let hash = entry.postings.iter().find_map(|posting| match posting.account {
            LedgerAccount::Immature(block) => Some(block),
            _ => None,
        })?;
        self.blocks.get_mut(&hash)?.pay_directly(hash, entry)
    }

    /// The batch whose coins an entry lets go.
    fn batch_in_flight(&mut self, entry: &Entry) -> Option<(BatchId, &mut PostedBatch)> {
        let batch = entry.postings.iter().find_map(|posting| match posting.account {
            LedgerAccount::InFlight(batch) => Some(batch),
            _ => None,
        })?;
        Some((batch, self.batches.get_mut(&batch)?))
    }

    /// Compares the store's rows with the entries, in the order of the entries that they came with. The store must not
    /// have got another entry meanwhile, or a fault means nothing.
    pub(super) async fn compare(&self, store: &dyn Store) -> Result<Result<(), RowFault>, StoreError> {
        // One more than there should be shows whether there is one more.
        let limit = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX).saturating_add(1);
        let rows = store.blocks(limit).await?;
        let rows: BTreeMap<BlockHash, BlockRecord> = rows.into_iter().map(|row| (row.found.hash, row)).collect();
        if let Some(hash) = rows.keys().find(|&hash| !self.blocks.contains_key(hash)) {
            return Ok(Err(unknown("blocks", hash)));
        }
        let mut taken = Taken::default();
        for (&id, posted) in &self.batches {
            let Some(batch) = store.batch(id).await? else {
                return Ok(Err(missing("batches", id, posted.created)));
            };
            if let Err(fault) = posted.check(&batch, &mut taken) {
                return Ok(Err(fault));
            }
        }
        let (open, newest) = (store.batches_to_watch(u32::MAX).await?, store.batches_before(None, 1).await?);
        if let Some(batch) = open.iter().chain(&newest).find(|batch| !self.batches.contains_key(&batch.id)) {
            return Ok(Err(unknown("batches", batch.id)));
        }
        if let Err(fault) = self.restraints.compare(store).await? {
            return Ok(Err(fault));
        }
        if let Err(fault) = check_fee(&rows, &store.deposits().await?, &taken.of_fee) {
            return Ok(Err(fault));
        }
        let mut blocks: Vec<_> = self.blocks.iter().collect();
        blocks.sort_by_key(|(_, posted)| posted.found);
        for (&hash, posted) in blocks {
            let Some(row) = rows.get(&hash) else {
                return Ok(Err(missing("blocks", hash, posted.found)));
            };
            let credits = store.credits(hash).await?;
            if let Err(fault) = posted.check(row).and_then(|()| posted.check_credits(hash, &credits, &taken.of_blocks))
            {
                return Ok(Err(fault));
            }
        }
        self.reserve.compare(store, &taken.of_periods).await
    }
}

/// Makes sure that of no coin more was sold than it brought to the pool's fee.
fn check_fee(
    blocks: &BTreeMap<BlockHash, BlockRecord>,
    deposits: &[Deposit],
    taken: &TakenOfFee,
) -> Result<(), RowFault> {
    for (&(coin, hash), &taken) in taken {
        let of_block = blocks.get(&hash).filter(|block| block.found.coinbase == coin).map(|block| block.fee);
        let of_deposit = || deposits.iter().find(|deposit| deposit.seen.outpoint == coin);
        let brought = of_block.or_else(|| of_deposit().map(|deposit| deposit.given));
        let brought = brought.ok_or_else(|| unknown("batch_fee_lots", coin))?;
        if taken > brought {
            same("batch_fee_lots", coin, "sum", taken, brought)?;
        }
    }
    Ok(())
}

impl PostedBlock {
    fn found(hash: BlockHash, entry: &Entry) -> Option<Self> {
        let credited = |amount: SignedAmount| (-amount).to_unsigned().ok();
        let mut credits = BTreeMap::new();
        for posting in &entry.postings {
            if let LedgerAccount::MinerImmature(account) = posting.account {
                credits.insert(account, credited(posting.amount)?);
            }
        }
        Some(Self {
            found: entry.seq,
            value: entry.amount(LedgerAccount::Immature(hash)).to_unsigned().ok()?,
            fee: credited(entry.amount(LedgerAccount::FeeImmature))?,
            reserve: credited(entry.amount(LedgerAccount::PpsImmature))?,
            facts: entry.facts.clone(),
            credits,
            state: BlockState::FOUND,
            stay: 0,
            direct: BTreeMap::new(),
        })
    }

    /// Follows a payment of the coinbase: up to what is left of the account's credit it settles that, the rest is debt.
    fn pay_directly(&mut self, hash: BlockHash, entry: &Entry) -> Option<()> {
        let mut key = entry.key.splitn(3, ':');
        let (_txid, vout, stay) = (key.next()?, key.next()?.parse().ok()?, key.next());
        let is_this_stay = match stay {
            None => self.stay == 0,
            Some(epoch) => self.stay > 0 && epoch.parse() == Ok(self.stay),
        };
        let account = entry.postings.iter().find_map(|posting| match posting.account {
            LedgerAccount::MinerImmature(account) | LedgerAccount::MinerDebt(account) => Some(account),
            _ => None,
        })?;
        let amount = (-entry.amount(LedgerAccount::Immature(hash))).to_unsigned().ok()?;
        let settles = entry.amount(LedgerAccount::MinerImmature(account)).to_unsigned().ok()?;
        let excess = entry.amount(LedgerAccount::MinerDebt(account)).to_unsigned().ok()?;
        let left = self.credits.get(&account).copied().unwrap_or_default().checked_sub(self.settled(account))?;
        let payment = PostedPayment { entry: entry.seq, account, amount, settles };
        let is_right = self.state.phase == BlockPhase::Immature
            && is_this_stay
            && settles.checked_add(excess)? == amount
            && settles == amount.min(left);
        (is_right && self.direct.insert(vout, payment).is_none()).then_some(())
    }

    /// Returns how much of an account's credit the coinbase settles.
    fn settled(&self, account: AccountId) -> Amount {
        self.direct.values().filter(|payment| payment.account == account).map(|payment| payment.settles).sum()
    }

    /// Compares direct payments with what the block's facts say of them. All are posted before the block moves on.
    fn check_direct(&self, row: &BlockRecord) -> Result<(), RowFault> {
        let hash = row.found.hash;
        let told = |vout: u32, account: AccountId, amount: Amount| {
            format!("{} sat at output {vout} for account {account}", amount.to_sat())
        };
        for payment in row.found.direct.iter() {
            match self.direct.get(&payment.vout) {
                Some(posted) => same(
                    "blocks",
                    hash,
                    "direct payment",
                    told(payment.vout, payment.account, payment.amount),
                    told(payment.vout, posted.account, posted.amount),
                )?,
                None if self.state.phase == BlockPhase::Matured && payment.amount > Amount::ZERO => {
                    let kept = told(payment.vout, payment.account, payment.amount);
                    same("blocks", hash, "direct payment", kept, "none".to_owned())?;
                }
                None => {}
            }
        }
        let is_kept = |vout: u32| row.found.direct.iter().any(|payment| payment.vout == vout);
        match self.direct.iter().find(|(vout, _)| !is_kept(**vout)) {
            Some((vout, posted)) => {
                Err(missing("blocks", format!("{hash}: direct payment of output {vout}"), posted.entry))
            }
            None => Ok(()),
        }
    }

    fn check(&self, row: &BlockRecord) -> Result<(), RowFault> {
        let hash = row.found.hash;
        same("blocks", hash, "value", row.found.value, self.value)?;
        same("blocks", hash, "fee", row.fee, self.fee)?;
        same("blocks", hash, "part of the reserve", row.reserve, self.reserve)?;
        if let Some(facts) = &self.facts {
            same("blocks", hash, "facts", &row.facts(), facts)?;
        }
        self.check_direct(row)?;
        same("blocks", hash, "phase", Phase(row.state.phase), Phase(self.state.phase))?;
        same("blocks", hash, "epoch", row.state.epoch, self.state.epoch)
    }

    fn check_credits(&self, hash: BlockHash, rows: &[BlockCredit], taken: &TakenOfBlocks) -> Result<(), RowFault> {
        for &BlockCredit { account, amount, paid } in rows {
            let row = format!("{hash} of account {account}");
            // An amount of zero is no line in the ledger.
            match self.credits.get(&account) {
                None if amount > Amount::ZERO => return Err(unknown("credits", row)),
                posted => same("credits", &row, "amount", amount, posted.copied().unwrap_or_default())?,
            }
            let taken = taken.get(&(hash, account)).copied().unwrap_or_default();
            same("credits", &row, "paid", paid, taken + self.settled(account))?;
        }
        let kept: BTreeMap<_, _> = rows.iter().map(|credit| (credit.account, credit.paid)).collect();
        match self.credits.keys().find(|account| !kept.contains_key(account)) {
            Some(account) => Err(missing("credits", format!("{hash} of account {account}"), self.found)),
            None => Ok(()),
        }
    }
}

/// Compares rows of the register with the batches that they tell of.
#[derive(Debug)]
pub(super) struct DeliveryAudit<'a> {
    ids: BTreeMap<Txid, BatchId>,
    store: &'a dyn Store,
    /// The batch of the row before: the rows of a batch follow each other.
    batch: Option<Batch>,
}

impl<'a> DeliveryAudit<'a> {
    pub(super) fn new(rows: &RowAudit, store: &'a dyn Store) -> Self {
        let delivered = |(&id, batch): (&BatchId, &'_ PostedBatch)| {
            batch.delivered.iter().map(move |&txid| (txid, id)).collect::<Vec<_>>()
        };
        let ids = rows.batches.iter().flat_map(delivered).collect();
        Self { ids, store, batch: None }
    }

    /// Compares the next row.
    pub(super) async fn check(&mut self, row: &RegisterRow) -> Result<Result<(), RowFault>, StoreError> {
        let (seq, record) = (row.seq, &row.record);
        let txid = record.delivery.txid;
        if self.batch.as_ref().is_none_or(|batch| batch.attempts.iter().all(|attempt| attempt.txid != txid)) {
            self.batch = match self.ids.get(&txid) {
                Some(&id) => self.store.batch(id).await?,
                None => None,
            };
        }
        let output =
            |batch: &'_ Batch| batch.outputs.iter().find(|output| output.vout == record.delivery.vout).cloned();
        let Some((batch, output)) = self.batch.as_ref().and_then(|batch| Some((batch, output(batch)?))) else {
            return Ok(Err(unknown("export_rows", seq)));
        };
        let due = &output.due;
        let (id, paid) = (format!("{}:{}", batch.id, output.vout), "batch_outputs");
        let lots = |lots: &[Lot]| {
            let lots = lots.iter().map(|lot| {
                format!("{} sat of {} in {}{}", lot.amount.to_sat(), lot.coinbase, lot.block, Of(lot.credit))
            });
            lots.collect::<Vec<_>>().join(", ")
        };
        let compared = same(paid, &id, "amount", output.pays(), record.amount)
            .and_then(|()| same(paid, &id, "account", due.account, record.account))
            .and_then(|()| same(paid, &id, "address", &due.address, &record.address))
            .and_then(|()| {
                same(paid, &id, "script", due.script_pubkey.to_hex_string(), record.script_pubkey.to_hex_string())
            })
            .and_then(|()| same("batch_lots", &id, "content", lots(&output.delivered_lots()), lots(&record.lots)))
            .and_then(|()| match batch.state {
                BatchState::Confirmed(_, block)
                    if row.state == RecordState::Delivered && block.hash == row.block.hash && batch.txid() == txid =>
                {
                    same("batches", batch.id, "block height", block.height, row.block.height)
                        .and_then(|()| same("batches", batch.id, "block time", block.time, row.block.time))
                }
                _ => Ok(()),
            });
        Ok(compared)
    }
}

/// The words for the credit that a lot belongs to, if that is not its block's.
struct Of(LotCredit);

impl std::fmt::Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            LotCredit::Block => Ok(()),
            LotCredit::Period { number, line } => write!(f, " for period {number}:{line}"),
            LotCredit::Fee => f.write_str(" of the fee"),
        }
    }
}

/// The word for a phase.
#[derive(PartialEq)]
struct Phase(BlockPhase);

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(super::phase_word(self.0))
    }
}

pub(super) fn same<T: PartialEq + ToString>(
    table: &'static str,
    row: impl ToString,
    column: &'static str,
    kept: T,
    posted: T,
) -> Result<(), RowFault> {
    if kept == posted {
        return Ok(());
    }
    let (row, kept, posted) = (row.to_string(), kept.to_string(), posted.to_string());
    Err(RowFault::Differs { table, row, column, kept, posted })
}

pub(super) fn missing(table: &'static str, row: impl ToString, entry: EntrySeq) -> RowFault {
    RowFault::Missing { table, row: row.to_string(), entry }
}

pub(super) fn unknown(table: &'static str, row: impl ToString) -> RowFault {
    RowFault::Unknown { table, row: row.to_string() }
}
