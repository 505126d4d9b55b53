//! Benchmarks of the samplers: the traces that `adaptive` keeps, and the cost of one decision of each sampler and of
//! tables of 20 rules of which the last one matches.

#![expect(clippy::print_stdout, reason = "a benchmark talks to its terminal")]

mod rates;

use std::hint::black_box;

use criterion::{Criterion, criterion_group};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::ShouldSample;
use otel_telemetry::sampler::{Reloadable, Rule, Rules, Sampler};

/// The attributes with which an HTTP server span starts.
fn attributes() -> Vec<KeyValue> {
    vec![
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("url.path", "/api/v1/users/4711"),
        KeyValue::new("url.scheme", "https"),
        KeyValue::new("server.address", "users.example"),
        KeyValue::new("server.port", 443),
        KeyValue::new("network.protocol.version", "2"),
        KeyValue::new("client.address", "192.0.2.7"),
        KeyValue::new("user_agent.original", "bench/1"),
        KeyValue::new("http.route", "/api/v1/users/{id}"),
    ]
}

fn parent(flags: TraceFlags, state: &str) -> Context {
    let state: TraceState = state.parse().unwrap_or_default();
    let parent = SpanContext::new(TraceId::from(u128::MAX - 7), SpanId::from(7), flags, true, state);
    Context::new().with_remote_span_context(parent)
}

/// Creates a table of 20 rules of which only the last one matches.
fn table(last: Sampler, rule: impl Fn(Rule, usize) -> Rule) -> Sampler {
    let rules =
        (0..19).fold(Rules::new("users"), |rules, n| rules.with_rule(rule(Rule::new(Sampler::always()), n)));
    rules.with_rule(Rule::new(last)).into()
}

fn samplers(c: &mut Criterion) {
    let attributes = attributes();
    let root = Context::new();
    let sampled = parent(TraceFlags::SAMPLED, "ot=th:8");
    let vendors =
        parent(TraceFlags::SAMPLED, "rojo=00f067aa0ba902b7,ot=th:8;rv:ffffffffffffff,congo=t61rcWkgMzE");
    let bare = parent(TraceFlags::SAMPLED, "");
    let unsampled = parent(TraceFlags::NOT_SAMPLED, "");

    let mut cost = |name: &str, sampler: &Sampler, cx: &Context, trace_id: u128| {
        c.bench_function(name, |b| {
            b.iter(|| {
                sampler.should_sample(
                    Some(black_box(cx)),
                    TraceId::from(black_box(trace_id)),
                    black_box("GET /api/v1/users/{id}"),
                    &SpanKind::Server,
                    black_box(&attributes),
                    &[],
                )
            });
        });
    };

    // The last seven bytes decide: every threshold keeps all ones, and only 0 keeps all zeros.
    let (kept, dropped) = (u128::MAX, 1 << 64);
    cost("always, root", &Sampler::always(), &root, kept);
    cost("never, root", &Sampler::never(), &root, kept);
    cost("ratio, root kept", &Sampler::ratio(0.1), &root, kept);
    cost("ratio, root dropped", &Sampler::ratio(0.1), &root, dropped);
    cost("ratio, child kept among other vendors", &Sampler::ratio(0.1), &vendors, kept);
    let parent_based = Sampler::parent_based(Sampler::ratio(0.1));
    cost("parent_based, sampled parent", &parent_based, &bare, kept);
    cost("parent_based, sampled parent with th", &parent_based, &sampled, kept);
    cost("parent_based, unsampled parent", &parent_based, &unsampled, kept);
    cost("parent_based, root dropped", &parent_based, &root, dropped);
    cost("adaptive, root kept", &Sampler::adaptive(f64::MAX), &root, kept);
    cost("adaptive, root dropped", &Sampler::adaptive(1e-3), &root, dropped);
    cost("adaptive, unsampled parent", &Sampler::adaptive(100.0), &unsampled, kept);

    // A table that ends in `never` costs only its search: the rows above have the cost of sampling.
    let never = Sampler::never;
    let by_kind = table(never(), |rule, _| rule.with_kinds([SpanKind::Client]));
    cost("20 rules on the kind", &by_kind, &root, kept);
    let by_name = table(never(), |rule, n| rule.with_span_name(&format!("GET /api/v1/users/{n}")));
    cost("20 rules on an exact name", &by_name, &root, kept);
    let by_prefix = table(never(), |rule, n| rule.with_span_name(&format!("GET /api/v1/users{n}*")));
    cost("20 rules on the start of a name", &by_prefix, &root, kept);
    let by_end = table(never(), |rule, n| rule.with_span_name(&format!("* /health{n}?")));
    cost("20 rules on the end of a name", &by_end, &root, kept);
    let by_part = table(never(), |rule, n| rule.with_span_name(&format!("*/admin{n}/*")));
    cost("20 rules on a part of a name", &by_part, &root, kept);
    // The name contains every pair of bytes of these patterns, so that each of them is searched for.
    let by_search = table(never(), |rule, n| {
        let parts = ["/users/v1", "/v1/api", "/api/users", "/v1/v1", "/users/api", "1/api", "s/v1"];
        rule.with_span_name(&format!("*{}*", parts[n % parts.len()]))
    });
    cost("20 rules on a part of a name, each searched for", &by_search, &root, kept);
    let by_attribute =
        table(never(), |rule, n| rule.with_attribute("http.route", [format!("/api/v1/orders/{n}")]));
    cost("20 rules on the last attribute of 9", &by_attribute, &root, kept);
    let by_port = table(never(), |rule, n| rule.with_attribute("server.port", [n.to_string()]));
    cost("20 rules on a numeric attribute", &by_port, &root, kept);
    let by_absent = table(never(), |rule, n| rule.with_attribute(&format!("app.attribute.{n}"), ["x"]));
    cost("20 rules on 19 attributes that are not there", &by_absent, &root, kept);
    let mixed = table(never(), |rule, n| match n % 4 {
        0 => rule.with_kinds([SpanKind::Client]).with_span_name("POST *"),
        1 => rule.with_span_name(&format!("GET /api/v1/users/{n}")),
        2 => rule.with_span_name("* /health?"),
        _ => rule.with_attribute("http.route", [format!("/api/v1/orders/{n}")]),
    });
    cost("20 rules, mixed", &mixed, &root, kept);
    let reloadable = Reloadable::with_initial("unused.json", "users", mixed.clone());
    cost("20 rules, mixed, reloadable", &reloadable.sampler(), &root, kept);
    let adaptive = table(Sampler::adaptive(1e-3), |rule, n| rule.with_span_name(&format!("POST /{n}*")));
    cost("20 rules, then adaptive, root dropped", &adaptive, &root, dropped);
}

criterion_group!(benches, samplers);

fn main() {
    // With a filter, or under `--test`, only the costs are measured.
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        rates::print();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
