//! Figures of several rounds: medians, ranges and ratios, as a Markdown table.

use std::fmt;

#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

/// A row of a [`Table`].
#[derive(Clone, Copy)]
pub(crate) struct RowId(usize);

struct Row {
    name: &'static str,
    /// The row that the ratio is taken against.
    base: Option<RowId>,
    /// A value a round.
    figures: Vec<f64>,
}

impl Table {
    /// A row that others are compared with, or none.
    pub(crate) fn base(&mut self, name: &'static str) -> RowId {
        self.push(name, None)
    }

    /// A row that is compared with another, round by round.
    pub(crate) fn beside(&mut self, name: &'static str, base: RowId) -> RowId {
        self.push(name, Some(base))
    }

    fn push(&mut self, name: &'static str, base: Option<RowId>) -> RowId {
        let figures = Vec::new();
        self.rows.push(Row {
            name,
            base,
            figures,
        });
        RowId(self.rows.len() - 1)
    }

    /// Adds a round's figure.
    pub(crate) fn add(&mut self, row: RowId, figure: f64) {
        self.rows[row.0].figures.push(figure);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| | median | min–max | median ratio |\n|---|---|---|---|"
        )?;
        for row in self.rows.iter().filter(|row| !row.figures.is_empty()) {
            let (low, middle, high) = spread(&row.figures);
            write!(f, "| {} | {middle:.1} | {low:.1}–{high:.1} | ", row.name)?;
            match row.base {
                None => writeln!(f, "|")?,
                Some(base) => {
                    let pairs = row.figures.iter().zip(&self.rows[base.0].figures);
                    let ratios: Vec<f64> = pairs.map(|(ours, bare)| ours / bare).collect();
                    writeln!(f, "{:.2} |", spread(&ratios).1)?;
                }
            }
        }
        Ok(())
    }
}

/// Least, median and greatest of some figures.
pub(crate) fn spread(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    // Of an even number of figures, between the two in the middle.
    let last = sorted.len().saturating_sub(1);
    let middle = sorted.get(last / 2..=last.div_ceil(2)).unwrap_or_default();
    (
        percentile(&sorted, 0.0),
        middle.iter().sum::<f64>() / middle.len() as f64,
        percentile(&sorted, 1.0),
    )
}

/// The value at this share (0 to 1) of sorted figures, the nearest rank; not a
/// number where there are none.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    // Truncation is meant: the share is of an index.
    let rank = (last as f64 * share).round() as usize;
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_two_lies_between_them() {
        assert_eq!(spread(&[4.0, 1.0]), (1.0, 2.5, 4.0));
        assert_eq!(spread(&[9.0, 1.0, 2.0]), (1.0, 2.0, 9.0));
        assert!(spread(&[]).1.is_nan());
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut table = Table::default();
        let bare = table.base("bare");
        let ours = table.beside("ours", bare);
        for (low, high) in [(2.0, 1.0), (4.0, 4.0), (10.0, 30.0)] {
            table.add(bare, low);
            table.add(ours, high);
        }
        let text = table.to_string();
        assert!(text.contains("| bare | 4.0 | 2.0–10.0 | |"), "{text}");
        assert!(text.contains("| ours | 4.0 | 1.0–30.0 | 1.00 |"), "{text}");
    }
}
