//! The cost of a spawn, of an item of a channel and of a function, each over the same without this crate, without an SDK and
//! under a sampled and an unsampled parent.
//!
//! `cargo bench -p otel-tasks --features bound-metrics,macros --bench overhead -- --instructions` counts instructions and needs
//! valgrind.

use std::hint::black_box;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, ContextGuard};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use otel_tasks::sync::mpsc;
use otel_tasks::{Channel, Options, TaskInstrumentation, TaskSpan, in_span_sync};
use otel_testing::bench::{self, Bench};
use tokio::runtime::Runtime;

fn parent(sampled: bool) -> Context {
    let flags = TraceFlags::default().with_sampled(sampled);
    let span = SpanContext::new(TraceId::from(7), SpanId::from(7), flags, true, TraceState::NONE);
    Context::new().with_remote_span_context(span)
}

fn span_by_hand(tracer: &SdkTracer) -> u64 {
    let parent = Context::current();
    let builder = tracer.span_builder("work").with_kind(SpanKind::Internal);
    let context = parent.with_span(tracer.build_with_context(builder, &parent));
    let _attached: ContextGuard = context.clone().attach();
    let output = black_box(5);
    context.span().end();
    output
}

#[cfg(feature = "macros")]
#[otel_tasks::traced(name = "work", instrumentation = tasks)]
fn traced(tasks: &TaskInstrumentation) -> u64 {
    black_box(5)
}

fn overhead(bench: &mut Bench) {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    let tracers = SdkTracerProvider::builder().with_sampler(sampler).build();
    let meters = SdkMeterProvider::builder().build();
    let options = || Options::new().with_tracer_provider(&tracers).with_meter_provider(&meters);
    let tasks = TaskInstrumentation::new(options());
    let tracer = tracers.tracer("bench");
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    let run = |runtime: &Runtime, work: &dyn Fn() -> tokio::task::JoinHandle<u64>| {
        let handle = work();
        black_box(runtime.block_on(handle).is_ok());
    };
    for (which, sampled) in [("sampled", true), ("unsampled", false)] {
        let context = parent(sampled);
        let _entered = runtime.enter();
        bench.measure(
            &format!("spawn/tokio/{which}"),
            || context.clone().attach(),
            |attached| {
                run(&runtime, &|| tokio::spawn(async { black_box(5) }));
                drop(attached);
            },
        );
        bench.measure(
            &format!("spawn/context/{which}"),
            || context.clone().attach(),
            |attached| {
                run(&runtime, &|| otel_tasks::spawn(async { black_box(5) }));
                drop(attached);
            },
        );
        bench.measure(
            &format!("spawn/span/{which}"),
            || context.clone().attach(),
            |attached| {
                let span = || TaskSpan::new("work").with_instrumentation(&tasks);
                run(&runtime, &|| otel_tasks::spawn_with_span(span(), async { black_box(5) }));
                drop(attached);
            },
        );
        let (bare, mut bare_receiver) = tokio::sync::mpsc::channel(8);
        bench.measure(
            &format!("item/tokio/{which}"),
            || context.clone().attach(),
            |attached| {
                black_box(bare.try_send(black_box(5_u64)).is_ok());
                black_box(bare_receiver.try_recv().is_ok());
                drop(attached);
            },
        );
        let (sender, mut receiver) = mpsc::channel(Channel::new("items").with_instrumentation(&tasks), 8);
        bench.measure(
            &format!("item/context/{which}"),
            || context.clone().attach(),
            |attached| {
                black_box(sender.try_send(black_box(5_u64)).is_ok());
                black_box(receiver.try_recv().is_ok());
                drop(attached);
            },
        );
        bench.measure(
            &format!("function/span by hand/{which}"),
            || context.clone().attach(),
            |attached| {
                black_box(span_by_hand(&tracer));
                drop(attached);
            },
        );
        bench.measure(
            &format!("function/in_span_sync/{which}"),
            || context.clone().attach(),
            |attached| {
                let span = TaskSpan::new("work").with_instrumentation(&tasks);
                black_box(in_span_sync(span, || black_box(5_u64)));
                drop(attached);
            },
        );
        #[cfg(feature = "macros")]
        bench.measure(
            &format!("function/traced/{which}"),
            || context.clone().attach(),
            |attached| {
                black_box(traced(&tasks));
                drop(attached);
            },
        );
    }
}

fn main() -> std::io::Result<()> {
    bench::main(overhead)
}
