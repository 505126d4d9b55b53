//! The samplers inside the SDK: the exported spans, and the state that their children receive.

use opentelemetry::Context;
use opentelemetry::trace::{Span, TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use otel_telemetry::sampler::{Rule, Rules, Sampler};

fn provider(sampler: impl Into<Sampler>) -> (SdkTracerProvider, InMemorySpanExporter) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_sampler(sampler.into())
        .with_simple_exporter(exporter.clone())
        .build();
    (provider, exporter)
}

#[test]
fn a_trace_is_kept_whole_and_every_span_says_for_how_many_it_stands() {
    let (provider, exporter) = provider(Sampler::parent_based(Sampler::ratio(0.5)));
    let tracer = provider.tracer("test");
    const TRACES: usize = 2_000;
    for _ in 0..TRACES {
        let root = Context::new().with_span(tracer.start_with_context("root", &Context::new()));
        let sampled = root.span().span_context().is_sampled();
        let mut child = tracer.start_with_context("child", &root);
        assert_eq!(child.span_context().is_sampled(), sampled);
        child.end();
        root.span().end();
    }
    let spans = exporter.get_finished_spans().unwrap();
    assert!(spans.iter().all(|span| span.span_context.trace_state().header() == "ot=th:8"));
    // The SDK draws the ids: about 1,000 traces are kept, with a standard deviation of 22.
    assert!((850..1_150).contains(&(spans.len() / 2)), "{}", spans.len() / 2);
    assert_eq!(spans.iter().filter(|span| span.name == "root").count() * 2, spans.len());
}

#[test]
fn a_table_under_parent_based_is_asked_about_roots_alone() {
    let rules = Rules::new("orders")
        .with_rule(Rule::new(Sampler::never()).with_span_name("GET /health"))
        .with_rule(Rule::new(Sampler::always()));
    let (provider, exporter) = provider(Sampler::parent_based(rules));
    let tracer = provider.tracer("test");
    for root in ["GET /health", "GET /users"] {
        let root = Context::new().with_span(tracer.start_with_context(root, &Context::new()));
        tracer.start_with_context("GET /health", &root).end();
        root.span().end();
    }
    let names: Vec<_> = exporter.get_finished_spans().unwrap().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["GET /health", "GET /users"]);
}
