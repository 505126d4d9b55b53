//! The service over HTTP and over gRPC: how an instance serves, and how the client calls.
//!
//! Follows `crates/otel-discovery/README.md` for the order of the layers.

mod grpc;
mod http;

use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_discovery::{BalanceOptions, Ejection, Endpoints};
use otel_waterfall::Waterfall;
use tokio::net::TcpListener;

use crate::Failure;

pub(crate) use grpc::Grpc;
pub(crate) use http::Http;

/// A protocol of the service.
pub(crate) trait Protocol: 'static {
    /// The name of the protocol, in the names of spans.
    const NAME: &'static str;
    /// The name of the service in the registry.
    const SERVICE: &'static str;
    /// A client, whose clones share connections.
    type Client: Clone;

    /// Returns the server of an instance.
    fn serve(
        listener: TcpListener,
        waterfall: &Waterfall,
        id: &'static str,
    ) -> Result<impl Future<Output = Result<(), Failure>> + Send + 'static, Failure>;

    /// Creates the client: the choice of an instance is on the span of its client layer.
    fn client(endpoints: &Endpoints, provider: &SdkTracerProvider) -> Self::Client;

    /// Gets an item, and returns the id of the instance that has responded.
    async fn get(client: Self::Client, item: u32) -> Result<String, Failure>;
}

/// One failure ejects an instance, so that the example needs few requests.
fn options() -> BalanceOptions {
    let time = Duration::from_secs(30);
    BalanceOptions::new().with_ejection(Ejection::new().with_failures(1).with_time(time, 10 * time))
}
