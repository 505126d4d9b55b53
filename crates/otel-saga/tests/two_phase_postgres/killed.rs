//! Killed for real: a coordinator is killed with SIGKILL around every append to the journal and every call of a
//! participant. Another one goes on. Both databases agree, and nothing is in doubt.
//!
//! The process is this test binary, with one test and with its task in the environment.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::child;
use super::support::{BEGIN, Banks};

/// What the child is told: a folder, the databases and the coordinator's name, what happens, and where to stop.
const TASK: &str = "OTEL_SAGA_TWO_PHASE_TASK";

/// The child's test, which is none where there is no task.
#[tokio::test]
async fn child_process() {
    let Ok(task) = std::env::var(TASK) else { return };
    let parts: Vec<&str> = task.split('|').collect();
    let [directory, a, b, coordinator, kind, stop_at] = parts[..] else { panic!("{task}") };
    let banks = Banks::open([a.to_owned(), b.to_owned()], coordinator.to_owned()).await;
    child::run(Path::new(directory), &banks, kind, stop_at.parse().ok()).await;
}

fn spawn(directory: &Path, banks: &Banks, kind: &str, stop_at: Option<usize>) -> Child {
    let [a, b] = &banks.names;
    let stop_at = stop_at.map(|number| number.to_string()).unwrap_or_default();
    let task = format!("{}|{a}|{b}|{}|{kind}|{stop_at}", directory.display(), banks.coordinator);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "killed::child_process", "--nocapture"]).env(TASK, task);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// What the child says until it stops or ends.
fn said(child: &mut Child) -> Vec<String> {
    let mut said = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        said.push(line.unwrap());
        if said.last().is_some_and(|line| line == "here") {
            break;
        }
    }
    said
}

/// A folder that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
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

/// Kills at the first point, at the second … until there is none; how many there were, and how many of them committed.
async fn killed_at_every_point(kind: &'static str) -> (usize, usize) {
    let mut committed = 0;
    for point in 1.. {
        let banks = Banks::new().await;
        let scratch = Scratch::new(&format!("{kind}-{point}"));
        let mut first = spawn(&scratch.0, &banks, kind, Some(point));
        let stopped = said(&mut first).iter().any(|line| line == "here");
        first.kill().unwrap();
        first.wait().unwrap();
        if !stopped {
            banks.drop().await;
            return (point - 1, committed);
        }
        let mut second = spawn(&scratch.0, &banks, kind, None);
        let said = said(&mut second);
        assert!(second.wait().unwrap().success(), "{kind} {point}: {said:?}");
        let is_committed = said.iter().any(|line| line == "end commit");
        assert!(is_committed || said.iter().any(|line| line == "end abort"), "{kind} {point}: {said:?}");
        let moved = banks.cents().await;
        let none = moved == [BEGIN, BEGIN];
        let all = moved == if kind == "alone" { [BEGIN - 300, BEGIN] } else { [BEGIN - 300, BEGIN + 300] };
        assert!(none || all, "{kind} {point}: {moved:?}");
        // Whoever was killed before its transaction was in the journal left it to the second, which moves nothing.
        assert!(is_committed || none, "{kind} {point}: aborted, and {moved:?}");
        committed += usize::from(all);
        // It is empty, or this says what is still prepared.
        banks.drop().await;
    }
    unreachable!("there is an end to points")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_whole_wherever_its_coordinator_is_killed() {
    let (points, committed) = killed_at_every_point("fine").await;
    println!("killed at each of {points} points, {committed} times after the decision");
    // A create, a decision, an end; two prepares and two commits; before and after each.
    assert_eq!(points, 14);
    assert_eq!(committed, 7, "from the decision's append on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_refused_is_whole_wherever_its_coordinator_is_killed() {
    let (points, committed) = killed_at_every_point("refused").await;
    // A create and an end, two prepares, one rollback.
    assert_eq!((points, committed), (10, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_in_one_phase_is_whole_wherever_its_coordinator_is_killed() {
    let (points, committed) = killed_at_every_point("alone").await;
    assert_eq!((points, committed), (6, 3));
}
