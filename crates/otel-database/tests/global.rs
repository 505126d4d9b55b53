//! A client that is created before the global providers are set. A separate process, because the test sets globals.

use opentelemetry::{Context, InstrumentationScope, global};
use otel_database::{DatabaseInstrumentation, DatabaseOutcome, Options};
use otel_testing::Recorder;

#[test]
fn a_client_that_was_made_before_the_sdk_records_after_it() {
    let scope = InstrumentationScope::builder("test").build();
    let database = DatabaseInstrumentation::builder("parrotdb", scope).build(Options::new());
    let pool = database.pool_metrics();
    let run = || {
        pool.start_wait().finish();
        database.query("SELECT * FROM users").start(&Context::new()).finish(&DatabaseOutcome::ok());
    };
    run();
    assert!(database.is_idle());
    let recorder = Recorder::new();
    global::set_tracer_provider(recorder.tracer_provider().clone());
    global::set_meter_provider(recorder.meter_provider().clone());
    run();
    run();
    assert!(!database.is_idle());
    assert_eq!(recorder.spans().len(), 2, "{}", recorder.tree());
    assert_eq!(recorder.metric("db.client.operation.duration").count(), 2);
    assert_eq!(recorder.metric("db.client.connection.wait_time").count(), 2);
    recorder.assert_clean();
}
