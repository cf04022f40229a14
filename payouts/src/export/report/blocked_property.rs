//! `blocked_property.csv`: property that may not move, with the days by which authorities are to be told. The days are
//! given by the caller, who knows the country's calendar.

use std::io::Write;

use super::{
    ReportError,
    model::{BlockedRow, ReportHead, Valuation, Value},
    table::{Cell, Column, Table, Valued, column},
};

/// The name of the file.
pub const BLOCKED_PROPERTY_FILE: &str = "blocked_property.csv";

/// The table of blocked property.
pub static BLOCKED_PROPERTY: Table<BlockedRow> = Table {
    file: BLOCKED_PROPERTY_FILE,
    meaning: "One line for each blocking of property, also after its release.",
    columns: &[PROPERTY, &BlockedRow::VALUATION, DUTIES],
};

const PROPERTY: &[Column<BlockedRow>] = &[
    column("blocking", "text", "The blocking's id", |row, _| Ok(Cell::text(&row.id))),
    column("state", "text", "BLOCKED or RELEASED", |row, _| Ok(Cell::text(&row.state))),
    column("blocked_utc", "RFC 3339", "When it was blocked, in UTC", |row, _| Cell::utc(row.blocked_at_ms)),
    column("blocked_local", "RFC 3339", "The same time in the profile's zone", |row, head| {
        Cell::local(row.blocked_at_ms, head)
    }),
    column("released_utc", "RFC 3339", "When it was released, in UTC", |row, _| {
        row.released_at_ms.map_or(Ok(Cell::Empty), Cell::utc)
    }),
    column("release_reference", "text", "The list or authorisation that allowed the release", |row, _| {
        Ok(Cell::text(&row.release_reference))
    }),
    column("account", "number", "The account", |row, _| Ok(Cell::integer(row.account))),
    column("party", "text", "The party's id", |row, _| Ok(Cell::text(&row.party))),
    column("name", "text", "The party's name", |row, _| Ok(Cell::text(&row.name))),
    column("address", "text", "The address", |row, _| Ok(Cell::text(&row.address))),
    column("script", "hex", "Its script", |row, _| Ok(Cell::text(&row.script))),
    column("amount_sat", "satoshi", "How much is blocked, or was", |row, _| Ok(Cell::integer(row.amount_sat))),
    column("amount_btc", "bitcoin, 8 decimals", "The same in bitcoins", |row, _| Ok(Cell::btc(row.amount_sat))),
    column("blocked_sat", "satoshi", "The amount if it is blocked now, else 0: this column sums up", |row, _| {
        Ok(Cell::integer(row.blocked_sat()))
    }),
];

const DUTIES: &[Column<BlockedRow>] = &[
    column("screening", "text", "The screening that says so", |row, _| Ok(Cell::text(&row.screening))),
    column("list_source", "text", "The list", |row, _| Ok(Cell::text(&row.list_source))),
    column("matched_uid", "text", "The entry of the list", |row, _| Ok(Cell::text(&row.matched_uid))),
    column("programme", "text", "The programme of that entry", |row, _| Ok(Cell::text(&row.programme))),
    column("authority", "text", "The authority to report to", |row, _| Ok(Cell::text(&row.authority))),
    column("report_due", "YYYY-MM-DD", "The day by which the blocking is to be reported", |row, _| {
        Ok(Cell::text(&row.report_due))
    }),
    column("reported_on", "YYYY-MM-DD", "The day it was reported", |row, _| Ok(Cell::text(&row.reported_on))),
    column("annual_report_due", "YYYY-MM-DD", "The day by which the next yearly report is due", |row, _| {
        Ok(Cell::text(&row.annual_report_due))
    }),
];

impl BlockedRow {
    fn blocked_sat(&self) -> u64 {
        if self.released_at_ms.is_none() { self.amount_sat } else { 0 }
    }
}

impl Valued for BlockedRow {
    fn valuation(&self) -> &Valuation {
        &self.valuation
    }

    fn movement_minor(&self, value: &Value) -> Option<i128> {
        Some(if self.released_at_ms.is_none() { value.minor.into() } else { 0 })
    }
}

/// Writes the blocked property, in the given order.
///
/// # Errors
///
/// If a row has something that cannot be told, or writing fails.
pub fn write_blocked_property(head: &ReportHead, rows: &[BlockedRow], out: &mut dyn Write) -> Result<(), ReportError> {
    BLOCKED_PROPERTY.write(head, rows, out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{
        super::fixture::{Parsed, blocked, head},
        *,
    };

    #[test]
    fn blocked_property_has_its_due_days_and_what_is_released_no_longer_counts() {
        let released =
            BlockedRow { state: "RELEASED".to_owned(), released_at_ms: Some(1_769_895_000_000), ..blocked() };
        let mut bytes = Vec::new();
        write_blocked_property(&head(), &[blocked(), released], &mut bytes).unwrap();
        let table = Parsed::read(&bytes);
        for (column, cells) in [
            ("state", ["BLOCKED", "RELEASED"]),
            ("amount_sat", ["62714088", "62714088"]),
            ("amount_btc", ["0.62714088", "0.62714088"]),
            ("blocked_sat", ["62714088", "0"]),
            ("report_due", ["2026-02-13", "2026-02-13"]),
            ("annual_report_due", ["2026-09-30", "2026-09-30"]),
            ("reported_on", ["", ""]),
            ("released_utc", ["", "2026-01-31T21:30:00Z"]),
            ("value", ["UNVALUED", "UNVALUED"]),
            ("name", ["</td><script>", "</td><script>"]),
        ] {
            assert_eq!(table.column(column), cells, "{column}");
        }
    }
}
