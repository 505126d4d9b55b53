//! Entry point of the `registry` example: three instances of one service, one of which is killed, and the trace of all requests.
//!
//! Start reading in `shop.rs`, which has the client; `stock.rs` has the instances, `protocol/` HTTP and gRPC.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to its terminal")]

mod arguments;
mod pb;
mod protocol;
mod shop;
mod stock;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_discovery::{EtcdRegistry, Registry, StaticRegistry};
use otel_waterfall::Waterfall;
use service::Service;

use crate::arguments::{HELP, Mode};
use crate::protocol::{Grpc, Http};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Mode::parse(std::env::args().skip(1)) {
        Ok(Mode::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Mode::Static) => {
            // Clones share the instances.
            let registry = StaticRegistry::new();
            demo(|| Ok(Arc::new(registry.clone()))).await
        }
        Ok(Mode::Etcd { address }) => in_etcd(address).await,
        Err(message) => {
            eprint!("{message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn in_etcd(address: Option<String>) -> Result<(), Failure> {
    let server = match address {
        Some(address) => Service::at(address),
        None => Service::find("etcd", "ETCD_URL", "--etcd").await?,
    };
    // Keys of this run alone.
    let prefix = format!("demo-{}/", std::process::id());
    let registry = || -> Result<Arc<dyn Registry>, Failure> {
        Ok(Arc::new(EtcdRegistry::new([&server.address])?.with_prefix(&prefix)))
    };
    let result = demo(registry).await;
    // Runs after a failure as well, so that no process is left.
    result.and(server.release().await)
}

async fn demo(registry: impl Fn() -> Result<Arc<dyn Registry>, Failure>) -> Result<(), Failure> {
    let page = std::env::current_exe()?.with_extension("html");
    // Each trace is drawn when its requests are done, so that the quiet period must not expire.
    let waterfall = Waterfall::stdout()
        .with_quiet(Duration::from_secs(60 * 60))
        .with_events()
        .with_attributes([
            "discovery.endpoint.id",
            "discovery.candidates",
            "discovery.strategy",
            "error.type",
        ])
        .with_html(&page)?;
    global::set_text_map_propagator(otel_propagation::CompositePropagator::default());
    println!("Three instances of a service, one of which is killed\n");
    shop::run::<Http, _>(&waterfall, &registry).await?;
    shop::run::<Grpc, _>(&waterfall, &registry).await?;
    eprintln!("All traces on one page: {}", page.display());
    Ok(())
}

/// The tracer provider of a service.
fn provider(waterfall: &Waterfall, name: impl Into<String>) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name(name.into()).build())
        .with_simple_exporter(waterfall.exporter())
        .build()
}
