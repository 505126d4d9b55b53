//! Spans of `tracing` and ours in one service nest in both directions, by the context activation of
//! tracing-opentelemetry.

use async_nats::HeaderMap;
use opentelemetry::trace::TracerProvider as _;
use otel_testing::Recorder;
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{client, received, synchronize, unique, write};

#[tokio::test]
async fn spans_of_tracing_nest_inside_and_around_ours() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let bridge = tracing_opentelemetry::layer().with_tracer(recorder.tracer_provider().tracer("app"));
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(bridge));
    let client = client(&recorder).await;
    let mut subscriber = client.subscribe(subject.clone()).await.unwrap();
    synchronize(client.inner()).await;
    write(&subject, HeaderMap::new(), "one book").await;

    let message = received(&mut subscriber).await;
    let sent = message
        .process(async |_| {
            let work = async {
                tokio::task::yield_now().await;
                client.publish("invoices", "one".into()).await
            };
            work.instrument(tracing::info_span!("work")).await
        })
        .await;
    assert!(sent.is_ok());

    let process = recorder.span(&format!("process {subject}"));
    let (work, publish) = (recorder.span("work"), recorder.span("publish invoices"));
    assert_eq!(work.parent_span_id, process.span_context.span_id(), "{}", recorder.tree());
    assert_eq!(publish.parent_span_id, work.span_context.span_id(), "{}", recorder.tree());
    recorder.assert_clean();
}
