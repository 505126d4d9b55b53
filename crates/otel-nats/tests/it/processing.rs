//! Handlers: in tasks, in loops, for batches; and what the subscriber does.

use std::cell::RefCell;

use futures_util::StreamExt as _;
use opentelemetry::trace::FutureExt as _;
use otel_nats::{ParentMode, Subscriber};
use otel_operation::Outcome;
use otel_testing::Recorder;
use tokio::sync::{Notify, oneshot};

use crate::support::{
    attribute, bare, client, client_with, error_type, headers, options, received, remote, synchronize,
    traceparent, unique, write,
};

/// A subscription that records, and the subject's messages in it, each with a producer of its own.
async fn subscriber(recorder: &Recorder, subject: &str, payloads: &[&str]) -> Subscriber {
    let (client, other) = (client(recorder).await, bare().await);
    let subscriber = client.subscribe(format!("{subject}.>")).await.unwrap();
    synchronize(client.inner()).await;
    for (index, payload) in (1..).zip(payloads) {
        let own = headers(&[("traceparent", &traceparent(index))]);
        let payload = (*payload).to_owned();
        other.publish_with_headers(format!("{subject}.{payload}"), own, payload.into()).await.unwrap();
    }
    // The server has the messages, then the client has them.
    synchronize(&other).await;
    synchronize(client.inner()).await;
    subscriber
}

#[tokio::test]
async fn a_handler_runs_in_a_spawned_task() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let mut subscriber = subscriber(&recorder, &subject, &["a"]).await;
    let message = received(&mut subscriber).await;
    let handled = tokio::spawn(async move {
        let text = String::from("text of the task");
        message
            .process(async |message| {
                tokio::task::yield_now().await;
                Ok::<_, String>(message.payload.len() + text.len())
            })
            .await
    });
    assert_eq!(handled.await.unwrap(), Ok(17));
    assert_eq!(recorder.spans().len(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_loop_processes_messages_in_order_until_it_is_stopped() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let mut subscriber = subscriber(&recorder, &subject, &["a", "b", "c"]).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let (stop, seen) = (RefCell::new(Some(stop)), RefCell::new(Vec::new()));
    let stopped = async { drop(stopped.await) };
    let handler = async |message: otel_nats::Message| {
        seen.borrow_mut().push(message.payload.clone());
        if seen.borrow().len() == 2 {
            stop.take();
            return Err("late");
        }
        Ok(())
    };
    subscriber.process_each(stopped, handler).await;
    assert_eq!(*seen.borrow(), ["a", "b"]);
    let errors: Vec<_> = recorder.spans().iter().map(error_type).collect();
    assert_eq!(errors, [None, Some("&str".to_owned())]);
    assert_eq!(received(&mut subscriber).await.payload, "c", "what was not taken stays");
    recorder.assert_clean();
}

#[tokio::test]
async fn messages_of_different_subjects_run_at_once() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let mut subscriber = subscriber(&recorder, &subject, &["a", "b", "a"]).await;
    let (stop, seen, both) = (Notify::new(), RefCell::new(Vec::new()), tokio::sync::Barrier::new(2));
    let handler = async |message: otel_nats::Message| {
        let is_first = !seen.borrow().contains(&message.payload);
        seen.borrow_mut().push(message.payload.clone());
        if is_first {
            both.wait().await;
        } else {
            stop.notify_one();
        }
    };
    subscriber.process_each_concurrent(2, stop.notified(), handler).await;
    assert_eq!(*seen.borrow(), ["a", "b", "a"]);
    assert_eq!(recorder.spans().len(), 3);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_loop_ends_with_its_subscription() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let mut subscriber = subscriber(&recorder, &subject, &["a", "b"]).await;
    subscriber.drain().await.unwrap();
    subscriber.process_each(std::future::pending(), async |_| ()).await;
    assert_eq!(recorder.spans().len(), 2);
    recorder.assert_clean();
}

#[tokio::test]
async fn draining_the_client_delivers_what_was_received() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let client = client(&recorder).await;
    let mut subscriber = client.subscribe(subject.clone()).await.unwrap();
    client.publish(subject.clone(), "a".into()).await.unwrap();
    synchronize(client.inner()).await;
    client.drain().await.unwrap();
    assert_eq!(received(&mut subscriber).await.payload, "a");
    assert!(subscriber.next().await.is_none());
    recorder.assert_clean();
}

#[tokio::test]
async fn a_subscription_ends_when_it_is_unsubscribed() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let mut first = subscriber(&recorder, &subject, &["a", "b"]).await;
    first.unsubscribe().await.unwrap();
    let rest: Vec<_> = first.collect().await;
    assert_eq!(rest.len(), 2);
    let mut second = subscriber(&recorder, &unique("orders"), &["a"]).await;
    second.unsubscribe_after(1).await.unwrap();
    assert_eq!(received(&mut second).await.payload, "a");
    assert!(second.next().await.is_none());
    assert_eq!(recorder.metric("messaging.client.consumed.messages").sum(), 3.0);
}

#[tokio::test]
async fn a_batch_links_to_each_message() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let mut subscriber = subscriber(&recorder, &subject, &["a", "b"]).await;
    let batch = [received(&mut subscriber).await, received(&mut subscriber).await];
    client(&recorder).await.processing_batch(&batch).finish(&Outcome::ok());
    let span = recorder.span(&format!("process {subject}.>"));
    let linked: Vec<_> =
        span.links.iter().map(|link| u64::from_be_bytes(link.span_context.span_id().to_bytes())).collect();
    assert_eq!(linked, [1, 2]);
    assert_eq!(attribute(&span, "messaging.batch.message_count").as_deref(), Some("2"));
}

#[tokio::test]
async fn the_parent_of_processing_is_chosen_by_its_mode() {
    for (mode, parent) in
        [(ParentMode::LinkOnly, 7), (ParentMode::ProducerIfNoAmbient, 7), (ParentMode::Producer, 1)]
    {
        let (recorder, subject) = (Recorder::new(), unique("orders"));
        let client = client_with(options(&recorder).with_parent_mode(mode)).await;
        let mut subscriber = client.subscribe(subject.clone()).await.unwrap();
        synchronize(client.inner()).await;
        let own = headers(&[("traceparent", &traceparent(1))]);
        write(&subject, own, "").await;
        received(&mut subscriber).await.process(async |_| ()).with_context(remote(7, true)).await;
        let span = recorder.span(&format!("process {subject}"));
        assert_eq!(u64::from_be_bytes(span.parent_span_id.to_bytes()), parent, "{mode:?}");
        assert_eq!(span.links.len(), 1, "{mode:?}");
    }
}
