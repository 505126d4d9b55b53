//! A message through Kafka, NATS and RabbitMQ, on real servers, is one trace: each client writes the context of its broker,
//! and the next one continues what the one before has written.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ConnectionProperties};
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::FutureExt as _;
use opentelemetry::{Context, KeyValue};
use otel_amqp::Options;
use otel_kafka::{FutureProducer, StreamConsumer};
use otel_propagation::CompositePropagator;
use otel_testing::{Recorder, service};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::Message as _;
use rdkafka::producer::FutureRecord;
use tokio::time::timeout;

const START: &str = "start the servers: `cargo xtask services up kafka nats rabbitmq`";

/// A timeout that is sufficient on a busy machine.
const LONG: Duration = Duration::from_secs(90);

/// The options of all clients. Their servers, whose ports differ from run to run, have names here.
fn options(recorder: &Recorder, server: &str) -> Options {
    Options::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_propagator(CompositePropagator::default())
        .with_server(server, 1)
}

/// Connects to Kafka, and creates a topic.
async fn kafka(recorder: &Recorder, topic: &str) -> (FutureProducer, StreamConsumer) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", service::setting("KAFKA_BROKERS", START));
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
    let created = admin.create_topics([&new], &AdminOptions::new().request_timeout(Some(LONG))).await;
    created.unwrap_or_else(|error| panic!("{error}: {START}")).remove(0).unwrap();
    let producer: FutureProducer = config.create().unwrap();
    config.set("group.id", topic).set("auto.offset.reset", "earliest");
    let consumer: StreamConsumer = config.create().unwrap();
    let options = options(recorder, "kafka.example");
    (producer.with_options(options.clone()), consumer.with_options(options))
}

async fn nats(recorder: &Recorder) -> otel_nats::Client {
    let connected = async_nats::connect(service::setting("NATS_URL", START)).await;
    let client = connected.unwrap_or_else(|error| panic!("{error}: {START}"));
    otel_nats::Client::from(client).with_options(options(recorder, "nats.example"))
}

/// Opens a channel with publisher confirms, and a queue that ends with it.
async fn rabbitmq(recorder: &Recorder, queue: &str) -> otel_amqp::Channel {
    let url = service::setting("RABBITMQ_URL", START);
    let connected = otel_amqp::Connection::connect(&url, ConnectionProperties::default()).await;
    let connection = connected.unwrap_or_else(|error| panic!("{error}: {START}"));
    let connection = connection.with_options(options(recorder, "rabbitmq.example"));
    let channel = connection.create_channel().await.unwrap();
    let declare = QueueDeclareOptions { exclusive: true, ..Default::default() };
    channel.queue_declare(queue.into(), declare, FieldTable::default()).await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

#[tokio::test]
async fn a_message_through_three_brokers_is_one_trace() {
    let recorder = Recorder::builder().with_patience(LONG).build();
    let run = format!("-{}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
    let [orders, prices, bills] = ["orders", "prices", "bills"].map(|name| format!("{name}{run}"));
    let (producer, consumer) = kafka(&recorder, &orders).await;
    let nats = nats(&recorder).await;
    let channel = rabbitmq(&recorder, &bills).await;
    consumer.subscribe(&[&orders]).unwrap();
    let mut subscriber = nats.subscribe(prices.clone()).await.unwrap();
    nats.flush().await.unwrap();
    let (own, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut deliveries =
        channel.basic_consume(bills.as_str().into(), "".into(), own, arguments).await.unwrap();

    let caller = Context::new().with_baggage([KeyValue::new("tenant", "acme")]);
    let record = FutureRecord::to(&orders).key("k-1").payload("one book");
    producer.send(record, LONG).with_context(caller).await.unwrap();
    let order = timeout(LONG, consumer.recv()).await.unwrap().unwrap();
    order
        .process(async |order| {
            nats.publish(prices.clone(), order.payload().unwrap().to_vec().into()).await.unwrap();
        })
        .await;
    let price = timeout(LONG, subscriber.next()).await.unwrap().unwrap();
    price
        .process(async |price| {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            let key = bills.as_str().into();
            let sent = channel.basic_publish("".into(), key, options, &price.payload, properties).await;
            sent.unwrap().await.unwrap();
        })
        .await;
    let bill = timeout(LONG, deliveries.next()).await.unwrap().unwrap().unwrap();
    bill.process(async |bill| {
        assert_eq!(bill.data, b"one book");
        let tenant = Context::current().baggage().get("tenant").map(ToString::to_string);
        assert_eq!(tenant.as_deref(), Some("acme"));
        assert!(bill.ack(BasicAckOptions::default()).await.unwrap());
    })
    .await;

    let expected = r#"PRODUCER send orders  #1
│   messaging.destination.name: orders
│   messaging.destination.partition.id: "0"
│   messaging.kafka.message.key: k-1
│   messaging.kafka.offset: 0
│   messaging.operation.name: send
│   messaging.operation.type: send
│   messaging.system: kafka
│   server.address: kafka.example
│   server.port: 1
└── CONSUMER process orders  ⇠ remote
    │   messaging.consumer.group.name: orders
    │   messaging.destination.name: orders
    │   messaging.destination.partition.id: "0"
    │   messaging.kafka.message.key: k-1
    │   messaging.kafka.offset: 0
    │   messaging.operation.name: process
    │   messaging.operation.type: process
    │   messaging.system: kafka
    │   server.address: kafka.example
    │   server.port: 1
    │   link → #1
    └── PRODUCER publish prices  #2
        │   messaging.destination.name: prices
        │   messaging.operation.name: publish
        │   messaging.operation.type: send
        │   messaging.system: nats
        │   server.address: nats.example
        │   server.port: 1
        └── CONSUMER process prices  ⇠ remote
            │   messaging.destination.name: prices
            │   messaging.operation.name: process
            │   messaging.operation.type: process
            │   messaging.system: nats
            │   server.address: nats.example
            │   server.port: 1
            │   link → #2
            └── PRODUCER publish bills  #3
                │   messaging.destination.name: bills
                │   messaging.operation.name: publish
                │   messaging.operation.type: send
                │   messaging.rabbitmq.destination.routing_key: bills
                │   messaging.rabbitmq.message.confirmation: ack
                │   messaging.system: rabbitmq
                │   server.address: rabbitmq.example
                │   server.port: 1
                └── CONSUMER process bills  ⇠ remote
                    │   messaging.destination.name: bills
                    │   messaging.destination.template: bills
                    │   messaging.operation.name: process
                    │   messaging.operation.type: process
                    │   messaging.rabbitmq.destination.routing_key: bills
                    │   messaging.rabbitmq.message.delivery_tag: 1
                    │   messaging.system: rabbitmq
                    │   server.address: rabbitmq.example
                    │   server.port: 1
                    │   link → #3
                    └── CLIENT ack bills
                            messaging.destination.template: bills
                            messaging.operation.name: ack
                            messaging.operation.type: settle
                            messaging.rabbitmq.message.delivery_tag: 1
                            messaging.system: rabbitmq
                            server.address: rabbitmq.example
                            server.port: 1
                            link → #3
"#;
    assert_eq!(recorder.tree().replace(&run, ""), expected);
    recorder.assert_clean();
}
