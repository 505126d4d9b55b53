//! Tables of measured values, and the results of goals.

use serde::Serialize;

/// A table: rows with a name, values and goals.
#[derive(Debug, Serialize)]
pub struct Table {
    /// The headings of the values.
    columns: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    cells: Vec<Cell>,
    goals: Goals,
}

/// A value as text, and as a number with the range in which it was measured, where there are any.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    text: String,
    value: Option<f64>,
    /// The least and the greatest value of all rounds.
    spread: Option<[f64; 2]>,
}

impl Cell {
    /// An integer.
    pub fn whole(value: f64) -> Self {
        Self::number(value, whole(value))
    }

    /// A count per iteration.
    pub fn count(value: f64) -> Self {
        Self::number(value, count(value))
    }

    /// A number with so many decimals.
    pub fn decimal(value: f64, decimals: usize) -> Self {
        let text = if value.is_nan() { whole(value) } else { format!("{value:.decimals$}") };
        Self::number(value, text)
    }

    /// A number as this text.
    pub fn number(value: f64, text: String) -> Self {
        Self { text, value: Some(value).filter(|value| value.is_finite()), spread: None }
    }

    /// Adds the least and the greatest value of all rounds, with as many decimals as the value.
    #[must_use]
    pub fn with_spread(mut self, spread: [f64; 2]) -> Self {
        if spread.iter().all(|value| value.is_finite()) {
            let [least, most] = spread.map(|value| match self.text.rsplit_once('.') {
                Some((_, decimals)) => format!("{value:.*}", decimals.len()),
                None => whole(value),
            });
            self.text = format!("{} ({least} to {most})", self.text);
            self.spread = Some(spread);
        }
        self
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), value: None, spread: None }
    }
}

impl Table {
    /// Creates a table with these columns between that of the names and that of the goals.
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|&column| column.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, name: impl Into<String>, cells: Vec<Cell>, goals: Goals) {
        self.rows.push(Row { name: name.into(), cells, goals });
    }

    /// Returns true without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the goals of all rows.
    pub fn goals(&self) -> impl Iterator<Item = &Goals> {
        self.rows.iter().map(|row| &row.goals)
    }

    /// Formats the table in Markdown.
    pub fn markdown(&self) -> String {
        let rule = "---:|".repeat(self.columns.len());
        let mut text = format!("| | {} | goals |\n|---|{rule}---|\n", self.columns.join(" | "));
        for Row { name, cells, goals } in &self.rows {
            let cells: Vec<_> = cells.iter().map(|cell| &*cell.text).collect();
            text.push_str(&format!("| {name} | {} | {} |\n", cells.join(" | "), goals.text()));
        }
        text
    }
}

/// Formats an integer with separators; NaN, for a cell that was not measured, as a dash.
pub fn whole(number: f64) -> String {
    if number.is_nan() {
        return "–".to_owned();
    }
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0.0 && digits != "0" { format!("−{text}") } else { text }
}

/// Formats a count per iteration, with one decimal unless it is an integer or large.
pub fn count(number: f64) -> String {
    if number.abs() >= 1000.0 || (number - number.round()).abs() < 0.05 {
        whole(number)
    } else {
        format!("{number:.1}").replace('-', "−")
    }
}

/// The goals of a row.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Goals(Vec<Goal>);

#[derive(Debug, Serialize)]
struct Goal {
    met: bool,
    text: String,
}

impl Goals {
    /// Adds a goal with an upper bound. NaN, for a cell that was not measured, is ignored.
    pub fn at_most(&mut self, measured: f64, bound: f64, suffix: &str) {
        if !measured.is_nan() && !bound.is_nan() {
            let sign = if measured.round() <= bound { "≤" } else { ">" };
            self.add(sign == "≤", format!("{} {sign} {}{suffix}", count(measured), count(bound)));
        }
    }

    /// Like [`at_most`](Self::at_most), with one decimal.
    pub fn at_most_exactly(&mut self, measured: f64, bound: f64, suffix: &str) {
        if !measured.is_nan() {
            let sign = if measured <= bound { "≤" } else { ">" };
            self.add(sign == "≤", format!("{measured:.1} {sign} {bound:.1}{suffix}"));
        }
    }

    /// Like [`at_most`](Self::at_most), with two decimals.
    pub fn at_most_precisely(&mut self, measured: f64, bound: f64, suffix: &str) {
        if !measured.is_nan() {
            let sign = if measured <= bound { "≤" } else { ">" };
            self.add(sign == "≤", format!("{measured:.2} {sign} {bound:.2}{suffix}"));
        }
    }

    /// Adds a goal with a lower bound.
    pub fn at_least(&mut self, measured: f64, bound: f64, suffix: &str) {
        if !measured.is_nan() {
            let sign = if measured >= bound { "≥" } else { "<" };
            self.add(sign == "≥", format!("{measured:.1} {sign} {bound:.1}{suffix}"));
        }
    }

    fn add(&mut self, met: bool, text: String) {
        self.0.push(Goal { met, text });
    }

    /// Returns the number of goals that were met.
    pub fn met(&self) -> usize {
        self.0.iter().filter(|goal| goal.met).count()
    }

    /// Returns the number of goals that were missed.
    pub fn missed(&self) -> usize {
        self.0.len() - self.met()
    }

    /// Formats the goals as the cell of a table.
    fn text(&self) -> String {
        let texts = self
            .0
            .iter()
            .map(|Goal { met, text }| format!("{} {text}", if *met { "met:" } else { "**MISSED:**" }));
        texts.collect::<Vec<_>>().join("; ")
    }
}
