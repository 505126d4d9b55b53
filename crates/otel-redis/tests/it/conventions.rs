//! All that is recorded with every option on is in the registry of the conventions, or listed in docs/conventions.md.

use otel_testing::Recorder;
use otel_testing::registry::assert_conventions;
use redis::AsyncCommands as _;

use crate::streams::support::Fixture;
use crate::support::{bare, options, unique};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

async fn commands(recorder: &Recorder) {
    let options = options(recorder).with_server("cache.example", Some(7000)).with_namespace("3");
    let connection = otel_redis::Connection::new(bare().await).with_options(options);
    let mut connection = connection.with_key_template(|_, _| Some("key".to_owned()));
    let key = unique("key");
    let () = connection.set(&key, 1).await.unwrap();
    connection.lpush(&key, 1).await.map(|_: usize| ()).unwrap_err();
    redis::cmd("FCALL").arg("absent").arg(0).exec_async(&mut connection).await.unwrap_err();
    redis::cmd("WATCH").arg(&key).exec_async(&mut connection).await.unwrap();
    let () = bare().await.set(&key, 2).await.unwrap();
    let mut transaction = redis::pipe();
    let aborted: Option<(u32, u32)> =
        transaction.atomic().get(&key).get(&key).query_async(&mut connection).await.unwrap();
    assert_eq!(aborted, None);
}

async fn messages(recorder: &Recorder) {
    let options = crate::streams::support::options(recorder)
        .with_receive_spans(true)
        .with_message_age(true)
        .with_message_sizes(true)
        .with_server("cache.example", 7000)
        .with_destination_template(|_| Some("orders.*".to_owned()));
    let mut fixture = Fixture::with(options).await;
    fixture.producer.xadd(&fixture.key, "*", &[("book", "7")]).await.unwrap();
    fixture.read().await;
    let pending = redis::streams::StreamReadOptions::default();
    for message in fixture.consumer.xreadgroup(&[&fixture.key], &["0"], pending).await.unwrap() {
        message.process(async |_| Err::<(), _>("refused")).await.unwrap_err();
        message.xack().await.unwrap();
    }
}

#[tokio::test]
async fn names_units_instruments_and_descriptions_are_the_registrys() {
    let recorder = Recorder::new();
    commands(&recorder).await;
    messages(&recorder).await;
    recorder.wait_until_finished().await;
    let names = [
        "db.collection.name",
        "db.namespace",
        "db.operation.batch.size",
        "db.operation.name",
        "db.query.text",
        "db.response.status_code",
        "db.stored_procedure.name",
        "db.system.name",
        "error.type",
        "messaging.batch.message_count",
        "messaging.client.id",
        "messaging.consumer.group.name",
        "messaging.destination.name",
        "messaging.destination.template",
        "messaging.message.body.size",
        "messaging.message.id",
        "server.port",
    ];
    assert_conventions(&recorder, DOCUMENT, "otel-redis", &names);
}
