//! The register of paid outputs: one record each, and rows that say what became of it. Append-only.
//!
//! Rows form a hash chain of their own. Each row also covers the hash of the ledger entry that it was booked with, so
//! the register cannot be re-written without the ledger, nor the ledger's past without the register.

use std::{collections::BTreeMap, fmt, str::FromStr};

use bitcoin::{Amount, OutPoint, ScriptBuf, SignedAmount};

use crate::{
    account::AccountId,
    export::{Lot, LotCredit},
    hash_chain::{Canonical, ChainHash},
    id::row_id,
    ledger::{Entry, EntryKind, EntrySeq, LedgerAccount},
    payout::ConfirmationBlock,
};

/// What the hash of a row begins with.
const ROW_DOMAIN: &str = "adit export row 1";

row_id! {
    /// A row's place in the register: 1, 2, 3 and so on without gaps.
    RowSeq
}

/// A paid output: coin that left the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRecord {
    /// The output that paid it; no two records have the same.
    pub delivery: OutPoint,
    /// How much was paid.
    pub amount: Amount,
    /// Who received it.
    pub account: AccountId,
    /// The receiver's address.
    pub address: String,
    /// The receiver's script.
    pub script_pubkey: ScriptBuf,
    /// The coinbases it came from; they sum to the amount.
    pub lots: Vec<Lot>,
}

/// What a row says of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// The output is in a block.
    Delivered,
    /// That block left the chain.
    Reversed,
}

impl RecordState {
    /// Returns the text form that stores and reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "DELIVERED",
            Self::Reversed => "REVERSED",
        }
    }
}

impl fmt::Display for RecordState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RecordState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        [Self::Delivered, Self::Reversed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// A text that names no state of a record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown record state {0:?}")]
pub struct UnknownState(String);

/// The last row of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterHead {
    /// The place of the last row; 0 for none.
    pub seq: RowSeq,
    /// Its hash.
    pub hash: ChainHash,
}

impl RegisterHead {
    /// The head of a register without rows.
    pub const EMPTY: Self = Self { seq: RowSeq::new(0), hash: ChainHash::ORIGIN };
}

/// One row: a record took a state, because of a ledger entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterRow {
    /// Its place.
    pub seq: RowSeq,
    /// What it is about.
    pub record: ExportRecord,
    /// The state that the record took.
    pub state: RecordState,
    /// The block in which the output is, or was.
    pub block: ConfirmationBlock,
    /// The ledger entry that was posted with it.
    pub entry: EntrySeq,
    /// The hash of that entry.
    pub entry_hash: ChainHash,
    /// The hash of the row before it.
    pub previous: ChainHash,
    /// Its hash.
    pub hash: ChainHash,
}

impl RegisterRow {
    /// Makes the row after `head`, booked with `entry`.
    pub fn seal(
        head: RegisterHead,
        record: ExportRecord,
        state: RecordState,
        block: ConfirmationBlock,
        entry: &Entry,
    ) -> Self {
        let mut row = Self {
            seq: RowSeq::new(head.seq.get() + 1),
            record,
            state,
            block,
            entry: entry.seq,
            entry_hash: entry.hash,
            previous: head.hash,
            hash: ChainHash::ORIGIN,
        };
        row.hash = row.covered();
        row
    }

    /// Returns the register's head once this row is its last.
    pub fn head(&self) -> RegisterHead {
        RegisterHead { seq: self.seq, hash: self.hash }
    }

    fn covered(&self) -> ChainHash {
        let record = &self.record;
        let sat = |amount: Amount| i64::try_from(amount.to_sat()).unwrap_or(i64::MAX);
        let bytes = Canonical::default()
            .number(self.seq.get())
            .display(record.delivery)
            .number(sat(record.amount))
            .number(record.account.get())
            .text(&record.address)
            .text(&record.script_pubkey.to_hex_string())
            .list(&record.lots, |bytes, lot| {
                let bytes = bytes.display(lot.coinbase).display(lot.block).number(sat(lot.amount));
                // A lot of a block has no more, as when there were no others. No output or state is written like this.
                match lot.credit {
                    LotCredit::Block => bytes,
                    LotCredit::Period { number, line } => bytes.text(&format!("period {number}:{line}")),
                    LotCredit::Fee => bytes.text("fee"),
                }
            })
            .text(self.state.as_str())
            .display(self.block.hash)
            .number(self.block.height.into())
            .number(self.block.time)
            .number(self.entry.get())
            .display(self.entry_hash);
        ChainHash::link(ROW_DOMAIN, self.previous, &bytes)
    }
}

/// Where a register is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterFault {
    /// A row is missing or out of order, or does not follow the one before.
    #[error("row {0} does not continue the chain")]
    Chain(RowSeq),
    /// A row's content is not what its hash covers.
    #[error("row {0} was changed after it was written")]
    Content(RowSeq),
    /// A record's lots do not sum to its amount.
    #[error("row {0}: the lots do not sum to the amount")]
    Lots(RowSeq),
    /// A record goes from a state to the same, or was reversed before it was delivered.
    #[error("row {0}: the state does not follow from the one before")]
    State(RowSeq),
    /// An entry of the ledger and the rows booked with it do not say the same.
    #[error("ledger entry {entry}: the ledger moved {ledger_sat} sat, the register {register_sat}")]
    Unreconciled {
        /// The entry.
        entry: EntrySeq,
        /// What the entry delivered (positive) or took back.
        ledger_sat: i64,
        /// What the rows delivered or took back.
        register_sat: i64,
    },
    /// A row names a ledger entry that is not there, or delivers nothing.
    #[error("row {0} names a ledger entry that does not exist or delivers nothing")]
    Entry(RowSeq),
}

/// Checks a whole register against the ledger: first all entries are noted, then all rows are checked.
#[derive(Debug)]
pub struct RegisterAudit {
    head: RegisterHead,
    delivered: BTreeMap<OutPoint, bool>,
    moved: BTreeMap<EntrySeq, Moved>,
}

/// What an entry delivered (positive) or took back, as ledger and register tell it.
#[derive(Debug)]
struct Moved {
    entry_hash: ChainHash,
    ledger_sat: i64,
    register_sat: i64,
}

impl Default for RegisterAudit {
    fn default() -> Self {
        Self { head: RegisterHead::EMPTY, delivered: BTreeMap::new(), moved: BTreeMap::new() }
    }
}

impl RegisterAudit {
    /// Notes what an entry of the ledger delivers or takes back.
    pub fn note(&mut self, entry: &Entry) {
        // A batch that is given up is reversed too, but it has delivered nothing.
        let takes_back = entry.corrects.is_some_and(|corrected| self.moved.contains_key(&corrected));
        if entry.kind != EntryKind::Confirmed && !(entry.kind == EntryKind::Reversed && takes_back) {
            return;
        }
        let reserved = entry.postings.iter().filter(|posting| matches!(posting.account, LedgerAccount::Reserved(_)));
        let ledger_sat = reserved.fold(0i64, |sum, posting| sum.saturating_add(posting.amount.to_sat()));
        self.moved.insert(entry.seq, Moved { entry_hash: entry.hash, ledger_sat, register_sat: 0 });
    }

    /// Checks the next row.
    ///
    /// # Errors
    ///
    /// Names the row if it is wrong.
    pub fn check(&mut self, row: &RegisterRow) -> Result<(), RegisterFault> {
        if row.seq.get() != self.head.seq.get() + 1 || row.previous != self.head.hash {
            return Err(RegisterFault::Chain(row.seq));
        }
        if row.covered() != row.hash {
            return Err(RegisterFault::Content(row.seq));
        }
        let lots: u128 = row.record.lots.iter().map(|lot| u128::from(lot.amount.to_sat())).sum();
        if lots != u128::from(row.record.amount.to_sat()) {
            return Err(RegisterFault::Lots(row.seq));
        }
        let delivered = row.state == RecordState::Delivered;
        if self.delivered.insert(row.record.delivery, delivered).unwrap_or(false) == delivered {
            return Err(RegisterFault::State(row.seq));
        }
        let sat = i64::try_from(row.record.amount.to_sat()).map_err(|_| RegisterFault::Content(row.seq))?;
        match self.moved.get_mut(&row.entry) {
            Some(moved) if moved.entry_hash == row.entry_hash => {
                moved.register_sat = moved.register_sat.saturating_add(if delivered { sat } else { -sat });
            }
            Some(_) | None => return Err(RegisterFault::Entry(row.seq)),
        }
        self.head = row.head();
        Ok(())
    }

    /// Compares both sides; returns the register's head and what was delivered in sum, less what was taken back.
    ///
    /// # Errors
    ///
    /// Names the first entry about which ledger and register differ.
    pub fn finish(self) -> Result<(RegisterHead, SignedAmount), RegisterFault> {
        let mut delivered = 0i64;
        for (entry, Moved { ledger_sat, register_sat, .. }) in self.moved {
            if ledger_sat != register_sat {
                return Err(RegisterFault::Unreconciled { entry, ledger_sat, register_sat });
            }
            delivered = delivered.saturating_add(register_sat);
        }
        Ok((self.head, SignedAmount::from_sat(delivered)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::{BlockHash, Txid, hashes::Hash};

    use super::*;
    use crate::{
        ledger::{Draft, Head},
        payout::BatchId,
    };

    fn entry(kind: EntryKind, head: Head, sat: u64) -> Entry {
        let amount = Amount::from_sat(sat);
        let lines = Draft::begin(kind, kind)
            .debit(LedgerAccount::Reserved(BatchId::new(1)), amount)
            .credit(LedgerAccount::InFlight(BatchId::new(1)), amount);
        let lines = if kind == EntryKind::Reversed { lines.reversed().corrects(head.seq) } else { lines };
        lines.balanced().unwrap().seal(head, 0)
    }

    fn record(vout: u32, sat: u64) -> ExportRecord {
        let lot = |id: u8, sat| {
            let coinbase = OutPoint::new(Txid::from_byte_array([id; 32]), 0);
            Lot::of_block(BlockHash::from_byte_array([id; 32]), coinbase, Amount::from_sat(sat))
        };
        ExportRecord {
            delivery: OutPoint::new(Txid::from_byte_array([9; 32]), vout),
            amount: Amount::from_sat(sat),
            account: AccountId::new(1),
            address: "bcrt1q".to_owned(),
            script_pubkey: ScriptBuf::new(),
            lots: vec![lot(1, 1), lot(2, sat - 1)],
        }
    }

    fn block() -> ConfirmationBlock {
        ConfirmationBlock { hash: BlockHash::from_byte_array([5; 32]), height: 7, time: 1_700_000_000 }
    }

    /// Two outputs delivered, then both reversed.
    fn register() -> (Vec<RegisterRow>, Vec<Entry>) {
        let confirmed = entry(EntryKind::Confirmed, Head::EMPTY, 300);
        let reversed = entry(EntryKind::Reversed, confirmed.head(), 300);
        let mut head = RegisterHead::EMPTY;
        let mut rows = Vec::new();
        for (state, entry) in [(RecordState::Delivered, &confirmed), (RecordState::Reversed, &reversed)] {
            for record in [record(0, 100), record(1, 200)] {
                let row = RegisterRow::seal(head, record, state, block(), entry);
                head = row.head();
                rows.push(row);
            }
        }
        (rows, vec![confirmed, reversed])
    }

    fn audit(rows: &[RegisterRow], entries: &[Entry]) -> Result<(RegisterHead, i64), RegisterFault> {
        let mut audit = RegisterAudit::default();
        entries.iter().for_each(|entry| audit.note(entry));
        rows.iter().try_for_each(|row| audit.check(row))?;
        audit.finish().map(|(head, delivered)| (head, delivered.to_sat()))
    }

    #[test]
    fn an_untouched_register_reconciles() {
        let (rows, entries) = register();
        assert_eq!(audit(&rows, &entries), Ok((rows[3].head(), 0)));
        assert_eq!(audit(&rows[..2], &entries[..1]), Ok((rows[1].head(), 300)));
    }

    #[test]
    fn an_edit_of_one_satoshi_is_named() {
        let (mut rows, entries) = register();
        rows[1].record.amount += Amount::ONE_SAT;
        assert_eq!(audit(&rows, &entries), Err(RegisterFault::Content(RowSeq::new(2))));
        rows[1].hash = rows[1].covered();
        assert_eq!(audit(&rows, &entries), Err(RegisterFault::Lots(RowSeq::new(2))));
        rows[1].record.lots[0].amount += Amount::ONE_SAT;
        rows[1].hash = rows[1].covered();
        assert_eq!(audit(&rows, &entries), Err(RegisterFault::Chain(RowSeq::new(3))));
    }

    #[test]
    fn a_missing_row_does_not_reconcile() {
        let (mut rows, entries) = register();
        rows.truncate(3);
        let fault = RegisterFault::Unreconciled { entry: EntrySeq::new(2), ledger_sat: -300, register_sat: -100 };
        assert_eq!(audit(&rows, &entries), Err(fault));
        let (rows, entries) = register();
        assert_eq!(audit(&rows, &entries[..1]), Err(RegisterFault::Entry(RowSeq::new(3))));
    }

    #[test]
    fn an_output_is_not_delivered_twice() {
        let (rows, entries) = register();
        let again = RegisterRow::seal(rows[0].head(), record(0, 100), RecordState::Delivered, block(), &entries[0]);
        assert_eq!(audit(&[rows[0].clone(), again], &entries), Err(RegisterFault::State(RowSeq::new(2))));
    }
}
