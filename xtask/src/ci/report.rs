//! The printed results of `ci`: the list of steps, their durations, the table at the end, the last line.

use std::{fmt::Write, time::Duration};

use crate::ci::{Step, When};

/// The longest time that a step of the quick run may take.
const STEP_LIMIT: Duration = Duration::from_secs(5 * 60);

/// The result of one step.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) when: When,
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
    pub(super) fn new(name: &'static str, when: When) -> Self {
        Self { name, when, state: State::NotRun, took: Duration::ZERO }
    }

    /// The step with its result, its name padded to `width`.
    pub(super) fn text(&self, width: usize) -> String {
        let Self { name, when, state, took } = self;
        let note = if *when == When::Always && *took > STEP_LIMIT {
            format!("  longer than {}", human(STEP_LIMIT))
        } else {
            String::new()
        };
        let took = human(*took);
        match state {
            State::NotRun => format!("{name:width$}  not run"),
            State::Passed => format!("{name:width$}  passed   {took:>7}{note}"),
            State::Skipped(reason) => format!("{name:width$}  skipped  {took:>7}  {reason}"),
            State::Failed => format!("{name:width$}  FAILED   {took:>7}"),
        }
    }
}

/// The known steps, one a line; those of `--full` alone are marked.
pub(super) fn list(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |mut text, Step { name, about, when, .. }| {
        let when = if *when == When::Full { "--full" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<14} {when:<6} {about}");
        text
    })
}

/// All steps beneath each other.
pub(super) fn table(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
    lines.iter().fold(String::new(), |mut text, line| {
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

    use super::{Line, State, human, list, success, table};
    use crate::ci::{STEPS, When};

    fn line(name: &'static str, state: State, seconds: u64) -> Line {
        Line { name, when: When::Always, state, took: Duration::from_secs(seconds) }
    }

    #[test]
    fn the_list_marks_the_steps_of_the_full_run() {
        let list = list(STEPS);
        assert_eq!(list.lines().count(), STEPS.len());
        assert!(list.contains("\nfmt                   the code is formatted\n"), "{list}");
        assert!(
            list.contains("\nsoak-http      --full 200,000 HTTP requests, each accounted for\n"),
            "{list}"
        );
    }

    #[test]
    fn a_quick_step_that_took_too_long_is_marked() {
        let note = "test  passed    5m 01s  longer than 5m 00s";
        assert_eq!(line("test", State::Passed, 301).text(0), note);
        assert_eq!(line("test", State::Passed, 300).text(0), "test  passed    5m 00s");
        let full = Line { when: When::Full, ..line("soak", State::Passed, 301) };
        assert_eq!(full.text(0), "soak  passed    5m 01s");
    }

    #[test]
    fn the_table_shows_every_step() {
        let lines = [
            line("fmt", State::Passed, 2),
            line("benchmarks", State::Skipped("no folder".to_owned()), 0),
            line("test", State::Failed, 75),
            Line::new("doc", When::Always),
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
