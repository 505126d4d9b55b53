//! The telemetry of sagas: the trace from the request on, across crashes; the metrics.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _};
use otel_saga::flow::Phase;
use otel_saga::journal::{Journal, MemoryJournal, NewInstance, Status};
use otel_saga::{Runtime, RuntimeBuilder, Saga, StepContext, StepError};
use otel_testing::Recorder;

use crate::shop::{Cx, Fault, Shop, builder, order};

fn traced(
    journal: &Arc<dyn Journal>,
    shop: &Shop,
    worker: &str,
    recorder: &Recorder,
) -> RuntimeBuilder<Shop> {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    builder(journal, shop, worker)
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
}

/// Asserts that counters and histograms were recorded through bound instruments, if these are declared.
fn assert_bound(recorder: &Recorder) {
    if cfg!(feature = "bound-metrics") {
        assert_eq!(recorder.unbound_metrics(), Vec::<String>::new());
    }
}

fn memory() -> Arc<dyn Journal> {
    Arc::new(MemoryJournal::new())
}

/// Starts a saga inside a request's span, which ends before the saga does.
async fn requested(recorder: &Recorder, runtime: &Runtime<Shop>, key: &str) -> String {
    use opentelemetry::context::FutureExt as _;
    let tracer = recorder.tracer_provider().tracer("service");
    let span = tracer.span_builder("POST /orders").with_kind(SpanKind::Server).start(&tracer);
    let context = Context::new().with_span(span);
    let id = runtime.start(&order(1), key, 7).with_context(context.clone()).await.unwrap();
    context.span().end();
    id
}

/// The baggage and the tracestate that an action finds in its context.
#[tokio::test(start_paused = true)]
async fn baggage_and_tracestate_reach_the_steps_also_after_a_crash() {
    use opentelemetry::context::FutureExt as _;
    use otel_propagation::{CompositePropagator, PropagatorHandle, baggage};

    type Seen = std::sync::Mutex<Vec<(Option<String>, String)>>;
    async fn look(cx: StepContext<(Arc<Seen>, bool)>, (): (), (): ()) -> Result<(), StepError> {
        let (seen, hangs) = cx.state();
        let current = Context::current();
        let tier = baggage::get(&current, "tier").map(str::to_owned);
        seen.lock().unwrap().push((tier, current.span().span_context().trace_state().header()));
        if *hangs {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
    let mut saga = Saga::builder("look", 1);
    saga.step("look", (), look).pivot();
    let saga = saga.build().unwrap();
    let (journal, recorder, seen) = (memory(), Recorder::new(), Arc::new(Seen::default()));
    let start = |hangs: bool, worker: &str| {
        let provider = recorder.tracer_provider();
        Runtime::builder(Arc::clone(&journal), (Arc::clone(&seen), hangs))
            .with_saga(&saga)
            .with_worker(worker)
            .with_lease(Duration::from_secs(2))
            .with_tracer_provider(provider)
            .start()
    };

    let first = start(true, "first");
    let headers = std::collections::HashMap::from([
        ("traceparent".to_owned(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        ("tracestate".to_owned(), "vendor=1".to_owned()),
        ("baggage".to_owned(), "tier=gold".to_owned()),
    ]);
    let caller = PropagatorHandle::new(CompositePropagator::default()).extract(&headers);
    let id = first.start(&saga, "1", ()).with_context(caller).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(first);
    let second = start(false, "second");
    assert_eq!(second.wait(&id).await.unwrap(), Status::Completed);
    let expected = (Some("gold".to_owned()), "vendor=1".to_owned());
    assert_eq!(*seen.lock().unwrap(), [expected.clone(), expected]);
}

#[tokio::test(start_paused = true)]
async fn the_trace_goes_on_after_a_crash_and_shows_what_it_interrupted() {
    let (journal, shop, recorder) = (memory(), Shop::default(), Recorder::new());
    // The first process dies with its spans: no recorder has those that it did not export.
    let lost = Recorder::new();
    let first = traced(&journal, &shop, "first", &lost).start();
    shop.script("pay", Phase::Action, [Fault::Slow(4_000)]);
    let id = requested(&lost, &first, "1").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(first);
    let start = lost.span("saga start order");
    let second = traced(&journal, &shop, "second", &recorder).start();
    assert_eq!(second.wait(&id).await.unwrap(), Status::Completed);
    recorder.wait_until_finished().await;

    let spans = recorder.spans();
    assert_eq!(spans.len(), 3, "the interrupted attempt, the next one, and the last step");
    for span in &spans {
        assert_eq!(span.span_context.trace_id(), start.span_context.trace_id());
        assert_eq!(span.parent_span_id, start.span_context.span_id());
    }
    let attribute = |span: usize, name: &str| {
        let found = spans[span].attributes.iter().find(|one| one.key.as_str() == name);
        found.map(|one| one.value.to_string())
    };
    assert_eq!(attribute(0, "saga.recovered").as_deref(), Some("true"));
    assert_eq!(attribute(0, "saga.outcome").as_deref(), Some("interrupted"));
    assert_eq!(attribute(0, "saga.step.attempt").as_deref(), Some("1"));
    assert_eq!(attribute(1, "saga.recovered"), None);
    assert_eq!(attribute(1, "saga.step.attempt").as_deref(), Some("2"));
    // The span has a link to the one of the first process, by its journaled id.
    let begun = lost.spans().into_iter().find(|span| span.name == "saga step pay");
    let linked = spans[0].links.links[0].span_context.span_id();
    assert!(begun.is_none_or(|begun| begun.span_context.span_id() == linked));
    let journaled = second.status(&id).await.unwrap();
    let journaled = format!("{:?}", journaled.records);
    assert!(journaled.contains(&linked.to_string()), "{linked} is not in {journaled}");
    assert_eq!(recorder.metric("saga.recoveries").with("saga.name", "order").sum(), 1.0);
    assert_bound(&recorder);
}

async fn nested(cx: Cx, _: u32, (): ()) -> Result<String, StepError> {
    assert_eq!(Context::current().span().span_context(), cx.context().span().span_context());
    tokio::task::yield_now().await;
    let span = Context::current().span().span_context().clone();
    Ok(format!("{}", span.span_id()))
}

#[tokio::test(start_paused = true)]
async fn the_attempts_context_is_current_in_the_step() {
    let (recorder, shop) = (Recorder::new(), Shop::default());
    let mut saga = Saga::<Shop, u32>::builder("nested", 1);
    saga.step("only", (), nested).undo(crate::shop::undo);
    let saga = saga.build().unwrap();
    let runtime = traced(&memory(), &shop, "w", &recorder).with_saga(&saga).start();
    let id = runtime.start(&saga, "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    let state = runtime.status(&id).await.unwrap().state;
    let span = recorder.span("saga step only");
    assert_eq!(state.steps[0].action.output().unwrap(), &span.span_context.span_id().to_string());
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_what_the_spans_tell_and_no_ids() {
    let (recorder, shop) = (Recorder::new(), Shop::default());
    let runtime = traced(&memory(), &shop, "w", &recorder).start();
    shop.script("reserve", Phase::Action, [Fault::Lose, Fault::Panic]);
    for key in ["1", "2"] {
        let id = runtime.start(&order(1), key, 7).await.unwrap();
        runtime.wait(&id).await.unwrap();
    }
    shop.script("pay", Phase::Action, [Fault::Refuse]);
    let undone = runtime.start(&order(1), "undone", 7).await.unwrap();
    assert_eq!(runtime.wait(&undone).await.unwrap(), Status::Compensated);
    shop.script("ship", Phase::Action, [Fault::Refuse]);
    let parked = runtime.start(&order(1), "3", 7).await.unwrap();
    assert_eq!(runtime.wait(&parked).await.unwrap(), Status::Parked);
    tokio::time::sleep(Duration::from_secs(20)).await;

    let steps = recorder.metric("saga.step.duration");
    assert_eq!(steps.unit(), "s");
    let reserve = steps.clone().with("saga.step.name", "reserve").with("saga.phase", "action");
    assert_eq!(reserve.clone().with("error.type", "failed").count(), 1);
    assert_eq!(reserve.clone().with("error.type", "panic").count(), 1);
    assert_eq!(reserve.without("error.type").count(), 4);
    assert_eq!(steps.clone().with("error.type", "declined").count(), 2);
    let undo = steps.with("saga.phase", "compensation");
    assert_eq!((undo.clone().count(), undo.with("saga.step.name", "reserve").count()), (1, 1));
    let duration = recorder.metric("saga.duration").with("saga.name", "order");
    assert_eq!(duration.clone().with("saga.outcome", "completed").count(), 2);
    assert_eq!(duration.with("saga.outcome", "compensated").count(), 1);
    assert_bound(&recorder);
    let retries = recorder.metric("saga.step.retries").with("saga.step.name", "reserve");
    assert_eq!(retries.sum(), 2.0);
    let held = |state: &'static str| {
        recorder.metric("saga.instances").with("saga.name", "order").with("saga.state", state).sum()
    };
    assert_eq!(
        (held("completed"), held("parked"), held("running"), held("compensated")),
        (2.0, 1.0, 0.0, 1.0)
    );
    let oldest = recorder.metric("saga.oldest.age").with("saga.name", "order").with("saga.state", "parked");
    assert!(oldest.sum() >= 10.0, "{}", oldest.sum());
    assert!(recorder.metric("saga.journal.append.duration").count() >= 12);
    let text = recorder.metrics();
    assert!(!text.contains("order/"), "an id is on a metric: {text}");
}

#[tokio::test(start_paused = true)]
async fn one_worker_records_the_gauges() {
    let (journal, shop) = (memory(), Shop::default());
    let recorders = [Recorder::new(), Recorder::new()];
    let [first, _second] = ["a", "b"].map(|worker| {
        let recorder = &recorders[usize::from(worker == "b")];
        traced(&journal, &shop, worker, recorder).start()
    });
    let id = first.start(&order(1), "1", 7).await.unwrap();
    first.wait(&id).await.unwrap();
    // Instances of definitions that the worker has not registered are counted as well.
    journal.create(NewInstance::new("refund/1", "refund", 1, vec![])).await.unwrap();
    let held = || {
        recorders.each_ref().map(|recorder| {
            let instances = recorder.metric("saga.instances");
            ["order", "refund"].map(|saga| instances.clone().with("saga.name", saga).sum())
        })
    };
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(held(), [[1.0, 1.0], [0.0, 0.0]]);
    let ages = recorders.each_ref().map(|recorder| recorder.metric("saga.oldest.age").points().len());
    assert_eq!(ages, [6, 0], "the registered sagas are order and trip");

    // The first worker dies: nothing of its gauges is left, and the second one takes them over.
    drop(first);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(held(), [[0.0, 0.0], [1.0, 1.0]]);
}

#[tokio::test(start_paused = true)]
async fn without_a_tracer_the_received_trace_goes_on() {
    use opentelemetry::context::FutureExt as _;
    let shop = Shop::default();
    let runtime = builder(&memory(), &shop, "w").start();
    let recorder = Recorder::new();
    let tracer = recorder.tracer_provider().tracer("service");
    let context = Context::new().with_span(tracer.start("request"));
    let id = runtime.start(&order(1), "1", 7).with_context(context.clone()).await.unwrap();
    let kept = runtime.status(&id).await.unwrap().state.started.trace.unwrap();
    assert!(kept.contains(&context.span().span_context().span_id().to_string()), "{kept}");
    context.span().end();
    let plain = runtime.start(&order(1), "2", 7).await.unwrap();
    assert_eq!(runtime.status(&plain).await.unwrap().state.started.trace, None, "an invalid parent is none");
}
