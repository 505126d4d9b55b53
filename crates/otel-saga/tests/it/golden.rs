//! The traces of a success, of a failure with compensation, and of a crash with recovery, as trees in files.
//!
//! `OTEL_SAGA_GOLDEN=write cargo test -p otel-saga golden` rewrites them; the diff shows the changes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _};
use otel_saga::flow::Phase;
use otel_saga::journal::{Journal, MemoryJournal, Status};
use otel_saga::{Runtime, RuntimeBuilder};
use otel_testing::Recorder;

use crate::shop::{Fault, Shop, builder, order, trip};
use crate::support::Ids;

const RENEW: &str = "OTEL_SAGA_GOLDEN";

#[track_caller]
fn assert_golden(name: &str, tree: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os(RENEW).is_some_and(|how| how == "write") {
        std::fs::write(&path, tree).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == tree,
        "{name}.txt is\n{golden}\nand the trace is\n{tree}\n{RENEW}=write writes it anew"
    );
}

fn memory() -> Arc<dyn Journal> {
    Arc::new(MemoryJournal::new())
}

fn traced(
    journal: &Arc<dyn Journal>,
    shop: &Shop,
    worker: &str,
    recorder: &Recorder,
) -> RuntimeBuilder<Shop> {
    builder(journal, shop, worker)
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
}

/// Starts a saga inside a request's span, which ends before the saga does.
async fn requested(
    recorder: &Recorder,
    runtime: &Runtime<Shop>,
    saga: &otel_saga::Saga<Shop, u32>,
) -> String {
    let tracer = recorder.tracer_provider().tracer("service");
    let span = tracer.span_builder("POST /orders").with_kind(SpanKind::Server).start(&tracer);
    let context = Context::new().with_span(span);
    let id = runtime.start(saga, "1", 7).with_context(context.clone()).await.unwrap();
    context.span().end();
    id
}

#[tokio::test(start_paused = true)]
async fn a_success() {
    let (recorder, shop) = (Recorder::new(), Shop::default());
    let runtime = traced(&memory(), &shop, "w", &recorder).start();
    let id = requested(&recorder, &runtime, &order(1)).await;
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    recorder.wait_until_finished().await;
    recorder.assert_each_ended_once();
    assert_golden("completed", &recorder.tree());
}

#[tokio::test(start_paused = true)]
async fn a_failure_with_compensation() {
    let (recorder, shop) = (Recorder::new(), Shop::default());
    let runtime = traced(&memory(), &shop, "w", &recorder).start();
    shop.script("reserve", Phase::Action, [Fault::Lose]);
    shop.script("pay", Phase::Action, [Fault::Refuse]);
    let id = requested(&recorder, &runtime, &order(1)).await;
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    recorder.wait_until_finished().await;
    recorder.assert_each_ended_once();
    assert_golden("compensated", &recorder.tree());
}

/// Runs a saga until its process dies with all of its spans, and returns the spans of the next process.
async fn crashed(
    recorder: &Recorder,
    saga: &otel_saga::Saga<Shop, u32>,
    slow: &str,
    calls: usize,
) -> Recorder {
    let (journal, shop, lost) = (memory(), Shop::default(), Recorder::new());
    let first = traced(&journal, &shop, "first", &lost).start();
    shop.script(slow, Phase::Action, [Fault::Slow(4_000)]);
    let id = requested(&lost, &first, saga).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shop.world().calls.len(), calls);
    drop(first);
    let second = traced(&journal, &shop, "second", recorder).start();
    assert_eq!(second.wait(&id).await.unwrap(), Status::Completed);
    recorder.wait_until_finished().await;
    recorder.assert_each_ended_once();
    lost
}

fn with_span_identity() -> Recorder {
    Recorder::builder().with_id_generator(Ids::default()).build()
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_the_first_step_with_recovery() {
    let recorder = with_span_identity();
    let lost = crashed(&recorder, &order(1), "reserve", 1).await;
    assert_golden("recovered", &recorder.tree());
    // Unfinished spans are recorded again, under their own ids, in their own trace, and with their own parents.
    let (start, request) = (lost.span("saga start order"), lost.span("POST /orders"));
    let again = recorder.span("saga start order");
    assert_eq!(again.span_context.span_id(), start.span_context.span_id());
    assert_eq!(again.span_context.trace_id(), start.span_context.trace_id());
    assert_eq!(again.parent_span_id, request.span_context.span_id());
    assert_eq!(again.start_time.duration_since(start.start_time).unwrap_or_default().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_a_later_step_with_recovery() {
    let recorder = with_span_identity();
    let lost = crashed(&recorder, &order(1), "pay", 2).await;
    assert_golden("recovered-later", &recorder.tree());
    let start = lost.span("saga start order");
    assert!(recorder.spans().iter().all(|span| span.parent_span_id == start.span_context.span_id()));
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_a_parallel_group_with_recovery() {
    let recorder = with_span_identity();
    crashed(&recorder, &trip(), "flight", 2).await;
    assert_golden("recovered-parallel", &recorder.tree());
}

#[tokio::test(start_paused = true)]
async fn a_crash_with_recovery_where_ids_cannot_be_asked_for() {
    let recorder = Recorder::new();
    crashed(&recorder, &order(1), "reserve", 1).await;
    assert_golden("recovered-linked", &recorder.tree());
}
