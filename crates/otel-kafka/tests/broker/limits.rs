//! Topics with a limit: order, transactions and gapless producers are as without instrumentation where the limit is known,
//! and a refusal is remembered.

use std::cell::Cell;
use std::time::{Duration, Instant};

use otel_kafka::FutureProducer;
use otel_testing::Recorder;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::producer::{FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::{LONG, config, options, recorder, topic, unique, until};

/// The limit of the topics.
const LIMIT: usize = 1_500;

async fn limited(name: &str) -> String {
    topic(name, 1, &[("max.message.bytes", "1500")]).await
}

/// Returns the start of each payload in the order of the topic, and true where the record has a context.
fn read(topic: &str, count: usize) -> Vec<(String, bool)> {
    let mut config = config();
    config.set("group.id", "reader").set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let begun = Instant::now();
    let mut seen = Vec::new();
    while seen.len() < count {
        assert!(begun.elapsed() < LONG, "only {seen:?}");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let payload = &message.payload().unwrap()[..2];
        let has_context =
            message.headers().is_some_and(|headers| headers.iter().any(|header| header.key == "traceparent"));
        seen.push((String::from_utf8(payload.to_vec()).unwrap(), has_context));
    }
    seen
}

/// A payload that only injected headers make too large.
fn at_the_limit(number: usize) -> String {
    format!("{number:02}{}", "x".repeat(LIMIT - 100))
}

/// Twelve payloads, of which every fourth is at the limit.
fn payloads() -> Vec<String> {
    (0..12)
        .map(|number| if number % 4 == 1 { at_the_limit(number) } else { format!("{number:02}") })
        .collect()
}

/// The records of [`payloads`] in their order; all have a context but those at the limit.
fn ordered() -> Vec<(String, bool)> {
    (0..12).map(|number| (format!("{number:02}"), number % 4 != 1)).collect()
}

/// One record a request, so that the broker can refuse it alone.
fn one_by_one() -> ClientConfig {
    let mut config = config();
    config.set("linger.ms", "0").set("batch.num.messages", "1");
    config
}

fn create(config: &ClientConfig, recorder: &Recorder) -> FutureProducer {
    config.create::<FutureProducer>().unwrap().with_options(options(recorder))
}

/// Sends payloads without waiting in between, and returns the offsets or errors.
async fn send(
    producer: &FutureProducer,
    topic: &str,
    payloads: &[String],
) -> Vec<Result<i64, RDKafkaErrorCode>> {
    let sent = payloads.iter().map(|payload| {
        let record = FutureRecord::<str, _>::to(topic).payload(payload).partition(0);
        producer.send_result(record).map_err(|(error, _)| error).unwrap()
    });
    let sent: Vec<_> = sent.collect();
    let delivered = futures_util::future::join_all(sent).await.into_iter();
    delivered
        .map(|delivery| {
            delivery
                .unwrap()
                .map(|delivery| delivery.offset)
                .map_err(|(error, _)| error.rdkafka_error_code().unwrap())
        })
        .collect()
}

fn left_out(recorder: &Recorder) -> f64 {
    recorder.metric("messaging.kafka.context.left_out").sum()
}

#[tokio::test]
async fn with_a_given_limit_records_keep_their_order() {
    let mut idempotent = one_by_one();
    idempotent.set("enable.idempotence", "true");
    for config in [one_by_one(), idempotent] {
        let (recorder, topic) = (recorder(), limited("given").await);
        let producer = create(&config, &recorder).with_topic_limit(&topic, LIMIT);
        let expected: Vec<_> = (0..12).map(Ok).collect();
        assert_eq!(send(&producer, &topic, &payloads()).await, expected);
        assert_eq!(read(&topic, 12), ordered());
        assert_eq!(left_out(&recorder), 3.0);
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_limit_that_the_broker_names_is_kept() {
    let (recorder, topic) = (recorder(), limited("asked").await);
    let admin: AdminClient<DefaultClientContext> = config().create().unwrap();
    let producer =
        create(&one_by_one(), &recorder).with_context_only_where_it_fits().with_topic_limits(admin);
    // The first record asks. Records have no context until the answer has arrived.
    let enqueue = || {
        let record = FutureRecord::<str, _>::to(&topic).payload("??").partition(0);
        drop(producer.send_result(record).map_err(|(error, _)| error).unwrap());
        left_out(&recorder)
    };
    let (first, asked) = (enqueue(), Cell::new(1));
    assert_eq!(first, 1.0);
    until("the limit", || {
        let before = left_out(&recorder);
        asked.set(asked.get() + 1);
        enqueue() == before
    })
    .await;
    producer.flush(LONG).unwrap();
    let before = left_out(&recorder);
    let expected: Vec<_> = (asked.get()..).take(12).map(Ok).collect();
    assert_eq!(send(&producer, &topic, &payloads()).await, expected);
    let seen = read(&topic, usize::try_from(asked.get()).unwrap() + 12);
    assert_eq!(seen[..1], [("??".to_owned(), false)]);
    assert_eq!(seen[seen.len() - 12..], ordered());
    assert_eq!(left_out(&recorder), before + 3.0);
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_given_limit_a_transaction_commits() {
    let (recorder, topic) = (recorder(), limited("transaction").await);
    let mut config = config();
    config.set("linger.ms", "0").set("transactional.id", unique("t"));
    let producer = create(&config, &recorder).with_topic_limit(&topic, LIMIT);
    producer.init_transactions(LONG).unwrap();
    producer.begin_transaction().unwrap();
    assert_eq!(send(&producer, &topic, &[at_the_limit(7)]).await, [Ok(0)]);
    producer.commit_transaction(LONG).unwrap();
    assert_eq!(read(&topic, 1), [("07".to_owned(), false)]);
    recorder.assert_clean();
}

#[tokio::test]
async fn with_a_given_limit_no_batch_becomes_too_large_by_its_headers() {
    let payloads: Vec<_> = (0..9).map(|number| format!("{number:02}{}", "x".repeat(130))).collect();
    // Nine records are one batch that the topic accepts, and two with headers.
    for (max_batch, has_context) in [("1000000", false), ("1500", true)] {
        let (recorder, topic) = (recorder(), limited("batch").await);
        let mut config = config();
        config.set("linger.ms", "300").set("batch.size", max_batch).set("enable.idempotence", "true");
        let producer = create(&config, &recorder).with_topic_limit(&topic, LIMIT);
        let expected: Vec<_> = (0..9).map(Ok).collect();
        assert_eq!(send(&producer, &topic, &payloads).await, expected);
        assert!(read(&topic, 9).iter().all(|(_, context)| *context == has_context));
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn with_a_given_limit_a_gapless_producer_goes_on() {
    let (recorder, topic) = (recorder(), limited("gapless").await);
    let mut config = one_by_one();
    config.set("enable.idempotence", "true").set("enable.gapless.guarantee", "true");
    let producer = create(&config, &recorder).with_topic_limit(&topic, LIMIT);
    assert_eq!(send(&producer, &topic, &[at_the_limit(1), "02".to_owned()]).await, [Ok(0), Ok(1)]);
    recorder.assert_clean();
}

#[tokio::test]
async fn without_a_known_limit_a_context_is_sent_only_on_request() {
    let (recorder, topic) = (recorder(), limited("careful").await);
    let producer = create(&one_by_one(), &recorder).with_context_only_where_it_fits();
    let expected: Vec<_> = (0..12).map(Ok).collect();
    assert_eq!(send(&producer, &topic, &payloads()).await, expected);
    let bare: Vec<_> = ordered().into_iter().map(|(payload, _)| (payload, false)).collect();
    assert_eq!(read(&topic, 12), bare);
    assert_eq!(left_out(&recorder), 12.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_plain_producer_sends_the_first_refused_record_again_and_remembers_the_refusal() {
    let (recorder, topic) = (recorder(), limited("refused").await);
    let producer = create(&one_by_one(), &recorder);
    for round in 0..2 {
        assert_eq!(
            send(&producer, &topic, &[at_the_limit(round)]).await,
            [Ok(i64::try_from(round).unwrap())]
        );
    }
    // A refusal would have let the small ones pass the large ones.
    let expected: Vec<_> = (2..14).map(Ok).collect();
    assert_eq!(send(&producer, &topic, &payloads()).await, expected);
    assert_eq!(read(&topic, 14)[2..], ordered());
    assert_eq!(left_out(&recorder), 5.0);
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_keeps_its_order_returns_the_first_refusal_and_remembers_it() {
    let (recorder, topic) = (recorder(), limited("returned").await);
    let mut idempotent = one_by_one();
    idempotent.set("enable.idempotence", "true");
    let producer = create(&idempotent, &recorder);
    let refused = [Err(RDKafkaErrorCode::MessageSizeTooLarge)];
    assert_eq!(send(&producer, &topic, &[at_the_limit(0)]).await, refused);
    assert_eq!(send(&producer, &topic, &[at_the_limit(1)]).await, [Ok(0)]);

    let mut config = config();
    config.set("linger.ms", "0").set("transactional.id", unique("t"));
    let producer = create(&config, &recorder);
    producer.init_transactions(LONG).unwrap();
    producer.begin_transaction().unwrap();
    assert_eq!(send(&producer, &topic, &[at_the_limit(2)]).await, refused);
    producer.abort_transaction(LONG).unwrap();
    // The transaction after an aborted refusal fails in librdkafka, with and without instrumentation.
    producer.begin_transaction().unwrap();
    send(&producer, &topic, &["??".to_owned()]).await[0].unwrap_err();
    producer.abort_transaction(LONG).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, &[at_the_limit(3)]).await[0].unwrap();
    producer.commit_transaction(LONG).unwrap();
    let expected = ["01", "03"].map(|payload| (payload.to_owned(), false));
    assert_eq!(read(&topic, 2), expected);
    recorder.assert_clean();
}
