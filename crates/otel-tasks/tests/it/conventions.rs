//! The names that tasks record are those that docs/conventions.md lists, with their instruments and units.

use std::time::Duration;

use otel_tasks::{in_span, timeout};
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};

use crate::support::span;

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

#[tokio::test(start_paused = true)]
async fn the_names_of_tasks_are_listed() {
    let recorder = Recorder::new();
    span(&recorder, "task").wrap(async { Err::<(), _>(std::fmt::Error) }).await.unwrap_err();
    let slow = in_span(span(&recorder, "part"), std::future::pending::<()>());
    timeout(Duration::from_secs(1), span(&recorder, "slow"), slow).await.unwrap_err();
    let mut check = ConventionCheck::new(ProjectNames::parse(DOCUMENT, "otel-tasks").unwrap());
    check.add(&recorder);
    assert_eq!(check.finish(), Ok(()), "{}", recorder.tree());
}
