//! The ways in which an operation ends, and the rows that are counted by then.

use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, trace::Status};
use opentelemetry_sdk::trace::Sampler;
use otel_database::{DatabaseOutcome, attributes};
use otel_testing::Recorder;

use crate::support::{database, remote, with};

/// A recorder that drops spans under an unsampled parent.
fn parent_based() -> Recorder {
    Recorder::builder().with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn))).build()
}

fn last_error(recorder: &Recorder) -> Option<String> {
    let spans = recorder.spans();
    let span = spans.last().unwrap();
    let error = span.attributes.iter().find(|kv| kv.key.as_str() == "error.type");
    assert_eq!(error.is_some(), matches!(span.status, Status::Error { .. }));
    error.map(|kv| kv.value.to_string())
}

#[test]
fn a_dropped_operation_is_cancelled_with_the_rows_so_far() {
    let recorder = Recorder::new();
    let database = with(&recorder, |options| options.with_returned_rows(true));
    let mut operation = database.query("SELECT * FROM users").start(&Context::new());
    operation.add_rows(0);
    operation.add_rows(3);
    drop(operation);
    assert_eq!(last_error(&recorder).as_deref(), Some("cancelled"));
    assert!(recorder.tree().contains("db.response.returned_rows: 3"), "{}", recorder.tree());
    let rows = recorder.metric("db.client.response.returned_rows");
    let point = &rows.points()[0];
    assert_eq!(
        (point.sum(), point.attribute("error.type").map(ToString::to_string)),
        (3.0, Some("cancelled".into()))
    );
    recorder.assert_clean();
}

#[test]
fn a_future_ends_its_operation_with_its_output() {
    let recorder = Recorder::new();
    let database = database(&recorder);
    let query = database.query("SELECT * FROM users");
    let run = |future| {
        let operation = query.start(&Context::new());
        operation.run_with(future, |operation, rows: &Result<u64, &str>| match rows {
            Ok(rows) => {
                operation.add_rows(*rows);
                DatabaseOutcome::ok()
            }
            Err(code) => DatabaseOutcome::from_status_code(code),
        })
    };
    let poll = |mut future: std::pin::Pin<&mut dyn Future<Output = Result<u64, &'static str>>>| {
        future.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()))
    };
    assert_eq!(poll(pin!(run(ready(Ok(2))))), Poll::Ready(Ok(2)));
    assert_eq!(last_error(&recorder), None);
    assert_eq!(poll(pin!(run(ready(Err("57014"))))), Poll::Ready(Err("57014")));
    assert_eq!(last_error(&recorder).as_deref(), Some("57014"));
    let waiting = query.start(&Context::new());
    let mut waiting = Box::pin(waiting.run_with(pending::<()>(), |_, ()| DatabaseOutcome::ok()));
    assert!(waiting.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    assert_eq!(recorder.spans().len(), 2);
    drop(waiting);
    assert_eq!(last_error(&recorder).as_deref(), Some("cancelled"));
    recorder.assert_clean();
}

#[test]
fn a_panic_ends_the_operation_at_once() {
    let recorder = parent_based();
    let query = database(&recorder).query("SELECT 1");
    for sampled in [true, false] {
        let mut operation = query.start(&remote(7, sampled));
        let caught = catch_unwind(AssertUnwindSafe(|| operation.inside(|| panic!("the driver"))));
        assert!(caught.is_err());
        operation.finish(&DatabaseOutcome::ok());
    }
    assert_eq!(last_error(&recorder).as_deref(), Some("panic"));
    let duration = recorder.metric("db.client.operation.duration");
    assert_eq!((duration.points().len(), duration.count()), (1, 2));
}

#[test]
fn code_of_the_client_runs_in_the_span_that_records() {
    let recorder = parent_based();
    let query = database(&recorder).query("SELECT 1");
    let current = || Context::map_current(|context| context.span().span_context().clone());
    for (sampled, recorded) in [(true, true), (false, false)] {
        let parent = remote(7, sampled);
        let attached = parent.clone().attach();
        let mut operation = query.start(&Context::current());
        let inside = operation.inside(current);
        assert_eq!(
            operation.recording().map(|span| span.span_context().clone()) == Some(inside.clone()),
            recorded
        );
        assert_eq!(inside.trace_id(), parent.span().span_context().trace_id());
        operation.finish(&DatabaseOutcome::ok());
        drop(attached);
    }
}

#[test]
fn a_long_wait_for_a_connection_is_an_event() {
    let recorder = Recorder::new();
    let database = with(&recorder, |options| options.with_connection_wait_limit(Duration::from_millis(5)));
    let operation = database.query("SELECT 1").start(&Context::new());
    operation.record_connection_wait(Duration::from_millis(5));
    operation.record_connection_wait(Duration::from_millis(6));
    operation.finish(&DatabaseOutcome::ok());
    let spans = recorder.spans();
    let events = &spans[0].events;
    assert_eq!(events.len(), 1);
    assert_eq!(events.events[0].name, attributes::CONNECTION_WAIT_EVENT);
    assert_eq!(events.events[0].attributes[0].value.to_string(), "0.006");
}
