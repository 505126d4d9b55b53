//! The crash tests on Postgres, and a worker that is paused past its lease.

use std::process::Command;

use otel_saga::journal::Status;

use crate::support::Scratch as Database;
use crate::{KINDS, Scratch, check, goes_on, killed_at_every_point, said, spawn};

pub(crate) fn run() {
    let database = Database::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { drop(database.journal().await) });
    let url = database.url();
    for (kind, end) in KINDS {
        let points = killed_at_every_point(kind, end, Some(&url));
        println!("{kind}: killed at each of {points} points, on Postgres");
        assert!(points >= 14, "{kind}: {points} points only");
    }
    let (points, fenced) = paused_at_every_point(&url);
    println!("paused at each of {points} points, and fenced {fenced} times when resumed");
    // At the first point the saga does not exist yet, and after its last append it has ended: neither is fenced.
    assert!(points >= 14 && fenced + 2 == points, "{points} points, fenced {fenced} times");
}

/// Pauses a process at the first point, the second … until there is none. Returns the number of points, and the
/// number of those at which the worker was fenced.
fn paused_at_every_point(url: &str) -> (usize, usize) {
    let mut fenced = 0;
    for point in 1.. {
        let scratch = Scratch::new(&format!("paused-{point}"));
        let (mut first, mut output) = spawn(&scratch.0, "fine", Some(url), Some(point), true);
        let before = said(&mut output);
        if !before.iter().any(|line| line == "stopped") {
            assert!(first.wait().unwrap().success());
            return (point - 1, fenced);
        }
        signal(first.id(), "STOP");
        let what = format!("paused at point {point}");
        let told = goes_on(&scratch.0, "fine", Some(url));
        check(&what, &scratch.0, Status::Completed, &told);
        let effects = std::fs::read(scratch.0.join("effects")).unwrap();

        signal(first.id(), "CONT");
        drop(first.stdin.take());
        let after = said(&mut output);
        assert!(first.wait().unwrap().success(), "{what}: {after:?}");
        check(&what, &scratch.0, Status::Completed, &after);
        fenced += usize::from(after.iter().any(|line| line == "fenced"));
        assert!(std::fs::read(scratch.0.join("effects")).unwrap() == effects, "{what}: an effect came late");
    }
    unreachable!("a saga ends")
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap();
    assert!(sent.success());
}
