//! The cost of a command compared with redis' own connection, in nanoseconds per command.
//!
//! The connection answers from memory, so that no socket is measured.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otel_redis::{Connection, Options};
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};

/// A connection that answers at once.
#[derive(Clone)]
struct Memory;

impl ConnectionLike for Memory {
    fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async { Ok(Value::Okay) })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a Pipeline,
        _: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move { Ok(vec![Value::Okay; count]) })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

fn options(sampler: Sampler) -> Options {
    Options::new()
        .with_tracer_provider(&SdkTracerProvider::builder().with_sampler(sampler).build())
        .with_meter_provider(&SdkMeterProvider::default())
}

fn commands(c: &mut Criterion) {
    let mut command = redis::cmd("SET");
    command.arg("key").arg("value");
    let mut pipeline = redis::pipe();
    for _ in 0..10 {
        pipeline.add_command(command.clone());
    }
    let mut group = c.benchmark_group("command");
    group.bench_function("bare", |b| {
        b.iter(|| black_box(command.exec_async(&mut Memory).now_or_never()).is_some());
    });
    for (name, sampler) in [("sampled", Sampler::AlwaysOn), ("not sampled", Sampler::AlwaysOff)] {
        let mut connection = Connection::new(Memory).with_options(options(sampler.clone()));
        group.bench_function(name, |b| {
            b.iter(|| black_box(command.exec_async(&mut connection).now_or_never()).is_some());
        });
        group.bench_function(format!("pipeline of 10, {name}"), |b| {
            b.iter(|| black_box(pipeline.exec_async(&mut connection).now_or_never()).is_some());
        });
    }
    group.finish();
}

criterion_group!(benches, commands);
criterion_main!(benches);
