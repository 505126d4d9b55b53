//! Entry point of the `resilience` example: three patterns, each with the trace that it makes.
//!
//! Start reading in `retry.rs`; each pattern is a file of its own, `services.rs` has the servers and the clients.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to its terminal")]

mod breaker;
mod deadline;
mod retry;
mod services;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use opentelemetry::global;
use otel_waterfall::Waterfall;

use crate::services::Services;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    if let Some(argument) = std::env::args().nth(1) {
        eprintln!("unknown argument `{argument}`; the example has none");
        return ExitCode::from(2);
    }
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
        .with_events()
        .with_attributes([
            "http.request.resend_count",
            "http.response.status_code",
            "resilience.deadline.remaining",
        ])
        .with_html(&page)?;
    // `otel-telemetry` sets up more: exporters, samplers, metrics.
    let services = Services::new(&waterfall);
    global::set_tracer_provider(services.provider("shop"));
    global::set_text_map_propagator(otel_propagation::CompositePropagator::default());

    println!("A backend that fails twice is asked three times\n");
    retry::run(&services).await?;
    services.settle().await?;
    waterfall.flush();
    println!("A breaker opens while its backend fails, and closes when it has returned\n");
    breaker::run(&services).await?;
    services.settle().await?;
    waterfall.flush();
    println!("A deadline of 2 s crosses three services, and all of them stop at it\n");
    deadline::run(&services).await?;
    services.settle().await?;
    waterfall.flush();
    eprintln!("All traces on one page: {}", page.display());
    Ok(())
}
