//! Numbers and times as text. Integers in, decimal text out: nothing here rounds, except where its name says so.

use jiff::{Timestamp, tz::TimeZone};

use super::{ReportError, model::Zone};

/// The decimals of a bitcoin.
pub const BTC_DECIMALS: u8 = 8;

/// Returns satoshis as bitcoins with 8 decimals.
pub fn btc(sat: impl Into<i128>) -> String {
    decimal(sat, BTC_DECIMALS)
}

/// Returns an amount in minor units as decimal text with exactly so many decimals.
pub fn decimal(minor: impl Into<i128>, decimals: u8) -> String {
    let minor = minor.into();
    let decimals = usize::from(decimals);
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    let sign = if minor < 0 { "-" } else { "" };
    if decimals == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

/// Returns an amount in minor units with another number of decimals, rounded half up (away from zero) where some are
/// cut.
///
/// Nothing if the amount does not fit.
pub fn rescaled_half_up(minor: i128, from_decimals: u8, to_decimals: u8) -> Option<i128> {
    if to_decimals >= from_decimals {
        return minor.checked_mul(10i128.checked_pow(u32::from(to_decimals - from_decimals))?);
    }
    let Some(unit) = 10i128.checked_pow(u32::from(from_decimals - to_decimals)) else { return Some(0) };
    let rounded = minor.abs() / unit + i128::from(minor.abs() % unit >= unit / 2);
    Some(if minor < 0 { -rounded } else { rounded })
}

/// Returns whether a text is a plain decimal number: an optional minus, digits, and perhaps a point and digits.
pub fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    [whole, part].iter().all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns a time in UTC: `2026-01-31T21:30:00Z`, with milliseconds where there are any (RFC 3339).
///
/// # Errors
///
/// If the time is thousands of years away.
pub fn utc(ms: i64) -> Result<String, ReportError> {
    let zoned = timestamp(ms)?.to_zoned(TimeZone::UTC);
    Ok(zoned
        .strftime(if ms.rem_euclid(1_000) == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%3fZ" })
        .to_string())
}

/// Returns a time in a zone, with its distance to UTC: `2026-02-01T00:30:00+03:00` (RFC 3339).
///
/// # Errors
///
/// If the time is thousands of years away.
pub fn local(ms: i64, zone: &Zone) -> Result<String, ReportError> {
    let zoned = timestamp(ms)?.to_zoned(zone.rules.clone());
    let form = if ms.rem_euclid(1_000) == 0 { "%Y-%m-%dT%H:%M:%S%:z" } else { "%Y-%m-%dT%H:%M:%S.%3f%:z" };
    Ok(zoned.strftime(form).to_string())
}

fn timestamp(ms: i64) -> Result<Timestamp, ReportError> {
    Timestamp::from_millisecond(ms).map_err(|_| ReportError::Time(ms))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_keep_all_their_decimals() {
        assert_eq!(btc(156_785_221u64), "1.56785221");
        assert_eq!(btc(1u64), "0.00000001");
        assert_eq!(btc(-856_353i64), "-0.00856353");
        assert_eq!(btc(u64::MAX), "184467440737.09551615");
        assert_eq!(decimal(1_240_679_638i64, 2), "12406796.38");
        assert_eq!(decimal(5i64, 0), "5");
        assert_eq!(decimal(i64::MIN, 3), "-9223372036854775.808");
        assert_eq!(decimal(0u64, 2), "0.00");
    }

    #[test]
    fn cut_decimals_are_rounded_half_up() {
        assert_eq!(rescaled_half_up(12_345, 3, 2), Some(1_235));
        assert_eq!(rescaled_half_up(12_344, 3, 2), Some(1_234));
        assert_eq!(rescaled_half_up(-12_345, 3, 2), Some(-1_235));
        assert_eq!(rescaled_half_up(12, 0, 2), Some(1_200));
        assert_eq!(rescaled_half_up(i128::MAX, 0, 2), None);
        assert_eq!(rescaled_half_up(i128::MAX, 200, 2), Some(0));
    }

    #[test]
    fn only_plain_decimal_numbers_are_numbers() {
        for good in ["0", "97412.35", "-1.5", "0.00000001"] {
            assert!(is_decimal(good), "{good}");
        }
        for bad in ["", "-", ".5", "1.", "1e5", "+1", "=1", "1,5", "1.2.3", "--1", "１", "1 ", "0x1", "NaN"] {
            assert!(!is_decimal(bad), "{bad}");
        }
    }

    #[test]
    fn a_receipt_late_on_the_last_of_january_is_in_february_three_hours_east() {
        let at_ms = 1_769_895_000_000;
        let east = Zone { name: "UTC+3".to_owned(), rules: TimeZone::fixed(jiff::tz::offset(3)) };
        assert_eq!(utc(at_ms).unwrap(), "2026-01-31T21:30:00Z");
        assert_eq!(local(at_ms, &east).unwrap(), "2026-02-01T00:30:00+03:00");
    }

    #[test]
    fn a_zone_keeps_its_summer_time() {
        let rules = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let zone = Zone { name: "Central European".to_owned(), rules };
        assert_eq!(local(1_767_225_600_123, &zone).unwrap(), "2026-01-01T01:00:00.123+01:00");
        assert_eq!(local(1_782_864_000_000, &zone).unwrap(), "2026-07-01T02:00:00+02:00");
    }

    #[test]
    fn a_time_out_of_range_is_refused() {
        assert!(matches!(utc(i64::MAX), Err(ReportError::Time(i64::MAX))));
    }

    proptest! {
        #[test]
        fn decimal_text_reads_back_as_the_same_integer(minor: i64, decimals in 0u8..20) {
            let text = decimal(minor, decimals);
            prop_assert!(is_decimal(&text));
            prop_assert_eq!(text.replace('.', "").parse::<i128>().unwrap(), i128::from(minor));
            prop_assert_eq!(text.split_once('.').map_or(0, |(_, part)| part.len()), usize::from(decimals));
        }
    }
}
