//! Rebalances of a group whose members process concurrently.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use otel_kafka::{Lanes, StreamConsumer};
use otel_testing::Recorder;
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use tokio::sync::Notify;

use crate::support::{LONG, config, error_type, member_of, options, recorder, setting, topic, until};

const STRATEGIES: [&str; 2] = ["range", "cooperative-sticky"];

/// The longest wait for partitions that a drain deadline of one second holds back. It is below the default drain deadline, 10 s.
const PROMPT: Duration = Duration::from_secs(9);

/// Returns a member that commits automatically, soon after a message has been delivered to it.
fn member(topic: &str, strategy: &str, recorder: &Recorder) -> StreamConsumer {
    let mut config = member_of(&setting("KAFKA_BROKERS"), topic);
    config.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "500");
    config.set("enable.auto.commit", "true").set("auto.commit.interval.ms", "20");
    config.set("partition.assignment.strategy", strategy);
    let member: StreamConsumer = config.create().unwrap();
    let member = member.with_options(options(recorder));
    member.subscribe(&[topic]).unwrap();
    member
}

/// Writes `each` messages to each of two partitions.
fn write(topic: &str, each: usize) {
    let producer: FutureProducer = config().create().unwrap();
    for number in 0..2 * each {
        let payload = number.to_string();
        let partition = i32::try_from(number % 2).unwrap();
        let record = FutureRecord::<str, _>::to(topic).payload(&payload).partition(partition);
        drop(producer.send_result(record).map_err(|(error, _)| error).unwrap());
    }
    producer.flush(LONG).unwrap();
}

/// Polls `member` until it has partitions, and returns the time that took.
async fn time_to_partitions(member: &StreamConsumer) -> Duration {
    let begun = Instant::now();
    tokio::select! {
        () = until("partitions", || member.assignment().is_ok_and(|list| list.count() > 0)) => {}
        () = async { loop { let _ = member.recv().await; } } => {}
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_not_started_and_what_runs_is_finished() {
    for strategy in STRATEGIES {
        let (recorder, topic) = (recorder(), topic("drain", 2, &[]).await);
        write(&topic, 300);
        let first = member(&topic, strategy, &recorder);
        let (handled, stop) = (AtomicUsize::new(0), Notify::new());
        // Longer than the backlog takes.
        let lanes = Lanes::new(4).with_drain_deadline(Duration::from_secs(60));
        let running = first.for_each_concurrent(lanes, stop.notified(), async |_| {
            tokio::time::sleep(Duration::from_millis(100)).await;
            handled.fetch_add(1, Ordering::SeqCst);
        });
        let script = async {
            until("some messages", || handled.load(Ordering::SeqCst) >= 4).await;
            let other = crate::support::recorder();
            let second = member(&topic, strategy, &other);
            // The backlog takes 30 s.
            let waited = time_to_partitions(&second).await;
            assert!(waited < Duration::from_secs(20), "{strategy}: {waited:?}");
        };
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            () = script => {}
        }
        let ends: BTreeSet<_> = recorder.spans().iter().filter_map(error_type).collect();
        // The loop itself is dropped at the end, with what it runs then.
        assert!(ends.iter().all(|end| end == "cancelled"), "{ends:?}");
        let cancelled = recorder.spans().iter().filter(|span| error_type(span).is_some()).count();
        assert!(cancelled <= 2, "{strategy}: {cancelled}");
        recorder.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_never_ends_behind_a_full_queue_holds_the_group_up_to_the_deadline() {
    for strategy in STRATEGIES {
        let (recorder, topic) = (recorder(), topic("stuck", 2, &[]).await);
        write(&topic, 50);
        let first = member(&topic, strategy, &recorder);
        let begun = AtomicUsize::new(0);
        let lanes = Lanes::new(4).with_read_ahead(10).with_drain_deadline(Duration::from_secs(1));
        let running = first.for_each_concurrent(lanes, std::future::pending(), async |_| {
            begun.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        });
        let script = async {
            until("both partitions", || begun.load(Ordering::SeqCst) == 2).await;
            let second = member(&topic, strategy, &crate::support::recorder());
            let waited = time_to_partitions(&second).await;
            assert!(waited < PROMPT, "{strategy}: {waited:?}");
        };
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            () = script => {}
        }
        recorder.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_is_kept_and_not_polled_holds_the_group_up_to_the_deadline_and_a_second() {
    for (strategy, revoked) in STRATEGIES.into_iter().zip([2, 1]) {
        let (recorder, topic) = (recorder(), topic("kept", 2, &[]).await);
        write(&topic, 50);
        let first = member(&topic, strategy, &recorder);
        let begun = AtomicUsize::new(0);
        let lanes = Lanes::new(4).with_drain_deadline(Duration::from_secs(1));
        let mut kept = std::pin::pin!(first.for_each_concurrent(lanes, std::future::pending(), async |_| {
            begun.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }));
        tokio::select! {
            ended = &mut kept => panic!("{ended:?}"),
            () = until("both partitions", || begun.load(Ordering::SeqCst) == 2) => {}
        }
        let second = member(&topic, strategy, &crate::support::recorder());
        let begun = Instant::now();
        let rebalances = || {
            let rebalances = recorder.metric("messaging.kafka.rebalances");
            rebalances.with("messaging.kafka.rebalance.type", "revoke").sum()
        };
        // Another poll receives the revocation. After that the first member need not be polled, but for the second round of
        // a cooperative rebalance.
        let goes_on = || strategy == "cooperative-sticky" || rebalances() == 0.0;
        let polls = async {
            while goes_on() {
                let _ = tokio::time::timeout(Duration::from_millis(50), first.recv()).await;
            }
            std::future::pending().await
        };
        let message = tokio::select! {
            message = tokio::time::timeout(LONG, second.recv()) => message.unwrap().unwrap(),
            () = polls => unreachable!("it is pending"),
        };
        assert_eq!(message.offset(), 0, "{strategy}: what did not end is delivered again");
        let waited = begun.elapsed();
        assert!(waited < PROMPT, "{strategy}: {waited:?}");
        let cancelled = || recorder.spans().iter().filter_map(error_type).collect::<Vec<_>>();
        assert_eq!(cancelled(), [""; 0]);
        let settled = || first.assignment().is_ok_and(|list| list.count() == 1);
        tokio::select! {
            ended = &mut kept => panic!("{ended:?}"),
            () = until("the cancelled handlers", || cancelled().len() == revoked && settled()) => {}
        }
        assert_eq!(cancelled(), vec!["cancelled"; revoked]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_loses_nothing_although_offsets_are_committed_at_delivery() {
    for strategy in STRATEGIES {
        let (recorder, topic) = (recorder(), topic("kept", 2, &[]).await);
        write(&topic, 100);
        let (seen, all) = (Mutex::new(BTreeSet::new()), Notify::new());
        let work = async |message: otel_kafka::BorrowedMessage<'_>| {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let mut seen = seen.lock().unwrap();
            seen.insert(String::from_utf8_lossy(message.payload().unwrap()).into_owned());
            if seen.len() == 200 {
                all.notify_waiters();
            }
        };
        let first = member(&topic, strategy, &recorder);
        let finished = all.notified();
        let running = first.for_each_concurrent(4, std::future::pending(), work);
        let script = async {
            until("some messages", || seen.lock().unwrap().len() >= 10).await;
            let second = member(&topic, strategy, &recorder);
            let running = second.for_each_concurrent(4, std::future::pending(), work);
            tokio::time::timeout(LONG, running).await
        };
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            ended = script => panic!("{strategy}: {ended:?}, {} of 200", seen.lock().unwrap().len()),
            () = finished => {}
        }
    }
}
