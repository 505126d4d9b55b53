//! Crash tests with real processes: a process runs a saga and is killed with SIGKILL at every append to the journal
//! and around every action. Another process continues. The saga has to end correctly, no action may run under two
//! keys, and the trace has to be complete. The journal is in a file, and on the Postgres that `cargo xtask services
//! up postgres` starts.
//!
//! On Postgres a process is also paused at each of these points, with SIGSTOP, until another one has taken its saga
//! over and ended it. When it is resumed it is fenced, and nothing has an effect twice.
//!
//! The program has its own `main` instead of a test harness, because it starts copies of itself and kills them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "the two processes talk through it")]

mod child;
#[cfg(feature = "postgres")]
mod postgres;
mod spans;
#[cfg(feature = "postgres")]
#[path = "../postgres/support.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use otel_saga::journal::Status;

/// The environment variables that configure the child.
const DIRECTORY: &str = "OTEL_SAGA_CRASH_DIRECTORY";
const KIND: &str = "OTEL_SAGA_CRASH_KIND";
const STOP_AT: &str = "OTEL_SAGA_CRASH_STOP_AT";
const GOES_ON: &str = "OTEL_SAGA_CRASH_GOES_ON";
const POSTGRES: &str = "OTEL_SAGA_CRASH_POSTGRES";

/// The number of interruptions in succession after which a saga is parked.
const INTERRUPTIONS: u32 = 3;

/// The kinds of sagas: every run of the tests runs the first one on a file; `long::` runs all of them, also on
/// Postgres.
const KINDS: [(&str, Status); 3] =
    [("fine", Status::Completed), ("refused", Status::Compensated), ("flaky", Status::Completed)];

/// The names of the tests, as in a harness.
const ON_A_FILE: &str = "killed_at_every_point_on_a_file";
const POISON: &str = "an_attempt_that_aborts_its_process_is_parked";
const LONG: &str = "long::killed_at_every_point";

fn main() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let stop_at = std::env::var(STOP_AT).ok().map(|number| number.parse().unwrap());
        child::run(&child::Task {
            directory: Path::new(&directory),
            postgres: std::env::var(POSTGRES).ok().as_deref(),
            kind: &std::env::var(KIND).unwrap(),
            stop_at,
            goes_on: std::env::var_os(GOES_ON).is_some(),
        });
        return;
    }
    let chosen = Chosen::from_arguments(std::env::args().skip(1));
    if chosen.lists {
        println!("{ON_A_FILE}: test\n{POISON}: test\n{LONG}: test\n\n3 tests, 0 benchmarks");
        return;
    }
    if chosen.runs(ON_A_FILE) {
        let (kind, end) = KINDS[0];
        on_a_file(kind, end);
    }
    if chosen.runs(POISON) {
        poison();
    }
    if chosen.runs(LONG) {
        for (kind, end) in &KINDS[1..] {
            on_a_file(kind, *end);
        }
        #[cfg(feature = "postgres")]
        postgres::run();
    }
}

/// Starts the process of a saga whose pivot aborts it, until one survives.
fn poison() {
    let scratch = Scratch::new("poison");
    let mut aborted = 0;
    let said = loop {
        let (mut process, mut output) = spawn(&scratch.0, "poison", None, None, false);
        let said = said(&mut output);
        if process.wait().unwrap().success() {
            break said;
        }
        aborted += 1;
        assert!(aborted <= INTERRUPTIONS, "the saga is not parked: {said:?}");
    };
    assert_eq!(aborted, INTERRUPTIONS, "{said:?}");
    assert!(said.contains(&"end parked".to_owned()), "{said:?}");
    println!("poison: parked after {aborted} processes that were aborted");
}

/// The arguments of a test harness that matter here: names, `--skip`, `--exact` and `--list`.
#[derive(Default)]
struct Chosen {
    names: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    lists: bool,
}

impl Chosen {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut chosen = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--skip" => chosen.skipped.extend(arguments.next()),
                "--exact" => chosen.exact = true,
                "--list" => chosen.lists = true,
                // `--skip=NAME`, and options about the output.
                option if option.starts_with('-') => {
                    chosen.skipped.extend(option.strip_prefix("--skip=").map(str::to_owned));
                }
                _ => chosen.names.push(argument),
            }
        }
        chosen
    }

    /// Returns true if the test is selected; prints that it is filtered out otherwise.
    fn runs(&self, test: &str) -> bool {
        let matches = |name: &String| if self.exact { test == name } else { test.contains(name.as_str()) };
        let runs =
            (self.names.is_empty() || self.names.iter().any(matches)) && !self.skipped.iter().any(matches);
        if !runs {
            println!("test {test} ... filtered out");
        }
        runs
    }
}

fn on_a_file(kind: &str, end: Status) {
    let points = killed_at_every_point(kind, end, None);
    println!("{kind}: killed at each of {points} points, and ended {} each time", end.as_str());
    // The minimum is a create, three appends and three actions, each with a point before and after it.
    assert!(points >= 14, "{kind}: {points} points only");
}

/// Kills a process at the first point, the second … until there is none. Returns the number of points.
fn killed_at_every_point(kind: &str, end: Status, postgres: Option<&str>) -> usize {
    for point in 1.. {
        let scratch = Scratch::new(&format!("{kind}-{point}"));
        let mut first = spawn(&scratch.0, kind, postgres, Some(point), false);
        let stopped = said(&mut first.1).iter().any(|line| line == "stopped");
        first.0.kill().unwrap();
        first.0.wait().unwrap();
        if !stopped {
            return point - 1;
        }
        let said = goes_on(&scratch.0, kind, postgres);
        check(&format!("{kind}, killed at point {point}"), &scratch.0, end, &said);
    }
    unreachable!("a saga ends")
}

/// Runs the saga to its end in another process.
fn goes_on(directory: &Path, kind: &str, postgres: Option<&str>) -> Vec<String> {
    let (mut process, mut output) = spawn(directory, kind, postgres, None, false);
    let said = said(&mut output);
    assert!(process.wait().unwrap().success(), "{kind} in {}: {said:?}", directory.display());
    said
}

fn spawn(
    directory: &Path,
    kind: &str,
    postgres: Option<&str>,
    stop_at: Option<usize>,
    goes_on: bool,
) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(DIRECTORY, directory).env(KIND, kind).stdin(Stdio::piped()).stdout(Stdio::piped());
    if let Some(point) = stop_at {
        command.env(STOP_AT, point.to_string());
    }
    if goes_on {
        command.env(GOES_ON, "");
    }
    if let Some(url) = postgres {
        command.env(POSTGRES, url);
    }
    let mut child = command.spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// Reads lines until the process stops at its point, or ends.
fn said(output: &mut BufReader<ChildStdout>) -> Vec<String> {
    let mut lines = Vec::new();
    for line in output.lines() {
        lines.push(line.unwrap());
        if lines.last().is_some_and(|line| line == "stopped") {
            break;
        }
    }
    lines
}

fn check(what: &str, directory: &Path, end: Status, said: &[String]) {
    assert!(said.contains(&format!("end {}", end.as_str())), "{what}: {said:?}");

    // The effects on the participants, by both processes.
    let effects = std::fs::read_to_string(directory.join("effects")).unwrap();
    let mut keys: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    let mut standing = BTreeSet::new();
    for line in effects.lines() {
        let [verb, step, key] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        keys.entry((verb, step)).or_default().insert(key);
        match verb {
            "do" => assert!(standing.insert(step), "{what}: `{step}` was done twice"),
            _ => _ = standing.remove(step),
        }
    }
    assert!(keys.values().all(|keys| keys.len() == 1), "{what}: {keys:?}");
    let expected = if end == Status::Completed { 3 } else { 0 };
    assert_eq!(standing.len(), expected, "{what}: {effects}");
    let intents = said.iter().filter(|line| line.starts_with("intent ")).count();
    assert!(intents >= 3, "{what}: {said:?}");
    spans::check(what, directory, said);
}

/// A directory that is removed after the check.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("otel-saga-crash-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
