//! The three producers in the success case: the user's opaque, polling, and drops.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use otel_kafka::{BaseProducer, FutureProducer, ThreadedProducer};
use otel_testing::Recorder;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, FutureRecord, Partitioner, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message as _};

use crate::support::{Cluster, LONG, attribute, client, cluster, config, messages, options};

/// A user's context with an opaque and a partitioner.
#[derive(Clone, Default)]
struct Mine {
    delivered: Arc<Mutex<Vec<(usize, i32)>>>,
    partitioner: Last,
}

#[derive(Clone, Default)]
struct Last;

impl Partitioner for Last {
    fn partition(&self, _: &str, _: Option<&[u8]>, count: i32, _: impl Fn(i32) -> bool) -> i32 {
        count - 1
    }
}

impl ClientContext for Mine {}

impl ProducerContext<Last> for Mine {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Box<usize>) {
        self.delivered.lock().unwrap().push((*opaque, result.as_ref().unwrap().partition()));
    }

    fn get_custom_partitioner(&self) -> Option<&Last> {
        Some(&self.partitioner)
    }
}

/// rdkafka 0.39 sets a partitioner through a null pointer unless the configuration has a topic property.
fn with_partitioner(cluster: &Cluster) -> ClientConfig {
    let mut config = config(cluster);
    config.set("message.timeout.ms", "60000");
    config
}

#[test]
fn a_base_producer_keeps_its_users_context() {
    let (recorder, cluster, mine) = (Recorder::new(), cluster(3), Mine::default());
    let producer: BaseProducer<Mine, Last> =
        with_partitioner(&cluster).create_with_context(mine.clone()).unwrap();
    let producer = producer.with_options(options(&recorder));
    for number in 0..3 {
        let record = BaseRecord::with_opaque_to("orders", Box::new(number)).key("k").payload("p");
        assert!(producer.send(record).is_ok());
    }
    assert_eq!(recorder.spans().len(), 0, "nobody has polled");
    let begun = Instant::now();
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(100));
        assert!(begun.elapsed() < LONG);
    }
    assert_eq!(*mine.delivered.lock().unwrap(), [(0, 2), (1, 2), (2, 2)]);
    let told: Vec<_> = recorder
        .spans()
        .iter()
        .map(|span| {
            ["messaging.destination.partition.id", "messaging.kafka.offset"].map(|key| attribute(span, key))
        })
        .collect();
    let expected = ["0", "1", "2"].map(|offset| [Some("2".to_owned()), Some(offset.to_owned())]);
    assert_eq!(told, expected);
    // The user's context is still reachable through `Deref`.
    assert_eq!(producer.context().delivered.lock().unwrap().len(), 3);
    recorder.assert_clean();
}

#[test]
fn a_threaded_producer_is_polled_by_itself_and_clones_share_it() {
    let (recorder, cluster, mine) = (Recorder::new(), cluster(1), Mine::default());
    let producer: ThreadedProducer<Mine, Last> =
        with_partitioner(&cluster).create_with_context(mine.clone()).unwrap();
    let producer = producer.with_options(options(&recorder));
    let other = producer.clone();
    producer.send(BaseRecord::with_opaque_to("orders", Box::new(1)).key("").payload("p")).unwrap();
    drop(producer);
    other.send(BaseRecord::with_opaque_to("orders", Box::new(2)).key("").payload("p")).unwrap();
    other.flush(LONG).unwrap();
    assert_eq!(recorder.spans().len(), 2);
    drop(other);
    assert_eq!(*mine.delivered.lock().unwrap(), [(1, 0), (2, 0)]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_delivery_that_nobody_awaits_ends_its_span() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    let record = FutureRecord::to("orders").key("").payload("p");
    drop(producer.send_result(record).unwrap());
    recorder.wait_for_spans(1).await;
    assert_eq!(attribute(&recorder.spans()[0], "messaging.kafka.offset").as_deref(), Some("0"));
    recorder.assert_clean();
}

#[tokio::test]
async fn send_result_gives_what_rdkafka_gives() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    let record = FutureRecord::to("orders").key("").payload("p").timestamp(17);
    let delivery = producer.send_result(record).unwrap().await.unwrap().unwrap();
    assert_eq!(delivery.offset, 0);
    assert_eq!(messages(&cluster, 0, 1, |message| message.timestamp().to_millis()), [Some(17)]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_full_queue_is_not_slept_for() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let mut config = config(&cluster);
    config.set("queue.buffering.max.messages", "1").set("linger.ms", "0");
    let record = || FutureRecord::to("orders").key("").payload("p");
    let bare: rdkafka::producer::FutureProducer = config.create().unwrap();
    let producer: FutureProducer = config.create().unwrap();
    let producer = producer.with_options(options(&recorder));
    // The first send waits for connections.
    bare.send(record(), LONG).await.unwrap();
    producer.send(record(), LONG).await.unwrap();

    let begun = Instant::now();
    let sent = futures_util::future::join_all((0..30).map(|_| bare.send(record(), LONG))).await;
    let without = begun.elapsed();
    assert!(sent.iter().all(Result::is_ok));
    let begun = Instant::now();
    let sent = futures_util::future::join_all((0..30).map(|_| producer.send(record(), LONG))).await;
    let with = begun.elapsed();
    assert!(sent.iter().all(Result::is_ok));
    // rdkafka's producer sleeps 100 ms between attempts.
    assert!(with * 2 < without, "it took {with:?}, without us {without:?}");
    assert_eq!(recorder.metric("messaging.client.sent.messages").sum(), 31.0);
    recorder.assert_clean();
}
