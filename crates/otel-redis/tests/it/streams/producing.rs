//! Entries that are added: their spans, and the context in their fields.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use opentelemetry::trace::FutureExt as _;
use otel_redis::streams::{ExistingContext, Producer};
use otel_testing::Recorder;
use otel_testing::spans::{attribute, error_type, remote, traceparent, traceparent_of, without_own_span};
use redis::streams::{StreamAddOptions, StreamMaxlen, StreamTrimStrategy, StreamTrimmingMode};

use crate::streams::support::{Fixture, options};
use crate::support::{bare, unique};

#[tokio::test]
async fn an_entry_has_the_context_of_its_span() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::new(&recorder).await;
    let id = fixture.producer.xadd(&fixture.key, "*", &[("book", "7")]).await.unwrap().unwrap();
    let expected = format!(
        "\
PRODUCER xadd {key}
    messaging.destination.name: {key}
    messaging.message.id: {id}
    messaging.operation.name: xadd
    messaging.operation.type: send
    messaging.system: redis
",
        key = fixture.key
    );
    assert_eq!(recorder.tree(), expected);
    let entries = fixture.entries().await;
    assert_eq!(entries[0]["book"], "7");
    assert_eq!(entries[0]["traceparent"], traceparent_of(&recorder.spans()[0]));
    assert_eq!(entries[0].len(), 2);
    recorder.assert_clean();
}

#[tokio::test]
async fn every_way_to_add_writes_the_context_and_keeps_options_and_fields() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::new(&recorder).await;
    let (key, producer) = (fixture.key.clone(), &mut fixture.producer);
    let map = BTreeMap::from([("book", "7")]);
    producer.xadd(&key, "1-1", &[("book", "7")]).await.unwrap();
    producer.xadd_map(&key, "1-2", &map).await.unwrap();
    producer.xadd_maxlen(&key, StreamMaxlen::Equals(3), "1-3", &[("book", "7")]).await.unwrap();
    let trim = StreamTrimStrategy::maxlen(StreamTrimmingMode::Exact, 3);
    let options = StreamAddOptions::default().trim(trim);
    producer.xadd_options(&key, "1-4", &[("book", "7")], &options).await.unwrap();
    let entries = fixture.entries().await;
    assert_eq!(entries.len(), 3, "trimmed");
    for (entry, span) in entries.iter().zip(&recorder.spans()[1..]) {
        assert_eq!(entry["book"], "7");
        assert_eq!(entry["traceparent"], traceparent_of(span));
        assert_eq!(entry.len(), 2);
    }
    let absent = StreamAddOptions::default().nomkstream();
    let added = fixture.producer.xadd_options(unique("absent"), "*", &[("book", "7")], &absent).await;
    assert_eq!(added.unwrap(), None);
    recorder.assert_clean();
}

#[tokio::test]
async fn an_entry_that_the_server_rejects_is_rejected_with_the_same_error() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::new(&recorder).await;
    let none: [(&str, &str); 0] = [];
    let empty = fixture.producer.xadd(&fixture.key, "*", &none).await.unwrap_err();
    let odd = fixture.producer.xadd_map(&fixture.key, "*", &["book"]).await.unwrap_err();
    assert_eq!((empty.code(), odd.code()), (Some("ERR"), Some("ERR")));
    assert_eq!(fixture.entries().await.len(), 0);
    let errors: Vec<_> = recorder.spans().iter().map(error_type).collect();
    assert_eq!(errors, [Some("ERR".to_owned()), Some("ERR".to_owned())]);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_context_of_an_earlier_hop_is_replaced_in_any_case_and_linked() {
    for (existing, replaced) in [(ExistingContext::ReplaceAndLink, true), (ExistingContext::Preserve, false)]
    {
        let recorder = Recorder::new();
        let mut fixture = Fixture::with(options(&recorder).with_existing_context(existing)).await;
        let fields = [("TraceParent", traceparent(7)), ("book", "7".to_owned())];
        fixture.producer.xadd(&fixture.key, "*", &fields).await.unwrap();
        let (entry, span) = (&fixture.entries().await[0], &recorder.spans()[0]);
        let (name, expected) = match replaced {
            true => ("traceparent", traceparent_of(span)),
            false => ("TraceParent", traceparent(7)),
        };
        assert_eq!(entry[name], expected);
        assert_eq!(entry.len(), 2, "{entry:?}");
        assert_eq!(span.links.len(), 1);
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn without_a_span_of_its_own_the_current_context_is_sent() {
    for (options, context) in without_own_span(otel_redis::streams::MessagingOptions::new(), options) {
        let expected = opentelemetry::trace::TraceContextExt::span(&context).span_context().is_valid();
        let (key, mut bare) = (unique("orders"), bare().await);
        let propagator = otel_propagation::CompositePropagator::default();
        let mut producer = Producer::new(bare.clone()).with_options(options.with_propagator(propagator));
        producer.xadd(&key, "*", &[("book", "7")]).with_context(context).await.unwrap();
        let reply: redis::streams::StreamRangeReply =
            redis::AsyncCommands::xrange_all(&mut bare, &key).await.unwrap();
        assert_eq!(reply.ids[0].map.contains_key("traceparent"), expected);
    }
}

#[tokio::test]
async fn an_addition_that_is_dropped_may_have_happened() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::new(&recorder).await;
    let key = fixture.key.clone();
    drop(fixture.producer.xadd(&key, "*", &[("book", "7")]));
    assert_eq!(recorder.spans().len(), 0);
    let mut adding = Box::pin(fixture.producer.xadd(&key, "*", &[("book", "7")]));
    assert!((&mut adding).now_or_never().is_none());
    drop(adding);
    assert_eq!(error_type(&recorder.spans()[0]).as_deref(), Some("unknown"));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_template_keeps_the_key_out_of_names_and_metrics() {
    let recorder = Recorder::new();
    let options = options(&recorder).with_destination_template(|_| Some("orders.*".to_owned()));
    let mut fixture = Fixture::with(options).await;
    fixture.producer.xadd(&fixture.key, "*", &[("book", "7")]).await.unwrap();
    let span = recorder.span("xadd orders.*");
    assert_eq!(attribute(&span, "messaging.destination.name"), Some(fixture.key.clone()));
    assert!(!recorder.metrics().contains(&fixture.key), "{}", recorder.metrics());
    recorder.assert_clean();
}

#[tokio::test]
async fn a_current_span_is_the_parent() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::new(&recorder).await;
    let key = fixture.key.clone();
    let parent = remote(9, true);
    fixture.producer.xadd(&key, "*", &[("book", "7")]).with_context(parent).await.unwrap();
    assert_eq!(recorder.spans()[0].parent_span_id, opentelemetry::SpanId::from(9));
    recorder.assert_clean();
}
