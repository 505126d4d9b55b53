//! Object stores: the spans of their operations, and updates that link to the put that caused them.

use async_nats::jetstream::object_store::{Config, InfoErrorKind, ObjectMetadata, UpdateMetadata};
use async_nats::jetstream::stream::StorageType;
use futures_util::{StreamExt as _, TryStreamExt as _};
use otel_nats::jetstream;
use otel_nats::jetstream::object_store::{ObjectStore, ObjectUpdate, Watch};
use otel_testing::Recorder;
use tokio::io::AsyncReadExt as _;

use crate::support::{LONG, attribute, client, error_type, headers, listed, text, traceparent, unique};

async fn store(recorder: &Recorder) -> (ObjectStore, String) {
    let context = jetstream::new(client(recorder).await);
    let bucket = unique("reports");
    let config = Config { bucket: bucket.clone(), storage: StorageType::Memory, ..Config::default() };
    context.create_object_store(config).await.unwrap();
    (context.get_object_store(&bucket).await.unwrap(), bucket)
}

async fn update(watch: &mut Watch) -> ObjectUpdate {
    tokio::time::timeout(LONG, watch.next()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn an_update_is_processed_in_the_trace_of_its_put_and_links_to_it() {
    let recorder = Recorder::new();
    let (store, bucket) = store(&recorder).await;
    let mut watch = store.watch().await.unwrap();
    let info = store.put("march", &mut &b"data"[..]).await.unwrap();
    let entry = update(&mut watch).await;
    assert_eq!((&entry.name, entry.size, &entry.nuid), (&info.name, 4, &info.nuid));
    entry.process(async |_| ()).await;
    let expected = "\
CLIENT watch $O.reports
    messaging.destination.template: $O.reports
    messaging.operation.name: watch
    messaging.system: nats
CLIENT put $O.reports  #1
│   messaging.destination.template: $O.reports
│   messaging.nats.object.name: march
│   messaging.operation.name: put
│   messaging.operation.type: send
│   messaging.system: nats
└── CONSUMER process $O.reports  ⇠ remote
        messaging.destination.template: $O.reports
        messaging.nats.object.name: march
        messaging.operation.name: process
        messaging.operation.type: process
        messaging.system: nats
        link → #1
";
    assert_eq!(recorder.tree().replace(&bucket, "reports"), expected);
    recorder.assert_clean();
}

#[tokio::test]
async fn an_object_that_a_watch_finds_links_to_its_put() {
    let recorder = Recorder::new();
    let (store, bucket) = store(&recorder).await;
    store.put("march", &mut &b"data"[..]).await.unwrap();
    let mut watch = store.watch_with_history().await.unwrap();
    update(&mut watch).await.process(async |_| ()).await;
    let put = recorder.span(&format!("put $O.{bucket}"));
    let process = recorder.span(&format!("process $O.{bucket}"));
    assert_ne!(process.span_context.trace_id(), put.span_context.trace_id());
    assert_eq!(process.links[0].span_context.span_id(), put.span_context.span_id());
}

#[tokio::test]
async fn a_copied_object_has_the_context_of_its_last_put_and_its_own_headers() {
    let recorder = Recorder::new();
    let (store, bucket) = store(&recorder).await;
    let own = headers(&[("X-Own", "1"), ("traceparent", &traceparent(7))]);
    let meta = ObjectMetadata { name: "march".to_owned(), headers: Some(own), ..ObjectMetadata::default() };
    let info = store.put(meta, &mut &b"data"[..]).await.unwrap();
    let put = recorder.span(&format!("put $O.{bucket}"));
    let list = listed(info.headers.as_ref());
    assert_eq!((list.len(), text(&list, "X-Own")), (2, Some("1")));
    assert!(text(&list, "traceparent").unwrap().contains(&put.span_context.span_id().to_string()));
    assert_eq!(put.links[0].span_context.span_id(), opentelemetry::SpanId::from(7));
}

#[tokio::test]
async fn metadata_that_are_too_large_with_the_context_are_put_without() {
    let recorder = Recorder::new();
    let (store, _) = store(&recorder).await;
    let name = "march".to_owned();
    let description = Some("d".repeat((1 << 20) - 600));
    let meta = ObjectMetadata { name, description, ..ObjectMetadata::default() };
    let info = store.put(meta, &mut &b"data"[..]).await.unwrap();
    assert_eq!(info.headers, None);
    assert_eq!(recorder.metric("messaging.nats.context.left_out").sum(), 1.0);
}

#[tokio::test]
async fn each_operation_is_a_clients_span() {
    let recorder = Recorder::new();
    let (mut store, bucket) = store(&recorder).await;
    let info = store.put("march", &mut &b"data"[..]).await.unwrap();
    let mut data = String::new();
    store.get("march").await.unwrap().read_to_string(&mut data).await.unwrap();
    assert_eq!(data, "data");
    assert_eq!(store.info("march").await.unwrap().nuid, info.nuid);
    assert_eq!(store.list().await.unwrap().try_collect::<Vec<_>>().await.unwrap().len(), 1);
    store.add_link("april", &info).await.unwrap();
    store.add_bucket_link("all", "other").await.unwrap();
    let renamed = UpdateMetadata { name: "may".to_owned(), ..UpdateMetadata::default() };
    store.update_metadata("march", renamed).await.unwrap();
    store.delete("may").await.unwrap();
    store.seal().await.unwrap();
    assert_eq!(store.info("march").await.unwrap_err().kind(), InfoErrorKind::NotFound);
    let spans = recorder.spans();
    let names: Vec<_> = spans.iter().map(|span| span.name.replace(&bucket, "b")).collect();
    let expected = [
        "put",
        "get",
        "info",
        "list",
        "add_link",
        "add_bucket_link",
        "update_metadata",
        "delete",
        "seal",
        "info",
    ];
    assert_eq!(names, expected.map(|name| format!("{name} $O.b")));
    assert_eq!(attribute(&spans[4], "messaging.nats.object.name").as_deref(), Some("april"));
    let errors: Vec<_> = spans.iter().filter_map(error_type).collect();
    assert_eq!(errors, ["NotFound"]);
    recorder.assert_clean();
}
