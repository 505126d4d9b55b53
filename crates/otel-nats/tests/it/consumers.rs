//! JetStream's consumers: each kind of them, replayed messages, and batches.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{DeliverPolicy, pull, push};
use async_nats::jetstream::{self as bare};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;
use otel_nats::jetstream::{
    JetStreamMessage, Messages, OrderedPullConsumer, OrderedPushConsumer, PullConsumer, PushConsumer,
};
use otel_operation::Outcome;
use otel_testing::Recorder;
use otel_testing::spans::value;

use crate::jetstream::{Fixture, durable};
use crate::support::{LONG, attribute, bare, options};

const SUBSCRIPTION: &str = "messaging.destination.subscription.name";

/// Processes and acknowledges the next message, and returns its `process` span.
async fn processed<S, E>(recorder: &Recorder, messages: &mut Messages<S>) -> SpanData
where
    S: Stream<Item = Result<bare::Message, E>>,
    E: std::fmt::Debug,
{
    let message = tokio::time::timeout(LONG, messages.next()).await.unwrap().unwrap().unwrap();
    message.process(async |_| ()).await;
    message.ack().await.unwrap();
    let spans = recorder.spans();
    spans.into_iter().rfind(|span| span.name.starts_with("process ")).unwrap()
}

/// Waits until the consumer knows so many messages: a `fetch` does not wait for one that is stored at the moment.
async fn pending(consumer: &PullConsumer, messages: u64) {
    let begun = Instant::now();
    while consumer.get_info().await.unwrap().num_pending < messages {
        assert!(begun.elapsed() < LONG, "the consumer does not know {messages} messages");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn each_kind_of_consumer_delivers_messages_that_are_traced() {
    let recorder = Recorder::new();
    let Fixture { context, subject, stream, .. } = Fixture::new(&recorder).await;
    let inbox = || context.inner().client().new_inbox();
    let stream = context.get_stream(stream).await.unwrap();
    let mut pulls = Vec::new();
    for name in ["messages", "stream", "fetch", "batch", "sequence"] {
        pulls.push(stream.get_or_create_consumer(name, durable(name)).await.unwrap());
    }
    let [messages, streamed, fetch, batch, sequence] = &pulls[..] else { unreachable!() };
    let push = push::Config {
        durable_name: Some("push".to_owned()),
        deliver_subject: inbox(),
        ..push::Config::default()
    };
    let push: PushConsumer = stream.create_consumer(push).await.unwrap();
    let ordered = pull::OrderedConfig::default();
    let ordered_pull: OrderedPullConsumer = stream.create_consumer(ordered).await.unwrap();
    let ordered = push::OrderedConfig { deliver_subject: inbox(), ..push::OrderedConfig::default() };
    let ordered_push: OrderedPushConsumer = stream.create_consumer(ordered).await.unwrap();

    context.publish(subject.clone(), "p".into()).await.unwrap().await.unwrap();
    let publish = recorder.span(&format!("publish {subject}"));
    let mut spans = Vec::new();
    let r = &recorder;
    spans.push(processed(r, &mut messages.messages().await.unwrap()).await);
    let few = streamed.stream().max_messages_per_batch(1).heartbeat(LONG / 12).expires(LONG / 2);
    spans.push(processed(r, &mut few.messages().await.unwrap()).await);
    pending(fetch, 1).await;
    spans.push(processed(r, &mut fetch.fetch().max_messages(1).messages().await.unwrap()).await);
    let one = batch.batch().with_inner(|batch| batch.max_messages(1)).expires(LONG);
    spans.push(processed(r, &mut one.messages().await.unwrap()).await);
    let mut batches = sequence.sequence(1).unwrap();
    spans.push(processed(r, &mut batches.try_next().await.unwrap().unwrap()).await);
    spans.push(processed(r, &mut push.messages().await.unwrap()).await);
    spans.push(processed(r, &mut ordered_pull.messages().await.unwrap()).await);
    spans.push(processed(r, &mut ordered_push.messages().await.unwrap()).await);

    let names: Vec<_> = spans.iter().map(|span| attribute(span, SUBSCRIPTION).unwrap_or_default()).collect();
    let expected = ["messages", "stream", "fetch", "batch", "sequence", "push"];
    assert_eq!(names[..6], expected);
    assert_eq!(names[6..], ["", ""], "a generated name would be a series of its own");
    for span in &spans {
        assert_eq!(span.parent_span_id, publish.span_context.span_id(), "{}", recorder.tree());
        assert_eq!(span.links.len(), 1);
    }
    recorder.assert_clean();
}

#[tokio::test]
async fn a_message_that_is_older_than_its_consumer_is_linked_and_no_parent() {
    let recorder = Recorder::new();
    let fixture = Fixture::new(&recorder).await;
    fixture.write(7, &fixture.subject).await;
    let fetch = async |name: &str| {
        let consumer = fixture.consumer(durable(name)).await;
        pending(&consumer, 1).await;
        consumer.fetch().max_messages(2).messages().await.unwrap()
    };
    let linked = |span: &SpanData| span.links.len() == 1 && span.parent_span_id == SpanId::INVALID;
    let is_child = |span: &SpanData| span.links.len() == 1 && span.parent_span_id == SpanId::from(7);

    assert!(linked(&processed(&recorder, &mut fetch("late").await).await), "{}", recorder.tree());
    let mut asked = fetch("asked").await.with_replayed(false);
    assert!(is_child(&processed(&recorder, &mut asked).await), "{}", recorder.tree());
    // The fixture's own consumer is older than the message.
    let mut messages = fixture.messages.with_replayed(true);
    assert!(linked(&processed(&recorder, &mut messages).await), "{}", recorder.tree());
    let context = &fixture.context;
    let config = pull::OrderedConfig { deliver_policy: DeliverPolicy::All, ..pull::OrderedConfig::default() };
    let ordered: OrderedPullConsumer =
        context.create_consumer_on_stream(config, &fixture.stream).await.unwrap();
    let mut ordered = ordered.messages().await.unwrap();
    assert!(linked(&processed(&recorder, &mut ordered).await), "{}", recorder.tree());
    // A later message of the same consumer is no replay.
    let publish = context.inner().publish(fixture.subject.clone(), "".into()).await.unwrap();
    publish.await.unwrap();
    let span = processed(&recorder, &mut ordered).await;
    assert_eq!(attribute(&span, "messaging.nats.stream.sequence").as_deref(), Some("2"));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_stream_of_async_nats_can_be_instrumented() {
    let recorder = Recorder::new();
    let fixture = Fixture::new(&recorder).await;
    let consumer = fixture.consumer(durable("bare")).await;
    fixture.write(7, &fixture.subject).await;
    pending(&consumer, 1).await;
    let bare_consumer = consumer.inner().clone();
    let batch = bare_consumer.fetch().max_messages(1).messages().await.unwrap();
    let span = processed(&recorder, &mut fixture.context.messages(batch)).await;
    assert_eq!(span.parent_span_id, SpanId::from(7));
    assert_eq!(attribute(&span, SUBSCRIPTION), None, "the name of an unknown consumer may be generated");
    fixture.write(8, &fixture.subject).await;
    let mut consumer = fixture.context.consumer(bare_consumer);
    pending(&consumer, 1).await;
    assert_eq!(consumer.info().await.unwrap().num_pending, 1);
    assert_eq!(consumer.cached_info().num_pending, 1);
    let mut batch = consumer.fetch().messages().await.unwrap();
    let span = processed(&recorder, &mut batch).await;
    assert_eq!(span.parent_span_id, SpanId::from(8));
    assert_eq!(attribute(&span, SUBSCRIPTION).as_deref(), Some("bare"));
    recorder.assert_clean();
}

#[tokio::test]
async fn messages_of_a_fetch_are_processed_in_spawned_tasks_or_together() {
    let recorder = Recorder::new();
    let fixture = Fixture::new(&recorder).await;
    let consumer = fixture.consumer(durable("batch")).await;
    for id in 1..=4 {
        fixture.write(id, &fixture.subject).await;
    }
    pending(&consumer, 4).await;
    let mut fetched = consumer.fetch().max_messages(2).messages().await.unwrap();
    while let Some(message) = fetched.next().await {
        let message = message.unwrap();
        let handled = tokio::spawn(async move { message.process(async |message| message.ack().await).await });
        handled.await.unwrap().unwrap();
    }
    let fetched = consumer.fetch().max_messages(2).messages().await.unwrap();
    let batch: Vec<JetStreamMessage> = fetched.try_collect().await.unwrap();
    fixture.context.processing_batch(&batch).finish(&Outcome::ok());
    let spans = recorder.spans();
    let processed: Vec<_> = spans.iter().filter(|span| span.name.starts_with("process ")).collect();
    let [first, second, together] = processed[..] else { panic!("{}", recorder.tree()) };
    assert_eq!([first.parent_span_id, second.parent_span_id], [SpanId::from(1), SpanId::from(2)]);
    let linked: Vec<_> = together.links.iter().map(|link| link.span_context.span_id()).collect();
    assert_eq!(linked, [SpanId::from(3), SpanId::from(4)]);
    assert_eq!(attribute(together, "messaging.batch.message_count").as_deref(), Some("2"));
    recorder.assert_clean();
}

#[tokio::test]
async fn the_age_of_a_message_is_an_option() {
    let recorder = Recorder::new();
    for records in [false, true] {
        let mut fixture = Fixture::with_options(options(&recorder).with_message_age(records)).await;
        fixture.write(1, &fixture.subject).await;
        let span = processed(&recorder, &mut fixture.messages).await;
        let age = value(&span, "messaging.message.age").map(|age| match age {
            opentelemetry::Value::F64(age) => *age,
            other => panic!("{other:?}"),
        });
        assert_eq!(age.is_some(), records);
        assert!(age.unwrap_or_default() < LONG.as_secs_f64(), "{age:?}");
    }
}

#[tokio::test]
async fn a_message_that_no_stream_sent_is_processed_and_cannot_be_settled() {
    let recorder = Recorder::new();
    let fixture = Fixture::new(&recorder).await;
    let other = bare().await;
    let message = async_nats::Message {
        subject: fixture.subject.clone().into(),
        reply: None,
        payload: "p".into(),
        headers: None,
        status: None,
        description: None,
        length: 1,
    };
    let message = bare::Message { message, context: bare::new(other) };
    let stream = futures_util::stream::iter([Ok::<_, async_nats::Error>(message)]);
    let message = fixture.context.messages(stream).next().await.unwrap().unwrap();
    message.process(async |_| ()).await;
    let error = message.ack().await.unwrap_err().to_string();
    assert_eq!(error, bare::Message::from(message).ack().await.unwrap_err().to_string());
    let [process, settle] =
        ["process", "ack"].map(|name| recorder.span(&format!("{name} {}", fixture.subject)));
    assert_eq!(attribute(&process, "messaging.nats.stream.sequence"), None);
    assert_eq!(attribute(&settle, "error.type").as_deref(), Some("_OTHER"));
    recorder.assert_clean();
}
