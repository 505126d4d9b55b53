//! What `ci` says about its steps: durations, the table at the end, the last line.

use std::{fmt::Write, time::Duration};

/// What is known of one step.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) state: State,
    pub(super) took: Duration,
}

pub(super) enum State {
    NotRun,
    Passed,
    Skipped(String),
    Failed,
}

impl Line {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, state: State::NotRun, took: Duration::ZERO }
    }

    /// The step with its result, its name padded to `width`.
    pub(super) fn text(&self, width: usize) -> String {
        let Self { name, state, took } = self;
        let took = human(*took);
        match state {
            State::NotRun => format!("{name:width$}  not run"),
            State::Passed => format!("{name:width$}  passed   {took:>7}"),
            State::Skipped(reason) => format!("{name:width$}  skipped  {took:>7}  {reason}"),
            State::Failed => format!("{name:width$}  FAILED   {took:>7}"),
        }
    }
}

/// All steps beneath each other.
pub(super) fn table(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
    lines.iter().fold(String::new(), |mut text, line| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line.text(width));
        text
    })
}

/// The last line of a run in which nothing failed.
pub(super) fn success(lines: &[Line], took: Duration) -> String {
    let count = |wanted: fn(&State) -> bool| lines.iter().filter(|line| wanted(&line.state)).count();
    let passed = count(|state| matches!(state, State::Passed));
    let skipped = match count(|state| matches!(state, State::Skipped(_))) {
        0 => String::new(),
        skipped => format!(", {skipped} skipped"),
    };
    format!("ci: {passed} passed{skipped}, in {}", human(took))
}

/// To the tenth of a second below a minute, to the second above.
fn human(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1}s", duration.as_secs_f64()),
        seconds => format!("{}m {:02}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Line, State, human, success, table};

    fn line(name: &'static str, state: State, seconds: u64) -> Line {
        Line { name, state, took: Duration::from_secs(seconds) }
    }

    #[test]
    fn the_table_shows_every_step() {
        let lines = [
            line("fmt", State::Passed, 2),
            line("benchmarks", State::Skipped("no folder".to_owned()), 0),
            line("test", State::Failed, 75),
            Line::new("doc"),
        ];
        let expected = "\
fmt         passed      2.0s
benchmarks  skipped     0.0s  no folder
test        FAILED    1m 15s
doc         not run
";
        assert_eq!(table(&lines), expected);
    }

    #[test]
    fn the_last_line_counts() {
        let lines = [line("fmt", State::Passed, 1), line("tidy", State::Passed, 1)];
        assert_eq!(success(&lines, Duration::from_secs(2)), "ci: 2 passed, in 2.0s");
        let lines = [line("fmt", State::Passed, 1), line("msrv", State::Skipped(String::new()), 0)];
        assert_eq!(success(&lines, Duration::from_secs(3600)), "ci: 1 passed, 1 skipped, in 60m 00s");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(human(Duration::from_millis(59_940)), "59.9s");
        assert_eq!(human(Duration::from_secs(60)), "1m 00s");
    }
}
