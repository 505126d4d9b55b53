//! The cost of a query under a sampled and an unsampled parent, of a failure, without an SDK, and of the first analysis of a
//! text.
//!
//! `cargo bench -p otel-database --features bound-metrics --bench overhead -- --instructions` counts instructions and needs
//! valgrind.

use std::hint::black_box;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otel_database::{DatabaseInstrumentation, DatabaseOutcome, Dialect, Options, analyze_query};
use otel_testing::bench::{self, Bench};

const QUERY: &str =
    "SELECT id, name, price FROM products JOIN stock USING (id) WHERE id = $1 AND price > 10 LIMIT 1";

fn client(options: Options) -> DatabaseInstrumentation {
    DatabaseInstrumentation::builder("postgresql", InstrumentationScope::builder("bench").build())
        .with_server(Some(("db.example", None)))
        .with_namespace(Some("shop"))
        .build(options)
}

fn query(client: &DatabaseInstrumentation, current: &Context, outcome: &DatabaseOutcome) {
    let mut operation = client.query(black_box(QUERY)).start(black_box(current));
    operation.add_rows(1);
    operation.finish(outcome);
}

fn overhead(bench: &mut Bench) {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    let tracers = SdkTracerProvider::builder().with_sampler(sampler).build();
    let meters = SdkMeterProvider::builder().build();
    let no_sdk = client(Options::new());
    let database = client(Options::new().with_tracer_provider(&tracers).with_meter_provider(&meters));
    let ok = DatabaseOutcome::ok();
    for sampled in [true, false] {
        let flags = TraceFlags::default().with_sampled(sampled);
        let span = SpanContext::new(TraceId::from(7), SpanId::from(7), flags, true, TraceState::NONE);
        let current = Context::new().with_remote_span_context(span);
        let which = if sampled { "sampled" } else { "unsampled" };
        bench.measure(&format!("query/{which}"), || (), |()| query(&database, &current, &ok));
        bench.measure(
            &format!("query/failed/{which}"),
            || (),
            |()| query(&database, &current, &DatabaseOutcome::from_status_code("40P01")),
        );
        if !sampled {
            bench.measure("query/no SDK", || (), |()| query(&no_sdk, &current, &ok));
        }
    }
    bench.measure(
        "analysis",
        || (),
        |()| drop(black_box(analyze_query(black_box(QUERY), Dialect::PostgreSql, 4096))),
    );
}

fn main() -> std::io::Result<()> {
    bench::main(overhead)
}
