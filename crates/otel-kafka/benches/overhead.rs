//! The cost of producing and processing compared with rdkafka's own types, on the mock cluster, in nanoseconds per
//! message.
//!
//! Threads of librdkafka contribute to each measurement. `benchmarks/` compares instructions, which are repeatable.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otel_kafka::Options;
use otel_propagation::CompositePropagator;
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::error::KafkaResult;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn options(sampler: Sampler) -> Options {
    Options::new()
        .with_tracer_provider(&SdkTracerProvider::builder().with_sampler(sampler).build())
        .with_meter_provider(&SdkMeterProvider::default())
        .with_propagator(CompositePropagator::default())
}

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn producer<T: FromClientConfig>(cluster: &Cluster) -> KafkaResult<T> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    // Settings that avoid waiting for the cluster, which is not the subject of the measurement.
    config.set("queue.buffering.max.messages", "2000000").set("linger.ms", "100").set("acks", "0");
    config.create()
}

fn record<'a>() -> BaseRecord<'a, str, [u8]> {
    BaseRecord::to("orders").key("key").payload(&[7; 100])
}

fn producing(c: &mut Criterion) {
    let Ok(cluster) = MockCluster::new(1) else { return };
    let mut group = c.benchmark_group("send");
    group.measurement_time(Duration::from_secs(2));
    if let Ok(bare) = producer::<rdkafka::producer::ThreadedProducer<DefaultProducerContext>>(&cluster) {
        group.bench_function("bare, one header by hand", |b| {
            b.iter(|| {
                let headers = OwnedHeaders::new_with_capacity(1);
                let headers = headers.insert(Header { key: "traceparent", value: Some(TRACEPARENT) });
                black_box(bare.send(record().headers(headers))).is_ok()
            });
        });
        let _ = bare.flush(Duration::from_secs(60));
    }
    for (name, sampler) in [("sampled", Sampler::AlwaysOn), ("not sampled", Sampler::AlwaysOff)] {
        let Ok(producer) = producer::<otel_kafka::ThreadedProducer>(&cluster) else { return };
        let producer = producer.with_options(options(sampler));
        group.bench_function(name, |b| b.iter(|| black_box(producer.send(record())).is_ok()));
        let _ = producer.flush(Duration::from_secs(60));
    }
    group.finish();
}

fn processing(c: &mut Criterion) {
    let Ok(cluster) = MockCluster::new(1) else { return };
    let Ok(producer) = producer::<otel_kafka::ThreadedProducer>(&cluster) else { return };
    let _ = producer.send(record());
    let _ = producer.flush(Duration::from_secs(60));
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "bench");
    config.set("auto.offset.reset", "earliest");
    let mut group = c.benchmark_group("process");
    for (name, sampler) in [("sampled", Sampler::AlwaysOn), ("not sampled", Sampler::AlwaysOff)] {
        let Ok(consumer) = config.create::<otel_kafka::BaseConsumer>() else { return };
        let consumer = consumer.with_options(options(sampler));
        if rdkafka::consumer::Consumer::subscribe(&consumer, &["orders"]).is_err() {
            return;
        }
        let Some(Ok(message)) = consumer.iter().next() else { return };
        group.bench_function(name, |b| {
            b.iter(|| black_box(message.processing()).finish(&otel_operation::Outcome::ok()));
        });
    }
    group.finish();
}

criterion_group!(benches, producing, processing);
criterion_main!(benches);
