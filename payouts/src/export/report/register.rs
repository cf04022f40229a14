//! `register_<period>.csv` and `register_lots_<period>.csv`: each row of the register in a period, and what its coin
//! was.

use std::{borrow::Borrow, io::Write};

use super::{
    ReportError, file_name,
    model::{Basis, Lot, RecordEvent, RegisterRow, ReportHead, Valuation, Value},
    table::{Cell, Column, Table, Valued, column, height},
};

/// The table of rows. Originals and what takes them back are both lines of it; the columns of movements sum up.
pub static REGISTER: Table<RegisterRow> = Table {
    file: "register_<period>.csv",
    meaning: "One line for each row of the register: an output delivered, reversed or corrected.",
    columns: &[ROW, PARTIES, &RegisterRow::VALUATION, EVIDENCE],
};

/// The table of lots.
pub static REGISTER_LOTS: Table<LotLine> = Table {
    file: "register_lots_<period>.csv",
    meaning: "One line for each lot of each row of the register.",
    columns: &[LOTS],
};

const ROW: &[Column<RegisterRow>] = &[
    column(
        "sequence",
        "number",
        "The row's place in the register, without gaps; of a correction, its place in the journal",
        |row, _| Ok(Cell::integer(row.seq)),
    ),
    column("event", "text", "What the row says of the output: DELIVERED, REVERSED or CORRECTED", |row, _| {
        Ok(Cell::text(row.event.as_str()))
    }),
    column(
        "state",
        "text",
        "The state of the output's record, up to where the records were read: SETTLED, DECLARED, CLOSED, REVERSED or \
         CORRECTED; empty if a step on its way is not on record",
        |row, _| Ok(Cell::text(&row.state)),
    ),
    column("original_sequence", "number", "The earlier row that is reversed or corrected", |row, _| {
        Ok(row.event.original_seq().map_or(Cell::Empty, Cell::integer))
    }),
    column("txid", "hex", "The transaction that paid", |row, _| Ok(Cell::text(&row.txid))),
    column("vout", "number", "The output's place in the transaction", |row, _| Ok(Cell::integer(row.vout))),
    column("block_hash", "hex", "The block that the output is in, or was in before it was reversed", |row, _| {
        Ok(Cell::text(&row.block.hash))
    }),
    column("block_height", "number", "The height of that block", |row, _| Ok(height(&row.block))),
    column("time_utc", "RFC 3339", "When it happened, in UTC", |row, _| Cell::utc(row.at_ms)),
    column("time_local", "RFC 3339", "The same time in the profile's zone, which decides the period", |row, head| {
        Cell::local(row.at_ms, head)
    }),
];

const PARTIES: &[Column<RegisterRow>] = &[
    column("account", "number", "The miner's account", |row, _| Ok(Cell::integer(row.account))),
    column("party", "text", "The receiver's id among the parties", |row, _| Ok(Cell::text(&row.party))),
    column("address", "text", "The receiver's address", |row, _| Ok(Cell::text(&row.address))),
    column("script", "hex", "The receiver's script", |row, _| Ok(Cell::text(&row.script))),
    column("amount_sat", "satoshi", "The output's amount", |row, _| Ok(Cell::integer(row.amount_sat))),
    column("amount_btc", "bitcoin, 8 decimals", "The output's amount", |row, _| Ok(Cell::btc(row.amount_sat))),
    column(
        "movement_sat",
        "satoshi",
        "What the row moves out, negative if it comes back: this column sums up",
        |row, _| Ok(Cell::Integer(row.movement_sat())),
    ),
    column("movement_btc", "bitcoin, 8 decimals", "The same in bitcoins", |row, _| Ok(Cell::btc(row.movement_sat()))),
    column("basis", "text", "Why coin moved: receipt, service to a non-resident, sale", |row, _| {
        Ok(Cell::text(row.basis.as_str()))
    }),
    column("sender_residency", "ISO 3166-1 alpha-2", "The sender's country", |row, _| {
        Ok(Cell::text(&row.sender_residency))
    }),
    column("receiver_residency", "ISO 3166-1 alpha-2", "The receiver's country", |row, _| {
        Ok(Cell::text(&row.receiver_residency))
    }),
    column("lot_count", "number", "How many lots the amount came from", |row, _| {
        Ok(Cell::Integer(row.lots.len() as i128))
    }),
    column(
        "lots",
        "txid:vout@block=satoshi;...",
        "The lots; those that do not fit are in the table of lots",
        |row, _| Ok(Cell::lots(&row.lots)),
    ),
];

const EVIDENCE: &[Column<RegisterRow>] = &[
    column("screenings", "text | text", "The ids of the screenings that let it go", |row, _| {
        Ok(Cell::list(&row.screenings))
    }),
    column("row_hash", "hex", "The row's hash, which covers the row before it, in register or journal", |row, _| {
        Ok(Cell::text(&row.hash))
    }),
];

const LOTS: &[Column<LotLine>] = &[
    column("sequence", "number", "The row of the register", |line, _| Ok(Cell::integer(line.seq))),
    column("event", "text", "What that row says: DELIVERED, REVERSED or CORRECTED", |line, _| {
        Ok(Cell::text(line.event.as_str()))
    }),
    column(
        "state",
        "text",
        "The lot's state, up to where the records were read: PROVISIONAL, PAYABLE, PAID or REVERSED",
        |line, _| Ok(Cell::text(&line.lot.state)),
    ),
    column("delivery", "txid:vout", "The output that paid", |line, _| Ok(Cell::text(&line.delivery))),
    column("account", "number", "The miner's account", |line, _| Ok(Cell::integer(line.account))),
    column("lot", "number", "The lot's place in its row: 1, 2, 3", |line, _| Ok(Cell::Integer(line.number as i128))),
    column("coinbase", "txid:vout", "The coinbase output that the lot is a piece of", |line, _| {
        Ok(Cell::text(&line.lot.coinbase))
    }),
    column("block_hash", "hex", "The block of that coinbase", |line, _| Ok(Cell::text(&line.lot.block_hash))),
    column("credit", "text", "The credit that it belongs to, if not that of its block", |line, _| {
        Ok(Cell::text(&line.lot.credit))
    }),
    column("amount_sat", "satoshi", "The lot's part of the output's amount", |line, _| {
        Ok(Cell::integer(line.lot.amount_sat))
    }),
    column("amount_btc", "bitcoin, 8 decimals", "The same in bitcoins", |line, _| Ok(Cell::btc(line.lot.amount_sat))),
    column(
        "movement_sat",
        "satoshi",
        "The amount with the row's sign: positive out, negative back, 0 if corrected",
        |line, _| Ok(Cell::Integer(line.movement_sat())),
    ),
];

impl RecordEvent {
    /// Returns the text form that reports use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "DELIVERED",
            Self::Reversed { .. } => "REVERSED",
            Self::Corrected { .. } => "CORRECTED",
        }
    }

    /// Returns the row that this one takes back or corrects.
    pub const fn original_seq(self) -> Option<i64> {
        match self {
            Self::Delivered => None,
            Self::Reversed { original_seq } | Self::Corrected { original_seq, .. } => Some(original_seq),
        }
    }
}

impl RegisterRow {
    /// Tells whether it is about coin that was sold.
    pub fn is_sale(&self) -> bool {
        matches!(self.basis, Basis::SaleToNonResident | Basis::SaleToResident)
    }

    /// Returns what the row moves out, in satoshis; negative if it comes back.
    pub fn movement_sat(&self) -> i128 {
        match self.event {
            RecordEvent::Delivered => self.amount_sat.into(),
            RecordEvent::Reversed { .. } => -i128::from(self.amount_sat),
            RecordEvent::Corrected { difference_sat, .. } => difference_sat.into(),
        }
    }
}

impl Valued for RegisterRow {
    fn valuation(&self) -> &Valuation {
        &self.valuation
    }

    fn movement_minor(&self, value: &Value) -> Option<i128> {
        match self.event {
            RecordEvent::Delivered => Some(value.minor.into()),
            RecordEvent::Reversed { .. } => Some(-i128::from(value.minor)),
            RecordEvent::Corrected { difference_minor, .. } => difference_minor.map(i128::from),
        }
    }
}

/// A line of the table of lots.
#[derive(Clone, Debug)]
pub struct LotLine {
    seq: i64,
    event: RecordEvent,
    delivery: String,
    account: i64,
    number: usize,
    lot: Lot,
}

impl LotLine {
    fn all(row: &RegisterRow) -> Vec<Self> {
        let line = |(lot, number): (&Lot, usize)| Self {
            seq: row.seq,
            event: row.event,
            delivery: format!("{}:{}", row.txid, row.vout),
            account: row.account,
            number,
            lot: lot.clone(),
        };
        row.lots.iter().zip(1..).map(line).collect()
    }

    fn movement_sat(&self) -> i128 {
        match self.event {
            RecordEvent::Delivered => self.lot.amount_sat.into(),
            RecordEvent::Reversed { .. } => -i128::from(self.lot.amount_sat),
            // A correction says how much a row was off, not which lots.
            RecordEvent::Corrected { .. } => 0,
        }
    }
}

/// Returns the name of the register's file.
pub fn register_file(head: &ReportHead) -> String {
    format!("register_{}.csv", file_name::period(&head.period.label))
}

/// Writes the register, in the order of the rows.
///
/// # Errors
///
/// If a row has something that cannot be told, or writing fails.
pub fn write_register<B: Borrow<RegisterRow>>(
    head: &ReportHead,
    rows: impl IntoIterator<Item = B>,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    REGISTER.write(head, rows, out)
}

/// Returns the name of the lots' file.
pub fn register_lots_file(head: &ReportHead) -> String {
    format!("register_lots_{}.csv", file_name::period(&head.period.label))
}

/// Writes the lots of the register, in the order of the rows.
///
/// # Errors
///
/// If writing fails.
pub fn write_register_lots<B: Borrow<RegisterRow>>(
    head: &ReportHead,
    rows: impl IntoIterator<Item = B>,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    REGISTER_LOTS.write(head, rows.into_iter().flat_map(|row| LotLine::all(row.borrow())), out)
}

#[cfg(test)]
mod tests;
