//! What receipts were worth: worked out from files of prices beside the pool, and put on record a page at a time, so that
//! nothing that the pool does waits for more than one.

use payouts::{
    export::{
        rules::{
            price_files::{FileError, PriceFile, RateFile},
            prices::{MergeError, PriceBook},
            profile::CountryProfile,
        },
        valued::{Kept, Valued, Valuing, ValuingError, ValuingOutcome},
    },
    store::Store,
};
use serde::Serialize;

use crate::operations::{Refusal, RefusalCode};

/// Most files of prices that are read for one request, and most files of rates.
const MAX_FILES: usize = 100;

/// Files of prices and rates, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTexts {
    /// CSV files with prices: `venue,pair,basis,time,price` and perhaps `revision`.
    pub prices: Vec<String>,
    /// CSV files with a central bank's rates: `source,base,quote,date,rate` and perhaps `nominal` and `revision`.
    pub rates: Vec<String>,
}

/// What valuing has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ValuesReport {
    /// The country profile, name and version.
    pub profile: String,
    /// How many receipts were valued for the first time.
    pub valued: u64,
    /// How many got another value, or a first one after they had none.
    pub revalued: u64,
    /// How many had the same value already.
    pub unchanged: u64,
    /// How many of those that were valued somebody else has put on record meanwhile.
    pub already: u64,
    /// Those that have no value, by what they lack.
    pub unvalued: Vec<UnvaluedReport>,
}

/// Receipts that have no value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UnvaluedReport {
    /// What they lack.
    pub because: String,
    /// How many.
    pub receipts: u64,
}

impl PriceTexts {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When one of them is none, or two say different things.
    pub(super) fn book(&self) -> Result<PriceBook, Refusal> {
        let invalid = |what: &str, place: usize, error: &dyn std::fmt::Display| {
            Refusal::new(RefusalCode::Invalid, format!("{what}[{place}]: {error}"))
        };
        if self.prices.is_empty() {
            return Err(Refusal::new(RefusalCode::Invalid, "prices: there is no file of them"));
        }
        for (what, files) in [("prices", &self.prices), ("rates", &self.rates)] {
            if files.len() > MAX_FILES {
                let reason = format!("{what}: {} files are more than {MAX_FILES}", files.len());
                return Err(Refusal::new(RefusalCode::Invalid, reason));
            }
        }
        let mut book = PriceBook::default();
        for (place, text) in self.prices.iter().enumerate() {
            let file = PriceFile::read(text.as_bytes()).map_err(|error: FileError| invalid("prices", place, &error))?;
            book.add_prices(&file).map_err(|error: MergeError| invalid("prices", place, &error))?;
        }
        for (place, text) in self.rates.iter().enumerate() {
            let file = RateFile::read(text.as_bytes()).map_err(|error: FileError| invalid("rates", place, &error))?;
            book.add_rates(&file).map_err(|error: MergeError| invalid("rates", place, &error))?;
        }
        Ok(book)
    }
}

/// Values all receipts by a profile and the prices of a book, and has `keep` put on record what is new.
///
/// # Errors
///
/// When the store cannot be read, something cannot be valued, or it is not kept. What is on record by then stays.
pub async fn value<E: From<ValuingError>>(
    store: &dyn Store,
    profile: &CountryProfile,
    book: &PriceBook,
    mut keep: impl AsyncFnMut(Vec<Valued>) -> Result<Kept, E>,
) -> Result<ValuesReport, E> {
    let mut valuing = Valuing::begin(store, profile, book).await?;
    let mut already = 0;
    loop {
        let page = valuing.next_page().await?;
        if page.is_empty() {
            let ValuingOutcome { valued, revalued, unchanged, unvalued } = valuing.finish();
            let unvalued = unvalued.into_iter().map(|(because, receipts)| UnvaluedReport { because, receipts });
            let (profile, unvalued) = (profile.id(), unvalued.collect());
            return Ok(ValuesReport { profile, valued, revalued, unchanged, already, unvalued });
        }
        already += keep(page).await?.already;
    }
}

impl From<ValuingError> for Refusal {
    fn from(error: ValuingError) -> Refusal {
        let code = match error {
            ValuingError::Store(error) => return error.into(),
            ValuingError::Books(error) => return error.into(),
            ValuingError::Keep(error) => return error.into(),
            ValuingError::Blank(_) => RefusalCode::Conflict,
            ValuingError::Value { .. } => RefusalCode::Invalid,
            ValuingError::Journal(_) => RefusalCode::Failed,
        };
        Refusal::new(code, error)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_none_or_too_many_are_refused_by_name() {
        let rows = "venue,pair,basis,time,price\nexample,BTC/USD,close,2026-10-01T23:59:00Z,60000\n";
        let texts = |prices: Vec<&str>, rates: Vec<&str>| PriceTexts {
            prices: prices.into_iter().map(str::to_owned).collect(),
            rates: rates.into_iter().map(str::to_owned).collect(),
        };
        assert!(texts(vec![rows; MAX_FILES], Vec::new()).book().is_ok(), "the same file twice says the same");
        let other = rows.replace("60000", "60001");
        for (texts, named) in [
            (texts(Vec::new(), Vec::new()), "prices: there is no file"),
            (texts(vec![rows; MAX_FILES + 1], Vec::new()), "prices: 101 files"),
            (texts(vec![rows], vec!["x"; MAX_FILES + 1]), "rates: 101 files"),
            (texts(vec![rows, "venue,price\n"], Vec::new()), "prices[1]: "),
            (texts(vec![rows, &other], Vec::new()), "prices[1]: "),
            (texts(vec![rows], vec!["x"]), "rates[0]: "),
        ] {
            let refusal = texts.book().map(drop).unwrap_err();
            assert!(refusal.code == RefusalCode::Invalid && refusal.reason.starts_with(named), "{refusal:?}");
        }
    }
}
