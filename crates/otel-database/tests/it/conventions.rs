//! All that is recorded is in the registry of the conventions, or listed in docs/conventions.md.

use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry::Context;
use otel_database::{CommandDescription, DatabaseOutcome, ObservedPool, PoolSnapshot, attributes};
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};

use crate::support::with;

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

struct Pool;

impl ObservedPool for Pool {
    fn snapshot(&self) -> PoolSnapshot {
        PoolSnapshot::new(1, 1).with_limits(Some(2), Some(2), Some(0))
    }
}

#[test]
fn names_units_instruments_and_descriptions_are_the_registrys() {
    let recorder = Recorder::new();
    let database = with(&recorder, |options| options.with_returned_rows(true));
    let mut query = database.query("SELECT * FROM users WHERE id = 1").start(&Context::new());
    query.add_rows(1);
    query.record_connection_wait(Duration::from_secs(1));
    query.finish(&DatabaseOutcome::from_status_code("57014"));
    let command = CommandDescription::new("call").with_collection("users").with_stored_procedure("totals");
    let call = database.command(&command);
    let call = call.operation().with_batch_size(2).start(&Context::new(), |attributes| {
        attributes.peer("10.0.0.7", Some(4711));
    });
    call.finish(&DatabaseOutcome::ok());
    let pool: Arc<dyn ObservedPool> = Arc::new(Pool);
    let metrics = database.pool_metrics();
    let observed: Weak<dyn ObservedPool> = Arc::downgrade(&pool);
    metrics.observe(observed);
    metrics.start_wait().finish();
    metrics.start_wait().time_out();
    drop(metrics.start_use());
    metrics.record_created(Duration::from_millis(1));
    for name in [
        attributes::COLLECTION_NAME,
        attributes::CONNECTION_WAIT_DURATION,
        attributes::NAMESPACE,
        attributes::NETWORK_PEER_ADDRESS,
        attributes::OPERATION_BATCH_SIZE,
        attributes::OPERATION_NAME,
        attributes::QUERY_SUMMARY,
        attributes::QUERY_TEXT,
        attributes::RESPONSE_RETURNED_ROWS,
        attributes::RESPONSE_STATUS_CODE,
        attributes::SERVER_PORT,
        attributes::STORED_PROCEDURE_NAME,
    ] {
        assert!(recorder.tree().contains(name), "{name} is not recorded:\n{}", recorder.tree());
    }
    for name in
        ["count", "max", "idle.max", "idle.min", "pending_requests", "timeouts", "create_time", "wait_time"]
    {
        let name = format!("db.client.connection.{name}");
        assert!(!recorder.metric(&name).points().is_empty(), "{name} is not recorded");
    }
    let mut check = ConventionCheck::new(ProjectNames::parse(DOCUMENT, "otel-database").unwrap());
    check.add(&recorder);
    assert_eq!(check.finish(), Ok(()));
}
