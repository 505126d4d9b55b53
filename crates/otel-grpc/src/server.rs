//! The server layer: extracts the caller's context and records each call once.
//!
//! Follows the [gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/), "Server".

mod instrumentation;

use otel_request::{RequestBody, RequestFuture};

pub use self::instrumentation::GrpcServer;

use crate::descriptors::{DescriptorError, method_names};
use crate::layer::GrpcLayer;
use crate::service::GrpcService;
use crate::state::CallState;

/// A layer that records each call of a gRPC server.
///
/// A request is a call if it is a POST of a method that the server has, or if its response is gRPC's. Others, such as the
/// preflights of CORS, have no metrics of calls, so that a router of REST and gRPC has this layer and otel-http's, in either
/// order.
///
/// ```
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_, health) = tonic_health::server::health_reporter();
/// let layer = otel_grpc::ServerLayer::for_services(&[tonic_health::pb::FILE_DESCRIPTOR_SET])?;
/// tonic::transport::Server::builder()
///     .layer(layer)
///     .add_service(health)
///     .serve("127.0.0.1:50051".parse()?)
///     .await?;
/// # Ok(()) }
/// ```
pub type ServerLayer = GrpcLayer<GrpcServer>;

impl ServerLayer {
    /// Creates a layer that knows the methods of these services from its start. Others are recorded as `_OTHER`, with the
    /// called name on the span alone.
    ///
    /// Each set is an encoded
    /// [`FileDescriptorSet`](https://github.com/protocolbuffers/protobuf/blob/main/src/google/protobuf/descriptor.proto):
    /// the file that `file_descriptor_set_path` of tonic-prost-build writes, which
    /// `tonic::include_file_descriptor_set!` includes. [`with_known_methods`](GrpcLayer::with_known_methods) adds the
    /// methods of services without one.
    ///
    /// # Errors
    /// Returns an error if a set cannot be decoded, or if it has no service.
    pub fn for_services(descriptor_sets: &[&[u8]]) -> Result<Self, DescriptorError> {
        let methods = method_names(descriptor_sets)?;
        Ok(Self::new().with_known_methods(methods.iter().map(String::as_str)))
    }
}

/// The future of a [`ServerService`].
pub type ServerFuture<F> = RequestFuture<F, CallState<GrpcServer>>;

/// The response body of a [`ServerService`]. The span ends with its trailers.
pub type ServerBody<B> = RequestBody<B, CallState<GrpcServer>>;

/// An instrumented gRPC server.
pub type ServerService<S> = GrpcService<S, GrpcServer>;
