//! The instrumentation that all services of a layer share, and the part of it that each side adds.

use std::sync::Arc;

use http::Request;
use opentelemetry::metrics::Meter;
use otel_operation::{LazyInstruments, Tracer};
use otel_request::{Instrumentation, Options, RequestObserver, RequestScope};

use crate::config::{EndOn, HttpHead, HttpOptions, scope};
use crate::metrics::HttpInstruments;
use crate::sizes::RequestSize;

/// A side: [`HttpServer`](crate::HttpServer) or [`HttpClient`](crate::HttpClient).
pub trait Side: Send + Sync + Sized + 'static {
    /// The options that only this side has.
    type Options: Clone + Default;

    /// The observer of one request.
    type Observer: RequestObserver;

    /// The event that ends a span by default.
    const END_ON: EndOn;

    /// Creates the side's part of the instrumentation.
    fn new(options: Self::Options, shared: &Arc<Shared>) -> Self;

    /// Returns the options that it was created with.
    fn options(&self) -> &Self::Options;

    /// Creates the instruments.
    fn instruments(meter: &Meter) -> HttpInstruments;

    /// Sets the size of the request's body.
    fn set_request_size(observer: &mut Self::Observer, size: RequestSize);

    /// Starts a request.
    fn start<B>(
        instrumentation: &Arc<HttpInstrumentation<Self>>,
        request: &mut Request<B>,
    ) -> RequestScope<Self::Observer>;
}

/// The parts of a layer's instrumentation that its requests need until they end. Their series hold it, so that a request holds
/// one reference only: each counts on a cache line that all threads write.
#[derive(Debug)]
pub struct Shared {
    pub(crate) http: HttpOptions,
    pub(crate) instruments: LazyInstruments<HttpInstruments>,
}

/// The instrumentation of an HTTP layer. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct HttpInstrumentation<S> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) side: S,
    tracer: Tracer,
}

impl<S: Side> HttpInstrumentation<S> {
    pub(crate) fn new(http: HttpOptions, options: S::Options) -> Self {
        let providers = &http.common.providers;
        let (instruments, tracer) =
            (providers.instruments(scope(), S::instruments), providers.tracer(scope()));
        let shared = Arc::new(Shared { http, instruments });
        Self { side: S::new(options, &shared), shared, tracer }
    }
}

impl<S: Side> Instrumentation for HttpInstrumentation<S> {
    type View = HttpHead;
    type Observer = S::Observer;

    #[inline]
    fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    #[inline]
    fn is_noop(&self) -> bool {
        // The tracer first: this costs nothing once one is known.
        self.tracer.is_noop() && self.shared.instruments.get().is_none()
    }

    #[inline]
    fn options(&self) -> &Options<HttpHead> {
        &self.shared.http.common
    }
}
