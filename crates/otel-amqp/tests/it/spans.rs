//! Names, kinds, attributes and relations of the spans.

use lapin::options::{BasicGetOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ConnectionProperties, ExchangeKind};
use otel_amqp::{ClientInstrumentation, Connection};
use otel_testing::Recorder;

use crate::support::{
    attribute, channel, channel_with, confirming, connect, consume, headers, options, queue, received, send,
    text, unique, url,
};

#[tokio::test]
async fn a_message_from_end_to_end() {
    let recorder = Recorder::new();
    let channel = channel_with(options(&recorder).with_message_sizes(true).with_receive_spans(true)).await;
    confirming(&channel).await;
    let (queue, exchange) = (queue(&channel, "bills").await, unique("orders"));
    let declare = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
    let arguments = FieldTable::default();
    channel
        .exchange_declare(exchange.as_str().into(), ExchangeKind::Topic, declare, arguments.clone())
        .await
        .unwrap();
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(queue.as_str().into(), exchange.as_str().into(), "created.*".into(), bind, arguments)
        .await
        .unwrap();
    let mut consumer = consume(&channel, &queue).await;
    let properties =
        BasicProperties::default().with_message_id("m-1".into()).with_correlation_id("c-1".into());
    let (to, options) = (exchange.as_str().into(), BasicPublishOptions::default());
    let sent = channel.basic_publish(to, "created.eu".into(), options, b"one book", properties);
    sent.await.unwrap().await.unwrap();
    let delivery = received(&mut consumer).await;
    delivery.process(async |_| Err::<(), _>("late".to_owned())).await.unwrap_err();
    let expected = "\
PRODUCER publish orders:created.eu  #1
│   messaging.destination.name: orders:created.eu
│   messaging.message.body.size: 8
│   messaging.message.conversation_id: c-1
│   messaging.message.id: m-1
│   messaging.operation.name: publish
│   messaging.operation.type: send
│   messaging.rabbitmq.destination.routing_key: created.eu
│   messaging.rabbitmq.message.confirmation: ack
│   messaging.system: rabbitmq
└── CONSUMER process bills  error  ⇠ remote
        error.type: alloc::string::String
        messaging.destination.name: orders:created.eu:bills
        messaging.destination.template: bills
        messaging.message.body.size: 8
        messaging.message.conversation_id: c-1
        messaging.message.id: m-1
        messaging.operation.name: process
        messaging.operation.type: process
        messaging.rabbitmq.destination.routing_key: created.eu
        messaging.rabbitmq.message.delivery_tag: 1
        messaging.system: rabbitmq
        link → #1
CLIENT consume bills
    messaging.destination.name: orders:created.eu:bills
    messaging.destination.template: bills
    messaging.message.body.size: 8
    messaging.message.conversation_id: c-1
    messaging.message.id: m-1
    messaging.operation.name: consume
    messaging.operation.type: receive
    messaging.rabbitmq.destination.routing_key: created.eu
    messaging.rabbitmq.message.delivery_tag: 1
    messaging.system: rabbitmq
    link → #1
";
    assert_eq!(recorder.tree().replace(&exchange, "orders").replace(&queue, "bills"), expected);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_request_and_its_reply_are_one_trace_and_the_token_names_no_span() {
    let recorder = Recorder::new();
    let (asking, answering) = (channel(&recorder).await, channel(&recorder).await);
    let queue = queue(&answering, "prices").await;
    let direct = "amq.rabbitmq.reply-to";
    let no_ack = lapin::options::BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut replies =
        asking.basic_consume(direct.into(), "".into(), no_ack, FieldTable::default()).await.unwrap();
    let mut requests = consume(&answering, &queue).await;
    send(&asking, &queue, BasicProperties::default().with_reply_to(direct.into())).await;
    let request = received(&mut requests).await;
    let to = request.properties.reply_to().clone().unwrap();
    request.process(async |_| send(&answering, to.as_str(), BasicProperties::default()).await).await;
    let reply = received(&mut replies).await;
    reply.process(async |reply| assert_eq!(reply.data, b"one book")).await;
    recorder.wait_for_spans(4).await;
    let names: Vec<_> = recorder.spans().iter().map(|span| span.name.replace(&queue, "prices")).collect();
    let expected = [
        "publish prices",
        "publish amq.rabbitmq.reply-to",
        "process prices",
        "process amq.rabbitmq.reply-to",
    ];
    assert_eq!(names, expected);
    let trace = recorder.spans()[0].span_context.trace_id();
    assert!(recorder.spans().iter().all(|span| span.span_context.trace_id() == trace), "{}", recorder.tree());
    let answer = &recorder.spans()[1];
    assert_eq!(attribute(answer, "messaging.destination.name").as_deref(), Some(to.as_str()));
    assert_eq!(attribute(answer, "messaging.destination.temporary").as_deref(), Some("true"));
    assert!(!recorder.metrics().contains(to.as_str()), "{}", recorder.metrics());
    recorder.assert_clean();
}

#[tokio::test]
async fn a_queue_that_the_broker_names_is_anonymous() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    let exclusive = lapin::options::QueueDeclareOptions { exclusive: true, ..Default::default() };
    let declared = channel.queue_declare("".into(), exclusive, FieldTable::default()).await.unwrap();
    let name = declared.name().as_str();
    send(&channel, name, BasicProperties::default()).await;
    let got = channel.basic_get(name.into(), BasicGetOptions::default()).await.unwrap().unwrap();
    assert_eq!(got.message_count, 0);
    got.process(async |_| ()).await;
    for span in recorder.spans() {
        assert!(span.name.ends_with(" amq.gen"), "{}", span.name);
        assert_eq!(attribute(&span, "messaging.destination.name").as_deref(), Some(name));
        for key in ["messaging.destination.anonymous", "messaging.destination.temporary"] {
            assert_eq!(attribute(&span, key).as_deref(), Some("true"), "{key}");
        }
    }
    assert_eq!(recorder.spans().len(), 2);
}

#[tokio::test]
async fn the_address_is_the_one_to_which_the_user_connects() {
    let recorder = Recorder::new();
    let connection = Connection::connect(&url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.with_options(options(&recorder)).create_channel().await.unwrap();
    send(&channel, &unique("nowhere"), BasicProperties::default()).await;
    let span = recorder.spans().remove(0);
    let address = ["server.address", "server.port"].map(|key| attribute(&span, key).unwrap()).join(":");
    assert!(url().ends_with(&format!("@{address}")), "{address}");
}

#[tokio::test]
async fn a_channel_that_was_opened_elsewhere_records() {
    let recorder = Recorder::new();
    let pooled = connect().await;
    let telemetry = ClientInstrumentation::new(options(&recorder).with_server("broker.example", 5672));
    let opened = pooled.create_channel().await.unwrap();
    let channel = telemetry.channel(&pooled, opened.clone());
    confirming(&channel).await;
    let queue = queue(&opened, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;
    // The limit of the frame is known from the connection.
    let too_large_with_context = headers(&[("x", &"v".repeat(131_072 - 32 - 4096 - 20))]);
    send(&channel, &queue, BasicProperties::default().with_headers(too_large_with_context)).await;
    let first = received(&mut consumer).await;
    assert_eq!(text(&first.properties, "traceparent"), None);
    send(&channel, &queue, BasicProperties::default()).await;
    let batch = [first, received(&mut consumer).await];
    channel.processing_batch(&batch).run(async {}).await;
    let names: Vec<_> = recorder.spans().iter().map(|span| span.name.replace(&queue, "jobs")).collect();
    assert_eq!(names, ["publish jobs", "publish jobs", "process jobs"]);
    for span in recorder.spans() {
        assert_eq!(attribute(&span, "server.address").as_deref(), Some("broker.example"));
    }
    recorder.assert_clean();
}
