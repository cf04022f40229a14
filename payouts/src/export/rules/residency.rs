//! Which movements of coin are exports: by their basis, and where both sides reside.
//!
//! Owns the three meanings of "export". Which of them a country applies stands in its profile.

use std::{fmt, str::FromStr};

use bitcoin::Amount;

/// A country by its code of ISO 3166-1 alpha-2: two capitals. Whether the code is assigned is not checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Country([u8; 2]);

/// A text that is no code of a country.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no country: two capitals of ISO 3166-1 are expected")]
pub struct BadCountry(String);

impl FromStr for Country {
    type Err = BadCountry;

    fn from_str(text: &str) -> Result<Self, BadCountry> {
        match *text.as_bytes() {
            [first @ b'A'..=b'Z', second @ b'A'..=b'Z'] => Ok(Self([first, second])),
            _ => Err(BadCountry(text.chars().take(16).collect())),
        }
    }
}

impl TryFrom<String> for Country {
    type Error = BadCountry;

    fn try_from(text: String) -> Result<Self, BadCountry> {
        text.parse()
    }
}

impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.to_string()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", char::from(self.0[0]), char::from(self.0[1]))
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why coin moved: the meanings of "export", kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportBasis {
    /// A miner received what it mined. That is income where the miner is, and no export wherever that may be.
    Receipt,
    /// The pool served a miner. That is an export if the miner resides elsewhere than the pool.
    MiningService,
    /// Coin was sold. That is an export if the buyer resides elsewhere than the seller.
    Sale,
}

impl ExportBasis {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Receipt, "receipt"), (Self::MiningService, "mining_service"), (Self::Sale, "sale")];

    /// Returns how much of an amount was exported: all of it or nothing.
    ///
    /// `from` is where the seller, or the pool that serves, resides; `to` is where the buyer, or the miner, does.
    pub fn exported(self, amount: Amount, from: Country, to: Country) -> Amount {
        match self {
            Self::Receipt => Amount::ZERO,
            Self::MiningService | Self::Sale if from == to => Amount::ZERO,
            Self::MiningService | Self::Sale => amount,
        }
    }
}

impl fmt::Display for ExportBasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, text) = Self::ALL.iter().find(|(basis, _)| basis == self).expect("ALL has every basis");
        f.pad(text)
    }
}

/// A text that names no basis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown export basis {0:?}: \"receipt\", \"mining_service\" or \"sale\" is expected")]
pub struct UnknownExportBasis(String);

impl FromStr for ExportBasis {
    type Err = UnknownExportBasis;

    fn from_str(text: &str) -> Result<Self, UnknownExportBasis> {
        let known = Self::ALL.iter().find(|(_, known)| *known == text);
        known.map(|(basis, _)| *basis).ok_or_else(|| UnknownExportBasis(text.chars().take(32).collect()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SOLD: Amount = Amount::from_sat(120_000_000);

    fn country(code: &str) -> Country {
        code.parse().unwrap()
    }

    #[test]
    fn a_sale_to_a_resident_is_no_export_and_one_to_a_non_resident_is() {
        let (here, there) = (country("RU"), country("AE"));
        assert_eq!(ExportBasis::Sale.exported(SOLD, here, here), Amount::ZERO);
        assert_eq!(ExportBasis::Sale.exported(SOLD, here, there), SOLD);
    }

    #[test]
    fn receipt_is_never_an_export_and_a_service_is_by_the_miners_residency() {
        let (here, there) = (country("KZ"), country("DE"));
        for to in [here, there] {
            assert_eq!(ExportBasis::Receipt.exported(SOLD, here, to), Amount::ZERO);
        }
        assert_eq!(ExportBasis::MiningService.exported(SOLD, here, here), Amount::ZERO);
        assert_eq!(ExportBasis::MiningService.exported(SOLD, here, there), SOLD);
    }

    #[test]
    fn countries_are_two_capitals() {
        assert_eq!(country("KZ").to_string(), "KZ");
        for text in ["", "K", "kz", "KAZ", "K1", "É", " K"] {
            assert_eq!(text.parse::<Country>(), Err(BadCountry(text.to_owned())));
        }
    }

    #[test]
    fn bases_are_read_back_and_json_is_the_same_text() {
        for (basis, text) in ExportBasis::ALL {
            assert_eq!((basis.to_string().as_str(), text.parse()), (text, Ok(basis)));
            assert_eq!(serde_json::to_string(&basis).unwrap(), format!("\"{text}\""));
        }
    }
}
