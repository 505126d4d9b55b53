//! The adapters that call a handler for each message.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use opentelemetry::Context;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _};
use otel_kafka::{Acknowledgement, Lanes};
use otel_testing::Recorder;
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use tokio::sync::{Notify, oneshot};

use crate::support::{
    LONG, cluster, consumer, consumer_config, error_type, headers, options, traceparent, until, write,
    write_to,
};

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_processed_in_order_until_it_is_stopped() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None), ("b", None), ("c", None)]).await;
    let consumer = consumer(&cluster, options(&recorder));
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        let (stop, seen) = (Mutex::new(Some(stop)), Mutex::new(Vec::new()));
        let stopped = async {
            let _ = stopped.await;
        };
        let ended = consumer
            .for_each(stopped, async |message| {
                if message.offset() == 1 {
                    drop(stop.lock().unwrap().take());
                }
                tokio::task::yield_now().await;
                seen.lock().unwrap().push(message.payload().unwrap().to_vec());
                if message.offset() == 0 { Err("no") } else { Ok(()) }
            })
            .await;
        (ended, seen.into_inner().unwrap())
    });
    let (ended, seen) = running.await.unwrap();
    assert_eq!((ended, seen), (Ok(()), vec![b"a".to_vec(), b"b".to_vec()]));
    let errors: Vec<_> = recorder.spans().iter().map(error_type).collect();
    assert_eq!(errors, [Some("&str".to_owned()), None]);
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_processed_side_by_side_and_each_in_its_order() {
    let (recorder, cluster) = (Recorder::new(), cluster(2));
    for payload in ["a", "b"] {
        for partition in 0..2 {
            write_to(&cluster, partition, payload, None).await;
        }
    }
    let consumer = consumer(&cluster, options(&recorder));
    let running = tokio::spawn(async move {
        let (begun, both, done) = (AtomicUsize::new(0), Notify::new(), Notify::new());
        let seen = Mutex::new(Vec::new());
        let ended = consumer
            .for_each_concurrent(10, done.notified(), async |message| {
                // The first message of each partition waits for that of the other: sequential processing would
                // deadlock.
                if message.offset() == 0 {
                    let other = both.notified();
                    if begun.fetch_add(1, Ordering::SeqCst) == 0 {
                        other.await
                    } else {
                        both.notify_waiters()
                    }
                }
                let own = Context::current().span().span_context().span_id();
                tokio::task::yield_now().await;
                assert_eq!(own, Context::current().span().span_context().span_id());
                let mut seen = seen.lock().unwrap();
                seen.push((message.partition(), message.offset(), own));
                if seen.len() == 4 {
                    done.notify_one();
                }
            })
            .await;
        (ended, seen.into_inner().unwrap())
    });
    let (ended, mut seen) = running.await.unwrap();
    assert_eq!(ended, Ok(()));
    for partition in 0..2 {
        let offsets: Vec<_> = seen.iter().filter(|(p, _, _)| *p == partition).map(|(_, o, _)| *o).collect();
        assert_eq!(offsets, [0, 1]);
    }
    seen.dedup_by_key(|(_, _, span)| *span);
    assert_eq!(seen.len(), 4, "each has its own span");
    assert_eq!(recorder.spans().len(), 4);
    recorder.assert_clean();
}

#[tokio::test]
async fn no_more_is_in_hand_than_allowed_and_all_of_it_is_finished() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None), ("b", None), ("c", None), ("d", None)]).await;
    let consumer = consumer(&cluster, options(&recorder));
    let (stop, go) = (Notify::new(), Notify::new());
    let received = || recorder.metric("messaging.client.consumed.messages").sum();
    let lanes = Lanes::new(1).with_read_ahead(1);
    let running = consumer.for_each_concurrent(lanes, stop.notified(), async |_| go.notified().await);
    let script = async {
        until("two messages", || received() == 2.0).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(received(), 2.0);
        stop.notify_one();
        for _ in 0..2 {
            go.notify_one();
            let before = recorder.spans().len();
            until("a message to be done", || recorder.spans().len() > before).await;
        }
    };
    let (ended, ()) = futures_util::join!(running, script);
    assert_eq!((ended, received()), (Ok(()), 2.0));
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_let_go_when_what_is_in_hand_is_done() {
    for strategy in ["range", "cooperative-sticky"] {
        let (recorder, cluster) = (Recorder::new(), cluster(2));
        for partition in 0..2 {
            write_to(&cluster, partition, "a", None).await;
        }
        let member = || -> otel_kafka::StreamConsumer {
            let mut config = crate::support::consumer_config(&cluster);
            config.set("partition.assignment.strategy", strategy).create().unwrap()
        };
        let first = member().with_options(options(&recorder));
        first.subscribe(&["orders"]).unwrap();
        let (stop, go) = (Notify::new(), Notify::new());
        let begun = AtomicUsize::new(0);
        let running = first.for_each_concurrent(10, stop.notified(), async |message| {
            // Nothing is committed, so the messages are delivered again after the rebalance.
            if begun.fetch_add(1, Ordering::SeqCst) < 2 {
                go.notified().await;
                // A partition is still assigned while its messages are processed.
                let assigned = first.assignment().unwrap();
                assert!(assigned.find_partition("orders", message.partition()).is_some());
            }
        });
        let revoked = || {
            let rebalances = recorder.metric("messaging.kafka.rebalances");
            rebalances.with("messaging.kafka.rebalance.type", "revoke").sum()
        };
        let script = async {
            until("both messages", || begun.load(Ordering::SeqCst) == 2).await;
            let second = member();
            second.subscribe(&["orders"]).unwrap();
            let both = async {
                until("the revocation", || revoked() == 1.0).await;
                assert_eq!(second.assignment().unwrap().count(), 0);
                go.notify_waiters();
                until("the second member", || second.assignment().unwrap().count() == 1).await;
            };
            // A member stays in the group only while it is polled.
            tokio::select! {
                () = both => {}
                error = async { loop { let _ = second.recv().await; } } => error,
            }
            stop.notify_one();
        };
        let (ended, ()) = futures_util::join!(running, script);
        assert_eq!(ended, Ok(()));
        assert!(recorder.spans().iter().all(|span| error_type(span).is_none()));
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn an_adapter_that_is_dropped_ends_what_it_had_and_holds_nothing_back() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None), ("b", None)]).await;
    let consumer = consumer(&cluster, options(&recorder));
    let begun = Notify::new();
    tokio::select! {
        _ = consumer.for_each_concurrent(10, std::future::pending(), async |_| {
            begun.notify_one();
            std::future::pending::<()>().await;
        }).with_context(Context::new()) => panic!("it never ends"),
        () = begun.notified() => {}
    }
    let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    assert_eq!(errors, ["cancelled"]);
    // Closing the consumer revokes its partitions, and no adapter defers that any more.
    drop(consumer);
    recorder.assert_clean();
}

fn context(id: u64) -> Option<rdkafka::message::OwnedHeaders> {
    Some(headers(&[("traceparent", &traceparent(id))]))
}

/// Returns the committed offset of partition 0.
fn committed(consumer: &otel_kafka::StreamConsumer) -> rdkafka::Offset {
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition("orders", 0);
    let committed = consumer.committed_offsets(list, LONG).unwrap();
    committed.find_partition("orders", 0).unwrap().offset()
}

#[tokio::test]
async fn what_succeeds_is_committed_up_to_the_first_failure() {
    for (concurrent, mode) in [
        (false, Acknowledgement::OnSuccess),
        (true, Acknowledgement::OnSuccess),
        (false, Acknowledgement::ByOutcome),
    ] {
        let (recorder, cluster) = (Recorder::new(), cluster(1));
        write(&cluster, &[("a", context(7)), ("b", None), ("c", None), ("d", None)]).await;
        let options = options(&recorder).with_acknowledgement(mode);
        let consumer = consumer(&cluster, options);
        let stop = Notify::new();
        let handler = async |message: otel_kafka::BorrowedMessage<'_>| {
            if message.offset() == 3 {
                stop.notify_one();
            }
            if message.offset() == 2 { Err("no") } else { Ok(()) }
        };
        let ended = if concurrent {
            consumer.for_each_concurrent(4, stop.notified(), handler).await
        } else {
            consumer.for_each(stop.notified(), handler).await
        };
        assert_eq!(ended, Ok(()));
        until("the commit", || committed(&consumer) != rdkafka::Offset::Invalid).await;
        until("the last commit", || committed(&consumer) == rdkafka::Offset::Offset(2)).await;
        let commits: Vec<_> =
            recorder.spans().into_iter().filter(|span| span.name == "commit orders").collect();
        assert_eq!(commits.len(), 2, "the failed message and the one after it are not acknowledged");
        assert_eq!(commits[0].links[0].span_context.span_id(), 7.into());
        recorder.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_acknowledged_again_after_its_next_assignment() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None), ("b", None)]).await;
    let options = options(&recorder).with_acknowledgement(Acknowledgement::OnSuccess);
    let consumer: otel_kafka::StreamConsumer = consumer_config(&cluster).create().unwrap();
    let consumer = consumer.with_options(options);
    consumer.subscribe(&["orders"]).unwrap();
    let (stop, is_reassigned) = (Notify::new(), AtomicBool::new(false));
    let running = consumer.for_each(stop.notified(), async |message| {
        if message.offset() == 0 {
            // Another member processes the message, and the partition comes back.
            let mut list = rdkafka::TopicPartitionList::new();
            list.add_partition_offset("orders", 0, rdkafka::Offset::Offset(1)).unwrap();
            consumer.commit(&list, rdkafka::consumer::CommitMode::Sync).unwrap();
            consumer.unsubscribe();
            consumer.subscribe(&["orders"]).unwrap();
            is_reassigned.store(true, Ordering::SeqCst);
            return Err("no");
        }
        if is_reassigned.load(Ordering::SeqCst) {
            stop.notify_one();
        }
        Ok(())
    });
    assert_eq!(tokio::time::timeout(LONG, running).await.unwrap(), Ok(()));
    until("the commit", || committed(&consumer) == rdkafka::Offset::Offset(2)).await;
    recorder.assert_clean();
}

#[tokio::test]
async fn a_failed_message_that_is_processed_later_is_acknowledged() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None), ("b", None)]).await;
    let options = options(&recorder)
        .with_acknowledgement(Acknowledgement::StoredOnSuccess)
        .with_stored_offset_spans(true);
    let consumer = consumer(&cluster, options);
    let (stop, runs) = (Notify::new(), AtomicUsize::new(0));
    let ended = consumer
        .for_each(stop.notified(), async |message| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            if run == 1 {
                // Delivers both messages again.
                consumer.seek("orders", 0, rdkafka::Offset::Beginning, LONG).unwrap();
            }
            if run == 3 {
                stop.notify_one();
            }
            assert_eq!(message.offset(), [0, 1, 0, 1][run]);
            if run == 0 { Err("no") } else { Ok(()) }
        })
        .await;
    assert_eq!(ended, Ok(()));
    let stored = recorder.spans().iter().filter(|span| span.name == "store_offset orders").count();
    assert_eq!(stored, 2, "of the second delivery alone");
    consumer.commit_consumer_state(rdkafka::consumer::CommitMode::Sync).unwrap();
    assert_eq!(committed(&consumer), rdkafka::Offset::Offset(2));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_handler_that_never_ends_holds_a_revocation_up_to_the_deadline() {
    let (recorder, cluster) = (Recorder::new(), cluster(2));
    write_to(&cluster, 0, "a", None).await;
    write_to(&cluster, 0, "b", None).await;
    let member =
        || -> otel_kafka::StreamConsumer { crate::support::consumer_config(&cluster).create().unwrap() };
    let first = member().with_options(options(&recorder));
    first.subscribe(&["orders"]).unwrap();
    let (stop, begun) = (Notify::new(), Notify::new());
    let lanes = Lanes::new(4).with_drain_deadline(std::time::Duration::from_millis(200));
    let running = first.for_each_concurrent(lanes, stop.notified(), async |_| {
        begun.notify_one();
        std::future::pending::<()>().await;
    });
    let script = async {
        begun.notified().await;
        let second = member();
        second.subscribe(&["orders"]).unwrap();
        tokio::select! {
            () = until("the second member", || second.assignment().unwrap().count() == 1) => {}
            error = async { loop { let _ = second.recv().await; } } => error,
        }
        // The message that waited is not processed by this member as long as another owns its partition. If the group was
        // rebalanced more than once, this member owned the partition again in between.
        let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
        let revoked = recorder
            .metric("messaging.kafka.rebalances")
            .with("messaging.kafka.rebalance.type", "revoke")
            .sum();
        assert!(errors.iter().all(|error| error == "cancelled"), "{errors:?}");
        assert!(!errors.is_empty() && errors.len() as f64 <= revoked, "{errors:?} of {revoked} revocations");
    };
    tokio::select! {
        _ = running => panic!("it was not stopped"),
        () = script => {}
    }
    recorder.assert_clean();
}
