//! Reporting periods: months, quarters and years of a calendar, in a zone.
//!
//! Owns where a period begins and ends and when its report is due. What is reported is not known here; neither are
//! public holidays, so a due day moves over weekends only.

use std::{fmt, str::FromStr};

use jiff::{
    ToSpan,
    civil::{Date, Weekday},
};

use super::zone::{TimeOutOfRange, Zone};

/// The first year with a period: that of the first block.
pub const FIRST_YEAR: i16 = 2009;

/// The last year with a period. It only keeps mistyped years out.
pub const LAST_YEAR: i16 = 2199;

/// The most months that a report may be due after its period's last one.
pub const MAX_MONTHS_AFTER: u8 = 24;

/// How long a period is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeriodKind {
    /// A calendar month.
    Monthly,
    /// Three months, from January, April, July or October on.
    Quarterly,
    /// A calendar year.
    Yearly,
}

impl PeriodKind {
    const fn months(self) -> i8 {
        match self {
            Self::Monthly => 1,
            Self::Quarterly => 3,
            Self::Yearly => 12,
        }
    }
}

/// A period of a calendar. Its text form is its label: `2026-10`, `2026-Q3`, `2026`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    kind: PeriodKind,
    year: i16,
    /// Its first month, 1 to 12.
    month: i8,
}

/// Why there is no such period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPeriod {
    /// The text is no label.
    #[error("{0:?} is no period: \"2026-10\", \"2026-Q3\" or \"2026\" is expected, from {FIRST_YEAR} to {LAST_YEAR}")]
    Label(String),
    /// The year has no periods.
    #[error("the year {0} is not within {FIRST_YEAR} to {LAST_YEAR}")]
    Year(i16),
    /// No calendar reaches the time.
    #[error(transparent)]
    Time(#[from] TimeOutOfRange),
}

impl Period {
    /// Returns the period in which an instant falls, given in milliseconds since 1970 UTC.
    ///
    /// # Errors
    ///
    /// If its year has no periods.
    pub fn containing(kind: PeriodKind, at_ms: i64, zone: &Zone) -> Result<Self, BadPeriod> {
        Self::containing_day(kind, zone.day(at_ms)?)
    }

    /// Returns the period in which a day falls.
    ///
    /// # Errors
    ///
    /// If its year has no periods.
    pub fn containing_day(kind: PeriodKind, day: Date) -> Result<Self, BadPeriod> {
        let month = day.month() - (day.month() - 1) % kind.months();
        Self { kind, year: day.year(), month }.bounded().ok_or(BadPeriod::Year(day.year()))
    }

    /// Returns its length.
    pub const fn kind(self) -> PeriodKind {
        self.kind
    }

    /// Returns its first day.
    pub fn first_day(self) -> Date {
        jiff::civil::date(self.year, self.month, 1)
    }

    /// Returns its last day.
    pub fn last_day(self) -> Date {
        months_later(self.first_day(), self.kind.months() - 1).last_of_month()
    }

    /// Returns its first millisecond in a zone, since 1970 UTC.
    pub fn start_ms(self, zone: &Zone) -> i64 {
        day_start_ms(self.first_day(), zone)
    }

    /// Returns the first millisecond after it in a zone, since 1970 UTC.
    pub fn end_ms(self, zone: &Zone) -> i64 {
        day_start_ms(months_later(self.first_day(), self.kind.months()), zone)
    }

    /// Tells whether an instant falls in it, given in milliseconds since 1970 UTC.
    pub fn contains(self, at_ms: i64, zone: &Zone) -> bool {
        (self.start_ms(zone)..self.end_ms(zone)).contains(&at_ms)
    }

    /// Returns the period after it; `None` after the last one.
    pub fn next(self) -> Option<Self> {
        match self.month + self.kind.months() {
            month @ 1..=12 => Self { month, ..self },
            _ => Self { year: self.year + 1, month: 1, ..self },
        }
        .bounded()
    }

    /// Returns the period before it; `None` before the first one.
    pub fn previous(self) -> Option<Self> {
        match self.month - self.kind.months() {
            month @ 1..=12 => Self { month, ..self },
            _ => Self { year: self.year - 1, month: 13 - self.kind.months(), ..self },
        }
        .bounded()
    }

    /// Returns the day by which its report is due.
    pub fn due(self, rule: DueRule) -> Date {
        let last = months_later(self.first_day(), self.kind.months() - 1);
        let months_after = i8::try_from(rule.months_after).expect("MAX_MONTHS_AFTER is below 128");
        let month = months_later(last, months_after);
        let day = i8::try_from(rule.day).expect("no month has more than 31 days");
        let due = jiff::civil::date(month.year(), month.month(), day.min(month.days_in_month()));
        if rule.next_working_day { working_day_from(due) } else { due }
    }

    fn bounded(self) -> Option<Self> {
        (FIRST_YEAR..=LAST_YEAR).contains(&self.year).then_some(self)
    }
}

/// When the report of a period is due: a day of a month after the period's last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "RawDueRule")]
pub struct DueRule {
    day: u8,
    months_after: u8,
    next_working_day: bool,
}

/// [`DueRule`] as written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDueRule {
    day: u8,
    #[serde(default = "RawDueRule::following_month")]
    months_after: u8,
    #[serde(default)]
    next_working_day: bool,
}

impl RawDueRule {
    const fn following_month() -> u8 {
        1
    }
}

/// A due day that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDueRule {
    /// No month has it.
    #[error("due day {0} is not within 1 to 31")]
    Day(u8),
    /// It is before the period's end, or too far behind it.
    #[error("due {0} months after the period is not within 1 to {MAX_MONTHS_AFTER}")]
    Months(u8),
}

impl DueRule {
    /// Returns the rule: due on `day` of the month that is `months_after` the period's last one, 1 for the following;
    /// on the month's last day if it is shorter. With `next_working_day` a Saturday or Sunday moves to the Monday
    /// after.
    ///
    /// # Errors
    ///
    /// If there is no such day, or the month is not within 1 to [`MAX_MONTHS_AFTER`].
    pub const fn new(day: u8, months_after: u8, next_working_day: bool) -> Result<Self, BadDueRule> {
        if day < 1 || day > 31 {
            return Err(BadDueRule::Day(day));
        }
        if months_after < 1 || months_after > MAX_MONTHS_AFTER {
            return Err(BadDueRule::Months(months_after));
        }
        Ok(Self { day, months_after, next_working_day })
    }
}

impl TryFrom<RawDueRule> for DueRule {
    type Error = BadDueRule;

    fn try_from(raw: RawDueRule) -> Result<Self, BadDueRule> {
        Self::new(raw.day, raw.months_after, raw.next_working_day)
    }
}

/// Returns the day, or the Monday after it if it is a Saturday or Sunday. Public holidays are not known.
pub fn working_day_from(day: Date) -> Date {
    let days = match day.weekday() {
        Weekday::Saturday => 2,
        Weekday::Sunday => 1,
        _ => 0,
    };
    day.saturating_add(days.days())
}

/// Returns the day that is so many working days after a day, Monday to Friday. Public holidays are not known.
pub fn working_days_after(day: Date, days: u8) -> Date {
    let next = |day: Date| working_day_from(day.saturating_add(1.day()));
    (0..days).fold(day, |day, _| next(day))
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PeriodKind::Monthly => write!(f, "{}-{:02}", self.year, self.month),
            PeriodKind::Quarterly => write!(f, "{}-Q{}", self.year, (self.month + 2) / 3),
            PeriodKind::Yearly => write!(f, "{}", self.year),
        }
    }
}

impl FromStr for Period {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, BadPeriod> {
        let parsed = || {
            let (year, part) = text.split_once('-').map_or((text, None), |(year, part)| (year, Some(part)));
            let year: i16 = year.parse().ok()?;
            let period = match part {
                None => Self { kind: PeriodKind::Yearly, year, month: 1 },
                Some(part) => match part.strip_prefix('Q') {
                    Some(quarter) => {
                        let quarter: i8 = quarter.parse().ok().filter(|quarter| (1..=4).contains(quarter))?;
                        Self { kind: PeriodKind::Quarterly, year, month: quarter * 3 - 2 }
                    }
                    None => {
                        let month: i8 = part.parse().ok().filter(|month| (1..=12).contains(month))?;
                        Self { kind: PeriodKind::Monthly, year, month }
                    }
                },
            };
            period.bounded().filter(|period| period.to_string() == text)
        };
        parsed().ok_or_else(|| BadPeriod::Label(text.chars().take(32).collect()))
    }
}

impl TryFrom<String> for Period {
    type Error = BadPeriod;

    fn try_from(text: String) -> Result<Self, BadPeriod> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

fn months_later(first_of_month: Date, months: i8) -> Date {
    first_of_month.saturating_add(i64::from(months).months())
}

fn day_start_ms(day: Date, zone: &Zone) -> i64 {
    zone.day_start_ms(day).expect("years up to LAST_YEAR + 1 are far within the calendar")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::{Timestamp, civil::date};
    use proptest::prelude::*;

    use super::*;

    fn zone(text: &str) -> Zone {
        text.parse().unwrap()
    }

    fn period(text: &str) -> Period {
        text.parse().unwrap()
    }

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn a_receipt_late_in_january_utc_is_of_february_three_hours_east() {
        let at_ms = ms("2026-01-31T21:30:00Z");
        let label = |zone: &Zone| Period::containing(PeriodKind::Monthly, at_ms, zone).unwrap().to_string();
        assert_eq!(label(&zone("+03:00")), "2026-02");
        assert_eq!(label(&zone("Europe/Moscow")), "2026-02");
        assert_eq!(label(&Zone::utc()), "2026-01");
        assert!(period("2026-02").contains(at_ms, &zone("+03:00")));
        assert!(!period("2026-02").contains(at_ms, &Zone::utc()));
    }

    #[test]
    fn a_period_holds_its_first_millisecond_and_not_the_one_after_its_end() {
        let (october, moscow) = (period("2026-10"), zone("+03:00"));
        assert_eq!(october.start_ms(&moscow), ms("2026-09-30T21:00:00Z"));
        assert_eq!(october.end_ms(&moscow), ms("2026-10-31T21:00:00Z"));
        let inside = [october.start_ms(&moscow), october.end_ms(&moscow) - 1];
        let outside = [october.start_ms(&moscow) - 1, october.end_ms(&moscow)];
        assert!(inside.iter().all(|at_ms| october.contains(*at_ms, &moscow)));
        assert!(!outside.iter().any(|at_ms| october.contains(*at_ms, &moscow)));
    }

    #[test]
    fn quarters_and_years_begin_with_their_first_month() {
        let day = date(2026, 9, 30);
        let label = |kind| Period::containing_day(kind, day).unwrap().to_string();
        assert_eq!(label(PeriodKind::Monthly), "2026-09");
        assert_eq!(label(PeriodKind::Quarterly), "2026-Q3");
        assert_eq!(label(PeriodKind::Yearly), "2026");
        assert_eq!((period("2026-Q3").first_day(), period("2026-Q3").last_day()), (date(2026, 7, 1), day));
        assert_eq!((period("2028").first_day(), period("2028").last_day()), (date(2028, 1, 1), date(2028, 12, 31)));
        assert_eq!(period("2028-02").last_day(), date(2028, 2, 29));
    }

    #[test]
    fn neighbours_follow_over_the_turn_of_the_year() {
        for (before, after) in
            [("2026-12", "2027-01"), ("2026-Q4", "2027-Q1"), ("2026", "2027"), ("2026-01", "2026-02")]
        {
            assert_eq!(period(before).next(), Some(period(after)));
            assert_eq!(period(after).previous(), Some(period(before)));
        }
        assert_eq!(period("2009-01").previous(), None);
        assert_eq!(period("2199-Q4").next(), None);
        assert_eq!(period("2199").end_ms(&zone("-14:00")), ms("2200-01-01T14:00:00Z"));
    }

    #[test]
    fn other_labels_are_refused() {
        let bad = [
            "",
            "26-10",
            "2026-1",
            "2026-13",
            "2026-00",
            "2026-Q0",
            "2026-Q5",
            "2026-q1",
            "2026-Q03",
            "2008",
            "2200",
            "+2026",
            "2026-",
            "2026-+1",
            "2026-10-01",
            " 2026",
            "2026-Q",
        ];
        for text in bad {
            assert_eq!(text.parse::<Period>(), Err(BadPeriod::Label(text.to_owned())));
        }
        assert_eq!(Period::containing(PeriodKind::Yearly, 0, &Zone::utc()), Err(BadPeriod::Year(1970)));
    }

    #[test]
    fn a_due_day_is_in_a_month_after_the_period() {
        let due = |label: &str, rule| period(label).due(rule);
        let twentieth = DueRule::new(20, 1, false).unwrap();
        assert_eq!(due("2026-10", twentieth), date(2026, 11, 20));
        assert_eq!(due("2026-12", twentieth), date(2027, 1, 20));
        assert_eq!(due("2026-Q3", twentieth), date(2026, 10, 20));
        assert_eq!(due("2026", DueRule::new(30, 9, false).unwrap()), date(2027, 9, 30));
        let end_of_month = DueRule::new(31, 1, false).unwrap();
        assert_eq!(due("2027-01", end_of_month), date(2027, 2, 28));
    }

    #[test]
    fn a_due_day_on_a_weekend_moves_to_monday_if_the_rule_says_so() {
        let (stays, moves) = (DueRule::new(20, 1, false).unwrap(), DueRule::new(20, 1, true).unwrap());
        // 20 December 2026 is a Sunday, 20 February 2027 a Saturday, 20 November 2026 a Friday.
        assert_eq!(period("2026-11").due(stays), date(2026, 12, 20));
        assert_eq!(period("2026-11").due(moves), date(2026, 12, 21));
        assert_eq!(period("2027-01").due(moves), date(2027, 2, 22));
        assert_eq!(period("2026-10").due(moves), date(2026, 11, 20));
    }

    #[test]
    fn working_days_are_counted_without_weekends() {
        // 20 November 2026 is a Friday.
        assert_eq!(working_days_after(date(2026, 11, 20), 1), date(2026, 11, 23));
        assert_eq!(working_days_after(date(2026, 11, 21), 1), date(2026, 11, 23));
        assert_eq!(working_days_after(date(2026, 11, 23), 10), date(2026, 12, 7));
        assert_eq!(working_days_after(date(2026, 11, 21), 0), date(2026, 11, 21));
    }

    #[test]
    fn due_rules_without_a_day_are_refused() {
        assert_eq!(DueRule::new(0, 1, false), Err(BadDueRule::Day(0)));
        assert_eq!(DueRule::new(32, 1, false), Err(BadDueRule::Day(32)));
        assert_eq!(DueRule::new(1, 0, false), Err(BadDueRule::Months(0)));
        assert_eq!(DueRule::new(1, 25, false), Err(BadDueRule::Months(25)));
        toml::from_str::<DueRule>("day = 20\nfoo = 1").unwrap_err();
        assert_eq!(toml::from_str::<DueRule>("day = 20").unwrap(), DueRule::new(20, 1, false).unwrap());
    }

    proptest! {
        #[test]
        fn every_instant_is_in_exactly_the_period_that_contains_it(
            at_s in 1_231_006_505..7_000_000_000i64,
            kind in prop::sample::select(vec![PeriodKind::Monthly, PeriodKind::Quarterly, PeriodKind::Yearly]),
            name in prop::sample::select(vec!["UTC", "+03:00", "-11:30", "Europe/Berlin", "America/Sao_Paulo"]),
        ) {
            let (at_ms, zone) = (at_s * 1_000, zone(name));
            let period = Period::containing(kind, at_ms, &zone).unwrap();
            prop_assert!(period.contains(at_ms, &zone));
            prop_assert_eq!(period.to_string().parse(), Ok(period));
            let next = period.next().unwrap();
            prop_assert_eq!(next.previous(), Some(period));
            prop_assert_eq!(next.start_ms(&zone), period.end_ms(&zone));
            prop_assert!(next > period && !next.contains(at_ms, &zone));
        }
    }
}
