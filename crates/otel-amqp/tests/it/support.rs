//! The broker's address, channels that record into one recorder, and channels without instrumentation.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ConnectionProperties};
use otel_amqp::{Channel, Connection, Consumer, Delivery, Options};
use otel_propagation::{CompositePropagator, HeaderReader as _};
use otel_testing::{Recorder, service};

pub(crate) use otel_testing::service::unique_name as unique;
pub(crate) use otel_testing::spans::{attribute, error_type, remote, traceparent, traceparent_of};

pub(crate) const START: &str = "start the broker: `cargo xtask services up rabbitmq`";

/// A timeout that is sufficient on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn url() -> String {
    service::setting("RABBITMQ_URL", START)
}

pub(crate) fn options(recorder: &Recorder) -> Options {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    Options::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_propagator(CompositePropagator::default())
}

pub(crate) async fn connect() -> lapin::Connection {
    let connected = lapin::Connection::connect(&url(), ConnectionProperties::default()).await;
    connected.unwrap_or_else(|error| panic!("{error}: {START}"))
}

/// Opens a channel without instrumentation, on a connection of its own.
pub(crate) async fn bare() -> lapin::Channel {
    connect().await.create_channel().await.unwrap()
}

/// Opens a channel that records into the recorder. The broker's address, which differs from run to run, is not recorded.
pub(crate) async fn channel(recorder: &Recorder) -> Channel {
    channel_with(options(recorder)).await
}

pub(crate) async fn channel_with(options: Options) -> Channel {
    Connection::from(connect().await).with_options(options).create_channel().await.unwrap()
}

/// Declares a queue under a unique name, which the broker deletes a while after its last use.
pub(crate) async fn queue(channel: &lapin::Channel, name: &str) -> String {
    let name = unique(name);
    declare(channel, &name, FieldTable::default()).await;
    name
}

pub(crate) async fn declare(channel: &lapin::Channel, name: &str, mut arguments: FieldTable) {
    arguments.insert("x-expires".into(), AMQPValue::LongInt(600_000));
    channel.queue_declare(name.into(), QueueDeclareOptions::default(), arguments).await.unwrap();
}

/// Publishes without instrumentation to a queue.
pub(crate) async fn write(channel: &lapin::Channel, queue: &str, headers: FieldTable, payload: &str) {
    let properties = BasicProperties::default().with_headers(headers);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.into(), options, payload.as_bytes(), properties);
    sent.await.unwrap().await.unwrap();
}

/// Publishes to a queue and waits for the confirmation, if confirmations are on.
pub(crate) async fn send(channel: &Channel, queue: &str, properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.into(), options, b"one book", properties);
    sent.await.unwrap().await.unwrap();
}

pub(crate) async fn confirming(channel: &Channel) {
    channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await.unwrap();
}

pub(crate) async fn consume(channel: &Channel, queue: &str) -> Consumer {
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.unwrap()
}

pub(crate) async fn received(consumer: &mut Consumer) -> Delivery {
    tokio::time::timeout(LONG, consumer.next()).await.unwrap().unwrap().unwrap()
}

/// A consumer without instrumentation.
pub(crate) async fn inspect(channel: &lapin::Channel, queue: &str) -> lapin::Consumer {
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.unwrap()
}

/// Receives a message without instrumentation, and acknowledges it.
pub(crate) async fn next(consumer: &mut lapin::Consumer) -> lapin::message::Delivery {
    let delivery = tokio::time::timeout(LONG, consumer.next()).await.unwrap().unwrap().unwrap();
    delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
    delivery
}

/// Returns all headers that the extractor reads, in the order of their names.
pub(crate) fn listed(properties: &BasicProperties) -> Vec<(String, Vec<u8>)> {
    let mut seen = Vec::new();
    otel_amqp::HeaderExtractor::new(properties.headers().as_ref())
        .visit(|name, value| seen.push((name.to_owned(), value.to_vec())));
    seen
}

pub(crate) fn text(properties: &BasicProperties, name: &str) -> Option<String> {
    let list = listed(properties);
    let (_, value) = list.iter().find(|(key, _)| key == name)?;
    Some(String::from_utf8(value.clone()).unwrap())
}

/// Relays one connection to the broker. The stream into it is for methods that a broker sends in outages only.
pub(crate) fn relay() -> (String, Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url();
    let (login, broker) = url.rsplit_once('@').unwrap();
    let (relayed, broker) = (format!("{login}@{}", listener.local_addr().unwrap()), broker.to_owned());
    let (sender, stream) = mpsc::channel();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut broker = TcpStream::connect(broker.split('/').next().unwrap()).unwrap();
        let (mut to_client, mut to_broker) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
        sender.send(client.try_clone().unwrap()).unwrap();
        thread::spawn(move || io::copy(&mut client, &mut to_broker));
        io::copy(&mut broker, &mut to_client)
    });
    (relayed, stream)
}

/// Returns a frame with a method of the class `connection`.
pub(crate) fn connection_frame(method: u8, arguments: &[u8]) -> Vec<u8> {
    let size = u8::try_from(4 + arguments.len()).unwrap();
    [&[1, 0, 0, 0, 0, 0, size, 0, 10, 0, method], arguments, &[0xce]].concat()
}

pub(crate) fn headers(list: &[(&str, &str)]) -> FieldTable {
    let mut headers = FieldTable::default();
    for (name, value) in list {
        headers.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    headers
}
