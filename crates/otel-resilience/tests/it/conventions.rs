//! The names that this crate records are those that docs/conventions.md lists, with their instruments and units.

use otel_resilience::{Retry, RetryLayer};
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};
use tower::{Layer, ServiceExt};

use crate::support::{Answer, Backend, get, instrumentation};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

#[tokio::test(start_paused = true)]
async fn the_names_are_listed() {
    let recorder = Recorder::new();
    let retry = Retry::new("stock").with_span(true).with_instrumentation(&instrumentation(&recorder));
    let client = Backend::always(Answer::Status(503)).client(&recorder);
    RetryLayer::new(retry).layer(client).oneshot(get()).await.unwrap();
    let mut check = ConventionCheck::new(ProjectNames::parse(DOCUMENT, "otel-resilience").unwrap());
    check.add(&recorder);
    assert_eq!(check.finish(), Ok(()), "{}", recorder.tree());
}
