//! Propagation without a service, on a header map: the SDK's propagators with `opentelemetry_http`'s carriers, and
//! ours.

use std::hint::black_box;

use benchmarks::measure::{self, Mode};
use http::{HeaderMap, HeaderValue};
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, global};
use opentelemetry_sdk::propagation::{
    BaggagePropagator as SdkBaggage, TraceContextPropagator as SdkTraceContext,
};
use otel_propagation::{BaggagePropagator, CompositePropagator, PropagatorHandle, TraceContextPropagator};

use crate::cell::Variant;
use crate::requests;

/// The candidates: the SDK's propagator and ours, each called directly and as the global propagator.
pub(crate) const CANDIDATES: [&str; 4] = ["sdk", "ours", "sdk-global", "ours-global"];

/// The variants: name, title in the table, and the goal for the ratio of the times.
pub(crate) const VARIANTS: [(&str, &str, Option<f64>); 4] = [
    ("extract-traceparent", "extract `traceparent`", Some(4.0)),
    ("extract-tracestate", "extract `traceparent` and `tracestate`", None),
    ("inject-traceparent", "inject `traceparent`", Some(5.0)),
    ("extract-baggage", "extract `baggage`, two members", Some(1.4)),
];

fn headers(more: &[(&'static str, &'static str)]) -> HeaderMap {
    let usual =
        [("host", "api.example.com:8080"), ("user-agent", "curl/8.5.0"), ("accept", "application/json")];
    let line = |&(name, value): &(&'static str, &'static str)| {
        (http::HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    usual.iter().chain(more).map(line).collect()
}

/// Measures one candidate with one variant.
pub(crate) fn measure(candidate: &str, variant: &str, mode: Mode) -> Option<()> {
    let baggage = variant == "extract-baggage";
    let headers = match variant {
        "extract-traceparent" => headers(&[("traceparent", requests::SAMPLED)]),
        "extract-tracestate" => {
            headers(&[("traceparent", requests::SAMPLED), ("tracestate", requests::TRACESTATE)])
        }
        "inject-traceparent" => headers(&[]),
        "extract-baggage" => headers(&[("baggage", requests::BAGGAGE)]),
        _ => return None,
    };
    match candidate {
        "sdk" if baggage => sdk(Some(&SdkBaggage::new()), variant, headers, mode),
        "sdk" => sdk(Some(&SdkTraceContext::new()), variant, headers, mode),
        "sdk-global" => {
            match baggage {
                true => global::set_text_map_propagator(SdkBaggage::new()),
                false => global::set_text_map_propagator(SdkTraceContext::new()),
            }
            sdk(None, variant, headers, mode);
        }
        "ours" if baggage => ours(&PropagatorHandle::new(BaggagePropagator::new()), variant, headers, mode),
        "ours" => ours(&PropagatorHandle::new(TraceContextPropagator::new()), variant, headers, mode),
        "ours-global" => {
            let empty = CompositePropagator::empty();
            otel_propagation::set_global(match baggage {
                true => empty.with_baggage(BaggagePropagator::new()),
                false => empty.with_trace_context(TraceContextPropagator::new()),
            });
            ours(&PropagatorHandle::global(), variant, headers, mode);
        }
        _ => return None,
    }
    Some(())
}

/// Measures the SDK; `None` is the global propagator.
fn sdk(propagator: Option<&dyn TextMapPropagator>, variant: &str, mut headers: HeaderMap, mode: Mode) {
    if variant == "inject-traceparent" {
        let context = caller();
        let inject = |()| {
            let mut carrier = opentelemetry_http::HeaderInjector(&mut headers);
            match black_box(propagator) {
                Some(propagator) => propagator.inject_context(&context, &mut carrier),
                None => {
                    global::get_text_map_propagator(|global| global.inject_context(&context, &mut carrier))
                }
            }
        };
        measure::measure(mode, || (), inject);
        assert_eq!(headers["traceparent"], requests::SAMPLED);
        return;
    }
    let extract = || {
        let carrier = opentelemetry_http::HeaderExtractor(&headers);
        let empty = Context::new();
        match black_box(propagator) {
            Some(propagator) => propagator.extract_with_context(&empty, &carrier),
            None => global::get_text_map_propagator(|global| global.extract_with_context(&empty, &carrier)),
        }
    };
    found(variant, &extract());
    measure::measure(mode, || (), |()| drop(black_box(extract())));
}

fn ours(propagation: &PropagatorHandle, variant: &str, mut headers: HeaderMap, mode: Mode) {
    if variant == "inject-traceparent" {
        let context = caller();
        let inject = |()| propagation.inject(&context, &mut otel_http::HeaderInjector(&mut headers));
        measure::measure(mode, || (), inject);
        assert_eq!(headers["traceparent"], requests::SAMPLED);
        return;
    }
    let extract = || propagation.extract(&otel_http::HeaderExtractor(&headers));
    found(variant, &extract());
    measure::measure(mode, || (), |()| drop(black_box(extract())));
}

fn caller() -> Context {
    requests::caller(Variant::Sampled).unwrap_or_default()
}

fn found(variant: &str, context: &Context) {
    if variant == "extract-baggage" {
        assert_eq!(context.baggage().len(), 2);
        return;
    }
    let span = context.span();
    assert!(span.span_context().is_sampled() && span.span_context().is_remote());
    let state = if variant == "extract-tracestate" { requests::TRACESTATE } else { "" };
    assert_eq!(span.span_context().trace_state().header(), state);
}
