//! Prices and exchange rates as exact decimals.
//!
//! Owns how a rate is written and read. What a rate is of, and rounding, belong to [`fiat`](super::fiat).

use std::{fmt, str::FromStr};

/// The most digits of a rate, on both sides of the point together. Prices of a venue have about 10 and rates of central
/// banks about 8; with 30 the product of two rates and an amount stays far below 512 bits.
pub const MAX_RATE_DIGITS: usize = 30;

/// A positive decimal number, exact: a price or an exchange rate. Its text form is kept as it was given.
///
/// Two rates are equal if they are written the same; [`Rate::is_worth`] compares the numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    mantissa: u128,
    scale: u8,
    text: String,
}

impl Rate {
    /// Returns the digits as one integer: the rate is this integer divided by 10^[`scale`](Self::scale).
    pub const fn mantissa(&self) -> u128 {
        self.mantissa
    }

    /// Returns the number of digits after the point.
    pub const fn scale(&self) -> u8 {
        self.scale
    }

    /// Returns the text that it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether both are the same number, however many zeros they end with.
    pub fn is_worth(&self, other: &Self) -> bool {
        self.stripped() == other.stripped()
    }

    fn stripped(&self) -> (u128, u8) {
        let (mut mantissa, mut scale) = (self.mantissa, self.scale);
        while scale > 0 && mantissa.is_multiple_of(10) {
            mantissa /= 10;
            scale -= 1;
        }
        (mantissa, scale)
    }
}

/// Why a text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRate {
    /// It is written otherwise: with a sign, an exponent, a comma, a blank, a needless leading zero.
    #[error("{0:?} is no decimal number: digits and at most one point are expected, such as 97412.35")]
    Form(String),
    /// It has more digits than [`MAX_RATE_DIGITS`].
    #[error("a number of {0} characters is too long: at most {MAX_RATE_DIGITS} digits are taken")]
    Digits(usize),
    /// It is zero, which is no price.
    #[error("{0:?} is zero: a rate is positive")]
    Zero(String),
}

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        if text.len() > MAX_RATE_DIGITS + 1 {
            return Err(BadRate::Digits(text.len()));
        }
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(BadRate::Form(text.to_owned())),
            Some(parts) => parts,
            None => (text, ""),
        };
        let digits = || whole.bytes().chain(fraction.bytes());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leading_zero || !digits().all(|byte| byte.is_ascii_digit()) {
            return Err(BadRate::Form(text.to_owned()));
        }
        if digits().count() > MAX_RATE_DIGITS {
            return Err(BadRate::Digits(text.len()));
        }
        let mantissa = digits().fold(0u128, |sum, byte| sum * 10 + u128::from(byte - b'0'));
        if mantissa == 0 {
            return Err(BadRate::Zero(text.to_owned()));
        }
        let scale = u8::try_from(fraction.len()).expect("digits were counted above");
        Ok(Self { mantissa, scale, text: text.to_owned() })
    }
}

impl TryFrom<String> for Rate {
    type Error = BadRate;

    fn try_from(text: String) -> Result<Self, BadRate> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.text
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_rate_keeps_its_digits_and_its_text() {
        let price = rate("97412.350");
        assert_eq!((price.mantissa(), price.scale(), price.to_string()), (97_412_350, 3, "97412.350".to_owned()));
        assert_eq!((rate("0.01").mantissa(), rate("0.01").scale()), (1, 2));
        assert_eq!(rate("999999999999999999999999999999").mantissa(), 10u128.pow(30) - 1);
    }

    #[test]
    fn other_spellings_are_refused() {
        let bad = [
            "", ".", "1.", ".5", "1,5", "+1", "-1", "1e3", " 1", "1 ", "01", "00.1", "1.2.3", "٣", "0x10", "NaN",
            "1_000",
        ];
        for text in bad {
            assert_eq!(text.parse::<Rate>(), Err(BadRate::Form(text.to_owned())));
        }
        for text in ["0", "0.00"] {
            assert_eq!(text.parse::<Rate>(), Err(BadRate::Zero(text.to_owned())));
        }
        for text in ["1".repeat(31), format!("1.{}", "0".repeat(30)), "9".repeat(1_000)] {
            assert_eq!(text.parse::<Rate>(), Err(BadRate::Digits(text.len())));
        }
    }

    #[test]
    fn trailing_zeros_change_the_text_and_not_the_number() {
        assert_ne!(rate("1.50"), rate("1.5"));
        assert!(rate("1.50").is_worth(&rate("1.5")) && rate("10").is_worth(&rate("10.000")));
        assert!(!rate("1.5").is_worth(&rate("15")) && !rate("10").is_worth(&rate("1")));
    }

    proptest! {
        #[test]
        fn the_text_survives_json(whole in 1..=u64::MAX, fraction in "[0-9]{1,10}") {
            let price = rate(&format!("{whole}.{fraction}"));
            let json = serde_json::to_string(&price).unwrap();
            prop_assert_eq!(&json, &format!("\"{whole}.{fraction}\""));
            prop_assert_eq!(serde_json::from_str::<Rate>(&json).unwrap(), price);
        }
    }
}
