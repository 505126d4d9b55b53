//! A mock cluster, clients that record into one recorder, and clients without instrumentation to inspect sent
//! records.

use std::time::{Duration, Instant};

use otel_kafka::Options;
use otel_propagation::{CompositePropagator, HeaderReader as _};
use otel_testing::Recorder;
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Message as _, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{Offset, TopicPartitionList};

pub(crate) use otel_testing::spans::{attribute, error_type, remote, traceparent, traceparent_of, value};

/// A timeout that is sufficient on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) type Cluster = MockCluster<'static, DefaultProducerContext>;

/// Creates a cluster of one broker with a topic `orders`.
pub(crate) fn cluster(partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", partitions, 1).unwrap();
    cluster
}

pub(crate) fn config(cluster: &Cluster) -> ClientConfig {
    let mut config = ClientConfig::new();
    // Two addresses, so that the mock cluster's port, which differs in each run, is not recorded.
    let servers = cluster.bootstrap_servers();
    config.set("bootstrap.servers", format!("{servers},{servers}"));
    config
}

pub(crate) fn options(recorder: &Recorder) -> Options {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    Options::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_propagator(CompositePropagator::default())
}

/// Creates a client with no settings except the cluster's address.
pub(crate) fn client<T: FromClientConfig>(cluster: &Cluster) -> T {
    config(cluster).create().unwrap()
}

/// Reads a partition from its beginning until `count` messages have been received.
pub(crate) fn messages<T>(
    cluster: &Cluster,
    partition: i32,
    count: usize,
    read: impl Fn(&BorrowedMessage<'_>) -> T,
) -> Vec<T> {
    let consumer: BaseConsumer = config(cluster).set("group.id", "test").create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("orders", partition, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let begun = Instant::now();
    let mut seen = Vec::new();
    while seen.len() < count {
        assert!(begun.elapsed() < LONG, "only {} of {count} messages came", seen.len());
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            seen.push(read(&message.unwrap()));
        }
    }
    seen
}

/// Returns all headers in their order.
pub(crate) fn listed(headers: Option<&BorrowedHeaders>) -> Vec<(String, Vec<u8>)> {
    use rdkafka::message::Headers as _;
    headers.map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
            .collect()
    })
}

/// Returns the headers of the first message of partition 0.
pub(crate) fn sent(cluster: &Cluster) -> Vec<(String, Vec<u8>)> {
    messages(cluster, 0, 1, |message| listed(message.headers())).remove(0)
}

pub(crate) fn text<'h>(headers: &'h [(String, Vec<u8>)], name: &str) -> Option<&'h str> {
    let (_, value) = headers.iter().find(|(key, _)| key == name)?;
    Some(std::str::from_utf8(value).unwrap())
}

pub(crate) fn headers(list: &[(&str, &str)]) -> OwnedHeaders {
    list.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(*value) })
    })
}

/// Returns the headers that `HeaderExtractor` reads, sorted.
pub(crate) fn carried(message: &BorrowedMessage<'_>) -> Vec<(String, Vec<u8>)> {
    let mut seen = Vec::new();
    otel_kafka::HeaderExtractor::from_message(message)
        .visit(|name, value| seen.push((name.to_owned(), value.to_vec())));
    seen.sort();
    seen
}

/// Returns the configuration of a member of the group `till` that reads from the beginning and has no automatic
/// commits.
pub(crate) fn consumer_config(cluster: &Cluster) -> ClientConfig {
    let mut config = config(cluster);
    config
        .set("group.id", "till")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "200");
    config
}

/// Creates a consumer of all partitions of `orders`.
pub(crate) fn consumer(cluster: &Cluster, options: Options) -> otel_kafka::StreamConsumer {
    let consumer: otel_kafka::StreamConsumer = consumer_config(cluster).create().unwrap();
    // Assigned explicitly, because a group of the mock cluster takes seconds to form.
    let metadata = consumer.fetch_metadata(Some("orders"), LONG).unwrap();
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        list.add_partition_offset("orders", partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    consumer.with_options(options)
}

/// Writes messages to partition 0 with rdkafka's own producer.
pub(crate) async fn write(cluster: &Cluster, list: &[(&str, Option<OwnedHeaders>)]) {
    for (payload, headers) in list {
        write_to(cluster, 0, payload, headers.clone()).await;
    }
}

pub(crate) async fn write_to(
    cluster: &Cluster,
    partition: i32,
    payload: &str,
    headers: Option<OwnedHeaders>,
) {
    let producer: rdkafka::producer::FutureProducer = client(cluster);
    let mut record = rdkafka::producer::FutureRecord::to("orders").key("k").payload(payload);
    record.partition = Some(partition);
    record.headers = headers;
    producer.send(record, LONG).await.unwrap();
}

/// Polls until a condition holds for which no event exists.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Returns the next message. A poll that serves another event returns none.
pub(crate) fn next(consumer: &otel_kafka::BaseConsumer) -> otel_kafka::BorrowedMessage<'_> {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < LONG, "there is no message");
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            return message.unwrap();
        }
    }
}
