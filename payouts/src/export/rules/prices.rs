//! The book of prices and central bank rates: what files say, each value with the file that it stands in.
//!
//! Owns what is a conflict and what is a revision. Files are read by [`price_files`](super::price_files); which value
//! counts for a receipt is decided by [`valuation`](super::valuation).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroU32,
    ops::Bound,
    str::FromStr,
};

use jiff::{Timestamp, civil::Date};

use super::{
    currency::Currency,
    price_files::{PriceFile, RateFile},
    rate::Rate,
    source_file::FileHash,
};

/// The most values that a book holds: a price a minute of five venues for a year is 2.6 million.
pub const MAX_BOOK_VALUES: usize = 4_000_000;

/// The longest name of a venue or bank.
pub const MAX_NAME_BYTES: usize = 64;

/// The name that an operator gives to a venue or a central bank: lower-case letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceName(String);

impl SourceName {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a source: 1 to {MAX_NAME_BYTES} of a-z, 0-9, '.', '_' and '-' are expected")]
pub struct BadName(String);

impl FromStr for SourceName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName(text.chars().take(MAX_NAME_BYTES).collect()))
        }
    }
}

impl TryFrom<String> for SourceName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<SourceName> for String {
    fn from(name: SourceName) -> Self {
        name.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What is priced in what: one bitcoin in a currency. Its text form is `BTC/USD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pair {
    /// The currency of the price.
    pub quote: Currency,
}

/// A text that is no pair.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pair: \"BTC/\" and a currency of ISO 4217 are expected, such as \"BTC/USD\"")]
pub struct BadPair(String);

impl FromStr for Pair {
    type Err = BadPair;

    fn from_str(text: &str) -> Result<Self, BadPair> {
        let quote = text.strip_prefix("BTC/").and_then(|quote| quote.parse().ok());
        quote.map(|quote| Self { quote }).ok_or_else(|| BadPair(text.chars().take(32).collect()))
    }
}

impl TryFrom<String> for Pair {
    type Error = BadPair;

    fn try_from(text: String) -> Result<Self, BadPair> {
        text.parse()
    }
}

impl From<Pair> for String {
    fn from(pair: Pair) -> Self {
        pair.to_string()
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BTC/{}", self.quote)
    }
}

/// What kind of price a price is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceBasis {
    /// The last price of a day. Its time is when the day ended.
    Close,
    /// The price at a moment.
    Spot,
    /// The mean of a day's trades, weighted by volume. Its time is when the day ended.
    Vwap,
}

impl PriceBasis {
    const ALL: [(Self, &'static str); 3] = [(Self::Close, "close"), (Self::Spot, "spot"), (Self::Vwap, "vwap")];
}

impl fmt::Display for PriceBasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, text) = Self::ALL.iter().find(|(basis, _)| basis == self).expect("ALL has every basis");
        f.pad(text)
    }
}

/// A text that is no kind of price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown price basis {0:?}: \"close\", \"spot\" or \"vwap\" is expected")]
pub struct UnknownBasis(String);

impl FromStr for PriceBasis {
    type Err = UnknownBasis;

    fn from_str(text: &str) -> Result<Self, UnknownBasis> {
        let known = Self::ALL.iter().find(|(_, known)| *known == text);
        known.map(|(basis, _)| *basis).ok_or_else(|| UnknownBasis(text.chars().take(32).collect()))
    }
}

/// Prices of one kind, of one venue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// The venue.
    pub venue: SourceName,
    /// What is priced in what.
    pub pair: Pair,
    /// The kind of price.
    pub basis: PriceBasis,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.pair, self.basis, self.venue)
    }
}

/// Rates between two currencies, of one central bank.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateSeries {
    /// The bank.
    pub source: SourceName,
    /// The currency that is quoted.
    pub base: Currency,
    /// The currency that the rate is in.
    pub quote: Currency,
}

impl RateSeries {
    /// Returns the series of the opposite direction.
    pub fn inverse(&self) -> Self {
        Self { source: self.source.clone(), base: self.quote, quote: self.base }
    }
}

impl fmt::Display for RateSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} of {}", self.base, self.quote, self.source)
    }
}

/// A published rate of a central bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankRate {
    /// The rate as published.
    pub rate: Rate,
    /// How many units of the base currency it is for.
    pub nominal: NonZeroU32,
}

impl fmt::Display for BankRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.rate, self.nominal)
    }
}

/// A value and the file that it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Which revision of the value it is: 0 for the first.
    pub revision: u32,
    /// The SHA-256 of the file.
    pub file: FileHash,
}

/// Why a file cannot join a book. The book stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Another file gives another value, and neither says that it revises the other.
    #[error(transparent)]
    Conflict(Box<Conflict>),
    /// The book would hold more than [`MAX_BOOK_VALUES`].
    #[error("{0} prices and rates are more than {MAX_BOOK_VALUES}")]
    TooMany(usize),
}

/// Two files that give different values for the same revision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}, revision {revision}: file {held_file} says {held}, file {added_file} says {added}; \
     a corrected row needs a higher revision"
)]
pub struct Conflict {
    /// What the value is of.
    pub what: String,
    /// The revision that both claim to be.
    pub revision: u32,
    /// The value in the book.
    pub held: String,
    /// Its file.
    pub held_file: FileHash,
    /// The value that was to be added.
    pub added: String,
    /// Its file.
    pub added_file: FileHash,
}

/// All prices and rates that were loaded. In which order files join makes no difference.
///
/// A value is replaced only by a row with a higher `revision`. All revisions are kept; the highest counts.
#[derive(Clone, Debug, Default)]
pub struct PriceBook {
    prices: BTreeMap<Series, BTreeMap<Timestamp, Revisions<Rate>>>,
    rates: BTreeMap<RateSeries, BTreeMap<Date, Revisions<BankRate>>>,
    files: BTreeSet<FileHash>,
    values: usize,
}

impl PriceBook {
    /// Adds the prices of a file. A file that was added before changes nothing.
    ///
    /// # Errors
    ///
    /// If another file gives another value for the same revision of a price, or the book is full.
    pub fn add_prices(&mut self, file: &PriceFile) -> Result<(), MergeError> {
        if self.files.contains(&file.hash()) {
            return Ok(());
        }
        let values = self.room_for(file.rows().len())?;
        for row in file.rows() {
            let held = self.prices.get(&row.series).and_then(|series| series.get(&row.at));
            let what = || format!("{} on {}", row.series, row.at);
            check(held, row.revision, &row.price, Rate::is_worth, file.hash(), what)?;
        }
        for row in file.rows() {
            let revisions = self.prices.entry(row.series.clone()).or_default().entry(row.at).or_default();
            revisions.add(row.revision, row.price.clone(), file.hash());
        }
        self.added(file.hash(), values);
        Ok(())
    }

    /// Adds the rates of a file. A file that was added before changes nothing.
    ///
    /// # Errors
    ///
    /// If another file gives another value for the same revision of a rate, or the book is full.
    pub fn add_rates(&mut self, file: &RateFile) -> Result<(), MergeError> {
        if self.files.contains(&file.hash()) {
            return Ok(());
        }
        let values = self.room_for(file.rows().len())?;
        let same = |held: &BankRate, added: &BankRate| held.rate.is_worth(&added.rate) && held.nominal == added.nominal;
        for row in file.rows() {
            let held = self.rates.get(&row.series).and_then(|series| series.get(&row.date));
            let what = || format!("{} on {}", row.series, row.date);
            check(held, row.revision, &row.rate, same, file.hash(), what)?;
        }
        for row in file.rows() {
            let revisions = self.rates.entry(row.series.clone()).or_default().entry(row.date).or_default();
            revisions.add(row.revision, row.rate.clone(), file.hash());
        }
        self.added(file.hash(), values);
        Ok(())
    }

    /// Returns the prices of a series within bounds, oldest first.
    pub fn prices(
        &self,
        series: &Series,
        times: (Bound<Timestamp>, Bound<Timestamp>),
    ) -> impl DoubleEndedIterator<Item = (Timestamp, Sourced<&Rate>)> + use<'_> {
        let series = self.prices.get(series).filter(|_| is_ordered(times));
        series.into_iter().flat_map(move |series| series.range(times)).map(|(at, revisions)| (*at, revisions.newest()))
    }

    /// Returns the rate of a series for a date.
    pub fn rate(&self, series: &RateSeries, date: Date) -> Option<Sourced<&BankRate>> {
        self.rates.get(series)?.get(&date).map(Revisions::newest)
    }

    /// Returns the last date for which a series has a rate.
    pub fn last_rate_date(&self, series: &RateSeries) -> Option<Date> {
        self.rates.get(series)?.last_key_value().map(|(date, _)| *date)
    }

    /// Returns the hashes of all files that were added.
    pub fn files(&self) -> impl Iterator<Item = FileHash> {
        self.files.iter().copied()
    }

    fn room_for(&self, rows: usize) -> Result<usize, MergeError> {
        // Rows that repeat what is there are counted too: the bound is on what was taken in.
        let values = self.values.saturating_add(rows);
        if values > MAX_BOOK_VALUES { Err(MergeError::TooMany(values)) } else { Ok(values) }
    }

    fn added(&mut self, file: FileHash, values: usize) {
        self.files.insert(file);
        self.values = values;
    }
}

/// All revisions of a value; never empty once it stands in a book.
#[derive(Clone, Debug)]
struct Revisions<T>(BTreeMap<u32, (T, FileHash)>);

impl<T> Default for Revisions<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Revisions<T> {
    fn newest(&self) -> Sourced<&T> {
        let (revision, (value, file)) = self.0.last_key_value().expect("a value is added where revisions are made");
        Sourced { value, revision: *revision, file: *file }
    }

    /// Of files that say the same, the one with the smallest hash is named, so that their order does not matter.
    fn add(&mut self, revision: u32, value: T, file: FileHash) {
        match self.0.get(&revision) {
            Some((_, held)) if *held <= file => {}
            Some(_) | None => drop(self.0.insert(revision, (value, file))),
        }
    }
}

fn check<T: fmt::Display>(
    held: Option<&Revisions<T>>,
    revision: u32,
    added: &T,
    same: impl Fn(&T, &T) -> bool,
    added_file: FileHash,
    what: impl Fn() -> String,
) -> Result<(), MergeError> {
    match held.and_then(|revisions| revisions.0.get(&revision)) {
        Some((held, held_file)) if !same(held, added) => Err(MergeError::Conflict(Box::new(Conflict {
            what: what(),
            revision,
            held: held.to_string(),
            held_file: *held_file,
            added: added.to_string(),
            added_file,
        }))),
        Some(_) | None => Ok(()),
    }
}

/// Tells whether bounds can be asked for: a map panics at bounds that end before they begin.
fn is_ordered(times: (Bound<Timestamp>, Bound<Timestamp>)) -> bool {
    match times {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Excluded(from), Bound::Excluded(to)) => from < to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from <= to,
    }
}

#[cfg(test)]
mod tests;
