//! Batches: shared values are on the span, differing values on the links.

use opentelemetry::trace::{SpanKind, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use otel_messaging::{ExistingContext, MAX_LINKS, ParentMode, attributes};
use otel_operation::Outcome;
use otel_propagation::link_to;
use otel_testing::Recorder;

use crate::support::{Headers, header, messaging, named, remote, with};

#[test]
fn a_batch_links_to_each_of_its_messages() {
    let recorder = Recorder::new();
    let messaging = messaging(&recorder);
    let carried = [(remote(7, true), 40), (remote(8, false), 41), (Context::new(), 42)];
    let links = carried.iter().map(|(cx, offset)| link_to(cx, [KeyValue::new("parrot.offset", *offset)]));
    let batch =
        named(&messaging, "orders").process("process").with_batch(links).start(&Context::new(), |message| {
            let partitions = [3, 3, 3];
            message.partition_id(attributes::common_value(partitions).unwrap_or(-1));
        });
    batch.finish(&Outcome::ok());
    assert_eq!(
        recorder.tree(),
        "\
CONSUMER process orders
    messaging.batch.message_count: 3
    messaging.destination.name: orders
    messaging.destination.partition.id: \"3\"
    messaging.operation.name: process
    messaging.operation.type: process
    messaging.system: parrot
    link → remote 0000…0007/0000…0007
        parrot.offset: 40
    link → remote 0000…0008/0000…0008
        parrot.offset: 41
"
    );
    recorder.assert_clean();
}

#[test]
fn a_batch_has_no_producer_for_a_parent() {
    for mode in [ParentMode::LinkOnly, ParentMode::ProducerIfNoAmbient, ParentMode::Producer] {
        let recorder = Recorder::new();
        let messaging = with(&recorder, |options| options.with_parent_mode(mode));
        let links = [link_to(&remote(7, true), [])];
        let ambient = remote(9, true);
        let orders = named(&messaging, "orders");
        let batch = orders.process("process").with_batch(links).start(&ambient, |_| {});
        batch.finish(&Outcome::ok());
        assert_eq!(recorder.span("process orders").parent_span_id, ambient.span().span_context().span_id());
    }
}

#[test]
fn links_beyond_the_bound_are_counted_and_not_made() {
    for (messages, left_out) in [(MAX_LINKS, None), (MAX_LINKS + 1, Some(1)), (5_000, Some(4_872))] {
        let recorder = Recorder::new();
        let mut looked_at = 0;
        let links = (0..messages).map(|id| {
            looked_at += 1;
            link_to(&remote(id as u64 + 1, true), [])
        });
        let orders = named(&messaging(&recorder), "orders");
        let batch = orders.receive("poll").with_batch(links).start(&Context::new(), |_| {});
        batch.finish(&Outcome::ok());
        assert_eq!(looked_at, MAX_LINKS);
        let span = recorder.span("poll orders");
        assert_eq!(span.links.len(), MAX_LINKS);
        assert_eq!(span.links.dropped_count, 0);
        let number = |key: &str| {
            span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.to_string())
        };
        assert_eq!(number(attributes::BATCH_LINKS_LEFT_OUT), left_out.map(|n: i32| n.to_string()));
        assert_eq!(number(attributes::BATCH_MESSAGE_COUNT), Some(messages.to_string()));
        assert_eq!(recorder.metric("messaging.client.consumed.messages").sum(), messages as f64);
    }
}

#[test]
fn an_empty_batch_says_so_and_counts_nothing() {
    let recorder = Recorder::new();
    let orders = named(&messaging(&recorder), "orders");
    let empty = orders.receive("poll").with_batch([]).start(&Context::new(), |_| {});
    empty.finish(&Outcome::ok());
    assert!(recorder.tree().contains("messaging.batch.message_count: 0\n"), "{}", recorder.tree());
    assert_eq!(recorder.metric("messaging.client.operation.duration").count(), 1);
    assert!(recorder.metric("messaging.client.consumed.messages").points().is_empty());
}

#[test]
fn messages_of_a_batch_may_have_spans_of_their_own() {
    let recorder = Recorder::new();
    let messaging = messaging(&recorder);
    let orders = named(&messaging, "orders");
    let mut links = Vec::new();
    for _ in 0..2 {
        let mut headers = Headers::new();
        let created = orders.create("create").start(&Context::new(), |_| {});
        created.inject(&mut headers);
        created.finish(&Outcome::ok());
        assert!(header(&headers, "traceparent").is_some());
        links.push(link_to(&messaging.extract(&headers), []));
    }
    let send = orders.send("send").with_batch(links).with_existing_context(ExistingContext::Preserve);
    let sent = send.start(&Context::new(), |_| {});
    assert!(!sent.injects());
    sent.finish(&Outcome::ok());
    let kinds: Vec<_> = recorder.spans().into_iter().map(|span| span.span_kind).collect();
    assert_eq!(kinds, [SpanKind::Producer, SpanKind::Producer, SpanKind::Client]);
    assert_eq!(recorder.span("send orders").links.len(), 2);
    assert_eq!(recorder.metric("messaging.client.sent.messages").sum(), 2.0);
    assert_eq!(recorder.metric("messaging.client.operation.duration").count(), 1, "creating has none");
}

#[test]
fn a_count_may_be_all_that_is_known() {
    let recorder = Recorder::new();
    let messaging = messaging(&recorder);
    let commit = messaging.no_destination().settle("commit").with_message_count(12);
    commit.start(&Context::new(), |_| {}).finish(&Outcome::ok());
    assert_eq!(
        recorder.tree(),
        "\
CLIENT commit
    messaging.batch.message_count: 12
    messaging.operation.name: commit
    messaging.operation.type: settle
    messaging.system: parrot
"
    );
}
