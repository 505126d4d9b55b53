//! The instrumentation that all services of a layer share, and the part of it that each side adds.

use std::sync::Arc;

use http::Request;
use opentelemetry::metrics::Meter;
use otel_operation::{LazyInstruments, Outcome, Tracer};
use otel_request::{Instrumentation, Options, RequestHead, RequestScope};
use tonic::Code;

use crate::config::{GrpcHead, GrpcOptions, scope};
use crate::method::Methods;
use crate::metrics::GrpcInstruments;
use crate::state::CallState;

/// A side: [`GrpcServer`](crate::GrpcServer) or [`GrpcClient`](crate::GrpcClient).
pub trait Side: Send + Sync + Sized + 'static {
    /// The options that only this side has.
    type Options: Clone + Default;

    /// True for clients: each of their requests is a call, and they send the request messages.
    const IS_CLIENT: bool;

    /// Creates the side's part of the instrumentation.
    fn new(grpc: &GrpcOptions, options: Self::Options) -> Self;

    /// Returns the options that it was created with.
    fn options(&self) -> &Self::Options;

    /// Creates the instruments.
    fn instruments(meter: &Meter) -> GrpcInstruments;

    /// Creates the cache of methods.
    fn methods(&self, grpc: &GrpcOptions) -> Methods;

    /// Returns the outcome of a call that ended with this status.
    fn outcome(code: Code) -> Outcome;

    /// Returns true if the request's stream of messages is polled in the call's context.
    fn attaches_request_context(&self) -> bool {
        false
    }

    /// Starts a call.
    fn start<B>(
        instrumentation: &Arc<GrpcInstrumentation<Self>>,
        request: &mut Request<B>,
    ) -> RequestScope<CallState<Self>>;
}

/// The instrumentation of a gRPC layer. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct GrpcInstrumentation<S> {
    pub(crate) grpc: GrpcOptions,
    pub(crate) methods: Methods,
    pub(crate) instruments: LazyInstruments<GrpcInstruments>,
    pub(crate) side: S,
    tracer: Tracer,
}

impl<S: Side> GrpcInstrumentation<S> {
    pub(crate) fn new(grpc: GrpcOptions, options: S::Options) -> Self {
        let side = S::new(&grpc, options);
        let tracer = grpc.common.providers.tracer(scope());
        let instruments = grpc.common.providers.instruments(scope(), S::instruments);
        Self { methods: side.methods(&grpc), grpc, instruments, side, tracer }
    }
}

impl<S: Side> Instrumentation for GrpcInstrumentation<S> {
    type View = GrpcHead;
    type Observer = CallState<S>;

    #[inline]
    fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    #[inline]
    fn is_noop(&self) -> bool {
        // The tracer first: this costs nothing once one is known.
        self.tracer.is_noop() && self.instruments.get().is_none()
    }

    #[inline]
    fn options(&self) -> &Options<GrpcHead> {
        &self.grpc.common
    }

    #[inline]
    fn excludes(&self, head: &RequestHead<'_>) -> bool {
        self.grpc.excludes(head)
    }
}
