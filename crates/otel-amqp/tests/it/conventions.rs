//! All that is recorded with every option on is in the registry of the conventions, or listed in docs/conventions.md.

use std::io::Write as _;
use std::net::TcpStream;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicNackOptions, BasicPublishOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ConnectionProperties, Event};
use otel_amqp::{Channel, Connection};
use otel_testing::Recorder;
use otel_testing::registry::assert_conventions;

use crate::support::{
    confirming, connection_frame, consume, declare, headers, options, queue, received, relay, send, unique,
};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

async fn messages(recorder: &Recorder) {
    let options = options(recorder)
        .with_receive_spans(true)
        .with_message_age(true)
        .with_message_sizes(true)
        .with_client_id("till-3")
        .with_server("broker.example", 5672);
    let (url, stream) = relay();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let connection = connection.with_options(options);
    let channel = connection.create_channel().await.unwrap();
    confirming(&channel).await;
    let (dead, jobs) = (queue(&channel, "dead").await, unique("jobs"));
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(dead.as_str().into()));
    declare(&channel, &jobs, arguments).await;
    let mut consumer = consume(&channel, &jobs).await;
    let too_large_with_context = headers(&[("x", &"v".repeat(131_072 - 32 - 4096 - 20))]);
    let properties = BasicProperties::default()
        .with_message_id("m-1".into())
        .with_correlation_id("c-1".into())
        .with_timestamp(1_700_000_000);
    send(&channel, &jobs, properties).await;
    send(&channel, &unique("amq.rabbitmq.reply-to."), BasicProperties::default()).await;
    send(&channel, &unique("nowhere"), BasicProperties::default().with_headers(too_large_with_context)).await;
    let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (nowhere, none) = (unique("nowhere"), BasicProperties::default());
    let sent = channel.basic_publish("".into(), nowhere.as_str().into(), mandatory, b"p", none);
    sent.await.unwrap().await.unwrap();
    let first = received(&mut consumer).await;
    first.nack(BasicNackOptions { requeue: true, multiple: true }).await.unwrap();
    let again = received(&mut consumer).await;
    again.process(async |_| ()).await;
    connection.processing_batch(&[again]).run(async {}).await;
    channel.basic_reject(2, BasicRejectOptions { requeue: false }).await.unwrap();
    let letter = received(&mut consume(&channel, &dead).await).await;
    letter.process(async |_| Err::<(), _>("late")).await.unwrap_err();
    blocked(&connection, &channel, &stream.recv().unwrap()).await;
}

/// Publishes while the connection is blocked. The broker of all tests must not be: the methods are sent by the relay.
async fn blocked(connection: &Connection, channel: &Channel, mut broker: &TcpStream) {
    let mut events = connection.events_listener();
    let (options, none, nowhere) = (Default::default(), BasicProperties::default(), unique("nowhere"));
    let mut publish = Box::pin(channel.basic_publish("".into(), nowhere.into(), options, b"p", none));
    broker.write_all(&connection_frame(60, b"\x0amemory low")).unwrap();
    assert!(matches!(events.next().await, Some(Event::ConnectionBlocked(_))));
    assert!((&mut publish).now_or_never().is_none());
    broker.write_all(&connection_frame(61, b"")).unwrap();
    publish.await.unwrap().await.unwrap();
}

#[tokio::test]
async fn names_units_instruments_and_descriptions_are_the_registrys() {
    let recorder = Recorder::new();
    messages(&recorder).await;
    recorder.wait_until_finished().await;
    let names = [
        "error.type",
        "messaging.batch.message_count",
        "messaging.client.id",
        "messaging.destination.template",
        "messaging.destination.temporary",
        "messaging.message.body.size",
        "messaging.message.conversation_id",
        "messaging.message.id",
        "messaging.rabbitmq.destination.routing_key",
        "messaging.rabbitmq.message.delivery_tag",
        "server.port",
    ];
    assert_conventions(&recorder, DOCUMENT, "otel-amqp", &names);
}
