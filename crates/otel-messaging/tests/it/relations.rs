//! Parents, links and baggage, and the headers of forwarded messages.

use opentelemetry::Context;
use opentelemetry::trace::{SpanId, SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _};
use otel_messaging::{ExistingContext, MessagingInstrumentation, MessagingOperation, ParentMode};
use otel_operation::Outcome;
use otel_propagation::baggage;
use otel_testing::Recorder;

use crate::support::{Headers, header, messaging, named, remote, with};

/// Returns a context with a local span and with baggage.
fn ambient(recorder: &Recorder) -> Context {
    let tracer = recorder.tracer_provider().tracer("app");
    let cx = Context::new().with_span(tracer.start_with_context("app", &Context::new()));
    baggage::set(&cx, "of", "ambient").unwrap()
}

fn produced() -> Context {
    baggage::set(&remote(7, true), "of", "producer").unwrap()
}

fn process(messaging: &MessagingInstrumentation, carried: &Context, current: &Context) -> MessagingOperation {
    named(messaging, "orders").process("process").with_message(carried).start(current, |_| {})
}

#[test]
fn the_parent_is_as_the_mode_says_and_the_link_is_always_there() {
    for (mode, has_ambient, parent, of) in [
        (ParentMode::LinkOnly, true, "ambient", "ambient"),
        (ParentMode::LinkOnly, false, "none", "producer"),
        (ParentMode::ProducerIfNoAmbient, true, "ambient", "ambient"),
        (ParentMode::ProducerIfNoAmbient, false, "producer", "producer"),
        (ParentMode::Producer, true, "producer", "producer"),
        (ParentMode::Producer, false, "producer", "producer"),
    ] {
        let recorder = Recorder::new();
        let messaging = with(&recorder, |options| options.with_parent_mode(mode));
        let current = if has_ambient { ambient(&recorder) } else { Context::new() };
        let carried = produced();
        let operation = process(&messaging, &carried, &current);
        assert_eq!(baggage::get(operation.context(), "of"), Some(of), "{mode:?} {has_ambient}");
        operation.finish(&Outcome::ok());
        let span = recorder.span("process orders");
        let expected = match parent {
            "ambient" => current.span().span_context().clone(),
            "producer" => carried.span().span_context().clone(),
            _ => opentelemetry::trace::SpanContext::NONE,
        };
        assert_eq!(span.parent_span_id, expected.span_id(), "{mode:?} {has_ambient}");
        if parent != "none" {
            assert_eq!(span.span_context.trace_id(), expected.trace_id(), "{mode:?} {has_ambient}");
        } else {
            assert!(span.span_context.is_valid(), "{mode:?} {has_ambient}");
            assert_ne!(span.span_context.trace_id(), carried.span().span_context().trace_id());
        }
        let links: Vec<_> = span.links.iter().map(|link| link.span_context.clone()).collect();
        assert_eq!(links, [carried.span().span_context().clone()], "{mode:?} {has_ambient}");
        current.span().end();
        recorder.assert_clean();
    }
}

#[test]
fn one_message_may_be_treated_differently() {
    let recorder = Recorder::new();
    let orders = named(&messaging(&recorder), "orders");
    let carried = produced();
    let replayed = orders.process("process").with_message(&carried).with_parent_mode(ParentMode::LinkOnly);
    replayed.start(&Context::new(), |_| {}).finish(&Outcome::ok());
    assert_eq!(recorder.span("process orders").parent_span_id, SpanId::INVALID);
}

#[test]
fn a_message_without_a_context_is_linked_to_nothing() {
    for (mode, parent_is_ambient) in
        [(ParentMode::LinkOnly, true), (ParentMode::ProducerIfNoAmbient, true), (ParentMode::Producer, false)]
    {
        let recorder = Recorder::new();
        let messaging = with(&recorder, |options| options.with_parent_mode(mode));
        let current = ambient(&recorder);
        let carried = messaging.extract(&Headers::from([("traceparent".into(), "nonsense".into())]));
        process(&messaging, &carried, &current).finish(&Outcome::ok());
        let span = recorder.span("process orders");
        assert!(span.links.is_empty());
        assert_eq!(
            span.parent_span_id == current.span().span_context().span_id(),
            parent_is_ambient,
            "{mode:?}"
        );
    }
}

#[test]
fn an_unsampled_producer_is_followed_and_linked() {
    let recorder = Recorder::builder()
        .with_sampler(opentelemetry_sdk::trace::Sampler::ParentBased(Box::new(
            opentelemetry_sdk::trace::Sampler::AlwaysOn,
        )))
        .build();
    let carried = remote(7, false);
    let messaging_default = messaging(&recorder);
    let operation = process(&messaging_default, &carried, &Context::new());
    let identity = operation.context().span().span_context().clone();
    assert!(!identity.is_sampled() && identity.trace_id() == carried.span().span_context().trace_id());
    drop(operation);
    assert!(recorder.spans().is_empty());
    let link_only = with(&recorder, |options| options.with_parent_mode(ParentMode::LinkOnly));
    process(&link_only, &carried, &Context::new()).finish(&Outcome::ok());
    assert_eq!(recorder.span("process orders").links.len(), 1, "not sampled, but a span all the same");
}

/// Sends a message that already carries a context; `headers` become the headers that are sent.
fn forward(
    messaging: &MessagingInstrumentation,
    existing: ExistingContext,
    headers: &mut Headers,
) -> MessagingOperation {
    let carried = messaging.extract(&*headers);
    let orders = named(messaging, "orders");
    let send = orders.send("send").with_message(&carried).with_existing_context(existing);
    let operation = send.start(&Context::new(), |_| {});
    operation.inject(headers);
    operation
}

const OLD: &str = "00-00000000000000000000000000000007-0000000000000007-01";

#[test]
fn an_existing_context_is_replaced_or_kept_and_linked_either_way() {
    for (existing, kind, replaced) in [
        (ExistingContext::ReplaceAndLink, SpanKind::Producer, true),
        (ExistingContext::Preserve, SpanKind::Client, false),
    ] {
        let recorder = Recorder::new();
        let messaging = with(&recorder, |options| options.with_existing_context(existing));
        let mut headers: Headers = vec![
            ("traceparent".into(), OLD.into()),
            ("tracestate".into(), "old=1".into()),
            ("baggage".into(), "old=1".into()),
        ];
        let operation = forward(&messaging, existing, &mut headers);
        assert_eq!(operation.injects(), replaced);
        operation.finish(&Outcome::ok());
        let span = recorder.span("send orders");
        assert_eq!(span.span_kind, kind);
        assert_eq!(span.links.len(), 1);
        assert_eq!(span.links.links[0].span_context.trace_id().to_string(), &OLD[3..35]);
        assert_eq!(header(&headers, "traceparent") != Some(OLD), replaced);
        assert_eq!(header(&headers, "tracestate").is_none(), replaced, "nothing stale is left");
        assert_eq!(header(&headers, "baggage"), Some("old=1"), "the context has none");
    }
}

#[test]
fn a_message_that_carries_nothing_gets_the_context_in_both_cases() {
    for existing in [ExistingContext::ReplaceAndLink, ExistingContext::Preserve] {
        let recorder = Recorder::new();
        let mut headers = Headers::new();
        let operation = forward(&messaging(&recorder), existing, &mut headers);
        let identity = operation.context().span().span_context().clone();
        operation.finish(&Outcome::ok());
        let sent = format!("00-{}-{}-01", identity.trace_id(), identity.span_id());
        assert_eq!(header(&headers, "traceparent"), Some(sent.as_str()));
        assert_eq!(recorder.span("send orders").span_kind, SpanKind::Producer);
        assert!(recorder.span("send orders").links.is_empty());
    }
}

#[test]
fn only_what_is_sent_carries_a_context() {
    let recorder = Recorder::new();
    let orders = named(&messaging(&recorder), "orders");
    for start in [orders.receive("poll"), orders.process("process"), orders.settle("commit")] {
        let mut headers: Headers = vec![("traceparent".into(), OLD.into())];
        start.start(&Context::new(), |_| {}).inject(&mut headers);
        assert_eq!(header(&headers, "traceparent"), Some(OLD));
    }
}

#[test]
fn without_an_sdk_that_runs_the_received_context_is_passed_on() {
    let recorder = Recorder::new();
    let messaging = messaging(&recorder);
    recorder.shutdown();
    let carried = produced();
    let operation = process(&messaging, &carried, &Context::new());
    assert_eq!(operation.context().span().span_context(), carried.span().span_context());
    let mut headers = Headers::new();
    let sent = named(&messaging, "next").send("send").start(operation.context(), |_| {});
    sent.inject(&mut headers);
    assert_eq!(header(&headers, "traceparent"), Some(OLD));
    assert_eq!(header(&headers, "baggage"), Some("of=producer"));
}

#[test]
fn without_an_sdk_a_message_keeps_the_context_that_its_author_gave_it() {
    let recorder = Recorder::new();
    let messaging = messaging(&recorder);
    recorder.shutdown();
    let mut headers: Headers =
        vec![("traceparent".into(), OLD.into()), ("tracestate".into(), "old=1".into())];
    let ambient = produced().with_remote_span_context(remote(9, true).span().span_context().clone());
    let sent = named(&messaging, "next").send("send").start(&ambient, |_| {});
    sent.inject(&mut headers);
    assert_eq!(header(&headers, "traceparent"), Some(OLD));
    assert_eq!(header(&headers, "tracestate"), Some("old=1"));
    assert_eq!(header(&headers, "baggage"), Some("of=producer"), "there was none");
}
