//! `screening_log.csv`: each screening with its evidence.

use std::io::Write;

use super::{
    ReportError,
    model::{ReportHead, ScreeningRow},
    table::{Cell, Column, Table, column},
};

/// The name of the file.
pub const SCREENING_LOG_FILE: &str = "screening_log.csv";

/// The table of screenings.
pub static SCREENING_LOG: Table<ScreeningRow> = Table {
    file: SCREENING_LOG_FILE,
    meaning: "One line for each screening of an address or a party against a list.",
    columns: &[COLUMNS],
};

const COLUMNS: &[Column<ScreeningRow>] = &[
    column("screening", "text", "The screening's id", |row, _| Ok(Cell::text(&row.id))),
    column("time_utc", "RFC 3339", "When it was made, in UTC", |row, _| Cell::utc(row.at_ms)),
    column("time_local", "RFC 3339", "The same time in the profile's zone", |row, head| Cell::local(row.at_ms, head)),
    column("account", "number", "The account that was screened", |row, _| {
        Ok(row.account.map_or(Cell::Empty, Cell::integer))
    }),
    column("party", "text", "The party that was screened", |row, _| Ok(Cell::text(&row.party))),
    column("occasion", "text", "Why it was made: registration, list update, batch, broadcast, template", |row, _| {
        Ok(Cell::text(&row.occasion))
    }),
    column("list_source", "text", "The list", |row, _| Ok(Cell::text(&row.list_source))),
    column("list_date", "YYYY-MM-DD", "The day the list was published", |row, _| Ok(Cell::text(&row.list_date))),
    column("list_sha256", "hex", "The SHA-256 of the list's file", |row, _| Ok(Cell::text(&row.list_sha256))),
    column("list_entries", "number", "How many entries the list had", |row, _| Ok(Cell::integer(row.list_entries))),
    column("list_loaded_utc", "RFC 3339", "When the list was loaded", |row, _| {
        row.list_loaded_at_ms.map_or(Ok(Cell::Empty), Cell::utc)
    }),
    column("input", "text", "The address or name that was looked up, as given", |row, _| Ok(Cell::text(&row.input))),
    column("script", "hex", "The script that was compared", |row, _| Ok(Cell::text(&row.script))),
    column("algorithm", "text", "The version of the rules of comparison", |row, _| Ok(Cell::text(&row.algorithm))),
    column("result", "text", "What was found", |row, _| Ok(Cell::text(&row.result))),
    column("matched_uid", "text", "The entry that matched", |row, _| Ok(Cell::text(&row.matched_uid))),
    column("label", "text", "The label of that entry", |row, _| Ok(Cell::text(&row.label))),
    column("programme", "text", "The programme of that entry", |row, _| Ok(Cell::text(&row.programme))),
    column("software_version", "text", "The version of the software that screened", |row, _| {
        Ok(Cell::text(&row.software_version))
    }),
    column("decision", "text", "What was decided", |row, _| Ok(Cell::text(&row.decision))),
    column("actors", "text | text", "Who decided", |row, _| Ok(Cell::list(&row.actors))),
];

/// Writes the screenings, in the given order.
///
/// # Errors
///
/// If a time cannot be told, or writing fails.
pub fn write_screening_log(head: &ReportHead, rows: &[ScreeningRow], out: &mut dyn Write) -> Result<(), ReportError> {
    SCREENING_LOG.write(head, rows, out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{
        super::fixture::{Parsed, head, screening},
        *,
    };

    #[test]
    fn the_evidence_of_a_match_is_complete() {
        let mut bytes = Vec::new();
        write_screening_log(&head(), &[screening()], &mut bytes).unwrap();
        let table = Parsed::read(&bytes);
        assert_eq!(table.rows(), 1);
        for (column, cell) in [
            ("screening", "S-1"),
            ("time_utc", "2026-01-31T21:30:00Z"),
            ("time_local", "2026-02-01T00:30:00+03:00"),
            ("account", "3"),
            ("party", "P-3"),
            ("occasion", "batch"),
            ("list_source", "sdn_advanced.xml"),
            ("list_date", "2024-09-27"),
            ("list_entries", "440"),
            ("list_loaded_utc", "2026-01-31T20:30:00Z"),
            ("input", "12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h"),
            ("script", "76a9140f7c70765b8d48105b5c9b9d32ad061e0b96772288ac"),
            ("result", "BLOCKED"),
            ("matched_uid", "12345"),
            ("label", "'=XBT"),
            ("decision", "'-block"),
            ("actors", "'@first | second"),
        ] {
            assert_eq!(table.cell(0, column), cell, "{column}");
        }
        assert_eq!(table.cell(0, "list_sha256").len(), 64);
    }
}
