//! The layer type of both sides, with the `with_*` methods that they share.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/) for opt-in
//! attributes and configurable lists.

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Tracer, TracerProvider};
use otel_operation::SamplerAttributes;
use otel_propagation::PropagatorHandle;
use otel_request::{CapturedHeaders, RequestHead, ResponseHead};

use crate::attributes::{REQUEST_HEADER, RESPONSE_HEADER};
use crate::config::{EndOn, HttpOptions};
use crate::method::KnownMethods;

/// The side of a layer, as the instrumentation that its services share.
pub trait Side: Sized {
    /// The options that only this side has.
    type Options: Clone + Default;

    /// The event that ends a span by default.
    const END_ON: EndOn;

    /// Creates the instrumentation.
    fn build(http: HttpOptions, options: Self::Options) -> Self;

    /// Returns the options that it was built with.
    fn options(&self) -> (&HttpOptions, &Self::Options);
}

/// A layer that records HTTP requests: [`ServerLayer`](crate::ServerLayer) and [`ClientLayer`](crate::ClientLayer).
#[derive(Debug)]
pub struct HttpLayer<S> {
    pub(crate) instrumentation: Arc<S>,
}

impl<S> Clone for HttpLayer<S> {
    fn clone(&self) -> Self {
        Self { instrumentation: Arc::clone(&self.instrumentation) }
    }
}

impl<S: Side> Default for HttpLayer<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Side> HttpLayer<S> {
    /// Creates a layer that records into the global providers, which may be installed later.
    #[must_use]
    pub fn new() -> Self {
        Self::build(HttpOptions::new(S::END_ON), S::Options::default())
    }

    fn build(http: HttpOptions, options: S::Options) -> Self {
        Self { instrumentation: Arc::new(S::build(http, options)) }
    }

    pub(crate) fn edit(self, edit: impl FnOnce(&mut HttpOptions, &mut S::Options)) -> Self {
        let (http, options) = self.instrumentation.options();
        let (mut http, mut options) = (http.clone(), options.clone());
        edit(&mut http, &mut options);
        Self::build(http, options)
    }

    /// Records spans into this provider instead of the global one.
    #[must_use]
    pub fn with_tracer_provider<P>(self, provider: &P) -> Self
    where
        P: TracerProvider + Clone + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        self.edit(|http, _| http.common.providers.set_tracer_provider(provider))
    }

    /// Records metrics into this provider instead of the global one.
    #[must_use]
    pub fn with_meter_provider<P>(self, provider: &P) -> Self
    where
        P: MeterProvider + Clone + Send + Sync + 'static,
    {
        self.edit(|http, _| http.common.providers.set_meter_provider(provider))
    }

    /// Reads and writes context with this propagator instead of the global one.
    #[must_use]
    pub fn with_propagator<P>(self, propagator: P) -> Self
    where
        P: TextMapPropagator + Send + Sync + 'static,
    {
        self.edit(|http, _| http.common.propagator = PropagatorHandle::new(propagator))
    }

    /// Records only requests for which `filter` returns `true`. Others have no span and no metrics; their trace continues:
    /// a server's request runs in its caller's context, a client's call carries the current one.
    #[must_use]
    pub fn with_filter<F>(self, filter: F) -> Self
    where
        F: Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.edit(|http, _| http.common.set_filter(filter))
    }

    /// Sets span names. `name` receives the request and its route or template. If it returns `None`, the span gets the
    /// name of the semantic conventions. Names must have a low cardinality: never use a path.
    #[must_use]
    pub fn with_span_name<F>(self, name: F) -> Self
    where
        F: Fn(&RequestHead<'_>, Option<&str>) -> Option<Cow<'static, str>> + Send + Sync + 'static,
    {
        self.edit(|http, _| http.span_name = Some(Arc::new(name)))
    }

    /// Adds span attributes from the request. `attributes` runs at most once per request, only if the sampler receives
    /// attributes or the span records.
    #[must_use]
    pub fn with_request_attributes<F>(self, attributes: F) -> Self
    where
        F: Fn(&RequestHead<'_>, &mut Vec<KeyValue>) + Send + Sync + 'static,
    {
        self.edit(|http, _| http.common.set_request_attributes(attributes))
    }

    /// Adds span attributes from the response. `attributes` runs once per response, only if the span records.
    #[must_use]
    pub fn with_response_attributes<F>(self, attributes: F) -> Self
    where
        F: Fn(&ResponseHead<'_>, &mut Vec<KeyValue>) + Send + Sync + 'static,
    {
        self.edit(|http, _| http.response_attributes = Some(Arc::new(attributes)))
    }

    /// Records these request headers as `http.request.header.NAME`. Default: none. At most 16 values per header are
    /// recorded, each truncated to 1,024 bytes. Do not list headers that carry secrets.
    #[must_use]
    pub fn with_request_headers<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let captured = CapturedHeaders::new(REQUEST_HEADER, names);
        self.edit(|http, _| http.common.request_headers = captured)
    }

    /// Records these response headers as `http.response.header.NAME`. Default: none. The limits are those of
    /// [`with_request_headers`](Self::with_request_headers).
    #[must_use]
    pub fn with_response_headers<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let captured = CapturedHeaders::new(RESPONSE_HEADER, names);
        self.edit(|http, _| http.common.response_headers = captured)
    }

    /// Replaces the list of known methods; others are recorded as `_OTHER`. Entries after the first 32 are ignored.
    /// Default: the list in `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`, otherwise the methods of [RFC
    /// 9110](https://www.rfc-editor.org/rfc/rfc9110#section-9.3), PATCH and QUERY.
    #[must_use]
    pub fn with_known_methods<'a>(self, methods: impl IntoIterator<Item = &'a str>) -> Self {
        let known = KnownMethods::new(methods);
        self.edit(|http, _| http.known_methods = known)
    }

    /// Sets the event that ends a span and its duration measurement.
    #[must_use]
    pub fn with_end_on(self, end_on: EndOn) -> Self {
        self.edit(|http, _| http.end_on = end_on)
    }

    /// Sets the rule by which samplers receive attributes under an unsampled parent. Default:
    /// [`SamplerAttributes::IfParentAllows`].
    #[must_use]
    pub fn with_sampler_attributes(self, attributes: SamplerAttributes) -> Self {
        self.edit(|http, _| http.common.sampler_attributes = attributes)
    }

    /// Records body sizes as metrics. Default: `false`. The size of a request body is its `Content-Length`. The size of a
    /// response body is counted if the span ends with the body; a client whose span ends at the head records the
    /// `Content-Length`.
    #[must_use]
    pub fn with_body_sizes(self, record: bool) -> Self {
        self.edit(|http, _| http.body_sizes = record)
    }

    /// Writes the owner of a request's span into the request's extensions. Default: `false`. Set it on the outer of two
    /// layers if a `tower::buffer` or a spawned task is directly around the inner one, which is then called on another task
    /// and would start a second span.
    #[must_use]
    pub fn with_request_extension(self, extension: bool) -> Self {
        self.edit(|http, _| http.common.request_extension = extension)
    }
}
