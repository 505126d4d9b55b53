//! All that is recorded with every option on is in the registry of the conventions, or listed in docs/conventions.md.

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use otel_operation::Outcome;
use otel_testing::Recorder;
use otel_testing::registry::assert_conventions;

use crate::jetstream::{Fixture, message};
use crate::support::{client_with, options, received, synchronize, unique};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

async fn messages(recorder: &Recorder) {
    let subject = unique("orders");
    let options = options(recorder)
        .with_receive_spans(true)
        .with_message_age(true)
        .with_message_sizes(true)
        .with_client_id("till-3")
        .with_server("broker.example", 4222);
    let client = client_with(options).await;
    let mut subscriber = client.queue_subscribe(format!("{subject}.*"), "till".to_owned()).await.unwrap();
    synchronize(client.inner()).await;
    let mut own = HeaderMap::new();
    own.insert(NATS_MESSAGE_ID, "m-1");
    for _ in 0..3 {
        client.publish_with_headers(format!("{subject}.a"), own.clone(), "p".into()).await.unwrap();
    }
    let too_large_with_context = "p".repeat(client.max_payload());
    client.publish(unique("nobody"), too_large_with_context.into()).await.unwrap();
    client.publish("two words", "p".into()).await.unwrap_err();
    client.request(client.new_inbox(), "p".into()).await.unwrap_err();
    received(&mut subscriber).await.process(async |_| Err::<(), _>("refused".to_owned())).await.unwrap_err();
    let batch = [received(&mut subscriber).await, received(&mut subscriber).await];
    client.processing_batch(&batch).finish(&Outcome::ok());
}

async fn stored(recorder: &Recorder) {
    let mut fixture = Fixture::new(recorder).await;
    for _ in 0..2 {
        let publish = async_nats::jetstream::message::PublishMessage::build().message_id("m-1");
        fixture.context.send_publish(fixture.subject.clone(), publish).await.unwrap().await.unwrap();
    }
    let message = message(&mut fixture.messages).await;
    message.process(async |_| ()).await;
    message.double_ack().await.unwrap();
    let config = async_nats::jetstream::object_store::Config {
        bucket: unique("reports"),
        ..async_nats::jetstream::object_store::Config::default()
    };
    let store = fixture.context.create_object_store(config).await.unwrap();
    store.put("march", &mut &b"data"[..]).await.unwrap();
    let tree = recorder.tree();
    for name in
        ["stream.name", "stream.sequence", "message.delivery_count", "message.duplicate", "object.name"]
    {
        assert!(tree.contains(&format!("messaging.nats.{name}")), "{name} is not recorded:\n{tree}");
    }
}

#[tokio::test]
async fn names_units_instruments_and_descriptions_are_the_registrys() {
    let recorder = Recorder::new();
    messages(&recorder).await;
    stored(&recorder).await;
    recorder.wait_until_finished().await;
    let names = [
        "error.type",
        "messaging.batch.message_count",
        "messaging.client.id",
        "messaging.consumer.group.name",
        "messaging.destination.template",
        "messaging.destination.temporary",
        "messaging.message.body.size",
        "messaging.message.id",
        "server.port",
    ];
    assert_conventions(&recorder, DOCUMENT, "otel-nats", &names);
}
