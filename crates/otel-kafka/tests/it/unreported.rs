//! Producers whose successful deliveries are not reported (`delivery.report.only.error`), and such without acknowledgements.

use std::sync::{Arc, Mutex};

use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_kafka::{Options, ThreadedProducer};
use otel_testing::Recorder;
use rdkafka::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig};

use crate::support::{LONG, attribute, cluster, config, messages, options};

const CONFIRMED: &str = "messaging.kafka.delivery.confirmed";

#[test]
fn a_record_whose_delivery_is_not_reported_ends_its_span_when_it_is_enqueued() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let mut config = config(&cluster);
    config.set("delivery.report.only.error", "true").set("linger.ms", "500");
    let producer: ThreadedProducer = config.create().unwrap();
    let producer = producer.with_options(options(&recorder));
    for _ in 0..100 {
        producer.send(BaseRecord::to("orders").key("k").payload("p")).unwrap();
    }
    let spans = recorder.spans();
    assert_eq!(spans.len(), 100);
    assert!(spans.iter().all(|span| attribute(span, CONFIRMED).as_deref() == Some("false")));
    assert_eq!(recorder.metric("messaging.client.sent.messages").sum(), 100.0);
    producer.flush(LONG).unwrap();
    drop(producer);
    assert_eq!(messages(&cluster, 0, 100, |_| ()).len(), 100);
    recorder.assert_clean();
}

#[test]
fn a_record_without_acknowledgement_ends_its_span_with_its_report() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: ThreadedProducer = config(&cluster).set("acks", "0").create().unwrap();
    let producer = producer.with_options(options(&recorder));
    for _ in 0..100 {
        producer.send(BaseRecord::to("orders").key("k").payload("p")).unwrap();
    }
    producer.flush(LONG).unwrap();
    drop(producer);
    let spans = recorder.spans();
    assert_eq!(spans.len(), 100);
    assert!(spans.iter().all(|span| attribute(span, CONFIRMED).as_deref() == Some("false")));
    recorder.assert_clean();
}

/// A user's context that keeps the opaques of its reports.
#[derive(Clone, Default)]
struct Reported(Arc<Mutex<Vec<usize>>>);

impl ClientContext for Reported {}

impl ProducerContext for Reported {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        assert!(result.is_err());
        self.0.lock().unwrap().push(opaque);
    }
}

#[test]
fn a_failure_is_reported_with_the_users_opaque() {
    let (recorder, cluster, reported) = (Recorder::new(), cluster(1), Reported::default());
    let mut config = config(&cluster);
    config.set("delivery.report.only.error", "true").set("linger.ms", "60000");
    let producer: ThreadedProducer<Reported> = config.create_with_context(reported.clone()).unwrap();
    let producer = producer.with_options(options(&recorder));
    for number in [3, 7] {
        producer.send(BaseRecord::with_opaque_to("orders", number).key("k").payload("p")).unwrap();
    }
    producer.purge(PurgeConfig::default().queue().inflight());
    producer.flush(LONG).unwrap();
    drop(producer);
    let mut reported = reported.0.lock().unwrap().clone();
    reported.sort_unstable();
    assert_eq!(reported, [3, 7]);
    assert_eq!(recorder.spans().len(), 2);
    recorder.assert_clean();
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_flat_over_300_000_records_whose_delivery_is_not_reported() {
    let cluster = cluster(1);
    let provider = SdkTracerProvider::builder().build();
    let mut config = config(&cluster);
    config.set("delivery.report.only.error", "true");
    let producer: ThreadedProducer = config.create().unwrap();
    let producer = producer.with_options(Options::new().with_tracer_provider(&provider));
    let send = |count: usize| {
        for _ in 0..count {
            while producer.send(BaseRecord::to("orders").key("k").payload("p").partition(0)).is_err() {
                producer.flush(LONG).unwrap();
            }
        }
        producer.flush(LONG).unwrap();
    };
    // The mock cluster keeps at most 5 MiB of a partition.
    send(100_000);
    let before = resident();
    send(300_000);
    let grown = resident().saturating_sub(before);
    // A leak of one span each would be more than 90 MiB. Other tests of this process run meanwhile.
    assert!(grown < 40 << 20, "{grown} bytes");
}

/// Returns the resident memory of this process in bytes.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}
