//! Readers of the operator's files: prices of venues, and rates of central banks.
//!
//! Both are CSV (RFC 4180) in UTF-8 with a header; columns may stand in any order, no others may be there:
//!
//! - prices: `venue,pair,basis,time,price` and perhaps `revision`. `pair` is `BTC/USD`, `basis` is `close`, `spot` or
//!   `vwap`, `time` is RFC 3339 in UTC with up to three decimals, `2026-02-01T23:59:59Z`. For a close or a mean it is
//!   the end of what it covers, so that midnight belongs to the day before; for a spot price it is the moment.
//! - rates: `source,base,quote,date,rate` and perhaps `nominal` and `revision`. The rate is what `nominal` units of
//!   `base` (1 if absent or empty) cost in `quote`, on the date for which the bank set it.
//!
//! A file may hold one day or many, one venue or many. `revision` is 0 if absent or empty; a row that corrects an
//! earlier file has a higher one. A bad row refuses the whole file, so that no file is half in use.

use std::{collections::BTreeMap, io::Read, num::NonZeroU32, str::FromStr};

use csv::StringRecord;
use jiff::{Timestamp, civil::Date};

use super::{
    prices::{BankRate, RateSeries, Series},
    rate::Rate,
    source_file::{self, FileHash, ReadError},
};

/// The longest file: room for [`MAX_ROWS`] rows of the usual length.
pub const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The most rows of a file: a price a minute for a month is 44,640.
pub const MAX_ROWS: usize = 50_000;

/// The longest field of a row. The longest that means something is the name of a source.
pub const MAX_FIELD_BYTES: usize = 64;

const PRICE_COLUMNS: Columns = &[
    ("venue", Need::Required),
    ("pair", Need::Required),
    ("basis", Need::Required),
    ("time", Need::Required),
    ("price", Need::Required),
    ("revision", Need::Optional),
];

const RATE_COLUMNS: Columns = &[
    ("source", Need::Required),
    ("base", Need::Required),
    ("quote", Need::Required),
    ("date", Need::Required),
    ("rate", Need::Required),
    ("nominal", Need::Optional),
    ("revision", Need::Optional),
];

type Columns = &'static [(&'static str, Need)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
}

/// A file of prices, whole and without contradictions in itself.
#[derive(Clone, Debug)]
pub struct PriceFile {
    hash: FileHash,
    rows: Vec<PriceRow>,
}

/// A row of a file of prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRow {
    /// What the price is of.
    pub series: Series,
    /// Its time.
    pub at: Timestamp,
    /// The price of one bitcoin.
    pub price: Rate,
    /// Which revision it is.
    pub revision: u32,
}

/// A file of central bank rates, whole and without contradictions in itself.
#[derive(Clone, Debug)]
pub struct RateFile {
    hash: FileHash,
    rows: Vec<RateRow>,
}

/// A row of a file of rates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRow {
    /// What the rate is of.
    pub series: RateSeries,
    /// The date that it is for.
    pub date: Date,
    /// The rate.
    pub rate: BankRate,
    /// Which revision it is.
    pub revision: u32,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read, or is too long.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is no CSV, or not in UTF-8.
    #[error("the file is no CSV in UTF-8 whose rows are as long as its header")]
    Csv(#[from] csv::Error),
    /// Its header lacks a column.
    #[error("the header lacks the column {0:?}")]
    ColumnMissing(&'static str),
    /// Its header has a column that means nothing.
    #[error("the header has an unknown column {0:?}")]
    ColumnUnknown(String),
    /// Its header has a column twice.
    #[error("the header has the column {0:?} twice")]
    ColumnTwice(String),
    /// It has no rows: most likely a download that failed.
    #[error("the file has no rows")]
    Empty,
    /// It has too many rows.
    #[error("line {0}: a file has at most {MAX_ROWS} rows")]
    Rows(u64),
    /// A field says nothing that is understood.
    #[error("line {line}: {column} {value:?} is refused: {reason}")]
    Field {
        /// The line, from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// The field, cut to [`MAX_FIELD_BYTES`] characters.
        value: String,
        /// What is expected.
        reason: String,
    },
    /// Two rows are about the same.
    #[error("line {line} is about the same as line {first}")]
    Repeated {
        /// The second line, from 1.
        line: u64,
        /// The first line.
        first: u64,
    },
}

impl PriceFile {
    /// Reads a file of prices.
    ///
    /// # Errors
    ///
    /// Names the line of the first row that is not understood or repeats another one, or what is wrong with the whole.
    pub fn read(file: impl Read) -> Result<Self, FileError> {
        let mut seen = BTreeMap::new();
        let (rows, hash) = read_rows(file, PRICE_COLUMNS, |row| {
            let series = Series { venue: row.parsed("venue")?, pair: row.parsed("pair")?, basis: row.parsed("basis")? };
            let at = row.read("time", utc_time)?;
            let (price, revision) = (row.parsed("price")?, row.number("revision", 0)?);
            row.first(&mut seen, (series.clone(), at, revision))?;
            Ok(PriceRow { series, at, price, revision })
        })?;
        Ok(Self { hash, rows })
    }

    /// Returns the SHA-256 of its bytes.
    pub const fn hash(&self) -> FileHash {
        self.hash
    }

    /// Returns its rows, as they stand.
    pub fn rows(&self) -> &[PriceRow] {
        &self.rows
    }
}

impl RateFile {
    /// Reads a file of rates.
    ///
    /// # Errors
    ///
    /// Names the line of the first row that is not understood or repeats another one, or what is wrong with the whole.
    pub fn read(file: impl Read) -> Result<Self, FileError> {
        let mut seen = BTreeMap::new();
        let (rows, hash) = read_rows(file, RATE_COLUMNS, |row| {
            let series =
                RateSeries { source: row.parsed("source")?, base: row.parsed("base")?, quote: row.parsed("quote")? };
            if series.base == series.quote {
                return Err(row.refuse("quote", "the base is the same currency"));
            }
            let date = row.read("date", calendar_date)?;
            let rate = BankRate { rate: row.parsed("rate")?, nominal: row.number("nominal", NonZeroU32::MIN)? };
            let revision = row.number("revision", 0)?;
            row.first(&mut seen, (series.clone(), date, revision))?;
            Ok(RateRow { series, date, rate, revision })
        })?;
        Ok(Self { hash, rows })
    }

    /// Returns the SHA-256 of its bytes.
    pub const fn hash(&self) -> FileHash {
        self.hash
    }

    /// Returns its rows, as they stand.
    pub fn rows(&self) -> &[RateRow] {
        &self.rows
    }
}

/// A row that is being read.
struct Row<'a> {
    record: &'a StringRecord,
    places: &'a BTreeMap<&'static str, usize>,
    line: u64,
}

impl Row<'_> {
    /// Returns a field; an absent column is empty.
    fn text(&self, column: &'static str) -> &str {
        self.places.get(column).and_then(|place| self.record.get(*place)).unwrap_or("")
    }

    fn refuse(&self, column: &'static str, reason: impl ToString) -> FileError {
        let value = self.text(column).chars().take(MAX_FIELD_BYTES).collect();
        FileError::Field { line: self.line, column, value, reason: reason.to_string() }
    }

    fn read<T>(&self, column: &'static str, by: fn(&str) -> Result<T, &'static str>) -> Result<T, FileError> {
        by(self.text(column)).map_err(|reason| self.refuse(column, reason))
    }

    fn parsed<T: FromStr<Err: ToString>>(&self, column: &'static str) -> Result<T, FileError> {
        self.text(column).parse().map_err(|error: T::Err| self.refuse(column, error))
    }

    /// Returns a number written in digits alone, or the default for an empty field.
    fn number<T: FromStr>(&self, column: &'static str, default: T) -> Result<T, FileError> {
        let text = self.text(column);
        if text.is_empty() {
            return Ok(default);
        }
        let parsed = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        parsed.ok_or_else(|| self.refuse(column, "a whole number below 2^32 is expected"))
    }

    /// Notes what the row is about, which no other row of the file may be.
    fn first<K: Ord>(&self, seen: &mut BTreeMap<K, u64>, about: K) -> Result<(), FileError> {
        match seen.insert(about, self.line) {
            Some(first) => Err(FileError::Repeated { line: self.line, first }),
            None => Ok(()),
        }
    }
}

fn read_rows<T>(
    file: impl Read,
    columns: Columns,
    mut each: impl FnMut(&Row<'_>) -> Result<T, FileError>,
) -> Result<(Vec<T>, FileHash), FileError> {
    let (bytes, hash) = source_file::read(file, MAX_FILE_BYTES)?;
    let mut csv = csv::Reader::from_reader(&bytes[..]);
    let places = places(csv.headers()?, columns)?;
    let mut rows = Vec::new();
    let mut record = StringRecord::new();
    while csv.read_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        if rows.len() == MAX_ROWS {
            return Err(FileError::Rows(line));
        }
        let row = Row { record: &record, places: &places, line };
        if let Some(column) = places.keys().copied().find(|column| row.text(column).len() > MAX_FIELD_BYTES) {
            return Err(row.refuse(column, format!("a field has at most {MAX_FIELD_BYTES} bytes")));
        }
        rows.push(each(&row)?);
    }
    if rows.is_empty() { Err(FileError::Empty) } else { Ok((rows, hash)) }
}

/// Returns where each known column stands.
fn places(header: &StringRecord, columns: Columns) -> Result<BTreeMap<&'static str, usize>, FileError> {
    let mut places = BTreeMap::new();
    for (place, name) in header.iter().enumerate() {
        let cut = || name.chars().take(MAX_FIELD_BYTES).collect();
        let Some((known, _)) = columns.iter().find(|(known, _)| *known == name) else {
            return Err(FileError::ColumnUnknown(cut()));
        };
        if places.insert(*known, place).is_some() {
            return Err(FileError::ColumnTwice(cut()));
        }
    }
    match columns.iter().find(|(name, need)| *need == Need::Required && !places.contains_key(name)) {
        Some((name, _)) => Err(FileError::ColumnMissing(name)),
        None => Ok(places),
    }
}

/// Parses a time of RFC 3339 in UTC, to the millisecond. Other offsets, other spellings and leap seconds, which have no
/// time of their own here, are refused.
fn utc_time(text: &str) -> Result<Timestamp, &'static str> {
    const EXPECTED: &str = "a UTC time such as 2026-02-01T23:59:59Z is expected, with at most three decimals";
    /// The length of a time up to its seconds.
    const WHOLE: usize = "2026-02-01T23:59:59".len();
    let (Some(whole), Some(rest)) = (text.get(..WHOLE), text.get(WHOLE..)) else { return Err(EXPECTED) };
    let decimals = rest.strip_suffix('Z').ok_or(EXPECTED)?;
    let decimals_fit = match decimals.strip_prefix('.') {
        Some(digits) => (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => decimals.is_empty(),
    };
    let at: Timestamp = text.parse().map_err(|_| EXPECTED)?;
    // Printed again, it shows whether it was written in the one form that is taken.
    if decimals_fit && at.to_string().get(..WHOLE) == Some(whole) { Ok(at) } else { Err(EXPECTED) }
}

fn calendar_date(text: &str) -> Result<Date, &'static str> {
    let parsed: Option<Date> = text.parse().ok();
    parsed.filter(|date| date.to_string() == text).ok_or("a date such as 2026-02-01 is expected")
}

#[cfg(test)]
mod tests;
