//! In which line of a TOML text each key stands.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The lines of all keys of a file, from 1, by their full names.
pub(super) type KeyLines = BTreeMap<String, usize>;

/// Finds the lines of the keys of a text that is TOML.
pub(super) fn lines_of_keys(text: &str) -> KeyLines {
    let mut lines = KeyLines::new();
    if let Ok(table) = DeTable::parse(text) {
        add_lines(text, "", table.get_ref(), &mut lines);
    }
    lines
}

fn add_lines(text: &str, prefix: &str, table: &DeTable<'_>, lines: &mut KeyLines) {
    for (name, value) in table {
        let key = match prefix {
            "" => name.get_ref().to_string(),
            prefix => format!("{prefix}.{}", name.get_ref()),
        };
        if let DeValue::Table(inner) = Spanned::get_ref(value) {
            add_lines(text, &key, inner, lines);
        }
        lines.insert(key, line_at(text, name.span().start));
    }
}

/// The line, from 1, in which the byte at `position` stands.
pub(super) fn line_at(text: &str, position: usize) -> usize {
    text.bytes().take(position).filter(|byte| *byte == b'\n').count() + 1
}
