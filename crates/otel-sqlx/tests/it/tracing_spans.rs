//! Spans of `tracing` and ours in one service nest, and what sqlx logs about a query belongs to its span.

use opentelemetry::trace::TracerProvider as _;
use otel_testing::Recorder;
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::pool;

#[tokio::test]
async fn a_query_is_a_child_of_the_span_of_tracing_around_it() {
    let recorder = Recorder::new();
    let bridge = tracing_opentelemetry::layer().with_tracer(recorder.tracer_provider().tracer("app"));
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(bridge));
    let pool = pool(&recorder).await;
    let work = async { sqlx::query("SELECT * FROM users").fetch_all(&pool).await };
    assert_eq!(work.instrument(tracing::info_span!("work")).await.unwrap().len(), 3);
    let (work, query) = (recorder.span("work"), recorder.span("SELECT users"));
    assert_eq!(query.parent_span_id, work.span_context.span_id(), "{}", recorder.tree());
}
