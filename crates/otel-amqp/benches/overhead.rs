//! The cost of publishing compared with lapin's own channel and one header by hand, in nanoseconds per message.
//!
//! It needs a broker (`cargo xtask services up rabbitmq`, `RABBITMQ_URL`), whose connection contributes to each measurement.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ConnectionProperties};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otel_amqp::{Connection, Options};
use otel_propagation::CompositePropagator;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A queue that does not exist: the broker drops the messages.
const QUEUE: &str = "overhead";

fn options(sampler: Sampler) -> Options {
    Options::new()
        .with_tracer_provider(&SdkTracerProvider::builder().with_sampler(sampler).build())
        .with_meter_provider(&SdkMeterProvider::default())
        .with_propagator(CompositePropagator::default())
}

async fn connect() -> lapin::Result<lapin::Connection> {
    let url = std::env::var("RABBITMQ_URL").unwrap_or_default();
    lapin::Connection::connect(&url, ConnectionProperties::default()).await
}

fn publishing(c: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
    else {
        return;
    };
    let open = async || connect().await?.create_channel().await;
    let Ok(bare) = runtime.block_on(open()) else { return };
    let publish = BasicPublishOptions::default();
    let mut group = c.benchmark_group("publish");
    group.measurement_time(Duration::from_secs(2));
    group.bench_function("bare, one header by hand", |b| {
        b.iter(|| {
            let mut headers = FieldTable::default();
            headers.insert("traceparent".into(), AMQPValue::LongString(TRACEPARENT.into()));
            let properties = BasicProperties::default().with_headers(headers);
            let sent = bare.basic_publish("".into(), QUEUE.into(), publish, b"p", properties);
            black_box(runtime.block_on(sent)).is_ok()
        });
    });
    for (name, sampler) in [("sampled", Sampler::AlwaysOn), ("not sampled", Sampler::AlwaysOff)] {
        let open =
            async || Connection::from(connect().await?).with_options(options(sampler)).create_channel().await;
        let Ok(channel) = runtime.block_on(open()) else { return };
        group.bench_function(name, |b| {
            b.iter(|| {
                let properties = BasicProperties::default();
                let sent = channel.basic_publish("".into(), QUEUE.into(), publish, b"p", properties);
                black_box(runtime.block_on(sent)).is_ok()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, publishing);
criterion_main!(benches);
