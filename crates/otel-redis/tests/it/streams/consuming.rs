//! Entries that are read: their processing, their acknowledgement, and those that are delivered again.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use opentelemetry::trace::SpanKind;
use otel_operation::Outcome;
use otel_redis::streams::{Acknowledgement, Consumer};
use otel_testing::Recorder;
use otel_testing::spans::{attribute, error_type, traceparent};
use redis::streams::{StreamAutoClaimOptions, StreamReadOptions};
use tokio::sync::Notify;

use crate::streams::support::{Fixture, Message, options};
use crate::support::bare;

#[tokio::test]
async fn a_message_is_one_trace_from_the_producer_to_its_acknowledgement() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::new(&recorder).await;
    let id = fixture.producer.xadd(&fixture.key, "*", &[("book", "7")]).await.unwrap().unwrap();
    let messages = fixture.read().await;
    assert_eq!((messages.len(), messages[0].key()), (1, &*fixture.key));
    assert_eq!(messages[0].get::<String>("book").as_deref(), Some("7"));
    messages[0].process(async |_| ()).await;
    assert_eq!(messages[0].xack().await.unwrap(), 1);
    let [send, process, settle] =
        ["xadd", "process", "xack"].map(|name| recorder.span(&format!("{name} {}", fixture.key)));
    assert_eq!(process.parent_span_id, send.span_context.span_id());
    for (span, kind, operation) in
        [(&process, SpanKind::Consumer, "process"), (&settle, SpanKind::Client, "settle")]
    {
        assert_eq!((&span.span_kind, span.links.len()), (&kind, 1));
        assert_eq!(span.links[0].span_context.span_id(), send.span_context.span_id());
        for (name, value) in [
            ("messaging.client.id", "worker-1"),
            ("messaging.consumer.group.name", "shipping"),
            ("messaging.destination.name", &fixture.key),
            ("messaging.message.id", &id),
            ("messaging.operation.type", operation),
            ("messaging.system", "redis"),
        ] {
            assert_eq!(attribute(span, name).as_deref(), Some(value), "{name} of {}", span.name);
        }
    }
    assert_eq!(messages[0].xack().await.unwrap(), 0, "it was acknowledged before");
    assert_eq!(fixture.pending().await, 0);
    recorder.assert_clean();
}

#[tokio::test]
async fn metrics_have_the_stream_and_the_group() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::new(&recorder).await;
    fixture.producer.xadd(&fixture.key, "*", &[("book", "7")]).await.unwrap();
    for message in fixture.read().await {
        message.process(async |_| Err::<(), _>(std::fmt::Error)).await.unwrap_err();
        message.xack().await.unwrap();
    }
    let expected = "\
messaging.client.consumed.messages (counter, {message})
    {messaging.consumer.group.name=shipping, messaging.destination.name=orders, messaging.operation.name=xreadgroup, messaging.system=redis} 1
messaging.client.operation.duration (histogram, s)
    {messaging.consumer.group.name=shipping, messaging.destination.name=orders, messaging.operation.name=xack, messaging.operation.type=settle, messaging.system=redis} count 1, sum TIME
    {messaging.destination.name=orders, messaging.operation.name=xadd, messaging.operation.type=send, messaging.system=redis} count 1, sum TIME
messaging.client.sent.messages (counter, {message})
    {messaging.destination.name=orders, messaging.operation.name=xadd, messaging.system=redis} 1
messaging.process.duration (histogram, s)
    {error.type=core::fmt::Error, messaging.consumer.group.name=shipping, messaging.destination.name=orders, messaging.operation.name=process, messaging.system=redis} count 1, sum TIME
";
    assert_eq!(recorder.metrics().replace(&fixture.key, "orders"), expected);
}

#[tokio::test]
async fn a_read_is_a_span_only_on_request_and_links_to_its_messages() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::with(options(&recorder).with_receive_spans(true)).await;
    assert_eq!(fixture.read().await.len(), 0);
    assert_eq!(recorder.spans().len(), 0, "waiting for nothing is no span");
    for number in [7, 8] {
        let parent = traceparent(number);
        fixture.write(&[("traceparent", &parent)]).await;
    }
    assert_eq!(fixture.read().await.len(), 2);
    let read = recorder.span(&format!("xreadgroup {}", fixture.key));
    assert_eq!(read.links.len(), 2);
    assert_eq!(attribute(&read, "messaging.batch.message_count").as_deref(), Some("2"));
    let consumed = recorder.metric("messaging.client.consumed.messages");
    assert_eq!(consumed.sum(), 2.0);
    let absent = ["absent"];
    let error = fixture.consumer.xreadgroup(&absent, &[">"], StreamReadOptions::default()).await.unwrap_err();
    assert_eq!(error.code(), Some("NOGROUP"));
    assert_eq!(error_type(&recorder.span("xreadgroup")).as_deref(), Some("NOGROUP"));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_delivery_that_is_repeated_is_visible_and_stays_in_its_trace() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::new(&recorder).await;
    fixture.write(&[("traceparent", &traceparent(7))]).await;
    let first = fixture.read().await.remove(0);
    let options = StreamReadOptions::default;
    let pending = fixture.consumer.xreadgroup(&[&fixture.key], &["0"], options()).await.unwrap().remove(0);
    let other = Consumer::new(fixture.bare.clone(), "shipping", "worker-2");
    let mut other = other.with_options(crate::streams::support::options(&recorder));
    let claim = StreamAutoClaimOptions::default();
    let (next, mut claimed) = other.xautoclaim_options(&fixture.key, 0, "0-0", claim).await.unwrap();
    assert_eq!((&*next, claimed.len()), ("0-0", 1));
    let claimed = claimed.remove(0);
    for (message, redelivered) in [(&first, false), (&pending, true), (&claimed, true)] {
        assert_eq!(message.is_redelivered(), redelivered);
        message.process(async |_| ()).await;
        let span = recorder.spans().pop().unwrap();
        let marked = attribute(&span, "messaging.redis.message.redelivered");
        assert_eq!(marked.as_deref(), redelivered.then_some("true"));
        assert_eq!(span.parent_span_id, opentelemetry::SpanId::from(7));
    }
    recorder.assert_clean();
}

#[tokio::test]
async fn replayed_messages_link_to_their_producers() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::new(&recorder).await;
    fixture.consumer = fixture.consumer.with_replayed(true);
    fixture.write(&[("traceparent", &traceparent(7))]).await;
    fixture.read().await[0].process(async |_| ()).await;
    let span = &recorder.spans()[0];
    assert_eq!(span.parent_span_id, opentelemetry::SpanId::INVALID);
    assert_eq!(span.links[0].span_context.span_id(), opentelemetry::SpanId::from(7));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_batch_is_processed_and_acknowledged_in_spans_that_link_to_its_messages() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::new(&recorder).await;
    for number in [7, 8, 9] {
        fixture.write(&[("traceparent", &traceparent(number))]).await;
    }
    let messages = fixture.read().await;
    fixture.consumer.processing_batch(&messages).finish(&Outcome::ok());
    assert_eq!(fixture.consumer.xack(&messages).await.unwrap(), 3);
    for name in ["process", "xack"] {
        let span = recorder.span(&format!("{name} {}", fixture.key));
        assert_eq!(span.links.len(), 3, "{name}");
    }
    assert_eq!(fixture.pending().await, 0);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_age_of_a_message_is_that_of_its_id() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::with(options(&recorder).with_message_age(true).with_message_sizes(true)).await;
    fixture.write(&[("book", "7")]).await;
    let () = redis::AsyncCommands::xadd(&mut fixture.bare, &fixture.key, "9999999999999-0", &[("book", "8")])
        .await
        .map(|_: Option<String>| ())
        .unwrap();
    for message in fixture.read().await {
        message.process(async |_| ()).await;
    }
    let ages: Vec<f64> = recorder
        .spans()
        .iter()
        .map(|span| attribute(span, "messaging.message.age").unwrap().parse().unwrap())
        .collect();
    assert!((0.0..60.0).contains(&ages[0]), "{ages:?}");
    assert_eq!(ages[1], 0.0, "it comes from the future");
    assert_eq!(attribute(&recorder.spans()[0], "messaging.message.body.size").as_deref(), Some("5"));
    recorder.assert_clean();
}

#[tokio::test]
async fn processing_that_is_dropped_or_panics_says_so() {
    let recorder = Recorder::new();
    let mut fixture = Fixture::new(&recorder).await;
    fixture.write(&[("book", "7")]).await;
    let message = fixture.read().await.remove(0);
    drop(message.process(async |_| ()));
    assert_eq!(recorder.spans().len(), 0, "the handler was never called");
    let mut processing = Box::pin(message.process(async |_| tokio::task::yield_now().await));
    assert!((&mut processing).now_or_never().is_none());
    drop(processing);
    let panicked = AssertUnwindSafe(message.process(async |_| -> () { panic!("on purpose") }));
    assert!(panicked.catch_unwind().await.is_err());
    let mut acknowledging = Box::pin(message.xack());
    assert!((&mut acknowledging).now_or_never().is_none());
    drop(acknowledging);
    let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    assert_eq!(errors, ["cancelled", "panic", "cancelled"]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_loop_acknowledges_what_succeeded_and_reads_the_rest_again() {
    let recorder = Recorder::new();
    let acknowledging = options(&recorder).with_acknowledgement(Acknowledgement::OnSuccess);
    let mut fixture = Fixture::with(acknowledging).await;
    for number in 0..3 {
        fixture.producer.xadd(&fixture.key, "*", &[("number", number)]).await.unwrap();
    }
    let handled = AtomicUsize::new(0);
    let run = async |fixture: &mut Fixture, fails: bool, until: usize| {
        let done = Notify::new();
        let handler = async |message: Message| {
            let number: String = message.get("number").unwrap();
            if handled.fetch_add(1, Ordering::Relaxed) + 1 == until {
                done.notify_one();
            }
            if fails && number == "1" { Err("refused".to_owned()) } else { Ok(()) }
        };
        let key = fixture.key.clone();
        fixture.consumer.process_each(&[&key], done.notified(), handler).await.unwrap();
    };
    run(&mut fixture, true, 3).await;
    assert_eq!(fixture.pending().await, 1);
    run(&mut fixture, false, 4).await;
    assert_eq!(fixture.pending().await, 0);
    let processed = recorder.spans();
    let process = format!("process {}", fixture.key);
    let redelivered: Vec<_> = processed
        .iter()
        .filter(|span| span.name == process)
        .map(|span| attribute(span, "messaging.redis.message.redelivered").is_some())
        .collect();
    assert_eq!(redelivered, [false, false, false, true]);
    let acknowledged = processed.iter().filter(|span| span.name.starts_with("xack")).count();
    assert_eq!(acknowledged, 3);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_loop_waits_for_entries_of_several_streams_and_acknowledges_on_another_connection() {
    let recorder = Recorder::new();
    let acknowledging = options(&recorder).with_acknowledgement(Acknowledgement::ByOutcome);
    let (mut one, mut two) =
        (Fixture::with(acknowledging.clone()).await, Fixture::with(acknowledging.clone()).await);
    let consumer = Consumer::new(bare().await, "shipping", "worker-1").with_options(acknowledging);
    let mut consumer = consumer.with_settling_connection(bare().await).with_count(1);
    let (done, started) = (Notify::new(), Notify::new());
    let keys = [one.key.clone(), two.key.clone()];
    let keys = keys.each_ref().map(String::as_str);
    let handler = async |message: Message| match message.get::<String>("last") {
        Some(_) => done.notify_one(),
        None => started.notify_one(),
    };
    let looping = consumer.process_each(&keys, done.notified(), handler);
    let writing = async {
        one.write(&[("first", "1")]).await;
        started.notified().await;
        two.write(&[("last", "1")]).await;
    };
    let (looped, ()) = tokio::join!(looping, writing);
    looped.unwrap();
    assert_eq!((one.pending().await, two.pending().await), (0, 0));
    recorder.assert_clean();
}
