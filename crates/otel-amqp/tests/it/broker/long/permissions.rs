//! A user that may not write.

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, ConnectionProperties};
use otel_testing::Recorder;

use crate::broker::Broker;
use crate::support::{confirming, error_type};

#[tokio::test]
async fn a_message_without_permission_fails() {
    let recorder = Recorder::new();
    let broker = Broker::start().await;
    let reader = broker.channel("reader", &recorder, ConnectionProperties::default()).await;
    confirming(&reader).await;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let sent = reader.basic_publish("amq.topic".into(), "key".into(), options, b"p", properties).await;
    assert!(sent.unwrap().await.is_err());
    let refused = recorder.span("publish amq.topic:key");
    assert_eq!(error_type(&refused).as_deref(), Some("ACCESS_REFUSED"));
    recorder.assert_clean();
}
