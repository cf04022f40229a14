//! Money in a currency, and what an amount of bitcoin is worth in it.
//!
//! Owns the one rounding of a valuation. Where prices and rates come from is not known here.

use std::{fmt, num::NonZeroU32};

use bitcoin::SignedAmount;
use ruint::aliases::U512;

use super::{currency::Currency, rate::Rate};

/// Satoshis in a bitcoin, the unit of prices.
const SAT_PER_BTC: u64 = 100_000_000;

/// An amount of money in whole minor units of a currency: 42.00 USD is 4,200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FiatAmount {
    minor: i64,
    currency: Currency,
}

/// Why an amount of money cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FiatError {
    /// Two currencies were mixed.
    #[error("{left} and {right} are different currencies")]
    Mixed {
        /// The one.
        left: Currency,
        /// The other.
        right: Currency,
    },
    /// It has more than 2^63 minor units.
    #[error("an amount of {0} is out of range")]
    Range(Currency),
    /// It is written otherwise, or in parts of a minor unit.
    #[error("{text:?} is no amount of {currency}: up to {} decimals are expected", .currency.minor_digits())]
    Form {
        /// What was written.
        text: String,
        /// The currency that it was to be in.
        currency: Currency,
    },
}

impl FiatAmount {
    /// Returns so many minor units of a currency.
    pub const fn from_minor(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Returns nothing, in a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self::from_minor(0, currency)
    }

    /// Parses a decimal number in major units, such as `-42.5`. Nothing is rounded.
    ///
    /// # Errors
    ///
    /// If it is written otherwise, has more digits after the point than the currency, or is out of range.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, FiatError> {
        let form = || FiatError::Form { text: text.chars().take(64).collect(), currency };
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let places = usize::from(currency.minor_digits());
        // For a currency without minor units only the "0" that stands for an absent fraction is left to drop.
        let fits = fraction.len() <= places || !unsigned.contains('.');
        let mut digits = whole.bytes().chain(fraction.bytes());
        if whole.is_empty() || fraction.is_empty() || !fits || !digits.all(|byte| byte.is_ascii_digit()) {
            return Err(form());
        }
        let range = || FiatError::Range(currency);
        let major: i128 = whole.parse().map_err(|_| range())?;
        let padded: String = fraction.bytes().chain(std::iter::repeat(b'0')).take(places).map(char::from).collect();
        let minor: i128 = format!("0{padded}").parse().expect("up to four digits make a number");
        let magnitude = major.checked_mul(currency.minor_per_major().into()).and_then(|major| major.checked_add(minor));
        let signed = magnitude.map(|magnitude| if text.starts_with('-') { -magnitude } else { magnitude });
        signed.and_then(|minor| i64::try_from(minor).ok()).map(|minor| Self { minor, currency }).ok_or_else(range)
    }

    /// Returns the minor units.
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// Returns the currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Returns the sum.
    ///
    /// # Errors
    ///
    /// If the currencies differ, or the sum is out of range.
    pub fn checked_add(self, other: Self) -> Result<Self, FiatError> {
        self.combine(other, i64::checked_add)
    }

    /// Returns the difference.
    ///
    /// # Errors
    ///
    /// If the currencies differ, or the difference is out of range.
    pub fn checked_sub(self, other: Self) -> Result<Self, FiatError> {
        self.combine(other, i64::checked_sub)
    }

    /// Returns the exact negative, as a reversal needs it.
    ///
    /// # Errors
    ///
    /// If it is out of range.
    pub fn checked_neg(self) -> Result<Self, FiatError> {
        let minor = self.minor.checked_neg().ok_or(FiatError::Range(self.currency))?;
        Ok(Self { minor, ..self })
    }

    fn combine(self, other: Self, by: fn(i64, i64) -> Option<i64>) -> Result<Self, FiatError> {
        if self.currency != other.currency {
            return Err(FiatError::Mixed { left: self.currency, right: other.currency });
        }
        let minor = by(self.minor, other.minor).ok_or(FiatError::Range(self.currency))?;
        Ok(Self { minor, ..self })
    }

    /// Writes it without its currency: `-0.05`.
    pub fn to_decimal(self) -> String {
        let sign = if self.minor < 0 { "-" } else { "" };
        let (magnitude, per_major) = (self.minor.unsigned_abs(), self.currency.minor_per_major());
        let (whole, part) = (magnitude / per_major, magnitude % per_major);
        match usize::from(self.currency.minor_digits()) {
            0 => format!("{sign}{whole}"),
            places => format!("{sign}{whole}.{part:0places$}"),
        }
    }
}

impl fmt::Display for FiatAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_decimal(), self.currency)
    }
}

/// A rate between two currencies, seen from the one that a price is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// The rate as published.
    pub rate: &'a Rate,
    /// How many units of its base currency the rate is for: some banks quote 10 or 100 units.
    pub nominal: NonZeroU32,
    /// Whether one multiplies or divides by it.
    pub direction: Direction,
}

/// Which way a published rate is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The price's currency is the base of the rate: multiply.
    Multiply,
    /// The price's currency is what the rate is in, as with a bank that quotes all currencies for one unit of its own:
    /// divide.
    Divide,
}

/// Returns what an amount is worth at a price for one bitcoin, converted by `exchange` if the price is in another
/// currency than the value.
///
/// The product is exact and rounded once, to minor units: half a unit goes away from zero, up for what came in and down
/// for its reversal, so that a reversal is the exact negative.
///
/// # Errors
///
/// If the value exceeds what [`FiatAmount`] holds.
pub fn worth(
    amount: SignedAmount,
    price: &Rate,
    exchange: Option<Exchange<'_>>,
    currency: Currency,
) -> Result<FiatAmount, FiatError> {
    // Neither side can overflow: 64 bits of satoshis, 100 for each rate and each scale, 32 of nominal, 14 of minor
    // units.
    let sat = U512::from(amount.to_sat().unsigned_abs());
    let mut units = sat * U512::from(price.mantissa()) * U512::from(currency.minor_per_major());
    let mut per = U512::from(SAT_PER_BTC) * power_of_ten(price.scale());
    if let Some(Exchange { rate, nominal, direction }) = exchange {
        let (up, down) = (U512::from(rate.mantissa()), U512::from(nominal.get()) * power_of_ten(rate.scale()));
        let (up, down) = match direction {
            Direction::Multiply => (up, down),
            Direction::Divide => (down, up),
        };
        units *= up;
        per *= down;
    }
    let two = U512::from(2);
    let rounded = (units * two + per) / (per * two);
    let magnitude = i64::try_from(rounded).map_err(|_| FiatError::Range(currency))?;
    let minor = if amount.is_negative() { -magnitude } else { magnitude };
    Ok(FiatAmount { minor, currency })
}

fn power_of_ten(exponent: u8) -> U512 {
    U512::from(10u128.pow(exponent.into()))
}

#[cfg(test)]
mod tests;
