//! Tables in running text.

use std::fmt::{Display, Write};

/// Columns as wide as their longest cell; numbers stand right.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(head: &[&str; N]) -> Self {
        Self {
            rows: vec![head.map(str::to_owned)],
        }
    }

    pub(super) fn row(&mut self, row: [&dyn Display; N]) {
        self.rows.push(row.map(|cell| cell.to_string()));
    }

    pub(super) fn write(&self, out: &mut String, none: &str) -> std::fmt::Result {
        if self.rows.len() == 1 {
            return writeln!(out, "{none}\n");
        }
        let widths: [usize; N] = std::array::from_fn(|column| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        });
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                if column > 0
                    && cell.starts_with(|c: char| c.is_ascii_digit())
                    && !cell.contains([':', '-'])
                    && cell.matches('.').count() < 2
                {
                    write!(line, "{cell:>width$}  ")?;
                } else {
                    write!(line, "{cell:<width$}  ")?;
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        writeln!(out)
    }
}
