//! The ways in which an operation ends, each exactly once.

use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use futures_util::FutureExt;
use opentelemetry::Context;
use opentelemetry::trace::{SpanId, TraceContextExt};
use otel_operation::{OperationFuture, Outcome};
use otel_testing::Recorder;

use crate::support::{Told, counting, start};

fn assert_told(recorder: &Recorder, told: &Told, end: &str) {
    assert_eq!(*told.lock().unwrap(), ["in flight 1", "span", "in flight -1", &format!("measure {end}")]);
    recorder.assert_clean();
    let error = recorder.span("job").attributes.iter().find(|kv| kv.key.as_str() == "error.type").cloned();
    assert_eq!(error.map_or("ok".to_owned(), |error| error.value.to_string()), end);
}

#[test]
fn by_its_outcome() {
    for (outcome, end) in
        [(Outcome::ok(), "ok"), (Outcome::error("broken").with_description("why"), "broken")]
    {
        let recorder = Recorder::new();
        let (job, told) = counting();
        start(&recorder, job).finish(&outcome);
        assert_told(&recorder, &told, end);
        assert_eq!(recorder.span("job").status, outcome.status());
    }
}

#[test]
fn by_being_dropped() {
    let recorder = Recorder::new();
    let (job, told) = counting();
    drop(start(&recorder, job));
    assert_told(&recorder, &told, "cancelled");
}

#[test]
fn by_a_panic_of_its_code() {
    let recorder = Recorder::new();
    let (job, told) = counting();
    let mut operation = start(&recorder, job);
    let caught = catch_unwind(AssertUnwindSafe(|| operation.inside(|_| panic!("in user code"))));
    assert!(caught.is_err());
    assert_told(&recorder, &told, "panic");
}

#[test]
fn by_being_dropped_in_a_panic_of_other_code() {
    let recorder = Recorder::new();
    let (job, told) = counting();
    let operation = start(&recorder, job);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _owned = operation;
        panic!("next to the operation");
    }));
    assert!(caught.is_err());
    assert_told(&recorder, &told, "cancelled");
}

#[test]
fn with_all_its_steps_although_each_of_them_panics() {
    for unwinding in [false, true] {
        let recorder = Recorder::new();
        let (mut job, told) = counting();
        job.panics = true;
        let operation = start(&recorder, job);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let operation = operation;
            assert!(!unwinding, "in user code");
            operation.finish(&Outcome::ok());
        }));
        assert_eq!(ended.is_err(), unwinding, "no panic of a callback reaches the owner");
        let steps = ["in flight 1", "before end", "span", "measure"];
        let told = told.lock().unwrap();
        assert!(told.iter().zip(steps).all(|(told, step)| told.starts_with(step)), "{told:?}");
        assert_eq!((told.len(), recorder.spans().len()), (steps.len(), 1));
    }
}

#[test]
fn by_a_panic_that_is_caught_further_out() {
    let recorder = Recorder::new();
    let (job, told) = counting();
    let inner = async { panic!("in user code") };
    let mut future = Box::pin(OperationFuture::new(inner, Some(start(&recorder, job))));
    let caught = catch_unwind(AssertUnwindSafe(|| (&mut future).now_or_never()));
    assert!(caught.is_err());
    assert_told(&recorder, &told, "panic");
    drop(future);
    assert_told(&recorder, &told, "panic");
    let current = Context::map_current(|cx| cx.span().span_context().is_valid());
    assert!(!current, "the context is detached when a panic goes by");
}

#[test]
fn a_start_that_was_not_counted_is_not_counted_down() {
    let recorder = Recorder::new();
    let (mut job, told) = counting();
    job.counts = false;
    start(&recorder, job).finish(&Outcome::ok());
    assert_eq!(*told.lock().unwrap(), ["in flight 1", "span", "measure ok"]);
}

#[test]
fn the_span_is_ended_last() {
    // A test that waits for a span reads the metrics next.
    let recorder = Recorder::new();
    let (job, told) = counting();
    let operation = start(&recorder, job);
    assert!(recorder.spans().is_empty());
    operation.finish(&Outcome::ok());
    assert_eq!(told.lock().unwrap().last().unwrap(), "measure ok");
    assert_eq!(recorder.spans().len(), 1);
}

#[test]
fn the_context_is_current_in_every_poll_and_in_none_between() {
    let recorder = Recorder::new();
    let (job, told) = counting();
    let operation = start(&recorder, job);
    let own = operation.context().span().span_context().span_id();
    let mut polls = 0;
    let inner = poll_fn(move |_| {
        let current = Context::map_current(|cx| cx.span().span_context().span_id());
        assert_eq!(current, own);
        polls += 1;
        if polls < 3 { Poll::Pending } else { Poll::Ready(polls) }
    });
    let mut future = Box::pin(OperationFuture::new(inner, Some(operation)));
    for _ in 0..2 {
        assert!((&mut future).now_or_never().is_none());
        assert!(!Context::map_current(|cx| cx.span().span_context().is_valid()));
    }
    assert_eq!(future.now_or_never(), Some(3));
    assert_told(&recorder, &told, "ok");
}

/// Keeps the span that is current when it is dropped, and panics then if `panics` is set.
struct Guard<'a> {
    seen: &'a Cell<Option<SpanId>>,
    panics: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.seen.set(Some(Context::map_current(|cx| cx.span().span_context().span_id())));
        assert!(!self.panics, "in a guard");
    }
}

#[test]
fn a_future_is_dropped_in_the_context() {
    for (completes, panics, end) in [(false, false, "cancelled"), (false, true, "panic"), (true, false, "ok")]
    {
        let recorder = Recorder::new();
        let (job, told) = counting();
        let operation = start(&recorder, job);
        let own = operation.context().span().span_context().span_id();
        let seen = Cell::new(None);
        let guard = Guard { seen: &seen, panics };
        let inner = poll_fn(move |_| {
            let _guard = &guard;
            if completes { Poll::Ready(()) } else { Poll::Pending }
        });
        let mut future = Box::pin(OperationFuture::new(inner, Some(operation)));
        assert_eq!((&mut future).now_or_never().is_some(), completes);
        assert_eq!(catch_unwind(AssertUnwindSafe(|| drop(future))).is_err(), panics);
        assert_eq!(seen.get(), Some(own));
        assert!(!Context::map_current(|cx| cx.span().span_context().is_valid()));
        assert_told(&recorder, &told, end);
    }
}

#[test]
fn without_an_operation_a_future_is_only_itself() {
    let future = OperationFuture::<_, crate::support::Job>::new(async { 7 }, None);
    assert_eq!(future.now_or_never(), Some(7));
    let seen = Cell::new(None);
    let guard = Guard { seen: &seen, panics: false };
    let pending = async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    };
    assert_eq!(OperationFuture::<_, crate::support::Job>::new(pending, None).now_or_never(), None);
    assert_eq!(seen.get(), Some(SpanId::INVALID));
}
