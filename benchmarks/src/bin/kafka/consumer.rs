//! Receiving: rdkafka's `recv`, and otel-kafka's `recv` with `process`.
//!
//! The messages are in the client's queue before the measurement. Only the calling thread is counted, without
//! librdkafka's threads.

use std::thread;
use std::time::{Duration, Instant};

use benchmarks::allocations;
use benchmarks::measure::{ITERATIONS, Mode, counted_region, median};
use benchmarks::sdk::{self, Metrics};
use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use rdkafka::consumer::Consumer as _;
use rdkafka::producer::{FutureProducer, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::cell::{self, Candidate, SPAN_ID, TOPIC, TRACE_ID, Variant, by_hand, is_sampled, record};

/// Iterations before the measurement, so that handles are bound and tables have grown.
const WARM_UP: usize = 300;

/// The number of timed batches.
const BATCHES: usize = 7;

/// The timeout of the first message.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a delay in which the client fetches all messages into its queue.
fn fetching(mode: Mode) -> Duration {
    Duration::from_secs(if mode == Mode::Instructions { 3 } else { 1 })
}

pub(crate) fn measure(candidate: Candidate, variant: Variant, mode: Mode, metrics: &Option<Metrics>) {
    let batches = if mode == Mode::Native { BATCHES } else { 0 };
    let mut config = cell::cluster();
    write(&config, variant, 1 + WARM_UP + ITERATIONS * (1 + batches));
    config.set("group.id", "till").set("queued.min.messages", "100000").set("enable.auto.commit", "false");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, Offset::Beginning).expect("the offset is valid");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("the runtime starts");
    let _entered = runtime.enter();
    match candidate {
        Candidate::Bare => {
            let consumer: rdkafka::consumer::StreamConsumer =
                config.create().expect("the configuration is right");
            consumer.assign(&list).expect("the assignment is right");
            run(candidate, variant, mode, metrics, || {
                cell::poll(async { consumer.recv().await.expect("a message is received").payload_len() })
                    .is_ready()
            });
            std::mem::forget(consumer);
        }
        #[cfg(feature = "comparison")]
        Candidate::Floor => {
            let consumer: rdkafka::consumer::StreamConsumer =
                config.create().expect("the configuration is right");
            consumer.assign(&list).expect("the assignment is right");
            let floor = crate::floor::Processor::new();
            run(candidate, variant, mode, metrics, || {
                let received = cell::poll(async {
                    floor.process(&consumer.recv().await.expect("a message is received"));
                });
                received.is_ready()
            });
            std::mem::forget(consumer);
        }
        #[cfg(not(feature = "comparison"))]
        Candidate::Floor => {}
        Candidate::Ours => {
            let consumer: otel_kafka::StreamConsumer = config.create().expect("the configuration is right");
            consumer.assign(&list).expect("the assignment is right");
            run(candidate, variant, mode, metrics, || {
                let received = cell::poll(async {
                    let message = consumer.recv().await.expect("a message is received");
                    message.process(async |message| assert_eq!(message.payload_len(), 100)).await;
                });
                received.is_ready()
            });
            std::mem::forget(consumer);
        }
    }
}

fn run(
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    metrics: &Option<Metrics>,
    mut receive: impl FnMut() -> bool,
) {
    let began = Instant::now();
    // The first message is for the check; the others follow in the same fetches.
    let spans = sdk::spans_of(|| {
        while !receive() {
            assert!(began.elapsed() < PATIENCE, "no message received in time");
            thread::sleep(Duration::from_millis(10));
        }
    });
    check(candidate, variant, metrics, &spans);
    thread::sleep(fetching(mode));
    for _ in 0..WARM_UP {
        assert!(receive(), "a message is in the queue");
    }
    let mut batch = || {
        let (allocations, started) = (allocations::count(), Instant::now());
        for _ in 0..ITERATIONS {
            counted_region(&mut |()| assert!(receive(), "a message is in the queue"), ());
        }
        let took = started.elapsed().as_nanos() as f64 / ITERATIONS as f64;
        (took, (allocations::count() - allocations) as f64 / ITERATIONS as f64)
    };
    let (_, allocated) = batch();
    if mode == Mode::Native {
        println!("allocations {allocated}");
        println!("nanoseconds {}", median(&mut (0..BATCHES).map(|_| batch().0).collect::<Vec<_>>()));
    }
}

/// Writes the messages, each with a producer's context.
fn write(config: &ClientConfig, variant: Variant, messages: usize) {
    let producer: FutureProducer = config.create().expect("the configuration is right");
    for number in 0..messages {
        let headers = by_hand(is_sampled(variant, number));
        if let Err((error, _)) = producer.send_result(record().headers(headers)) {
            panic!("{error}");
        }
    }
    producer.flush(PATIENCE).expect("the messages are written");
}

/// Checks that the expected telemetry is recorded, so that a candidate is not measured while it records less.
fn check(
    candidate: Candidate,
    variant: Variant,
    metrics: &Option<Metrics>,
    spans: &[opentelemetry_sdk::trace::SpanData],
) {
    let recorded = cell::is_recorded(candidate, variant);
    assert_eq!(spans.len(), if recorded { variant.spans() } else { 0 }, "{spans:?}");
    for span in spans {
        assert_eq!((&*span.name, &span.span_kind), ("process orders", &SpanKind::Consumer));
        assert_eq!(span.span_context.trace_id(), TraceId::from(TRACE_ID));
        assert_eq!(span.parent_span_id, SpanId::from(SPAN_ID));
        assert_eq!(span.links.len(), 1);
        let attributes = sdk::texts(span.attributes.iter());
        for expected in [
            "messaging.client.id=till-3",
            "messaging.consumer.group.name=till",
            "messaging.destination.name=orders",
            "messaging.destination.partition.id=0",
            "messaging.kafka.message.key=order-7",
            "messaging.kafka.offset=0",
            "messaging.operation.name=process",
            "messaging.operation.type=process",
            "messaging.system=kafka",
            "server.address=127.0.0.1",
        ] {
            assert!(attributes.iter().any(|kv| kv == expected), "missing {expected} in {attributes:?}");
        }
    }
    for name in ["messaging.process.duration", "messaging.client.consumed.messages"] {
        assert_eq!(cell::counted(metrics, name), f64::from(u8::from(recorded)), "{name}");
    }
}
