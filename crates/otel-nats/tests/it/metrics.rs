//! Names, units and attributes of the metrics.

use async_nats::HeaderMap;
use otel_testing::Recorder;

use crate::support::{bare, client, received, synchronize, unique};

#[tokio::test]
async fn a_message_from_end_to_end() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let client = client(&recorder).await;
    let mut subscriber = client.queue_subscribe(subject.clone(), "till".to_owned()).await.unwrap();
    synchronize(client.inner()).await;
    client.publish(subject.clone(), "a".into()).await.unwrap();
    received(&mut subscriber).await.process(async |_| ()).await;
    let expected = "\
messaging.client.consumed.messages (counter, {message})
    {messaging.consumer.group.name=till, messaging.destination.name=orders, messaging.operation.name=receive, messaging.system=nats} 1
messaging.client.operation.duration (histogram, s)
    {messaging.destination.name=orders, messaging.operation.name=publish, messaging.operation.type=send, messaging.system=nats} count 1, sum TIME
messaging.client.sent.messages (counter, {message})
    {messaging.destination.name=orders, messaging.operation.name=publish, messaging.system=nats} 1
messaging.process.duration (histogram, s)
    {messaging.consumer.group.name=till, messaging.destination.name=orders, messaging.operation.name=process, messaging.system=nats} count 1, sum TIME
";
    assert_eq!(recorder.metrics().replace(&subject, "orders"), expected);
}

#[tokio::test]
async fn subjects_under_one_pattern_and_replies_share_their_series() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let (client, other) = (client(&recorder).await, bare().await);
    let mut subscriber = client.subscribe(format!("{subject}.*")).await.unwrap();
    synchronize(client.inner()).await;
    for number in 0..3 {
        other.publish_with_headers(format!("{subject}.{number}"), HeaderMap::new(), "".into()).await.unwrap();
        received(&mut subscriber).await.process(async |_| ()).await;
        client.publish(other.new_inbox(), "".into()).await.unwrap();
    }
    let pattern = format!("{subject}.*");
    let process = recorder.metric("messaging.process.duration");
    assert_eq!(process.with("messaging.destination.template", pattern).count(), 3);
    let sent = recorder.metric("messaging.client.sent.messages");
    assert_eq!(sent.with("messaging.destination.template", "_INBOX").sum(), 3.0);
    assert!(!recorder.metrics().contains("messaging.destination.name"), "{}", recorder.metrics());
}
