//! What blocks, credits and batches must look like, told by the ledger's entries alone.
//!
//! These rows change as blocks and batches move on, so no hash chain covers them. Every change comes with an entry,
//! though, and so the entries say what each row is now.

use std::collections::BTreeMap;

use bitcoin::{Amount, BlockHash, SignedAmount, Txid};

use crate::{
    account::AccountId,
    books::{BlockCredit, BlockPhase, BlockRecord, BlockState},
    export::{
        Lot,
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
    credits: BTreeMap<AccountId, Amount>,
    state: BlockState,
}

/// A batch as its entries tell it.
#[derive(Debug)]
struct PostedBatch {
    created: EntrySeq,
    paid: BTreeMap<AccountId, Amount>,
    /// Its transaction and the coins that leave with it, once it was broadcast.
    sent: Option<(Txid, Amount)>,
    confirmed: Option<BlockHash>,
    epoch: u32,
}

/// Goes through all entries in their order, then compares the rows with them.
#[derive(Debug, Default)]
pub(super) struct RowAudit {
    blocks: BTreeMap<BlockHash, PostedBlock>,
    batches: BTreeMap<BatchId, PostedBatch>,
}

impl RowAudit {
    /// Takes the next entry in.
    pub(super) fn note(&mut self, entry: &Entry) -> Result<(), RowFault> {
        self.follow(entry).ok_or(RowFault::Entry(entry.seq))
    }

    fn follow(&mut self, entry: &Entry) -> Option<()> {
        let immature = BlockPhase::Immature;
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
                let mut paid = BTreeMap::new();
                for posting in &entry.postings {
                    if let LedgerAccount::MinerPayable(account) = posting.account {
                        paid.insert(account, posting.amount.to_unsigned().ok()?);
                    }
                }
                let batch = PostedBatch { created: entry.seq, paid, sent: None, confirmed: None, epoch: 0 };
                self.batches.insert(id, batch).is_none().then_some(())
            }
            EntryKind::Broadcast => {
                let batch = self.batch_in_flight(entry)?;
                let leaving = (-entry.amount(LedgerAccount::Spendable)).to_unsigned().ok()?;
                batch.sent.replace((entry.key.parse().ok()?, leaving)).is_none().then_some(())
            }
            EntryKind::Confirmed => {
                let mut key = entry.key.split(':');
                let (txid, block, epoch) = (key.next()?, key.next()?, key.next()?);
                let batch = self.batch_in_flight(entry)?;
                let sent = batch.sent.is_some_and(|(sent, _)| Ok(sent) == txid.parse());
                let follows = sent && Ok(batch.epoch) == epoch.parse();
                let before = batch.confirmed.replace(block.parse().ok()?);
                (follows && before.is_none()).then_some(())
            }
            EntryKind::Reversed => {
                let mut key = entry.key.split(':');
                let (_, _, block, epoch) = (key.next()?, key.next()?, key.next()?, key.next()?);
                let batch = self.batch_in_flight(entry)?;
                let follows = batch.confirmed.take() == block.parse().ok() && Ok(batch.epoch) == epoch.parse();
                batch.epoch += 1;
                follows.then_some(())
            }
        }
    }

    fn move_block(&mut self, entry: &Entry, from: BlockPhase, to: BlockPhase, set_back: u32) -> Option<()> {
        let (hash, epoch) = entry.key.split_once(':')?;
        let hash: BlockHash = hash.parse().ok()?;
        let block = self.blocks.get_mut(&hash)?;
        let epoch: u32 = epoch.parse().ok()?;
        let follows = block.state == BlockState { phase: from, epoch };
        block.state = BlockState { phase: to, epoch: epoch.checked_add(set_back)? };
        follows.then_some(())
    }

    /// The batch whose coins an entry lets go or takes back.
    fn batch_in_flight(&mut self, entry: &Entry) -> Option<&mut PostedBatch> {
        let batch = entry.postings.iter().find_map(|posting| match posting.account {
            LedgerAccount::InFlight(batch) => Some(batch),
            _ => None,
        })?;
        self.batches.get_mut(&batch)
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
        let mut taken = BTreeMap::new();
        for (&id, posted) in &self.batches {
            let Some(batch) = store.batch(id).await? else {
                return Ok(Err(missing("batches", id, posted.created)));
            };
            if let Err(fault) = posted.check(&batch, &mut taken) {
                return Ok(Err(fault));
            }
        }
        let (open, newest) = (store.batches_to_watch(u32::MAX).await?, store.batches(1).await?);
        if let Some(batch) = open.iter().chain(&newest).find(|batch| !self.batches.contains_key(&batch.id)) {
            return Ok(Err(unknown("batches", batch.id)));
        }
        let mut blocks: Vec<_> = self.blocks.iter().collect();
        blocks.sort_by_key(|(_, posted)| posted.found);
        for (&hash, posted) in blocks {
            let Some(row) = rows.get(&hash) else {
                return Ok(Err(missing("blocks", hash, posted.found)));
            };
            let credits = store.credits(hash).await?;
            if let Err(fault) = posted.check(row).and_then(|()| posted.check_credits(hash, &credits, &taken)) {
                return Ok(Err(fault));
            }
        }
        Ok(Ok(()))
    }
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
            credits,
            state: BlockState::FOUND,
        })
    }

    fn check(&self, row: &BlockRecord) -> Result<(), RowFault> {
        let hash = row.found.hash;
        same("blocks", hash, "value", row.found.value, self.value)?;
        same("blocks", hash, "fee", row.fee, self.fee)?;
        same("blocks", hash, "phase", Phase(row.state.phase), Phase(self.state.phase))?;
        same("blocks", hash, "epoch", row.state.epoch, self.state.epoch)
    }

    fn check_credits(&self, hash: BlockHash, rows: &[BlockCredit], taken: &Taken) -> Result<(), RowFault> {
        for &BlockCredit { account, amount, paid } in rows {
            let row = format!("{hash} of account {account}");
            // An amount of zero is no line in the ledger.
            match self.credits.get(&account) {
                None if amount > Amount::ZERO => return Err(unknown("credits", row)),
                posted => same("credits", &row, "amount", amount, posted.copied().unwrap_or_default())?,
            }
            same("credits", &row, "paid", paid, taken.get(&(hash, account)).copied().unwrap_or_default())?;
        }
        let kept: BTreeMap<_, _> = rows.iter().map(|credit| (credit.account, credit.paid)).collect();
        match self.credits.keys().find(|account| !kept.contains_key(account)) {
            Some(account) => Err(missing("credits", format!("{hash} of account {account}"), self.found)),
            None => Ok(()),
        }
    }
}

/// What batches took of each credit.
type Taken = BTreeMap<(BlockHash, AccountId), Amount>;

impl PostedBatch {
    /// Compares a batch, and adds up what it took of credits.
    fn check(&self, batch: &Batch, taken: &mut Taken) -> Result<(), RowFault> {
        let id = batch.id;
        let posted_state = match (self.sent, self.confirmed) {
            (_, Some(block)) => format!("confirmed in {block}"),
            (Some(_), None) => "broadcast".to_owned(),
            (None, None) => "created".to_owned(),
        };
        let (state, transaction) = match &batch.state {
            BatchState::Created => ("created".to_owned(), None),
            // Signing is no matter of money: it has no entry.
            BatchState::Signed(transaction) => ("created".to_owned(), Some(transaction)),
            BatchState::Broadcast(transaction) => ("broadcast".to_owned(), Some(transaction)),
            BatchState::Confirmed(transaction, block) => (format!("confirmed in {}", block.hash), Some(transaction)),
        };
        same("batches", id, "state", state, posted_state)?;
        same("batches", id, "epoch", batch.epoch, self.epoch)?;
        for output in &batch.outputs {
            let (account, amount) = (output.due.account, output.due.amount);
            let row = format!("{id}:{}", output.vout);
            let Some(&posted) = self.paid.get(&account) else { return Err(unknown("batch_outputs", row)) };
            same("batch_outputs", &row, "amount", amount, posted)?;
            let lots: Amount = output.lots.iter().map(|lot| lot.amount).sum();
            same("batch_lots", &row, "sum", lots, posted)?;
            for Lot { block, amount, .. } in &output.lots {
                *taken.entry((*block, account)).or_default() += *amount;
            }
            if let Some(transaction) = transaction {
                let paid = transaction.output.get(output.vout as usize);
                let pays =
                    paid.is_some_and(|paid| paid.value == amount && paid.script_pubkey == output.due.script_pubkey);
                same("batches", id, "payment of each output by the signed transaction", pays, true)?;
            }
        }
        let outputs = batch.outputs.len();
        if outputs < self.paid.len() {
            let gone = self.paid.keys().find(|account| batch.outputs.iter().all(|out| out.due.account != **account));
            let account = gone.map(ToString::to_string).unwrap_or_default();
            return Err(missing("batch_outputs", format!("of batch {id} for account {account}"), self.created));
        }
        if let Some(transaction) = transaction {
            same("batches", id, "transaction", transaction.compute_txid(), batch.txid)?;
        }
        if let Some((txid, leaving)) = self.sent {
            same("batches", id, "txid", batch.txid, txid)?;
            same("batches", id, "coins that leave", batch.leaving(), leaving)?;
        }
        Ok(())
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
        let ids = rows.batches.iter().filter_map(|(&id, batch)| batch.sent.map(|(txid, _)| (txid, id))).collect();
        Self { ids, store, batch: None }
    }

    /// Compares the next row.
    pub(super) async fn check(&mut self, row: &RegisterRow) -> Result<Result<(), RowFault>, StoreError> {
        let (seq, record) = (row.seq, &row.record);
        let txid = record.delivery.txid;
        if self.batch.as_ref().is_none_or(|batch| batch.txid != txid) {
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
            let lots =
                lots.iter().map(|lot| format!("{} sat of {} in {}", lot.amount.to_sat(), lot.coinbase, lot.block));
            lots.collect::<Vec<_>>().join(", ")
        };
        let compared = same(paid, &id, "amount", due.amount, record.amount)
            .and_then(|()| same(paid, &id, "account", due.account, record.account))
            .and_then(|()| same(paid, &id, "address", &due.address, &record.address))
            .and_then(|()| {
                same(paid, &id, "script", due.script_pubkey.to_hex_string(), record.script_pubkey.to_hex_string())
            })
            .and_then(|()| same("batch_lots", &id, "content", lots(&output.lots), lots(&record.lots)))
            .and_then(|()| match batch.state {
                BatchState::Confirmed(_, block)
                    if row.state == RecordState::Delivered && block.hash == row.block.hash =>
                {
                    same("batches", batch.id, "block height", block.height, row.block.height)
                        .and_then(|()| same("batches", batch.id, "block time", block.time, row.block.time))
                }
                _ => Ok(()),
            });
        Ok(compared)
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

fn same<T: PartialEq + ToString>(
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

fn missing(table: &'static str, row: impl ToString, entry: EntrySeq) -> RowFault {
    RowFault::Missing { table, row: row.to_string(), entry }
}

fn unknown(table: &'static str, row: impl ToString) -> RowFault {
    RowFault::Unknown { table, row: row.to_string() }
}
