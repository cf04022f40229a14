//! The profiles of a year, and the operator's prices: some are late, and some are revised.

use anyhow::{Context, Result};
use jiff::{ToSpan, civil::Date, tz::TimeZone};
use payouts::export::rules::{
    price_files::{PriceFile, RateFile},
    prices::PriceBook,
    profile::CountryProfile,
};

use super::RESIDENCY;

/// Days of the year without a price until the operator finds one, days whose price is revised, and days for which there
/// is none at all.
const LATE_PRICES: [i16; 6] = [12, 31, 58, 59, 130, 203];
const REVISED: [std::ops::RangeInclusive<i16>; 4] = [18..=20, 44..=74, 140..=175, 211..=215];
const NO_PRICES: [i16; 2] = [140, 304];
/// How many days it takes to find a price, or to revise one: the month is declared by then.
const LATE_DAYS: i64 = 30;

/// A shipped profile with its blanks filled in.
pub(super) fn profile(name: &str) -> Result<CountryProfile> {
    let (_, text) = CountryProfile::SHIPPED.iter().find(|(shipped, _)| *shipped == name).context("it is shipped")?;
    let mut text = text
        .replace("venue = \"\"", "venue = \"example-venue\"")
        .replace("source = \"\"", "source = \"example-bank\"")
        .replace("legal_name = \"\"", "legal_name = \"Example Pool LLC\"")
        .replace("eligible_venues = []", "eligible_venues = [\"example-venue\"]")
        .replace("residency = \"\"", &format!("residency = \"{RESIDENCY}\""))
        .replace(" = \"\"", " = \"X-1\"");
    if !text.contains("\nresidency = ") {
        text += &format!("residency = \"{RESIDENCY}\"\n");
    }
    Ok(CountryProfile::parse(&text)?)
}

/// The operator's prices and rates, as they are known at a moment.
pub(super) fn book(at_ms: i64) -> Result<PriceBook> {
    let mut prices = "venue,pair,basis,time,price\n".to_owned();
    let mut rates = "source,base,quote,date,rate\n".to_owned();
    let today = jiff::Timestamp::from_millisecond(at_ms)?.to_zoned(TimeZone::UTC).date();
    let mut day = Date::constant(2025, 12, 25);
    while day < today {
        let number = day.day_of_year();
        let noise = i64::from(number) * 7_919 % 9_973;
        let is_late = day.checked_add(LATE_DAYS.days())? <= today;
        let has_price = !NO_PRICES.contains(&number) && (is_late || !LATE_PRICES.contains(&number));
        let is_revised = is_late && REVISED.iter().any(|days| days.contains(&number));
        if has_price || day.year() < 2026 {
            let dollars = 60_000 + noise + if is_revised { 250 } else { 0 };
            prices += &format!("example-venue,BTC/USD,close,{day}T23:59:59Z,{dollars}.{:02}\n", noise % 100);
            prices += &format!("example-venue,BTC/EUR,vwap,{day}T23:59:59Z,{}.{:03}\n", dollars - 4_321, noise % 1_000);
        }
        // A central bank rests at weekends.
        if day.weekday().to_monday_zero_offset() < 5 {
            rates += &format!("example-bank,USD,RUB,{day},{}.{:04}\n", 78 + noise % 9, noise % 10_000);
        }
        day = day.checked_add(1.day())?;
    }
    let mut book = PriceBook::default();
    book.add_prices(&PriceFile::read(prices.as_bytes())?)?;
    book.add_rates(&RateFile::read(rates.as_bytes())?)?;
    Ok(book)
}
