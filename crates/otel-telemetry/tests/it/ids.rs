//! Requested ids of spans through the entire pipeline; other spans keep random ids.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use otel_telemetry::Telemetry;

use crate::support::quiet;
use otel_testing::{ExporterBehavior, ScriptedExporter};

fn ids() -> (TraceId, SpanId) {
    (TraceId::from(0x0af7_6519), SpanId::from(0xb7ad))
}

fn finished(telemetry: Telemetry, exporter: &ScriptedExporter) -> Vec<SpanData> {
    assert!(telemetry.shutdown_blocking(Duration::from_secs(20)).is_complete());
    exporter.spans()
}

fn identity(span: &SpanData) -> (TraceId, SpanId) {
    (span.span_context.trace_id(), span.span_context.span_id())
}

#[test]
fn a_span_has_the_ids_that_it_is_to_have_and_its_neighbours_have_others() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet().with_span_exporter(exporter.clone()).build().unwrap();
    let tracer = telemetry.tracer_provider().tracer("test");
    let (trace, span) = ids();
    tracer.start("before").end();
    otel_operation::with_span_identity(trace, span, || {
        tracer.start("meant").end();
        tracer.start("after it").end();
    });
    tracer.start("after").end();
    let spans = finished(telemetry, &exporter);
    assert_eq!(identity(&spans[1]), ids());
    let different: HashSet<_> = spans.iter().map(identity).collect();
    let traces: HashSet<_> = different.iter().map(|(trace, _)| *trace).collect();
    assert_eq!((different.len(), traces.len()), (4, 4));
}

#[test]
fn a_span_under_a_parent_stays_in_its_trace() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet().with_span_exporter(exporter.clone()).build().unwrap();
    let tracer = telemetry.tracer_provider().tracer("test");
    let (trace, span) = ids();
    let parent = SpanContext::new(trace, SpanId::from(1), TraceFlags::SAMPLED, true, TraceState::NONE);
    let parent = Context::new().with_remote_span_context(parent);
    otel_operation::with_span_identity(trace, span, || tracer.start_with_context("meant", &parent).end());
    // A later trace on this thread does not get the requested trace id that the child did not use.
    tracer.start("later").end();
    let spans = finished(telemetry, &exporter);
    assert_eq!(identity(&spans[0]), ids());
    assert_eq!(spans[0].parent_span_id, SpanId::from(1));
    assert_ne!(spans[1].span_context.trace_id(), trace);
}

/// Starts a trace whenever a span starts, as an instrumented exporter or sampler might do.
#[derive(Debug)]
struct Nesting(SdkTracerProvider);

impl SpanProcessor for Nesting {
    fn on_start(&self, _: &mut Span, _: &Context) {
        self.0.tracer("nested").start("nested").end();
    }

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[test]
fn a_span_that_starts_inside_of_the_start_gets_neither_id() {
    let (inner_exporter, exporter) =
        (ScriptedExporter::new(ExporterBehavior::Accept), ScriptedExporter::new(ExporterBehavior::Accept));
    let inner = quiet().with_span_exporter(inner_exporter.clone()).build().unwrap();
    let nesting = Nesting(inner.tracer_provider().clone());
    let telemetry = quiet()
        .with_span_exporter(exporter.clone())
        .map_tracer_provider(move |builder| builder.with_span_processor(nesting))
        .build()
        .unwrap();
    let (trace, span) = ids();
    let parent = SpanContext::new(trace, SpanId::from(1), TraceFlags::SAMPLED, true, TraceState::NONE);
    let parent = Context::new().with_remote_span_context(parent);
    let tracer = telemetry.tracer_provider().tracer("test");
    otel_operation::with_span_identity(trace, span, || tracer.start_with_context("meant", &parent).end());
    assert_eq!(identity(&finished(telemetry, &exporter)[0]), ids());
    let nested = finished(inner, &inner_exporter);
    assert_ne!(nested[0].span_context.trace_id(), trace);
    assert_ne!(nested[0].span_context.span_id(), span);
}

#[test]
fn what_was_not_used_is_forgotten_also_after_a_panic_and_a_shutdown() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet().with_span_exporter(exporter.clone()).build().unwrap();
    let tracer = telemetry.tracer_provider().tracer("test");
    let ended = SdkTracerProvider::builder().build();
    ended.shutdown().unwrap();
    let (trace, span) = ids();
    otel_operation::with_span_identity(trace, span, || ended.tracer("ended").start("nothing").end());
    let panicking = || otel_operation::with_span_identity(trace, span, || panic!("as the test requires"));
    assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
    tracer.span_builder("other").with_attributes([KeyValue::new("n", 1)]).start(&tracer).end();
    assert_ne!(identity(&finished(telemetry, &exporter)[0]), ids());
}
