//! Spans of `tracing` and ours in one service nest in both directions, by the context activation of
//! tracing-opentelemetry.

use opentelemetry::trace::TracerProvider as _;
use otel_kafka::FutureProducer;
use otel_testing::Recorder;
use rdkafka::producer::FutureRecord;
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{LONG, client, cluster, consumer, options, write};

#[tokio::test]
async fn spans_of_tracing_nest_inside_and_around_ours() {
    let (recorder, cluster) = (Recorder::new(), cluster(1));
    let bridge = tracing_opentelemetry::layer().with_tracer(recorder.tracer_provider().tracer("app"));
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(bridge));
    write(&cluster, &[("one book", None)]).await;
    let producer: FutureProducer = client(&cluster);
    let producer = producer.with_options(options(&recorder));
    let consumer = consumer(&cluster, options(&recorder));

    let message = consumer.recv().await.unwrap();
    let sent = message
        .process(async |_| {
            let work = async {
                tokio::task::yield_now().await;
                producer.send(FutureRecord::to("orders").key("k").payload("invoice"), LONG).await
            };
            work.instrument(tracing::info_span!("work")).await.map(drop).map_err(|(error, _)| error)
        })
        .await;
    assert_eq!(sent, Ok(()));

    let (process, work, send) =
        (recorder.span("process orders"), recorder.span("work"), recorder.span("send orders"));
    assert_eq!(work.parent_span_id, process.span_context.span_id(), "{}", recorder.tree());
    assert_eq!(send.parent_span_id, work.span_context.span_id(), "{}", recorder.tree());
    recorder.assert_clean();
}
