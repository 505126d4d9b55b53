//! Markdown tables, and goals with whether they are met.

/// A Markdown table; all columns but the first and the last are numbers.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this head.
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

    /// Fills the last cell of the row that was added last.
    pub fn last(&mut self, text: String) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.last_mut()) {
            *cell = text;
        }
    }

    /// Prints it, with an empty line after it.
    pub fn print(&self) {
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
        println!();
    }
}

/// A whole number with separators, or a dash for what was not measured.
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

/// A count for one iteration: with a fraction only where it has one.
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
    /// What was measured should be at most this much. What was not measured is left out.
    pub fn at_most(&mut self, measured: f64, bound: f64, what: &str) {
        if !measured.is_nan() && !bound.is_nan() {
            let sign = if measured.round() <= bound { "≤" } else { ">" };
            self.add(sign == "≤", format!("{} {sign} {}{what}", count(measured), count(bound)));
        }
    }

    /// The same for what is not counted, with a fraction.
    pub fn at_most_exactly(&mut self, measured: f64, bound: f64, what: &str) {
        if !measured.is_nan() {
            let sign = if measured <= bound { "≤" } else { ">" };
            self.add(sign == "≤", format!("{measured:.1} {sign} {bound:.1}{what}"));
        }
    }

    /// What was measured should be at least this much.
    pub fn at_least(&mut self, measured: f64, bound: f64, what: &str) {
        if !measured.is_nan() {
            let sign = if measured >= bound { "≥" } else { "<" };
            self.add(sign == "≥", format!("{measured:.1} {sign} {bound:.1}{what}"));
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

    /// The cell of a table.
    pub fn cell(&self) -> String {
        self.texts.join("; ")
    }

    /// Adds these to a sum of met and missed goals.
    pub fn add_to(&self, sum: &mut (usize, usize)) {
        sum.0 += self.met;
        sum.1 += self.missed;
    }
}
