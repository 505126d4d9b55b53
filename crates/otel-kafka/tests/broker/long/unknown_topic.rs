//! A topic that does not exist: librdkafka waits 30 s before it reports that (`topic.metadata.propagation.max.ms`).

use opentelemetry::trace::TraceContextExt as _;
use otel_kafka::FutureProducer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::FutureRecord;

use crate::support::{LONG, config, error_type, options, recorder};

#[tokio::test]
async fn a_topic_that_is_not_there_says_so() {
    let recorder = recorder();
    let producer: FutureProducer = config().set("message.timeout.ms", "60000").create().unwrap();
    let producer = producer.with_options(options(&recorder));
    let record = FutureRecord::<str, _>::to("never-made").payload("p");
    let (error, _) = producer.send(record, LONG).await.unwrap_err();
    assert!(matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
    ));
    let told = error_type(&recorder.span("send never-made"));
    assert_eq!(told, error.rdkafka_error_code().map(|code| format!("{code:?}")));
    assert!(!opentelemetry::Context::current().has_active_span());
    recorder.assert_clean();
}
