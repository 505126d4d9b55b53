//! The options that both layers share, and the views of requests and responses passed to hooks.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/) for opt-in
//! attributes and configurable lists.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use opentelemetry::{InstrumentationScope, KeyValue};
use otel_operation::{Providers, SamplerAttributes, is_grpc};
use otel_propagation::PropagatorHandle;
use otel_request::CapturedHeaders;

use crate::method::KnownMethods;

/// The event that ends a span and its duration measurement.
///
/// The default is `Auto` for a [`ServerLayer`](crate::ServerLayer) and `Head` for a
/// [`ClientLayer`](crate::ClientLayer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndOn {
    /// The end of the response body, including trailers. The response head if the response is an event stream
    /// (`text/event-stream`) or switches protocols, because the length of such a body is not the response time.
    #[default]
    Auto,
    /// The end of the response body, also for event streams. A response that switches protocols ends at its head.
    Body,
    /// The response head.
    Head,
}

/// The head of a request, as passed to filters and hooks.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method, including unknown ones.
    pub method: &'a Method,
    /// The URI, in absolute or origin form, depending on the HTTP version and on the side.
    pub uri: &'a Uri,
    /// The HTTP version.
    pub version: Version,
    /// The request headers.
    pub headers: &'a HeaderMap,
    /// The request extensions, which other layers may have set.
    pub extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

/// The head of a response, as passed to hooks.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// The status code.
    pub status: StatusCode,
    /// The HTTP version.
    pub version: Version,
    /// The response headers.
    pub headers: &'a HeaderMap,
    /// The response extensions, which other layers may have set.
    pub extensions: &'a Extensions,
}

impl<'a> ResponseHead<'a> {
    pub(crate) fn of<B>(response: &'a Response<B>) -> Self {
        Self {
            status: response.status(),
            version: response.version(),
            headers: response.headers(),
            extensions: response.extensions(),
        }
    }
}

pub(crate) type Filter = Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;
pub(crate) type SpanName =
    Arc<dyn Fn(&RequestHead<'_>, Option<&str>) -> Option<Cow<'static, str>> + Send + Sync>;
pub(crate) type RequestHook = Arc<dyn Fn(&RequestHead<'_>, &mut Vec<KeyValue>) + Send + Sync>;
pub(crate) type ResponseHook = Arc<dyn Fn(&ResponseHead<'_>, &mut Vec<KeyValue>) + Send + Sync>;

/// The options shared by the server and client layers.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) propagation: PropagatorHandle,
    pub(crate) providers: Providers,
    pub(crate) filter: Option<Filter>,
    pub(crate) span_name: Option<SpanName>,
    pub(crate) on_request: Option<RequestHook>,
    pub(crate) on_response: Option<ResponseHook>,
    pub(crate) request_headers: CapturedHeaders,
    pub(crate) response_headers: CapturedHeaders,
    pub(crate) known_methods: KnownMethods,
    pub(crate) end_on: EndOn,
    pub(crate) sampler_attributes: SamplerAttributes,
    pub(crate) body_sizes: bool,
    pub(crate) grpc: bool,
}

impl Options {
    pub(crate) fn new(end_on: EndOn) -> Self {
        Self {
            propagation: PropagatorHandle::global(),
            providers: Providers::default(),
            filter: None,
            span_name: None,
            on_request: None,
            on_response: None,
            request_headers: CapturedHeaders::default(),
            response_headers: CapturedHeaders::default(),
            known_methods: KnownMethods::from_env(),
            end_on,
            sampler_attributes: SamplerAttributes::IfParentAllows,
            body_sizes: false,
            grpc: false,
        }
    }
}

impl Options {
    /// Returns `true` if this layer records the request.
    pub(crate) fn records(&self, head: &RequestHead<'_>) -> bool {
        (self.grpc || !is_grpc(head.headers)) && self.filter.as_ref().is_none_or(|filter| filter(head))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("propagation", &self.propagation)
            .field("providers", &self.providers)
            .field("end_on", &self.end_on)
            .field("sampler_attributes", &self.sampler_attributes)
            .field("body_sizes", &self.body_sizes)
            .finish_non_exhaustive()
    }
}

pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(crate::attributes::SCHEMA_URL)
        .build()
}

/// Generates the `with_*` methods shared by the server and client layers, for a type with a method `edit(self, …)`.
macro_rules! shared_options {
    () => {
        otel_operation::provider_options!();

        /// Records only requests for which `filter` returns `true`. Others pass through without a span, metrics or
        /// context propagation.
        #[must_use]
        pub fn with_filter<F>(self, filter: F) -> Self
        where
            F: Fn(&$crate::RequestHead<'_>) -> bool + Send + Sync + 'static,
        {
            self.edit(|options| options.filter = Some(std::sync::Arc::new(filter)))
        }

        /// Records gRPC calls, that is requests with a content type that starts with `application/grpc`, as HTTP
        /// requests. Default: `false`, so that the layers of otel-grpc record them once.
        #[must_use]
        pub fn with_grpc(self, record: bool) -> Self {
            self.edit(|options| options.grpc = record)
        }

        /// Sets span names. `name` receives the request and its route or template. If it returns `None`, the span
        /// gets the name of the semantic conventions. Names must have a low cardinality: never use a path.
        #[must_use]
        pub fn with_span_name<F>(self, name: F) -> Self
        where
            F: Fn(&$crate::RequestHead<'_>, Option<&str>) -> Option<std::borrow::Cow<'static, str>>
                + Send
                + Sync
                + 'static,
        {
            self.edit(|options| options.span_name = Some(std::sync::Arc::new(name)))
        }

        /// Adds span attributes from the request. `attributes` runs at most once per request, only if the sampler
        /// receives attributes or the span records.
        #[must_use]
        pub fn with_request_attributes<F>(self, attributes: F) -> Self
        where
            F: Fn(&$crate::RequestHead<'_>, &mut Vec<opentelemetry::KeyValue>) + Send + Sync + 'static,
        {
            self.edit(|options| options.on_request = Some(std::sync::Arc::new(attributes)))
        }

        /// Adds span attributes from the response. `attributes` runs once per response, only if the span records.
        #[must_use]
        pub fn with_response_attributes<F>(self, attributes: F) -> Self
        where
            F: Fn(&$crate::ResponseHead<'_>, &mut Vec<opentelemetry::KeyValue>) + Send + Sync + 'static,
        {
            self.edit(|options| options.on_response = Some(std::sync::Arc::new(attributes)))
        }

        /// Records these request headers as `http.request.header.NAME`. Default: none. At most 16 values per header
        /// are recorded, each truncated to 1,024 bytes. Do not list headers that carry secrets.
        #[must_use]
        pub fn with_request_headers<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
            let captured = otel_request::CapturedHeaders::new($crate::attributes::REQUEST_HEADER, names);
            self.edit(|options| options.request_headers = captured)
        }

        /// Records these response headers as `http.response.header.NAME`. Default: none. The limits are those of
        /// [`with_request_headers`](Self::with_request_headers).
        #[must_use]
        pub fn with_response_headers<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
            let captured = otel_request::CapturedHeaders::new($crate::attributes::RESPONSE_HEADER, names);
            self.edit(|options| options.response_headers = captured)
        }

        /// Replaces the list of known methods; others are recorded as `_OTHER`. Entries after the first 32 are
        /// ignored. Default: the list in `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`, otherwise the methods of [RFC
        /// 9110](https://www.rfc-editor.org/rfc/rfc9110#section-9.3), PATCH and QUERY.
        #[must_use]
        pub fn with_known_methods<'a>(self, methods: impl IntoIterator<Item = &'a str>) -> Self {
            let known = $crate::method::KnownMethods::new(methods);
            self.edit(|options| options.known_methods = known)
        }

        /// Sets the event that ends a span and its duration measurement.
        #[must_use]
        pub fn with_end_on(self, end_on: $crate::EndOn) -> Self {
            self.edit(|options| options.end_on = end_on)
        }

        /// Sets the rule by which samplers receive attributes under an unsampled parent. Default:
        /// [`SamplerAttributes::IfParentAllows`](crate::SamplerAttributes::IfParentAllows).
        #[must_use]
        pub fn with_sampler_attributes(self, input: $crate::SamplerAttributes) -> Self {
            self.edit(|options| options.sampler_attributes = input)
        }

        /// Records body sizes as metrics. Default: `false`. The size of a request body is its `Content-Length`. The
        /// size of a response body is counted if the span ends with the body; a client whose span ends at the head
        /// records the `Content-Length`.
        #[must_use]
        pub fn with_body_sizes(self, record: bool) -> Self {
            self.edit(|options| options.body_sizes = record)
        }
    };
}
pub(crate) use shared_options;
