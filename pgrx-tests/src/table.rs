//! Plain text tables that survive being pasted into an issue.

/// A header and rows of cells. Columns of figures are right-aligned.
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&str]) -> Table {
        Table { header: header.iter().map(|cell| cell.to_string()).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.header.len());
        self.rows.push(cells);
    }

    pub fn render(&self) -> String {
        let columns = self.header.len();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.chain([&self.header[column]]).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let figures: Vec<bool> =
            (0..columns).map(|column| self.rows.iter().all(|row| is_figure(&row[column]))).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().enumerate().map(|(column, cell)| {
                let width = widths[column];
                if figures[column] { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
        };
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let mut text = format!("{}\n{}\n", line(&self.header), rule.join("  "));
        for row in &self.rows {
            text.push_str(&line(row));
            text.push('\n');
        }
        text
    }
}

/// Figures, with an optional unit after a space; an empty cell or a dash stands for a missing one.
fn is_figure(cell: &str) -> bool {
    let number = cell.split(' ').next().unwrap_or(cell).trim_end_matches(['%', 'x']);
    cell.is_empty() || cell == "-" || number.replace(',', "").parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_right_and_words_left() {
        let mut table = Table::new(&["tier", "passed"]);
        table.row(vec!["golden".into(), "7".into()]);
        table.row(vec!["a".into(), "1,205".into()]);
        assert_eq!(table.render(), "tier    passed\n------  ------\ngolden       7\na        1,205\n");
    }
}
