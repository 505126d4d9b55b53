//! Global providers and propagator that are set after the clients are created, and the `tracing` subscriber. A
//! separate process, because the tests set globals.

use std::time::Duration;

use otel_kafka::{FutureProducer, StreamConsumer};
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::FutureRecord;
use rdkafka::{Offset, TopicPartitionList};

#[tokio::test]
async fn what_is_global_is_found_when_it_comes() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", 1, 1).unwrap();
    let mut config = ClientConfig::new();
    let producer: FutureProducer =
        config.set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    let send = async || {
        let record = FutureRecord::<str, _>::to("orders").payload("p");
        producer.send(record, Duration::from_secs(60)).await.unwrap();
    };
    send().await;
    let consumer: StreamConsumer = config.set("group.id", "late").create().unwrap();
    // Assigned, because a rebalance would be an event in the other test.
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset("orders", 0, Offset::Beginning).unwrap();
    consumer.assign(&partitions).unwrap();
    let message = consumer.recv().await.unwrap();
    message.process(async |_| ()).await;
    let recorder = Recorder::new();
    opentelemetry::global::set_tracer_provider(recorder.tracer_provider().clone());
    opentelemetry::global::set_meter_provider(recorder.meter_provider().clone());
    otel_propagation::set_global(CompositePropagator::default());
    send().await;
    assert_eq!(recorder.span("send orders").instrumentation_scope.name(), "otel-kafka");
    assert_eq!(recorder.metric("messaging.client.sent.messages").sum(), 1.0);
    message.process(async |_| ()).await;
    assert_eq!(recorder.span("process orders").instrumentation_scope.name(), "otel-kafka");
    assert_eq!(recorder.metric("messaging.process.duration").count(), 1);
    recorder.assert_clean();
}

#[cfg(feature = "tracing")]
mod events {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use otel_kafka::StreamConsumer;
    use rdkafka::ClientConfig;
    use rdkafka::consumer::Consumer as _;
    use rdkafka::mocking::MockCluster;
    use tokio::sync::Notify;
    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    /// Collects the crate's events by their fields.
    #[derive(Clone, Default)]
    struct Events(Arc<(Mutex<Vec<String>>, Notify)>);

    #[derive(Default)]
    struct Fields(String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0 += &format!("{}={value:?} ", field.name());
        }
    }

    impl<S: tracing::Subscriber> Layer<S> for Events {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            if event.metadata().name() == "messaging.kafka.rebalance" {
                let mut fields = Fields::default();
                event.record(&mut fields);
                self.0.0.lock().unwrap().push(fields.0);
                self.0.1.notify_one();
            }
        }
    }

    #[tokio::test]
    async fn a_rebalance_is_an_event() {
        let events = Events::default();
        let subscriber = tracing_subscriber::registry().with(events.clone());
        tracing::subscriber::set_global_default(subscriber).unwrap();
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("orders", 2, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "till");
        let consumer: StreamConsumer = config.create().unwrap();
        consumer.subscribe(&["orders"]).unwrap();
        tokio::select! {
            _ = consumer.recv() => panic!("there is no message"),
            told = tokio::time::timeout(Duration::from_secs(60), events.0.1.notified()) => told.unwrap(),
        }
        let expected = r#"message=group rebalanced group="till" kind="assign" partitions=2 "#;
        // Copied, because closing the consumer is an event as well, which must not wait for a lock of a failed assertion.
        let seen = events.0.0.lock().unwrap().clone();
        assert_eq!(seen, [expected]);
    }
}
