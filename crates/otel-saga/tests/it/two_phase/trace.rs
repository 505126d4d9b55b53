//! The telemetry of two-phase commits: the trace from the request on, across crashes; the metrics.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{SpanId, SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _};
use otel_saga::journal::Journal;
use otel_saga::two_phase::{Acknowledgement, CommitError, Coordinator, CoordinatorBuilder, Outcome};
use otel_testing::Recorder;
use tokio::time::sleep;

use super::bank::{Bank, Fault, builder};
use super::behaviour::{memory, pay};
use crate::faulty::Faulty;
use crate::support::Ids;

fn traced(
    journal: &Arc<dyn Journal>,
    worker: &str,
    banks: &[&Bank],
    recorder: &Recorder,
) -> CoordinatorBuilder {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    builder(journal, worker, banks)
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
}

/// Pays inside a request's span.
async fn request(
    recorder: &Recorder,
    coordinator: &Coordinator,
    banks: &[&Bank],
) -> Result<Outcome, CommitError> {
    let tracer = recorder.tracer_provider().tracer("service");
    let span = tracer.span_builder("POST /transfers").with_kind(SpanKind::Server).start(&tracer);
    let context = Context::new().with_span(span);
    // The transaction is begun in this context as well, because its span starts there.
    let outcome = async { pay(coordinator, "1", banks).await }.with_context(context.clone()).await;
    context.span().end();
    outcome
}

#[tokio::test(start_paused = true)]
async fn the_trace_shows_each_call_and_the_decision() {
    let (journal, a, b, recorder) = (memory(), Bank::new("a"), Bank::new("b"), Recorder::new());
    let coordinator = traced(&journal, "w", &[&a, &b], &recorder).start().await.unwrap();
    b.script("prepare", [Fault::Slow(10)]);
    b.script("commit", [Fault::Lose]);
    assert!(request(&recorder, &coordinator, &[&a, &b]).await.unwrap().is_committed());
    coordinator.wait("transfer/1").await.unwrap();
    recorder.wait_until_finished().await;
    assert_eq!(recorder.tree().trim_end(), include_str!("trace/committed.txt").trim_end());
    recorder.assert_each_ended_once();
    // The participants ran inside the spans of their calls.
    for span in recorder.spans().iter().filter(|span| span.name.ends_with(" a")) {
        assert!(a.ledger().spans.contains(&span.span_context.span_id().to_string()), "{}", span.name);
    }
}

#[tokio::test(start_paused = true)]
async fn the_trace_shows_why_it_was_aborted() {
    let (journal, a, b, recorder) = (memory(), Bank::new("a"), Bank::new("b"), Recorder::new());
    let coordinator = traced(&journal, "w", &[&a, &b], &recorder).start().await.unwrap();
    a.script("prepare", [Fault::Slow(10)]);
    b.script("prepare", [Fault::Refuse]);
    assert!(!request(&recorder, &coordinator, &[&a, &b]).await.unwrap().is_committed());
    recorder.wait_until_finished().await;
    assert_eq!(recorder.tree().trim_end(), include_str!("trace/aborted.txt").trim_end());
    recorder.assert_each_ended_once();
}

#[tokio::test(start_paused = true)]
async fn the_trace_goes_on_after_a_crash() {
    let (journal, a, b, recorder) = (memory(), Bank::new("a"), Bank::new("b"), Recorder::new());
    // The first process dies with its spans: no recorder has those that it did not export.
    let lost = Recorder::new();
    let first = traced(&journal, "first", &[&a, &b], &lost).start().await.unwrap();
    b.script("commit", [Fault::Hang]);
    {
        let both = [&a, &b];
        let paying = request(&lost, &first, &both);
        assert!(tokio::time::timeout(Duration::from_secs(1), paying).await.is_err());
    }
    drop(first);
    let second = traced(&journal, "second", &[&a, &b], &recorder).start().await.unwrap();
    assert!(second.wait("transfer/1").await.unwrap().is_committed());
    recorder.wait_until_finished().await;
    sleep(Duration::from_secs(1)).await;

    let start = lost.span("2pc transfer");
    let spans = recorder.spans();
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    assert_eq!(spans.len(), 3, "the interrupted transaction, and two commits");
    for name in ["commit a", "commit b"] {
        assert_eq!(named(name).span_context.trace_id(), start.span_context.trace_id());
        assert_eq!(named(name).parent_span_id, start.span_context.span_id());
    }
    let told = named("2pc transfer");
    assert_eq!(told.parent_span_id, start.parent_span_id, "it hangs on the request as the lost one did");
    assert_eq!(told.links.links[0].span_context.span_id(), start.span_context.span_id());
    let attribute = |name: &str| {
        told.attributes.iter().find(|one| one.key.as_str() == name).map(|one| one.value.to_string())
    };
    assert_eq!(attribute("twopc.recovered").as_deref(), Some("true"));
    assert_eq!(attribute("twopc.outcome").as_deref(), Some("interrupted"));
    assert_eq!(attribute("twopc.decision").as_deref(), Some("commit"));
}

#[tokio::test(start_paused = true)]
async fn the_trace_of_a_recovered_transaction_is_whole() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let recorder = Recorder::builder().with_id_generator(Ids::default()).build();
    let lost = Recorder::new();
    let first = traced(&journal, "first", &[&a, &b], &lost).start().await.unwrap();
    b.script("commit", [Fault::Hang]);
    {
        let both = [&a, &b];
        let paying = request(&lost, &first, &both);
        assert!(tokio::time::timeout(Duration::from_secs(1), paying).await.is_err());
    }
    drop(first);
    let second = traced(&journal, "second", &[&a, &b], &recorder).start().await.unwrap();
    // The span of a waiting transaction has ended, and is not recorded again.
    b.script("commit", [Fault::Lose; 2]);
    assert!(second.wait("transfer/1").await.unwrap().is_committed());
    recorder.wait_until_finished().await;
    recorder.assert_each_ended_once();
    assert_eq!(recorder.tree().trim_end(), include_str!("trace/recovered.txt").trim_end());
    let (start, told) = (lost.span("2pc transfer"), recorder.span("2pc transfer"));
    assert_eq!(told.parent_span_id, lost.span("POST /transfers").span_context.span_id());
    assert_eq!(told.span_context.span_id(), start.span_context.span_id());
    assert_eq!(told.start_time.duration_since(start.start_time).unwrap_or_default().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_span_has_ended_before_the_journal_says_that_the_transaction_waits_or_has_ended() {
    for script in [&[][..], &[Fault::Lose]] {
        let (shared, a, b, recorder) = (memory(), Bank::new("a"), Bank::new("b"), Recorder::new());
        let faulty = Faulty::new(&shared, 0);
        let journal: Arc<dyn Journal> = faulty.clone();
        let coordinator = traced(&journal, "w", &[&a, &b], &recorder).start().await.unwrap();
        a.script("commit", [Fault::Slow(1000)]);
        b.script("commit", script.iter().copied());
        let both = [&a, &b];
        let paying = request(&recorder, &coordinator, &both);
        // The journal becomes unavailable after the durable decision, before the last append.
        let goes_away = async {
            sleep(Duration::from_millis(500)).await;
            faulty.set_away(true);
            sleep(Duration::from_secs(2)).await;
        };
        tokio::select! {
            _ = paying => panic!("it ends without its last append"),
            () = goes_away => {}
        }
        assert_eq!(faulty.written(), 2, "a create and a decision");
        let told = recorder.span("2pc transfer");
        let decision = told.attributes.iter().find(|one| one.key.as_str() == "twopc.decision").unwrap();
        assert_eq!(decision.value.as_str(), "commit");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_transaction_is_told_under_its_own_id_where_ids_can_be_chosen() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let with_span_identity = || Recorder::builder().with_id_generator(Ids::default()).build();
    let (lost, recorder) = (with_span_identity(), with_span_identity());
    let first = traced(&journal, "first", &[&a, &b], &lost).start().await.unwrap();
    b.script("commit", [Fault::Hang]);
    // No span is current: the transaction's span is the root of the trace.
    let paying = first.begin("transfer", "1").unwrap().with(a.clone()).with(b.clone()).commit();
    assert!(tokio::time::timeout(Duration::from_secs(1), paying).await.is_err());
    drop(first);
    let second = traced(&journal, "second", &[&a, &b], &recorder).start().await.unwrap();
    assert!(second.wait("transfer/1").await.unwrap().is_committed());
    recorder.wait_until_finished().await;

    let (start, told) = (lost.span("2pc transfer"), recorder.span("2pc transfer"));
    assert_eq!(told.span_context.trace_id(), start.span_context.trace_id());
    assert_eq!(told.span_context.span_id(), start.span_context.span_id());
    assert_eq!(told.parent_span_id, SpanId::INVALID);
    assert!(told.links.links.is_empty());
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_what_the_spans_tell_and_no_ids() {
    let (journal, a, b, recorder) = (memory(), Bank::new("a"), Bank::new("b"), Recorder::new());
    let coordinator = traced(&journal, "w", &[&a, &b], &recorder).start().await.unwrap();
    b.script("commit", [Fault::Say(Acknowledgement::RolledBack), Fault::Say(Acknowledgement::Committed)]);
    assert!(!pay(&coordinator, "1", &[&a, &b]).await.unwrap().is_consistent());
    assert!(pay(&coordinator, "2", &[&a, &b]).await.unwrap().is_consistent());
    b.script("prepare", [Fault::Refuse, Fault::Lose, Fault::Hang, Fault::Panic]);
    for key in ["3", "4", "5", "6"] {
        assert!(!pay(&coordinator, key, &[&a, &b]).await.unwrap().is_committed());
    }
    b.script("commit", [Fault::Lose; 1000]);
    assert!(pay(&coordinator, "7", &[&a, &b]).await.unwrap().is_committed());
    sleep(Duration::from_secs(60)).await;

    if cfg!(feature = "bound-metrics") {
        assert_eq!(recorder.unbound_metrics(), Vec::<String>::new());
    }
    let phases = recorder.metric("twopc.phase.duration");
    assert_eq!(phases.unit(), "s");
    let prepares = phases.with("twopc.phase", "prepare").with("twopc.name", "transfer");
    let prepares = prepares.with("twopc.participant", "b");
    for error in ["refused", "failed", "timeout", "panic"] {
        assert_eq!(prepares.clone().with("error.type", error).count(), 1, "{error}");
    }
    assert_eq!(prepares.without("error.type").count(), 3);
    let heuristics = recorder.metric("twopc.heuristics").with("twopc.participant", "b");
    assert_eq!(heuristics.clone().with("twopc.outcome", "rolled_back").sum(), 1.0);
    assert_eq!(heuristics.with("twopc.outcome", "committed").sum(), 1.0);
    assert_eq!(recorder.metric("twopc.in_doubt").with("twopc.name", "transfer").sum(), 1.0);
    let age = recorder.metric("twopc.in_doubt.age").with("twopc.name", "transfer").sum();
    assert!((30.0..=60.0).contains(&age), "{age}");
    let text = recorder.metrics();
    assert!(!text.contains("transfer/"), "an id is on a metric: {text}");
}

#[tokio::test(start_paused = true)]
async fn one_coordinator_records_the_gauges() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let recorders = [Recorder::new(), Recorder::new()];
    let first = traced(&journal, "first", &[&a, &b], &recorders[0]).start().await.unwrap();
    let _second = traced(&journal, "second", &[&a, &b], &recorders[1]).start().await.unwrap();
    b.script("commit", [Fault::Lose; 1000]);
    assert!(pay(&first, "1", &[&a, &b]).await.unwrap().is_committed());
    let in_doubt = || recorders.each_ref().map(|recorder| recorder.metric("twopc.in_doubt").sum());
    sleep(Duration::from_secs(20)).await;
    assert_eq!(in_doubt(), [1.0, 0.0]);
    // The first one dies: nothing of its gauges is left, and the second one takes them over.
    drop(first);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(in_doubt(), [0.0, 1.0]);
}
