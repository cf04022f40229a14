//! Time zones: on which day an instant falls, and when a day begins.
//!
//! The rules of IANA zones are those bundled with the program, not those of the machine, so that the same records give
//! the same periods everywhere. A zone of fixed offset never changes.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp, ToSpan,
    civil::Date,
    tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase},
};

/// The greatest distance of a fixed offset from UTC, in minutes: no place has had more than 14 hours.
const MAX_OFFSET_MIN: i32 = 14 * 60;

/// The longest name of an IANA zone that is looked up.
const MAX_NAME_BYTES: usize = 64;

/// A time zone. Its text form is `UTC`, a fixed offset such as `+03:00`, or an IANA name such as `Asia/Almaty`.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone {
    text: String,
    rules: TimeZone,
}

/// A text that names no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone {0:?}: \"UTC\", an offset such as \"+03:00\" or an IANA name is expected")]
pub struct UnknownZone(String);

/// A time that no calendar here reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time {0} ms is out of range")]
pub struct TimeOutOfRange(pub i64);

/// An instant in milliseconds since 1970 UTC, for messages: `2026-11-23T12:00:00Z`, or the number where no calendar
/// reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub i64);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl Zone {
    /// Returns UTC.
    pub fn utc() -> Self {
        Self { text: "UTC".to_owned(), rules: TimeZone::UTC }
    }

    /// Returns the day on which an instant falls, given in milliseconds since 1970 UTC.
    ///
    /// # Errors
    ///
    /// If it is not within the years -9999 to 9999.
    pub fn day(&self, at_ms: i64) -> Result<Date, TimeOutOfRange> {
        let at = Timestamp::from_millisecond(at_ms).map_err(|_| TimeOutOfRange(at_ms))?;
        Ok(self.day_of(at))
    }

    /// Returns the day on which an instant falls.
    pub fn day_of(&self, at: Timestamp) -> Date {
        self.rules.to_datetime(at).date()
    }

    /// Returns the first millisecond of a day, since 1970 UTC: usually midnight, later where the clocks skip it; `None`
    /// at the very ends of the calendar.
    pub fn day_start_ms(&self, day: Date) -> Option<i64> {
        let midnight = self.rules.to_ambiguous_zoned(day.at(0, 0, 0, 0));
        let skipped = matches!(midnight.offset(), AmbiguousOffset::Gap { .. });
        let start = midnight.compatible().ok()?.timestamp();
        // A skipped midnight is moved by as much as was skipped; the day begins where the skipping ends.
        let start =
            if skipped { self.rules.preceding(start.checked_add(1.second()).ok()?).next()?.timestamp() } else { start };
        Some(start.as_millisecond())
    }

    /// Returns its rules.
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }

    /// Returns the text that names it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(text: &str) -> Result<Self, UnknownZone> {
        let unknown = || UnknownZone(text.chars().take(MAX_NAME_BYTES).collect());
        let rules = match text {
            "UTC" => TimeZone::UTC,
            _ if text.starts_with(['+', '-']) => TimeZone::fixed(offset(text).ok_or_else(unknown)?),
            _ => iana(text).ok_or_else(unknown)?,
        };
        Ok(Self { text: text.to_owned(), rules })
    }
}

/// Parses `+hh:mm` or `-hh:mm`.
fn offset(text: &str) -> Option<Offset> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).filter(|byte| byte.is_ascii_digit()).map(|byte| i32::from(byte - b'0'));
    if bytes.len() != 6 || bytes.get(3) != Some(&b':') {
        return None;
    }
    let (hours, minutes) = (digit(1)? * 10 + digit(2)?, digit(4)? * 10 + digit(5)?);
    let distance_min = hours * 60 + minutes;
    if minutes > 59 || distance_min > MAX_OFFSET_MIN {
        return None;
    }
    let east_min = if text.starts_with('-') { -distance_min } else { distance_min };
    Offset::from_seconds(east_min * 60).ok()
}

/// Looks an IANA name up. The spelling must be that of the database, so that a zone has one text.
fn iana(text: &str) -> Option<TimeZone> {
    if text.len() > MAX_NAME_BYTES {
        return None;
    }
    let rules = TimeZoneDatabase::bundled().get(text).ok()?;
    (rules.iana_name() == Some(text)).then_some(rules)
}

impl TryFrom<String> for Zone {
    type Error = UnknownZone;

    fn try_from(text: String) -> Result<Self, UnknownZone> {
        text.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.text
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Zone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::civil::date;

    use super::*;

    fn zone(text: &str) -> Zone {
        text.parse().unwrap()
    }

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn an_instant_falls_on_different_days_in_different_zones() {
        let at_ms = ms("2026-01-31T21:30:00Z");
        let day = |text: &str| zone(text).day(at_ms).unwrap();
        assert_eq!(day("UTC"), date(2026, 1, 31));
        for text in ["+03:00", "Europe/Moscow", "+02:30", "Asia/Almaty"] {
            assert_eq!(day(text), date(2026, 2, 1), "{text}");
        }
        assert_eq!(day("-05:00"), date(2026, 1, 31));
        assert_eq!(day("+02:29"), date(2026, 1, 31));
    }

    #[test]
    fn a_day_begins_where_the_zone_says() {
        assert_eq!(zone("+03:00").day_start_ms(date(2026, 2, 1)), Some(ms("2026-01-31T21:00:00Z")));
        let berlin = zone("Europe/Berlin");
        assert_eq!(berlin.day_start_ms(date(2026, 3, 29)), Some(ms("2026-03-28T23:00:00Z")));
        assert_eq!(berlin.day_start_ms(date(2026, 3, 30)), Some(ms("2026-03-29T22:00:00Z")));
        // Midnight was skipped there on that day.
        let sao_paulo = zone("America/Sao_Paulo");
        assert_eq!(sao_paulo.day_start_ms(date(2018, 11, 4)), Some(ms("2018-11-04T03:00:00Z")));
        // The hour that was skipped there began half an hour before midnight.
        let toronto = zone("America/Toronto");
        assert_eq!(toronto.day_start_ms(date(1919, 3, 31)), Some(ms("1919-03-31T04:30:00Z")));
    }

    #[test]
    fn unknown_zones_are_refused() {
        let bad = [
            "",
            "utc",
            "Z",
            "+3",
            "+3:00",
            "+03",
            "+0300",
            "+14:01",
            "+03:60",
            "+aa:00",
            "-99:00",
            "+03:00 ",
            "local",
            "Mars/Olympus",
            "europe/moscow",
            "EST5EDT,M3.2.0,M11.1.0",
            "/etc/localtime",
            "+03:0é",
        ];
        for text in bad {
            assert_eq!(text.parse::<Zone>(), Err(UnknownZone(text.to_owned())));
        }
        assert!("x".repeat(1_000).parse::<Zone>().is_err());
    }

    #[test]
    fn times_beyond_the_calendar_are_refused() {
        assert_eq!(Zone::utc().day(i64::MAX), Err(TimeOutOfRange(i64::MAX)));
        assert_eq!(zone("+14:00").day(i64::MIN), Err(TimeOutOfRange(i64::MIN)));
    }

    #[test]
    fn instants_are_told_as_people_write_them() {
        assert_eq!(Instant(1_795_435_200_123).to_string(), "2026-11-23T12:00:00.123Z");
        assert_eq!(Instant(i64::MAX).to_string(), "9223372036854775807 ms");
    }

    #[test]
    fn json_is_the_text() {
        assert_eq!(serde_json::to_string(&zone("+03:00")).unwrap(), "\"+03:00\"");
        assert_eq!(serde_json::from_str::<Zone>("\"Asia/Almaty\"").unwrap(), zone("Asia/Almaty"));
    }
}
