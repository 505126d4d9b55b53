//! The journal with its statements recorded, and without.

use otel_saga::journal::Journal as _;
use otel_sqlx::Options;
use otel_testing::Recorder;

use crate::support::Scratch;

#[tokio::test]
async fn statements_of_the_journal_are_recorded_on_request() {
    let scratch = Scratch::new();
    let recorder = Recorder::new();
    scratch.options().migrate().await.unwrap();
    let recorded = Options::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider());
    let bare = scratch.options().connect().await.unwrap();
    bare.load("order/1").await.unwrap();
    assert!(recorder.spans().is_empty());
    let journal = scratch.options().with_instrumentation(recorded).connect().await.unwrap();
    let before = recorder.spans().len();
    for id in ["order/hunter2", "order/2"] {
        assert!(journal.load(id).await.unwrap().is_none());
    }
    let spans = recorder.spans().split_off(before);
    let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names.len(), 2, "{}", recorder.tree());
    assert!(names.iter().all(|name| name.starts_with("SELECT ") && name.ends_with(" instance")), "{names:?}");
    // All connections of the journal share their metrics, and no id is in them or on a span.
    assert!(!format!("{spans:?}{}", recorder.metrics()).contains("hunter2"));
    recorder.assert_each_ended_once();
}
