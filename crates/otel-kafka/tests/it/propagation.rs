//! Injection into and extraction from headers.

use opentelemetry::trace::{FutureExt as _, SpanKind, TraceContextExt as _};
use otel_kafka::{ExistingContext, FutureProducer, HeaderExtractor, HeaderInjector};
use otel_propagation::{B3Propagator, CompositePropagator};
use otel_testing::Recorder;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::producer::FutureRecord;

use crate::support::{
    LONG, carried, client, cluster, headers, listed, messages, options, remote, sent, text, traceparent,
    traceparent_of,
};

#[tokio::test]
async fn a_forwarded_records_context_is_replaced_and_linked() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    let (old, name) = (traceparent(5), "my header");
    let own = headers(&[("traceparent", &old), ("tracestate", "a=1"), (name, "1"), ("baggage", "b=1")]);
    let record = FutureRecord::to("orders").key("").payload("").headers(own);
    producer.send(record, LONG).with_context(remote(7, true)).await.unwrap();

    let span = recorder.span("send orders");
    assert_eq!(span.links.len(), 1);
    assert_eq!(span.links[0].span_context.span_id(), 5.into());
    // The context has no baggage, so that the author's stays.
    let expected = [(name, "1"), ("baggage", "b=1"), ("traceparent", &traceparent_of(&span))];
    assert_eq!(sent(&cluster), expected.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
}

#[tokio::test]
async fn a_records_context_can_be_preserved() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder).with_existing_context(ExistingContext::Preserve));
    let old = traceparent(5);
    let own = headers(&[("traceparent", &old), ("baggage", "b=1")]);
    let record = FutureRecord::to("orders").key("").payload("").headers(own);
    producer.send(record, LONG).await.unwrap();
    let span = recorder.span("send orders");
    assert_eq!(span.span_kind, SpanKind::Client);
    let sent = sent(&cluster);
    assert_eq!((text(&sent, "traceparent"), text(&sent, "baggage")), (Some(&*old), Some("b=1")));
    assert_eq!(sent.len(), 2);
}

#[tokio::test]
async fn a_topic_that_is_left_out_passes_the_current_context_on() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder).with_filter(|topic| topic != "orders"));
    let (old, current) = (traceparent(5), traceparent(7));
    for own in [vec![("x", "1")], vec![("traceparent", &*old), ("x", "1")]] {
        let record = FutureRecord::to("orders").key("").payload("").headers(headers(&own));
        producer.send(record, LONG).with_context(remote(7, true)).await.unwrap();
    }
    producer.send(FutureRecord::to("orders").key("").payload(""), LONG).await.unwrap();
    let sent = messages(&cluster, 0, 3, |message| listed(message.headers()));
    let traceparents: Vec<_> = sent.iter().map(|headers| text(headers, "traceparent")).collect();
    // The current context replaces that of an earlier hop, and without a current context there is nothing to write.
    assert_eq!(traceparents, [Some(&*current), Some(&*current), None]);
    assert_eq!((recorder.spans().len(), recorder.metrics()), (0, String::new()));
}

#[tokio::test]
async fn the_carriers_work_by_hand() {
    let cluster = cluster(1);
    let producer: rdkafka::producer::FutureProducer = client(&cluster);
    let mut record = FutureRecord::<str, _>::to("orders").payload("");
    let propagation = otel_propagation::PropagatorHandle::new(CompositePropagator::default());
    propagation.inject(&remote(7, true), &mut HeaderInjector(&mut record.headers));
    producer.send(record, LONG).await.unwrap();
    let received = messages(&cluster, 0, 1, |message| {
        let context = propagation.extract(&HeaderExtractor::from_message(message));
        (context.span().span_context().span_id(), carried(message))
    });
    assert_eq!(received, [(7.into(), vec![("traceparent".to_owned(), traceparent(7).into_bytes())])]);
}

#[tokio::test]
async fn without_an_sdk_the_current_context_is_passed_on() {
    let cluster = cluster(1);
    let recorder = Recorder::new();
    recorder.shutdown();
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    let record = FutureRecord::<str, _>::to("orders").payload("");
    producer.send(record, LONG).with_context(remote(7, true)).await.unwrap();
    let headers = messages(&cluster, 0, 1, |message| {
        assert_eq!(message.headers().unwrap().count(), 1);
        listed(message.headers())
    });
    assert_eq!(text(&headers[0], "traceparent"), Some(&*traceparent(7)));
}

#[tokio::test]
async fn where_the_span_is_not_the_operations_own_a_record_keeps_its_authors_headers() {
    let stopped = Recorder::new();
    stopped.shutdown();
    let without_sdk = otel_kafka::Options::new().with_propagator(CompositePropagator::default());
    for (options, current) in [
        (without_sdk.clone(), opentelemetry::Context::new()),
        (without_sdk, remote(7, true)),
        (options(&stopped), remote(7, true)),
    ] {
        let cluster = cluster(1);
        let producer: FutureProducer = client(&cluster);
        let producer = producer.with_options(options);
        let parent = traceparent(9);
        let own = [("traceparent", &*parent), ("tracestate", "a=1"), ("baggage", "k=v"), ("x", "1")];
        let record = FutureRecord::to("orders").key("k").payload("p").headers(headers(&own));
        producer.send(record, LONG).with_context(current).await.unwrap();
        let expected = own.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(sent(&cluster), expected);
    }
}

#[tokio::test]
async fn headers_of_b3_are_spelled_as_java_reads_them() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let b3 = CompositePropagator::empty().with_b3(B3Propagator::multi());
    let producer = producer.with_options(options(&recorder).with_propagator(b3));
    // What another writer left in another spelling is replaced.
    let stale = headers(&[("x-b3-traceid", "stale"), ("b3", "stale")]);
    let record = FutureRecord::to("orders").key("").payload("").headers(stale);
    producer.send(record, LONG).await.unwrap();
    let span = recorder.span("send orders").span_context;
    let (trace_id, span_id) = (span.trace_id().to_string(), span.span_id().to_string());
    let expected = [("X-B3-TraceId", &*trace_id), ("X-B3-SpanId", &span_id), ("X-B3-Sampled", "1")];
    assert_eq!(sent(&cluster), expected.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
}
