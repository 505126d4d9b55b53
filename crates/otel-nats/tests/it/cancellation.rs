//! Futures that are dropped at each of their await points, and handlers that panic.

use std::panic::AssertUnwindSafe;

use async_nats::{ConnectOptions, HeaderMap};
use futures_util::{FutureExt as _, StreamExt as _};
use otel_nats::connect_with_options;
use otel_testing::Recorder;

use crate::support::{
    bare, client, client_with, error_type, inspector, next, options, received, setting, synchronize, unique,
    write,
};

#[tokio::test]
async fn what_is_dropped_before_it_is_polled_never_was() {
    let recorder = Recorder::new();
    let client = client(&recorder).await;
    drop(client.publish("orders", "p".into()));
    drop(client.request("orders", "p".into()));
    assert_eq!((recorder.spans().len(), recorder.metrics()), (0, String::new()));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_publish_that_is_dropped_before_the_queue_is_cancelled_and_not_sent() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let one = ConnectOptions::new().client_capacity(1);
    let client =
        connect_with_options(setting("NATS_URL"), one).await.unwrap().with_options(options(&recorder));
    let mut inspector = inspector(&subject).await;
    client.flush().await.unwrap();
    // The connection's task runs on this thread, and empties the queue when it is polled.
    client.inner().publish(subject.clone(), "first".into()).now_or_never().unwrap().unwrap();
    let mut sending = Box::pin(client.publish(subject.clone(), "dropped".into()));
    assert!((&mut sending).now_or_never().is_none());
    drop(sending);
    client.publish(subject.clone(), "last".into()).await.unwrap();
    assert_eq!(next(&mut inspector).await.payload, "first");
    assert_eq!(next(&mut inspector).await.payload, "last");
    let errors: Vec<_> = recorder.spans().iter().map(error_type).collect();
    assert_eq!(errors, [Some("cancelled".to_owned()), None]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_request_that_is_dropped_before_its_reply_is_cancelled() {
    let (recorder, subject) = (Recorder::new(), unique("prices"));
    let (client, silent) = (client(&recorder).await, bare().await);
    let mut requests = silent.subscribe(subject.clone()).await.unwrap();
    synchronize(&silent).await;
    let mut request = Box::pin(client.request(subject.clone(), "p".into()));
    assert!((&mut request).now_or_never().is_none());
    assert_eq!(next(&mut requests).await.payload, "p");
    drop(request);
    assert_eq!(error_type(&recorder.span(&format!("request {subject}"))).as_deref(), Some("cancelled"));
    recorder.assert_clean();
}

#[tokio::test]
async fn receiving_that_is_dropped_loses_nothing() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let client = client_with(options(&recorder).with_receive_spans(true)).await;
    let mut subscriber = client.subscribe(subject.clone()).await.unwrap();
    synchronize(client.inner()).await;
    for _ in 0..3 {
        assert!(subscriber.next().now_or_never().is_none());
    }
    assert_eq!(recorder.spans().len(), 0, "waiting for nothing is no span");
    write(&subject, HeaderMap::new(), "a").await;
    assert_eq!(received(&mut subscriber).await.payload, "a");
    assert_eq!(recorder.spans().len(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn processing_that_is_dropped_or_panics_says_so() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let client = client(&recorder).await;
    let mut subscriber = client.subscribe(subject.clone()).await.unwrap();
    synchronize(client.inner()).await;
    client.inner().publish(subject.clone(), "a".into()).await.unwrap();
    let message = received(&mut subscriber).await;

    drop(message.process(async |_| ()));
    assert_eq!(recorder.spans().len(), 0, "the handler was never called");
    let mut processing = Box::pin(message.process(async |_| tokio::task::yield_now().await));
    assert!((&mut processing).now_or_never().is_none());
    drop(processing);
    let panicked = AssertUnwindSafe(message.process(async |_| -> () { panic!("on purpose") }));
    assert!(panicked.catch_unwind().await.is_err());
    let panicked = AssertUnwindSafe(|| {
        let mut processing = message.processing();
        processing.inside(|| panic!("on purpose"));
    });
    assert!(std::panic::catch_unwind(panicked).is_err());
    let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    assert_eq!(errors, ["cancelled", "panic", "panic"]);
    recorder.assert_clean();
}
