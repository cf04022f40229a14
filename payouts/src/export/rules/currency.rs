//! Currencies of ISO 4217 and how many decimal digits their minor unit has.
//!
//! Owns the table. Metals, funds, test codes and coins (USDT among them) are no currencies here: nothing is valued in
//! them.

use std::{cmp::Ordering, fmt, str::FromStr};

/// The currencies of ISO 4217, list one as of January 2025, by their number of decimal digits, with BGN and ANG, which
/// were in use while bitcoin was mined. Funds, metals and codes without a minor unit are left out.
const BY_DIGITS: [(u8, &str); 4] = [
    (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
    (
        2,
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY \
         COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS \
         INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR \
         MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD \
         SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
    ),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
];

/// A currency of ISO 4217. Its text form is the code: three capitals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency {
    code: [u8; 3],
    digits: u8,
}

impl Currency {
    /// Returns the code, three capitals.
    pub fn code(&self) -> &str {
        str::from_utf8(&self.code).expect("the table is ASCII")
    }

    /// Returns the number of decimal digits of an amount: 2 for USD, 0 for JPY, 3 for KWD.
    pub const fn minor_digits(self) -> u8 {
        self.digits
    }

    /// Returns how many minor units make one major unit.
    pub const fn minor_per_major(self) -> u64 {
        10u64.pow(self.digits as u32)
    }
}

/// A text that is no code of a currency in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown currency {0:?}: a code of ISO 4217 is expected, three capitals")]
pub struct UnknownCurrency(String);

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(text: &str) -> Result<Self, UnknownCurrency> {
        let all = BY_DIGITS.iter().flat_map(|(digits, codes)| codes.split(' ').map(|code| (code, *digits)));
        let mut known = all.filter(|(code, _)| *code == text);
        let found =
            known.next().and_then(|(code, digits)| Some(Self { code: code.as_bytes().try_into().ok()?, digits }));
        found.ok_or_else(|| UnknownCurrency(text.chars().take(16).collect()))
    }
}

impl TryFrom<String> for Currency {
    type Error = UnknownCurrency;

    fn try_from(text: String) -> Result<Self, UnknownCurrency> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Ord for Currency {
    fn cmp(&self, other: &Self) -> Ordering {
        self.code.cmp(&other.code)
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn minor_units_are_those_of_the_standard() {
        for (code, digits, per_major) in
            [("JPY", 0, 1), ("USD", 2, 100), ("RUB", 2, 100), ("KZT", 2, 100), ("KWD", 3, 1_000), ("CLF", 4, 10_000)]
        {
            let currency: Currency = code.parse().unwrap();
            assert_eq!((currency.minor_digits(), currency.minor_per_major()), (digits, per_major), "{code}");
        }
    }

    #[test]
    fn every_code_is_three_capitals_and_stands_once() {
        let codes: Vec<&str> = BY_DIGITS.iter().flat_map(|(_, codes)| codes.split(' ')).collect();
        assert!(codes.iter().all(|code| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase())));
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
    }

    #[test]
    fn coins_metals_and_other_spellings_are_no_currencies() {
        for text in ["USDT", "BTC", "XBT", "XAU", "XXX", "usd", "US", "USD ", "", " ", "USD EUR"] {
            assert_eq!(text.parse::<Currency>(), Err(UnknownCurrency(text.to_owned())));
        }
    }

    #[test]
    fn json_is_the_code() {
        let currency: Currency = "EUR".parse().unwrap();
        assert_eq!(serde_json::to_string(&currency).unwrap(), "\"EUR\"");
        assert_eq!(serde_json::from_str::<Currency>("\"EUR\"").unwrap(), currency);
        serde_json::from_str::<Currency>("\"EURO\"").unwrap_err();
    }
}
