//! JetStream's processing loops: settlement, redelivery, and progress.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt as _;
use opentelemetry::trace::SpanId;
use otel_nats::jetstream::{JetStreamMessage, PullConsumer};
use otel_nats::{Acknowledgement, Lanes};
use otel_testing::Recorder;
use tokio::sync::{Barrier, Notify};

use crate::jetstream::{Fixture, durable};
use crate::support::{LONG, attribute, error_type, options};

/// A time for an acknowledgement that a test exceeds.
const SHORT: Duration = Duration::from_millis(300);

/// One that no test exceeds by being slow, and that does not take long.
const MEDIUM: Duration = Duration::from_secs(3);

fn waiting(name: &str, ack_wait: Duration) -> pull::Config {
    pull::Config { ack_wait, ..durable(name) }
}

/// Waits until the server has delivered at least so many messages, redeliveries included, and so many of them are
/// pending. Returns the number that it has delivered.
async fn delivered(consumer: &PullConsumer, least: u64, pending: usize) -> u64 {
    let begun = Instant::now();
    loop {
        let info = consumer.get_info().await.unwrap();
        let seen = (info.delivered.consumer_sequence, info.num_ack_pending);
        if seen.0 >= least && seen.1 == pending {
            return seen.0;
        }
        assert!(begun.elapsed() < LONG, "delivered and pending: {seen:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the names of the settlements with the sequences of their messages, in their order.
fn settled(recorder: &Recorder) -> Vec<String> {
    let spans = recorder.spans();
    let settled = spans
        .iter()
        .filter(|span| attribute(span, "messaging.operation.type").as_deref() == Some("settle"))
        .map(|span| {
            let name = attribute(span, "messaging.operation.name").unwrap();
            format!("{name} {}", attribute(span, "messaging.nats.stream.sequence").unwrap())
        });
    settled.collect()
}

#[tokio::test]
async fn a_loop_settles_as_the_user_has_chosen() {
    for (mode, ack_wait, expected) in [
        (Acknowledgement::Never, LONG, vec![]),
        (Acknowledgement::OnSuccess, MEDIUM, vec!["ack 1", "ack 2"]),
        (Acknowledgement::StoredOnSuccess, MEDIUM, vec!["ack 1", "ack 2"]),
        // The time for an acknowledgement is long: the rejection brings the message back.
        (Acknowledgement::ByOutcome, LONG, vec!["ack 1", "nak 2", "ack 2"]),
    ] {
        let recorder = Recorder::new();
        let fixture = Fixture::with_options(options(&recorder).with_acknowledgement(mode)).await;
        let consumer = fixture.consumer(waiting("loop", ack_wait)).await;
        for id in 1..=2 {
            fixture.write(id, &fixture.subject).await;
        }
        let wanted = if mode == Acknowledgement::Never { 2 } else { 3 };
        let (stop, seen) = (Notify::new(), RefCell::new(0));
        let mut messages = consumer.messages().await.unwrap();
        let handler = async |message: JetStreamMessage| {
            let info = message.info().unwrap();
            *seen.borrow_mut() += 1;
            if *seen.borrow() == wanted {
                stop.notify_one();
            }
            if (info.stream_sequence, info.delivered) == (2, 1) { Err("no") } else { Ok(()) }
        };
        let running = messages.process_each(stop.notified(), handler);
        tokio::time::timeout(LONG, running).await.unwrap().unwrap();
        assert_eq!(settled(&recorder), expected, "{mode:?}");
        assert_eq!(delivered(&consumer, wanted, if wanted == 2 { 2 } else { 0 }).await, wanted);

        let spans = recorder.spans();
        let processed: Vec<_> = spans.iter().filter(|span| span.name.starts_with("process ")).collect();
        let errors: Vec<_> = processed.iter().map(|span| error_type(span)).collect();
        assert_eq!(errors[..2], [None, Some("&str".to_owned())], "{mode:?}");
        if let Some(again) = processed.get(2) {
            assert_eq!(attribute(again, "messaging.nats.message.delivery_count").as_deref(), Some("2"));
            assert_eq!(again.parent_span_id, SpanId::from(2), "a redelivery is no replay");
        }
        // Each settlement links to the producer of its message.
        for span in spans.iter().filter(|span| !span.name.starts_with("process ")) {
            let sequence = attribute(span, "messaging.nats.stream.sequence").unwrap();
            assert_eq!(span.links[0].span_context.span_id(), SpanId::from(sequence.parse::<u64>().unwrap()));
        }
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_rejected_message_comes_back_after_the_delay() {
    let recorder = Recorder::new();
    let options = options(&recorder).with_acknowledgement(Acknowledgement::ByOutcome);
    let fixture = Fixture::with_options(options).await;
    fixture.write(1, &fixture.subject).await;
    let (stop, seen) = (Notify::new(), RefCell::new(Vec::new()));
    let mut messages = fixture.messages.with_nak_delay(SHORT);
    let handler = async |_: JetStreamMessage| {
        seen.borrow_mut().push(Instant::now());
        if seen.borrow().len() == 2 {
            stop.notify_one();
            return Ok(());
        }
        Err("no")
    };
    tokio::time::timeout(LONG, messages.process_each(stop.notified(), handler)).await.unwrap().unwrap();
    let seen = seen.into_inner();
    assert!(seen[1] - seen[0] >= SHORT, "{seen:?}");
    assert_eq!(settled(&recorder), ["nak 1", "ack 1"]);
}

#[tokio::test]
async fn a_handler_that_exceeds_the_time_for_an_acknowledgement_gets_its_message_again() {
    let recorder = Recorder::new();
    let options = options(&recorder).with_acknowledgement(Acknowledgement::OnSuccess);
    let fixture = Fixture::with_options(options).await;
    let consumer = fixture.consumer(waiting("loop", SHORT)).await;
    fixture.write(1, &fixture.subject).await;
    let mut messages = consumer.messages().await.unwrap();
    let (stop, counts) = (Notify::new(), RefCell::new(Vec::new()));
    let handler = async |message: JetStreamMessage| {
        let count = message.info().unwrap().delivered;
        counts.borrow_mut().push(count);
        if count == 1 {
            delivered(&consumer, 2, 1).await;
        } else {
            stop.notify_one();
        }
    };
    tokio::time::timeout(LONG, messages.process_each(stop.notified(), handler)).await.unwrap().unwrap();
    assert_eq!(counts.into_inner()[..2], [1, 2]);
    assert_eq!(settled(&recorder)[..2], ["ack 1", "ack 1"]);
    recorder.assert_clean();
}

#[tokio::test]
async fn progress_keeps_a_message_from_being_delivered_again() {
    let recorder = Recorder::new();
    let options = options(&recorder).with_acknowledgement(Acknowledgement::OnSuccess);
    let fixture = Fixture::with_options(options).await;
    // The handler takes longer than the time for an acknowledgement.
    let interval = MEDIUM / 4;
    let consumer = fixture.consumer(waiting("loop", MEDIUM)).await;
    fixture.write(1, &fixture.subject).await;
    let mut messages = consumer.messages().await.unwrap().with_progress(interval);
    let stop = Notify::new();
    let handler = async |_: JetStreamMessage| {
        recorder.wait_for_spans(5).await;
        stop.notify_one();
    };
    tokio::time::timeout(LONG, messages.process_each(stop.notified(), handler)).await.unwrap().unwrap();
    assert_eq!(settled(&recorder), [["progress 1"; 5].as_slice(), &["ack 1"]].concat());
    assert_eq!(delivered(&consumer, 1, 0).await, 1);
    let spans = recorder.spans();
    let process = spans.iter().find(|span| span.name.starts_with("process ")).unwrap();
    assert_eq!(spans[0].parent_span_id, process.span_context.span_id(), "{}", recorder.tree());
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_different_subjects_run_at_once_in_a_spawned_loop() {
    let recorder = Recorder::new();
    let options = options(&recorder).with_acknowledgement(Acknowledgement::OnSuccess);
    let fixture = Fixture::with_options(options).await;
    let subject = fixture.subject.clone();
    let consumer = fixture.consumer(durable("loop")).await;
    for (id, name) in (1..).zip(["a", "b", "a", "b"]) {
        fixture.write(id, &format!("{subject}.{name}")).await;
    }
    let mut messages = consumer.messages().await.unwrap();
    let running = tokio::spawn(async move {
        let (stop, seen, both) = (Notify::new(), Arc::new(Mutex::new(Vec::new())), Barrier::new(2));
        let handler = async |message: JetStreamMessage| {
            let sequence = message.info().unwrap().stream_sequence;
            // The first message of each subject waits for that of the other.
            if sequence <= 2 {
                both.wait().await;
            }
            seen.lock().unwrap().push(sequence);
            if seen.lock().unwrap().len() == 4 {
                stop.notify_one();
            }
        };
        let ended = messages.process_each_concurrent(2, stop.notified(), handler).await;
        ended.map(|()| seen.lock().unwrap().clone())
    });
    let seen = tokio::time::timeout(LONG, running).await.unwrap().unwrap().unwrap();
    let position = |sequence| seen.iter().position(|other| *other == sequence).unwrap();
    assert!(position(1) < position(3) && position(2) < position(4), "{seen:?}");
    let mut settled = settled(&recorder);
    settled.sort();
    assert_eq!(settled, ["ack 1", "ack 2", "ack 3", "ack 4"]);
    assert_eq!(delivered(&consumer, 4, 0).await, 4);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_concurrent_loop_reads_no_further_ahead_than_its_handlers_or_as_asked() {
    for (lanes, read) in [(Lanes::new(2), 3.0), (Lanes::new(2).with_read_ahead(5), 6.0)] {
        let recorder = Recorder::new();
        let options = options(&recorder).with_acknowledgement(Acknowledgement::OnSuccess);
        let fixture = Fixture::with_options(options).await;
        let consumer = fixture.consumer(durable("loop")).await;
        for id in 1..=10 {
            fixture.write(id, &fixture.subject).await;
        }
        let mut messages = consumer.messages().await.unwrap();
        let received = || recorder.metric("messaging.client.consumed.messages").sum();
        let (stop, is_first) = (Notify::new(), Cell::new(true));
        let handler = async |_: JetStreamMessage| {
            if !is_first.replace(false) {
                return;
            }
            // The client has all messages: it is the loop that reads no more.
            delivered(&consumer, 10, 10).await;
            let begun = Instant::now();
            while received() < read {
                assert!(begun.elapsed() < LONG, "{lanes:?}: {}", received());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(received(), read, "{lanes:?}");
            stop.notify_one();
        };
        let running = messages.process_each_concurrent(lanes, stop.notified(), handler);
        tokio::time::timeout(LONG, running).await.unwrap().unwrap();
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_loop_returns_the_error_of_its_stream() {
    let recorder = Recorder::new();
    let fixture = Fixture::with_options(options(&recorder).with_receive_spans(true)).await;
    let consumer = fixture.consumer(durable("loop")).await;
    fixture.write(1, &fixture.subject).await;
    let mut messages = consumer.messages().await.unwrap();
    let handler = async |_: JetStreamMessage| {
        let context = fixture.context.inner();
        context.delete_consumer_from_stream("loop", &fixture.stream).await.unwrap();
    };
    let running = messages.process_each(std::future::pending(), handler);
    let error = tokio::time::timeout(LONG, running).await.unwrap().unwrap_err();
    let error = error.downcast::<pull::MessagesError>().unwrap();
    assert_eq!(error.kind(), pull::MessagesErrorKind::ConsumerDeleted);
    assert!(messages.next().await.is_none());
    let spans = recorder.spans();
    let seen: Vec<_> = spans.iter().map(|span| (&*span.name, error_type(span))).collect();
    let stream = &fixture.stream;
    let [receive, process] = ["receive", "process"].map(|name| format!("{name} {stream}"));
    assert_eq!(seen, [(&*receive, None), (&*process, None), ("receive", Some("_OTHER".to_owned()))]);
    assert_eq!(spans[0].links[0].span_context.span_id(), SpanId::from(1));
    recorder.assert_clean();
}
