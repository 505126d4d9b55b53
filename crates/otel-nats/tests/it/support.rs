//! The server's address, clients that record into one recorder, and clients without instrumentation to inspect messages.

use std::time::Duration;

use async_nats::{HeaderMap, Request};
use futures_util::StreamExt as _;
use otel_nats::{Client, Options};
use otel_propagation::CompositePropagator;
use otel_testing::{Recorder, service};

pub(crate) use otel_testing::service::unique_name as unique;
pub(crate) use otel_testing::spans::{attribute, error_type, remote, traceparent, traceparent_of};

const START: &str = "start the server: `cargo xtask services up nats`";

/// A timeout that is sufficient on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn setting(name: &str) -> String {
    service::setting(name, START)
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
