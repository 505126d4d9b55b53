//! JetStream: acknowledgements of published messages, and consumers that process and settle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::context::{ContextBuilder, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{AckKind, stream};
use futures_util::{FutureExt as _, StreamExt as _};
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use otel_nats::Options;
use otel_nats::jetstream::{self, Context, JetStreamMessage, Messages, PullConsumer};
use otel_testing::Recorder;

use crate::support::{
    LONG, attribute, client, client_with, error_type, headers, listed, options, text, traceparent, unique,
};

/// A stream of its own with one subject, and the messages of a durable pull consumer.
pub(crate) struct Fixture {
    pub(crate) context: Context,
    pub(crate) subject: String,
    pub(crate) messages: Messages<pull::Stream>,
    pub(crate) stream: String,
}

impl Fixture {
    pub(crate) async fn new(recorder: &Recorder) -> Self {
        Self::with_options(options(recorder)).await
    }

    pub(crate) async fn with_options(options: Options) -> Self {
        let (name, subject) = (unique("STREAM"), unique("orders"));
        let context = jetstream::new(client_with(options).await);
        let stream = context.create_stream(stream_config(&name, &subject)).await.unwrap();
        let consumer: PullConsumer = stream.create_consumer(durable("till")).await.unwrap();
        let messages = consumer.messages().await.unwrap();
        Self { context, subject, messages, stream: name }
    }

    /// Publishes without instrumentation, with a context of another process.
    pub(crate) async fn write(&self, id: u64, subject: &str) {
        let written = headers(&[("traceparent", &traceparent(id))]);
        let publish = PublishMessage::build().headers(written);
        self.context.inner().send_publish(subject.to_owned(), publish).await.unwrap().await.unwrap();
    }

    /// Creates another consumer.
    pub(crate) async fn consumer(&self, config: pull::Config) -> PullConsumer {
        self.context.create_consumer_on_stream(config, &self.stream).await.unwrap()
    }
}

/// A stream in memory with this subject and those below it.
pub(crate) fn stream_config(name: &str, subject: &str) -> stream::Config {
    stream::Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned(), format!("{subject}.>")],
        storage: stream::StorageType::Memory,
        ..stream::Config::default()
    }
}

pub(crate) fn durable(name: &str) -> pull::Config {
    pull::Config { durable_name: Some(name.to_owned()), ..pull::Config::default() }
}

pub(crate) async fn message(messages: &mut Messages<pull::Stream>) -> JetStreamMessage {
    tokio::time::timeout(LONG, messages.next()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn a_message_from_end_to_end_is_one_trace() {
    let recorder = Recorder::new();
    let Fixture { context, subject, mut messages, stream } = Fixture::new(&recorder).await;
    let ack = context.publish(subject.clone(), "one book".into()).await.unwrap().await.unwrap();
    assert_eq!((&ack.stream, ack.sequence), (&stream, 1));
    let message = message(&mut messages).await;
    assert_eq!(message.payload, "one book");
    message.process(async |_| ()).await;
    message.double_ack().await.unwrap();

    let publish = recorder.span(&format!("publish {subject}"));
    let [process, settle] = ["process", "ack"].map(|name| recorder.span(&format!("{name} {stream}")));
    assert_eq!(process.parent_span_id, publish.span_context.span_id(), "{}", recorder.tree());
    assert_eq!(process.links[0].span_context.span_id(), publish.span_context.span_id());
    assert_eq!(settle.links[0].span_context.span_id(), publish.span_context.span_id());
    for span in [&publish, &process, &settle] {
        assert_eq!(attribute(span, "messaging.nats.stream.name").as_ref(), Some(&stream));
        assert_eq!(attribute(span, "messaging.nats.stream.sequence").as_deref(), Some("1"));
        assert_eq!(error_type(span), None);
    }
    assert_eq!(attribute(&process, "messaging.destination.name"), Some(subject));
    assert_eq!(attribute(&process, "messaging.destination.subscription.name").as_deref(), Some("till"));
    assert_eq!(attribute(&process, "messaging.nats.message.delivery_count").as_deref(), Some("1"));
    let kinds = [publish.span_kind, process.span_kind, settle.span_kind];
    assert_eq!(kinds, [SpanKind::Producer, SpanKind::Consumer, SpanKind::Client]);
    recorder.assert_clean();
}

#[tokio::test]
async fn an_acknowledgement_that_is_not_awaited_ends_the_span() {
    let recorder = Recorder::new();
    let Fixture { context, subject, .. } = Fixture::new(&recorder).await;
    for _ in 0..3 {
        drop(context.publish(subject.clone(), "p".into()).await.unwrap());
    }
    recorder.wait_for_spans(3).await;
    let sequences: Vec<_> = recorder
        .spans()
        .iter()
        .filter_map(|span| attribute(span, "messaging.nats.stream.sequence"))
        .collect();
    assert_eq!(sequences, ["1", "2", "3"]);
    assert_eq!(recorder.spans().iter().filter_map(error_type).count(), 0);
    recorder.assert_clean();
}

#[tokio::test]
async fn an_acknowledgement_that_is_dropped_while_it_is_awaited_is_unknown() {
    let recorder = Recorder::new();
    let Fixture { context, subject, .. } = Fixture::new(&recorder).await;
    let mut ack = context.publish(subject.clone(), "p".into()).await.unwrap().into_future();
    assert!((&mut ack).now_or_never().is_none());
    assert_eq!(recorder.spans().len(), 0);
    drop(ack);
    assert_eq!(error_type(&recorder.span(&format!("publish {subject}"))).as_deref(), Some("unknown"));
    recorder.assert_clean();
}

#[tokio::test]
async fn an_acknowledgement_may_be_awaited_after_the_context_is_gone() {
    let recorder = Recorder::new();
    let Fixture { context, subject, messages, .. } = Fixture::new(&recorder).await;
    let [awaited, dropped] =
        [context.publish(subject.clone(), "a".into()).await, context.publish(subject, "b".into()).await];
    // Without any client the connection closes.
    let _client = context.inner().client();
    drop((context, messages, dropped.unwrap()));
    assert_eq!(awaited.unwrap().await.unwrap().sequence, 1);
    recorder.wait_for_spans(2).await;
    assert_eq!(recorder.spans().iter().filter_map(error_type).count(), 0);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_duplicate_is_recorded_as_one() {
    let recorder = Recorder::new();
    let Fixture { context, subject, .. } = Fixture::new(&recorder).await;
    for duplicate in [false, true] {
        let publish = PublishMessage::build().payload("p".into()).message_id("m-1");
        let ack = context.send_publish(subject.clone(), publish).await.unwrap().await.unwrap();
        assert_eq!((ack.duplicate, ack.sequence), (duplicate, 1));
    }
    let [first, second] = &recorder.spans()[..] else { panic!("{}", recorder.tree()) };
    assert_eq!(attribute(first, "messaging.nats.message.duplicate"), None);
    assert_eq!(attribute(second, "messaging.nats.message.duplicate").as_deref(), Some("true"));
    assert_eq!(attribute(second, "messaging.message.id").as_deref(), Some("m-1"));
}

#[tokio::test]
async fn a_message_that_no_stream_takes_says_why() {
    let recorder = Recorder::new();
    let Fixture { context, subject, .. } = Fixture::new(&recorder).await;
    let nobody = unique("nobody");
    let error = context.publish(nobody.clone(), "p".into()).await.unwrap().await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::StreamNotFound);
    let late = PublishMessage::build().payload("p".into()).expected_last_sequence(7);
    let error = context.send_publish(subject.clone(), late).await.unwrap().await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::WrongLastSequence);
    let error = context.publish("two words", "p".into()).await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::Other);
    let too_large = "p".repeat(context.inner().client().max_payload() + 1);
    let error = context.publish(subject, too_large.into()).await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::MaxPayloadExceeded);
    let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    assert_eq!(errors, ["StreamNotFound", "WrongLastSequence", "Other", "MaxPayloadExceeded"]);
    recorder.assert_clean();
}

#[tokio::test]
async fn headers_conditions_and_payload_arrive_with_the_context() {
    let recorder = Recorder::new();
    let Fixture { context, subject, mut messages, .. } = Fixture::new(&recorder).await;
    let own = headers(&[("X-Own", "1"), ("TraceParent", &traceparent(9))]);
    context.publish_with_headers(subject.clone(), own, "p".into()).await.unwrap().await.unwrap();
    let largest = "p".repeat(context.inner().client().max_payload());
    context.publish(subject, largest.into()).await.unwrap().await.unwrap();
    let first = message(&mut messages).await;
    let list = listed(first.headers.as_ref());
    let span = recorder.spans().remove(0);
    assert!(text(&list, "traceparent").unwrap().contains(&span.span_context.span_id().to_string()));
    assert_eq!((list.len(), text(&list, "X-Own"), span.links.len()), (2, Some("1"), 1));
    assert_eq!(message(&mut messages).await.headers, None, "it has no space for headers");
    assert_eq!(recorder.metric("messaging.nats.context.left_out").sum(), 1.0);
}

#[tokio::test]
async fn the_context_makes_no_headers_too_large_for_a_stream() {
    let recorder = Recorder::new();
    let Fixture { context, subject, .. } = Fixture::new(&recorder).await;
    // A line of 5 bytes beside the value, and the frame of 12: a stream stores 65,535 bytes of headers.
    let publish = async |size: usize| {
        let own = headers(&[("A", &"1".repeat(size))]);
        let publish = async |own: HeaderMap| {
            context.inner().publish_with_headers(subject.clone(), own, "p".into()).await.unwrap().await
        };
        let bare = publish(own.clone()).await.map(|ack| ack.stream).map_err(|error| error.to_string());
        let traced = context.publish_with_headers(subject.clone(), own, "p".into()).await.unwrap().await;
        assert_eq!(traced.map(|ack| ack.stream).map_err(|error| error.to_string()), bare, "{size}");
        bare.is_ok()
    };
    // 70 bytes for the line of `traceparent`.
    assert!(publish(65_518 - 70).await);
    assert!(!recorder.metrics().contains("context.left_out"), "{}", recorder.metrics());
    for (size, is_stored) in [(65_518 - 69, true), (65_518, true), (65_519, false)] {
        assert_eq!(publish(size).await, is_stored, "{size}");
    }
    assert_eq!(recorder.metric("messaging.nats.context.left_out").sum(), 3.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn each_way_to_settle_is_a_span_and_a_redelivery_is_counted() {
    let recorder = Recorder::new();
    let Fixture { context, subject, mut messages, stream } = Fixture::new(&recorder).await;
    context.publish(subject, "p".into()).await.unwrap().await.unwrap();
    let first = message(&mut messages).await;
    first.ack_with(AckKind::Progress).await.unwrap();
    first.ack_with(AckKind::Nak(Some(Duration::from_millis(1)))).await.unwrap();
    let second = message(&mut messages).await;
    second.process(async |_| Err::<(), _>("late")).await.unwrap_err();
    second.double_ack_with(AckKind::Term).await.unwrap();
    for name in ["progress", "nak"] {
        let span = recorder.span(&format!("{name} {stream}"));
        assert_eq!(attribute(&span, "messaging.nats.message.delivery_count").as_deref(), Some("1"));
        assert_eq!(attribute(&span, "messaging.operation.type").as_deref(), Some("settle"));
    }
    for name in ["process", "term"] {
        let span = recorder.span(&format!("{name} {stream}"));
        assert_eq!(attribute(&span, "messaging.nats.message.delivery_count").as_deref(), Some("2"));
    }
    assert_eq!(recorder.metric("messaging.client.consumed.messages").sum(), 2.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn an_acknowledgement_that_is_not_awaited_frees_its_place_when_it_arrives() {
    let recorder = Recorder::new();
    let Fixture { context, subject, .. } = Fixture::new(&recorder).await;
    let client = client(&recorder).await;
    // Without the task, the place is free after the minute of one of these timeouts.
    let one_at_once = ContextBuilder::new().timeout(LONG).ack_timeout(LONG).max_ack_inflight(1);
    let one_at_once = one_at_once.backpressure_on_inflight(true).build(client.inner().clone());
    let one_at_once = Context::new(client, one_at_once);
    let publishing = async {
        for _ in 0..3 {
            drop(one_at_once.publish(subject.clone(), "p".into()).await.unwrap());
        }
        one_at_once.wait_for_acks().await;
    };
    tokio::time::timeout(LONG / 2, publishing).await.unwrap();
    assert_eq!(recorder.spans().len(), 3);
    assert_eq!(recorder.spans().iter().filter_map(error_type).count(), 0);
    drop(context);
    recorder.assert_clean();
}

/// Takes its time at the end of each span, and counts them.
#[derive(Clone, Debug, Default)]
struct SlowProcessor(Arc<AtomicUsize>);

impl SpanProcessor for SlowProcessor {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, _: SpanData) {
        std::thread::sleep(Duration::from_millis(100));
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_acknowledgements_includes_the_ends_of_their_spans() {
    let slow = SlowProcessor::default();
    let provider = SdkTracerProvider::builder().with_span_processor(slow.clone()).build();
    let fixture = Fixture::with_options(Options::new().with_tracer_provider(&provider)).await;
    for _ in 0..3 {
        drop(fixture.context.publish(fixture.subject.clone(), "p".into()).await.unwrap());
    }
    fixture.context.wait_for_acks().await;
    assert_eq!(slow.0.load(Ordering::SeqCst), 3);
}
