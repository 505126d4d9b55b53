//! Key-value stores: the spans of their operations, and updates that link to what has written them.

use std::time::Duration;

use async_nats::jetstream::kv::{Config, CreateErrorKind, Operation, PutErrorKind, UpdateErrorKind};
use async_nats::jetstream::stream::StorageType;
use futures_util::{StreamExt as _, TryStreamExt as _};
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::SpanData;
use otel_nats::jetstream::kv::{Entry, Store, Watch};
use otel_nats::jetstream::{self, Context};
use otel_testing::Recorder;

use crate::support::{LONG, attribute, client, client_with, error_type, listed, options, text, unique};

async fn store(recorder: &Recorder) -> (Context, Store) {
    let context = jetstream::new(client(recorder).await);
    let store = create(&context).await;
    (context, store)
}

async fn create(context: &Context) -> Store {
    let config =
        Config { bucket: unique("prices"), history: 5, storage: StorageType::Memory, ..Config::default() };
    context.create_key_value(config).await.unwrap()
}

async fn update(watch: &mut Watch) -> Entry {
    tokio::time::timeout(LONG, watch.next()).await.unwrap().unwrap().unwrap()
}

fn names(recorder: &Recorder, store: &Store) -> Vec<String> {
    let bucket = &store.inner().name;
    recorder.spans().iter().map(|span| span.name.replace(bucket, "b")).collect()
}

fn id(span: &SpanData) -> opentelemetry::SpanId {
    span.span_context.span_id()
}

#[tokio::test]
async fn an_update_is_processed_in_the_trace_of_its_put_and_links_to_it() {
    let recorder = Recorder::new();
    let (_context, store) = store(&recorder).await;
    let mut watch = store.watch("books.*").await.unwrap();
    let revision = store.put("books.a", "7".into()).await.unwrap();
    let entry = update(&mut watch).await;
    assert_eq!((entry.key.as_str(), &*entry.value, entry.revision), ("books.a", &b"7"[..], revision));
    assert_eq!((entry.operation, entry.seen_current, entry.delta), (Operation::Put, true, 0));
    assert_eq!(
        Some((*entry).clone()),
        store.inner().entry("books.a").await.unwrap().map(|mut bare| {
            bare.seen_current = true;
            bare
        })
    );
    entry.process(async |_| ()).await;
    let expected = "\
CLIENT watch $KV.prices
    messaging.destination.name: $KV.prices.books.*
    messaging.destination.template: $KV.prices
    messaging.operation.name: watch
    messaging.system: nats
CLIENT put $KV.prices  #1
│   messaging.destination.name: $KV.prices.books.a
│   messaging.destination.template: $KV.prices
│   messaging.nats.stream.name: KV_prices
│   messaging.nats.stream.sequence: 1
│   messaging.operation.name: put
│   messaging.operation.type: send
│   messaging.system: nats
└── CONSUMER process $KV.prices  ⇠ remote
        messaging.destination.name: $KV.prices.books.a
        messaging.destination.template: $KV.prices
        messaging.nats.message.delivery_count: 1
        messaging.nats.stream.name: KV_prices
        messaging.nats.stream.sequence: 1
        messaging.operation.name: process
        messaging.operation.type: process
        messaging.system: nats
        link → #1
";
    let tree = recorder.tree().replace(&store.inner().name, "prices");
    assert_eq!(tree, expected);
    assert_eq!(recorder.metric("messaging.client.consumed.messages").sum(), 1.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn each_write_is_the_link_of_its_update() {
    let recorder = Recorder::new();
    let (_context, store) = store(&recorder).await;
    let mut watch = store.watch_all().await.unwrap();
    let first = store.create("a", "1".into()).await.unwrap();
    let second = store.update("a", "2".into(), first).await.unwrap();
    store.delete_expect_revision("a", Some(second)).await.unwrap();
    let third = store.create("a", "3".into()).await.unwrap();
    store.purge_expect_revision("a", Some(third)).await.unwrap();
    store.delete("a").await.unwrap();
    store.purge("a").await.unwrap();
    let expected = [
        ("create", Operation::Put),
        ("update", Operation::Put),
        ("delete", Operation::Delete),
        ("create", Operation::Put),
        ("purge", Operation::Purge),
        ("delete", Operation::Delete),
        ("purge", Operation::Purge),
    ];
    let writes: Vec<_> =
        recorder.spans().into_iter().filter(|span| !span.name.starts_with("watch")).collect();
    assert_eq!(writes.len(), expected.len());
    // Revisions that a purge has removed are gone before the watch gets them, or not: each that arrives links to its write.
    let mut arrived = 0;
    loop {
        let entry = update(&mut watch).await;
        entry.process(async |_| ()).await;
        let (operation, kind) = expected[usize::try_from(entry.revision).unwrap() - 1];
        let write = writes
            .iter()
            .find(|span| {
                attribute(span, "messaging.nats.stream.sequence") == Some(entry.revision.to_string())
            })
            .unwrap();
        assert_eq!((write.name.split(' ').next(), entry.operation), (Some(operation), kind));
        let process = recorder.spans().pop().unwrap();
        assert_eq!(
            process.links.iter().map(|link| link.span_context.span_id()).collect::<Vec<_>>(),
            [id(write)]
        );
        assert_eq!(write.span_kind, SpanKind::Client);
        arrived += 1;
        if entry.revision == 7 {
            break;
        }
    }
    assert!(arrived >= 1);
    assert_eq!(recorder.metric("messaging.client.sent.messages").sum(), 7.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn values_that_a_watch_finds_start_traces_and_link_to_their_puts() {
    let recorder = Recorder::new();
    let (_context, store) = store(&recorder).await;
    let first = store.put("a", "1".into()).await.unwrap();
    let mut watch = store.watch_with_history("a").await.unwrap();
    let put = recorder.span(&format!("put $KV.{}", store.inner().name));
    for watch in [
        &mut watch,
        &mut store.watch_from_revision("a", first).await.unwrap(),
        &mut store.watch_all_from_revision(first).await.unwrap(),
    ] {
        update(watch).await.process(async |_| ()).await;
        let process = recorder.spans().pop().unwrap();
        assert!(!process.parent_span_is_remote, "{}", recorder.tree());
        assert_ne!(process.span_context.trace_id(), put.span_context.trace_id());
        assert_eq!(process.links[0].span_context.span_id(), id(&put));
    }
    let second = store.put("a", "2".into()).await.unwrap();
    let entry = update(&mut watch).await;
    assert_eq!((entry.revision, entry.seen_current), (second, true));
    entry.process(async |_| ()).await;
    let process = recorder.spans().pop().unwrap();
    assert!(process.parent_span_is_remote, "an update that follows is a child:\n{}", recorder.tree());
}

#[tokio::test]
async fn an_update_has_the_age_of_its_message() {
    let recorder = Recorder::new();
    for records in [false, true] {
        let options = options(&recorder).with_message_age(records);
        let store = create(&jetstream::new(client_with(options).await)).await;
        let mut watch = store.watch_all().await.unwrap();
        store.put("a", "1".into()).await.unwrap();
        update(&mut watch).await.process(async |_| ()).await;
        let process = recorder.spans().pop().unwrap();
        assert_eq!(attribute(&process, "messaging.message.age").is_some(), records, "{}", recorder.tree());
    }
    recorder.assert_clean();
}

#[tokio::test]
async fn reading_is_a_clients_span_without_a_type() {
    let recorder = Recorder::new();
    let (_context, store) = store(&recorder).await;
    let revision = store.put("a", "1".into()).await.unwrap();
    store.put("a", "2".into()).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(store.get("b").await.unwrap(), None);
    assert_eq!(store.entry("a").await.unwrap().unwrap().value, "2");
    assert_eq!(store.entry_for_revision("a", revision).await.unwrap().unwrap().value, "1");
    let history: Vec<_> = store.history("a").await.unwrap().try_collect().await.unwrap();
    assert_eq!(history.iter().map(|entry| entry.revision).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(store.keys().await.unwrap().try_collect::<Vec<_>>().await.unwrap(), ["a"]);
    assert_eq!(store.status().await.unwrap().bucket, store.inner().name);
    let expected = ["put", "put", "get", "get", "entry", "entry_for_revision", "history", "keys"]
        .map(|name| format!("{name} $KV.b"));
    assert_eq!(names(&recorder, &store), expected);
    for span in recorder.spans().iter().skip(2) {
        assert_eq!((&span.span_kind, attribute(span, "messaging.operation.type")), (&SpanKind::Client, None));
        assert_eq!(error_type(span), None);
    }
    assert_eq!(recorder.metric("messaging.client.sent.messages").sum(), 2.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn failures_are_those_of_async_nats() {
    let recorder = Recorder::new();
    let (_context, store) = store(&recorder).await;
    let invalid = "two words";
    assert_eq!(store.put(invalid, "".into()).await.unwrap_err().kind(), PutErrorKind::InvalidKey);
    assert_eq!(store.create(invalid, "".into()).await.unwrap_err().kind(), CreateErrorKind::InvalidKey);
    assert_eq!(store.delete(".a").await.unwrap_err().kind(), UpdateErrorKind::InvalidKey);
    store.get("").await.unwrap_err();
    store.create("a", "1".into()).await.unwrap();
    assert_eq!(store.create("a", "2".into()).await.unwrap_err().kind(), CreateErrorKind::AlreadyExists);
    let wrong = store.update("a", "2".into(), 9).await.unwrap_err();
    assert_eq!(wrong.kind(), UpdateErrorKind::WrongLastRevision);
    let late = store.create_with_ttl("b", "2".into(), Duration::from_secs(9)).await.unwrap_err();
    let bare = store.inner().create_with_ttl("b", "2".into(), Duration::from_secs(9)).await.unwrap_err();
    assert_eq!(late.kind(), bare.kind(), "the bucket permits no time to live");
    let late = store.purge_with_ttl("a", Duration::from_secs(9)).await.unwrap_err();
    let bare = store.inner().purge_with_ttl("a", Duration::from_secs(9)).await.unwrap_err();
    assert_eq!(late.kind(), bare.kind());
    let too_large =
        "p".repeat(store.inner().stream.cached_info().config.max_message_size.max(2 << 20) as usize);
    let large = store.put("a", too_large.clone().into()).await.unwrap_err();
    assert_eq!(large.kind(), store.inner().put("a", too_large.into()).await.unwrap_err().kind());
    let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    let expected = [
        "InvalidKey",
        "InvalidKey",
        "InvalidKey",
        "InvalidKey",
        "AlreadyExists",
        "WrongLastRevision",
        "Other",
        "Other",
        "Publish",
    ];
    assert_eq!(errors, expected);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_deleted_key_is_created_again_without_a_time_to_live_as_by_async_nats() {
    let recorder = Recorder::new();
    // The bucket permits no time to live.
    let (_context, store) = store(&recorder).await;
    for key in ["bare", "traced"] {
        store.put(key, "1".into()).await.unwrap();
        store.delete(key).await.unwrap();
    }
    let ttl = Duration::from_secs(9);
    let bare = store.inner().create_with_ttl("bare", "2".into(), ttl).await.unwrap();
    let traced = store.create_with_ttl("traced", "2".into(), ttl).await.unwrap();
    let [bare, traced] = [written(&store, bare).await, written(&store, traced).await];
    let names = |list: &[(String, String)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&bare), ["Nats-Expected-Last-Subject-Sequence"]);
    assert_eq!(names(&traced), ["Nats-Expected-Last-Subject-Sequence", "traceparent"]);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_context_makes_no_value_too_large_for_its_bucket() {
    let recorder = Recorder::new();
    let context = jetstream::new(client(&recorder).await);
    let config = Config {
        bucket: unique("small"),
        max_value_size: 100,
        storage: StorageType::Memory,
        ..Config::default()
    };
    let store = context.create_key_value(config).await.unwrap();
    // The frame of 12 bytes, and 70 for the line of `traceparent`.
    for (size, carries) in [(18, true), (19, false), (100, false)] {
        let revision = store.put("a", "p".repeat(size).into()).await.unwrap();
        let list = written(&store, revision).await;
        assert_eq!(text(&list, "traceparent").is_some(), carries, "{size}: {list:?}");
    }
    assert_eq!(recorder.metric("messaging.nats.context.left_out").sum(), 2.0);
    let large = store.put("a", "p".repeat(101).into()).await.unwrap_err();
    let bare = store.inner().put("a", "p".repeat(101).into()).await.unwrap_err();
    assert_eq!(large.to_string(), bare.to_string());
    assert_eq!(recorder.metric("messaging.nats.context.left_out").sum(), 2.0);
    recorder.assert_clean();
}

/// Returns the headers with which a revision was written.
async fn written(store: &Store, revision: u64) -> Vec<(String, String)> {
    let message = store.inner().stream.get_raw_message(revision).await.unwrap();
    listed(Some(&message.headers))
}

#[tokio::test]
async fn a_bucket_that_is_left_out_passes_the_context_on() {
    let recorder = Recorder::new();
    let options = options(&recorder).with_filter(|name| !name.starts_with("$KV."));
    let context = jetstream::new(client_with(options).await);
    let store = create(&context).await;
    let mut watch = store.watch_all().await.unwrap();
    let current = crate::support::remote(7, true);
    let put = opentelemetry::trace::FutureExt::with_context(store.put("a", "1".into()), current);
    put.await.unwrap();
    let entry = update(&mut watch).await;
    let inside = entry.processing();
    let carried = opentelemetry::trace::TraceContextExt::span(inside.context()).span_context().span_id();
    assert_eq!(carried, opentelemetry::SpanId::from(7));
    drop(inside);
    assert_eq!(recorder.spans().len(), 0);
}
