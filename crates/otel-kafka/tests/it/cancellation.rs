//! Futures that are dropped at each of their await points, and handlers that panic.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use otel_kafka::FutureProducer;
use otel_testing::Recorder;
use rdkafka::Message as _;
use rdkafka::producer::FutureRecord;

use crate::support::{
    LONG, attribute, client, cluster, config, consumer, error_type, messages, options, write,
};

#[tokio::test]
async fn a_send_that_is_dropped_before_it_is_polled_never_was() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    drop(producer.send(FutureRecord::to("orders").key("").payload("p"), LONG));
    assert_eq!((recorder.spans().len(), recorder.metrics()), (0, String::new()));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_send_that_is_dropped_in_the_queue_is_sent_and_told() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    let mut sending = Box::pin(producer.send(FutureRecord::to("orders").key("").payload("p"), LONG));
    assert!((&mut sending).now_or_never().is_none());
    drop(sending);
    recorder.wait_for_spans(1).await;
    let span = recorder.span("send orders");
    assert_eq!((error_type(&span), attribute(&span, "messaging.kafka.offset")), (None, Some("0".to_owned())));
    assert_eq!(messages(&cluster, 0, 1, |message| message.payload_len()), [1]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_send_that_is_dropped_before_the_queue_is_not_sent() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let mut config = config(&cluster);
    config.set("queue.buffering.max.messages", "1").set("linger.ms", "60000");
    let producer: FutureProducer = config.create().unwrap();
    let producer = producer.with_options(options(&recorder));
    let _first = producer.send_result(FutureRecord::to("orders").key("").payload("p")).unwrap();
    let mut sending = Box::pin(producer.send(FutureRecord::to("orders").key("").payload("p"), LONG));
    assert!((&mut sending).now_or_never().is_none());
    drop(sending);
    assert_eq!(error_type(&recorder.span("send orders")).as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn receiving_that_is_dropped_loses_nothing() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let consumer = consumer(&cluster, options(&recorder).with_receive_spans(true));
    for _ in 0..3 {
        assert!(consumer.recv().now_or_never().is_none());
    }
    assert_eq!(recorder.spans().len(), 0, "waiting for nothing is no span");
    write(&cluster, &[("a", None)]).await;
    assert_eq!(consumer.recv().await.unwrap().payload(), Some(&b"a"[..]));
    assert_eq!(recorder.spans().len(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn processing_that_is_dropped_or_panics_says_so() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    write(&cluster, &[("a", None), ("b", None), ("c", None)]).await;
    let consumer = consumer(&cluster, options(&recorder));

    let message = consumer.recv().await.unwrap();
    drop(message.process(async |_| ()));
    assert_eq!(recorder.spans().len(), 0, "the handler was never called");
    let mut processing = Box::pin(message.process(async |_| tokio::task::yield_now().await));
    assert!((&mut processing).now_or_never().is_none());
    drop(processing);

    let message = consumer.recv().await.unwrap();
    let panicked = AssertUnwindSafe(message.process(async |_| -> () { panic!("on purpose") }));
    assert!(panicked.catch_unwind().await.is_err());

    let message = consumer.recv().await.unwrap();
    let panicked = AssertUnwindSafe(|| {
        let mut processing = message.processing();
        processing.inside(|| panic!("on purpose"));
    });
    assert!(std::panic::catch_unwind(panicked).is_err());
    let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    assert_eq!(errors, ["cancelled", "panic", "panic"]);
    recorder.assert_clean();
}
