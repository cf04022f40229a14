//! Plain tables: aligned columns, no colour, no frame, so that they can be read, grepped and cut alike.

use std::fmt;

/// On which side of its column a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers, so that their digits stand below each other.
    Right,
}

/// A header and rows of as many cells.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(columns: impl Into<Vec<(&'static str, Align)>>) -> Table {
        Table { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    ///
    /// When it has more or fewer cells than there are columns.
    pub fn push<const CELLS: usize>(&mut self, cells: [String; CELLS]) {
        assert_eq!(CELLS, self.columns.len(), "a row has a cell for each column");
        self.rows.push(cells.into());
    }

    fn width(&self, column: usize) -> usize {
        let header = self.columns[column].0.chars().count();
        self.rows.iter().map(|row| row[column].chars().count()).fold(header, usize::max)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let header: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            let cells = row.iter().zip(&self.columns).zip(&widths).map(|((cell, (_, align)), &width)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new([("account", Align::Left), ("sat", Align::Right), ("state", Align::Left)]);
        table.push(["a".to_owned(), "1000".to_owned(), "ok".to_owned()]);
        table.push(["longer name".to_owned(), "-1".to_owned(), String::new()]);
        let text = "account       sat  state\na            1000  ok\nlonger name    -1\n";
        assert_eq!(table.to_string(), text);
    }
}
