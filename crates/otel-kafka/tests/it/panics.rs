//! Panics in the user's delivery callback and in a span processor: they cost no thread and no other message's span.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use otel_kafka::{BaseProducer, FutureProducer, Options, ThreadedProducer};
use otel_testing::Recorder;
use rdkafka::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, FutureRecord, Producer as _, ProducerContext};

use crate::support::{LONG, client, cluster, config, options};

/// A user's context whose first delivery callback panics.
#[derive(Clone, Default)]
struct PanicsOnce(Arc<AtomicUsize>);

impl ClientContext for PanicsOnce {}

impl ProducerContext for PanicsOnce {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        assert_ne!(self.0.fetch_add(1, Ordering::SeqCst), 0, "the first callback panics");
    }
}

#[test]
fn a_panic_in_a_delivery_callback_ends_neither_the_thread_nor_other_spans() {
    let (recorder, cluster, calls) = (Recorder::new(), cluster(1), PanicsOnce::default());
    let mut config = config(&cluster);
    // All records are in one batch, whose reports are one event.
    config.set("linger.ms", "100");
    let producer: ThreadedProducer<PanicsOnce> = config.create_with_context(calls.clone()).unwrap();
    let producer = producer.with_options(options(&recorder));
    for _ in 0..2 {
        for _ in 0..5 {
            producer.send(BaseRecord::to("orders").key("k").payload("p")).unwrap();
        }
        producer.flush(LONG).unwrap();
    }
    drop(producer);
    assert_eq!(calls.0.load(Ordering::SeqCst), 10);
    assert_eq!(recorder.spans().len(), 10);
    recorder.assert_clean();
}

#[test]
fn a_panic_in_a_delivery_callback_reaches_the_caller_of_poll() {
    let (recorder, cluster, calls) = (Recorder::new(), cluster(1), PanicsOnce::default());
    let mut config = config(&cluster);
    config.set("linger.ms", "100");
    let producer: BaseProducer<PanicsOnce> = config.create_with_context(calls.clone()).unwrap();
    let producer = producer.with_options(options(&recorder));
    for _ in 0..5 {
        producer.send(BaseRecord::to("orders").key("k").payload("p")).unwrap();
    }
    let (begun, mut panics) = (Instant::now(), 0);
    while producer.in_flight_count() > 0 {
        assert!(begun.elapsed() < LONG);
        let poll = AssertUnwindSafe(|| producer.poll(Duration::from_millis(100)));
        panics += usize::from(catch_unwind(poll).is_err());
    }
    assert_eq!((panics, calls.0.load(Ordering::SeqCst), recorder.spans().len()), (1, 5, 5));
    recorder.assert_clean();
}

/// A span processor that panics at the end of the first span.
#[derive(Debug, Default)]
struct PanickingProcessor(Arc<AtomicUsize>);

impl SpanProcessor for PanickingProcessor {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, _: SpanData) {
        assert_ne!(self.0.fetch_add(1, Ordering::SeqCst), 0, "the first end panics");
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[tokio::test]
async fn a_panic_in_a_span_processor_loses_no_delivery() {
    let (cluster, ended) = (cluster(1), Arc::default());
    let processor = PanickingProcessor(Arc::clone(&ended));
    let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(Options::new().with_tracer_provider(&provider));
    for offset in 0..3 {
        let record = FutureRecord::to("orders").key("k").payload("p");
        assert_eq!(producer.send(record, LONG).await.unwrap().offset, offset);
    }
    assert_eq!(ended.load(Ordering::SeqCst), 3);
}
