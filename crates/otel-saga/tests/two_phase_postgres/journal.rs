//! The coordinator's journal in Postgres: in its own schema of the database of one participant.
//!
//! Several coordinators share it. One is killed at every point, or paused with SIGSTOP until another one has taken
//! its transaction over and ended it; when it is resumed it is fenced, and nothing changes any more.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use otel_saga::journal::{Journal, PostgresOptions, Status};
use otel_saga::two_phase::Coordinator;
use otel_saga::two_phase::flow::Decision;

use super::support::{BEGIN, Banks, LONG, url};

/// Longer than the lease of the paused process, and shorter than the wait for the end of the next one.
const TAKEN_OVER: Duration = Duration::from_secs(30);

/// Returns the options of the journal for coordinators of this name.
pub(crate) fn options(banks: &Banks) -> PostgresOptions {
    PostgresOptions::new(&url(&banks.names[0])).unwrap().with_schema(&*banks.coordinator)
}

async fn coordinator(banks: &Banks, worker: &str) -> (Arc<dyn Journal>, Coordinator) {
    let journal: Arc<dyn Journal> = Arc::new(options(banks).connect().await.unwrap());
    let [a, b] = banks.participants.clone();
    let builder = banks.builder(&journal).with_worker(worker).with_lease(LONG);
    let coordinator = builder.with_participant(a).with_participant(b).start().await.unwrap();
    (journal, coordinator)
}

#[tokio::test]
async fn transfers_commit_abort_and_are_handed_over() {
    let banks = Banks::new().await;
    options(&banks).migrate().await.unwrap();
    let (journal, first) = coordinator(&banks, "first").await;
    let transfer = async |key: &str, cents: i64| {
        let begun = first.begin("transfer", key).unwrap();
        let debit = banks.branch(0, &begun, -cents).await;
        let mut credit = banks.branch(1, &begun, cents).await;
        if key == "refused" {
            let overdraw = sqlx::query("UPDATE account SET cents = cents - 10000");
            overdraw.execute(credit.connection()).await.unwrap_err();
        }
        begun.with(debit).with(credit).commit().await.unwrap()
    };
    assert!(transfer("fine", 300).await.is_committed());
    assert_eq!(transfer("refused", 300).await.decision, Decision::Abort);
    assert_eq!(banks.cents().await, [BEGIN - 300, BEGIN + 300]);
    assert!(transfer("fine", 300).await.is_committed(), "the same key is the same transfer");
    assert_eq!(banks.cents().await, [BEGIN - 300, BEGIN + 300]);

    // A second coordinator on the same journal.
    let (_, second) = coordinator(&banks, "second").await;
    assert!(second.outcome("transfer/fine").await.unwrap().unwrap().is_committed());
    let begun = first.begin("transfer", "held").unwrap();
    let debit = banks.branch(0, &begun, -300).await;
    let credit = super::branches::Slow::new(banks.branch(1, &begun, 300).await);
    let proceed = credit.prepared().await;
    let committing = tokio::spawn(begun.with(debit).with(credit).commit());
    super::support::until("both to be prepared", || async { banks.prepared().await.len() == 2 }).await;
    // The shutdown interrupts the transaction before its decision and releases the lease; the second coordinator
    // rolls back.
    assert!(!first.shutdown(Duration::ZERO).await);
    assert!(committing.await.unwrap().is_err());
    drop(proceed);
    let outcome = tokio::time::timeout(LONG / 2, second.wait("transfer/held")).await.unwrap().unwrap();
    assert_eq!(outcome.decision, Decision::Abort);
    assert_eq!(banks.cents().await, [BEGIN - 300, BEGIN + 300]);
    let summary = journal.load("transfer/held").await.unwrap().unwrap().summary;
    assert_eq!((summary.status, summary.epoch), (Status::Compensated, 2));
    banks.drop().await;
}

/// Kill loops that the quick checks leave out.
mod long {
    use std::time::{Duration, Instant};

    use super::super::child::Task;
    use super::super::killed::{Process, Scratch, check, killed_at_every_point};
    use super::super::support::Banks;
    use super::{TAKEN_OVER, options, signal};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_transfer_is_whole_wherever_its_coordinator_is_killed() {
        assert_eq!(killed_at_every_point("fine", true).await, (14, 7));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_transfer_is_whole_wherever_its_coordinator_is_paused() {
        let mut fenced = 0;
        let mut banks = Banks::new().await;
        for point in 1.. {
            options(&banks).migrate().await.unwrap();
            let scratch = Scratch::new(&format!("paused-{point}"));
            let task = Task {
                directory: &scratch.0,
                in_postgres: true,
                kind: "fine",
                stop_at: Some(point),
                goes_on: true,
            };
            let mut first = Process::spawn(&banks, &task);
            if !first.said().iter().any(|line| line == "stopped") {
                assert!(first.child.wait().unwrap().success());
                banks.drop().await;
                // At the first point the transaction does not exist yet, and after its last append it has ended:
                // neither is fenced.
                assert_eq!((point - 1, fenced), (14, 12));
                return;
            }
            signal(first.child.id(), "STOP");
            let what = format!("paused at point {point}");
            let mut second = Process::next(&banks, &task);
            // The second process has taken over by then. If the first is paused inside a prepare, after writing the
            // branch's row, the second waits for that row, and cannot end before the first continues.
            let began = Instant::now();
            while second.child.try_wait().unwrap().is_none() && began.elapsed() < TAKEN_OVER {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            signal(first.child.id(), "CONT");
            drop(first.child.stdin.take());
            let moved = second.ends(&what, &banks, &task).await;
            let after = first.said();
            assert!(first.child.wait().unwrap().success(), "{what}: {after:?}");
            assert_eq!(check(&what, &banks, &task, &after).await, moved, "{what}: it changed late");
            fenced += usize::from(after.iter().any(|line| line == "fenced"));
            banks.reset().await;
        }
    }
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap();
    assert!(sent.success());
}
