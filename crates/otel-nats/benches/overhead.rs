//! The cost of publishing compared with async-nats' own client that writes one header by hand, in nanoseconds per message.
//!
//! It needs a server (`cargo xtask services up nats`, `NATS_URL`), whose connection contributes to each measurement.

use std::hint::black_box;
use std::time::Duration;

use async_nats::HeaderMap;
use criterion::{Criterion, criterion_group, criterion_main};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otel_nats::{Client, Options};
use otel_propagation::CompositePropagator;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn options(sampler: Sampler) -> Options {
    Options::new()
        .with_tracer_provider(&SdkTracerProvider::builder().with_sampler(sampler).build())
        .with_meter_provider(&SdkMeterProvider::default())
        .with_propagator(CompositePropagator::default())
}

fn publishing(c: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
    else {
        return;
    };
    let url = std::env::var("NATS_URL").unwrap_or_default();
    let Ok(bare) = runtime.block_on(async_nats::connect(url)) else { return };
    let mut group = c.benchmark_group("publish");
    group.measurement_time(Duration::from_secs(2));
    group.bench_function("bare, one header by hand", |b| {
        b.iter(|| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", TRACEPARENT);
            black_box(runtime.block_on(bare.publish_with_headers("orders", headers, "p".into()))).is_ok()
        });
    });
    for (name, sampler) in [("sampled", Sampler::AlwaysOn), ("not sampled", Sampler::AlwaysOff)] {
        let client = Client::from(bare.clone()).with_options(options(sampler));
        group.bench_function(name, |b| {
            b.iter(|| black_box(runtime.block_on(client.publish("orders", "p".into()))).is_ok());
        });
    }
    group.finish();
}

criterion_group!(benches, publishing);
criterion_main!(benches);
