//! A broker whose memory alarm blocks its publishers.

use std::time::{Instant, SystemTime};

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use lapin::options::{BasicAckOptions, BasicPublishOptions};
use lapin::{BasicProperties, ConnectionProperties, Event};
use otel_testing::Recorder;

use crate::broker::Broker;
use crate::support::{LONG, attribute, confirming, consume, error_type, queue, received, send};

const BLOCKED: &str = "messaging.rabbitmq.connection.blocked";

async fn until(events: &mut (impl Stream<Item = Event> + Unpin), is_expected: fn(&Event) -> bool) {
    let wait = async { while !is_expected(&events.next().await.unwrap()) {} };
    tokio::time::timeout(LONG, wait).await.unwrap();
}

#[tokio::test]
async fn the_span_of_a_blocked_publisher_lasts_until_the_broker_unblocks_it() {
    let recorder = Recorder::builder().with_patience(LONG).build();
    let broker = Broker::start().await;
    let connection = broker.connect("guest", &recorder, ConnectionProperties::default()).await;
    // The connection's events are the application's: instrumentation takes none of them.
    let mut events = connection.events_listener();
    let channel = connection.create_channel().await.unwrap();
    confirming(&channel).await;
    let queue = queue(&channel, "jobs").await;
    let mut consumer = consume(&channel, &queue).await;

    send(&channel, &queue, BasicProperties::default()).await;
    let delivery = received(&mut consumer).await;
    broker.control(&["set_vm_memory_high_watermark", "0.000001"]);
    let publish = || {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        channel.basic_publish("".into(), queue.as_str().into(), options, b"p", properties)
    };
    // The broker blocks a connection when it publishes, and confirms that message later.
    let mut confirm = publish().await.unwrap();
    until(&mut events, |event| matches!(event, Event::ConnectionBlocked(_))).await;
    let (clock, begun) = (Instant::now(), SystemTime::now());
    assert!((&mut confirm).now_or_never().is_none());
    let mut late = Box::pin(publish());
    assert!((&mut late).now_or_never().is_none());
    let mut ack = Box::pin(delivery.ack(BasicAckOptions::default()));
    assert!((&mut ack).now_or_never().is_none(), "lapin writes nothing to a connection that is blocked");
    assert_eq!(recorder.spans().len(), 1);
    broker.control(&["set_vm_memory_high_watermark", "0.8"]);
    let blocked_for = clock.elapsed();
    until(&mut events, |event| matches!(event, Event::ConnectionUnblocked)).await;
    let finished = async {
        assert!(confirm.await.unwrap().is_ack());
        assert!(late.await.unwrap().await.unwrap().is_ack());
        assert!(ack.await.unwrap());
    };
    tokio::time::timeout(LONG, finished).await.unwrap();
    send(&channel, &queue, BasicProperties::default()).await;

    let spans = recorder.spans();
    let published: Vec<_> = spans.iter().filter(|span| span.name.starts_with("publish")).collect();
    let announced: Vec<_> = published.iter().map(|span| attribute(span, BLOCKED)).collect();
    assert_eq!(announced, [None, Some("true".to_owned()), Some("true".to_owned()), None]);
    assert!(published.iter().all(|span| error_type(span).is_none()), "{}", recorder.tree());
    for span in &published[1..3] {
        let lasted = span.end_time.duration_since(begun).unwrap();
        assert!(lasted >= blocked_for, "{lasted:?} of {blocked_for:?}");
    }
    recorder.assert_clean();
}
