//! The server layer: extracts the caller's context and records each call once.
//!
//! Follows the [gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/), "Server".

mod instrumentation;

use otel_request::{RequestBody, RequestFuture};

pub use self::instrumentation::GrpcServer;

use crate::layer::GrpcLayer;
use crate::service::GrpcService;
use crate::state::CallState;

/// A layer that records each call of a gRPC server.
///
/// A request is a call if the server has its method, or if its response is gRPC's. Others have no metrics of calls, so that
/// a router of REST and gRPC has this layer and otel-http's, in either order.
///
/// ```
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_, health) = tonic_health::server::health_reporter();
/// tonic::transport::Server::builder()
///     .layer(otel_grpc::ServerLayer::new())
///     .add_service(health)
///     .serve("127.0.0.1:50051".parse()?)
///     .await?;
/// # Ok(()) }
/// ```
pub type ServerLayer = GrpcLayer<GrpcServer>;

/// The future of a [`ServerService`].
pub type ServerFuture<F> = RequestFuture<F, CallState<GrpcServer>>;

/// The response body of a [`ServerService`]. The span ends with its trailers.
pub type ServerBody<B> = RequestBody<B, CallState<GrpcServer>>;

/// An instrumented gRPC server.
pub type ServerService<S> = GrpcService<S, GrpcServer>;
