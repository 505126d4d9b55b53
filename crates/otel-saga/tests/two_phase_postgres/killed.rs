//! Crash tests with real processes: a coordinator is killed with SIGKILL around every append to the journal and every
//! call of a participant. Another process continues. Both databases have to agree, no branch may stay in doubt, and
//! the trace has to be complete.
//!
//! The child is this test binary, which runs one test and reads its task from the environment.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::child;
use super::spans;
use super::support::{BEGIN, Banks};

/// The variable with the child's task: folder, databases, coordinator's name, kind of transfer, and the point to stop
/// at.
const TASK: &str = "OTEL_SAGA_TWO_PHASE_TASK";

/// The entry point of the child; without a task it does nothing.
#[tokio::test]
async fn child_process() {
    let Ok(task) = std::env::var(TASK) else { return };
    let parts: Vec<&str> = task.split('|').collect();
    let [directory, place, a, b, coordinator, kind, stop_at, goes_on] = parts[..] else { panic!("{task}") };
    let banks = Banks::open([a.to_owned(), b.to_owned()], coordinator.to_owned()).await;
    let task = child::Task {
        directory: Path::new(directory),
        in_postgres: place == "postgres",
        kind,
        stop_at: stop_at.parse().ok(),
        goes_on: goes_on == "true",
    };
    child::run(&task, &banks).await;
}

pub(crate) struct Process {
    pub(crate) child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn spawn(banks: &Banks, task: &child::Task<'_>) -> Self {
        let [a, b] = &banks.names;
        let place = if task.in_postgres { "postgres" } else { "file" };
        let stop_at = task.stop_at.map(|number| number.to_string()).unwrap_or_default();
        let (directory, kind, goes_on) = (task.directory.display(), task.kind, task.goes_on);
        let task = format!("{directory}|{place}|{a}|{b}|{}|{kind}|{stop_at}|{goes_on}", banks.coordinator);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "killed::child_process", "--nocapture"]).env(TASK, task);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Starts the process that continues after that of this task.
    pub(crate) fn next(banks: &Banks, task: &child::Task<'_>) -> Self {
        Self::spawn(banks, &child::Task { stop_at: None, goes_on: false, ..*task })
    }

    /// Waits for the end of the process. Returns true if money was moved.
    pub(crate) async fn ends(mut self, what: &str, banks: &Banks, task: &child::Task<'_>) -> bool {
        let said = self.said();
        assert!(self.child.wait().unwrap().success(), "{what}: {said:?}");
        check(what, banks, task, &said).await
    }

    /// Reads lines until the process stops or ends.
    pub(crate) fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for line in (&mut self.output).lines() {
            said.push(line.unwrap());
            if said.last().is_some_and(|line| line == "stopped") {
                break;
            }
        }
        said
    }
}

/// A folder that is removed after the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("otel-saga-two-phase-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Kills a process at the first point, the second … until there is none. Returns the number of points, and the number
/// of those after which the transfer committed.
pub(crate) async fn killed_at_every_point(kind: &'static str, in_postgres: bool) -> (usize, usize) {
    let mut committed = 0;
    let mut banks = Banks::new().await;
    for point in 1.. {
        if in_postgres {
            super::journal::options(&banks).migrate().await.unwrap();
        }
        let scratch = Scratch::new(&format!("{kind}-{in_postgres}-{point}"));
        let task =
            child::Task { directory: &scratch.0, in_postgres, kind, stop_at: Some(point), goes_on: false };
        let mut first = Process::spawn(&banks, &task);
        let stopped = first.said().iter().any(|line| line == "stopped");
        first.child.kill().unwrap();
        first.child.wait().unwrap();
        if !stopped {
            banks.drop().await;
            return (point - 1, committed);
        }
        let what = format!("{kind}, killed at point {point}");
        committed += usize::from(goes_on(&what, &banks, &task).await);
        banks.reset().await;
    }
    unreachable!("there is an end to points")
}

/// Runs the transfer to its end in another process, and checks both databases and the trace. Returns true if money
/// was moved.
pub(crate) async fn goes_on(what: &str, banks: &Banks, task: &child::Task<'_>) -> bool {
    Process::next(banks, task).ends(what, banks, task).await
}

/// Checks both databases and the trace. Returns true if money was moved.
pub(crate) async fn check(what: &str, banks: &Banks, task: &child::Task<'_>, said: &[String]) -> bool {
    let is_committed = said.iter().any(|line| line == "end commit");
    assert!(is_committed || said.iter().any(|line| line == "end abort"), "{what}: {said:?}");
    let moved = banks.cents().await;
    let none = moved == [BEGIN, BEGIN];
    let all = moved == if task.kind == "alone" { [BEGIN - 300, BEGIN] } else { [BEGIN - 300, BEGIN + 300] };
    assert!(none || all, "{what}: {moved:?}");
    // A process that was stopped before its transaction was in the journal left it to the second one, which moves
    // nothing.
    assert!(is_committed || none, "{what}: aborted, and {moved:?}");
    assert_eq!(banks.prepared().await, [""; 0], "{what}");
    spans::check(what, task.directory, said);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_whole_wherever_its_coordinator_is_killed() {
    let (points, committed) = killed_at_every_point("fine", false).await;
    println!("killed at each of {points} points, {committed} times after the decision");
    // The points are before and after a create, a decision, an end, two prepares and two commits.
    assert_eq!(points, 14);
    assert_eq!(committed, 7, "from the decision's append on");
}

/// Kill loops that the quick checks leave out.
mod long {
    use super::killed_at_every_point;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_transfer_that_is_refused_is_whole_wherever_its_coordinator_is_killed() {
        let (points, committed) = killed_at_every_point("refused", false).await;
        // The points are before and after a create, an end, two prepares and one rollback.
        assert_eq!((points, committed), (10, 0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_in_one_phase_is_whole_wherever_its_coordinator_is_killed() {
        let (points, committed) = killed_at_every_point("alone", false).await;
        assert_eq!((points, committed), (6, 3));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_transfer_that_one_acknowledges_late_is_whole_wherever_its_coordinator_is_killed() {
        let (points, committed) = killed_at_every_point("late", false).await;
        // As in the first test, with one point less at the lost commit, two more at the record that it waits, and two
        // more at the second commit.
        assert_eq!((points, committed), (17, 10));
    }
}
