//! What a receipt is worth in a profile's currency, by its policy and the book of prices.
//!
//! Owns which price and which rate count for which day. A value that is missing stays missing: no price is carried from
//! one day to the next, and nothing is ever estimated. Prices come from [`prices`](super::prices), the rounding from
//! [`fiat`](super::fiat); that results are kept, and that a later one does not erase an earlier one, is the register's.

use std::{fmt, num::NonZeroU32, ops::Bound};

use bitcoin::SignedAmount;
use jiff::{Timestamp, ToSpan, civil::Date};

use super::{
    currency::Currency,
    fiat::{Direction, Exchange, FiatAmount, FiatError, worth},
    prices::{PriceBasis, PriceBook, RateSeries, Series, SourceName, Sourced},
    rate::Rate,
    source_file::FileHash,
    zone::{TimeOutOfRange, Zone},
};

/// The most days that a policy may go back for a rate: longer than any holidays of a central bank.
pub const MAX_RATE_AGE_DAYS: u8 = 14;

/// Which price and which rate count.
///
/// The day of a receipt is that on which it falls in `zone`. A close or mean counts if what it covers ended on that day
/// in `price_zone`: after the day began, and no later than when the next one began. A spot price counts if it is the
/// last at or before the receipt, on its day in `zone`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuationPolicy {
    id: String,
    series: Series,
    zone: Zone,
    price_zone: Zone,
    currency: Currency,
    exchange: Option<ExchangePolicy>,
}

/// Which rate converts the price into the profile's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangePolicy {
    /// The central bank.
    pub source: SourceName,
    /// The date whose rate counts.
    pub date: RateDate,
}

/// The date whose rate counts for a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateDate {
    /// That of the receipt. Without one the receipt stays unvalued.
    Same,
    /// That of the receipt or, if none was published for it, the last one before, but at most `max_days` before.
    ///
    /// That none was published is only believed once the book has a rate for a later date: until then the file may
    /// just be old, and the receipt stays unvalued.
    LastPublished {
        /// How far back, 1 to [`MAX_RATE_AGE_DAYS`].
        max_days: u8,
    },
}

/// A policy that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicy {
    /// The prices are in another currency, and no source of rates is named.
    #[error("prices are in {quote} and values in {currency}: a source of exchange rates is needed")]
    NoExchange {
        /// The currency of the prices.
        quote: Currency,
        /// The currency of the values.
        currency: Currency,
    },
    /// The prices are in the currency of the values, and a source of rates is named.
    #[error("prices and values are both in {0}: a source of exchange rates has no use")]
    NeedlessExchange(Currency),
    /// It would go back not at all or too far for a rate.
    #[error("a rate of up to {0} days before is not within 1 to {MAX_RATE_AGE_DAYS}")]
    RateAge(u8),
}

/// What a receipt was found to be worth, or why it was not.
///
/// In JSON an object whose `state` is `VALUED` or `UNVALUED`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "state", rename_all = "UPPERCASE")]
pub enum Appraisal {
    /// It has a value.
    Valued(Box<Valuation>),
    /// It has none yet.
    Unvalued(Unvalued),
}

/// A value, and all that it was worked out from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Valuation {
    /// The policy that it follows.
    pub policy: String,
    /// What was valued, negative for a reversal.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub amount_sat: SignedAmount,
    /// The day of the receipt.
    pub day: Date,
    /// What the price is of.
    pub price_of: Series,
    /// The price of one bitcoin.
    pub price: Rate,
    /// When the price was.
    pub price_time: Timestamp,
    /// The SHA-256 of the file with the price.
    pub price_file_sha256: FileHash,
    /// The rate that converted it; none for prices in the currency of the value.
    pub fx: Option<AppliedRate>,
    /// The value.
    pub value: FiatAmount,
}

/// The rate that a value was converted by.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppliedRate {
    /// What the rate is of. The price's currency is either side of it.
    pub rate_of: RateSeries,
    /// The rate as published.
    pub rate: Rate,
    /// How many units of the base currency it is for.
    pub nominal: NonZeroU32,
    /// The date that it was published for.
    pub date: Date,
    /// The SHA-256 of the file with the rate.
    pub file_sha256: FileHash,
}

/// What is missing for a value.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unvalued {
    /// The policy that could not be followed.
    pub policy: String,
    /// The day of the receipt.
    pub day: Date,
    /// What it lacks.
    pub missing: Missing,
}

/// What a receipt lacks for a value.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// There is no price for its day; for spot prices, none before it on its day.
    Price(Series),
    /// There are several closes or means for its day, and nothing says which one counts.
    OnePrice(Series),
    /// There is no rate for its day, and none before it that the policy would take.
    Rate(RateSeries),
}

/// Why a receipt cannot be valued at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValuationError {
    /// Its time is in no calendar.
    #[error(transparent)]
    Time(#[from] TimeOutOfRange),
    /// Its value exceeds what an amount of money holds.
    #[error(transparent)]
    Value(#[from] FiatError),
}

/// What a newer book changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revaluation {
    /// Nothing.
    Unchanged,
    /// There is a value where there was none, or another one. The earlier one stays on record.
    New(Box<Valuation>),
}

impl ValuationPolicy {
    /// Returns a policy, under the `id` that valuations name. Prices of days are read in `zone`; see
    /// [`with_price_zone`](Self::with_price_zone).
    ///
    /// # Errors
    ///
    /// If rates are needed and no source is named or the other way round, or the rule for their date is out of bounds.
    pub fn new(
        id: String,
        series: Series,
        zone: Zone,
        currency: Currency,
        exchange: Option<ExchangePolicy>,
    ) -> Result<Self, BadPolicy> {
        let quote = series.pair.quote;
        match &exchange {
            None if quote != currency => return Err(BadPolicy::NoExchange { quote, currency }),
            Some(_) if quote == currency => return Err(BadPolicy::NeedlessExchange(currency)),
            Some(ExchangePolicy { date: RateDate::LastPublished { max_days }, .. })
                if !(1..=MAX_RATE_AGE_DAYS).contains(max_days) =>
            {
                return Err(BadPolicy::RateAge(*max_days));
            }
            Some(_) | None => {}
        }
        Ok(Self { id, series, price_zone: zone.clone(), zone, currency, exchange })
    }

    /// Returns it with another zone for the days of closes and means: many venues end their day at midnight UTC.
    pub fn with_price_zone(self, price_zone: Zone) -> Self {
        Self { price_zone, ..self }
    }

    /// Returns the id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the currency of values.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// Values an amount, negative for a reversal, that was received at `at_ms` since 1970 UTC.
    ///
    /// # Errors
    ///
    /// If the time or the value is out of range. What is missing in the book is no error but [`Appraisal::Unvalued`].
    pub fn appraise(&self, amount: SignedAmount, at_ms: i64, book: &PriceBook) -> Result<Appraisal, ValuationError> {
        let day = self.zone.day(at_ms)?;
        let unvalued = |missing| Ok(Appraisal::Unvalued(Unvalued { policy: self.id.clone(), day, missing }));
        let (price_time, price) = match self.price(day, at_ms, book) {
            Ok(found) => found,
            Err(missing) => return unvalued(missing),
        };
        let fx = match self.exchange.as_ref().map(|policy| self.applied_rate(policy, day, book)).transpose() {
            Ok(fx) => fx,
            Err(missing) => return unvalued(missing),
        };
        let exchange = fx.as_ref().map(|fx| fx.exchange(self.series.pair.quote));
        let value = worth(amount, price.value, exchange, self.currency)?;
        Ok(Appraisal::Valued(Box::new(Valuation {
            policy: self.id.clone(),
            amount_sat: amount,
            day,
            price_of: self.series.clone(),
            price: price.value.clone(),
            price_time,
            price_file_sha256: price.file,
            fx,
            value,
        })))
    }

    /// Values a receipt again with a newer book. A value is not lost if the newer book lacks what it was worked out
    /// from, and is not new if only the file is another one that says the same.
    ///
    /// # Errors
    ///
    /// If the time or the value is out of range.
    pub fn revalue(
        &self,
        earlier: &Appraisal,
        amount: SignedAmount,
        at_ms: i64,
        book: &PriceBook,
    ) -> Result<Revaluation, ValuationError> {
        Ok(match self.appraise(amount, at_ms, book)? {
            Appraisal::Valued(new) if new.is_new_to(earlier) => Revaluation::New(new),
            _ => Revaluation::Unchanged,
        })
    }

    fn price<'a>(&self, day: Date, at_ms: i64, book: &'a PriceBook) -> Result<(Timestamp, Sourced<&'a Rate>), Missing> {
        let none = || Missing::Price(self.series.clone());
        let zone = if self.series.basis == PriceBasis::Spot { &self.zone } else { &self.price_zone };
        let start = |day: Date| zone.day_start_ms(day).and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok());
        let next_day = day.checked_add(1.day()).ok().and_then(start);
        let (Some(begins), Some(ends)) = (start(day), next_day) else { return Err(none()) };
        if self.series.basis == PriceBasis::Spot {
            let receipt = Timestamp::from_millisecond(at_ms).map_err(|_| none())?;
            let mut earlier = book.prices(&self.series, (Bound::Included(begins), Bound::Included(receipt)));
            return earlier.next_back().ok_or_else(none);
        }
        let mut ended = book.prices(&self.series, (Bound::Excluded(begins), Bound::Included(ends)));
        match (ended.next(), ended.next()) {
            (Some(price), None) => Ok(price),
            (Some(_), Some(_)) => Err(Missing::OnePrice(self.series.clone())),
            (None, _) => Err(none()),
        }
    }

    fn applied_rate(&self, policy: &ExchangePolicy, day: Date, book: &PriceBook) -> Result<AppliedRate, Missing> {
        let direct = RateSeries { source: policy.source.clone(), base: self.series.pair.quote, quote: self.currency };
        let ways = [direct.clone(), direct.inverse()];
        let of_date = |date: Date| {
            ways.iter().find_map(|rate_of| {
                let found = book.rate(rate_of, date)?;
                let (rate, nominal) = (found.value.rate.clone(), found.value.nominal);
                Some(AppliedRate { rate_of: rate_of.clone(), rate, nominal, date, file_sha256: found.file })
            })
        };
        let back = || {
            let RateDate::LastPublished { max_days } = policy.date else { return None };
            let last = ways.iter().filter_map(|rate_of| book.last_rate_date(rate_of)).max();
            last.filter(|last| *last > day)?;
            (1..=max_days).find_map(|days| of_date(day.checked_sub(i64::from(days).days()).ok()?))
        };
        of_date(day).or_else(back).ok_or(Missing::Rate(direct))
    }
}

impl Appraisal {
    /// Whether it belongs on record after an earlier one of the same receipt. A value is not lost for the lack of one, and
    /// is not new if only the file is another one that says the same.
    pub fn is_new_to(&self, earlier: &Appraisal) -> bool {
        matches!(self, Appraisal::Valued(new) if new.is_new_to(earlier))
    }

    /// Returns the policy that it follows.
    pub fn policy(&self) -> &str {
        match self {
            Self::Valued(valuation) => &valuation.policy,
            Self::Unvalued(unvalued) => &unvalued.policy,
        }
    }
}

impl Valuation {
    /// Works the value out again from what stands beside it, for an audit.
    ///
    /// # Errors
    ///
    /// If it is out of range.
    pub fn worked_out(&self) -> Result<FiatAmount, FiatError> {
        let exchange = self.fx.as_ref().map(|fx| fx.exchange(self.price_of.pair.quote));
        worth(self.amount_sat, &self.price, exchange, self.value.currency())
    }

    /// Whether it says more than an earlier appraisal of the same: not if only the file is another one.
    fn is_new_to(&self, earlier: &Appraisal) -> bool {
        match earlier {
            Appraisal::Valued(earlier) => !self.says_the_same(earlier),
            Appraisal::Unvalued(_) => true,
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        let fx = match (&self.fx, &other.fx) {
            (Some(fx), Some(other)) => {
                fx.rate.is_worth(&other.rate)
                    && (&fx.rate_of, fx.nominal, fx.date) == (&other.rate_of, other.nominal, other.date)
            }
            (fx, other) => fx.is_none() && other.is_none(),
        };
        let facts = |of: &Self| (of.amount_sat, of.day, of.price_time, of.value);
        let same_terms = self.policy == other.policy && self.price_of == other.price_of;
        fx && same_terms && facts(self) == facts(other) && self.price.is_worth(&other.price)
    }
}

impl AppliedRate {
    fn exchange(&self, from: Currency) -> Exchange<'_> {
        let direction = if self.rate_of.base == from { Direction::Multiply } else { Direction::Divide };
        Exchange { rate: &self.rate, nominal: self.nominal, direction }
    }
}

impl fmt::Display for Unvalued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.missing {
            Missing::Price(series) => write!(f, "no price for {}: {series}", self.day),
            Missing::OnePrice(series) => write!(f, "more than one price for {}: {series}", self.day),
            Missing::Rate(series) => write!(f, "no rate for {}: {series}", self.day),
        }
    }
}

#[cfg(test)]
mod tests;
