//! The telemetry soak: spans of two services to a collector that is killed every 30 seconds for 10 seconds. The checks at the
//! end account for every span.

#![expect(clippy::print_stdout, reason = "a soak prints to its terminal")]

mod collector;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use otel_telemetry::{BatchOptions, Exporter, OtlpOptions, Protocol, Signal, Telemetry};
use soak::{Arguments, Memory, Report, equal};

use crate::collector::Collector;

/// The time between two kills, and the part of it for which the collector stays away.
const CYCLE: Duration = Duration::from_secs(30);
const AWAY: Duration = Duration::from_secs(10);

/// The batches of a service that the collector may have accepted and not printed when it is killed: it processes them in a
/// pipeline of its own.
const UNPRINTED_BATCHES: u64 = 3;

struct Service {
    name: &'static str,
    protocol: Protocol,
    per_second: u64,
    queue: usize,
}

const SERVICES: [Service; 2] = [
    Service { name: "http", protocol: Protocol::HttpProtobuf, per_second: 150, queue: 2048 },
    Service { name: "grpc", protocol: Protocol::Grpc, per_second: 400, queue: 8192 },
];

#[tokio::main]
async fn main() -> ExitCode {
    soak::run("telemetry", ("--seconds", 600, 1), soak).await
}

async fn soak(arguments: Arguments) -> Result<Report, Box<dyn Error>> {
    let seconds = arguments.requests;
    println!("soak telemetry: {seconds} s, the collector is away for {AWAY:?} of each {CYCLE:?}");
    let mut collector = Collector::start()?;
    let total: u64 = SERVICES.iter().map(|service| service.per_second * seconds).sum();
    let memory = Arc::new(Memory::new(total));
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut running = Vec::new();
    for service in &SERVICES {
        let telemetry = telemetry(service, &collector)?;
        let (memory, stop, done) = (Arc::clone(&memory), Arc::clone(&stop), Arc::clone(&done));
        let counting = telemetry.tracer_provider().tracer("soak");
        let ending = tokio::spawn(async move {
            let start = Instant::now();
            let mut ended = 0;
            while !stop.load(Ordering::Relaxed) {
                let due = (start.elapsed().as_secs_f64() * service.per_second as f64) as u64;
                for number in ended..due {
                    counting.start(format!("{}-{number}", service.name)).end();
                    memory.progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                }
                ended = due;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            ended
        });
        running.push((service, telemetry, ending));
    }

    let mut kills = 0;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() + CYCLE <= end {
        tokio::time::sleep(CYCLE - AWAY).await;
        collector.kill()?;
        kills += 1;
        tokio::time::sleep(AWAY).await;
        collector.restart()?;
    }
    tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
    stop.store(true, Ordering::Relaxed);

    let mut report = Report::default();
    for (service, telemetry, ending) in running {
        let ended = ending.await?;
        let shutdown = telemetry.shutdown_within(Duration::from_secs(30)).await;
        let counts = shutdown.spans;
        report.check(Ok(format!("{}: {counts:?}", service.name)));
        report.check(equal(&format!("{}: spans that reached the queue", service.name), ended, counts.ended));
        report.check(equal(&format!("{}: spans accepted", service.name), ended, counts.accepted));
        report.check(equal(&format!("{}: spans dropped", service.name), 0, counts.dropped.total()));
        let max = kills * UNPRINTED_BATCHES * 512;
        let missing = collector.missing(service.name, ended, max).await?;
        let text = format!(
            "{}: {missing} spans not printed, of at most {max} in {kills} kills of the collector",
            service.name
        );
        report.check(if missing <= max { Ok(text) } else { Err(text) });
    }
    report.check(memory.verdict());
    Ok(report)
}

fn telemetry(service: &Service, collector: &Collector) -> Result<Telemetry, Box<dyn Error>> {
    let otlp =
        OtlpOptions::default().with_protocol(service.protocol).with_endpoint(collector.url(service.protocol));
    let telemetry = Telemetry::builder()
        .with_service_name(service.name)
        .with_env::<&str, &str>([])
        .with_exporters(Exporter::None)
        .with_exporter(Signal::Traces, Exporter::Otlp)
        .with_otlp(otlp)
        .with_span_batch(BatchOptions::for_spans().with_max_queue_size(service.queue))
        .build()?;
    println!("{}", telemetry.describe());
    Ok(telemetry)
}
