//! The table that comes out: both sides of a ratio, what was aimed at, and whether it was reached.

use super::rounds::Sample;
use crate::table::Table;

#[derive(Clone, Copy, Debug)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn verdict(self, figure: f64) -> String {
        let (reached, missing, word) = match self {
            Target::AtLeast(bound) => (figure >= bound, 1.0 - figure / bound, "short"),
            Target::AtMost(bound) => (figure <= bound, figure / bound - 1.0, "over"),
        };
        match reached {
            true => "reached".to_string(),
            // Rounded up: a row is not short by 0 %.
            false => format!("{word} by {:.0} %", (missing * 100.0).ceil()),
        }
    }

    fn render(self, unit: &str) -> String {
        match self {
            Target::AtLeast(bound) => format!(">= {bound}{unit}"),
            Target::AtMost(bound) => format!("<= {bound}{unit}"),
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    name: String,
    ours: String,
    other: String,
    figure: String,
    rounds: String,
    target: String,
    verdict: String,
}

impl Row {
    /// Our speed by the other's, both in transactions a second.
    pub fn speeds(name: &str, ours: &Sample, other: &Sample, target: Option<Target>) -> Row {
        let tps = |sample: &Sample| format!("{:.0} tps", sample.median());
        let ratio = ours.median() / other.median();
        let (low, high) = ours.ratios(other);
        let row = Row::figure(name, tps(ours), tps(other), ratio, "", target);
        Row { rounds: format!("{}–{}", short(low), short(high)), ..row }
    }

    /// A figure with a unit (empty for a ratio) that the target is about.
    pub fn figure(name: &str, ours: String, other: String, figure: f64, unit: &str, target: Option<Target>) -> Row {
        Row {
            name: name.to_string(),
            ours,
            other,
            figure: format!("{}{unit}", short(figure)),
            rounds: "-".to_string(),
            target: target.map_or("-".to_string(), |target| target.render(unit)),
            verdict: target.map_or("-".to_string(), |target| target.verdict(figure)),
        }
    }

    /// Our time by the other's, each shown in a text of its own.
    pub fn times(
        name: &str,
        (shown, other_shown): (String, String),
        ours: &Sample,
        other: &Sample,
        target: Option<Target>,
    ) -> Row {
        let (low, high) = ours.ratios(other);
        let row = Row::figure(name, shown, other_shown, ours.median() / other.median(), "", target);
        Row { rounds: format!("{}–{}", short(low), short(high)), ..row }
    }

    /// What this server does not have.
    pub fn unavailable(name: &str, target: Target, unit: &str) -> Row {
        let nothing = || "n/a".to_string();
        Row {
            name: name.to_string(),
            ours: nothing(),
            other: nothing(),
            figure: nothing(),
            rounds: "-".to_string(),
            target: target.render(unit),
            verdict: nothing(),
        }
    }
}

/// `1 client`, `64 clients`.
pub fn clients(number: u32) -> String {
    format!("{number} client{}", if number == 1 { "" } else { "s" })
}

/// Three significant figures or so.
fn short(figure: f64) -> String {
    match figure.abs() {
        large if large >= 100.0 => format!("{figure:.0}"),
        middle if middle >= 10.0 => format!("{figure:.1}"),
        tiny if tiny < 0.1 => format!("{figure:.3}"),
        _ => format!("{figure:.2}"),
    }
}

pub fn render(rows: Vec<Row>) -> String {
    let mut table = Table::new(&["measured", "pg_tollgate", "against", "ratio", "in rounds", "target", "verdict"]);
    for row in rows {
        table.row(vec![row.name, row.ours, row.other, row.figure, row.rounds, row.target, row.verdict]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_how_far_it_is() {
        assert_eq!(Target::AtLeast(0.9).verdict(0.9), "reached");
        assert_eq!(Target::AtLeast(0.9).verdict(0.8999), "short by 1 %");
        assert_eq!(Target::AtLeast(20.0).verdict(10.0), "short by 50 %");
        assert_eq!(Target::AtMost(0.5).verdict(0.5), "reached");
        assert_eq!(Target::AtMost(0.5).verdict(0.75), "over by 50 %");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([0.0437, 0.914, 28.16, 128.4].map(short), ["0.044", "0.91", "28.2", "128"]);
    }
}
