//! Entry point of the `concurrency` example: four patterns, each with the trace that it makes.
//!
//! Start reading in `spawn.rs`; each pattern is a file of its own.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to its terminal")]

mod fan_out;
mod pipeline;
mod pool;
mod spawn;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_waterfall::Waterfall;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    if let Some(argument) = std::env::args().nth(1) {
        eprintln!("unknown argument `{argument}`; the example has none");
        return ExitCode::from(2);
    }
    // One worker panics. The hook prints one line, independent of RUST_BACKTRACE.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<(), Failure> {
    let page = std::env::current_exe()?.with_extension("html");
    // Each trace is drawn after its pattern, so that the quiet period must not expire.
    let waterfall = Waterfall::stdout()
        .with_quiet(Duration::from_secs(60 * 60))
        .with_attributes(["task.cancellation.reason", "user.id"])
        .with_html(&page)?;
    // `otel-telemetry` sets up more: exporters, samplers, metrics.
    let traces = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name("concurrency").build())
        .with_simple_exporter(waterfall.exporter())
        .build();
    global::set_tracer_provider(traces.clone());

    println!("Spawned tasks are in the trace of their caller\n");
    spawn::run().await?;
    waterfall.flush();
    println!("The first failure of a fan-out cancels its siblings\n");
    fan_out::run().await;
    waterfall.flush();
    println!("A pipeline of channels is one trace, and a batch links to all of its items\n");
    pipeline::run().await?;
    waterfall.flush();
    println!("A pool runs two tasks at once, and survives a panic\n");
    pool::run().await;
    waterfall.flush();
    traces.shutdown()?;
    eprintln!("All traces on one page: {}", page.display());
    Ok(())
}
