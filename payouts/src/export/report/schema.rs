//! `schema.md` and `schemas.json`: what the columns of all tables mean, from the same list that writes their headers.

use std::io::Write;

use serde::Serialize;

use super::{
    NOT_LEGAL_ADVICE, ReportError, SCHEMA_VERSION,
    blocked_property::BLOCKED_PROPERTY,
    register::{REGISTER, REGISTER_LOTS},
    sales::EXPORT_SALES,
    screening_log::SCREENING_LOG,
    statement::STATEMENT,
    table::Table,
};

/// The name of the description for people.
pub const MARKDOWN_FILE: &str = "schema.md";
/// The name of the description for programs.
pub const JSON_FILE: &str = "schemas.json";
/// What holds for all tables.
const FORM: &str = "RFC 4180, UTF-8 with a byte order mark, lines ended by CR LF, a header always. \
    Import columns of hex and ids as text. A text that a spreadsheet could take for a formula has an apostrophe before \
    it, at its start and after each tab, line end or semicolon; so has a text that begins with an apostrophe itself.";

/// What a table is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableSchema {
    /// The file's name, with its variable parts in angle brackets.
    pub file: &'static str,
    /// What a line of it is.
    pub meaning: &'static str,
    /// Its columns, in order.
    pub columns: Vec<ColumnSchema>,
}

/// What a column is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnSchema {
    /// Its name.
    pub name: &'static str,
    /// The unit or form of its cells.
    pub unit: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

#[derive(Serialize)]
struct Schemas {
    schema_version: u32,
    notice: &'static str,
    form: &'static str,
    tables: Vec<TableSchema>,
}

/// Returns what all tables are.
pub fn tables() -> Vec<TableSchema> {
    vec![
        schema(&REGISTER),
        schema(&REGISTER_LOTS),
        schema(&STATEMENT),
        schema(&EXPORT_SALES),
        schema(&SCREENING_LOG),
        schema(&BLOCKED_PROPERTY),
    ]
}

/// Writes the description for programs.
///
/// # Errors
///
/// If writing fails.
pub fn write_json(out: &mut dyn Write) -> Result<(), ReportError> {
    let schemas = Schemas { schema_version: SCHEMA_VERSION, notice: NOT_LEGAL_ADVICE, form: FORM, tables: tables() };
    serde_json::to_writer_pretty(&mut *out, &schemas)?;
    Ok(out.write_all(b"\n")?)
}

/// Writes the description for people.
///
/// # Errors
///
/// If writing fails.
pub fn write_markdown(out: &mut dyn Write) -> Result<(), ReportError> {
    writeln!(
        out,
        "# The tables of the export register\n\nSchema version {SCHEMA_VERSION}. {FORM}\n\n{NOT_LEGAL_ADVICE}"
    )?;
    for table in tables() {
        writeln!(
            out,
            "\n## `{}`\n\n{}\n\n| column | unit or form | meaning |\n| --- | --- | --- |",
            table.file, table.meaning
        )?;
        for column in &table.columns {
            // A bar inside of a cell would end it.
            writeln!(out, "| `{}` | {} | {} |", column.name, column.unit.replace('|', "\\|"), column.meaning)?;
        }
    }
    Ok(())
}

fn schema<R>(table: &Table<R>) -> TableSchema {
    let column = |column: &super::table::Column<R>| ColumnSchema {
        name: column.name,
        unit: column.unit,
        meaning: column.meaning,
    };
    TableSchema { file: table.file, meaning: table.meaning, columns: table.columns().map(column).collect() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_column_is_named_once_and_described() {
        for table in tables() {
            let names: BTreeSet<&str> = table.columns.iter().map(|column| column.name).collect();
            assert_eq!(names.len(), table.columns.len(), "{}", table.file);
            for column in &table.columns {
                assert!(!column.unit.is_empty() && !column.meaning.is_empty(), "{} {}", table.file, column.name);
                assert!(
                    column.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
                );
            }
        }
    }

    #[test]
    fn both_descriptions_name_every_column() {
        let (mut json, mut markdown) = (Vec::new(), Vec::new());
        write_json(&mut json).unwrap();
        write_markdown(&mut markdown).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let markdown = String::from_utf8(markdown).unwrap();
        assert_eq!(json["notice"], NOT_LEGAL_ADVICE);
        assert!(markdown.contains(NOT_LEGAL_ADVICE));
        for (table, told) in tables().iter().zip(json["tables"].as_array().unwrap()) {
            assert_eq!(told["file"], table.file);
            let (_, section) = markdown.split_once(&format!("## `{}`", table.file)).unwrap();
            let section = section.split("\n## ").next().unwrap();
            for (column, told) in table.columns.iter().zip(told["columns"].as_array().unwrap()) {
                assert_eq!((&told["name"], &told["meaning"]), (&column.name.into(), &column.meaning.into()));
                assert!(section.contains(&format!("| `{}` |", column.name)), "{} {}", table.file, column.name);
            }
        }
    }
}
