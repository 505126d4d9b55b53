//! The names that two-phase commits record are those that docs/conventions.md lists, with its instruments and units.

use std::time::Duration;

use otel_saga::two_phase::Acknowledgement;
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};
use tokio::time::{sleep, timeout};

use super::bank::{Bank, Fault, builder};
use super::behaviour::{memory, pay};
use crate::conventions::DOCUMENT;

#[tokio::test(start_paused = true)]
async fn the_names_of_two_phase_commits_are_listed() {
    let (journal, a, b, recorder) = (memory(), Bank::new("a"), Bank::new("b"), Recorder::new());
    let recorded = |worker: &str| {
        let builder = builder(&journal, worker, &[&a, &b]);
        builder
            .with_tracer_provider(recorder.tracer_provider())
            .with_meter_provider(recorder.meter_provider())
            .start()
    };
    let first = recorded("first").await.unwrap();
    b.script("commit", [Fault::Say(Acknowledgement::RolledBack), Fault::Hang]);
    assert!(!pay(&first, "1", &[&a, &b]).await.unwrap().is_consistent());
    // The first coordinator dies between the decision and the last commit, and another one continues.
    assert!(timeout(Duration::from_secs(1), pay(&first, "2", &[&a, &b])).await.is_err());
    drop(first);
    let second = recorded("second").await.unwrap();
    assert!(second.wait("transfer/2").await.unwrap().is_committed());
    // A refusal, and one that has not ended when the gauges are read.
    b.script("prepare", [Fault::Refuse]);
    assert!(!pay(&second, "3", &[&a, &b]).await.unwrap().is_committed());
    b.script("commit", [Fault::Lose; 1000]);
    assert!(pay(&second, "4", &[&a, &b]).await.unwrap().is_committed());
    sleep(Duration::from_secs(60)).await;

    let mut check =
        ConventionCheck::new(ProjectNames::parse(DOCUMENT, "otel-saga: two-phase commits").unwrap());
    check.add(&recorder);
    assert_eq!(check.finish(), Ok(()), "{}", recorder.tree());
}
