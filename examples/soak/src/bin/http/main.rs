//! The HTTP soak: a server with `ServerLayer` and clients with `ClientLayer`, over HTTP/1.1 and HTTP/2, with aborted
//! requests, panics and failing bodies. The checks at the end account for every request.

#![expect(clippy::print_stdout, reason = "a soak prints to its terminal")]

mod accepted;
mod client;
mod plan;
mod server;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use otel_testing::Recorder;
use soak::{Arguments, CountingTracerProvider, Memory, Report, Side, add, equal};
use tokio::task::JoinSet;

use crate::accepted::Accepted;
use crate::client::Driver;
use crate::plan::Plan;
use crate::server::Server;

/// The timeout for the end of the last requests, many times longer than the slowest handler.
const PATIENCE: Duration = Duration::from_secs(30);

/// The telemetry of one side. The recorder is used for metrics only, whose size does not depend on the number of
/// requests; it would keep all spans, so a separate provider counts them.
#[derive(Default)]
struct Telemetry {
    spans: CountingTracerProvider,
    metrics: Recorder,
}

#[tokio::main]
async fn main() -> ExitCode {
    soak::run("http", ("--requests", 200_000, 64), soak).await
}

async fn soak(arguments: Arguments) -> Result<Report, Box<dyn Error>> {
    let Arguments { requests, seed, concurrency, .. } = arguments;
    println!("soak http: {requests} requests, {concurrency} at a time, seed {seed}");
    let (server, client) = (Telemetry::default(), Telemetry::default());
    let accepted = Accepted::default();
    let serving = Server::start(&server, &accepted).await?;

    let began = Instant::now();
    let driver = Arc::new(Driver::new(serving.address, &client));
    let memory = Arc::new(Memory::new(requests));
    run(arguments, &driver, &memory).await?;
    let took = began.elapsed();
    let (calls, cuts) = driver.finish();
    // Closes the clients' connections.
    drop(driver);
    let stopped = serving.stop(PATIENCE).await;
    let counts = || [server.spans.counts().alive(), client.spans.counts().alive(), accepted.open()];
    settle(|| counts() == [0; 3]).await;

    let mut report = Report::default();
    report.check(stopped);
    let metric = |telemetry: &Telemetry, name: &str| telemetry.metrics.metric(name);
    report.side(&Side::new(
        "server",
        accepted.tally(),
        server.spans.counts(),
        &[metric(&server, "http.server.request.duration")],
        Some(&metric(&server, "http.server.active_requests")),
    ));
    report.side(&Side::new(
        "client",
        &calls,
        client.spans.counts(),
        &[metric(&client, "http.client.request.duration")],
        Some(&metric(&client, "http.client.active_requests")),
    ));
    report.check(equal(
        "accepted requests that have ended",
        accepted.total(),
        accepted.total() - accepted.open(),
    ));
    let spans = server.spans.counts();
    report.check(equal("server spans with a remote parent", spans.started(), spans.with_remote_parent()));
    report.check(equal("calls made", requests, calls.counts().values().sum()));
    report.check(cuts.verdict(requests));
    report.check(memory.verdict());
    report.check(Ok(format!(
        "{:.1} s, {:.0} requests a second",
        took.as_secs_f64(),
        requests as f64 / took.as_secs_f64()
    )));
    Ok(report)
}

/// Sends all requests with the given concurrency. Each request depends only on its number and the seed.
async fn run(arguments: Arguments, driver: &Arc<Driver>, memory: &Arc<Memory>) -> Result<(), Box<dyn Error>> {
    let Arguments { requests, seed, concurrency, .. } = arguments;
    let (next, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        let (driver, memory) = (Arc::clone(driver), Arc::clone(memory));
        let (next, done) = (Arc::clone(&next), Arc::clone(&done));
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return Ok::<_, std::io::Error>(());
                }
                driver.drive(&Plan::new(seed, number)).await?;
                memory.progress(add(&done));
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    Ok(())
}

/// Waits until the condition holds or the timeout expires; the report shows the difference.
async fn settle(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
