//! Columns that stand below each other.

use super::Style;
use autotag_base::terminal::Tone;

/// One field of a table.
pub(super) struct Cell {
    pub(super) tone: Tone,
    pub(super) text: String,
}

impl Cell {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { tone: Tone::Plain, text: text.into() }
    }
}

/// Rows of equal length.
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        let cell = |name: &&str| Cell { tone: Tone::Faint, text: (*name).to_owned() };
        Self { rows: vec![head.iter().map(cell).collect()] }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Two spaces between columns; none at a line's end. Colours take no place.
    pub(super) fn draw(&self, look: &Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                text.push_str(&look.paint(cell.tone, &cell.text));
                if column + 1 < row.len() {
                    let gap = widths[column] - cell.text.chars().count() + 2;
                    text.extend(std::iter::repeat_n(' ', gap));
                }
            }
            text.push('\n');
        }
        text
    }
}
