//! The HTTP soak: a server with `ServerLayer` and clients with `ClientLayer`, over HTTP/1.1 and HTTP/2, with aborted
//! requests, panics and failing bodies. The checks at the end account for every request.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a soak prints to its terminal")]

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
use soak::{Arguments, CountingTracerProvider, Memory, Report, Side};
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
    let arguments = match Arguments::parse(("--requests", 200_000, 64), std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match soak(arguments).await {
        Ok(report) => {
            println!("{}", report.text());
            let failures = report.failures();
            if failures.is_empty() {
                println!("soak http: all checks passed");
                return ExitCode::SUCCESS;
            }
            eprintln!("soak http: {} checks failed:", failures.len());
            failures.iter().for_each(|failure| eprintln!("{failure}"));
        }
        Err(error) => eprintln!("soak http: {error}"),
    }
    ExitCode::FAILURE
}

async fn soak(arguments: Arguments) -> Result<Report, Box<dyn Error>> {
    let Arguments { requests, seed, concurrency, .. } = arguments;
    println!("soak http: {requests} requests, {concurrency} at a time, seed {seed}");
    otel_operation::declare_bound_metrics();
    otel_propagation::set_global(otel_propagation::CompositePropagator::default());
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
    report.check(all(
        "accepted requests that have ended",
        accepted.total(),
        accepted.total() - accepted.open(),
    ));
    let spans = server.spans.counts();
    report.check(all("server spans with a remote parent", spans.started(), spans.with_remote_parent()));
    report.check(all("calls made", requests, calls.counts().values().sum()));
    report.check(cuts.verdict(requests));
    report.check(memory.verdict());
    report.check(Ok(format!(
        "{:.1} s, {:.0} requests a second",
        took.as_secs_f64(),
        requests as f64 / took.as_secs_f64()
    )));
    Ok(report)
}

/// Checks that two counts are equal.
fn all(name: &str, expected: u64, actual: u64) -> Result<String, String> {
    let text = format!("{name}: {actual} of {expected}");
    if actual == expected { Ok(text) } else { Err(text) }
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
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if done.is_multiple_of((requests / 200).max(1)) {
                    progress(done, requests, memory.sample(done));
                }
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    Ok(())
}

/// Prints a line for each tenth of the requests.
fn progress(done: u64, requests: u64, resident: Option<u64>) {
    if done.is_multiple_of((requests / 10).max(1)) {
        let resident = resident.map_or_else(String::new, |resident| format!(", resident {resident} KiB"));
        println!("{done:>9} of {requests}{resident}");
    }
}

/// Waits until the condition holds or the timeout expires; the report shows the difference.
async fn settle(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
