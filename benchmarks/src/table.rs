//! Markdown tables, and the results of goals.

/// A Markdown table; all columns but the first and the last are numbers.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table with this header.
    pub fn new(head: &[&str]) -> Self {
        let last = head.len() - 1;
        let rule = |column| if column == 0 || column == last { "---" } else { "---:" };
        let rule = (0..head.len()).map(|column| rule(column).to_owned()).collect();
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect(), rule] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Sets the last cell of the last row.
    pub fn last(&mut self, text: String) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.last_mut()) {
            *cell = text;
        }
    }

    /// Prints the table, followed by an empty line.
    pub fn print(&self) {
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
        println!();
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

/// Formats a count per iteration, with one decimal unless it is an integer.
pub fn count(number: f64) -> String {
    if (number - number.round()).abs() < 0.05 { whole(number) } else { format!("{number:.1}") }
}

/// The goals of a row.
#[derive(Debug, Default)]
pub struct Goals {
    texts: Vec<String>,
    met: usize,
    missed: usize,
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
        if met {
            self.met += 1;
        } else {
            self.missed += 1;
        }
        self.texts.push(format!("{} {text}", if met { "met:" } else { "**MISSED:**" }));
    }

    /// Formats the goals as the cell of a table.
    pub fn cell(&self) -> String {
        self.texts.join("; ")
    }

    /// Adds the numbers of met and missed goals to `sum`.
    pub fn add_to(&self, sum: &mut (usize, usize)) {
        sum.0 += self.met;
        sum.1 += self.missed;
    }
}
