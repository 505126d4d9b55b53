//! What propagation costs on an HTTP header map, beside the SDK's propagators, in one run.
//!
//! `cargo bench -p otel-propagation`. The headers are those of an ordinary request, so that a pass over all of them is
//! paid for.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::{
    BaggagePropagator as SdkBaggage, TraceContextPropagator as SdkTraceContext,
};
use otel_propagation::{
    B3, BaggagePropagator, Composite, Headers, HeadersMut, Propagation, TraceContext, set_global,
};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
const MEMBERS: &str = "userId=alice,tenant=acme%20corp";

struct Map(HeaderMap);

impl Headers for Map {
    fn visit<'a>(&'a self, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        for (name, value) in &self.0 {
            visitor(name.as_str(), value.as_bytes());
        }
    }
}

/// Names that need not be parsed again.
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

fn known(name: &str) -> Option<&'static HeaderName> {
    match name {
        "traceparent" => Some(&TRACEPARENT),
        "tracestate" => Some(&TRACESTATE),
        "baggage" => Some(&BAGGAGE),
        _ => None,
    }
}

impl HeadersMut for Map {
    fn set(&mut self, name: &str, value: &str) {
        let Ok(value) = HeaderValue::from_str(value) else { return };
        if let Some(name) = known(name) {
            self.0.insert(name, value);
        } else if let Ok(name) = HeaderName::try_from(name) {
            self.0.insert(name, value);
        }
    }

    fn remove(&mut self, name: &str) {
        match known(name) {
            Some(name) => self.0.remove(name),
            None => self.0.remove(name),
        };
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// The usual adapters of the API, as opentelemetry-http has them.
impl Extractor for Map {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let all: Vec<&str> = self.0.get_all(key).iter().filter_map(|value| value.to_str().ok()).collect();
        (!all.is_empty()).then_some(all)
    }
}

impl Injector for Map {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(key.as_bytes()), HeaderValue::from_str(&value))
        {
            self.0.insert(name, value);
        }
    }
}

/// The headers of an ordinary request, and some more.
fn request(more: &[(&'static str, &'static str)]) -> Map {
    let mut map = HeaderMap::new();
    let usual = [
        ("host", "users.example.com"),
        ("user-agent", "curl/8.5.0"),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("content-length", "42"),
    ];
    for (name, value) in usual.iter().chain(more) {
        map.insert(*name, HeaderValue::from_static(value));
    }
    Map(map)
}

fn span() -> SpanContext {
    SpanContext::new(
        TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
        SpanId::from(0x00f0_67aa_0ba9_02b7),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}

fn extract(
    criterion: &mut Criterion,
    name: &str,
    request: &Map,
    sdk: &dyn TextMapPropagator,
    ours: &[(&str, Propagation)],
) {
    let mut group = criterion.benchmark_group(name);
    group.bench_function("sdk", |bencher| {
        bencher.iter(|| sdk.extract_with_context(&Context::new(), black_box(request)));
    });
    for (name, propagation) in ours {
        group.bench_function(*name, |bencher| bencher.iter(|| propagation.extract(black_box(request))));
    }
    group.finish();
}

fn inject(
    criterion: &mut Criterion,
    name: &str,
    cx: &Context,
    sdk: &dyn TextMapPropagator,
    ours: &[(&str, Propagation)],
) {
    let mut group = criterion.benchmark_group(name);
    let mut carrier = request(&[]);
    group.bench_function("sdk", |bencher| bencher.iter(|| sdk.inject_context(black_box(cx), &mut carrier)));
    for (name, propagation) in ours {
        let mut carrier = request(&[]);
        group.bench_function(*name, |bencher| {
            bencher.iter(|| propagation.inject(black_box(cx), black_box(&mut carrier)));
        });
    }
    group.finish();
}

fn propagation(criterion: &mut Criterion) {
    set_global(Composite::default());
    let trace_context = || ("ours", Propagation::new(TraceContext::new()));
    let global = || ("ours, global, with baggage", Propagation::global());
    let sdk = SdkTraceContext::new();
    extract(
        criterion,
        "extract traceparent",
        &request(&[("traceparent", PARENT)]),
        &sdk,
        &[trace_context(), global()],
    );
    let with_state = request(&[("traceparent", PARENT), ("tracestate", STATE)]);
    extract(criterion, "extract traceparent and tracestate", &with_state, &sdk, &[trace_context(), global()]);
    extract(criterion, "extract nothing", &request(&[]), &sdk, &[trace_context(), global()]);

    let with_baggage = request(&[("baggage", MEMBERS)]);
    let forward = BaggagePropagator::new().with_forward_only(true);
    let baggage = [
        ("ours", Propagation::new(BaggagePropagator::new())),
        ("ours, forward only", Propagation::new(forward)),
    ];
    extract(criterion, "extract baggage", &with_baggage, &SdkBaggage::new(), &baggage);

    let cx = Context::new().with_remote_span_context(span());
    let all = [trace_context(), global(), ("ours, b3", Propagation::new(B3::single()))];
    inject(criterion, "inject traceparent", &cx, &sdk, &all);
    let cx = cx.with_baggage([KeyValue::new("userId", "alice"), KeyValue::new("tenant", "acme corp")]);
    inject(criterion, "inject baggage", &cx, &SdkBaggage::new(), &baggage[..1]);
}

criterion_group!(benches, propagation);
criterion_main!(benches);
