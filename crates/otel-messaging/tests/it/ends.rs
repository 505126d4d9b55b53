//! Each way in which an operation can end, and that it ends once.

use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::task::Poll;

use futures_util::FutureExt as _;
use opentelemetry::Context;
use opentelemetry::trace::{SpanId, TraceContextExt as _};
use otel_messaging::MessagingOperation;
use otel_operation::Outcome;
use otel_testing::Recorder;

use crate::support::{messaging, named};

fn process(recorder: &Recorder) -> MessagingOperation {
    named(&messaging(recorder), "orders").process("process").start(&Context::new(), |_| {})
}

fn assert_ended(recorder: &Recorder, error: Option<&'static str>) {
    recorder.assert_clean();
    let span = recorder.spans().pop().unwrap();
    let of_span = span.attributes.iter().find(|kv| kv.key.as_str() == "error.type");
    assert_eq!(of_span.map(|kv| kv.value.to_string()).as_deref(), error);
    let durations = recorder.metric("messaging.process.duration");
    assert_eq!(durations.count(), 1);
    let of_metric = durations.points()[0].attribute("error.type").map(ToString::to_string);
    assert_eq!(of_metric.as_deref(), error);
}

#[test]
fn by_its_outcome_dropped_or_unwinding() {
    let recorder = Recorder::new();
    process(&recorder).finish(&Outcome::error("rejected"));
    assert_ended(&recorder, Some("rejected"));

    let recorder = Recorder::new();
    drop(process(&recorder));
    assert_ended(&recorder, Some("cancelled"));

    let recorder = Recorder::new();
    let mut operation = process(&recorder);
    let unwound = catch_unwind(AssertUnwindSafe(|| operation.inside(|| panic!("in a handler"))));
    assert!(unwound.is_err());
    assert_ended(&recorder, Some("panic"));
}

fn current() -> SpanId {
    Context::map_current(|context| context.span().span_context().span_id())
}

#[test]
fn a_future_runs_in_the_context_and_its_output_decides_the_outcome() {
    let recorder = Recorder::new();
    let operation = process(&recorder);
    let own = operation.context().span().span_context().span_id();
    let handler = async {
        let before = current();
        futures_util::future::ready(()).await;
        (before, current())
    };
    let output = operation.run_with(handler, |_| Outcome::error("rejected")).now_or_never().unwrap();
    assert_eq!(output, (own, own), "the context is current in the handler");
    assert_eq!(current(), SpanId::INVALID, "and only there");
    assert_ended(&recorder, Some("rejected"));

    let recorder = Recorder::new();
    assert_eq!(process(&recorder).run(async { Err::<(), _>("no") }).now_or_never(), Some(Err("no")));
    assert_ended(&recorder, Some("&str"));

    let recorder = Recorder::new();
    assert_eq!(process(&recorder).run_sync(|| 7, |_| Outcome::ok()), 7);
    assert_ended(&recorder, None);
}

fn panics_here() {
    panic!("in a handler")
}

#[test]
fn a_future_that_is_dropped_or_panics_ends_its_operation() {
    let recorder = Recorder::new();
    assert!(process(&recorder).run(std::future::pending::<()>()).now_or_never().is_none());
    assert_ended(&recorder, Some("cancelled"));

    let recorder = Recorder::new();
    let orders = named(&messaging(&recorder), "orders");
    drop(orders.process("process").with_error_if_dropped("unknown").start(&Context::new(), |_| {}));
    assert_ended(&recorder, Some("unknown"));

    let recorder = Recorder::new();
    let mut panics = Box::pin(process(&recorder).run(async { panics_here() }));
    let poll = AssertUnwindSafe(|| panics.as_mut().now_or_never());
    assert!(catch_unwind(poll).is_err());
    assert_ended(&recorder, Some("panic"));
}

/// Keeps the span that is current when it is dropped, and panics then if `panics` is set.
struct Guard<'a> {
    seen: &'a Cell<Option<SpanId>>,
    panics: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.seen.set(Some(current()));
        assert!(!self.panics, "in a guard");
    }
}

#[test]
fn a_future_is_dropped_in_the_context() {
    for (completes, panics, error) in
        [(false, false, Some("cancelled")), (false, true, Some("panic")), (true, false, None)]
    {
        let recorder = Recorder::new();
        let operation = process(&recorder);
        let own = operation.context().span().span_context().span_id();
        let seen = Cell::new(None);
        let guard = Guard { seen: &seen, panics };
        let handler = poll_fn(move |_| {
            let _guard = &guard;
            if completes { Poll::Ready(()) } else { Poll::Pending }
        });
        let mut running = Box::pin(operation.run(handler));
        assert_eq!(running.as_mut().now_or_never().is_some(), completes);
        assert_eq!(catch_unwind(AssertUnwindSafe(|| drop(running))).is_err(), panics);
        assert_eq!(seen.get(), Some(own));
        assert_eq!(current(), SpanId::INVALID);
        assert_ended(&recorder, error);
    }
}

#[test]
fn a_send_may_end_on_another_thread_after_everything_else_is_gone() {
    let recorder = Recorder::new();
    let (broker, confirmed) = mpsc::channel::<MessagingOperation>();
    let confirms = std::thread::spawn(move || {
        for operation in confirmed {
            operation.finish(&Outcome::ok());
        }
    });
    let messaging = messaging(&recorder);
    for _ in 0..10 {
        let sent = named(&messaging, "orders").send("send").start(&Context::new(), |_| {});
        broker.send(sent).unwrap();
    }
    drop((messaging, broker));
    confirms.join().unwrap();
    assert_eq!(recorder.metric("messaging.client.sent.messages").sum(), 10.0);
    assert_eq!(recorder.spans().len(), 10);
    recorder.assert_clean();
}
