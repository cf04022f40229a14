//! Tables as CSV: RFC 4180, UTF-8 with a byte order mark, lines ended by CR LF, always with a header.
//!
//! Owns how cells are written, and that a table's header, cells and description come from one list of columns. The mark
//! is there because spreadsheets take a file without it for one in the computer's old encoding, which spoils names.
//!
//! A text that a spreadsheet could take for a formula is defused with an apostrophe before it (see [`defused`]). Which
//! cells are texts is said by their type and never guessed: an amount below zero is a number and stays `-1`.

use std::{
    borrow::{Borrow, Cow},
    io::Write,
};

use csv::{QuoteStyle, Terminator, WriterBuilder};

use super::{
    ReportError, figure,
    model::{BlockRef, Currency, Fx, Lot, ReportHead, Valuation, Value},
};

/// How many lots a cell tells at most. Spreadsheets cut a cell after 32,767 characters, and a lot takes about a
/// hundred.
pub const LOTS_IN_CELL: usize = 200;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// What a cell says in the column of the value if there is none.
pub const UNVALUED: &str = "UNVALUED";

/// One cell. The type decides how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Empty,
    /// A text, perhaps written by others.
    Text(String),
    /// A whole number of our own.
    Integer(i128),
    /// A decimal number of our own.
    Decimal(String),
}

impl Cell {
    /// Returns a text, or an empty cell.
    pub fn text(text: &str) -> Self {
        if text.is_empty() { Self::Empty } else { Self::Text(text.to_owned()) }
    }

    /// Returns a whole number.
    pub fn integer(number: impl Into<i128>) -> Self {
        Self::Integer(number.into())
    }

    /// Returns satoshis as bitcoins.
    pub fn btc(sat: impl Into<i128>) -> Self {
        Self::Decimal(figure::btc(sat))
    }

    /// Returns an amount of money.
    pub fn money(minor: impl Into<i128>, currency: &Currency) -> Self {
        Self::Decimal(figure::decimal(minor, currency.decimals))
    }

    /// Returns a number that came as text, or an empty cell.
    ///
    /// # Errors
    ///
    /// If it is no plain decimal number.
    pub fn number(text: &str) -> Result<Self, ReportError> {
        match text {
            "" => Ok(Self::Empty),
            text if figure::is_decimal(text) => Ok(Self::Decimal(text.to_owned())),
            text => Err(ReportError::Decimal(text.to_owned())),
        }
    }

    /// Returns a time in UTC.
    ///
    /// # Errors
    ///
    /// If it is out of range.
    pub fn utc(ms: i64) -> Result<Self, ReportError> {
        figure::utc(ms).map(Self::Text)
    }

    /// Returns a time in the profile's zone.
    ///
    /// # Errors
    ///
    /// If it is out of range.
    pub fn local(ms: i64, head: &ReportHead) -> Result<Self, ReportError> {
        figure::local(ms, &head.zone).map(Self::Text)
    }

    /// Returns texts, with ` | ` between them.
    pub fn list(texts: &[String]) -> Self {
        Self::text(&texts.join(" | "))
    }

    /// Returns lots as `coinbase txid:vout@block hash=satoshis`, with `;` between them, in the given order. After
    /// [`LOTS_IN_CELL`] of them it says how many more there are.
    pub fn lots(lots: &[Lot]) -> Self {
        let told = lots.iter().take(LOTS_IN_CELL);
        let mut texts: Vec<String> =
            told.map(|lot| format!("{}@{}={}", lot.coinbase, lot.block_hash, lot.amount_sat)).collect();
        if lots.len() > LOTS_IN_CELL {
            texts.push(format!("{} more", lots.len() - LOTS_IN_CELL));
        }
        Self::text(&texts.join(";"))
    }

    fn written(&self) -> Cow<'_, str> {
        match self {
            Self::Empty => Cow::Borrowed(""),
            Self::Text(text) => defused(text),
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Decimal(number) => Cow::Borrowed(number),
        }
    }
}

/// A column: its name, what it means, and where its cells come from.
pub struct Column<R> {
    /// The name in the header.
    pub name: &'static str,
    /// The unit or form of its cells.
    pub unit: &'static str,
    /// What it says.
    pub meaning: &'static str,
    /// Makes the cell of a row.
    pub cell: fn(&R, &ReportHead) -> Result<Cell, ReportError>,
}

/// A kind of table.
pub struct Table<R: 'static> {
    /// The file's name, with its variable parts in angle brackets.
    pub file: &'static str,
    /// What a line of it is.
    pub meaning: &'static str,
    /// The columns, in groups.
    pub columns: &'static [&'static [Column<R>]],
}

impl<R> Table<R> {
    /// Writes the header and one line for each row; rows are taken one by one, so that they need not all be in memory.
    ///
    /// # Errors
    ///
    /// If a row has something that cannot be told, or writing fails.
    pub fn write<B: Borrow<R>>(
        &self,
        head: &ReportHead,
        rows: impl IntoIterator<Item = B>,
        out: &mut dyn Write,
    ) -> Result<(), ReportError> {
        out.write_all(BYTE_ORDER_MARK)?;
        let mut writer =
            WriterBuilder::new().terminator(Terminator::CRLF).quote_style(QuoteStyle::Necessary).from_writer(out);
        writer.write_record(self.columns().map(|column| column.name))?;
        for row in rows {
            for column in self.columns() {
                writer.write_field((column.cell)(row.borrow(), head)?.written().as_bytes())?;
            }
            writer.write_record(None::<&[u8]>)?;
        }
        writer.flush()?;
        Ok(())
    }

    /// Returns the columns in order.
    pub fn columns(&self) -> impl Iterator<Item = &'static Column<R>> {
        self.columns.iter().flat_map(|group| group.iter())
    }
}

/// Returns a column.
pub(super) const fn column<R>(
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
    cell: fn(&R, &ReportHead) -> Result<Cell, ReportError>,
) -> Column<R> {
    Column { name, unit, meaning, cell }
}

/// A row with a value.
pub(super) trait Valued: Sized + 'static {
    /// The columns that tell where a value comes from, and the value itself.
    const VALUATION: [Column<Self>; 13] = [
        column("valuation_policy", "text", "The profile's rule by which the value was found", |row: &Self, _| {
            Ok(of(row, |value| Cell::text(&value.policy)))
        }),
        column("venue", "text", "Where the price was made", |row: &Self, _| {
            Ok(of(row, |value| Cell::text(&value.venue)))
        }),
        column("pair", "text", "What the price is of, and in which currency", |row: &Self, _| {
            Ok(of(row, |value| Cell::text(&value.pair)))
        }),
        column("price_basis", "text", "What kind of price: close, spot or vwap", |row: &Self, _| {
            Ok(of(row, |value| Cell::text(&value.basis)))
        }),
        column("price", "decimal", "The price of one bitcoin, in the second currency of the pair", |row: &Self, _| {
            value(row).map_or(Ok(Cell::Empty), |value| Cell::number(&value.price))
        }),
        column("price_time_utc", "RFC 3339", "The time of the price", |row: &Self, _| {
            value(row).map_or(Ok(Cell::Empty), |value| Cell::utc(value.price_at_ms))
        }),
        column("fx_source", "text", "Who published the currency rate; empty if none was needed", |row: &Self, _| {
            Ok(fx(row).map_or(Cell::Empty, |fx| Cell::text(&fx.source)))
        }),
        column("fx_rate", "decimal", "The currency rate that the price was multiplied with", |row: &Self, _| {
            fx(row).map_or(Ok(Cell::Empty), |fx| Cell::number(&fx.rate))
        }),
        column("fx_date", "YYYY-MM-DD", "The day of the currency rate", |row: &Self, _| {
            Ok(fx(row).map_or(Cell::Empty, |fx| Cell::text(&fx.date)))
        }),
        column("currency", "ISO 4217", "The currency of the value", |row: &Self, _| {
            Ok(of(row, |value| Cell::text(&value.currency.code)))
        }),
        column("value", "decimal, or UNVALUED", "What the amount was worth, rounded once", |row: &Self, _| {
            let unvalued = || if row.can_be_valued() { Cell::text(UNVALUED) } else { Cell::Empty };
            Ok(value(row).map_or_else(unvalued, |value| Cell::money(value.minor, &value.currency)))
        }),
        column(
            "value_movement",
            "decimal",
            "The value with the sign of the movement: this column sums up",
            |row: &Self, _| {
                let movement = value(row).and_then(|value| Some((row.movement_minor(value)?, value)));
                Ok(movement.map_or(Cell::Empty, |(minor, value)| Cell::money(minor, &value.currency)))
            },
        ),
        column("price_file_sha256", "hex", "The SHA-256 of the file that the price was read from", |row: &Self, _| {
            Ok(of(row, |value| Cell::text(&value.source_sha256)))
        }),
    ];

    /// Returns what the row's amount was worth.
    fn valuation(&self) -> &Valuation;

    /// Returns whether the row is one that has a value, if only a price is known.
    fn can_be_valued(&self) -> bool {
        true
    }

    /// Returns what the row moves in minor units, given what its amount was worth; nothing if that is unknown.
    fn movement_minor(&self, value: &Value) -> Option<i128>;
}

fn value<R: Valued>(row: &R) -> Option<&Value> {
    match row.valuation() {
        Valuation::Unvalued => None,
        Valuation::Valued(value) => Some(value),
    }
}

fn of<R: Valued>(row: &R, cell: fn(&Value) -> Cell) -> Cell {
    value(row).map_or(Cell::Empty, cell)
}

fn fx<R: Valued>(row: &R) -> Option<&Fx> {
    value(row).and_then(|value| value.fx.as_ref())
}

/// Returns a text with an apostrophe wherever a spreadsheet would begin a cell and find a formula there.
///
/// A cell begins at the start of the text, and after a tab, a line end or a semicolon, because spreadsheets of some
/// countries split at these whatever the quotes say; white space and invisible marks do not count as its beginning. It
/// is a formula if it then goes on with `=`, `+`, `-`, `@`, their full-width forms, a tab or a line end (OWASP, "CSV
/// Injection"). An apostrophe that stands there already is doubled, so that [`restored`] gets every text back.
pub fn defused(text: &str) -> Cow<'_, str> {
    let mut written = String::new();
    let mut copied = 0;
    let mut at_start = true;
    for (at, c) in text.char_indices() {
        if at_start && is_dangerous(c) {
            written.push_str(&text[copied..at]);
            written.push('\'');
            copied = at;
        }
        at_start = begins_cell(c) || (at_start && is_skipped(c));
    }
    if copied == 0 && written.is_empty() {
        return Cow::Borrowed(text);
    }
    written.push_str(&text[copied..]);
    Cow::Owned(written)
}

/// Returns the text that [`defused`] was given.
pub fn restored(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    let mut at_start = true;
    let mut chars = cell.chars();
    while let Some(mut c) = chars.next() {
        if at_start && c == '\'' {
            // Only before another character was one added.
            match chars.next() {
                Some(next) => c = next,
                None => break,
            }
        }
        text.push(c);
        at_start = begins_cell(c) || (at_start && is_skipped(c));
    }
    text
}

fn is_dangerous(c: char) -> bool {
    matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠' | '\'')
}

fn begins_cell(c: char) -> bool {
    matches!(c, ';' | '\t' | '\r' | '\n')
}

/// Whether programs may drop a character before they look at what a cell is: white space, controls, and the invisible
/// marks for joining and for the direction of text.
fn is_skipped(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Returns the cell of a block's height.
pub(super) fn height(block: &BlockRef) -> Cell {
    Cell::integer(block.height)
}

#[cfg(test)]
mod tests;
