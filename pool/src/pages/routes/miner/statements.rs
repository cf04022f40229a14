//! What a miner takes home for his own books: the ledger's lines about him, as a table of a month or a year.

use std::{fmt::Write, time::Duration};

use askama::Template;
use axum::{
    body::{Body, Bytes},
    http::Uri,
};
use futures_util::stream;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use payouts::{account::AccountId, export::rules::period::Period, ledger::EntrySeq, store::AccountPosting};
use tracing::warn;

use super::{super::now_ms, Nav};
use crate::{
    operations::{Refusal, RefusalCode},
    pages::{
        Pages,
        asked::{Shown, file, page},
        fields::Fields,
        frame::Frame,
        guard,
        kept::Kept,
        miners::Visit,
    },
    register::{StatementKind, media_type},
};

/// Lines that are read from the store at a time.
const LINES: u32 = 1_000;
/// The first line of a table.
const HEADER: &str = "time_utc,entry,line,kind,key,account,movement_sat\r\n";
/// Years that are offered.
const MOST_YEARS: i16 = 20;

/// For so long a statement is handed out as it was made: making one reads all of the ledger.
const STATEMENT_LASTS: Duration = Duration::from_secs(300);
/// Statements that are kept.
const MOST_STATEMENTS: usize = 32;
/// The longest statement that is handed out.
const MAX_STATEMENT_BYTES: usize = 16 << 20;

/// A statement: whose, of which period, as what.
type Key = (AccountId, String, StatementKind);

/// Statements that were asked for lately, made one at a time.
#[derive(Debug)]
pub(in crate::pages) struct TaxStatements(Kept<Key, Option<(String, Bytes)>>);

impl Default for TaxStatements {
    fn default() -> TaxStatements {
        TaxStatements(Kept::new(STATEMENT_LASTS, MOST_STATEMENTS, 1))
    }
}

#[derive(Template)]
#[template(path = "miner_statements.html")]
struct Statements {
    frame: Frame,
    nav: Nav,
    years: Vec<YearLine>,
    periods: Vec<String>,
}

/// A year in which something was booked, and its months.
struct YearLine {
    year: i16,
    /// Each with its name.
    months: Vec<(i8, String)>,
}

/// The page with the choice.
pub(super) async fn show(visit: Visit) -> Shown {
    let Visit { pages, miner, .. } = &visit;
    let first = pages.store.postings_between(miner.known()?.id, 0, i64::MAX, None, 1).await?;
    let now_ms = now_ms();
    page(&Statements {
        frame: visit.frame("Statements"),
        nav: Nav::new(miner, "statements"),
        periods: periods(pages, first.first().map_or(now_ms, |first| first.at_ms), now_ms).await?,
        years: first.first().map(|first| years(first.at_ms, now_ms)).unwrap_or_default(),
    })
}

/// The periods of the pool's profile from the one on in which something was first booked, the newest first.
async fn periods(pages: &Pages, from_ms: i64, now_ms: i64) -> Result<Vec<String>, Refusal> {
    let profile = pages.register.profile(None)?;
    let all = pages.register.periods(now_ms).await?;
    let own = all.into_iter().filter(|it| it.profile == profile.name()).map(|it| it.period);
    let mut labels: Vec<_> = own.filter(|it| it.end_ms(profile.zone()) > from_ms).map(|it| it.to_string()).collect();
    labels.reverse();
    labels.truncate(MOST_YEARS as usize * 12);
    Ok(labels)
}

/// The statement of a period, as accountants want it. It takes a log-in, for making one reads all of the ledger.
pub(super) async fn statement(Visit { pages, miner, fields }: Visit, uri: Uri) -> Shown {
    if miner.viewer.is_none() {
        return Ok(guard::to_log_in(&uri, false));
    }
    let account = miner.known()?.id;
    let period: Period = fields.required("period")?;
    let kind = StatementKind::ALL.into_iter().find(|kind| kind.as_str() == fields.text("as"));
    let kind = kind.ok_or_else(|| Refusal::new(RefusalCode::Invalid, "a statement is csv, json or html"))?;
    let make = async {
        let made = pages.register.statement(account, period, kind).await?;
        let too_long = || Refusal::new(RefusalCode::Conflict, "it is too long for a page: ask the operator for it");
        made.map(|(name, bytes)| match bytes.len() {
            ..=MAX_STATEMENT_BYTES => Ok((name, Bytes::from(bytes))),
            _ => Err(too_long()),
        })
        .transpose()
    };
    let made = pages.statements.0.value(&(account, period.to_string(), kind), make).await?;
    let none = || Refusal::new(RefusalCode::NotFound, "nothing was booked for this account in that period");
    let (name, bytes) = made.as_ref().as_ref().ok_or_else(none)?;
    file(name, media_type(name), bytes.clone())
}

/// The years from one time to another, the newest first.
fn years(from_ms: i64, to_ms: i64) -> Vec<YearLine> {
    let date = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned(TimeZone::UTC).date();
    let (first, last) = (date(from_ms), date(to_ms));
    let oldest = first.year().max(last.year() - MOST_YEARS + 1);
    let year = |year: i16| {
        let begin = if year == first.year() { first.month() } else { 1 };
        let end = if year == last.year() { last.month() } else { 12 };
        YearLine { year, months: (begin..=end).map(|month| (month, format!("{year:04}-{month:02}"))).collect() }
    };
    (oldest..=last.year()).rev().map(year).collect()
}

/// The table of a month or a year, written while it is read: however long it is, little of it is in memory.
pub(super) async fn ledger(Visit { pages, miner, fields }: Visit) -> Shown {
    let (account, stretch) = (miner.known()?.id, Stretch::read(&fields)?);
    let name = format!("ledger_{}_{}.csv", miner.user, stretch.label);
    let store = pages.store;
    let begin = Some((stretch, None::<(EntrySeq, u32)>, true));
    let lines = stream::unfold(begin, move |place| {
        let store = store.clone();
        async move {
            let (stretch, after, is_first) = place?;
            let page = match store.postings_between(account, stretch.from_ms, stretch.until_ms, after, LINES).await {
                Ok(page) => page,
                Err(error) => {
                    // The table breaks off, which whoever reads it is told by the connection.
                    warn!(%error, "a statement could not be read to its end");
                    return Some((Err(error), None));
                }
            };
            let next =
                (page.len() == LINES as usize).then(|| page.last().map(|last| (last.entry, last.line))).flatten();
            let mut text = if is_first { HEADER.to_owned() } else { String::new() };
            page.iter().for_each(|posting| write_line(&mut text, posting));
            let place = next.map(|next| (stretch, Some(next), false));
            Some((Ok(Bytes::from(text)), place))
        }
    });
    file(&name, "text/csv; charset=utf-8", Body::from_stream(lines))
}

/// Writes a line of the ledger. What the pool owes more is above zero here. None of the texts has a comma or a quote.
fn write_line(text: &mut String, posting: &AccountPosting) {
    let at = Timestamp::from_millisecond(posting.at_ms).unwrap_or_default();
    let account = posting.account.to_string();
    let account = account.split(':').next().unwrap_or_default();
    let AccountPosting { entry, line, kind, key, amount, .. } = posting;
    let _ = write!(text, "{at},{entry},{line},{kind},{key},{account},{}\r\n", -amount.to_sat());
}

/// A month or a year of UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    label: String,
    from_ms: i64,
    until_ms: i64,
}

impl Stretch {
    fn read(fields: &Fields) -> Result<Stretch, Refusal> {
        let (year, month) = (fields.required::<i16>("year")?, fields.optional::<i8>("month")?);
        let wrong = || Refusal::new(RefusalCode::Invalid, "there is no such month");
        let begin = Date::new(year, month.unwrap_or(1), 1).map_err(|_| wrong())?;
        let end = match month {
            None | Some(12) => Date::new(year.saturating_add(1), 1, 1),
            Some(month) => Date::new(year, month + 1, 1),
        };
        let ms = |date: Date| {
            let begin = date.to_zoned(TimeZone::UTC);
            begin.map(|begin| begin.timestamp().as_millisecond()).map_err(|_| wrong())
        };
        let label = match month {
            Some(month) => format!("{year:04}-{month:02}"),
            None => format!("{year:04}"),
        };
        Ok(Stretch { label, from_ms: ms(begin)?, until_ms: ms(end.map_err(|_| wrong())?)? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stretch(query: &str) -> Result<Stretch, Refusal> {
        Stretch::read(&Fields::read(query.as_bytes()))
    }

    #[test]
    fn month_and_year_are_those_of_utc() {
        let month = stretch("year=2026&month=12").unwrap();
        assert_eq!((month.label.as_str(), month.from_ms), ("2026-12", 1_796_083_200_000));
        assert_eq!(month.until_ms - month.from_ms, 31 * 86_400_000);
        let year = stretch("year=2024").unwrap();
        assert_eq!((year.label.as_str(), year.until_ms - year.from_ms), ("2024", 366 * 86_400_000));
        assert_eq!(stretch("year=2026&month=2").unwrap().until_ms, stretch("year=2026&month=3").unwrap().from_ms);
        for wrong in ["", "year=x", "year=2026&month=13", "year=2026&month=0", "year=9999", "year=32767"] {
            assert_eq!(stretch(wrong).unwrap_err().code, RefusalCode::Invalid, "{wrong}");
        }
    }

    #[test]
    fn months_are_offered_from_the_first_on_in_which_something_was_booked() {
        let offered = years(1_700_000_000_000, 1_706_000_000_000);
        let said: Vec<_> = offered.iter().flat_map(|line| line.months.iter().map(|(_, name)| name.as_str())).collect();
        assert_eq!(said, ["2024-01", "2023-11", "2023-12"]);
        assert_eq!(years(0, 1_706_000_000_000).len(), MOST_YEARS as usize);
    }
}
