//! Retries of publishing: the attempts are sibling `send` spans of otel-messaging.

use opentelemetry::trace::SpanKind;
use opentelemetry::{Context, InstrumentationScope};
use otel_messaging::{DestinationDescription, MessagingInstrumentation, Options};
use otel_operation::Outcome;
use otel_resilience::Retry;
use otel_testing::Recorder;

use crate::support::{error_type, instrumentation};

#[tokio::test(start_paused = true)]
async fn attempts_to_publish_are_sibling_send_spans() {
    let recorder = Recorder::new();
    let options = Options::new().with_tracer_provider(recorder.tracer_provider());
    let options = options.with_meter_provider(recorder.meter_provider());
    let scope = InstrumentationScope::builder("test").build();
    let messaging = MessagingInstrumentation::builder("parrot", scope).build(options);
    let orders = messaging.destination(&["orders"], || DestinationDescription::new().with_name("orders"));
    let mut refusals = vec!["broker_busy", "timeout"];

    let publish = || {
        // As a client does it: the span starts with the call, and ends with the acknowledgement of the broker.
        let (send, refusal) = (orders.send("send").start(&Context::current(), |_| {}), refusals.pop());
        async move {
            tokio::task::yield_now().await;
            send.finish(&refusal.map_or_else(Outcome::ok, Outcome::error));
            refusal.map_or(Ok(()), |_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut)))
        }
    };
    let retry = Retry::new("publish order").with_span(true).with_instrumentation(&instrumentation(&recorder));
    retry.run(publish, |error| error.kind() == std::io::ErrorKind::TimedOut).await.unwrap();

    recorder.assert_clean();
    let logical = recorder.span("publish order");
    let sends: Vec<_> =
        recorder.spans().into_iter().filter(|span| span.span_kind == SpanKind::Producer).collect();
    let errors: Vec<_> = sends.iter().map(error_type).collect();
    assert_eq!(
        errors,
        [Some("timeout".to_owned()), Some("broker_busy".to_owned()), None],
        "{}",
        recorder.tree()
    );
    for send in &sends {
        assert_eq!((&*send.name, send.parent_span_id), ("send orders", logical.span_context.span_id()));
    }
    assert_eq!(logical.events.len(), 2);
    assert_eq!(recorder.metric("messaging.client.operation.duration").count(), 3);
}
