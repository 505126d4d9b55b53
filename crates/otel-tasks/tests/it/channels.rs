//! Channels: the context of each item, parent or link, processing, tokio's errors.

use std::time::Duration;

use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{FutureExt as _, SpanId, SpanKind};
use opentelemetry::{Context, KeyValue};
use otel_tasks::sync::{mpsc, oneshot};
use otel_tasks::{Channel, ParentMode, TaskInstrumentation, WithContext, in_context};
use otel_testing::Recorder;
use tokio::sync::mpsc::error::{SendError, SendTimeoutError, TryRecvError, TrySendError};

use crate::support::{attribute, current, error_type, options, remote, tasks};

fn jobs(recorder: &Recorder) -> Channel {
    Channel::new("jobs").with_instrumentation(&tasks(recorder))
}

fn links(recorder: &Recorder, name: &str) -> Vec<SpanId> {
    recorder.span(name).links.iter().map(|link| link.span_context.span_id()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_is_processed_in_the_context_of_its_sender() {
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::channel(jobs(&recorder), 4);
    let worker = tokio::spawn(async move {
        let mut outputs = Vec::new();
        while let Some(output) = receiver.process(async |job: u32| (job, current().to_string())).await {
            outputs.push(output);
        }
        outputs
    });
    let caller = remote(7, true).with_baggage([KeyValue::new("tenant", "acme")]);
    sender.send(1).with_context(caller).await.unwrap();
    drop(sender);
    let outputs = worker.await.unwrap();
    recorder.assert_clean();
    let span = recorder.span("process jobs");
    assert_eq!(outputs, [(1, span.span_context.span_id().to_string())]);
    assert_eq!((span.parent_span_id, &span.span_kind), (SpanId::from(7), &SpanKind::Consumer));
    assert_eq!(links(&recorder, "process jobs"), [SpanId::from(7)]);
    assert_eq!(attribute(&span, "channel.name").as_deref(), Some("jobs"));
    let waited: f64 = attribute(&span, "channel.queue.time").unwrap().parse().unwrap();
    assert!((recorder.metric("channel.queue.duration").sum() - waited).abs() < 1e-9);
    assert_eq!(recorder.metric("channel.process.duration").with("channel.name", "jobs").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_with_references_are_processed_in_spawned_tasks() {
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::channel(jobs(&recorder), 4);
    sender.try_send("one").unwrap();
    sender.try_send("two").unwrap();
    let worker = tokio::spawn(async move {
        let first = receiver.process(async |text: &'static str| text.len()).await;
        let rest = vec![receiver.recv().await.unwrap()];
        (first, receiver.channel().process_batch(rest, async |texts: Vec<&str>| texts.len()).await)
    });
    assert_eq!(worker.await.unwrap(), (Some(3), 1));
    recorder.assert_clean();
}

#[tokio::test]
async fn the_parent_is_chosen_as_in_messaging() {
    for (mode, ambient, parent) in [
        (ParentMode::LinkOnly, true, 9),
        (ParentMode::LinkOnly, false, 0),
        (ParentMode::ProducerIfNoAmbient, true, 9),
        (ParentMode::ProducerIfNoAmbient, false, 7),
        (ParentMode::Producer, true, 7),
        (ParentMode::Producer, false, 7),
    ] {
        let recorder = Recorder::new();
        let channel = jobs(&recorder).with_parent_mode(mode);
        let (sender, mut receiver) = mpsc::channel(channel, 1);
        let caller = remote(7, true).with_baggage([KeyValue::new("tenant", "acme")]);
        in_context(&caller, || sender.try_send(())).unwrap();
        let context = if ambient { remote(9, true) } else { Context::new() };
        let handler = async |()| Context::map_current(|cx| cx.baggage().get("tenant").is_some()).to_string();
        let has_baggage = receiver.process(handler).with_context(context).await.unwrap();
        let parent = if parent == 0 { SpanId::INVALID } else { SpanId::from(parent) };
        assert_eq!(recorder.span("process jobs").parent_span_id, parent, "{mode:?} {ambient}");
        assert_eq!(links(&recorder, "process jobs"), [SpanId::from(7)], "{mode:?} {ambient}");
        assert_eq!(has_baggage, (parent != SpanId::from(9)).to_string(), "{mode:?} {ambient}");
        recorder.assert_clean();
    }
}

#[test]
fn an_envelope_goes_through_any_channel() {
    let recorder = Recorder::new();
    let channel = jobs(&recorder);
    let (sender, receiver) = std::sync::mpsc::channel();
    in_context(&remote(7, true), || sender.send(WithContext::new(String::from("plain"))).unwrap());
    in_context(&remote(8, true), || sender.send(channel.envelope(String::from("counted"))).unwrap());
    assert_eq!(recorder.metric("channel.queue.depth").sum(), 1.0);
    for (id, text) in [(7, "plain"), (8, "counted")] {
        let item = receiver.recv().unwrap();
        assert_eq!(item.len(), text.len(), "it dereferences to the item");
        assert_eq!(channel.process_sync(item, |text| text), text);
        let last = recorder.spans().pop().unwrap();
        assert_eq!(last.parent_span_id, SpanId::from(id));
    }
    assert_eq!(recorder.metric("channel.queue.duration").count(), 2);
    recorder.assert_clean();
}

#[tokio::test]
async fn an_item_can_be_taken_out_of_its_envelope() {
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::unbounded_channel(jobs(&recorder));
    in_context(&remote(7, true), || sender.send(vec![1]).unwrap());
    let mut item = receiver.recv().await.unwrap();
    item.push(2);
    let (value, context) = item.into_parts();
    assert_eq!(value, [1, 2]);
    assert_eq!(in_context(&context, current), SpanId::from(7));
    assert_eq!(recorder.spans().len(), 0);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_batch_links_to_all_of_its_items() {
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::channel(jobs(&recorder), 200);
    for id in 1..=130 {
        in_context(&remote(id, true), || sender.try_send(id)).unwrap();
    }
    let mut items = Vec::new();
    assert_eq!(receiver.recv_many(&mut items, 200).await, 130);
    let batch = receiver.channel().process_batch(items, async |ids| ids.len());
    assert_eq!(batch.with_context(remote(999, true)).await, 130);
    let span = recorder.span("process jobs");
    assert_eq!(links(&recorder, "process jobs"), (1..=128).map(SpanId::from).collect::<Vec<_>>());
    assert_eq!(span.parent_span_id, SpanId::from(999));
    assert_eq!(attribute(&span, "channel.batch.item_count").as_deref(), Some("130"));
    assert_eq!(attribute(&span, "channel.batch.links_left_out").as_deref(), Some("2"));
    assert_eq!(recorder.metric("channel.queue.duration").count(), 130);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_reply_comes_through_a_oneshot() {
    let recorder = Recorder::new();
    let replies = || Channel::new("replies").with_instrumentation(&tasks(&recorder));
    let (sender, receiver) = oneshot::channel(replies());
    in_context(&remote(7, true), || sender.send(5)).unwrap();
    assert_eq!(receiver.process(async |number| number + 1).await.unwrap(), 6);
    assert_eq!(recorder.span("process replies").parent_span_id, SpanId::from(7));

    let (sender, receiver) = oneshot::channel(replies());
    in_context(&remote(8, true), || sender.send(5)).unwrap();
    let item = receiver.await.unwrap();
    assert_eq!((*item, in_context(item.context(), current)), (5, SpanId::from(8)));
    drop(item);

    let (sender, receiver) = oneshot::channel::<u32>(replies());
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(sender.send(5), Err(5));
    let (sender, receiver) = oneshot::channel::<u32>(replies());
    drop(sender);
    assert!(receiver.await.is_err());
    recorder.assert_clean();
    assert_eq!(recorder.metrics().matches("channel.dropped.items").count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_errors_are_tokios_and_count_nothing() {
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::channel(jobs(&recorder), 1);
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    sender.try_send(1).unwrap();
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    let late = sender.send_timeout(3, Duration::from_secs(1)).await;
    assert_eq!(late, Err(SendTimeoutError::Timeout(3)));
    assert_eq!((sender.capacity(), sender.max_capacity(), receiver.len()), (0, 1, 1));
    assert_eq!(recorder.metric("channel.queue.depth").sum(), 1.0);
    receiver.close();
    assert!(sender.is_closed() && receiver.is_closed());
    assert_eq!(sender.send(4).await, Err(SendError(4)));
    assert_eq!(sender.try_send(4), Err(TrySendError::Closed(4)));
    assert_eq!(sender.send_timeout(4, Duration::ZERO).await, Err(SendTimeoutError::Closed(4)));
    assert!(sender.reserve().await.is_err());
    assert_eq!(receiver.recv().await.unwrap().into_inner(), 1);
    assert!(receiver.recv().await.is_none());
    let (unbounded, receiver) = mpsc::unbounded_channel(jobs(&recorder));
    drop(receiver);
    assert_eq!(unbounded.send(5), Err(SendError(5)));
    let (blocking, receiver) = mpsc::channel(jobs(&recorder), 1);
    drop(receiver);
    let sent = std::thread::spawn(move || blocking.blocking_send(6)).join().unwrap();
    assert_eq!(sent, Err(SendError(6)));
    recorder.assert_clean();
    assert_eq!(recorder.metrics().matches("channel.dropped.items").count(), 0);
}

#[tokio::test]
async fn each_way_to_send_and_receive_carries_the_context() {
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::channel(jobs(&recorder), 8);
    let sending = async {
        sender.send(()).await.unwrap();
        sender.try_send(()).unwrap();
        sender.send_timeout((), Duration::from_secs(9)).await.unwrap();
        sender.reserve().await.unwrap().send(());
        sender.try_reserve().unwrap().send(());
        sender.downgrade().upgrade().unwrap().send(()).await.unwrap();
    };
    sending.with_context(remote(7, true)).await;
    let (blocking, context) = (sender.clone(), remote(7, true));
    assert!(blocking.same_channel(&sender));
    std::thread::spawn(move || in_context(&context, || blocking.blocking_send(()))).join().unwrap().unwrap();
    assert_eq!(receiver.len(), 7);
    let seen = |item: WithContext<()>| assert_eq!(in_context(item.context(), current), SpanId::from(7));
    seen(receiver.recv().await.unwrap());
    seen(receiver.try_recv().unwrap());
    seen(std::future::poll_fn(|cx| receiver.poll_recv(cx)).await.unwrap());
    let mut receiver = std::thread::spawn(move || {
        seen(receiver.blocking_recv().unwrap());
        receiver
    })
    .join()
    .unwrap();
    let mut rest = Vec::new();
    receiver.recv_many(&mut rest, 9).await;
    assert_eq!(rest.len(), 3);
    rest.into_iter().for_each(seen);
    assert_eq!(recorder.metric("channel.queue.duration").count(), 7);
    recorder.assert_clean();
}

#[tokio::test]
async fn what_the_filter_leaves_out_carries_the_context_on() {
    let recorder = Recorder::new();
    let quiet = TaskInstrumentation::new(options(&recorder).with_filter(|_| false));
    let (sender, mut receiver) = mpsc::channel(Channel::new("jobs").with_instrumentation(&quiet), 1);
    in_context(&remote(7, true), || sender.try_send(())).unwrap();
    let seen = receiver.process(async |()| current().to_string()).await.unwrap();
    assert_eq!(seen, SpanId::from(7).to_string());
    assert_eq!((recorder.spans().len(), recorder.metrics()), (0, String::new()));
}

#[tokio::test]
async fn a_handler_that_fails_is_an_error_of_its_item() {
    let recorder = Recorder::new();
    let (sender, mut receiver) = mpsc::channel(jobs(&recorder), 1);
    sender.try_send(()).unwrap();
    let failed = receiver.process(async |()| Err::<(), _>(std::fmt::Error)).await.unwrap();
    assert!(failed.is_err());
    assert_eq!(error_type(&recorder.span("process jobs")).as_deref(), Some("core::fmt::Error"));
    let durations = recorder.metric("channel.process.duration").with("error.type", "core::fmt::Error");
    assert_eq!(durations.count(), 1);
    recorder.assert_clean();
}
