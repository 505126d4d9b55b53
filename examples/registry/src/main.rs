//! Entry point of the `registry` example: three instances of one service, one of which is killed, and the trace of all requests.
//!
//! Start reading in `shop.rs`, which has the client; `stock.rs` has the instances.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to its terminal")]

mod shop;
mod stock;

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
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<(), Failure> {
    // The trace is drawn at the end, so that the quiet period must not expire.
    let waterfall =
        Waterfall::stdout().with_quiet(Duration::from_secs(60 * 60)).with_events().with_attributes([
            "discovery.endpoint.id",
            "discovery.candidates",
            "discovery.strategy",
            "error.type",
        ]);
    global::set_text_map_propagator(otel_propagation::CompositePropagator::default());
    println!("Three instances of a service, one of which is killed after the first round\n");
    let responses = shop::run(&waterfall).await?;
    println!("{}\n", responses.join(", "));
    // A server ends its span after its caller has the response.
    tokio::time::sleep(Duration::from_millis(50)).await;
    waterfall.flush();
    Ok(())
}

/// The tracer provider of a service.
fn provider(waterfall: &Waterfall, name: impl Into<String>) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name(name.into()).build())
        .with_simple_exporter(waterfall.exporter())
        .build()
}
