//! Clients: what is shared between clones, and clients without an SDK.

use opentelemetry::Context;
use otel_database::{DatabaseOutcome, Options};
use otel_testing::Recorder;

use crate::support::{build, database, remote};

#[test]
fn a_client_without_an_sdk_records_nothing() {
    let database = build(Options::new());
    assert!(database.is_idle() && database.meter().is_none());
    let operation = database.query("SELECT 1").start(&remote(7, true));
    assert!(operation.is_inert() && operation.recording().is_none());
    operation.finish(&DatabaseOutcome::ok());
}

#[test]
fn a_clone_shares_the_statements() {
    let recorder = Recorder::new();
    let first = database(&recorder);
    let second = first.clone();
    assert!(!first.is_idle() && first.meter().is_some());
    for client in [&first, &second] {
        client.query("SELECT * FROM users").start(&Context::new()).finish(&DatabaseOutcome::ok());
    }
    assert_eq!(recorder.metric("db.client.operation.duration").points().len(), 1);
    recorder.assert_clean();
}

#[test]
fn a_client_that_does_not_record_records_nothing() {
    let recorder = Recorder::new();
    let options = Options::without_recording()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider());
    let database = build(options);
    assert!(database.is_idle() && database.meter().is_none());
    database.query("SELECT 1").start(&Context::new()).finish(&DatabaseOutcome::ok());
    database.pool_metrics().start_wait().time_out();
    assert_eq!((recorder.tree().as_str(), recorder.metrics().as_str()), ("", ""));
}
