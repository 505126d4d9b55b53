//! A handler that runs longer than `max.poll.interval.ms` while a rebalance waits for it: its member loses the partitions,
//! and has some again afterwards.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use otel_kafka::{BorrowedMessage, StreamConsumer};
use otel_testing::Recorder;
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::Notify;

use crate::support::{LONG, config, error_type, member_of, options, recorder, setting, topic, until};

fn member(topic: &str, recorder: &Recorder) -> StreamConsumer {
    let mut config = member_of(&setting("KAFKA_BROKERS"), topic);
    config.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "500");
    config.set("max.poll.interval.ms", "6000");
    let member: StreamConsumer = config.create().unwrap();
    let member = member.with_options(options(recorder));
    member.subscribe(&[topic]).unwrap();
    member
}

/// Runs a loop of the member again after each error, as a service does.
async fn run<'s, F: Future<Output = ()>>(
    member: &'s StreamConsumer,
    handler: impl Fn(BorrowedMessage<'s>) -> F,
) {
    loop {
        // The deadline of draining, 10 s, is longer than the interval.
        let ended = member.for_each_concurrent(4, std::future::pending(), &handler).await;
        assert!(ended.is_err(), "only an error ends the loop");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_handler_is_overdue_comes_back() {
    let (recorder, topic) = (recorder(), topic("overdue", 2, &[]).await);
    let producer: FutureProducer = config().create().unwrap();
    for number in 0..6 {
        let payload = number.to_string();
        let record = FutureRecord::<str, _>::to(&topic).payload(&payload).partition(number % 2);
        producer.send(record, LONG).await.unwrap();
    }
    let (first, begun) = (member(&topic, &recorder), Notify::new());
    let (is_overdue, seen) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let number =
        |message: &BorrowedMessage<'_>| String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
    let of_first = async |message: BorrowedMessage<'_>| {
        if !is_overdue.swap(true, Ordering::SeqCst) {
            begun.notify_one();
            std::future::pending::<()>().await;
        }
        seen.lock().unwrap().insert(number(&message));
    };
    let script = async {
        begun.notified().await;
        let second = member(&topic, &crate::support::recorder());
        let of_second = async |message: BorrowedMessage<'_>| {
            seen.lock().unwrap().insert(number(&message));
        };
        let settled = async {
            until("every message", || seen.lock().unwrap().len() == 6).await;
            let has_one = |member: &StreamConsumer| member.assignment().is_ok_and(|list| list.count() == 1);
            until("a partition for each", || has_one(&first) && has_one(&second)).await;
        };
        tokio::select! {
            () = run(&second, of_second) => {}
            () = settled => {}
        }
    };
    tokio::select! {
        () = run(&first, of_first) => {}
        () = script => {}
    }
    let lost = recorder.spans().iter().filter_map(error_type).collect::<Vec<_>>();
    assert_eq!(lost, ["cancelled"], "{}", recorder.tree());
    recorder.assert_clean();
}
