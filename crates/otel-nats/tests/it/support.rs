//! The server's address, clients that record into one recorder, and clients without instrumentation to inspect messages.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::{HeaderMap, Request};
use futures_util::StreamExt as _;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::trace::SpanData;
use otel_nats::{Client, Options};
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;

const START: &str = "start the server: `cargo xtask services up nats`";

/// A timeout that is sufficient on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Returns a variable from the environment or from the file that `cargo xtask services up` wrote.
pub(crate) fn setting(name: &str) -> String {
    if let Ok(value) = std::env::var(name) {
        return value;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/services/env");
    let lines = std::fs::read_to_string(file)
        .unwrap_or_else(|_| panic!("{name} is not set and {file} does not exist: {START}"));
    let settings: HashMap<_, _> =
        lines.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('=')).collect();
    settings
        .get(name)
        .unwrap_or_else(|| panic!("{name} is neither set nor in {file}: {START}"))
        .trim_matches('\'')
        .to_owned()
}

/// Returns a subject that no other test uses.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{next}", std::process::id())
}

pub(crate) fn options(recorder: &Recorder) -> Options {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    Options::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_propagator(CompositePropagator::default())
}

/// Connects without instrumentation.
pub(crate) async fn bare() -> async_nats::Client {
    async_nats::connect(setting("NATS_URL")).await.unwrap_or_else(|error| panic!("{error}: {START}"))
}

/// Connects a client that records into the recorder. Its address, which differs from run to run, is not recorded.
pub(crate) async fn client(recorder: &Recorder) -> Client {
    client_with(options(recorder)).await
}

pub(crate) async fn client_with(options: Options) -> Client {
    Client::from(bare().await).with_options(options)
}

/// A subscription without instrumentation that the server knows.
pub(crate) async fn inspector(subject: &str) -> async_nats::Subscriber {
    let client = bare().await;
    let subscriber = client.subscribe(subject.to_owned()).await.unwrap();
    synchronize(&client).await;
    subscriber
}

/// Waits until the server knows the subscriptions of a client: it answers in the order of a connection.
pub(crate) async fn synchronize(client: &async_nats::Client) {
    let nobody = Request::new().timeout(Some(LONG)).payload("".into());
    client.send_request(client.new_inbox(), nobody).await.unwrap_err();
}

/// Publishes without instrumentation, and waits until the server has the message.
pub(crate) async fn write(subject: &str, headers: HeaderMap, payload: &'static str) {
    let client = bare().await;
    client.publish_with_headers(subject.to_owned(), headers, payload.into()).await.unwrap();
    synchronize(&client).await;
}

pub(crate) async fn next(subscriber: &mut async_nats::Subscriber) -> async_nats::Message {
    tokio::time::timeout(LONG, subscriber.next()).await.unwrap().unwrap()
}

pub(crate) async fn received(subscriber: &mut otel_nats::Subscriber) -> otel_nats::Message {
    tokio::time::timeout(LONG, subscriber.next()).await.unwrap().unwrap()
}

/// Returns all headers, sorted.
pub(crate) fn listed(headers: Option<&HeaderMap>) -> Vec<(String, String)> {
    let all = headers.into_iter().flat_map(HeaderMap::iter);
    let mut list: Vec<_> = all
        .flat_map(|(name, values)| values.iter().map(|value| (name.to_string(), value.to_string())))
        .collect();
    list.sort();
    list
}

pub(crate) fn text<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

pub(crate) fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(*name, *value);
    }
    headers
}

/// Returns a context with the span of another process.
pub(crate) fn remote(id: u64, sampled: bool) -> Context {
    let flags = TraceFlags::default().with_sampled(sampled);
    let span =
        SpanContext::new(TraceId::from(u128::from(id)), SpanId::from(id), flags, true, TraceState::NONE);
    Context::new().with_remote_span_context(span)
}

pub(crate) fn traceparent(id: u64) -> String {
    format!("00-{:032x}-{id:016x}-01", u128::from(id))
}

/// Returns the `traceparent` of a span.
pub(crate) fn traceparent_of(span: &SpanData) -> String {
    let context = &span.span_context;
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}

pub(crate) fn value<'s>(span: &'s SpanData, key: &str) -> Option<&'s Value> {
    span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| &kv.value)
}

/// Returns an attribute of a span as text.
pub(crate) fn attribute(span: &SpanData, key: &str) -> Option<String> {
    value(span, key).map(ToString::to_string)
}

pub(crate) fn error_type(span: &SpanData) -> Option<String> {
    attribute(span, "error.type")
}
