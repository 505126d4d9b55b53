//! Message spans: their links, parents and ends.

use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt as _, StreamExt, stream};
use http::{Request, Response};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SpanData;
use otel_grpc::{MessageSpans, StreamSlot};
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;
use tonic::body::Body;
use tower::{Layer, ServiceExt};

use crate::echo::{TALK, messages, say};
use crate::support::{attribute, pair, server_layer, spans_of};

fn recorded(spans: MessageSpans, recorder: &Recorder) -> MessageSpans {
    spans.with_tracer_provider(recorder.tracer_provider()).with_propagator(CompositePropagator::default())
}

/// Runs a handler of a streaming call.
async fn handle<F: Future<Output = ()> + Send>(recorder: &Recorder, handler: impl Fn() -> F + Clone + Send) {
    let service = server_layer(recorder).layer(tower::service_fn(move |_: Request<Body>| {
        let handled = handler();
        async {
            handled.await;
            let response = Response::builder().header("grpc-status", 0);
            Ok::<_, Infallible>(response.body(Body::empty()).unwrap())
        }
    }));
    let request = Request::post("/test.Echo/Talk").header("content-type", "application/grpc");
    service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
}

fn only(recorder: &Recorder, kind: SpanKind) -> SpanData {
    let mut spans = spans_of(recorder, kind);
    assert_eq!(spans.len(), 1, "{}", recorder.tree());
    spans.remove(0)
}

fn current() -> SpanId {
    Context::current().span().span_context().span_id()
}

#[tokio::test]
async fn a_message_is_linked_to_its_stream_and_continues_its_senders_trace() {
    let recorder = Recorder::new();
    let seen = recorder.clone();
    handle(&recorder, move || {
        let recorder = seen.clone();
        async move {
            let spans = recorded(MessageSpans::current(TALK), &recorder);
            let mut headers = HashMap::<String, String>::new();
            let sending = spans.send(&mut headers);
            let sent = sending.context().span().span_context().span_id();
            assert!(headers["traceparent"].contains(&sent.to_string()));
            assert!(recorder.spans().is_empty(), "it is being sent");
            drop(sending);
            let inside = spans.receive(&headers, async {
                tokio::task::yield_now().await;
                current()
            });
            assert_eq!(inside.await, only(&recorder, SpanKind::Consumer).span_context.span_id());
        }
    })
    .await;
    let stream = only(&recorder, SpanKind::Server);
    let (sent, received) = (only(&recorder, SpanKind::Producer), only(&recorder, SpanKind::Consumer));
    assert_eq!((&*sent.name, &*received.name), ("test.Echo/Talk send", "test.Echo/Talk receive"));
    assert_eq!(sent.parent_span_id, SpanId::INVALID, "the stream's trace does not grow");
    assert_ne!(sent.span_context.trace_id(), stream.span_context.trace_id());
    assert_eq!(received.parent_span_id, sent.span_context.span_id());
    for (span, direction) in [(&sent, "SENT"), (&received, "RECEIVED")] {
        assert_eq!(span.links.links.len(), 1);
        assert_eq!(span.links.links[0].span_context.span_id(), stream.span_context.span_id());
        assert_eq!(attribute(span, "rpc.message.type").unwrap(), direction);
        assert_eq!(attribute(span, "rpc.method").unwrap(), TALK);
        assert_eq!(attribute(span, "rpc.system.name").unwrap(), "grpc");
    }
    recorder.assert_clean();
}

#[tokio::test]
async fn a_message_is_sent_by_what_the_application_does() {
    let recorder = Recorder::new();
    let seen = recorder.clone();
    handle(&recorder, move || {
        let recorder = seen.clone();
        async move {
            let spans = recorded(MessageSpans::current(TALK), &recorder);
            let work = recorder.tracer_provider().tracer("app").start("work");
            let _attached = Context::current_with_span(work).attach();
            drop(spans.send(&mut HashMap::<String, String>::new()));
        }
    })
    .await;
    let (work, sent) = (only(&recorder, SpanKind::Internal), only(&recorder, SpanKind::Producer));
    assert_eq!(sent.parent_span_id, work.span_context.span_id());
    assert_eq!(sent.links.links.len(), 1);
}

#[tokio::test]
async fn a_client_knows_its_stream_when_the_call_has_begun() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    let slot = StreamSlot::default();
    let spans = recorded(MessageSpans::new(TALK, &slot), &recorder);
    drop(spans.send(&mut HashMap::<String, String>::new()));
    assert!(only(&recorder, SpanKind::Producer).links.links.is_empty(), "there is no stream yet");

    let mut request = tonic::Request::new(messages(stream::iter([say("hello")])));
    request.extensions_mut().insert(slot);
    let answers = client.talk(request).await.unwrap().into_inner();
    spans.receive(&HashMap::<String, String>::new(), async {}).await;
    answers.collect::<Vec<_>>().await;
    recorder.wait_for_spans(4).await;
    let (stream, received) = (only(&recorder, SpanKind::Client), only(&recorder, SpanKind::Consumer));
    assert_eq!(received.parent_span_id, SpanId::INVALID);
    assert_eq!(received.links.links[0].span_context.span_id(), stream.span_context.span_id());
    recorder.assert_clean();
}

#[tokio::test]
async fn a_message_ends_once_in_every_way() {
    let recorder = Recorder::new();
    let spans = recorded(MessageSpans::new(TALK, &StreamSlot::default()), &recorder);
    spans.send(&mut HashMap::<String, String>::new()).fail("closed");
    let failed = recorder.spans().remove(0);
    assert_eq!(attribute(&failed, "error.type").unwrap(), "closed");
    assert!(matches!(failed.status, Status::Error { .. }));

    let none = HashMap::<String, String>::new();
    assert!(spans.receive(&none, std::future::pending::<()>()).now_or_never().is_none());
    let panics = AssertUnwindSafe(spans.receive(&none, async { panic!("as it was asked to") }));
    assert!(panics.catch_unwind().await.is_err());
    let ends: Vec<_> =
        spans_of(&recorder, SpanKind::Consumer).iter().map(|span| attribute(span, "error.type")).collect();
    assert_eq!(ends, [None, Some("panic".to_owned())]);
    recorder.assert_clean();
}

#[tokio::test]
async fn baggage_travels_with_messages_and_nothing_else_that_is_current_is_joined() {
    let recorder = Recorder::new();
    let stream = Context::new()
        .with_span(recorder.tracer_provider().tracer("app").start("stream"))
        .with_baggage([KeyValue::new("room", "lobby")]);
    let attached = stream.attach();
    let spans = recorded(MessageSpans::current(TALK), &recorder);
    let mut headers = HashMap::<String, String>::new();
    drop(spans.send(&mut headers));
    let room = async { Context::current().baggage().get("room").map(ToString::to_string) };
    assert_eq!(spans.receive(&headers, room).await.as_deref(), Some("lobby"));
    // The stream's span is current here, and a message without context must not become its child.
    spans.receive(&HashMap::<String, String>::new(), async {}).await;
    drop(attached);
    let received = spans_of(&recorder, SpanKind::Consumer);
    assert_eq!(received[0].parent_span_id, only(&recorder, SpanKind::Producer).span_context.span_id());
    assert_eq!(received[1].parent_span_id, SpanId::INVALID);
}
