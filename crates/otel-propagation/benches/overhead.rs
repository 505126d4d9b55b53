//! The cost of propagation on an HTTP header map, beside the SDK's propagators, in one run.
//!
//! Nanoseconds: `cargo bench -p otel-propagation --features http`. Instructions, which repeat, and allocations:
//! `cargo bench -p otel-propagation --features http --bench overhead -- --instructions` (needs valgrind).
//! The headers are those of an ordinary request, so that each cell pays for a pass over all of them.

// A bench has no caller to return an error to, and its table goes to standard output.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::Criterion;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::{
    BaggagePropagator as SdkBaggage, TraceContextPropagator as SdkTraceContext,
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_propagation::{
    B3Propagator, BaggagePropagator, CompositePropagator, HeaderExtractor, HeaderInjector, PropagatorHandle,
    TraceContextPropagator, set_global,
};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
const MEMBERS: [&str; 3] = [
    "userId=alice",
    "userId=alice,tenant=acme%20corp",
    "userId=alice,tenant=acme%20corp,region=eu-west-1,plan=gold",
];

/// Repetitions of a counted cell, after as many to warm up.
const REPETITIONS: u64 = 1000;

/// The system's allocator, counted.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator can be written in no other way")]
// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: see above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: see above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The usual adapters of the API, as opentelemetry-http has them.
struct Map(HeaderMap);

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
fn request(more: &[(&'static str, &'static str)]) -> HeaderMap {
    let usual = [
        ("host", "users.example.com"),
        ("user-agent", "curl/8.5.0"),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("content-length", "42"),
    ];
    let header = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    usual.iter().chain(more).map(header).collect()
}

fn context(state: &str) -> Context {
    let span = SpanContext::new(
        TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
        SpanId::from(0x00f0_67aa_0ba9_02b7),
        TraceFlags::SAMPLED,
        false,
        state.parse::<TraceState>().unwrap(),
    );
    Context::new().with_remote_span_context(span)
}

/// A measurement: its name, and its work.
type Cell = (String, Box<dyn FnMut()>);

fn cells() -> Vec<Cell> {
    set_global(CompositePropagator::default());
    let mut cells: Vec<Cell> = Vec::new();
    let trace_context = || PropagatorHandle::new(TraceContextPropagator::new());
    let parent = ("traceparent", PARENT);

    for (headers, title) in [
        (request(&[]), "extract nothing"),
        (request(&[parent]), "extract traceparent"),
        (request(&[parent, ("tracestate", STATE)]), "extract traceparent, tracestate"),
    ] {
        let sdk = SdkTraceContext::new();
        let map = Map(headers.clone());
        cells.push(cell(title, "sdk", move || drop(sdk.extract_with_context(&Context::new(), &map))));
        for (who, propagation) in [("ours", trace_context()), ("global", PropagatorHandle::global())] {
            let headers = headers.clone();
            cells.push(cell(title, who, move || drop(propagation.extract(&HeaderExtractor(&headers)))));
        }
    }
    for (members, count) in MEMBERS.iter().zip(["1", "2", "4"]) {
        let title = format!("extract baggage of {count}");
        let headers = request(&[("baggage", members)]);
        let map = Map(headers.clone());
        let sdk = SdkBaggage::new();
        cells.push(cell(&title, "sdk", move || drop(sdk.extract_with_context(&Context::new(), &map))));
        let forward = BaggagePropagator::new().with_forward_only(true);
        for (who, format) in [("ours", BaggagePropagator::new()), ("forwarded", forward)] {
            let (headers, propagation) = (headers.clone(), PropagatorHandle::new(format));
            cells.push(cell(&title, who, move || drop(propagation.extract(&HeaderExtractor(&headers)))));
        }
    }

    let members = [KeyValue::new("userId", "alice"), KeyValue::new("tenant", "acme corp")];
    for (cx, title) in [
        (context(""), "inject traceparent"),
        (context(STATE), "inject traceparent, tracestate"),
        (Context::new().with_baggage(members), "inject baggage of 2"),
    ] {
        let sdk: Box<dyn TextMapPropagator> = match title {
            "inject baggage of 2" => Box::new(SdkBaggage::new()),
            _ => Box::new(SdkTraceContext::new()),
        };
        let (context, mut map) = (cx.clone(), Map(request(&[])));
        cells.push(cell(title, "sdk", move || sdk.inject_context(&context, &mut map)));
        let b3 = PropagatorHandle::new(B3Propagator::single());
        for (who, propagation) in
            [("ours", PropagatorHandle::new(CompositePropagator::default())), ("b3", b3)]
        {
            let (cx, mut headers) = (cx.clone(), request(&[]));
            cells.push(cell(title, who, move || propagation.inject(&cx, &mut HeaderInjector(&mut headers))));
        }
    }

    // A service in between: what it received, its span, and what it sends.
    let provider = SdkTracerProvider::builder().build();
    for (headers, title) in [
        (request(&[parent]), "a hop with traceparent"),
        (request(&[parent, ("tracestate", STATE)]), "a hop with traceparent, tracestate"),
    ] {
        let (tracer, propagation) = (provider.tracer("bench"), trace_context());
        let mut out = request(&[]);
        cells.push(cell(title, "ours", move || {
            let incoming = propagation.extract(&HeaderExtractor(&headers));
            let span = tracer.start_with_context("hop", &incoming);
            propagation.inject(&incoming.with_span(span), &mut HeaderInjector(&mut out));
        }));
    }
    cells
}

fn cell(title: &str, who: &str, work: impl FnMut() + 'static) -> Cell {
    (format!("{title} / {who}"), Box::new(work))
}

/// Does the work where callgrind collects.
#[inline(never)]
fn counted_region(work: &mut dyn FnMut()) {
    black_box(work)();
}

/// The work of one cell, of which callgrind sees the second half; prints its allocations.
fn run(name: &str) {
    let (_, mut work) = cells().into_iter().find(|(cell, _)| cell == name).unwrap();
    (0..REPETITIONS).for_each(|_| work());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..REPETITIONS).for_each(|_| counted_region(&mut *work));
    println!("{}", (ALLOCATIONS.load(Ordering::Relaxed) - before) / REPETITIONS);
}

/// Runs each cell in a process of its own under callgrind, and prints instructions and allocations.
fn count_instructions() {
    println!("| | instructions | allocations |\n|---|---|---|");
    for (name, _) in cells() {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--toggle-collect=*counted_region*"])
            .arg("--callgrind-out-file=/dev/null")
            .arg(std::env::current_exe().unwrap())
            .args(["--cell", &name])
            .output()
            .unwrap();
        let (out, log) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        let collected = log.lines().find_map(|line| line.split("Collected : ").nth(1)).unwrap();
        let instructions = collected.trim().parse::<u64>().unwrap() / REPETITIONS;
        println!("| {name} | {instructions} | {} |", out.trim());
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--cell", name] => run(name),
        ["--instructions"] => count_instructions(),
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            for (name, mut work) in cells() {
                criterion.bench_function(&name, |bencher| bencher.iter(&mut work));
            }
            criterion.final_summary();
        }
    }
}
