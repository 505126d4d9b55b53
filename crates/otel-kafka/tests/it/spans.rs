//! Names, kinds and attributes of spans.

use opentelemetry::trace::{FutureExt as _, SpanKind};
use opentelemetry_sdk::trace::SpanData;
use otel_kafka::FutureProducer;
use otel_testing::Recorder;
use rdkafka::producer::FutureRecord;

use crate::support::{
    LONG, attribute, client, cluster, config, options, remote, sent, text, traceparent_of, value,
};

#[tokio::test]
async fn a_send_ends_with_the_brokers_word() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder).with_message_sizes(true));
    let record = FutureRecord::to("orders").key("k-1").payload("one book");
    let delivery = producer.send(record, LONG).with_context(remote(7, true)).await.unwrap();
    assert_eq!((delivery.partition, delivery.offset), (0, 0));

    let span = recorder.span("send orders");
    assert_eq!(span.span_kind, SpanKind::Producer);
    assert_eq!(text(&sent(&cluster), "traceparent"), Some(&*traceparent_of(&span)));
    let expected = r#"PRODUCER send orders  ⇠ remote 0000…0007/0000…0007
    messaging.destination.name: orders
    messaging.destination.partition.id: "0"
    messaging.kafka.message.key: k-1
    messaging.kafka.offset: 0
    messaging.message.body.size: 8
    messaging.operation.name: send
    messaging.operation.type: send
    messaging.system: kafka
"#;
    assert_eq!(recorder.tree(), expected);
    recorder.assert_clean();
}

#[tokio::test]
async fn what_is_not_known_is_not_told() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    let key = [0xff, 0xfe];
    producer.send(FutureRecord::<[u8], str>::to("orders").key(&key), LONG).await.unwrap();
    producer.send(FutureRecord::to("orders").key("").payload(""), LONG).await.unwrap();
    let [tombstone, empty] = &recorder.spans()[..] else { panic!("{}", recorder.tree()) };
    assert_eq!(value(tombstone, "messaging.kafka.message.tombstone"), Some(&true.into()));
    assert_eq!(value(empty, "messaging.kafka.message.tombstone"), None);
    for span in [tombstone, empty] {
        assert_eq!(value(span, "messaging.kafka.message.key"), None);
        assert_eq!(value(span, "messaging.message.body.size"), None);
    }
}

#[tokio::test]
async fn a_client_is_told_by_its_configuration() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let mut config = config(&cluster);
    let servers = cluster.bootstrap_servers();
    config.set("client.id", "till-3").set("bootstrap.servers", &servers);
    let record = || FutureRecord::<str, _>::to("orders").payload("");
    let producer: FutureProducer = config.create().unwrap();
    let producer = producer.with_options(options(&recorder));
    producer.send(record(), LONG).await.unwrap();
    let producer = producer.with_options(options(&recorder).with_client_id("mine").with_server("there", 1));
    producer.send(record(), LONG).await.unwrap();
    let [by_configuration, by_options] = &recorder.spans()[..] else { panic!("{}", recorder.tree()) };
    let told = |span| {
        ["messaging.client.id", "server.address", "server.port"].map(|key| attribute(span, key).unwrap())
    };
    let (host, port) = servers.split_once(':').unwrap();
    assert_eq!(told(by_configuration), ["till-3", host, port]);
    assert_eq!(told(by_options), ["mine", "there", "1"]);
}

#[tokio::test]
async fn the_first_512_topics_have_names_and_metrics_of_their_own() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    let topics: Vec<_> = (0..514).map(|number| format!("topic-{number}")).collect();
    let sent = topics.iter().map(|topic| {
        cluster.create_topic(topic, 1, 1).unwrap();
        let record = FutureRecord::to(topic).key("k").payload("p").partition(0);
        producer.send_result(record).map_err(|(error, _)| error).unwrap()
    });
    let sent: Vec<_> = sent.collect();
    for delivery in futures_util::future::join_all(sent).await {
        delivery.unwrap().map_err(|(error, _)| error).unwrap();
    }
    let spans = recorder.spans();
    for (number, topic) in topics.iter().enumerate() {
        let name = if number < 512 { format!("send {topic}") } else { "send".to_owned() };
        let has_topic =
            |span: &SpanData| attribute(span, "messaging.destination.name").as_ref() == Some(topic);
        let of_topic: Vec<_> = spans.iter().filter(|span| has_topic(span)).map(|span| &*span.name).collect();
        assert_eq!(of_topic, [name]);
    }
    let messages = recorder.metric("messaging.client.sent.messages");
    assert_eq!((messages.points().len(), messages.sum()), (513, 514.0));
    recorder.assert_clean();
}
