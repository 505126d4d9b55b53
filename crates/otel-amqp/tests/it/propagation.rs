//! Context that goes out with messages, and context that comes in.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray};
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _};
use otel_amqp::Options;
use otel_propagation::{B3Propagator, CompositePropagator};
use otel_testing::Recorder;
use otel_testing::spans::without_own_span;

use crate::support::{
    bare, channel, channel_with, consume, headers, inspect, listed, next, options, queue, received, remote,
    send, text, traceparent, traceparent_of, write,
};

#[tokio::test]
async fn the_context_is_written_and_headers_properties_and_payload_stay() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    let queue = queue(&channel, "jobs").await;
    let mut inspector = inspect(&channel, &queue).await;
    let mut own = headers(&[("X-Own", "1")]);
    own.insert("number".into(), AMQPValue::LongLongInt(7));
    let properties =
        BasicProperties::default().with_headers(own.clone()).with_content_type("text/plain".into());
    send(&channel, &queue, properties).await;
    send(&channel, &queue, BasicProperties::default()).await;
    let [first, second] = [next(&mut inspector).await, next(&mut inspector).await];
    assert_eq!(text(&first.properties, "traceparent"), Some(traceparent_of(&recorder.spans()[0])));
    assert_eq!(text(&second.properties, "traceparent"), Some(traceparent_of(&recorder.spans()[1])));
    let kept = first.properties.headers().as_ref().unwrap().inner();
    assert!(own.inner().iter().all(|(name, value)| kept.get(name) == Some(value)));
    assert!(matches!(kept.get("traceparent"), Some(AMQPValue::LongString(_))));
    assert_eq!(first.properties.content_type().as_ref().map(|text| text.as_str()), Some("text/plain"));
    assert_eq!(first.data, b"one book");
    recorder.assert_clean();
}

#[tokio::test]
async fn the_context_of_an_earlier_hop_is_replaced_in_any_case_and_linked() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    let queue = queue(&channel, "jobs").await;
    let mut inspector = inspect(&channel, &queue).await;
    let stale = headers(&[("TraceParent", &traceparent(9)), ("TRACESTATE", "a=1"), ("Other", "1")]);
    send(&channel, &queue, BasicProperties::default().with_headers(stale)).await;
    let list = listed(&next(&mut inspector).await.properties);
    let span = recorder.spans().remove(0);
    let parent = traceparent_of(&span).into_bytes();
    assert_eq!(list, [("Other".to_owned(), b"1".to_vec()), ("traceparent".to_owned(), parent)]);
    assert_eq!(span.links.len(), 1);
    assert_eq!(span.links[0].span_context.span_id(), remote(9, true).span().span_context().span_id());
}

#[tokio::test]
async fn texts_and_byte_arrays_in_any_case_are_read() {
    let recorder = Recorder::new();
    let (channel, other) = (channel(&recorder).await, bare().await);
    let queue = queue(&channel, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    let parent = traceparent(7);
    for (index, name) in ["traceparent", "Traceparent", "TRACEPARENT"].into_iter().enumerate() {
        let mut sent = headers(&[(name, &parent)]);
        if index > 0 {
            sent.insert(name.into(), AMQPValue::ByteArray(ByteArray::from(parent.as_bytes())));
        }
        write(&other, &queue, sent, "p").await;
        received(&mut consumer).await.process(async |_| ()).await;
        let span = &recorder.spans()[index];
        assert_eq!(span.parent_span_id.to_string(), format!("{:016x}", 7), "{name}");
        assert_eq!(span.links.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn hostile_values_do_no_harm() {
    let recorder = Recorder::new();
    let (channel, other) = (channel(&recorder).await, bare().await);
    let queue = queue(&channel, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    let (good, long) = (traceparent(7), "x".repeat(30 * 1024));
    let mut number = headers(&[]);
    number.insert("traceparent".into(), AMQPValue::LongLongInt(i64::MIN));
    let mut bytes = headers(&[]);
    bytes.insert("traceparent".into(), AMQPValue::ByteArray(ByteArray::from(&b"\xff\0\xfe"[..])));
    for hostile in [
        headers(&[("traceparent", &good), ("Traceparent", &traceparent(8))]),
        headers(&[("traceparent", "")]),
        headers(&[("traceparent", "\u{7f}\t\u{1}ä\u{202e}\r\n")]),
        headers(&[("traceparent", &format!("{good}-"))]),
        headers(&[("traceparent", &long), ("tracestate", &long), ("baggage", &long)]),
        number,
        bytes,
    ] {
        let before = recorder.spans().len();
        write(&other, &queue, hostile, "p").await;
        let delivery = received(&mut consumer).await;
        delivery.process(async |delivery| assert_eq!(delivery.data, b"p")).await;
        let span = &recorder.spans()[before];
        assert!(!span.parent_span_is_remote && span.links.is_empty(), "{span:?}");
        // A message that is forwarded with them gets a context of its own.
        send(&channel, &queue, delivery.properties.clone()).await;
        let forwarded = received(&mut consumer).await;
        let own = traceparent_of(&recorder.spans()[before + 1]);
        assert_eq!(text(&forwarded.properties, "traceparent"), Some(own));
    }
    recorder.assert_clean();
}

#[tokio::test]
async fn where_the_span_is_not_the_operations_own_a_message_keeps_its_authors_headers() {
    let without_sdk = Options::new().with_propagator(CompositePropagator::default());
    for (options, current) in without_own_span(without_sdk, options) {
        let channel = channel_with(options).await;
        let queue = queue(&channel, "jobs").await;
        let mut inspector = inspect(&channel, &queue).await;
        let parent = traceparent(9);
        let own = [("baggage", "k=v"), ("traceparent", &*parent), ("tracestate", "a=1"), ("x", "1")];
        let properties = BasicProperties::default().with_headers(headers(&own));
        send(&channel, &queue, properties).with_context(current).await;
        let expected = own.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(listed(&next(&mut inspector).await.properties), expected);
    }
}

#[tokio::test]
async fn a_message_that_has_nothing_to_carry_stays_without_headers() {
    let channel = channel_with(Options::new()).await;
    let queue = queue(&channel, "jobs").await;
    let mut inspector = inspect(&channel, &queue).await;
    send(&channel, &queue, BasicProperties::default()).await;
    assert_eq!(next(&mut inspector).await.properties, BasicProperties::default());
}

#[tokio::test]
async fn a_queue_that_is_left_out_carries_the_current_context_on() {
    let recorder = Recorder::new();
    let channel = channel_with(options(&recorder).with_filter(|_| false)).await;
    let queue = queue(&channel, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    send(&channel, &queue, BasicProperties::default()).with_context(remote(7, true)).await;
    let delivery = received(&mut consumer).await;
    assert_eq!(text(&delivery.properties, "traceparent"), Some(traceparent(7)));
    let inside = delivery.process(async |_| {
        assert_eq!(Context::current().span().span_context(), remote(7, true).span().span_context());
    });
    inside.await;
    assert_eq!((recorder.spans().len(), recorder.metrics()), (0, String::new()));
}

#[tokio::test]
async fn headers_of_b3_are_written_in_lower_case() {
    let recorder = Recorder::new();
    let b3 = CompositePropagator::empty().with_b3(B3Propagator::multi());
    let channel = channel_with(options(&recorder).with_propagator(b3)).await;
    let queue = queue(&channel, "jobs").await;
    let mut inspector = inspect(&channel, &queue).await;
    let stale = headers(&[("X-B3-TraceId", "stale"), ("B3", "stale")]);
    send(&channel, &queue, BasicProperties::default().with_headers(stale)).await;
    let span = recorder.spans().remove(0).span_context;
    let expected = [
        ("x-b3-sampled", "1".to_owned()),
        ("x-b3-spanid", span.span_id().to_string()),
        ("x-b3-traceid", span.trace_id().to_string()),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.into_bytes()));
    assert_eq!(listed(&next(&mut inspector).await.properties), expected);
}
