//! Receiving and processing: the recorded spans, and the context in which a handler runs.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt as _, SpanKind, TraceContextExt as _};
use otel_kafka::{BaseConsumer, HandlerOutcome, ParentMode};
use otel_operation::Outcome;
use otel_testing::Recorder;
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::Headers as _;

use crate::support::{
    attribute, cluster, consumer, consumer_config, error_type, headers, next, options, remote, traceparent,
    value, write,
};

fn context(id: u64) -> Option<rdkafka::message::OwnedHeaders> {
    Some(headers(&[("traceparent", &traceparent(id))]))
}

#[tokio::test]
async fn processing_belongs_to_the_producers_trace() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("one book", context(7))]).await;
    let consumer = consumer(&cluster, options(&recorder));
    let message = consumer.recv().await.unwrap();
    assert_eq!(recorder.spans().len(), 0, "receiving is no span");
    let seen = message
        .process(async |message| -> Result<_, String> {
            tokio::task::yield_now().await;
            let current = Context::current().span().span_context().span_id();
            Ok((message.payload().unwrap().to_vec(), current))
        })
        .await;
    let span = recorder.span("process orders");
    assert_eq!(seen, Ok((b"one book".to_vec(), span.span_context.span_id())));
    let expected = r#"CONSUMER process orders  ⇠ remote 0000…0007/0000…0007
    messaging.consumer.group.name: till
    messaging.destination.name: orders
    messaging.destination.partition.id: "0"
    messaging.kafka.message.key: k
    messaging.kafka.offset: 0
    messaging.operation.name: process
    messaging.operation.type: process
    messaging.system: kafka
    link → remote 0000…0007/0000…0007
"#;
    assert_eq!(recorder.tree(), expected);
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn processing_can_be_spawned() {
    struct App {
        consumer: otel_kafka::StreamConsumer,
        seen: Mutex<Vec<String>>,
    }
    impl App {
        /// A reference argument that is held across an await, which an insufficiently general bound would reject.
        async fn handle(
            &self,
            message: &rdkafka::message::BorrowedMessage<'_>,
            suffix: &str,
        ) -> Result<(), String> {
            tokio::task::yield_now().await;
            let text = String::from_utf8_lossy(message.payload().unwrap()).into_owned() + suffix;
            self.seen.lock().unwrap().push(text);
            Ok(())
        }
    }
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", context(7)), ("b", None)]).await;
    let app = Arc::new(App { consumer: consumer(&cluster, options(&recorder)), seen: Mutex::default() });
    let handle = tokio::spawn({
        let app = Arc::clone(&app);
        async move {
            let suffix = String::from("!");
            for _ in 0..2 {
                let message = app.consumer.recv().await.unwrap();
                message.process(async |message| app.handle(message, &suffix).await).await.unwrap();
            }
        }
    });
    handle.await.unwrap();
    assert_eq!(*app.seen.lock().unwrap(), ["a!", "b!"]);
    recorder.assert_clean();
}

#[tokio::test]
async fn an_error_of_the_handlers_is_told_by_its_type() {
    enum Order {
        SoldOut,
    }
    impl HandlerOutcome for Order {
        fn outcome(&self) -> Outcome {
            Outcome::error("sold_out")
        }
    }
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None), ("b", None)]).await;
    let consumer = consumer(&cluster, options(&recorder));
    let message = consumer.recv().await.unwrap();
    let failed: Result<(), std::fmt::Error> = message.process(async |_| Err(std::fmt::Error)).await;
    assert!(failed.is_err());
    let message = consumer.recv().await.unwrap();
    assert!(matches!(message.process(async |_| Order::SoldOut).await, Order::SoldOut));
    let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    assert_eq!(errors, ["core::fmt::Error", "sold_out"]);
    let durations = recorder.metric("messaging.process.duration");
    assert_eq!(durations.with("error.type", "sold_out").count(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_stream_gives_messages_that_can_be_processed() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", context(7)), ("b", context(8))]).await;
    let consumer = consumer(&cluster, options(&recorder));
    let mut stream = consumer.stream();
    for _ in 0..2 {
        stream.next().await.unwrap().unwrap().process(async |_| ()).await;
    }
    let parents: Vec<_> = recorder.spans().iter().map(|span| span.parent_span_id).collect();
    assert_eq!(parents, [7.into(), 8.into()]);
    assert_eq!(recorder.metric("messaging.client.consumed.messages").sum(), 2.0);
}

#[tokio::test]
async fn a_base_consumers_messages_are_processed_by_hand() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", context(7)), ("b", context(8)), ("c", context(9))]).await;
    let consumer: BaseConsumer = consumer_config(&cluster).create().unwrap();
    let consumer = consumer.with_options(options(&recorder));
    consumer.subscribe(&["orders"]).unwrap();
    let message = next(&consumer);
    let processing = message.processing();
    let attached = processing.attach();
    assert_eq!(Context::current().span().span_context(), processing.context().span().span_context());
    drop(attached);
    processing.finish(&Outcome::ok());
    // Through the iterator too, and dropped without `finish`.
    drop(consumer.iter().next().unwrap().unwrap().processing());
    let message = (&consumer).into_iter().next().unwrap().unwrap();
    message.processing().run(async { Ok::<(), ()>(()) }).await.unwrap();
    let spans = recorder.spans();
    assert_eq!(
        spans.iter().map(|span| span.parent_span_id).collect::<Vec<_>>(),
        [7.into(), 8.into(), 9.into()]
    );
    assert_eq!(spans.iter().map(error_type).collect::<Vec<_>>(), [None, Some("cancelled".to_owned()), None]);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_parent_is_chosen_by_the_mode() {
    for (mode, expected) in
        [(ParentMode::LinkOnly, 3), (ParentMode::ProducerIfNoAmbient, 3), (ParentMode::Producer, 7)]
    {
        let (recorder, cluster) = (Recorder::new(), cluster(1));
        write(&cluster, &[("a", context(7))]).await;
        let consumer = consumer(&cluster, options(&recorder).with_parent_mode(mode));
        let message = consumer.recv().await.unwrap();
        message.process(async |_| ()).with_context(remote(3, true)).await;
        let span = recorder.span("process orders");
        assert_eq!(span.parent_span_id, expected.into(), "{mode:?}");
        assert_eq!(span.links[0].span_context.span_id(), 7.into());
    }
}

#[tokio::test]
async fn polls_and_ages_are_recorded_on_request() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let consumer = consumer(&cluster, options(&recorder).with_receive_spans(true).with_message_age(true));
    let received = async {
        let message = consumer.recv().await.unwrap();
        message.process(async |_| ()).await;
    };
    let list = [("a", context(7))];
    futures_util::join!(received, write(&cluster, &list));
    let poll = recorder.span("poll orders");
    assert_eq!(poll.span_kind, SpanKind::Client);
    assert_eq!(poll.links[0].span_context.span_id(), 7.into());
    assert_eq!(attribute(&poll, "messaging.operation.type").as_deref(), Some("receive"));
    let age = match value(&recorder.span("process orders"), "messaging.message.age") {
        Some(opentelemetry::Value::F64(age)) => *age,
        other => panic!("{other:?}"),
    };
    assert!((0.0..60.0).contains(&age), "{age}");
    // Counted once, although the message was both polled and processed.
    assert_eq!(recorder.metric("messaging.client.consumed.messages").sum(), 1.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn an_error_of_receiving_is_a_poll_span_where_those_are_wanted() {
    let cluster = cluster(1);
    for wanted in [false, true] {
        let recorder = Recorder::new();
        let consumer: otel_kafka::StreamConsumer = consumer_config(&cluster)
            .set("allow.auto.create.topics", "false")
            .set("group.id", format!("{wanted}"))
            .create()
            .unwrap();
        let error = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        cluster.topic_error("missing", error).unwrap();
        let consumer = consumer.with_options(options(&recorder).with_receive_spans(wanted));
        consumer.subscribe(&["missing"]).unwrap();
        assert!(consumer.recv().await.is_err());
        let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
        assert_eq!(errors.len(), usize::from(wanted));
        assert!(errors.iter().all(|error| error == "UnknownTopicOrPartition"), "{errors:?}");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_batch_links_to_every_message() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", context(7)), ("b", None), ("c", context(9))]).await;
    let consumer = consumer(&cluster, options(&recorder));
    let messages: Vec<_> = consumer.stream().take(3).map(Result::unwrap).collect().await;
    let sum = async {
        let processing = consumer.processing_batch(&messages);
        processing
            .run(async { Ok::<_, ()>(messages.iter().map(|message| message.payload_len()).sum()) })
            .await
    };
    let sum: Result<usize, ()> = sum.with_context(remote(3, true)).await;
    assert_eq!(sum, Ok(3));
    let span = recorder.span("process orders");
    assert_eq!(span.parent_span_id, 3.into());
    assert_eq!(value(&span, "messaging.batch.message_count"), Some(&3.into()));
    assert_eq!(attribute(&span, "messaging.destination.partition.id").as_deref(), Some("0"));
    let linked: Vec<_> =
        span.links.iter().map(|link| (link.span_context.span_id(), link.attributes[0].to_owned())).collect();
    let offset = |offset: i64| opentelemetry::KeyValue::new("messaging.kafka.offset", offset);
    assert_eq!(linked, [(7.into(), offset(0)), (9.into(), offset(2))]);
    // An empty batch is recorded too, without a topic.
    consumer.processing_batch(&[]).run(async {}).await;
    assert_eq!(value(&recorder.span("process"), "messaging.batch.message_count"), Some(&0.into()));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_topic_that_is_left_out_is_handled_in_its_producers_context() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", context(7))]).await;
    let options = options(&recorder).with_filter(|topic| topic != "orders").with_receive_spans(true);
    let consumer = consumer(&cluster, options);
    let message = consumer.recv().await.unwrap();
    assert_eq!(message.headers().unwrap().count(), 1);
    let current = || Ok::<_, ()>(Context::current().span().span_context().span_id());
    assert_eq!(message.process(async |_| current()).await, Ok(7.into()));
    // As for a recorded message, a current span is the default parent.
    let beside = message.process(async |_| current()).with_context(remote(3, true)).await;
    assert_eq!(beside, Ok(3.into()));
    assert_eq!(message.processing().context().span().span_context().span_id(), 7.into());
    consumer.processing_batch(&[message]).finish(&Outcome::ok());
    assert_eq!(
        (recorder.spans().len(), recorder.metric("messaging.client.consumed.messages").sum()),
        (0, 0.0)
    );
}
