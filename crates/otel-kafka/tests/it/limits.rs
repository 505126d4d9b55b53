//! Topics whose limit is unknown: the safe size, and a broker that does not answer.

use otel_kafka::FutureProducer;
use otel_testing::Recorder;
use rdkafka::Message as _;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::FutureRecord;

use crate::support::{LONG, client, cluster, listed, messages, options, text};

/// Sends payloads of these sizes, and returns true for each that arrived with a context.
async fn with_context(
    recorder: &Recorder,
    sizes: &[usize],
    with: impl FnOnce(FutureProducer, AdminClient<DefaultClientContext>) -> FutureProducer,
) -> Vec<bool> {
    let cluster = cluster(1);
    let producer: FutureProducer = client(&cluster);
    let producer = with(producer.with_options(options(recorder)), client(&cluster));
    for size in sizes {
        let payload = "p".repeat(*size);
        let record = FutureRecord::<str, _>::to("orders").payload(&payload).partition(0);
        producer.send(record, LONG).await.unwrap();
    }
    let sent = messages(&cluster, 0, sizes.len(), |message| listed(message.headers()));
    sent.iter().map(|headers| text(headers, "traceparent").is_some()).collect()
}

#[tokio::test]
async fn without_a_known_limit_records_up_to_64_kib_get_headers() {
    let recorder = Recorder::new();
    let seen = with_context(&recorder, &[10, 60_000, 65_300, 65_536, 200_000], |producer, _| producer);
    assert_eq!(seen.await, [true, true, true, false, false]);
    assert_eq!(recorder.metric("messaging.kafka.context.left_out").sum(), 2.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_safe_size_is_an_option() {
    let recorder = Recorder::new();
    let seen =
        with_context(&recorder, &[10, 800, 1_000, 60_000], |producer, _| producer.with_safe_size(1_000));
    assert_eq!(seen.await, [true, true, false, false]);
    let seen = with_context(&recorder, &[10], |producer, _| producer.with_context_only_where_it_fits());
    assert_eq!(seen.await, [false]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_lookup_that_fails_leaves_the_limit_unknown() {
    let recorder = Recorder::new();
    // The mock cluster does not know the request.
    let seen =
        with_context(&recorder, &[10, 200_000, 10], |producer, admin| producer.with_topic_limits(admin));
    assert_eq!(seen.await, [true, false, true]);
    recorder.assert_clean();
}

/// Collects the messages of `tracing` events.
#[cfg(feature = "tracing")]
mod logged {
    use std::fmt::Debug;
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use otel_kafka::ThreadedProducer;
    use otel_testing::Recorder;
    use rdkafka::admin::AdminClient;
    use rdkafka::client::DefaultClientContext;
    use rdkafka::producer::{BaseRecord, Producer as _};
    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use crate::support::{LONG, client, cluster, config, options};

    #[derive(Clone, Default)]
    struct Events(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Events {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            event.record(&mut Message(&self.0));
        }
    }

    struct Message<'e>(&'e Mutex<Vec<String>>);

    impl Visit for Message<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            if field.name() == "message" {
                self.0.lock().unwrap().push(format!("{value:?}"));
            }
        }
    }

    #[test]
    fn the_first_lookup_that_fails_is_logged() {
        let (recorder, events, cluster) = (Recorder::new(), Events::default(), cluster(1));
        cluster.create_topic("bills", 1, 1).unwrap();
        // The mock cluster does not know the request, and librdkafka waits for a broker that does.
        let mut impatient = config(&cluster);
        let admin: AdminClient<DefaultClientContext> =
            impatient.set("socket.timeout.ms", "1000").create().unwrap();
        let producer: ThreadedProducer = client(&cluster);
        let producer = producer.with_options(options(&recorder)).with_topic_limits(admin);
        let subscriber = tracing_subscriber::registry().with(events.clone());
        let failures = || {
            let events = events.0.lock().unwrap();
            events.iter().filter(|event| event.contains("max.message.bytes")).count()
        };
        tracing::subscriber::with_default(subscriber, || {
            let (begun, mut after) = (Instant::now(), 0);
            // The second topic is looked up at the same time, and polled many times after the first failure.
            while after < 20 {
                assert!(begun.elapsed() < LONG, "nothing is logged");
                for topic in ["orders", "bills"] {
                    producer.send(BaseRecord::to(topic).key("k").payload("p")).unwrap();
                }
                producer.flush(LONG).unwrap();
                after += failures();
            }
        });
        assert_eq!(failures(), 1);
        recorder.assert_clean();
    }
}
