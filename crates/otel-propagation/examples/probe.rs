#![allow(unused_imports, dead_code)]
//! What propagation costs on an HTTP header map, beside the SDK's propagators, in one run.
//!
//! `cargo bench -p otel-propagation`. The headers are those of an ordinary request, so that a pass over all of them is
//! paid for.

use std::hint::black_box;

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

fn med(mut v: Vec<f64>) -> (f64, f64) {
    v.sort_by(f64::total_cmp);
    (v[v.len() / 2], v[v.len() / 20])
}
fn race(name: &str, mut a: impl FnMut(), mut b: impl FnMut()) {
    let (mut ta, mut tb, mut r) = (vec![], vec![], vec![]);
    for _ in 0..600 {
        let t = std::time::Instant::now();
        for _ in 0..2000 {
            a()
        }
        let x = t.elapsed().as_nanos() as f64 / 2000.;
        let t = std::time::Instant::now();
        for _ in 0..2000 {
            b()
        }
        let y = t.elapsed().as_nanos() as f64 / 2000.;
        ta.push(x);
        tb.push(y);
        r.push(x / y);
    }
    let (a, b, r) = (med(ta), med(tb), med(r));
    println!(
        "{name}: sdk {:.0} (p5 {:.0}) ours {:.0} (p5 {:.0}) ratio of medians {:.2} median ratio {:.2} p5 {:.2}",
        a.0,
        a.1,
        b.0,
        b.1,
        a.0 / b.0,
        r.0,
        a.1 / b.1
    );
}
fn main() {
    if std::env::args().nth(1).as_deref() == Some("race") {
        let req = request(&[("traceparent", PARENT)]);
        let bag = request(&[("baggage", MEMBERS)]);
        let st = request(&[("traceparent", PARENT), ("tracestate", STATE)]);
        let tc = Propagation::new(TraceContext::new());
        let bp = Propagation::new(BaggagePropagator::new());
        let fw = Propagation::new(BaggagePropagator::new().with_forward_only(true));
        let cx = Context::new().with_remote_span_context(span());
        let bcx = Context::new()
            .with_baggage([KeyValue::new("userId", "alice"), KeyValue::new("tenant", "acme corp")]);
        set_global(Composite::default());
        let g = Propagation::global();
        let (s, sb) = (SdkTraceContext::new(), SdkBaggage::new());
        let e = Context::new();
        let (mut m1, mut m2) = (request(&[]), request(&[]));
        race(
            "extract",
            || {
                black_box(s.extract_with_context(&e, black_box(&req)));
            },
            || {
                black_box(tc.extract(black_box(&req)));
            },
        );
        let none = request(&[]);
        race(
            "floor / visit",
            || {
                black_box(Context::new().with_remote_span_context(black_box(span())));
            },
            || {
                let mut k = 0;
                black_box(&none).visit(|n, v| {
                    if n.len() == 11 {
                        k += v.len();
                    }
                });
                black_box(k);
            },
        );
        race(
            "ours / none",
            || {
                black_box(tc.extract(black_box(&req)));
            },
            || {
                black_box(tc.extract(black_box(&none)));
            },
        );
        race(
            "get / set",
            || {
                black_box((black_box(&req).0.get(&TRACEPARENT), req.0.get(&TRACESTATE)));
            },
            || {
                HeadersMut::set(black_box(&mut m1), "traceparent", black_box(PARENT));
            },
        );
        race(
            "extract global",
            || {
                black_box(s.extract_with_context(&e, black_box(&req)));
            },
            || {
                black_box(g.extract(black_box(&req)));
            },
        );
        race(
            "extract state",
            || {
                black_box(s.extract_with_context(&e, black_box(&st)));
            },
            || {
                black_box(tc.extract(black_box(&st)));
            },
        );
        race(
            "extract baggage",
            || {
                black_box(sb.extract_with_context(&e, black_box(&bag)));
            },
            || {
                black_box(bp.extract(black_box(&bag)));
            },
        );
        race(
            "extract baggage fwd",
            || {
                black_box(sb.extract_with_context(&e, black_box(&bag)));
            },
            || {
                black_box(fw.extract(black_box(&bag)));
            },
        );
        race(
            "inject",
            || s.inject_context(black_box(&cx), black_box(&mut m1)),
            || tc.inject(black_box(&cx), black_box(&mut m2)),
        );
        race(
            "inject global",
            || s.inject_context(black_box(&cx), black_box(&mut m1)),
            || g.inject(black_box(&cx), black_box(&mut m2)),
        );
        race(
            "inject baggage",
            || sb.inject_context(black_box(&bcx), black_box(&mut m1)),
            || bp.inject(black_box(&bcx), black_box(&mut m2)),
        );
        return;
    }
    let args: Vec<String> = std::env::args().collect();
    let n: u32 = args[2].parse().unwrap();
    let req = request(&[("traceparent", PARENT)]);
    let bag = request(&[("baggage", MEMBERS)]);
    let none = request(&[]);
    let tc = Propagation::new(TraceContext::new());
    let bp = Propagation::new(BaggagePropagator::new());
    let cx = Context::new().with_remote_span_context(span());
    let bcx =
        Context::new().with_baggage([KeyValue::new("userId", "alice"), KeyValue::new("tenant", "acme corp")]);
    set_global(Composite::default());
    let mut out = request(&[]);
    let g = Propagation::global();
    for _ in 0..n {
        match args[1].as_str() {
            "sdk" => {
                black_box(SdkTraceContext::new().extract_with_context(&Context::new(), black_box(&req)));
            }
            "ours" => {
                black_box(tc.extract(black_box(&req)));
            }
            "global" => {
                black_box(g.extract(black_box(&req)));
            }
            "none" => {
                black_box(tc.extract(black_box(&none)));
            }
            "floor" => {
                black_box(Context::new().with_remote_span_context(black_box(span())));
            }
            "visit" => {
                let mut k = 0;
                black_box(&none).visit(|n, v| {
                    if n.len() == 11 {
                        k += v.len();
                    }
                });
                black_box(k);
            }
            "sdkin" => SdkTraceContext::new().inject_context(black_box(&cx), black_box(&mut out)),
            "in" => tc.inject(black_box(&cx), black_box(&mut out)),
            "gin" => g.inject(black_box(&cx), black_box(&mut out)),
            "floorin" => {
                HeadersMut::set(&mut out, "traceparent", black_box(PARENT));
            }
            "sdkbag" => {
                black_box(SdkBaggage::new().extract_with_context(&Context::new(), black_box(&bag)));
            }
            "bag" => {
                black_box(bp.extract(black_box(&bag)));
            }
            "floorbag" => {
                black_box(Context::new().with_baggage([
                    KeyValue::new("userId".to_owned(), "alice".to_owned()),
                    KeyValue::new("tenant".to_owned(), "acme corp".to_owned()),
                ]));
            }
            "bagin" => bp.inject(black_box(&bcx), black_box(&mut out)),
            _ => panic!(),
        }
    }
}
