//! The ledger from its first entry on, with what each entry means to accounts.
//!
//! What an account is owed comes from the postings alone. What is credited, paid and borne comes from the rows beside
//! them: credits, lots of periods, outputs of payouts, the register. So the two can be held against each other.

use std::collections::{BTreeMap, VecDeque};

use bitcoin::{Amount, BlockHash, OutPoint};

use super::BookkeepingError;
use crate::{
    account::AccountId,
    books::{BlockCredit, BlockRecord},
    crediting::PeriodNumber,
    export::{
        movement::{Movement, MovementKind, Movements, Owed, shares_of},
        register::{RegisterRow, RowSeq},
    },
    ledger::{Entry, EntryKind, EntrySeq, LedgerAccount},
    payout::{Batch, BatchId},
    store::Store,
};

/// Records that are read at a time.
const PAGE: u32 = 1_000;

/// A block, as far as accounts are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditedBlock {
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// The coinbase output that paid the pool.
    pub coinbase: OutPoint,
}

/// What changes what an account is owed. Amounts are satoshis, never negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A block, or work, was credited.
    Credit {
        /// Whom.
        account: AccountId,
        /// How much, after the pool's fee.
        sat: i64,
        /// The account's part of the pool's fee; nothing for work, whose fee is in its rate.
        fee_sat: i64,
        /// The block; nothing for work.
        block: Option<CreditedBlock>,
        /// Of work, the period.
        period: Option<PeriodNumber>,
    },
    /// The credit of a block that left the chain was undone.
    Reversal {
        /// Whose.
        account: AccountId,
        /// How much.
        sat: i64,
        /// The part of the pool's fee that was undone with it.
        fee_sat: i64,
        /// The block.
        block: CreditedBlock,
        /// The entry that had credited it.
        original: EntrySeq,
    },
    /// A part of a payout's network fee was borne, or given back.
    NetworkFee {
        /// By whom.
        account: AccountId,
        /// The payout.
        batch: BatchId,
        /// How much.
        sat: i64,
        /// Whether it was given back.
        returned: bool,
    },
    /// An output of a payout paid, or its block left the chain.
    Payout {
        /// Whom.
        account: AccountId,
        /// The payout.
        batch: BatchId,
        /// The output.
        delivery: OutPoint,
        /// How much.
        sat: i64,
        /// Whether the block left.
        reversed: bool,
    },
    /// An output of a coinbase paid, or its block left the chain.
    Direct {
        /// Whom.
        account: AccountId,
        /// The output.
        delivery: OutPoint,
        /// How much.
        sat: i64,
        /// Whether the block left.
        reversed: bool,
        /// The block.
        block: CreditedBlock,
        /// Where the miner is paid by it: the entry that booked the payment, if this undoes it.
        original: Option<EntrySeq>,
    },
}

impl Line {
    /// Returns whom it is about.
    pub fn account(&self) -> AccountId {
        match self {
            Self::Credit { account, .. }
            | Self::Reversal { account, .. }
            | Self::NetworkFee { account, .. }
            | Self::Payout { account, .. }
            | Self::Direct { account, .. } => *account,
        }
    }
}

/// An entry with what it means.
#[derive(Clone, Debug)]
pub struct Booked {
    /// The entry.
    pub entry: Entry,
    /// Its time, in milliseconds since 1970 UTC; never before that of an earlier entry, even if the clock was set back.
    pub at_ms: i64,
    /// The block that it is about.
    pub block: Option<BlockHash>,
    /// The payout that it is about.
    pub batch: Option<BatchId>,
    /// What it changes, by the rows beside the ledger.
    pub lines: Vec<Line>,
    /// The register's rows that came with it.
    pub rows: Vec<RegisterRow>,
}

/// A block with its split.
#[derive(Clone, Debug)]
pub(super) struct SplitBlock {
    pub(super) record: BlockRecord,
    pub(super) credits: Vec<BlockCredit>,
}

/// Goes through the ledger.
#[derive(Debug)]
pub struct Walk<'s> {
    store: &'s dyn Store,
    movements: Movements,
    upto: EntrySeq,
    last: EntrySeq,
    at_ms: i64,
    entries: VecDeque<Entry>,
    last_row: RowSeq,
    rows: VecDeque<RegisterRow>,
    /// What coinbases paid directly, by output: the last entry that booked it.
    direct: BTreeMap<OutPoint, EntrySeq>,
}

impl<'s> Walk<'s> {
    /// Begins at the first entry, and goes up to what is the last one now.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn begin(store: &'s dyn Store) -> Result<Self, BookkeepingError> {
        let upto = store.head().await?.seq;
        Ok(Self::up_to(store, upto))
    }

    /// Begins at the first entry, and goes up to this one.
    pub fn up_to(store: &'s dyn Store, upto: EntrySeq) -> Self {
        Self {
            store,
            movements: Movements::default(),
            upto,
            last: EntrySeq::new(0),
            at_ms: i64::MIN,
            entries: VecDeque::new(),
            last_row: RowSeq::new(0),
            rows: VecDeque::new(),
            direct: BTreeMap::new(),
        }
    }

    /// Returns what accounts are owed after the last entry.
    pub fn owed(&self) -> &BTreeMap<AccountId, Owed> {
        self.movements.owed()
    }

    /// Returns the last entry that was gone through; 0 before the first.
    pub fn last(&self) -> EntrySeq {
        self.last
    }

    /// Returns the time of the next entry, without going through it; nothing after the last.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn next_at_ms(&mut self) -> Result<Option<i64>, BookkeepingError> {
        self.fill().await?;
        let next = self.entries.front().filter(|entry| entry.seq <= self.upto);
        Ok(next.map(|entry| self.at_ms.max(entry.at_ms)))
    }

    /// Returns the next entry; nothing after the last.
    ///
    /// # Errors
    ///
    /// If the store fails, or lacks what the entry tells of.
    pub async fn next(&mut self) -> Result<Option<Booked>, BookkeepingError> {
        let Some(entry) = self.entry().await? else { return Ok(None) };
        self.at_ms = self.at_ms.max(entry.at_ms);
        let batch = self.batch(&entry).await?;
        let shares = batch.as_ref().map(shares_of);
        let movements = self.movements.note(&entry, |_| shares.clone())?;
        let rows = self.rows(entry.seq).await?;
        let block = block_of(&entry);
        let lines = match entry.kind {
            EntryKind::Orphaned => self.reversals(&entry).await?,
            EntryKind::PayoutCreated | EntryKind::Confirmed | EntryKind::Reversed => {
                batch.iter().flat_map(|batch| of_batch(&entry, batch, &movements)).collect()
            }
            _ => self.received(&entry).await?,
        };
        Ok(Some(Booked { at_ms: self.at_ms, block, batch: batch.map(|batch| batch.id), lines, rows, entry }))
    }

    /// Returns what accounts receive with an entry: credits, or what a coinbase pays directly.
    async fn received(&mut self, entry: &Entry) -> Result<Vec<Line>, BookkeepingError> {
        match entry.kind {
            EntryKind::BlockFound | EntryKind::Reconnected => self.credits(entry).await,
            EntryKind::DirectPaid => Ok(vec![self.direct(entry).await?]),
            EntryKind::Credited => self.work(entry).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Returns a block with its split.
    pub(super) async fn block(&self, entry: EntrySeq, hash: BlockHash) -> Result<SplitBlock, BookkeepingError> {
        let record = self.store.block(hash).await?;
        let record = record.ok_or_else(|| BookkeepingError::Missing { entry, what: format!("block {hash}") })?;
        Ok(SplitBlock { record, credits: self.store.credits(hash).await? })
    }

    async fn fill(&mut self) -> Result<(), BookkeepingError> {
        if self.entries.is_empty() && self.last < self.upto {
            self.entries = self.store.entries(self.last, PAGE).await?.into();
        }
        Ok(())
    }

    async fn entry(&mut self) -> Result<Option<Entry>, BookkeepingError> {
        self.fill().await?;
        if self.entries.front().is_none_or(|entry| entry.seq > self.upto) {
            return Ok(None);
        }
        let entry = self.entries.pop_front();
        if let Some(entry) = &entry {
            self.last = entry.seq;
        }
        Ok(entry)
    }

    async fn rows(&mut self, entry: EntrySeq) -> Result<Vec<RegisterRow>, BookkeepingError> {
        let mut rows = Vec::new();
        loop {
            if self.rows.is_empty() {
                self.rows = self.store.register_rows(self.last_row, PAGE).await?.into();
            }
            match self.rows.front() {
                Some(row) if row.entry == entry => {
                    self.last_row = row.seq;
                    rows.extend(self.rows.pop_front());
                }
                Some(row) if row.entry < entry => return Err(BookkeepingError::RowOrder(row.seq)),
                _ => return Ok(rows),
            }
        }
    }

    async fn batch(&self, entry: &Entry) -> Result<Option<Batch>, BookkeepingError> {
        let reserved = entry.postings.iter().find_map(|posting| match posting.account {
            LedgerAccount::Reserved(id) => Some(id),
            _ => None,
        });
        let Some(id) = reserved else { return Ok(None) };
        let missing = || BookkeepingError::Missing { entry: entry.seq, what: format!("payout {id}") };
        self.store.batch(id).await?.ok_or_else(missing).map(Some)
    }

    async fn credits(&self, entry: &Entry) -> Result<Vec<Line>, BookkeepingError> {
        let block = self.block(entry.seq, named_block(entry)?).await?;
        let line = |(credit, fee_sat): (&BlockCredit, i64)| Line::Credit {
            account: credit.account,
            sat: sat(credit.amount),
            fee_sat,
            block: Some(block.brief()),
            period: None,
        };
        Ok(block.credits.iter().zip(block.fees()).map(line).collect())
    }

    async fn reversals(&mut self, entry: &Entry) -> Result<Vec<Line>, BookkeepingError> {
        let block = self.block(entry.seq, named_block(entry)?).await?;
        let unnamed = || BookkeepingError::Key { entry: entry.seq, key: entry.key.clone() };
        let original = entry.corrects.ok_or_else(unnamed)?;
        let line = |(credit, fee_sat): (&BlockCredit, i64)| Line::Reversal {
            account: credit.account,
            sat: sat(credit.amount),
            fee_sat,
            block: block.brief(),
            original,
        };
        let mut lines: Vec<_> = block.credits.iter().zip(block.fees()).map(line).collect();
        for payment in block.record.found.direct.iter() {
            let delivery = block.record.found.direct_output(payment);
            lines.push(Line::Direct {
                account: payment.account,
                delivery,
                sat: sat(payment.amount),
                reversed: true,
                block: block.brief(),
                original: self.direct.remove(&delivery),
            });
        }
        Ok(lines)
    }

    async fn direct(&mut self, entry: &Entry) -> Result<Line, BookkeepingError> {
        let unnamed = || BookkeepingError::Key { entry: entry.seq, key: entry.key.clone() };
        let hash = entry.postings.iter().find_map(|posting| match posting.account {
            LedgerAccount::Immature(block) => Some(block),
            _ => None,
        });
        let block = self.block(entry.seq, hash.ok_or_else(unnamed)?).await?;
        let found = &block.record.found;
        let is_it = |output: &OutPoint| {
            let rest = entry.key.strip_prefix(&output.to_string());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        let payment = found.direct.iter().find(|payment| is_it(&found.direct_output(payment))).ok_or_else(unnamed)?;
        let delivery = found.direct_output(payment);
        self.direct.insert(delivery, entry.seq);
        let (account, sat) = (payment.account, sat(payment.amount));
        Ok(Line::Direct { account, delivery, sat, reversed: false, block: block.brief(), original: None })
    }

    async fn work(&self, entry: &Entry) -> Result<Vec<Line>, BookkeepingError> {
        let unnamed = || BookkeepingError::Key { entry: entry.seq, key: entry.key.clone() };
        let number = entry.key.parse().map(PeriodNumber::new).map_err(|_| unnamed())?;
        let mut sums: BTreeMap<AccountId, Amount> = BTreeMap::new();
        for lot in self.store.period_lots(number).await? {
            *sums.entry(lot.account).or_default() += lot.amount;
        }
        let line = |(account, amount)| Line::Credit {
            account,
            sat: sat(amount),
            fee_sat: 0,
            block: None,
            period: Some(number),
        };
        Ok(sums.into_iter().map(line).collect())
    }
}

/// Returns what accounts receive with one entry, wherever it stands.
///
/// # Errors
///
/// If the store fails, or lacks what the entry tells of.
pub(in crate::export) async fn received_with(store: &dyn Store, entry: &Entry) -> Result<Vec<Line>, BookkeepingError> {
    Walk::up_to(store, entry.seq).received(entry).await
}

impl SplitBlock {
    fn brief(&self) -> CreditedBlock {
        let found = &self.record.found;
        CreditedBlock { hash: found.hash, height: found.height, coinbase: found.coinbase }
    }

    /// Returns each account's part of the pool's fee, in proportion to the credits. It sums to the fee: what rounding
    /// down leaves goes to the largest remainders, the first of equals.
    fn fees(&self) -> Vec<i64> {
        let whole: u128 = self.credits.iter().map(|credit| u128::from(credit.amount.to_sat())).sum();
        if whole == 0 {
            return vec![0; self.credits.len()];
        }
        let fee = u128::from(self.record.fee.to_sat());
        let exact = |credit: &BlockCredit| fee * u128::from(credit.amount.to_sat());
        let mut parts: Vec<u128> = self.credits.iter().map(|credit| exact(credit) / whole).collect();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(exact(&self.credits[at]) % whole));
        let left = usize::try_from(fee - parts.iter().sum::<u128>()).unwrap_or(usize::MAX);
        order.iter().take(left).for_each(|&at| parts[at] += 1);
        parts.into_iter().map(|part| i64::try_from(part).unwrap_or(i64::MAX)).collect()
    }
}

/// What an entry about a payout means. The movements tell confirmations from payouts that were given up.
fn of_batch(entry: &Entry, batch: &Batch, movements: &[Movement]) -> Vec<Line> {
    let paid = |movement: &Movement| match (movement.kind, movement.delivery) {
        (MovementKind::Payout | MovementKind::PayoutReversed, Some(delivery)) => Some(Line::Payout {
            account: movement.account,
            batch: batch.id,
            delivery,
            sat: movement.sat.abs(),
            reversed: movement.kind == MovementKind::PayoutReversed,
        }),
        _ => None,
    };
    let lines: Vec<_> = movements.iter().filter_map(paid).collect();
    if entry.kind == EntryKind::Confirmed || !lines.is_empty() {
        return lines;
    }
    let returned = entry.kind == EntryKind::Reversed;
    let outputs = batch.outputs.iter().filter(|output| output.fee > Amount::ZERO);
    let fee = |output: &crate::payout::PaidOutput| Line::NetworkFee {
        account: output.due.account,
        batch: batch.id,
        sat: sat(output.fee),
        returned,
    };
    outputs.map(fee).collect()
}

fn block_of(entry: &Entry) -> Option<BlockHash> {
    match entry.kind {
        EntryKind::BlockFound
        | EntryKind::Matured
        | EntryKind::Unmatured
        | EntryKind::Orphaned
        | EntryKind::Reconnected => entry.key.split(':').next().and_then(|hash| hash.parse().ok()),
        _ => None,
    }
}

fn named_block(entry: &Entry) -> Result<BlockHash, BookkeepingError> {
    block_of(entry).ok_or_else(|| BookkeepingError::Key { entry: entry.seq, key: entry.key.clone() })
}

/// No amount of coin is near the limit of 63 bits.
pub(super) fn sat(amount: Amount) -> i64 {
    i64::try_from(amount.to_sat()).unwrap_or(i64::MAX)
}
