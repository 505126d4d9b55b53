//! Spans of `tracing` and ours in one service nest in both directions, by the context activation of
//! tracing-opentelemetry.

use lapin::BasicProperties;
use opentelemetry::trace::TracerProvider as _;
use otel_testing::Recorder;
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{bare, channel, consume, headers, queue, received, send, unique, write};

#[tokio::test]
async fn spans_of_tracing_nest_inside_and_around_ours() {
    let recorder = Recorder::new();
    let bridge = tracing_opentelemetry::layer().with_tracer(recorder.tracer_provider().tracer("app"));
    // lapin has events of its own.
    let bridge = tracing_subscriber::Layer::with_filter(
        bridge,
        tracing_subscriber::filter::filter_fn(|metadata| {
            metadata.is_span() && metadata.target().starts_with("it")
        }),
    );
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(bridge));
    let (channel, other) = (channel(&recorder).await, bare().await);
    let (queue, invoices) = (queue(&channel, "jobs").await, unique("invoices"));
    let mut consumer = consume(&channel, &queue).await;
    write(&other, &queue, headers(&[]), "one book").await;

    let delivery = received(&mut consumer).await;
    delivery
        .process(async |_| {
            let work = async {
                tokio::task::yield_now().await;
                send(&channel, &invoices, BasicProperties::default()).await;
            };
            work.instrument(tracing::info_span!("work")).await;
        })
        .await;

    let process = recorder.span(&format!("process {queue}"));
    let (work, publish) = (recorder.span("work"), recorder.span(&format!("publish {invoices}")));
    assert_eq!(work.parent_span_id, process.span_context.span_id(), "{}", recorder.tree());
    assert_eq!(publish.parent_span_id, work.span_context.span_id(), "{}", recorder.tree());
    recorder.assert_clean();
}
