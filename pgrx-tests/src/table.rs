//! Plain text tables that survive being pasted into an issue.

/// How many characters the longest bar is.
const BAR: f64 = 20.0;

/// A header and rows of cells. Columns of figures are right-aligned.
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    bars: Option<Bars>,
}

/// Bars at the end of the rows, as long as the figures of a column say.
struct Bars {
    column: usize,
    /// The figure of a bar of full length; without one, the largest.
    full: Option<f64>,
}

impl Table {
    pub fn new(header: &[&str]) -> Table {
        Table { header: header.iter().map(|cell| cell.to_string()).collect(), rows: Vec::new(), bars: None }
    }

    /// Bars for a column, the longest for `full` or, without it, for the largest figure.
    pub fn with_bars(mut self, column: usize, full: Option<f64>) -> Table {
        self.bars = Some(Bars { column, full });
        self
    }

    pub fn header(&self) -> &[String] {
        &self.header
    }

    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
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
        let figures: Vec<bool> = (0..columns).map(|column| self.is_of_figures(column)).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().enumerate().map(|(column, cell)| {
                let width = widths[column];
                if figures[column] { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
        };
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let mut text = format!("{}\n{}\n", line(&self.header), rule.join("  "));
        let bars = self.bars();
        for (index, row) in self.rows.iter().enumerate() {
            // Padded to the end, where a bar follows.
            let cells = line(row);
            match bars.get(index).filter(|bar| !bar.is_empty()) {
                Some(bar) => text.push_str(&format!("{cells:<all$}  {bar}", all = rule.join("  ").len())),
                None => text.push_str(&cells),
            }
            text.push('\n');
        }
        text
    }

    /// Whether a column stands right.
    pub fn is_of_figures(&self, column: usize) -> bool {
        self.rows.iter().all(|row| is_figure(&row[column]))
    }

    /// One for each row, or none at all.
    fn bars(&self) -> Vec<String> {
        let Some(Bars { column, full }) = self.bars else { return Vec::new() };
        let figures: Vec<f64> = self.rows.iter().map(|row| figure(&row[column])).collect();
        let full = full.unwrap_or_else(|| figures.iter().copied().fold(0.0, f64::max));
        figures.into_iter().map(|figure| bar(figure / full)).collect()
    }
}

/// A share of the longest bar, to the eighth of a character; what is not nothing shows.
fn bar(share: f64) -> String {
    const PARTS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
    if share.is_nan() || share <= 0.0 {
        return String::new();
    }
    let eighths = ((share.min(1.0) * BAR * 8.0).round() as usize).max(1);
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(eighths.checked_rem(8).filter(|rest| *rest > 0).map(|rest| PARTS[rest - 1]));
    bar
}

/// What a cell counts; 0 for a dash.
fn figure(cell: &str) -> f64 {
    let number = cell.split(' ').next().unwrap_or(cell).trim_end_matches(['%', 'x']);
    number.replace(',', "").parse().unwrap_or(0.0)
}

/// Figures, with an optional unit after a space; an empty cell or a dash stands for a missing one.
fn is_figure(cell: &str) -> bool {
    let number = cell.split(' ').next().unwrap_or(cell).trim_end_matches(['%', 'x']);
    let is_short = cell.split(' ').count() <= 2;
    cell.is_empty() || cell == "-" || is_short && number.replace(',', "").parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_figure() {
        let mut table = Table::new(&["model", "USD"]).with_bars(1, None);
        for (model, usd) in [("a", "4"), ("bb", "1.025"), ("none", "-"), ("tiny", "0.0001")] {
            table.row(vec![model.into(), usd.into()]);
        }
        let lines: Vec<String> = table.render().lines().skip(2).map(str::to_string).collect();
        let expected =
            ["a           4  ████████████████████", "bb      1.025  █████▏", "none        -", "tiny   0.0001  ▏"];
        assert_eq!(lines, expected);
        let mut shares = Table::new(&["used"]).with_bars(0, Some(100.0));
        shares.row(vec!["50 %".into()]);
        shares.row(vec!["250 %".into()]);
        let lines: Vec<String> = shares.render().lines().skip(2).map(str::to_string).collect();
        assert_eq!(lines, [" 50 %  ██████████", "250 %  ████████████████████"]);
    }

    #[test]
    fn a_sentence_is_no_figure() {
        let told = ["7", "-", "", "1,205", "99.5 %", "3x", "40 ms", "2 USD are left", "a", "n 1"].map(is_figure);
        assert_eq!(told, [true, true, true, true, true, true, true, false, false, false]);
    }

    #[test]
    fn figures_stand_right_and_words_left() {
        let mut table = Table::new(&["tier", "passed"]);
        table.row(vec!["golden".into(), "7".into()]);
        table.row(vec!["a".into(), "1,205".into()]);
        assert_eq!(table.render(), "tier    passed\n------  ------\ngolden       7\na        1,205\n");
    }
}
