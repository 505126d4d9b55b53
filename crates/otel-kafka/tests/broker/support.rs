//! The broker's address, unique topics, and clients that record.

use std::time::{Duration, Instant};

use otel_kafka::Options;
use otel_propagation::CompositePropagator;
use otel_testing::{Recorder, service};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

pub(crate) use otel_testing::spans::{attribute, error_type};

pub(crate) const START: &str = "start the broker: `cargo xtask services up kafka`";

/// A timeout that is sufficient on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(90);

pub(crate) fn setting(name: &str) -> String {
    service::setting(name, START)
}

pub(crate) fn config_of(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

pub(crate) fn config() -> ClientConfig {
    config_of(&setting("KAFKA_BROKERS"))
}

/// Returns the configuration of a group member that reads from the beginning and has no automatic commits.
pub(crate) fn member_of(brokers: &str, group: &str) -> ClientConfig {
    let mut config = config_of(brokers);
    config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    config
}

pub(crate) fn options(recorder: &Recorder) -> Options {
    Options::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_propagator(CompositePropagator::default())
}

pub(crate) fn recorder() -> Recorder {
    Recorder::builder().with_patience(LONG).build()
}

/// Returns a name that is unique to this run.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos())
}

/// Creates a unique topic on a broker that may just have been started.
pub(crate) async fn topic_on(
    brokers: &str,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> String {
    let name = unique(name);
    let admin: AdminClient<DefaultClientContext> = config_of(brokers).create().unwrap();
    let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
    let created = admin.create_topics([&topic], &AdminOptions::new().request_timeout(Some(LONG))).await;
    created.unwrap_or_else(|error| panic!("{error}: {START}")).remove(0).unwrap();
    name
}

pub(crate) async fn topic(name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
    topic_on(&setting("KAFKA_BROKERS"), name, partitions, settings).await
}

/// Polls until a condition holds for which no event exists.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
