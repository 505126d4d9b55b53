//! Explicit ends are counted, whichever way the span is held.

use std::{panic::catch_unwind, time::SystemTime};

use opentelemetry::{
    Context, KeyValue,
    trace::{Span, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_sdk::trace::Sampler;
use otel_testing::{Recorder, RecordingTracer};

fn recorder() -> (Recorder, RecordingTracer) {
    let recorder = Recorder::new();
    let tracer = recorder.tracer_provider().tracer("test");
    (recorder, tracer)
}

#[track_caller]
fn assert_fails(recorder: &Recorder, expected: &str) {
    let recorder = recorder.clone();
    let Err(panic) = catch_unwind(move || recorder.assert_clean()) else { panic!("it must not be clean") };
    let text = panic.downcast_ref::<String>().map_or("", String::as_str);
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_span_ended_once_is_clean() {
    let (recorder, tracer) = recorder();
    tracer.start("one").end();
    let id = recorder.span("one").span_context.span_id();
    assert_eq!(recorder.ended(id), Some(1));
    recorder.assert_clean();
}

#[test]
fn a_span_in_a_context_is_counted() {
    let (recorder, tracer) = recorder();
    let cx = Context::new().with_span(tracer.start("one"));
    let clone = cx.clone();
    cx.span().end_with_timestamp(SystemTime::now());
    drop((cx, clone));
    recorder.assert_clean();
}

#[test]
fn a_second_end_is_seen() {
    let (recorder, tracer) = recorder();
    let cx = Context::new().with_span(tracer.start("one"));
    cx.span().end();
    recorder.assert_clean();
    cx.span().end_with_timestamp(SystemTime::now());
    assert_eq!(recorder.spans().len(), 1, "the SDK hides it");
    assert_fails(&recorder, "\"one\" was ended 2 times");
}

#[test]
fn an_attribute_that_is_set_again_is_seen() {
    let (recorder, tracer) = recorder();
    let mut span = tracer.start("one");
    span.set_attribute(KeyValue::new("key", 1));
    span.set_attribute(KeyValue::new("other", 1));
    span.end();
    recorder.assert_clean();
    let mut span = tracer.start("two");
    span.set_attribute(KeyValue::new("key", 1));
    span.set_attribute(KeyValue::new("key", 2));
    span.end();
    assert_fails(&recorder, "`key` is recorded twice on the span `two`");
}

#[test]
fn an_end_by_drop_is_seen() {
    let (recorder, tracer) = recorder();
    drop(tracer.start("one"));
    assert_eq!(recorder.spans().len(), 1, "the SDK hides it");
    assert_fails(&recorder, "\"one\" was ended by being dropped");
}

#[test]
fn a_span_that_was_not_ended_is_seen() {
    let (recorder, tracer) = recorder();
    let _span = tracer.start("one");
    assert_fails(&recorder, "\"one\" was not ended:\nnot finished: INTERNAL one");
}

#[test]
fn a_span_that_ended_after_the_shutdown_did_not_finish() {
    let (recorder, tracer) = recorder();
    let mut span = tracer.start("one");
    recorder.shutdown();
    span.end();
    recorder.assert_each_ended_once();
    assert_fails(&recorder, "1 spans were started and have not finished");
}

#[test]
fn a_span_that_is_not_sampled_has_nothing_to_end() {
    let recorder = Recorder::builder().with_sampler(Sampler::AlwaysOff).build();
    let span = recorder.tracer_provider().tracer("test").start("one");
    let id = span.span_context().span_id();
    assert!(span.span_context().is_valid());
    drop(span);
    assert_eq!(recorder.ended(id), None);
    recorder.assert_clean();
}

#[test]
fn a_span_of_that_name_must_be_the_only_one() {
    let (recorder, tracer) = recorder();
    tracer.start("one").end();
    tracer.start("one").end();
    for (name, found) in [("one", "found 2"), ("two", "found 0")] {
        let recorder = recorder.clone();
        let panic = catch_unwind(move || drop(recorder.span(name))).expect_err("it must panic");
        assert!(panic.downcast_ref::<String>().expect("a message").contains(found));
    }
}
