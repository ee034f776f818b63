//! Tables, for the terminal and as Markdown.

use std::fmt::{self, Write as _};

/// The cells of a row.
pub(crate) type Row = Vec<String>;

/// A table with a title, and sentences below it.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.into(), columns, rows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// As Markdown, below a heading of the third level.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n| {} |\n", self.title, self.columns.join(" | "));
        let alignments =
            self.columns.iter().enumerate().map(|(index, _)| if index == 0 { "---" } else { "---:" });
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "| {} |", alignments.collect::<Vec<_>>().join(" | "));
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}.");
        }
        text
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |index: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).chain(self.columns.get(index));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        writeln!(formatter, "\n{}", self.title)?;
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            let mut line = String::new();
            for (index, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                match index {
                    0 => write!(line, "{cell:<width$}")?,
                    _ => write!(line, "  {cell:>width$}")?,
                }
            }
            writeln!(formatter, "{}", line.trim_end())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(formatter, "  {note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("Title", &["server", "CPU µs"]);
        table.push(vec!["a".to_owned(), "1.5".to_owned()]);
        table.note("A note");
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(table().to_string(), "\nTitle\nserver  CPU µs\na          1.5\n  A note\n");
    }

    #[test]
    fn markdown_has_heading_rows_and_notes() {
        let expected = "### Title\n\n| server | CPU µs |\n| --- | ---: |\n| a | 1.5 |\n\nA note.\n";
        assert_eq!(table().markdown(), expected);
    }
}
