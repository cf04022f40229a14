//! When payouts are made: a rule, and the moments that follow from it. Pure.

use std::{fmt, str::FromStr};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const WEEK_MS: i64 = 7 * DAY_MS;
/// 1970 began on a Thursday; its first Monday came four days later.
const FIRST_MONDAY_MS: i64 = 4 * DAY_MS;
/// The longest pause of [`Schedule::Every`]: four weeks.
const MAX_EVERY_HOURS: u16 = 672;

/// A rule for when new batches are made. Times are UTC. Its text form, by `Display` and `FromStr`, is what settings and
/// stores have: `continuous`, `daily 14:00`, `weekly mon 14:00`, `every 6h`, `manual`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Whenever a balance is due.
    Continuous,
    /// Once a day.
    Daily(TimeOfDay),
    /// Once a week.
    Weekly(Weekday, TimeOfDay),
    /// Every so many hours, counted from 1970: with 6, at 0:00, 6:00, 12:00 and 18:00. From 1 to 672.
    Every {
        /// How many.
        hours: u16,
    },
    /// Only on demand.
    Manual,
}

/// A time of day in UTC, to the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay {
    minutes: u16,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Weekday {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Mon, "mon"),
        (Self::Tue, "tue"),
        (Self::Wed, "wed"),
        (Self::Thu, "thu"),
        (Self::Fri, "fri"),
        (Self::Sat, "sat"),
        (Self::Sun, "sun"),
    ];

    /// The days since Monday.
    fn index(self) -> i64 {
        self as i64
    }
}

/// A moment at which a schedule wants payouts to be made, in milliseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The moment.
    pub at_ms: i64,
}

/// A slot that was done with: all that was due then is in batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayoutRun {
    /// The schedule that it belongs to. Of one without slots, there is a run when it was chosen after another.
    pub schedule: Schedule,
    /// The slot.
    pub slot: Slot,
    /// When it was done with, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// A text that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no schedule: write continuous, manual, \"daily 14:00\", \"weekly mon 14:00\" or \"every 6h\" (UTC, 1 to 672 hours)"
)]
pub struct NoSchedule(String);

impl Schedule {
    /// Returns the latest slot at or before `now_ms`; nothing if there are no slots, because payouts are made whenever
    /// they are due or only on demand.
    pub fn slot(self, now_ms: i64) -> Option<Slot> {
        let (period, phase) = self.rhythm()?;
        let at_ms = (now_ms - phase).div_euclid(period) * period + phase;
        Some(Slot { at_ms })
    }

    /// Returns the first slot after `now_ms`.
    pub fn next_slot(self, now_ms: i64) -> Option<Slot> {
        let (period, _) = self.rhythm()?;
        Some(Slot { at_ms: self.slot(now_ms)?.at_ms + period })
    }

    /// The milliseconds between two slots, and from 1970 to one of them.
    fn rhythm(self) -> Option<(i64, i64)> {
        match self {
            Self::Continuous | Self::Manual => None,
            Self::Daily(time) => Some((DAY_MS, time.ms())),
            Self::Weekly(day, time) => Some((WEEK_MS, FIRST_MONDAY_MS + day.index() * DAY_MS + time.ms())),
            Self::Every { hours } => Some((i64::from(hours.max(1)) * HOUR_MS, 0)),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continuous => f.write_str("continuous"),
            Self::Daily(time) => write!(f, "daily {time}"),
            Self::Weekly(day, time) => write!(f, "weekly {day} {time}"),
            Self::Every { hours } => write!(f, "every {hours}h"),
            Self::Manual => f.write_str("manual"),
        }
    }
}

impl FromStr for Schedule {
    type Err = NoSchedule;

    fn from_str(text: &str) -> Result<Self, NoSchedule> {
        let words: Vec<_> = text.split_whitespace().collect();
        let parsed = match words[..] {
            ["continuous"] => Some(Self::Continuous),
            ["manual"] => Some(Self::Manual),
            ["daily", time] => TimeOfDay::parse(time).map(Self::Daily),
            ["weekly", day, time] => Weekday::parse(day).zip(TimeOfDay::parse(time)).map(|(d, t)| Self::Weekly(d, t)),
            ["every", hours] => {
                let hours = hours.strip_suffix('h').and_then(|hours| hours.parse().ok());
                hours.filter(|hours| (1..=MAX_EVERY_HOURS).contains(hours)).map(|hours| Self::Every { hours })
            }
            _ => None,
        };
        parsed.ok_or_else(|| NoSchedule(text.to_owned()))
    }
}

impl TimeOfDay {
    /// Returns a time of day; nothing if there is none such.
    pub fn new(hour: u16, minute: u16) -> Option<Self> {
        (hour < 24 && minute < 60).then_some(Self { minutes: hour * 60 + minute })
    }

    fn parse(text: &str) -> Option<Self> {
        let (hour, minute) = text.split_once(':')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !(1..=2).contains(&hour.len()) || minute.len() != 2 || !digits(hour) || !digits(minute) {
            return None;
        }
        Self::new(hour.parse().ok()?, minute.parse().ok()?)
    }

    fn ms(self) -> i64 {
        i64::from(self.minutes) * MINUTE_MS
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl Weekday {
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(day, _)| *day)
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(day, _)| day == self).expect("every day is listed").1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// Wednesday, 15 November 2023, 13:20:00 UTC.
    const WEDNESDAY_MS: i64 = 1_700_054_400_000;

    fn at(schedule: &str, now_ms: i64) -> i64 {
        schedule.parse::<Schedule>().unwrap().slot(now_ms).unwrap().at_ms
    }

    #[test]
    fn the_latest_slot_is_found() {
        let today = WEDNESDAY_MS - (13 * 60 + 20) * MINUTE_MS;
        assert_eq!(at("daily 13:20", WEDNESDAY_MS), WEDNESDAY_MS);
        assert_eq!(at("daily 13:21", WEDNESDAY_MS), WEDNESDAY_MS + MINUTE_MS - DAY_MS);
        assert_eq!(at("daily 00:00", WEDNESDAY_MS), today);
        assert_eq!(at("weekly wed 0:00", WEDNESDAY_MS), today);
        assert_eq!(at("weekly mon 14:00", WEDNESDAY_MS), today - 2 * DAY_MS + 14 * HOUR_MS);
        assert_eq!(at("weekly thu 00:00", WEDNESDAY_MS), today - 6 * DAY_MS);
        assert_eq!(at("every 6h", WEDNESDAY_MS), today + 12 * HOUR_MS);
        for none in ["continuous", "manual"] {
            assert_eq!(none.parse::<Schedule>().unwrap().slot(WEDNESDAY_MS), None);
        }
    }

    #[test]
    fn a_text_that_is_no_schedule_is_refused() {
        for wrong in ["", "daily", "daily 24:00", "daily 1:60", "daily +1:00", "weekly 14:00", "weekly may 14:00"] {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong}");
        }
        for wrong in ["every 0h", "every 673h", "every 6", "every day", "manual 6h", "DAILY 14:00"] {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong}");
        }
    }

    fn schedules() -> impl Strategy<Value = Schedule> {
        let time = (0u16..1_440).prop_map(|minutes| TimeOfDay { minutes });
        let day = (0usize..7).prop_map(|day| Weekday::ALL[day].0);
        prop_oneof![
            time.clone().prop_map(Schedule::Daily),
            (day, time).prop_map(|(day, time)| Schedule::Weekly(day, time)),
            (1..=MAX_EVERY_HOURS).prop_map(|hours| Schedule::Every { hours }),
        ]
    }

    proptest! {
        #[test]
        fn slots_follow_each_other_and_schedules_survive_their_text(
            schedule in schedules(),
            now_ms in 0i64..4_000_000_000_000,
        ) {
            prop_assert_eq!(schedule.to_string().parse(), Ok(schedule));
            let slot = schedule.slot(now_ms).unwrap();
            let next = schedule.next_slot(now_ms).unwrap();
            prop_assert!(slot.at_ms <= now_ms && now_ms < next.at_ms);
            prop_assert_eq!(schedule.slot(slot.at_ms), Some(slot));
            prop_assert_eq!(schedule.slot(next.at_ms - 1), Some(slot));
            prop_assert_eq!(schedule.slot(next.at_ms), Some(next));
        }
    }
}
