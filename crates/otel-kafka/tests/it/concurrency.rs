//! Processing side by side: of a backlog, of partitions with queues of their own, and by several loops of one consumer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use otel_kafka::{BaseConsumer, Lanes, StreamConsumer};
use otel_testing::Recorder;
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::producer::{FutureRecord, Producer as _};
use tokio::sync::Notify;

use crate::support::{
    Cluster, LONG, client, cluster, consumer, consumer_config, error_type, headers, next, options,
    traceparent, until, write, write_to,
};

/// Writes a backlog to four partitions.
fn write_backlog(cluster: &Cluster, each: usize) {
    let producer: rdkafka::producer::FutureProducer = client(cluster);
    for partition in 0..4 {
        for _ in 0..each {
            let record = FutureRecord::to("orders").key("k").payload("p").partition(partition);
            drop(producer.send_result(record).unwrap());
        }
    }
    producer.flush(LONG).unwrap();
}

/// Processes a backlog of four partitions, four handlers at once, and returns the mean number of running handlers: the
/// time of all handlers per time of the loop.
async fn mean_running(each: usize, read_ahead: usize) -> f64 {
    let (recorder, cluster) = (Recorder::new(), cluster(4));
    write_backlog(&cluster, each);
    let consumer = consumer(&cluster, options(&recorder));
    let (first, busy) = (OnceLock::new(), Mutex::new(Duration::ZERO));
    let (done, stop) = (AtomicUsize::new(0), Notify::new());
    let lanes = Lanes::new(4).with_read_ahead(read_ahead);
    let ended = consumer.for_each_concurrent(lanes, stop.notified(), async |_| {
        let begun = Instant::now();
        first.get_or_init(|| begun);
        tokio::time::sleep(Duration::from_millis(50)).await;
        *busy.lock().unwrap() += begun.elapsed();
        if done.fetch_add(1, Ordering::SeqCst) + 1 == 4 * each {
            stop.notify_one();
        }
    });
    assert_eq!(ended.await, Ok(()));
    let elapsed = first.get().unwrap().elapsed();
    assert_eq!((done.into_inner(), recorder.spans().len()), (4 * each, 4 * each));
    recorder.assert_clean();
    busy.into_inner().unwrap().as_secs_f64() / elapsed.as_secs_f64()
}

#[tokio::test]
async fn partitions_of_a_backlog_are_processed_side_by_side() {
    let mean = mean_running(40, 1024).await;
    // Four at best, one if the partitions are processed one after the other.
    assert!(mean >= 2.5, "{mean}");
}

#[tokio::test]
async fn a_partition_that_is_stuck_holds_no_other_one_up() {
    let (recorder, cluster) = (Recorder::new(), cluster(4));
    write_backlog(&cluster, 50);
    let consumer = consumer(&cluster, options(&recorder));
    let (others, go, stop) = (AtomicUsize::new(0), Notify::new(), Notify::new());
    let offsets = Mutex::new(Vec::new());
    let lanes = Lanes::new(4).with_read_ahead(10);
    let ended = consumer.for_each_concurrent(lanes, stop.notified(), async |message| {
        if message.partition() != 0 {
            if others.fetch_add(1, Ordering::SeqCst) + 1 == 3 * 50 {
                go.notify_one();
            }
            return;
        }
        if message.offset() == 0 {
            go.notified().await;
        }
        // After the pause, no message is missing or delivered twice.
        let mut offsets = offsets.lock().unwrap();
        offsets.push(message.offset());
        if offsets.len() == 50 {
            stop.notify_one();
        }
    });
    assert_eq!(tokio::time::timeout(LONG, ended).await.unwrap(), Ok(()));
    assert_eq!(offsets.into_inner().unwrap(), (0..50).collect::<Vec<_>>());
    assert_eq!(others.into_inner(), 150);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_end_of_a_partition_ends_no_loop() {
    for concurrent in [false, true] {
        let (recorder, cluster) = (Recorder::new(), cluster(1));
        write(&cluster, &[("a", None)]).await;
        let mut config = consumer_config(&cluster);
        let consumer: StreamConsumer = config.set("enable.partition.eof", "true").create().unwrap();
        let consumer = consumer.with_options(options(&recorder));
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset("orders", 0, rdkafka::Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let (stop, seen) = (Notify::new(), AtomicUsize::new(0));
        let handler = async |message: otel_kafka::BorrowedMessage<'_>| {
            if message.offset() == 1 {
                stop.notify_one();
            }
            seen.fetch_add(1, Ordering::SeqCst);
        };
        let script = async {
            until("the first message", || seen.load(Ordering::SeqCst) == 1).await;
            // A loop that has ended would not process this one.
            write(&cluster, &[("b", None)]).await;
        };
        let ended = if concurrent {
            tokio::join!(consumer.for_each_concurrent(2, stop.notified(), handler), script).0
        } else {
            tokio::join!(consumer.for_each(stop.notified(), handler), script).0
        };
        assert_eq!((ended, seen.into_inner()), (Ok(()), 2));
        assert!(recorder.spans().iter().all(|span| error_type(span).is_none()));
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn the_queue_of_a_partition_is_recorded_as_the_consumer_is() {
    let (recorder, cluster) = (Recorder::new(), cluster(2));
    write_to(&cluster, 1, "a", Some(headers(&[("traceparent", &traceparent(7))]))).await;
    let consumer = Arc::new(consumer(&cluster, options(&recorder)));
    let queue = consumer.split_partition_queue("orders", 1).unwrap();
    tokio::select! {
        message = queue.recv() => message.unwrap().process(async |_| ()).await,
        message = consumer.recv() => panic!("{message:?}"),
    }

    let base: BaseConsumer = consumer_config(&cluster).create().unwrap();
    let base = Arc::new(base.with_options(options(&recorder)));
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset("orders", 1, rdkafka::Offset::Beginning).unwrap();
    base.assign(&list).unwrap();
    let queue_of_base = base.split_partition_queue("orders", 1).unwrap();
    let message = loop {
        assert!(base.poll(Duration::ZERO).is_none());
        if let Some(message) = queue_of_base.poll(Duration::from_millis(100)) {
            break message.unwrap();
        }
    };
    message.processing().finish(&otel_kafka::Outcome::ok());
    let parents: Vec<_> = recorder.spans().iter().map(|span| span.parent_span_id).collect();
    assert_eq!(parents, [7.into(), 7.into()]);
    assert_eq!(recorder.metric("messaging.client.consumed.messages").sum(), 2.0);
    recorder.assert_clean();
}

#[test]
fn a_callback_is_called_when_the_queue_of_a_consumer_is_no_longer_empty() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    tokio::runtime::Runtime::new().unwrap().block_on(write(&cluster, &[("a", None)]));
    let consumer: BaseConsumer = consumer_config(&cluster).create().unwrap();
    let mut consumer = consumer.with_options(options(&recorder));
    let (sender, called) = std::sync::mpsc::channel();
    consumer.set_nonempty_callback(move || {
        let _ = sender.send(());
    });
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset("orders", 0, rdkafka::Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    called.recv_timeout(LONG).unwrap();
    assert_eq!(next(&consumer).payload(), Some(&b"a"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_begins_while_another_one_drains_releases_nothing() {
    let (recorder, cluster) = (Recorder::new(), cluster(2));
    write_to(&cluster, 0, "a", None).await;
    let member = || -> StreamConsumer { consumer_config(&cluster).create().unwrap() };
    let first = member().with_options(options(&recorder));
    let second = member();
    first.subscribe(&["orders"]).unwrap();
    let (begun, go, stop) = (Notify::new(), Notify::new(), Notify::new());
    let running = first.for_each_concurrent(4, stop.notified(), async |_| {
        begun.notify_one();
        go.notified().await;
    });
    let rebalances = || {
        let rebalances = recorder.metric("messaging.kafka.rebalances");
        rebalances.with("messaging.kafka.rebalance.type", "revoke").sum()
    };
    let script = async {
        begun.notified().await;
        second.subscribe(&["orders"]).unwrap();
        let late_stop = Notify::new();
        let both = async {
            until("the revocation", || rebalances() == 1.0).await;
            let late = first.for_each_concurrent(4, late_stop.notified(), async |_| ());
            let check = async {
                // The late loop is polled meanwhile.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(first.assignment().unwrap().count(), 2, "the first loop still processes");
                late_stop.notify_one();
            };
            assert_eq!(tokio::join!(late, check).0, Ok(()));
            assert_eq!(first.assignment().unwrap().count(), 2, "the end of the late loop releases nothing");
            stop.notify_one();
            go.notify_one();
            until("the second member", || second.assignment().unwrap().count() > 0).await;
        };
        tokio::select! {
            () = both => {}
            error = async { loop { let _ = second.recv().await; } } => error,
        }
    };
    let polls = async {
        let (ended, ()) = tokio::join!(running, script);
        assert_eq!(ended, Ok(()));
    };
    tokio::time::timeout(LONG, polls).await.unwrap();
    // librdkafka waits forever for an assignment that a consumer receives while it closes.
    let settled = async {
        let has_one = |consumer: &StreamConsumer| consumer.assignment().unwrap().count() == 1;
        until("a partition for each", || has_one(&first) && has_one(&second)).await;
    };
    tokio::select! {
        () = settled => {}
        error = async { loop { let _ = first.recv().await; } } => error,
        error = async { loop { let _ = second.recv().await; } } => error,
    }
    recorder.assert_clean();
}
